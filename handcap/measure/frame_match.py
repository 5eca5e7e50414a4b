"""Which trigger pulse each picture of a triggered camera belongs to.

A board stamps every pulse; the camera's pictures arrive later, some never. One lost picture must not shift the rest: a
picture is tied to a pulse where only one fits, and left open where two do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.types import Stamps

NONE = -1


@dataclass(frozen=True, slots=True)
class MatchParams:
    """How pictures are tied to pulses.

    Attributes:
        most_delay_s: from a pulse to its picture's stamp, exposure and transfer and all.
        on_time_s: what a picture's stamp may differ from the usual delay and still be on time; a kernel that stamps a
            transfer's first packet stays within a millisecond or two.
        burst_s: how long pictures may be held up, to come all at once.
        evidence: by how many pictures the best usual delay must beat the next, a whole period away. A gap speaks with
            one picture against a wrong delay, and with none where the picture at its edge was lost.
    """

    most_delay_s: float = 0.2
    on_time_s: float = 0.003
    burst_s: float = 0.15
    evidence: int = 1


@dataclass(frozen=True, eq=False, slots=True)
class FrameMatch:
    """Pictures tied to pulses.

    Attributes:
        pulse: (n,) int64 place of each picture's pulse among the pulses; NONE where more than one fits, or none.
        delay_s: usual time from a pulse's exposure to its picture's stamp; None where nothing could be told.
        ambiguous: pictures left open.
        lost: pulses without a picture, between the first and the last picture, ambiguous ones not counted.
        by_ids: whether the camera's own count told them.
    """

    pulse: Stamps
    delay_s: float | None
    ambiguous: int
    lost: int
    by_ids: bool = False


def match_frames(
    pulse_ns: Stamps,
    arrival_ns: Stamps,
    frame_ids: Stamps | None = None,
    params: MatchParams | None = None,
    pulse_ids: Stamps | None = None,
) -> FrameMatch:
    """Tie pictures to pulses.

    Args:
        pulse_ns: (p,) int64 middle of each exposure, session clock, increasing; with the gaps that the board left out.
        arrival_ns: (n,) int64 stamp of each picture, session clock, not decreasing.
        frame_ids: (n,) the camera's own count, strictly increasing, which also counts pictures that were lost; None
            where it has none. A count that the times contradict is not believed.
        params: how.
        pulse_ids: (p,) the board's own count, strictly increasing; None: no stamp of a pulse is missing, and there were
            no pulses before the first and after the last.
    """
    params = params or MatchParams()
    n = len(arrival_ns)
    open_ = FrameMatch(np.full(n, NONE, np.int64), None, n, 0)
    if len(pulse_ns) < 2 or n == 0:
        return open_
    if frame_ids is not None:
        counted = _by_ids(
            pulse_ns, np.arange(len(pulse_ns)) if pulse_ids is None else pulse_ids, arrival_ns, frame_ids, params
        )
        if counted is not None:
            return counted
    grid_ns, place = _with_untold(pulse_ns, pulse_ids, params.most_delay_s + params.burst_s)
    delay_s = _usual_delay_s(grid_ns, arrival_ns, params)
    if delay_s is None:
        return open_
    tied = _by_time(grid_ns, arrival_ns, delay_s, params)
    return _finished(np.where(tied == NONE, NONE, place[tied]), delay_s)


def _with_untold(pulse_ns: Stamps, pulse_ids: Stamps | None, around_s: float) -> tuple[Stamps, Stamps]:
    """Pulses, and all places of the grid where there may have been others: where the board's count says that stamps
    were lost, and before the first and after the last.

    A place that was a gap does no harm: no picture is tied to it, and pictures are kept from pulses beside it.

    Returns:
        (g,) their times, and (g,) which of the pulses each is, NONE where it is no known one.
    """
    place = np.arange(len(pulse_ns))
    if pulse_ids is None:
        return pulse_ns, place
    period = float(np.median(np.diff(pulse_ns) / np.diff(pulse_ids)))
    untold = [-_grid(period, around_s)[::-1] + pulse_ns[0], _grid(period, around_s) + pulse_ns[-1]]
    for k in np.flatnonzero(np.diff(pulse_ids) > 1):
        span_s = (pulse_ns[k + 1] - pulse_ns[k] - period / 2) * 1e-9
        untold.append(_grid(period, span_s) + pulse_ns[k])
    grid_ns = np.concatenate([pulse_ns, *untold])
    which = np.concatenate([place, np.full(len(grid_ns) - len(place), NONE)])
    order = np.argsort(grid_ns, kind="stable")
    return grid_ns[order], which[order]


def _grid(period_ns: float, span_s: float) -> Stamps:
    """Whole periods up to a span, ns."""
    return np.rint(period_ns * np.arange(1, int(span_s * 1e9 / period_ns) + 1)).astype(np.int64)


def _finished(pulse: Stamps, delay_s: float, by_ids: bool = False) -> FrameMatch:
    known = pulse[pulse != NONE]
    ambiguous = len(pulse) - len(known)
    lost = int(known[-1] - known[0] + 1 - len(known)) if len(known) else 0
    return FrameMatch(pulse, delay_s, ambiguous, max(lost - ambiguous, 0), by_ids)


def _by_ids(
    pulse_ns: Stamps, pulse_ids: Stamps, arrival_ns: Stamps, ids: Stamps, params: MatchParams
) -> FrameMatch | None:
    """The camera counts: one number, by how much its count is behind the board's, decides them all.

    Of all such numbers the right one makes the delay from pulse to picture the steadiest, because the count goes on
    through a coded gap and time does not. None where two are as good, or where even the best is contradicted: a camera
    that does not count a picture it lost is a whole period off from then on.
    """
    period = float(np.median(np.diff(pulse_ns)))
    alone = _alone(arrival_ns, period * 0.5e-9)
    # Near the count that fits the pictures' times, to what a delay can be.
    guess = int(pulse_ids[max(int(np.searchsorted(pulse_ns, arrival_ns[0])) - 1, 0)]) - int(ids[0])
    reach = int(np.ceil(params.most_delay_s * 1e9 / period)) + 1
    tried: list[tuple[int, float, Stamps]] = []
    for behind in range(guess - reach, guess + reach + 2):
        pulse = _places(pulse_ids, ids + behind)
        told = pulse != NONE
        if np.count_nonzero(told) < max(2, 0.5 * len(ids)):
            continue
        delay = (arrival_ns[told] - pulse_ns[pulse[told]]) * 1e-9
        usual = float(np.median(delay))
        if -params.on_time_s <= usual <= params.most_delay_s:
            # A picture that is early by more than a stamp can err was exposed by an earlier pulse; one that came by
            # itself and late by a period was exposed by a later one.
            off = (delay < usual - period * 0.5e-9) | ((delay > usual + period * 0.5e-9) & alone[told])
            tried.append((int(np.count_nonzero(off)), usual, pulse))
    tried.sort(key=lambda each: each[0])
    if not tried or tried[0][0] > 0 or (len(tried) > 1 and tried[1][0] < params.evidence):
        return None
    return _finished(tried[0][2], tried[0][1], by_ids=True)


def _places(ids: Stamps, wanted: Stamps) -> Stamps:
    """(n,) where each wanted one stands among increasing ids; NONE where it does not."""
    at = np.clip(np.searchsorted(ids, wanted), 0, len(ids) - 1)
    return np.where(ids[at] == wanted, at, NONE)


def _usual_delay_s(pulse_ns: Stamps, arrival_ns: Stamps, params: MatchParams) -> float | None:
    """The delay that most pictures have; None where two, a whole period apart, are as likely.

    Without a coded gap every whole period is as likely as the next; each gap in view tells them apart, because
    pictures next to it would have no pulse.
    """
    period = float(np.median(np.diff(pulse_ns))) * 1e-9
    # Not the first and last pictures: of a recording that begins and ends anywhere, their pulses may lie outside.
    inside = (arrival_ns >= pulse_ns[0] + round(params.most_delay_s * 1e9)) & (arrival_ns <= pulse_ns[-1])
    arrival_ns = arrival_ns[_alone(arrival_ns, period / 2) & inside]
    if not len(arrival_ns):
        return None
    before = np.clip(np.searchsorted(pulse_ns, arrival_ns, side="right") - 1, 0, len(pulse_ns) - 1)
    since = (arrival_ns - pulse_ns[before]) * 1e-9
    phase = np.mod(since, period)
    turn = np.exp(2j * np.pi * phase / period)
    # The mode: most pictures are on time, those held up fall anywhere.
    grid = np.linspace(0, period, 256, endpoint=False)
    apart = np.abs(np.angle(np.exp(2j * np.pi * grid / period)[:, None] / turn[None])) * period / (2 * np.pi)
    first = float(grid[int(np.argmax(np.count_nonzero(apart < params.on_time_s, axis=1)))])
    tried: list[tuple[int, float]] = []
    for k in range(int(params.most_delay_s / period) + 2):
        delay = first + k * period
        if delay > params.most_delay_s:
            break
        off = _off_s(pulse_ns, arrival_ns, delay)
        on_time = np.abs(off) < params.on_time_s
        if on_time.any():
            delay += float(np.median(off[on_time]))
        # Which period it is, a picture says that is a little late, too.
        fits = np.abs(_off_s(pulse_ns, arrival_ns, delay)) < period / 4
        tried.append((int(np.count_nonzero(fits)), delay))
    if not tried:
        return None
    tried.sort(reverse=True)
    if len(tried) > 1 and tried[0][0] - tried[1][0] < params.evidence:
        return None
    return tried[0][1]


def _alone(arrival_ns: Stamps, apart_s: float) -> NDArray[np.bool_]:
    """(n,) whether no other picture came within `apart_s`."""
    far = np.diff(arrival_ns) > apart_s * 1e9
    return np.r_[True, far] & np.r_[far, True]


def _off_s(pulse_ns: Stamps, arrival_ns: Stamps, delay_s: float) -> Array:
    """(n,) how far each picture is from the nearest pulse's due time, s."""
    due = pulse_ns + round(delay_s * 1e9)
    after = np.clip(np.searchsorted(due, arrival_ns), 1, len(due) - 1)
    nearer = np.where(arrival_ns - due[after - 1] < due[after] - arrival_ns, after - 1, after)
    return np.asarray((arrival_ns - due[nearer]) * 1e-9, float)


def _by_time(pulse_ns: Stamps, arrival_ns: Stamps, delay_s: float, params: MatchParams) -> Stamps:
    """(n,) pulse of each picture, or NONE.

    A picture on time and alone is its pulse's. What comes late or bunched between two of those is tied in order
    where there are as many pictures as pulses, and left open where there are not.
    """
    due = pulse_ns + round(delay_s * 1e9)
    tolerance, n = round(params.on_time_s * 1e9), len(arrival_ns)
    after = np.clip(np.searchsorted(due, arrival_ns), 1, len(due) - 1)
    nearest = np.where(arrival_ns - due[after - 1] < due[after] - arrival_ns, after - 1, after)
    on_time = np.abs(arrival_ns - due[nearest]) <= tolerance
    sure = on_time & _alone(arrival_ns, float(np.median(np.diff(pulse_ns))) * 0.5e-9)
    # A picture held up for a whole period looks like the next one, if that one is lost: after a loss nothing is sure.
    # Nor after a picture that was itself held up: this one may be, too.
    sure &= (np.diff(nearest, prepend=nearest[0] - 1) == 1) & np.r_[True, sure[:-1]]
    # Pictures keep their order: of two that claim the same pulse, or cross, neither is sure.
    claimed = np.where(sure, nearest, NONE)
    sure_at = np.flatnonzero(sure)
    if len(sure_at) > 1:
        crossing = np.diff(nearest[sure_at]) <= 0
        sure[sure_at[:-1][crossing]] = sure[sure_at[1:][crossing]] = False
        claimed = np.where(sure, nearest, NONE)
    pulse = claimed.copy()
    at, burst = 0, round(params.burst_s * 1e9)
    while at < n:
        if pulse[at] != NONE:
            at += 1
            continue
        end = at
        while end < n and pulse[end] == NONE:
            end += 1
        # Pulses that these may be of: after the last sure one, before the next, neither early nor held up too long.
        low = pulse[at - 1] + 1 if at else int(np.searchsorted(due, arrival_ns[at] - burst))
        high = pulse[end] if end < n else int(np.searchsorted(due, arrival_ns[end - 1] + tolerance, side="right"))
        # A picture lost before or after the bunch leaves its pulse free: only pulses as many as pictures are certain.
        if high - low == end - at and np.all(arrival_ns[at:end] >= due[low:high] - tolerance):
            pulse[at:end] = np.arange(low, high)
        at = end
    return pulse
