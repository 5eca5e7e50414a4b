"""Scene, lens and pose to a picture.

Open3D finds which surface each ray meets; a compiled kernel intersects the ray with that surface's plane in double
precision and filters its texture over the pixel's footprint. Pixels that straddle a visible edge are sampled again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.geometry import Array
from handcap.sim import kernel
from handcap.sim.light import LightMap
from handcap.sim.scene import Scene

# Five rooks: no two share a row or column of the 5×5 grid inside the pixel. The first is the centre, already cast.
_SUBPIXELS = np.array([(0, 0), (-2, -1), (-1, 2), (1, -2), (2, 1)]) / 5


class Lens:
    """Ray directions of every pixel of a camera, worked out once.

    Attributes:
        ray_cam: (h·w, 3) float32 unit rays through the pixel centres.
        subray_cam: (h·w, 5, 3) float32 unit rays through points spread over the pixel, its centre first.
        even: (h·w / 2,) pixels on the even fields of a checkerboard.
        pixel_rad: (h·w,) float32 angle one pixel spans; 0 outside the lens field, where the picture is black.
    """

    def __init__(self, camera: Camera) -> None:
        self.width, self.height = camera.width, camera.height
        v, u = np.mgrid[: camera.height, : camera.width].astype(float)
        centres = np.stack([u, v], axis=-1).reshape(-1, 2)
        ray_cam, valid = camera.unproject(centres)
        subs = [(ray_cam, valid), *(camera.unproject(centres + offset) for offset in _SUBPIXELS[1:])]
        right, below = (camera.unproject(centres + offset)[0] for offset in ([0.5, 0.0], [0.0, 0.5]))
        span = np.linalg.norm(np.cross(right - ray_cam, below - ray_cam), axis=-1)
        for _, sub_valid in subs:
            valid = valid & sub_valid
        self.even = np.flatnonzero((u + v).reshape(-1) % 2 == 0)
        self.ray_cam = ray_cam.astype(np.float32)
        self.subray_cam = np.stack([rays for rays, _ in subs], axis=1).astype(np.float32)
        self.pixel_rad = np.where(valid, 2 * np.sqrt(span), 0.0).astype(np.float32)


class Renderer:
    """One scene, ready for many pictures; `render` may be called from several threads at once."""

    def __init__(self, scene: Scene, light: LightMap) -> None:
        import open3d as o3d

        self._tensor: Any = o3d.core.Tensor  # its type stubs know no numpy arrays
        self._caster: Any = o3d.t.geometry.RaycastingScene()
        self._caster.add_triangles(self._tensor(scene.vertices), self._tensor(scene.triangles))
        self._surface_of = np.append(scene.surface_of, np.int32(-1))
        self._group = np.append(scene.smooth_group, np.int32(-1)).astype(np.int32)
        atlas = scene.atlas
        self._tables = (
            scene.origin,
            scene.axis_a,
            scene.axis_b,
            scene.normal,
            scene.size,
            scene.bend,
            scene.texture,
            scene.uv,
            atlas.texels,
            atlas.first,
            atlas.width,
            atlas.height,
            atlas.levels,
            atlas.texel_m,
            light.lumels,
            light.first,
            light.shape,
        )

    def _surfaces(self, rays: NDArray[np.float32]) -> NDArray[np.int32]:
        """Which surface (m,) each ray (m, 6) meets; -1 for none."""
        hit = self._caster.cast_rays(self._tensor(rays))["primitive_ids"].numpy()
        return self._surface_of[np.minimum(hit, len(self._surface_of) - 1)]

    def _visible(self, rays: NDArray[np.float32], lens: Lens) -> NDArray[np.int32]:
        """Surface (h·w,) behind every pixel: half of them cast, the others only where their neighbours disagree."""
        surface = np.empty(len(rays), np.int32)
        surface[lens.even] = self._surfaces(rays[lens.even])
        between = kernel.fill_between(surface, lens.width)
        surface[between] = self._surfaces(rays[between])
        return surface

    def render(self, lens: Lens, T_room_cam: Array) -> NDArray[np.float32]:
        """Picture (h, w, 3) float32 RGB, 0..255 where lit fully, without noise."""
        R, centre = np.ascontiguousarray(T_room_cam[:3, :3]), np.ascontiguousarray(T_room_cam[:3, 3])
        rays = kernel.place_rays(lens.ray_cam, R, centre)
        surface = self._visible(rays, lens)
        picture = np.empty((len(rays), 3), np.float32)
        kernel.shade(rays, surface, lens.pixel_rad, centre, *self._tables, picture)
        edge = np.flatnonzero(kernel.on_edge(surface, self._group, lens.height, lens.width) & (lens.pixel_rad > 0))
        if len(edge):
            n = lens.subray_cam.shape[1]
            subrays = kernel.place_rays(lens.subray_cam[edge].reshape(-1, 3), R, centre).reshape(-1, n, 6)
            around = self._surfaces(np.ascontiguousarray(subrays[:, 1:]).reshape(-1, 6)).reshape(-1, n - 1)
            subsurface = np.column_stack([surface[edge], around]).reshape(-1)
            rays, surface, pixel, share = kernel.gather(subrays.reshape(-1, 6), subsurface, n)
            colour = np.empty((len(rays), 3), np.float32)
            kernel.shade(rays, surface, lens.pixel_rad[edge[pixel]], centre, *self._tables, colour)
            kernel.scatter(colour, pixel, share, edge, picture)
        return picture.reshape(lens.height, lens.width, 3)
