"""`handcap retarget`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handcap.causes import GRIPPERS, HANDS, ROBOT_VERDICTS, Language
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress
from handcap.errors import RetargetError, UsageError

if TYPE_CHECKING:
    from handcap.retarget import TakeOnRobot

_BECAUSE: dict[Language, str] = {"en": "cannot: because ", "zh": "不可行,原因:"}
_TURNED: dict[Language, str] = {
    "en": "turned half round for the whole take; it grips the same",
    "zh": "整段动作中旋转半圈;夹持效果相同",
}
_HEAD: dict[Language, tuple[str, ...]] = {
    "en": ("robot", "verdict", "reached", "off mm", "off °", "clear mm", "time ×", "why not more"),
    "zh": ("机器人", "结论", "可达", "误差 mm", "误差 °", "间隙 mm", "时间 ×", "原因"),
}


def retarget(
    session: Annotated[Path, typer.Argument(help="Session that was reconstructed.")],
    robot: Annotated[str, typer.Option("--robot", "--robots", help="A robot's name, its TOML file, or `all`.")],
    take: Annotated[str | None, typer.Option(help="One take instead of all.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to instead of the session.")] = None,
    physics: Annotated[
        bool, typer.Option("--physics", help="Play it in MuJoCo, with gravity, and save a video.")
    ] = False,
    actions: Annotated[
        float | None,
        typer.Option(
            "--actions",
            min=0.1,
            max=1000.0,
            help="Also write end-effector actions for a policy of so many steps a second.",
        ),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Replay of robot and person for Rerun, an .rrd file.")] = None,
    start: Annotated[
        str | None, typer.Option(help="Joints of the robot before it begins, rad or m: `0,0.3,-1.2,...`.")
    ] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Turn reconstructed takes into joint motion of a robot, with a verdict on whether it can do them."""
    from handcap import retarget as stage

    robots = stage.arms() if robot == "all" else [stage.read_robot(robot)]
    posture = None if start is None else _numbers(start)
    steps = None if actions is None else stage.ActionParams(rate_hz=actions)
    with progress(as_json) as on_progress:
        results = stage.run_session(
            session,
            robots,
            take,
            out,
            physics=physics,
            save=save,
            start=posture,
            actions=steps,
            on_progress=on_progress,
        )
    table = robot == "all"
    lines: list[str] = []
    for id in dict.fromkeys(result.take for result in results):
        of_take = [result for result in results if result.take == id]
        lines += [f"{id}:", *_table(of_take, lang)] if table else [line for r in of_take for line in _told(r, lang)]
    takes: dict[str, str] = {}
    for result in results:
        said = "refused" if result.verdict is None else str(result.verdict.verdict)
        takes[result.take] = min(takes.get(result.take, said), said, key=["ok", "partial", "refused"].index)
    details = {"robots": {id: _details([r for r in results if r.take == id], lang) for id in takes}}
    error = None
    if all(said == "refused" for said in takes.values()):
        what = {"en": "no robot of these can do it", "zh": "这些机器人都无法完成"}[lang]
        mend = {"en": "the causes say what to do", "zh": "请按原因处理"}[lang]
        error = RetargetError(what, where=session, mend=mend)
    outputs = list(dict.fromkeys(path for result in results for path in result.outputs))
    finish(Outcome(outputs, takes, lines, details, error), as_json)


def _numbers(text: str) -> list[float]:
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise UsageError(f"--start {text!r} is no row of numbers", mend="such as 0,0.3,-1.2,0,1.5,0")
    return values


def _details(results: list[TakeOnRobot], lang: Language) -> dict[str, Any]:
    from handcap.session.stage_output import plain

    return {
        r.robot.name: {"error": r.error}
        if r.verdict is None
        else {
            "verdict": r.verdict.verdict,
            "numbers": plain(r.verdict.numbers),
            "causes": [cause.as_dict(lang) for cause in r.verdict.causes],
        }
        for r in results
    }


def _cells(result: TakeOnRobot, lang: Language) -> tuple[str, ...]:
    if result.verdict is None:
        return (result.robot.name, "—", "", "", "", "", "", result.error or "")
    told = result.verdict
    n = told.numbers
    sides = list(n["sides"].values())
    why = "; ".join(_sentence(cause, lang) for cause in told.causes)
    if told.verdict == "refused":
        why = _BECAUSE[lang] + why
    return (
        result.robot.name,
        ROBOT_VERDICTS[told.verdict][lang],
        f"{100 * n['reachable']:.1f} %",
        _worst([s["position_error_mm"]["p95"] for s in sides]),
        _worst([s["rotation_error_deg"]["p95"] for s in sides]),
        "—" if n["clearance_m"] is None else f"{1e3 * n['clearance_m']:.0f}",
        f"{n['time_scale']:.2f}",
        why,
    )


def _sentence(cause: Any, lang: Language) -> str:
    return (GRIPPERS | HANDS).get(cause.body or "", {}).get(lang, "") + cause.text(lang)


def _worst(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):.2f}" if known else "—"


def _table(results: list[TakeOnRobot], lang: Language) -> list[str]:
    rows = [_HEAD[lang], *(_cells(result, lang) for result in results)]
    widths = [max(_wide(row[k]) for row in rows) for k in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(c + " " * (w - _wide(c)) for c, w in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]


def _wide(text: str) -> int:
    """Columns of a terminal: Chinese takes two."""
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _told(result: TakeOnRobot, lang: Language) -> list[str]:
    """A few lines about one robot."""
    if result.verdict is None:
        return [f"{result.take} {result.robot.title}: {result.error}"]
    told = result.verdict
    n = told.numbers
    lines = [f"{result.take} {result.robot.title}: {ROBOT_VERDICTS[told.verdict][lang]}, {100 * n['reachable']:.1f} %"]
    for side, s in n["sides"].items():
        position, rotation = s["position_error_mm"], s["rotation_error_deg"]
        if position["median"] is None:
            continue
        if rotation["median"] is None:
            lines.append(_fingers(side, s, lang))
            continue
        own = s["recording_sigma_mm"]
        mm, deg, most = (_short(x) for x in (position["median"], rotation["median"], position["p95"]))
        known = {"en": "unknown", "zh": "未知"}[lang] if own is None else f"{_short(own)} mm"
        lines.append(
            {
                "en": f"  {GRIPPERS[f'{side}_tcp'][lang]}off by {mm} mm, {deg}° "
                f"(19 of 20 below {most} mm); the recording's own sigma {known}",
                "zh": f"  {GRIPPERS[f'{side}_tcp'][lang]}误差 {mm} 毫米、{deg}° "
                f"(95 % 低于 {most} 毫米);录制本身的 sigma {known}",
            }[lang]
        )
    for side, stand in n["stand"].items():
        lines.append(_stands(side, stand, lang))
    lines += [f"  {GRIPPERS[f'{side}_tcp'][lang]}{_TURNED[lang]}" for side in n.get("turned", [])]
    way = getattr(result.solution, "way", None)
    if way is not None:
        lines.append(_approach(float(way.t_s[-1]), float(way.touching.mean()), lang))
    if result.told is not None and "actions" in result.told:
        lines += _actions(result.told["actions"], lang)
    for cause in told.causes:
        lines += [f"  {_sentence(cause, lang)}", f"    → {cause.mend(lang)}"]
    return lines


_SOURCES: dict[str, dict[Language, str]] = {
    "planned": {"en": "planned", "zh": "规划"},
    "played": {"en": "played in physics", "zh": "物理仿真"},
}


def _actions(told: Any, lang: Language) -> list[str]:
    """How the robot's actions differ from the recorded ones."""
    lines: list[str] = []
    for side, of in told["sides"].items():
        for source, name in _SOURCES.items():
            off = of.get(source)
            if off is None or off["step"]["mm"]["median"] is None:
                continue
            mm, most = (_short(off["step"]["mm"][key]) for key in ("median", "p95"))
            deg = _short(off["step"]["deg"]["median"])
            lines.append(
                {
                    "en": f"  {GRIPPERS[f'{side}_tcp'][lang]}actions at {told['rate_hz']:g} Hz, {name[lang]}: off by "
                    f"{mm} mm, {deg}° a step (19 of 20 below {most} mm)",
                    "zh": f"  {GRIPPERS[f'{side}_tcp'][lang]}{told['rate_hz']:g} Hz 动作({name[lang]}):每步误差 "
                    f"{mm} 毫米、{deg}°(95 % 低于 {most} 毫米)",
                }[lang]
            )
    return lines


def _short(value: float) -> str:
    """Two digits, and no powers of ten; nobody needs to know a hundredth of a millimetre or degree."""
    if abs(value) < 0.01:
        return "< 0.01"
    return f"{value:.2g}" if abs(value) < 99.5 else f"{value:.0f}"


def _fingers(side: str, told: Any, lang: Language) -> str:
    """How well a robot's fingertips follow a person's."""
    error, sigma = told["position_error_mm"], told["recording_sigma_mm"]
    own = {"en": "unknown", "zh": "未知"}[lang] if sigma is None else f"{_short(sigma)} mm"
    mm, most = _short(error["median"]), _short(error["p95"])
    return {
        "en": f"  {HANDS[f'{side}_hand'][lang]}fingertips off by {mm} mm (19 of 20 below "
        f"{most} mm); the recording's own sigma {own}",
        "zh": f"  {HANDS[f'{side}_hand'][lang]}指尖误差 {mm} 毫米(95 % 低于 {most} 毫米);录制本身的 sigma {own}",
    }[lang]


def _approach(lasts_s: float, touching: float, lang: Language) -> str:
    """How it gets from the start that was given to the motion."""
    clear: dict[Language, str] = {"en": "nothing touches", "zh": "无碰撞"}
    hit: dict[Language, str] = {
        "en": "shapes touch on the way: move it to its home first",
        "zh": "途中会碰撞:请先将机器人移到初始姿态",
    }
    said = (hit if touching else clear)[lang]
    return {
        "en": f"  from the start to the motion {lasts_s:.1f} s; {said}",
        "zh": f"  从起始姿态到动作开始 {lasts_s:.1f} 秒;{said}",
    }[lang]


def _stands(side: str, stand: Any, lang: Language) -> str:
    """Where a base stands, from where the head was when the take began."""
    import numpy as np

    T = stand["T_world_base"]
    x, y, z = (float(v) for v in T[:3, 3])
    yaw = float(np.rad2deg(np.arctan2(T[1, 0], T[0, 0])))
    room = stand["room_m"]
    free = "" if room is None else f" ± {100 * min(room[:2]):.0f} cm"
    name = GRIPPERS[f"{side}_tcp"][lang]
    return {
        "en": f"  {name}base {x:+.2f} m ahead of where the head began, {y:+.2f} m to its left, {z:+.2f} m up, "
        f"turned {yaw:+.0f}° to the left{free}",
        "zh": f"  {name}底座位于头部起始位置前方 {x:+.2f} 米、左侧 {y:+.2f} 米、上方 {z:+.2f} 米,"
        f"向左转 {yaw:+.0f}°{free}",
    }[lang]
