"""Two pictures of one moment say how far the skin is, to a fraction of what two landmarks say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from handcap.cameras import Camera, KannalaBrandt4
from handcap.geometry import Array, inverse, se3, so3_exp, transform
from handcap.reconstruct.hands.detector import Picture
from handcap.reconstruct.hands.skin import SkinParams, skin_distance
from handcap.types import MountedCamera

FISHEYE = KannalaBrandt4(640, 480, (265.3, 265.1, 323.4, 236.8, -0.012, 0.004, -0.0021, 0.0003))
MOUNTS = (
    MountedCamera("head", FISHEYE, se3(so3_exp([0.0, -0.05, 0.0]), [-0.055, 0.0, 0.0]), 0.0),
    MountedCamera("head", FISHEYE, se3(so3_exp([0.01, 0.05, 0.02]), [0.055, 0.002, 0.003]), 0.0),
)
RAYS = np.stack([np.linspace(-0.1, 0.1, 21), np.linspace(0.05, 0.25, 21), np.ones(21)], axis=1)
RAYS /= np.linalg.norm(RAYS, axis=1, keepdims=True)


def _photographed(camera: Camera, T_wall_cam: Array) -> Picture:
    """What a camera sees of a blotchy wall at z = 0, 2.4 m wide."""
    blotches = np.random.default_rng(0).normal(128, 60, (300, 300))
    wall = cv2.resize(np.clip(blotches, 0, 255).astype(np.uint8), (2400, 2400), interpolation=cv2.INTER_CUBIC)
    pixel = np.stack(np.meshgrid(np.arange(640.0), np.arange(480.0)), axis=-1)
    rays, valid = camera.unproject(pixel)
    towards = rays @ T_wall_cam[:3, :3].T
    met = T_wall_cam[:3, 3] - towards * (T_wall_cam[2, 3] / towards[..., 2:])
    at = np.where((valid & (towards[..., 2] > 0.05))[..., None], met[..., :2] * 1000 + 1200, -1).astype(np.float32)
    grey = cv2.remap(wall, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
    return np.repeat(grey[..., None], 3, axis=2)


def _pair(T_wall_imu: Array) -> tuple[Picture, Picture]:
    one, other = (_photographed(m.camera, T_wall_imu @ m.T_imu_cam) for m in MOUNTS)
    return one, other


@pytest.mark.parametrize("expected", [0.9, 1.0, 1.2])
@pytest.mark.parametrize("away_m", [0.35, 0.5, 0.7])
def test_a_wall_is_found_as_far_as_it_is_whatever_was_expected(away_m: float, expected: float) -> None:
    T_wall_imu = se3(so3_exp([0.2, -0.1, 0.0]), [0.0, 0.0, -away_m])
    pictures = _pair(T_wall_imu)
    T_wall_cam = T_wall_imu @ MOUNTS[0].T_imu_cam
    exact = -T_wall_cam[2, 3] / (RAYS @ T_wall_cam[2, :3])
    found = skin_distance(pictures, MOUNTS, RAYS, expected * away_m, SkinParams())
    assert np.isfinite(found).mean() > 0.9
    assert np.nanmax(np.abs(found / exact - 1)) < 0.012
    assert np.nanmean(np.abs(found / exact - 1)) < 0.005


def test_pictures_without_anything_in_them_tell_no_distance() -> None:
    grey = np.full((480, 640, 3), 90, np.uint8)
    assert not np.isfinite(skin_distance((grey, grey), MOUNTS, RAYS, 0.5, SkinParams())).any()


def test_two_cameras_in_one_place_tell_no_distance() -> None:
    left, _ = _pair(se3(np.eye(3), [0.0, 0.0, -0.5]))
    assert not np.isfinite(skin_distance((left, left), (MOUNTS[0], MOUNTS[0]), RAYS, 0.5, SkinParams())).any()


def test_a_wall_seen_by_the_other_camera_first_is_as_far() -> None:
    T_wall_imu = se3(np.eye(3), [0.0, 0.0, -0.5])
    left, right = _pair(T_wall_imu)
    points = transform(inverse(MOUNTS[1].T_imu_cam), np.array([[x, 0.1, 0.5] for x in np.linspace(-0.08, 0.08, 21)]))
    exact = np.linalg.norm(points, axis=1)
    found = skin_distance((right, left), (MOUNTS[1], MOUNTS[0]), points / exact[:, None], 0.55, SkinParams())
    assert np.nanmean(np.abs(found / exact - 1)) < 0.005
