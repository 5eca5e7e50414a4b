"""Keys as wishes. A USB foot pedal is a key that is held for a while."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import time
import tty
from contextlib import suppress

from handcap.capture.operator import Wish, Wishes

KEYS: dict[str, Wish] = {
    " ": "toggle",
    "\r": "toggle",
    "\n": "toggle",
    "d": "discard",
    "e": "erase",
    "n": "next",
    "q": "finish",
    "y": "yes",
}
_REPEATED_S = 0.15  # keyboards repeat a held key 10 to 40 times a second
_FIRST_REPEAT_S = 0.8  # and begin 0.25 to 0.66 s after the press


class HeldKey:
    """Tells a press from what a keyboard repeats while the key is held."""

    def __init__(self) -> None:
        self._pressed_s: dict[str, float] = {}
        self._came_s: dict[str, float] = {}

    def is_press(self, key: str, now_s: float) -> bool:
        came, pressed = self._came_s.get(key), self._pressed_s.get(key)
        self._came_s[key] = now_s
        held = came is not None and now_s - came < _REPEATED_S
        if held or (pressed is not None and now_s - pressed < _FIRST_REPEAT_S):
            return False
        self._pressed_s[key] = now_s
        return True


class Keys:
    """A thread that reads single keys from the terminal while it lasts; use it in a `with`.

    What was typed before is forgotten; the end of the input is a wish to stop.
    """

    def __init__(self, wishes: Wishes, fd: int | None = None) -> None:
        self._wishes, self._held = wishes, HeldKey()
        self._fd = sys.stdin.fileno() if fd is None else fd
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name="handcap keys", daemon=True)

    def __enter__(self) -> Keys:
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        mode = termios.tcgetattr(self._fd)
        mode[0] &= ~termios.IXON  # Ctrl-S would stop whoever prints, and with them all wishes
        termios.tcsetattr(self._fd, termios.TCSANOW, mode)
        termios.tcflush(self._fd, termios.TCIFLUSH)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._waker, b".")
        self._thread.join()
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
        os.close(self._wake)
        os.close(self._waker)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._fd, self._wake], [], [])
            if self._wake in ready:
                return
            try:
                typed = os.read(self._fd, 64)
            except OSError:  # the terminal is gone
                typed = b""
            if not typed:
                self._wishes.put("stop")
                return
            if typed.startswith(b"\x1b"):  # an arrow or a function key
                continue
            for key in typed.decode("ascii", "ignore").lower():
                wish = KEYS.get(key)
                if wish is not None and self._held.is_press(key, time.monotonic()):
                    self._wishes.put(wish)
