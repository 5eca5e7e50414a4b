"""`handcap calibrate STEP`: one file per step."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Measure a rig: cameras, inertial sensors, grippers; with intervals.")


@app.callback()
def _group() -> None:
    pass
