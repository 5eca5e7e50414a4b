"""H.264 in MP4, the same bytes on every run."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray


class VideoWriter:
    """One MP4 file at a constant frame rate.

    A key frame every second frame: training reads frames in random order, and each costs at most two decodes. No
    B-frames, one thread, bit-exact flags.

    Args:
        path: the file.
        size: (width, height) of the pictures; an odd last column or row is left out, as yuv420p needs even sides.
        fps: frame rate.
        crf: constant rate factor of x264; lower is better and larger.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: int, crf: int) -> None:
        import av
        from av.codec.context import Flags

        self.frames = 0
        self._width, self._height = even(size)
        self._container: Any = av.open(
            str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}
        )
        stream: Any = self._container.add_stream(
            "libx264", rate=fps, options={"crf": str(crf), "preset": "fast", "g": "2", "bf": "0", "threads": "1"}
        )
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= Flags.bitexact
        self._stream = stream

    def add(self, image: NDArray[np.uint8]) -> None:
        """Append (height, width, 3) RGB."""
        import av

        picture = np.ascontiguousarray(image[: self._height, : self._width])
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = self.frames
        self.frames += 1
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._container.close()


def even(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) without an odd last column or row."""
    return size[0] // 2 * 2, size[1] // 2 * 2
