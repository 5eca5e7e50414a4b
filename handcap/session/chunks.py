"""Reading an MCAP segment that may be torn, flipped or hostile: every whole chunk, and word of what is lost.

mcap's own readers give up at the first bad byte and return nothing of a file that was never closed. Here a bad chunk
costs that chunk; where the lengths themselves are damaged, the next chunk is found by its header.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mcap.opcode import Opcode
from mcap.writer import MCAP0_MAGIC

from handcap.session.records import RECORD, BadChunk, Channels, note_channel

CHUNK_LIMIT_BYTES = 256 << 20
_ABSURD_RATIO = 200  # sensor data never shrinks this far; a bomb does
_SMALL_BYTES = 4 << 20  # below this any ratio is harmless
_CHUNK_HEAD = struct.Struct("<QQQII")  # first time, last time, uncompressed size, CRC, length of the compression's name
_FOOTER = struct.Struct("<BQQQI")  # opcode, length, start of the index, start of its offsets, CRC
_INDEX_LIMIT = 64 << 20
_SMALL_RECORD_LIMIT = 16 << 20  # schemas, channels, metadata
_WINDOW = 1 << 20


@dataclass(frozen=True, slots=True)
class ChunkSpan:
    """Where a chunk lies in its file.

    Attributes:
        offset, end: of the whole record.
        data_offset, data_bytes: of its compressed content.
        size, crc: of its content once inflated, as declared; crc 0 means none was written.
        compression: "", "zstd" or "lz4".
    """

    offset: int
    end: int
    data_offset: int
    data_bytes: int
    size: int
    crc: int
    compression: str


def parse_head(head: bytes, offset: int) -> ChunkSpan | None:
    """The chunk that begins with these bytes, None if they are no consistent chunk header. May end past the file."""
    if len(head) < RECORD.size + _CHUNK_HEAD.size or head[0] != Opcode.CHUNK:
        return None
    length = RECORD.unpack_from(head)[1]
    _, _, size, crc, name_bytes = _CHUNK_HEAD.unpack_from(head, RECORD.size)
    at = RECORD.size + _CHUNK_HEAD.size
    if name_bytes > 4 or len(head) < at + name_bytes + 8:
        return None
    name = head[at : at + name_bytes]
    (data_bytes,) = struct.unpack_from("<Q", head, at + name_bytes)
    if name not in (b"", b"zstd", b"lz4") or length != _CHUNK_HEAD.size + name_bytes + 8 + data_bytes:
        return None
    data_offset = offset + at + name_bytes + 8
    return ChunkSpan(offset, data_offset + data_bytes, data_offset, data_bytes, size, crc, name.decode())


HEAD_BYTES = RECORD.size + _CHUNK_HEAD.size + 4 + 8


def find_chunk(file: BinaryIO, begin: int, file_bytes: int) -> ChunkSpan | None:
    """The first consistent, complete chunk header at or after `begin`."""
    while begin < file_bytes:
        file.seek(begin)
        window = file.read(_WINDOW + HEAD_BYTES)
        at = window.find(bytes([Opcode.CHUNK]))
        while 0 <= at < _WINDOW:
            span = parse_head(window[at : at + HEAD_BYTES], begin + at)
            if span is not None and span.end <= file_bytes:
                return span
            at = window.find(bytes([Opcode.CHUNK]), at + 1)
        begin += _WINDOW
    return None


def load(file: BinaryIO, span: ChunkSpan) -> memoryview:
    """A chunk's content, inflated and checked.

    Raises:
        BadChunk: too large, not what its header says, or its CRC does not match.
    """
    if span.size > CHUNK_LIMIT_BYTES or span.data_bytes > CHUNK_LIMIT_BYTES:
        raise BadChunk(f"it claims {max(span.size, span.data_bytes)} bytes, more than any recorder writes")
    if span.size > _SMALL_BYTES and span.size > _ABSURD_RATIO * span.data_bytes:
        raise BadChunk(f"{span.data_bytes} bytes claim to inflate to {span.size}")
    file.seek(span.data_offset)
    data = file.read(span.data_bytes)
    if len(data) != span.data_bytes:
        raise BadChunk("it is cut short")
    content = _inflate(data, span)
    if len(content) != span.size:
        raise BadChunk(f"it holds {len(content)} bytes and claims {span.size}")
    if span.crc and zlib.crc32(content) != span.crc:
        raise BadChunk("its checksum does not match: bits have flipped")
    return memoryview(content)


def _inflate(data: bytes, span: ChunkSpan) -> bytes:
    if span.compression == "":
        return data
    limit = span.size + 1  # one more than claimed shows a lie without inflating it
    try:
        if span.compression == "zstd":
            import zstandard

            reader = zstandard.ZstdDecompressor(max_window_size=CHUNK_LIMIT_BYTES).stream_reader(io.BytesIO(data))
            return reader.read(limit)
        import lz4.frame

        return lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=limit)
    except Exception as error:
        raise BadChunk(f"it does not inflate ({error})") from error


def _plausible(opcode: int, body: bytes) -> bool:
    """Whether a record beside the chunks is what its opcode says: its inner lengths add up to the outer one.

    Nothing else is skipped by its length alone, lest a flipped bit in a small record jump over chunks.
    """
    if opcode == Opcode.MESSAGE_INDEX:
        return len(body) >= 6 and struct.unpack_from("<I", body, 2)[0] == len(body) - 6
    if opcode not in (Opcode.HEADER, Opcode.METADATA) or len(body) < 8:
        return False
    first = struct.unpack_from("<I", body)[0]  # two length-prefixed parts: profile and library, or name and values
    return first <= len(body) - 8 and struct.unpack_from("<I", body, 4 + first)[0] == len(body) - 8 - first


def _index_is_whole(file: BinaryIO, begin: int, file_bytes: int) -> bool:
    """Whether what follows the data is an index with the right CRC; only other programs need it."""
    if not 0 < file_bytes - begin <= _INDEX_LIMIT:
        return False
    file.seek(begin)
    rest = file.read(file_bytes - begin)
    footer = len(rest) - len(MCAP0_MAGIC) - _FOOTER.size
    if footer < 0 or not rest.endswith(MCAP0_MAGIC):
        return False
    opcode, length, summary, _, crc = _FOOTER.unpack_from(rest, footer)
    if (opcode, length, summary) != (Opcode.FOOTER, 20, begin):
        return False
    return crc == zlib.crc32(rest[: footer + _FOOTER.size - 4])


def chunk_spans(
    path: Path, channels: Channels, on_damage: Callable[[int, str], None], *, torn: bool
) -> Iterator[ChunkSpan]:
    """Every chunk of a segment that lies wholly inside the file, in order.

    Args:
        path: the segment.
        channels: takes in the channel names that lie outside the chunks.
        on_damage: called with the file offset and what was lost there.
        torn: the file was never closed: that it ends early is no damage worth a word beyond its last chunk.
    """
    with open(path, "rb") as file:
        file_bytes = path.stat().st_size
        if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC and not (torn and file_bytes == 0):
            on_damage(0, "the first bytes are damaged, nothing else is lost by that")
        at = len(MCAP0_MAGIC)
        while at < file_bytes:
            file.seek(at)
            head = file.read(HEAD_BYTES)
            span = parse_head(head, at)
            if span is not None and span.end <= file_bytes:
                yield span
                at = span.end
                continue
            if span is None and len(head) >= RECORD.size:
                opcode, length = RECORD.unpack_from(head)
                end = at + RECORD.size + length
                if opcode == Opcode.DATA_END and length == 4:
                    if not _index_is_whole(file, end, file_bytes):
                        on_damage(end, "the index at the end is damaged, nothing is lost by that")
                    return
                if end <= file_bytes and length <= _SMALL_RECORD_LIMIT:
                    file.seek(at + RECORD.size)
                    body = file.read(length)
                    if _plausible(opcode, body):
                        if opcode == Opcode.METADATA:
                            note_channel(body, channels)
                        at = end
                        continue
            following = find_chunk(file, at + 1, file_bytes)
            if following is None:
                cut = "an unfinished chunk" if torn else "the file is cut short or its end is damaged"
                on_damage(at, f"{cut}: {file_bytes - at} bytes at the end are unreadable")
                return
            on_damage(at, f"{following.offset - at} bytes are unreadable, at most one chunk is lost")
            at = following.offset
        if not torn:
            on_damage(file_bytes, "the file is cut short after a whole chunk")
