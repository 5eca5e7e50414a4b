"""What board there is in pictures that do not show the one that was stated."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from handcap.boards import AprilGrid, Board, CharucoBoard, ChessBoard
from handcap.measure.boards import tags_36h11

_FAMILIES = {"4x4_50": cv2.aruco.DICT_4X4_50, "5x5_100": cv2.aruco.DICT_5X5_100, "6x6_250": cv2.aruco.DICT_6X6_250}
_LEAST_MARKERS = 4
_LARGEST_PX = 1000
_THE_STATED = "the stated one"


def other_board(pictures: Iterable[NDArray[np.uint8]], stated: Board) -> str | None:
    """The board that is seen, as far as a few pictures tell; None where it may be the stated one, or none."""
    for picture in pictures:
        factor = min(1.0, _LARGEST_PX / max(picture.shape))
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8)
        seen = _tags(small, stated) or _markers(small, stated) or _squares(small, stated)
        if seen is not None:
            return None if seen == _THE_STATED else seen
    return None


def _tags(picture: NDArray[np.uint8], stated: Board) -> str | None:
    tags = tags_36h11(picture)
    if len(tags) < _LEAST_MARKERS:
        return None
    if isinstance(stated, AprilGrid) and max(tags) < stated.columns * stated.rows:
        return _THE_STATED
    return f"AprilGrid, {max(tags) + 1} tags"


def _markers(picture: NDArray[np.uint8], stated: Board) -> str | None:
    for family, name in _FAMILIES.items():
        detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(name))
        _, numbers, _ = detector.detectMarkers(picture)
        if numbers is None or len(numbers) < _LEAST_MARKERS:
            continue
        highest = int(np.max(numbers))
        if not isinstance(stated, CharucoBoard) or stated.family != family:
            return f"ChArUco, {family}"
        return _THE_STATED if highest < stated.columns * stated.rows // 2 else f"ChArUco, {highest + 1} markers"
    return None


def _squares(picture: NDArray[np.uint8], stated: Board) -> str | None:
    """The search begins with the smallest board and grows it as far as it goes."""
    flags = cv2.CALIB_CB_LARGER | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_NORMALIZE_IMAGE
    found, corners, kinds = cv2.findChessboardCornersSBWithMeta(picture, (3, 3), flags)
    if not found or corners is None:
        return None
    rows, columns = np.asarray(kinds).shape[:2]
    if isinstance(stated, ChessBoard) and {rows, columns} == {stated.rows - 1, stated.columns - 1}:
        return _THE_STATED
    return f"chessboard:{max(rows, columns) + 1}x{min(rows, columns) + 1}"
