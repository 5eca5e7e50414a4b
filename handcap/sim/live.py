"""Rendered takes played in real time, as if boards and a camera node were plugged in.

`python -m handcap.sim.live SESSION` prints one line of JSON, `{"boards": {device: port}, "node": "tcp://..."}`, and
plays until its standard input ends. Each board is a pty, the cameras are one node on a local port; all speak the real
wire, each with a clock of its own. A take begins when a board is told to mark one; before and after it everybody
stands still. Boards are simulated here; what firmware does is shown by firmware/emulation.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import select
import socket
import sys
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from handcap import session
from handcap.clock import NS_PER_S
from handcap.types import ImuSamples
from handcap.wire import SERIAL_FRAME_MAX, Deframer, frame
from handcap.wire.handcap_pb2 import (
    PROTOCOL_VERSION_CURRENT,
    Ack,
    Encoder,
    Envelope,
    Hello,
    ImuBatch,
    Sensor,
    Status,
    SyncResponse,
    VideoFrame,
)

_BATCH_NS = NS_PER_S // 50
_STATUS_NS = NS_PER_S
_UNSENT_MOST = 32 << 20
_WAY_S = 2.5e-4  # of an exchange, each way: a pty is quicker than any cable, and the host takes that for a mistake
GYRO_SCALE, ACCEL_SCALE = float(np.deg2rad(2000) / 32768), 16 * 9.80665 / 32768


@dataclass(frozen=True, slots=True)
class LiveParams:
    """How the rig differs from its recording.

    Attributes:
        skew: most that a board's clock is off, either way.
        uptime_s: a board was switched on so long ago, at most.
        seed: of clocks and boots.
    """

    skew: float = 2e-5
    uptime_s: float = 600.0
    seed: int = 0


@dataclass(slots=True)
class Clock:
    """Of one board: starts at its boot and runs a little off."""

    boot_ns: int
    rate: float
    boot_id: int

    def at(self, t_ns: int) -> int:
        """Host's monotonic clock to this one."""
        return round((t_ns - self.boot_ns) * self.rate)


@dataclass(slots=True)
class Peer:
    """Whoever listens to one board or node."""

    fd: int
    deframer: Deframer = field(default_factory=lambda: Deframer(SERIAL_FRAME_MAX))
    unsent: bytearray = field(default_factory=bytearray)


class Talker:
    """What boards and the node have in common: who they are, commands, exchanges of stamps."""

    def __init__(self, board: str, uid: int, sensors: list[Sensor], clock: Clock, mark: Callable[[], None]) -> None:
        self.clock, self._mark = clock, mark
        self.peer: Peer | None = None
        self._hello = Hello(
            protocol_version=PROTOCOL_VERSION_CURRENT,
            board=board,
            uid=uid,
            firmware_version="virtual",
            sensors=sensors,
        )
        self._seq = 0
        self._done: deque[int] = deque(maxlen=8)
        self._status_due_ns = 0
        self.streaming = False
        self.dropped = 0

    def say(self, **body: Any) -> None:
        """One message, if anybody listens."""
        if self.peer is None:
            return
        envelope = Envelope(
            seq=self._seq, t_us=self.clock.at(time.monotonic_ns()) // 1000, boot_id=self.clock.boot_id, **body
        )
        self._seq += 1
        self.peer.unsent += frame(envelope.SerializeToString())
        self.flush()

    def flush(self) -> None:
        peer = self.peer
        if peer is None or not peer.unsent:
            return
        with suppress(BlockingIOError):
            del peer.unsent[: os.write(peer.fd, peer.unsent)]

    @property
    def full(self) -> bool:
        return self.peer is not None and len(self.peer.unsent) > _UNSENT_MOST

    def hear(self, data: bytes) -> None:
        assert self.peer is not None
        for message in self.peer.deframer.push(data):
            envelope = Envelope()
            with suppress(Exception):
                envelope.ParseFromString(message)
            if envelope.HasField("sync_request"):
                time.sleep(_WAY_S)
                answer = SyncResponse(host_sent_t_ns=envelope.sync_request.host_sent_t_ns)
                answer.board_received_t_ns = answer.board_sent_t_ns = self.clock.at(time.monotonic_ns())
                time.sleep(_WAY_S)
                self.say(sync_response=answer)
            elif envelope.HasField("command"):
                self._obey(envelope.command)

    def _obey(self, command: Any) -> None:
        what = command.WhichOneof("what")
        if command.id not in self._done:
            self._done.append(command.id)
            if what == "stream":
                self.streaming = command.stream.on
            elif what == "mark_take_start":
                self._mark()
        if what == "identify":
            self.say(hello=self._hello)
        self.say(ack=Ack(id=command.id, outcome=Ack.OUTCOME_DONE))

    def status(self, now_ns: int) -> None:
        if now_ns >= self._status_due_ns:
            self._status_due_ns = now_ns + _STATUS_NS
            self.say(status=Status(supply_v=float("nan"), stack_free_bytes=4096))


def uid_of(text: str) -> int:
    """64 bits for a name that is longer."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


@dataclass(eq=False, slots=True)
class Part:
    """One device's recording: samples and encoder messages by time since the take's start."""

    imu: ImuSamples
    angles: list[tuple[int, Encoder]]


class LiveRig:
    """All of one session's devices, played."""

    def __init__(self, path: Path, params: LiveParams | None = None) -> None:
        params = params or LiveParams()
        recorded = session.read(path)
        rng = np.random.default_rng(params.seed)
        self._takes, self._recorded, self._next = recorded.takes, recorded, 0
        self._begin_ns: int | None = None
        self._played_ns = 0
        self._parts: dict[str, Part] = {}
        self._pictures: Iterator[tuple[int, str, bytes, int]] = iter(())
        self._picture: tuple[int, str, bytes, int] | None = None
        self._frames: dict[str, int] = {}
        now_ns = time.monotonic_ns()

        def clock() -> Clock:
            up_ns = round(rng.uniform(10, params.uptime_s) * NS_PER_S)
            return Clock(now_ns - up_ns, 1 + rng.uniform(-1, 1) * params.skew, int(rng.integers(1, 2**32)))

        imu = Sensor(kind="SENSOR_KIND_IMU", model="virtual", state="SENSOR_STATE_RUNNING", rate_hz=1000)
        self.boards: dict[str, tuple[Talker, str]] = {}
        self._by_fd: dict[int, Talker] = {}
        self._slaves: list[int] = []  # held open, so that a listener may come and go
        for device in sorted(recorded.rig.devices):
            uid = uid_of(recorded.meta.device_uids.get(device, device))
            talker = Talker("virtual", uid, [imu], clock(), self.mark)
            ours, theirs = os.openpty()
            tty.setraw(theirs)
            os.set_blocking(ours, False)
            talker.peer = Peer(ours)
            self.boards[device] = talker, os.ttyname(theirs)
            self._by_fd[ours] = talker
            self._slaves.append(theirs)
        self.node = Talker("virtual node", uid_of(recorded.meta.id), [], clock(), self.mark)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._connection: socket.socket | None = None
        self._load()

    @property
    def ports(self) -> dict[str, Any]:
        address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        return {"boards": {device: port for device, (_, port) in self.boards.items()}, "node": address}

    def mark(self) -> None:
        """A take begins, unless one has just begun."""
        now_ns = time.monotonic_ns()
        if self._begin_ns is not None and now_ns - self._begin_ns < NS_PER_S:
            return
        if self._begin_ns is not None:
            self._next = (self._next + 1) % len(self._takes)
            self._load()
        self._begin_ns, self._played_ns = now_ns, 0

    def _load(self) -> None:
        take = self._recorded.take(self._takes[self._next])
        devices = [device for device in self.boards if device in take.devices]
        start_ns = min(int(take.imu(device, as_recorded=True).t_ns[0]) for device in devices)
        for device in devices:
            imu = take.imu(device, as_recorded=True)
            angles = [(t - start_ns, e.encoder) for t, e in take.wire(device) if e.HasField("encoder")]
            self._parts[device] = Part(ImuSamples(imu.t_ns - start_ns, imu.gyro_imu, imu.accel_imu), angles)

        def of(camera: str) -> Iterator[tuple[int, str, bytes, int]]:
            return ((p.t_ns - start_ns, camera, p.data, int(p.format != "jpeg")) for p in take.packets(camera))

        self._pictures = heapq.merge(*(of(camera) for camera in take.cameras), key=lambda picture: picture[0])
        self._picture = next(self._pictures, None)

    def turn(self) -> None:
        """Listen for a moment and play what is due."""
        fds = [*self._by_fd, self._listener.fileno()]
        ready, _, _ = select.select(fds, [], [], 0.004)
        now_ns = time.monotonic_ns()
        for fd in ready:
            if fd == self._listener.fileno():
                self._accept()
                continue
            talker = self._by_fd[fd]
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""
            if data:
                talker.hear(data)
            elif talker is self.node:
                self._hang_up()
        for talker in (*(talker for talker, _ in self.boards.values()), self.node):
            talker.status(now_ns)
            talker.flush()
        if self._begin_ns is not None:
            self._play(now_ns - self._begin_ns)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        if self._connection is not None:
            connection.close()
            return
        connection.setblocking(False)
        self._connection, self.node.peer = connection, Peer(connection.fileno())
        self._by_fd[connection.fileno()] = self.node

    def _hang_up(self) -> None:
        assert self._connection is not None
        del self._by_fd[self._connection.fileno()]
        self._connection.close()
        self._connection, self.node.peer = None, None

    def _play(self, until_ns: int) -> None:
        """Send what was recorded between the last call and now, time since the take's start."""
        assert self._begin_ns is not None
        until_ns -= until_ns % _BATCH_NS
        if until_ns > self._played_ns:
            for device, part in self._parts.items():
                talker = self.boards[device][0]
                if talker.streaming and not talker.full:
                    self._play_board(talker, part, until_ns)
            self._played_ns = until_ns
        while self._picture is not None and self._picture[0] <= until_ns:
            self._show(*self._picture)
            self._picture = next(self._pictures, None)

    def _play_board(self, talker: Talker, part: Part, until_ns: int) -> None:
        assert self._begin_ns is not None
        low, high = np.searchsorted(part.imu.t_ns, [self._played_ns, until_ns])
        for at in range(int(low), int(high), 20):
            end = min(at + 20, int(high))
            t = [talker.clock.at(self._begin_ns + int(t)) for t in part.imu.t_ns[[at, end - 1]]]
            gyro = np.clip(np.rint(part.imu.gyro_imu[at:end] / GYRO_SCALE), -32767, 32767).astype(int)
            accel = np.clip(np.rint(part.imu.accel_imu[at:end] / ACCEL_SCALE), -32767, 32767).astype(int)
            talker.say(
                imu_batch=ImuBatch(
                    first_sample_t_ns=t[0],
                    period_ns=round((t[1] - t[0]) / max(end - at - 1, 1)),
                    gyro_counts=gyro.ravel().tolist(),
                    accel_counts=accel.ravel().tolist(),
                    gyro_scale=GYRO_SCALE,
                    accel_scale=ACCEL_SCALE,
                    temperature_c=float("nan"),
                )
            )
        while part.angles and part.angles[0][0] < until_ns:
            t_ns, said = part.angles.pop(0)
            told = Encoder()
            told.CopyFrom(said)
            span_ns = (len(said.angle_counts) - 1) * said.period_ns
            told.first_sample_t_ns = talker.clock.at(self._begin_ns + t_ns - span_ns)
            talker.say(encoder=told)

    def _show(self, t_ns: int, camera: str, data: bytes, h264: int) -> None:
        assert self._begin_ns is not None
        self._frames[camera] = self._frames.get(camera, 0) + 1
        if not self.node.streaming:
            return
        if self.node.full:
            self.node.dropped += 1
            return
        self.node.say(
            video_frame=VideoFrame(
                camera=camera,
                frame=self._frames[camera],
                capture_t_ns=self.node.clock.at(self._begin_ns + t_ns),
                encoding=VideoFrame.ENCODING_H264 if h264 else VideoFrame.ENCODING_MJPEG,
                data=data,
                frames_dropped=self.node.dropped,
            )
        )


def main() -> None:
    rig = LiveRig(Path(sys.argv[1]), LiveParams(seed=int(sys.argv[2]) if len(sys.argv) > 2 else 0))
    print(json.dumps(rig.ports), flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        rig.turn()


if __name__ == "__main__":
    main()
