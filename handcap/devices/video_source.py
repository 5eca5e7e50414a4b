"""Where a camera's pictures come from: a device of this computer or a network stream, and how it is named."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from handcap.devices import discovery
from handcap.devices.discovery import FoundCamera
from handcap.errors import DeviceError

VideoFormat = Literal["mjpeg", "h264"]
SCHEMES = ("http", "https", "rtsp")
# FFmpeg's input for cameras of this computer. Only the first has been seen at work.
_INPUTS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a camera is to give; None: as it likes.

    Attributes:
        format: as it leaves the camera.
        size: (width, height), pixels.
        rate_hz: pictures a second.
    """

    format: VideoFormat | None = None
    size: tuple[int, int] | None = None
    rate_hz: float | None = None


@dataclass(frozen=True, slots=True)
class VideoSource:
    """A device or a stream.

    Attributes:
        name: what FFmpeg opens: /dev/video0, "0" (macOS), "video=USB Camera" (Windows), or an address.
        input: FFmpeg's input device; None for an address.
        uid: serial number or USB place it was found by; None where it was named.
    """

    name: str
    input: str | None = None
    uid: str | None = None

    @property
    def network(self) -> bool:
        return self.input is None

    @property
    def shown(self) -> str:
        """As it may be printed and kept: without the user and password that an address may hold."""
        if not self.network:
            return self.name
        parts = urlsplit(self.name)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def found_again(source: VideoSource) -> VideoSource:
    """The same camera, which may be another device since it was plugged in again. Raises DeviceError."""
    return source if source.uid is None else video_source(source.uid)


def video_source(named: str, found: Sequence[FoundCamera] | None = None) -> VideoSource:
    """What a user or rig.json names: an address, a device, or the serial number or USB place of a camera.

    Args:
        named: `http://…`, `rtsp://…`, `/dev/video0`, `/dev/v4l/by-id/…`, or as `handcap devices` shows it.
        found: cameras of this computer; None: look.

    Raises:
        DeviceError: no such camera is plugged in, or more than one answers to that name.
    """
    if "://" in named:
        if not _is_address(named):
            raise DeviceError(
                "is no address of a camera",
                where=named.rpartition("@")[2],
                mend=f"write it as {'://…, '.join(SCHEMES)}://…; a camera node is named with --node tcp://…",
                cause="camera_missing",
            )
        return VideoSource(named)
    input = _INPUTS.get(sys.platform, "v4l2")
    if input != "v4l2":
        return VideoSource(named, input)
    if named.startswith("/"):
        return VideoSource(named, input)
    there = discovery.cameras() if found is None else found
    fitting = [camera for camera in there if named in (camera.usb_serial, camera.usb_place)]
    if len(fitting) == 1:
        return VideoSource(fitting[0].name, input, named)
    listed = "; ".join(f"{c.name} {c.model} {c.usb_serial or 'without serial'} at {c.usb_place or '?'}" for c in there)
    if fitting:
        raise DeviceError(
            f"{len(fitting)} cameras have the same serial number ({listed})",
            where=named,
            mend="name each by its USB place, and always plug it into the same socket",
            cause="camera_missing",
        )
    raise DeviceError(
        f"no such camera is plugged in (cameras: {listed or 'none'})",
        where=named,
        mend="plug it in, or name another with --camera NAME=SOURCE",
        cause="camera_missing",
    )


def _is_address(named: str) -> bool:
    try:
        parts = urlsplit(named)
        return parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no number for a port, half an IPv6 address
        return False
