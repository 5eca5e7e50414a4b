"""What an inertial sensor on a moving body measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap import geometry
from handcap.clock import seconds
from handcap.geometry import Array
from handcap.sim.motion import Motion
from handcap.types import ImuModel, ImuSamples


@dataclass(frozen=True, slots=True)
class ImuErrors:
    """How far this sensor is off when it is switched on.

    Attributes:
        gyro_bias_sd: rad/s, per axis; a consumer part keeps its offset within about 0.5°/s.
        accel_bias_sd: m/s², per axis; about 10 mg.
        noise_scale: multiplies white noise and bias walk of the rig's model; 0 gives a perfect sensor.
    """

    gyro_bias_sd: float = 0.01
    accel_bias_sd: float = 0.1
    noise_scale: float = 1.0


PERFECT = ImuErrors(0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False, slots=True)
class ImuRecording:
    """Samples and what was added to the truth to make them.

    Attributes:
        samples: as measured, imu axes.
        gyro_bias: (n, 3) rad/s.
        accel_bias: (n, 3) m/s².
    """

    samples: ImuSamples
    gyro_bias: Array
    accel_bias: Array


def exact(motion: Motion, t_ns: NDArray[np.int64]) -> tuple[Array, Array]:
    """Angular rate (n, 3) rad/s and specific force (n, 3) m/s² of the body at these instants, body axes."""
    t_s = seconds(t_ns)
    R_body_room = np.swapaxes(motion.pose(t_s)[:, :3, :3], -1, -2)
    force_room = motion.acceleration_room(t_s) + np.array([0.0, 0.0, geometry.GRAVITY_M_S2])
    return motion.angular_rate_body(t_s), np.einsum("nij,nj->ni", R_body_room, force_room)


def _bias(rng: np.random.Generator, start_sd: float, walk_density: float, n: int, dt_s: float) -> Array:
    steps = rng.standard_normal((n, 3)) * walk_density * np.sqrt(dt_s)
    steps[0] = rng.standard_normal(3) * start_sd
    return np.cumsum(steps, axis=0)


def record(
    motion: Motion, model: ImuModel, errors: ImuErrors, t_ns: NDArray[np.int64], rng: np.random.Generator
) -> ImuRecording:
    """Sample the motion at `t_ns` (n,), evenly spaced, with white noise, a constant bias and its random walk."""
    gyro, accel = exact(motion, t_ns)
    n, dt_s, scale = len(t_ns), 1.0 / model.rate_hz, errors.noise_scale
    gyro_bias = _bias(rng, errors.gyro_bias_sd, scale * model.gyro_random_walk, n, dt_s)
    accel_bias = _bias(rng, errors.accel_bias_sd, scale * model.accel_random_walk, n, dt_s)
    gyro_white = rng.standard_normal((n, 3)) * scale * model.gyro_noise_density / np.sqrt(dt_s)
    accel_white = rng.standard_normal((n, 3)) * scale * model.accel_noise_density / np.sqrt(dt_s)
    samples = ImuSamples(t_ns, gyro + gyro_bias + gyro_white, accel + accel_bias + accel_white)
    return ImuRecording(samples, gyro_bias, accel_bias)
