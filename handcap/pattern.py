"""What is black on boards and tags, as exact rectangles and as cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handcap.boards import AprilGrid, Board, CharucoBoard, ChessBoard
from handcap.geometry import Array

Bits = NDArray[np.uint8]  # (height, width) 1 where white, row 0 on top
FAMILIES = {"4x4_50": "DICT_4X4_50", "5x5_100": "DICT_5X5_100", "36h11": "DICT_APRILTAG_36h11"}
_GRID_BORDER = 2  # bits of black around the tags of an AprilGrid; all other markers have one


def marker_cells(family: str, identity: int, border_bits: int = 1) -> Bits:
    """(m, m) cells of one marker, its black border included."""
    import cv2

    assert family in FAMILIES, f"no {family!r}; there are {', '.join(FAMILIES)}"
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, FAMILIES[family]))
    assert 0 <= identity < len(dictionary.bytesList), f"{family} has {len(dictionary.bytesList)} markers"
    cells = dictionary.markerSize + 2 * border_bits
    return (cv2.aruco.generateImageMarker(dictionary, identity, cells, borderBits=border_bits) > 127).astype(np.uint8)


def black_of_marker(family: str, identity: int, edge: float, border_bits: int = 1) -> Array:
    """(n, 4) rectangles x, y, width, height of a marker's black cells; its upper left corner is the origin."""
    cells = marker_cells(family, identity, border_bits)
    pitch = edge / len(cells)
    runs: list[tuple[int, int, int]] = []
    for row, line in enumerate(cells):
        edges = np.flatnonzero(np.diff(np.r_[1, line, 1]))
        runs += [(int(start), row, int(end - start)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return np.array([[x * pitch, y * pitch, length * pitch, pitch] for x, y, length in runs])


def black_of_board(board: Board) -> Array:
    """(n, 4) m: rectangles x, y, width, height in the board's frame (origin, x right, y down)."""
    if isinstance(board, AprilGrid):
        return _black_of_grid(board)
    white_row, white_column = np.nonzero(np.indices((board.rows, board.columns)).sum(axis=0) % 2)
    black = np.argwhere(np.indices((board.rows, board.columns)).sum(axis=0) % 2 == 0)[:, ::-1]
    s = board.square_m
    parts = [np.column_stack([black * s, np.full((len(black), 2), s)])]
    if isinstance(board, CharucoBoard):
        inset = (s - board.marker_m) / 2
        for identity, at in enumerate(np.column_stack([white_column, white_row]) * s + inset):
            parts.append(black_of_marker(board.family, identity, board.marker_m) + [*at, 0.0, 0.0])
    return np.concatenate(parts)


def _black_of_grid(board: AprilGrid) -> Array:
    gap, pitch = board.tag_m * board.spacing, board.tag_m * (1 + board.spacing)
    row, column = np.indices((board.rows + 1, board.columns + 1)).reshape(2, -1)
    edge = np.full(row.size, gap)
    small = np.column_stack([column * pitch - gap, row * pitch - gap, edge, edge])
    tags: list[Array] = [
        black_of_marker("36h11", identity, board.tag_m, _GRID_BORDER) + [*corner, 0.0, 0.0]
        for identity, corner in enumerate(board.corners_board[::4, :2])
    ]
    return np.concatenate([small, *tags])


def extent(board: Board) -> tuple[float, float, float, float]:
    """x, y, width and height of all that is printed, m, in the board's frame."""
    if isinstance(board, ChessBoard | CharucoBoard):
        return 0.0, 0.0, board.columns * board.square_m, board.rows * board.square_m
    gap, pitch = board.tag_m * board.spacing, board.tag_m * (1 + board.spacing)
    return -gap, -gap, board.columns * pitch + gap, board.rows * pitch + gap
