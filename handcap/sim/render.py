"""Scene, lens and shutter to a picture.

Open3D finds which surface each ray meets; a compiled kernel intersects the ray with that surface's plane in double
precision and filters its texture over the pixel's footprint. Pixels that straddle a visible edge are sampled again. A
moving body is met in its own frame: the rays go there, row by row, as the shutter does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap import geometry
from handcap.geometry import Array
from handcap.sim import kernel, shade_kernel
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
        frame: which of the frames is its own.
        axis_cam, cosine: a cone around it, camera frame.
        bounds: of its triangles.
        surface: of each triangle, or the one number of a skin.
    """

    caster: Any
    frame: int
    axis_cam: Array
    cosine: float
    bounds: _Bounds
    surface: NDArray[np.int32] | int


@dataclass(frozen=True, eq=False, slots=True)
class _Placed:
    """Everything at one moment of the exposure.

    Attributes:
        R_cam, centre: (f, 1 or h, 3, 3) and (f, 1 or h, 3): the camera's pose at every row in the frame of the room, of
            every other body of the scene, and of every skin.
        owner: (s + 1,) which of the frames every surface is in: the scene's, the skins', and last the room for nothing.
        movers: what may stand before the room.
    """

    R_cam: Array
    centre: Array
    owner: NDArray[np.int32]
    movers: Sequence[_Mover]


@dataclass(frozen=True, eq=False, slots=True)
class _Hits:
    """What rays meet: (m,) surface; of those that were cast at a skin also how far and where in the mesh."""

    surface: NDArray[np.int32]
    depth: NDArray[np.float32]
    triangle: NDArray[np.int32]
    corner_share: NDArray[np.float32]

    @classmethod
    def none(cls, rays: int) -> _Hits:
        """Nothing is met, so far."""
        return cls(
            np.full(rays, -1, np.int32),
            np.empty(rays, np.float32),
            np.empty(rays, np.int32),
            np.empty((rays, 2), np.float32),
        )

    def at(self, rows: NDArray[np.int64]) -> _Hits:
        """Some of them."""
        return _Hits(*(getattr(self, each.name)[rows] for each in fields(self)))

    def put(self, rows: NDArray[np.int64], others: _Hits) -> None:
        """Replace some of them."""
        for each in fields(self):
            getattr(self, each.name)[rows] = getattr(others, each.name)


class Renderer:
    """One scene, ready for many pictures; `render` may be called from several threads at once.

    Args:
        scene, light: what there is to see.
        threads: that cast rays; 0 for one a core.
    """

    def __init__(self, scene: Scene, light: LightMap, threads: int = 0) -> None:
        import open3d as o3d

        self._threads = threads
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
            *shade_kernel.patch_table(scene, light),
            atlas.texels,
            atlas.first,
            atlas.width,
            atlas.height,
            atlas.levels,
            light.lumels,
        )
        self._patches = (scene.origin, scene.axis_a, scene.axis_b, scene.normal, scene.size, scene.is_round)

    def _caster(self, vertices: NDArray[np.float32], triangles: NDArray[np.uint32]) -> Any:
        caster = self._new_caster(self._threads)
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
        placed = self._placed(lens, shot, [self._skin_caster(skin) for skin in shot.skins], 0.0)
        hits = self._seen(lens, lens.rook_cam[0], placed)
        rays = kernel.rays_to_surfaces(
            lens.rook_cam[0], hits.surface, placed.owner, lens.width, placed.R_cam, placed.centre
        )
        flat = hits.surface < len(self._scene.origin)
        surface = np.where(flat, hits.surface, -1)
        depth = np.where(flat, kernel.plane_depth(rays, surface, self._scene.origin, self._scene.normal), hits.depth)
        seen = (hits.surface >= 0) & (lens.pixel_rad > 0)
        z = depth * lens.rook_cam[0][:, 0, 2]
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

    def _placed(self, lens: Lens, shot: Shot, skins: Sequence[Any], share: float) -> _Placed:
        """The camera and everything that moves, at one moment of the exposure."""
        t_s = shot.shutter.row_times(lens.height, share)
        T_room_cam = np.ascontiguousarray(shot.T_room_cam(t_s))
        movers: list[_Mover] = []
        bodies, first_skin = len(self._casters), len(self._scene.origin)
        frames = np.broadcast_to(T_room_cam, (bodies + len(skins), *T_room_cam.shape)).copy()
        things = [
            (self._index[name], self._casters[self._index[name]], pose, self._bounds[self._index[name]])
            for name, pose in shot.T_room_body.items()
        ]
        things += [
            (bodies + k, caster, skin.T_room_mesh, self._skin_bounds(skin))
            for k, (caster, skin) in enumerate(zip(skins, shot.skins, strict=True))
        ]
        for frame, caster, pose, bounds in things:
            frames[frame] = T_body_cam = geometry.inverse(pose(t_s)) @ T_room_cam
            p_cam = geometry.transform(geometry.inverse(T_body_cam), bounds.centre)
            distance = np.linalg.norm(p_cam, axis=-1)
            axis = p_cam.mean(axis=0) / max(float(np.linalg.norm(p_cam.mean(axis=0))), 1e-9)
            cosine = -1.0
            if distance.min() > bounds.radius:
                # Between the rows the body wanders in the picture: the cone holds all of its places.
                apart = np.arccos(np.clip(p_cam @ axis / distance, -1, 1)) + np.arcsin(bounds.radius / distance)
                cosine = float(np.cos(min(apart.max() + 0.01, np.pi)))
            surface = self._surface_of[frame] if frame < bodies else first_skin + frame - bodies
            movers.append(_Mover(caster, frame, axis, cosine, bounds, surface))
        owner = np.concatenate([self._scene.body_of, bodies + np.arange(len(skins)), [0]]).astype(np.int32)
        return _Placed(
            np.ascontiguousarray(frames[..., :3, :3]), np.ascontiguousarray(frames[..., :3, 3]), owner, movers
        )

    def _surfaces(self, rays: NDArray[np.float32]) -> NDArray[np.int32]:
        """Which surface of the room (m,) each ray (m, 6) meets; -1 for none."""
        hit = self._casters[0].cast_rays(self._tensor(rays), self._threads)["primitive_ids"].numpy()
        return self._surface_of[0].take(hit, mode="clip")

    def _seen(self, lens: Lens, ray_cam: NDArray[np.float32], placed: _Placed) -> _Hits:
        """What is behind every pixel: a quarter of them cast, the others only where their neighbours disagree."""
        hits, flat = _Hits.none(len(ray_cam)), len(self._scene.origin)
        hits.put(lens.coarse, self._cast(lens, ray_cam, lens.coarse, placed))
        for diagonal in (True, False):
            between, bent = kernel.fill_between(hits.surface, lens.width, flat, diagonal)
            between = np.concatenate([between, *self._cast_at_skins(lens, ray_cam, bent, placed, hits)])
            hits.put(between, self._cast(lens, ray_cam, between, placed))
        return hits

    def _cast_at_skins(
        self, lens: Lens, ray_cam: NDArray[np.float32], pixel: NDArray[np.int64], placed: _Placed, hits: _Hits
    ) -> list[NDArray[np.int64]]:
        """Fill in where rays of pixels (m,) meet the skins that `hits` says they see; the pixels that miss them."""
        missed: list[NDArray[np.int64]] = []
        for mover in placed.movers if len(pixel) else ():
            at = pixel[hits.surface[pixel] == mover.surface] if isinstance(mover.surface, int) else pixel[:0]
            if not len(at):
                continue
            frame = placed.R_cam[mover.frame], placed.centre[mover.frame]
            met = mover.caster.cast_rays(
                self._tensor(kernel.place_rays(ray_cam, at, lens.width, *frame)), self._threads
            )
            distance = met["t_hit"].numpy()
            hits.depth[at], hits.triangle[at] = distance, met["primitive_ids"].numpy()
            hits.corner_share[at] = met["primitive_uvs"].numpy()
            missed.append(at[~np.isfinite(distance)])
        return missed

    def _cast(self, lens: Lens, ray_cam: NDArray[np.float32], pixel: NDArray[np.int64], placed: _Placed) -> _Hits:
        """What rays meet: those (m·n,) of some pixels (m,), `ray_cam` having n of every one (h·w, n, 3)."""
        rays = kernel.place_rays(ray_cam, pixel, lens.width, placed.R_cam[0], placed.centre[0])
        surface = self._surfaces(rays)
        hits = replace(_Hits.none(len(rays)), surface=surface)
        hits.depth[:] = kernel.plane_depth(rays, surface, self._scene.origin, self._scene.normal)
        for mover in placed.movers:
            # The whole picture is searched in blocks, a few pixels one by one.
            some = lens.towards(mover.axis_cam, mover.cosine) if pixel is lens.coarse else None
            at, there = kernel.rays_into_box(
                ray_cam,
                pixel if some is None else lens.coarse[some],
                lens.pixel_rad,
                lens.width,
                placed.R_cam[mover.frame],
                placed.centre[mover.frame],
                mover.axis_cam,
                mover.cosine,
                mover.bounds.low,
                mover.bounds.high,
            )
            if not len(at):
                continue
            if some is not None:
                at = some[at]  # one ray a pixel
            met = mover.caster.cast_rays(self._tensor(there), self._threads)
            distance = met["t_hit"].numpy()
            nearer = np.flatnonzero(distance < hits.depth[at])
            where, hit = at[nearer], met["primitive_ids"].numpy()[nearer]
            number = mover.surface if isinstance(mover.surface, int) else mover.surface[hit]
            hits.surface[where], hits.depth[where] = number, distance[nearer]
            if isinstance(mover.surface, int):
                hits.triangle[where], hits.corner_share[where] = hit, met["primitive_uvs"].numpy()[nearer]
        return hits

    def _shaded(
        self,
        rays: NDArray[np.float32],
        hits: _Hits,
        pixel_rad: NDArray[np.float32],
        light: Array,
        skins: Sequence[Skin],
        skin_light: Sequence[Array],
    ) -> NDArray[np.float32]:
        """(m, 3) colours that rays (m, 6) bring, each in the frame of what it meets."""
        colour = np.empty((len(rays), 3), np.float32)
        shade_kernel.shade(rays, hits.surface, pixel_rad, *self._tables, light, colour)
        for k, (skin, around) in enumerate(zip(skins, skin_light, strict=True)):
            at = np.flatnonzero(hits.surface == len(self._scene.origin) + k)
            out = np.empty((len(at), 3), np.float32)
            mesh = (skin.triangles, skin.normals, skin.albedo, skin.occlusion)
            shade_kernel.shade_skin(rays[at], hits.triangle[at], hits.corner_share[at], *mesh, around, out)
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
        placed = self._placed(lens, shot, skins, share)
        frames = (placed.owner, lens.width, placed.R_cam, placed.centre)
        ray_cam = lens.rook_cam[rook or 0]
        hits = self._seen(lens, ray_cam, placed)
        rays = kernel.rays_to_surfaces(ray_cam, hits.surface, *frames)
        if rook is not None:
            return self._shaded(rays, hits, lens.pixel_rad, light, shot.skins, skin_light)
        group = self._groups(len(skins))
        edge = np.flatnonzero(kernel.on_edge(hits.surface, group, lens.height, lens.width) & (lens.pixel_rad > 0))
        seen, unsure = kernel.look_around(edge, hits.surface, lens.around_cam, *frames, *self._patches)
        rooks = _Hits.none(seen.size)
        first = np.arange(0, seen.size, len(SUBPIXELS))
        rooks.put(first, hits.at(edge))
        hits.surface[edge] = -1  # left black, they are filled in below
        picture = self._shaded(rays, hits, lens.pixel_rad, light, shot.skins, skin_light)
        beside = (first[unsure, None] + np.arange(1, len(SUBPIXELS))).reshape(-1)
        rooks.put(beside, self._cast(lens, lens.around_cam, edge[unsure], placed))
        seen[unsure, 1:] = rooks.surface[beside].reshape(len(unsure), seen.shape[1] - 1)
        rays, surface, pixel, part, source = kernel.gather(edge, seen, lens.rook_cam[0], lens.around_cam, *frames)
        some = replace(rooks.at(source), surface=surface)
        colour = self._shaded(rays, some, lens.pixel_rad[edge[pixel]], light, shot.skins, skin_light)
        kernel.scatter(colour, pixel, part, edge, picture)
        return picture

    def _groups(self, skins: int) -> NDArray[np.int32]:
        """Smooth group of every surface, then of every skin, then of nothing (index -1)."""
        highest = int(self._scene.smooth_group.max()) + 1
        return np.concatenate([self._scene.smooth_group, highest + np.arange(skins), [-1]]).astype(np.int32)


def _bounds(vertices: NDArray[np.float32]) -> _Bounds:
    low, high = vertices.min(axis=0).astype(float) - _SKIN_M, vertices.max(axis=0).astype(float) + _SKIN_M
    centre = (low + high) / 2
    return _Bounds(centre, float(np.linalg.norm(vertices - centre, axis=-1).max()), low, high)


def _bounds_of_skin(skin: Skin) -> _Bounds:
    return _bounds(skin.vertices)


def _angle(a: Array, b: Array) -> Array:
    """(n,) rad between vectors (n, 3)."""
    return np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, axis=-1))
