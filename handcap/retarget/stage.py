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
from typing import Any

import numpy as np

import handcap
from handcap import session as session_store
from handcap.causes import Verdict
from handcap.errors import OutputError, RetargetError
from handcap.geometry import Array
from handcap.retarget.hands.take import BareHand, HandSolution, read_side
from handcap.retarget.physics import play
from handcap.retarget.replay import write_replay
from handcap.retarget.robot import Base, Robot
from handcap.retarget.solve import RetargetParams, Solution, solve
from handcap.retarget.targets import Targets, targets
from handcap.retarget.verdict import RobotVerdict, VerdictParams, verdict
from handcap.session import Session
from handcap.types import SIDES, Side, Stamps, Trajectory

STAGE = "retarget"
SOURCE = "reconstruct"
_VERSIONED = ("pin", "numpy", "scipy")
_HEAD_HEIGHT_M = 1.55  # of a standing person's head camera, where no floor was seen

Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False, slots=True)
class TakeOnRobot:
    """What became of one take on one robot.

    Attributes:
        take, robot: which.
        verdict: with causes and numbers.
        solution: the motion; None when it could not be tried.
        outputs: files written.
        error: why it could not be tried.
    """

    take: str
    robot: Robot
    verdict: RobotVerdict | None
    solution: Solution | HandSolution | None = field(repr=False)
    outputs: tuple[Path, ...] = ()
    error: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Recorded:
    """What a robot needs to know of a take.

    Attributes:
        targets: of all grippers, and the head.
        widths_m: (n,) their jaw openings, NaN where unknown.
        surfaces: (k, 3) level polygons, world, m.
        furniture: those of them that are no floor: what goes along stands on the floor.
        floor_m: height of the floor; assumed from the head's where none was seen.
        floor_seen: whether it was.
        inputs_sha256: of the files read, relative to the session.
    """

    targets: Targets
    widths_m: Mapping[Side, Array]
    surfaces: tuple[Array, ...]
    furniture: tuple[Array, ...]
    floor_m: float | None
    floor_seen: bool
    inputs_sha256: Mapping[str, str]


def run_session(
    path: Path,
    robots: Sequence[Robot],
    take: str | None = None,
    out: Path | None = None,
    params: RetargetParams | None = None,
    on_progress: Progress = lambda what, share: None,
    physics: bool = False,
    save: Path | None = None,
) -> list[TakeOnRobot]:
    """Retarget one take, or all, to robots, and write the motions beside the recording.

    Args:
        path: session folder.
        take: id, or None for all.
        out: another folder to write to: `<out>/<take>/`.
        physics: also play every motion in MuJoCo, report how it went, and write `<robot>.mp4`.
        save: also write a replay for Rerun there.

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
    for i, id in enumerate(takes):
        on_progress(", ".join(robot.title for robot in with_fingers), i / len(takes))
        results += _hands(session, id, with_fingers, out, alone=len(robots) == 1)
        if not with_arms:
            continue
        recorded = read_recorded(session, id, params)
        of_take: list[TakeOnRobot] = []
        for k, robot in enumerate(with_arms):
            on_progress(robot.title, (i + k / len(robots)) / len(takes))
            try:
                solution = solve(
                    robot, recorded.targets, recorded.surfaces, _heights(robot.base, recorded), None, params
                )
            except RetargetError as error:
                if len(robots) == 1:
                    raise
                of_take.append(TakeOnRobot(id, robot, None, None, (), str(error)))
                continue
            told = verdict(solution, recorded.widths_m, params)
            of_take.append(TakeOnRobot(id, robot, told, solution))
        results += _write(session, id, recorded, of_take, params, out, physics)
    if save is not None:
        shown = [(f"take_{r.take}/{r.robot.name}", r.solution) for r in results if r.solution is not None]
        write_replay(shown, save)
        results = [replace(r, outputs=(*r.outputs, save)) for r in results]
    on_progress("done", 1.0)
    return results


def read_recorded(session: Session, take: str, params: RetargetParams) -> Recorded:
    """What reconstruction found of a take; a bare hand stands for a gripper: thumb and finger are its jaws.

    Raises:
        RetargetError: there is neither a gripper nor a hand in it.
    """
    import pyarrow.parquet as pq

    folder = session.derived(take, SOURCE)
    report = session_store.read_report(folder)
    tools: dict[Side, Trajectory] = {}
    widths: dict[Side, Array] = {}
    read: list[Path] = [folder / "report.json"]
    for side in SIDES:
        file = folder / f"{side}_tcp.parquet"
        if not file.is_file():
            bare = read_side(folder, side)
            if isinstance(bare, BareHand):
                tools[side], widths[side] = bare.as_gripper(side)
                read.append(folder / f"{side}_hand.parquet")
            continue
        tools[side] = session_store.read_trajectory(file)
        read.append(file)
        names = pq.read_schema(file).names
        if "width_m" in names:
            table = pq.read_table(file, columns=["width_m"])
            widths[side] = table["width_m"].to_numpy(zero_copy_only=False).astype(float)
    if not tools or not any(np.any(each.tracked) for each in tools.values()):
        raise RetargetError(
            f"neither a gripper nor a hand was followed in take {take}",
            where=folder,
            mend="see what `handcap reconstruct` says of grippers and hands",
        )
    head = None
    if (folder / "head.parquet").is_file():
        head = session_store.read_trajectory(folder / "head.parquet")
        read.append(folder / "head.parquet")
    common = targets(tools, head, params.trust)
    aligned: dict[Side, Array] = {side: _at(tools[side].t_ns, width, common.t_ns) for side, width in widths.items()}
    planes = report.get("planes") or []
    floor_too = tuple(np.array(p["polygon_world"], float) for p in planes if p["kind"] in ("surface", "floor"))
    furniture = tuple(np.array(p["polygon_world"], float) for p in planes if p["kind"] == "surface")
    floors = [float(p["height_m"]) for p in planes if p["kind"] == "floor"]
    floor = min(floors) if floors else None
    if floor is None and head is not None and np.any(head.tracked):
        floor = float(np.median(head.T_world_body[head.tracked, 2, 3])) - _HEAD_HEIGHT_M
    hashes = {p.relative_to(session.path).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in read}
    return Recorded(common, aligned, floor_too, furniture, floor, bool(floors), hashes)


def _at(t_ns: Stamps, values: Array, when_ns: Stamps) -> Array:
    """Values at other stamps, from the nearest two; NaN where these are unknown or too far apart."""
    out = np.interp(when_ns, t_ns, values)
    return np.where((when_ns >= t_ns[0]) & (when_ns <= t_ns[-1]), out, np.nan)


def _heights(base: Base, recorded: Recorded) -> tuple[float, float] | None:
    """Where a base may be in the world's z."""
    if base.height_m is None or recorded.floor_m is None:
        return None
    return recorded.floor_m + base.height_m[0], recorded.floor_m + base.height_m[1]


def _write(
    session: Session,
    take: str,
    recorded: Recorded,
    results: Sequence[TakeOnRobot],
    params: RetargetParams,
    out: Path | None,
    physics: bool,
) -> list[TakeOnRobot]:
    told = {
        e.robot.name: _robot_report(e, params) | {"inputs_sha256": dict(recorded.inputs_sha256)}
        for e in results
        if e.solution is not None
    }

    def write(folder: Path, each: TakeOnRobot) -> list[str]:
        assert isinstance(each.solution, Solution)
        solution, files = each.solution, [f"{each.robot.name}.parquet"]
        write_motion(folder / files[0], solution, recorded.widths_m)
        if physics:
            files.append(f"{each.robot.name}.mp4")
            played = play(solution.body, solution.motion.q, solution.t_robot_s, video=folder / files[1])
            told[each.robot.name]["physics"] = played.numbers()
        return files

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
    return [
        TakeOnRobot(e.take, e.robot, e.verdict, e.solution, outputs.get(e.robot.name, ()), e.error) for e in results
    ]


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


def write_motion(path: Path, solution: Solution, widths_m: Mapping[Side, Array]) -> None:
    """`<robot>.parquet`: `t_ns` of the recording, `t_robot_ns` when the robot is there, joints, jaws, and how well.

    Of two tools `reachable` says whether both are reached, and the errors are the larger ones; each has columns of its
    own beside them, with its side in front. Unknown is null.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    body, motion = solution.body, solution.motion
    t_ns = solution.targets.t_ns
    columns: dict[str, Any] = {
        "t_ns": pa.array(t_ns),
        "t_robot_ns": pa.array(t_ns[0] + np.round(solution.t_robot_s * 1e9).astype(np.int64)),
    }
    for k, name in enumerate(body.joints):
        columns[name] = pa.array(motion.q[:, k])
    columns |= {name: _column(values) for name, values in jaw_columns(solution, widths_m).items()}
    known = np.stack([solution.targets.goals[tool.side].tracked for tool in body.tools], axis=1)
    unknown = ~np.any(known, axis=1)
    reached = np.all(solution.reached | ~known, axis=1)
    columns["reachable"] = pa.array(reached, mask=unknown)
    columns["position_error_m"] = _column(_largest(motion.position_error_m))
    columns["rotation_error_rad"] = _column(_largest(motion.rotation_error_rad))
    if len(body.tools) > 1:
        for k, tool in enumerate(body.tools):
            columns[f"{tool.side}_reachable"] = pa.array(solution.reached[:, k], mask=~known[:, k])
            columns[f"{tool.side}_position_error_m"] = _column(motion.position_error_m[:, k])
            columns[f"{tool.side}_rotation_error_rad"] = _column(motion.rotation_error_rad[:, k])
    table = pa.table(columns).replace_schema_metadata({"handcap.robot": body.robot.name})
    pq.write_table(table, path, compression="zstd")


def jaw_columns(solution: Solution, widths_m: Mapping[Side, Array]) -> dict[str, Array]:
    """Joint name to its values (n,), of the grippers that follow; NaN where the opening is unknown."""
    out: dict[str, Array] = {}
    several = len(solution.body.tools) > 1
    for tool in solution.body.tools:
        jaws, width = tool.jaws, widths_m.get(tool.side)
        if jaws is None or not jaws.joints or width is None:
            continue
        values = jaws.joint_values(width)
        for k, name in enumerate(jaws.joints):
            out[f"{tool.side}_{name}" if several else name] = values[:, k]
    return out


def _column(values: Array) -> Any:
    import pyarrow as pa

    return pa.array(values, mask=np.isnan(values))


def _largest(errors: Array) -> Array:
    """(n,) of (n, tools), NaN where no tool is known."""
    known = np.any(np.isfinite(errors), axis=1)
    return np.where(known, np.max(np.nan_to_num(errors, nan=-1.0), axis=1), np.nan)


def _robot_report(each: TakeOnRobot, params: RetargetParams) -> dict[str, Any]:
    assert isinstance(each.solution, Solution) and each.verdict is not None
    told, body = each.verdict, each.solution.body
    return {
        "title": each.robot.title,
        "verdict": told.verdict,
        "causes": [cause.as_dict() for cause in told.causes],
        "spans_ok_s": [list(span) for span in told.spans_ok_s],
        "numbers": dict(told.numbers),
        "joints": list(body.joints),
        "robot_sha256": each.robot.sha256,
        "description_sha256": [d.sha256 for d in body.descriptions],
        "license": each.robot.license,
        "parameters": asdict(params),
    }


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
