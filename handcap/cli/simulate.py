"""`handcap simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress


def simulate(
    out: Annotated[Path, typer.Argument(help="Session folder to be written.")],
    scene: Annotated[
        str, typer.Option(help="Which virtual room: kitchen, nursery, shop_shelf, corridor, or the calibration bench.")
    ] = "kitchen",
    seconds: Annotated[float, typer.Option(help="Length of the recording.", min=0.1, max=3600)] = 20.0,
    rig: Annotated[
        str,
        typer.Option(
            help="What is worn: head, gripper, full, hands; or parts joined with +: head, head-stereo, head-wide, "
            "head-fisheye200, left, right, bare."
        ),
    ] = "head",
    task: Annotated[
        str | None,
        typer.Option(
            help="What the person does: look, tidy, walk, shake, pause; on the bench still, poses, jaws, charuco, "
            "aprilgrid, lens, lens-aprilgrid, check. Default: look with a head alone, else tidy."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another motion and room.", min=0)] = 0,
    dt_imu_cam_ms: Annotated[float, typer.Option(help="Clock offset to simulate: t_imu = t_cam + this.")] = 0.0,
    line_delay_us: Annotated[
        float, typer.Option(help="Rolling shutter: time from one row to the next; 0 is a global shutter.", min=0)
    ] = 0.0,
    blur: Annotated[bool, typer.Option("--blur", help="Motion during the exposure shows.")] = False,
    codec: Annotated[Literal["jpeg", "h264"], typer.Option(help="How the pictures are stored.")] = "jpeg",
    raw_imu: Annotated[
        bool, typer.Option("--raw-imu", help="Uncalibrated inertial sensors: scale, misalignment, saturation.")
    ] = False,
    drawing: Annotated[
        bool, typer.Option("--drawing", help="rig.json holds the drawing's values, not this specimen's.")
    ] = False,
    serial: Annotated[
        int | None, typer.Option(help="Which specimen of the rig; default: another one for every seed.", min=0)
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="What goes wrong, as lost_frames@5-8:left; may be given again.")
    ] = None,
    depth: Annotated[bool, typer.Option("--depth", help="Depth pictures in truth/depth.")] = False,
    takes: Annotated[int, typer.Option(help="Takes in the same room, each with another motion.", min=1, max=99)] = 1,
    path: Annotated[
        Path | None, typer.Option(help="TUM trajectory for the head to follow: t x y z qx qy qz qw, z up.")
    ] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Record a virtual person in a virtual room, with the exact truth beside it."""
    from handcap import sim
    from handcap.formats.tum import read_tum
    from handcap.sim.faults import parse_fault
    from handcap.sim.imu import RAW_PART, ImuErrors
    from handcap.sim.person import HeadParams
    from handcap.sim.rigs import CALIBRATED, PRINTED

    params = sim.SimulationParams(
        task=task,
        line_delay_s=line_delay_us / 1e6,
        blur=blur,
        codec=codec,
        imu=RAW_PART if raw_imu else ImuErrors(),
        faults=tuple(parse_fault(text) for text in fault or ()),
        depth=depth,
        serial=serial,
        scatter=PRINTED if drawing else CALIBRATED,
        later=(HeadParams(),) * (takes - 1),
    )
    with progress(as_json) as on_progress:
        sim.simulate(
            out,
            scene=scene,
            seconds=seconds,
            rig=rig,
            seed=seed,
            dt_imu_cam_s=dt_imu_cam_ms / 1000,
            params=params,
            head_path=None if path is None else read_tum(path),
            on_progress=lambda done, total: on_progress("Simulating", done / total),
        )
    written = {
        "en": f"{out}: {seconds:g} s simulated, truth in {out / 'truth'}",
        "zh": f"{out}:已模拟 {seconds:g} 秒,真值在 {out / 'truth'}",
    }
    next_step = {"en": f"next: handcap reconstruct {out}", "zh": f"下一步:handcap reconstruct {out}"}
    finish(Outcome([out], {f"{k + 1:04d}": "ok" for k in range(takes)}, [written[lang], next_step[lang]]), as_json)
