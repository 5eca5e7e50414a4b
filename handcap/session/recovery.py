"""`handcap recover`: what a killed or failed recorder left behind becomes proper segments."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.CompressedVideo_pb2 import CompressedVideo
from google.protobuf.message import DecodeError, Message

from handcap.clock import NS_PER_S
from handcap.errors import SessionError
from handcap.session.chunks import (
    CHUNK_LIMIT_BYTES,
    HEAD_BYTES,
    BadChunk,
    Channels,
    RawMessage,
    chunk_spans,
    load,
    messages,
    parse_head,
)
from handcap.session.folder import JOURNAL, cannot_write, segment_files, sync_folder, take_folders, writing
from handcap.session.journal import Journal
from handcap.session.meta import read_meta
from handcap.session.segment import SegmentWriter
from handcap.wire.handcap_pb2 import Envelope, ImuSI

log = logging.getLogger(__name__)

_SCHEMAS: dict[str, type[Message]] = {
    m.DESCRIPTOR.full_name: m for m in (CompressedImage, CompressedVideo, ImuSI, Envelope)
}
_SUFFIX = ".recovering"


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
    """Takes that were mended; empty where there was nothing to do."""

    takes: tuple[RecoveredTake, ...]


@dataclass
class _Loss:
    chunks: int = 0
    bytes: int = 0


@dataclass
class _Content:
    counts: dict[str, int] = field(default_factory=dict)
    first_ns: int | None = None
    last_ns: int | None = None

    def add(self, topic: str, first_ns: int, last_ns: int, count: int) -> None:
        self.counts[topic] = self.counts.get(topic, 0) + count
        self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)
        self.last_ns = last_ns if self.last_ns is None else max(self.last_ns, last_ns)


def recover(path: Path) -> RecoveryReport:
    """Mend every take that did not end properly.

    Whole chunks, and whole messages of an unfinished last chunk, go into a new segment; the damaged file is removed
    only once that one is safely on the disk. Running it again, or after it was itself killed, does no harm.

    Raises:
        SessionError: the recorder still runs, or the disk does not take the new segment (the old one then stays).
    """
    path = Path(path)
    read_meta(path)
    with writing(path):
        journal = _journal(path)
        try:
            records, folders = journal.takes(), take_folders(path)
            mended: list[RecoveredTake] = []
            for take in sorted({*records, *folders}):
                folder, record = folders.get(take), records.get(take)
                torn = [] if folder is None else sorted(folder.glob("seg-*.mcap.part"))
                if record is not None and record.state in ("ended", "recovered") and not torn:
                    continue
                loss = _Loss()
                for part in torn:
                    _mend(part, loss)
                content = _Content() if folder is None else _count(folder)
                span = None if content.first_ns is None else (content.first_ns, content.last_ns or content.first_ns)
                reason = None if record is None else record.reason
                journal.take_closed(take, "recovered", span, content.counts, reason or "the recorder was killed")
                mended.append(_report(take, content, loss))
            return RecoveryReport(tuple(mended))
        finally:
            journal.close()


def _journal(session: Path) -> Journal:
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


def _mend(part: Path, loss: _Loss) -> None:
    """One torn `.part` becomes a segment."""
    if part.is_symlink() or not part.is_file():
        raise SessionError("not a plain file", where=part, mend="copy the session again, files instead of links")
    final = part.with_name(part.name.removesuffix(".part"))
    unfinished = part.with_name(f"{final.name}{_SUFFIX}")
    try:
        unfinished.unlink(missing_ok=True)
        if final.exists() and not _is_whole(final):
            final.replace(final.with_name(f"{final.name}.damaged"))
        if not final.exists() and not _rewrite(part, final, loss) and loss.bytes:
            part.replace(final.with_name(f"{final.name}.damaged"))  # nothing could be read: left for an expert
        part.unlink(missing_ok=True)
        sync_folder(part.parent)
    except OSError as error:
        raise cannot_write(final, error) from error


def _is_whole(path: Path) -> bool:
    damage: list[int] = []
    for _ in chunk_spans(path, Channels(), lambda at, _: damage.append(at), torn=False):
        pass
    return not damage


def _rewrite(part: Path, final: Path, loss: _Loss) -> bool:
    """Copy what can be read of `part` to `final`; whether there was anything."""
    writer: SegmentWriter | None = None
    channels = Channels()
    try:
        for chunk in _chunks(part, channels, loss):
            for message in chunk:
                topic, name = channels.found.get(message.channel, ("", ""))
                if name not in _SCHEMAS:
                    continue
                if writer is None:
                    writer = SegmentWriter(final, live=False, suffix=_SUFFIX)
                writer.add(topic, message.log_time, _SCHEMAS[name], bytes(message.data), message.sequence)
            if writer is not None:
                writer.flush()
        if writer is not None:
            writer.close()
        return writer is not None
    except SessionError:
        if writer is not None:
            writer.abandon()
        part.with_name(f"{final.name}{_SUFFIX}").unlink(missing_ok=True)
        raise


def _chunks(part: Path, channels: Channels, loss: _Loss) -> Iterator[Iterator[RawMessage]]:
    """The messages of each whole chunk, then of the unfinished one at the end."""
    holes: list[int] = []
    end = 0
    with open(part, "rb") as file:
        for span in chunk_spans(part, channels, lambda at, _: holes.append(at), torn=True):
            if holes and holes[-1] >= end:  # bytes between two chunks
                loss.chunks, loss.bytes = loss.chunks + 1, loss.bytes + span.offset - holes[-1]
            end = span.end
            try:
                content = load(file, span)
                for _ in messages(content, channels):  # all of it reads, before any is used
                    pass
            except BadChunk as error:
                log.warning("%s, byte %d: a chunk is lost: %s", part.name, span.offset, error)
                loss.chunks, loss.bytes = loss.chunks + 1, loss.bytes + span.data_bytes
                continue
            yield messages(content, channels)
        if holes and holes[-1] >= end:
            yield _tail(part, holes[-1], channels, loss)


def _tail(part: Path, offset: int, channels: Channels, loss: _Loss) -> Iterator[RawMessage]:
    """Whole messages of a chunk whose writing was cut off; no CRC covers them, so each must parse."""
    loss.chunks += 1
    rest = part.stat().st_size - offset
    with open(part, "rb") as file:
        file.seek(offset)
        span = parse_head(file.read(HEAD_BYTES), offset)
        if span is None or span.compression or span.data_bytes > CHUNK_LIMIT_BYTES:
            loss.bytes += rest
            return
        file.seek(span.data_offset)
        content = memoryview(file.read(min(span.data_bytes, rest)))
    last_ns: int | None = None
    try:
        for message in messages(content, channels):
            schema = _SCHEMAS.get(channels.found.get(message.channel, ("", ""))[1])
            if schema is None or (last_ns is not None and abs(message.log_time - last_ns) > 120 * NS_PER_S):
                break
            schema.FromString(bytes(message.data))
            last_ns = message.log_time
            rest -= len(message.data)
            yield message
    except (BadChunk, DecodeError):
        pass
    loss.bytes += rest


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
    if topic:
        content.add(topic, message.log_time, last_ns, count)


def _report(take: str, content: _Content, loss: _Loss) -> RecoveredTake:
    seconds = 0.0 if content.first_ns is None else ((content.last_ns or 0) - content.first_ns) / NS_PER_S
    pictures = {t.removeprefix("/camera/"): n for t, n in content.counts.items() if t.startswith("/camera/")}
    samples = {t.strip("/").split("/")[0]: n for t, n in content.counts.items() if t.endswith("/imu")}
    return RecoveredTake(take, seconds, pictures, samples, loss.chunks, loss.bytes)
