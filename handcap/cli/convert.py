"""`handcap convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.errors import UsageError


def convert(
    source: Annotated[
        Path, typer.Argument(help="rig.json, Kalibr's camchain or imu yaml, OpenCV's yaml or xml, UMI's GoPro json.")
    ],
    target: Annotated[Path, typer.Argument(help="rig.json, camchain.yaml, imu.yaml, lens.yml, lens.xml, lens.json.")],
    to: Annotated[
        str | None, typer.Option(help="rig, kalibr, kalibr-imu, opencv or gopro; default: by the target's name.")
    ] = None,
    base: Annotated[Path | None, typer.Option(help="rig.json to put what the source knows into.")] = None,
    imu: Annotated[Path | None, typer.Option(help="Kalibr's imu.yaml that goes with the chain.")] = None,
    device: Annotated[str | None, typer.Option(help="Which of the rig's devices.")] = None,
    camera: Annotated[str | None, typer.Option(help="Which camera, or what to call the only one.")] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="What to call a camera: cam1=head_right; may be given again.")
    ] = None,
    rig_id: Annotated[str | None, typer.Option(help="Name of a rig without a base.")] = None,
    size: Annotated[str | None, typer.Option(help="Size of the pictures where the file does not say: 640x480.")] = None,
    lose_px: Annotated[
        float, typer.Option(help="A lens without its k3, which rig.json lacks, may be so far off.")
    ] = 0.3,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Turn a calibration of another tool into rig.json, or the other way; what it is shows in it."""
    from handcap.formats import convert as stage

    if to is not None and to not in stage.KINDS:
        raise UsageError(f"no kind {to!r}", mend=f"one of {', '.join(stage.KINDS)}")
    params = stage.ConvertParams(
        to=cast("Any", to),
        base=base,
        imu=imu,
        device=device,
        camera=camera,
        names=dict(_pair(text) for text in name or ()),
        rig_id=rig_id,
        size=None if size is None else _size(size),
        lose_px=lose_px,
    )
    was, became, notes = stage.convert(source, target, params)
    line = {"en": f"{target}: {became}, from {was}", "zh": f"{target}:已由 {was} 转换为 {became}"}[lang]
    finish(Outcome([target], lines=[line, *(f"  {note}" for note in notes)], details={"notes": [*notes]}), as_json)


def _pair(text: str) -> tuple[str, str]:
    theirs, equals, ours = text.partition("=")
    if not equals or not theirs or not ours:
        raise UsageError(f"--name {text!r} is no THEIRS=OURS", mend="write it as cam1=head_right")
    return theirs, ours


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(word) for word in text.lower().split("x"))
    except ValueError as error:
        raise UsageError(f"--size {text!r} is no WIDTHxHEIGHT", mend="write it as 640x480") from error
    return width, height
