"""Light: baked onto the room with soft shadows, and felt by what moves through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.sim.scene import Light, Scene

_LUMEL_M = 0.04  # a soft shadow under a cup is about this sharp
_MOST_LUMELS = 40  # per side of a patch
_GRID = 4  # 4×4 points on each lamp
_AMBIENT = 0.55  # light that has bounced about the room
_AMBIENT_RAYS = 24
_AMBIENT_REACH_M = 0.35  # things nearer than this keep bounced light away: dark corners and feet
_LIFT_M = 0.004


@dataclass(frozen=True, eq=False, slots=True)
class LightMap:
    """Brightness on a grid over each patch, corners included.

    Attributes:
        lumels: (n,) float32; on the room, brightness, about 1 in good light; on a moving body, the share of light that
            the body's own shape lets through.
        first: (surfaces,) where a patch's grid begins.
        shape: (surfaces, 2) rows (along axis_b) and columns (along axis_a).
    """

    lumels: NDArray[np.float32]
    first: NDArray[np.int64]
    shape: NDArray[np.int32]


def _grid(scene: Scene) -> tuple[NDArray[np.int64], NDArray[np.int32], Array, Array]:
    """Offsets, shapes, points (n, 3) and normals (n, 3) of all lumels."""
    shape = np.clip(np.ceil(scene.size[:, ::-1] / _LUMEL_M).astype(int) + 1, 2, _MOST_LUMELS)
    count = shape[:, 0] * shape[:, 1]
    points, normals = [], []
    for k, (rows, columns) in enumerate(shape):
        s, t = (
            np.linspace(0, x, n).clip(_LIFT_M, x - _LIFT_M) for x, n in zip(scene.size[k], (columns, rows), strict=True)
        )
        a, b = np.meshgrid(s, t)
        bent = scene.normal[k] + scene.bend[k] * (a - scene.size[k, 0] / 2).reshape(-1, 1) * scene.axis_a[k]
        normals.append(bent / np.linalg.norm(bent, axis=-1, keepdims=True))
        flat = scene.origin[k] + a.reshape(-1, 1) * scene.axis_a[k] + b.reshape(-1, 1) * scene.axis_b[k]
        points.append(flat + _LIFT_M * scene.normal[k])
    first = np.concatenate([[0], np.cumsum(count)[:-1]]).astype(np.int64)
    return first, shape.astype(np.int32), np.concatenate(points), np.concatenate(normals)


def _hemisphere(n: int) -> Array:
    """(n, 3) directions about z, spread with the cosine (sunflower spiral)."""
    k = np.arange(n) + 0.5
    r, angle = np.sqrt(k / n), k * np.pi * (3 - np.sqrt(5))
    return np.stack([r * np.cos(angle), r * np.sin(angle), np.sqrt(1 - r * r)], axis=-1)


class Occlusion:
    """What stands in the way of light; the triangles of one body."""

    def __init__(self, vertices: NDArray[np.float32], triangles: NDArray[np.uint32]) -> None:
        import open3d as o3d

        self._tensor: Any = o3d.core.Tensor  # its type stubs know no numpy arrays
        self._caster: Any = o3d.t.geometry.RaycastingScene()
        self._caster.add_triangles(self._tensor(vertices), self._tensor(triangles))

    def free(self, points: Array, to: Array, reach: float) -> NDArray[np.bool_]:
        """Whether nothing lies between (n, 3) points and points + reach · to."""
        rays = np.concatenate([points, to], axis=-1).astype(np.float32)
        return ~self._caster.test_occlusions(self._tensor(rays), 0.0, reach).numpy()


def _lamp_points(lamp: Light) -> Array:
    """(_GRID², 3) spread over the lamp."""
    a, b = np.meshgrid(*[(np.arange(_GRID) + 0.5) / _GRID * 2 - 1] * 2, indexing="ij")
    return lamp.centre_room + a.reshape(-1, 1) * lamp.half_a + b.reshape(-1, 1) * lamp.half_b


def _facing(lamp: Light) -> Array:
    across = np.cross(lamp.half_a, lamp.half_b)
    return across / np.linalg.norm(across)


def _from_lamps(lights: Sequence[Light], shade: Occlusion, points: Array, normals: Array) -> Array:
    light = np.zeros(len(points))
    for lamp in lights:
        for source in _lamp_points(lamp):
            to = source - points
            distance = np.linalg.norm(to, axis=-1)
            to_unit = to / distance[:, None]
            lit = np.maximum(np.einsum("ij,ij->i", normals, to_unit), 0) * np.maximum(-to_unit @ _facing(lamp), 0)
            lit *= lamp.power / _GRID**2 / np.maximum(distance, 0.3) ** 2
            light += lit * shade.free(points, to, 0.99)
    return light


def _open_share(shade: Occlusion, points: Array, normals: Array) -> Array:
    """(n,) share of the sky over each point that nothing near hides."""
    # Rays about the normal, by a frame that needs no branch (Duff et al. 2017).
    sign = np.where(normals[:, 2] >= 0, 1.0, -1.0)
    p = -1 / (sign + normals[:, 2])
    q = normals[:, 0] * normals[:, 1] * p
    x = np.stack([1 + sign * normals[:, 0] ** 2 * p, sign * q, -sign * normals[:, 0]], axis=-1)
    y = np.stack([q, sign + normals[:, 1] ** 2 * p, -normals[:, 1]], axis=-1)
    share = np.zeros(len(points))
    for d in _hemisphere(_AMBIENT_RAYS):
        share += shade.free(points, d[0] * x + d[1] * y + d[2] * normals, _AMBIENT_REACH_M)
    return share / _AMBIENT_RAYS


def bake(scene: Scene) -> LightMap:
    """Light from every lamp on the room, shadowed, bounced light kept from dark corners; bodies shade themselves."""
    first, shape, points, normals = _grid(scene)
    body_of = np.repeat(scene.body_of, shape[:, 0] * shape[:, 1])
    light = np.empty(len(points))
    for k, body in enumerate(scene.bodies):
        mine = body_of == k
        shade = Occlusion(body.vertices, body.triangles)
        light[mine] = 0.5 + 0.5 * _open_share(shade, points[mine], normals[mine])
        if k == 0:
            light[mine] = _AMBIENT * light[mine] + _from_lamps(scene.lights, shade, points[mine], normals[mine])
    return LightMap(light.astype(np.float32), first, shape)


def light_at(lights: Sequence[Light], shade: Occlusion, point_room: Array) -> Array:
    """Light around a point as (4,): a surface there with normal n gets about `out[0] + out[1:] @ n`, room frame.

    The clamped cosine of each lamp is replaced by its first two spherical harmonics, 1/4 + cos/2 (Ramamoorthi and
    Hanrahan 2001).
    """
    out = np.array([_AMBIENT, 0.0, 0.0, 0.0])
    for lamp in lights:
        to = _lamp_points(lamp) - point_room
        distance = np.linalg.norm(to, axis=-1)
        to_unit = to / distance[:, None]
        weight = lamp.power / _GRID**2 / np.maximum(distance, 0.3) ** 2 * np.maximum(-to_unit @ _facing(lamp), 0)
        weight = weight * shade.free(np.repeat(point_room[None], len(to), axis=0), to, 0.99)
        out[0] += 0.25 * weight.sum()
        out[1:] += 0.5 * weight @ to_unit
    return out
