"""What a V4L2 camera offers, asked of its driver (Linux' include/uapi/linux/videodev2.h)."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
_DISCRETE = 1
_MOST = 256  # of anything: a driver that never ends is broken
_ENUM_FMT, _ENUM_FMT_LAYOUT = 0xC0405602, struct.Struct("=III32sII12x")
_ENUM_SIZES, _ENUM_SIZES_LAYOUT = 0xC02C564A, struct.Struct("=III6I8x")
_ENUM_INTERVALS, _ENUM_INTERVALS_LAYOUT = 0xC034564B, struct.Struct("=IIIII6I8x")
# FFmpeg's names; others are told by their four letters.
_NAMES = {"MJPG": "mjpeg", "JPEG": "mjpeg", "H264": "h264"}


@dataclass(frozen=True, slots=True)
class FoundFormat:
    """One kind and size of pictures.

    Attributes:
        name: "mjpeg", "h264", or the kernel's four letters, as "YUYV".
        size: (width, height) pixels; the largest, where the driver has a range.
        most_hz: highest rate at that size; None where the driver does not say.
    """

    name: str
    size: tuple[int, int]
    most_hz: float | None


def formats(name: str) -> tuple[FoundFormat, ...]:
    """All that a camera offers; none where it cannot be asked."""
    if not sys.platform.startswith("linux"):
        return ()
    try:
        fd = os.open(name, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        return tuple(_offered(fd))
    finally:
        os.close(fd)


def _offered(fd: int) -> Iterator[FoundFormat]:
    for k in range(_MOST):
        told = _ask(fd, _ENUM_FMT, _ENUM_FMT_LAYOUT, k, _CAPTURE, 0, b"", 0, 0)
        if told is None:
            return
        fourcc = told[4]
        letters = struct.pack("=I", fourcc & 0x7FFFFFFF).decode("ascii", "replace").strip()  # bit 31: big-endian
        for size in _sizes(fd, fourcc):
            yield FoundFormat(_NAMES.get(letters, letters), size, _most_hz(fd, fourcc, size))


def _sizes(fd: int, fourcc: int) -> Iterator[tuple[int, int]]:
    for k in range(_MOST):
        told = _ask(fd, _ENUM_SIZES, _ENUM_SIZES_LAYOUT, k, fourcc, 0, *[0] * 6)
        if told is None:
            return
        if told[2] != _DISCRETE:  # least, largest and step of the width, then of the height
            yield told[4], told[7]
            return
        yield told[3], told[4]


def _most_hz(fd: int, fourcc: int, size: tuple[int, int]) -> float | None:
    most = None
    for k in range(_MOST):
        told = _ask(fd, _ENUM_INTERVALS, _ENUM_INTERVALS_LAYOUT, k, fourcc, *size, 0, *[0] * 6)
        if told is None:
            break
        seconds, of = told[5], told[6]  # the shortest one stands first in a range too
        if seconds:
            most = max(most or 0.0, of / seconds)
        if told[4] != _DISCRETE:
            break
    return most


def _ask(fd: int, request: int, layout: struct.Struct, *values: int | bytes) -> tuple[int, ...] | None:
    """The driver's answer, None where there is none."""
    import fcntl

    buffer = bytearray(layout.pack(*values))
    try:
        fcntl.ioctl(fd, request, buffer)
    except OSError:
        return None
    return layout.unpack(buffer)
