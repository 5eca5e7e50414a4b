"""Writing a session: takes, their pictures and inertial samples."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.CompressedVideo_pb2 import CompressedVideo
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import ArrayLike

from handcap.clock import NS_PER_S
from handcap.errors import SessionError
from handcap.session.folder import (
    BEGUN,
    DERIVED,
    RAW,
    RIG_JSON,
    SESSION_JSON,
    cannot_write,
    require_folder,
    require_name,
    sync_folder,
    take_folders,
    writing,
)
from handcap.session.journal import Journal
from handcap.session.meta import SessionMeta, read_meta, write_meta
from handcap.session.recovery import RecoveredTake, open_journal, recover_takes
from handcap.session.rig_file import read_rig, rig_bytes, write_rig
from handcap.session.segment import SegmentWriter
from handcap.session.sink import in_background
from handcap.types import Rig
from handcap.wire.handcap_pb2 import Envelope, ImuSI

log = logging.getLogger(__name__)

SEGMENT_NS = 60 * NS_PER_S
_IMU_MESSAGE_NS = NS_PER_S // 10  # one ImuSI message covers at most this much


def create(path: Path, meta: SessionMeta, rig: Rig) -> SessionWriter:
    """Begin a session in a new or empty folder, or in one where a session was begun and its recorder died at once.

    Args:
        path: the folder.
        meta: origin "capture" flushes by the wall clock as well; with any other, the same input gives the same bytes.
        rig: the calibration in force.
    """
    path = Path(path)
    _require_empty(path)
    with ExitStack() as held:
        _hold(path, held)
        _require_empty(path)  # nobody else began meanwhile
        try:
            (path / RAW).mkdir(exist_ok=True)
            sync_folder(path.parent)
        except OSError as error:
            raise cannot_write(path, error) from error
        write_rig(path / RIG_JSON, rig)
        journal = Journal(path)
        held.callback(journal.close)
        write_meta(path, meta)  # last: a folder with a session.json is a whole, if empty, session
        return SessionWriter(path, meta, rig, journal, held.pop_all())


def create_or_continue(path: Path, meta: SessionMeta, rig: Rig) -> SessionWriter:
    """As `create`; a folder in which this rig recorded under this consent before is continued.

    What a recorder that died left open there is recovered first, and told in `recovered`.

    Raises:
        SessionError: somebody else's session, one of another rig, consent or collector, or another recorder is at it.
    """
    path = Path(path)
    if not (path / SESSION_JSON).exists():
        return create(path, meta, rig)
    require_folder(path)
    with ExitStack() as held:
        _hold(path, held)
        before = read_meta(path)
        _require_same(path, before, meta, rig)
        journal = open_journal(path)
        held.callback(journal.close)
        mended = recover_takes(path, journal)
        return SessionWriter(path, before, rig, journal, held.pop_all(), continued=True, recovered=mended)


def _hold(path: Path, held: ExitStack) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    held.enter_context(writing(path))


def _require_empty(path: Path) -> None:
    try:
        found = {p.name for p in path.iterdir()} if path.exists() else set[str]()
        begun = found <= BEGUN and not any((path / RAW).iterdir() if RAW in found else ())
    except OSError as error:
        raise cannot_write(path, error) from error
    if not begun:
        raise SessionError("the folder is not empty", where=path, mend="give a new folder, or empty this one")


def _require_same(path: Path, before: SessionMeta, meta: SessionMeta, rig: Rig) -> None:
    """A session is one rig in one calibration, and one consent; else a take would be told wrongly."""
    new = "leave the folder away, and a new session is begun in one named by the time"
    if before.origin != "capture":
        what = "an imported session" if before.origin == "import" else "a simulated session"
        raise SessionError(f"this folder holds {what}, nothing is recorded into it", where=path, mend=new)
    for key, was, now in (
        ("consent", before.consent_id, meta.consent_id),
        ("collector", before.collector, meta.collector),
    ):
        if was != now:
            what = f"this session was recorded with {key} {was or 'unknown'!r}, and this is {now or 'unknown'!r}"
            raise SessionError(what, where=path, mend=new)
    recorded = read_rig(path / RIG_JSON)
    if recorded.rig_id != rig.rig_id:
        what = f"this session was recorded with rig {recorded.rig_id!r}, and this is {rig.rig_id!r}"
        raise SessionError(what, where=path, mend=f"plug rig {recorded.rig_id} in; or {new}")
    if rig_bytes(rig) not in ((path / RIG_JSON).read_bytes(), rig_bytes(recorded)):
        what = f"rig {rig.rig_id!r} was calibrated anew, or got another board, since this session began"
        raise SessionError(what, where=path, mend=new)


class SessionWriter:
    """A session being recorded; holds the session's lock. Use as a context manager.

    Attributes:
        continued: whether it had been begun before.
        recovered: what was saved of takes that a dead recorder had left open.
    """

    def __init__(
        self,
        path: Path,
        meta: SessionMeta,
        rig: Rig,
        journal: Journal,
        held: ExitStack,
        *,
        continued: bool = False,
        recovered: tuple[RecoveredTake, ...] = (),
    ) -> None:
        self.path = path
        self.meta = meta
        self.rig = rig
        self.journal = journal
        self.continued, self.recovered = continued, recovered
        self._takes = _last_number(path, journal) if continued else 0
        self._take: TakeWriter | None = None
        self._held = held

    def start_take(self, task: str | None = None) -> TakeWriter:
        """Begin the next take; the one before must have ended."""
        assert self._take is None or self._take.closed, "end the running take first"
        live = self.meta.origin == "capture"
        take = f"{self._takes + 1:04d}"
        folder = self.path / RAW / take
        try:
            folder.mkdir()
            sync_folder(folder.parent)
        except OSError as error:
            with suppress(OSError):
                folder.rmdir()
            raise cannot_write(folder, error) from error
        try:
            self.journal.take_started(take, task, time.time_ns() - time.monotonic_ns() if live else None)
        except SessionError:
            with suppress(OSError):  # a take that never began leaves nothing
                folder.rmdir()
            raise
        self._takes += 1
        self._take = TakeWriter(folder, self.journal, live=live)
        return self._take

    def close(self) -> None:
        """End a take that still runs and let go of the session."""
        with self._held:
            if self._take is not None and not self._take.closed:
                self._take.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._held:
            if self._take is not None:
                self._take.__exit__(kind, error, None)


def _last_number(path: Path, journal: Journal) -> int:
    """Of the takes that ever were, erased ones too: no number is given twice."""
    derived = path / DERIVED
    names = {*take_folders(path), *journal.takes()}
    if derived.is_dir():
        names |= {folder.name for folder in derived.iterdir()}
    return max((int(name) for name in names if name.isdecimal()), default=0)


class TakeWriter:
    """One take being recorded. Call with stamps about in order; topics may interleave as they come.

    Raises:
        SessionError: when the disk does not take the bytes. The take is then journalled as interrupted, without
            counts; what was flushed before stays and `recover` reads it.
    """

    def __init__(self, folder: Path, journal: Journal, *, live: bool) -> None:
        self.id = folder.name
        self.closed = False
        self._folder = folder
        self._journal = journal
        self._live = live
        self._segment: SegmentWriter | None = None
        self._closing: Future[None] | None = None
        self._segments = 0
        self._segment_start_ns = 0
        self._counts: dict[str, int] = {}
        self._sequence: dict[str, int] = {}
        self._span_ns: tuple[int, int] | None = None

    def add_image(self, camera: str, t_ns: int, data: bytes, format: Literal["jpeg", "png"]) -> None:
        """One picture as it came, undecoded; `t_ns` is the camera's stamp."""
        assert format in ("jpeg", "png"), format
        message = CompressedImage(timestamp=_timestamp(t_ns), frame_id=f"cam_{camera}", data=data, format=format)
        self._add(f"/camera/{require_name(camera, 'camera')}", t_ns, message)

    def add_video(self, camera: str, t_ns: int, data: bytes) -> None:
        """One H.264 access unit in Annex B form: no B-frames, parameter sets before each key frame."""
        message = CompressedVideo(timestamp=_timestamp(t_ns), frame_id=f"cam_{camera}", data=data, format="h264")
        self._add(f"/camera/{require_name(camera, 'camera')}", t_ns, message)

    def add_imu_si(self, device: str, t_ns: ArrayLike, gyro: ArrayLike, accel: ArrayLike) -> None:
        """Inertial samples in chip axes as recorded.

        Args:
            device: its name in the rig.
            t_ns: (n,) session clock.
            gyro: (n, 3) rad/s.
            accel: (n, 3) m/s².
        """
        t, gyro, accel = np.atleast_1d(np.asarray(t_ns, np.int64)), np.asarray(gyro, float), np.asarray(accel, float)
        gyro, accel = gyro.reshape(-1, 3), accel.reshape(-1, 3)
        assert len(gyro) == len(accel) == len(t), (t.shape, gyro.shape, accel.shape)
        topic = f"/{require_name(device, 'device')}/imu"
        begin = 0
        runs_back = [*(np.flatnonzero(np.diff(t) <= 0) + 1).tolist(), len(t)]
        while begin < len(t):
            while runs_back[0] <= begin:
                del runs_back[0]
            ascending = t[begin : min(begin + 4096, runs_back[0])]
            end = max(begin + 1, int(np.searchsorted(ascending, t[begin] + _IMU_MESSAGE_NS)) + begin)
            message = ImuSI(
                t_ns=t[begin:end].tolist(),
                gyro_rad_s=gyro[begin:end].ravel().tolist(),
                accel_m_s2=accel[begin:end].ravel().tolist(),
            )
            self._add(topic, int(t[begin]), message, count=end - begin, last_ns=int(t[end - 1]))
            begin = end

    def add_wire(self, device: str, t_ns: int, envelope: Envelope) -> None:
        """One message of a board, received at `t_ns` on the session clock."""
        self._add(f"/{require_name(device, 'device')}/wire", t_ns, envelope)

    def _add(self, topic: str, t_ns: int, message: Message, *, count: int = 1, last_ns: int | None = None) -> None:
        assert not self.closed, "the take has ended"
        if not 0 <= t_ns < 1 << 63:
            raise SessionError(
                f"the stamp {t_ns} ns on {topic} is negative or beyond the year 2262",
                where=self._folder,
                mend="give stamps in ns, shifted to start at 0 or later",
            )
        data = message.SerializeToString(deterministic=True)
        sequence = self._sequence.get(topic, 0)
        try:
            self._segment_for(t_ns).add(topic, t_ns, type(message), data, sequence)
        except SessionError as error:
            self.interrupt(error.what)
            raise
        self._sequence[topic] = sequence + 1
        self._counts[topic] = self._counts.get(topic, 0) + count
        first, last = self._span_ns or (t_ns, t_ns)
        self._span_ns = min(first, t_ns), max(last, t_ns if last_ns is None else last_ns)

    def _segment_for(self, t_ns: int) -> SegmentWriter:
        now_ns = time.monotonic_ns() if self._live else t_ns  # what comes late belongs to the segment that is open
        if self._segment is not None and abs(now_ns - self._segment_start_ns) >= SEGMENT_NS:
            segment, self._segment = self._segment, None
            self._bring_home(segment)
        if self._segment is None:
            self._segment = SegmentWriter(self._folder / f"seg-{self._segments:04d}.mcap", live=self._live)
            self._segments += 1
            self._segment_start_ns = now_ns
        return self._segment

    def _bring_home(self, segment: SegmentWriter) -> None:
        """Close a full segment; live, a disk that takes its time does not hold up what comes next."""
        self._wait_home()
        if self._live:
            self._closing = in_background(lambda: _close(segment))
        else:
            _close(segment)

    def _wait_home(self) -> None:
        """Until the segment before is on the disk. Raises SessionError."""
        if self._closing is not None:
            closing, self._closing = self._closing, None
            closing.result()

    def tick(self) -> None:
        """Flush and sync when it is time to; call it while nothing comes. Raises SessionError."""
        if self.closed or self._segment is None:
            return
        try:
            self._segment.tick()
        except SessionError as error:
            self.interrupt(error.what)
            raise

    def end(self) -> None:
        """Finish the last segment and journal the take with its counts; returns when all is on the disk."""
        assert not self.closed, "the take has ended already"
        try:
            if self._segment is not None:
                segment, self._segment = self._segment, None
                _close(segment)
            self._wait_home()
        except SessionError as error:
            self.interrupt(error.what)
            raise
        self.closed = True  # whether or not the journal takes it: recovery finds a whole file
        self._journal.take_closed(self.id, "ended", self._span_ns, self._counts)

    def interrupt(self, reason: str) -> None:
        """Stop here after a failure: keep what was flushed, claim nothing."""
        if self.closed:
            return
        self.closed = True
        if self._segment is not None:
            self._segment.abandon()
            self._segment = None
        try:
            with suppress(SessionError):  # the failure that led here is the one to tell
                self._wait_home()
            self._journal.take_closed(self.id, "interrupted", reason=reason)
        except SessionError as error:
            log.warning("take %s stays open in the journal: %s", self.id, error.what)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.closed:
            return
        if kind is None:
            self.end()
            return
        if self._segment is not None:  # the disk is fine, the program is not: keep even the last messages
            try:
                self._segment.flush()
            except SessionError as failure:
                log.warning("the last quarter of a second of take %s is lost: %s", self.id, failure.what)
        self.interrupt(f"{kind.__name__}: {error}")


def _close(segment: SegmentWriter) -> None:
    try:
        segment.close()
    except SessionError:
        segment.abandon()
        raise


def _timestamp(t_ns: int) -> Timestamp:
    seconds, nanos = divmod(t_ns, NS_PER_S)
    return Timestamp(seconds=seconds, nanos=nanos)
