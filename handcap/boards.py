"""Calibration boards: flat printed patterns, and where their corners are.

The frame of a board is OpenCV's: origin in the upper left corner of the pattern, x right, y down, z into the sheet, so
that a camera looking at it squarely has parallel axes. A ChArUco or chess board's origin is the outer corner of its
first square; an AprilGrid's is the upper left corner of the black border of its uppermost left tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from handcap.errors import CalibrationError
from handcap.geometry import Array

Ids = NDArray[np.int64]
Family = Literal["4x4_50", "5x5_100"]
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
    family: Family = "4x4_50"

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


@dataclass(frozen=True, eq=False, slots=True)
class BoardViews:
    """Corners of one board in the pictures of one camera.

    Attributes:
        t_ns: (f,) int64 stamps of the pictures, camera clock, strictly increasing; also of those without a corner.
        view: (n,) int64 index of the picture of each corner, ascending.
        ids: (n,) int64 as the board names them.
        px: (n, 2); pixel (0, 0) is the centre of the top-left pixel.
    """

    t_ns: NDArray[np.int64]
    view: NDArray[np.int64]
    ids: Ids
    px: Array

    def __post_init__(self) -> None:
        n = len(self.ids)
        assert self.view.shape == (n,) and self.px.shape == (n, 2), (self.view.shape, self.px.shape)
        assert np.all(np.diff(self.t_ns) > 0), "t_ns must increase"
        assert np.all(np.diff(self.view) >= 0), "corners must be sorted by picture"

    @property
    def count(self) -> NDArray[np.int64]:
        """(f,) corners in each picture."""
        return np.bincount(self.view, minlength=len(self.t_ns))

    def where(self, rows: NDArray[np.bool_]) -> BoardViews:
        """Only some of the corners (n,); every picture stays."""
        return BoardViews(self.t_ns, self.view[rows], self.ids[rows], self.px[rows])


Board = ChessBoard | CharucoBoard | AprilGrid
KINDS: dict[str, type[Board]] = {kind.kind: kind for kind in (ChessBoard, CharucoBoard, AprilGrid)}
FORMS = {
    "charuco": "charuco:COLUMNSxROWS:SQUARE_M:MARKER_M[:4x4_50|5x5_100]",
    "aprilgrid": "aprilgrid:COLUMNSxROWS:TAG_M:SPACING",
    "chessboard": "chessboard:COLUMNSxROWS:SQUARE_M",
}
_MARKERS: dict[Family, int] = {"4x4_50": 50, "5x5_100": 100}
_TAGS_36H11 = 587
_LARGEST_M = 2.0  # nobody prints a larger square; such a number is millimetres
_MOST = 200  # of squares or tags along an edge


def _inner_corners(columns: int, rows: int, square_m: float) -> Array:
    y, x = (np.indices((rows - 1, columns - 1)) + 1) * square_m
    return np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])


def parse_board(text: str) -> Board:
    """A board in words, as on the command line: `charuco:8x6:0.05:0.0375`. Chess boards count squares, not corners.

    Raises:
        CalibrationError: it describes no board; says what would.
    """
    kind, _, rest = text.strip().partition(":")
    if kind not in FORMS:
        raise _no_board(text, f"no kind of board {kind!r}", " or ".join(FORMS.values()))
    across, *words = rest.split(":")
    family: Family = "4x4_50"
    if kind == "charuco" and len(words) == 3:
        last = words.pop()
        named = next((known for known in get_args(Family) if known == last), None)
        if named is None:
            raise _no_board(text, f"no markers {last!r}", FORMS[kind])
        family = named
    try:
        columns, rows = (int(word) for word in across.split("x"))
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise _no_board(text, "cannot be read", FORMS[kind]) from error
    if len(numbers) != {"charuco": 2, "aprilgrid": 2, "chessboard": 1}[kind]:
        raise _no_board(text, f"{len(numbers)} sizes", FORMS[kind])
    return make_board(kind, columns, rows, numbers, family, text)


def make_board(
    kind: str, columns: int, rows: int, numbers: list[float], family: Family = "4x4_50", where: str | None = None
) -> Board:
    """A checked board from what was read.

    Args:
        kind: a key of KINDS.
        columns, rows: of squares or tags.
        numbers: its sizes in the order of FORMS.
        family: of a ChArUco board's markers.
        where: how messages call it.

    Raises:
        CalibrationError: no such board can be.
    """
    least = 1 if kind == "aprilgrid" else 3
    if not (least <= columns <= _MOST and least <= rows <= _MOST):
        raise _no_board(where, f"{columns} x {rows} is no number of columns and rows", f"give {least} to {_MOST} each")
    if not all(0 < number < _LARGEST_M for number in numbers):
        sizes = " and ".join(f"{number:g}" for number in numbers)
        raise _no_board(where, f"{sizes}: no size in metres", "give metres: 0.05 is five centimetres")
    if kind == "chessboard":
        return ChessBoard(columns, rows, numbers[0])
    if kind == "aprilgrid":
        if columns * rows > _TAGS_36H11:
            raise _no_board(where, f"more tags than the {_TAGS_36H11} of 36h11", "give fewer columns or rows")
        return AprilGrid(columns, rows, numbers[0], numbers[1])
    square_m, marker_m = numbers
    if marker_m >= square_m:
        raise _no_board(where, f"a marker of {marker_m:g} m fits no square of {square_m:g} m", "give a smaller marker")
    markers = columns * rows // 2
    if markers > _MARKERS[family]:
        larger = "take the family 5x5_100 (add :5x5_100)" if markers <= _MARKERS["5x5_100"] else "give fewer squares"
        raise _no_board(where, f"{markers} markers, and {family} has {_MARKERS[family]}", larger)
    return CharucoBoard(columns, rows, square_m, marker_m, family)


def board_text(board: Board) -> str:
    """A board in words; `parse_board` reads them back exactly."""
    match board:
        case ChessBoard():
            sizes = [repr(board.square_m)]
        case CharucoBoard():
            sizes = [repr(board.square_m), repr(board.marker_m)]
            sizes += [board.family] if board.family != "4x4_50" else []
        case AprilGrid():
            sizes = [repr(board.tag_m), repr(board.spacing)]
    return ":".join([board.kind, f"{board.columns}x{board.rows}", *sizes])


def _no_board(where: str | None, what: str, mend: str) -> CalibrationError:
    return CalibrationError(what, where=f"board {where}" if where else "board", mend=mend)
