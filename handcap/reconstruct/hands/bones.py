"""Bones: how long a wearer's are, which gives a single view its scale."""

from __future__ import annotations

import numpy as np

from handcap.geometry import Array

# Pairs of MediaPipe's joints that stay as far apart as they are: bones of the fingers, and the palm.
_FINGERS = [(k, k + 1) for root in (1, 5, 9, 13, 17) for k in range(root, root + 3)]
_PALM = [(0, 1), (0, 5), (0, 9), (0, 13), (0, 17), (5, 9), (9, 13), (13, 17), (5, 17), (1, 5), (1, 9)]
BONES = np.array(_FINGERS + _PALM)
# Those that reports hold: three of each finger from the root on, thumb first, then from the wrist to each root.
HAND_BONES = BONES[:20]
# By which lengths are off, relative: on 18 virtual takes, whose hands grasp, the network made fingers a third too short
# and palms a tenth, alike in all.
SIGMA: Array = np.array([0.31] * 15 + [0.1] * 5)
_MEAN_PALM_M = 0.092  # wrist to the middle finger's knuckle of an adult


def lengths_m(joints: Array) -> Array:
    """(..., 26) from joints (..., 21, 3)."""
    return np.linalg.norm(joints[..., BONES[:, 0], :] - joints[..., BONES[:, 1], :], axis=-1)


def guessed(relative_m: Array) -> Array:
    """(26,) from shapes (n, 21, 3) of unsure scale, made the size of a usual adult."""
    lengths = np.median(lengths_m(relative_m), axis=0)
    palm = float(lengths[len(_FINGERS) + 2])
    return lengths * (_MEAN_PALM_M / max(palm, 1e-6))


def scale_between(of_m: Array, to_m: Array) -> float:
    """Logarithm of how much longer the 20 bones `to_m` are than `of_m`, palms counting most."""
    return float(np.average(np.log(to_m / np.maximum(of_m, 1e-6)), weights=SIGMA**-2))
