"""What a technician does with a rig: lay it down, turn it through poses, look at a board, close the jaws on gauges."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from handcap import geometry
from handcap.errors import UsageError
from handcap.geometry import Array
from handcap.sim.keys import Track
from handcap.sim.play import Play
from handcap.sim.scene import Board
from handcap.types import SIDES, Side

_HOLD_S = 2.5  # a pose is held this long
_GAUGE_S = 1.2


def still(play: Play, until_s: float) -> None:
    """Nothing moves: a log for noise and bias."""
    play.wait(until_s - play.t_s)


def poses(play: Play, until_s: float) -> None:
    """Every device is turned through poses and held still in each: six faces, then askew."""
    tracks = [play.head, *(play.tool[side] for side in SIDES)]
    bases = [track.T_room[-1] for track in tracks]
    faces = [[0, 0, 0], [np.pi / 2, 0, 0], [np.pi, 0, 0], [-np.pi / 2, 0, 0], [0, np.pi / 2, 0], [0, -np.pi / 2, 0]]
    k = 0
    while play.t_s < until_s:
        turn = np.array(faces[k], float) if k < len(faces) else play.rng.uniform(-2.0, 2.0, 3)
        start_s = play.t_s
        for track, base in zip(tracks, bases, strict=True):
            # Two moves, so that no turn is longer than a right angle.
            here = track.T_room[-1]
            there = geometry.se3(geometry.so3_exp(turn), base[:3, 3])
            half = geometry.so3_log(here[:3, :3].T @ there[:3, :3]) / 2
            track.add(start_s + 1.0, geometry.se3(here[:3, :3] @ geometry.so3_exp(half), base[:3, 3]))
            track.add(start_s + 2.0, there)
            track.add(start_s + 2.0 + _HOLD_S, there)
        play.t_s = start_s + 2.0 + _HOLD_S
        play.note("pose", "", "")
        k += 1


def jaws(play: Play, until_s: float) -> None:
    """Each gripper closes on every gauge block, from the narrow to the wide and back, and opens again."""
    assert play.room.props, "no gauge blocks"
    order = [*play.room.props, *reversed(play.room.props)]
    held: list[Side] = [side for side in SIDES if side in play.T_body_cam] or [*SIDES]
    while play.t_s < until_s:
        for side in held:
            for gauge in order:
                play.gauge(side, gauge, _GAUGE_S)
            play.rest()


def look_at(name: str, play: Play, until_s: float) -> None:
    """Every camera in turn looks at a board from many sides, lively enough to tell offset and mounting."""
    board = next((board for board in play.room.boards if board.name == name), None)
    if board is None:
        raise UsageError(f"there is no {name} in this room", mend="choose the scene 'bench'")
    tracks: list[tuple[str, Track]] = [(body, play.track(body)) for body in play.T_body_cam]
    start_s = play.t_s
    for k, (body, track) in enumerate(tracks):
        T_cam_body = geometry.inverse(play.T_body_cam[body])
        rest, end_s = track.T_room[-1], start_s + (until_s - start_s) * (k + 1) / len(tracks)
        if play.t_s > track.t_s[-1]:
            track.add(play.t_s, rest)
        first = True
        while play.t_s < end_s:
            # A free hand goes through its moves faster than a head.
            play.t_s += 1.5 if first else float(play.rng.uniform(0.55, 0.95))
            track.add(play.t_s, _view(board, play.rng) @ T_cam_body)
            first = False
        if k + 1 < len(tracks):
            play.t_s += 1.5
            track.add(play.t_s, rest)


def _view(board: Board, rng: np.random.Generator) -> Array:
    """A camera (4, 4) before the board, tilted, rolled and not quite centred."""
    size = board.target.corners_target.max(axis=0)
    aim = np.array([*(size[:2] / 2 + rng.uniform(-0.3, 0.3, 2) * size[:2]), 0.0])
    tilt, around, distance = np.deg2rad(rng.uniform(0, 42)), rng.uniform(0, 2 * np.pi), rng.uniform(0.28, 0.6)
    away = np.array([np.sin(tilt) * np.cos(around), np.sin(tilt) * np.sin(around), -np.cos(tilt)])
    R_board_cam = geometry.looking_along(-away) @ geometry.so3_exp([0.0, 0.0, rng.uniform(-0.9, 0.9)])
    return board.T_room_board @ geometry.se3(R_board_cam, aim + distance * away)


BENCH_TASKS: dict[str, Callable[[Play, float], None]] = {
    "still": still,
    "poses": poses,
    "jaws": jaws,
    "charuco": partial(look_at, "charuco"),
    "aprilgrid": partial(look_at, "aprilgrid"),
}
