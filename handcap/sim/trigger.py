"""A board's trigger, as firmware/drivers/camera_trigger.h has it: which places of a grid get a pulse."""

from __future__ import annotations

from handcap.wire.handcap_pb2 import FrameStamp

_GAP_PERIOD_S = 10
_GAP_EVEN, _GAP_ODD, _GAP_START = 2, 4, 6  # places left out
_GAP_DISTANCE = 5  # pulses between two gaps, at least


class Trigger:
    """One line, asked for every place of its grid in turn.

    Args:
        rate_hz: of the grid.
        start_ns: middle of the first exposure, where `due` is asked; board clock.
        exposure_ns: of its cameras, there.
    """

    def __init__(self, rate_hz: float, start_ns: int = 0, exposure_ns: int = 0) -> None:
        self._rate_hz, self._start_ns, self._exposure_ns, self._place = rate_hz, start_ns, exposure_ns, 0
        self._per_gap = int(_GAP_PERIOD_S * rate_hz)
        self._pulses = self._since_gap = self._gap_left = self._gaps = 0
        self._start_wanted = self._gap_ended = False

    def mark(self) -> None:
        """The next gap marks a take's start."""
        self._start_wanted = True

    def due(self, now_ns: int) -> list[FrameStamp]:
        """Stamps of the exposures that have ended since the last call."""
        out: list[FrameStamp] = []
        while (middle_ns := self._start_ns + round(self._place * 1e9 / self._rate_hz)) + self._exposure_ns < now_ns:
            self._place += 1
            stamp = self.pulse(middle_ns, self._exposure_ns)
            out += [] if stamp is None else [stamp]
        return out

    def pulse(self, middle_ns: int, exposure_ns: int) -> FrameStamp | None:
        """The stamp of the exposure about `middle_ns`, board clock; None where that place is left out."""
        if self._left_out():
            return None
        self._pulses += 1
        self._since_gap += 1
        stamp = FrameStamp(
            frame=self._pulses,
            exposure_start_t_ns=middle_ns - exposure_ns // 2,
            exposure_ns=exposure_ns,
            strobe_seen=True,
            gap_before=self._gap_ended,
            gap_code=self._gaps,
        )
        self._gap_ended = False
        return stamp

    def _left_out(self) -> bool:
        if self._gap_left == 0:
            start = self._start_wanted and self._since_gap >= _GAP_DISTANCE
            if not start and self._since_gap < self._per_gap:
                return False
            self._gaps += 1
            self._gap_left = _GAP_START if start else _GAP_ODD if self._gaps % 2 else _GAP_EVEN
            self._start_wanted = self._start_wanted and not start
            self._since_gap = 0
        self._gap_left -= 1
        self._gap_ended = self._gap_left == 0
        return True
