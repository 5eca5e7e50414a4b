"""Can a session be recorded here and now? Rig, calibration, firmware, cameras, disk, computer, permissions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from camera_node import running
from simulated_board import UID, SimulatedBoard

from handcap.causes import LANGUAGES, Cause
from handcap.cli.app import main
from handcap.clock import utc_text
from handcap.devices import readiness
from handcap.devices.computer import Battery, Computer
from handcap.devices.examine import examine
from handcap.devices.readiness import HINTS, Disk, ReadyParams, try_disk
from handcap.errors import SessionError
from handcap.session import RigStore, write_rig
from handcap.sim import rigs as virtual
from handcap.wire.handcap_pb2 import Status

NOW = datetime.now(UTC)
PARAMS = ReadyParams()


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Path]:
    """A store with one rig, whose right gripper is the simulated board."""

    def make(age_days: float | None = 10.0, valid_days: float | None = None) -> Path:
        drawn = virtual.drawn("head+right", 7)
        devices = {
            name: replace(device, uid=f"{UID:016x}" if name == "right" else "0123456789abcdef")
            for name, device in drawn.devices.items()
        }
        created = None if age_days is None else utc_text(NOW - timedelta(days=age_days))
        until = None if valid_days is None else utc_text(NOW + timedelta(days=valid_days))
        rig = replace(drawn, rig_id="R07", devices=devices, provenance={"created": created}, valid_until=until)
        write_rig(tmp_path / "rig.json", rig)
        RigStore(tmp_path / "store").add(tmp_path / "rig.json", NOW - timedelta(days=1))
        return tmp_path / "store"

    return make


def doctor(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, store: Path, *more: object, **board: Any
) -> tuple[int, dict[str, Any]]:
    """Exit code and summary of `handcap doctor` on a board that is well."""
    values = {"status": Status(stack_free_bytes=8000, supply_v=float("nan")), **board}
    with SimulatedBoard(tmp_path / "board", **values) as simulated:
        line = ["doctor", "--port", simulated.port, "--seconds", "1.5", "--store", store, "--folder", tmp_path, *more]
        with pytest.raises(SystemExit) as left:
            main([*map(str, line), "--json"])
    return int(left.value.code or 0), json.loads(capfd.readouterr().out)["summary"]


def codes(causes: list[dict[str, Any]]) -> set[str]:
    return {one["code"] for one in causes}


def test_doctor_names_the_part_of_the_rig_that_is_not_plugged_in(capfd, tmp_path, store) -> None:
    code, told = doctor(capfd, tmp_path, store())
    (missing,) = [one for one in told["findings"] if one["code"] == "rig_incomplete"]
    assert code == 1 and "R07 head" in missing["text"] and "Plug it in" in missing["mend"]
    assert told["facts"]["calibrations"] == {"R07": {"state": "in force", "age_days": pytest.approx(10, abs=0.1)}}
    assert told["facts"]["gb_per_hour"] > 0 and told["facts"]["write_mb_per_s"] > 0
    assert not list(tmp_path.glob("tmp*")), "the written file is gone"


@pytest.mark.parametrize(
    ("age_days", "valid_days", "code"),
    [(100.0, None, "calibration_old"), (None, None, "calibration_undated"), (10.0, -1.0, "calibration_expired")],
)
def test_a_calibration_that_is_old_or_has_run_out_is_told(store, age_days, valid_days, code, tmp_path) -> None:
    records = RigStore(store(age_days, valid_days)).records()
    with SimulatedBoard(tmp_path / "board") as simulated:
        report = examine(str(simulated.port), 0, {f"{UID:016x}": ("R07", "right")})
    told = [cause.code for cause in readiness.of_rig([report], records, NOW, PARAMS)]
    assert told == ["rig_incomplete", code]
    assert (code in HINTS) == (code != "calibration_expired")


def test_a_board_that_no_rig_has_is_a_hint_and_does_not_fail(capfd, tmp_path) -> None:
    _, told = doctor(capfd, tmp_path, tmp_path / "none")
    assert "board_without_rig" in codes(told["hints"])
    assert not codes(told["findings"]) & HINTS


@pytest.mark.parametrize(
    ("on_board", "ours", "old"),
    [("0.1.0", "0.1.0", False), ("0.1.0", "0.1.1", True), ("0.9.0", "0.10.0", True), ("1.0.0", "0.9.9", False),
     ("", "0.1.0", True), ("0.1.0", None, False)],
)  # fmt: skip
def test_only_older_firmware_is_to_be_replaced(tmp_path: Path, on_board: str, ours: str | None, old: bool) -> None:
    with SimulatedBoard(tmp_path / "board") as simulated:
        report = examine(str(simulated.port), 0, {})
    report.hello.firmware_version = on_board
    assert [cause.code for cause in readiness.of_firmware([report], ours)] == ["firmware_old"] * old


def test_this_handcap_knows_which_firmware_it_brings(repository: Path) -> None:
    assert readiness.firmware_here() == (repository / "firmware/VERSION").read_text().strip()


def test_a_camera_that_is_slower_than_asked_is_named(plain_node, jpegs) -> None:
    with running(plain_node, "--source", str(jpegs), "--rate", "30", "--name", "head") as node:
        report = examine(f"tcp://127.0.0.1:{node.port}", 2.0, {})
    assert readiness.of_cameras([report], PARAMS) == []
    camera = next(one for one in report.hello.sensors if one.rate_hz)
    camera.rate_hz = 60.0  # what it was to give
    (cause,) = readiness.of_cameras([report], PARAMS)
    assert cause.code == "camera_slow" and cause.limit == 60 and cause.measured == pytest.approx(30, rel=0.05)
    # 30 pictures of 100 kB a second
    rate = readiness.measured_bytes_per_s([report], None)
    assert rate == pytest.approx(30 * sum(len(p.read_bytes()) for p in jpegs.iterdir()) / 10, rel=0.3)
    rig = virtual.drawn("head+right", 7)
    assert readiness.measured_bytes_per_s([report], rig) > rate, "what was not heard counts nominally"


def test_room_and_speed_of_a_disk_are_judged_by_what_the_rig_gives(tmp_path: Path) -> None:
    disk = Disk(tmp_path, free_bytes=10**10, write_bytes_per_s=2e7)
    assert readiness.of_disk(disk, 5e6, PARAMS) == []
    (short,) = readiness.of_disk(disk, 6e6, PARAMS)
    assert short.code == "disk_short" and short.measured == pytest.approx(27.8, abs=0.1)
    assert [c.code for c in readiness.of_disk(replace(disk, free_bytes=10**12), 7e6, PARAMS)] == ["disk_writes_slowly"]


def test_a_disk_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    disk = try_disk(tmp_path / "not" / "yet", seconds=0.2)
    assert disk.folder == tmp_path and disk.free_bytes > 0
    assert disk.write_bytes_per_s is not None and disk.write_bytes_per_s > 1e5
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="nothing can be written here"):
        try_disk(Path("/proc"), seconds=0.1)


WELL = Computer(Battery(80.0, True, 120.0), 60.0, 100.0, 3, 1.0, "powersave", 8.0)


@pytest.mark.parametrize(
    ("computer", "code"),
    [
        (WELL, None),
        (Computer(None, None, None, None, None, None, None), None),
        (replace(WELL, battery=Battery(20.0, True, 25.0)), "battery_short"),
        (replace(WELL, temperature_c=95.0), "computer_hot"),
        (replace(WELL, speed=0.4), "computer_slowed"),
        (replace(WELL, memory_free_gb=0.7), "memory_low"),
    ],
)
def test_a_computer_that_is_not_fit_for_an_hour_is_a_hint(computer: Computer, code: str | None) -> None:
    told = list(readiness.of_computer(computer, PARAMS))
    assert [cause.code for cause in told] == ([code] if code else [])
    assert all(cause.text(lang) and cause.mend(lang) and cause.code in HINTS for cause in told for lang in LANGUAGES)


def test_a_device_that_this_user_may_not_open_is_named_with_the_group_that_may() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a device of a group it is not in")
    import grp

    device = Path("/dev/shm") / f"handcap-{os.getpid()}"
    device.write_bytes(b"")
    try:
        os.chown(device, 0, grp.getgrnam("video").gr_gid)
        device.chmod(0o660)
        script = "import os, sys; from handcap.devices import readiness as r; "
        script += "r.Cause('no_voice'); os.setgroups([]); os.setuid(65534); "
        script += "print([cause.text() for cause in r.of_permissions(sys.argv[1:])])"
        line = [sys.executable, "-c", script, str(device)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert f"{device}: video" in done.stdout, done.stdout + done.stderr
        assert readiness.of_permissions([str(device), "/dev/no-such"]) == []
    finally:
        device.unlink()


def test_every_hint_is_in_the_catalogue() -> None:
    assert all(Cause(code, "x", measured=1.0, limit=2.0).text("zh") for code in HINTS)
