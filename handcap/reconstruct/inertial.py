"""The inertial chain: states at keyframes and what the IMU says happened between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import gtsam
import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S, seconds
from handcap.geometry import GRAVITY_M_S2, Array, se3, so3_exp
from handcap.reconstruct.knocks import Knocks
from handcap.types import ImuModel, ImuSamples, Stamps

# No part small enough to wear is better; a file that says so must not stiffen the solver.
_LEAST_GYRO_DENSITY, _LEAST_ACCEL_DENSITY, _LEAST_WALK = 1e-5, 1e-4, 1e-6
_GAP_PERIODS = 5.5  # lost samples up to here are bridged by interpolation with little harm
_GAP_GYRO_DENSITY = 0.3  # rad/s/√Hz: whatever a head does in a gap
_GAP_ACCEL_DENSITY = 3.0  # m/s²/√Hz

GRAVITY_WORLD = np.array([0.0, 0.0, -GRAVITY_M_S2])


@dataclass(frozen=True, eq=False, slots=True)
class States:
    """Keyframe states.

    Attributes:
        t_ns: (n,) IMU clock.
        T_world_imu: (n, 4, 4).
        velocity_world: (n, 3) m/s.
        gyro_bias: (n, 3) rad/s.
        accel_bias: (n, 3) m/s².
    """

    t_ns: Stamps
    T_world_imu: Array
    velocity_world: Array
    gyro_bias: Array
    accel_bias: Array

    def __len__(self) -> int:
        return len(self.t_ns)

    def take(self, index: NDArray[np.int64] | slice) -> States:
        return States(*(getattr(self, name)[index] for name in States.__dataclass_fields__))

    def put(self, index: NDArray[np.int64] | slice, other: States) -> States:
        out = {name: getattr(self, name).copy() for name in States.__dataclass_fields__}
        for name, values in out.items():
            values[index] = getattr(other, name)
        return States(**out)

    def moved(self, T_new_world: Array) -> States:
        """The same motion in another world, z up as well."""
        return replace(
            self,
            T_world_imu=T_new_world @ self.T_world_imu,
            velocity_world=self.velocity_world @ T_new_world[:3, :3].T,
        )

    def shifted(self, by_ns: int) -> States:
        return replace(self, t_ns=self.t_ns + by_ns)


class Preintegrator:
    """Preintegrates one IMU between any two times (Forster et al. 2017, with biases as random walks).

    Each interval between samples is integrated with the mean of its ends; the edges are interpolated, so that keyframes
    need not fall on samples. An interval over a gap in the samples gets noise that makes it all but free, one with a
    knock in it at least as much as that leaves open.
    """

    def __init__(self, imu: ImuSamples, model: ImuModel, noise_scale: float = 1.0) -> None:
        self._t0_ns = int(imu.t_ns[0])
        self._t_s = seconds(imu.t_ns, self._t0_ns)
        self._gyro, self._accel = imu.gyro_imu, imu.accel_imu
        self.start_ns, self.end_ns = int(imu.t_ns[0]), int(imu.t_ns[-1])
        period_s = float(np.median(np.diff(self._t_s)))
        self._gap_start_s = self._t_s[:-1][np.diff(self._t_s) > _GAP_PERIODS * period_s]
        self._knocks, self._model, self._noise_scale = Knocks(imu), model, noise_scale
        self._params = _noise(model, noise_scale)
        self._params_over_gap = _noise(model, noise_scale, _GAP_GYRO_DENSITY, _GAP_ACCEL_DENSITY)

    def between(
        self, t0_ns: int, t1_ns: int, gyro_bias: Array, accel_bias: Array
    ) -> gtsam.PreintegratedCombinedMeasurements:
        """Measurements from t0 to t1 > t0; held constant outside the samples."""
        a, b = (float(t) for t in seconds(np.array([t0_ns, t1_ns]), self._t0_ns))
        i, j = np.searchsorted(self._t_s, a, side="right"), np.searchsorted(self._t_s, b, side="left")
        t, near = np.concatenate([[a], self._t_s[i:j], [b]]), slice(max(i - 1, 0), j + 1)
        gyro = np.stack([np.interp(t, self._t_s[near], column) for column in self._gyro[near].T], axis=1)
        accel = np.stack([np.interp(t, self._t_s[near], column) for column in self._accel[near].T], axis=1)
        step = np.diff(t)
        gyro_mid, accel_mid = (gyro[1:] + gyro[:-1]) / 2, (accel[1:] + accel[:-1]) / 2
        # GTSAM holds the attitude of a step's start: turned to its middle, the step errs in second order, not in first.
        half_turn = so3_exp((gyro_mid - gyro_bias) * step[:, None] / 2)
        accel_mid = accel_bias + np.einsum("kij,kj->ki", half_turn, accel_mid - accel_bias)
        bias = gtsam.imuBias.ConstantBias(accel_bias, gyro_bias)
        gap = np.any((self._gap_start_s >= t[0] - 1e-9) & (self._gap_start_s < b)) if self._gap_start_s.size else False
        params = self._params_over_gap if gap else self._params
        knocked = self._knocks.density(np.array([t0_ns]), np.array([t1_ns]))[0]
        if knocked.any() and not gap:
            params = _noise(self._model, self._noise_scale, *knocked)
        out = gtsam.PreintegratedCombinedMeasurements(params, bias)
        for k in np.flatnonzero(step > 1e-9):
            out.integrateMeasurement(accel_mid[k], gyro_mid[k], float(step[k]))
        return out

    def speed_left_open(self, t_ns: Stamps) -> Array:
        """(n - 1,) by how much knocks between neighbouring times (n,) may change the speed unnoticed, m/s."""
        return self._knocks.density(t_ns[:-1], t_ns[1:])[:, 1] * np.sqrt(np.diff(t_ns) / NS_PER_S)

    def chain(self, states: States) -> list[gtsam.PreintegratedCombinedMeasurements]:
        """One per pair of neighbouring states, each about the bias of its first."""
        return [
            self.between(int(t0), int(t1), bg, ba)
            for t0, t1, bg, ba in zip(
                states.t_ns[:-1], states.t_ns[1:], states.gyro_bias[:-1], states.accel_bias[:-1], strict=True
            )
        ]


def _noise(
    model: ImuModel, scale: float, gyro_floor: float = 0.0, accel_floor: float = 0.0
) -> gtsam.PreintegrationCombinedParams:
    params = gtsam.PreintegrationCombinedParams.MakeSharedU(GRAVITY_M_S2)
    eye = np.eye(3)
    gyro_floor, accel_floor = max(gyro_floor, _LEAST_GYRO_DENSITY), max(accel_floor, _LEAST_ACCEL_DENSITY)
    params.setGyroscopeCovariance(eye * max(model.gyro_noise_density * scale, gyro_floor) ** 2)
    params.setAccelerometerCovariance(eye * max(model.accel_noise_density * scale, accel_floor) ** 2)
    params.setBiasOmegaCovariance(eye * max(model.gyro_random_walk * scale, _LEAST_WALK) ** 2)
    params.setBiasAccCovariance(eye * max(model.accel_random_walk * scale, _LEAST_WALK) ** 2)
    # Interpolated samples stand for motion the sensor never saw: 0.1 mm/√s.
    params.setIntegrationCovariance(eye * 1e-8)
    return params


def predict(states: States, anchor: int, t_ns: Sequence[int], imu: Preintegrator) -> tuple[Array, Array]:
    """Poses and velocities at `t_ns` (any order, either side) from the state `anchor` and the IMU alone.

    Returns:
        (m, 4, 4) T_world_imu and (m, 3) velocity_world.
    """
    T0, v0 = states.T_world_imu[anchor], states.velocity_world[anchor]
    R0, p0 = T0[:3, :3], T0[:3, 3]
    bg, ba, t0 = states.gyro_bias[anchor], states.accel_bias[anchor], int(states.t_ns[anchor])
    T, v = np.empty((len(t_ns), 4, 4)), np.empty((len(t_ns), 3))
    for k, t in enumerate(t_ns):
        if t >= t0:
            d = imu.between(t0, int(t), bg, ba)
            dt, dR, dv, dp = d.deltaTij(), d.deltaRij().matrix(), d.deltaVij(), d.deltaPij()
            v[k] = v0 + GRAVITY_WORLD * dt + R0 @ dv
            T[k] = se3(R0 @ dR, p0 + v0 * dt + GRAVITY_WORLD * dt**2 / 2 + R0 @ dp)
        else:
            d = imu.between(int(t), t0, bg, ba)
            dt, dR, dv, dp = d.deltaTij(), d.deltaRij().matrix(), d.deltaVij(), d.deltaPij()
            R = R0 @ dR.T
            v[k] = v0 - GRAVITY_WORLD * dt - R @ dv
            T[k] = se3(R, p0 - v[k] * dt - GRAVITY_WORLD * dt**2 / 2 - R @ dp)
    return T, v
