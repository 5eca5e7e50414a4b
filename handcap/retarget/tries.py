"""One take on robots: here, or each robot in a process of its own, as many at a time as there are cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

from handcap.child import Bear, ChildEnded, Say, beside_each_other, cores
from handcap.errors import RetargetError
from handcap.retarget.actions import ActionParams, make_actions, numbers, write_actions
from handcap.retarget.approach import write_approach
from handcap.retarget.motion_file import write_motion
from handcap.retarget.physics import Eye, play
from handcap.retarget.recorded import Recorded, heights
from handcap.retarget.robot import Robot
from handcap.retarget.solve import RetargetParams, Solution, solve
from handcap.retarget.verdict import RobotVerdict, verdict
from handcap.types import Side

_NEEDED = ("handcap.retarget.tries", "pinocchio", "coal", "pyarrow.parquet", "scipy.interpolate")


@dataclass(frozen=True, eq=False, slots=True)
class Job:
    """One robot with arms that is to follow a take.

    Attributes:
        folder: where its files are written.
        physics: whether to play it, too, and make a video.
        start: see `solve`.
        actions: whether to make actions for a policy, too, and at what rate.
        eyes: cameras on its tools whose view of the physics is to be written.
    """

    robot: Robot
    recorded: Recorded
    params: RetargetParams
    folder: Path
    physics: bool = False
    start: tuple[float, ...] | None = None
    actions: ActionParams | None = None
    eyes: Mapping[Side, Eye] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class Tried:
    """What became of it.

    Attributes:
        report: what report.json says of the robot.
        files: names of what was written.
        solution: the motion; None when another process holds it.
    """

    verdict: RobotVerdict
    report: dict[str, Any]
    files: tuple[str, ...]
    solution: Solution | None = field(repr=False)


def try_here(job: Job) -> Tried:
    """Raises RetargetError: the robot cannot be used, or has no arm for what was recorded."""
    recorded, robot, params = job.recorded, job.robot, job.params
    solution = solve(robot, recorded.targets, recorded.surfaces, heights(robot.base, recorded), job.start, params)
    told = verdict(solution, recorded.widths_m, params)
    report = _report(robot, solution, told, params) | {"inputs_sha256": dict(recorded.inputs_sha256)}
    files = [f"{robot.name}.parquet"]
    write_motion(job.folder / files[0], solution, recorded.widths_m)
    if solution.way is not None:
        files.append(f"{robot.name}.approach.parquet")
        write_approach(job.folder / files[-1], solution.body, solution.way)
        touching = float(solution.way.touching.mean())
        report["approach"] = {"lasts_s": float(solution.way.t_s[-1]), "touching": touching}
    played_q = None
    if job.physics:
        files.append(f"{robot.name}.mp4")
        eyes: dict[Side, Eye] = {
            tool.side: job.eyes[tool.side] for tool in solution.body.tools if tool.side in job.eyes
        }
        video = job.folder / files[-1]
        played = play(solution.body, solution.motion.q, solution.t_robot_s, video=video, eyes=eyes)
        files += [eye.video.name for eye in eyes.values()]
        report["physics"] = played.numbers()
        played_q = played.q
    if job.actions is not None:
        files.append(f"{robot.name}.actions.parquet")
        made = make_actions(solution, recorded.widths_m, played_q, job.actions)
        write_actions(job.folder / files[-1], made)
        report["actions"] = numbers(made)
    return Tried(told, report, tuple(files), solution)


def try_apart(jobs: Sequence[Job], on_progress: Callable[[str, float], None]) -> list[Tried | RetargetError]:
    """Each in a process of its own; what stops one does not stop the others and is returned in its place.

    Args:
        on_progress: told of each robot that is done, and the share of all.
    """
    lock, done = Lock(), 0

    def attempt(k: int, bear: Bear[Job]) -> Tried | RetargetError:
        nonlocal done
        job = jobs[k]
        try:
            child = bear(_attempt, job)
            try:
                return next(child)
            finally:
                child.close()
        except RetargetError as error:
            return error
        except ChildEnded as ended:
            return RetargetError(f"its process {ended.how}", where=job.robot.name, mend=ended.mend)
        finally:
            with lock:
                done += 1
                on_progress(job.robot.title, done / len(jobs))

    return beside_each_other(attempt, len(jobs), cores(), _NEEDED)


def _attempt(job: Job, say: Say) -> None:
    say(replace(try_here(job), solution=None))  # models of pinocchio cannot be sent


def _report(robot: Robot, solution: Solution, told: RobotVerdict, params: RetargetParams) -> dict[str, Any]:
    body = solution.body
    return {
        "title": robot.title,
        "verdict": told.verdict,
        "causes": [cause.as_dict() for cause in told.causes],
        "spans_ok_s": [list(span) for span in told.spans_ok_s],
        "numbers": dict(told.numbers),
        "joints": list(body.joints),
        "robot_sha256": robot.sha256,
        "description_sha256": [d.sha256 for d in body.descriptions],
        "license": robot.license,
        "parameters": asdict(params),
    }
