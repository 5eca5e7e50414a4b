"""What lies inside a chunk: messages, and the definitions of their channels."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Metadata, Schema

from handcap.session.segment import CHANNEL_RECORD

RECORD = struct.Struct("<BQ")  # opcode, length
_MESSAGE_HEAD = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_LAST_STAMP = (1 << 63) - 1


class BadChunk(ValueError):
    """Why a chunk cannot be used, in words."""


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as stored: which channel, its number there, when, and its bytes (a view into the chunk)."""

    channel: int
    sequence: int
    log_time: int
    data: memoryview


@dataclass
class Channels:
    """Channel id to (topic, schema name), as a segment defines them while it is read."""

    found: dict[int, tuple[str, str]] = field(default_factory=dict)
    schemas: dict[int, str] = field(default_factory=dict)
    sure: dict[int, bool] = field(default_factory=dict)

    def define(self, channel: int, topic: str, schema: str, *, sure: bool) -> None:
        """The first definition under a CRC wins; one without CRC only fills a gap."""
        if not self.sure.get(channel, False):
            self.found[channel] = (topic, schema)
            self.sure[channel] = sure


def messages(content: memoryview, channels: Channels) -> Iterator[RawMessage]:
    """The messages of a chunk's content; its channel definitions go into `channels`.

    Raises:
        BadChunk: a record is longer than the chunk; the messages before it have been yielded.
    """
    at = 0
    while at < len(content):
        if at + RECORD.size > len(content):
            raise BadChunk("its last record is cut short")
        opcode, length = RECORD.unpack_from(content, at)
        begin, end = at + RECORD.size, at + RECORD.size + length
        if end > len(content):
            raise BadChunk("a record claims to be longer than its chunk")
        if opcode == Opcode.MESSAGE:
            if length < _MESSAGE_HEAD.size:
                raise BadChunk("a message is too short for its header")
            channel, sequence, log_time, _ = _MESSAGE_HEAD.unpack_from(content, begin)
            yield RawMessage(channel, sequence, min(log_time, _LAST_STAMP), content[begin + _MESSAGE_HEAD.size : end])
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            _define(opcode, bytes(content[begin:end]), channels)
        at = end


def _define(opcode: int, body: bytes, channels: Channels) -> None:
    stream = ReadDataStream(io.BytesIO(body))
    try:
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(stream)
            channels.schemas.setdefault(schema.id, schema.name)
        else:
            channel = Channel.read(stream)
            channels.define(channel.id, channel.topic, channels.schemas.get(channel.schema_id, ""), sure=True)
    except (ValueError, struct.error, McapError) as error:
        raise BadChunk("a channel definition cannot be read") from error


def note_channel(body: bytes, channels: Channels) -> None:
    """Take in the copy of a channel's name that lies beside the chunks; it has no CRC."""
    try:
        record = Metadata.read(ReadDataStream(io.BytesIO(body)))
        if record.name == CHANNEL_RECORD:
            values = record.metadata
            channels.define(int(values["id"]), values["topic"], values["schema"], sure=False)
    except (ValueError, KeyError, struct.error, McapError):
        pass  # the channel's own definition lies in a chunk
