"""One connected board or camera node: a thread of its own listens, keeps the clock and passes commands on."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from handcap.clock import NS_PER_S, nanoseconds
from handcap.devices.backlog import Backlog, Outage
from handcap.devices.clock_fit import ClockEstimate, Exchange
from handcap.devices.clock_tracker import ClockTracker, Rejected, TrackerParams
from handcap.devices.commands import RESEND_NS, Commands, What, require_done
from handcap.devices.inbox import Inbox, Message
from handcap.devices.losses import Losses
from handcap.devices.port import Port, open_port
from handcap.errors import DeviceError, HandcapError
from handcap.wire import Decoded, MessageStream, frame, require_version
from handcap.wire.handcap_pb2 import Command, Envelope, Hello, Identify, Status, Stream, SyncRequest

_log = logging.getLogger(__name__)
EventKind = Literal["connected", "unplugged", "rebooted", "foreign", "wrong_version", "clock_jumped", "caught_up"]


@dataclass(frozen=True, slots=True)
class BoardParams:
    """How a board is listened to.

    Attributes:
        sync_every_s: between two exchanges of stamps. At 20 Hz thirty seconds tell skew to 2 ppm (bench/clock_fit.py).
        nap_s: between two reads while nothing is urgent: 50 messages a second need no thousand wake-ups.
        sync_wait_s: how long reads stay quick after a question, so that its answer is stamped as it arrives.
        reopen_every_s: between attempts to find an unplugged board.
        most_messages, most_bytes: that wait for whoever records: a minute of a board at 1 kHz.
        most_bytes_node: the same of a camera node: a few pictures of 16 MiB; then the node drops pictures and counts.
        silent_s: a node that says nothing for so long has lost its link: it answers twenty times a second, and a broken
            radio link breaks no connection by itself.
        wait_s: for an answer to a command, before it has failed. A board takes milliseconds, a self-test 0.2 s.
    """

    sync_every_s: float = 0.05
    nap_s: float = 0.008
    sync_wait_s: float = 0.02
    reopen_every_s: float = 0.25
    most_messages: int = 8192
    most_bytes: int = 4 << 20
    most_bytes_node: int = 64 << 20
    silent_s: float = 3.0
    wait_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a connection.

    Attributes:
        kind: what.
        t_ns: when, host's monotonic clock.
        text: more, in English.
    """

    kind: EventKind
    t_ns: int
    text: str


class _NotOurs(ConnectionError):
    """Another board answers where ours did."""


_OPEN_QUESTIONS = 32
_KEPT_EVENTS = 256
_KEPT_CLOCKS = 16
_open_uids: dict[int, str] = {}
_open_uids_lock = threading.Lock()


class Board:
    """An open board. Use `open_board`; close it, or use it in a `with`.

    Attributes:
        name: its port.
        hello: what it last said of itself.
        status: its last Status, None until the first.
    """

    hello: Hello

    def __init__(
        self,
        name: str,
        *,
        uid: str | None = None,
        any_version: bool = False,
        params: BoardParams | None = None,
        candidates: Callable[[str], Sequence[str]] | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.name = name
        self.status: Status | None = None
        self.params = params or BoardParams()
        self._any_version, self._now_ns = any_version, clock_ns
        self._uid = None if uid is None else int(uid, 16)
        self._candidates = candidates
        self._port: Port | None = open_port(name)
        node = self._port.holds_back
        most_bytes = self.params.most_bytes_node if node else self.params.most_bytes
        self._inbox = Inbox(self.params.most_messages, most_bytes, drops=not node)
        self._stream = MessageStream(self._port.longest_frame)
        # A node answers as quickly as its network lets it.
        self._tracker = ClockTracker(TrackerParams(shortest_round_trip_s=None) if node else TrackerParams())
        self._commands = Commands()
        self._events: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self._epoch = self._foreign = self._unplugged = self._bytes_read = self._messages_read = 0
        self._backlog = Backlog() if node else None
        self._boot_id: int | None = None
        self._boots = 0
        self._confirmed = False
        self._ready = threading.Event()
        self._error: HandcapError | None = None
        self._claimed: int | None = None
        self._closing = threading.Event()
        self._unsent = b""
        self._seq = 0
        self._asked: deque[int] = deque(maxlen=_OPEN_QUESTIONS)
        self._hello_due_ns = self._sync_due_ns = self._reopen_due_ns = 0
        self._urgent_until_ns = 0
        self._clocks: dict[int, ClockEstimate] = {}
        self._wake_lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._heard_ns = self._now_ns()
        self._watch(self._port)
        self._thread = threading.Thread(target=self._run, name=f"handcap {name}", daemon=True)
        self._thread.start()

    # What others ask, from any thread.

    @property
    def uid(self) -> str:
        """16 hexadecimal digits."""
        return f"{self._uid or 0:016x}"

    @property
    def connected(self) -> bool:
        """Whether it is plugged in and has said who it is."""
        return self._confirmed

    @property
    def epoch(self) -> int:
        """Counts stretches without unplugging or restart, from 1 on."""
        return self._epoch

    @property
    def clock(self) -> ClockEstimate | None:
        """The newest fit of its clock in this epoch; None for the first half second."""
        return self._tracker.estimate

    def clock_of(self, epoch: int) -> ClockEstimate | None:
        """The last fit of an epoch, for messages that were taken late."""
        return self._clocks.get(epoch)

    @property
    def outages(self) -> Sequence[Outage]:
        """Times a node's link was away and came back with what the node had kept; none of a board."""
        return () if self._backlog is None else tuple(self._backlog.outages)

    def has_come(self, t_ns: int) -> bool:
        """Whether a node's pictures up to `t_ns`, host's monotonic clock, are here, lost links or not."""
        backlog = self._backlog
        return backlog is None or not backlog.pending or (backlog.newest_ns is not None and backlog.newest_ns >= t_ns)

    @property
    def clock_rejected(self) -> Rejected:
        return self._tracker.rejected

    @property
    def clock_jumps(self) -> int:
        return self._tracker.jumps

    @property
    def events(self) -> list[Event]:
        """The last ones, oldest first."""
        return list(self._events)

    @property
    def losses(self) -> Losses:
        frames, messages, status = self._stream.deframer.losses, self._stream.losses, self.status or Status()
        return Losses(
            bad_crc=frames.bad_crc,
            bad_cobs=frames.bad_cobs,
            too_short=frames.too_short,
            too_long=frames.too_long,
            not_a_message=messages.not_a_message,
            messages_missing=messages.messages_missing,
            out_of_order=messages.out_of_order,
            unknown_body=messages.unknown_body,
            queue_full=self._inbox.dropped,
            foreign=self._foreign,
            unplugged=self._unplugged,
            reboots=self._stream.reboots,
            board_imu_samples=status.imu_samples_lost,
            board_frame_stamps=status.frame_stamps_dropped,
            board_messages=status.messages_dropped,
            board_rx=status.rx_bad_crc + status.rx_bad_frame + status.rx_too_long + status.rx_overruns,
        )

    def receive(self, timeout_s: float | None = None) -> list[Message]:
        """All that came since the last call, in order; waits for something, and is empty on time-out."""
        taken = self._inbox.take(timeout_s)
        if self._port is not None and self._port.holds_back:
            self._wake_up()
        if not taken and self._error is not None:
            raise self._error
        return taken

    def messages(self) -> Iterator[Message]:
        """Everything it says, until it is closed."""
        while not self._inbox.closed:
            yield from self.receive(0.5)

    def command(self, what: What, timeout_s: float | None = None) -> None:
        """Make the board do something, and wait until it has.

        Raises:
            DeviceError: it does not answer, refuses, fails, or does not know how.
        """
        timeout_s = self.params.wait_s if timeout_s is None else timeout_s
        pending = self._commands.ask(what, self._now_ns(), timeout_s)
        self._wake_up()
        pending.done.wait(timeout_s + RESEND_NS / NS_PER_S)
        self._commands.forget(pending)
        if pending.ack is None:
            if self._error is not None:
                raise self._error
            if not self._confirmed:
                raise DeviceError("the board is unplugged", where=self.name, mend="plug it in again")
            raise DeviceError(
                f"the board did not answer within {timeout_s:g} s",
                where=self.name,
                mend="unplug it and plug it in again; if that does not help, run `handcap doctor`",
            )
        require_done(pending.ack, what, self.name)
        self._commands.keep(what)

    def stream(self, on: bool) -> None:
        """Inertial samples, angles and frame stamps flow, or do not; after a restart too. Raises DeviceError."""
        self.command(Stream(on=on))

    def wait_connected(self, timeout_s: float) -> None:
        """Wait until the board has said who it is. Raises DeviceError or WireError with what came instead."""
        self._ready.wait(timeout_s)
        if self._error is not None:
            raise self._error
        if not self._confirmed:
            raise self._silence()

    def close(self) -> None:
        """Stop listening. What was not taken is gone."""
        self._closing.set()
        self._wake_up()
        self._thread.join()
        with self._wake_lock:
            if self._wake >= 0:
                os.close(self._wake)
            self._wake = -1

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _silence(self) -> DeviceError:
        flash = f"if it is a handcap board, run `handcap flash {self.name}`; if not, name another port"
        if self._bytes_read == 0:
            return DeviceError("nothing answers on this port", where=self.name, mend=f"check the cable; {flash}")
        if self._messages_read == 0:
            return DeviceError(
                f"what comes from this port is not handcap's ({self._bytes_read} bytes, no message)",
                where=self.name,
                mend=flash,
            )
        return DeviceError("the board does not say who it is", where=self.name, mend=flash)

    def _wake_up(self) -> None:
        with self._wake_lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    # The listening thread.

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                if self._port is None:
                    self._reopen()
                    continue
                try:
                    self._turn(self._port)
                except ConnectionError as error:
                    self._gone(error)
        except HandcapError as error:
            self._error = error
        except Exception as error:
            _log.exception("%s: the listening thread broke", self.name)
            self._error = DeviceError(f"listening broke ({error!r})", where=self.name, mend="report this as a bug")
        finally:
            self._confirmed = False
            self._release()
            if self._port is not None:
                self._port.close()
            self._ready.set()
            self._inbox.close()

    def _turn(self, port: Port) -> None:
        """Send what is due, read what is there, rest."""
        now_ns = self._now_ns()
        self._send_due(now_ns)
        reading = not (port.holds_back and self._inbox.full)
        self._poll.modify(port.fileno(), select.POLLIN if reading else 0)
        urgent = now_ns < self._urgent_until_ns
        until_ns = min(self._sync_due_ns, self._urgent_until_ns) if urgent else self._sync_due_ns
        if not self._confirmed:
            until_ns = self._hello_due_ns
        ready = dict(self._poll.poll(min(max((until_ns - now_ns) / 1e6, 1.0), 20.0)))
        if self._wake in ready:
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)
        happened = ready.get(port.fileno(), 0)
        # What a connection had brought before it broke is read first; its end comes with the read after.
        broken = select.POLLNVAL if port.holds_back else select.POLLERR | select.POLLNVAL
        if happened & broken:
            raise ConnectionError("hung up")
        if happened or not reading:
            self._heard_ns = self._now_ns()
        elif port.holds_back and now_ns - self._heard_ns > self.params.silent_s * NS_PER_S:
            raise ConnectionError(f"nothing came for {self.params.silent_s:g} s")
        if happened and reading:
            data = port.read()
            self._take_in(data, self._now_ns())
        if happened and self._now_ns() >= self._urgent_until_ns and not self._closing.is_set():
            time.sleep(self.params.nap_s)

    def _take_in(self, data: bytes, arrived_ns: int) -> None:
        self._bytes_read += len(data)
        came: list[Message] = []
        try:
            for decoded in self._stream.push(data):
                self._messages_read += 1
                if self._took(decoded, arrived_ns):
                    came.append(Message(decoded.data, arrived_ns, self._epoch))
        finally:
            self._inbox.put(came)

    def _took(self, decoded: Decoded, arrived_ns: int) -> bool:
        """Whether a message is our board's and counts."""
        envelope = decoded.envelope
        if decoded.rebooted and self._confirmed:
            # Nothing of a new boot counts until it has said who it is.
            self._confirmed, self._hello_due_ns = False, 0
            self._note("rebooted", arrived_ns, f"boot {envelope.boot_id:08x}")
        body = envelope.WhichOneof("body")
        if body == "hello":
            self._greet(envelope.hello, envelope.boot_id, arrived_ns)
        if not self._confirmed:
            return False
        if self._backlog is not None and not self._is_new(self._backlog, envelope, arrived_ns):
            return False
        if body == "sync_response":
            self._answered(decoded, arrived_ns)
        elif body == "ack":
            self._commands.answered(envelope.ack)
        elif body == "status":
            self.status = envelope.status
        return True

    def _is_new(self, backlog: Backlog, envelope: Envelope, arrived_ns: int) -> bool:
        """Whether a node's message was not here before a lost link; and what else came of that link."""
        told = len(backlog.outages)
        new = backlog.is_new(envelope, self._clocks.get(self._epoch), arrived_ns)
        for outage in backlog.outages[told:]:
            text = f"the link was away for {outage.away_s:.1f} s; {outage.kept} pictures came late, {outage.lost} never"
            self._note("caught_up", arrived_ns, text)
        return new

    def _greet(self, hello: Hello, boot_id: int, arrived_ns: int) -> None:
        if self._uid is not None and hello.uid != self._uid:
            self._foreign += 1
            told = f"board {hello.uid:016x} answers here instead of {self.uid}"
            self._note("foreign", arrived_ns, told)
            if self._epoch == 0:
                mend = "plug the right board in, or name another port"
                raise DeviceError(told, where=self.name, mend=mend, cause="device_is_another")
            raise _NotOurs(told)
        if not self._any_version:
            try:
                require_version(hello, self.name)
            except HandcapError as error:
                if self._epoch == 0:
                    raise
                self._note("wrong_version", arrived_ns, error.what)
                raise _NotOurs(error.what) from error
        if self._epoch == 0:
            self._claim(hello.uid)
        self.hello = hello
        self._uid = hello.uid
        if self._confirmed:
            return
        self._confirmed = True
        self._epoch += 1
        self._asked.clear()
        same_boot = boot_id == self._boot_id
        if same_boot and self._epoch - 1 in self._clocks:  # its clock went on meanwhile
            self._clocks[self._epoch] = self._clocks[self._epoch - 1]
        if not same_boot:
            self._boot_id, self._boots = boot_id, self._boots + 1
            self._tracker.begin(self._boots)
        if self._backlog is not None and self._epoch > 1:
            self._backlog.returned(arrived_ns, same_boot)
        self._sync_due_ns = 0
        self._note("connected", arrived_ns, f"{hello.board} {self.uid}, firmware {hello.firmware_version}")
        if self._epoch > 1:
            self._commands.tell_again(arrived_ns, self.params.wait_s)
        self._ready.set()

    def _claim(self, uid: int) -> None:
        with _open_uids_lock:
            other = _open_uids.get(uid)
            if other is not None:
                raise DeviceError(
                    f"board {uid:016x} is open already, on {other}",
                    where=self.name,
                    mend="name each board once; if these are two boards, one of them answers for the other: unplug it",
                    cause="device_twice",
                )
            _open_uids[uid] = self.name
            self._claimed = uid

    def _release(self) -> None:
        with _open_uids_lock:
            if self._claimed is not None:
                _open_uids.pop(self._claimed, None)

    def _answered(self, decoded: Decoded, arrived_ns: int) -> None:
        answer = decoded.envelope.sync_response
        if answer.host_sent_t_ns not in self._asked:
            return
        while self._asked.popleft() != answer.host_sent_t_ns:  # those before it will not come any more
            pass
        self._urgent_until_ns = 0
        assert self._port is not None
        # The board stamped the answer before its first byte, we after its last one.
        on_the_line_ns = int(nanoseconds(self._port.byte_s * decoded.frame_bytes))
        exchange = Exchange(
            answer.host_sent_t_ns, answer.board_received_t_ns, answer.board_sent_t_ns, arrived_ns - on_the_line_ns
        )
        jumps = self._tracker.jumps
        self._tracker.add(exchange, self._boots)
        if self._tracker.estimate is not None:
            self._clocks[self._epoch] = self._tracker.estimate
            if len(self._clocks) > _KEPT_CLOCKS:
                del self._clocks[min(self._clocks)]
        if self._tracker.jumps != jumps:
            self._note("clock_jumped", arrived_ns, "the host slept, or the board's clock was set")

    def _send_due(self, now_ns: int) -> None:
        if not self._confirmed:
            if now_ns >= self._hello_due_ns:
                self._hello_due_ns = now_ns + RESEND_NS
                # The zero ends whatever half a frame the board has heard.
                self._send(Envelope(command=Command(id=1 + now_ns % (1 << 31), identify=Identify())), b"\0")
            return
        for pending in self._commands.due(now_ns):
            if self._send(Envelope(command=pending.message)):
                pending.due_ns = now_ns + RESEND_NS
        if now_ns >= self._sync_due_ns:
            every_ns = int(self.params.sync_every_s * NS_PER_S)
            self._sync_due_ns = max(self._sync_due_ns + every_ns, now_ns + every_ns // 2)
            sent_ns = self._now_ns()
            if self._send(Envelope(sync_request=SyncRequest(host_sent_t_ns=sent_ns))):
                self._asked.append(sent_ns)
                self._urgent_until_ns = sent_ns + int(self.params.sync_wait_s * NS_PER_S)

    def _send(self, envelope: Envelope, before: bytes = b"") -> bool:
        """Whether the message went out, or will as soon as there is room."""
        assert self._port is not None
        if self._unsent:
            self._unsent = self._unsent[self._port.write(self._unsent) :]
            if self._unsent:  # a peer that does not read gets nothing more
                return False
        envelope.seq, envelope.t_us = self._seq, self._now_ns() // 1000
        self._seq = (self._seq + 1) % (1 << 32)
        data = before + frame(envelope.SerializeToString())
        self._unsent = data[self._port.write(data) :]
        return True

    # Plugged in and out.

    def _watch(self, port: Port) -> None:
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._poll.register(port.fileno(), select.POLLIN)

    def _gone(self, why: ConnectionError) -> None:
        now_ns = self._now_ns()
        ours = not isinstance(why, _NotOurs)
        wait_s = self.params.reopen_every_s * (1 if ours else 8)
        assert self._port is not None
        self._port.close()
        self._port = None
        self._unsent = b""
        if self._backlog is not None:
            self._backlog.broke()
        was, self._confirmed = self._confirmed, False
        self._reopen_due_ns = now_ns + int(wait_s * NS_PER_S)
        if ours and (was or self._backlog is None):  # a node that another host has hangs up at once, again and again
            self._unplugged += 1
            self._note("unplugged", now_ns, str(why))
        if self._epoch == 0:
            raise DeviceError(
                f"the connection broke before anything was said ({why})", where=self.name, mend="try again"
            )

    def _reopen(self) -> None:
        wait_s = (self._reopen_due_ns - self._now_ns()) / NS_PER_S
        if self._closing.wait(max(wait_s, 0.0)):
            return
        self._reopen_due_ns = self._now_ns() + int(self.params.reopen_every_s * NS_PER_S)
        names = [self.name] if self._candidates is None else self._candidates(self.uid)
        for name in names:
            try:
                port = open_port(name)
            except DeviceError:
                continue
            self._port, self.name = port, name
            self._heard_ns = self._now_ns()
            self._stream.begin_again()
            self._watch(port)
            self._hello_due_ns = 0
            return

    def _note(self, kind: EventKind, t_ns: int, text: str) -> None:
        _log.info("%s: %s: %s", self.name, kind, text)
        self._events.append(Event(kind, t_ns, text))
