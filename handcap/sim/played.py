"""A rendered take as it is to be played: when each thing is sent, and the stamp that it carries.

The two differ where the recording has a clock that jumped: samples come when they are taken, whatever is written on
them. A recording keeps only what was written; when the clock was wrong stands in its truth.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from handcap.geometry import Array
from handcap.session import Take
from handcap.types import Stamps
from handcap.wire.handcap_pb2 import Encoder


@dataclass(frozen=True, slots=True)
class Wrong:
    """A stretch in which a device's stamps are off."""

    start_ns: int
    end_ns: int
    by_ns: int

    def sent(self, t_ns: Stamps) -> Stamps:
        """(n,) when records that are due at even times (n,) were stamped: those times, shifted while it lasts."""
        within = (t_ns >= self.start_ns) & (t_ns < self.end_ns)
        return t_ns + np.where(within, self.by_ns, 0)


@dataclass(eq=False, slots=True)
class Part:
    """One device's recording, times since the take's start.

    Attributes:
        due_ns: (n,) when each sample is taken, strictly increasing.
        t_ns: (n,) the stamp it carries.
        period_ns: from sample to sample.
        gyro, accel: (n, 3) chip axes, SI.
        angles: encoder messages, by time.
        angle: the next of them.
    """

    due_ns: Stamps
    t_ns: Stamps
    period_ns: float
    gyro: Array
    accel: Array
    angles: list[tuple[int, Encoder]]
    angle: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Shown:
    """One picture, times since the take's start: when it is sent and the stamp it carries."""

    due_ns: int
    t_ns: int
    camera: str
    data: bytes
    h264: bool


class Played:
    """A take of a simulated session, ready to be played from its start, as often as one likes.

    It begins with its first picture and ends where one more would be due, so that it can be looped: the seconds of
    motion sensors alone before and after, which renderings have, are no recorder's.

    Args:
        take: rendered, or captured from one that was.
        devices: those that are played.

    Attributes:
        parts: of the take's devices.
        length_ns: of the take.
    """

    def __init__(self, take: Take, devices: Collection[str]) -> None:
        raw = {device: _samples(take, device) for device in devices if device in take.devices}
        self._take = take
        self._wrong = {device: _wrong(take, device, t_ns) for device, (t_ns, _, _) in raw.items()}
        stamps = [take.camera_stamps(camera) for camera in take.cameras]
        self._start_ns = min(int(t_ns[0]) for t_ns in stamps)
        period_ns = round(min(float(np.median(np.diff(t_ns))) for t_ns in stamps if len(t_ns) > 1))
        self.length_ns = max(int(t_ns[-1]) for t_ns in stamps) + period_ns - self._start_ns
        self.parts: dict[str, Part] = {}
        for device, (t_ns, gyro, accel) in raw.items():
            angles = [
                (t - self._start_ns, e.encoder)
                for t, e in take.wire(device)
                if e.HasField("encoder") and t >= self._start_ns
            ]
            due_ns, period_ns = t_ns if self._wrong[device] is None else _even(t_ns), float(np.median(np.diff(t_ns)))
            self.parts[device] = Part(due_ns - self._start_ns, t_ns - self._start_ns, period_ns, gyro, accel, angles)

    def pictures(self) -> Iterator[Shown]:
        """All pictures in the order in which they are sent."""
        on = {name: camera.device for name, camera in self._take.session.rig.cameras.items()}
        wrong = {camera: self._wrong.get(on.get(camera, camera)) for camera in self._take.cameras}
        streams = [_pictures(self._take, camera, self._start_ns, wrong[camera]) for camera in self._take.cameras]
        return heapq.merge(*streams, key=lambda shown: shown.due_ns)


def _samples(take: Take, device: str) -> tuple[Stamps, Array, Array]:
    """All samples in the order in which they were sent, of a clock that jumped too."""
    said = list(take.ready_samples(device))
    if not said:  # a captured session: samples lie in its wire
        imu = take.imu(device, as_recorded=True)
        return imu.t_ns, imu.gyro_imu, imu.accel_imu
    t_ns = np.concatenate([np.array(each.t_ns, np.int64) for each in said])
    gyro, accel = (np.concatenate([np.array(getattr(e, n), float) for e in said]) for n in ("gyro_rad_s", "accel_m_s2"))
    return t_ns, gyro.reshape(-1, 3), accel.reshape(-1, 3)


def _even(t_ns: Stamps) -> Stamps:
    """(n,) the times at which records were due whose stamps (n,) jump and jump back; none is missing."""
    return t_ns[0] + np.rint(np.arange(len(t_ns)) * float(np.median(np.diff(t_ns)))).astype(np.int64)


def _wrong(take: Take, device: str, t_ns: Stamps) -> Wrong | None:
    """When, and by how much, a device's clock was wrong."""
    told = take.session.path / "truth/truth.json"
    faults = json.loads(told.read_text(encoding="utf-8"))["faults"] if told.exists() else []
    for fault in faults:
        if fault["kind"] == "clock_jump" and fault["device"] == device and fault["take"] == take.id:
            even_ns = _even(t_ns)
            within = (even_ns >= fault["t_start_ns"]) & (even_ns < fault["t_end_ns"])
            if within.any():
                return Wrong(fault["t_start_ns"], fault["t_end_ns"], round(np.median((t_ns - even_ns)[within])))
    return None


def _pictures(take: Take, camera: str, start_ns: int, wrong: Wrong | None) -> Iterator[Shown]:
    for p in take.packets(camera):
        t_ns = p.t_ns if wrong is None else int(wrong.sent(np.array([p.t_ns]))[0])
        yield Shown(p.t_ns - start_ns, t_ns - start_ns, camera, p.data, p.format != "jpeg")
