"""What is counted of one camera while a take runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from handcap.capture.look import Look
from handcap.clock import NS_PER_S
from handcap.types import Stamps

LOOK_EVERY_NS = NS_PER_S // 3


@dataclass
class CameraWatch:
    """One camera during a take.

    Attributes:
        start_ns: of the take.
        lost: pictures that the camera's own count says were lost.
        repeated_s: (start, end) since the take's start of the longest stretch of the very same picture.
        looks: at some of its pictures, in their order.
        hands: (since the take's start in s, bare hands seen) of those in which somebody counted them.
    """

    start_ns: int = 0
    lost: int = 0
    repeated_s: tuple[float, float] = (0.0, 0.0)
    looks: list[Look] = field(default_factory=list)
    hands: list[tuple[float, int]] = field(default_factory=list)
    _stamps: list[int] = field(default_factory=list)
    _frame: int | None = None
    _last: bytes = b""
    _same_since_ns: int = 0
    _look_due_ns: int = 0

    @property
    def pictures(self) -> int:
        """That came."""
        return len(self._stamps)

    @property
    def last_look(self) -> Look | None:
        return self.looks[-1] if self.looks else None

    @cached_property
    def t_ns(self) -> Stamps:
        """(n,) stamps, strictly ascending: a picture that came twice counts once. Asked for once the take has ended."""
        return np.unique(np.array(self._stamps, np.int64))

    def since_start_s(self, t_ns: int) -> float:
        return (t_ns - self.start_ns) / NS_PER_S

    def add(self, t_ns: int, data: bytes, frame: int | None, *, key: bool = True) -> bool:
        """Count a picture; whether it is time to look at one.

        Args:
            key: whether it can be decoded alone.
        """
        self._stamps.append(t_ns)
        if frame is not None and self._frame is not None and frame > self._frame:
            self.lost += frame - self._frame - 1
        self._frame = frame
        if data == self._last:
            self._repeated(self._same_since_ns, t_ns)
        else:
            self._last, self._same_since_ns = data, t_ns
        if t_ns < self._look_due_ns or not key:
            return False
        self._look_due_ns = (
            t_ns // LOOK_EVERY_NS + 1
        ) * LOOK_EVERY_NS  # two cameras on one trigger are looked at together
        return True

    def saw(self, look: Look) -> None:
        """A look was taken. Two pictures may differ in their bytes and be one and the same all the same."""
        if look.same_since_s is not None:
            self._repeated(*(self.start_ns + round(s * NS_PER_S) for s in (look.same_since_s, look.t_s)))
        self.looks.append(look)

    def saw_hands(self, t_ns: int, count: int) -> None:
        """Bare hands were counted in a picture."""
        self.hands.append((self.since_start_s(t_ns), count))

    def _repeated(self, start_ns: int, end_ns: int) -> None:
        if end_ns - start_ns > NS_PER_S * (self.repeated_s[1] - self.repeated_s[0]):
            self.repeated_s = self.since_start_s(start_ns), self.since_start_s(end_ns)
