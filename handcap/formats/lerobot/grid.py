"""From what the devices stamped to an exact frame rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S
from handcap.geometry import Array, interpolate_poses
from handcap.types import Stamps, Trajectory


@dataclass(frozen=True, eq=False, slots=True)
class Timeline:
    """One episode on an exact grid.

    Attributes:
        t_ns: (n,) int64 session clock, first picture plus k / fps.
        row: (n,) the picture shown at each: index into the rows it was made from.
        held: (n,) whether that picture is shown a second time, because one was lost or came late.
    """

    t_ns: Stamps
    row: NDArray[np.int64]
    held: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.t_ns)


def nominal_fps(stamps: list[Stamps]) -> int:
    """Frame rate of a dataset: the median rate of its slowest piece, rounded; whole and at least 1."""
    periods = [float(np.median(np.diff(t))) for t in stamps if len(t) > 1]
    return max(1, round(NS_PER_S / max(periods)))


def pieces(t_ns: Stamps, longest_gap_s: float) -> list[slice]:
    """Stretches of rows without a gap longer than `longest_gap_s`."""
    cuts = np.flatnonzero(np.diff(t_ns) > longest_gap_s * NS_PER_S) + 1
    edges = [0, *cuts.tolist(), len(t_ns)]
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a]


def lay_out(t_ns: Stamps, fps: int) -> Timeline:
    """The exact grid from the first row to the last, each frame showing the nearest picture."""
    # Stamps are rounded: a last picture a hair before its place on the grid still gets it.
    length_ns = int(t_ns[-1] - t_ns[0]) + NS_PER_S // fps // 100
    k = np.arange(length_ns * fps // NS_PER_S + 1, dtype=np.int64)
    grid = np.minimum(t_ns[0] + (k * NS_PER_S + fps // 2) // fps, t_ns[-1])
    after = np.clip(np.searchsorted(t_ns, grid), 1, max(len(t_ns) - 1, 1))
    after = np.minimum(after, len(t_ns) - 1)
    before = np.maximum(after - 1, 0)
    row = np.where(grid - t_ns[before] <= t_ns[after] - grid, before, after)
    return Timeline(grid, row, np.r_[False, np.diff(row) == 0])


def poses_at(camera_rows: Trajectory, imu_rows: Trajectory | None, at_ns: Stamps) -> Array:
    """(m, 4, 4) poses at grid times within the camera rows; between pictures along the IMU-rate rows, if there are any.

    A straight line between 20 Hz poses is off by millimetres in quick motion; between 200 Hz ones by micrometres.
    """
    t_ns, T = camera_rows.t_ns, camera_rows.T_world_body
    if imu_rows is not None:
        dense = imu_rows.tracked & (imu_rows.t_ns > t_ns[0]) & (imu_rows.t_ns < t_ns[-1])
        t_ns, first = np.unique(np.concatenate([t_ns, imu_rows.t_ns[dense]]), return_index=True)
        T = np.concatenate([T, imu_rows.T_world_body[dense]])[first]
    return interpolate_poses(t_ns, T, at_ns)
