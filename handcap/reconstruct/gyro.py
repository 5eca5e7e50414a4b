"""Rotation from the gyroscope alone."""

from __future__ import annotations

from typing import Any, cast

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
        self._R_start_sample = running_product((self._rate[1:] + self._rate[:-1]) / 2 * np.diff(self._t_s)[:, None])

    def at(self, t_ns: Stamps, dt_s: float = 0.0) -> Rotation:
        """R_start_imu at `t_ns + dt_s`, (m,) stamps on the IMU's clock; held at either end of the samples."""
        t_s = np.clip(seconds(t_ns, self._t0_ns) + dt_s, 0.0, self._t_s[-1])
        i = np.clip(np.searchsorted(self._t_s, t_s, side="right") - 1, 0, len(self._t_s) - 2)
        past_s = (t_s - self._t_s[i])[:, None]
        slope = (self._rate[i + 1] - self._rate[i]) / (self._t_s[i + 1] - self._t_s[i])[:, None]
        return self._R_start_sample[cast(Any, i)] * Rotation.from_rotvec((self._rate[i] + slope * past_s / 2) * past_s)


def running_product(turns: Array) -> Rotation:
    """Rotation vectors (n, 3) to the n + 1 rotations identity, r0, r0 r1, r0 r1 r2, ... in log2(n) passes."""
    product = Rotation.from_rotvec(np.concatenate([np.zeros((1, 3)), turns]))
    shift = 1
    while shift < len(product):
        product = Rotation.concatenate([product[:shift], product[:-shift] * product[shift:]])
        shift *= 2
    return product
