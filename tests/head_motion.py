"""A smooth head motion known in closed form, and what an ideal IMU and an ideal camera on it would record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.cameras import Camera
from handcap.clock import seconds
from handcap.geometry import GRAVITY_M_S2, Array, inverse, se3, so3_exp, transform
from handcap.reconstruct.inertial import States
from handcap.reconstruct.landmarks import Observations
from handcap.types import ImuModel, ImuSamples, Stamps

START_NS = 5_000_000_000
IDEAL = ImuModel(1000.0, 1e-4, 1e-3, 1e-6, 1e-5)
T_IMU_CAM = se3(so3_exp([1.2, -1.1, 1.3]), [0.03, -0.05, 0.02])


@dataclass(frozen=True, eq=False)
class HeadMotion:
    """Yaw, pitch, roll and x, y, z as sums of two sines each: `amplitude * sin(omega * t + phase)`, all (2, 6)."""

    amplitude: Array
    omega: Array
    phase: Array

    @staticmethod
    def drawn(seed: int) -> HeadMotion:
        rng = np.random.default_rng(seed)
        amplitude = rng.uniform(0.6, 1.0, (2, 6)) * [
            [0.3, 0.2, 0.2, 0.25, 0.25, 0.15],
            [0.1, 0.1, 0.1, 0.06, 0.06, 0.05],
        ]
        omega = rng.uniform(0.8, 1.2, (2, 6)) * [[1.5], [4.0]]
        return HeadMotion(amplitude, omega, rng.uniform(0, 2 * np.pi, (2, 6)))

    def _derivative(self, t_s: Array, order: int) -> Array:
        """(n, 6) derivative of yaw, pitch, roll, x, y, z."""
        angle = self.omega * t_s[:, None, None] + self.phase + order * np.pi / 2
        return (self.amplitude * self.omega**order * np.sin(angle)).sum(axis=1)

    def poses(self, t_ns: Stamps) -> Array:
        """(n, 4, 4) T_world_imu, world z up."""
        x = self._derivative(seconds(t_ns), 0)
        axes = np.eye(3)
        R = so3_exp(x[:, :1] * axes[2]) @ so3_exp(x[:, 1:2] * axes[1]) @ so3_exp(x[:, 2:3] * axes[0])
        return se3(R, x[:, 3:])

    def velocity(self, t_ns: Stamps) -> Array:
        return self._derivative(seconds(t_ns), 1)[:, 3:]

    def sensed(self, t_ns: Stamps) -> tuple[Array, Array]:
        """(n, 3) angular rate and (n, 3) specific force, imu axes."""
        t_s = seconds(t_ns)
        _, pitch, roll = self._derivative(t_s, 0)[:, :3].T
        yaw_rate, pitch_rate, roll_rate = self._derivative(t_s, 1)[:, :3].T
        rate = np.stack(
            [
                roll_rate - yaw_rate * np.sin(pitch),
                pitch_rate * np.cos(roll) + yaw_rate * np.cos(pitch) * np.sin(roll),
                -pitch_rate * np.sin(roll) + yaw_rate * np.cos(pitch) * np.cos(roll),
            ],
            axis=1,
        )
        a_world = self._derivative(t_s, 2)[:, 3:] + [0, 0, GRAVITY_M_S2]
        return rate, np.einsum("nji,nj->ni", self.poses(t_ns)[:, :3, :3], a_world)

    def imu(
        self, length_s: float, rate_hz: float = 1000.0, gyro_bias: Array | None = None, accel_bias: Array | None = None
    ) -> ImuSamples:
        """Samples from START_NS - 0.1 s on, `length_s` + 0.2 s of them."""
        period_ns = round(1e9 / rate_hz)
        t_ns = START_NS - 100_000_000 + period_ns * np.arange(round((length_s + 0.2) * rate_hz), dtype=np.int64)
        gyro, accel = self.sensed(t_ns)
        return ImuSamples(
            t_ns,
            gyro + (0 if gyro_bias is None else gyro_bias),
            accel + (0 if accel_bias is None else accel_bias),
        )

    def states(self, t_ns: Stamps, gyro_bias: Array | None = None, accel_bias: Array | None = None) -> States:
        n = len(t_ns)
        biases = [np.tile(np.zeros(3) if b is None else b, (n, 1)) for b in (gyro_bias, accel_bias)]
        return States(t_ns, self.poses(t_ns), self.velocity(t_ns), *biases)


def times(length_s: float, period_s: float, start_ns: int = START_NS) -> Stamps:
    """From START_NS to `length_s` later, both ends included."""
    return start_ns + np.rint(np.arange(round(length_s / period_s) + 1) * period_s * 1e9).astype(np.int64)


def sights(T_world_cam: Array, camera: Camera, p_world: Array) -> Observations:
    """Exact observations of points (m, 3) from poses (n, 4, 4): those inside the picture, tracks numbered as points."""
    n, m = len(T_world_cam), len(p_world)
    p_cam = transform(inverse(T_world_cam)[None], p_world[:, None])  # by point, then keyframe
    pixel, valid = camera.project(p_cam)
    seen = valid & camera.in_picture(pixel) & (p_cam[..., 2] > 0.1)
    track, keyframe = np.meshgrid(np.arange(m), np.arange(n), indexing="ij")
    return observed(keyframe[seen], track[seen], pixel[seen], camera)


def observed(keyframe: Array, track: Array, pixel: Array, camera: Camera) -> Observations:
    """Observations whose rays follow from their pixels."""
    return Observations(keyframe, track, pixel, camera.unproject(pixel)[0], pixel, np.zeros(len(track), np.int64))


def points_ahead(T_world_cam: Array, count: int, seed: int = 0) -> Array:
    """(count, 3) points 1 to 4 m before the first pose, spread over its view."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(1.0, 4.0, count)
    across = rng.uniform(-0.6, 0.6, (count, 2)) * depth[:, None]
    return transform(T_world_cam[0], np.c_[across, depth])
