"""Rounded bodies that melt into each other: distance fields on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.geometry import Array


@dataclass(frozen=True, eq=False, slots=True)
class Cone:
    """A rod with round ends, thick at one end and thin at the other.

    Attributes:
        start, end: (3,) centres of its ends, m.
        start_m, end_m: radii there.
        flat: (3, 3) that takes differences to a space in which the rod is round; None for a round one.
    """

    start: Array
    end: Array
    start_m: float
    end_m: float
    flat: Array | None = None

    def distance(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., 3) to (...): below 0 inside; exact near the surface of a round rod, close to it for others."""
        start, end = self.start, self.end
        local = points - start.astype(np.float32)
        axis = end - start
        if self.flat is not None:
            local, axis = local @ self.flat.T.astype(np.float32), self.flat @ axis
        axis = axis.astype(np.float32)
        along = np.clip(local @ axis / max(float(axis @ axis), 1e-12), 0, 1)
        local = local - along[..., None] * axis
        radius = np.float32(self.start_m) + along * np.float32(self.end_m - self.start_m)
        return np.sqrt(np.einsum("...i,...i->...", local, local)) - radius

    def reach(self, margin_m: float) -> tuple[Array, Array]:
        """Corners of a box that holds everything nearer than `margin_m`."""
        stretch = 1.0 if self.flat is None else float(np.linalg.norm(np.linalg.inv(self.flat), 2))
        far = stretch * (max(self.start_m, self.end_m) + margin_m)
        return np.minimum(self.start, self.end) - far, np.maximum(self.start, self.end) + far


def ball(centre: ArrayLike, radius_m: float, flat: Array | None = None) -> Cone:
    at = np.asarray(centre, float)
    return Cone(at, at, radius_m, radius_m, flat)


def flattened(axes: Array, thickness: float) -> Array:
    """For `Cone.flat`: thinner along the third of the `axes` (3, 3) by this factor."""
    return axes @ np.diag([1.0, 1.0, 1 / thickness]) @ axes.T


@dataclass(frozen=True, eq=False, slots=True)
class Grid:
    """Points on three axes, m."""

    x: Array
    y: Array
    z: Array

    def empty(self, far_m: float) -> NDArray[np.float32]:
        """A field with nothing in it."""
        return np.full((len(self.x), len(self.y), len(self.z)), far_m, np.float32)

    def part(self, low: Array, high: Array) -> tuple[tuple[slice, slice, slice], NDArray[np.float32]]:
        """The grid's points inside a box, (a, b, c, 3), and where they are."""
        slices = []
        for axis, a, b in zip((self.x, self.y, self.z), low, high, strict=True):
            slices.append(slice(int(np.searchsorted(axis, a)), int(np.searchsorted(axis, b, side="right"))))
        where = (slices[0], slices[1], slices[2])
        axes = [axis[part] for axis, part in zip((self.x, self.y, self.z), where, strict=True)]
        return where, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)


def melt(a: NDArray[np.float32], b: NDArray[np.float32], blend_m: float) -> NDArray[np.float32]:
    """Union with a fillet about `blend_m` wide: the quadratic smooth minimum."""
    if blend_m == 0:
        return np.minimum(a, b)
    near = np.maximum(np.float32(blend_m) - np.abs(a - b), 0)
    return np.minimum(a, b) - near * near * np.float32(0.25 / blend_m)


def union(grid: Grid, bodies: Sequence[Cone], blend_m: float, far_m: float) -> NDArray[np.float32]:
    """Field of bodies that melt into each other; right where it is below `far_m`."""
    field = grid.empty(far_m)
    for body in bodies:
        where, points = grid.part(*body.reach(far_m))
        if points.size:
            field[where] = melt(field[where], body.distance(points), blend_m)
    return field
