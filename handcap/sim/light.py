"""Light baked onto every surface: soft shadows at no cost per picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.sim.scene import Scene

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
        lumels: (n,) float32; about 1 in good light.
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


def bake(scene: Scene) -> LightMap:
    """Light from every lamp, shadowed, and bounced light kept away by near things."""
    import open3d as o3d

    tensor: Any = o3d.core.Tensor  # its type stubs know no numpy arrays
    caster: Any = o3d.t.geometry.RaycastingScene()
    caster.add_triangles(tensor(scene.vertices), tensor(scene.triangles))

    def free(points: Array, to: Array, reach: float) -> NDArray[np.bool_]:
        rays = np.concatenate([points, to], axis=-1).astype(np.float32)
        return ~caster.test_occlusions(tensor(rays), 0.0, reach).numpy()

    first, shape, points, normals = _grid(scene)
    light = np.zeros(len(points))
    steps = (np.arange(_GRID) + 0.5) / _GRID * 2 - 1
    for lamp in scene.lights:
        facing = np.cross(lamp.half_a, lamp.half_b)
        facing /= np.linalg.norm(facing)
        for a in steps:
            for b in steps:
                to = lamp.centre_room + a * lamp.half_a + b * lamp.half_b - points
                distance = np.linalg.norm(to, axis=-1)
                to_unit = to / distance[:, None]
                lit = np.maximum(np.einsum("ij,ij->i", normals, to_unit), 0) * np.maximum(-to_unit @ facing, 0)
                lit *= lamp.power / _GRID**2 / np.maximum(distance, 0.3) ** 2
                light += lit * free(points, to, 0.99)
    # Bounced light: rays about the normal, by a frame that needs no branch (Duff et al. 2017).
    sign = np.where(normals[:, 2] >= 0, 1.0, -1.0)
    p = -1 / (sign + normals[:, 2])
    q = normals[:, 0] * normals[:, 1] * p
    x = np.stack([1 + sign * normals[:, 0] ** 2 * p, sign * q, -sign * normals[:, 0]], axis=-1)
    y = np.stack([q, sign + normals[:, 1] ** 2 * p, -normals[:, 1]], axis=-1)
    open_share = np.zeros(len(points))
    for d in _hemisphere(_AMBIENT_RAYS):
        open_share += free(points, d[0] * x + d[1] * y + d[2] * normals, _AMBIENT_REACH_M)
    light += _AMBIENT * (0.5 + 0.5 * open_share / _AMBIENT_RAYS)
    return LightMap(light.astype(np.float32), first, shape)
