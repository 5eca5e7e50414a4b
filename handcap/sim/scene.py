"""The shape of a virtual room: flat rectangles and discs, each with a picture on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.geometry import Array
from handcap.sim.mipmap import Atlas, pack
from handcap.sim.texture import Texture


@dataclass(frozen=True, eq=False, slots=True)
class Standing:
    """Where a person may stand and what there is to look at; room frame, m.

    Attributes:
        head_low_room, head_high_room: (3,) corners of the box the head stays in.
        gaze_boxes_room: (k, 2, 3) low and high corners of things worth a look.
        gaze_weights: (k,) how often each is looked at; sums to 1.
    """

    head_low_room: Array
    head_high_room: Array
    gaze_boxes_room: Array
    gaze_weights: Array


@dataclass(frozen=True, eq=False, slots=True)
class Light:
    """A rectangular lamp or window.

    Attributes:
        centre_room: (3,) m.
        half_a, half_b: (3,) half edges, m.
        power: brightness times area; 1 lights a surface 1 m away fully.
    """

    centre_room: Array
    half_a: Array
    half_b: Array
    power: float


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """A room ready to be rendered; room frame, z up, m.

    A surface is a flat patch with its own axes: a point is `origin + s axis_a + t axis_b`, 0 <= s, t <= size.

    Attributes:
        vertices: (v, 3) float32.
        triangles: (k, 3) uint32.
        surface_of: (k,) surface of each triangle.
        origin, axis_a, axis_b, normal: (n, 3); axes are unit vectors, the normal looks to the visible side.
        size: (n, 2) m.
        bend: (n,) 1/m: how fast the shading normal turns along axis_a, about the patch's middle; 0 for flat things.
        texture: (n,) index into the atlas.
        uv: (n, 2) texture coordinates of the origin, m.
        smooth_group: (n,) patches of one group shade as one surface, their common edges are no visible edges.
        atlas: all textures.
        lights: what shines.
        standing: for people.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.uint32]
    surface_of: NDArray[np.int32]
    origin: Array
    axis_a: Array
    axis_b: Array
    normal: Array
    size: Array
    bend: Array
    texture: NDArray[np.int32]
    uv: Array
    smooth_group: NDArray[np.int32]
    atlas: Atlas
    lights: Sequence[Light]
    standing: Standing


@dataclass(eq=False)
class SceneBuilder:
    """Collects patches. Sizes in m; `rng` decides what is left open."""

    rng: np.random.Generator
    _rows: list[tuple[Array, Array, Array, Array, float, int, Array, int]] = field(default_factory=list)
    _corners: list[Array] = field(default_factory=list)  # (m, 3) polygon of each patch
    _textures: list[Texture] = field(default_factory=list)
    _group: int = 0

    def texture(self, texture: Texture) -> int:
        """Register a texture; returns its number."""
        self._textures.append(texture)
        return len(self._textures) - 1

    def new_group(self) -> int:
        self._group += 1
        return self._group

    def quad(
        self,
        origin: ArrayLike,
        edge_a: ArrayLike,
        edge_b: ArrayLike,
        texture: int,
        *,
        uv: ArrayLike | None = None,
        bend: float = 0.0,
        group: int | None = None,
    ) -> None:
        """Rectangle with corners origin, +edge_a, +edge_b; visible from the side of edge_a × edge_b."""
        origin, a, b = (np.asarray(x, float) for x in (origin, edge_a, edge_b))
        self._add(origin, a, b, np.array([origin, origin + a, origin + a + b, origin + b]), texture, uv, bend, group)

    def _add(
        self,
        origin: Array,
        a: Array,
        b: Array,
        polygon: Array,
        texture: int,
        uv: ArrayLike | None,
        bend: float,
        group: int | None,
    ) -> None:
        size = np.array([np.linalg.norm(a), np.linalg.norm(b)], float)
        offset = self.rng.uniform(0, 1, 2) if uv is None else np.asarray(uv, float)
        row = (
            origin,
            a / size[0],
            b / size[1],
            size,
            bend,
            texture,
            offset,
            self.new_group() if group is None else group,
        )
        self._rows.append(row)
        self._corners.append(polygon)

    def box(
        self, centre: ArrayLike, size: ArrayLike, yaw_rad: float, texture: int | Sequence[int], *, bottom: bool = False
    ) -> None:
        """Box standing on the height of `centre` (x, y, z of the middle of its foot).

        Args:
            centre: (3,).
            size: (3,) along its own x, y, z.
            yaw_rad: about z.
            texture: one for all faces, or for the four sides and the top.
            bottom: whether its underside can be seen.
        """
        centre, (sx, sy, sz) = np.asarray(centre, float), np.asarray(size, float)
        sides = [texture] * 5 if isinstance(texture, int) else list(texture)
        c, s = np.cos(yaw_rad), np.sin(yaw_rad)
        x, y, z = np.array([c, s, 0.0]) * sx, np.array([-s, c, 0.0]) * sy, np.array([0.0, 0.0, sz])
        foot = centre - x / 2 - y / 2
        # Texture coordinates start at the patch's corner, so that a label sits where it was printed.
        self.quad(foot, x, z, sides[0], uv=(0, 0))
        self.quad(foot + x, y, z, sides[1], uv=(0, 0))
        self.quad(foot + x + y, -x, z, sides[2], uv=(0, 0))
        self.quad(foot + y, -y, z, sides[3], uv=(0, 0))
        self.quad(foot + z, x, y, sides[4], uv=(0, 0))
        if bottom:
            self.quad(foot, y, x, sides[4], uv=(0, 0))

    def cylinder(
        self, foot: ArrayLike, radius_m: float, height_m: float, side: int, top: int, *, facets: int = 28
    ) -> None:
        """Upright prism with `facets` sides, shaded round; its texture runs around it."""
        foot = np.asarray(foot, float)
        start = self.rng.uniform(0, 2 * np.pi)
        angles = start + np.linspace(0, 2 * np.pi, facets + 1)
        ring = foot + radius_m * np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=-1)
        group, up = self.new_group(), np.array([0.0, 0.0, height_m])
        width_m = float(np.linalg.norm(ring[1] - ring[0]))
        for i in range(facets):
            uv = (i * width_m, 0.0)
            self.quad(ring[i], ring[i + 1] - ring[i], up, side, uv=uv, bend=1 / radius_m, group=group)
        a, b = np.array([2 * radius_m, 0, 0]), np.array([0, 2 * radius_m, 0])
        self._add(foot + up - a / 2 - b / 2, a, b, ring[:-1] + up, top, (0, 0), 0.0, None)

    def build(self, lights: Sequence[Light], standing: Standing) -> Scene:
        columns = list(zip(*self._rows, strict=True))
        axis_a, axis_b = np.array(columns[1]), np.array(columns[2])
        triangles, surface_of, vertices, count = [], [], [], 0
        for i, polygon in enumerate(self._corners):
            fan = [(count, count + k, count + k + 1) for k in range(1, len(polygon) - 1)]
            triangles += fan
            surface_of += [i] * len(fan)
            vertices.append(polygon)
            count += len(polygon)
        return Scene(
            vertices=np.concatenate(vertices).astype(np.float32),
            triangles=np.array(triangles, np.uint32),
            surface_of=np.array(surface_of, np.int32),
            origin=np.array(columns[0]),
            axis_a=axis_a,
            axis_b=axis_b,
            normal=np.cross(axis_a, axis_b),
            size=np.array(columns[3]),
            bend=np.array(columns[4], float),
            texture=np.array(columns[5], np.int32),
            uv=np.array(columns[6]),
            smooth_group=np.array(columns[7], np.int32),
            atlas=pack(self._textures),
            lights=tuple(lights),
            standing=standing,
        )
