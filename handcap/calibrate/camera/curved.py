"""Where a corner seems to lie when the lens bends the edges that meet in it.

Corners are refined as the point that all edges within a window point to. A straight edge points to its corner wherever
it is looked at. An edge that the lens bends points beside it: at the distance s its tangent misses the corner by
curvature × s² / 2, to the side away from which it bends: a hundredth of a pixel at the border of a wide lens, but
the same in all pictures, so that it does not average out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import erf

from handcap.calibrate.camera.bundle import Setup, Sightings, explained_px
from handcap.geometry import Array, inverse, transform

_LEAST_ANGLE = 0.2  # sine of it; edges more aslant than this fix no corner


def straightened(setup: Setup, seen: Sightings) -> Sightings:
    """Corners where they would have been found, had the lens left their edges straight."""
    return replace(seen, px=seen.px - seeming_shift_px(setup, seen))


def seeming_shift_px(setup: Setup, seen: Sightings) -> Array:
    """(n, 2) by how much corners refined within their windows lie off for the lens's curvature; zero without a window.

    Args:
        setup: what explains the corners, roughly is enough.
        seen: they.
    """
    here, valid = explained_px(setup, seen)
    normals, offsets = np.zeros((len(seen), 2, 2)), np.zeros((len(seen), 2))
    known = valid & (seen.window_px > 0)
    for axis in range(2):
        ahead, behind, fine = _along(setup, seen, axis)
        known = np.logical_and(known, fine)
        chord = ahead - behind
        along = chord / np.maximum(np.linalg.norm(chord, axis=1, keepdims=True), 1e-9)
        normal = np.column_stack([-along[:, 1], along[:, 0]])
        sagitta = np.sum(normal * ((ahead + behind) / 2 - here), axis=1)
        # OpenCV weighs a pixel at u half windows by exp(-u²); the window's border cuts the edge at `reach`.
        reach = 1 / np.maximum(np.abs(along).max(axis=1), 1e-9)
        mean_square = 0.5 - reach * np.exp(-(reach**2)) / (np.sqrt(np.pi) * erf(reach))
        normals[:, axis], offsets[:, axis] = normal, -sagitta * mean_square
    known = known & (np.abs(np.linalg.det(normals)) > _LEAST_ANGLE)
    shift = np.zeros((len(seen), 2))
    shift[known] = np.linalg.solve(normals[known], offsets[known][..., None])[..., 0]
    return shift


def _along(setup: Setup, seen: Sightings, axis: int) -> tuple[Array, Array, Array]:
    """Points (n, 2) half a window ahead of and behind every corner on the board's line along x or y; whether shown."""
    ahead, behind, valid = np.zeros((len(seen), 2)), np.zeros((len(seen), 2)), np.zeros(len(seen), bool)
    step = np.eye(3)[axis]
    for k, lens in enumerate(setup.lenses):
        mine = seen.camera == k
        T = inverse(setup.T_first_cam[k]) @ setup.T_first_board[seen.view[mine]]
        p_cam = transform(T, seen.p_board[mine])
        edge_cam = T[:, :3, :3] @ step
        px_per_m = np.linalg.norm(np.einsum("nij,nj->ni", lens.derivative(p_cam), edge_cam), axis=1)
        reach = (seen.window_px[mine] / np.maximum(px_per_m, 1e-6))[:, None] * edge_cam
        ahead[mine], good = lens.project(p_cam + reach)
        behind[mine], fine = lens.project(p_cam - reach)
        valid[mine] = good & fine
    return ahead, behind, valid
