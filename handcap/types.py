"""The nouns that every stage speaks: frozen, checked once, numpy inside.

Unknown is NaN or a mask that travels with the value. Time is int64 nanoseconds of the clock the docstring names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.geometry import Array

Stamps = NDArray[np.int64]


def _require_increasing(t_ns: Stamps) -> None:
    assert t_ns.dtype == np.int64, t_ns.dtype
    assert np.all(np.diff(t_ns) > 0), "t_ns must increase"


@dataclass(frozen=True, eq=False, slots=True)
class ImuSamples:
    """One device's inertial samples.

    Attributes:
        t_ns: (n,) int64, session clock, strictly increasing.
        gyro_imu: (n, 3) rad/s, imu frame (chip axes already turned by R_imu_chip).
        accel_imu: (n, 3) specific force, m/s²: at rest it points up with length g.
    """

    t_ns: Stamps
    gyro_imu: Array
    accel_imu: Array

    def __post_init__(self) -> None:
        n = len(self.t_ns)
        assert self.gyro_imu.shape == (n, 3), self.gyro_imu.shape
        assert self.accel_imu.shape == (n, 3), self.accel_imu.shape
        _require_increasing(self.t_ns)

    def __len__(self) -> int:
        return len(self.t_ns)

    def between(self, start_ns: int, end_ns: int) -> ImuSamples:
        """The samples with start_ns <= t < end_ns."""
        i, j = np.searchsorted(self.t_ns, [start_ns, end_ns])
        return ImuSamples(self.t_ns[i:j], self.gyro_imu[i:j], self.accel_imu[i:j])


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One decoded picture.

    Attributes:
        t_ns: camera stamp as recorded, camera clock.
        camera: its name in the rig.
        image: (height, width) uint8 grey, or (height, width, 3) uint8 RGB.
    """

    t_ns: int
    camera: str
    image: NDArray[np.uint8]


@dataclass(frozen=True, eq=False, slots=True)
class Trajectory:
    """Pose of one rigid body over time, with its uncertainty.

    Attributes:
        body: which body moves: "head", "left_tcp", ...
        t_ns: (n,) int64, session clock, strictly increasing; for camera rows mid-exposure.
        camera_t_ns: (n,) int64 the stamp of the picture as recorded; equal to t_ns for IMU-rate rows.
        T_world_body: (n, 4, 4), metres; NaN where untracked.
        cov: (n, 6, 6) of `xi` in `T_true = T_est @ se3_exp(xi)`, xi = [theta; rho], rad², rad·m, m², body axes,
            with position and yaw of the world origin exactly known; NaN where unknown.
        tracked: (n,) bool.
    """

    body: str
    t_ns: Stamps
    camera_t_ns: Stamps
    T_world_body: Array
    cov: Array
    tracked: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n = len(self.t_ns)
        assert self.camera_t_ns.shape == (n,), self.camera_t_ns.shape
        assert self.T_world_body.shape == (n, 4, 4), self.T_world_body.shape
        assert self.cov.shape == (n, 6, 6), self.cov.shape
        assert self.tracked.shape == (n,) and self.tracked.dtype == np.bool_
        assert np.all(np.isfinite(self.T_world_body[self.tracked])), "a tracked row without a pose"
        _require_increasing(self.t_ns)

    def __len__(self) -> int:
        return len(self.t_ns)

    def tracked_only(self) -> Trajectory:
        m = self.tracked
        return Trajectory(self.body, self.t_ns[m], self.camera_t_ns[m], self.T_world_body[m], self.cov[m], m[m])


@dataclass(frozen=True, slots=True)
class ImuModel:
    """Noise of an inertial sensor, continuous time.

    Attributes:
        rate_hz: nominal sample rate.
        gyro_noise_density: rad/s/√Hz.
        accel_noise_density: m/s²/√Hz.
        gyro_random_walk: rad/s²/√Hz.
        accel_random_walk: m/s³/√Hz.
    """

    rate_hz: float
    gyro_noise_density: float
    accel_noise_density: float
    gyro_random_walk: float
    accel_random_walk: float


@dataclass(frozen=True, eq=False, slots=True)
class Device:
    """A strapped-on unit with an IMU.

    Attributes:
        imu: its noise.
        R_imu_chip: (3, 3) takes chip axes, as recorded, to imu axes.
        uid: serial number, or None for an import.
    """

    imu: ImuModel
    R_imu_chip: Array = field(default_factory=lambda: np.eye(3))
    uid: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class MountedCamera:
    """A camera, where it sits on its device, and how its clock differs.

    Attributes:
        device: the device that carries it.
        camera: lens model.
        T_imu_cam: (4, 4).
        dt_imu_cam_s: t_imu = t_cam + dt.
        dt_sigma_s: standard deviation of dt; None when nobody measured it.
        line_delay_s: time from one row's exposure to the next; 0 for a global shutter.
    """

    device: str
    camera: Camera
    T_imu_cam: Array
    dt_imu_cam_s: float = 0.0
    dt_sigma_s: float | None = None
    line_delay_s: float = 0.0


@dataclass(frozen=True, eq=False, slots=True)
class Rig:
    """Everything calibrated about one set of worn devices.

    Attributes:
        rig_id: name.
        devices: by name: head, left, right.
        cameras: by name: head, or head_left and head_right; left, right.
        grippers: by side, as written in rig.json; grown by the gripper calibration.
        provenance: where the numbers came from.
    """

    rig_id: str
    devices: Mapping[str, Device]
    cameras: Mapping[str, MountedCamera]
    grippers: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, camera in self.cameras.items():
            assert camera.device in self.devices, f"camera {name!r} sits on unknown device {camera.device!r}"
