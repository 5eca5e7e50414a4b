"""`handcap devices`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handcap.causes import Language
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish

if TYPE_CHECKING:
    from handcap.devices import FoundCamera, FoundFormat
    from handcap.devices.examine import BoardReport, Failed, Owner

Ports = Annotated[
    list[str] | None,
    typer.Option("--port", help="Another port: /dev/ttyUSB0, tcp://host:7047; may be given again."),
]
Seconds = Annotated[float, typer.Option(min=0.0, max=3600.0, help="How long to watch; 0: do not let boards stream.")]
Store = Annotated[Path | None, typer.Option("--store", help="Folder of the rig store; default: the user's own.")]

_STATES: dict[str, str] = {
    "unknown": "状态未知",
    "running": "运行中",
    "stopped": "已停止",
    "absent": "未连接",
    "wrong_identity": "型号不符",
    "bad_registers": "无法设置",
    "failed_self_test": "自检失败",
    "stuck": "无新数据",
}
_RATES = {"SENSOR_KIND_IMU": "imu_batch", "SENSOR_KIND_ENCODER": "encoder", "SENSOR_KIND_TRIGGER": "frame_stamp"}
_RATES["SENSOR_KIND_CAMERA"] = "video_frame"


def devices(
    port: Ports = None,
    seconds: Seconds = 3.0,
    store: Store = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """What is plugged in: boards with their parts, rates and clocks, camera nodes, cameras."""
    from handcap import devices as plugged

    reports = examined(port, seconds, store)
    told = [as_dict(report) for report in reports]
    cameras = plugged.cameras()
    lines = [line for entry in told for line in _lines(entry, lang)]
    offered = {camera.name: plugged.formats(camera.name) for camera in cameras}
    for camera in cameras:
        lines += _camera_lines(camera, offered[camera.name], lang)
    nothing = {
        "en": "nothing is plugged in; `handcap doctor` says what to check",
        "zh": "没有插入任何设备;请运行 `handcap doctor` 查看如何检查",
    }[lang]
    found = [
        {
            "port": camera.name,
            "model": camera.model,
            "usb_id": camera.usb_id,
            "serial": camera.usb_serial,
            "place": camera.usb_place,
            "formats": [{"format": f.name, "size": list(f.size), "most_hz": f.most_hz} for f in offered[camera.name]],
        }
        for camera in cameras
    ]
    finish(Outcome(lines=lines or [nothing], details={"boards": told, "cameras": found}), as_json)


def examined(ports: list[str] | None, seconds: float, store: Path | None) -> list[BoardReport | Failed]:
    """Every board that looks like ours, and the ports named."""
    from handcap import devices as plugged
    from handcap.devices.examine import examine_all

    names = [*(found.name for found in plugged.boards()), *(ports or ())]
    return examine_all(list(dict.fromkeys(names)), seconds, _owners(store))


def _owners(store: Path | None) -> dict[str, Owner]:
    """Rig and device by uid, of the calibrations in force."""
    from handcap.session import RigStore

    return {
        uid.lower(): (record.rig_id, device)
        for record in RigStore(store).records()
        if record.in_force is not None
        for device, uid in record.in_force.rig.uids.items()
    }


def as_dict(report: BoardReport | Failed) -> dict[str, Any]:
    """A board as `--json` prints it."""
    from handcap.devices.examine import Failed
    from handcap.devices.findings import sensors_now
    from handcap.wire.handcap_pb2 import ResetCause, SensorKind, SensorState

    if isinstance(report, Failed):
        return {"port": report.port, "error": report.error.as_dict()}
    hello, clock, status = report.hello, report.clock, report.status
    sensors: list[dict[str, Any]] = []
    for sensor in sensors_now(report):
        kind = SensorKind.Name(sensor.kind) if sensor.kind in SensorKind.values() else "SENSOR_KIND_UNKNOWN"
        state = SensorState.Name(sensor.state) if sensor.state in SensorState.values() else "SENSOR_STATE_UNKNOWN"
        sensors.append(
            {
                "kind": kind.removeprefix("SENSOR_KIND_").lower(),
                "model": sensor.model,
                "state": state.removeprefix("SENSOR_STATE_").lower(),
                "identity": sensor.identity or None,
                "rate_hz": _number(sensor.rate_hz),
                "measured_hz": _number(report.heard.rate_hz(_RATES.get(kind, ""))),
            }
        )
    reset = ResetCause.Name(hello.reset_cause) if hello.reset_cause in ResetCause.values() else "RESET_CAUSE_UNKNOWN"
    return {
        "port": report.port,
        "uid": report.uid,
        "board": hello.board,
        "firmware": hello.firmware_version,
        "git_hash": hello.git_hash,
        "protocol_version": hello.protocol_version,
        "boot_count": hello.boot_count,
        "reset_cause": reset.removeprefix("RESET_CAUSE_").lower(),
        "rig": None if report.owner is None else report.owner[0],
        "device": None if report.owner is None else report.owner[1],
        "sensors": sensors,
        "clock": None
        if clock is None
        else {
            "fast_ppm": _number(clock.board_fast_ppm),
            "fast_sigma_ppm": _number(1e6 * clock.skew_sigma),
            "sigma_s": _number(clock.sigma_s),
            "residual_s": _number(clock.residual_s),
            "shortest_round_trip_s": _number(clock.shortest_round_trip_s),
            "exchanges": clock.exchanges,
            "jumps": report.clock_jumps,
        },
        "losses": report.losses.as_dict(),
        "supply_v": None if status is None else _number(status.supply_v),
        "stack_free_bytes": None if status is None else status.stack_free_bytes,
        "logs": report.heard.logs,
    }


def _number(value: float | None) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return None if value is None or not math.isfinite(value) else value


def _lines(told: dict[str, Any], lang: Language) -> list[str]:
    if "error" in told:
        error = told["error"]
        return [f"{told['port']}: {error['what']}", *([f"  → {error['mend']}"] if error["mend"] else [])]
    no_rig = {"en": "in no rig", "zh": "不属于任何设备"}[lang]
    owner = no_rig if told["rig"] is None else f"{told['rig']} {told['device']}"
    firmware = {"en": "firmware", "zh": "固件"}[lang]
    lines = [f"{told['port']}: {told['board']} {told['uid']}, {firmware} {told['firmware']}, {owner}"]
    for sensor in told["sensors"]:
        state = sensor["state"].replace("_", " ") if lang == "en" else _STATES[sensor["state"]]
        measured, rate = sensor["measured_hz"], sensor["rate_hz"]
        hz = f", {measured:.1f} Hz" if measured else f", {rate:g} Hz" if rate else ""
        lines.append(f"  {sensor['kind']} {sensor['model']}".rstrip() + f": {state}{hz}")
    clock = told["clock"]
    if clock is not None:
        ppm, sigma_us, residual_us = clock["fast_ppm"], 1e6 * clock["sigma_s"], 1e6 * clock["residual_s"]
        lines.append(
            {
                "en": f"  clock {ppm:+.1f} ppm, known to {sigma_us:.0f} us, answers scatter by {residual_us:.0f} us",
                "zh": f"  时钟 {ppm:+.1f} ppm,精度 {sigma_us:.0f} 微秒,应答散布 {residual_us:.0f} 微秒",
            }[lang]
        )
    lost = ", ".join(f"{name} {count}" for name, count in told["losses"].items() if count)
    if lost:
        lines.append({"en": f"  lost: {lost}", "zh": f"  丢失:{lost}"}[lang])
    return lines


def _camera_lines(camera: FoundCamera, offered: Sequence[FoundFormat], lang: Language) -> list[str]:
    """What it is, what rig.json calls it by, and the largest pictures of each kind that it offers."""
    word, place = {"en": ("camera", "at USB place"), "zh": ("相机", "USB 位置")}[lang]
    rest = [text for text in (camera.usb_id, camera.usb_serial) if text]
    rest += [f"{place} {camera.usb_place}"] if camera.usb_place else []
    lines = [f"{camera.name}: {word} {camera.model}" + (f" ({', '.join(rest)})" if rest else "")]
    for name in sorted({each.name for each in offered}):
        best = max((each for each in offered if each.name == name), key=lambda each: each.size[0] * each.size[1])
        hz = "" if best.most_hz is None else f", {best.most_hz:g} Hz"
        lines.append(f"  {name}: {best.size[0]}×{best.size[1]}{hz}")
    return lines
