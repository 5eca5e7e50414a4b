"""How a rig was moved before the board, about and along each axis of a camera: what moves, tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.calibrate.camera_imu.poses import ViewPoses, accelerations
from handcap.calibrate.camera_imu.start import Turns
from handcap.causes import Cause
from handcap.clock import seconds
from handcap.geometry import Array

TURNS = ("turn_x", "turn_y", "turn_z")  # nodding, shaking, about the optical axis
SHIFTS = ("shift_x", "shift_y", "shift_z")  # sideways, up and down, towards the board and away


@dataclass(frozen=True, slots=True)
class ExcitationParams:
    """What it takes; a hand that turns the rig to and fro gives five times as much.

    Attributes:
        turn_rad_s: rms about each axis. With a tenth of a radian per second the lever arm is known to a few mm.
        shift_m_s2: rms along each axis; weighs the board against gravity.
        pictures: in which the board is seen.
        seconds: from the first to the last of them.
    """

    turn_rad_s: float = 0.15
    shift_m_s2: float = 0.15
    pictures: int = 100
    seconds: float = 10.0


@dataclass(frozen=True, eq=False, slots=True)
class Excitation:
    """Attributes:
    turn_rad_s: (3,) rms rate about the camera's axes, its mean taken off.
    shift_m_s2: (3,) rms acceleration along them.
    pictures: that see the board.
    seconds: from the first to the last of them.
    """

    turn_rad_s: Array
    shift_m_s2: Array
    pictures: int
    seconds: float


def excitation(poses: ViewPoses, turns: Turns) -> Excitation:
    """Of one camera, by its own pictures alone."""
    known = poses.known
    t_s = seconds(poses.t_ns[known], int(poses.t_ns[0]))
    length = float(np.ptp(t_s)) if len(t_s) else 0.0
    turn = np.std(turns.rate_cam, axis=0) if len(turns.rate_cam) else np.zeros(3)
    bend = accelerations(poses)
    told = np.isfinite(bend[:, 0])
    along = np.einsum("nji,nj->ni", poses.T_board_cam[told, :3, :3], bend[told])
    shift = np.sqrt(np.mean(along**2, axis=0)) if told.any() else np.zeros(3)
    return Excitation(turn, shift, int(known.sum()), length)


def missing(moved: Excitation, camera: str, params: ExcitationParams) -> list[Cause]:
    """What was not done before the board; each cause names the motion."""
    causes: list[Cause] = []
    if moved.pictures < params.pictures:
        causes.append(Cause("board_seldom_seen", camera, None, float(moved.pictures), float(params.pictures)))
    elif moved.seconds < params.seconds:
        causes.append(Cause("board_briefly_seen", camera, None, moved.seconds, params.seconds))
    if causes:
        return causes
    for code, rate in zip(TURNS, moved.turn_rad_s, strict=True):
        if rate < params.turn_rad_s:
            limit = float(np.rad2deg(params.turn_rad_s))
            causes.append(Cause(f"weak_{code}", camera, None, float(np.rad2deg(rate)), limit))
    for code, bend in zip(SHIFTS, moved.shift_m_s2, strict=True):
        if bend < params.shift_m_s2:
            causes.append(Cause(f"weak_{code}", camera, None, float(bend), params.shift_m_s2))
    return causes
