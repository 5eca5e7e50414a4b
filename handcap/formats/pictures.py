"""What a compressed picture is, from its own bytes."""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np

PictureFormat = Literal["jpeg", "png"]
_PNG = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers; C4, C8 and CC in the same range are something else (ITU T.81, table B.1).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def picture_format(data: bytes) -> PictureFormat | None:
    """By the first bytes, whatever the file is called."""
    if data.startswith(_PNG):
        return "png"
    return "jpeg" if data.startswith(b"\xff\xd8\xff") else None


def picture_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) as the header states it; None when there is no whole header."""
    if data.startswith(_PNG):
        if len(data) < 24 or data[12:16] != b"IHDR":
            return None
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    i = 2
    while i + 9 < len(data) and data[i] == 0xFF:
        marker = data[i + 1]
        if marker == 0xFF:
            i += 1
            continue
        if marker in _JPEG_FRAMES:
            return int.from_bytes(data[i + 7 : i + 9], "big"), int.from_bytes(data[i + 5 : i + 7], "big")
        i += 2 + int.from_bytes(data[i + 2 : i + 4], "big")
    return None


def decodes(data: bytes) -> bool:
    """Whether the whole picture is there and decodes; a cut one would come out half grey."""
    import cv2

    whole = _png_is_whole(data) if picture_format(data) == "png" else data.rfind(b"\xff\xd9") > len(data) // 2
    if not whole:
        return False
    try:
        # Reduced decoding reads every byte and costs a fraction: a broken stream fails just as well.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_2)
    except cv2.error:
        return False
    return image is not None


def _png_is_whole(data: bytes) -> bool:
    """Every chunk there and with its checksum, up to IEND; the decoder would print to the terminal instead."""
    i = len(_PNG)
    while i + 12 <= len(data):
        length = int.from_bytes(data[i : i + 4], "big")
        name, end = data[i + 4 : i + 8], i + 8 + length
        if data[end : end + 4] != zlib.crc32(data[i + 4 : end]).to_bytes(4, "big"):
            return False
        if name == b"IEND":
            return True
        i = end + 4
    return False
