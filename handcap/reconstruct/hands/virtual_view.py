"""Virtual pinholes: a piece of any lens's picture as an undistorted one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.geometry import Array

_GRID = 8  # px between exactly mapped points; a lens bends little between them


@dataclass(frozen=True, eq=False, slots=True)
class VirtualView:
    """A square pinhole picture out of a camera's.

    Attributes:
        R_cam_view: (3, 3).
        focal_px, size_px: of the virtual picture; its centre is ((size - 1) / 2, the same).
    """

    R_cam_view: Array
    focal_px: float
    size_px: int

    @staticmethod
    def towards(ray_cam: Array, half_rad: float, size_px: int) -> VirtualView:
        """Looks along a ray (3,), upright as the camera is, `half_rad` to every side."""
        z = ray_cam / np.linalg.norm(ray_cam)
        x = np.cross([0.0, 1.0, 0.0], z)
        x /= np.linalg.norm(x)
        return VirtualView(np.stack([x, np.cross(z, x), z], axis=1), size_px / 2 / np.tan(half_rad), size_px)

    def rays_cam(self, pixel: Array) -> Array:
        """(..., 3) unit rays of virtual pixels (..., 2)."""
        xy = (pixel - (self.size_px - 1) / 2) / self.focal_px
        ray = np.concatenate([xy, np.ones_like(xy[..., :1])], axis=-1) @ self.R_cam_view.T
        return ray / np.linalg.norm(ray, axis=-1, keepdims=True)

    def cut(self, picture: NDArray[Any], camera: Camera) -> NDArray[Any]:
        """The virtual picture; black where the camera's has nothing."""
        import cv2

        steps = self.size_px // _GRID + 1
        at = np.arange(steps) * float(_GRID)
        pixel, valid = camera.project(self.rays_cam(np.asarray(np.stack(np.meshgrid(at, at), axis=-1), float)))
        coarse = np.where(valid[..., None], pixel, -1e4).astype(np.float32)
        every = np.arange(self.size_px, dtype=np.float32) / _GRID
        column, row = np.meshgrid(every, every)
        fine = cv2.remap(coarse, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return cv2.remap(picture, fine[..., 0], fine[..., 1], cv2.INTER_LINEAR)
