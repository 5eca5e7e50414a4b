"""The rig's light: red steady while recording, and what became of the last take in between."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection

from handcap.capture.operator import Said
from handcap.devices import Board
from handcap.errors import HandcapError
from handcap.wire.handcap_pb2 import SENSOR_KIND_LIGHT, Light

log = logging.getLogger(__name__)

# Whoever cannot tell the colours apart goes by the blinking: red and green are steady, but red only during a take.
RECORDING = Light(red=255)
GOOD = Light(green=96)
PARTLY_GOOD = Light(red=255, green=120, blink_ms=500)
NOT_GOOD = Light(red=255, green=120, blink_ms=120)
GONE = Light(red=80, green=80, blue=80)
WARNING = Light(blue=255, blink_ms=250)
OFF = Light()

_VERDICTS = {"ok": GOOD, "partial": PARTLY_GOOD, "refused": NOT_GOOD}
_WARNING_S = 4.0
_WAIT_S = 1.0  # for a board that does not answer


class RigLight:
    """A listener that shows the state on every board that has a light; nobody waits for a board that is slow.

    Args:
        boards: open; those without a light are left alone.
    """

    def __init__(self, boards: Collection[Board]) -> None:
        self._lamps = [_Lamp(b) for b in boards if any(s.kind == SENSOR_KIND_LIGHT for s in b.hello.sensors)]

    def hear(self, said: Said) -> None:
        if said.kind == "warning":
            for lamp in self._lamps:
                lamp.flash(WARNING, _WARNING_S)
            return
        if said.kind == "ended" and said.ended is not None:
            light = _VERDICTS[said.ended.verdict.verdict]
        elif said.kind in ("discarded", "erased"):
            light = GONE
        elif said.kind in ("ready", "started", "finished"):
            light = {"ready": GOOD, "started": RECORDING, "finished": OFF}[said.kind]
        else:
            return
        for lamp in self._lamps:
            lamp.show(light)

    def close(self) -> None:
        """Off, everywhere."""
        for lamp in self._lamps:
            lamp.close()


class _Lamp:
    """Of one board: a thread that tells it what it should show by now."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._base = OFF
        self._shown: Light | None = None  # nobody knows what it showed before
        self._flash: Light | None = None
        self._flash_until_s = 0.0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"handcap light {board.name}", daemon=True)
        self._thread.start()

    def show(self, light: Light) -> None:
        with self._changed:
            self._base, self._flash = light, None
            self._changed.notify()

    def flash(self, light: Light, seconds: float) -> None:
        """For so long, then what was shown before again."""
        with self._changed:
            self._flash, self._flash_until_s = light, time.monotonic() + seconds
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closing, self._base, self._flash = True, OFF, None
            self._changed.notify()
        self._thread.join(2 * _WAIT_S)

    def _wanted(self) -> Light:
        if self._flash is not None and time.monotonic() >= self._flash_until_s:
            self._flash = None
        return self._flash or self._base

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._wanted() == self._shown:
                    if self._closing:
                        return
                    left_s = None if self._flash is None else max(self._flash_until_s - time.monotonic(), 0.0)
                    self._changed.wait(left_s)
                self._shown = self._wanted()
            try:
                self._board.command(self._shown, _WAIT_S)
            except HandcapError as error:
                log.info("%s: the light was not told: %s", self._board.name, error.what)
                with self._changed:
                    self._shown = None  # once it is plugged in again
                    if self._closing:
                        return
