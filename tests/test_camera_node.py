"""The camera node: its pictures, samples and counts over TCP.

From files, from a made-up IIO tree, and from the kernel's test camera in a virtual machine.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from camera_node import PATIENCE_S, make, need, running

from handcap.devices import open_board
from handcap.wire.framing import NODE_FRAME_MAX, frame
from handcap.wire.handcap_pb2 import (
    Ack,
    Command,
    Envelope,
    Hello,
    ImuBatch,
    Log,
    ProtocolVersion,
    SensorKind,
    SensorState,
    SyncRequest,
    VideoFrame,
)
from handcap.wire.stream import MessageStream


class Host:
    """What connects to a node: handcap's own decoder on a plain socket."""

    def __init__(self, port: int, receive_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(("127.0.0.1", port))
        self.stream = MessageStream(NODE_FRAME_MAX)
        self.messages: list[Envelope] = []
        self.read = 0

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, envelope: Envelope) -> None:
        self.socket.sendall(frame(envelope.SerializeToString()))

    def identify(self, number: int) -> None:
        command = Command(id=number)
        command.identify.SetInParent()
        self.send(Envelope(command=command))

    def switch(self, number: int, on: bool) -> None:
        command = Command(id=number)
        command.stream.on = on
        self.send(Envelope(command=command))

    def next(self) -> Envelope:
        """The next message in its order; fails where none comes."""
        while self.read == len(self.messages):
            data = self.socket.recv(1 << 18)
            assert data, "the node closed the link"
            self.messages.extend(decoded.envelope for decoded in self.stream.push(data))
        self.read += 1
        return self.messages[self.read - 1]

    def until(self, wanted: Callable[[Envelope], bool]) -> Envelope:
        deadline = time.monotonic() + PATIENCE_S
        while not wanted(message := self.next()):
            assert time.monotonic() < deadline, f"what was waited for never came; last: {str(message)[:300]}"
        return message

    def body(self, kind: str) -> Envelope:
        return self.until(lambda message: message.WhichOneof("body") == kind)

    def words(self, text: str) -> Log:
        """The first Log that says so, already read or to come."""
        found = [message.log for message in self.messages[: self.read] if text in message.log.text]
        return found[0] if found else self.until(lambda message: text in message.log.text).log

    def pictures(self, count: int) -> list[VideoFrame]:
        return [self.body("video_frame").video_frame for _ in range(count)]

    def assert_nothing_was_lost(self) -> None:
        assert self.stream.losses.messages_missing == 0 and not any(self.stream.deframer.losses.as_dict().values())


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]


def assert_whole(pictures: list[VideoFrame], files: list[bytes]) -> None:
    for picture in pictures:
        assert picture.data == files[picture.frame % len(files)], f"picture {picture.frame} is not what the source gave"


def assert_every_missing_picture_is_counted(pictures: list[VideoFrame], before: int) -> None:
    """A picture's number is how many came before it: those received, and those that the node says it threw away."""
    for received, picture in enumerate(pictures, start=before):
        assert picture.frame == received + picture.frames_dropped


def test_a_node_says_hello_first_and_sends_pictures_only_when_told(node_program: Path, jpegs: Path) -> None:
    with running(node_program, "--source", str(jpegs), "--uid", "00c0ffee00c0ffee") as node, Host(node.port) as host:
        first = host.next()
        assert first.seq == 0 and first.boot_id != 0 and first.WhichOneof("body") == "hello"
        hello = first.hello
        assert hello.protocol_version == ProtocolVersion.PROTOCOL_VERSION_CURRENT
        assert (hello.board, hello.uid) == ("node", 0x00C0FFEE00C0FFEE)
        assert hello.firmware_version and hello.git_hash
        assert [sensor.kind for sensor in hello.sensors] == [SensorKind.SENSOR_KIND_CAMERA]
        assert hello.sensors[0].state == SensorState.SENSOR_STATE_STOPPED
        for _ in range(2):  # a second, in which nothing but words and Status may come
            host.body("status")
        assert not any(message.WhichOneof("body") == "video_frame" for message in host.messages)
        host.switch(1, on=True)
        assert host.body("ack").ack == Ack(id=1, outcome=Ack.OUTCOME_DONE)
        assert host.pictures(1)[0].frame == 0
        host.switch(2, on=False)
        host.body("ack")
        host.words("stopped")
        before = len(host.messages)
        for _ in range(2):
            host.body("status")
        late = [message for message in host.messages[before:] if message.WhichOneof("body") == "video_frame"]
        assert len(late) <= 2, "pictures go on after Stream off"
        host.assert_nothing_was_lost()


def test_the_uid_of_a_machine_stays_and_differs_between_its_cameras(node_program: Path, jpegs: Path) -> None:
    def uid(name: str) -> int:
        with running(node_program, "--source", str(jpegs), "--name", name) as node, Host(node.port) as host:
            return host.next().hello.uid

    if not Path("/etc/machine-id").exists() and not any(Path("/sys/class/net").glob("*/address")):
        pytest.skip("this machine has neither an id nor a network card")
    assert uid("left") == uid("left") != uid("right")


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_pictures_arrive_byte_for_byte_and_in_order(node_program: Path, jpegs: Path, tmp_path: Path, kind: str) -> None:
    files = contents(jpegs)
    source = jpegs
    if kind == "file":
        source = tmp_path / "film.mjpeg"
        source.write_bytes(b"".join(files))
    options = ("--source", str(source), "--rate", "60", "--name", "left")
    with running(node_program, *options) as node, Host(node.port) as host:
        host.switch(1, on=True)
        pictures = host.pictures(25)
        host.assert_nothing_was_lost()
    assert_whole(pictures, files)
    assert [picture.frame for picture in pictures] == list(range(25))
    assert {(picture.camera, picture.width, picture.height, picture.encoding) for picture in pictures} == {
        ("left", 640, 480, VideoFrame.ENCODING_MJPEG)
    }
    steps_ns = np.diff([picture.capture_t_ns for picture in pictures])
    np.testing.assert_allclose(steps_ns, 1e9 / 60, atol=2)


def test_a_file_source_that_is_to_play_once_ends_and_says_so(node_program: Path, jpegs: Path) -> None:
    with running(node_program, "--source", str(jpegs), "--rate", "200", "--once") as node, Host(node.port) as host:
        host.switch(1, on=True)
        host.words("at its end")
        host.body("status")
        host.body("status")
        assert sum(message.WhichOneof("body") == "video_frame" for message in host.messages) == 10


def test_a_picture_that_is_damaged_in_the_source_is_left_out_and_named(
    node_program: Path, jpegs: Path, tmp_path: Path
) -> None:
    for path in jpegs.iterdir():
        shutil.copy(path, tmp_path)
    spoiled = tmp_path / "003.jpg"
    spoiled.write_bytes(spoiled.read_bytes()[:-100])
    with running(node_program, "--source", str(tmp_path), "--rate", "100", "--once") as node, Host(node.port) as host:
        host.switch(1, on=True)
        numbers = [picture.frame for picture in host.pictures(9)]
        assert numbers == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        host.words("1 pictures came damaged")


def test_a_clock_exchange_lies_within_its_round_trip(node_program: Path, jpegs: Path) -> None:
    """Host and node are one machine here, and CLOCK_MONOTONIC is one clock."""
    with running(node_program, "--source", str(jpegs), "--rate", "100") as node, Host(node.port) as host:
        host.switch(1, on=True)
        for _ in range(20):
            sent_ns = time.monotonic_ns()
            host.send(Envelope(sync_request=SyncRequest(host_sent_t_ns=sent_ns)))
            answer = host.body("sync_response").sync_response
            assert answer.host_sent_t_ns == sent_ns
            assert sent_ns <= answer.board_received_t_ns <= answer.board_sent_t_ns <= time.monotonic_ns()


def test_a_command_sent_twice_is_done_once_and_acknowledged_twice(node_program: Path, jpegs: Path) -> None:
    with running(node_program, "--source", str(jpegs)) as node, Host(node.port) as host:
        host.body("hello")
        for number, answered_by_hello in ((7, True), (7, False), (8, True)):
            before = len(host.messages)
            host.identify(number)
            assert host.body("ack").ack == Ack(id=number, outcome=Ack.OUTCOME_DONE)
            kinds = [message.WhichOneof("body") for message in host.messages[before:]]
            assert ("hello" in kinds) == answered_by_hello


@pytest.mark.parametrize("what", ["light", "set_trigger", "reboot_to_bootloader", "set_imu_rate"])
def test_a_command_that_a_node_does_not_know_is_answered_in_words(node_program: Path, jpegs: Path, what: str) -> None:
    command = Command(id=3)
    getattr(command, what).SetInParent()
    with running(node_program, "--source", str(jpegs)) as node, Host(node.port) as host:
        host.send(Envelope(command=command))
        ack = host.body("ack").ack
    assert (ack.id, ack.outcome) == (3, Ack.OUTCOME_NOT_KNOWN) and "Stream" in ack.text


def test_a_command_without_a_number_is_refused(node_program: Path, jpegs: Path) -> None:
    with running(node_program, "--source", str(jpegs)) as node, Host(node.port) as host:
        host.switch(0, on=True)
        assert host.body("ack").ack.outcome == Ack.OUTCOME_REFUSED
        for _ in range(2):
            host.body("status")
        assert not any(message.WhichOneof("body") == "video_frame" for message in host.messages)


def test_a_stalled_reader_costs_whole_pictures_that_are_counted_and_no_memory(plain_node: Path, jpegs: Path) -> None:
    buffer_mib, rate_hz = 4, 100
    options = ("--source", str(jpegs), "--rate", str(rate_hz), "--buffer-mib", str(buffer_mib))
    with running(plain_node, *options) as node, Host(node.port, receive_bytes=1 << 16) as host:
        host.switch(1, on=True)
        before = host.pictures(10)
        peak = node.peak_bytes()
        time.sleep(5)  # 50 MB of pictures
        after = host.pictures(200)
        assert node.peak_bytes() - peak < (buffer_mib + 2) << 20
        host.assert_nothing_was_lost()
        dropped = after[-1].frames_dropped
        assert dropped > 200
        host.until(lambda message: message.status.messages_dropped >= dropped)
    assert_whole(before + after, contents(jpegs))
    assert_every_missing_picture_is_counted(before + after, before=0)


def test_pictures_go_on_when_a_lost_host_returns_and_the_loss_is_told(node_program: Path, jpegs: Path) -> None:
    options = ("--source", str(jpegs), "--rate", "100", "--buffer-mib", "1")
    with running(node_program, *options) as node:
        with Host(node.port) as host:
            host.switch(1, on=True)
            before = host.pictures(5)
            boot_id, last = host.messages[0].boot_id, host.messages[-1]
        time.sleep(1)
        with Host(node.port) as host:
            first = host.next()
            assert first.WhichOneof("body") == "hello" and first.boot_id == boot_id and first.seq > last.seq
            words = host.words("away")
            after = host.pictures(30)
            host.assert_nothing_was_lost()
    told = re.search(r"(\d+) pictures were thrown away", words.text)
    assert told and int(told[1]) > 10 and words.level == Log.LEVEL_WARNING
    assert_whole(before + after, contents(jpegs))
    missing = after[0].frame - before[-1].frame - 1
    in_the_socket = missing - after[0].frames_dropped
    assert 0 <= in_the_socket <= first.seq - last.seq - 1, "a picture is missing that neither count nor seq speaks of"
    assert_every_missing_picture_is_counted(after, before=after[0].frame - after[0].frames_dropped)


def test_handcap_reads_a_node_as_it_reads_a_board(node_program: Path, jpegs: Path) -> None:
    options = ("--source", str(jpegs), "--uid", "00c0ffee00c0ffee")
    with running(node_program, *options) as node, open_board(f"tcp://127.0.0.1:{node.port}") as board:
        assert board.uid == "00c0ffee00c0ffee"
        board.stream(True)
        pictures: list[VideoFrame] = []
        until = time.monotonic() + PATIENCE_S
        while len(pictures) < 60:
            assert time.monotonic() < until
            messages = board.receive(1.0)
            pictures += [one.envelope.video_frame for one in messages if one.body == "video_frame"]
        clock, losses = board.clock, board.losses
    assert_whole(pictures, contents(jpegs))
    assert [picture.frame for picture in pictures] == list(range(len(pictures)))
    assert not losses.any, losses
    # One machine, one clock: the fit must find that the two are the same.
    assert clock is not None
    assert abs(clock.dt_ns) < 1_000_000 + 5e9 * clock.sigma_s


def test_a_second_host_is_told_who_has_the_node(node_program: Path, jpegs: Path) -> None:
    with running(node_program, "--source", str(jpegs)) as node, Host(node.port) as host:
        host.switch(1, on=True)
        host.pictures(1)
        with Host(node.port) as second:
            assert "127.0.0.1 has it" in second.next().log.text
            assert second.socket.recv(1) == b"", "and the link is closed"
        host.pictures(3)
        host.assert_nothing_was_lost()


def noise(length: int) -> bytes:
    return np.random.default_rng(1).integers(0, 256, length, dtype=np.uint8).tobytes()


HARM = {
    "noise": noise(300_000),
    "endless bytes": b"\xff" * 2_000_000,
    "lying lengths": b"\xfe\x01\x02\0" * 20_000,
    "nothing but zeros": bytes(200_000),
    "frames whose CRC is wrong": frame(b"\x08\x01")[:-2] + b"\x55\0",
    "whole frames that are no message": frame(b"\xff\xff\xff\xff\xff") * 1000,
    "messages that only a board sends": frame(Envelope(seq=1, hello=Hello(board="rp2040")).SerializeToString()) * 500,
    "a picture for the node": frame(Envelope(video_frame=VideoFrame(data=bytes(900_000))).SerializeToString()),
    "a thousand requests": frame(Envelope(sync_request=SyncRequest(host_sent_t_ns=1)).SerializeToString()) * 1000,
}


@pytest.mark.parametrize("harm", HARM, ids=str)
def test_no_bytes_from_a_host_do_harm(node_program: Path, jpegs: Path, harm: str) -> None:
    with running(node_program, "--source", str(jpegs), "--rate", "50") as node:
        with Host(node.port) as host:
            host.switch(1, on=True)
            host.pictures(1)
            peak = node.peak_bytes()
            host.socket.sendall(HARM[harm] + b"\0")
            host.identify(9)
            host.until(lambda message: message.ack.id == 9)
            host.pictures(3)
            host.assert_nothing_was_lost()
            assert node.peak_bytes() - peak < 8 << 20
        with Host(node.port) as host:
            assert host.next().WhichOneof("body") == "hello"
            status = host.body("status").status
            damage = status.rx_bad_crc + status.rx_bad_frame + status.rx_too_long
            assert (damage == 0) == (harm in {"nothing but zeros", "a thousand requests"})


def test_a_host_that_asks_and_never_reads_does_not_grow_the_node(plain_node: Path, jpegs: Path) -> None:
    with running(plain_node, "--source", str(jpegs), "--buffer-mib", "1") as node:
        with Host(node.port, receive_bytes=1 << 14) as deaf:
            deaf.switch(1, on=True)
            deaf.pictures(1)
            peak = node.peak_bytes()
            deaf.socket.setblocking(False)
            question = frame(Envelope(sync_request=SyncRequest(host_sent_t_ns=1)).SerializeToString()) * 100
            sent, idle = 0, 0
            while idle < 20 and sent < 50_000_000:
                try:
                    sent += deaf.socket.send(question)
                    idle = 0
                except BlockingIOError:
                    idle += 1
                    time.sleep(0.1)
            assert idle == 20, "the node goes on reading what it cannot answer"
            assert node.peak_bytes() - peak < 3 << 20
        with Host(node.port) as host:
            assert host.next().WhichOneof("body") == "hello"


def test_hosts_that_come_and_go_leave_nothing_behind(node_program: Path, jpegs: Path) -> None:
    with running(node_program, "--source", str(jpegs)) as node:
        for number in range(40):
            with contextlib.suppress(OSError), Host(node.port) as host:
                host.socket.sendall(noise(number))
                host.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, no farewell
        with Host(node.port) as host:
            host.body("hello")
            open_files = len(list(Path(f"/proc/{node.process.pid}/fd").iterdir()))
        assert open_files < 20


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_node_in_the_middle_of_a_picture(node_program: Path, jpegs: Path, signal_number: int) -> None:
    process = subprocess.Popen(
        [str(node_program), "--port", "0", "--source", str(jpegs), "--rate", "200"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    port = int(process.stderr.readline().split()[-1])
    with Host(port, receive_bytes=1 << 14) as host:
        host.switch(1, on=True)
        host.pictures(2)
        process.send_signal(signal_number)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--size", "wide"], 2, "width x height"),
        (["--rate", "0"], 2, "0.1 to 1000"),
        (["--format", "png"], 2, "mjpeg"),
        (["--buffer-mib", "0"], 2, "1 to 65536"),
        (["--uid", "12"], 2, "16 hex digits"),
        (["--port", "70000"], 2, "65535"),
        (["--control", "exposure"], 2, "name=number"),
        (["extra"], 2, "--help"),
        (["--device", "/dev/no-such-camera"], 1, "/dev/no-such-camera: No such file"),
        (["--device", "/dev/null"], 1, "not a V4L2 device"),
        (["--source", "/no/such/folder"], 1, "No such file"),
        (["--source", __file__], 1, "JPEGs end to end"),
        (["--source", str(Path(__file__).parent)], 1, "no .jpg"),
        (["--source", "JPEGS", "--bind", "localhost"], 1, "not an IP address"),
        (["--source", "JPEGS", "--imu", "bmi160"], 1, "no IIO device is called bmi160"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_would(
    node_program: Path, jpegs: Path, tmp_path: Path, options: list[str], status: int, words: str
) -> None:
    line = [str(node_program), "--iio-root", str(tmp_path), *(str(jpegs) if one == "JPEGS" else one for one in options)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == status and words in done.stderr, done.stderr


def test_a_port_in_use_is_said(node_program: Path, jpegs: Path) -> None:
    with running(node_program, "--source", str(jpegs)) as node:
        line = [str(node_program), "--source", str(jpegs), "--port", str(node.port), "--imu", "none"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1 and f"port {node.port}" in done.stderr and "in use" in done.stderr


@pytest.mark.parametrize(("address", "warns"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_node_that_others_can_reach_warns_that_nothing_is_encrypted(
    node_program: Path, jpegs: Path, address: str, warns: bool
) -> None:
    with running(node_program, "--source", str(jpegs), "--bind", address) as node:
        assert any("unencrypted" in line for line in node.said) == warns


def test_the_nodes_modules_keep_their_promises(node_folder: Path, tmp_path: Path) -> None:
    make(node_folder, "test", f"BUILD={tmp_path}")


SCAN_TYPES = {"little-endian": "le:s16/16>>0", "big-endian": "be:s16/16>>0", "shifted": "le:s12/16>>4"}


@dataclass
class MadeUpSensor:
    """An IIO device in a folder: attributes as files, its buffer as a pipe that the test writes into."""

    root: Path
    scan_type: str = SCAN_TYPES["little-endian"]

    def __post_init__(self) -> None:
        device = self.root / "sys/bus/iio/devices/iio:device0"
        (device / "scan_elements").mkdir(parents=True)
        (device / "buffer").mkdir()
        (self.root / "dev").mkdir()
        attributes = {
            "name": "bmi160\n",
            "in_anglvel_x_raw": "0\n",
            "in_accel_x_raw": "0\n",
            "in_anglvel_scale": "0.001\n",
            "in_accel_scale": "0.002\n",
            "sampling_frequency": "1000.000000\n",
            "current_timestamp_clock": "realtime\n",
            "buffer/enable": "0\n",
            "buffer/length": "2\n",
        }
        # Acceleration first, as some drivers have it: only the index says.
        order = [f"in_{kind}_{axis}" for kind in ("accel", "anglvel") for axis in "xyz"]
        for index, channel in enumerate(order):
            attributes[f"scan_elements/{channel}_type"] = f"{self.scan_type}\n"
            attributes[f"scan_elements/{channel}_index"] = f"{index}\n"
            attributes[f"scan_elements/{channel}_en"] = "0\n"
        attributes["scan_elements/in_timestamp_type"] = "le:s64/64>>0\n"
        attributes["scan_elements/in_timestamp_index"] = "6\n"
        attributes["scan_elements/in_timestamp_en"] = "0\n"
        for name, text in attributes.items():
            (device / name).write_text(text)
        os.mkfifo(self.root / "dev/iio:device0")
        self.device = device
        self.pipe = os.open(self.root / "dev/iio:device0", os.O_RDWR)

    def scan(self, gyro: list[int], accel: list[int], t_ns: int) -> bytes:
        order = "big" if self.scan_type.startswith("be") else "little"
        shift = int(self.scan_type.split(">>")[1])
        counts = b"".join(((value << shift) & 0xFFFF).to_bytes(2, order) for value in (*accel, *gyro))
        return counts + bytes(4) + t_ns.to_bytes(8, "little", signed=True)

    def options(self) -> list[str]:
        return ["--imu", "auto", "--iio-root", str(self.root)]


@pytest.mark.parametrize("scan_type", SCAN_TYPES.values(), ids=SCAN_TYPES.keys())
def test_inertial_samples_arrive_as_counts_with_scale_and_time(
    node_program: Path, jpegs: Path, tmp_path: Path, scan_type: str
) -> None:
    sensor = MadeUpSensor(tmp_path, scan_type)
    with running(node_program, "--source", str(jpegs), *sensor.options()) as node, Host(node.port) as host:
        imu = next(one for one in host.next().hello.sensors if one.kind == SensorKind.SENSOR_KIND_IMU)
        assert (imu.model, imu.rate_hz, imu.state) == ("bmi160", 1000.0, SensorState.SENSOR_STATE_STOPPED)
        assert imu.gyro_range_rad_s == pytest.approx(32.768)
        host.switch(1, on=True)
        host.body("ack")
        until = time.monotonic() + PATIENCE_S
        while (sensor.device / "buffer/enable").read_text() != "1":
            assert time.monotonic() < until
            time.sleep(0.01)
        assert (sensor.device / "current_timestamp_clock").read_text() == "monotonic"
        start = time.monotonic_ns()
        scans = [sensor.scan([i, -i, 2000], [-2048, 7, -i], start + 1_010_000 * i) for i in range(40)]
        stream = b"".join(scans)
        os.write(sensor.pipe, stream[:100])  # a scan in two pieces
        os.write(sensor.pipe, stream[100:])
        batches: list[ImuBatch] = []
        while sum(len(batch.gyro_counts) for batch in batches) < 3 * 40:
            batches.append(host.body("imu_batch").imu_batch)
    gyro = np.concatenate([batch.gyro_counts for batch in batches]).reshape(-1, 3)
    accel = np.concatenate([batch.accel_counts for batch in batches]).reshape(-1, 3)
    count = np.arange(40)
    np.testing.assert_array_equal(gyro, np.stack([count, -count, np.full(40, 2000)], axis=1))
    np.testing.assert_array_equal(accel, np.stack([np.full(40, -2048), np.full(40, 7), -count], axis=1))
    sizes = [len(batch.gyro_counts) // 3 for batch in batches]
    firsts = np.cumsum([0, *sizes[:-1]])
    assert max(sizes) <= 20 and [batch.first_sample_t_ns for batch in batches] == list(start + 1_010_000 * firsts)
    assert {(batch.gyro_scale, batch.accel_scale) for batch in batches} == {(0.001, 0.002)}
    assert all(batch.period_ns == 1_010_000 for batch, size in zip(batches, sizes, strict=True) if size > 1)


def test_samples_that_the_sensor_lost_are_counted(node_program: Path, jpegs: Path, tmp_path: Path) -> None:
    sensor = MadeUpSensor(tmp_path)
    with running(node_program, "--source", str(jpegs), *sensor.options()) as node, Host(node.port) as host:
        host.switch(1, on=True)
        for number in [*range(10), *range(15, 25)]:
            os.write(sensor.pipe, sensor.scan([0, 0, 0], [0, 0, 0], 10**12 + 1_000_000 * number))
        assert host.until(lambda message: message.status.imu_samples_lost > 0).status.imu_samples_lost == 5


def test_an_inertial_sensor_that_falls_silent_is_named_and_started_anew(
    node_program: Path, jpegs: Path, tmp_path: Path
) -> None:
    sensor = MadeUpSensor(tmp_path)
    with running(node_program, "--source", str(jpegs), *sensor.options()) as node, Host(node.port) as host:
        host.switch(1, on=True)
        troubled = host.until(lambda message: message.status.imu_stuck > 0).status
        assert [(one.model, one.state) for one in troubled.sensors] == [("bmi160", SensorState.SENSOR_STATE_STUCK)]
        node.wait_for_words("bmi160 gives no samples")
        host.until(lambda message: message.WhichOneof("body") == "status" and not message.status.sensors)
        os.write(sensor.pipe, sensor.scan([1, 2, 3], [4, 5, 6], 10**12))
        assert list(host.body("imu_batch").imu_batch.gyro_counts) == [1, 2, 3]
        assert any(message.WhichOneof("body") == "video_frame" for message in host.messages), "pictures go on meanwhile"


def test_an_inertial_sensor_that_does_not_fit_the_wire_is_named_and_left_out(
    node_program: Path, jpegs: Path, tmp_path: Path
) -> None:
    sensor = MadeUpSensor(tmp_path, "le:s24/32>>8")
    with running(node_program, "--source", str(jpegs), *sensor.options()) as node, Host(node.port) as host:
        assert [one.kind for one in host.next().hello.sensors] == [SensorKind.SENSOR_KIND_CAMERA]
        assert any("24 bits" in line for line in node.said)


def vivid_vm(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("vivid_vm", repository / "firmware/node/vm/vivid_vm.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def in_virtual_machine(repository: Path, *options: str) -> Iterator[tuple[int, list[str]]]:
    """The port of a node whose camera is vivid, and the lines that the machine prints."""
    need("qemu-system-x86_64", "apt-get", "dpkg-deb", packages="--no-install-recommends qemu-system-x86")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, str(repository / "firmware/node/vm/vivid_vm.py"), "--port", str(port), "--", *options]
    machine = subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # a group of its own, so that QEMU below it ends too
    )
    assert machine.stdout is not None
    said: list[str] = []
    listening = threading.Event()

    def read() -> None:
        for text in machine.stdout or ():
            said.append(text)
            if "listening" in text:
                listening.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert listening.wait(10 * PATIENCE_S), "".join(said)
        yield port, said
    finally:
        os.killpg(machine.pid, signal.SIGTERM)
        machine.wait(PATIENCE_S)
        reader.join()
        machine.stdout.close()


def reports(said: list[str]) -> list[tuple[float, int]]:
    """What the machine says once a second: its clock, CLOCK_MONOTONIC in seconds, and the node's memory in kB."""
    found = (re.search(r"up ([\d.]+) s, VmRSS:\s+(\d+) kB", line) for line in list(said))
    return [(float(one[1]), int(one[2])) for one in found if one]


# Seconds below are those of the virtual machine, which runs slower or faster than this one.


@pytest.mark.slow
def test_the_kernels_test_camera_loses_no_picture_in_thirty_seconds(node_folder: Path, repository: Path) -> None:
    with in_virtual_machine(repository, "--size", "320x180") as (port, _), Host(port) as host:
        hello = host.next().hello
        assert hello.sensors[0].model == "vivid" and hello.sensors[0].rate_hz == pytest.approx(30)
        host.switch(1, on=True)
        pictures = host.pictures(900)
        host.assert_nothing_was_lost()
    assert [picture.frame for picture in pictures] == list(range(900)), "the driver lost pictures"
    assert pictures[-1].frames_dropped == 0
    stamps_ns = np.array([picture.capture_t_ns for picture in pictures], dtype=np.int64)
    assert (stamps_ns[-1] - stamps_ns[0]) / 899 == pytest.approx(1e9 / 30, rel=0.001)
    assert np.all(np.diff(stamps_ns) > 0)
    # The test picture begins with colour bars: white, yellow, cyan, green, magenta, red, blue, black.
    image = cv2.imdecode(np.frombuffer(pictures[0].data, np.uint8), cv2.IMREAD_COLOR)
    bars = image[150, 20::40, ::-1] > 128
    assert image.shape == (180, 320, 3)
    assert ["".join("rgb"[i] for i in range(3) if bar[i]) for bar in bars] == [
        *("rgb", "rg", "gb", "g", "rb", "r", "b", "")
    ]


@pytest.mark.slow
def test_a_reader_that_stalls_eight_seconds_costs_whole_pictures_of_the_kernels_test_camera(
    node_folder: Path, repository: Path
) -> None:
    options = ("--size", "320x180", "--quality", "98", "--buffer-mib", "1")
    with in_virtual_machine(repository, *options) as (port, said), Host(port, receive_bytes=1 << 16) as host:
        host.switch(1, on=True)
        before = host.pictures(30)
        stalled_from_s = before[-1].capture_t_ns / 1e9
        deadline = time.monotonic() + 10 * PATIENCE_S
        while reports(said)[-1][0] < stalled_from_s + 8:  # three of them fill the buffers on the way
            assert time.monotonic() < deadline
            time.sleep(0.1)
        after = host.pictures(150)
        host.assert_nothing_was_lost()
        assert max(kb for _, kb in reports(said)) < 5 * 1024, "a node of 2 MiB, and a buffer of one"
    assert after[-1].frames_dropped > before[-1].frames_dropped
    assert_every_missing_picture_is_counted(before + after, before=0)
    for picture in after:
        assert picture.data[:2] == b"\xff\xd8" and picture.data[-2:] == b"\xff\xd9"


@pytest.mark.slow
def test_pictures_that_the_driver_lost_leave_gaps_in_their_numbers(node_folder: Path, repository: Path) -> None:
    options = (
        *("--size", "320x180", "--control", "percentage_of_dropped_buffers=20"),
        *("--control", "inject_v4l2_buf_flag_error=1"),
    )
    with in_virtual_machine(repository, *options) as (port, _), Host(port) as host:
        host.switch(1, on=True)
        pictures = host.pictures(150)
        host.words("1 pictures came damaged")
        host.assert_nothing_was_lost()
    lost = pictures[-1].frame + 1 - len(pictures)
    assert 10 < lost < 80 and pictures[-1].frames_dropped == 0


@pytest.mark.slow
def test_a_camera_that_is_unplugged_is_named_and_the_node_lives(node_folder: Path, repository: Path) -> None:
    with (
        in_virtual_machine(repository, "--size", "320x180", "--control", "disconnect=1") as (port, _),
        Host(port) as host,
    ):
        host.switch(1, on=True)
        host.words("trying again every second")
        troubled = host.until(lambda message: len(message.status.sensors) > 0).status.sensors
        assert [(one.model, one.state) for one in troubled] == [("vivid", SensorState.SENSOR_STATE_ABSENT)]
        host.identify(2)
        host.until(lambda message: message.ack.id == 2)


@pytest.mark.slow
def test_the_nodes_c_is_clean_under_cppcheck_and_clang_tidy(node_folder: Path, tmp_path: Path) -> None:
    need("cppcheck", "clang-tidy", packages="cppcheck clang-tidy")
    make(node_folder, "check", f"BUILD={tmp_path}")
