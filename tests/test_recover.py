"""A recorder that dies loses half a second at most, and says what it could not save."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from recording import imu_block, jpeg, new_session, record

from handcap.errors import SessionError
from handcap.session import read, recover
from handcap.session.chunks import chunk_spans
from handcap.session.folder import writing
from handcap.session.records import Channels
from handcap.wire.handcap_pb2 import Envelope, ImuBatch

# Records 1 kHz IMU and 20 pictures a second in real time until it is killed, and says what it has handed over.
RECORDER = """
import sys, time
from pathlib import Path
from recording import imu_block, jpeg, new_session
picture = jpeg()
with new_session(Path(sys.argv[1]), "capture") as session, session.start_take("wipe") as take:
    begin = time.monotonic()
    for n in range(10**6):
        time.sleep(max(0.0, begin + n / 100 - time.monotonic()))
        take.add_imu_si("left", *imu_block(n * 10_000_000, 10))
        if n % 5 == 0:
            take.add_image("head", n * 10_000_000, picture, "jpeg")
        print((n + 1) * 10_000_000, flush=True)
"""


def run_python(code: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,  # pyright: ignore[reportArgumentType, reportCallIssue]
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_recorder_loses_at_most_half_a_second(tmp_path: Path, seed: int) -> None:
    recorder = run_python(RECORDER, str(tmp_path / "s"))
    assert recorder.stdout
    assert recorder.stdout.readline()
    time.sleep(random.Random(seed).uniform(0.3, 2.5))
    recorder.kill()
    handed_over_ns = int(recorder.communicate()[0].split()[-1])

    before = read(tmp_path / "s").take("0001").imu("left")  # what is whole reads even before recovery
    report = recover(tmp_path / "s")
    take = read(tmp_path / "s").take("0001")
    samples = take.imu("left")
    assert handed_over_ns - samples.t_ns[-1] <= 500_000_000
    np.testing.assert_array_equal(samples.t_ns, np.arange(len(samples)) * 1_000_000)  # nothing earlier is missing
    np.testing.assert_array_equal(samples.t_ns[: len(before)], before.t_ns)
    np.testing.assert_array_equal(samples.gyro_imu, imu_block(0, len(samples))[1])
    due = list(range(0, samples.t_ns[-1] + 1, 50_000_000))  # a picture comes right after the samples of its time
    pictures = [f.t_ns for f in take.frames("head")]
    assert pictures in (due, due[:-1])
    assert take.damage == ()
    [mended] = report.takes
    assert mended.samples == {"left": len(samples)} and mended.pictures == {"head": len(take.camera_stamps("head"))}
    assert mended.seconds == samples.t_ns[-1] / 1e9
    record = read(tmp_path / "s").journal()["0001"]
    assert record.state == "recovered" and record.task == "wipe" and record.counts is not None
    assert record.counts["/left/imu"] == len(samples)
    assert recover(tmp_path / "s").takes == ()


def torn_session(path: Path, seconds: float = 2.0) -> Path:
    """A take whose recorder died right after a flush; returns its `.part`."""
    session = new_session(path)
    take = session.start_take()
    record(take, seconds, jpeg())
    take._segment.flush()  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
    take.interrupt("died")
    session.close()
    return path / "raw/0001/seg-0000.mcap.part"


def test_the_whole_messages_of_a_half_written_chunk_are_saved(tmp_path: Path) -> None:
    part = torn_session(tmp_path / "s")
    spans = list(chunk_spans(part, Channels(), lambda _at, _what: None, torn=True))
    last = spans[-1]
    os.truncate(part, last.data_offset + last.data_bytes // 2)
    assert read(tmp_path / "s").take("0001").camera_stamps("head")[-1] < 1_750_000_000
    [mended] = recover(tmp_path / "s").takes
    assert mended.pictures["head"] in (37, 38) and mended.chunks_lost == 1 and mended.bytes_lost > 0
    assert len(list(read(tmp_path / "s").take("0001").frames("head"))) == mended.pictures["head"]


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"\x06" * 5000, bytes(range(256)) * 20])
def test_rubbish_at_the_end_costs_nothing_before_it(tmp_path: Path, tail: bytes) -> None:
    part = torn_session(tmp_path / "s")
    with open(part, "ab") as file:
        file.write(tail)
    assert len(read(tmp_path / "s").take("0001").camera_stamps("head")) == 40
    [mended] = recover(tmp_path / "s").takes
    assert mended.pictures == {"head": 40} and mended.samples == {"head": 2000}


@pytest.mark.parametrize("size", [0, 1, 8, 20, 200])
def test_a_take_that_died_at_birth_recovers_to_nothing(tmp_path: Path, size: int) -> None:
    os.truncate(torn_session(tmp_path / "s"), size)
    [mended] = recover(tmp_path / "s").takes
    assert mended.seconds == 0 and mended.pictures == {} and mended.samples == {}
    assert read(tmp_path / "s").take("0001").cameras == ()
    assert recover(tmp_path / "s").takes == ()


def test_a_recovery_that_was_itself_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    part = torn_session(tmp_path / "s")
    torn = part.read_bytes()
    part.with_name("seg-0000.mcap.recovering").write_bytes(torn[: len(torn) // 2])  # killed while it copied
    assert recover(tmp_path / "s").takes[0].pictures == {"head": 40}
    whole = part.with_name("seg-0000.mcap").read_bytes()
    part.write_bytes(torn)  # killed after the new name and before the old file went
    assert recover(tmp_path / "s").takes[0].pictures == {"head": 40}
    assert sorted(p.name for p in part.parent.iterdir()) == ["seg-0000.mcap"]
    assert part.with_name("seg-0000.mcap").read_bytes() == whole


def test_a_recovery_onto_a_full_disk_keeps_the_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = torn_session(tmp_path / "s")
    torn = part.read_bytes()

    def no_space(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("handcap.session.sink.os.write", no_space)
        with pytest.raises(SessionError, match="full"):
            recover(tmp_path / "s")
    assert part.read_bytes() == torn and [p.name for p in part.parent.iterdir()] == [part.name]
    assert recover(tmp_path / "s").takes[0].pictures == {"head": 40}


def test_a_session_that_is_still_recorded_is_left_alone(tmp_path: Path) -> None:
    with new_session(tmp_path / "s") as session, session.start_take() as take:
        record(take, 1.0, jpeg())
        with pytest.raises(SessionError, match="still recording"):
            recover(tmp_path / "s")
    with writing(tmp_path / "s"), pytest.raises(SessionError, match="still recording"):
        recover(tmp_path / "s")
    assert recover(tmp_path / "s").takes == ()


def test_a_damaged_journal_is_set_aside(tmp_path: Path) -> None:
    torn_session(tmp_path / "s")
    (tmp_path / "s/journal.sqlite").write_bytes(b"rubbish" * 1000)
    assert read(tmp_path / "s").journal() == {}
    assert recover(tmp_path / "s").takes[0].pictures == {"head": 40}
    assert (tmp_path / "s/journal.sqlite.damaged").exists()
    assert read(tmp_path / "s").journal()["0001"].state == "recovered"


def test_the_journal_survives_power_cuts_by_its_settings(tmp_path: Path) -> None:
    with new_session(tmp_path / "s") as session:
        database: sqlite3.Connection = session.journal._db  # pyright: ignore[reportPrivateUsage]
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


# Fills the disk while recording; prints the error, then what the journal claims.
FILLER = """
import resource, signal, sys
from pathlib import Path
from handcap.errors import SessionError
from recording import imu_block, jpeg, new_session
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))
picture = jpeg(width=320, height=240)
try:
    with new_session(path, sys.argv[3]) as session, session.start_take() as take:
        for n in range(20_000):
            take.add_imu_si("left", *imu_block(n * 10_000_000, 10))
            take.add_image("head", n * 10_000_000, picture, "jpeg")
except SessionError as error:
    print(error)
    print(error.where)
    print(error.mend)
    from handcap.session import read, recover
    session = read(path)
    record = session.journal().get("0001")
    print(record.state, record.counts)
    take = session.take("0001")
    print(len(take.camera_stamps("head")), len(take.imu("left")), len(list(take.frames("head"))))
    print(sum(p.stat().st_size for p in path.rglob("*") if p.is_file()))
"""


@pytest.mark.parametrize("origin", ["capture", "import"])
def test_a_full_disk_is_said_and_nothing_is_claimed_that_is_not_saved(tmp_path: Path, origin: str) -> None:
    mount = tmp_path / "disk"
    mount.mkdir()
    how = "mount"
    try:  # a file system of 20 MB that only this process and its child see
        probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        probe = False
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    if probe:
        script = 'mount -t tmpfs -o size=20M tmpfs "$1" && exec "$2" -c "$3" "$1/s" mount "$4"'
        command = ["unshare", "-m", "sh", "-c", script, "sh", str(mount), sys.executable, FILLER, origin]
    else:
        how = "limit"
        print("no private mount here: the file size is limited to 20 MB instead of the disk")
        command = [sys.executable, "-c", FILLER, str(mount / "s"), "limit", origin]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "the disk is full" in lines[0], done.stdout
    assert any("seg-0000.mcap.part" in line for line in lines[:3])
    assert any("free some space" in line for line in lines[:4])
    state = next(line for line in lines if line.startswith(("interrupted", "open")))
    assert state.endswith("None")  # no counts are claimed
    pictures, samples, decoded = (int(number) for number in lines[-2].split())
    assert decoded == pictures > 100 and samples >= 10 * (pictures - 1)
    assert how == "limit" or int(lines[-1]) > 19_000_000


def test_a_failure_while_finishing_or_closing_is_an_error_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for call in ("os.fsync", "os.write", "os.close"):
        session = new_session(tmp_path / call)
        take = session.start_take()
        record(take, 0.1, jpeg())

        def fail(fd: int, *_: object, real: object = os.close, name: str = call) -> int:
            if name == "os.close":
                real(fd)  # pyright: ignore[reportCallIssue]
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(f"handcap.session.sink.{call}", fail)
            with pytest.raises(SessionError, match="could not be written"):
                take.end()
        session.close()
        assert read(tmp_path / call).journal()["0001"].state == "interrupted"
        assert recover(tmp_path / call).takes[0].id == "0001"


def test_a_signal_between_writes_is_survived(tmp_path: Path) -> None:
    """SIGTERM ends the recorder as an exception would: the data stay."""
    code = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(1))\n" + RECORDER
    recorder = run_python(code, str(tmp_path / "s"))
    assert recorder.stdout
    for _ in range(50):
        last = recorder.stdout.readline()
    recorder.send_signal(signal.SIGTERM)
    last = (recorder.communicate()[0].split() or [last])[-1]
    assert recorder.returncode == 1
    assert read(tmp_path / "s").take("0001").imu("left").t_ns[-1] >= int(last) - 11_000_000


def test_a_burst_after_a_stall_is_flushed_by_its_stamps(tmp_path: Path) -> None:
    """A slow disk blocks the recorder; the queue then empties faster than the wall clock runs."""
    session = new_session(tmp_path / "s", "capture")
    take = session.start_take()
    for n in range(100):
        take.add_imu_si("left", *imu_block(n * 10_000_000, 10))
    samples = read(tmp_path / "s").take("0001").imu("left")  # what a kill right now would leave
    assert 1_000_000_000 - samples.t_ns[-1] <= 260_000_000
    session.close()


RECOVER = """
import sys
from pathlib import Path
from handcap.session import recover
print(1, flush=True)
recover(Path(sys.argv[1]))
"""


def test_killing_the_recovery_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    part = torn_session(tmp_path / "s", 40.0)
    for seed in range(4):
        recovery = run_python(RECOVER, str(tmp_path / "s"))
        assert recovery.stdout
        recovery.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.0, 0.05))
        recovery.kill()
        recovery.communicate()
        assert part.exists() or part.with_suffix("").exists()
    recover(tmp_path / "s")
    take = read(tmp_path / "s").take("0001")
    assert len(take.camera_stamps("head")) == 800 and len(take.imu("head")) == 40_000 and take.damage == ()
    assert read(tmp_path / "s").journal()["0001"].state == "recovered"
    assert [p.name for p in part.parent.iterdir()] == ["seg-0000.mcap"]


def test_motion_that_lies_in_a_boards_messages_is_counted(tmp_path: Path) -> None:
    with new_session(tmp_path / "s", "capture") as session:
        take = session.start_take()
        for k in range(10):
            batch = ImuBatch(first_sample_t_ns=k, period_ns=1_000_000, gyro_counts=[1] * 60, accel_counts=[1] * 60)
            take.add_wire("left", k * 20_000_000, Envelope(seq=k, boot_id=1, imu_batch=batch))
        take._segment.flush()  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
        shutil.copytree(tmp_path / "s", tmp_path / "died")  # as it lies on the disk in the middle of a take
    (saved,) = recover(tmp_path / "died").takes
    assert saved.samples == {"left": 200}
