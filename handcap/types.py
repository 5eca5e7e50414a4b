"""The nouns that every stage speaks: frozen, checked once, numpy inside.

Unknown is NaN or a mask that travels with the value. Time is int64 nanoseconds of the clock the docstring names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.encoder import JawEncoder
from handcap.geometry import Array

Stamps = NDArray[np.int64]
Side = Literal["left", "right"]  # the wearer's
SIDES: tuple[Side, Side] = ("left", "right")


def _require_increasing(t_ns: Stamps) -> None:
    assert t_ns.dtype == np.int64, t_ns.dtype
    assert np.all(np.diff(t_ns) > 0), "t_ns must increase"


@dataclass(frozen=True, eq=False, slots=True)
class ImuSamples:
    """One device's inertial samples.

    Attributes:
        t_ns: (n,) int64, session clock, strictly increasing.
        gyro_imu: (n, 3) rad/s, imu frame (calibrated, and chip axes already turned by R_imu_chip).
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
class JawReadings:
    """What a jaw's encoder read.

    Attributes:
        t_ns: (n,) int64, session clock, strictly increasing.
        counts: (n,) 0 .. 4095, wrapped.
    """

    t_ns: Stamps
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        assert self.counts.shape == self.t_ns.shape, self.counts.shape
        _require_increasing(self.t_ns)

    def __len__(self) -> int:
        return len(self.t_ns)


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

    def where(self, rows: NDArray[np.bool_] | slice) -> Trajectory:
        """Only some rows."""
        return Trajectory(
            self.body,
            self.t_ns[rows],
            self.camera_t_ns[rows],
            self.T_world_body[rows],
            self.cov[rows],
            self.tracked[rows],
        )

    def tracked_only(self) -> Trajectory:
        return self.where(self.tracked)


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
class ImuSigma:
    """Standard deviations of an `ImuCalibration`, number by number."""

    gyro_matrix: Array
    gyro_bias: Array
    accel_matrix: Array
    accel_bias: Array
    gyro_g_sensitivity: Array


@dataclass(frozen=True, eq=False, slots=True)
class ImuCalibration:
    """What one specimen makes of rate and force; chip axes, as recorded.

    `gyro = gyro_matrix @ rate + gyro_g_sensitivity @ force + gyro_bias`,
    `accel = accel_matrix @ force + accel_bias`.

    Attributes:
        gyro_matrix, accel_matrix: (3, 3) scale on the diagonal, misalignment beside it.
        gyro_bias: (3,) rad/s.
        accel_bias: (3,) m/s².
        gyro_g_sensitivity: (3, 3) rad/s per m/s².
        sigma: how well they are known, or None.
    """

    gyro_matrix: Array
    gyro_bias: Array
    accel_matrix: Array
    accel_bias: Array
    gyro_g_sensitivity: Array = field(default_factory=lambda: np.zeros((3, 3)))
    sigma: ImuSigma | None = None

    def corrected(self, gyro: Array, accel: Array) -> tuple[Array, Array]:
        """Rate (n, 3) rad/s and force (n, 3) m/s² behind readings (n, 3), chip axes."""
        force = (accel - self.accel_bias) @ np.linalg.inv(self.accel_matrix).T
        rate = gyro - self.gyro_bias - force @ self.gyro_g_sensitivity.T
        return rate @ np.linalg.inv(self.gyro_matrix).T, force


@dataclass(frozen=True, eq=False, slots=True)
class Device:
    """A strapped-on unit with an IMU.

    Attributes:
        imu: its noise.
        R_imu_chip: (3, 3) takes chip axes, as recorded, to imu axes.
        uid: serial number, or None for an import.
        calibration: taken off the samples before they are turned to imu axes; None when nobody measured it.
    """

    imu: ImuModel
    R_imu_chip: Array = field(default_factory=lambda: np.eye(3))
    uid: str | None = None
    calibration: ImuCalibration | None = None


@dataclass(frozen=True, slots=True)
class CameraSigma:
    """Standard deviations of a camera's calibration, each per axis.

    Attributes:
        rotation_rad, position_m: of T_imu_cam, in the camera's axes.
        focal: of the focal length, as a share of it.
        centre_px: of the principal point.
    """

    rotation_rad: float
    position_m: float
    focal: float
    centre_px: float


@dataclass(frozen=True, slots=True)
class CameraPlug:
    """How a camera of a rig is found and set up when it is plugged in.

    Attributes:
        uid: its USB serial number, or its USB place where it has none of its own ("1-2.4"), or its address; None where
            a camera node carries it.
        format: asked of it; None: as it likes.
        rate_hz: pictures a second asked of it.
        trigger: device whose board triggers it, and the board's line; None where it runs free.
    """

    uid: str | None = None
    format: Literal["mjpeg", "h264"] | None = None
    rate_hz: float | None = None
    trigger: tuple[str, int] | None = None


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
        sigma: how well lens and mount are calibrated; None when nobody measured it.
        plug: how it is found; None when nobody said.
    """

    device: str
    camera: Camera
    T_imu_cam: Array
    dt_imu_cam_s: float = 0.0
    dt_sigma_s: float | None = None
    line_delay_s: float = 0.0
    sigma: CameraSigma | None = None
    plug: CameraPlug | None = None

    def late_s(self, pixel: Array) -> Array:
        """(...,) how much later than the stamp, which is the middle row's, the rows of pixels (..., 2) are exposed."""
        return (pixel[..., 1] - (self.camera.height - 1) / 2) * self.line_delay_s


TagFamily = Literal["36h11", "4x4_50"]
TagBody = Literal["tcp", "finger_a", "finger_b"]


@dataclass(frozen=True, eq=False, slots=True)
class Tag:
    """A printed tag on a gripper.

    Attributes:
        family: of codes.
        id: its number in the family.
        size_m: edge of the black square.
        body: what it is stuck to: the gripper itself, or a finger, whose frame is the tool frame, shifted along its x
            by minus (a) or plus (b) half the jaw opening.
        T_body_tag: (4, 4): tag frame x right, y down, z into the tag, origin in its middle.
    """

    family: TagFamily
    id: int
    size_m: float
    body: TagBody
    T_body_tag: Array

    @property
    def corners_body(self) -> Array:
        """(4, 3) corners of the black square, clockwise from the tag's own upper left, as detectors order them."""
        half = self.size_m / 2
        corners = half * np.array([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])
        return corners @ self.T_body_tag[:3, :3].T + self.T_body_tag[:3, 3]


@dataclass(frozen=True, eq=False, slots=True)
class Gripper:
    """A hand-held gripper; its camera and IMU stand under its side's name in the rig.

    Attributes:
        T_cam_tcp: (4, 4) tool frame as its camera sees it; None when nobody calibrated it.
        tags: on it.
        encoder: of its jaw; None when there is none, or nobody calibrated it.
        extra: what else rig.json says of it, as written there.
    """

    T_cam_tcp: Array | None = None
    tags: tuple[Tag, ...] = ()
    encoder: JawEncoder | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class Rig:
    """Everything calibrated about one set of worn devices.

    Attributes:
        rig_id: name.
        devices: by name: head, left, right.
        cameras: by name: head, or head_left and head_right; left, right.
        grippers: by side: left, right.
        provenance: where the numbers came from.
        valid_until: ISO 8601 UTC; from then on it should be calibrated anew. None where nobody said.
        assigned_to: alias of the only collector who should use it, or None.
        serials: printed on the parts: of lenses, cameras, grippers; by what they are.
    """

    rig_id: str
    devices: Mapping[str, Device]
    cameras: Mapping[str, MountedCamera]
    grippers: Mapping[str, Gripper] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    valid_until: str | None = None
    assigned_to: str | None = None
    serials: Mapping[str, str] = field(default_factory=dict)

    @property
    def uids(self) -> dict[str, str]:
        """Of the devices that have one, by name."""
        return {name: device.uid for name, device in self.devices.items() if device.uid is not None}

    @property
    def bare_sides(self) -> tuple[Side, ...]:
        """Sides without a gripper, where two cameras on the head can place a bare hand."""
        heads = [camera for camera in self.cameras.values() if camera.device == "head"]
        return tuple(side for side in SIDES if side not in self.grippers) if len(heads) > 1 else ()

    def __post_init__(self) -> None:
        for name, camera in self.cameras.items():
            assert camera.device in self.devices, f"camera {name!r} sits on unknown device {camera.device!r}"
            trigger = None if camera.plug is None else camera.plug.trigger
            assert trigger is None or trigger[0] in self.devices, f"camera {name!r} is triggered by nobody"
