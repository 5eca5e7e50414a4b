"""`handcap import FORMAT`: one command per foreign format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress

app = typer.Typer(no_args_is_help=True, help="Turn a foreign recording into a session.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command("euroc")
def euroc(
    source: Annotated[Path, typer.Argument(help="Folder that holds mav0, or mav0 itself.")],
    out: Annotated[Path, typer.Argument(help="Session folder to be written.")],
    cam: Annotated[str, typer.Option(help="Which camera folder.")] = "cam0",
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Import one camera and the IMU of an ASL folder (the layout of EuRoC); what is dirty is named by row."""
    from handcap.formats.euroc import import_euroc

    with progress(as_json) as on_progress:
        report = import_euroc(source, out, camera=cam, on_progress=on_progress)
    rates = f"{report.frame_rate_hz:.4g} Hz, IMU {report.imu_samples} @ {report.imu_rate_hz:.4g} Hz"
    head = {
        "en": f"{out}: {report.frames} pictures over {report.duration_s:.2f} s @ {rates}",
        "zh": f"{out}:{report.frames} 张图片,{report.duration_s:.2f} 秒 @ {rates}",
    }
    next_step = {"en": f"next: handcap reconstruct {out}", "zh": f"下一步:handcap reconstruct {out}"}
    lines = [head[lang], *(f"  {finding.text(lang)}" for finding in report.findings), next_step[lang]]
    finish(Outcome([out], {report.take: "ok"}, lines, {"import": report.as_dict()}), as_json)
