"""What a screen shows of a recording that runs: numbers, as they are by now."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from math import isnan
from typing import Any

from handcap.capture.live import Capture
from handcap.clock import NS_PER_S

_RATE_OVER_S = 3.0
_RECENT = 4  # looks


@dataclass(frozen=True, slots=True)
class ImuReading:
    """One board's motion sensor.

    Attributes:
        rate_hz: by what came in the last seconds; None while nothing comes.
        expected_hz: by the rig.
        lost, saturated: samples of the running take, or the last one; None before the first.
        clock_residual_s: of the newest fit; None before the first.
    """

    name: str
    rate_hz: float | None
    expected_hz: float
    lost: int | None
    saturated: int | None
    clock_residual_s: float | None
    connected: bool


@dataclass(frozen=True, slots=True)
class CameraReading:
    """One camera.

    Attributes:
        rate_hz: as above.
        lost: pictures, as above.
        brightness: mean grey level, 0 to 255, of the last picture looked at.
        edge_px: how wide its edges are, see `Look`: the wider the more it is blurred; None where nothing tells.
        followed: share of its points that the next picture shows too; None where it had none.
        tags, hands: in view; None where nobody looks for them.
    """

    name: str
    rate_hz: float | None
    lost: int | None
    brightness: float | None
    edge_px: float | None
    followed: float | None
    tags: int | None
    hands: int | None


@dataclass(frozen=True, slots=True)
class Readings:
    """All of it.

    Attributes:
        take: that runs.
        since_s: its length so far.
        disk_free: bytes that takes may fill; None where the disk is gone.
        disk_minutes: of recording that fit there.
        unjudged: takes that the field pass has yet to judge.
        unjudged_minutes: how long that takes; None while unknown.
    """

    take: str | None
    since_s: float
    imus: tuple[ImuReading, ...]
    cameras: tuple[CameraReading, ...]
    disk_free: int | None
    disk_minutes: float | None
    unjudged: int
    unjudged_minutes: float | None


class Meter:
    """Reads a recording; ask about once a second, from one thread."""

    def __init__(self, running: Capture) -> None:
        self._running = running
        self._came: deque[tuple[float, Counter[Any]]] = deque()

    def read(self) -> Readings:
        running, now_s = self._running, time.monotonic()
        self._came.append((now_s, Counter(running.watch.came)))
        while now_s - self._came[0][0] > _RATE_OVER_S and len(self._came) > 2:
            self._came.popleft()
        field, watched, take = running.field, running.watch.take, running.recorder.take
        since_s = 0.0 if watched is None or take is None else (time.monotonic_ns() - watched.start_ns) / NS_PER_S
        try:
            disk_free, disk_minutes = running.room.free_bytes(), running.room.minutes()
        except OSError:  # the recorder says so itself
            disk_free = disk_minutes = None
        return Readings(
            take,
            since_s,
            tuple(self._imu(name) for name in running.rig.devices if name in running.boards),
            tuple(self._camera(name) for name in running.rig.cameras),
            disk_free,
            disk_minutes,
            0 if field is None else len(field.unjudged),
            None if field is None else field.minutes_left,
        )

    def _rate_hz(self, key: tuple[str, str]) -> float | None:
        (before_s, before), (now_s, now) = self._came[0], self._came[-1]
        grown = now[key] - before[key]
        return grown / (now_s - before_s) if grown and now_s > before_s else None

    def _imu(self, name: str) -> ImuReading:
        running = self._running
        board, take = running.boards[name], running.watch.take
        watched = None if take is None else take.devices.get(name)
        clock = board.clock
        return ImuReading(
            name,
            self._rate_hz(("imu", name)),
            running.rig.devices[name].imu.rate_hz,
            None if watched is None else watched.missing,
            None if watched is None else watched.saturated,
            None if clock is None else clock.residual_s,
            board.connected,
        )

    def _camera(self, name: str) -> CameraReading:
        take = self._running.watch.take
        watched = None if take is None else take.cameras.get(name)
        rate_hz = self._rate_hz(("camera", name))
        if watched is None:
            return CameraReading(name, rate_hz, None, None, None, None, None, None)
        look = watched.last_look
        if look is None:
            return CameraReading(name, rate_hz, watched.lost, None, None, None, None, None)
        recent = watched.looks[: -_RECENT - 1 : -1]  # not every look tells everything
        tags = next((each.tags for each in recent if each.tags is not None), None)
        edge_px = next((each.edge_px for each in recent if not isnan(each.edge_px)), None)
        followed = next((each.followed for each in recent if not isnan(each.followed)), None)
        hands = watched.hands[-1][1] if watched.hands else None
        return CameraReading(name, rate_hz, watched.lost, look.brightness, edge_px, followed, tags, hands)
