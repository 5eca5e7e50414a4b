"""`handcap calibrate STEP`: one file per step."""

from __future__ import annotations

import typer

from handcap.cli.calibrate import camera, camera_imu, gripper, imu, rig, run, target, verify

app = typer.Typer(
    no_args_is_help=True,
    help="Measure a rig: cameras, inertial sensors, grippers; with intervals.",
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:
    pass


app.command("run")(run.run)
app.command("target")(target.target)
app.command("camera")(camera.camera)
app.command("imu")(imu.imu)
app.command("camera-imu")(camera_imu.camera_imu)
app.command("gripper")(gripper.gripper)
app.command("rig")(rig.rig)
app.command("verify")(verify.verify)
