"""A few seconds of one board: what it is, what it sends, what is lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean, median

from handcap.clock import NS_PER_S
from handcap.devices.board import Board, Event
from handcap.devices.clock_fit import ClockEstimate
from handcap.devices.clock_tracker import Rejected
from handcap.devices.imu_samples import ImuUnpacker
from handcap.devices.inbox import Message
from handcap.devices.losses import Losses
from handcap.devices.opening import open_board
from handcap.errors import DeviceError, HandcapError
from handcap.wire.handcap_pb2 import Encoder, Hello, Log, Status

Owner = tuple[str, str]  # rig id, device


@dataclass(slots=True)
class Stretch:
    """One kind of samples of one epoch.

    Attributes:
        samples: that came.
        periods_ns: of the last batches, each from its first sample to the next batch's, divided by its samples.
    """

    samples: int = 0
    periods_ns: deque[float] = field(default_factory=lambda: deque(maxlen=4096))
    _first_ns: int = 0
    _n: int = 0

    def add(self, first_ns: int, n: int) -> None:
        if self._n and first_ns > self._first_ns:
            self.periods_ns.append((first_ns - self._first_ns) / self._n)
        self.samples += n
        self._first_ns, self._n = first_ns, n

    @property
    def rate_hz(self) -> float | None:
        """By the board's own stamps, batches that did not come left out; None from less than two batches."""
        if not self.periods_ns:
            return None
        longest_ns = 1.5 * median(self.periods_ns)
        return NS_PER_S / fmean(period for period in self.periods_ns if period <= longest_ns)


@dataclass(slots=True)
class Heard:
    """What came while a board was watched.

    Attributes:
        streams: by body ("imu_batch", "encoder", "frame_stamp", "video_frame"), of the last epoch.
        cameras: pictures of each camera of a node.
        bytes: of all messages.
        watched_s: how long.
        imu: what its batches said of samples.
        encoder: the last one, with the sensor's word on its magnet.
        logs: warnings and errors, the last ones.
        video_dropped: whole pictures that a camera node threw away since it started.
    """

    streams: dict[str, Stretch] = field(default_factory=dict)
    cameras: dict[str, Stretch] = field(default_factory=dict)
    bytes: int = 0
    watched_s: float = 0.0
    imu: ImuUnpacker = field(default_factory=ImuUnpacker)
    encoder: Encoder | None = None
    logs: list[str] = field(default_factory=list)
    video_dropped: int = 0
    _epoch: int = 0

    def add(self, message: Message) -> None:
        if message.epoch != self._epoch:
            self._epoch, self.streams, self.cameras = message.epoch, {}, {}
        self.bytes += len(message.data)
        envelope, body = message.envelope, message.body
        if body == "imu_batch":
            self.imu.add(message)
            batch = envelope.imu_batch
            self._stretch(body).add(batch.first_sample_t_ns, len(batch.gyro_counts) // 3)
        elif body == "encoder":
            self.encoder = envelope.encoder
            self._stretch(body).add(envelope.encoder.first_sample_t_ns, len(envelope.encoder.angle_counts))
        elif body == "frame_stamp":
            self._stretch(body).add(envelope.frame_stamp.exposure_start_t_ns, 1)
        elif body == "video_frame":
            self._stretch(body).add(envelope.video_frame.capture_t_ns, 1)
            self.cameras.setdefault(envelope.video_frame.camera, Stretch()).add(envelope.video_frame.capture_t_ns, 1)
            self.video_dropped = envelope.video_frame.frames_dropped
        elif body == "log" and envelope.log.level >= Log.LEVEL_WARNING:
            self.logs = [*self.logs, envelope.log.text][-10:]

    def _stretch(self, body: str) -> Stretch:
        return self.streams.setdefault(body, Stretch())

    def rate_hz(self, body: str) -> float | None:
        return self.streams[body].rate_hz if body in self.streams else None


@dataclass(frozen=True, slots=True)
class BoardReport:
    """A board after it was watched.

    Attributes:
        port: as named.
        owner: rig and device it belongs to, None where no rig in force has it.
        hello, status: its own words.
        uid: 16 hexadecimal digits.
        heard: what came.
        losses, clock, clock_jumps, clock_rejected, events: of the connection.
        streamed: whether it was told to stream, so that silence means something.
    """

    port: str
    owner: Owner | None
    hello: Hello
    status: Status | None
    uid: str
    heard: Heard
    losses: Losses
    clock: ClockEstimate | None
    clock_jumps: int
    clock_rejected: Rejected
    events: Sequence[Event]
    streamed: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """A port with which it did not come that far."""

    port: str
    error: HandcapError


def examine(port: str, seconds: float, owners: Mapping[str, Owner]) -> BoardReport | Failed:
    """Open a board, let it stream for some seconds, and put it back to silence."""
    try:
        with open_board(port) as board:
            return _watched(board, port, seconds, owners)
    except HandcapError as error:
        return Failed(port, error)


def examine_all(ports: Sequence[str], seconds: float, owners: Mapping[str, Owner]) -> list[BoardReport | Failed]:
    """Several at once."""
    if not ports:
        return []
    with ThreadPoolExecutor(len(ports)) as pool:
        return list(pool.map(lambda port: examine(port, seconds, owners), ports))


def _watched(board: Board, port: str, seconds: float, owners: Mapping[str, Owner]) -> BoardReport:
    heard, streamed = Heard(), False
    if seconds > 0:
        with suppress(DeviceError):  # one that does not obey is watched all the same, and its silence is told
            board.stream(True)
        streamed = True
        began = time.monotonic()
        while (left_s := began + seconds - time.monotonic()) > 0:
            for message in board.receive(left_s):
                heard.add(message)
        heard.watched_s = time.monotonic() - began
        with suppress(DeviceError):
            board.stream(False)
    return BoardReport(
        port=port,
        owner=owners.get(board.uid),
        hello=board.hello,
        status=board.status,
        uid=board.uid,
        heard=heard,
        losses=board.losses,
        clock=board.clock,
        clock_jumps=board.clock_jumps,
        clock_rejected=board.clock_rejected,
        events=board.events,
        streamed=streamed,
    )
