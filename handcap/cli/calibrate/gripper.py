"""`handcap calibrate gripper`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from handcap.causes import GRIPPERS
from handcap.cli.calibrate.told import VERDICTS
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress
from handcap.errors import CalibrationError, UsageError


def gripper(
    session: Annotated[Path, typer.Argument(help="Session in which the jaws close on gauge blocks.")],
    gauges: Annotated[
        str, typer.Option(help="Widths of the blocks in mm, in the order taken; then back: 10,20,30,40,50,60,70.")
    ],
    side: Annotated[Literal["left", "right"] | None, typer.Option(help="One gripper instead of all.")] = None,
    by: Annotated[
        Literal["both", "tags", "encoder"],
        typer.Option(help="Calibrate finger tags, the encoder, or whichever there are."),
    ] = "both",
    rig: Annotated[
        Path | None, typer.Option(help="Drawing of the gripper and calibrated lens, instead of the session's rig.json.")
    ] = None,
    take: Annotated[str | None, typer.Option(help="Which take; default: the last.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for parts; default: derived/TAKE/calibrate.")] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Measure jaw opening and tool frame against gauge blocks."""
    from handcap.calibrate.gripper import calibrate_gripper

    with progress(as_json) as on_progress:
        results = calibrate_gripper(
            session,
            _metres(gauges),
            side=side,
            rig_path=rig,
            take_id=take,
            by=by,
            out=out,
            lang=lang,
            on_progress=on_progress,
        )
    lines: list[str] = []
    for result in results:
        part = result.part
        whose = GRIPPERS[f"{part.subject}_tcp"][lang]
        lines.append(f"{whose}{VERDICTS[part.verdict][lang]}")
        for name, each in part.details.get("by", {}).items():
            what = {"tags": {"en": "tags", "zh": "标签"}, "encoder": {"en": "encoder", "zh": "编码器"}}[name][lang]
            worst_mm = 1e3 * max(each["sigma_m"]) * 1.96
            lines.append(
                {"en": f"  {what}: ± {worst_mm:.3f} mm (95 %)", "zh": f"  {what}:± {worst_mm:.3f} 毫米(95%)"}[lang]
            )
        for cause in part.causes:
            lines += [f"  {cause.text(lang)}", f"    → {cause.mend(lang)}"]
        lines.append(f"  {result.outputs[1]}")
    details = {
        "parts": {r.part.subject: str(r.part.verdict) for r in results},
        "causes": {r.part.subject: [cause.as_dict(lang) for cause in r.part.causes] for r in results},
    }
    error = None
    refused = [result.part for result in results if result.part.verdict == "refused"]
    if refused:
        cause = refused[0].causes[0]
        error = CalibrationError(cause.text(lang), where=session, mend=cause.mend(lang))
    finish(Outcome([path for r in results for path in r.outputs], {}, lines, details, error), as_json)


def _metres(text: str) -> list[float]:
    try:
        return [float(word) / 1000 for word in text.split(",")]
    except ValueError as error:
        raise UsageError(f"no list of widths: {text!r}", mend="give millimetres with commas: 10,20,30") from error
