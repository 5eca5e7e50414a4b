"""Which pictures become states of the bundle adjustment, and which stretch starts it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S
from handcap.geometry import Array
from handcap.reconstruct.frontend import Tracks

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class KeyframeParams:
    period_s: float = 0.2  # IMU preintegration bridges this to well under a millimetre
    min_period_s: float = 0.04
    shared: float = 0.6  # a new keyframe once fewer than this share of the last one's features is still alive


def choose_keyframes(
    tracks: Tracks, params: KeyframeParams | None = None, knocked: NDArray[np.bool_] | None = None
) -> Indices:
    """Picture indices, ascending; always the first and the last.

    Args:
        knocked: (n,) pictures just before or after a knock, across which the IMU bridges badly.
    """
    params = params or KeyframeParams()
    t, ends = tracks.camera_t_ns, np.searchsorted(tracks.frame, np.arange(len(tracks.camera_t_ns) + 1))
    ids = [tracks.track[a:b] for a, b in zip(ends[:-1], ends[1:], strict=True)]
    last, chosen = 0, [0]
    for i in range(1, len(t)):
        gap_s = (t[i] - t[last]) / NS_PER_S
        # 5 % early: a camera at 20 Hz whose stamps jitter must not slip to every fifth picture.
        due = gap_s >= 0.95 * params.period_s
        if not due and gap_s >= params.min_period_s and knocked is not None:
            due = knocked[i]
        if not due and gap_s >= params.min_period_s and len(ids[last]):
            due = np.isin(ids[last], ids[i], assume_unique=True).mean() < params.shared
        if due or i == len(t) - 1:
            chosen.append(i)
            last = i
    return np.array(chosen, np.int64)


def starting_windows(
    tracks: Tracks, ray: Array, R_start_cam: Array, length: int, stride: int = 8, lag: int = 4
) -> list[NDArray[np.int64]]:
    """Stretches of keyframes to start from, the most promising first.

    Promising: neighbours `lag` apart share many tracks and see them shifted beyond what rotation explains.

    Args:
        tracks: keyframes only, n of them.
        ray: (k, 3) unit ray of each observation, camera axes.
        R_start_cam: (n, 3, 3) rotation from the gyroscope.
        length: keyframes in a stretch.
    """
    n = len(tracks.camera_t_ns)
    if n <= length:
        return [np.arange(n)]
    parallax = neighbour_parallax(tracks, ray, R_start_cam, lag)
    starts = sorted({*range(0, n - length + 1, stride), n - length})
    score = [float(np.mean(parallax[s : s + length - lag])) for s in starts]
    best: list[NDArray[np.int64]] = []
    for k in np.argsort([-x for x in score], kind="stable"):
        if all(abs(starts[k] - w[0]) >= length // 2 for w in best):
            best.append(np.arange(starts[k], starts[k] + length))
    return best


def neighbour_parallax(tracks: Tracks, ray: Array, R_start_cam: Array, lag: int) -> Array:
    """(n - lag,) median angle, rad, by which shared tracks moved beyond rotation; scaled down where few are shared."""
    n = len(tracks.camera_t_ns)
    edges = np.searchsorted(tracks.frame, np.arange(n + 1))
    out = np.zeros(max(n - lag, 0))
    for i in range(n - lag):
        a, b = slice(edges[i], edges[i + 1]), slice(edges[i + lag], edges[i + lag + 1])
        _, in_a, in_b = np.intersect1d(tracks.track[a], tracks.track[b], assume_unique=True, return_indices=True)
        if len(in_a) < 8:
            continue
        turned = ray[a][in_a] @ (R_start_cam[i + lag].T @ R_start_cam[i]).T
        moved = np.linalg.norm(np.cross(turned, ray[b][in_b]), axis=1)
        out[i] = min(float(np.median(moved)), 0.2) * min(len(in_a), 80) / 80
    return out


def halves(window: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The middle, the first and the last half of a stretch of keyframes."""
    half, quarter = len(window) // 2, len(window) // 4
    return [window[quarter : quarter + half], window[:half], window[half:]]
