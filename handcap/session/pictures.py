"""Recorded pictures and video packets become frames."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

PICTURE_LIMIT_PX = 64_000_000  # larger than any camera's; a header may claim what would fill the memory
PictureFormat = Literal["jpeg", "png", "h264"]
FORMATS: tuple[PictureFormat, ...] = get_args(PictureFormat)


@dataclass(frozen=True, slots=True)
class Packet:
    """One undecoded picture or access unit.

    Attributes:
        t_ns: camera stamp as recorded, camera clock.
        format: "jpeg", "png" or "h264".
        data: its bytes as they came.
        after_gap: pictures recorded just before it are lost, so video needs a key frame again.
    """

    t_ns: int
    format: PictureFormat
    data: bytes
    after_gap: bool = False


def picture_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) from a JPEG's or PNG's header, None if it has none."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def is_complete(data: bytes) -> bool:
    """Whether the picture's end is there: OpenCV fills what is missing with grey and says nothing."""
    tail = data[-4096:].rstrip(b"\0")
    return b"\xff\xd9" in tail if data[:2] == b"\xff\xd8" else b"IEND" in data[-64:]


def decode_picture(data: bytes, grey: bool) -> NDArray[np.uint8] | None:
    """JPEG or PNG to (height, width) grey or (height, width, 3) RGB; None if it does not decode whole."""
    size = picture_size(data)
    if size is None or not 0 < size[0] * size[1] <= PICTURE_LIMIT_PX or not is_complete(data):
        return None
    import cv2

    # Calibration speaks of the sensor's rows and columns, whatever way up the file says to show them.
    flags = (cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    if image is None:
        return None
    return image if grey else np.ascontiguousarray(image[..., ::-1])


def decode_video(packets: Iterable[Packet], grey: bool) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
    """H.264 access units to (stamp, picture), one at a time and in order; None for a unit that gives no picture."""
    import av
    import av.error

    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    waiting: list[int] = []

    def emit(frames: Iterable[Any]) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
        for frame in frames:
            while waiting and waiting[0] < frame.pts:  # the decoder went past it without a picture
                yield waiting.pop(0), None
            if waiting and waiting[0] == frame.pts:
                yield waiting.pop(0), _pixels(frame, grey)

    broken = True  # until a key frame: what refers to lost pictures decodes to rubbish without a word
    for packet in packets:
        if packet.after_gap:
            broken = True
        if broken and not is_key(packet.data):
            yield packet.t_ns, None
            continue
        broken = False
        unit = av.Packet(packet.data)
        unit.pts = unit.dts = packet.t_ns
        waiting.append(packet.t_ns)
        try:
            yield from emit(decoder.decode(unit))
        except av.error.FFmpegError:
            waiting.remove(packet.t_ns)
            yield packet.t_ns, None
    with contextlib.suppress(av.error.FFmpegError):
        yield from emit(decoder.decode(None))
    for t_ns in waiting:
        yield t_ns, None


def is_key(unit: bytes) -> bool:
    """Whether an Annex B access unit holds an IDR slice, from which decoding can begin."""
    at = unit.find(b"\0\0\1")
    while 0 <= at < len(unit) - 3:
        kind = unit[at + 3] & 0x1F
        if kind in (1, 5):  # the first slice decides
            return kind == 5
        at = unit.find(b"\0\0\1", at + 3)
    return False


def _pixels(frame: Any, grey: bool) -> NDArray[np.uint8]:
    if not grey:
        return frame.to_ndarray(format="rgb24")
    luma = frame.planes[0]  # the Y plane as it is: no rescaling, so the same bytes everywhere
    rows = np.frombuffer(luma, np.uint8).reshape(-1, luma.line_size)
    return rows[: frame.height, : frame.width].copy()
