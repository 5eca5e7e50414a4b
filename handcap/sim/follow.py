"""A recorded path, walked again in a virtual room."""

from __future__ import annotations

import numpy as np

from handcap import geometry
from handcap.clock import nanoseconds, seconds
from handcap.errors import UsageError
from handcap.sim.motion import PoseCurve
from handcap.sim.scene import Room, Scene
from handcap.types import Trajectory

_STEP_S = 0.05  # a quintic B-spline blurs by 0.7 steps: less than a hand trembles
_EDGE_S = 3 * _STEP_S  # the curve is known two steps inside its control points
_WALL_M = 0.1


def followed(path: Trajectory, scene: Scene, room: Room, until_s: float) -> PoseCurve:
    """A smooth motion along a path, turned about the vertical and shifted so that it starts at work.

    Args:
        path: of the head's IMU, in a world with z up.
        scene, room: where.
        until_s: how long it must last; the path begins a little before time 0.

    Raises:
        UsageError: the path is too short, or would leave the room.
    """
    t_s = seconds(path.t_ns, int(path.t_ns[0]))
    if t_s[-1] < until_s + 2 * _EDGE_S:
        have_s = max(t_s[-1] - 2 * _EDGE_S - 2.0, 0.0)
        raise UsageError(
            f"the path lasts {t_s[-1]:.1f} s, and the sensors run a second longer than the video at both ends",
            mend=f"ask for at most {np.floor(have_s * 10) / 10:g} s",
        )
    at_s = np.arange(0.0, until_s + 2 * _EDGE_S, _STEP_S)
    T = geometry.interpolate_poses(
        path.t_ns, path.T_world_body, np.minimum(path.t_ns[0] + nanoseconds(at_s), path.t_ns[-1])
    )
    forward, work = T[0, :3, 0], room.T_room_work
    yaw = np.arctan2(work[1, 0], work[0, 0]) - np.arctan2(forward[1], forward[0])
    turn = geometry.se3(geometry.yaw_rotation(float(yaw)), np.zeros(3))
    T = turn @ T
    T[:, :3, 3] += (room.standing.head_low_room + room.standing.head_high_room) / 2 - T[0, :3, 3]
    walls = scene.bodies[0].vertices
    low, high = walls.min(axis=0) + _WALL_M, walls.max(axis=0) - _WALL_M
    if np.any(T[:, :3, 3] < low) or np.any(T[:, :3, 3] > high):
        extent = np.ptp(T[:, :3, 3], axis=0)
        size = high - low
        raise UsageError(
            f"the path ({extent[0]:.1f} × {extent[1]:.1f} × {extent[2]:.1f} m) leaves the room "
            f"({size[0]:.1f} × {size[1]:.1f} × {size[2]:.1f} m)",
            mend="give a smaller path, a shorter time, or another scene",
        )
    return PoseCurve.through_controls(2 * _STEP_S - _EDGE_S, _STEP_S, T)
