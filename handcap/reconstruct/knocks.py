"""Knocks: a gripper meets a table, and what its sensor feels changes faster than its samples tell.

A hand changes its acceleration slowly beside a sample's length; a knock and the ringing after it do not. Their samples
are taken for what they are, but the speed and the turn they add up to are uncertain by as much as the samples bend.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handcap.clock import seconds
from handcap.geometry import Array
from handcap.types import ImuSamples, Stamps

# Second derivatives (gyro rad/s³, accel m/s⁴) beyond any hand's: one shaken to 40 m/s² five times a second has 4e4.
_MOST_BENT = np.array([8e4, 2e5])
# Times the take's median: white noise stays below 4 in a take of a minute, EuRoC's rotors (V1_02) below 5.1.
_USUAL = 6.0
# A lone misread sample J adds J dt of speed that never was; it bends itself and both neighbours, √6 J together.
_SHARE = 0.25


class Knocks:
    """What the samples of one IMU leave open, beyond their noise.

    Args:
        imu: at least three samples for any knock to show.
    """

    def __init__(self, imu: ImuSamples) -> None:
        self._t0_ns = int(imu.t_ns[0])
        self._t_s = seconds(imu.t_ns, self._t0_ns)
        unseen = np.zeros((len(imu.t_ns), 2))
        if len(imu.t_ns) >= 3:
            dt_s = float(np.median(np.diff(self._t_s)))
            bent = np.stack([np.linalg.norm(np.diff(x, 2, axis=0), axis=1) for x in (imu.gyro_imu, imu.accel_imu)], 1)
            most = np.maximum(_MOST_BENT * dt_s**2, _USUAL * np.median(bent, axis=0))
            unseen[1:-1] = np.where(bent > most, _SHARE * dt_s * bent, 0.0)
        self._some = bool(unseen.any())
        self._sum = np.concatenate([np.zeros((1, 2)), np.cumsum(unseen**2, axis=0)])

    def density(self, start_ns: Stamps, end_ns: Stamps) -> Array:
        """Noise densities that leave as much open over an interval as the knocks in it do.

        Args:
            start_ns, end_ns: (m,) of the intervals, ascending each.

        Returns:
            (m, 2) gyroscope rad/s/√Hz, accelerometer m/s²/√Hz; 0 where nothing knocks.
        """
        if not self._some:
            return np.zeros((len(start_ns), 2))
        a, b = seconds(start_ns, self._t0_ns), seconds(end_ns, self._t0_ns)
        # The samples around an interval shape it as well.
        first = np.maximum(np.searchsorted(self._t_s, a, side="right") - 1, 0)
        past = np.minimum(np.searchsorted(self._t_s, b, side="left") + 1, len(self._t_s))
        return np.asarray(np.sqrt((self._sum[past] - self._sum[first]) / np.maximum(b - a, 1e-6)[:, None]), float)

    def beside(self, t_ns: Stamps) -> NDArray[np.bool_]:
        """(n,) which of ascending times (n,) are the last before a knock or the first after one."""
        between = self.density(t_ns[:-1], t_ns[1:]).any(axis=1)
        return np.append(between, False) | np.append(False, between)
