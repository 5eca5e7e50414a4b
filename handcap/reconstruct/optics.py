"""The cameras of one device, taken as one: observations of any of them side by side in one array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.geometry import Array, inverse
from handcap.types import MountedCamera

Which = NDArray[np.int64]  # (k,) index of the camera that each row belongs to


@dataclass(frozen=True, eq=False, slots=True)
class Optics:
    """Cameras fixed to each other; the first one's pose places them all.

    Attributes:
        cameras: their lenses.
        T_first_cam: (c, 4, 4).
    """

    cameras: tuple[Camera, ...]
    T_first_cam: Array

    @classmethod
    def of(cls, camera: Camera | Optics) -> Optics:
        """One camera alone, unless it is several already."""
        return camera if isinstance(camera, Optics) else cls((camera,), np.eye(4)[None])

    @classmethod
    def mounted(cls, mounts: Sequence[MountedCamera]) -> Optics:
        """Of cameras mounted on one device."""
        T_first_imu = inverse(mounts[0].T_imu_cam)
        return cls(tuple(m.camera for m in mounts), np.array([T_first_imu @ m.T_imu_cam for m in mounts]))

    def poses(self, T_world_first: Array, which: Which) -> Array:
        """(k, 4, 4) T_world_cam of the cameras `which` when the first is at `T_world_first` (k, 4, 4)."""
        return T_world_first if len(self.cameras) == 1 else T_world_first @ self.T_first_cam[which]

    def project(self, p_cam: Array, which: Which) -> tuple[Array, NDArray[np.bool_]]:
        """As `Camera.project`, of points (k, 3), each in its own camera's axes."""
        pixel, valid = np.empty((len(p_cam), 2)), np.empty(len(p_cam), bool)
        for camera, rows in self._each(which):
            pixel[rows], valid[rows] = camera.project(p_cam[rows])
        return pixel, valid

    def derivative(self, p_cam: Array, which: Which) -> Array:
        """As `Camera.derivative`, (k, 2, 3)."""
        out = np.empty((len(p_cam), 2, 3))
        for camera, rows in self._each(which):
            out[rows] = camera.derivative(p_cam[rows])
        return out

    def unproject(self, pixel: Array, which: Which) -> tuple[Array, NDArray[np.bool_]]:
        """As `Camera.unproject`, of pixels (k, 2), each of its own camera."""
        ray, valid = np.empty((len(pixel), 3)), np.empty(len(pixel), bool)
        for camera, rows in self._each(which):
            ray[rows], valid[rows] = camera.unproject(pixel[rows])
        return ray, valid

    def in_picture(self, pixel: Array, which: Which, border_px: float = 0.0) -> NDArray[np.bool_]:
        """As `Camera.in_picture`."""
        out = np.empty(len(pixel), bool)
        for camera, rows in self._each(which):
            out[rows] = camera.in_picture(pixel[rows], border_px)
        return out

    def _each(self, which: Which) -> Iterator[tuple[Camera, NDArray[np.bool_] | slice]]:
        if len(self.cameras) == 1:
            yield self.cameras[0], slice(None)
            return
        for k, camera in enumerate(self.cameras):
            yield camera, which == k
