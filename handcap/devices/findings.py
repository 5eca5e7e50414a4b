"""What is wrong with boards and ports, as causes with their mends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from handcap.causes import Cause
from handcap.devices.examine import BoardReport, Failed
from handcap.errors import DeviceError, WireError
from handcap.wire.handcap_pb2 import (
    RESET_CAUSE_WATCHDOG,
    SENSOR_KIND_CAMERA,
    SENSOR_KIND_ENCODER,
    SENSOR_KIND_IMU,
    SENSOR_STATE_ABSENT,
    SENSOR_STATE_BAD_REGISTERS,
    SENSOR_STATE_FAILED_SELF_TEST,
    SENSOR_STATE_RUNNING,
    SENSOR_STATE_STOPPED,
    SENSOR_STATE_STUCK,
    SENSOR_STATE_WRONG_IDENTITY,
    Sensor,
    SensorKind,
)


@dataclass(frozen=True, slots=True)
class HealthParams:
    """Where something begins to be wrong. All are engineering judgement.

    Attributes:
        skew_ppm: a crystal is within 50 ppm over its life and temperature; beyond three times that it is broken, or
            the wrong one.
        residual_ms: half of the exchanges are off by more: a hub or a busy computer holds bytes back.
        sigma_ms: what multi-sensor alignment may be off (GB/Z 218.1-2026 allows 1 ms in all).
        rate_off: an ICM-42688-P without an external clock is within 1 %, its data sheet says.
        came: share of the samples that must come in time; a stream that stops and starts is caught by it.
        supply_v: below it an RP2040's brown-out detector is near, with the regulator's tolerance.
        stack_bytes: that were never used.
        loop_late_ms: a turn of the board's main loop; two batches of its sensor's FIFO fill in 40 ms.
    """

    skew_ppm: float = 150.0
    residual_ms: float = 5.0
    sigma_ms: float = 0.5
    rate_off: float = 0.02
    came: float = 0.9
    supply_v: float = 3.0
    stack_bytes: int = 512
    loop_late_ms: float = 20.0


_STATES = {
    SENSOR_STATE_ABSENT: "sensor_absent",
    SENSOR_STATE_BAD_REGISTERS: "sensor_bad_registers",
    SENSOR_STATE_FAILED_SELF_TEST: "sensor_failed_self_test",
    SENSOR_STATE_STUCK: "sensor_stuck",
}
# Losses by the host's count, and the code that each is told under.
_LOSSES = {
    "wire_damaged": ("bad_crc", "bad_cobs", "too_short", "too_long", "not_a_message"),
    "wire_queue_full": ("queue_full",),
    "wire_unknown": ("unknown_body",),
    "device_foreign": ("foreign",),
    "device_unplugged": ("unplugged",),
    "device_rebooted": ("reboots",),
    "device_lost_imu": ("board_imu_samples",),
    "device_lost_stamps": ("board_frame_stamps",),
    "device_lost_messages": ("board_messages",),
    "device_heard_badly": ("board_rx",),
}


def label(report: BoardReport) -> str:
    """Which board, for people who see a rig and a cable."""
    if report.owner is None:
        return report.port
    rig_id, device = report.owner
    return f"{rig_id} {device} ({report.port})"


def findings(reports: Sequence[BoardReport | Failed], params: HealthParams | None = None) -> list[Cause]:
    """Everything that is wrong with some boards, in the order of the boards."""
    params = params or HealthParams()
    told: list[Cause] = []
    for report in reports:
        told += [_failure(report)] if isinstance(report, Failed) else _of_board(report, params)
    return told


def _failure(failed: Failed) -> Cause:
    if isinstance(failed.error, WireError):
        return Cause("protocol_mismatch", failed.port)
    return Cause(failed.error.cause if isinstance(failed.error, DeviceError) else "device_silent", failed.port)


def _of_board(report: BoardReport, params: HealthParams) -> Iterator[Cause]:
    name = label(report)
    yield from _sensors(report, name)
    yield from _magnet(report, name)
    yield from _losses(report, name)
    yield from _rates(report, name, params)
    yield from _clock(report, name, params)
    yield from _self_care(report, name, params)


def sensors_now(report: BoardReport) -> list[Sensor]:
    """Each of a board's parts as it is now: Hello tells how it was, Status those that are not well."""
    if report.status is None:
        return list(report.hello.sensors)
    ill = {(one.kind, one.model): one for one in report.status.sensors}
    told: list[Sensor] = []
    for began in report.hello.sensors:
        now = Sensor()
        now.CopyFrom(began)
        later = ill.get((began.kind, began.model))
        if later is not None:
            now.state, now.identity = later.state, later.identity or began.identity
        elif began.state != SENSOR_STATE_STOPPED:
            now.state = SENSOR_STATE_RUNNING
        told.append(now)
    return told


def part_name(sensor: Sensor) -> str:
    """A part by its model, or by its kind where it has none."""
    return sensor.model or SensorKind.Name(sensor.kind).removeprefix("SENSOR_KIND_").lower()


def _sensors(report: BoardReport, name: str) -> Iterator[Cause]:
    for sensor in sensors_now(report):
        part = f"{name}: {part_name(sensor)}"
        if sensor.state in _STATES:
            yield Cause(_STATES[sensor.state], part)
        elif sensor.state == SENSOR_STATE_WRONG_IDENTITY:
            yield Cause("sensor_wrong_identity", part, measured=float(sensor.identity))


def _magnet(report: BoardReport, name: str) -> Iterator[Cause]:
    encoder = report.heard.encoder
    if encoder is None:
        return
    if not encoder.magnet_found:
        yield Cause("magnet_missing", name)
    elif encoder.magnet_too_weak:
        yield Cause("magnet_weak", name)
    elif encoder.magnet_too_strong:
        yield Cause("magnet_strong", name)


def _losses(report: BoardReport, name: str) -> Iterator[Cause]:
    counts = report.losses.as_dict()
    for code, kinds in _LOSSES.items():
        count = sum(counts[kind] for kind in kinds)
        if count:
            yield Cause(code, name, measured=float(count))
    # What was damaged is missing too; only what went without a trace is told apart.
    damaged = sum(counts[kind] for kind in _LOSSES["wire_damaged"])
    missing = counts["messages_missing"] - damaged
    if missing > 0 or (counts["messages_missing"] and not damaged):
        yield Cause("wire_missing", name, measured=float(missing))
    if counts["out_of_order"]:
        yield Cause("wire_out_of_order", name, measured=float(counts["out_of_order"]))
    if report.heard.video_dropped:
        yield Cause("node_dropped_pictures", name, measured=float(report.heard.video_dropped))


def _rates(report: BoardReport, name: str, params: HealthParams) -> Iterator[Cause]:
    if not report.streamed:
        return
    bodies = {SENSOR_KIND_IMU: "imu_batch", SENSOR_KIND_ENCODER: "encoder", SENSOR_KIND_CAMERA: "video_frame"}
    for sensor in sensors_now(report):
        body = bodies.get(sensor.kind)
        # Stopped is what it said before it was told to stream.
        well = sensor.state in (SENSOR_STATE_RUNNING, SENSOR_STATE_STOPPED)
        if body is None or not well or not sensor.rate_hz > 0:
            continue
        part = f"{name}: {part_name(sensor)}"
        rate_hz = report.heard.rate_hz(body)
        if rate_hz is None:
            yield Cause("sensor_silent", part)
            continue
        if sensor.kind == SENSOR_KIND_CAMERA:  # takes its time in the dark
            continue
        came_hz = report.heard.streams[body].samples / report.heard.watched_s
        if abs(rate_hz / sensor.rate_hz - 1) > params.rate_off:
            yield Cause("sensor_rate_off", part, measured=rate_hz, limit=sensor.rate_hz)
        elif came_hz < params.came * rate_hz and not _interrupted(report):
            yield Cause("sensor_samples_late", part, measured=came_hz, limit=rate_hz)


def _interrupted(report: BoardReport) -> bool:
    """Whether what did not come has been told already."""
    losses = report.losses
    return bool(losses.unplugged or losses.reboots or losses.messages_missing or losses.board_imu_samples)


def _clock(report: BoardReport, name: str, params: HealthParams) -> Iterator[Cause]:
    if report.clock_jumps:
        yield Cause("device_clock_jumped", name, measured=float(report.clock_jumps))
    clock = report.clock
    if clock is None:
        if report.streamed:
            yield Cause("device_clock_unknown", name)
        return
    # What is not known to be off is not called off.
    if abs(clock.board_fast_ppm) - 2e6 * clock.skew_sigma > params.skew_ppm:
        yield Cause("device_clock_skewed", name, measured=clock.board_fast_ppm, limit=params.skew_ppm)
    if clock.residual_s * 1e3 > params.residual_ms:
        yield Cause("device_clock_scattered", name, measured=clock.residual_s * 1e3, limit=params.residual_ms)


def _self_care(report: BoardReport, name: str, params: HealthParams) -> Iterator[Cause]:
    if report.hello.reset_cause == RESET_CAUSE_WATCHDOG:
        yield Cause("device_hung", name)
    status = report.status
    if status is None:
        if report.streamed:
            yield Cause("device_status_missing", name)
        return
    if status.imu_fifo_resets:
        yield Cause("imu_fifo_reset", name, measured=float(status.imu_fifo_resets))
    if status.imu_stuck:
        yield Cause("imu_was_stuck", name, measured=float(status.imu_stuck))
    if status.imu_invalid_samples:
        yield Cause("imu_no_data", name, measured=float(status.imu_invalid_samples))
    if status.encoder_read_errors:
        yield Cause("encoder_reads_lost", name, measured=float(status.encoder_read_errors))
    if not math.isnan(status.supply_v) and 0 < status.supply_v < params.supply_v:
        yield Cause("device_supply_low", name, measured=status.supply_v, limit=params.supply_v)
    if 0 < status.stack_free_bytes < params.stack_bytes:
        yield Cause("device_stack_low", name, measured=float(status.stack_free_bytes), limit=float(params.stack_bytes))
    if status.loop_late_us_max > params.loop_late_ms * 1e3:
        yield Cause("device_loop_late", name, measured=status.loop_late_us_max / 1e3, limit=params.loop_late_ms)
