"""Stretches of a long take, and where each one's world lies in that of the take."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array, se3, vertical_part
from handcap.reconstruct.rig_take import Spans, Whole
from handcap.reconstruct.shared import follow
from handcap.reconstruct.stretches import Stretch
from handcap.types import Stamps, Trajectory


@dataclass(frozen=True, eq=False, slots=True)
class Placed:
    """A stretch in the take's world.

    Attributes:
        T_world_own: (4, 4) its own world, z up in both.
        cov: (4, 4) of yaw, x, y, z: the truth less the estimate.
        by: "pose" of a picture that both see, "room", or "start" of the first.
    """

    T_world_own: Array
    cov: Array
    by: str

    def moved(self, rows: Trajectory) -> Trajectory:
        """Rows of a body in the take's world."""
        T = self.T_world_own @ rows.T_world_body
        follows = follow(T, self.T_world_own)
        return replace(rows, T_world_body=T, cov=rows.cov + follows @ self.cov @ np.swapaxes(follows, 1, 2))


def by_pose(before: Trajectory, after: Trajectory) -> Placed | None:
    """Where a world lies by the first picture that has a pose in both; None where none has.

    Args:
        before: in the take's world.
        after: of the same body, in the world to be placed, whose origin its first pose is.
    """
    both = np.intersect1d(before.camera_t_ns[before.tracked], after.camera_t_ns[after.tracked])
    if not len(both):
        return None
    i, j = (int(np.searchsorted(rows.camera_t_ns, both[0])) for rows in (before, after))
    T_here, T_there = before.T_world_body[i], after.T_world_body[j]
    turn = vertical_part(T_here[:3, :3] @ T_there[:3, :3].T)
    T = se3(turn, T_here[:3, 3] - turn @ T_there[:3, 3])
    # What the pose's own error does to yaw and shift, the shift being that of the origin.
    R, z = T_here[:3, :3], np.array([0.0, 0.0, 1.0])
    by_error = np.zeros((4, 6))
    by_error[0, :3] = z @ R
    by_error[1:, :3] = -np.outer(np.cross(z, T_here[:3, 3] - T[:3, 3]), z @ R)
    by_error[1:, 3:] = R
    return Placed(T, by_error @ before.cov[i] @ by_error.T, "pose")


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """One stretch: what became of it, where it lies in the take's world, and when it was, s from the first picture."""

    whole: Whole
    stretch: Stretch
    at: Placed | None
    start_s: float
    end_s: float
    is_last: bool

    def keeps(self, camera_t_ns: Stamps) -> NDArray[np.bool_]:
        """Which stamps are its own to tell."""
        before_end = (camera_t_ns < self.stretch.end_ns) | self.is_last
        return (camera_t_ns >= self.stretch.start_ns) & before_end

    def shifted(self, spans: Spans) -> list[tuple[float, float]]:
        """Its own spans on the take's time, as far as they are its to tell."""
        out = [(self.start_s + a, self.start_s + b) for a, b in spans]
        return [(a, b if self.is_last else min(b, self.end_s)) for a, b in out if a < self.end_s]
