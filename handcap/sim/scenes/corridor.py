"""A corridor of a home, 1.7-2 m wide and 6-8.5 m long: bare walls, doors, coats, pictures, a console table at one side.

Room frame: x along the corridor, y to the left, z up; the origin is a corner of the floor.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from handcap import geometry
from handcap.geometry import Array
from handcap.sim import label, pattern, texture
from handcap.sim.furniture import drawer, muted, props_on, shell
from handcap.sim.place import Place, against, box_room, quarter_turn
from handcap.sim.scene import Light, Room, SceneBuilder
from handcap.sim.worktop import STAND_M, beside, standing, table

_TABLE_DEPTH_M, _TABLE_TOP_M = 0.45, 0.85
_WORK_SIZE = np.array([0.36, 0.8])
_RIGHT, _LEFT = 2, 3  # walls, as `shell` counts them
_DEEP_M, _SHALLOW_M = _TABLE_DEPTH_M, 0.3  # how far things reach out of the table's wall and of the other one
_TURN_M = 0.9  # from an end wall to the end of the walk

_Piece = tuple[float, Callable[[Place], None]]  # width along the wall, and what builds it


def furnish(b: SceneBuilder) -> Room:
    """One corridor; every seed furnishes and lays it differently."""
    rng = b.rng
    size = rng.uniform([6.2, 1.72, 2.35], [8.5, 2.0, 2.7])
    colour = np.clip(rng.uniform(150, 215) + rng.normal(0, 12, 3), 90, 235)
    _shell(b, size, colour)
    wall = int(rng.choice([_RIGHT, _LEFT]))
    x = float(rng.uniform(0.3, 0.7) * size[0])
    width = float(rng.uniform(1.0, 1.35))
    middle = 0.005 + _TABLE_DEPTH_M / 2
    T_room_table = quarter_turn(*((1, [x, size[1] - middle, 0.0]) if wall == _LEFT else (-1, [x, middle, 0.0])))
    T_room_work = _console(Place(b, T_room_table), width)
    _over_table(against(b, size, wall, x), width)
    for at, half in _gaps(size[0], x, width / 2 + 0.15):
        _line(b, size, wall, at, half, _DEEP_PIECES)
    _line(b, size, _LEFT + _RIGHT - wall, size[0] / 2, size[0] / 2 - 0.15, _SHALLOW_PIECES)
    lights = [light for end in (0, 1) for light in _end(against(b, size, end, size[1] / 2), size[1])]
    runner = rng.uniform([1.6, 0.55], [0.5 * size[0], 0.8])
    carpet = b.texture(pattern.rug(rng, *runner))
    start = [rng.uniform(0.5, size[0] - runner[0] - 0.5), (size[1] - runner[1]) / 2, 0.006]
    b.quad(start, [runner[0], 0, 0], [0, runner[1], 0], carpet)
    stand = geometry.transform(T_room_work, [STAND_M, 0.0, 0.0])
    aisle = _DEEP_M + (size[1] - _DEEP_M - _SHALLOW_M) / 2
    aisle = size[1] - aisle if wall == _LEFT else aisle
    ends = [[_TURN_M, aisle], [size[0] - _TURN_M, aisle]]
    if rng.random() < 0.5:
        ends.reverse()
    front = geometry.transform(
        T_room_table, [-_TABLE_DEPTH_M / 2 - 0.001, rng.uniform(-0.18, 0.18), _TABLE_TOP_M - 0.09]
    )
    looks = [
        [[0.0, 0.3, 0.8], [0.1, size[1] - 0.3, 1.7]],
        [[size[0] - 0.1, 0.3, 0.8], [size[0], size[1] - 0.3, 1.7]],
        box_room(T_room_table, [0.1, -0.8, 1.0], [0.22, 0.8, 1.6]),
    ]
    return Room(
        lights=(*lights, *_lamps(b, size)),
        standing=standing(T_room_work, looks, [0.12, 0.12, 0.12]),
        T_room_work=T_room_work,
        work_size=_WORK_SIZE,
        props=props_on(b, T_room_work, _WORK_SIZE, int(rng.integers(0, 4))),
        slide=drawer(b, front, -T_room_table[:3, 0], [0.36, 0.42, 0.1], 0.22),
        path_room=np.array([stand[:2], *ends]),
    )


def _shell(b: SceneBuilder, size: Array, colour: Array) -> None:
    rng = b.rng
    paint = [b.texture(texture.plaster(rng, colour + rng.normal(0, 4, 3))) for _ in range(2)]
    style = rng.random()
    if style < 0.6:
        picture = texture.wood(
            rng, pattern.between(rng, [95, 70, 50], [185, 145, 105]), 1.6, 1.2, rng.uniform(0.07, 0.2)
        )
    elif style < 0.8:
        picture = pattern.slabs(
            rng, pattern.between(rng, [120, 115, 110], [190, 180, 165]), bool(rng.random() < 0.5), 0.0025
        )
    else:
        picture = texture.speckled(rng, pattern.between(rng, [100, 95, 90], [170, 165, 160]))
    ceiling = b.texture(texture.plaster(rng, [216, 214, 208]))
    shell(b, (size[0], size[1], size[2]), [paint[0], paint[0], paint[1], paint[1]], b.texture(picture), ceiling)
    skirting = b.texture(texture.plain(rng, rng.choice([[205, 203, 196], [120, 92, 66]])))
    for wall in (_RIGHT, _LEFT):
        tall = rng.uniform(0.06, 0.11)
        against(b, size, wall, size[0] / 2).sheet([0, -0.001, 0], size[0] - 0.01, tall, skirting)


def _lamps(b: SceneBuilder, size: Array) -> list[Light]:
    """Two or three lamps in a row, not equally bright."""
    rng = b.rng
    count = int(rng.integers(2, 4))
    glass = b.texture(texture.plain(rng, [238, 234, 220]))
    lamps = []
    for k in range(count):
        at = np.array([size[0] * (k + 0.5) / count + rng.uniform(-0.3, 0.3), size[1] / 2, size[2] - 0.07])
        half = rng.uniform(0.08, 0.2)
        b.box(at + np.array([0, 0, 0.01]), [2 * half, 2 * half, 0.055], 0.0, glass, bottom=True)
        lamps.append(Light(at, np.array([half, 0, 0]), np.array([0, -half, 0]), rng.uniform(0.9, 2.2)))
    return lamps


def _console(place: Place, width: float) -> Array:
    b, rng = place.builder, place.builder.rng
    wood = b.texture(
        texture.wood(rng, pattern.between(rng, [110, 80, 55], [205, 180, 150]), 1.3, 0.5, 0.25, texel_m=0.0015)
    )
    mat = b.texture(texture.cloth(rng, muted(rng)))
    T_room_work = table(place, [_TABLE_DEPTH_M, width, _TABLE_TOP_M], _WORK_SIZE, wood, mat)
    free = beside(T_room_work, _WORK_SIZE)
    half = np.array([_TABLE_DEPTH_M / 2, width / 2]) - 0.01
    place.clutter(-half, half, _TABLE_TOP_M, 12, 0.25, free)
    shelf = 0.2
    place.box([0.02, 0, shelf], [_TABLE_DEPTH_M - 0.1, width - 0.12, 0.02], wood, bottom=True)
    low, high = np.array([-0.15, -width / 2 + 0.1]), np.array([0.18, width / 2 - 0.1])
    place.clutter(low, high, shelf + 0.02, 8, 0.25)
    return T_room_work


def _over_table(place: Place, width: float) -> None:
    """Pictures and a small shelf at the wall before the person."""
    b, rng = place.builder, place.builder.rng
    x = -width / 2
    while x < width / 2 - 0.15:
        w, h = rng.uniform(0.22, 0.5), rng.uniform(0.22, 0.5)
        place.sheet([x + w / 2, 0.006, rng.uniform(1.15, 1.45)], w, h, b.texture(pattern.painting(rng, w, h)))
        x += w + rng.uniform(0.05, 0.3)


def _gaps(length_m: float, x: float, half: float) -> list[tuple[float, float]]:
    """Middle and half width of what is free of a wall on both sides of the table."""
    pairs = ((0.15, x - half), (x + half, length_m - 0.15))
    return [((low + high) / 2, (high - low) / 2) for low, high in pairs]


def _line(b: SceneBuilder, size: Array, wall: int, middle: float, half: float, pieces: tuple[_Piece, ...]) -> None:
    """Pieces side by side along a stretch of wall, with gaps; none twice before all were there."""
    rng = b.rng
    x, order = middle - half, list[int]()
    while x < middle + half - 0.5:
        order = order or [int(k) for k in rng.permutation(len(pieces))]
        width, build = pieces[order.pop()]
        x += rng.uniform(0.05, 0.5)
        if x + width <= middle + half:
            build(against(b, size, wall, x + width / 2))
            x += width


def _door(place: Place) -> None:
    b, rng = place.builder, place.builder.rng
    colour = pattern.between(rng, [120, 90, 65], [222, 220, 214])
    frame = b.texture(texture.plain(rng, colour * 0.95))
    leaf = b.texture(label.panel(rng, 0.84, 2.0, colour))
    place.box([0, 0.012, 0], [0.96, 0.024, 2.06], frame)
    place.box([0, 0.02, 0], [0.84, 0.04, 2.0], [frame, frame, leaf, frame, frame])
    steel = b.texture(texture.plain(rng, [150, 150, 152]))
    place.box([0.34 * rng.choice([-1, 1]), 0.065, 1.0], [0.12, 0.02, 0.02], steel, bottom=True)


def _pictures(place: Place) -> None:
    b, rng = place.builder, place.builder.rng
    z = 1.0
    for _ in range(int(rng.integers(1, 3))):
        w, h = rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.45)
        picture = pattern.painting(rng, w, h) if rng.random() < 0.7 else label.poster(rng, w, h, muted(rng), sheets=4)
        place.sheet([rng.uniform(-0.05, 0.05), 0.006, z + rng.uniform(0.05, 0.15)], w, h, b.texture(picture))
        z += h + 0.2


def _coats(place: Place) -> None:
    """A rail of hooks, coats and bags on it, shoes below."""
    b, rng = place.builder, place.builder.rng
    width, z = 1.2, rng.uniform(1.6, 1.75)
    wood = b.texture(texture.wood(rng, muted(rng), 0.8, 0.2, 0.2))
    place.box([0, 0.012, z], [width, 0.024, 0.1], wood, bottom=True)
    if rng.random() < 0.6:
        place.box([0, 0.12, z + 0.14], [width, 0.24, 0.02], wood, bottom=True)
        place.clutter([-width / 2, 0.01], [width / 2, 0.23], z + 0.16, 7, 0.25)
    for x in np.linspace(-0.42, 0.42, int(rng.integers(2, 5))):
        if rng.random() < 0.8:
            wide, tall = rng.uniform(0.26, 0.38), rng.uniform(0.6, 1.1)
            _coat(place, x, z + 0.02, wide, tall)
        else:
            bag = b.texture(texture.cloth(rng, muted(rng)))
            place.box([x, 0.08, z - 0.75], [0.3, 0.12, 0.35], bag, bottom=True)
            place.box([x, 0.04, z - 0.4], [0.03, 0.01, 0.42], bag)
    for x in np.linspace(-0.5, 0.5, int(rng.integers(3, 7))):
        leather = b.texture(texture.plain(rng, rng.uniform(45, 190) + rng.normal(0, 15, 3)))
        for step in (-0.05, 0.05):
            place.box([x + step, 0.16, 0], [0.08, 0.26, 0.05], leather, turn=rng.uniform(-0.1, 0.1))
            place.box([x + step, 0.08, 0.05], [0.075, 0.1, rng.uniform(0.03, 0.12)], leather)


def _coat(place: Place, x: float, top: float, width: float, height: float) -> None:
    b, rng = place.builder, place.builder.rng
    cloth = b.texture(pattern.drape(rng, width, height, rng.uniform(50, 185) + rng.normal(0, 18, 3)))
    n = int(rng.integers(5, 9))
    across = x + np.linspace(width / 2, -width / 2, n + 1)
    depth = np.concatenate([[0.01], rng.uniform(0.09, 0.2, n - 1), [0.01]])
    for k in range(n):
        edge = [across[k + 1] - across[k], depth[k + 1] - depth[k], 0]
        place.quad([across[k], depth[k], top - height], edge, [0, 0, height], cloth)


def _cabinet(place: Place) -> None:
    b, rng = place.builder, place.builder.rng
    depth, height = rng.uniform(0.22, 0.34), rng.uniform(0.6, 1.15)
    colour = muted(rng)
    side = b.texture(texture.wood(rng, colour, 0.9, 0.4, 0.4))
    rows = int(rng.integers(1, 4))
    for k in range(rows):
        step = height / rows
        face = b.texture(label.panel(rng, 0.9, step - 0.006, colour))
        place.box([0, depth / 2, k * step], [0.9, depth, step - 0.006], [side, side, face, side, side])
    place.box([0, depth / 2, height], [0.92, depth, 0.02], side, bottom=True)
    place.clutter([-0.45, 0.01], [0.45, depth - 0.01], height + 0.02, 8, 0.3)
    w, h = rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.5)
    place.sheet([rng.uniform(-0.1, 0.1), 0.006, rng.uniform(1.4, 1.6)], w, h, b.texture(pattern.painting(rng, w, h)))


def _bench(place: Place) -> None:
    b, rng = place.builder, place.builder.rng
    wood = b.texture(texture.wood(rng, muted(rng), 1.1, 0.4, 0.2))
    place.box([0, 0.18, 0.42], [1.1, 0.34, 0.03], wood, bottom=True)
    for x in (-0.5, 0.5):
        place.box([x, 0.18, 0], [0.04, 0.3, 0.42], wood)
    place.clutter([-0.45, 0.03], [0.45, 0.33], 0.0, 8, 0.3)
    for x in np.arange(-0.35, 0.4, 0.4)[: int(rng.integers(1, 3))]:
        pillow = b.texture(pattern.drape(rng, 0.36, 0.3, muted(rng), printed=True))
        place.box([x, 0.1, 0.45], [0.34, 0.1, 0.3], pillow)


def _cupboard(place: Place) -> None:
    b, rng = place.builder, place.builder.rng
    height, colour = rng.uniform(1.7, 2.1), muted(rng)
    side = b.texture(texture.wood(rng, colour, 0.9, 0.8, 0.4))
    for x in (-0.225, 0.225):
        leaf = b.texture(label.panel(rng, 0.445, height, colour))
        place.box([x, 0.18, 0], [0.447, 0.36, height], [side, side, leaf, side, side])


def _radiator(place: Place) -> None:
    b, rng = place.builder, place.builder.rng
    white = b.texture(texture.plain(rng, [214, 212, 204]))
    for x in np.arange(-0.36, 0.37, 0.08):
        place.box([x, 0.07, 0.12], [0.06, 0.1, 0.55], white, bottom=True)
    place.box([0, 0.03, 0.2], [0.8, 0.02, 0.04], white)
    _pictures(place)


_DEEP_PIECES: tuple[_Piece, ...] = ((0.96, _door), (0.95, _cabinet), (1.1, _bench), (0.9, _cupboard), (0.7, _pictures))
_SHALLOW_PIECES: tuple[_Piece, ...] = (
    (0.96, _door),
    (1.2, _coats),
    (0.8, _radiator),
    (0.7, _pictures),
    (0.96, _door),
    (0.7, _pictures),
)


def _end(place: Place, width: float) -> list[Light]:
    """The end of the corridor: a door, a window, or a picture over a chest."""
    b, rng = place.builder, place.builder.rng
    choice = rng.random()
    if choice < 0.45:
        _door(place)
        return []
    if choice < 0.75:
        wide, tall = rng.uniform(0.7, 1.0), rng.uniform(0.9, 1.2)
        place.sheet([0, 0.006, 0.95], wide, tall, b.texture(label.window_view(rng, wide, tall)))
        half_a = place.T_room_place[:3, :3] @ np.array([-wide / 2, 0, 0])
        return [Light(place.at([0, 0.1, 0.95 + tall / 2]), half_a, np.array([0, 0, tall / 2]), rng.uniform(1.0, 2.5))]
    _cabinet(place)
    return []
