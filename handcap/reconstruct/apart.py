"""Every device of a take solved in a process of its own, as many at a time as there are cores.

Until they are tied together, devices know nothing of each other. A process of its own, and not a thread, because most
of the work is Python; started by name, and not forked, because the libraries in use have threads of their own.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from handcap.errors import HandcapError, ReconstructionError
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


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def solve_apart(jobs: Sequence[Job], on_progress: Progress) -> dict[str, Solved]:
    """Solve them all, by device; `on_progress` is told one step at a time and the share of the whole.

    Raises:
        HandcapError: what stopped one of them.
    """
    done: dict[str, float] = {}
    running: list[subprocess.Popen[bytes]] = []
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
                child.kill()
            raise


def _solve_in_child(job: Job, on_progress: Progress, running: list[subprocess.Popen[bytes]]) -> Solved:
    command = [sys.executable, "-P", "-c", "from handcap.reconstruct.apart import main; main()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        running.append(child)
        try:
            pickle.dump(job, child.stdin)
            child.stdin.close()
            while True:
                word, what = pickle.load(child.stdout)
                if word == "progress":
                    on_progress(*what)
                elif word == "failed":
                    raise what
                else:
                    return what
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            raise ReconstructionError(
                f"the process that solved the device {job.device!r} ended unexpectedly (code {child.wait()})",
                where=job.session,
                mend="close other programs if memory is short, and run it again; if it happens again, report it",
            ) from None
        finally:
            child.kill()


def main() -> None:
    """The child: a job from stdin; progress, then what became of it, to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends this process
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between

    def say(word: str, what: Any) -> None:
        pickle.dump((word, what), out)
        out.flush()

    try:
        say("solved", _solved(pickle.load(sys.stdin.buffer), lambda what, share: say("progress", (what, share))))
    except HandcapError as error:
        say("failed", error)
    except BrokenPipeError:  # the parent is gone
        pass


def _solved(job: Job, on_progress: Progress) -> Solved:
    import cv2

    from handcap import session as session_store
    from handcap.reconstruct.recorded import recorded
    from handcap.reconstruct.whole import solve_device

    cv2.setNumThreads(1)  # the other cores have devices of their own
    session = session_store.read(job.session, job.rig)
    take = session.take(job.take)
    recording = recorded(session, take, job.params.every)
    result = solve_device(recording, job.device, job.params, on_progress)
    return Solved(result, len(take.undecodable(recording.cameras[job.device])))
