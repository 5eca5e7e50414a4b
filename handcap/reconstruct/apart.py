"""Parts of a take solved in processes of their own: stretches as many at a time as there are cores, for their memory;
devices one more, since three of them on two cores else leave one idle for a third of the time.

Until they are tied together, devices know nothing of each other; until they are joined, stretches of a long take do
not. What a process needs ends with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TypeVar

from handcap.child import Bear, ChildEnded, Nursery, Say, beside_each_other, cores
from handcap.errors import ReconstructionError
from handcap.reconstruct.hands.worn import WornBones
from handcap.reconstruct.helpers import needed
from handcap.reconstruct.result import Progress, Reconstruction, ReconstructParams
from handcap.reconstruct.rig_take import Recording, Whole
from handcap.reconstruct.stretches import Stretch
from handcap.session import Take

_S = TypeVar("_S")


@dataclass(frozen=True, slots=True)
class Job:
    """One device of one take, or all of them for a stretch of it.

    Attributes:
        session, rig, take: as for `run_session`.
        what: the device or the stretch.
    """

    session: Path
    rig: Path | None
    take: str
    what: str | Stretch
    params: ReconstructParams
    worn: WornBones | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Solved:
    """What became of it, and how many of its pictures did not decode."""

    result: Reconstruction
    undecodable: int


@dataclass(frozen=True, eq=False, slots=True)
class SolvedStretch:
    """What became of it, and the stamps of pictures that did not decode, by camera."""

    result: Whole
    undecodable: dict[str, tuple[int, ...]]


def solve_apart(jobs: Sequence[Job], on_progress: Progress, nursery: Nursery | None = None) -> list[Solved]:
    """Solve devices, in this order; `on_progress` is told one step at a time and the share of the whole.

    Args:
        nursery: of the processes, which it ends; by default a new one.

    Raises:
        HandcapError: what stopped one of them.
    """
    return _apart(_solve, Solved, jobs, cores() + 1, lambda job: f"the device {job.what!r}", on_progress, nursery)


def solve_stretches(jobs: Sequence[Job], on_progress: Progress) -> list[SolvedStretch]:
    """Solve stretches of a long take, in this order. Raises HandcapError."""
    return _apart(_solve_stretch, SolvedStretch, jobs, cores(), lambda _: "a stretch of the take", on_progress)


def _apart(
    function: Callable[[Job, Say], None],
    answer: type[_S],
    jobs: Sequence[Job],
    at_once: int,
    name: Callable[[Job], str],
    on_progress: Progress,
    nursery: Nursery | None = None,
) -> list[_S]:
    done = [0.0] * len(jobs)
    lock = Lock()

    def solve(k: int, bear: Bear[Job]) -> _S:
        def report(what: str, share: float) -> None:
            with lock:
                done[k] = share
                on_progress(what, sum(done) / len(jobs))

        try:
            child = bear(function, jobs[k])
            try:
                for what in child:
                    if isinstance(what, answer):
                        return what
                    report(*what)
                raise AssertionError("a child says what it solved before it is done")
            finally:
                child.close()
        except ChildEnded as ended:
            what = f"the process that solved {name(jobs[k])} {ended.how}"
            raise ReconstructionError(what, where=jobs[k].session, mend=ended.mend) from None

    return beside_each_other(solve, len(jobs), at_once, needed(jobs[0].params.twice), nursery)


def _solve(job: Job, say: Say) -> None:
    from handcap.reconstruct.whole import solve_device

    assert isinstance(job.what, str)
    recording, take = _opened(job)
    result = solve_device(recording, job.what, job.params, lambda what, share: say((what, share)))
    say(Solved(result, len(take.undecodable(recording.cameras[job.what]))))


def _solve_stretch(job: Job, say: Say) -> None:
    from handcap.reconstruct.whole import reconstruct_whole

    assert isinstance(job.what, Stretch)
    recording, take = _opened(job)
    some = replace(recording.part(job.what.start_ns, job.what.seen_ns), worn=job.worn)
    # A span too short to keep may go on in the next stretch.
    params = replace(job.params, verdict=replace(job.params.verdict, shortest_span_s=0.0))
    whole = reconstruct_whole(some, params, lambda what, share: say((what, share)))
    first = next(iter(whole.devices))
    # Joint covariances are large, and only the first device's map is wanted.
    devices = {
        device: replace(
            result, chain=None, **({} if device == first else {"map_points": None, "residuals": None, "room": None})
        )
        for device, result in whole.devices.items()
    }
    undecodable = {camera: take.undecodable(camera) for camera in recording.cameras.values()}
    say(SolvedStretch(replace(whole, devices=devices), undecodable))


def _opened(job: Job) -> tuple[Recording, Take]:
    import cv2

    from handcap import session as session_store
    from handcap.reconstruct.recorded import recorded

    cv2.setNumThreads(1)  # the other cores have work of their own
    session = session_store.read(job.session, job.rig)
    take = session.take(job.take)
    return recorded(session, take, job.params.every, job.params.share), take
