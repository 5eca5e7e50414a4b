"""When the jaws were closed on something: still, narrower than just before, and than just after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.clock import seconds
from handcap.geometry import Array
from handcap.types import Stamps


@dataclass(frozen=True, slots=True)
class HoldParams:
    """What counts as a hold."""

    still_m: float = 4e-4  # jaws that rest on steel scatter by less, a moving jaw goes farther within the window
    window_s: float = 0.25
    longest_gap_s: float = 0.3  # without a value, nobody knows whether the jaws moved
    shortest_s: float = 0.4  # besides the window: a hand that waits on a block stays longer
    settle_s: float = 0.1  # left out at either end: pads give, and camera and encoder clocks differ
    wider_m: float = 1.5e-3  # by which the jaws were wider before and after
    near_s: float = 0.6  # how long before and after: wide open, the tags may be out of view


@dataclass(frozen=True, eq=False, slots=True)
class Holds:
    """Stretches during which the jaws rested on something.

    Attributes:
        start_ns, end_ns: (k,) of each.
        value_m: (k,) what the signal was.
    """

    start_ns: Stamps
    end_ns: Stamps
    value_m: Array

    def __len__(self) -> int:
        return len(self.start_ns)

    def inside(self, t_ns: Stamps) -> NDArray[np.int64]:
        """(n,) which hold each time lies in, -1 for none."""
        k = np.searchsorted(self.start_ns, t_ns, side="right") - 1
        last = self.end_ns[np.maximum(k, 0)] if len(self) else np.zeros(len(t_ns), np.int64)
        return np.where((k >= 0) & (t_ns <= last), k, -1)


def find_holds(t_ns: Stamps, opening_m: Array, params: HoldParams | None = None) -> Holds:
    """Where the jaws came from wider, rested, and went to wider again.

    Args:
        t_ns: (n,) increasing.
        opening_m: (n,) any signal that grows with the opening at about its scale; its zero does not matter.
    """
    params = params or HoldParams()
    kept: list[tuple[int, int]] = []
    for i, j in _rests(t_ns, opening_m, params):
        wider_m = float(np.median(opening_m[i:j])) + params.wider_m
        near_ns = round(params.near_s * 1e9)
        before = opening_m[np.searchsorted(t_ns, t_ns[i] - near_ns) : i]
        after = opening_m[j : np.searchsorted(t_ns, t_ns[j - 1] + near_ns, side="right")]
        came, left = (len(side) > 0 and side.max() > wider_m for side in (before, after))
        if came and left and seconds(t_ns[j - 1] - t_ns[i]) >= params.shortest_s:
            kept.append((i, j))
    settle_ns = round(params.settle_s * 1e9)
    start = np.array([t_ns[i] + settle_ns for i, _ in kept], np.int64)
    end = np.array([t_ns[j - 1] - settle_ns for _, j in kept], np.int64)
    return Holds(start, end, np.array([np.median(opening_m[i:j]) for i, j in kept], float))


def _rests(t_ns: Stamps, value: Array, params: HoldParams) -> list[tuple[int, int]]:
    """First sample, and the one after the last, of each stretch in which nothing moved."""
    n = len(t_ns)
    if n < 3:
        return []
    half_ns = round(params.window_s * 1e9 / 2)
    low, high = np.searchsorted(t_ns, t_ns - half_ns), np.searchsorted(t_ns, t_ns + half_ns, side="right")
    still = np.array([np.ptp(value[i:j]) < params.still_m and j - i >= 2 for i, j in zip(low, high, strict=True)])
    broken = np.concatenate([[True], np.diff(t_ns) > round(params.longest_gap_s * 1e9)])
    # A rest ends where the jaws move, where values are missing, and never because of one sample.
    out: list[tuple[int, int]] = []
    begin = 0
    while begin < n:
        if not still[begin]:
            begin += 1
            continue
        end = begin + 1
        while end < n and still[end] and not broken[end]:
            end += 1
        if end - begin >= 2:
            out.append((begin, end))
        begin = end
    return _joined(out, value, params)


def _joined(rests: list[tuple[int, int]], value: Array, params: HoldParams) -> list[tuple[int, int]]:
    """Two rests at the same opening are one, interrupted by an outlier."""
    out: list[tuple[int, int]] = []
    for i, j in rests:
        if out and abs(np.median(value[i:j]) - np.median(value[slice(*out[-1])])) < params.still_m / 2:
            out[-1] = (out[-1][0], j)
        else:
            out.append((i, j))
    return out
