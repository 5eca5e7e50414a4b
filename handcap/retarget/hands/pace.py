"""Time for hands that are slower than a person's: only where they need it, and the same for both."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from handcap.clock import NS_PER_S
from handcap.geometry import Array
from handcap.types import Side, Stamps

_SOFT_S = 0.1  # a hand slows down and comes up to speed over so long
_SPARE = 0.95  # of its speed: the motion is sought anew at the new pace, and finds its own way


def slowness(q: Array, t_s: Array, velocity: Array) -> Array:
    """(n - 1,) how many times longer each step must last for joints (n, d) to keep within (d,) limits; 1 where they do.

    Over gaps (NaN) the joints go from where they were to where they are next.
    """
    known = np.flatnonzero(np.isfinite(q).all(axis=1))
    out = np.ones(max(len(t_s) - 1, 0))
    if len(known) < 2:
        return out
    need_s = (np.abs(np.diff(q[known], axis=0)) / velocity).max(axis=1) / _SPARE
    times = np.maximum(need_s / np.diff(t_s[known]), 1.0)
    for a, b, each in zip(known[:-1], known[1:], times, strict=True):
        out[a:b] = each
    if out.max() <= 1:
        return out
    reach = 2 * round(_SOFT_S / float(np.median(np.diff(t_s)))) + 1
    # The mean over a stretch of the largest within as long a stretch is never less than what is needed.
    soft = uniform_filter1d(maximum_filter1d(out, reach, mode="nearest"), reach, mode="nearest")
    return np.where(soft < 1 + 1e-9, 1.0, soft)  # its sums run on, and do not quite come back


def common_pace(stamps: Mapping[Side, Stamps], slow: Mapping[Side, Array]) -> dict[Side, Array]:
    """Of every side (n,) seconds from the first stamp of all, when its robot hand is there: as slow as the slowest."""
    t_ns = np.unique(np.concatenate(list(stamps.values())))
    if all(np.all(each <= 1) for each in slow.values()):
        return {side: (own - t_ns[0]) / NS_PER_S for side, own in stamps.items()}
    times = np.ones(len(t_ns) - 1)
    middle = (t_ns[:-1] + t_ns[1:]) / 2
    for side, own in stamps.items():
        if len(own) < 2:
            continue
        step = np.searchsorted(own, middle) - 1
        inside = (step >= 0) & (step < len(own) - 1)
        times[inside] = np.maximum(times[inside], slow[side][step[inside]])
    t_robot_s = np.r_[0.0, np.cumsum(times * np.diff(t_ns) / NS_PER_S)]
    return {side: t_robot_s[np.searchsorted(t_ns, own)] for side, own in stamps.items()}
