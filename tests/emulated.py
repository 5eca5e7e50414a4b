"""Emulated boards for tests: the image, host's commands as scripts, and what arrives, decoded."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handcap.geometry import Array
from handcap.wire.framing import frame
from handcap.wire.handcap_pb2 import Command, Envelope, Hello, SetTrigger, Status, Stream, SyncRequest
from handcap.wire.stream import Decoded, MessageStream

REPOSITORY = Path(__file__).resolve().parents[1]
UID = 0xE660C0D1C7123456
BYTE_S = 10 / 921600  # on the serial line
COUNT_FROM, COUNT_SPAN = -32500, 65000  # signal "count": gyroscope's x axis of sample n is n % span + from
Line = dict[str, Any]
_LONGEST_BOOT_S = 60.0  # on a computer that has much else to do


def missing(what: str) -> None:
    """Skip the test, or fail it where continuous integration should have everything."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def built_image() -> Path:
    """The firmware's image, made anew where a source has changed."""
    if shutil.which("arm-none-eabi-gcc") is None:
        missing("no arm-none-eabi-gcc, which builds the firmware: apt-get install gcc-arm-none-eabi")
    if shutil.which("node") is None:
        missing("no node, which emulates boards: apt-get install nodejs npm")
    if not (REPOSITORY / "firmware" / "emulation" / "node_modules" / "rp2040js").exists():
        missing("no npm package rp2040js: npm ci --prefix firmware/emulation")
    build = REPOSITORY / "firmware" / "build"
    build.mkdir(exist_ok=True)
    with (build / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(["make", "-C", "firmware", "image"], cwd=REPOSITORY, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return build / "rp2040" / "handcap.bin"


def command(id: int, **what: Any) -> bytes:
    """One framed Command."""
    return frame(Envelope(seq=id, command=Command(id=id, **what)).SerializeToString())


STREAM_ON = command(1, stream=Stream(on=True))
TRIGGER_30_HZ = command(2, set_trigger=SetTrigger(on=True, rate_mhz=30_000, exposure_us=4000))


def send(at_s: float, data: bytes, do: str = "send") -> Line:
    """A script's line: the host sends bytes."""
    return {"at_s": at_s, "do": do, "hex": data.hex()}


def sync(host_sent_t_ns: int) -> bytes:
    """One framed SyncRequest."""
    return frame(Envelope(sync_request=SyncRequest(host_sent_t_ns=host_sent_t_ns)).SerializeToString())


def with_times(data: bytes, t_s: Array) -> list[tuple[Decoded, float, float]]:
    """Every message of what a board sent, with the times at which its first and its last byte had left."""
    stream, timed, begin = MessageStream(), list[tuple[Decoded, float, float]](), 0
    for end in np.flatnonzero(np.frombuffer(data, np.uint8) == 0) + 1:
        timed += [(one, float(t_s[begin]), float(t_s[end - 1])) for one in stream.push(data[begin:end])]
        begin = int(end)
    return timed


@dataclass(eq=False)
class Arrived:
    """What came out of a board so far, decoded by the host's own reader."""

    stream: MessageStream = field(default_factory=MessageStream)
    envelopes: list[Envelope] = field(default_factory=list[Envelope])

    @classmethod
    def of(cls, data: bytes) -> Arrived:
        arrived = cls()
        arrived.push(data)
        return arrived

    def push(self, data: bytes) -> None:
        self.envelopes += [one.envelope for one in self.stream.push(data)]

    def all(self, body: str) -> list[Any]:
        """Every message of a kind, without its envelope."""
        return [getattr(one, body) for one in self.envelopes if one.WhichOneof("body") == body]

    @property
    def kinds(self) -> Counter[str]:
        return Counter(str(one.WhichOneof("body")) for one in self.envelopes)

    @property
    def hello(self) -> Hello:
        return self.all("hello")[-1]

    @property
    def status(self) -> Status:
        return self.all("status")[-1]

    @property
    def lost(self) -> dict[str, int]:
        """Every loss on the wire that is not zero, by name."""
        frames, messages = self.stream.deframer.losses.as_dict(), self.stream.losses
        frames.pop("cut_at_start")
        counts = frames | {"missing": messages.messages_missing, "damaged": messages.not_a_message}
        return {name: count for name, count in counts.items() if count}

    def samples(self) -> tuple[Array, Array, Array]:
        """All inertial samples: (n,) board time s, (n, 3) gyroscope and (n, 3) accelerometer, rad/s and m/s²."""
        t_s, gyro, accel = [np.empty(0)], [np.empty((0, 3))], [np.empty((0, 3))]
        for batch in self.all("imu_batch"):
            n = len(batch.gyro_counts) // 3
            t_s.append((batch.first_sample_t_ns + np.arange(n) * batch.period_ns) * 1e-9)
            gyro.append(np.array(batch.gyro_counts, float).reshape(-1, 3) * batch.gyro_scale)
            accel.append(np.array(batch.accel_counts, float).reshape(-1, 3) * batch.accel_scale)
        return np.concatenate(t_s), np.concatenate(gyro), np.concatenate(accel)

    def numbers(self) -> Array:
        """(n,) which sample each is, of a board with signal "count"."""
        counted = [x - COUNT_FROM for batch in self.all("imu_batch") for x in batch.gyro_counts[::3]]
        return np.unwrap(np.array(counted, float), period=COUNT_SPAN).astype(np.int64)


def read_ports(ports: Sequence[str], seconds: float, greeting: bytes) -> list[Arrived]:
    """Open serial ports, send each a greeting, take what comes.

    A board that is still booting does not hear: the greeting is said again until something comes, and `seconds` count
    from when every board has answered.
    """
    files = [os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK) for port in ports]
    arrived = [Arrived() for _ in ports]
    try:
        begun, again = time.monotonic(), 0.0
        end = begun + _LONGEST_BOOT_S
        answered = False
        while (now := time.monotonic()) < end:
            silent = [file for file, into in zip(files, arrived, strict=True) if not into.envelopes]
            if not silent:
                end = end if answered else now + seconds
                answered = True
            elif now > again:
                again = now + 0.5
                for file in silent:
                    os.write(file, b"\0" + greeting)
            time.sleep(0.02)
            for file, into in zip(files, arrived, strict=True):
                try:
                    into.push(os.read(file, 1 << 16))
                except BlockingIOError:
                    continue
    finally:
        for file in files:
            os.close(file)
    assert all(into.envelopes for into in arrived), "a board said nothing"
    return arrived
