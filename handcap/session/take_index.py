"""Where everything of a take lies: one pass over its segments, every checksum verified."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from handcap.session.chunks import ChunkSpan, chunk_spans, load
from handcap.session.folder import segment_files
from handcap.session.records import BadChunk, Channels, RawMessage, messages

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Damage:
    """Something of the raw recording that cannot be read.

    Attributes:
        file: relative to the session folder, POSIX form.
        offset: byte in that file.
        what: what was lost, in words.
    """

    file: str
    offset: int
    what: str


@dataclass(frozen=True, slots=True)
class _Segment:
    path: Path
    channels: Channels
    chunks: list[tuple[ChunkSpan, frozenset[str]]]


class TakeIndex:
    """The chunks of a take and what they hold; made by reading all of it once, kept small.

    Args:
        session: its folder.
        folder: of the take.

    Attributes:
        schemas: topic to the name of its messages.
        stamps: topic to the stamps of its messages in the order of recording, ns.
        missing: topic to the number of messages that were recorded and are lost, as far as later ones tell.
        damage: what cannot be read.
    """

    def __init__(self, session: Path, folder: Path) -> None:
        self.schemas: dict[str, str] = {}
        self.stamps: dict[str, array[int]] = {}
        self.missing: dict[str, int] = {}
        self.damage: list[Damage] = []
        self._session = session
        self._following: dict[str, int] = {}
        self._segments = [self._scan(path) for path in segment_files(folder)]

    def report(self, path: Path, offset: int, what: str) -> None:
        damage = Damage(path.relative_to(self._session).as_posix(), offset, what)
        if damage not in self.damage:
            self.damage.append(damage)
            log.warning("%s, byte %d: %s", damage.file, offset, what)

    def _scan(self, path: Path) -> _Segment:
        channels = Channels()
        chunks: list[tuple[ChunkSpan, frozenset[str]]] = []
        torn = path.suffix == ".part"
        if torn:
            log.warning("%s was never closed; `handcap recover` mends it", path.relative_to(self._session).as_posix())
        with open(path, "rb") as file:
            for span in chunk_spans(path, channels, lambda at, what: self.report(path, at, what), torn=torn):
                topics: dict[str, None] = {}
                try:
                    for message in messages(load(file, span), channels):
                        topic, schema = channels.found.get(message.channel, ("", ""))
                        if topic not in topics:
                            topics[topic] = None
                            self.schemas.setdefault(topic, schema)
                        self.stamps.setdefault(topic, array("q")).append(message.log_time)
                        gap = message.sequence - self._following.get(topic, 0)
                        self.missing[topic] = self.missing.get(topic, 0) + max(gap, 0)
                        self._following[topic] = message.sequence + 1
                except BadChunk as error:
                    self.report(path, span.offset, f"a chunk of {span.data_bytes} bytes is lost: {error}")
                if "" in topics:
                    self.report(path, span.offset, "messages on a channel that is not defined are lost")
                chunks.append((span, frozenset(topics)))
        return _Segment(path, channels, chunks)

    def messages(self, topic: str) -> Iterator[tuple[Path, int, RawMessage]]:
        """(file, offset of the chunk, message) of a topic in the order of recording; one chunk in memory."""
        for segment in self._segments:
            with open(segment.path, "rb") as file:
                for span, topics in segment.chunks:
                    if topic not in topics:
                        continue
                    try:
                        for message in messages(load(file, span), segment.channels):
                            if segment.channels.found.get(message.channel, ("", ""))[0] == topic:
                                yield segment.path, span.offset, message
                    except BadChunk as error:
                        self.report(segment.path, span.offset, f"a chunk of {span.data_bytes} bytes is lost: {error}")
