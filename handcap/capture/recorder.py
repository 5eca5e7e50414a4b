"""One thread writes a session; whoever has something hands it over and never waits for the disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from handcap.errors import HandcapError, SessionError
from handcap.session import SessionWriter, StepMark, TakeWriter
from handcap.session.erasure import erase_held
from handcap.session.sink import in_background
from handcap.wire.handcap_pb2 import Envelope

log = logging.getLogger(__name__)

Encoding = Literal["jpeg", "h264"]
_FITS_EVERY_S = 2.0
_TICK_S = 0.25  # while nothing comes, what came before is flushed all the same


@dataclass(frozen=True, slots=True)
class RecorderParams:
    """How much may wait for a slow disk.

    Attributes:
        most_video_bytes: pictures beyond it are thrown away and counted: ten seconds of three cameras at 1280x720.
        most_wire_bytes: the same of boards' messages, half an hour of three boards at 1 kHz: never reached before the
            pictures' limit.
    """

    most_video_bytes: int = 64 << 20
    most_wire_bytes: int = 64 << 20


@dataclass(slots=True)
class Dropped:
    """What the disk was too slow for, in the running take or the last one.

    Attributes:
        pictures: by camera.
        messages: by device.
    """

    pictures: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class _Work:
    do: Callable[[TakeWriter], None]
    kind: Literal["video", "wire", "word"]
    size: int


class Recorder:
    """Writes what it is given into the running take, and forgets it between takes.

    Args:
        session: to write to.
        params: what may wait.
        on_failure: called by the writing thread as soon as a take had to be interrupted.

    Attributes:
        dropped: what the disk was too slow for.
        failure: why the last take was interrupted; None while all is well.
    """

    def __init__(
        self,
        session: SessionWriter,
        params: RecorderParams | None = None,
        on_failure: Callable[[SessionError], None] = lambda error: None,
    ) -> None:
        self.session = session
        self._on_failure = on_failure
        self.params = params or RecorderParams()
        self.dropped = Dropped()
        self.failure: SessionError | None = None
        self._work: deque[_Work | tuple[Callable[[], Any], Future[Any]]] = deque()
        self._waiting = {"video": 0, "wire": 0, "word": 0}
        self._broken_video: set[str] = set()
        self._fits: list[tuple[str, int, float, float, float, str, int]] = []
        self._fits_due_s = 0.0
        self._fitted: set[tuple[str, int]] = set()
        self._jotted: deque[Future[None]] = deque()
        self._changed = threading.Condition()
        self._take: TakeWriter | None = None
        self._recording = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="handcap recorder", daemon=True)
        self._thread.start()

    @property
    def recording(self) -> bool:
        """Whether a take runs."""
        return self._recording.is_set()

    @property
    def take(self) -> str | None:
        """Id of the running take."""
        take = self._take
        return take.id if take is not None and self.recording else None

    @property
    def waiting_bytes(self) -> int:
        """Handed over and not written yet."""
        return sum(self._waiting.values())

    # From any thread; none of these waits for the disk.

    def put_message(self, device: str, t_ns: int, envelope: Envelope) -> None:
        """One message of a board, received at `t_ns` on the session clock."""
        size = envelope.ByteSize()
        work = _Work(lambda take: take.add_wire(device, t_ns, envelope), "wire", size)
        if not self._hand_over(work, self.params.most_wire_bytes):
            self.dropped.messages[device] = self.dropped.messages.get(device, 0) + 1

    def put_picture(self, camera: str, t_ns: int, data: bytes, encoding: Encoding, *, key: bool = True) -> None:
        """One picture as it came; of H.264, `key` says whether decoding can begin with it."""
        if key:
            self._broken_video.discard(camera)
        if encoding == "h264":
            work = _Work(lambda take: take.add_video(camera, t_ns, data), "video", len(data))
        else:
            work = _Work(lambda take: take.add_image(camera, t_ns, data, "jpeg"), "video", len(data))
        whole = camera not in self._broken_video
        if not (whole and self._hand_over(work, self.params.most_video_bytes)):
            self.dropped.pictures[camera] = self.dropped.pictures.get(camera, 0) + 1
            if encoding == "h264":  # what refers to a lost picture is lost too
                self._broken_video.add(camera)

    def put_clock_fit(self, device: str, t_ns: int, dt_s: float, skew: float, residual_s: float, boot_id: int) -> None:
        """t_session = t_device + dt at session time `t_ns`."""

        def keep(take: TakeWriter) -> None:
            self._fits.append((device, t_ns, dt_s, skew, residual_s, take.id, boot_id))
            if time.monotonic() >= self._fits_due_s or (device, boot_id) not in self._fitted:
                self._write_fits()  # a boot's first at once: its samples cannot be read without one

        self._hand_over(_Work(keep, "word", 0), 0)

    def put_fault(self, code: str, detail: str, t_ns: int, device: str | None) -> None:
        """Something that happened while a take ran."""

        def write(take: TakeWriter) -> None:
            id, journal = take.id, self.session.journal
            self._jot(lambda: journal.fault(code, detail, take=id, t_ns=t_ns, device=device))

        self._hand_over(_Work(write, "word", 0), 0)

    def put_card(self, card: str, sha256: str, text: str, variation: str | None) -> None:
        """Which task card the running take is done by, and in which way."""

        def write(take: TakeWriter) -> None:
            self.session.journal.card_used(take.id, card, sha256, text, variation)

        self._hand_over(_Work(write, "word", 0), 0)

    def put_step(self, mark: StepMark) -> None:
        """A step of the work begins."""
        self._hand_over(_Work(lambda take: self.session.journal.step_began(take.id, mark), "word", 0), 0)

    # These wait until what was handed over before is written.

    def start_take(self, task: str | None = None) -> str:
        """Begin the next take. Raises SessionError."""
        return self._ask(lambda: self._start(task))

    def end_take(self) -> str:
        """End the running take; it is on the disk when this returns. Raises SessionError."""
        return self._ask(self._end)

    def discard_take(self, take: str, why: str) -> None:
        """A take that has ended is never to be exported. Raises SessionError."""

        def discard() -> str:
            self.session.journal.take_discarded(take, why)
            return take

        self._ask(discard)

    def erase_take(self, take: str, why: str, by: str) -> None:
        """The bytes of a take that has ended are gone when this returns. Raises SessionError."""

        def erase() -> str:
            while self._jotted:  # what is still to be written of the take goes with it
                with suppress(SessionError):
                    self._wait_jotted()
            return erase_held(self.session.path, self.session.journal, take, why, by).take

        self._ask(erase)

    def close(self) -> None:
        """End a running take and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    # The writing thread.

    def _hand_over(self, work: _Work, most_bytes: int) -> bool:
        if not self._recording.is_set():
            return True
        with self._changed:
            if work.kind != "word" and self._waiting[work.kind] + work.size > most_bytes:
                return False
            self._work.append(work)
            self._waiting[work.kind] += work.size
            self._changed.notify()
        return True

    def _ask(self, do: Callable[[], str]) -> str:
        asked: Future[str] = Future()
        with self._changed:
            if self._closing:
                raise SessionError("the recorder was closed", where=self.session.path, mend="start `handcap capture`")
            self._work.append((do, asked))
            self._changed.notify()
        return asked.result()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._work) or self._closing, _TICK_S)
                work = self._work.popleft() if self._work else None
                if isinstance(work, _Work):
                    self._waiting[work.kind] -= work.size
                if work is None and self._closing:
                    break
            if work is None:
                self._write(TakeWriter.tick)
                continue
            if isinstance(work, _Work):
                self._write(work.do)
                continue
            do, asked = work
            try:
                asked.set_result(do())
            except Exception as error:
                asked.set_exception(error)
        try:
            if self._take is not None and not self._take.closed:
                self._end()
            self._wait_jotted()
        except HandcapError as error:
            self.failure = error if isinstance(error, SessionError) else None

    def _write(self, do: Callable[[TakeWriter], None]) -> None:
        take = self._take
        if take is None or take.closed:
            return
        try:
            do(take)
        except SessionError as error:
            self._interrupt(take, error)
        except Exception as error:  # this thread must live: the next take wants to be written
            log.exception("take %s: writing broke", take.id)
            self._interrupt(
                take, SessionError(f"writing broke ({error!r})", where=take.id, mend="report this as a bug")
            )

    def _write_fits(self) -> None:
        """All at once: each transaction waits for the disk."""
        self._fits_due_s = time.monotonic() + _FITS_EVERY_S
        fits, self._fits, journal = self._fits, [], self.session.journal
        self._fitted |= {(fit[0], fit[-1]) for fit in fits}

        def write() -> None:
            with journal.together():
                for device, t_ns, dt_s, skew, residual_s, take, boot_id in fits:
                    journal.clock_fit(device, t_ns, dt_s, skew, residual_s, take=take, boot_id=boot_id)

        self._jot(write)

    def _jot(self, do: Callable[[], None]) -> None:
        """Into the journal, without waiting for it. Raises SessionError with what went wrong before."""
        while self._jotted and self._jotted[0].done():
            self._jotted.popleft().result()
        self._jotted.append(in_background(do))

    def _wait_jotted(self) -> None:
        while self._jotted:
            self._jotted.popleft().result()

    def _interrupt(self, take: TakeWriter, error: SessionError) -> None:
        self._recording.clear()
        take.interrupt(error.what)
        self.failure = error
        self._on_failure(error)

    def _start(self, task: str | None) -> str:
        if self.recording:
            raise SessionError("a take runs already", where=self.session.path, mend="end it first")
        self._broken_video.clear()
        self.dropped = Dropped()
        self._fits.clear()
        self._fitted.clear()
        self._jotted.clear()
        self._fits_due_s = 0.0
        self._take = self.session.start_take(task)
        self.failure = None
        self._recording.set()
        return self._take.id

    def _end(self) -> str:
        self._recording.clear()
        take = self._take
        if take is None:
            raise SessionError("no take runs", where=self.session.path, mend="start one first")
        if take.closed:
            raise self.failure or SessionError("the take has ended", where=take.id, mend="start the next one")
        try:
            self._write_fits()
            lost = sum(self.dropped.pictures.values()), sum(self.dropped.messages.values())
            if any(lost):
                what = f"{lost[0]} pictures and {lost[1]} messages were thrown away"
                self.session.journal.fault("disk_slow", what, take=take.id, t_ns=time.monotonic_ns(), device=None)
            self._wait_jotted()
        finally:  # a journal that fails does not keep the pictures from being brought home
            take.end()
        return take.id
