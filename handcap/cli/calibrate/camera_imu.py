"""`handcap calibrate camera-imu`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from handcap.causes import Language
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress
from handcap.errors import CalibrationError

_VERDICTS: dict[str, dict[Language, str]] = {
    "ok": {"en": "good", "zh": "合格"},
    "partial": {"en": "usable, with reservations", "zh": "可用,但有保留"},
    "refused": {"en": "refused", "zh": "不合格"},
}


def camera_imu(
    session: Annotated[Path, typer.Argument(help="Session in which the rig was moved before a board at rest.")],
    board: Annotated[str, typer.Option(help="The board: charuco:8x6:0.05:0.0375 or the like, or its file.")],
    camera: Annotated[list[str] | None, typer.Option(help="A camera; may be given again. Default: all.")] = None,
    rig: Annotated[
        Path | None, typer.Option(help="Lenses and drawing to use instead of the session's rig.json.")
    ] = None,
    lens: Annotated[
        list[Path] | None, typer.Option(help="Part of `calibrate camera` with a camera's lens; may be given again.")
    ] = None,
    imu: Annotated[Path | None, typer.Option(help="Part of `calibrate imu` that corrects the samples.")] = None,
    take: Annotated[str | None, typer.Option(help="Which take; needed where there are several.")] = None,
    mount_unknown: Annotated[
        bool, typer.Option("--mount-unknown", help="Nobody drew the mount: do not compare it with rig.json.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for parts and pages.")] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Where cameras sit on their device, clock offset and line delay, from a take before a board."""
    from dataclasses import replace

    from handcap.calibrate import camera_imu as step
    from handcap.calibrate.board_file import board_of

    params = step.StepParams()
    if mount_unknown:
        params = replace(params, estimate=replace(params.estimate, mount_drawn=False))
    with progress(as_json) as on_progress:
        results = step.run(
            session,
            board_of(board),
            cameras=camera or (),
            take_id=take,
            rig_path=rig,
            lens_paths=lens or (),
            imu_path=imu,
            out=out,
            params=params,
            lang=lang,
            on_progress=on_progress,
        )
    lines: list[str] = []
    for result in results:
        part = result.part
        lines.append(f"{part.subject}: {_VERDICTS[part.verdict][lang]}{_numbers(result.part.values, part.sigma)}")
        for cause in part.causes:
            lines += [f"  {cause.text(lang)}", f"    → {cause.mend(lang)}"]
        lines.append(f"  {result.outputs[1]}")
    refused = [result.part for result in results if result.part.verdict == "refused"]
    error = None
    if refused:
        cause = refused[0].causes[0]
        what = {"en": "the calibration was refused", "zh": "标定不合格"}[lang]
        error = CalibrationError(f"{what}: {cause.text(lang)}", where=session, mend=cause.mend(lang))
    details = {
        "parts": {r.part.subject: r.part.verdict for r in results},
        "causes": {r.part.subject: [cause.as_dict(lang) for cause in r.part.causes] for r in results},
    }
    finish(Outcome([path for r in results for path in r.outputs], {}, lines, details, error), as_json)


def _numbers(values: Mapping[str, Any], sigma: Mapping[str, Any]) -> str:
    if values["dt_imu_cam_s"] is None:
        return ""
    shown = [f"offset {1e3 * values['dt_imu_cam_s']:.3f} ± {1.96e3 * sigma['dt_imu_cam_s']:.3f} ms"]
    shown.append(f"rotation ± {57.296 * 1.96 * max(sigma['rotation_rad']):.4f}°")
    shown.append(f"position ± {1.96e3 * max(sigma['position_m']):.2f} mm")
    if values["line_delay_s"]:
        shown.append(f"line delay {1e6 * values['line_delay_s']:.2f} ± {1.96e6 * sigma['line_delay_s']:.2f} µs")
    return f" ({'; '.join(shown)})"
