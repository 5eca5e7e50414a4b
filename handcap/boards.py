"""Calibration boards: flat printed patterns, and where their corners are.

The frame of a board is OpenCV's: origin in the upper left corner of the pattern, x right, y down, z into the sheet, so
that a camera looking at it squarely has parallel axes. A ChArUco or chess board's origin is the outer corner of its
first square; an AprilGrid's is the upper left corner of the black border of its uppermost left tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array

Ids = NDArray[np.int64]
_SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])  # clockwise from the upper left, as OpenCV orders


@dataclass(frozen=True, slots=True)
class ChessBoard:
    """Black and white squares; all inner corners are seen or none.

    Attributes:
        columns, rows: squares; one number even and the other odd, else the board looks the same upside down.
        square_m: edge of a square.
    """

    columns: int
    rows: int
    square_m: float

    kind: ClassVar[str] = "chessboard"

    def __post_init__(self) -> None:
        assert self.columns > 2 and self.rows > 2 and self.square_m > 0

    @property
    def ids(self) -> Ids:
        """(n,) names of its corners."""
        return np.arange((self.columns - 1) * (self.rows - 1))

    @property
    def corners_board(self) -> Array:
        """(n, 3) m."""
        return _inner_corners(self.columns, self.rows, self.square_m)


@dataclass(frozen=True, slots=True)
class CharucoBoard:
    """OpenCV's ChArUco board in its layout since 4.6: any part of it will do.

    Attributes:
        columns, rows: squares.
        square_m, marker_m: edge of a square, and of the marker in a white one.
        family: of the markers.
    """

    columns: int
    rows: int
    square_m: float
    marker_m: float
    family: Literal["4x4_50", "5x5_100"] = "4x4_50"

    kind: ClassVar[str] = "charuco"

    def __post_init__(self) -> None:
        assert self.columns > 2 and self.rows > 2 and 0 < self.marker_m < self.square_m

    @property
    def ids(self) -> Ids:
        """(n,) names of its corners, as OpenCV numbers them."""
        return np.arange((self.columns - 1) * (self.rows - 1))

    @property
    def corners_board(self) -> Array:
        """(n, 3) m."""
        return _inner_corners(self.columns, self.rows, self.square_m)


@dataclass(frozen=True, slots=True)
class AprilGrid:
    """Kalibr's AprilGrid: 36h11 tags with borders of two bits, tag 0 in the lower left; any part of it will do.

    Attributes:
        columns, rows: tags (Kalibr's tagCols, tagRows).
        tag_m: edge of a tag's black border (tagSize).
        spacing: gap between two tags as a share of a tag (tagSpacing).
    """

    columns: int
    rows: int
    tag_m: float
    spacing: float

    kind: ClassVar[str] = "aprilgrid"

    def __post_init__(self) -> None:
        assert self.columns > 0 and self.rows > 0 and self.tag_m > 0 and self.spacing > 0

    @property
    def ids(self) -> Ids:
        """(n,) names of its corners: 4 × tag + k, k clockwise from the tag's own upper left."""
        return np.arange(4 * self.columns * self.rows)

    @property
    def corners_board(self) -> Array:
        """(n, 3) m."""
        tags = np.arange(self.columns * self.rows)
        row, column = self.rows - 1 - tags // self.columns, tags % self.columns
        pitch_m = self.tag_m * (1 + self.spacing)
        corners = _SQUARE * self.tag_m + np.stack([column, row], axis=-1)[:, None] * pitch_m
        return np.column_stack([corners.reshape(-1, 2), np.zeros(4 * len(tags))])


Board = ChessBoard | CharucoBoard | AprilGrid
KINDS: dict[str, type[Board]] = {kind.kind: kind for kind in (ChessBoard, CharucoBoard, AprilGrid)}


def _inner_corners(columns: int, rows: int, square_m: float) -> Array:
    y, x = (np.indices((rows - 1, columns - 1)) + 1) * square_m
    return np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
