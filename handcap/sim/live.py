"""Rendered takes played in real time, as if boards and a camera node were plugged in.

`python -m handcap.sim.live SESSION` prints one line of JSON, `{"boards": {device: port}, "node": "tcp://..."}`, and
plays until its standard input ends. Each board is a pty, the cameras are one node on a local port; all speak the real
wire, each with a clock of its own. A take begins when a board is told to mark one; before and after it everybody
stands still. Boards are simulated here; what firmware does is shown by firmware/emulation.

Each line on its standard input is one thing that goes wrong, `{"what": "unplug", "to": "left"}`; see `LiveRig.do`.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import socket
import sys
import tempfile
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
from handcap.sim.mischief import TROUBLES, Mischief
from handcap.sim.played import Part, Played, Shown
from handcap.sim.trigger import Trigger
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
_UNSENT_MOST = 32 << 20  # of a node
_UNSENT_MOST_BOARD = 16 << 10  # a board has little memory: what nobody reads is dropped, and counted
_WAY_S = 2.5e-4  # of an exchange, each way: a pty is quicker than any cable, and the host takes that for a mistake
GYRO_SCALE, ACCEL_SCALE = float(np.deg2rad(2000) / 32768), 16 * 9.80665 / 32768


@dataclass(frozen=True, slots=True)
class LiveParams:
    """How the rig differs from its recording.

    Attributes:
        skew: most that a board's clock is off, either way.
        uptime_s: a board was switched on so long ago, at most.
        seed: of clocks and boots.
        loop: the first take begins again where it ends, whatever is marked.
    """

    skew: float = 2e-5
    uptime_s: float = 600.0
    seed: int = 0
    loop: bool = False


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

    def __init__(
        self, board: str, uid: int, sensors: list[Sensor], clock: Clock, mark: Callable[[], None], most: int
    ) -> None:
        self.clock, self._mark, self._most = clock, mark, most
        self.mischief = Mischief(uid)
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
        self.trigger: Trigger | None = None
        self.dropped = 0

    def say(self, **body: Any) -> None:
        """One message, if anybody listens."""
        if self.peer is None:
            return
        envelope = Envelope(
            seq=self._seq, t_us=self.clock.at(time.monotonic_ns()) // 1000, boot_id=self.clock.boot_id, **body
        )
        self._seq += 1
        if self.full:
            self.dropped += 1
            return
        self.peer.unsent += self.mischief.on_the_way(frame(envelope.SerializeToString()))
        self.flush()

    def boot(self, boot_id: int) -> None:
        """Its supply broke down for a moment; the cable did not."""
        self.clock = Clock(time.monotonic_ns(), self.clock.rate, boot_id)
        self._seq, self.streaming, self.dropped = 0, False, 0
        self._done.clear()
        self.say(hello=self._hello)

    def flush(self) -> None:
        peer = self.peer
        if peer is None or not peer.unsent:
            return
        try:
            del peer.unsent[: os.write(peer.fd, peer.unsent)]
        except BlockingIOError:
            pass
        except OSError:  # whoever listened is gone; reading will say so
            peer.unsent.clear()

    @property
    def full(self) -> bool:
        return self.peer is not None and len(self.peer.unsent) > self._most

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
                if self.trigger is not None:
                    self.trigger.mark()
            elif what == "set_trigger":
                wanted, now_ns = command.set_trigger, self.clock.at(time.monotonic_ns())
                made = Trigger(wanted.rate_mhz / 1000, now_ns, 1000 * wanted.exposure_us) if wanted.on else None
                self.trigger = made
        if what == "identify":
            self.say(hello=self._hello)
        self.say(ack=Ack(id=command.id, outcome=Ack.OUTCOME_DONE))

    def status(self, now_ns: int) -> None:
        for stamp in self.trigger.due(self.clock.at(now_ns)) if self.trigger is not None and self.streaming else ():
            self.say(frame_stamp=stamp)
        if now_ns >= self._status_due_ns:
            self._status_due_ns = now_ns + _STATUS_NS
            self.say(status=Status(supply_v=float("nan"), stack_free_bytes=4096, messages_dropped=self.dropped))


def uid_of(text: str) -> int:
    """64 bits for a name that is longer."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


class LiveRig:
    """All of one session's devices, played."""

    def __init__(self, path: Path, params: LiveParams | None = None) -> None:
        params = params or LiveParams()
        recorded = session.read(path)
        rng = np.random.default_rng(params.seed)
        self._takes, self._recorded, self._next, self._loop = recorded.takes, recorded, 0, params.loop
        self._length_ns = 0
        self._links = tempfile.TemporaryDirectory(prefix="handcap-ports-")
        self.silent: set[str] = set()
        self.frozen: dict[str, tuple[bytes, bool] | None] = {}
        self._begin_ns: int | None = None
        self._played_ns = 0
        self._pictures: Iterator[Shown] = iter(())
        self._picture: Shown | None = None
        self._frames: dict[str, int] = {}
        now_ns = time.monotonic_ns()

        def clock() -> Clock:
            up_ns = round(rng.uniform(10, params.uptime_s) * NS_PER_S)
            return Clock(now_ns - up_ns, 1 + rng.uniform(-1, 1) * params.skew, int(rng.integers(1, 2**32)))

        imu = Sensor(kind="SENSOR_KIND_IMU", model="virtual", state="SENSOR_STATE_RUNNING", rate_hz=1000)
        line = Sensor(kind="SENSOR_KIND_TRIGGER", model="virtual", state="SENSOR_STATE_STOPPED")
        self.boards: dict[str, tuple[Talker, str]] = {}
        self._by_fd: dict[int, Talker] = {}
        self._slaves: dict[str, int] = {}  # held open, so that a listener may come and go
        for device in sorted(recorded.rig.devices):
            uid = uid_of(recorded.meta.device_uids.get(device, device))
            talker = Talker("virtual", uid, [imu, line], clock(), self.mark, _UNSENT_MOST_BOARD)
            self.boards[device] = talker, str(Path(self._links.name) / device)
            self._plug(device)
        self.node = Talker("virtual node", uid_of(recorded.meta.id), [], clock(), self.mark, _UNSENT_MOST)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._connection: socket.socket | None = None
        self._load()

    @property
    def ports(self) -> dict[str, Any]:
        address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        return {"boards": {device: port for device, (_, port) in self.boards.items()}, "node": address}

    def do(self, what: str, to: str, value: float = 0.0) -> None:
        """Something goes wrong, or right again.

        Args:
            what: to a board: "unplug", "plug", "reboot", or "jump" its clock `value` seconds ahead; to a board or
                "cameras": "twice", "swapped", "garbage" (see mischief.py) or "well"; to a camera: "silent", "frozen"
                or "seen".
            to: device, "cameras", or camera.
        """
        if what in ("silent", "frozen", "seen"):
            self.silent.discard(to)
            self.frozen.pop(to, None)
            if what == "silent":
                self.silent.add(to)
            elif what == "frozen":
                self.frozen[to] = None
            return
        talker = self.node if to == "cameras" else self.boards[to][0]
        if what == "unplug":
            self._unplug(to)
        elif what == "plug":
            talker.boot(talker.clock.boot_id + 1)
            self._plug(to)
        elif what == "reboot":
            talker.boot(talker.clock.boot_id + 1)
        elif what == "jump":
            talker.clock.boot_ns -= round(value * NS_PER_S)
        else:
            talker.mischief.troubles = {what} if what in TROUBLES else set()

    def close(self) -> None:
        self._links.cleanup()

    def _plug(self, device: str) -> None:
        talker, port = self.boards[device]
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        talker.peer = Peer(ours)
        self._by_fd[ours] = talker
        self._slaves[device] = theirs
        link = Path(f"{port}.new")
        link.symlink_to(os.ttyname(theirs))
        link.replace(port)

    def _unplug(self, device: str) -> None:
        talker, port = self.boards[device]
        assert talker.peer is not None
        Path(port).unlink()
        del self._by_fd[talker.peer.fd]
        os.close(talker.peer.fd)
        os.close(self._slaves.pop(device))
        talker.peer = None

    def mark(self) -> None:
        """A take begins, unless one has just begun; what is looped runs through all takes."""
        now_ns = time.monotonic_ns()
        if self._loop and self._begin_ns is not None:
            return
        if self._begin_ns is not None and now_ns - self._begin_ns < NS_PER_S:
            return
        if self._begin_ns is not None:
            self._load_next()
        self._begin_ns, self._played_ns = now_ns, 0

    def _load_next(self) -> None:
        self._next = (self._next + 1) % len(self._takes)
        if len(self._takes) > 1:
            self._load()
        else:
            self._rewind()

    def _load(self) -> None:
        take = self._recorded.take(self._takes[self._next])
        self._played = Played(take, self.boards)
        self._length_ns = self._played.length_ns - self._played.length_ns % -_BATCH_NS  # whole batches
        self._rewind()

    def _rewind(self) -> None:
        """The loaded take from its first picture on."""
        for part in self._played.parts.values():
            part.angle = 0
        self._pictures = self._played.pictures()
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
            if not self._loop and self._played_ns > self._length_ns:  # while nobody waits for it
                self._load_next()
                self._begin_ns = None

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
        if self._loop and until_ns > self._length_ns:
            self._play(self._length_ns)
            self._begin_ns, self._played_ns, until_ns = self._begin_ns + self._length_ns, 0, until_ns - self._length_ns
            self._rewind()
        if until_ns > self._played_ns:
            for device, part in self._played.parts.items():
                talker = self.boards[device][0]
                if talker.streaming and not talker.full:
                    self._play_board(talker, part, until_ns)
            self._played_ns = until_ns
        while self._picture is not None and self._picture.due_ns <= until_ns:
            self._show(self._picture)
            self._picture = next(self._pictures, None)

    def _play_board(self, talker: Talker, part: Part, until_ns: int) -> None:
        assert self._begin_ns is not None
        low, high = np.searchsorted(part.due_ns, [self._played_ns, until_ns])
        for at in range(int(low), int(high), 20):
            end = min(at + 20, int(high))
            first_ns = talker.clock.at(self._begin_ns + int(part.t_ns[at]))
            if first_ns < 0:  # taken before the board booted
                continue
            gyro = np.clip(np.rint(part.gyro[at:end] / GYRO_SCALE), -32767, 32767).astype(int)
            accel = np.clip(np.rint(part.accel[at:end] / ACCEL_SCALE), -32767, 32767).astype(int)
            talker.say(
                imu_batch=ImuBatch(
                    first_sample_t_ns=first_ns,
                    period_ns=round(part.period_ns * talker.clock.rate),
                    gyro_counts=gyro.ravel().tolist(),
                    accel_counts=accel.ravel().tolist(),
                    gyro_scale=GYRO_SCALE,
                    accel_scale=ACCEL_SCALE,
                    temperature_c=float("nan"),
                )
            )
        while part.angle < len(part.angles) and part.angles[part.angle][0] < until_ns:
            t_ns, said = part.angles[part.angle]
            part.angle += 1
            told = Encoder()
            told.CopyFrom(said)
            span_ns = (len(said.angle_counts) - 1) * said.period_ns
            told.first_sample_t_ns = talker.clock.at(self._begin_ns + t_ns - span_ns)
            talker.say(encoder=told)

    def _show(self, shown: Shown) -> None:
        assert self._begin_ns is not None
        camera, data, h264 = shown.camera, shown.data, shown.h264
        if camera in self.silent:
            return
        if camera in self.frozen:
            data, h264 = self.frozen[camera] = self.frozen[camera] or (data, h264)
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
                capture_t_ns=self.node.clock.at(self._begin_ns + shown.t_ns),
                encoding=VideoFrame.ENCODING_H264 if h264 else VideoFrame.ENCODING_MJPEG,
                data=data,
                frames_dropped=self.node.dropped,
            )
        )


def main() -> None:
    params = LiveParams(seed=int(sys.argv[2]) if len(sys.argv) > 2 else 0, loop="--loop" in sys.argv)
    rig = LiveRig(Path(sys.argv[1]), params)
    print(json.dumps(rig.ports), flush=True)
    asked = b""
    while True:
        if select.select([0], [], [], 0)[0]:
            came = os.read(0, 4096)
            if not came:
                break
            *lines, asked = (asked + came).split(b"\n")
            for line in lines:
                rig.do(**json.loads(line))
        rig.turn()
    rig.close()


if __name__ == "__main__":
    main()
