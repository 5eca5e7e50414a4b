"""`handcap devices` and `handcap doctor` on boards that are well, and on each way they can be ill."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulated_board import UID, SimulatedBoard, sensor, usual_sensors

from handcap.causes import LANGUAGES
from handcap.cli.app import main
from handcap.devices import ClockEstimate, Losses, findings
from handcap.devices.clock_tracker import Rejected
from handcap.devices.examine import BoardReport, Heard, Stretch
from handcap.session import RigStore, write_rig
from handcap.sim import rigs as virtual
from handcap.wire.handcap_pb2 import Hello, Status

# What a full disk or a busy machine makes true of any board.
OF_THIS_MACHINE = {
    "disk_short",
    "disk_writes_slowly",
    "sensor_samples_late",
    "device_clock_scattered",
    "device_clock_unknown",
}
WELL = Status(stack_free_bytes=8000, supply_v=float("nan"))


@contextmanager
def board(tmp_path: Path, **values: Any) -> Iterator[SimulatedBoard]:
    with SimulatedBoard(tmp_path / "board", **{"status": WELL, **values}) as simulated:
        yield simulated


@pytest.fixture
def handcap(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """handcap("devices", ...) gives exit code, stdout, stderr; the rig store is an empty one."""

    def run(*arguments: object) -> tuple[int, str, str]:
        told = [*map(str, arguments)]
        with pytest.raises(SystemExit) as left:
            main(told if "--store" in told else [*told, "--store", str(tmp_path / "store")])
        out = capfd.readouterr()
        return int(left.value.code or 0), out.out, out.err

    return run


def doctor(handcap: Callable[..., tuple[int, str, str]], port: Path, *more: object) -> tuple[int, dict[str, Any]]:
    code, out, _ = handcap("doctor", "--port", port, "--seconds", 1.5, "--json", *more)
    told = json.loads(out)
    assert told["ok"] == (code == 0) == (not told["summary"]["findings"])
    return code, {one["code"]: one for one in told["summary"]["findings"] if one["code"] not in OF_THIS_MACHINE}


def test_devices_tells_a_board_with_its_parts_rates_and_clock(handcap, tmp_path) -> None:
    with board(tmp_path) as simulated:
        code, out, _ = handcap("devices", "--port", simulated.port, "--seconds", 2, "--json")
    assert code == 0
    (told,) = json.loads(out)["summary"]["boards"]
    assert (told["uid"], told["board"], told["firmware"]) == (f"{UID:016x}", "rp2040", "0.1.0")
    assert told["rig"] is None and told["port"] == str(simulated.port)
    imu, encoder, trigger, *_ = told["sensors"]
    assert (imu["model"], imu["state"], trigger["state"]) == ("ICM-42688-P", "running", "stopped")
    assert imu["measured_hz"] == pytest.approx(1000, rel=0.2) and encoder["measured_hz"] is not None
    assert told["clock"]["exchanges"] >= 10 and told["clock"]["sigma_s"] > 0
    assert not any(told["losses"].values())
    assert simulated.heard == ["stream", "stream"], "it is left silent, as it was found"


def test_devices_tells_whose_rig_a_board_belongs_to(handcap, tmp_path) -> None:
    drawn = virtual.drawn("head+right", 7)
    mine = {
        name: replace(device, uid=f"{UID:016X}" if name == "right" else device.uid)
        for name, device in drawn.devices.items()
    }
    write_rig(tmp_path / "rig.json", replace(drawn, rig_id="R07", devices=mine))
    from datetime import UTC, datetime

    RigStore(tmp_path / "own").add(tmp_path / "rig.json", datetime(2026, 3, 1, tzinfo=UTC))
    with board(tmp_path) as simulated:
        code, out, _ = handcap("devices", "--port", simulated.port, "--seconds", 0, "--store", tmp_path / "own")
    assert code == 0 and "R07 right" in out and "ICM-42688-P: running" in out


def test_devices_says_why_a_port_cannot_be_used_and_goes_on(handcap, tmp_path) -> None:
    with board(tmp_path) as simulated:
        code, out, _ = handcap("devices", "--port", tmp_path / "none", "--port", simulated.port, "--seconds", 0)
    assert code == 0 and "there is no such port" in out and f"{UID:016x}" in out


def test_devices_speaks_chinese(handcap, tmp_path) -> None:
    with board(tmp_path) as simulated:
        code, out, _ = handcap("devices", "--port", simulated.port, "--seconds", 0, "--lang", "zh")
    assert code == 0 and "固件 0.1.0" in out and "运行中" in out


def test_doctor_finds_nothing_wrong_with_a_board_that_is_well(handcap, tmp_path) -> None:
    with board(tmp_path) as simulated:
        _, found = doctor(handcap, simulated.port)
    assert found == {}


def with_imu(state: str, **values: Any) -> dict[str, Any]:
    return {"sensors": [sensor("IMU", "ICM-42688-P", state, rate_hz=1000.0, **values), *usual_sensors()[1:]]}


def status(**values: Any) -> dict[str, Any]:
    return {"status": Status(**{"stack_free_bytes": 8000, "supply_v": float("nan"), **values})}


ILLS: dict[str, dict[str, Any]] = {
    "sensor_absent": with_imu("ABSENT"),
    "sensor_wrong_identity": with_imu("WRONG_IDENTITY", identity=0x68),
    "sensor_bad_registers": with_imu("BAD_REGISTERS"),
    "sensor_failed_self_test": with_imu("FAILED_SELF_TEST"),
    "sensor_stuck": status(sensors=[sensor("IMU", "ICM-42688-P", "STUCK")]),
    "sensor_silent": {"imu_hz": 0.0},
    "sensor_rate_off": {"imu_hz": 800.0},
    "magnet_missing": {"magnet": "none"},
    "protocol_mismatch": {"protocol_version": 2},
    "wire_damaged": {"flip_every": 9},
    "wire_missing": {"lose_every": 9},
    "device_lost_imu": status(imu_samples_lost=4),
    "device_lost_stamps": status(frame_stamps_dropped=4),
    "device_lost_messages": status(messages_dropped=4),
    "device_heard_badly": status(rx_bad_crc=1, rx_overruns=2),
    "device_supply_low": status(supply_v=2.5),
    "device_stack_low": status(stack_free_bytes=100),
    "device_loop_late": status(loop_late_us_max=50_000),
    "imu_fifo_reset": status(imu_fifo_resets=1),
    "imu_was_stuck": status(imu_stuck=1),
    "imu_no_data": status(imu_invalid_samples=3),
    "encoder_reads_lost": status(encoder_read_errors=3),
    "device_clock_skewed": {"skew": 8e-4},
}


@pytest.mark.parametrize("code", ILLS)
def test_doctor_names_each_ill_with_its_mend(handcap, tmp_path, code: str) -> None:
    with board(tmp_path, **ILLS[code]) as simulated:
        left, found = doctor(handcap, simulated.port)
    assert left == 1 and code in found, found
    assert str(simulated.port) in found[code]["text"] and found[code]["mend"]
    if code.startswith("wire_"):
        assert not {name for name in found if name.startswith("sensor_")}, "what is lost on the way changes no rate"
    if code == "sensor_wrong_identity":
        assert "104" in found[code]["text"]
    if code == "device_heard_badly":
        assert found[code]["measured"] == 3


def test_a_part_that_came_back_to_life_is_well(handcap, tmp_path) -> None:
    """Hello told of it as it was; Status, which names those that are ill, does not any more."""
    with board(tmp_path) as simulated:
        simulated.sensors[0].state = sensor("IMU", state="ABSENT").state
        _, out, _ = handcap("devices", "--port", simulated.port, "--seconds", 0, "--json")
        assert json.loads(out)["summary"]["boards"][0]["sensors"][0]["state"] == "absent"
        hello = simulated.hello_as_of_now()
        simulated.sensors[0].state = sensor("IMU").state
        simulated.says_hello = hello
        _, found = doctor(handcap, simulated.port)
    assert found == {}


def test_doctor_tells_a_weak_magnet_from_none(handcap, tmp_path) -> None:
    with board(tmp_path, magnet="weak") as simulated:
        _, found = doctor(handcap, simulated.port)
    assert set(found) == {"magnet_weak"}


def test_doctor_sees_a_board_that_restarts_while_it_is_watched(handcap, tmp_path) -> None:
    with board(tmp_path) as simulated:
        timer = threading.Timer(1.0, simulated.reboot)
        timer.start()
        code, out, _ = handcap("doctor", "--port", simulated.port, "--seconds", 2.5, "--json")
        timer.join()
    found = {one["code"]: one for one in json.loads(out)["summary"]["findings"]}
    assert code == 1 and found["device_rebooted"]["measured"] == 1
    assert "sensor_silent" not in found, "the stream goes on"


def test_doctor_sees_a_cable_that_comes_loose(handcap, tmp_path) -> None:
    with board(tmp_path) as simulated:

        def loosen() -> None:
            time.sleep(1.0)
            simulated.unplug()
            simulated.plug_in()

        thread = threading.Thread(target=loosen)
        thread.start()
        code, out, _ = handcap("doctor", "--port", simulated.port, "--seconds", 3, "--json")
        thread.join()
    found = {one["code"] for one in json.loads(out)["summary"]["findings"]}
    assert code == 1 and "device_unplugged" in found


def test_doctor_says_it_in_plain_words_and_exits_1(handcap, tmp_path) -> None:
    with board(tmp_path, magnet="none") as simulated:
        code, out, err = handcap("doctor", "--port", simulated.port, "--seconds", 1)
    assert code == 1 and "sees no magnet" in out and "→ Put the magnet back" in out
    assert "to mend" in err and "Traceback" not in err


def test_doctor_without_a_board_says_what_to_check(handcap) -> None:
    code, out, _ = handcap("doctor", "--lang", "zh")
    if "没有插入任何主板" in out:
        assert code == 1 and "线缆" in out
    else:
        pytest.skip("a board is plugged into this computer")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every port")
def test_doctor_names_the_group_where_a_port_may_not_be_opened(handcap, tmp_path) -> None:
    with board(tmp_path) as simulated:
        simulated.port.resolve().chmod(0)
        _, found = doctor(handcap, simulated.port)
    assert "dialout" in found["port_permission"]["mend"]


def test_a_refused_port_names_the_group_and_the_rule() -> None:
    from handcap.devices.examine import Failed
    from handcap.devices.port import cannot_open

    refused = cannot_open("/dev/ttyACM0", PermissionError(13, "Permission denied"))
    (cause,) = findings.findings([Failed("/dev/ttyACM0", refused)])
    assert cause.code == "port_permission"
    for mend in (refused.mend or "", cause.mend("en"), cause.mend("zh")):
        assert "dialout" in mend and "udev-rule" in mend


def test_the_udev_rule_names_our_boards_only(handcap) -> None:
    code, out, _ = handcap("doctor", "--udev-rule")
    rules = [line for line in out.splitlines() if not line.startswith("#")]
    assert code == 0 and rules
    assert all('ATTRS{manufacturer}=="handcap"' in rule and "uaccess" in rule for rule in rules)


def report_of(**values: object) -> BoardReport:
    """A board that is well, but for `values`."""
    usual: dict[str, object] = {
        "port": "/dev/ttyACM0",
        "owner": ("R07", "left"),
        "hello": Hello(uid=UID, sensors=usual_sensors()),
        "status": WELL,
        "uid": f"{UID:016x}",
        "heard": heard(1000.0, 200.0),
        "losses": Losses(),
        "clock": CLOCK,
        "clock_jumps": 0,
        "clock_rejected": Rejected(),
        "events": (),
        "streamed": True,
    }
    return BoardReport(**{**usual, **values})


def heard(imu_hz: float, encoder_hz: float, share: float = 1.0) -> Heard:
    told = Heard(watched_s=2.0)
    for body, hz in (("imu_batch", imu_hz), ("encoder", encoder_hz)):
        stretch = told.streams.setdefault(body, Stretch())
        for batch in range(int(2.0 * hz * share / 20)):
            stretch.add(int(batch * 20 / hz * 1e9), 20)
    return told


CLOCK = ClockEstimate(10**9, 0, 2e-5, 1e-6, 1e-6, 1e-4, 1e-3, 40, 0, 2 * 10**9, 5e-8)
BUSY: dict[str, dict[str, object]] = {
    "sensor_samples_late": {"heard": heard(1000.0, 200.0, share=0.5)},
    "device_clock_scattered": {"clock": replace(CLOCK, residual_s=0.02)},
    "device_clock_unknown": {"clock": None},
    "device_clock_jumped": {"clock_jumps": 2},
    "device_clock_skewed": {"clock": replace(CLOCK, skew=-2e-4)},
    "device_status_missing": {"status": None},
    "device_hung": {"hello": Hello(reset_cause="RESET_CAUSE_WATCHDOG", sensors=usual_sensors())},
    "wire_queue_full": {"losses": Losses(queue_full=3)},
    "wire_unknown": {"losses": Losses(unknown_body=3)},
    "wire_out_of_order": {"losses": Losses(out_of_order=3)},
    "device_foreign": {"losses": Losses(foreign=1)},
}


@pytest.mark.parametrize("code", BUSY)
def test_each_finding_names_the_rig_and_the_port(code: str) -> None:
    found = {cause.code: cause for cause in findings.findings([report_of(**BUSY[code])])}
    assert set(found) == {code}, found
    for lang in LANGUAGES:
        assert "R07 left (/dev/ttyACM0)" in found[code].text(lang)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert findings.findings([report_of()]) == []
    unsure = replace(CLOCK, skew=-2e-4, skew_sigma=1e-4)
    assert findings.findings([report_of(clock=unsure)]) == [], "what is not known to be off is not called off"


def test_what_was_damaged_is_not_told_again_as_missing() -> None:
    found = findings.findings([report_of(losses=Losses(bad_crc=3, messages_missing=3))])
    assert [cause.code for cause in found] == ["wire_damaged"]
    found = findings.findings([report_of(losses=Losses(bad_crc=3, messages_missing=7))])
    assert [(cause.code, cause.measured) for cause in found] == [("wire_damaged", 3.0), ("wire_missing", 4.0)]
