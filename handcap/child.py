"""Work in a process of its own, which says how it goes.

A process, and not a thread, because most of the work is Python or holds its lock; started by name, and not forked,
because the libraries in use have threads of their own. Where several are wanted that import the same for a second and
more, a nursery imports it once and is forked for each: it does nothing else, so that it never has a second thread.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from threading import Lock
from typing import IO, Any, Protocol, TypeVar

from handcap.errors import HandcapError

_J = TypeVar("_J")
_R = TypeVar("_R")
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


class _Process(Protocol):
    def wait(self) -> int: ...

    def kill(self) -> None: ...


class Child(Iterator[Any]):
    """`function(job, say)` at work in another process; its values are what it says, in order.

    Args:
        function: of a module, so that the other process can import it.
        job: anything that can be pickled.
        nursery: to be forked from; by default a process is started anew.

    Raises:
        HandcapError: while iterating, what stopped the function.
        ChildEnded: while iterating, the process was killed or crashed; at once, when the nursery was.
    """

    def __init__(self, function: Callable[[_J, Say], None], job: _J, nursery: Nursery | None = None) -> None:
        self._process: _Process
        if nursery is None:
            process = subprocess.Popen(_command("main"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert process.stdin is not None and process.stdout is not None
            self._process, stdin, self._says = process, process.stdin, process.stdout
        else:
            self._process, stdin, self._says = nursery.forked()
        _widen(self._says)
        try:
            with stdin:
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


class Nursery:
    """A process that has imported some modules and forks children that need them; ends with `close`.

    Args:
        modules: their names. Whatever they start at import must survive a fork.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._asks, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            # One thread, or a child could inherit a lock that nobody will ever open.
            alone = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
            command = [*_command("nursery"), str(there.fileno()), *modules]
            self._process = subprocess.Popen(command, pass_fds=[there.fileno()], env={**os.environ, **alone})
        self._lock = Lock()

    def forked(self) -> tuple[_Forked, IO[bytes], IO[bytes]]:
        """A new child and pipes to its stdin and from its stdout. Raises ChildEnded."""
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        try:
            pid = self.ask("fork", in_read, out_write)
        except ChildEnded:
            os.close(in_write)
            os.close(out_read)
            raise
        finally:
            os.close(in_read)
            os.close(out_write)
        return _Forked(self, pid), os.fdopen(in_write, "wb"), os.fdopen(out_read, "rb")

    def ask(self, what: str, *files: int) -> int:
        """One number in answer to one request. Raises ChildEnded."""
        with self._lock:
            try:
                socket.send_fds(self._asks, [what.encode()], files)
                answer = self._asks.recv(64)
            except OSError:
                answer = b""
        if not answer:
            raise ChildEnded(self._process.wait())
        return int(answer)

    def kill(self) -> None:
        """End it at once, whatever it is doing; whoever waits for its answer gets ChildEnded."""
        self._process.kill()

    def close(self) -> None:
        """End it; its children end when they next say something."""
        self._asks.close()
        self._process.wait()


Bear = Callable[[Callable[[_J, Say], None], _J], Child]


def beside_each_other(
    work: Callable[[int, Bear[Any]], _R],
    count: int,
    most: int,
    modules: Sequence[str],
    nursery: Nursery | None = None,
) -> list[_R]:
    """What `work` made of 0, 1, … count - 1, each with a child, `most` at a time; one that fails ends all others.

    Args:
        work: is given its number and what starts a child of the nursery they all share; listens to it and closes it.
        modules: that the nursery imports.
        nursery: that has imported them, and ends here; by default a new one.
    """
    running: list[Child] = []
    nursery = nursery or Nursery(modules)

    def bear(function: Callable[[Any, Say], None], job: Any) -> Child:
        child = Child(function, job, nursery)
        running.append(child)
        return child

    try:
        with ThreadPoolExecutor(min(count, most)) as pool:
            try:
                return list(pool.map(lambda k: work(k, bear), range(count)))
            except BaseException:  # one that failed, or Ctrl-C
                nursery.kill()
                for child in running:
                    child.close()
                raise
    finally:
        nursery.close()


def last_in_line() -> list[str]:
    """What to begin a command with so that it works when nobody else does: of processor time it gets a thirtieth of
    what its parent does where both want it, of the disk nothing while anybody else reads or writes."""
    disk = [] if shutil.which("ionice") is None else ["ionice", "-c", "3"]
    return ["nice", "-n", "15", *disk]


def let_end(process: subprocess.Popen[Any], patience_s: float) -> None:
    """Close the standard input of a process that ends with it, and wait; kill it where that takes too long."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class _Forked:
    """A child of a nursery, whose number nobody else can get before it has been waited for."""

    nursery: Nursery
    pid: int
    code: int | None = None

    def wait(self) -> int:
        if self.code is None:
            try:
                self.code = self.nursery.ask(f"wait {self.pid}")
            except ChildEnded:
                self.code = -signal.SIGKILL
        return self.code

    def kill(self) -> None:
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _command(what: str) -> list[str]:
    return [sys.executable, "-P", "-c", f"from handcap.child import {what}; {what}()"]


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


def nursery() -> None:
    """The nursery: a socket's number and names of modules from the command line; requests from that socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    _, number, *modules = sys.argv
    asked = socket.socket(fileno=int(number))
    for module in modules:
        import_module(module)
    while True:
        request, files, _, _ = socket.recv_fds(asked, 64, 2)
        if not request:  # the parent is done, or gone
            os._exit(0)
        word, *of = request.decode().split()
        if word == "wait":
            asked.send(str(os.waitstatus_to_exitcode(os.waitpid(int(of[0]), 0)[1])).encode())
            continue
        pid = os.fork()
        if pid == 0:
            asked.close()
            for file, to in zip(files, (0, 1), strict=True):
                os.dup2(file, to)
                os.close(file)
            code = 1
            try:
                main()
                code = 0
            except BaseException as error:
                sys.excepthook(type(error), error, error.__traceback__)
            finally:
                sys.stderr.flush()
                os._exit(code)
        for file in files:
            os.close(file)
        asked.send(str(pid).encode())
