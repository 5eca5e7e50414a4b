"""Commands on their way to one board: sent again under the same id until it says what became of them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from handcap.clock import NS_PER_S
from handcap.errors import DeviceError
from handcap.wire.handcap_pb2 import (
    Ack,
    Command,
    Identify,
    Light,
    MarkTakeStart,
    RebootToBootloader,
    SetImuRate,
    SetTrigger,
    Stream,
)

What = Identify | Light | MarkTakeStart | RebootToBootloader | SetImuRate | SetTrigger | Stream
RESEND_NS = 300_000_000  # a busy USB stack holds bytes back for 50 ms
_FIELDS = {
    one.message_type.name: one.name
    for one in Command.DESCRIPTOR.oneofs_by_name["what"].fields
    if one.message_type is not None
}
# What a board forgets when it restarts, in the order in which it is told again.
LASTING = ("set_imu_rate", "set_trigger", "light", "stream")


@dataclass(slots=True, eq=False)
class Pending:
    """A command that has not been acknowledged.

    Attributes:
        message: as it goes out, the same every time.
        due_ns: when to send it (again).
        until_ns: when to give up.
        ack: the answer.
        done: set when there is one.
    """

    message: Command
    due_ns: int
    until_ns: int
    ack: Ack | None = None
    done: threading.Event = field(default_factory=threading.Event)


def field_of(what: What) -> str:
    """The command's name in the schema: "set_imu_rate"."""
    return _FIELDS[what.DESCRIPTOR.name]


class Commands:
    """All pending commands of a board. Threads may ask, one thread sends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # A board remembers its last ids: a program that always began with 1 would hear old answers.
        self._next_id = secrets.randbelow(1 << 31) + 1
        self._pending: dict[int, Pending] = {}
        self._lasting: dict[str, What] = {}

    def ask(self, what: What, now_ns: int, timeout_s: float) -> Pending:
        """Put a command on its way."""
        with self._lock:
            command = Command(id=self._next_id)
            self._next_id = self._next_id % ((1 << 32) - 1) + 1
            getattr(command, field_of(what)).CopyFrom(what)
            pending = Pending(command, now_ns, now_ns + int(timeout_s * NS_PER_S))
            self._pending[command.id] = pending
            return pending

    def keep(self, what: What) -> None:
        """The board obeyed: tell it again after a restart."""
        name = field_of(what)
        if name in LASTING:
            with self._lock:
                self._lasting[name] = what

    def tell_again(self, now_ns: int, timeout_s: float) -> None:
        """The board began anew: put it back into the state it was in."""
        with self._lock:
            lasting = [self._lasting[name] for name in LASTING if name in self._lasting]
        for what in lasting:
            self.ask(what, now_ns, timeout_s)

    def due(self, now_ns: int) -> Iterator[Pending]:
        """Those to be sent now; those whose time is over are forgotten."""
        with self._lock:
            waiting = list(self._pending.values())
        for pending in waiting:
            if pending.until_ns <= now_ns:
                self.forget(pending)
            elif pending.due_ns <= now_ns:
                yield pending

    def answered(self, ack: Ack) -> None:
        """An answer came; one to something that nobody asked is nobody's."""
        with self._lock:
            pending = self._pending.pop(ack.id, None)
        if pending is not None:
            pending.ack = ack
            pending.done.set()

    def forget(self, pending: Pending) -> None:
        with self._lock:
            self._pending.pop(pending.message.id, None)


def require_done(ack: Ack, what: What, where: str) -> Ack:
    """The answer, if the board obeyed.

    Raises:
        DeviceError: it refused, failed, or knows no such command; with the board's own words.
    """
    name, said = field_of(what).replace("_", " "), f": {ack.text}" if ack.text else ""
    if ack.outcome == Ack.OUTCOME_DONE:
        return ack
    if ack.outcome == Ack.OUTCOME_REFUSED:
        raise DeviceError(f"the board refused to {name}{said}", where=where, mend="ask for what it says it can do")
    if ack.outcome == Ack.OUTCOME_NOT_KNOWN:
        raise DeviceError(f"the board's firmware cannot {name}{said}", where=where, mend=f"run `handcap flash {where}`")
    raise DeviceError(
        f"the board tried to {name} and failed{said}",
        where=where,
        mend="run `handcap doctor`; it names the broken part",
    )
