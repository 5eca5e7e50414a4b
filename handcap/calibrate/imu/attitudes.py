"""Which ways up the sensor lay, and which are missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handcap.geometry import Array

# The axis that points up, imu axes: x forward, y left, z up.
FACES: dict[str, Array] = {
    "z_up": np.array([0.0, 0.0, 1.0]),
    "z_down": np.array([0.0, 0.0, -1.0]),
    "y_up": np.array([0.0, 1.0, 0.0]),
    "y_down": np.array([0.0, -1.0, 0.0]),
    "x_up": np.array([1.0, 0.0, 0.0]),
    "x_down": np.array([-1.0, 0.0, 0.0]),
}


def missing_faces(up: Array, within_rad: float) -> Sequence[str]:
    """Names of the six faces that no rest comes near.

    Args:
        up: (k, 3) unit, upward direction in imu axes at each rest.
        within_rad: how near is near.
    """
    nearest = {name: float(np.max(up @ face, initial=-1.0)) for name, face in FACES.items()}
    return [name for name, cosine in nearest.items() if cosine < np.cos(within_rad)]


def count_distinct(up: Array, apart_rad: float) -> int:
    """How many of the directions (k, 3) are at least `apart_rad` from all counted before."""
    counted: list[Array] = []
    for each in up:
        if all(float(each @ other) < np.cos(apart_rad) for other in counted):
            counted.append(each)
    return len(counted)
