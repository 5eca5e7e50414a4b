"""What share of the cores went where while a bench ran: its own processes, others, nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Load:
    """Shares of all cores, 0 to 1; NaN until the block has ended.

    Attributes:
        ours: this process and its children that have ended.
        others: everybody else.
        idle: nobody.
    """

    ours: float = float("nan")
    others: float = float("nan")
    idle: float = float("nan")

    def __str__(self) -> str:
        return f"{100 * self.ours:.0f} % ours, {100 * self.others:.0f} % others', {100 * self.idle:.0f} % idle"


def _jiffies() -> tuple[int, int]:
    """(all, idle) of all cores since boot."""
    with open("/proc/stat", encoding="ascii") as file:
        numbers = [int(word) for word in file.readline().split()[1:9]]
    return sum(numbers), numbers[3] + numbers[4]


@contextmanager
def shares() -> Iterator[Load]:
    """Measures from here to the end of the block."""
    load, (all_before, idle_before), mine_before = Load(), _jiffies(), _mine()
    try:
        yield load
    finally:
        all_after, idle_after = _jiffies()
        total = max(all_after - all_before, 1)
        load.idle = (idle_after - idle_before) / total
        load.ours = (_mine() - mine_before) * os.sysconf("SC_CLK_TCK") / total
        load.others = max(1 - load.idle - load.ours, 0.0)


def _mine() -> float:
    """Seconds of processor time."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
