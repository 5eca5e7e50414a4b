"""Board corners: where they are found, and which names they get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from handcap import geometry
from handcap.boards import AprilGrid, Board, CharucoBoard, ChessBoard
from handcap.geometry import Array
from handcap.measure.boards import find_board
from handcap.sim import targets

CHESS = ChessBoard(8, 5, 0.03)
CHARUCO = CharucoBoard(8, 6, 0.05, 0.0375)
GRID = AprilGrid(5, 4, 0.055, 0.3)
PRINTED: dict[Board, targets.Target] = {
    CHESS: targets.chessboard(8, 5, 0.03, 0.03),
    CHARUCO: targets.charuco(8, 6, 0.05, 0.75, 0.02),
    GRID: targets.aprilgrid(5, 4, 0.055, 0.3, 0.02),
}
SIZE = (640, 480)
K = np.array([[420.0, 0, 319.5], [0, 420.0, 239.5], [0, 0, 1]])


def shown(board: Board, T_cam_board: Array) -> tuple[NDArray[np.uint8], Array]:
    """A picture of a printed board through a pinhole, and where its corners are in it (n, 2)."""
    printed = PRINTED[board]
    fine = 3  # samples per pixel and axis
    texel = np.array([[printed.texture.texel_m, 0, 0], [0, printed.texture.texel_m, 0], [0, 0, 1]])
    # The first texel's middle lies half a texel from the sheet's edge.
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    margin = np.array([[1, 0, -printed.margin_m], [0, 1, -printed.margin_m], [0, 0, 1.0]])
    to_px = K @ T_cam_board[:3, [0, 1, 3]] @ margin @ texel @ shift
    finer = np.array([[fine, 0, (fine - 1) / 2], [0, fine, (fine - 1) / 2], [0, 0, 1.0]])
    image = np.ascontiguousarray(printed.texture.image[::-1, :, 0])  # its row 0 is the lower edge
    size = (fine * SIZE[0], fine * SIZE[1])
    grey = cv2.warpPerspective(image, finer @ to_px, size, flags=cv2.INTER_LINEAR, borderValue=120)
    grey = cv2.GaussianBlur(cv2.resize(grey, SIZE, interpolation=cv2.INTER_AREA), (0, 0), 0.5)
    p_cam = geometry.transform(T_cam_board, board.corners_board) @ K.T
    return grey, p_cam[:, :2] / p_cam[:, 2:]


def facing(board: Board, rotation: Array, distance_m: float) -> Array:
    R = geometry.so3_exp(rotation)
    return geometry.se3(R, [0.0, 0.0, distance_m] - R @ board.corners_board.mean(axis=0))


@settings(max_examples=12)
@given(st.sampled_from([*PRINTED]), st.tuples(*[st.floats(-0.6, 0.6)] * 2), st.floats(-3, 3), st.floats(0, 0.2))
def test_corners_lie_and_are_named_as_the_board_says_however_it_is_turned(
    board: Board, tilt: tuple[float, float], roll: float, further_m: float
) -> None:
    rotation = geometry.so3_log(geometry.so3_exp([*tilt, 0.0]) @ geometry.so3_exp([0.0, 0.0, roll]))
    picture, true_px = shown(board, facing(board, rotation, 0.55 + further_m))
    seen = find_board(picture, board)
    off_px = np.linalg.norm(seen.px - true_px[seen.ids], axis=-1)
    assert len(seen) > 0.6 * len(true_px)
    assert np.median(off_px) < 0.1 and off_px.max() < 0.5


def test_a_board_that_looks_the_same_upside_down_is_taken_to_stand_upright() -> None:
    even = ChessBoard(8, 6, 0.03)
    PRINTED[even] = targets.chessboard(8, 6, 0.03, 0.03)
    for roll in (0.3, 0.3 + np.pi):
        picture, _ = shown(even, facing(even, np.array([0.0, 0.0, roll]), 0.6))
        seen = find_board(picture, even)
        assert len(seen) == len(even.ids)
        assert seen.px[0].sum() < seen.px[-1].sum()


def test_a_tag_where_no_neighbour_expects_it_is_no_corner_of_the_board() -> None:
    picture, true_px = shown(GRID, facing(GRID, np.zeros(3), 0.8))
    picture = picture.copy()
    stray = true_px[4 * 7 : 4 * 7 + 4]  # a copy of tag 7 hangs in the corner of the picture
    (left, top), (right, bottom) = stray.min(axis=0).astype(int) - 8, stray.max(axis=0).astype(int) + 9
    tag = picture[top:bottom, left:right].copy()
    picture[top:bottom, left:right] = 120
    picture[4 : 4 + len(tag), 4 : 4 + tag.shape[1]] = tag
    seen = find_board(picture, GRID)
    assert len(seen) > 60
    # Hiding it cut into the small squares that it shares with its neighbours.
    assert np.linalg.norm(seen.px - true_px[seen.ids], axis=-1).max() < 2.0


def test_a_marker_of_the_same_family_beside_the_board_costs_no_corner() -> None:
    picture, true_px = shown(CHARUCO, facing(CHARUCO, np.zeros(3), 0.6))
    alone = find_board(picture, CHARUCO)
    finger = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), 3, 36)
    picture = picture.copy()
    picture[400:450, 20:70] = 255
    picture[407:443, 27:63] = finger
    seen = find_board(picture, CHARUCO)
    assert np.array_equal(seen.ids, alone.ids) and len(seen) == len(true_px)


def test_tags_that_the_board_does_not_have_are_no_corners_of_it() -> None:
    picture, true_px = shown(GRID, facing(GRID, np.zeros(3), 0.8))
    smaller = AprilGrid(5, 3, 0.055, 0.3)  # its tags are the lower three rows
    seen = find_board(picture, smaller)
    assert set(seen.ids) <= set(smaller.ids)
    assert np.linalg.norm(seen.px - true_px[seen.ids], axis=-1).max() < 0.5


def test_an_empty_picture_shows_no_board() -> None:
    for board in PRINTED:
        assert len(find_board(np.full((480, 640), 128, np.uint8), board)) == 0


@pytest.mark.parametrize(
    ("folder", "pattern", "board"),
    [
        ("calib/opencv_chessboard", "*.jpg", ChessBoard(10, 7, 1.0)),
        ("calib/fisheye_stereo_sourishg/imgs", "*1?.jpg", ChessBoard(10, 7, 0.02423)),
        ("calib/chessboard_vins/calibrationdata", "*.png", ChessBoard(13, 9, 0.08)),
    ],
)
def test_every_real_chess_board_is_found_whole(
    shared_data: Callable[[str], Path], folder: str, pattern: str, board: ChessBoard
) -> None:
    for path in sorted(shared_data(folder).glob(pattern)):
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        assert len(find_board(picture.astype(np.uint8), board)) == len(board.ids), path.name
