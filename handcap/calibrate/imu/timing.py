"""Does the log tick evenly? Everything a calibration says of noise and of turns hangs on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.calibrate.imu.log import ImuLog
from handcap.causes import Cause
from handcap.clock import NS_PER_S
from handcap.geometry import Array


@dataclass(frozen=True, slots=True)
class TimingParams:
    """What still counts as even.

    Attributes:
        jump_periods: stamps that shift by more and stay there have jumped. One sample lost is a shift of one.
        most_lost: share of single lost samples; beyond, the log has holes everywhere.
        rate_tolerance: between the rate measured and the one stated. Cheap oscillators are off by 3 %.
        around: samples on each side that tell a shift that stays from a stamp that was late once.
    """

    jump_periods: float = 1.5
    most_lost: float = 1e-3
    rate_tolerance: float = 0.05
    around: int = 15


@dataclass(frozen=True, slots=True)
class Timing:
    """Attributes:
    rate_hz: measured.
    lost: single samples that are missing.
    """

    rate_hz: float
    lost: int


def timing(log: ImuLog, params: TimingParams) -> tuple[Timing, Sequence[Cause]]:
    """The rate of a log of at least 100 samples, and what is wrong with its clock."""
    step = np.diff(log.t_ns) / NS_PER_S
    period_s = float(np.median(step))
    if not period_s > 0:
        return Timing(0.0, 0), [Cause("log_clock_back", measured=float(np.count_nonzero(step <= 0)))]
    shift = _lasting_shifts(step - period_s, params.around)
    jumps = np.flatnonzero(np.abs(shift) > params.jump_periods * period_s)
    lost = int(np.count_nonzero((np.abs(shift) <= params.jump_periods * period_s) & (shift > 0.6 * period_s)))
    rate_hz = 1 / _mean_step(step, np.abs(shift) < 0.6 * period_s, period_s)
    causes: list[Cause] = []
    if lost > params.most_lost * len(log):
        causes.append(Cause("log_lost", measured=100 * lost / len(log), limit=100 * params.most_lost))
    elif len(jumps):
        at_s = float(log.t_s[jumps[0]])
        causes.append(Cause("log_clock_jump", measured=float(shift[jumps[0]]), span_s=(at_s, at_s)))
    elif log.dropped:
        causes.append(Cause("log_clock_back", measured=float(log.dropped)))
    for stated in (log.rate_hz, None if log.stated is None else log.stated.rate_hz):
        if stated is not None and abs(rate_hz / stated - 1) > params.rate_tolerance:
            causes.append(Cause("log_rate", measured=rate_hz, limit=stated))
            break
    return Timing(rate_hz, lost), causes


def _mean_step(step: Array, even: NDArray[np.bool_], period_s: float) -> float:
    """Mean over the steps that hold no shift: stamps may be rounded, to milliseconds say, their mean is not."""
    kept = step[even]
    return float(kept.mean()) if len(kept) else period_s


def _lasting_shifts(late: Array, around: int) -> Array:
    """(n,) by how much stamps shift for good at each step, s; zero where a stamp was late once.

    Args:
        late: (n,) each step less the period.
        around: samples whose median place is compared on both sides.
    """
    place = np.concatenate([[0.0], np.cumsum(late)])
    scatter = float(np.median(np.abs(late)))
    suspects = np.flatnonzero(np.abs(late) > max(6 * scatter, 1e-5))
    shift = np.zeros(len(late))
    suspects = suspects[np.argsort(-np.abs(late[suspects]), kind="stable")][:10_000]
    for k in suspects:
        before = np.median(place[max(k + 1 - around, 0) : k + 1])
        after = np.median(place[k + 1 : k + 1 + around])
        # A shift lies where its largest step lies; the other steps of a late stamp cancel.
        shift[k] = after - before if abs(after - before) > 0.5 * abs(late[k]) else 0.0
    return shift
