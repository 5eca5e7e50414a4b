"""Every device of a take solved in a process of its own, as many at a time as there are cores.

Until they are tied together, devices know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from handcap.child import Child, ChildEnded, Say, cores
from handcap.errors import ReconstructionError
from handcap.reconstruct.result import Progress, Reconstruction, ReconstructParams


@dataclass(frozen=True, slots=True)
class Job:
    """One device of one take.

    Attributes:
        session, rig, take: as for `run_session`.
        device: which.
    """

    session: Path
    rig: Path | None
    take: str
    device: str
    params: ReconstructParams


@dataclass(frozen=True, eq=False, slots=True)
class Solved:
    """What became of it, and how many of its pictures did not decode."""

    result: Reconstruction
    undecodable: int


def solve_apart(jobs: Sequence[Job], on_progress: Progress) -> dict[str, Solved]:
    """Solve them all, by device; `on_progress` is told one step at a time and the share of the whole.

    Raises:
        HandcapError: what stopped one of them.
    """
    done: dict[str, float] = {}
    running: list[Child] = []
    lock = Lock()

    def solve(job: Job) -> Solved:
        def report(what: str, share: float) -> None:
            with lock:
                done[job.device] = share
                on_progress(what, sum(done.values()) / len(jobs))

        return _solve_in_child(job, report, running)

    with ThreadPoolExecutor(min(len(jobs), cores())) as pool:
        try:
            return dict(zip((job.device for job in jobs), pool.map(solve, jobs), strict=True))
        except BaseException:  # one that failed, or Ctrl-C: nobody waits for the others
            for child in running:
                child.close()
            raise


def _solve_in_child(job: Job, on_progress: Progress, running: list[Child]) -> Solved:
    child = Child(_solve, job)
    running.append(child)
    try:
        for what in child:
            if isinstance(what, Solved):
                return what
            on_progress(*what)
        raise AssertionError("a child says what it solved before it is done")
    except ChildEnded as ended:
        raise ReconstructionError(
            f"the process that solved the device {job.device!r} {ended.how}", where=job.session, mend=ended.mend
        ) from None
    finally:
        child.close()


def _solve(job: Job, say: Say) -> None:
    import cv2

    from handcap import session as session_store
    from handcap.reconstruct.recorded import recorded
    from handcap.reconstruct.whole import solve_device

    cv2.setNumThreads(1)  # the other cores have devices of their own
    session = session_store.read(job.session, job.rig)
    take = session.take(job.take)
    recording = recorded(session, take, job.params.every, job.params.share)
    result = solve_device(recording, job.device, job.params, lambda what, share: say((what, share)))
    say(Solved(result, len(take.undecodable(recording.cameras[job.device]))))
