"""`handcap robots`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handcap.causes import Language
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish

app = typer.Typer(help="Robots that recordings can be retargeted to.", no_args_is_help=True)

_KINDS: dict[str, dict[Language, str]] = {
    "arm": {"en": "arm", "zh": "机械臂"},
    "dual": {"en": "two arms", "zh": "双臂"},
    "humanoid": {"en": "humanoid", "zh": "人形机器人"},
    "hand": {"en": "hand", "zh": "灵巧手"},
    "gripper": {"en": "gripper", "zh": "夹爪"},
}


@app.command("list")
def list_robots(as_json: AsJson = False, lang: Lang = "en") -> None:
    """Name the robots that handcap knows."""
    from handcap.retarget.robot import read_robot, robot_names

    robots = [read_robot(name) for name in robot_names()]
    lines = [f"{robot.name:<18} {_KINDS[robot.kind][lang]:<12} {robot.title}" for robot in robots]
    told = [{"name": r.name, "title": r.title, "kind": r.kind, "license": r.license} for r in robots]
    finish(Outcome(lines=lines, details={"robots": told}), as_json)


@app.command("describe")
def describe(
    description: Annotated[Path, typer.Argument(help="URDF of a robot.")],
    out: Annotated[Path | None, typer.Option(help="TOML file to write. Default: beside the URDF.")] = None,
    package: Annotated[Path | None, typer.Option(help="Folder it may read from. Default: its own.")] = None,
    tool: Annotated[str | None, typer.Option(help="Frame of the tool. Default: the end of the longest arm.")] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Write a first TOML file for a robot that handcap does not know, and a picture of it."""
    from handcap.retarget.describe import describe as stage

    written = stage(description, out, package, tool)
    word = {
        "en": "check its tool frame, home and limits, then: handcap retarget SESSION --robot",
        "zh": "请检查工具坐标系、初始姿态和限位,然后运行:handcap retarget SESSION --robot",
    }[lang]
    lines = [*map(str, written.outputs), *written.notes[lang], f"{word} {written.outputs[0]}"]
    finish(Outcome(written.outputs, lines=lines, details={"joints": list(written.joints)}), as_json)
