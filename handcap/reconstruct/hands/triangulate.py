"""Where rays of two views meet."""

from __future__ import annotations

import numpy as np

from handcap.geometry import Array, transform


def triangulated(T_a_b: Array, rays_a: Array, rays_b: Array) -> Array:
    """Points nearest to two rays each, least squares weighted by distance; Lee and Civera 2019 call it midpoint.

    Args:
        T_a_b: (4, 4) pose of view b in view a.
        rays_a, rays_b: (..., 3) unit, each in its own view.

    Returns:
        (..., 3) in a, m; NaN where the rays do not meet before both views.
    """
    towards = np.stack([rays_a, rays_b @ T_a_b[:3, :3].T], axis=-2)
    origins = np.stack([np.zeros(3), T_a_b[:3, 3]])
    across = np.eye(3) - towards[..., :, None] * towards[..., None, :]
    weight, point, along = np.ones(towards.shape[:-1]), towards[..., 0, :], np.ones(towards.shape[:-1])
    for _ in range(3):  # an angle counts for more metres the farther the point
        normal = np.einsum("...v,...vij->...ij", weight, across) + 1e-12 * np.eye(3)
        right = np.einsum("...v,...vij,vj->...i", weight, across, origins)
        point = np.linalg.solve(normal, right[..., None])[..., 0]
        along = np.einsum("...vi,...vi->...v", towards, point[..., None, :] - origins)
        weight = 1 / np.maximum(along, 0.05) ** 2
    point[np.any(along <= 0, axis=-1)] = np.nan
    return point


def misses_rad(T_a_b: Array, rays_a: Array, rays_b: Array) -> Array:
    """(...,) angle between ray b and the plane through ray a and the base line: two views of one hand agree in it."""
    base = T_a_b[:3, 3] / np.linalg.norm(T_a_b[:3, 3])
    plane = np.cross(base, rays_a)
    plane = plane / np.maximum(np.linalg.norm(plane, axis=-1, keepdims=True), 1e-9)
    return np.abs(np.einsum("...i,...i->...", plane, transform(T_a_b, rays_b) - T_a_b[:3, 3]))
