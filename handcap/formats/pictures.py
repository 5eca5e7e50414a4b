"""What a compressed picture is, from its own bytes."""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np

from handcap.session.pictures import PICTURE_LIMIT_PX, is_complete, picture_size

PictureFormat = Literal["jpeg", "png"]
_PNG = b"\x89PNG\r\n\x1a\n"


def picture_format(data: bytes) -> PictureFormat | None:
    """By the first bytes, whatever the file is called."""
    if data.startswith(_PNG):
        return "png"
    return "jpeg" if data.startswith(b"\xff\xd8\xff") else None


def decodes(data: bytes) -> bool:
    """Whether a session will show it: the whole picture is there (a cut one would come out half grey) and decodes."""
    import cv2

    size = picture_size(data)
    if size is None or size[0] * size[1] > PICTURE_LIMIT_PX or not is_complete(data):
        return False
    if picture_format(data) == "png" and not _png_is_whole(data):
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
