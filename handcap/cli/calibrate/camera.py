"""`handcap calibrate camera`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from handcap.causes import Language
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress
from handcap.errors import CalibrationError

if TYPE_CHECKING:
    from handcap.calibrate import Part

_VERDICTS: dict[str, dict[Language, str]] = {
    "ok": {"en": "ok", "zh": "合格"},
    "partial": {"en": "usable, with reservations", "zh": "可用,但有保留"},
    "refused": {"en": "refused", "zh": "不合格"},
}


def camera(
    source: Annotated[
        list[str], typer.Argument(help="A session, a folder of pictures, a pattern such as 'left*.png', or files.")
    ],
    board: Annotated[
        str,
        typer.Option(
            help="charuco:8x6:0.05:0.0375, aprilgrid:6x6:0.055:0.3, chessboard:10x7:0.025 (squares, metres), a file "
            "written by `handcap calibrate target`, or Kalibr's target yaml."
        ),
    ],
    second: Annotated[
        str | None,
        typer.Option(help="Second camera of a stereo pair: its folder or pattern, or its name in the session."),
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Camera of the session; for pictures, what to call it.")] = None,
    second_camera: Annotated[str | None, typer.Option(help="What to call the second camera of pictures.")] = None,
    take: Annotated[str | None, typer.Option(help="Take of the session.")] = None,
    model: Annotated[
        Literal["pinhole-radtan", "pinhole-radtan5", "kannala-brandt4"] | None,
        typer.Option(help="Lens model; by default the pictures decide. pinhole-radtan5 is OpenCV's with k3."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(min=2, max=30, help="Half window, px, of chess board corners; by default fitted to the squares."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Plain least squares and a flat board, as older tools do.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder; default: the take's calibrate folder, or ./calibration.")
    ] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Measure a camera's lens, or two and where they sit, from pictures of a board; with intervals and a verdict."""
    import json
    from dataclasses import replace

    from handcap.calibrate import camera as step
    from handcap.calibrate.board_file import board_of
    from handcap.session.stage_output import as_json as stored

    params = step.CameraParams()
    params = replace(
        params,
        corners=replace(params.corners, window_px=window),
        estimate=replace(
            params.estimate,
            model=model,
            bundle=replace(params.estimate.bundle, freedom=None, free_bend=False) if plain else params.estimate.bundle,
        ),
    )
    stated = board_of(board)
    with progress(as_json) as on_progress:
        if second is None:
            opened = step.open_source(source, camera, take)
            results = [step.calibrate_camera(opened, stated, params, on_progress)]
            outputs = [path for result in results for path in step.write_camera(out or opened.folder, result, lang)]
            parts = [result.part for result in results]
        else:
            pair = step.open_pair(source, second, camera, second_camera, take)
            stereo = step.calibrate_stereo(*pair, stated, params, on_progress)
            outputs = step.write_stereo(out or pair[0].folder, stereo, lang)
            parts = stereo.parts
    lines = [line for part in parts for line in _said(part, lang)]
    details = {
        "parts": {part.stem: json.loads(stored({"verdict": part.verdict, "values": part.values})) for part in parts},
        "causes": {part.stem: [cause.as_dict(lang) for cause in part.causes] for part in parts},
    }
    error = None
    refused = [part for part in parts if part.verdict == "refused"]
    if refused:
        cause = refused[0].causes[0]
        error = CalibrationError(f"refused: {cause.text(lang)}", where=source[0], mend=cause.mend(lang))
    finish(Outcome(outputs, {part.stem: part.verdict for part in parts}, lines, details, error), as_json)


def _said(part: Part, lang: Language) -> list[str]:
    head = f"{part.stem}: {_VERDICTS[part.verdict][lang]}"
    values = part.values
    if "params" in values:
        fx, fy, cx, cy = values["params"][:4]
        head += f"; {values['model']}, fx {fx:.2f} fy {fy:.2f} cx {cx:.2f} cy {cy:.2f}"
        head += f", rms {part.details['residuals']['rms_px']:.3f} px"
    lines = [head]
    for cause in part.causes:
        lines += [f"  {cause.text(lang)}", f"    → {cause.mend(lang)}"]
    return lines
