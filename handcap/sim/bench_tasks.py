"""What a technician does with a rig: lay it down, turn it through poses, look at a board, close the jaws on gauges; and
every day a little of all of it."""

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
_MARGIN_S = 1.0  # the first picture is taken then; as long after the last one, a script may end
_STILL_S = 2.5
_OVER_FINGERS_RAD = 0.45
_SHUT_S = 3.0  # to finish the last look, to close the jaws, and then to wait for a second
_ASIDE_RAD = 0.75  # from the middle of the picture; beyond it the board leaves a plain lens


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


def look_at(
    name: str,
    play: Play,
    until_s: float,
    approach_s: float = 1.5,
    over_fingers: bool = False,
    aside_rad: float = 0.0,
) -> None:
    """Every camera in turn looks at a board from many sides, lively enough to tell offset and mounting.

    Args:
        approach_s: how long it takes to come before the board.
        over_fingers: a gripper's camera sees the board in the upper half, where its own fingers do not cover it.
        aside_rad: the board comes to lie everywhere in the picture, up to this angle from its middle: for lenses.
    """
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
            play.t_s += approach_s if first else float(play.rng.uniform(0.55, 0.95))
            down_rad = _OVER_FINGERS_RAD if over_fingers and body != "head" else 0.0
            track.add(play.t_s, _view(board, play.rng, down_rad, aside_rad) @ T_cam_body)
            first = False
        if k + 1 < len(tracks):
            play.t_s += 1.5
            track.add(play.t_s, rest)


def check(play: Play, until_s: float) -> None:
    """The daily check: lie still, look at the ChArUco board from several sides, close the jaws."""
    held: list[Side] = [side for side in SIDES if side in play.T_body_cam]
    play.wait(_MARGIN_S + _STILL_S - play.t_s)
    end_s = until_s - 2 * _MARGIN_S - (_SHUT_S if held else 0.0)
    look_at("charuco", play, end_s, approach_s=1.0, over_fingers=True)
    for side in held:
        play.shut(side)


def _view(board: Board, rng: np.random.Generator, down_rad: float, aside_rad: float) -> Array:
    """A camera (4, 4) before the board, tilted, rolled and not quite centred, its axis below the board or aside."""
    size = board.target.corners_target.max(axis=0)
    aim = np.array([*(size[:2] / 2 + rng.uniform(-0.3, 0.3, 2) * size[:2]), 0.0])
    tilt, around, distance = np.deg2rad(rng.uniform(0, 42)), rng.uniform(0, 2 * np.pi), rng.uniform(0.28, 0.6)
    away = np.array([np.sin(tilt) * np.cos(around), np.sin(tilt) * np.sin(around), -np.cos(tilt)])
    R_board_cam = geometry.looking_along(-away) @ geometry.so3_exp([0.0, 0.0, rng.uniform(-0.9, 0.9)])
    R_board_cam = R_board_cam @ geometry.so3_exp([-down_rad, 0.0, 0.0])
    if aside_rad > 0:
        # Evenly over a disc of angles, so that the border gets as much as the middle.
        aside, towards = aside_rad * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        R_board_cam = R_board_cam @ geometry.so3_exp([aside * np.cos(towards), aside * np.sin(towards), 0.0])
    return board.T_room_board @ geometry.se3(R_board_cam, aim + distance * away)


BENCH_TASKS: dict[str, Callable[[Play, float], None]] = {
    "still": still,
    "poses": poses,
    "jaws": jaws,
    "charuco": partial(look_at, "charuco"),
    "aprilgrid": partial(look_at, "aprilgrid"),
    "check": check,
    "lens": partial(look_at, "charuco", aside_rad=_ASIDE_RAD),
    "lens-aprilgrid": partial(look_at, "aprilgrid", aside_rad=_ASIDE_RAD),
}
