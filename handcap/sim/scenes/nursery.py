"""A nursery, about 4.5 × 4.1 × 2.5 m: a low play table, a cot with bars, picture books, toys, patterned walls and rug.

Room frame: x and y along the walls, z up; the origin is a corner of the floor.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from handcap import geometry
from handcap.geometry import Array
from handcap.sim import label, pattern, texture
from handcap.sim.furniture import muted, props_on, shell
from handcap.sim.place import Place, against, box_room, quarter_turn
from handcap.sim.scene import Light, Room, SceneBuilder
from handcap.sim.worktop import STAND_M, beside, spots, standing, table

_TABLE_DEPTH_M, _TABLE_WIDTH_M = 0.62, 1.15
_WORK_SIZE = np.array([0.38, 0.82])
_WALK_M = 0.36  # from the table


def furnish(b: SceneBuilder) -> Room:
    """One nursery; every seed furnishes and lays it differently."""
    rng = b.rng
    size = rng.uniform([4.2, 3.85, 2.4], [4.8, 4.4, 2.7])
    _shell(b, size)
    # Which wall has the cot, the chest under the window, the books and the door, the toys.
    walls = [int(k) for k in rng.permutation(4)]
    cot = _along(b, size, walls[0], 0.25)
    chest = _along(b, size, walls[1], 0.25)
    books = _along(b, size, walls[2], 0.0)
    toys = _along(b, size, walls[3], 0.25)
    _cot(cot)
    window = _window(chest)
    _chest(chest)
    _books(books)
    _toys(toys)
    away = cot.T_room_place[:3, 1] * 0.1
    centre = np.array([*size[:2] / 2, 0.0]) + away
    T_room_table = quarter_turn(int(rng.integers(4)), centre)
    top = float(rng.uniform(0.65, 0.75))
    T_room_work = _play_table(Place(b, T_room_table), top)
    _rug(Place(b, quarter_turn(int(rng.integers(4)), [*(centre[:2] + rng.uniform(-0.3, 0.3, 2)), 0.0])))
    lamp = np.array([*(centre[:2] + rng.uniform(-0.5, 0.5, 2)), size[2] - 0.08])
    radius = rng.uniform(0.15, 0.35)
    power = rng.uniform(2.0, 3.2)
    x, y = _TABLE_DEPTH_M / 2 + _WALK_M, _TABLE_WIDTH_M / 2 + _WALK_M
    walk = np.array([[-x, -y, 0.0], [x, -y, 0.0], [x, y, 0.0], [-x, y, 0.0]])
    stand = geometry.transform(T_room_work, [STAND_M, 0.0, 0.0])
    boxes = [box_room(place.T_room_place, [-0.6, 0.0, 0.3], [0.6, 0.4, 1.3]) for place in (cot, chest, books, toys)]
    return Room(
        lights=(window, Light(lamp, np.array([radius, 0, 0]), np.array([0, -radius, 0]), power)),
        standing=standing(T_room_work, boxes, np.full(4, 0.085)),
        T_room_work=T_room_work,
        work_size=_WORK_SIZE,
        props=props_on(b, T_room_work, _WORK_SIZE, int(rng.integers(1, 4))),
        slide=None,
        path_room=np.array([stand[:2], *geometry.transform(T_room_table, walk)[:, :2]]),
    )


def _along(b: SceneBuilder, size: Array, wall: int, play_m: float) -> Place:
    """The middle of a wall, give or take."""
    length = size[1] if wall < 2 else size[0]
    return against(b, size, wall, length / 2 + b.rng.uniform(-play_m, play_m))


def _shell(b: SceneBuilder, size: Array) -> None:
    rng = b.rng
    pale = pattern.pastel(rng)
    paper = b.texture(pattern.wallpaper(rng, pattern.pastel(rng)))
    paint = b.texture(texture.plaster(rng, pale))
    papered = rng.permutation([True, bool(rng.random() < 0.6), False, False])
    floor = b.texture(
        texture.wood(rng, pattern.between(rng, [120, 90, 60], [180, 140, 105]), 1.6, 1.6, rng.uniform(0.09, 0.2))
    )
    shell(b, (size[0], size[1], size[2]), [paper if on else paint for on in papered], floor, paint)


def _play_table(place: Place, top: float) -> Array:
    b, rng = place.builder, place.builder.rng
    wood = b.texture(
        texture.wood(rng, pattern.between(rng, [150, 115, 80], [205, 175, 140]), 1.2, 0.7, 0.15, texel_m=0.0015)
    )
    mat = b.texture(texture.cloth(rng, muted(rng)) if rng.random() < 0.5 else pattern.rug(rng, 0.4, 0.84, 0.0015))
    T_room_work = table(place, [_TABLE_DEPTH_M, _TABLE_WIDTH_M, top], _WORK_SIZE, wood, mat)
    half = np.array([_TABLE_DEPTH_M / 2, _TABLE_WIDTH_M / 2]) - 0.01
    radii = np.sort(rng.uniform(0.03, 0.085, 26))[::-1]
    _play(place, -half, half, top, radii, beside(T_room_work, _WORK_SIZE))
    return T_room_work


def _play(
    place: Place,
    low: Array,
    high: Array,
    z: float,
    radii: Array,
    free: Callable[[Array, float], bool] = lambda centre, radius: True,
) -> None:
    """Towers of blocks, balls, heaps of books."""
    rng = place.builder.rng
    for foot, radius in spots(place, low, high, z, radii, free):
        choice = rng.random()
        if choice < 0.45:
            _tower(place, foot, radius)
        elif choice < 0.7:
            _ball(place, foot, radius)
        else:
            _heap(place, foot, radius)


def _tower(place: Place, foot: Array, radius: float) -> None:
    b, rng = place.builder, place.builder.rng
    edge = min(1.38 * radius, 0.07)
    for k in range(int(rng.integers(1, 4))):
        size = edge * np.array([1.0, 1.0, rng.choice([0.6, 1.0])]) * 0.97**k
        faces = [b.texture(t) for t in pattern.packet(rng, size, muted(rng))] if rng.random() < 0.3 else None
        paint = b.texture(texture.wood(rng, np.clip(rng.normal(140, 40, 3), 50, 225), 0.2, 0.2, 0.2, texel_m=0.001))
        place.box(foot, size, faces if faces is not None else paint, turn=rng.uniform(0, np.pi))
        foot = foot + np.array([0, 0, size[2]])


def _ball(place: Place, foot: Array, radius: float) -> None:
    """Three rings, widest in the middle."""
    b, rng = place.builder, place.builder.rng
    skin = b.texture(label.wrapper(rng, 2 * np.pi * radius, 2 * radius, muted(rng)))
    z = 0.0
    for width, height in ((0.7, 0.45), (1.0, 0.85), (0.7, 0.45)):
        place.cylinder(foot + np.array([0, 0, z * radius]), width * radius, height * radius, skin, skin)
        z += height


def _heap(place: Place, foot: Array, radius: float) -> None:
    b, rng = place.builder, place.builder.rng
    edge = b.texture(texture.plain(rng, [215, 210, 198]))
    for _ in range(int(rng.integers(1, 4))):
        size = np.array([1.5 * radius, 1.2 * radius, rng.uniform(0.008, 0.022)])
        place.box(
            foot, size, [*[edge] * 4, b.texture(pattern.cover(rng, size[0], size[1]))], turn=rng.uniform(0, np.pi)
        )
        foot = foot + np.array([0, 0, size[2]])


def _rug(place: Place) -> None:
    b, rng = place.builder, place.builder.rng
    width, depth = rng.uniform([1.7, 1.3], [2.3, 1.8])
    carpet = b.texture(pattern.rug(rng, width, depth))
    place.quad([-width / 2, -depth / 2, 0.006], [width, 0, 0], [0, depth, 0], carpet)


def _cot(place: Place) -> None:
    b, rng = place.builder, place.builder.rng
    width, depth, height = 1.28, 0.68, rng.uniform(0.85, 1.0)
    wood = b.texture(texture.wood(rng, pattern.between(rng, [150, 130, 105], [225, 220, 212]), 0.8, 0.3, 0.3))
    bed_z = rng.uniform(0.3, 0.45)
    for x in (-width / 2, width / 2):
        for y in (0.03, depth - 0.03):
            place.box([x, y, 0], [0.045, 0.045, height + 0.03], wood)
    for z in (0.22, height - 0.05):
        for y in (0.03, depth - 0.03):
            place.box([0, y, z], [width, 0.03, 0.05], wood, bottom=True)
        for x in (-width / 2, width / 2):
            place.box([x, depth / 2, z], [0.03, depth - 0.06, 0.05], wood, bottom=True)
    count = int(rng.integers(11, 16))
    for x in np.linspace(-width / 2, width / 2, count + 2)[1:-1]:
        for y in (0.03, depth - 0.03):
            place.box([x, y, 0.27], [0.018, 0.018, height - 0.32], wood)
    for x in (-width / 2, width / 2):
        for y in np.linspace(0.03, depth - 0.03, 7)[1:-1]:
            place.box([x, y, 0.27], [0.018, 0.018, height - 0.32], wood)
    linen = b.texture(pattern.drape(rng, 1.2, 0.6, pattern.pastel(rng), printed=bool(rng.random() < 0.6)))
    quilt = b.texture(pattern.drape(rng, 0.7, 0.6, muted(rng), printed=True))
    place.box([0, depth / 2, bed_z - 0.1], [width - 0.05, depth - 0.1, 0.1], linen, bottom=True)
    side = rng.choice([-1, 1])
    place.box([0.22 * side, depth / 2, bed_z], [0.7, depth - 0.12, 0.04], quilt)
    place.box([-0.45 * side, depth / 2, bed_z], [0.25, 0.4, 0.07], linen, turn=rng.uniform(-0.1, 0.1))
    _ball(place, np.array([-0.25 * side, depth / 2, bed_z]), 0.07)
    for k in range(int(rng.integers(1, 4))):
        w, h = rng.uniform(0.25, 0.5, 2)
        place.sheet([-0.5 + 0.55 * k, 0.006, rng.uniform(1.3, 1.6)], w, h, b.texture(pattern.painting(rng, w, h)))


def _window(place: Place) -> Light:
    b, rng = place.builder, place.builder.rng
    width, height, z = rng.uniform(0.9, 1.3), rng.uniform(0.9, 1.15), 1.02
    place.sheet([0, 0.004, z], width, height, b.texture(label.window_view(rng, width, height)))
    colour = muted(rng)
    for side in (-1, 1):
        curtain = b.texture(pattern.drape(rng, 0.36, height + 0.2, colour, printed=bool(rng.random() < 0.7)))
        # Two planes that meet in a fold.
        x = side * (width / 2 + 0.12)
        place.quad([x + 0.18, 0.02, z - 0.12], [-0.18, 0.05, 0], [0, 0, height + 0.2], curtain)
        place.quad([x, 0.07, z - 0.12], [-0.18, -0.05, 0], [0, 0, height + 0.2], curtain)
    T = place.T_room_place
    half_a, half_b = T[:3, :3] @ np.array([-width / 2, 0, 0]), np.array([0, 0, height / 2])
    return Light(place.at([0, 0.1, z + height / 2]), half_a, half_b, rng.uniform(1.2, 2.6))


def _chest(place: Place) -> None:
    b, rng = place.builder, place.builder.rng
    width, depth, height = rng.uniform([0.85, 0.38, 0.6], [1.2, 0.45, 0.82])
    colour = pattern.pastel(rng)
    side = b.texture(texture.plain(rng, colour))
    rows = int(rng.integers(2, 5))
    for k in range(rows):
        step = (height - 0.06) / rows
        face = b.texture(label.panel(rng, width, step - 0.008, colour))
        place.box(
            [0, depth / 2 + 0.005, 0.05 + k * step], [width, depth - 0.01, step - 0.008], [side, side, face, side, side]
        )
    place.box([0, depth / 2, height - 0.02], [width + 0.02, depth, 0.02], side, bottom=True)
    half = width / 2
    _play(place, np.array([-half, 0.02]), np.array([half, depth - 0.01]), height, rng.uniform(0.04, 0.1, 9))


def _books(place: Place) -> None:
    """A rack of books beside the door."""
    b, rng = place.builder, place.builder.rng
    side = rng.choice([-1, 1])
    door = b.texture(label.panel(rng, 0.85, 2.0, pattern.pastel(rng)))
    frame = b.texture(texture.plain(rng, [206, 204, 196]))
    place.box([0.95 * side, 0.01, 0], [0.95, 0.02, 2.05], frame)
    place.box([0.95 * side, 0.018, 0], [0.85, 0.036, 2.0], [frame, frame, door, frame, frame])
    wood = b.texture(texture.wood(rng, muted(rng), 1.0, 0.3, 0.3))
    width, depth, x = rng.uniform(0.75, 1.05), 0.28, -0.55 * side
    for end in (-1, 1):
        place.box([x + end * (width / 2 + 0.01), depth / 2, 0], [0.02, depth, 1.62], wood)
    place.quad([x + width / 2, 0.003, 0], [-width, 0, 0], [0, 0, 1.6], wood)
    for z in np.linspace(0.05, 1.6, int(rng.integers(4, 6))):
        place.box([x, depth / 2, z - 0.02], [width, depth, 0.02], wood, bottom=True)
        if rng.random() < 0.75:
            _row(place, x + width / 2 - 0.02, x - width / 2 + 0.02, z)
        else:
            low, high = np.array([x - width / 2, 0.02]), np.array([x + width / 2, depth])
            _play(place, low, high, z, rng.uniform(0.04, 0.09, 6))


def _row(place: Place, start: float, end: float, z: float) -> None:
    """Upright books from `start` down to `end`, some with their face to the room."""
    b, rng = place.builder, place.builder.rng
    x = start
    paper = b.texture(texture.plain(rng, [214, 208, 196]))
    while x > end:
        tall = rng.uniform(0.16, 0.28)
        wide = rng.uniform(0.15, 0.2) if rng.random() < 0.2 else rng.uniform(0.012, 0.04)
        if x - wide < end:
            break
        back = b.texture(pattern.cover(rng, wide, tall))
        cover = b.texture(texture.plain(rng, muted(rng)))
        deep = 0.03 if wide > 0.1 else rng.uniform(0.14, 0.2)
        place.box([x - wide / 2, 0.24 - deep / 2, z], [wide, deep, tall], [paper, cover, back, cover, paper])
        x -= wide + rng.choice([0.001, 0.03], p=[0.85, 0.15])


def _toys(place: Place) -> None:
    """A low bench with baskets, shelves above, pictures."""
    b, rng = place.builder, place.builder.rng
    width, depth, height = rng.uniform(1.1, 1.7), 0.36, rng.uniform(0.4, 0.55)
    wood = b.texture(texture.wood(rng, pattern.between(rng, [140, 105, 75], [210, 190, 165]), 1.0, 0.4, 0.4))
    place.box([0, depth / 2, height - 0.025], [width, depth, 0.025], wood, bottom=True)
    count = int(rng.integers(2, 4))
    for x in np.linspace(-width / 2 + 0.01, width / 2 - 0.01, count + 1):
        place.box([x, depth / 2, 0], [0.02, depth, height - 0.025], wood)
    for k in range(count):
        cell = width / count
        basket = b.texture(texture.cloth(rng, muted(rng)))
        tall = rng.uniform(0.5, 0.8) * height
        place.box([-width / 2 + (k + 0.5) * cell, depth / 2, 0.01], [cell - 0.08, depth - 0.05, tall], basket)
    half = width / 2
    _play(place, np.array([-half, 0.02]), np.array([half, depth - 0.01]), height, rng.uniform(0.04, 0.11, 14))
    for z in (1.15, 1.5)[: int(rng.integers(1, 3))]:
        x, wide = rng.uniform(-0.3, 0.3), rng.uniform(0.6, 1.0)
        place.box([x, 0.11, z], [wide, 0.2, 0.02], wood, bottom=True)
        low, high = np.array([x - wide / 2, 0.02]), np.array([x + wide / 2, 0.2])
        _play(place, low, high, z + 0.02, rng.uniform(0.03, 0.08, 8))
