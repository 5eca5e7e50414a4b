"""Frames on a byte stream: COBS(message || CRC-32 little-endian), then a zero byte.

COBS: Cheshire and Baker, "Consistent Overhead Byte Stuffing", 1999. CRC-32 is zlib's.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, fields

from cobs import cobs

SERIAL_FRAME_MAX = 1024  # encoded bytes without the zero: what a board has room for
NODE_FRAME_MAX = 16 << 20  # a camera node's pictures travel in one frame
_CRC_BYTES = 4


def frame(message: bytes) -> bytes:
    """The bytes that carry one message."""
    return cobs.encode(message + zlib.crc32(message).to_bytes(_CRC_BYTES, "little")) + b"\0"


@dataclass(slots=True)
class FrameLosses:
    """Every way in which a frame is lost, counted.

    Attributes:
        bad_cobs: a length byte points beyond the frame's end.
        too_short: no room for a message and its CRC.
        bad_crc: the bytes are not those that were sent.
        too_long: more bytes without a zero than a frame may have; they are thrown away up to the next zero.
        cut_at_start: the first bytes of a connection were the end of a frame. Nobody's fault, and no loss.
    """

    bad_cobs: int = 0
    too_short: int = 0
    bad_crc: int = 0
    too_long: int = 0
    cut_at_start: int = 0

    def as_dict(self) -> dict[str, int]:
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(slots=True)
class Deframer:
    """Bytes as they come, in pieces of any length, to checked messages. Takes any bytes, never raises.

    Attributes:
        longest: most encoded bytes of one frame; no more than these are ever kept.
        losses: counted since this deframer began.
    """

    longest: int = SERIAL_FRAME_MAX
    losses: FrameLosses = field(default_factory=FrameLosses)
    _kept: bytearray = field(default_factory=bytearray)
    _skipping: bool = False
    _at_start: bool = True

    def begin_again(self) -> None:
        """Forget a frame that has begun; counts stay."""
        self._kept = bytearray()
        self._skipping, self._at_start = False, True

    def push(self, data: bytes) -> list[bytes]:
        """The messages that end in `data`, their CRC checked and taken off."""
        *whole, rest = data.split(b"\0")
        messages: list[bytes] = []
        for piece in whole:
            message = self._ended(piece)
            if message is not None:
                messages.append(message)
        self._begun(rest)
        return messages

    @property
    def kept_bytes(self) -> int:
        """Of the frame that has begun and not ended."""
        return len(self._kept)

    def _begun(self, piece: bytes) -> None:
        if self._skipping or not piece:
            return
        if len(self._kept) + len(piece) > self.longest:
            self._kept = bytearray()
            self._skipping = True
        else:
            self._kept += piece

    def _ended(self, piece: bytes) -> bytes | None:
        at_start, self._at_start = self._at_start, False
        if self._skipping or len(self._kept) + len(piece) > self.longest:
            self._kept = bytearray()
            self._skipping = False
            self.losses.too_long += 1
            return None
        encoded = bytes(self._kept) + piece if self._kept else piece
        if self._kept:
            self._kept = bytearray()
        if not encoded:  # zeros that follow each other: a sender makes sure of a clean start
            return None
        message, reason = _checked(encoded)
        if reason is not None:
            reason = "cut_at_start" if at_start else reason
            setattr(self.losses, reason, getattr(self.losses, reason) + 1)
        return message


def _checked(encoded: bytes) -> tuple[bytes | None, str | None]:
    """A frame's message, or why there is none."""
    try:
        decoded = cobs.decode(encoded)
    except cobs.DecodeError:
        return None, "bad_cobs"
    if len(decoded) <= _CRC_BYTES:
        return None, "too_short"
    message = decoded[:-_CRC_BYTES]
    if zlib.crc32(message) != int.from_bytes(decoded[-_CRC_BYTES:], "little"):
        return None, "bad_crc"
    return message, None
