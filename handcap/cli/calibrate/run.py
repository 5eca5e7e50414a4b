"""`handcap calibrate run`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handcap.causes import Language, Verdict
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress
from handcap.errors import CalibrationError, UsageError

if TYPE_CHECKING:
    from handcap.calibrate.guide import Guide, Made, Progress, Step

_VERDICTS: dict[Verdict, dict[Language, str]] = {
    "ok": {"en": "good", "zh": "合格"},
    "partial": {"en": "usable, with reservations", "zh": "可用,但有保留"},
    "refused": {"en": "refused", "zh": "不合格"},
}
# A gripper's camera has markers of the bench's ChArUco board on its fingers.
_BENCH_BOARDS = {"charuco": "charuco:8x6:0.05:0.0375", "aprilgrid": "aprilgrid:6x6:0.055:0.3"}


def run(
    rig_id: Annotated[str, typer.Option(help="Name of the rig: R07.")],
    session: Annotated[
        list[Path] | None, typer.Option(help="Recording for the next step; given again, for the steps after it.")
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="Drawing of the rig; default: rig.json of the first recording.")
    ] = None,
    board: Annotated[
        str | None, typer.Option(help="The board as printed: its .toml, or charuco:8x6:0.05:0.0375.")
    ] = None,
    gauges: Annotated[str | None, typer.Option(help="Gauge blocks, mm, from the narrow to the wide.")] = None,
    virtual: Annotated[bool, typer.Option("--virtual", help="The virtual rig makes the recordings.")] = False,
    virtual_rig: Annotated[str, typer.Option(help="Which virtual rig, as in `handcap simulate --rig`.")] = "gripper",
    serial: Annotated[int, typer.Option(help="Which specimen of the virtual rig.", min=0)] = 1,
    folder: Annotated[Path | None, typer.Option(help="Where the run is kept; default: calibration/RIG_ID.")] = None,
    store: Annotated[Path | None, typer.Option(help="Rig store; default: the user's own.")] = None,
    again: Annotated[str | None, typer.Option(help="Make this step again: still, poses, lens, mount or jaws.")] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Calibrate a whole rig, one recording after another; goes on where it was left."""
    from handcap.calibrate.guide import Guide
    from handcap.session import read, read_rig
    from handcap.session.rig_store import require_rig_id

    where = folder or Path("calibration") / require_rig_id(rig_id)
    waiting = [*(session or ())]
    if virtual:
        from handcap.sim import rigs as drawings

        guide = Guide.begin(where, drawings.drawn(virtual_rig, serial), rig_id)
        guide.settle(board=_BENCH_BOARDS[_bench_board(guide)])
    elif base is not None or waiting:
        guide = Guide.begin(where, read_rig(base) if base is not None else read(waiting[0]).rig, rig_id)
    else:
        guide = Guide(where)
    guide.settle(None if virtual else board, None if gauges is None else _numbers(gauges))
    told = _Told(as_json, lang)
    if again is not None:
        known = {step.key: step for step in guide.progress().steps}
        if again not in known:
            raise UsageError(f"no step {again!r} for this rig", mend=f"one of {', '.join(known)}")
    while True:
        now = guide.progress()
        step = next((each for each in now.steps if each.key == again), None) or now.next_step
        again = None
        told.say(*_standing(now, lang))
        if step is None:
            break
        told.say(step.words[lang])
        source = _recorded(guide, step, virtual_rig, serial, as_json) if virtual else _given(waiting, as_json, lang)
        if source is None:
            told.say(_how_to_go_on(rig_id, lang))
            finish(Outcome(lines=told.lines, details=_details(now)), as_json)
            return
        made = _taken(guide, step, source, as_json, lang)
        told.say(*_said(made, lang))
        if made.verdict == "refused":
            cause = next(cause for part in made.parts if part.verdict == "refused" for cause in part.causes)
            error = CalibrationError(cause.text(lang), where=source, mend=cause.mend(lang))
            finish(Outcome(made.outputs, lines=told.lines, details=_details(guide.progress()), error=error), as_json)
    _join(guide, rig_id, store, told, as_json)


class _Told:
    """What was said so far: at once to a person, at the end to a program."""

    def __init__(self, as_json: bool, lang: Language) -> None:
        self.lang: Language = lang
        self.lines: list[str] = []
        self._quiet = as_json

    def say(self, *lines: str) -> None:
        if not self._quiet:
            for line in lines:
                print(line, flush=True)


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise UsageError(f"no list of widths: {text!r}", mend="give millimetres with commas: 10,20,30") from error


def _standing(now: Progress, lang: Language) -> list[str]:
    done, steps, hands = len(now.done), len(now.steps), now.hands_s / 60
    recorded = _minutes(now.recorded_s)
    if now.next_step is None:
        return [
            {"en": f"all {steps} steps done; recorded {recorded}", "zh": f"{steps} 步全部完成;共录制 {recorded}"}[lang]
        ]
    return [
        {
            "en": f"step {done + 1} of {steps}; recorded {recorded}, about {hands:.0f} min of work in all",
            "zh": f"第 {done + 1} 步,共 {steps} 步;已录制 {recorded},总共约需动手 {hands:.0f} 分钟",
        }[lang]
    ]


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


def _given(waiting: list[Path], as_json: bool, lang: Language) -> Path | None:
    """The next recording: given, or asked for where somebody is there to answer."""
    if waiting:
        return waiting.pop(0)
    if as_json or not sys.stdin.isatty():
        return None
    question = {"en": "Folder of the recording (empty: later)", "zh": "录制文件夹(留空:稍后继续)"}[lang]
    answer = typer.prompt(question, default="", show_default=False).strip()
    return Path(answer) if answer else None


def _how_to_go_on(rig_id: str, lang: Language) -> str:
    again = f"handcap calibrate run --rig-id {rig_id} --session SESSION"
    return {"en": f"next: record that, then {again}", "zh": f"下一步:录制后运行 {again}"}[lang]


def _bench_board(guide: Guide) -> str:
    return "aprilgrid" if guide.rig.grippers else "charuco"


def _recorded(guide: Guide, step: Step, rig: str, serial: int, as_json: bool) -> Path:
    """The virtual rig's recording of a step, made unless it is there."""
    from handcap import sim
    from handcap.sim.imu import RAW_PART
    from handcap.sim.rigs import PRINTED

    out = guide.folder / "recordings" / step.key
    if out.is_dir():
        return out
    before = _bench_board(guide)
    task = {"mount": before, "lens": "lens" if before == "charuco" else f"lens-{before}"}.get(step.key, step.key)
    # A rolling shutter as cheap sensors have, and a clock that is off by a few milliseconds. Where only the motion
    # sensors are wanted, a picture a second will do.
    seldom = step.key in ("still", "poses")
    params = sim.SimulationParams(
        task=task,
        camera_rate_hz=1.0 if seldom else 20.0,
        line_delay_s=28e-6,
        imu=RAW_PART,
        serial=serial,
        scatter=PRINTED,
    )
    with progress(as_json) as on_progress:
        sim.simulate(
            out,
            scene="bench",
            rig=rig,
            seconds=step.seconds,
            seed=serial,
            dt_imu_cam_s=0.003,
            params=params,
            on_progress=lambda done, total: on_progress("Recording", done / total),
        )
    return out


def _taken(guide: Guide, step: Step, source: Path, as_json: bool, lang: Language) -> Made:
    from handcap.calibrate import board_of

    board = board_of(guide.board) if step.key in ("lens", "mount") and guide.board is not None else None
    with progress(as_json) as on_progress:
        return guide.take(step, source, board, lang=lang, on_progress=on_progress)


def _said(made: Made, lang: Language) -> list[str]:
    lines: list[str] = []
    for part in made.parts:
        lines.append(f"  {part.stem}: {_VERDICTS[part.verdict][lang]}")
        for cause in part.causes:
            lines += [f"    {cause.text(lang)}", f"      → {cause.mend(lang)}"]
    return lines


def _details(now: Progress) -> dict[str, Any]:
    return {
        "steps": len(now.steps),
        "done": list(now.done),
        "next": None if now.next_step is None else now.next_step.key,
        "recorded_s": round(now.recorded_s, 1),
        "hands_on_s": now.hands_s,
        "refused": [part.stem for part in now.refused],
    }


def _join(guide: Guide, rig_id: str, store: Path | None, told: _Told, as_json: bool) -> None:
    from handcap.session import RigStore

    rigs, lang = RigStore(store), told.lang
    earlier = rigs.record(rig_id).calibrations if rig_id in rigs.ids() else ()
    result = guide.join([(calibration.created, calibration.rig) for calibration in earlier], lang=lang)
    for cause in result.joined.causes:
        told.say(f"  {cause.text(lang)}", f"    → {cause.mend(lang)}")
    record = rigs.add(result.outputs[0], datetime.now(UTC))
    rig = result.joined.rig
    told.say(
        {
            "en": f"{rig_id}: in force until {rig.valid_until or '?'}; {result.outputs[1]}",
            "zh": f"{rig_id}:有效期至 {rig.valid_until or '?'};{result.outputs[1]}",
        }[lang]
    )
    details = _details(guide.progress()) | {"verdict": result.joined.verdict, "calibrations": len(record.calibrations)}
    finish(Outcome(result.outputs, details=details), as_json)
