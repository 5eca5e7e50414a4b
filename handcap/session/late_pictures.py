"""Pictures that came late over a busy bus and were stamped on arrival, put where they were taken.

A camera exposes evenly, so stamps of pictures that came at once lie on one beat; those of pictures that waited come
after it, each by another while. Such a stamp is put back onto the beat. Nothing is done to a camera that keeps no beat,
or whose beat moves, as one that starts anew does.
"""

from __future__ import annotations

import numpy as np

from handcap.geometry import Array
from handcap.types import Stamps

_LEAST = 20  # pictures
_LATE_NS = 1_000_000  # a stamp so far after the beat was made late
_ALIKE_NS, _RUN = 150_000, 5  # so many pictures on end that are late by the same while keep a beat of their own
_ROUNDS = 20
_LEAST_STEADY = 0.25  # share of the stamps that lie on the beat
_MOST_EARLY = 0.02  # share before it
_NEAR_S = 2.0  # to either side, within which the beat is told: clocks wander
_LOW = 5.0  # percentile of delays that is the beat


def pictures_steadied(t_ns: Stamps) -> Stamps:
    """(n,) stamps of a camera in the order of recording, late ones put onto its beat."""
    step = np.diff(t_ns)
    if len(t_ns) < _LEAST or (step <= 0).any():
        return t_ns
    late_ns = _after_the_beat_ns(t_ns)
    late, alike = late_ns > _LATE_NS, np.abs(np.diff(late_ns)) < _ALIKE_NS
    runs = np.lib.stride_tricks.sliding_window_view(late[1:] & alike, _RUN - 1)
    if runs.all(axis=1).any():
        return t_ns
    steady = np.abs(late_ns) <= _LATE_NS
    if not late.any() or steady.mean() < _LEAST_STEADY or (late_ns < -_LATE_NS).mean() > _MOST_EARLY:
        return t_ns
    out = t_ns - np.where(late, np.rint(late_ns), 0).astype(np.int64)
    return out if (np.diff(out) > 0).all() else t_ns


def _after_the_beat_ns(t_ns: Stamps) -> Array:
    """(n,) by which pictures come after the beat."""
    from scipy.ndimage import percentile_filter

    t = (t_ns - t_ns[0]).astype(float)
    period_ns = _period_ns(t)
    phase_ns = t % period_ns
    # From a quarter of a period before where most stamps crowd: nothing waits for three quarters of one.
    ordered = np.sort(np.r_[phase_ns, phase_ns + period_ns])
    crowd = max(len(t) // 5, 2)
    begin_ns = ordered[np.argmin(ordered[crowd : len(t) + crowd] - ordered[: len(t)])] - period_ns / 4
    beat = np.rint((t - (phase_ns - begin_ns) % period_ns) / period_ns)
    # The line under the delays: an expectile, those above it counting little.
    A, off = np.stack([np.ones(len(t)), beat - beat.mean()], axis=1), np.zeros(len(t))
    for _ in range(_ROUNDS):
        root = np.where(off > 0, 1 / np.hypot(1, off / _ALIKE_NS), 1.0)  # of the weight
        off = t - A @ np.linalg.lstsq(root[:, None] * A, root * t, rcond=None)[0]
    near = min(2 * round(_NEAR_S * 1e9 / period_ns) + 1, len(t))
    return off - np.asarray(percentile_filter(off, _LOW, size=near, mode="nearest"), float)


def _period_ns(t: Array) -> float:
    """Of the beat, about: from pictures ever farther apart, whatever is missing between them."""
    period_ns, apart = float(np.median(np.diff(t))), 2
    while apart < len(t) / 2:
        over = t[apart:] - t[:-apart]
        period_ns = float(np.median(over / np.maximum(np.rint(over / period_ns), 1)))
        apart *= 2
    return period_ns
