"""A board in Python on a pty: speaks the real wire and misbehaves on demand."""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from handcap.wire import Deframer, frame
from handcap.wire.handcap_pb2 import (
    Ack,
    Button,
    Command,
    Encoder,
    Envelope,
    FrameStamp,
    Hello,
    ImuBatch,
    Light,
    Sensor,
    Status,
    SyncResponse,
)

UID = 0xE660_5481_DB31_8D34
PER_BATCH = 20
_SHOWN_AT_BOOT_NS = 1_000_000_000
_WAY_S = 2.5e-4  # of an exchange, each way: a pty is quicker than any cable, and the host takes that for a mistake
GYRO_SCALE, ACCEL_SCALE = 0.0010652644360316953, 0.0047885131835937


def sensor(kind: str, model: str = "", state: str = "RUNNING", **values: Any) -> Sensor:
    return Sensor(kind=f"SENSOR_KIND_{kind}", model=model, state=f"SENSOR_STATE_{state}", **values)


def usual_sensors() -> list[Sensor]:
    return [
        sensor("IMU", "ICM-42688-P", identity=0x47, rate_hz=1000.0),
        sensor("ENCODER", "AS5600", rate_hz=200.0),
        sensor("TRIGGER", state="STOPPED", rate_hz=30.0),
        sensor("BUTTON"),
        sensor("LIGHT"),
    ]


@dataclass
class SimulatedBoard:
    """One board. Use it in a `with`; `port` is what handcap opens.

    Attributes:
        port: a link that stays the same when the board is plugged out and in.
        skew: how much too fast its clock runs.
        delay_s: mean of the exponential delay of each answer.
        flip_every: one bit of every so many messages is wrong.
        lose_every: every so many messages never leave.
        imu_hz: samples really taken a second.
        answers: whether it acknowledges commands.
        heard: commands that it carried out, once each.
        asked: command messages that came, repeats included.
        lights: what its light was told to show, once each.
    """

    port: Path
    uid: int = UID
    protocol_version: int = 1
    skew: float = 0.0
    delay_s: float = 0.0
    flip_every: int = 0
    lose_every: int = 0
    imu_hz: float = 1000.0
    answers: bool = True
    magnet: str = "found"
    firmware_version: str = "0.1.0"
    sensors: list[Sensor] = field(default_factory=usual_sensors)
    refuses: dict[str, tuple[str, str]] = field(default_factory=dict)
    says_hello: Hello | None = None
    on_bootloader: Callable[[], None] | None = None
    status: Status = field(default_factory=Status)
    heard: list[str] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(3)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._master = self._slave = -1
        self._made = 0
        self.boots = 0
        self._boot()

    def __enter__(self) -> SimulatedBoard:
        self.plug_in()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    # What happens to it.

    def plug_in(self) -> None:
        self._boot()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        tty.setraw(self._master)
        os.set_blocking(self._master, False)
        link = self.port.with_suffix(".new")
        link.symlink_to(os.ttyname(self._slave))
        link.replace(self.port)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        if self._master < 0:
            return
        self._stop.set()
        self._thread.join()
        with suppress(OSError):
            self.port.unlink()
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1

    def reboot(self) -> None:
        """The supply broke down for a moment; the cable did not."""
        with self._lock:
            self._boot()
            self._say(hello=self._hello())

    def say(self, data: bytes) -> None:
        """Any bytes, as if the board had sent them."""
        with self._lock:
            self._write(data)

    def press_button(self) -> None:
        with self._lock:
            self._say(button=Button(edge="EDGE_PRESSED", edge_t_ns=self.now_ns(), presses=1))

    def play_presses(self, *spans_s: tuple[float, float]) -> None:
        """Presses (from, to) from now on by its own clock, told all at once, and half a second more that passes."""
        with self._lock:
            start_ns = self.now_ns()
            edges = [(start_ns + int(1e9 * t_s), k % 2) for k, t_s in enumerate(t for span in spans_s for t in span)]
            for t_ns, released in edges:
                self._presses += not released
                edge = "EDGE_RELEASED" if released else "EDGE_PRESSED"
                self._say(button=Button(edge=edge, edge_t_ns=t_ns, presses=self._presses), t_us=t_ns // 1000)
            self._say(status=self.status, t_us=edges[-1][0] // 1000 + 500_000)

    def now_ns(self) -> int:
        """Its own clock."""
        return self._at_ns(time.monotonic_ns())

    def _at_ns(self, monotonic_ns: int) -> int:
        return int((monotonic_ns - self._booted_ns) * (1 + self.skew)) + _SHOWN_AT_BOOT_NS

    def true_session_ns(self, t_board_ns: Any) -> Any:
        """Host's monotonic clock when the board's showed so much."""
        shown = np.asarray(t_board_ns, np.int64) - _SHOWN_AT_BOOT_NS
        return self._booted_ns + np.rint(shown / (1 + self.skew)).astype(np.int64)

    # What it does.

    def _boot(self) -> None:
        self.boots += 1
        self.boot_id = 0xB007_0000 + self.boots
        self._booted_ns = time.monotonic_ns()
        self._seq = 0
        self._streaming = False
        self._last_ids: deque[int] = deque(maxlen=8)
        self._deframer = Deframer()
        self._later: list[tuple[float, bytes]] = []
        self._status_due_s = self._imu_due_s = self._other_due_s = time.monotonic()
        self._frames = self._presses = 0

    def _run(self) -> None:
        with self._lock:
            self._say(hello=self._hello())
        while not self._stop.is_set():
            ready, _, _ = select.select([self._master], [], [], 0.001)
            with self._lock:
                if ready:
                    self._hear()
                self._do_what_is_due(time.monotonic())

    def _hear(self) -> None:
        try:
            data = os.read(self._master, 4096)
        except OSError:
            return
        time.sleep(_WAY_S)
        received_ns = self.now_ns()
        for message in self._deframer.push(data):
            envelope = Envelope.FromString(message)
            if envelope.HasField("sync_request"):
                answer = SyncResponse(
                    host_sent_t_ns=envelope.sync_request.host_sent_t_ns, board_received_t_ns=received_ns
                )
                answer.board_sent_t_ns = self.now_ns()
                time.sleep(_WAY_S)
                self._say(self._rng.exponential(self.delay_s) if self.delay_s else 0.0, sync_response=answer)
            elif envelope.HasField("command"):
                self._obey(envelope.command)

    def _obey(self, command: Command) -> None:
        what = command.WhichOneof("what") or ""
        self.asked.append(command.id)
        if what == "identify":
            self._say(hello=self._hello())
        if not self.answers:
            return
        if what in self.refuses:
            outcome, text = self.refuses[what]
            self._say(ack=Ack(id=command.id, outcome=f"OUTCOME_{outcome}", text=text))
            return
        if command.id not in self._last_ids:
            self._last_ids.append(command.id)
            if what != "identify":
                self.heard.append(what)
            if what == "light":
                self.lights.append(command.light)
            if what == "stream":
                self._streaming = command.stream.on
                self._imu_due_s = self._other_due_s = time.monotonic()
        self._say(ack=Ack(id=command.id, outcome="OUTCOME_DONE"))
        if what == "reboot_to_bootloader" and self.on_bootloader:
            threading.Thread(target=self.on_bootloader).start()

    def _do_what_is_due(self, now_s: float) -> None:
        if now_s >= self._status_due_s:
            self._status_due_s = now_s + 1.0
            told = Status()
            told.CopyFrom(self.status)
            told.sensors.extend(one for one in self.sensors if one.state not in (1, 2))  # RUNNING, STOPPED
            self._say(status=told)
        if self._streaming:
            self._sample(now_s)
        due = [data for due_s, data in self._later if due_s <= now_s]
        self._later = [one for one in self._later if one[0] > now_s]
        for data in due:
            self._write(data)

    def _sample(self, now_s: float) -> None:
        while self.imu_hz and now_s >= self._imu_due_s:
            self._imu_due_s += PER_BATCH / self.imu_hz
            counts = self._rng.integers(-300, 300, (2, 3 * PER_BATCH)).tolist()
            batch = ImuBatch(
                first_sample_t_ns=self._at_ns(int(1e9 * (self._imu_due_s - 2 * PER_BATCH / self.imu_hz))),
                period_ns=int(1e9 / self.imu_hz),
                gyro_counts=counts[0],
                accel_counts=counts[1],
                gyro_scale=GYRO_SCALE,
                accel_scale=ACCEL_SCALE,
                temperature_c=25.0,
            )
            self._say(imu_batch=batch)
        while now_s >= self._other_due_s:
            self._other_due_s += 0.1
            angles = Encoder(
                first_sample_t_ns=self._at_ns(int(1e9 * (self._other_due_s - 0.2))),
                period_ns=5_000_000,
                angle_counts=[100] * PER_BATCH,
                counts_per_turn=4096,
                magnet_found=self.magnet != "none",
                magnet_too_weak=self.magnet == "weak",
            )
            self._say(encoder=angles)
            self._frames += 1
            self._say(frame_stamp=FrameStamp(frame=self._frames, exposure_start_t_ns=self.now_ns()))

    def _hello(self) -> Hello:
        return self.says_hello or self.hello_as_of_now()

    def hello_as_of_now(self) -> Hello:
        """What it says of itself, unless `says_hello` says otherwise."""
        return Hello(
            protocol_version=self.protocol_version,
            board="rp2040",
            uid=self.uid,
            firmware_version=self.firmware_version,
            git_hash="0123456789ab",
            sensors=self.sensors,
            boot_count=self.boots,
        )

    def _say(self, delay_s: float = 0.0, t_us: int | None = None, **body: Any) -> None:
        t_us = self.now_ns() // 1000 if t_us is None else t_us
        envelope = Envelope(seq=self._seq, t_us=t_us, boot_id=self.boot_id, **body)
        self._seq += 1
        self._made += 1
        data = frame(envelope.SerializeToString())
        if self.lose_every and self._made % self.lose_every == 0:
            return
        if self.flip_every and self._made % self.flip_every == 0:
            changed = bytearray(data)
            changed[len(data) // 2] ^= 0x10
            data = bytes(changed)
        if delay_s:
            self._later.append((time.monotonic() + delay_s, data))
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        with suppress(OSError):  # nobody reads: as on a cable, bytes are gone
            os.write(self._master, data)
