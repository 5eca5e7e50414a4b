"""Virtual rigs: which sensors, where they sit, how good they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from handcap import geometry
from handcap.cameras import KannalaBrandt4
from handcap.types import Device, ImuModel, MountedCamera, Rig

HEAD_CAMERA_PITCH_RAD = np.deg2rad(30.0)  # the camera looks at the hands when the head is level
# An ICM-42688-P class part, its datasheet noise (2.8 mdps/√Hz, 70 µg/√Hz) with the margin of a real mounting.
_IMU = ImuModel(
    rate_hz=200.0,
    gyro_noise_density=2e-4,
    accel_noise_density=1.5e-3,
    gyro_random_walk=2e-5,
    accel_random_walk=5e-4,
)


def _head_T_imu_cam() -> np.ndarray:
    c, s = np.cos(HEAD_CAMERA_PITCH_RAD), np.sin(HEAD_CAMERA_PITCH_RAD)
    right, forward = np.array([0.0, -1.0, 0.0]), np.array([c, 0.0, -s])
    R_imu_cam = np.column_stack([right, np.cross(forward, right), forward])
    crooked = geometry.so3_exp(np.deg2rad([1.5, -2.0, 1.0]))  # no printed mount is straight
    return geometry.se3(R_imu_cam @ crooked, [0.05, 0.02, -0.03])


def head(seed: int) -> Rig:
    """One 130° fisheye, 640×480, global shutter, and an IMU, on a head band."""
    camera = KannalaBrandt4(640, 480, (265.3, 265.1, 323.4, 236.8, -0.012, 0.004, -0.0021, 0.0003))
    # The chip lies rotated on its board, as chips do; recorded data are in chip axes.
    R_imu_chip = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return Rig(
        rig_id="virtual-head",
        devices={"head": Device(_IMU, R_imu_chip, uid=f"virtual-head-{seed:08d}")},
        cameras={"head": MountedCamera("head", camera, _head_T_imu_cam())},
        provenance={"source": "handcap simulate", "created": "2026-01-01T00:00:00Z"},
    )


def as_mounted(
    nominal: Rig, dt_imu_cam_s: float, mounting_sd_rad: float, mounting_sd_m: float, rng: np.random.Generator
) -> Rig:
    """The rig as it truly is: every camera a little off where it should sit, and its clock by `dt_imu_cam_s`."""
    cameras = {}
    for name, camera in nominal.cameras.items():
        slip = geometry.se3_exp(rng.standard_normal(6) * np.repeat([mounting_sd_rad, mounting_sd_m], 3))
        cameras[name] = replace(camera, T_imu_cam=camera.T_imu_cam @ slip, dt_imu_cam_s=dt_imu_cam_s)
    return replace(nominal, cameras=cameras)
