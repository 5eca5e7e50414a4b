"""A clock that jumps: what it stamped is put where it belongs.

A sensor samples evenly. Stamps that run back are of a clock that was wrong before or after. Where they go forth by as
much elsewhere, it was wrong in between only, and every stamp made then is known as well as any other; else the clock
was set back for good, and what follows is read as going on evenly. Samples that were sent twice are no jump.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.types import Stamps

_SAME_PERIODS = 1.5  # by which the way forth and the way back may differ
_LEAST_NS = 2_000_000  # less is a stamp made in a hurry
_NEAR = 12  # pictures about either end of a jump among which it may have begun
_BACK, _LOST = 1e3, 1e-2  # what a step that runs back costs, and a picture missing, in periods that a step is off


@dataclass(frozen=True, slots=True)
class ClockJump:
    """Samples whose stamps are off.

    Attributes:
        begin, end: samples begin <= i < end, in the order of recording; to the last one if the clock stayed off.
        first_ns, last_ns: of their stamps, as recorded.
        by_ns: too late; negative where too early.
        stayed: whether the clock never went back.
    """

    begin: int
    end: int
    first_ns: int
    last_ns: int
    by_ns: int
    stayed: bool


def clock_jumps(t_ns: Stamps, values: Array, cameras: Sequence[Stamps] = ()) -> list[ClockJump]:
    """Of a sensor that samples evenly; a jump within another one comes before it.

    Args:
        t_ns: (n,) in the order of recording.
        values: (n, k) what was sampled; the same again at the same time was sent twice.
        cameras: stamps of the device's cameras, in the order of recording; they tell samples that are missing from
            the way forth of a jump.
    """
    fresh = _sent_first(t_ns, values)
    if len(fresh) < 3:
        return []
    step = np.diff(t_ns[fresh])
    period = int(np.median(step[step > 0])) if (step > 0).any() else 0
    least = max(_LEAST_NS, round(_SAME_PERIODS * period))
    if np.diff(np.sort(t_ns[fresh])).min() > period / 2:  # messages that overtook each other, at most
        return []
    found: list[ClockJump] = []
    open_steps: list[tuple[int, int]] = []  # (sample after it, by how much) of steps that nothing has undone yet
    for k in np.flatnonzero(np.abs(step - period) > least).tolist():
        after, by = int(fresh[k + 1]), int(step[k]) - period
        undone = next((o for o in reversed(open_steps) if abs(o[1] + by) < _SAME_PERIODS * period), None)
        jump = None if undone is None else _jump(t_ns, undone[0], after, round((undone[1] - by) / 2))
        if undone is None or jump is None or not _cameras_agree(jump, t_ns, cameras):
            open_steps.append((after, by))
            continue
        found.append(jump)
        open_steps = open_steps[: open_steps.index(undone)] + open_steps[open_steps.index(undone) + 1 :]
    found += [_jump(t_ns, after, len(t_ns), by, True) for after, by in open_steps if by < -period]
    return found


def samples_mended(t_ns: Stamps, jumps: Sequence[ClockJump]) -> Stamps:
    """(n,) stamps of the sensor that showed the jumps."""
    out = t_ns.copy()
    for jump in jumps:
        out[jump.begin : jump.end] -= jump.by_ns
    return out


def pictures_mended(t_ns: Stamps, jumps: Sequence[ClockJump]) -> Stamps:
    """(m,) stamps of a camera of the same device, in the order of recording.

    Each jump is taken off the pictures that then follow one another most evenly; a camera that some other clock stamps
    is even as it is, and stays so.
    """
    out = t_ns
    for jump in jumps:
        out = _most_even(out, jump)[0]
    return out


def _sent_first(t_ns: Stamps, values: Array) -> NDArray[np.intp]:
    """Indices of samples that are not one sent before."""
    if (np.diff(t_ns) > 0).all():
        return np.arange(len(t_ns))
    rows = np.column_stack([t_ns, np.ascontiguousarray(values, float).view(np.int64)])
    fresh = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    again = np.delete(values, fresh, axis=0)
    # A sensor that always says the same says nothing of whether this was sent twice.
    return fresh if len(again) and np.ptp(again, axis=0).any() else np.arange(len(t_ns))


def _jump(t_ns: Stamps, begin: int, end: int, by_ns: int, stayed: bool = False) -> ClockJump:
    within = t_ns[begin:end]
    return ClockJump(begin, end, int(within[0]), int(within[-1]), by_ns, stayed)


def _cameras_agree(jump: ClockJump, t_ns: Stamps, cameras: Sequence[Stamps]) -> bool:
    """Whether no camera is more even if the clock only went back, for good."""
    back = jump.end if jump.by_ns > 0 else jump.begin
    for_good = _jump(t_ns, back, len(t_ns), -abs(jump.by_ns), True)
    return all(_most_even(camera, jump)[1] <= _most_even(camera, for_good)[1] for camera in cameras)


def _most_even(t_ns: Stamps, jump: ClockJump) -> tuple[Stamps, float]:
    """(m,) pictures with the jump taken off some of them, or none, and how uneven they are then, in periods."""
    step = np.diff(t_ns)
    if not (step > 0).any():
        return t_ns, 0.0
    period = float(np.median(step[step > 0]))

    def uneven(stamps: Stamps) -> float:
        steps = np.diff(stamps) / period
        whole = np.maximum(np.rint(steps), 1.0)
        return float((np.abs(steps - whole) + _LOST * (whole - 1) + _BACK * (steps <= 0)).sum())

    def near(at_ns: int) -> list[int]:
        return np.flatnonzero(np.abs(t_ns - at_ns) < _NEAR * period).tolist()

    begins = near(jump.first_ns) + ([0] if t_ns[0] > jump.first_ns else [])
    ends = [len(t_ns)] if jump.stayed or t_ns[-1] <= jump.last_ns else [i + 1 for i in near(jump.last_ns)]
    best, least = t_ns, uneven(t_ns)
    for begin in begins:
        for end in ends:
            if begin < end:
                moved = t_ns.copy()
                moved[begin:end] -= jump.by_ns
                cost = uneven(moved)
                if cost < least - 1e-6:
                    best, least = moved, cost
    return best, least
