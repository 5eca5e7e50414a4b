"""A camera opened by FFmpeg, undecoded; why it cannot be, in plain words."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any

from handcap.devices.v4l2_formats import FoundFormat, formats
from handcap.devices.video_source import Asked, VideoSource
from handcap.errors import DeviceError

RECORDED = ("mjpeg", "h264")
_DEMUXERS = "mpjpeg,mjpeg,mpegts,rtsp,sdp,h264"
_PROTOCOLS = "http,https,tls,tcp,udp,rtp,rtsp"  # never a file: an address may answer with other addresses
_NONBLOCK = "+4"  # AVFMT_FLAG_NONBLOCK, which has no name among FFmpeg's options
_LISTED = 8  # formats, in a sentence
_HEARD_US = 1_000_000  # of a stream, to know what it is


@dataclass(frozen=True, slots=True)
class InputParams:
    """How a camera is listened to.

    Attributes:
        open_s: to be open, and then to have given a picture.
        silent_s: without a picture, and the connection is given up.
        nap_s: between two looks at a device that has nothing; its stamps are the kernel's and do not suffer.
    """

    open_s: float = 5.0
    silent_s: float = 1.5
    nap_s: float = 0.004


def opened(source: VideoSource, asked: Asked, params: InputParams) -> Any:
    """PyAV's container with one video stream of a kind that is recorded. Raises DeviceError."""
    import av
    import av.error

    offered = formats(source.name) if source.input == "v4l2" else ()
    options = _stream_options() if source.network else _device_options(source, asked, offered)
    # A device that does not block can be given up when it falls silent; FFmpeg cannot leave the kernel's wait.
    flags = "+nobuffer" if source.network else _NONBLOCK
    try:
        container = av.open(
            source.name,
            format=source.input,
            options=options,
            container_options={"fflags": flags},
            timeout=(params.open_s, params.silent_s),
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _cannot_open(source, error) from error
    names = [stream.codec_context.name for stream in container.streams.video]
    bad = "sends no video" if not names else None
    if names and names[0] not in RECORDED:
        bad = f"gives {names[0]} pictures; MJPEG or H.264 is recorded"
    if bad is None and container.streams.video[0].codec_context.has_b_frames:
        bad = "sends its pictures out of order (B-frames)"
    if bad is not None:
        container.close()
        raise _unfit(source, bad, offered)
    return container


def _stream_options() -> dict[str, str]:
    return {
        "rtsp_transport": "tcp",
        "analyzeduration": str(_HEARD_US),
        "fpsprobesize": "0",  # nobody needs its opinion of the rate, which takes a second
        "protocol_whitelist": _PROTOCOLS,
        "format_whitelist": _DEMUXERS,
    }


def _device_options(source: VideoSource, asked: Asked, offered: tuple[FoundFormat, ...]) -> dict[str, str]:
    options: dict[str, str] = {}
    if asked.size is not None:
        options["video_size"] = f"{asked.size[0]}x{asked.size[1]}"
    if asked.rate_hz is not None:
        options["framerate"] = f"{asked.rate_hz:g}"
    if source.input == "avfoundation":
        return options
    names = [each.name for each in offered]
    likely = "h264" if "h264" in names and "mjpeg" not in names else "mjpeg"
    options["input_format" if source.input == "v4l2" else "vcodec"] = asked.format or likely
    if source.input == "v4l2":
        options["timestamps"] = "default"  # the kernel's own, as they are
    return options


def reason(error: Exception) -> str:
    """What FFmpeg says, without the address, which may hold a password."""
    return str(getattr(error, "strerror", None) or type(error).__name__)


def _unfit(source: VideoSource, what: str, offered: tuple[FoundFormat, ...]) -> DeviceError:
    names = sorted({each.name for each in offered})
    more = f" and {len(names) - _LISTED} others" if len(names) > _LISTED else ""
    listed = f" (it offers {', '.join(names[:_LISTED])}{more})" if names else ""
    return DeviceError(
        what + listed,
        where=source.shown,
        mend="set the camera to MJPEG, or to H.264 without B-frames (baseline profile)",
        cause="camera_format",
    )


def _cannot_open(source: VideoSource, error: Exception) -> DeviceError:
    import av.error

    number, where = getattr(error, "errno", None), source.shown
    if number in (errno.EACCES, errno.EPERM):
        mend = "run `sudo usermod -aG video $USER` and log in again"
        return DeviceError("you may not open this camera", where=where, mend=mend, cause="camera_permission")
    if number == errno.EBUSY:
        mend = "end that program (a browser, a video call, another capture)"
        return DeviceError("another program has this camera open", where=where, mend=mend, cause="camera_busy")
    if number == errno.EINVAL and source.input == "v4l2":
        return _unfit(source, "has neither MJPEG nor H.264 at what was asked", formats(source.name))
    if isinstance(error, av.error.ExitError):
        what = "does not answer"
    elif not source.network and number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        what = "is not plugged in"
    else:
        what = f"cannot be opened ({reason(error)})"
    mend = "check its address, its network and that it is switched on" if source.network else "plug it in again"
    return DeviceError(what, where=where, mend=mend, cause="camera_missing")
