"""`handcap calibrate verify`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress
from handcap.errors import CalibrationError


def verify(
    session: Annotated[Path, typer.Argument(help="Session: lie still, look at the board, close the jaws.")],
    board: Annotated[str, typer.Option(help="The board: charuco:8x6:0.05:0.0375 or the like, or its file.")],
    gauge: Annotated[float, typer.Option(help="Width in mm of the block the jaws closed on; 0 for none.")] = 0.0,
    rig: Annotated[Path | None, typer.Option(help="Calibration in question, instead of the session's.")] = None,
    take: Annotated[str | None, typer.Option(help="Which take; default: the last.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the part; default: derived/TAKE/calibrate.")] = None,
    store: Annotated[Path | None, typer.Option(help="Rig store that keeps the answer; default: the user's.")] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Ten seconds a day: is this calibration in force, drifting (and which number), or to be made again?"""
    from handcap.calibrate.board_file import board_of
    from handcap.calibrate.verify import verify as stage
    from handcap.calibrate.verify.checks import body_of
    from handcap.calibrate.verify.page import KINDS, STATES, subject_name
    from handcap.session import RigStore
    from handcap.session.folder import RIG_JSON

    with progress(as_json) as on_progress:
        result = stage(
            session,
            board_of(board),
            gauge_m=gauge / 1000,
            rig_path=rig,
            take_id=take,
            out=out,
            lang=lang,
            on_progress=on_progress,
        )
    lines = [STATES[result.state][lang]]
    for check in result.checks:
        if check.state in ("drifting", "recalibrate"):
            what = f"{subject_name(body_of(check.kind, check.subject), lang)}, {KINDS[check.kind][0][lang]}"
            lines.append(f"  {STATES[check.state][lang]}: {what} ({check.sigmas:.1f} sigma)")
    for cause in result.part.causes:
        lines += [f"  {cause.text(lang)}", f"    → {cause.mend(lang)}"]
    lines.append(f"  {result.outputs[1]}")
    kept = None
    if result.state != "not checked":
        off = [line.strip() for line in lines[1:] if "sigma" in line]
        calibration = rig if rig is not None else session / RIG_JSON
        kept = RigStore(store).checked(calibration, result.state, "; ".join(off), datetime.now(UTC))
    if kept is not None:
        lines.append({"en": f"  kept for {kept.rig_id}", "zh": f"  已记入 {kept.rig_id}"}[lang])
    details = {
        "state": result.state,
        "kept_for": None if kept is None else kept.rig_id,
        "off": {f"{c.kind}-{c.subject}": c.sigmas for c in result.checks if c.state in ("drifting", "recalibrate")},
        "causes": [cause.as_dict(lang) for cause in result.part.causes],
    }
    error = None
    if result.part.verdict == "refused":
        cause = result.part.causes[0]
        error = CalibrationError(cause.text(lang), where=session, mend=cause.mend(lang))
    finish(Outcome(list(result.outputs), {}, lines, details, error), as_json)
