"""A clock that jumps and jumps back: what it stamped in between, put where it belongs.

A sensor samples evenly. Where its stamps run back, and go forth by as much elsewhere, the clock was off in between by
that much, and every stamp made then is known as well as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handcap.types import Stamps

_SAME_PERIODS = 1.5  # by which the way forth and the way back may differ
_LEAST_NS = 2_000_000  # less is a stamp made in a hurry


@dataclass(frozen=True, slots=True)
class ClockJump:
    """Stamps that are off.

    Attributes:
        first_ns, last_ns: of them, as recorded.
        by_ns: too late; negative where too early.
        period_ns: of the sensor that showed it.
    """

    first_ns: int
    last_ns: int
    by_ns: int
    period_ns: int


def clock_jumps(t_ns: Stamps) -> list[ClockJump]:
    """Of a sensor that samples evenly, by time; jumps that are not undone say not which side of them is right.

    Args:
        t_ns: (n,) in the order of recording.
    """
    if len(t_ns) < 3:
        return []
    step = np.diff(t_ns)
    period = int(np.median(step))
    off = step - period
    least = max(_LEAST_NS, round(_SAME_PERIODS * period))
    forth = [int(i) for i in np.flatnonzero(off > least)]
    found = []
    for back in np.flatnonzero(step < -least // 2).tolist():
        alike = [i for i in forth if abs(off[i] + off[back]) < _SAME_PERIODS * period]
        if not alike:
            continue
        pair = min(alike, key=lambda i: abs(i - back))
        forth.remove(pair)
        begin, end = sorted((pair, back))
        by = round((float(off[pair]) - float(off[back])) / 2) * (1 if pair < back else -1)
        found.append(ClockJump(int(t_ns[begin + 1]), int(t_ns[end]), by, period))
    return sorted(found, key=lambda jump: jump.first_ns)


class Mender:
    """Stamps of one stream, one after the other in the order of recording, without the jumps of its clock.

    A stamp that the clock may have made off or not is taken for what carries the stream on most evenly: so a camera
    that is not on the clock that jumped stays as it is.

    Args:
        jumps: of the clock.
        period_ns: of this stream.
    """

    def __init__(self, jumps: Sequence[ClockJump], period_ns: float) -> None:
        self._jumps, self._period_ns = jumps, period_ns
        self._last_ns: int | None = None

    def __call__(self, t_ns: int) -> int:
        could_be = [t_ns]
        for jump in self._jumps:
            slack = max(jump.period_ns, round(self._period_ns))
            if jump.first_ns - slack < t_ns < jump.last_ns + slack:
                could_be.append(t_ns - jump.by_ns)
        if len(could_be) > 1 and self._last_ns is not None:
            due_ns = self._last_ns + self._period_ns
            could_be.sort(key=lambda t: abs(t - due_ns))
        self._last_ns = could_be[0]
        return could_be[0]
