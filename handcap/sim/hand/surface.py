"""The skin of a right hand at rest: one closed surface around its bones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.sim.hand import skeleton
from handcap.sim.hand.field import Cone, Grid, ball, flattened, melt, union
from handcap.sim.hand.skeleton import Skeleton, bone

# Half bent: the skin is stretched as little as possible on the way to either end of its range.
REST_ANGLES: Array = skeleton.posture(
    thumb=(6, 24, 22, 16, 18),
    index=(6, 22, 28, 16),
    middle=(0, 22, 30, 16),
    ring=(-4, 22, 30, 16),
    little=(-10, 22, 28, 16),
)

_CELL = 0.019  # of the hand's length; about 3.6 mm
_ARM_CELL = 0.04  # on the arm nothing is small
_WRIST = 0.2  # where the fine mesh ends behind the wrist, of the hand's length
_ARM = 0.95  # how much of it there is
_FAR = 0.07

# Radii at the joints, shares of the hand's length: breadths of the finger joints in ANSUR II (2012) and the DTI/NIST
# hand surveys lie within 10 % of these.
_RADII = np.array(
    [
        [0.066, 0.060, 0.054, 0.041],
        [0.058, 0.051, 0.044, 0.034],
        [0.059, 0.052, 0.045, 0.035],
        [0.055, 0.049, 0.042, 0.033],
        [0.049, 0.043, 0.037, 0.029],
    ]
)


@dataclass(frozen=True, eq=False, slots=True)
class RestSurface:
    """A mesh, right hand, wrist frame, m; closed but for two rings, one within the other, where hand and arm meet.

    Attributes:
        vertices, normals: (v, 3).
        triangles: (t, 3), anticlockwise seen from outside.
        occlusion: (v,) share of the surrounding light that reaches the skin.
    """

    vertices: Array
    normals: Array
    triangles: NDArray[np.int64]
    occlusion: Array


@dataclass(frozen=True, slots=True)
class Flesh:
    """What is around the bones.

    Attributes:
        girth: thickness of fingers and palm, 1 for the average adult.
        sleeve_from: where the sleeve begins behind the wrist, of the hand's length; no sleeve beyond the arm.
    """

    girth: float = 1.0
    sleeve_from: float = 0.35


def build(skel: Skeleton, flesh: Flesh) -> RestSurface:
    """Mesh the hand at rest, and a coarser arm that begins within the wrist; the ends that meet there are open."""
    hand, arm = (_mesh(grid, skel, flesh) for grid in (_grid(skel.length_m), _arm_grid(skel.length_m)))
    return RestSurface(
        vertices=np.concatenate([hand.vertices, arm.vertices]),
        normals=np.concatenate([hand.normals, arm.normals]),
        triangles=np.concatenate([hand.triangles, len(hand.vertices) + arm.triangles]),
        occlusion=np.concatenate([hand.occlusion, arm.occlusion]),
    )


def _mesh(grid: Grid, skel: Skeleton, flesh: Flesh) -> RestSurface:
    """What lies in a grid, open where the grid ends."""
    from skimage.measure import marching_cubes

    size = skel.length_m
    field = _field(grid, skel, flesh)
    found = marching_cubes(field, 0.0, gradient_direction="descent")
    corners, triangles = np.asarray(found[0], float), np.asarray(found[1], np.int64)
    axes = (grid.x, grid.y, grid.z)
    vertices = np.empty_like(corners)
    for k, axis in enumerate(axes):
        vertices[:, k] = np.interp(corners[:, k], np.arange(len(axis)), axis)
    slopes: Any = np.gradient(field, *axes)
    gradient = np.stack(slopes, axis=-1)
    normals = _sample(gradient, corners)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    return RestSurface(vertices, normals, triangles, _occlusion(field, grid, vertices, normals, size))


def _grid(size: float) -> Grid:
    cell = _CELL * size
    x = np.arange(-_WRIST * size, 1.06 * size, cell)
    return Grid(x, np.arange(-0.36 * size, 0.52 * size, cell), np.arange(-0.52 * size, 0.26 * size, cell))


def _arm_grid(size: float) -> Grid:
    across = np.arange(-0.42, 0.42, _ARM_CELL) * size
    along = np.arange(_WRIST - 2 * _CELL, _ARM + 0.42, _ARM_CELL)[::-1] * -size
    return Grid(along, across, across - 0.028 * size)


def _field(grid: Grid, skel: Skeleton, flesh: Flesh) -> NDArray[np.float32]:
    size = skel.length_m
    joints, T_wrist_bone = skel.pose(REST_ANGLES)
    far = _FAR * size
    field = melt(
        union(grid, _palm(joints, size, flesh.girth), 0.05 * size, far),
        union(grid, _arm(size, flesh), 0.05 * size, far),
        0.05 * size,
    )
    for f in range(len(skeleton.FINGERS)):
        finger = union(grid, _finger(joints, T_wrist_bone, f, size, flesh.girth), 0.012 * size, far)
        field = melt(field, finger, (0.045 if f == 0 else 0.022) * size)
    if flesh.sleeve_from < _ARM:
        field = np.minimum(field, union(grid, _sleeve(size, flesh), 0.01 * size, far))
    return field


def _finger(joints: Array, T_wrist_bone: Array, f: int, size: float, girth: float) -> list[Cone]:
    """Bones with flesh, pads below, knuckles above."""
    chain = joints[1 + 4 * f : 5 + 4 * f]
    radii = _RADII[f] * size * girth
    bodies: list[Cone] = []
    for k in range(3):
        R = T_wrist_bone[bone(f, k), :3, :3]
        down = -R[:, 2]
        along = chain[k + 1] - chain[k]
        thick = 0.92 if k < 2 else 0.86
        a, b = radii[k], radii[k + 1]
        end = chain[k + 1] if k < 2 else chain[3] - 0.35 * b * R[:, 0]
        slack = 0.0 if f or k else -0.012 * size
        bodies.append(Cone(chain[k] + slack * down, end, a, b, flattened(R, thick)))
        pad = 0.5 * (a + b)
        if k < 2 and (f or k):
            middle = chain[k] + (0.56 if k == 0 else 0.5) * along
            rod = 0.16 * along
            bodies.append(
                Cone(middle - rod + 0.26 * pad * down, middle + rod + 0.24 * pad * down, 0.84 * pad, 0.8 * pad)
            )
        if k == 2:
            bodies.append(ball(chain[k] + 0.58 * along + 0.24 * pad * down, 0.86 * pad))
    return bodies


def _palm(joints: Array, size: float, girth: float) -> list[Cone]:
    """Metacarpals in their flesh, the balls of thumb and little finger, webs."""

    def at(x: float, y: float, z: float) -> Array:
        return size * np.array([x, y, z])

    r = size * girth
    slab = flattened(np.eye(3), 0.9)
    carpus = [at(0.05, y, -0.03) for y in (0.055, 0.02, -0.02, -0.06)]
    bodies = [
        Cone(start, joints[knuckle] + at(-0.02, 0, -0.018), 0.082 * r, thick * r, slab)
        for start, knuckle, thick in zip(carpus, (5, 9, 13, 17), (0.070, 0.070, 0.067, 0.062), strict=True)
    ]
    for knuckle, high in ((5, 0.040), (9, 0.042), (13, 0.039), (17, 0.035)):
        bodies.append(ball(joints[knuckle] + at(-0.008, 0, 0.016), high * r))
    root, thumb_knuckle, index = joints[1], joints[2], joints[5]
    to_palm = at(0.0, -0.035, -0.045)
    bodies += [
        Cone(root + 0.6 * to_palm, thumb_knuckle + 0.45 * to_palm, 0.088 * r, 0.058 * r),
        Cone(at(0.10, 0.04, -0.085), 0.5 * (root + thumb_knuckle) + to_palm, 0.075 * r, 0.070 * r),
        Cone(at(0.08, -0.10, -0.075), at(0.34, -0.165, -0.062), 0.078 * r, 0.062 * r),
        Cone(at(0.36, -0.15, -0.05), at(0.42, 0.09, -0.05), 0.055 * r, 0.055 * r),
    ]
    # The web of the thumb is thin at its edge.
    for share, thick in ((0.35, 0.052), (0.62, 0.044), (0.88, 0.032)):
        on_thumb = root + share * (thumb_knuckle - root)
        on_index = at(0.12, 0.09, -0.04) + share * (index - at(0.14, 0.09, 0.0))
        bodies.append(Cone(on_thumb, on_index, thick * r, thick * r))
    for a, b in ((5, 9), (9, 13), (13, 17)):
        left = joints[a] + 0.30 * (joints[a + 1] - joints[a])
        right = joints[b] + 0.30 * (joints[b + 1] - joints[b])
        bodies.append(Cone(left + at(0, 0, -0.012), right + at(0, 0, -0.012), 0.034 * r, 0.034 * r))
    return bodies


def _arm(size: float, flesh: Flesh) -> list[Cone]:
    r = size * flesh.girth
    oval = flattened(np.eye(3), 0.72)
    z = np.array([0.0, 0.0, -0.028 * size])
    x = np.array([size, 0.0, 0.0])
    return [
        Cone(-0.14 * x + z, 0.04 * x + z, 0.148 * r, 0.150 * r, oval),
        Cone(-_ARM * x + z, -0.14 * x + z, 0.21 * r, 0.148 * r, flattened(np.eye(3), 0.84)),
    ]


def _sleeve(size: float, flesh: Flesh) -> list[Cone]:
    r = size * flesh.girth
    z = np.array([0.0, 0.0, -0.028 * size])
    x = np.array([size, 0.0, 0.0])
    start = min(flesh.sleeve_from + 0.16, _ARM - 0.02)
    return [
        Cone(-_ARM * x + z, -start * x + z, 0.26 * r, (0.19 + 0.07 * start) * r, flattened(np.eye(3), 0.86)),
    ]


def _sample(values: NDArray[np.floating], corners: NDArray[np.floating]) -> Array:
    """Trilinear values (n, c) of a grid (a, b, c, ...) at fractional indices (n, 3)."""
    from scipy.ndimage import map_coordinates

    at = corners.T
    flat = values.reshape(*values.shape[:3], -1)
    return np.stack(
        [map_coordinates(flat[..., k], at, order=1, mode="nearest") for k in range(flat.shape[-1])], axis=-1
    ).astype(float)


def _occlusion(field: NDArray[np.float32], grid: Grid, vertices: Array, normals: Array, size: float) -> Array:
    """What the field says on the way out: it grows as fast as the way where nothing is near (Evans 2006)."""
    shut = np.zeros(len(vertices))
    for k, step in enumerate(np.array([0.015, 0.03, 0.05]) * size):
        at = vertices + step * normals
        index = np.stack(
            [np.interp(at[:, i], axis, np.arange(len(axis))) for i, axis in enumerate((grid.x, grid.y, grid.z))],
            axis=-1,
        )
        free = _sample(field, index)[:, 0]
        shut += 0.5 ** (k + 1) * np.clip(1 - free / step, 0, 1)
    return np.clip(1 - 0.75 * shut, 0.3, 1.0)


def stand_ins(joints: Array, size: float, girth: float) -> tuple[Array, Array, NDArray[np.int64]]:
    """Balls in place of fingers and palm, for the shade they cast: centres (n, 3), radii (n,), whose they are (n,)."""
    centres, radii, owner = [], [], []
    for f in range(len(skeleton.FINGERS)):
        chain = joints[1 + 4 * f : 5 + 4 * f]
        for k in range(3):
            for share in (0.25, 0.75) if k else (0.7,):  # a finger's root is part of the palm
                centres.append((1 - share) * chain[k] + share * chain[k + 1])
                radii.append(((1 - share) * _RADII[f, k] + share * _RADII[f, k + 1]) * size * girth)
                owner.append(f)
    for knuckle in (5, 9, 13, 17):
        for share in (0.35, 0.65):
            centres.append(share * joints[knuckle] + np.array([0.0, 0.0, -0.02 * size]))
            radii.append(0.075 * size * girth)
            owner.append(len(skeleton.FINGERS))
    return np.array(centres), np.array(radii), np.array(owner)
