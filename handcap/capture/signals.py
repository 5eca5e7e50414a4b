"""Signals as a wish: Ctrl-C, SIGTERM and a terminal that was closed end the take properly, and a second one waits.

Nothing is raised where the signal strikes: what is being written is written to its end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from handcap.causes import Language

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SAVING: dict[Language, str] = {
    "en": "\nSaving what was recorded; this takes a moment.\n",
    "zh": "\n正在保存录制内容,请稍候。\n",
}


@dataclass(slots=True)
class Stop:
    """Whether a signal came.

    Attributes:
        name: of the first one, "SIGTERM"; None while none came.
    """

    name: str | None = None


@contextmanager
def stop_on_signals(stop: Callable[[], object], lang: Language = "en") -> Iterator[Stop]:
    """While it lasts, the first signal calls `stop`, later ones only say that saving is under way.

    Signals that the caller's parent wants ignored (nohup, a job in the background) stay so. Main thread only.

    Args:
        stop: called in the main thread between two of its steps; must not wait for that thread.
        lang: of the word said.
    """
    told = Stop()
    terminals = [s.fileno() for s in (sys.__stdout__, sys.__stderr__) if s is not None and os.isatty(s.fileno())]

    def came(number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _forget_terminal(terminals)
        with suppress(OSError):
            os.write(2, _SAVING[lang].encode())
        if told.name is None:
            told.name = signal.Signals(number).name
            stop()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    caught = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in caught:
        signal.signal(number, came)
    try:
        yield told
    finally:
        for number in caught:
            signal.signal(number, before[number] or signal.SIG_DFL)


def _forget_terminal(terminals: Sequence[int]) -> None:
    """What would be printed on a terminal that is gone goes nowhere; asked now, it says it is none (EIO)."""
    with suppress(OSError), open(os.devnull, "wb") as nowhere:
        for fd in terminals:
            os.dup2(nowhere.fileno(), fd)
