"""What one picture shows of a hand, and what pictures of one moment show together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from handcap.geometry import Array, inverse
from handcap.reconstruct.hands.fit import Views
from handcap.reconstruct.hands.triangulate import misses_rad, triangulated
from handcap.types import MountedCamera


@dataclass(frozen=True, eq=False, slots=True)
class Sighting:
    """One hand in one picture.

    Attributes:
        rays_cam: (21, 3) unit, camera axes.
        relative_cam_m: (21, 3) shape, camera axes.
        right: belief that it is a right hand, 0..1.
        presence: belief that it is a hand, 0..1.
    """

    rays_cam: Array
    relative_cam_m: Array
    right: float
    presence: float


def views_of(seen: Sequence[Mapping[str, Sighting]], mounts: Mapping[str, MountedCamera]) -> Views:
    """Rays and shapes of several moments, by camera, in the IMU's axes."""
    cameras = list(mounts)
    shape = (len(seen), len(cameras), 21, 3)
    rays, relative_m = np.tile([0.0, 0.0, 1.0], (*shape[:3], 1)), np.zeros(shape)
    for i, row in enumerate(seen):
        for camera, sighting in row.items():
            v, R = cameras.index(camera), mounts[camera].T_imu_cam[:3, :3]
            rays[i, v], relative_m[i, v] = sighting.rays_cam @ R.T, sighting.relative_cam_m @ R.T
    present = np.array([[camera in row for camera in cameras] for row in seen], bool)
    return Views(np.array([mounts[c].T_imu_cam[:3, 3] for c in cameras]), rays, relative_m, present)


def agree(row: Mapping[str, Sighting], mounts: Mapping[str, MountedCamera], most_miss_rad: float) -> bool:
    """Whether the first two views can be of one hand: their rays meet, before both cameras."""
    (one, a), (other, b) = list(row.items())[:2]
    T_a_b = inverse(mounts[one].T_imu_cam) @ mounts[other].T_imu_cam
    met = np.isfinite(triangulated(T_a_b, a.rays_cam, b.rays_cam)).all(axis=1)
    return bool(met.mean() > 0.7 and np.median(misses_rad(T_a_b, a.rays_cam, b.rays_cam)) < most_miss_rad)
