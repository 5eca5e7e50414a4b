"""Rotation from the gyroscope alone."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from handcap.clock import seconds
from handcap.geometry import Array
from handcap.types import ImuSamples, Stamps


class GyroRotation:
    """The gyroscope integrated once, asked often.

    Angular rate is taken as linear between samples and each interval's rotation as the rate at its middle, which errs
    with the third power of the sample period.

    Args:
        imu: n >= 2 samples.
        bias: (3,) rad/s, taken off every sample.
    """

    def __init__(self, imu: ImuSamples, bias: Array | None = None) -> None:
        self._t0_ns = int(imu.t_ns[0])
        self._t_s = seconds(imu.t_ns, self._t0_ns)
        self._rate = imu.gyro_imu - (0 if bias is None else bias)
        turns = (self._rate[1:] + self._rate[:-1]) / 2 * np.diff(self._t_s)[:, None]
        self._start_sample_xyzw = running_product(turns).as_quat().T

    def at(self, t_ns: Stamps, dt_s: float | Array = 0.0) -> Rotation:
        """R_start_imu at `t_ns + dt_s`, (m,) stamps on the IMU's clock; held at either end of the samples.

        Args:
            dt_s: of all, or (m,).
        """
        t_s = np.clip(seconds(t_ns, self._t0_ns) + dt_s, 0.0, self._t_s[-1])
        i = np.clip(np.searchsorted(self._t_s, t_s, side="right") - 1, 0, len(self._t_s) - 2)
        past_s = (t_s - self._t_s[i])[:, None]
        slope = (self._rate[i + 1] - self._rate[i]) / (self._t_s[i + 1] - self._t_s[i])[:, None]
        past = Rotation.from_rotvec((self._rate[i] + slope * past_s / 2) * past_s)
        return Rotation.from_quat(_times(self._start_sample_xyzw[:, i], past.as_quat().T).T)

    def turns(self, start_ns: Stamps, end_ns: Stamps, dt_s: float | Array = 0.0) -> Array:
        """Rotation vectors (m, 3) from (m,) stamps to others, all of them `dt_s` later."""
        start, end = (self.at(t_ns, dt_s).as_quat().T for t_ns in (start_ns, end_ns))
        back = start * np.array([[-1.0], [-1.0], [-1.0], [1.0]])
        return Rotation.from_quat(_times(back, end).T).as_rotvec()


def running_product(turns: Array) -> Rotation:
    """Rotation vectors (n, 3) to the n + 1 rotations identity, r0, r0 r1, r0 r1 r2, ... in log2(n) passes."""
    product = Rotation.from_rotvec(np.concatenate([np.zeros((1, 3)), turns])).as_quat().T
    shift = 1
    while shift < product.shape[1]:
        product = np.concatenate([product[:, :shift], _times(product[:, :-shift], product[:, shift:])], axis=1)
        shift *= 2
    return Rotation.from_quat(product.T)


def _times(a_xyzw: Array, b_xyzw: Array) -> Array:
    """Products of quaternions (4, n), scalar last; SciPy's own takes twenty times as long for many."""
    ax, ay, az, aw = a_xyzw
    bx, by, bz, bw = b_xyzw
    return np.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by + ay * bw + az * bx - ax * bz,
            aw * bz + az * bw + ax * by - ay * bx,
            aw * bw - ax * bx - ay * by - az * bz,
        ]
    )
