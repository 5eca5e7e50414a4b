"""The shape of a virtual room and of what moves in it: flat rectangles and discs, each with a picture on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.geometry import Array
from handcap.sim.mipmap import Atlas, pack
from handcap.sim.targets import Target
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
class Prop:
    """A thing that can be picked up; its frame has z up and its origin in the middle of its foot.

    Attributes:
        body: its name in the scene.
        T_room_prop: (4, 4) where it stands at first.
        grasp_width_m: how wide jaws must open around it, along its own x axis.
        height_m: from foot to top.
    """

    body: str
    T_room_prop: Array
    grasp_width_m: float
    height_m: float


@dataclass(frozen=True, eq=False, slots=True)
class Slide:
    """A drawer: a body that slides out along a line.

    Attributes:
        body: its name in the scene.
        T_room_body: (4, 4) when shut.
        handle_body: (3,) middle of the handle, body frame, m.
        pull_room: (3,) unit direction it opens to.
        travel_m: how far.
    """

    body: str
    T_room_body: Array
    handle_body: Array
    pull_room: Array
    travel_m: float


@dataclass(frozen=True, eq=False, slots=True)
class Board:
    """A calibration target that stands in the room.

    Attributes:
        name: a task of this name looks at it.
        T_room_board: (4, 4) the target's frame, see `targets`.
        target: its corners.
    """

    name: str
    T_room_board: Array
    target: Target


@dataclass(frozen=True, eq=False, slots=True)
class Room:
    """What a scene module tells about the room it furnished; room frame, m.

    Attributes:
        lights: what shines.
        standing: where heads are, and what is worth a look.
        T_room_work: (4, 4) middle of the free work surface, x away from the person, y to the person's left, z up.
        work_size: (2,) m of it that holds nothing but props, along x and y.
        props: things on it, none touching another.
        slide: a drawer within reach, if there is one.
        path_room: (k, 2) floor points of a free walk; the first is where the person stands at work.
        boards: calibration targets.
    """

    lights: Sequence[Light]
    standing: Standing
    T_room_work: Array
    work_size: Array
    props: Sequence[Prop]
    slide: Slide | None
    path_room: Array
    boards: Sequence[Board] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Body:
    """Which triangles and surfaces of a scene move as one.

    Attributes:
        name: "" for the room itself.
        vertices: (v, 3) float32, body frame, m.
        triangles: (k, 3) uint32 into `vertices`.
        surface_of: (k,) surface of each triangle, counted through the whole scene.
    """

    name: str
    vertices: NDArray[np.float32]
    triangles: NDArray[np.uint32]
    surface_of: NDArray[np.int32]


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """A room and its moving bodies ready to be rendered, m.

    A surface is a flat patch with its own axes, in the frame of the body it belongs to: a point is
    `origin + s axis_a + t axis_b`, 0 <= s, t <= size.

    Attributes:
        bodies: the room first; surfaces are numbered body after body.
        body_of: (n,) index into `bodies`.
        origin, axis_a, axis_b, normal: (n, 3); axes are unit vectors, the normal looks to the visible side.
        size: (n, 2) m.
        is_round: (n,) whether only the disc in the middle of the patch is there.
        bend: (n,) 1/m: how fast the shading normal turns along axis_a, about the patch's middle; 0 for flat things.
        texture: (n,) index into the atlas.
        uv: (n, 2) texture coordinates of the origin, m.
        smooth_group: (n,) patches of one group shade as one surface, their common edges are no visible edges.
        atlas: all textures.
        lights: what shines, room frame.
    """

    bodies: Sequence[Body]
    body_of: NDArray[np.int32]
    origin: Array
    axis_a: Array
    axis_b: Array
    normal: Array
    size: Array
    is_round: NDArray[np.bool_]
    bend: Array
    texture: NDArray[np.int32]
    uv: Array
    smooth_group: NDArray[np.int32]
    atlas: Atlas
    lights: Sequence[Light]


_Row = tuple[Array, Array, Array, Array, float, int, Array, int]


@dataclass(eq=False)
class SceneBuilder:
    """Collects the patches of one body, the room to begin with. Sizes in m; `rng` decides what is left open."""

    rng: np.random.Generator
    name: str = ""
    _rows: list[_Row] = field(default_factory=list)
    _corners: list[Array] = field(default_factory=list)  # (m, 3) polygon of each patch
    _textures: list[Texture] = field(default_factory=list)
    _others: list[SceneBuilder] = field(default_factory=list)
    _groups: count[int] = field(default_factory=lambda: count(1))

    def body(self, name: str) -> SceneBuilder:
        """Begin something that moves on its own: patches added to what is returned are in the body's frame."""
        assert not self.name and name and name not in [b.name for b in self._others], name
        other = SceneBuilder(self.rng, name, _textures=self._textures, _groups=self._groups)
        self._others.append(other)
        return other

    def texture(self, texture: Texture) -> int:
        """Register a texture; returns its number."""
        self._textures.append(texture)
        return len(self._textures) - 1

    def new_group(self) -> int:
        return next(self._groups)

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

    def build(self, lights: Sequence[Light]) -> Scene:
        """The room and every body, textures shared."""
        builders = [self, *self._others]
        bodies: list[Body] = []
        first = 0
        for builder in builders:
            bodies.append(builder._mesh(first))
            first += len(builder._rows)
        columns = list(zip(*(row for builder in builders for row in builder._rows), strict=True))
        axis_a, axis_b = np.array(columns[1]), np.array(columns[2])
        return Scene(
            bodies=tuple(bodies),
            body_of=np.repeat(np.arange(len(builders), dtype=np.int32), [len(b._rows) for b in builders]),
            origin=np.array(columns[0]),
            axis_a=axis_a,
            axis_b=axis_b,
            normal=np.cross(axis_a, axis_b),
            size=np.array(columns[3]),
            is_round=np.array([len(polygon) > 4 for builder in builders for polygon in builder._corners]),
            bend=np.array(columns[4], float),
            texture=np.array(columns[5], np.int32),
            uv=np.array(columns[6]),
            smooth_group=np.array(columns[7], np.int32),
            atlas=pack(self._textures),
            lights=tuple(lights),
        )

    def _mesh(self, first_surface: int) -> Body:
        triangles, surface_of, vertices, total = [], [], [], 0
        for i, polygon in enumerate(self._corners):
            fan = [(total, total + k, total + k + 1) for k in range(1, len(polygon) - 1)]
            triangles += fan
            surface_of += [first_surface + i] * len(fan)
            vertices.append(polygon)
            total += len(polygon)
        return Body(
            self.name,
            np.concatenate(vertices).astype(np.float32),
            np.array(triangles, np.uint32),
            np.array(surface_of, np.int32),
        )
