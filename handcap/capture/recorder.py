"""One thread writes a session; whoever has something hands it over and never waits for the disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

from handcap.errors import HandcapError, SessionError
from handcap.session import SessionWriter, TakeWriter
from handcap.wire.handcap_pb2 import Envelope

Encoding = Literal["jpeg", "h264"]


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
    """What the disk was too slow for, since the recorder began.

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

    Attributes:
        dropped: what the disk was too slow for.
        failure: why the last take was interrupted; None while all is well.
    """

    def __init__(self, session: SessionWriter, params: RecorderParams | None = None) -> None:
        self.session = session
        self.params = params or RecorderParams()
        self.dropped = Dropped()
        self.failure: SessionError | None = None
        self._work: deque[_Work | tuple[Callable[[], Any], Future[Any]]] = deque()
        self._waiting = {"video": 0, "wire": 0, "word": 0}
        self._broken_video: set[str] = set()
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

        def write(take: TakeWriter) -> None:
            self.session.journal.clock_fit(device, t_ns, dt_s, skew, residual_s, take=take.id, boot_id=boot_id)

        self._hand_over(_Work(write, "word", 0), 0)

    def put_fault(self, code: str, detail: str, t_ns: int, device: str | None) -> None:
        """Something that happened while a take ran."""

        def write(take: TakeWriter) -> None:
            self.session.journal.fault(code, detail, take=take.id, t_ns=t_ns, device=device)

        self._hand_over(_Work(write, "word", 0), 0)

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
                self._changed.wait_for(lambda: bool(self._work) or self._closing)
                if not self._work:
                    break
                work = self._work.popleft()
                if isinstance(work, _Work):
                    self._waiting[work.kind] -= work.size
            if isinstance(work, _Work):
                self._write(work)
                continue
            do, asked = work
            try:
                asked.set_result(do())
            except Exception as error:
                asked.set_exception(error)
        try:
            if self._take is not None and not self._take.closed:
                self._end()
        except HandcapError as error:
            self.failure = error if isinstance(error, SessionError) else None

    def _write(self, work: _Work) -> None:
        take = self._take
        if take is None or take.closed:
            return
        try:
            work.do(take)
        except SessionError as error:
            take.interrupt(error.what)
            self._recording.clear()
            self.failure = error

    def _start(self, task: str | None) -> str:
        if self.recording:
            raise SessionError("a take runs already", where=self.session.path, mend="end it first")
        self._broken_video.clear()
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
        take.end()
        return take.id
