"""What is measured while a take runs: counts of everything, and a look at two pictures a few times a second."""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Full, Queue
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S
from handcap.devices import ClockEstimate, Event, Message
from handcap.wire.handcap_pb2 import Encoder, ImuBatch

_LOOK_EVERY_NS = NS_PER_S // 3
_WIDTH = 480  # pictures are looked at about this wide
_CORNERS = 150
_FULL_SCALE = 32700


@dataclass(slots=True)
class DeviceWatch:
    """One board during a take.

    Attributes:
        samples, missing, saturated: inertial samples that came, that the stamps say were taken and did not come, and
            at full scale.
        gaps_s: (start, end) since the take's start, of stretches without samples.
        angles: least and largest encoder count, unwrapped around the first.
        clock_residual_s, clock_sigma_s: of the newest fit; None before the first.
        events: what happened to the connection.
    """

    samples: int = 0
    missing: int = 0
    saturated: int = 0
    period_ns: float = 0.0
    gaps_s: list[tuple[float, float]] = field(default_factory=list)
    angles: tuple[int, int] | None = None
    clock_residual_s: float | None = None
    clock_sigma_s: float | None = None
    events: list[Event] = field(default_factory=list)
    turned_rad: float = 0.0
    last_arrived_ns: int = 0
    _next_board_ns: int | None = None
    _boot_id: int | None = None
    _angle: int | None = None

    def add(self, message: Message, start_ns: int) -> None:
        envelope = message.envelope
        if self._boot_id != envelope.boot_id:  # its clock began again
            self._boot_id, self._next_board_ns = envelope.boot_id, None
        if message.body == "imu_batch":
            self._add_imu(envelope.imu_batch, message.arrived_ns, start_ns)
        elif message.body == "encoder" and envelope.encoder.angle_counts:
            self._add_angles(envelope.encoder)

    def _add_imu(self, batch: ImuBatch, arrived_ns: int, start_ns: int) -> None:
        gyro = np.array(batch.gyro_counts, np.int32).reshape(-1, 3)
        n = len(gyro)
        self.samples += n
        self.period_ns = batch.period_ns
        accel = np.array(batch.accel_counts, np.int32)
        self.saturated += int(np.count_nonzero(np.abs(gyro).max(axis=1, initial=0) >= _FULL_SCALE))
        self.saturated += int(np.count_nonzero(np.abs(accel) >= _FULL_SCALE))
        rate = np.linalg.norm(gyro, axis=1) * batch.gyro_scale
        self.turned_rad += float(rate.sum()) * batch.period_ns / NS_PER_S
        due, first = self._next_board_ns, batch.first_sample_t_ns
        if due is not None and first - due > batch.period_ns / 2:
            self.missing += round((first - due) / max(batch.period_ns, 1))
            began = (self.last_arrived_ns - start_ns) / NS_PER_S
            self.gaps_s.append((max(began, 0.0), max(began + (first - due) / NS_PER_S, 0.0)))
        self._next_board_ns = first + n * batch.period_ns
        self.last_arrived_ns = arrived_ns

    def _add_angles(self, said: Encoder) -> None:
        turn = max(said.counts_per_turn, 1)
        for count in said.angle_counts:
            if self._angle is None:
                self._angle = count
            self._angle += (count - self._angle + turn // 2) % turn - turn // 2
            low, high = self.angles or (self._angle, self._angle)
            self.angles = min(low, self._angle), max(high, self._angle)


@dataclass(slots=True)
class CameraWatch:
    """One camera during a take.

    Attributes:
        pictures: that came.
        lost: that the camera's own count says were lost.
        gaps_s: (start, end) since the take's start, of stretches without pictures.
        repeated_s: longest stretch of the very same picture.
        brightness, corners, followed: of the pictures looked at: mean grey level, points to hold on to, and the share
            of these found again in the next picture.
    """

    pictures: int = 0
    lost: int = 0
    gaps_s: list[tuple[float, float]] = field(default_factory=list)
    repeated_s: float = 0.0
    brightness: list[float] = field(default_factory=list)
    corners: list[int] = field(default_factory=list)
    followed: list[float] = field(default_factory=list)
    first_ns: int | None = None
    last_ns: int | None = None
    periods_ns: list[int] = field(default_factory=list)
    _frame: int | None = None
    _last: bytes = b""
    _same_since_ns: int = 0
    _look_due_ns: int = 0

    def add(self, t_ns: int, data: bytes, frame: int | None, start_ns: int) -> bool:
        """Count a picture; whether it is time to look at one."""
        self.pictures += 1
        if frame is not None and self._frame is not None and frame > self._frame:
            self.lost += frame - self._frame - 1
        self._frame = frame
        if self.first_ns is None:
            self.first_ns = t_ns
        elif self.last_ns is not None:
            self.periods_ns.append(t_ns - self.last_ns)
            usual = float(np.median(self.periods_ns[-31:]))
            if t_ns - self.last_ns > max(1.5 * usual, 0.1 * NS_PER_S):
                self.gaps_s.append(((self.last_ns - start_ns) / NS_PER_S, (t_ns - start_ns) / NS_PER_S))
        if data == self._last:
            self.repeated_s = max(self.repeated_s, (t_ns - self._same_since_ns) / NS_PER_S)
        else:
            self._last, self._same_since_ns = data, t_ns
        self.last_ns = t_ns
        if t_ns < self._look_due_ns:
            return False
        self._look_due_ns = t_ns + _LOOK_EVERY_NS
        return True


@dataclass(slots=True)
class TakeWatch:
    """A take as it was measured.

    Attributes:
        start_ns: session clock.
        end_ns: None while it runs.
    """

    start_ns: int
    devices: dict[str, DeviceWatch]
    cameras: dict[str, CameraWatch]
    end_ns: int | None = None

    @property
    def length_s(self) -> float:
        return 0.0 if self.end_ns is None else (self.end_ns - self.start_ns) / NS_PER_S


class Watch:
    """Told of everything that comes, by the threads that carry it; knows what the running take is like.

    Args:
        devices: with an inertial sensor.
        cameras: of the rig.

    Attributes:
        take: the running take, or the last one.
        strangers: pictures of cameras that the rig does not know, by name.
    """

    def __init__(self, devices: Collection[str], cameras: Collection[str]) -> None:
        self._devices, self._cameras = tuple(devices), tuple(cameras)
        self.take: TakeWatch | None = None
        self.strangers: dict[str, int] = {}
        self._lock = threading.Lock()
        self._to_look_at: Queue[tuple[TakeWatch, str, list[bytes]] | None] = Queue(maxsize=8)
        self._second: dict[str, list[bytes]] = {}
        self._looker = threading.Thread(target=self._look, name="handcap looker", daemon=True)
        self._looker.start()

    def begin(self, now_ns: int) -> None:
        """A take begins."""
        with self._lock:
            self._second.clear()
            self.take = TakeWatch(
                now_ns, {name: DeviceWatch() for name in self._devices}, {name: CameraWatch() for name in self._cameras}
            )

    def end(self, now_ns: int) -> TakeWatch:
        """The take has ended; all its pictures that were to be looked at have been."""
        with self._lock:
            take = self.take
            assert take is not None
            take.end_ns = now_ns
        self._to_look_at.join()
        return take

    def close(self) -> None:
        self._to_look_at.put(None)
        self._looker.join()

    def message(self, device: str, message: Message) -> None:
        with self._lock:
            if self.take is not None and self.take.end_ns is None and device in self.take.devices:
                self.take.devices[device].add(message, self.take.start_ns)

    def clock(self, device: str, clock: ClockEstimate) -> None:
        with self._lock:
            if self.take is not None and device in self.take.devices:
                watched = self.take.devices[device]
                watched.clock_residual_s = clock.residual_s
                watched.clock_sigma_s = float(clock.sigma_at(clock.last_board_ns))

    def event(self, device: str, event: Event) -> None:
        with self._lock:
            if self.take is not None and self.take.end_ns is None and device in self.take.devices:
                self.take.devices[device].events.append(event)

    def stranger(self, camera: str) -> None:
        with self._lock:
            self.strangers[camera] = self.strangers.get(camera, 0) + 1

    def picture(self, camera: str, t_ns: int, data: bytes, encoding: Literal["jpeg"] | None, frame: int | None) -> None:
        """A picture; only JPEG is looked at."""
        with self._lock:
            take = self.take
            if take is None or take.end_ns is not None or camera not in take.cameras:
                return
            due = take.cameras[camera].add(t_ns, data, frame, take.start_ns)
            if encoding is None:
                return
            if due:
                self._second[camera] = [data]
                return
            pair = self._second.pop(camera, None)
        if pair is not None:
            with suppress(Full):  # a busy machine looks at fewer
                self._to_look_at.put_nowait((take, camera, [*pair, data]))

    def _look(self) -> None:
        while True:
            item = self._to_look_at.get()
            try:
                if item is None:
                    return
                take, camera, pair = item
                self._look_at(take.cameras[camera], pair)
            finally:
                self._to_look_at.task_done()

    def _look_at(self, watched: CameraWatch, pair: list[bytes]) -> None:
        import cv2

        first, second = (_small(data) for data in pair)
        if first is None or second is None or first.shape != second.shape:
            return
        watched.brightness.append(float(first.mean()))
        points = cv2.goodFeaturesToTrack(first, _CORNERS, 0.01, 8)
        found = 0 if points is None else len(points)
        watched.corners.append(found)
        if points is not None and found:
            _, good, _ = cv2.calcOpticalFlowPyrLK(first, second, points, points.copy(), winSize=(15, 15), maxLevel=3)
            watched.followed.append(float(np.mean(good)))


def _small(data: bytes) -> NDArray[np.uint8] | None:
    """A JPEG as a small grey picture; None where it is none."""
    import cv2

    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_2)
    if picture is None:
        return None
    if picture.shape[1] > 1.5 * _WIDTH:
        picture = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(picture, np.uint8)
