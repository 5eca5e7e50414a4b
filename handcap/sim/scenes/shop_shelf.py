"""A supermarket aisle, about 6 × 4.5 × 3.2 m: shelves full of identical packets on both sides, a promotion table.

Room frame: x along the aisle, y to the left, z up; the origin is a corner of the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap import geometry
from handcap.geometry import Array
from handcap.sim import label, pattern, texture
from handcap.sim.furniture import muted, props_on, shell
from handcap.sim.place import Place, against, box_room, quarter_turn
from handcap.sim.scene import Light, Room, SceneBuilder
from handcap.sim.worktop import STAND_M, beside, free_part, spots, standing, table

_TABLE_DEPTH_M, _TABLE_WIDTH_M = 0.62, 1.2
_WORK_SIZE = np.array([0.4, 0.85])
_WALK_M = 0.42  # from the table
_BAY_M = 0.95  # shelves between two uprights


@dataclass(frozen=True, eq=False, slots=True)
class _Product:
    """A thing that stands on the shelf many times.

    Attributes:
        size: (3,) m; a can is as wide as deep.
        faces: of a packet; label and lid of a can.
        can: whether it is round.
    """

    size: Array
    faces: list[int]
    can: bool


@dataclass(frozen=True, slots=True)
class _Fitting:
    """What all shelves of one shop are made of; textures."""

    board: int
    back: int
    rail: int
    upright: int


def furnish(b: SceneBuilder) -> Room:
    """One aisle; every seed stocks and lays it differently."""
    rng = b.rng
    size = rng.uniform([5.6, 4.3, 2.9], [6.6, 4.9, 3.4])
    _shell(b, size)
    fitting = _fitting(b)
    sides = [against(b, size, wall, size[0] / 2) for wall in (2, 3)]
    for side in sides:
        _gondola(side, size[0] - 0.1, fitting)
        _over_shelf(side, size)
    ends = [against(b, size, wall, size[1] / 2) for wall in (0, 1)]
    for end in ends:
        _end(end, fitting)
    middle = np.array([size[0] / 2 + rng.uniform(-0.3, 0.3), size[1] / 2, 0.0])
    T_room_table = quarter_turn(int(rng.integers(4)), middle)
    T_room_work = _promotion(Place(b, T_room_table), float(rng.uniform(0.8, 0.95)))
    x, y = _TABLE_DEPTH_M / 2 + _WALK_M, _TABLE_WIDTH_M / 2 + _WALK_M
    walk = np.array([[-x, y, 0.0], [x, y, 0.0], [x, -y, 0.0], [-x, -y, 0.0]]) * [1, rng.choice([-1, 1]), 1]
    stand = geometry.transform(T_room_work, [STAND_M, 0.0, 0.0])
    looks = [box_room(side.T_room_place, [-1.5, 0.2, 0.5], [1.5, 0.45, 1.6]) for side in sides]
    looks += [box_room(end.T_room_place, [-0.8, 0.0, 0.6], [0.8, 0.3, 1.6]) for end in ends]
    return Room(
        lights=_tubes(b, size),
        standing=standing(T_room_work, looks, [0.13, 0.13, 0.04, 0.04]),
        T_room_work=T_room_work,
        work_size=_WORK_SIZE,
        props=props_on(b, T_room_work, _WORK_SIZE, int(rng.integers(1, 5))),
        slide=None,
        path_room=np.array([stand[:2], *geometry.transform(T_room_table, walk)[:, :2]]),
    )


def _shell(b: SceneBuilder, size: Array) -> None:
    rng = b.rng
    paint = b.texture(texture.plaster(rng, pattern.between(rng, [160, 165, 170], [222, 220, 212])))
    tint = rng.normal(0, 6, 3)
    floor = b.texture(
        pattern.slabs(rng, pattern.between(rng, [140, 136, 128], [205, 202, 195]) + tint, bool(rng.random() < 0.5))
    )
    ceiling = b.texture(pattern.slabs(rng, [205, 205, 202], False, texel_m=0.006))
    shell(b, (size[0], size[1], size[2]), [paint] * 4, floor, ceiling)


def _tubes(b: SceneBuilder, size: Array) -> tuple[Light, ...]:
    """Rows of lamps, along or across the aisle; one of them may be weak."""
    rng = b.rng
    glass = b.texture(texture.plain(rng, [242, 242, 238]))
    count, along = int(rng.integers(2, 5)), rng.random() < 0.5
    lights = []
    for k in range(count):
        half = np.array([0.6, 0.08, 0.0]) if along else np.array([0.1, 0.8, 0.0])
        at = np.array([size[0] * (k + 0.5) / count, size[1] / 2 + rng.uniform(-0.3, 0.3), size[2] - 0.12])
        b.box(at + np.array([0, 0, 0.01]), [2 * half[0], 2 * half[1], 0.07], 0.0, glass, bottom=True)
        power = rng.uniform(5.5, 8.5) / count * (0.25 if rng.random() < 0.15 else 1.0)
        lights.append(Light(at, np.array([half[0], 0, 0]), np.array([0, -half[1], 0]), power))
    return tuple(lights)


def _fitting(b: SceneBuilder) -> _Fitting:
    rng = b.rng
    metal = pattern.between(rng, [95, 98, 102], [222, 220, 214])
    return _Fitting(
        board=b.texture(texture.plain(rng, metal)),
        back=b.texture(texture.plain(rng, metal * 0.85)),
        rail=b.texture(pattern.price_rail(rng, 1.9, 0.04, muted(rng))),
        upright=b.texture(texture.plain(rng, metal * 0.7)),
    )


def _product(b: SceneBuilder, tallest_m: float, widest_m: float = 0.22) -> _Product:
    rng = b.rng
    high = min(tallest_m, 0.34)
    # No louder than a packet in a shop, no two alike.
    colour = np.clip(rng.uniform(90, 215) + rng.normal(0, 26, 3), 40, 235)
    if rng.random() < 0.25:
        radius, height = rng.uniform(0.035, 0.055), rng.uniform(0.09, min(0.2, high))
        around = b.texture(label.wrapper(rng, 2 * np.pi * radius, height, colour))
        return _Product(
            np.array([2 * radius, 2 * radius, height]), [around, b.texture(label.lid(rng, radius, colour))], True
        )
    size = np.array(
        [rng.uniform(0.06, widest_m), rng.uniform(0.05, min(widest_m, 0.14)), max(rng.random() * high, 0.1)]
    )
    return _Product(size, [b.texture(face) for face in pattern.packet(rng, size, colour)], False)


def _gondola(place: Place, length: float, fitting: _Fitting) -> None:
    """Bay after bay of shelves."""
    rng = place.builder.rng
    depth, height = rng.uniform(0.4, 0.48), rng.uniform(1.6, 2.1)
    count = int(length / _BAY_M)
    bay = length / count
    place.quad([length / 2, 0.02, 0], [-length, 0, 0], [0, 0, height], fitting.back)
    place.box([0, depth / 2 + 0.02, 0], [length, depth, 0.12], fitting.upright)
    for k in range(count):
        left = length / 2 - k * bay
        place.box([left, 0.06, 0.12], [0.04, 0.06, height - 0.12], fitting.upright)
        levels = np.linspace(0.12, height - rng.uniform(0.3, 0.45), int(rng.integers(4, 6)))
        for z, above in zip(levels, [*levels[1:], height + 0.1], strict=True):
            if z > 0.12:
                place.box(
                    [left - bay / 2, depth / 2 + 0.02, z - 0.025],
                    [bay - 0.01, depth, 0.025],
                    fitting.board,
                    bottom=True,
                )
            place.sheet([left - bay / 2, depth + 0.024, z - 0.034], bay - 0.012, 0.04, fitting.rail)
            _stock(place, left - 0.03, left - bay + 0.03, depth, z, above - z - 0.06)


def _stock(place: Place, start: float, end: float, front: float, z: float, room_m: float) -> None:
    """Runs of one product each along a shelf, two high where they fit, gaps where customers took some."""
    rng = place.builder.rng
    x = start
    while x > end:
        product = _product(place.builder, room_m)
        width, deep, height = product.size
        gap = rng.uniform(0.002, 0.012)
        run = int(rng.integers(2, 7))
        for _ in range(run):
            if x - width < end:
                return
            taken = rng.choice([0.0, 0.12, 0.3], p=[0.82, 0.12, 0.06])
            high = 2 if 2 * height < room_m and not product.can and rng.random() < 0.8 else 1
            y = front - deep / 2 - taken * (front - deep)
            for level in range(high):
                foot = [x - width / 2, y + rng.uniform(-0.008, 0.008), z + level * height]
                if product.can:
                    place.cylinder(foot, width / 2, height, *product.faces, facets=10)
                else:
                    place.box(foot, product.size, product.faces, turn=rng.normal(0, 0.02))
            x -= width + gap
        x -= rng.uniform(0.0, 0.05)


def _over_shelf(place: Place, size: Array) -> None:
    """Posters high on the wall."""
    b, rng = place.builder, place.builder.rng
    for x in rng.uniform(-0.5, 0.5, 2) + np.array([-size[0] / 4, size[0] / 4]):
        w, h = rng.uniform(0.6, 1.4), rng.uniform(0.35, 0.55)
        place.sheet([x, 0.006, 2.2], w, h, b.texture(label.poster(rng, w, h, muted(rng), sheets=4)))


def _end(place: Place, fitting: _Fitting) -> None:
    """One product in bulk on a pallet, or a short shelf, with a big sign above."""
    b, rng = place.builder, place.builder.rng
    if rng.random() < 0.5:
        product = _pallet_box(b)
        wide, deep, high = product.size
        columns = int(1.1 / wide)
        wood = b.texture(texture.wood(rng, [165, 130, 92], 1.2, 0.5, 0.1))
        place.box([0, 0.3, 0], [1.2, 0.56, 0.12], wood)
        for row in range(2):
            for column in range(columns):
                stack = int(rng.integers(1, 5 - row))
                x, y = (column - (columns - 1) / 2) * (wide + 0.006), 0.03 + deep / 2 + row * (deep + 0.006)
                for level in range(stack):
                    foot = [x, y, 0.12 + level * high]
                    place.box(foot, product.size, product.faces, turn=rng.normal(0, 0.015))
    else:
        place.box([0, 0.16, 0], [1.4, 0.3, 0.1], fitting.upright)
        for z in np.linspace(0.1, 1.3, 4):
            place.box([0, 0.16, z - 0.02], [1.4, 0.3, 0.02], fitting.board, bottom=True)
            place.sheet([0, 0.313, z - 0.03], 1.4, 0.04, fitting.rail)
            _stock(place, 0.68, -0.68, 0.29, z, 0.33)
        place.quad([0.7, 0.005, 0], [-1.4, 0, 0], [0, 0, 1.7], fitting.back)
    w, h = rng.uniform(0.8, 1.6), rng.uniform(0.4, 0.7)
    place.sheet([0, 0.01, 1.85], w, h, b.texture(label.poster(rng, w, h, muted(rng), sheets=5)))


def _pallet_box(b: SceneBuilder) -> _Product:
    rng = b.rng
    size = rng.uniform([0.25, 0.2, 0.18], [0.38, 0.26, 0.3])
    return _Product(
        size,
        [b.texture(face) for face in label.carton(rng, size, pattern.between(rng, [150, 118, 84], [200, 170, 130]))],
        False,
    )


def _promotion(place: Place, top: float) -> Array:
    """A table with a cloth or a closed counter, piled with one or two products around the free part."""
    b, rng = place.builder, place.builder.rng
    mat = b.texture(texture.cloth(rng, muted(rng)) if rng.random() < 0.6 else texture.speckled(rng, muted(rng)))
    size = [_TABLE_DEPTH_M, _TABLE_WIDTH_M, top]
    if rng.random() < 0.5:
        wood = b.texture(texture.wood(rng, pattern.between(rng, [120, 95, 70], [210, 195, 170]), 1.2, 0.6, 0.2))
        T_room_work = table(place, size, _WORK_SIZE, wood, mat)
    else:
        colour = muted(rng)
        long = b.texture(label.poster(rng, _TABLE_WIDTH_M, top, colour, sheets=6))
        short = b.texture(label.poster(rng, _TABLE_DEPTH_M, top, colour, sheets=3))
        place.box([0, 0, 0], size, [short, long, short, long, b.texture(texture.plain(rng, pattern.pastel(rng)))])
        T_room_work = free_part(place, size, _WORK_SIZE, mat)
    half = np.array([_TABLE_DEPTH_M / 2, _TABLE_WIDTH_M / 2]) - 0.005
    free = beside(T_room_work, _WORK_SIZE)
    products = [_product(b, 0.16, 0.1) for _ in range(2)]
    radius = max(float(np.hypot(*product.size[:2])) / 2 for product in products)
    for foot, _ in spots(place, -half, half, top, np.full(16, radius), free):
        product = products[int(rng.integers(2))]
        for level in range(int(rng.integers(1, 3))):
            at = foot + np.array([0, 0, level * product.size[2]])
            if product.can:
                place.cylinder(at, product.size[0] / 2, product.size[2], *product.faces)
            else:
                place.box(at, product.size, product.faces, turn=rng.normal(0, 0.15))
    return T_room_work
