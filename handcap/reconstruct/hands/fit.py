"""The hand that explains one moment best: its rays, the wearer's bones, the network's shape.

Least squares over 21 points; one view suffices, as bones of known length fix how far the hand is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handcap.geometry import Array, project_to_so3
from handcap.reconstruct.hands.bones import BONES, lengths_m


@dataclass(frozen=True, slots=True)
class FitParams:
    """How far each part is believed; standard deviations."""

    ray_rad: float = 0.006  # of a landmark, what two views do not share: 1.6 px at 265 px focal length
    bone_m: float = 0.0025
    shape_m: float = 0.020  # of the network's shape, however turned
    steps: int = 15


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """One view in the common frame: (3,) origin, (21, 3) unit rays, (21, 3) relative shape, m."""

    origin: Array
    rays: Array
    relative_m: Array


def start(view: View, bones_m: Array) -> Array:
    """(21, 3) points on the rays of one view: as far as bones of this length appear, the network's shape around.

    Least squares for the distance d and the middle c of `ray_j × (relative_j · scale + c) = 0`, linear in c.
    """
    shape = at_size(view.relative_m, bones_m)
    across = np.eye(3) - view.rays[:, :, None] * view.rays[:, None, :]
    centre = np.linalg.solve(across.sum(axis=0), -np.einsum("jab,jb->a", across, shape))
    along = np.einsum("ja,ja->j", view.rays, shape + centre)
    return view.origin + view.rays * np.maximum(along, 0.05)[:, None]


def at_size(relative_m: Array, bones_m: Array) -> Array:
    """(21, 3) a shape about its middle, grown to bones of these lengths."""
    shape = relative_m - relative_m.mean(axis=0)
    return shape * np.median(bones_m / np.maximum(lengths_m(shape), 1e-6))


def _turn(p_a: Array, p_b: Array) -> Array:
    """`R_b_a` (3, 3) that brings points (k, 3) about their middle nearest to others; Kabsch 1976."""
    return project_to_so3(p_b.T @ p_a)


def fitted(views: Sequence[View], bones_m: Array, bone_sigma: float, params: FitParams) -> tuple[Array, Array, float]:
    """Joints of one moment.

    Args:
        views: one or more.
        bones_m: (26,) lengths.
        bone_sigma: of their common scale, relative; it shows in the covariance of a single view.

    Returns:
        (21, 3) m, their joint covariance (63, 63), m², and the cost per number.
    """
    x = start(views[0], bones_m)
    if len(views) > 1:
        x = (x + start(views[1], bones_m)) / 2
    n = 63
    normal, cost = np.eye(n), 0.0
    for _ in range(params.steps):
        normal, right, cost = np.zeros((21, 3, 21, 3)), np.zeros((21, 3)), 0.0
        j = np.arange(21)
        for view in views:
            d = x - view.origin
            far = np.linalg.norm(d, axis=1)
            across = np.eye(3) - view.rays[:, :, None] * view.rays[:, None, :]
            off = np.einsum("jab,jb->ja", across, d)
            miss = np.linalg.norm(off, axis=1) / far / params.ray_rad
            weight = 1 / (1 + miss**2 / 16) / (far * params.ray_rad) ** 2  # Cauchy at 4 sigma
            normal[j, :, j, :] += weight[:, None, None] * across
            right -= weight[:, None] * off
            cost += float((miss**2).sum())
            # The network's shape at the wearer's size, however turned: it flattens what is tilted, so its depths are
            # no measure of the tilt.
            w = 1 / params.shape_m**2
            shape, middle = at_size(view.relative_m, bones_m), x.mean(axis=0)
            turned = shape @ _turn(shape, x - middle).T
            normal += w * (np.eye(21) - 1 / 21)[:, None, :, None] * np.eye(3)[None, :, None, :]
            right -= w * (x - middle - turned)
        a, b = BONES.T
        d = x[a] - x[b]
        length = np.linalg.norm(d, axis=1)
        unit = d / np.maximum(length, 1e-6)[:, None]
        w = 1 / params.bone_m**2
        outer = w * unit[:, :, None] * unit[:, None, :]
        for k in range(len(BONES)):
            normal[a[k], :, a[k], :] += outer[k]
            normal[b[k], :, b[k], :] += outer[k]
            normal[a[k], :, b[k], :] -= outer[k]
            normal[b[k], :, a[k], :] -= outer[k]
        pull = w * (length - bones_m)[:, None] * unit
        np.add.at(right, a, -pull)
        np.add.at(right, b, pull)
        flat = normal.reshape(n, n) + 1e2 * np.eye(n)
        step = np.linalg.solve(flat, right.reshape(n)).reshape(21, 3)
        x = x + step * min(1.0, 0.05 / max(float(np.abs(step).max()), 1e-9))
        if np.abs(step).max() < 1e-5:
            break
    cov = np.asarray(np.linalg.inv(normal.reshape(n, n) + 1e2 * np.eye(n)), float)
    if len(views) == 1:
        # All bones too long by one share puts the hand too far by the same.
        grow = (x - views[0].origin).reshape(n) * bone_sigma
        cov = cov + np.outer(grow, grow)
    return x, cov, cost / (42 * len(views))
