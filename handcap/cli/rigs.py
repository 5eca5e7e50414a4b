"""`handcap rigs`: which rigs there are, whose they are, and whether their calibration holds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handcap.causes import Language
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.errors import UsageError

if TYPE_CHECKING:
    from handcap.session import RigRecord

app = typer.Typer(
    no_args_is_help=True, help="Calibrations in use, by rig: in force, whose, how old.", rich_markup_mode=None
)
Store = Annotated[Path | None, typer.Option("--store", help="Folder of the store; default: the user's own.")]

_STATES: dict[str, dict[Language, str]] = {
    "in force": {"en": "in force", "zh": "有效"},
    "drifting": {"en": "drifting", "zh": "正在漂移"},
    "expired": {"en": "expired", "zh": "已过期"},
    "none": {"en": "none", "zh": "无"},
}


@app.callback()
def _group() -> None:
    pass


@app.command("list")
def list_(
    store: Store = None,
    uid: Annotated[
        list[str] | None, typer.Option(help="Only the rig with these devices: head=UID; may be given again.")
    ] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Every rig: state, age, drift against its calibration before, who has it."""
    from handcap.session import RigStore

    rigs, now = RigStore(store), datetime.now(UTC)
    records = [rigs.find(dict(_uid(text) for text in uid))] if uid else rigs.records()
    told = [_told(record, now) for record in records]
    lines = [_line(entry, lang) for entry in told]
    nothing = {
        "en": f"no rig in {rigs.path}; `handcap rigs add rig.json` adds one",
        "zh": f"{rigs.path} 中没有设备;请用 `handcap rigs add rig.json` 添加",
    }[lang]
    finish(Outcome(lines=lines or [nothing], details={"rigs": told}), as_json)


@app.command("add")
def add(
    rig: Annotated[Path, typer.Argument(help="rig.json written by `handcap calibrate rig`.")],
    older: Annotated[
        bool, typer.Option("--older", help="Go back to a calibration older than the one in force.")
    ] = False,
    store: Store = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Put a calibration in force; earlier ones are kept."""
    from handcap.session import RigStore

    now = datetime.now(UTC)
    _finish(RigStore(store).add(rig, now, older), now, as_json, lang)


@app.command("assign")
def assign(
    rig_id: Annotated[str, typer.Argument(help="Name of the rig.")],
    to: Annotated[str | None, typer.Argument(help="Alias of whoever has it now.")] = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="It came back.")] = False,
    store: Store = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Say who has a rig."""
    from handcap.session import RigStore

    if (to is None) != nobody:
        raise UsageError("say to whom", mend="give an alias, or --nobody")
    now = datetime.now(UTC)
    _finish(RigStore(store).assign(rig_id, to, now), now, as_json, lang)


@app.command("export")
def export(
    rig_id: Annotated[str, typer.Argument(help="Name of the rig.")],
    out: Annotated[Path, typer.Argument(help="One file, for `handcap rigs import` on another laptop.")],
    store: Store = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Pack all that is known of a rig into one file."""
    from handcap.session import RigStore, export_rig

    written = export_rig(RigStore(store), rig_id, out)
    next_step = {"en": f"{out}: handcap rigs import {out}", "zh": f"{out}:在另一台电脑上运行 handcap rigs import {out}"}
    finish(Outcome([written], lines=[next_step[lang]]), as_json)


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="File written by `handcap rigs export`.")],
    store: Store = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Take a rig over from another laptop; what both know of it is joined."""
    from handcap.session import RigStore, import_rig

    _finish(import_rig(RigStore(store), source), datetime.now(UTC), as_json, lang)


def _finish(record: RigRecord, now: datetime, as_json: bool, lang: Language) -> None:
    told = _told(record, now)
    outputs = [] if record.in_force is None else [record.in_force.path]
    finish(Outcome(outputs, lines=[_line(told, lang)], details={"rigs": [told]}), as_json)


def _told(record: RigRecord, now: datetime) -> dict[str, Any]:
    from handcap.calibrate.history import changes, worst

    in_force = record.in_force
    age_days = record.age_days(now)
    drift = None
    if len(record.calibrations) > 1:
        most = worst(changes(record.calibrations[-1].rig, record.calibrations[-2].rig))
        if most is not None:
            drift = {"part": most.stem, "what": most.name, "off": most.off, "unit": most.unit, "sigmas": most.sigmas}
    return {
        "rig_id": record.rig_id,
        "state": record.state(now),
        "age_days": None if age_days is None else round(age_days, 2),
        "valid_until": None if in_force is None else in_force.rig.valid_until,
        "calibrations": len(record.calibrations),
        "drift": drift,
        "assigned_to": record.assigned_to,
        "uids": {} if in_force is None else in_force.rig.uids,
        "rig": None if in_force is None else str(in_force.path),
        "check": record.check_text or None,
    }


def _line(told: dict[str, Any], lang: Language) -> str:
    parts = [_STATES[told["state"]][lang]]
    if told["age_days"] is not None:
        parts.append({"en": f"{told['age_days']:.0f} days old", "zh": f"已用 {told['age_days']:.0f} 天"}[lang])
    if told["valid_until"] is not None:
        until = str(told["valid_until"])[:10]
        parts.append({"en": f"until {until}", "zh": f"有效至 {until}"}[lang])
    drift = told["drift"]
    if drift is not None:
        moved = f"{drift['part']} {drift['what']} {drift['off']:+.3g} {drift['unit']}"
        sigmas = f"{drift['sigmas']:.1f}"
        parts.append({"en": f"moved {sigmas} sigmas ({moved})", "zh": f"变化 {sigmas} 倍标准差({moved})"}[lang])
    parts += [str(told["check"])] if told["check"] else []
    who = told["assigned_to"]
    parts.append({"en": f"with {who}" if who else "with nobody", "zh": f"使用人:{who}" if who else "无人使用"}[lang])
    uids = ", ".join(f"{name} {uid}" for name, uid in told["uids"].items())
    return f"{told['rig_id']}: {'; '.join(parts)}" + (f" [{uids}]" if uids else "")


def _uid(text: str) -> tuple[str, str]:
    device, equals, uid = text.partition("=")
    if not equals or not device or not uid:
        raise UsageError(f"--uid {text!r} is no DEVICE=UID", mend="write it as head=UID")
    return device, uid
