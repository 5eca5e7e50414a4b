"""Where cameras sit on a device and how their clocks differ from its inertial sensor's, from a take before a board."""

from handcap.calibrate.camera_imu.estimate import CameraImu, CameraImuParams, Lens, MountFound, calibrate_mounts
from handcap.calibrate.camera_imu.step import StepParams, StepResult, run

__all__ = ["CameraImu", "CameraImuParams", "Lens", "MountFound", "StepParams", "StepResult", "calibrate_mounts", "run"]
