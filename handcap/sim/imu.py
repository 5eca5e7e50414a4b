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

_RAD_S_PER_DPS = np.pi / 180


@dataclass(frozen=True, slots=True)
class ImuErrors:
    """How far this sensor is off when it is switched on; the defaults are a calibrated part with its residuals.

    Attributes:
        gyro_bias_sd: rad/s, per axis; a consumer part keeps its offset within about 0.5°/s.
        accel_bias_sd: m/s², per axis; about 10 mg.
        noise_scale: multiplies white noise and bias walk of the rig's model; 0 gives a perfect sensor.
        gyro_scale_sd, accel_scale_sd: share, per axis.
        gyro_misalignment_sd, accel_misalignment_sd: share of one axis that shows on another.
        gyro_g_sensitivity_sd: rad/s per m/s², each axis on each.
        gyro_range_rad_s, accel_range_m_s2: beyond it the output sticks; infinite for none.
        bits: the range from minus to plus full scale is cut into 2^bits counts; None for no rounding.
    """

    gyro_bias_sd: float = 0.01
    accel_bias_sd: float = 0.1
    noise_scale: float = 1.0
    gyro_scale_sd: float = 0.0
    accel_scale_sd: float = 0.0
    gyro_misalignment_sd: float = 0.0
    accel_misalignment_sd: float = 0.0
    gyro_g_sensitivity_sd: float = 0.0
    gyro_range_rad_s: float = np.inf
    accel_range_m_s2: float = np.inf
    bits: int | None = None

    def __post_init__(self) -> None:
        assert self.gyro_range_rad_s > 0 and self.accel_range_m_s2 > 0
        ranged = np.isfinite(self.gyro_range_rad_s) and np.isfinite(self.accel_range_m_s2)
        assert self.bits is None or ranged, "counts need a range"


PERFECT = ImuErrors(0.0, 0.0, 0.0)

# An uncalibrated consumer part as soldered, for calibration takes. TDK ICM-42688-P, datasheet DS-000347, tables 1, 2:
# offset ±0.5°/s and ±20 mg, scale ±0.5 %, cross-axis ±1.25 % and ±1 %, all typical at board level and taken as one
# standard deviation; ±2000°/s and ±16 g in 16 bits. It gives no g-sensitivity: 0.1°/s/g is what its class shows.
RAW_PART = ImuErrors(
    gyro_bias_sd=0.5 * _RAD_S_PER_DPS,
    accel_bias_sd=0.020 * geometry.GRAVITY_M_S2,
    gyro_scale_sd=0.005,
    accel_scale_sd=0.005,
    gyro_misalignment_sd=0.0125,
    accel_misalignment_sd=0.010,
    gyro_g_sensitivity_sd=0.1 * _RAD_S_PER_DPS / geometry.GRAVITY_M_S2,
    gyro_range_rad_s=2000 * _RAD_S_PER_DPS,
    accel_range_m_s2=16 * geometry.GRAVITY_M_S2,
    bits=16,
)


@dataclass(frozen=True, eq=False, slots=True)
class ImuRecording:
    """Samples and what was done to the truth to make them.

    Before noise, range and rounding: `gyro = gyro_matrix @ rate + gyro_g_sensitivity @ force + gyro_bias` and
    `accel = accel_matrix @ force + accel_bias`.

    Attributes:
        samples: as measured, imu axes.
        gyro_bias: (n, 3) rad/s.
        accel_bias: (n, 3) m/s².
        gyro_matrix, accel_matrix: (3, 3) scale on the diagonal, misalignment beside it; identity for a perfect part.
        gyro_g_sensitivity: (3, 3) rad/s per m/s².
        saturated: (n,) bool, any axis at the end of its range.
    """

    samples: ImuSamples
    gyro_bias: Array
    accel_bias: Array
    gyro_matrix: Array
    accel_matrix: Array
    gyro_g_sensitivity: Array
    saturated: NDArray[np.bool_]


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


def _matrix(rng: np.random.Generator, scale_sd: float, misalignment_sd: float) -> Array:
    sd = np.where(np.eye(3, dtype=bool), scale_sd, misalignment_sd)
    return np.eye(3) + sd * rng.standard_normal((3, 3))


def _digitised(value: Array, range_: float, bits: int | None) -> tuple[Array, NDArray[np.bool_]]:
    """Values as they come out of the converter, and which rows (n,) touch the end of the range."""
    if not np.isfinite(range_):
        return value, np.zeros(len(value), bool)
    if bits is None:
        return np.clip(value, -range_, range_), np.any(np.abs(value) >= range_, axis=-1)
    full = 2 ** (bits - 1)
    counts = np.clip(np.rint(value * (full / range_)), -full, full - 1)
    return counts * (range_ / full), np.any((counts == -full) | (counts == full - 1), axis=-1)


def record(
    motion: Motion,
    model: ImuModel,
    errors: ImuErrors,
    t_ns: NDArray[np.int64],
    rng: np.random.Generator,
    part: np.random.Generator | None = None,
) -> ImuRecording:
    """Sample the motion at `t_ns` (n,), evenly spaced, with all that this specimen does to the truth.

    `rng` draws bias and noise, `part` what a specimen keeps for life: scale, misalignment, g-sensitivity.
    """
    part = rng if part is None else part
    rate, force = exact(motion, t_ns)
    n, dt_s, scale = len(t_ns), 1.0 / model.rate_hz, errors.noise_scale
    gyro_bias = _bias(rng, errors.gyro_bias_sd, scale * model.gyro_random_walk, n, dt_s)
    accel_bias = _bias(rng, errors.accel_bias_sd, scale * model.accel_random_walk, n, dt_s)
    gyro_white = rng.standard_normal((n, 3)) * scale * model.gyro_noise_density / np.sqrt(dt_s)
    accel_white = rng.standard_normal((n, 3)) * scale * model.accel_noise_density / np.sqrt(dt_s)
    gyro_matrix = _matrix(part, errors.gyro_scale_sd, errors.gyro_misalignment_sd)
    accel_matrix = _matrix(part, errors.accel_scale_sd, errors.accel_misalignment_sd)
    g_sensitivity = errors.gyro_g_sensitivity_sd * part.standard_normal((3, 3))
    gyro = _through(gyro_matrix, rate) + gyro_bias + gyro_white
    if errors.gyro_g_sensitivity_sd:
        gyro = gyro + force @ g_sensitivity.T
    accel = _through(accel_matrix, force) + accel_bias + accel_white
    gyro, gyro_full = _digitised(gyro, errors.gyro_range_rad_s, errors.bits)
    accel, accel_full = _digitised(accel, errors.accel_range_m_s2, errors.bits)
    return ImuRecording(
        ImuSamples(t_ns, gyro, accel),
        gyro_bias,
        accel_bias,
        gyro_matrix,
        accel_matrix,
        g_sensitivity,
        gyro_full | accel_full,
    )


def _through(matrix: Array, vectors: Array) -> Array:
    """(3, 3) applied to each row (n, 3); the identity leaves every bit alone."""
    return vectors if np.array_equal(matrix, np.eye(3)) else vectors @ matrix.T
