"""Reconstructed sessions and robots in, `derived/<take>/retarget/` out."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import handcap
from handcap import session as session_store
from handcap.causes import Verdict
from handcap.errors import OutputError, RetargetError
from handcap.retarget.actions import ActionParams
from handcap.retarget.hands.take import HandSolution
from handcap.retarget.physics import wrist_cameras
from handcap.retarget.recorded import SOURCE, Recorded, read_recorded
from handcap.retarget.replay import Shown, in_words, write_replay
from handcap.retarget.robot import Robot
from handcap.retarget.solve import RetargetParams, Solution
from handcap.retarget.tries import Job, Tried, try_apart, try_here
from handcap.retarget.verdict import RobotVerdict, VerdictParams
from handcap.session import Session

STAGE = "retarget"
_VERSIONED = ("pin", "numpy", "scipy")

Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False, slots=True)
class TakeOnRobot:
    """What became of one take on one robot.

    Attributes:
        take, robot: which.
        verdict: with causes and numbers.
        solution: the motion; None when it could not be tried, or was in a process of its own.
        outputs: files written.
        error: why it could not be tried.
        told: what report.json says of it.
    """

    take: str
    robot: Robot
    verdict: RobotVerdict | None
    solution: Solution | HandSolution | None = field(repr=False)
    outputs: tuple[Path, ...] = ()
    error: str | None = None
    told: Mapping[str, Any] | None = field(default=None, repr=False)


def run_session(
    path: Path,
    robots: Sequence[Robot],
    take: str | None = None,
    out: Path | None = None,
    params: RetargetParams | None = None,
    on_progress: Progress = lambda what, share: None,
    physics: bool = False,
    save: Path | None = None,
    start: Sequence[float] | None = None,
    actions: ActionParams | None = None,
) -> list[TakeOnRobot]:
    """Retarget one take, or all, to robots, and write the motions beside the recording.

    Args:
        path: session folder.
        take: id, or None for all.
        out: another folder to write to: `<out>/<take>/`.
        physics: also play every motion in MuJoCo, report how it went, and write `<robot>.mp4`.
        save: also write a replay for Rerun there.
        start: where the joints of the only robot are before it begins, see `solve`; then also write
            `<robot>.approach.parquet`.
        actions: also write `<robot>.actions.parquet`, end-effector actions for a policy, and report how they compare.

    Raises:
        SessionError: the session or the take cannot be read.
        RetargetError: nothing was reconstructed, or a single robot cannot be used.
        OutputError: `out` cannot be written.
    """
    session = session_store.read(path)
    takes = session.takes if take is None else (session.take(take).id,)
    if not takes:
        raise RetargetError("the session holds no take", where=path, mend="record or import one first")
    params = params or RetargetParams()
    results: list[TakeOnRobot] = []
    with_fingers = [robot for robot in robots if robot.kind == "hand"]
    with_arms = [robot for robot in robots if robot.kind != "hand"]
    if with_fingers and physics:
        raise RetargetError("hands without an arm are not played in physics", mend="leave out --physics")
    if with_fingers and actions is not None:
        raise RetargetError("a hand without an arm has no tool to take actions with", mend="leave out --actions")
    apart = len(with_arms) > 1 and save is None
    if start is not None and (len(robots) > 1 or with_fingers):
        raise RetargetError("a start is of one robot with arms", mend="name one with --robot")
    for i, id in enumerate(takes):
        on_progress(", ".join(robot.title for robot in with_fingers), i / len(takes))
        results += _hands(session, id, with_fingers, out, alone=len(robots) == 1)
        if with_arms:

            def share(what: str, done: float, before: int = i) -> None:
                on_progress(what, (before + done) / len(takes))

            recorded = read_recorded(session, id, params.trust)
            with TemporaryDirectory() as scratch:
                where = None if start is None else tuple(start)
                seeing = physics and actions is not None
                jobs = [
                    Job(
                        robot,
                        recorded,
                        params,
                        Path(scratch),
                        physics,
                        where,
                        actions,
                        wrist_cameras(session.rig, Path(scratch), robot.name) if seeing else {},
                    )
                    for robot in with_arms
                ]
                tried = try_apart(jobs, share) if apart else _in_turn(jobs, share, len(robots) == 1)
                results += _arms(session, id, recorded, jobs, tried, out)
    if save is not None:
        write_replay([_shown(session, r, r.solution) for r in results if r.solution is not None], save)
        results = [replace(r, outputs=(*r.outputs, save)) for r in results]
    on_progress("done", 1.0)
    return results


def _shown(session: Session, result: TakeOnRobot, solution: Solution | HandSolution) -> Shown:
    assert result.verdict is not None
    planes = session_store.read_report(session.derived(result.take, SOURCE)).get("planes") or []
    surfaces = tuple(np.array(p["polygon_world"], float) for p in planes if p["kind"] in ("surface", "floor"))
    words = in_words(result.robot.title, result.verdict)
    return Shown(f"take_{result.take}/{result.robot.name}", solution, words, surfaces)


def _in_turn(jobs: Sequence[Job], on_progress: Progress, alone: bool) -> list[Tried | RetargetError]:
    """As `try_apart`, in this process, which keeps the solutions; the error of a robot alone is raised."""
    out: list[Tried | RetargetError] = []
    for k, job in enumerate(jobs):
        on_progress(job.robot.title, k / len(jobs))
        try:
            out.append(try_here(job))
        except RetargetError as error:
            if alone:
                raise
            out.append(error)
    return out


def _arms(
    session: Session,
    take: str,
    recorded: Recorded,
    jobs: Sequence[Job],
    tried: Sequence[Tried | RetargetError],
    out: Path | None,
) -> list[TakeOnRobot]:
    results: list[TakeOnRobot] = []
    told: dict[str, Any] = {}
    files: dict[str, tuple[str, ...]] = {}
    for job, each in zip(jobs, tried, strict=True):
        name = job.robot.name
        if isinstance(each, RetargetError):
            results.append(TakeOnRobot(take, job.robot, None, None, (), str(each)))
            continue
        results.append(TakeOnRobot(take, job.robot, each.verdict, each.solution))
        told[name], files[name] = each.report, each.files

    def write(folder: Path, each: TakeOnRobot) -> list[str]:
        for file in files[each.robot.name]:
            shutil.move(jobs[0].folder / file, folder / file)
        return list(files[each.robot.name])

    room = {"floor_m": recorded.floor_m, "floor_seen": recorded.floor_seen, "surfaces": len(recorded.surfaces)}
    return _store(session, take, results, told, write, room, out)


def _hands(session: Session, take: str, robots: Sequence[Robot], out: Path | None, alone: bool) -> list[TakeOnRobot]:
    """Robot hands on one take; what one of several cannot do is told, not raised."""
    from handcap.retarget import hands

    results: list[TakeOnRobot] = []
    for robot in robots:
        try:
            solution = hands.solve_take(session, take, robot)
        except RetargetError as error:
            if alone:
                raise
            results.append(TakeOnRobot(take, robot, None, None, (), str(error)))
            continue
        results.append(TakeOnRobot(take, robot, hands.judge(solution), solution))
    told: dict[str, Any] = {}
    for each in results:
        if each.verdict is not None:
            assert isinstance(each.solution, HandSolution)
            told[each.robot.name] = hands.hand_report(each.solution, each.verdict)

    def write(folder: Path, each: TakeOnRobot) -> list[str]:
        assert isinstance(each.solution, HandSolution)
        hands.write_hands(folder / f"{each.robot.name}.parquet", each.solution)
        return [f"{each.robot.name}.parquet"]

    return _store(session, take, results, told, write, {}, out) if results else []


def _store(
    session: Session,
    take: str,
    results: Sequence[TakeOnRobot],
    told: Mapping[str, Any],
    write: Callable[[Path, TakeOnRobot], list[str]],
    room: Mapping[str, Any],
    out: Path | None,
) -> list[TakeOnRobot]:
    """Write motions and the report, beside what earlier runs left of other robots.

    Args:
        told: robot's name to what the report says of it; of those only that have a solution.
        write: the files of one robot, whose names it returns.
        room: further keys of the report.
    """
    target = session.derived(take, STAGE) if out is None else out / take
    before, earlier = _earlier(session, target)
    for each in results:
        earlier.pop(each.robot.name, None)
    with _folder(session, take, out) as folder:
        for robot in earlier:
            for file in target.glob(f"{robot}.*"):
                shutil.copyfile(file, folder / file.name)
        written: dict[str, list[str]] = {}
        for each in results:
            if each.robot.name in told:
                written[each.robot.name] = write(folder, each)
        kept = {key: before[key] for key in ("floor_m", "floor_seen", "surfaces") if earlier and key in before}
        session_store.write_report(folder, _report(take, earlier | dict(told), kept | dict(room)))
    outputs = {name: tuple(target / file for file in [*files, "report.json"]) for name, files in written.items()}
    return [replace(e, outputs=outputs.get(e.robot.name, ()), told=told.get(e.robot.name)) for e in results]


def _earlier(session: Session, target: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """An earlier run's report, and what it says of robots whose inputs are still the same."""
    try:
        report = json.loads((target / "report.json").read_text(encoding="utf-8"))
        found = {
            name: said
            for name, said in report["robots"].items()
            if (target / f"{name}.parquet").is_file() and _same(session, said["inputs_sha256"])
        }
        return report, found
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, {}


def _same(session: Session, inputs_sha256: Mapping[str, str]) -> bool:
    return all(
        hashlib.sha256((session.path / name).read_bytes()).hexdigest() == digest
        for name, digest in inputs_sha256.items()
    )


@contextmanager
def _folder(session: Session, take: str, out: Path | None) -> Any:
    if out is None:
        with session_store.write_stage(session, take, STAGE) as folder:
            yield folder
        return
    folder = out / take
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", where=out, mend="choose another folder") from error
    fresh = folder / ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        for file in sorted(fresh.iterdir()):
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


_ORDER: dict[str, int] = {"ok": 0, "partial": 1, "refused": 2}


def _report(take: str, robots: Mapping[str, Any], room: Mapping[str, Any]) -> dict[str, Any]:
    """The stage's verdict is the best robot's; its causes are what keeps that robot from more."""
    best = min(robots.values(), key=lambda r: (_ORDER[r["verdict"]], len(r["causes"])), default=None)
    decided: Verdict = "refused" if best is None else best["verdict"]
    inputs: dict[str, str] = {}
    for said in robots.values():
        inputs |= said["inputs_sha256"]
    return {
        "stage": STAGE,
        "take": take,
        "verdict": decided,
        "causes": [] if best is None else best["causes"],
        "spans_ok_s": [] if best is None else best["spans_ok_s"],
        "robots": {name: robots[name] for name in sorted(robots)},
        **room,
        "inputs_sha256": inputs,
        "verdict_parameters": asdict(VerdictParams()),
        "versions": {"handcap": handcap.__version__, **{name: version(name) for name in _VERSIONED}},
    }
