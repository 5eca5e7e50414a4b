"""`handcap capture` as a process that is killed, stopped, hung up on, or runs on a computer that misbehaves."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from broken_host import BrokenHost
from live_capture import FPS, RATE_HZ, make_source, until, whole_but_for

from handcap import session as session_store
from handcap.session.journal import read_faults
from handcap.sim.unrendered import unrendered

HANDCAP = [sys.executable, "-m", "handcap.cli.app"]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return make_source(tmp_path_factory.mktemp("host"))


def command(source: Path, out: Path, *more: str) -> list[str]:
    return [*HANDCAP, "capture", str(out), "--virtual", "--play", str(source), "--no-field", *more]


@contextmanager
def recording(
    source: Path, out: Path, *more: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """`handcap capture` in the midst of its first take; it goes on for an hour if nobody ends it."""
    arguments = command(source, out, "--takes", "1", "--seconds", "3600", *more)
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        until(lambda: process.poll() is not None or size(out) > 200_000, 60)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


def size(out: Path) -> int:
    """Of what has been recorded."""
    return sum(part.stat().st_size for part in out.glob("raw/*/seg-*"))


def state(out: Path, take: str = "0001") -> str:
    return session_store.read(out).journal()[take].state


slow = pytest.mark.slow


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGHUP", marks=slow), pytest.param("SIGINT", marks=slow)])
def test_a_signal_ends_the_take_as_the_collector_would(source: Path, tmp_path: Path, name: str) -> None:
    with recording(source, tmp_path / "s", "--json") as process:
        stopped_ns = time.monotonic_ns()
        process.send_signal(getattr(signal, name))
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 0, "it did what it was asked to: its one take is there"
    assert "Saving what was recorded" in errors and "Traceback" not in errors
    assert set(json.loads(told)["summary"]["takes"]) == {"0001"}
    assert state(tmp_path / "s") == "ended"
    take = session_store.read(tmp_path / "s").take("0001")
    assert [path.name for path in (tmp_path / "s/raw/0001").iterdir()] == ["seg-0000.mcap"]
    assert whole_but_for(take)
    assert take.imu("left").t_ns[-1] > stopped_ns, "up to the signal and a little more"


@slow
def test_ctrl_c_again_and_again_does_not_lose_the_take(source: Path, tmp_path: Path) -> None:
    with recording(source, tmp_path / "s") as process:
        for _ in range(30):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
            if process.poll() is not None:
                break
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors, errors
    assert state(tmp_path / "s") == "ended"
    assert whole_but_for(session_store.read(tmp_path / "s").take("0001"))


@slow
def test_a_terminal_that_is_closed_ends_the_take_properly(source: Path, tmp_path: Path) -> None:
    """The kernel hangs up on whoever runs in a terminal whose window is closed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, command(source, tmp_path / "s"))
    said = b""
    while b"space" not in said:
        said += os.read(terminal, 4096)
    os.write(terminal, b" ")
    until(lambda: size(tmp_path / "s") > 200_000, 60)
    os.close(terminal)
    until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, 60)
    assert state(tmp_path / "s") == "ended"
    assert whole_but_for(session_store.read(tmp_path / "s").take("0001"))


def test_a_recorder_that_was_killed_is_recovered_by_the_next_start_which_says_so(source: Path, tmp_path: Path) -> None:
    with recording(source, tmp_path / "s") as process:
        time.sleep(1.0)
        process.kill()
        killed_ns = time.monotonic_ns()
    done = subprocess.run(
        command(source, tmp_path / "s", "--takes", "1", "--seconds", "1.6"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "The last recording was cut off. Saved: take 1 (" in done.stdout
    session = session_store.read(tmp_path / "s")
    assert {take: record.state for take, record in session.journal().items()} == {"0001": "recovered", "0002": "ended"}
    take = session.take("0001")
    assert take.damage == ()
    for device in ("head", "left", "right"):
        imu = take.imu(device)
        assert (killed_ns - imu.t_ns[-1]) * 1e-9 <= 0.5
        np.testing.assert_allclose(np.diff(imu.t_ns), 1e9 / RATE_HZ, rtol=0.05)


@slow
def test_a_second_recorder_is_refused_and_told_who_holds_the_session(source: Path, tmp_path: Path) -> None:
    with recording(source, tmp_path / "s") as process:
        second = subprocess.run(
            command(source, tmp_path / "s", "--takes", "1"), capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert f"another program is still recording here: process {process.pid} on" in second.stderr
        process.terminate()
        process.communicate(timeout=60)
    assert state(tmp_path / "s") == "ended", "and the first is not disturbed"
    assert whole_but_for(session_store.read(tmp_path / "s").take("0001"))


@slow
def test_a_recorder_that_stands_still_for_five_seconds_goes_on(source: Path, tmp_path: Path) -> None:
    with recording(source, tmp_path / "s", "--json") as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(5.0)
        process.send_signal(signal.SIGCONT)
        time.sleep(1.5)
        process.terminate()
        told, _ = process.communicate(timeout=60)
    assert state(tmp_path / "s") == "ended"
    take = session_store.read(tmp_path / "s").take("0001")
    causes = {(cause["code"], cause["body"]) for cause in json.loads(told)["summary"]["spot"]["0001"]["causes"]}
    for device in ("head", "left", "right"):
        imu = take.imu(device)
        span_s = (imu.t_ns[-1] - imu.t_ns[0]) * 1e-9
        assert span_s > 6.0, "it goes on"
        assert len(imu) > RATE_HZ * (span_s - 5.0), "but for the time it stood still, nothing is lost"
        if len(imu) < 0.98 * RATE_HZ * span_s:  # a board keeps little: what found no room is told
            assert {("imu_missing", f"imu_{device}"), ("imu_samples_lost", f"imu_{device}")} & causes
    for camera in take.cameras:
        assert len(take.camera_stamps(camera)) > 0.9 * FPS * 6.0, "a node keeps much"
    assert take.damage == ()


@slow
def test_a_sync_that_fails_stops_the_take_and_keeps_it(source: Path, tmp_path: Path) -> None:
    host = BrokenHost(tmp_path)
    with recording(source, tmp_path / "s", environment=host.environment) as process:
        time.sleep(1.0)
        host.misbehave("fsync_fails", 1)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "could not be written (Input/output error)" in errors and "check the disk and its cable" in errors
    assert state(tmp_path / "s") == "interrupted"
    session_store.recover(tmp_path / "s")
    assert len(session_store.read(tmp_path / "s").take("0001").imu("head")) > 1000


@slow
def test_a_disk_that_is_too_slow_costs_pictures_and_no_samples_and_is_told(source: Path, tmp_path: Path) -> None:
    host = BrokenHost(tmp_path)
    big = tmp_path / "big"
    unrendered(big, 2.0, size=(1280, 720))
    with recording(big, tmp_path / "s", "--json", environment=host.environment) as process:
        host.misbehave("write_delay_us", 1_000_000)
        time.sleep(12.0)
        process.terminate()
        time.sleep(1.0)
        host.misbehave("write_delay_us", 0)
        told, _ = process.communicate(timeout=120)
    causes = json.loads(told)["summary"]["spot"]["0001"]["causes"]
    assert "disk_slow" in {cause["code"] for cause in causes}
    assert {"imu_missing", "imu_samples_lost"}.isdisjoint(cause["code"] for cause in causes)
    assert "disk_slow" in {fault.code for fault in read_faults(tmp_path / "s", "0001")}
    assert whole_but_for(session_store.read(tmp_path / "s").take("0001"), "cameras")


@slow
def test_a_wall_clock_set_back_an_hour_changes_nothing(source: Path, tmp_path: Path) -> None:
    host = BrokenHost(tmp_path)
    with recording(source, tmp_path / "s", "--json", environment=host.environment) as process:
        host.misbehave("realtime_ns", -3600 * 10**9)
        time.sleep(1.6)
        process.terminate()
        told, _ = process.communicate(timeout=60)
    assert json.loads(told)["summary"]["takes"]["0001"] == "ok"
    session = session_store.read(tmp_path / "s")
    assert whole_but_for(session.take("0001"))
    imu = session.take("0001").imu("left")
    np.testing.assert_allclose(np.diff(imu.t_ns), 1e9 / RATE_HZ, rtol=0.05)
    offset_ns = session.journal()["0001"].utc_offset_ns
    assert offset_ns == pytest.approx(time.time_ns() - time.monotonic_ns(), abs=5e9), "as it was when the take began"


@slow
def test_a_laptop_that_slept_is_told_with_how_long(source: Path, tmp_path: Path) -> None:
    """While a laptop sleeps its monotonic clock stands still and the boards' clocks do not."""
    host = BrokenHost(tmp_path)
    with recording(source, tmp_path / "s", "--json", environment=host.environment) as process:
        time.sleep(1.0)
        process.send_signal(signal.SIGSTOP)
        time.sleep(3.0)
        host.misbehave("monotonic_ns", -3 * 10**9)
        process.send_signal(signal.SIGCONT)
        time.sleep(2.5)
        process.terminate()
        told, _ = process.communicate(timeout=60)
    causes = {cause["code"]: cause for cause in json.loads(told)["summary"]["spot"]["0001"]["causes"]}
    assert causes["laptop_slept"]["measured"] == pytest.approx(3.0, abs=0.2)
    journalled = {(fault.code, fault.device) for fault in read_faults(tmp_path / "s", "0001")}
    assert ("laptop_slept", None) in journalled
    assert {("clock_jumped", device) for device in ("head", "left", "right")} <= journalled
    assert state(tmp_path / "s") == "ended"
    assert len(session_store.read(tmp_path / "s").take("0001").imu("left")) > 3000
