"""Drawing on a dark sheet with OpenCV: drawn twice as large and shrunk, so that edges are smooth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.errors import ReviewError

_PAPER, _PANEL, _EDGE = (18, 20, 24), (27, 30, 36), (58, 63, 72)
_OVER = 2  # drawn this much larger
_SHIFT = 4  # OpenCV's fixed-point digits: lines end between pixels
Box = tuple[int, int, int, int]  # left, top, right, bottom
Colour = Sequence[int]
Point = tuple[float, float]


class Canvas:
    """A sheet of `width` × `height` pixels; places are in these pixels, colours are RGB."""

    def __init__(self, width: int, height: int) -> None:
        self._sheet: NDArray[np.uint8] = np.full((height * _OVER, width * _OVER, 3), _PAPER, np.uint8)

    def pixels(self) -> NDArray[np.uint8]:
        """(height, width, 3) RGB."""
        import cv2

        height, width = (n // _OVER for n in self._sheet.shape[:2])
        shrunk: Any = cv2.resize(self._sheet, (width, height), interpolation=cv2.INTER_AREA)
        return shrunk

    def write(self, out: Path) -> None:
        """As a PNG.

        Raises:
            ReviewError: the file cannot be written.
        """
        import cv2

        ok, data = cv2.imencode(".png", self.pixels()[..., ::-1])
        assert ok
        try:
            out.write_bytes(data.tobytes())
        except OSError as error:
            what = f"cannot be written ({error.strerror or error})"
            raise ReviewError(what, where=out, mend="free some disk space, or give another place") from error

    def text(self, words: str, at: Point, size: float, colour: Colour = (235, 238, 243)) -> None:
        """ASCII, its base line at `at`, capitals about 0.7 × `size` high."""
        import cv2

        scale = size * _OVER / 31.0  # Hershey's simplex stands 22 px high at scale 1
        corner = (round(at[0] * _OVER), round(at[1] * _OVER))
        thickness = max(1, round(size * _OVER / 18))
        cv2.putText(self._sheet, words, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, tuple(colour), thickness, cv2.LINE_AA)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        import cv2

        if len(points) < 2:
            return
        corners = np.rint(np.array(points, float) * _OVER * 2**_SHIFT).astype(np.int32)
        thickness = max(1, round(width * _OVER))
        cv2.polylines(self._sheet, [corners[:, None]], False, tuple(colour), thickness, cv2.LINE_AA, _SHIFT)

    def dot(self, at: Point, radius: float, colour: Colour) -> None:
        import cv2

        centre = (round(at[0] * _OVER * 2**_SHIFT), round(at[1] * _OVER * 2**_SHIFT))
        cv2.circle(
            self._sheet, centre, round(radius * _OVER * 2**_SHIFT), tuple(colour), cv2.FILLED, cv2.LINE_AA, _SHIFT
        )

    def panel(self, box: Box) -> None:
        """A lighter field with an edge."""
        import cv2

        corners = (box[0] * _OVER, box[1] * _OVER), (box[2] * _OVER, box[3] * _OVER)
        cv2.rectangle(self._sheet, *corners, _PANEL, cv2.FILLED)
        cv2.rectangle(self._sheet, *corners, _EDGE, _OVER)

    def image(self, picture: NDArray[np.uint8], box: Box) -> Callable[[NDArray[np.float64]], Point]:
        """Fit (height, width, 3) RGB into a box, top left; returns where a pixel of it lands."""
        import cv2

        height, width = picture.shape[:2]
        factor = min((box[2] - box[0]) / width, (box[3] - box[1]) / height)
        size = (round(width * factor * _OVER), round(height * factor * _OVER))
        top = box[1] + ((box[3] - box[1]) - size[1] / _OVER) / 2
        left = box[0] + ((box[2] - box[0]) - size[0] / _OVER) / 2
        x, y = round(left * _OVER), round(top * _OVER)
        self._sheet[y : y + size[1], x : x + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
        return lambda pixel: (
            (x + (pixel[0] + 0.5) * factor * _OVER) / _OVER,
            (y + (pixel[1] + 0.5) * factor * _OVER) / _OVER,
        )

    def plane(
        self,
        box: Box,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        margin: float,
        keep_aspect: bool = True,
    ) -> Callable[[NDArray[np.float64]], Point]:
        """Where a point of a plane, x right and y up, lands so that [low, high] fills the box less a margin."""
        inner = np.array([box[2] - box[0], box[3] - box[1]]) - 2 * margin
        scale = inner / np.maximum(high - low, 1e-6)
        if keep_aspect:
            scale = np.full(2, scale.min())
        centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
        middle = (low + high) / 2

        def place(point: NDArray[np.float64]) -> Point:
            off = (point - middle) * scale
            return float(centre[0] + off[0]), float(centre[1] - off[1])

        return place
