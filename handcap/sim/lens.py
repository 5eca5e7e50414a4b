"""Where every pixel of a camera looks: rays through it, and blocks of pixels that look the same way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.geometry import Array

# Five rooks: no two share a row or column of the 5×5 grid inside the pixel, so that an edge of any slope covers it in
# even steps. The first is the centre.
SUBPIXELS = np.array([(0, 0), (-2, -1), (-1, 2), (1, -2), (2, 1)]) / 5
_BLOCK_PX, _BLOCK_SLACK_RAD = 16, 0.01  # a ray may lie half a pixel beside the pixel's middle


class Lens:
    """Ray directions of every pixel of a camera, worked out once.

    Attributes:
        rook_cam: (h·w, 1, 3) float32 unit rays through each of five points spread over the pixel, its centre first.
        around_cam: (h·w, 4, 3) the four that are not the centre.
        coarse: (h·w / 4,) every second pixel of every second row.
        pixel_rad: (h·w,) float32 angle one pixel spans; 0 outside the lens field, where the picture is black.
        focal_px: pixels per radian on the axis.
    """

    def __init__(self, camera: Camera) -> None:
        self.width, self.height = camera.width, camera.height
        v, u = np.mgrid[: camera.height, : camera.width].astype(float)
        centres = np.stack([u, v], axis=-1).reshape(-1, 2)
        subs = [camera.unproject(centres + offset) for offset in SUBPIXELS]
        right, below = (camera.unproject(centres + offset)[0] for offset in ([0.5, 0.0], [0.0, 0.5]))
        span = np.linalg.norm(np.cross(right - subs[0][0], below - subs[0][0]), axis=-1)
        valid = np.all([ok for _, ok in subs], axis=0)
        self.coarse = np.flatnonzero(((u % 2 == 0) & (v % 2 == 0)).reshape(-1))
        rays_cam = np.stack([rays for rays, _ in subs], axis=1).astype(np.float32)
        self.rook_cam = [np.ascontiguousarray(rays_cam[:, k : k + 1]) for k in range(len(SUBPIXELS))]
        self.around_cam = np.ascontiguousarray(rays_cam[:, 1:])
        self._blocks, self._block_axis, self._block_rad = _blocks(
            np.nan_to_num(rays_cam[:, 0]), camera.width, camera.height
        )
        self.pixel_rad = np.where(valid, 2 * np.sqrt(span), 0.0).astype(np.float32)
        self.focal_px = float(camera.focal_px.mean())

    def towards(self, axis_cam: Array, cosine: float) -> NDArray[np.int64]:
        """Rows of `coarse` (m,), whole blocks of pixels, among which are all that look into a cone."""
        apart = np.arccos(np.clip(self._block_axis @ axis_cam, -1, 1))
        near = np.flatnonzero(apart <= np.arccos(np.clip(cosine, -1, 1)) + self._block_rad)
        return np.concatenate([self._blocks[k] for k in near]) if len(near) else self.coarse[:0]


def _blocks(rays_cam: NDArray[np.float32], width: int, height: int) -> tuple[list[NDArray[np.int64]], Array, Array]:
    """Coarse pixels in each square of _BLOCK_PX, a direction (n, 3) in its middle, and how far (n,) others look."""
    number = np.arange(width * height).reshape(height, width)
    squares = [
        number[v : v + _BLOCK_PX, u : u + _BLOCK_PX].reshape(-1)
        for v in range(0, height, _BLOCK_PX)
        for u in range(0, width, _BLOCK_PX)
    ]
    axes = [rays_cam[square].mean(axis=0, dtype=float) for square in squares]
    axes = [axis / max(float(np.linalg.norm(axis)), 1e-9) for axis in axes]
    reach = [
        float(np.arccos(np.clip(rays_cam[square] @ axis, -1, 1)).max()) + _BLOCK_SLACK_RAD
        for square, axis in zip(squares, axes, strict=True)
    ]
    coarse = (np.indices((height, width)) % 2 == 0).all(axis=0).reshape(-1)
    row = np.cumsum(coarse) - 1
    return [row[square[coarse[square]]] for square in squares], np.array(axes), np.array(reach)
