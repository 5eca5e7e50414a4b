"""A segment that was never closed becomes one that was: every chunk and message that can be read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.CompressedVideo_pb2 import CompressedVideo
from google.protobuf.message import DecodeError, Message

from handcap.clock import NS_PER_S
from handcap.errors import SessionError
from handcap.session.chunks import CHUNK_LIMIT_BYTES, HEAD_BYTES, chunk_spans, load, parse_head
from handcap.session.folder import cannot_write, sync_folder
from handcap.session.records import BadChunk, Channels, RawMessage, messages
from handcap.session.segment import SegmentWriter
from handcap.wire.handcap_pb2 import Envelope, ImuSI

log = logging.getLogger(__name__)

_SCHEMAS: dict[str, type[Message]] = {
    m.DESCRIPTOR.full_name: m for m in (CompressedImage, CompressedVideo, ImuSI, Envelope)
}
_SUFFIX = ".recovering"


@dataclass
class Loss:
    """What could not be saved, added up."""

    chunks: int = 0
    bytes: int = 0


def mend(part: Path, loss: Loss) -> None:
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


def _rewrite(part: Path, final: Path, loss: Loss) -> bool:
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


def _chunks(part: Path, channels: Channels, loss: Loss) -> Iterator[Iterator[RawMessage]]:
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


def _tail(part: Path, offset: int, channels: Channels, loss: Loss) -> Iterator[RawMessage]:
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
