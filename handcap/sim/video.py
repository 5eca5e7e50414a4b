"""Pictures to an H.264 stream such as a camera with its own encoder sends."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray


class H264Encoder:
    """One access unit per picture, Annex B, no B-frames, parameter sets before every key frame.

    One thread and no look-ahead: each picture comes out as it goes in, and the bytes are the same on any machine with
    the same library.

    Args:
        width, height: px, even.
        rate_hz: pictures per second; steers the rate control only.
        quality: x264's constant rate factor, 0 best; 20 hardly shows.
        key_every: pictures from one key frame to the next.
    """

    def __init__(self, width: int, height: int, rate_hz: float, *, quality: float = 20.0, key_every: int = 30) -> None:
        import av
        from av.codec.context import Flags

        assert width % 2 == 0 and height % 2 == 0, "H.264 stores colour at half resolution"
        self._new_frame: Any = av.VideoFrame.from_ndarray
        self._codec: Any = av.CodecContext.create("libx264", "w")
        self._codec.width, self._codec.height, self._codec.pix_fmt = width, height, "yuv420p"
        self._codec.framerate = Fraction(rate_hz).limit_denominator(1001)
        self._codec.thread_count = 1
        self._codec.flags |= Flags.bitexact
        self._codec.options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "crf": f"{quality:g}",
            "forced-idr": "1",
            "x264-params": f"threads=1:bframes=0:keyint={key_every}:min-keyint={key_every}:scenecut=0:repeat-headers=1",
        }
        self._count = 0

    def encode(self, picture: NDArray[np.uint8], *, key: bool = False) -> bytes:
        """RGB (height, width, 3) to its access unit; `key` asks for a key frame, as after a restart."""
        import cv2
        from av.video.frame import PictureType

        planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
        frame: Any = self._new_frame(planes, format="yuv420p")
        frame.pts = self._count
        if key:
            frame.pict_type = PictureType.I
        self._count += 1
        packets = self._codec.encode(frame)
        assert len(packets) == 1, "an encoder without look-ahead gives one packet per picture"
        return bytes(packets[0])
