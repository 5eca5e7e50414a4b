"""Virtual pinholes: a piece of any lens's picture as an undistorted one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.geometry import Array, looking_along, so3_exp

_GRID = 8  # px between exactly mapped points; a lens bends little between them
_PALM = np.array([0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18])  # joints that span the palm, as MediaPipe has it
_PALM_SHARE = 0.5  # of the picture that the palm spans
_FINGERS_SHARE = 0.1  # of the palm by which the picture's middle lies towards the fingers
_MOST_TAN = 1.0  # half a picture


@dataclass(frozen=True, eq=False, slots=True)
class VirtualView:
    """A square pinhole picture out of a camera's.

    Attributes:
        R_cam_view: (3, 3).
        focal_px, size_px: of the virtual picture; its centre is ((size - 1) / 2, the same).
        middle: what its centre shows, on the plane at unit distance; (0, 0) is the axis.
    """

    R_cam_view: Array
    focal_px: float
    size_px: int
    middle: tuple[float, float] = (0.0, 0.0)

    @staticmethod
    def towards(ray_cam: Array, half_rad: float, size_px: int) -> VirtualView:
        """Looks along a ray (3,), upright as the camera is, `half_rad` to every side."""
        return VirtualView(looking_along(ray_cam), size_px / 2 / np.tan(half_rad), size_px)

    @staticmethod
    def upright(rays_cam: Array, size_px: int) -> VirtualView:
        """Looks at a hand (21, 3) as the landmark network was trained to see one: wrist below, palm filling half.

        The region is MediaPipe's (Zhang et al. 2020, "MediaPipe Hands"), laid on the sphere of rays.
        """
        level = VirtualView.towards(rays_cam.mean(axis=0), 0.5, size_px)
        xy = level.flat(rays_cam)
        up = (xy[5] + xy[13]) / 4 + xy[9] / 2 - xy[0]
        turn = np.arctan2(up[0], -up[1])
        R = level.R_cam_view @ so3_exp([0.0, 0.0, float(turn)])
        palm = VirtualView(R, 1.0, size_px).flat(rays_cam)[_PALM]
        low, high = palm.min(axis=0), palm.max(axis=0)
        middle = (low + high) / 2 - [0, _FINGERS_SHARE * (high - low)[1]]
        z: Array = R @ np.array([middle[0], middle[1], 1.0])
        z /= np.linalg.norm(z)
        x = np.cross(R[:, 1], z)
        x /= np.linalg.norm(x)
        half_tan = min(float((high - low).max()) / 2 / _PALM_SHARE, _MOST_TAN)
        return VirtualView(np.stack([x, np.cross(z, x), z], axis=1), size_px / 2 / half_tan, size_px)

    def turned(self, angle_rad: float) -> VirtualView:
        """The same about its axis."""
        return replace(self, R_cam_view=self.R_cam_view @ so3_exp([0.0, 0.0, angle_rad]))

    def wider(self, times: float) -> VirtualView:
        """The same of a wider piece."""
        return replace(self, focal_px=self.focal_px / times)

    def flat(self, rays_cam: Array) -> Array:
        """(..., 2) rays (..., 3) at unit distance along the axis; those beside or behind lie far out."""
        p = rays_cam @ self.R_cam_view
        return p[..., :2] / np.maximum(p[..., 2:], 0.1)

    def rays_cam(self, pixel: Array) -> Array:
        """(..., 3) unit rays of virtual pixels (..., 2)."""
        xy = (pixel - (self.size_px - 1) / 2) / self.focal_px + self.middle
        ray = np.concatenate([xy, np.ones_like(xy[..., :1])], axis=-1) @ self.R_cam_view.T
        return ray / np.linalg.norm(ray, axis=-1, keepdims=True)

    def near(self, other: VirtualView) -> bool:
        """Whether the other shows the same: middle within a tenth, size within a fifth, turned by less than 15°."""
        middle = float(np.linalg.norm(self.flat(other.R_cam_view[:, 2]))) * self.focal_px / self.size_px
        turn = float(np.dot(self.R_cam_view[:, 1], other.R_cam_view[:, 1]))
        return middle < 0.1 and abs(np.log(other.focal_px / self.focal_px)) < 0.2 and turn > np.cos(np.deg2rad(15))

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
