"""Work in a process of its own, which says how it goes.

A process, and not a thread, because most of the work is Python or holds its lock; started by name, and not forked,
because the libraries in use have threads of their own.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Any, TypeVar

from handcap.errors import HandcapError

_J = TypeVar("_J")
Say = Callable[[Any], None]
_PIPE_BYTES = 1 << 20  # what a child may be ahead of its listener


class ChildEnded(Exception):
    """The process is gone before its work was done.

    Attributes:
        how: the end of a sentence about it.
        mend: what its user can do.
    """

    mend = "close other programs if memory is short, and run it again; if it happens again, report it"

    def __init__(self, code: int) -> None:
        self.how = f"ended unexpectedly (code {code})"
        super().__init__(self.how)


class Child(Iterator[Any]):
    """`function(job, say)` at work in another process; its values are what it says, in order.

    Args:
        function: of a module, so that the other process can import it.
        job: anything that can be pickled.

    Raises:
        HandcapError: while iterating, what stopped the function.
        ChildEnded: while iterating, the process was killed or crashed.
    """

    def __init__(self, function: Callable[[_J, Say], None], job: _J) -> None:
        command = [sys.executable, "-P", "-c", "from handcap.child import main; main()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._says = self._process.stdout
        _widen(self._says)
        try:
            with self._process.stdin as stdin:
                stdin.write(pickle.dumps((function, job)))
        except BrokenPipeError:  # told when its first word is asked for
            pass

    def __next__(self) -> Any:
        try:
            word, what = pickle.load(self._says)
        except (EOFError, pickle.UnpicklingError):
            raise ChildEnded(self._process.wait()) from None
        if word == "failed":
            raise what
        if word == "done":
            raise StopIteration
        return what

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._says.close()


def _widen(pipe: IO[bytes]) -> None:
    """Let more wait in a pipe, where the system allows it."""
    with suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """The child: function and job from stdin; what the function says to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends this process
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between

    def tell(word: str, what: Any) -> None:
        pickle.dump((word, what), out)
        out.flush()

    function, job = pickle.loads(sys.stdin.buffer.read())
    try:
        function(job, lambda what: tell("says", what))
        tell("done", None)
    except HandcapError as error:
        tell("failed", error)
    except BrokenPipeError:  # the parent is gone
        os._exit(1)
