"""Detectors find the corners of rendered boards where the truth puts them."""

from __future__ import annotations

from collections.abc import Callable

import aprilgrid
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from handcap import geometry
from handcap.cameras import Camera, KannalaBrandt4, PinholeRadtan
from handcap.geometry import Array
from handcap.sim import targets
from handcap.sim.lens import Lens
from handcap.sim.light import LightMap
from handcap.sim.render import Renderer, Shot, Shutter, still
from handcap.sim.scene import SceneBuilder
from handcap.sim.targets import Target

FISHEYE = KannalaBrandt4(640, 480, (258.3, 258.1, 323.4, 236.8, 0.012, 0.004, -0.0021, 0.0003))
PINHOLE = PinholeRadtan(640, 480, (430.3, 429.5, 315.4, 244.8, -0.28, 0.07, 2e-4, 2e-5))
BEYOND_180 = KannalaBrandt4(640, 480, (150.3, 150.1, 323.4, 236.8, -0.012, 0.004, -0.0021, 0.0003))
CAMERAS = pytest.mark.parametrize(
    "camera", [FISHEYE, PINHOLE, BEYOND_180], ids=["fisheye", "pinhole", "beyond 180 degrees"]
)
VIEWS = (  # the target's middle: right, below, ahead [m]; tilt [rad]
    ([0.01, -0.02, 0.45], [0.0, 0.0, 0.0]),
    ([0.05, 0.03, 0.40], [0.4, 0.1, 0.3]),
    ([-0.06, 0.02, 0.38], [-0.3, 0.5, -0.8]),
    ([0.02, -0.03, 0.50], [0.1, -0.6, 1.6]),
)
Found = tuple[NDArray[np.int64], Array]  # ids (n,), corners (n, 2) px


def views(target: Target, camera: Camera, scale: float = 1.0) -> list[tuple[NDArray[np.uint8], Array]]:
    """Grey pictures of the target and the true place (n, 2) px of its corners in each; wide lenses go nearer."""
    scale *= min(camera.params[0] / FISHEYE.params[0], 1.0)
    b = SceneBuilder(np.random.default_rng(0))
    grey = b.texture(targets.Texture(np.full((4, 4, 3), 120, np.uint8), 0.01))
    b.quad(*target.sheet(np.eye(4)), b.texture(target.texture), uv=(0, 0))
    b.quad([-4, 4, 0.5], [8, 0, 0], [0, -8, 0], grey)  # a wall behind it
    scene = b.build([])
    n = len(scene.origin)
    light = LightMap(np.ones(4 * n, np.float32), np.arange(n) * 4, np.full((n, 2), 2, np.int32))
    renderer, lens = Renderer(scene, light), Lens(camera)
    middle = np.append(target.size_m / 2 - target.margin_m, 0.0)
    pictures = []
    for place, tilt in VIEWS:
        R_cam_target = geometry.so3_exp(tilt)
        T_cam_target = geometry.se3(R_cam_target, scale * np.array(place) - R_cam_target @ middle)
        light_grey = renderer.render(lens, Shot(Shutter(0.0), still(geometry.inverse(T_cam_target))))[..., 0]
        true_px, valid = camera.project(geometry.transform(T_cam_target, target.corners_target))
        assert valid.all()
        pictures.append((np.clip(np.rint(light_grey), 0, 255).astype(np.uint8), true_px))
    return pictures


def errors_px(
    target: Target, camera: Camera, detect: Callable[[NDArray[np.uint8]], Found], scale: float = 1.0
) -> Array:
    """Distance between found and true corners, all views together."""
    errors = []
    for picture, true_px in views(target, camera, scale):
        ids, found_px = detect(picture)
        assert len(np.unique(ids)) == len(ids) and np.isin(ids, target.ids).all()
        true_of = dict(zip(target.ids.tolist(), true_px, strict=True))
        errors += [float(np.linalg.norm(p - true_of[i])) for i, p in zip(ids.tolist(), found_px, strict=True)]
    return np.array(errors)


def refined(picture: NDArray[np.uint8], corners_px: Array, window_px: int = 4) -> Array:
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-3)
    corners = corners_px.astype(np.float32).reshape(-1, 1, 2)
    return cv2.cornerSubPix(picture, corners, (window_px, window_px), (-1, -1), criteria)[:, 0].astype(float)


def find_charuco(picture: NDArray[np.uint8]) -> Found:
    board = cv2.aruco.CharucoBoard((6, 4), 0.06, 0.045, cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50))
    corners, ids, _, _ = cv2.aruco.CharucoDetector(board).detectBoard(picture)
    return ids.ravel().astype(np.int64), corners.reshape(-1, 2).astype(float)


def find_aprilgrid(picture: NDArray[np.uint8]) -> Found:
    found = aprilgrid.Detector("t36h11").detect(picture)
    ids = [4 * tag.tag_id + np.arange(4) for tag in found]
    # That library goes round a tag the other way, from its upper right.
    return np.concatenate(ids), np.concatenate([tag.corners.reshape(4, 2)[[1, 0, 3, 2]] for tag in found]).astype(float)


def find_markers(dictionary: int) -> Callable[[NDArray[np.uint8]], Found]:
    """OpenCV's markers, each corner where its two curved edges meet.

    `cornerSubPix` pulls the corner of a lone square inwards by 0.1 to 0.3 px, and the straight edges of
    `CORNER_REFINE_APRILTAG` do not fit a distorted picture.
    """
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(dictionary))

    def find(picture: NDArray[np.uint8]) -> Found:
        corners, ids, _ = detector.detectMarkers(picture)
        assert ids is not None, "no marker found"
        ids = np.concatenate([4 * i + np.arange(4) for i in ids.ravel()])
        # Twice: the second time from where the bowed sides truly begin.
        once = [where_edges_meet(picture, c[0].astype(float)) for c in corners]
        return ids, np.concatenate([where_edges_meet(picture, c) for c in once])

    return find


def where_edges_meet(picture: NDArray[np.uint8], corners_px: Array, reach_px: float = 5.0) -> Array:
    """Corners (4, 2) of a black square on white, clockwise, from a parabola through each of its sides."""
    across = np.arange(-reach_px, reach_px + 1e-9, 0.25)
    along = np.linspace(0.12, 0.88, 60)  # the corners themselves are rounded by the lens
    sides = []
    for start, end in zip(corners_px, np.roll(corners_px, -1, axis=0), strict=True):
        length = np.linalg.norm(end - start)
        direction = (end - start) / length
        outward = np.array([direction[1], -direction[0]])
        at = (start + along[:, None, None] * (end - start) + across[:, None] * outward).astype(np.float32)
        grey = cv2.remap(picture.astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR)
        black, white = grey[:, :6].mean(axis=1, keepdims=True), grey[:, -6:].mean(axis=1, keepdims=True)
        # What is white along a profile tells where the edge crosses it, however soft it is.
        edge_px = across[-1] + 0.125 - 0.25 * ((grey - black) / (white - black)).sum(axis=1)
        sides.append((start, direction, outward, np.polyfit(along * length, edge_px, 2)))
    met = corners_px.copy()
    for k in range(4):
        for start, direction, outward, bow in (sides[k - 1], sides[k]) * 10:
            apart = np.polyval(bow, (met[k] - start) @ direction) - (met[k] - start) @ outward
            met[k] += apart * outward
    return met


@CAMERAS
def test_charuco_corners_agree_with_truth(camera: Camera) -> None:
    target = targets.charuco(6, 4, 0.06, 0.75, 0.02)  # squares of 30 px and more
    error_px = errors_px(target, camera, find_charuco)
    assert len(error_px) >= 0.8 * len(VIEWS) * len(target.ids)
    assert np.median(error_px) <= 0.1


@CAMERAS
def test_aprilgrid_corners_agree_with_truth(camera: Camera) -> None:
    target = targets.aprilgrid(4, 3, 0.06, 0.3, 0.02)
    error_px = errors_px(target, camera, find_aprilgrid)
    assert len(error_px) >= 0.8 * len(VIEWS) * len(target.ids)
    assert np.median(error_px) <= 0.1


@CAMERAS
def test_chessboard_corners_agree_with_truth(camera: Camera) -> None:
    errors = []
    for picture, true_px in views(targets.chessboard(8, 5, 0.035, 0.03), camera):
        found, corners = cv2.findChessboardCornersSB(picture, (7, 4))
        assert found
        corners = refined(picture, corners)
        # The board looks the same from both ends but for its colours, and OpenCV may begin at either.
        corners = min((corners, corners[::-1]), key=lambda c: float(np.abs(c - true_px).max()))
        errors.append(np.linalg.norm(corners - true_px, axis=-1))
    assert np.median(errors) <= 0.1


@CAMERAS
@pytest.mark.parametrize(
    ("family", "dictionary"), [("4x4_50", cv2.aruco.DICT_4X4_50), ("36h11", cv2.aruco.DICT_APRILTAG_36h11)]
)
def test_corners_of_a_single_tag_agree_with_truth(camera: Camera, family: str, dictionary: int) -> None:
    target = targets.tag(family, 7, 0.05, 0.012)
    error_px = errors_px(target, camera, find_markers(dictionary), scale=0.5)
    assert len(error_px) == 4 * len(VIEWS)
    assert np.median(error_px) <= 0.1


@pytest.mark.parametrize(
    "target",
    [
        targets.chessboard(8, 5, 0.035, 0.03),
        targets.charuco(7, 5, 0.03, 0.7, 0.013, "5x5_100"),
        targets.aprilgrid(3, 2, 0.088, 0.3, 0.02),
        targets.tag("36h11", 3, 0.02, 0.004),
    ],
    ids=["chessboard", "charuco", "aprilgrid", "tag"],
)
def test_corners_lie_on_the_lines_between_texels(target: Target) -> None:
    at = (target.corners_target[:, :2] + target.margin_m) / target.texture.texel_m
    np.testing.assert_allclose(at, np.rint(at), atol=1e-6)
    grey = target.texture.image[::-1, :, 0]  # row 0 on top
    for x, y in np.rint(at).astype(int):
        around = grey[y - 1 : y + 1, x - 1 : x + 1]
        assert around.min() < around.max()
        # Black and white meet exactly here: the four texels around are no plain edge.
        assert not (np.all(around[0] == around[1]) or np.all(around[:, 0] == around[:, 1]))


def test_a_sheet_is_hung_by_its_lower_left_corner() -> None:
    target = targets.tag("4x4_50", 0, 0.06, 0.01)
    T_room_target = geometry.se3(geometry.so3_exp([0.3, -1.0, 2.0]), [1.0, 2.0, 0.5])
    origin, right, up = target.sheet(T_room_target)
    upper_left = geometry.transform(geometry.inverse(T_room_target), origin + up)
    np.testing.assert_allclose(upper_left, [-target.margin_m, -target.margin_m, 0], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm([right, up], axis=1), target.size_m)
    np.testing.assert_allclose(np.cross(right, up) / np.prod(target.size_m), -T_room_target[:3, 2], atol=1e-12)


def test_unknown_markers_are_refused() -> None:
    with pytest.raises(AssertionError, match="4x4_50, 5x5_100, 36h11"):
        targets.tag("6x6", 0, 0.05, 0.01)
    with pytest.raises(AssertionError, match="50 markers"):
        targets.charuco(20, 12, 0.04, 0.75, 0.02)
