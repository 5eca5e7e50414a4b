"""Scene, lens and shutter to a picture.

Open3D finds which surface each ray meets; a compiled kernel intersects the ray with that surface's plane in double
precision and filters its texture over the pixel's footprint. Pixels that straddle a visible edge are sampled again. A
moving body is met in its own frame: the rays go there, row by row, as the shutter does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap import geometry
from handcap.geometry import Array
from handcap.sim import kernel
from handcap.sim.lens import SUBPIXELS, Lens
from handcap.sim.light import LightMap, Occlusion, light_at
from handcap.sim.once import once
from handcap.sim.scene import Scene

_SHARP_PX = 0.7  # less motion during the exposure does not show
_BLUR_STEP_PX = 2.0  # one moment of the exposure for every so many pixels of motion ...
_MOMENTS = (4, 5, 8, 10)  # ... but a number of them whose places inside the pixel average to its centre
_ROOKS = {4: (1, 3, 2, 4), 5: (1, 3, 0, 2, 4)}
_SKIN_M = 1e-5  # a ray along a face is a ray into the box
_NEAR_M = 0.4  # blur is judged for things this far away

PoseAt = Callable[[Array], Array]  # (n,) s to (n, 4, 4)


@dataclass(frozen=True, slots=True)
class Shutter:
    """When the light of one picture is gathered.

    Attributes:
        t_s: mid-exposure of the middle between first and last row.
        line_delay_s: from one row to the next; 0 for a global shutter.
        exposure_s: how long each row gathers light.
    """

    t_s: float
    line_delay_s: float = 0.0
    exposure_s: float = 0.0

    def row_times(self, height: int, share: float = 0.0) -> Array:
        """When each row is in the middle of its exposure, or `share` (-0.5..0.5) of it later; one time if all agree."""
        t_s = self.t_s + share * self.exposure_s
        if not self.line_delay_s:
            return np.array([t_s])
        return t_s + (np.arange(height, dtype=float) - (height - 1) / 2) * self.line_delay_s


@dataclass(frozen=True, eq=False, slots=True)
class Skin:
    """A bending mesh as it is in the middle of the exposure; its frame may move during it.

    Attributes:
        T_room_mesh: pose over time.
        vertices, normals: (v, 3) float32, mesh frame.
        triangles: (k, 3) uint32.
        albedo: (v, 3) float32 RGB, 0..255.
        occlusion: (v,) float32 share of light that the mesh's own shape lets through.
    """

    T_room_mesh: PoseAt
    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    triangles: NDArray[np.uint32]
    albedo: NDArray[np.float32]
    occlusion: NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Shot:
    """Everything that one picture depends on besides scene and lens.

    Attributes:
        shutter: when.
        T_room_cam: the camera over time.
        T_room_body: every moving body of the scene over time, by name; one that is missing is not there.
        skins: hands.
    """

    shutter: Shutter
    T_room_cam: PoseAt
    T_room_body: Mapping[str, PoseAt] = field(default_factory=dict)
    skins: Sequence[Skin] = ()


def still(T_room_body: Array) -> PoseAt:
    """A pose that does not change."""
    return lambda t_s: np.broadcast_to(T_room_body, (len(t_s), 4, 4))


@dataclass(frozen=True, eq=False, slots=True)
class _Bounds:
    """Where a mesh is, its frame: within `radius` of `centre` and between the corners `low` and `high` (3,)."""

    centre: Array
    radius: float
    low: Array
    high: Array


@dataclass(frozen=True, eq=False, slots=True)
class _Mover:
    """A moving body or skin at one moment of the exposure.

    Attributes:
        caster: its triangles.
        R_cam, centre: (1 or h, 3, 3) and (1 or h, 3) the camera's pose in its frame at every row.
        axis_cam, cosine: a cone around it, camera frame.
        bounds: of its triangles.
        surface: of each triangle, or the one number of a skin.
    """

    caster: Any
    R_cam: Array
    centre: Array
    axis_cam: Array
    cosine: float
    bounds: _Bounds
    surface: NDArray[np.int32] | int


@dataclass(frozen=True, eq=False, slots=True)
class _Hits:
    """What rays meet: (m,) surface, ray in the frame of what it meets (m, 6), distance; on skins, where in the mesh."""

    surface: NDArray[np.int32]
    rays: NDArray[np.float32]
    depth: NDArray[np.float32]
    triangle: NDArray[np.int32]
    corner_share: NDArray[np.float32]

    def at(self, rows: NDArray[np.int64]) -> _Hits:
        """Some of them."""
        return _Hits(*(getattr(self, each.name)[rows] for each in fields(self)))

    def beside(self, others: _Hits) -> _Hits:
        """Each of these followed by its share of the others, which are a multiple in number."""

        def joined(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
            rows, each = len(one), one.shape[1:]
            n = len(other) // max(rows, 1)
            pair = (one.reshape(rows, 1, *each), other.reshape(rows, n, *each))
            return np.concatenate(pair, axis=1).reshape(rows * (n + 1), *each)

        return _Hits(*(joined(getattr(self, each.name), getattr(others, each.name)) for each in fields(self)))


class Renderer:
    """One scene, ready for many pictures; `render` may be called from several threads at once."""

    def __init__(self, scene: Scene, light: LightMap) -> None:
        import open3d as o3d

        self._tensor: Any = o3d.core.Tensor  # its type stubs know no numpy arrays
        self._new_caster: Any = o3d.t.geometry.RaycastingScene
        self._scene = scene
        self._casters = [self._caster(body.vertices, body.triangles) for body in scene.bodies]
        self._surface_of = [np.append(body.surface_of, np.int32(-1)) for body in scene.bodies]
        self._bounds = [_bounds(body.vertices) for body in scene.bodies]
        self._index = {body.name: k for k, body in enumerate(scene.bodies)}
        self._skin_caster = once(self._cast_skin)
        self._skin_bounds = once(_bounds_of_skin)
        self._shade = Occlusion(scene.bodies[0].vertices, scene.bodies[0].triangles)
        # Most things stand still: what is felt at a place is remembered.
        self._light_at = once(self._felt, remember=256)
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
            scene.body_of,
        )

    def _caster(self, vertices: NDArray[np.float32], triangles: NDArray[np.uint32]) -> Any:
        caster = self._new_caster()
        caster.add_triangles(self._tensor(np.ascontiguousarray(vertices)), self._tensor(triangles))
        return caster

    def _felt(self, place_room: tuple[float, ...]) -> Array:
        return light_at(self._scene.lights, self._shade, np.array(place_room))

    def _cast_skin(self, skin: Skin) -> Any:
        return self._caster(skin.vertices, skin.triangles)

    def render(self, lens: Lens, shot: Shot) -> NDArray[np.float32]:
        """Picture (h, w, 3) float32 RGB, 0..255 where lit fully, without noise."""
        skins = [self._skin_caster(skin) for skin in shot.skins]
        light, skin_light = self._light(shot)
        moments = self._moments(lens, shot)
        if moments == 1:
            return self._moment(lens, shot, skins, light, skin_light, 0.0, None).reshape(lens.height, lens.width, 3)
        rooks = _ROOKS[moments if moments in _ROOKS else moments // 2]
        picture = np.zeros((lens.height * lens.width, 3), np.float32)
        for k in range(moments):
            share = (k + 0.5) / moments - 0.5
            picture += self._moment(lens, shot, skins, light, skin_light, share, rooks[k % len(rooks)])
        return (picture / np.float32(moments)).reshape(lens.height, lens.width, 3)

    def depth(self, lens: Lens, shot: Shot) -> NDArray[np.float32]:
        """Depth (h, w) float32 along the camera's z axis in mid-exposure, m; NaN where nothing is seen."""
        skins = [self._skin_caster(skin) for skin in shot.skins]
        T_room_cam, movers = self._placed(lens, shot, skins, 0.0)
        rays = kernel.place_rays(lens.rook_cam[0], lens.every, lens.width, *_split(T_room_cam))
        hits = self._with_movers(lens, lens.rook_cam[0], lens.every, self._visible(rays, lens), rays, movers)
        z = hits.depth * lens.rook_cam[0][:, 0, 2]
        seen = (hits.surface >= 0) & (lens.pixel_rad > 0)
        return np.where(seen, z, np.float32(np.nan)).reshape(lens.height, lens.width)

    def _light(self, shot: Shot) -> tuple[Array, list[Array]]:
        """(bodies, 4) light around every body and (4,) around every skin, each in its own frame."""

        def around(pose: PoseAt, centre: Array) -> Array:
            T = pose(np.array([shot.shutter.t_s]))[0]
            light = self._light_at(tuple(geometry.transform(T, centre).tolist()))
            return np.concatenate([light[:1], T[:3, :3].T @ light[1:]])

        light = np.zeros((len(self._casters), 4))
        light[0, 0] = 1.0
        for name, pose in shot.T_room_body.items():
            light[self._index[name]] = around(pose, self._bounds[self._index[name]].centre)
        return light, [around(skin.T_room_mesh, self._skin_bounds(skin).centre) for skin in shot.skins]

    def _moments(self, lens: Lens, shot: Shot) -> int:
        """Into how many moments the exposure must be cut."""
        if shot.shutter.exposure_s == 0:
            return 1
        ends = [shot.shutter.row_times(lens.height, share)[[0, -1]] for share in (-0.5, 0.5)]
        T_cam_room = [geometry.inverse(shot.T_room_cam(t_s)) for t_s in ends]
        step = T_cam_room[0] @ geometry.inverse(T_cam_room[1])
        turned = np.linalg.norm(geometry.so3_log(step[:, :3, :3]), axis=-1)
        angles = [turned + np.linalg.norm(step[:, :3, 3], axis=-1) / _NEAR_M]
        bodies = [(pose, self._bounds[self._index[name]].centre) for name, pose in shot.T_room_body.items()]
        bodies += [(skin.T_room_mesh, self._skin_bounds(skin).centre) for skin in shot.skins]
        for pose, centre in bodies:
            seen = [geometry.transform(T @ pose(t_s), centre) for T, t_s in zip(T_cam_room, ends, strict=True)]
            angles.append(_angle(*seen))
        px = lens.focal_px * float(np.max(angles))
        if px < _SHARP_PX:
            return 1
        return next((n for n in _MOMENTS if n * _BLUR_STEP_PX >= px), _MOMENTS[-1])

    def _placed(self, lens: Lens, shot: Shot, skins: Sequence[Any], share: float) -> tuple[Array, list[_Mover]]:
        """The camera in the room and everything that moves, at one moment of the exposure."""
        t_s = shot.shutter.row_times(lens.height, share)
        T_room_cam = np.ascontiguousarray(shot.T_room_cam(t_s))
        movers: list[_Mover] = []
        first_skin = len(self._scene.origin)
        things = [
            (
                self._casters[self._index[name]],
                pose,
                self._bounds[self._index[name]],
                self._surface_of[self._index[name]],
            )
            for name, pose in shot.T_room_body.items()
        ]
        things += [
            (caster, skin.T_room_mesh, self._skin_bounds(skin), first_skin + k)
            for k, (caster, skin) in enumerate(zip(skins, shot.skins, strict=True))
        ]
        for caster, pose, bounds, surface in things:
            T_body_cam = geometry.inverse(pose(t_s)) @ T_room_cam
            p_cam = geometry.transform(geometry.inverse(T_body_cam), bounds.centre)
            distance = np.linalg.norm(p_cam, axis=-1)
            axis = p_cam.mean(axis=0) / max(float(np.linalg.norm(p_cam.mean(axis=0))), 1e-9)
            cosine = -1.0
            if distance.min() > bounds.radius:
                # Between the rows the body wanders in the picture: the cone holds all of its places.
                apart = np.arccos(np.clip(p_cam @ axis / distance, -1, 1)) + np.arcsin(bounds.radius / distance)
                cosine = float(np.cos(min(apart.max() + 0.01, np.pi)))
            movers.append(_Mover(caster, *_split(T_body_cam), axis, cosine, bounds, surface))
        return T_room_cam, movers

    def _surfaces(self, rays: NDArray[np.float32]) -> NDArray[np.int32]:
        """Which surface of the room (m,) each ray (m, 6) meets; -1 for none."""
        hit = self._casters[0].cast_rays(self._tensor(rays))["primitive_ids"].numpy()
        return self._surface_of[0].take(hit, mode="clip")

    def _visible(self, rays: NDArray[np.float32], lens: Lens) -> NDArray[np.int32]:
        """Surface (h·w,) behind every pixel: half of them cast, the others only where their neighbours disagree."""
        surface = np.empty(len(rays), np.int32)
        surface[lens.even] = self._surfaces(kernel.picked(rays, lens.even))
        between = kernel.fill_between(surface, lens.width)
        surface[between] = self._surfaces(kernel.picked(rays, between))
        return surface

    def _with_movers(
        self,
        lens: Lens,
        ray_cam: NDArray[np.float32],
        pixel: NDArray[np.int64],
        surface: NDArray[np.int32],
        rays: NDArray[np.float32],
        movers: Sequence[_Mover],
    ) -> _Hits:
        """Put what moves before the room.

        Args:
            lens: camera.
            ray_cam: (h·w, n, 3) n rays a pixel; one where all pixels are meant.
            pixel: (m,) which pixels.
            surface, rays: (m·n,) and (m·n, 6) the room as those rays see it; changed in place.
            movers: what may stand before it.
        """
        depth = kernel.plane_depth(rays, surface, self._scene.origin, self._scene.normal)
        triangle, corner_share = np.zeros(len(rays), np.int32), np.zeros((len(rays), 2), np.float32)
        for mover in movers:
            some = lens.towards(mover.axis_cam, mover.cosine) if pixel is lens.every else pixel
            at, there = kernel.rays_into_box(
                ray_cam,
                some,
                lens.pixel_rad,
                lens.width,
                mover.R_cam,
                mover.centre,
                mover.axis_cam,
                mover.cosine,
                mover.bounds.low,
                mover.bounds.high,
            )
            if not len(at):
                continue
            if pixel is lens.every:
                at = some[at]  # one ray a pixel
            met = mover.caster.cast_rays(self._tensor(there))
            distance = met["t_hit"].numpy()
            nearer = np.flatnonzero(distance < depth[at])
            where, hit = at[nearer], met["primitive_ids"].numpy()[nearer]
            surface[where] = mover.surface if isinstance(mover.surface, int) else mover.surface[hit]
            rays[where], depth[where] = there[nearer], distance[nearer]
            triangle[where], corner_share[where] = hit, met["primitive_uvs"].numpy()[nearer]
        return _Hits(surface, rays, depth, triangle, corner_share)

    def _shaded(
        self,
        hits: _Hits,
        pixel_rad: NDArray[np.float32],
        light: Array,
        skins: Sequence[Skin],
        skin_light: Sequence[Array],
    ) -> NDArray[np.float32]:
        colour = np.empty((len(hits.rays), 3), np.float32)
        kernel.shade(hits.rays, hits.surface, pixel_rad, *self._tables, light, colour)
        for k, (skin, around) in enumerate(zip(skins, skin_light, strict=True)):
            at = np.flatnonzero(hits.surface == len(self._scene.origin) + k)
            out = np.empty((len(at), 3), np.float32)
            mesh = (skin.triangles, skin.normals, skin.albedo, skin.occlusion)
            rays = kernel.picked(hits.rays, at)
            kernel.shade_skin(rays, hits.triangle[at], hits.corner_share[at], *mesh, around, out)
            colour[at] = out
        return colour

    def _moment(
        self,
        lens: Lens,
        shot: Shot,
        skins: Sequence[Any],
        light: Array,
        skin_light: Sequence[Array],
        share: float,
        rook: int | None,
    ) -> NDArray[np.float32]:
        """(h·w, 3) light at one moment, through one rook of every pixel; without, through all on visible edges."""
        T_room_cam, movers = self._placed(lens, shot, skins, share)
        in_room = _split(T_room_cam)
        ray_cam = lens.rook_cam[rook or 0]
        rays = kernel.place_rays(ray_cam, lens.every, lens.width, *in_room)
        hits = self._with_movers(lens, ray_cam, lens.every, self._visible(rays, lens), rays, movers)
        if rook is not None:
            return self._shaded(hits, lens.pixel_rad, light, shot.skins, skin_light)
        group = self._groups(len(skins))
        edge = np.flatnonzero(kernel.on_edge(hits.surface, group, lens.height, lens.width) & (lens.pixel_rad > 0))
        centres = hits.at(edge)
        hits.surface[edge] = -1  # left black, they are filled in below
        picture = self._shaded(hits, lens.pixel_rad, light, shot.skins, skin_light)
        around = kernel.place_rays(lens.around_cam, edge, lens.width, *in_room)
        spread = self._with_movers(lens, lens.around_cam, edge, self._surfaces(around), around, movers)
        rooks = centres.beside(spread)
        rays, surface, pixel, part, source = kernel.gather(rooks.rays, rooks.surface, len(SUBPIXELS))
        seen = _Hits(surface, rays, rooks.depth[source], rooks.triangle[source], rooks.corner_share[source])
        colour = self._shaded(seen, lens.pixel_rad[edge[pixel]], light, shot.skins, skin_light)
        kernel.scatter(colour, pixel, part, edge, picture)
        return picture

    def _groups(self, skins: int) -> NDArray[np.int32]:
        """Smooth group of every surface, then of every skin, then of nothing (index -1)."""
        highest = int(self._scene.smooth_group.max()) + 1
        return np.concatenate([self._scene.smooth_group, highest + np.arange(skins), [-1]]).astype(np.int32)


def _split(T: Array) -> tuple[Array, Array]:
    return np.ascontiguousarray(T[:, :3, :3]), np.ascontiguousarray(T[:, :3, 3])


def _bounds(vertices: NDArray[np.float32]) -> _Bounds:
    low, high = vertices.min(axis=0).astype(float) - _SKIN_M, vertices.max(axis=0).astype(float) + _SKIN_M
    centre = (low + high) / 2
    return _Bounds(centre, float(np.linalg.norm(vertices - centre, axis=-1).max()), low, high)


def _bounds_of_skin(skin: Skin) -> _Bounds:
    return _bounds(skin.vertices)


def _angle(a: Array, b: Array) -> Array:
    """(n,) rad between vectors (n, 3)."""
    return np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, axis=-1))
