"""`handcap simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress


def simulate(
    out: Annotated[Path, typer.Argument(help="Session folder to be written.")],
    scene: Annotated[str, typer.Option(help="Which virtual room.")] = "kitchen",
    seconds: Annotated[float, typer.Option(help="Length of the recording.", min=0.1, max=3600)] = 20.0,
    rig: Annotated[str, typer.Option(help="What is worn: head.")] = "head",
    seed: Annotated[int, typer.Option(help="Another seed, another motion and room.", min=0)] = 0,
    dt_imu_cam_ms: Annotated[float, typer.Option(help="Clock offset to simulate: t_imu = t_cam + this.")] = 0.0,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Record a virtual person in a virtual room, with the exact truth beside it."""
    from handcap import sim

    with progress(as_json) as on_progress:
        sim.simulate(
            out,
            scene=scene,
            seconds=seconds,
            rig=rig,
            seed=seed,
            dt_imu_cam_s=dt_imu_cam_ms / 1000,
            on_progress=lambda done, total: on_progress("Simulating", done / total),
        )
    written = {
        "en": f"{out}: {seconds:g} s simulated, truth in {out / 'truth'}",
        "zh": f"{out}:已模拟 {seconds:g} 秒,真值在 {out / 'truth'}",
    }
    next_step = {"en": f"next: handcap reconstruct {out}", "zh": f"下一步:handcap reconstruct {out}"}
    finish(Outcome([out], {"0001": "ok"}, [written[lang], next_step[lang]]), as_json)
