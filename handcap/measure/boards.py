"""Corners of a calibration board in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handcap.boards import AprilGrid, Board, CharucoBoard, ChessBoard, Ids
from handcap.errors import CalibrationError
from handcap.geometry import Array

_FAMILIES = {"4x4_50": cv2.aruco.DICT_4X4_50, "5x5_100": cv2.aruco.DICT_5X5_100}


@dataclass(frozen=True, eq=False, slots=True)
class SeenCorners:
    """Corners of one board in one picture.

    Attributes:
        ids: (n,) int64, ascending, as the board names them.
        px: (n, 2); pixel (0, 0) is the centre of the top-left pixel.
    """

    ids: Ids
    px: Array

    def __len__(self) -> int:
        return len(self.ids)


def find_board(picture: NDArray[np.uint8], board: Board) -> SeenCorners:
    """The corners of a board in a grey picture (h, w); empty where it is not seen."""
    match board:
        case ChessBoard():
            ids, px = _chessboard(picture, board)
        case CharucoBoard():
            ids, px = _charuco(picture, board)
        case AprilGrid():
            ids, px = _aprilgrid(picture, board)
    order = np.argsort(ids, kind="stable")
    return SeenCorners(ids[order], px[order])


def _nothing() -> tuple[Ids, Array]:
    return np.zeros(0, np.int64), np.zeros((0, 2))


def _chessboard(picture: NDArray[np.uint8], board: ChessBoard) -> tuple[Ids, Array]:
    found, corners = cv2.findChessboardCornersSB(picture, (board.columns - 1, board.rows - 1))
    if not found:
        return _nothing()
    return board.ids, np.asarray(corners, float).reshape(-1, 2)


def _charuco(picture: NDArray[np.uint8], board: CharucoBoard) -> tuple[Ids, Array]:
    corners, ids, _, _ = _charuco_detector(board).detectBoard(picture)
    if ids is None or corners is None:
        return _nothing()
    return np.asarray(ids, np.int64).ravel(), np.asarray(corners, float).reshape(-1, 2)


@cache
def _charuco_detector(board: CharucoBoard) -> Any:
    markers = cv2.aruco.getPredefinedDictionary(_FAMILIES[board.family])
    size = (board.columns, board.rows)
    return cv2.aruco.CharucoDetector(cv2.aruco.CharucoBoard(size, board.square_m, board.marker_m, markers))


def _aprilgrid(picture: NDArray[np.uint8], board: AprilGrid) -> tuple[Ids, Array]:
    found = [tag for tag in _aprilgrid_detector().detect(picture) if tag.tag_id < board.columns * board.rows]
    if not found:
        return _nothing()
    ids = np.array([4 * tag.tag_id for tag in found], np.int64)[:, None] + np.arange(4)
    # The detector names them from the upper right, against the clock.
    corners = np.array([np.asarray(tag.corners, float).reshape(4, 2)[[1, 0, 3, 2]] for tag in found])
    return ids.ravel(), corners.reshape(-1, 2)


@cache
def _aprilgrid_detector() -> Any:
    try:
        import aprilgrid
    except ModuleNotFoundError as error:
        mend = "run `pip install --no-deps aprilgrid`, or use a ChArUco board"
        raise CalibrationError("AprilGrids are found by the package aprilgrid, which is missing", mend=mend) from error

    return aprilgrid.Detector("t36h11")
