"""`handcap calibrate imu`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.errors import CalibrationError, UsageError

_VERDICTS = {
    "ok": {"en": "good", "zh": "合格"},
    "partial": {"en": "usable, with reservations", "zh": "可用,但有保留"},
    "refused": {"en": "refused", "zh": "不合格"},
}


def imu(
    source: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Logs of one sensor: lying still, laid down in many attitudes, or one of each; which is which shows. "
            "Sessions, CSV as EuRoC writes it, MATLAB files, or a folder with one of these."
        ),
    ] = None,
    still: Annotated[Path | None, typer.Option(help="A log that is meant to lie still.")] = None,
    poses: Annotated[Path | None, typer.Option(help="A log that is meant to show many attitudes.")] = None,
    device: Annotated[str | None, typer.Option(help="Whose sensor: head, left or right.")] = None,
    take: Annotated[str | None, typer.Option(help="One take of a session instead of all.")] = None,
    rate: Annotated[float | None, typer.Option(help="Sample rate, Hz; needed where a log holds no time.")] = None,
    gyro_unit: Annotated[Literal["rad/s", "deg/s", "count"] | None, typer.Option(help="Of a foreign log.")] = None,
    accel_unit: Annotated[Literal["m/s2", "g", "count"] | None, typer.Option(help="Of a foreign log.")] = None,
    gravity: Annotated[float | None, typer.Option(help="Where it was recorded, m/s²; else 9.80665.")] = None,
    span: Annotated[str | None, typer.Option(help="Seconds of the log to use, as 10-13800.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the part and its page.")] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Measure a motion sensor: noise, random walk, scale, misalignment, bias; with intervals."""
    from handcap.calibrate import write_part
    from handcap.calibrate.imu import ImuStepParams, calibrate_imu, part_of
    from handcap.calibrate.imu.report import page_of
    from handcap.calibrate.imu.step import with_gravity
    from handcap.formats.imu_log import LogOptions, open_logs

    if gravity is not None and not 9.7 < gravity < 9.9:
        raise UsageError(f"no gravity of {gravity:g} m/s² on Earth", mend="give a number between 9.76 and 9.84")
    options = LogOptions.parsed(rate, gyro_unit, accel_unit, span, device, take)
    logs = [log for path in source or [] for log in open_logs(path, options)]
    declared = {}
    for kind, path in (("still", still), ("poses", poses)):
        found = [] if path is None else open_logs(path, options)
        if len(found) > 1:
            raise CalibrationError(f"{len(found)} takes in it", where=path, mend="name one with --take")
        declared[kind] = found[0] if found else None
    params = ImuStepParams() if gravity is None else with_gravity(ImuStepParams(), gravity)
    result = calibrate_imu(logs, still=declared["still"], poses=declared["poses"], params=params)
    subject = device or next((log.device for log in result.logs if log.device is not None), "head")
    folder = out or next((log.home for log in result.logs if log.home is not None), Path("calibration"))
    part, page = part_of(result, subject), page_of(result, subject, lang)
    outputs = write_part(folder, part, page)
    lines = [f"{subject}: {_VERDICTS[part.verdict][lang]}", *(f"  {line}" for line in page.lines)]
    for cause in part.causes:
        lines += [f"  {cause.text(lang)}", f"    → {cause.mend(lang)}"]
    lines.append(f"  {outputs[-1]}")
    error = None
    if part.verdict == "refused":
        error = CalibrationError(part.causes[0].text(lang), where=subject, mend=part.causes[0].mend(lang))
    details = {"verdict": part.verdict, "causes": [cause.as_dict(lang) for cause in part.causes]}
    finish(Outcome(outputs, {}, lines, details, error), as_json)
