"""`handcap export FORMAT`: one command per foreign format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from handcap.causes import Language
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress

app = typer.Typer(no_args_is_help=True, help="Turn a reconstructed session into a foreign format.")

_SessionArgument = Annotated[Path, typer.Argument(help="Session folder, reconstructed.")]
_OutArgument = Annotated[Path, typer.Argument(help="Folder to be written; must not exist, or be empty.")]
_AcceptOption = Annotated[
    Literal["auto", "reviewed", "all"],
    typer.Option(
        help="Which takes: auto (proposed good, not rejected by a person), reviewed (accepted by a person), "
        "all (whatever has a trajectory; for debugging)."
    ),
]


@app.callback()
def _group() -> None:
    pass


@app.command("tum")
def tum(
    session: _SessionArgument,
    out: _OutArgument,
    accept: _AcceptOption = "auto",
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Trajectories as text, one file per take and body: t x y z qx qy qz qw."""
    from handcap import session as session_store
    from handcap.formats.tum import export_tum

    with progress(as_json) as on_progress:
        done = export_tum(session_store.read(session), out, accept, on_progress)
    names = [path.name for path in done.files]
    head = {"en": f"{out}: {', '.join(names)}", "zh": f"{out}:{'、'.join(names)}"}[lang]
    finish(_outcome(list(done.files), done.takes, done.left_out, head, lang), as_json)


@app.command("lerobot")
def lerobot(
    session: _SessionArgument,
    out: _OutArgument,
    accept: _AcceptOption = "auto",
    action: Annotated[
        Literal["relative", "absolute"],
        typer.Option(help="The next pose, in axes of the current one (relative) or in the world (absolute)."),
    ] = "relative",
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """LeRobotDataset v3.0: H.264 video, poses, actions, statistics."""
    from handcap import session as session_store
    from handcap.formats.lerobot import LeRobotParams, export_lerobot

    with progress(as_json) as on_progress:
        opened = session_store.read(session)
        done = export_lerobot(opened, out, accept, LeRobotParams(action=action), on_progress)
    head = {
        "en": f"{out}: {done.episodes} episodes, {done.frames} frames at {done.fps} a second",
        "zh": f"{out}:{done.episodes} 个片段,{done.frames} 帧,每秒 {done.fps} 帧",
    }[lang]
    finish(_outcome([out], done.takes, done.left_out, head, lang), as_json)


@app.command("rrd")
def rrd(
    session: _SessionArgument,
    out: _OutArgument,
    accept: _AcceptOption = "auto",
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Replays for the Rerun viewer, one file per take."""
    from handcap import session as session_store
    from handcap.formats.rrd import export_rrd

    with progress(as_json) as on_progress:
        done = export_rrd(session_store.read(session), out, accept, on_progress)
    names = [path.name for path in done.files]
    head = {"en": f"{out}: {', '.join(names)}", "zh": f"{out}:{'、'.join(names)}"}[lang]
    finish(_outcome(list(done.files), done.takes, done.left_out, head, lang), as_json)


def _outcome(
    outputs: list[Path], takes: Mapping[str, str], left_out: Mapping[str, str], head: str, lang: Language
) -> Outcome:
    word = {"en": "left out", "zh": "未导出"}[lang]
    lines = [head, *(f"  {take}: {word}: {why}" for take, why in left_out.items())]
    return Outcome(outputs, dict(takes), lines, {"left_out": dict(left_out)})
