"""One connection to a camera: packets as the camera gives them, undecoded, each with its stamp."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from handcap.clock import NS_PER_S
from handcap.devices.annex_b import AnnexB
from handcap.devices.video_opening import InputParams, opened, reason
from handcap.devices.video_source import Asked, VideoFormat, VideoSource
from handcap.errors import DeviceError
from handcap.session.pictures import picture_size

StampKind = Literal["kernel", "arrival"]
_MOST_BYTES = 16 << 20  # of one picture: beyond any camera's
_AHEAD_NS = NS_PER_S // 10  # drivers that reckon from the camera's own clock are a little ahead now and then
_OLDEST_NS = 10 * NS_PER_S  # a kernel's stamp is of a moment ago


class Silent(ConnectionError):
    """Connected, and nothing comes."""


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """One picture as the camera gave it.

    Attributes:
        t_ns: host's monotonic clock: kernel's stamp, or when it arrived.
        data: JPEG, or an H.264 access unit in Annex B form.
        key: whether decoding can begin with it.
    """

    t_ns: int
    data: bytes
    key: bool


@dataclass(frozen=True, slots=True)
class Given:
    """What a camera really gives.

    Attributes:
        format: of its packets.
        size: (width, height), pixels.
        rate_hz: as the driver says; None where nobody says.
        stamps: whose.
    """

    format: VideoFormat
    size: tuple[int, int]
    rate_hz: float | None
    stamps: StampKind


class VideoInput:
    """An open camera that has given a picture. Close it, or use it in a `with`.

    Args:
        source: what to open.
        asked: of it.
        params: how.

    Attributes:
        given: what it gives.
        damaged: packets that were no picture, or one of another size.

    Raises:
        DeviceError: it cannot be opened, gives nothing, or something else than was asked.
    """

    def __init__(self, source: VideoSource, asked: Asked, params: InputParams | None = None) -> None:
        self.source, self.params = source, params or InputParams()
        self.damaged = 0
        self._container = opened(source, asked, self.params)
        try:
            self._stream = self._container.streams.video[0]
            self._format: VideoFormat = self._stream.codec_context.name
            self._units = AnnexB(self._stream)
            self._packets = self._container.demux(self._stream)
            self._size: tuple[int, int] | None = None
            self._stamps: StampKind | None = None
            self._begun = self._format == "mjpeg"  # a video begins with a key picture
            self._first = self._first_picture()
            self.given = self._checked(asked)
        except BaseException:
            self.close()
            raise

    def pictures(self) -> Iterator[Picture | None]:
        """Every picture, and None now and then while none comes.

        Raises:
            ConnectionError: it is gone; Silent: nothing came for too long.
        """
        yield self._first
        yield from self._read(self.params.silent_s)

    def close(self) -> None:
        with suppress(Exception):  # a device that is gone cannot be stopped any more
            self._packets.close()
            self._container.close()

    def __enter__(self) -> VideoInput:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _first_picture(self) -> Picture:
        silent = DeviceError(
            "no picture comes",
            where=self.source.shown,
            mend="switch the camera off and on, or unplug it and plug it in again",
            cause="camera_silent",
        )
        try:
            found = next((picture for picture in self._read(self.params.open_s) if picture is not None), None)
        except ConnectionError as error:
            raise silent from error
        if found is None:
            raise silent
        return found

    def _checked(self, asked: Asked) -> Given:
        size, rate = self._size or (0, 0), self._stream.average_rate
        if asked.size is not None and size != asked.size:
            raise DeviceError(
                f"its pictures are {size[0]}×{size[1]}, and {asked.size[0]}×{asked.size[1]} are wanted",
                where=self.source.shown,
                mend="set the camera to that size, or calibrate it at the size it gives",
                cause="camera_other_size",
            )
        told = None if self.source.network or not rate else float(rate)
        return Given(self._format, size, told, self._stamps or "arrival")

    def _read(self, silent_s: float) -> Iterator[Picture | None]:
        """As `pictures`, from now on."""
        last_ns = time.monotonic_ns()
        while True:
            taken = self._taken()
            now_ns = time.monotonic_ns()
            if taken:
                last_ns = now_ns
            elif now_ns - last_ns > silent_s * NS_PER_S:
                raise Silent(f"no picture for {silent_s:g} s")
            yield from taken or (None,)
            if taken is None:
                time.sleep(self.params.nap_s)

    def _next(self) -> Any | None:
        """The next packet; None where a device has none yet. Raises ConnectionError."""
        import av.error

        try:
            packet: Any = next(self._packets, None)
        except av.error.BlockingIOError:
            self._packets = self._container.demux(self._stream)
            return None
        except av.error.ExitError:
            raise Silent(f"no picture for {self.params.silent_s:g} s") from None
        except av.error.FFmpegError as error:
            raise ConnectionError(reason(error)) from error
        if packet is None or (packet.size == 0 and packet.pts is None):  # PyAV's mark of an end
            raise ConnectionError("it ended")
        return packet

    def _taken(self) -> list[Picture] | None:
        """The pictures of the next packet, without those that are none; None where there is no packet yet.

        The packet is let go of here: it may be the driver's own memory.
        """
        packet = self._next()
        if packet is None:
            return None
        t_ns = self._stamp(packet, time.monotonic_ns())
        if t_ns is None or not 0 < packet.size <= _MOST_BYTES:
            self.damaged += 1
            return []
        out: list[Picture] = []
        units = self._units.units(packet) if self._format == "h264" else ((bytes(packet), True),)
        for data, key in units:
            self._begun |= key
            if self._begun and self._of_one_size(data):
                out.append(Picture(t_ns + len(out), data, key))
            elif self._begun:
                self.damaged += 1
        return out

    def _of_one_size(self, data: bytes) -> bool:
        """Whether it is a picture, and as large as the first."""
        context = self._stream.codec_context
        size = picture_size(data) if self._format == "mjpeg" else (context.width, context.height)
        self._size = self._size or size
        return size is not None and size == self._size

    def _stamp(self, packet: Any, now_ns: int) -> int | None:
        """The kernel's stamp where the first picture's was one on the host's monotonic clock, else the time of arrival.

        None where a kernel that stamped the first picture stamps this one otherwise.
        """
        t_ns = -1
        if not self.source.network and packet.pts is not None:
            t_ns = int(packet.pts * packet.time_base * NS_PER_S)
        fits = t_ns >= 0 and -_AHEAD_NS < now_ns - t_ns < _OLDEST_NS
        if self._stamps is None:
            self._stamps = "kernel" if fits else "arrival"
        if self._stamps == "arrival":
            return now_ns
        return t_ns if fits else None
