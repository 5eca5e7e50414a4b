"""What a board said and nobody has taken yet: bounded, whoever talks and whoever sleeps."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from handcap.wire.handcap_pb2 import Envelope


@dataclass(eq=False, slots=True)
class Message:
    """One message of a board.

    Attributes:
        data: its bytes, as recordings keep them. What waits is kept as bytes: a hostile peer can make a message that
            takes a hundred times as much once it is decoded.
        arrived_ns: when its last byte was read, host's monotonic clock.
        epoch: which stretch without unplugging or restart it belongs to, from 1 on; board stamps of different epochs
            have nothing to do with each other.
    """

    data: bytes
    arrived_ns: int
    epoch: int
    _envelope: Envelope | None = None

    @property
    def envelope(self) -> Envelope:
        """As sent; decoded when first asked for."""
        if self._envelope is None:
            self._envelope = Envelope.FromString(self.data)
        return self._envelope

    @property
    def body(self) -> str:
        """Name of the body: "imu_batch", "status", ..."""
        return self.envelope.WhichOneof("body") or ""


class Inbox:
    """A queue between the thread that listens and whoever records.

    Args:
        most_messages, most_bytes: that wait.
        drops: whether newer messages push out older ones. If not, whoever puts must look whether it is `full`, and
            goes beyond it by no more than what came with one read.

    Attributes:
        dropped: messages that were pushed out by newer ones because nobody took them.
    """

    def __init__(self, most_messages: int, most_bytes: int, drops: bool = True) -> None:
        self._drops = drops
        self._most_messages, self._most_bytes = most_messages, most_bytes
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()
        self.dropped = 0

    @property
    def full(self) -> bool:
        """Whether nothing more should be put."""
        return len(self._messages) >= self._most_messages or self._bytes >= self._most_bytes

    def put(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        with self._changed:
            for message in messages:
                self._messages.append(message)
                self._bytes += len(message.data)
                # The newest always stays, however large.
                while (
                    self._drops
                    and len(self._messages) > 1
                    and (len(self._messages) > self._most_messages or self._bytes > self._most_bytes)
                ):
                    self._bytes -= len(self._messages.popleft().data)
                    self.dropped += 1
            self._changed.notify_all()

    def take(self, timeout_s: float | None) -> list[Message]:
        """All that is there; waits for something. Empty on time-out, or when the board was closed."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._messages) or self._closed, timeout_s)
            taken = list(self._messages)
            self._messages.clear()
            self._bytes = 0
            return taken

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed
