"""`handcap recover`: what a killed or failed recorder left behind becomes proper segments."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from handcap.clock import NS_PER_S
from handcap.errors import SessionError
from handcap.session.chunks import chunk_spans, load
from handcap.session.erasure import finish_erasing, tombstones
from handcap.session.folder import JOURNAL, segment_files, take_folders, writing
from handcap.session.journal import Journal
from handcap.session.meta import read_meta
from handcap.session.records import BadChunk, Channels, RawMessage, messages
from handcap.session.salvage import Loss, mend
from handcap.wire.handcap_pb2 import Envelope, ImuSI

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecoveredTake:
    """What was saved of one take.

    Attributes:
        seconds: from its first to its last stamp.
        pictures: camera to number of pictures.
        samples: device to number of inertial samples.
        chunks_lost: chunks that could not be read, each a quarter of a second or less.
        bytes_lost: of the damaged files.
    """

    id: str
    seconds: float
    pictures: dict[str, int]
    samples: dict[str, int]
    chunks_lost: int
    bytes_lost: int


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What was mended; empty where there was nothing to do.

    Attributes:
        takes: that did not end properly.
        erased: takes whose erasure had been cut off and is now done.
    """

    takes: tuple[RecoveredTake, ...]
    erased: tuple[str, ...] = ()


@dataclass
class _Content:
    counts: dict[str, int] = field(default_factory=dict)
    first_ns: int | None = None
    last_ns: int | None = None

    def add(self, topic: str, first_ns: int, last_ns: int, count: int) -> None:
        self.counts[topic] = self.counts.get(topic, 0) + count
        self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)
        self.last_ns = last_ns if self.last_ns is None else max(self.last_ns, last_ns)


def recover(
    path: Path, refit: Callable[[Path, Journal, str], object] = lambda session, journal, take: None
) -> RecoveryReport:
    """Mend every take that did not end properly.

    Whole chunks, and whole messages of an unfinished last chunk, go into a new segment; the damaged file is removed
    only once that one is safely on the disk. Running it again, or after it was itself killed, does no harm.

    Args:
        path: session folder.
        refit: called for each mended take, to journal what ties its boards' clocks to the session's.

    Raises:
        SessionError: the recorder still runs, or the disk does not take the new segment (the old one then stays).
    """
    path = Path(path)
    read_meta(path)
    with writing(path):
        journal = open_journal(path)
        try:
            erased = finish_erasing(path, journal)
            mended = recover_takes(path, journal)
            for take in mended:
                if take.seconds:
                    refit(path, journal, take.id)
            return RecoveryReport(mended, tuple(erased))
        finally:
            journal.close()


def recover_takes(path: Path, journal: Journal) -> tuple[RecoveredTake, ...]:
    """As `recover`, for whoever holds the session's lock."""
    finish_erasing(path, journal)
    gone = tombstones(path)
    records, folders = journal.takes(), take_folders(path)
    mended: list[RecoveredTake] = []
    for take in sorted({*records, *folders}.difference(gone)):
        folder, record = folders.get(take), records.get(take)
        torn = [] if folder is None else sorted(folder.glob("seg-*.mcap.part"))
        unfinished = record is None or record.state in ("open", "interrupted")
        if not torn and not unfinished:
            continue
        loss = Loss()
        for part in torn:
            mend(part, loss)
        content = _Content() if folder is None else _count(folder)
        span = None if content.first_ns is None else (content.first_ns, content.last_ns or content.first_ns)
        reason = (None if record is None else record.reason) or "the recorder was killed"
        # What was thrown away stays so, whatever state its files were in.
        state = "discarded" if record is not None and record.state == "discarded" else "recovered"
        journal.take_closed(take, state, span, content.counts, reason)
        mended.append(_report(take, content, loss))
    return tuple(mended)


def open_journal(session: Path) -> Journal:
    """The journal; a new one where it is damaged beyond use."""
    try:
        journal = Journal(session)
        journal.takes()
        return journal
    except (SessionError, sqlite3.Error) as error:
        cause = error.__cause__ if isinstance(error, SessionError) else error
        if not isinstance(cause, sqlite3.DatabaseError) or isinstance(cause, sqlite3.OperationalError):
            raise
    path = session / JOURNAL
    path.replace(path.with_name(f"{JOURNAL}.damaged"))
    for side in ("-wal", "-shm"):
        path.with_name(f"{JOURNAL}{side}").unlink(missing_ok=True)
    log.warning("the journal is damaged and was set aside as %s.damaged", JOURNAL)
    return Journal(session)


def _count(folder: Path) -> _Content:
    """What a take's segments hold."""
    content = _Content()
    for path in segment_files(folder):
        channels = Channels()
        with open(path, "rb") as file:
            for span in chunk_spans(path, channels, lambda _at, _what: None, torn=path.suffix == ".part"):
                try:
                    for message in messages(load(file, span), channels):
                        _count_message(content, message, *channels.found.get(message.channel, ("", "")))
                except (BadChunk, DecodeError):
                    continue
    return content


def _count_message(content: _Content, message: RawMessage, topic: str, schema: str) -> None:
    count, last_ns = 1, message.log_time
    if schema == ImuSI.DESCRIPTOR.full_name:
        stamps: Any = ImuSI.FromString(bytes(message.data)).t_ns
        count, last_ns = len(stamps), stamps[-1] if stamps else last_ns
    elif schema == Envelope.DESCRIPTOR.full_name and topic.endswith("/wire"):
        batch = Envelope.FromString(bytes(message.data)).imu_batch
        content.add(topic.removesuffix("wire") + "imu", last_ns, last_ns, len(batch.gyro_counts) // 3)
    if topic:
        content.add(topic, message.log_time, last_ns, count)


def _report(take: str, content: _Content, loss: Loss) -> RecoveredTake:
    seconds = 0.0 if content.first_ns is None else ((content.last_ns or 0) - content.first_ns) / NS_PER_S
    pictures = {t.removeprefix("/camera/"): n for t, n in content.counts.items() if t.startswith("/camera/")}
    samples = {t.strip("/").split("/")[0]: n for t, n in content.counts.items() if t.endswith("/imu")}
    return RecoveredTake(take, seconds, pictures, samples, loss.chunks, loss.bytes)
