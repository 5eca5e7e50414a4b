"""Bytes from one board become envelopes; what is missing in between is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from handcap.wire.framing import SERIAL_FRAME_MAX, Deframer
from handcap.wire.handcap_pb2 import Envelope, VideoFrame

_SEQ_SPAN = 1 << 32
# Only pictures are large. Decoded, two bytes of anything else can take a hundred.
_LARGEST_BUT_FOR_PICTURES = 1 << 16
_MOST_FIELDS = 100
_VIDEO_FRAME = Envelope.DESCRIPTOR.fields_by_name["video_frame"].number
_VIDEO_DATA = VideoFrame.DESCRIPTOR.fields_by_name["data"].number


@dataclass(slots=True)
class MessageLosses:
    """What went wrong between whole frames.

    Attributes:
        not_a_message: frames whose CRC is right and whose protobuf is not, or would be far too large.
        unknown_body: messages of a kind that this program does not know; a newer board sends them.
        messages_missing: by the gaps in `seq`. Counts those again whose frames arrived damaged.
        gaps: how many times messages were missing.
        out_of_order: messages whose `seq` ran back within a boot.
    """

    not_a_message: int = 0
    unknown_body: int = 0
    messages_missing: int = 0
    gaps: int = 0
    out_of_order: int = 0


@dataclass(frozen=True, slots=True)
class Decoded:
    """One message.

    Attributes:
        envelope: as sent.
        data: its bytes, as recordings keep them.
        frame_bytes: how long its frame was about, COBS and zero included.
        rebooted: the board's first message since a restart that happened during this connection.
    """

    envelope: Envelope
    data: bytes
    frame_bytes: int
    rebooted: bool


@dataclass(slots=True)
class MessageStream:
    """One connection's bytes. Takes any bytes, never raises, keeps no more than one frame.

    Attributes:
        losses: between frames; those of frames are in `deframer.losses`.
        reboots: times the boot id changed. Gaps are not counted across a restart, since `seq` begins anew.
    """

    longest_frame: int = SERIAL_FRAME_MAX
    losses: MessageLosses = field(default_factory=MessageLosses)
    reboots: int = 0
    deframer: Deframer = field(init=False)
    _boot_id: int | None = None
    _next_seq: int = 0

    def __post_init__(self) -> None:
        self.deframer = Deframer(self.longest_frame)

    def begin_again(self) -> None:
        """The connection broke and is back: what was half said is gone, what was missed meanwhile nobody counts."""
        self.deframer.begin_again()
        self._boot_id = None

    def push(self, data: bytes) -> list[Decoded]:
        """The messages that end in `data`."""
        came: list[Decoded] = []
        for message in self.deframer.push(data):
            try:
                _refuse_bloated(message)
                envelope = Envelope.FromString(message)
            except DecodeError:
                self.losses.not_a_message += 1
                continue
            rebooted = self._in_sequence(envelope)
            if envelope.WhichOneof("body") is None:
                self.losses.unknown_body += 1
            else:
                came.append(Decoded(envelope, message, len(message) + len(message) // 254 + 6, rebooted))
        return came

    def _in_sequence(self, envelope: Envelope) -> bool:
        rebooted = self._boot_id is not None and envelope.boot_id != self._boot_id
        if rebooted:
            self.reboots += 1
        elif self._boot_id is not None:
            missing = (envelope.seq - self._next_seq) % _SEQ_SPAN
            if missing >= _SEQ_SPAN // 2:
                self.losses.out_of_order += 1
            elif missing:
                self.losses.gaps += 1
                self.losses.messages_missing += missing
        self._boot_id = envelope.boot_id
        self._next_seq = (envelope.seq + 1) % _SEQ_SPAN
        return rebooted


def _refuse_bloated(message: bytes) -> None:
    """Raises DecodeError when a message is large for any other reason than a picture's bytes."""
    if len(message) <= _LARGEST_BUT_FOR_PICTURES:
        return
    pictures = 0
    for number, start, end in _fields(message, 0, len(message)):
        if number == _VIDEO_FRAME:
            pictures += sum(e - s for inner, s, e in _fields(message, start, end) if inner == _VIDEO_DATA)
    if len(message) - pictures > _LARGEST_BUT_FOR_PICTURES:
        raise DecodeError(f"{len(message) - pictures} bytes that are no picture")


def _fields(message: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field that has a length; the others' bytes are passed over.

    Raises:
        DecodeError: it is no protobuf, or has more fields than any of our messages.
    """
    for _ in range(_MOST_FIELDS):
        if at >= end:
            return
        tag, at = _varint(message, at, end)
        kind = tag & 7
        if kind == 2:
            length, at = _varint(message, at, end)
            yield tag >> 3, at, min(at + length, end)
            at += length
        elif kind == 0:
            _, at = _varint(message, at, end)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise DecodeError(f"no field is of wire type {kind}")
    raise DecodeError("too many fields")


def _varint(message: bytes, at: int, end: int) -> tuple[int, int]:
    """A number, and where it ends (protobuf.dev, "Encoding")."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise DecodeError("no number ends here")
