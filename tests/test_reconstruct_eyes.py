"""What the cameras beside the followed one give, when their pictures are not all there."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import cv2
import numpy as np
from head_motion import T_IMU_CAM
from test_reconstruct_bundle import PINHOLE

from handcap.geometry import inverse, se3_log
from handcap.measure.gyro import GyroRotation
from handcap.reconstruct.eyes import Eye, Eyes, EyesParams
from handcap.reconstruct.landmarks import GateParams, Observations, ordered
from handcap.types import Frame, ImuSamples, MountedCamera

KEY_T_NS = np.arange(4) * 200_000_000
MOUNT = MountedCamera("head", PINHOLE, T_IMU_CAM)


def textured(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (PINHOLE.height, PINHOLE.width))
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), np.empty(0), 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def eye(name: str, undecodable: Collection[int] = ()) -> Eye:
    """Another texture at every keyframe, the same one for every camera."""

    def pictures(only: Collection[int] | None = None) -> Iterator[Frame]:
        for k, t_ns in enumerate(KEY_T_NS.tolist()):
            if (only is None or t_ns in only) and k not in undecodable:
                yield Frame(t_ns, name, textured(k))

    return Eye(name, MOUNT, KEY_T_NS, pictures)


def grid_at_every_keyframe() -> Observations:
    """The same pixels in both cameras."""
    x, y = np.meshgrid(np.linspace(60, PINHOLE.width - 60, 8), np.linspace(60, PINHOLE.height - 60, 6))
    pixel = np.tile(np.stack([x.ravel(), y.ravel()], axis=1), (len(KEY_T_NS), 1))
    ray, _ = PINHOLE.unproject(pixel)
    keyframe, track = np.repeat(np.arange(len(KEY_T_NS)), x.size), np.arange(len(pixel))
    return ordered([Observations(keyframe, track, pixel, ray, pixel, np.full(len(pixel), c)) for c in (0, 1)])


def test_a_picture_that_does_not_decode_is_not_taken_for_the_next_one() -> None:
    at_rest = ImuSamples(np.arange(-20, 200) * 5_000_000 + 100_000_000, np.zeros((220, 3)), np.zeros((220, 3)))
    cameras = [eye("head_left"), eye("head_right", undecodable={0})]
    eyes = Eyes.at(KEY_T_NS, cameras, GyroRotation(at_rest, np.zeros(3)), 0.0, EyesParams(), GateParams())
    aimed = eyes.aimed(1, grid_at_every_keyframe())
    assert aimed is not None
    assert np.linalg.norm(se3_log(inverse(MOUNT.T_imu_cam) @ aimed.T_imu_cam)) < 1e-3
