"""A calibration bench: a ChArUco board and an AprilGrid before the technician, gauge blocks on the table.

Room frame: x from the person to the boards, y to the left, z up; the origin is a corner of the floor.
"""

from __future__ import annotations

import numpy as np

from handcap import geometry
from handcap.sim import targets, texture
from handcap.sim.scene import Board, Light, Prop, Room, SceneBuilder, Standing

_SIZE = (3.6, 3.5, 2.6)
_TABLE_TOP_M = 0.8
GAUGES_MM = (10, 20, 30, 40, 50, 60, 70)
# A board looks at the person: its x is the person's right, its y down, its z away.
_FACING = np.column_stack([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])


def furnish(b: SceneBuilder) -> Room:
    """One bench; seeds differ in colours and light."""
    rng, (x, y, z) = b.rng, _SIZE
    wall = b.texture(texture.plaster(rng, np.array([205, 205, 200]) + rng.normal(0, 12, 3)))
    floor = b.texture(texture.speckled(rng, rng.uniform(90, 150) + rng.normal(0, 6, 3)))
    wood = b.texture(texture.wood(rng, [170, 130, 90], 1.6, 0.7, 0.2))
    b.quad([0, 0, 0], [x, 0, 0], [0, y, 0], floor)
    b.quad([0, 0, z], [0, y, 0], [x, 0, 0], wall)
    b.quad([0, 0, 0], [0, y, 0], [0, 0, z], wall)
    b.quad([x, y, 0], [0, -y, 0], [0, 0, z], wall)
    b.quad([x, 0, 0], [-x, 0, 0], [0, 0, z], wall)
    b.quad([0, y, 0], [x, 0, 0], [0, 0, z], wall)
    b.box([1.75, 1.75, _TABLE_TOP_M - 0.04], [0.6, 1.7, 0.04], 0.0, wood, bottom=True)
    for leg in ([1.5, 0.95, 0], [1.5, 2.55, 0], [2.0, 0.95, 0], [2.0, 2.55, 0]):
        b.box(leg, [0.06, 0.06, _TABLE_TOP_M - 0.04], 0.0, wood)
    boards: list[Board] = []
    for name, target, across in (
        ("charuco", targets.charuco(8, 6, 0.05, 0.75, 0.02), 1.32),
        ("aprilgrid", targets.aprilgrid(6, 6, 0.055, 0.3, 0.02), 2.15),
    ):
        middle = target.size_m / 2 - target.margin_m
        T = geometry.se3(_FACING, np.array([2.3, across, 1.3]) - _FACING @ [*middle, 0.0])
        b.quad(*target.sheet(T), b.texture(target.texture), uv=(0, 0))
        boards.append(Board(name, T, target))
    T_room_work = geometry.se3(np.eye(3), [1.68, 1.75, _TABLE_TOP_M])
    return Room(
        lights=(Light(np.array([1.3, 1.75, 2.55]), np.array([0.5, 0, 0]), np.array([0, -0.5, 0]), 3.4),),
        standing=Standing(
            head_low_room=np.array([1.0, 1.6, 1.35]),
            head_high_room=np.array([1.2, 1.9, 1.5]),
            gaze_boxes_room=np.array([[[1.5, 1.2, 0.8], [2.3, 2.3, 1.5]]]),
            gaze_weights=np.ones(1),
        ),
        T_room_work=T_room_work,
        work_size=np.array([0.4, 1.0]),
        props=_gauges(b, T_room_work),
        slide=None,
        path_room=np.array([[1.1, 1.75], [0.6, 0.6], [0.6, 2.9]]),
        boards=tuple(boards),
    )


def _gauges(b: SceneBuilder, T_room_work: np.ndarray) -> tuple[Prop, ...]:
    """Steel blocks of exactly known widths in a row."""
    steel = b.texture(texture.plain(b.rng, [168, 170, 174]))
    props: list[Prop] = []
    for k, width_mm in enumerate(GAUGES_MM):
        name, width_m = f"gauge_{width_mm:02d}mm", width_mm / 1000
        b.body(name).box([0, 0, 0], [width_m, 0.03, 0.06], 0.0, steel, bottom=True)
        # Across the person's view, so that the jaws close on it from left and right.
        turned = geometry.se3(geometry.yaw_rotation(-np.pi / 2), [0.0, 0.13 * (k - (len(GAUGES_MM) - 1) / 2), 0.0])
        props.append(Prop(name, T_room_work @ turned, width_m, 0.06))
    return tuple(props)
