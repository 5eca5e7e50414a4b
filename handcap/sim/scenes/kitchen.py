"""A kitchen, 5 × 4 × 2.7 m: a table full of things, a counter with shelves above, a fridge, a bookcase.

Room frame: x from the person to the counter, y to the left, z up; the origin is a corner of the floor.
"""

from __future__ import annotations

import numpy as np

from handcap import geometry
from handcap.geometry import Array
from handcap.sim import label, pattern, texture
from handcap.sim.furniture import clutter, drawer, muted, outside, props_on, shell
from handcap.sim.pattern import between
from handcap.sim.scene import Light, Room, SceneBuilder, Standing
from handcap.sim.texture import Texture

LENGTH_M, WIDTH_M, HEIGHT_M = 5.0, 4.0, 2.7
TABLE_TOP_M = 0.75
_COUNTER_TOP_M, _COUNTER_DEPTH_M = 0.9, 0.6
_TABLE_DEPTH_M = 0.8
_CLEAR_M = 0.4  # from the middle of someone who walks to the table
_WORK_SIZE = np.array([0.42, 0.9])


def furnish(b: SceneBuilder) -> Room:
    """One kitchen; every seed furnishes and lays it differently."""
    rng = b.rng
    _shell(b)
    table = np.array([2.45 + rng.uniform(-0.08, 0.08), 2.0 + rng.uniform(-0.1, 0.1), 0.0])
    width = rng.uniform(1.2, 1.55)
    _table(b, table, width)
    _counter(b)
    _sides(b)
    ceiling_lamp = Light(
        np.array([rng.uniform(2.0, 2.9), rng.uniform(1.6, 2.4), 2.62]),
        np.array([0.35, 0, 0]),
        np.array([0, -0.35, 0]),
        rng.uniform(2.2, 3.3),
    )
    window = Light(np.array([2.9, 3.95, 1.6]), np.array([0.55, 0, 0]), np.array([0, 0, 0.5]), rng.uniform(0.5, 2.2))
    top = TABLE_TOP_M
    standing = Standing(
        head_low_room=table + np.array([-0.80, -0.25, 1.30]),
        head_high_room=table + np.array([-0.52, 0.25, 1.50]),
        gaze_boxes_room=np.array(
            [
                [table + np.array([-0.35, -0.6, top]), table + np.array([0.35, 0.6, top + 0.15])],
                [[4.4, 0.8, 0.9], [4.7, 3.6, 1.3]],
                [[2.5, 0.0, 0.8], [3.8, 0.1, 1.6]],
                [[2.3, 3.9, 0.8], [3.8, 4.0, 1.6]],
            ]
        ),
        gaze_weights=np.array([0.62, 0.22, 0.08, 0.08]),
    )
    T_room_work = geometry.se3(np.eye(3), _work(table) + np.array([0.0, 0.0, 0.003]))
    front = table + np.array([-_TABLE_DEPTH_M / 2 - 0.001, rng.uniform(-0.25, 0.25), TABLE_TOP_M - 0.10])
    return Room(
        lights=(ceiling_lamp, window),
        standing=standing,
        T_room_work=T_room_work,
        work_size=_WORK_SIZE,
        props=props_on(b, T_room_work, _WORK_SIZE, int(rng.integers(1, 5))),
        slide=drawer(b, front, [-1.0, 0.0, 0.0], [0.4, 0.42, 0.1], 0.22),
        path_room=_round_the_table(table, width),
    )


def _round_the_table(table: Array, width: float) -> Array:
    """Floor points (k, 2) from the person's place past the right of the table, along the counter to its left."""
    right, left = table[1] - width / 2 - _CLEAR_M, table[1] + width / 2 + _CLEAR_M
    here = table[:2] + [-0.66, 0.0]
    return np.array([here, [1.2, 1.0], [3.1, right], [3.9, 1.4], [3.9, 2.9], [3.1, left], [2.4, left]])


def _shell(b: SceneBuilder) -> None:
    rng = b.rng
    wall_colour = np.array([205, 200, 190]) + rng.normal(0, 16, 3)
    plaster = [b.texture(texture.plaster(rng, wall_colour + rng.normal(0, 5, 3))) for _ in range(2)]
    walls = [plaster[0], plaster[1], plaster[1], plaster[0]]
    if rng.random() < 0.35:
        walls[0] = walls[2] = b.texture(pattern.wallpaper(rng, wall_colour))
    floor = b.texture(_floor(rng))
    ceiling = b.texture(texture.plaster(rng, [222, 220, 214]))
    shell(b, (LENGTH_M, WIDTH_M, HEIGHT_M), walls, floor, ceiling)


def _floor(rng: np.random.Generator) -> Texture:
    kind = rng.random()
    if kind < 0.5:
        return texture.wood(rng, _wood_colour(rng), 2.4, 2.4, float(rng.choice([0.08, 0.12, 0.18])))
    if kind < 0.75:
        return pattern.slabs(rng, between(rng, [96, 92, 88], [190, 184, 174]), checkered=bool(rng.random() < 0.5))
    return texture.tiles(rng, between(rng, [110, 96, 86], [200, 196, 188]), (0.3, 0.3))


def _wood_colour(rng: np.random.Generator) -> Array:
    """From wenge to birch."""
    return between(rng, [92, 62, 42], [204, 172, 130])


def _table(b: SceneBuilder, foot: Array, width: float) -> None:
    rng, depth = b.rng, _TABLE_DEPTH_M
    wood = b.texture(texture.wood(rng, _wood_colour(rng), 1.5, 1.0, 0.2, texel_m=0.0015))
    b.box(foot + np.array([0, 0, TABLE_TOP_M - 0.04]), [depth, width, 0.04], 0.0, wood, bottom=True)
    for sx in (-1, 1):
        for sy in (-1, 1):
            leg = foot + np.array([sx * (depth / 2 - 0.05), sy * (width / 2 - 0.05), 0])
            b.box(leg, [0.06, 0.06, TABLE_TOP_M - 0.04], 0.0, wood)
    mat = b.texture(texture.cloth(rng, muted(rng)))
    work = _work(foot)
    b.box(work, [*(_WORK_SIZE + 0.02), 0.003], 0.0, mat)
    free = np.array([depth / 2 - 0.06, width / 2 - 0.06])
    keep_out = outside(work[:2], _WORK_SIZE)
    clutter(b, foot[:2] - free, foot[:2] + free, TABLE_TOP_M, int(rng.integers(10, 20)), 0.22, keep_out)


def _work(table: Array) -> Array:
    """Middle of the free surface, at the person's edge of the table."""
    return table + np.array([-0.15, 0.0, TABLE_TOP_M])


def _counter(b: SceneBuilder) -> None:
    rng, x, depth = b.rng, LENGTH_M, _COUNTER_DEPTH_M
    front_colour = muted(rng)
    stone = b.texture(texture.speckled(rng, rng.uniform(95, 170) + rng.normal(0, 6, 3)))
    b.box([x - depth / 2, 2.2, _COUNTER_TOP_M - 0.04], [depth + 0.03, 3.4, 0.04], 0.0, stone)
    for k in range(6):
        door = b.texture(label.panel(rng, 0.56, _COUNTER_TOP_M - 0.05, front_colour))
        y = 0.78 + 0.57 * k
        b.box([x - depth / 2, y, 0], [depth, 0.56, _COUNTER_TOP_M - 0.045], 0.0, door)
    splash = b.texture(texture.tiles(rng, [206, 204, 196], (0.15, 0.1)))
    b.quad([x - 0.006, 3.9, _COUNTER_TOP_M], [0, -3.4, 0], [0, 0, 0.5], splash)
    low, high = np.array([x - depth + 0.05, 0.6]), np.array([x - 0.08, 3.8])
    clutter(b, low, high, _COUNTER_TOP_M, 26, 0.32)
    board = b.texture(texture.wood(rng, _wood_colour(rng), 1.2, 0.4, 0.4))
    lower = rng.uniform(1.36, 1.48)
    for z in (lower, lower + rng.uniform(0.32, 0.42)):
        b.box([x - 0.14, 2.25, z - 0.025], [0.28, 3.0, 0.025], 0.0, board, bottom=True)
        clutter(b, np.array([x - 0.27, 0.8]), np.array([x - 0.01, 3.7]), z, 22, 0.3)


def _sides(b: SceneBuilder) -> None:
    rng = b.rng
    enamel = between(rng, [206, 208, 210], muted(rng)) if rng.random() < 0.4 else np.array([206.0, 208.0, 210.0])
    fridge = [b.texture(label.poster(rng, 0.65, 1.75, enamel, sheets=int(rng.integers(2, 12)))) for _ in range(4)]
    b.box([4.6, 0.34, 0], [0.65, 0.6, 1.75], 0.0, [*fridge, b.texture(texture.plain(rng, enamel))])
    # Right wall (y = 0): pictures and a sideboard with things on it.
    for k, width in enumerate((0.5, 0.7, 0.4)):
        height, left = rng.uniform(0.4, 0.7), 3.9 - 1.1 * k
        picture = b.texture(label.poster(rng, width, height, muted(rng), sheets=5))
        b.quad([left, 0.012, rng.uniform(1.25, 1.45)], [-width, 0, 0], [0, 0, height], picture, uv=(0, 0))
    side = [b.texture(label.panel(rng, 1.8, 0.8, muted(rng))) for _ in range(4)]
    b.box([2.6, 0.2, 0], [1.8, 0.38, 0.8], 0.0, [*side, b.texture(texture.wood(rng, [140, 104, 70], 1.8, 0.4, 0.4))])
    clutter(b, np.array([1.75, 0.05]), np.array([3.45, 0.36]), 0.8, 12, 0.3)
    # Left wall (y = 4): a window, a calendar and shelves.
    outside = b.texture(label.window_view(rng, 1.1, 1.0))
    b.quad([2.35, 3.985, 1.1], [1.1, 0, 0], [0, 0, 1.0], outside, uv=(0, 0))
    calendar = b.texture(label.poster(rng, 0.45, 0.6, muted(rng), sheets=4))
    b.quad([3.65, 3.988, 1.3], [0.45, 0, 0], [0, 0, 0.6], calendar, uv=(0, 0))
    board = b.texture(texture.wood(rng, _wood_colour(rng), 1.8, 0.4, 0.4))
    b.box([2.9, 3.86, 0.975], [1.6, 0.26, 0.025], 0.0, board, bottom=True)
    clutter(b, np.array([2.15, 3.75]), np.array([3.65, 3.97]), 1.0, 9, 0.25)
    low = [b.texture(label.panel(rng, 1.5, 0.7, muted(rng))) for _ in range(4)]
    b.box([2.9, 3.8, 0], [1.5, 0.38, 0.7], 0.0, [*low, board])
    # Behind the person (x = 0): a bookcase and a poster.
    for k in range(4):
        z = 0.05 + 0.42 * k
        b.box([0.15, 1.3, z - 0.03], [0.28, 1.4, 0.03], 0.0, board, bottom=True)
        clutter(b, np.array([0.03, 0.65]), np.array([0.28, 1.95]), z, 9, 0.3)
    poster = b.texture(label.poster(rng, 0.9, 1.2, muted(rng), sheets=8))
    b.quad([0.012, 2.5, 0.9], [0, 0.9, 0], [0, 0, 1.2], poster, uv=(0, 0))
