"""What one picture shows of a hand, and what pictures of one moment show together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from handcap.geometry import Array, inverse
from handcap.reconstruct.hands.fit import PALM, Views
from handcap.reconstruct.hands.triangulate import misses_rad, triangulated
from handcap.types import MountedCamera, Side

_LEAST_MEASURED = 3  # joints of the palm
_UNSURE, _SURE, _LEAST_TRUST = 0.4, 0.95, 0.3  # presence at which a sighting is worth nothing, and all


@dataclass(frozen=True, eq=False, slots=True)
class Sighting:
    """One hand in one picture.

    Attributes:
        rays_cam: (21, 3) unit, camera axes.
        relative_cam_m: (21, 3) shape, camera axes.
        right: belief that it is a right hand, 0..1.
        presence: belief that it is a hand, 0..1.
        skin_m: (21,) along the rays, as far as the skin is or what hides it; NaN where no other camera says.
    """

    rays_cam: Array
    relative_cam_m: Array
    right: float
    presence: float
    skin_m: Array = field(default_factory=lambda: np.full(21, np.nan))

    def belief(self, side: Side) -> float:
        """That it is a hand of this side, 0..1."""
        return self.right if side == "right" else 1 - self.right

    @property
    def measured(self) -> bool:
        """Whether another camera's picture says how far the palm is."""
        return bool(np.isfinite(self.skin_m[PALM]).sum() >= _LEAST_MEASURED)


def views_of(seen: Sequence[Mapping[str, Sighting]], mounts: Mapping[str, MountedCamera]) -> Views:
    """Rays and shapes of several moments, by camera, in the IMU's axes."""
    cameras = list(mounts)
    shape = (len(seen), len(cameras), 21, 3)
    rays, relative_m = np.tile([0.0, 0.0, 1.0], (*shape[:3], 1)), np.zeros(shape)
    skin_m, trust = np.full(shape[:3], np.nan), np.ones(shape[:2])
    for i, row in enumerate(seen):
        for camera, sighting in row.items():
            v, R = cameras.index(camera), mounts[camera].T_imu_cam[:3, :3]
            rays[i, v], relative_m[i, v] = sighting.rays_cam @ R.T, sighting.relative_cam_m @ R.T
            skin_m[i, v] = sighting.skin_m
            trust[i, v] = np.clip((sighting.presence - _UNSURE) / (_SURE - _UNSURE), _LEAST_TRUST, 1.0) ** 2
    present = np.array([[camera in row for camera in cameras] for row in seen], bool)
    return Views(np.array([mounts[c].T_imu_cam[:3, 3] for c in cameras]), rays, relative_m, present, skin_m, trust)


def agree(row: Mapping[str, Sighting], mounts: Mapping[str, MountedCamera], most_miss_rad: float) -> bool:
    """Whether the first two views can be of one hand: their rays meet, before both cameras."""
    (one, a), (other, b) = list(row.items())[:2]
    T_a_b = inverse(mounts[one].T_imu_cam) @ mounts[other].T_imu_cam
    met = np.isfinite(triangulated(T_a_b, a.rays_cam, b.rays_cam)).all(axis=1)
    return bool(met.mean() > 0.7 and np.median(misses_rad(T_a_b, a.rays_cam, b.rays_cam)) < most_miss_rad)
