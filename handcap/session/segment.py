"""One segment file while it is written: messages in, MCAP chunks out, `.part` until it is whole."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from mcap.writer import CompressionType, Writer

from handcap.clock import NS_PER_S
from handcap.errors import SessionError
from handcap.session.folder import cannot_write, sync_folder
from handcap.session.sink import FileSink, Sink

FLUSH_NS = NS_PER_S // 4  # what a killed recorder may lose; the promise is 0.5 s
SYNC_NS = NS_PER_S  # what a power cut may lose beyond that
CHUNK_BYTES = 1 << 20
CHANNEL_RECORD = "handcap.channel"  # metadata beside the chunks, so that no single chunk holds all channel names


def schema_of(message: type[Message]) -> bytes:
    """The message's file descriptors, what MCAP calls the schema of the encoding "protobuf"."""
    out = FileDescriptorSet()
    seen: list[str] = []

    def add(file: Any) -> None:
        if file.name not in seen:
            seen.append(file.name)
            for dependency in file.dependencies:
                add(dependency)
            file.CopyToProto(out.file.add())

    add(message.DESCRIPTOR.file)
    return out.SerializeToString(deterministic=True)


class SegmentWriter:
    """Writes one `.part` file and gives it its name when it is whole.

    Args:
        path: the final name, `seg-0000.mcap`.
        live: flush and sync by the wall clock as well; otherwise flush by the stamps alone, so that the same messages
            give the same bytes, and sync only at the end.
        suffix: what the name ends in until the file is whole.
    """

    def __init__(self, path: Path, *, live: bool, suffix: str = ".part") -> None:
        self._path = path
        self._part = path.with_name(path.name + suffix)
        self._live = live
        self._sink: Sink = FileSink(self._part)
        if live:  # a power cut must not take the file's name
            try:
                sync_folder(path.parent)
            except OSError as error:
                self._sink.close()
                raise cannot_write(self._part, error) from error
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._chunk_start_ns: int | None = None
        self._flushed_at = self._synced_at = time.monotonic_ns()
        self._writer = Writer(
            self._sink,  # pyright: ignore[reportArgumentType]  # needs write, tell and flush only
            chunk_size=CHUNK_BYTES,
            compression=CompressionType.NONE,
        )
        self._writer.start(profile="", library="handcap")

    def add(self, topic: str, t_ns: int, schema: type[Message], data: bytes, sequence: int) -> None:
        """Append one serialized message of type `schema`, the `sequence`-th of its topic in this take."""
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._register(topic, schema)
        # By stamps even when live: after a stall, a second of data may come in at once. A stamp far from the chunk's
        # first also ends it when stamps run backwards from topic to topic; but live, what a node held back while its
        # link was gone comes between what is new, and must not end a chunk each.
        if self._chunk_start_ns is not None:
            ahead_ns = t_ns - self._chunk_start_ns
            if (ahead_ns if self._live else abs(ahead_ns)) >= FLUSH_NS:
                self.flush()
        if self._chunk_start_ns is None:
            self._chunk_start_ns = t_ns
        self._writer.add_message(channel, t_ns, data, publish_time=t_ns, sequence=sequence & 0xFFFFFFFF)
        if self._live:
            self.tick()

    def _register(self, topic: str, schema: type[Message]) -> int:
        name = schema.DESCRIPTOR.full_name
        if name not in self._schemas:
            self._schemas[name] = self._writer.register_schema(name, "protobuf", schema_of(schema))
        channel = self._writer.register_channel(topic, "protobuf", self._schemas[name])
        self._writer.add_metadata(CHANNEL_RECORD, {"id": str(channel), "topic": topic, "schema": name})
        self._channels[topic] = channel
        return channel

    def tick(self) -> None:
        """Flush and sync when it is time to; call it also while nothing comes."""
        now = time.monotonic_ns()
        if now - self._flushed_at >= FLUSH_NS:
            if self._chunk_start_ns is not None:
                self.flush()
            self._flushed_at = now
        if now - self._synced_at >= SYNC_NS:
            self._sink.sync_soon()
            self._synced_at = now

    def flush(self) -> None:
        """Close the chunk: everything added so far survives the death of this program."""
        self._writer.flush()
        self._chunk_start_ns = None

    def close(self) -> None:
        """Finish the file, sync it and give it its final name."""
        self._writer.finish()
        self._sink.close()
        try:
            os.rename(self._part, self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def abandon(self) -> None:
        """Let go of the file after a failure; it stays `.part` with every chunk written so far."""
        with contextlib.suppress(SessionError):  # the failure that led here is the one to tell
            self._sink.close()
