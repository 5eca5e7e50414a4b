"""A check that needs no truth: halves of the landmarks, each for itself, must tell the same motion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from handcap.geometry import Array, inverse, se3_log
from handcap.reconstruct.inertial import States
from handcap.reconstruct.landmarks import Observations, with_views

_LEAST_TRACKS = 40  # of a half; with fewer the halves say nothing of the whole


def split_half(seen: Observations, solve: Callable[[Observations], States]) -> tuple[float | None, float | None]:
    """What the solution of all landmarks is expected to be off by, root mean square: (m, rad); None where too few.

    Two halves with independent errors differ by √2 of the error of each, and their mean is off by half as much as they
    differ. Errors that both share, of the IMU or the lens, do not show.

    Args:
        seen: all observations used.
        solve: keyframe states from some of them, the same gauge held.
    """
    tracks = np.unique(seen.track)
    if len(tracks) < 2 * _LEAST_TRACKS:
        return None, None
    # Neighbouring tracks are often neighbours in the picture; dealing them out in turns keeps both halves everywhere.
    number = np.searchsorted(tracks, seen.track)
    one, other = (solve(with_views(seen.where(number % 2 == half), 2)) for half in (0, 1))
    apart = se3_log(inverse(one.T_world_imu) @ other.T_world_imu)
    return _rms(apart[:, 3:]) / 2, _rms(apart[:, :3]) / 2


def _rms(rows: Array) -> float:
    """Of the lengths of (n, 3)."""
    return float(np.sqrt(np.mean(np.sum(rows**2, axis=1))))
