"""`handcap doctor`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handcap.cli.devices import Ports, Seconds, Store, as_dict, examined
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.errors import DeviceError, SessionError

if TYPE_CHECKING:
    from handcap.causes import Cause, Language
    from handcap.devices.examine import BoardReport, Failed
    from handcap.devices.readiness import ReadyParams


def doctor(
    port: Ports = None,
    seconds: Seconds = 5.0,
    folder: Annotated[Path, typer.Option(help="Where sessions are recorded: is there room?")] = Path(),
    minutes: Annotated[float, typer.Option(help="How long is to be recorded.", min=1, max=1440)] = 30.0,
    udev_rule: Annotated[
        bool, typer.Option("--udev-rule", help="Print the rule that lets you open boards, and do nothing else.")
    ] = False,
    store: Store = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Can a session be recorded here and now? What is wrong with rig, cables and computer, and how to mend it."""
    from handcap.causes import Cause
    from handcap.devices import findings
    from handcap.devices.discovery import udev_rule as rule
    from handcap.devices.readiness import ReadyParams, by_weight

    if udev_rule:
        finish(Outcome(lines=[rule()], details={"udev_rule": rule()}), as_json)
        return
    reports = examined(port, seconds, store)
    of_boards = findings.findings(reports) if reports else [Cause("no_device")]
    of_rest, facts = _readiness(reports, folder, store, ReadyParams(minutes=minutes))
    found, hints = by_weight([*of_boards, *of_rest])
    lines = [line for cause in (*found, *hints) for line in (cause.text(lang), f"  → {cause.mend(lang)}")]
    details = {
        "boards": [as_dict(report) for report in reports],
        "findings": [cause.as_dict(lang) for cause in found],
        "hints": [cause.as_dict(lang) for cause in hints],
        "facts": facts,
    }
    n = len(found)
    error = None
    if found:
        what = {"en": f"{n} thing{'s' if n > 1 else ''} to mend", "zh": f"发现 {n} 个问题"}[lang]
        mend = {
            "en": "do what the arrows say, then run `handcap doctor` again",
            "zh": "请按箭头提示处理,然后再次运行 `handcap doctor`",
        }
        error = DeviceError(what, mend=mend[lang])
    else:
        n = len(reports)
        well = {"en": f"{n} board{'s' if n > 1 else ''}, nothing wrong", "zh": f"{n} 块主板,一切正常"}[lang]
        lines = [well, *lines, *_told(facts, lang)]
    finish(Outcome(lines=lines, details=details, error=error), as_json)


def _readiness(
    reports: list[BoardReport | Failed], folder: Path, store: Path | None, params: ReadyParams
) -> tuple[list[Cause], dict[str, Any]]:
    """What stands in the way besides the boards themselves, and what was measured on the way."""
    from handcap.capture.awake import Awake
    from handcap.capture.voice import no_voice
    from handcap.causes import Cause
    from handcap.devices import cameras, readiness
    from handcap.devices.computer import read_computer
    from handcap.devices.examine import BoardReport
    from handcap.session import RigStore

    now = datetime.now(UTC)
    heard = [report for report in reports if isinstance(report, BoardReport)]
    records = RigStore(store).records()
    mine = {report.owner[0] for report in heard if report.owner is not None}
    plugged = [record for record in records if record.rig_id in mine and record.in_force is not None]
    rigs = [record.in_force.rig for record in plugged if record.in_force is not None]
    bytes_per_s = readiness.measured_bytes_per_s(reports, rigs[0] if rigs else None)
    computer, ours = read_computer(), readiness.firmware_here()
    told = readiness.of_rig(heard, records, now, params)
    told += readiness.of_firmware(heard, ours)
    told += readiness.of_cameras(heard, params)
    told += readiness.of_permissions([camera.name for camera in cameras()])
    disk = None
    try:
        disk = readiness.try_disk(folder)
        told += readiness.of_disk(disk, bytes_per_s, params)
    except SessionError as error:
        told.append(Cause("disk_unwritable", error.where))
    told += readiness.of_computer(computer, params)
    if no_voice() is not None:
        told.append(Cause("no_voice"))
    with Awake() as awake:
        if awake.warning is not None:
            told.append(Cause("may_sleep"))
    states = {record.rig_id: (record.state(now), record.age_days(now)) for record in plugged}
    return told, readiness.facts(disk, bytes_per_s, computer, states, ours)


def _told(facts: dict[str, Any], lang: Language) -> list[str]:
    """What a collector wants to know before leaving."""
    lines = [
        {
            "en": f"room for {facts['disk_minutes']:.0f} minutes at {facts['gb_per_hour']:.1f} GB an hour; "
            f"the disk writes {facts['write_mb_per_s'] or 0:.0f} MB/s",
            "zh": f"可录制 {facts['disk_minutes']:.0f} 分钟,每小时 {facts['gb_per_hour']:.1f} GB;"
            f"磁盘写入 {facts['write_mb_per_s'] or 0:.0f} MB/s",
        }[lang]
    ]
    if facts["battery_percent"] is not None:
        left = facts["battery_minutes"]
        more = "" if left is None else {"en": f", {left:.0f} minutes", "zh": f",{left:.0f} 分钟"}[lang]
        lines.append({"en": "battery", "zh": "电池"}[lang] + f" {facts['battery_percent']:.0f} %{more}")
    for rig, known in facts["calibrations"].items():
        age = known["age_days"]
        days = (
            {"en": "of unknown age", "zh": "日期未知"}[lang]
            if age is None
            else f"{age:.0f} "
            + {
                "en": "days old",
                "zh": "天",
            }[lang]
        )
        lines.append({"en": f"{rig}: calibration {days}", "zh": f"{rig}:标定 {days}"}[lang])
    return lines
