"""How many minutes of recording the disk has room for, by how fast the session grows."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from handcap.devices.readiness import nominal_bytes_per_s
from handcap.errors import SessionError
from handcap.session.folder import RAW
from handcap.types import Rig


@dataclass(frozen=True, slots=True)
class RoomParams:
    """What a disk must hold back.

    Attributes:
        reserve_bytes: kept free for closing a take, the journal and the reports: what waits for a slow disk is 128 MiB
            at most, and the rest is small.
        warn_minutes: warned of when no more are left.
        start_minutes: a take is not started with less.
        end_s: a running take is ended when it could go on for no longer than this.
        window_s: over which the rate is measured.
    """

    reserve_bytes: int = 256 << 20
    warn_minutes: tuple[float, ...] = (10.0, 3.0)
    start_minutes: float = 1.0
    end_s: float = 10.0
    window_s: float = 20.0


class Room:
    """Of one session's disk.

    Args:
        session: its folder.
        rig: for what is not measured yet.
        params: what to hold back.
    """

    def __init__(self, session: Path, rig: Rig, params: RoomParams | None = None) -> None:
        self.params = params or RoomParams()
        self._session = session
        self._rate = nominal_bytes_per_s(rig)
        self._sizes: deque[tuple[float, int]] = deque()

    @property
    def bytes_per_s(self) -> float:
        """As last measured over a running take; nominal before the first."""
        return self._rate

    def free_bytes(self) -> int:
        """That a take may fill."""
        disk = os.statvfs(self._session)
        return disk.f_bavail * disk.f_frsize - self.params.reserve_bytes

    def minutes(self) -> float:
        """That a take may go on for."""
        return max(self.free_bytes(), 0) / self._rate / 60

    def measure(self, take: str | None) -> None:
        """Look how large the running take has become; to be called every few seconds."""
        if take is None:
            self._sizes.clear()
            return
        now_s = time.monotonic()
        self._sizes.append((now_s, _size(self._session / RAW / take)))
        while now_s - self._sizes[0][0] > self.params.window_s:
            self._sizes.popleft()
        (since_s, before), grown = self._sizes[0], self._sizes[-1][1]
        if now_s - since_s >= 2.0 and grown > before:
            self._rate = (grown - before) / (now_s - since_s)

    def require(self) -> None:
        """Raises SessionError where a take has no room for a minute."""
        try:
            short = self.minutes() < self.params.start_minutes
        except OSError:  # the folder is gone: whoever writes into it says so
            return
        if short:
            raise SessionError(
                f"the disk is full: no room for a minute of recording ({max(self.free_bytes(), 0) / 1e6:.0f} MB left)",
                where=self._session,
                mend="finish, then move sessions to another disk, or continue with a folder on another disk",
            )


def _size(folder: Path) -> int:
    try:
        return sum(entry.stat().st_size for entry in os.scandir(folder))
    except OSError:  # being made, or erased
        return 0
