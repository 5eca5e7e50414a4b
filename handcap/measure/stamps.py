"""What the stamps of a stream say about it: stretches without anything, what was lost, how unsteady they are."""

from __future__ import annotations

import numpy as np

from handcap.clock import NS_PER_S
from handcap.geometry import Array
from handcap.types import Stamps

_NEIGHBOURS = 15  # stamps to either side that say how long a period is just there
_LEAST = 6  # stamps that make a line worth fitting


def periods_apart(t_ns: Stamps) -> Array:
    """(n - 1,) how many periods lie between consecutive stamps, whole numbers, at least 1.

    A camera may change its rate while it runs, so a period is what is usual in the neighbourhood.
    """
    steps = np.diff(t_ns).astype(float)
    if not len(steps):
        return steps
    around = np.pad(steps, _NEIGHBOURS, mode="edge")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(around, 2 * _NEIGHBOURS + 1), axis=1)
    return np.maximum(np.rint(steps / np.maximum(usual, 1.0)), 1.0)


def lost_share(t_ns: Stamps, longest_ns: int) -> float:
    """Share of a regular stream that its stamps say is missing between first and last, 0 to 1.

    Args:
        longest_ns: a stretch of at least so long without a stamp is a gap, and no loss.
    """
    if len(t_ns) < 2:
        return 0.0
    apart = periods_apart(t_ns)
    missing = float(np.sum(apart[np.diff(t_ns) < longest_ns] - 1))
    return missing / (len(t_ns) + missing)


def gaps_ns(t_ns: Stamps, least_ns: int) -> list[tuple[int, int]]:
    """(start, end) of stretches of at least so long, and of more than one period, without a stamp."""
    long = (np.diff(t_ns) >= least_ns) & (periods_apart(t_ns) > 1)
    return [(int(t_ns[k]), int(t_ns[k + 1])) for k in np.flatnonzero(long)]


def jitter_s(t_ns: Stamps, window_s: float = 1.0) -> float:
    """Root mean square of what stamps are off a steady beat, in the worst window; NaN where there are too few.

    In each window a line is laid through stamps over the number of periods since its first, so that lost records and
    a rate that drifts do no harm.
    """
    if len(t_ns) < _LEAST:
        return float("nan")
    number = np.concatenate([[0.0], np.cumsum(periods_apart(t_ns))])
    t_s = (t_ns - t_ns[0]) / NS_PER_S
    worst = 0.0
    for start_s in np.arange(0.0, max(t_s[-1] - window_s / 2, window_s / 4), window_s / 2):
        within = (t_s >= start_s) & (t_s < start_s + window_s)
        if np.count_nonzero(within) < _LEAST:
            continue
        n, t = number[within], t_s[within]
        slope, offset = np.polyfit(n - n[0], t - t[0], 1)
        off = t - t[0] - offset - slope * (n - n[0])
        worst = max(worst, float(np.sqrt(np.sum(off**2) / (len(off) - 2))))
    return worst
