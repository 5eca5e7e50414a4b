"""Calibration boards and tags: how they are printed, and where their corners truly are.

The frame of a target is OpenCV's: origin in the upper left corner of the pattern (white margin not counted), x right,
y down, z into the sheet, so that a camera looking at it squarely has parallel axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap import geometry
from handcap.geometry import Array
from handcap.pattern import Bits, marker_cells
from handcap.sim.texture import Texture

_PAPER, _INK = 225, 25
_TEXEL_M = 0.0005  # no coarser, so that edges stay sharp at any distance at which a board is read
# Edges of a large board fall on texels of its fourth coarser level too: else, seen from afar, its corners are 10 to 20
# um off, and a focal length found with it errs by 0.05 %.
_COARSE = 16
_SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])  # clockwise from the upper left, as OpenCV orders


@dataclass(frozen=True, eq=False, slots=True)
class Target:
    """A flat printed thing with corners that a detector finds.

    Attributes:
        texture: the whole sheet, margin included.
        margin_m: from the edge of the sheet to the origin, along x and along y.
        ids: (n,) int64 name of each corner: as OpenCV numbers the corners of a ChArUco board; row by row on a
            chessboard; on tags 4 × tag + k with k clockwise from the tag's own upper left.
        corners_target: (n, 3) m.
    """

    texture: Texture
    margin_m: float
    ids: NDArray[np.int64]
    corners_target: Array

    def __post_init__(self) -> None:
        assert self.corners_target.shape == (len(self.ids), 3), self.corners_target.shape

    @property
    def size_m(self) -> Array:
        """(2,) width and height of the sheet."""
        return np.array(self.texture.image.shape[1::-1]) * self.texture.texel_m

    def sheet(self, T_a_target: ArrayLike) -> tuple[Array, Array, Array]:
        """Lower left corner and the edges to the right and upward, (3,) each, in frame a.

        What `SceneBuilder.quad` takes; the texture must start there: `uv=(0, 0)`.
        """
        T_a_target = np.asarray(T_a_target, float)
        width, height = self.size_m
        lower_left = np.array([-self.margin_m, height - self.margin_m, 0.0])
        right, up = T_a_target[:3, 0] * width, -T_a_target[:3, 1] * height
        return geometry.transform(T_a_target, lower_left), right, up


def chessboard(columns: int, rows: int, square_m: float, margin_m: float) -> Target:
    """`columns` × `rows` squares, the upper left one black; its inner corners count."""
    bits = (np.indices((rows, columns)).sum(axis=0) % 2).astype(np.uint8)
    n = ceil(square_m / _TEXEL_M)
    return _target(_enlarged(bits, n), square_m / n, margin_m, *_inner_corners(columns, rows, square_m))


def charuco(
    columns: int, rows: int, square_m: float, marker_share: float, margin_m: float, family: str = "4x4_50"
) -> Target:
    """OpenCV's ChArUco board (its layout since 4.6): markers in the white squares, numbered row by row.

    Args:
        columns, rows: squares.
        square_m: edge of a square.
        marker_share: edge of a marker, in squares; a simple fraction such as 0.75.
        margin_m: white around the board.
        family: of the markers.
    """
    share = Fraction(marker_share).limit_denominator(60)
    cells = len(marker_cells(family, 0))
    n = _multiple(lcm(cells, 2) * share.denominator, square_m)
    marker = int(n * share)
    bits = _enlarged((np.indices((rows, columns)).sum(axis=0) % 2).astype(np.uint8), n)
    inset = (n - marker) // 2
    white = [(row, column) for row in range(rows) for column in range(columns) if (row + column) % 2]
    for identity, (row, column) in enumerate(white):
        top, left = row * n + inset, column * n + inset
        bits[top : top + marker, left : left + marker] = _enlarged(marker_cells(family, identity), marker // cells)
    return _target(bits, square_m / n, margin_m, *_inner_corners(columns, rows, square_m))


def aprilgrid(columns: int, rows: int, tag_m: float, spacing: float, margin_m: float) -> Target:
    """Kalibr's AprilGrid: 36h11 tags with borders of two bits, tag 0 lower left, and small black squares between.

    Args:
        columns, rows: tags.
        tag_m: edge of a tag's black border.
        spacing: gap between two tags, in tags (Kalibr's tagSpacing); a simple fraction such as 0.3.
        margin_m: white around the outermost small squares.
    """
    share = Fraction(spacing).limit_denominator(60)
    n = _multiple(lcm(10, _COARSE * share.denominator), tag_m)
    gap, texel_m = int(n * share), tag_m / n
    pitch = n + gap
    bits = np.ones((rows * pitch + gap, columns * pitch + gap), np.uint8)
    for y in range(0, len(bits), pitch):
        for x in range(0, bits.shape[1], pitch):
            bits[y : y + gap, x : x + gap] = 0
    ids, corners = [], []
    for identity in range(columns * rows):
        row, column = rows - 1 - identity // columns, identity % columns
        top, left = row * pitch + gap, column * pitch + gap
        bits[top : top + n, left : left + n] = _enlarged(marker_cells("36h11", identity, 2), n // 10)
        ids.append(4 * identity + np.arange(4))
        corners.append((_SQUARE * n + [column * pitch, row * pitch]) * texel_m)
    # The origin is the first tag's corner; the small squares around it lie in what is the margin to the frame.
    return _target(bits, texel_m, margin_m, np.concatenate(ids), np.concatenate(corners), before_px=gap, whole=_COARSE)


def tag(family: str, identity: int, tag_m: float, margin_m: float) -> Target:
    """One marker: "4x4_50" (ArUco) or "36h11" (AprilTag, border of one bit)."""
    bits = marker_cells(family, identity)
    n = _multiple(len(bits), tag_m)
    return _target(_enlarged(bits, n // len(bits)), tag_m / n, margin_m, 4 * identity + np.arange(4), _SQUARE * tag_m)


def _multiple(unit: int, edge_m: float) -> int:
    """Texels along an edge: a multiple of `unit`, fine enough."""
    return unit * max(ceil(edge_m / (unit * _TEXEL_M)), 1)


def _enlarged(bits: Bits, texels: int) -> Bits:
    return np.repeat(np.repeat(bits, texels, axis=0), texels, axis=1)


def _inner_corners(columns: int, rows: int, square_m: float) -> tuple[NDArray[np.int64], Array]:
    y, x = (np.indices((rows - 1, columns - 1)) + 1) * square_m
    return np.arange(x.size), np.stack([x.ravel(), y.ravel()], axis=-1)


def _target(
    bits: Bits,
    texel_m: float,
    margin_m: float,
    ids: NDArray[np.int64],
    corners: Array,
    *,
    before_px: int = 0,
    whole: int = 1,
) -> Target:
    """Texels (1 is white) to a sheet whose margin is a multiple of `whole`; `before_px` lie before the origin."""
    margin = whole * ceil(margin_m / texel_m / whole - 1e-9)
    sheet = np.where(np.pad(bits, margin, constant_values=1), _PAPER, _INK).astype(np.uint8)
    image = np.ascontiguousarray(np.repeat(sheet[::-1, :, None], 3, axis=-1))
    corners_target = np.column_stack([corners, np.zeros(len(corners))])
    return Target(Texture(image, texel_m), (margin + before_px) * texel_m, ids, corners_target)
