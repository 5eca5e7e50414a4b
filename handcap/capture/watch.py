"""What is measured while a take runs: counts of everything, and a look at two pictures a few times a second."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from queue import Full, Queue
from typing import Literal

from handcap.capture.board_watch import DeviceWatch
from handcap.capture.camera_watch import CameraWatch
from handcap.capture.hand_watch import HandWatch
from handcap.capture.look import Encoding, Eyes, prepare
from handcap.clock import NS_PER_S
from handcap.devices import ClockEstimate, Event, Message
from handcap.session.pictures import is_key
from handcap.types import Rig

_MOST_WAITING = 16
_BUSY = 6  # that wait: from then on looks are quick ones
_LOOKS_WAIT_S = 1.0  # a few tens of milliseconds do on a machine that has time


@dataclass(slots=True)
class TakeWatch:
    """A take as it was measured.

    Attributes:
        start_ns: session clock.
        end_ns: None while it runs.
        not_looked_at: looks that a busy machine left out.
        dropped: camera to pictures that came and that the disk was too slow for.
        slept_s: the computer was suspended for so long.
    """

    start_ns: int
    devices: dict[str, DeviceWatch]
    cameras: dict[str, CameraWatch]
    eyes: Eyes
    end_ns: int | None = None
    not_looked_at: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    slept_s: float = 0.0

    @property
    def length_s(self) -> float:
        return 0.0 if self.end_ns is None else (self.end_ns - self.start_ns) / NS_PER_S

    def hands_share(self, count: int, span_s: tuple[float, float] = (0.0, float("inf"))) -> float | None:
        """Of the pictures in which somebody looked for bare hands, those that show as many; None where nobody did."""
        told = [n >= count for each in self.cameras.values() for t_s, n in each.hands if span_s[0] <= t_s <= span_s[1]]
        return sum(told) / len(told) if told else None


class Watch:
    """Told of everything that comes, by the threads that carry it; knows what the running take is like.

    Args:
        devices: with an inertial sensor.
        cameras: of the rig.
        rig: in force; without it nothing is told of tags and mounts.
        hands: counts bare hands; it is closed here.

    Attributes:
        take: the running take, or the last one.
        strangers: pictures of cameras that the rig does not know, by name.
        came: ("imu", device) or ("camera", name) to the samples or pictures that came since the start, between takes
            too.
        viewer: handed every picture with its camera's name, whether a take runs or not; is to return at once.
    """

    def __init__(
        self,
        devices: Collection[str],
        cameras: Collection[str],
        rig: Rig | None = None,
        hands: HandWatch | None = None,
    ) -> None:
        self._devices, self._cameras, self._rig = tuple(devices), tuple(cameras), rig
        self._hands = hands
        self.take: TakeWatch | None = None
        self.strangers: dict[str, int] = {}
        self.came: Counter[tuple[Literal["imu", "camera"], str]] = Counter()
        self.viewer: Callable[[str, bytes], None] | None = None
        self._lock = threading.Lock()
        self._to_look_at: Queue[tuple[TakeWatch, str, int, list[bytes], Encoding] | None] = Queue(_MOST_WAITING)
        self._first: dict[str, tuple[int, bytes]] = {}
        self._looker = threading.Thread(target=self._look, name="handcap looker", daemon=True)
        self._looker.start()

    def begin(self, now_ns: int) -> None:
        """A take begins."""
        with self._lock:
            self._first.clear()
            if self._hands is not None:
                self._hands.begin()
            self.take = TakeWatch(
                now_ns,
                {name: DeviceWatch() for name in self._devices},
                {name: CameraWatch(now_ns) for name in self._cameras},
                Eyes(self._rig, now_ns),
            )

    def end(self, now_ns: int) -> TakeWatch:
        """The take has ended; what pictures are still to be looked at are, unless that takes too long."""
        with self._lock:
            take = self.take
            assert take is not None
            take.end_ns = now_ns
        queue = self._to_look_at
        with queue.all_tasks_done:
            queue.all_tasks_done.wait_for(lambda: not queue.unfinished_tasks, _LOOKS_WAIT_S)
        if self._hands is not None:
            self._hands.wait(_LOOKS_WAIT_S)
        return take

    def close(self) -> None:
        self._to_look_at.put(None)
        self._looker.join()
        if self._hands is not None:
            self._hands.close()

    def message(self, device: str, message: Message) -> None:
        with self._lock:
            if message.body == "imu_batch":
                self.came["imu", device] += len(message.envelope.imu_batch.gyro_counts) // 3
            if self.take is not None and self.take.end_ns is None and device in self.take.devices:
                self.take.devices[device].add(message, self.take.start_ns)

    def clock(self, device: str, clock: ClockEstimate) -> None:
        with self._lock:
            if self.take is not None and device in self.take.devices:
                self.take.devices[device].know(clock)

    def event(self, device: str, event: Event) -> None:
        with self._lock:
            if self.take is not None and self.take.end_ns is None and device in self.take.devices:
                self.take.devices[device].events.append(event)

    def stranger(self, camera: str) -> None:
        with self._lock:
            self.strangers[camera] = self.strangers.get(camera, 0) + 1

    def picture(self, camera: str, t_ns: int, data: bytes, encoding: Encoding | None, frame: int | None) -> None:
        """A picture as it came; what is neither JPEG nor H.264 is counted and not looked at."""
        viewer = self.viewer
        if viewer is not None:
            viewer(camera, data)
        key = encoding == "jpeg" or (encoding == "h264" and is_key(data))
        with self._lock:
            self.came["camera", camera] += 1
            take = self.take
            if take is None or take.end_ns is not None or camera not in take.cameras:
                return
            due = take.cameras[camera].add(t_ns, data, frame, key=key)
            first = self._first.pop(camera, None)
            if due:
                self._first[camera] = t_ns, data
                if self._hands is not None and encoding is not None:
                    self._hands.offer(take.cameras[camera], camera, t_ns, data, encoding)
        if first is not None and encoding is not None:
            try:
                self._to_look_at.put_nowait((take, camera, first[0], [first[1], data], encoding))
            except Full:  # a busy machine looks at fewer
                take.not_looked_at += 1

    def _look(self) -> None:
        prepare()  # or the first take waits for it
        while True:
            item = self._to_look_at.get()
            try:
                if item is None:
                    return
                take, camera, t_ns, pair, encoding = item
                quick = self._to_look_at.qsize() >= _BUSY
                look = take.eyes.look(camera, t_ns, pair, encoding, quick=quick)
                if look is not None:
                    take.cameras[camera].saw(look)
            finally:
                self._to_look_at.task_done()
