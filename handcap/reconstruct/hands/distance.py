"""How far away a hand is that one camera sees: about as far as when two saw it last, or will next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array

_HELD_M = 0.03  # by which a hand seen by one camera differs at once from where two saw it: another pose of it
_RADIAL_M_S = 0.25  # at which it comes nearer or goes away unseen


def held_distance(
    t_s: Array, joints: Array, cov: Array, eyes: Array, several: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Moments of one view moved along it, their own idea of the distance weighed with what two views said nearby.

    Args:
        t_s: (n,).
        joints: (n, 21, 3) m, in the world.
        cov: (n, 63, 63).
        eyes: (n, 3) where the only view is from; anything where there are several.
        several: (n,) whether more than one view saw the moment.

    Returns:
        Joints and covariances; as given where no moment has two views.
    """
    if not several.any() or several.all():
        return joints, cov
    middle = joints.mean(axis=1)
    joints, cov = joints.copy(), cov.copy()
    near = np.flatnonzero(several)
    for i in np.flatnonzero(~several):
        towards = middle[i] - eyes[i]
        unit = np.tile(towards / np.linalg.norm(towards), 21) / 21  # of all joints, their distance in the mean
        k = int(np.searchsorted(near, i))
        for other in near[max(k - 1, 0) : k + 1]:
            wanted = float(np.linalg.norm(middle[other] - eyes[i]))
            sigma = _HELD_M + _RADIAL_M_S * abs(float(t_s[other] - t_s[i]))
            gain = cov[i] @ unit / (unit @ cov[i] @ unit + sigma**2)
            off = wanted - float(unit @ (joints[i] - eyes[i]).ravel())
            joints[i] = joints[i] + (gain * off).reshape(21, 3)
            cov[i] = cov[i] - np.outer(gain, unit @ cov[i])
    return joints, cov
