"""Level surfaces among the map's points: the floor, and what one works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, KDTree, QhullError

from handcap.geometry import Array

Kind = Literal["floor", "surface", "overhead"]


@dataclass(frozen=True, slots=True)
class PlaneParams:
    band_m: float = 0.03  # a level surface's points lie within it, triangulation noise and 1° of tilt included
    min_points: int = 25
    neighbour_m: float = 0.35  # points of one surface are no farther apart; floors have few
    min_width_m: float = 0.2  # a ledge, or a wall seen edge on, is narrower
    min_contrast: float = (
        3.0  # times the points of an equally thick band just above and below, which clutter also fills
    )
    max_tilt_rad: float = 0.035  # 2°: furniture is levelled better, and 25 points tell it no better
    floor_below_head_m: tuple[float, float] = (1.2, 2.1)


@dataclass(frozen=True, eq=False, slots=True)
class Plane:
    """A level surface in the world.

    Attributes:
        kind: floor; surface below the head; overhead.
        centre: (3,) mean of its points, put on the plane, m.
        normal: (3,) unit, upwards.
        sigma_m: of the height at the centre, from the scatter of its points.
        tilt_rad: of the normal against gravity.
        polygon: (k, 3) convex hull of its points, on the plane, counter-clockwise from above, m.
        points: number of points on it.
    """

    kind: Kind
    centre: Array
    normal: Array
    sigma_m: float
    tilt_rad: float
    polygon: Array
    points: int

    @property
    def area_m2(self) -> float:
        x, y = self.polygon[:, 0], self.polygon[:, 1]
        return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)

    def above_m(self, p_world: Array) -> Array:
        """(n,) height of (n, 3) points above the plane."""
        return (p_world - self.centre) @ self.normal

    def covers(self, p_world: Array, margin_m: float = 0.0) -> NDArray[np.bool_]:
        """(n,) whether (n, 3) points lie over the polygon, or within a margin of its edges' lines."""
        return _inside(self.polygon[:, :2], p_world[:, :2], margin_m)


def find_planes(p_world: Array, head_world: Array, params: PlaneParams | None = None) -> tuple[Plane, ...]:
    """Level surfaces, lowest first; none where too few points show one.

    Args:
        p_world: (m, 3) map, z up, m; the order does not matter.
        head_world: (n, 3) where the head was, m.
    """
    params = params or PlaneParams()
    points = p_world[np.isfinite(p_world).all(axis=1)]
    points = points[np.lexsort(points.T)]  # by height
    if not len(points) or not len(head_world):
        return ()
    free = np.ones(len(points), bool)
    untried = np.ones(len(points), bool)
    found: list[tuple[Array, Array, float, Array, int]] = []
    while True:
        z = points[free, 2]
        low, high = (np.searchsorted(z, points[:, 2] + s * params.band_m / 2) for s in (-1, 1))
        count = np.where(untried & free, high - low, 0)
        best = int(np.argmax(count))
        if count[best] < params.min_points:
            break
        off = np.abs(points[:, 2] - points[best, 2])
        untried &= off > params.band_m / 4
        for rows in _clusters(points, np.flatnonzero(free & (off <= params.band_m / 2)), params):
            fit = _fit(points, rows, params)
            if fit is not None:
                found.append(fit[:5])
                free[fit[5]] = False
    head_z = float(np.median(head_world[:, 2]))
    found.sort(key=lambda f: (f[0][2], f[0][0], f[0][1]))
    near, far = params.floor_below_head_m
    floors = [k for k, f in enumerate(found) if near <= head_z - f[0][2] <= far]
    floor_z = found[floors[0]][0][2] if floors else -np.inf
    planes = []
    for centre, normal, sigma_m, polygon, n in found:
        level = abs(centre[2] - floor_z) < params.band_m
        if centre[2] < floor_z - params.band_m / 2 or (not floors and head_z - centre[2] > far):
            continue  # under the floor: a reflection, or a wrong point in numbers
        kind: Kind = "floor" if level else "surface" if centre[2] < head_z else "overhead"
        planes.append(Plane(kind, centre, normal, sigma_m, float(np.arccos(min(1.0, normal[2]))), polygon, n))
    return tuple(planes)


def _clusters(points: Array, rows: NDArray[np.int64], params: PlaneParams) -> list[NDArray[np.int64]]:
    """Rows that hang together seen from above, the largest group first."""
    pairs = KDTree(points[rows, :2]).query_pairs(params.neighbour_m, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(rows), len(rows)))
    _, label = connected_components(links, directed=False)
    groups = [rows[label == k] for k in range(label.max() + 1)]
    return sorted((g for g in groups if len(g) >= params.min_points), key=lambda g: (-len(g), int(g[0])))


def _fit(
    points: Array, rows: NDArray[np.int64], params: PlaneParams
) -> tuple[Array, Array, float, Array, int, NDArray[np.int64]] | None:
    """A plane of free tilt through a flat group; None where narrow, tilted, or no denser than its surroundings."""
    p, (middle, a, b, c, sigma, left) = points[rows], _least_squares(points[rows])
    for _ in range(3):
        rows = rows[np.abs(left) < 3 * sigma]
        if len(rows) < params.min_points:
            return None
        p, (middle, a, b, c, sigma, left) = points[rows], _least_squares(points[rows])
    spread = np.linalg.svd(p[:, :2] - middle[:2], compute_uv=False)[-1] / np.sqrt(len(p))
    normal = np.array([-a, -b, 1.0]) / np.sqrt(a * a + b * b + 1)
    # A uniform strip of width w spreads by w / √12.
    if spread * np.sqrt(12) < params.min_width_m or np.arccos(normal[2]) > params.max_tilt_rad:
        return None
    try:
        hull = p[ConvexHull(p[:, :2]).vertices]
    except QhullError:
        return None
    over = _inside(hull[:, :2], points[:, :2], 0.0)
    off = np.abs(points[:, 2] - middle[2] - (points[:, :2] - middle[:2]) @ [a, b] - c)
    # A table's top has things on it and nothing in it: clutter fills the bands around as well.
    around = np.sum(over & (off > params.band_m) & (off <= 3 * params.band_m)) / 4
    if len(rows) < params.min_contrast * around:
        return None
    hull[:, 2] = middle[2] + c + (hull[:, :2] - middle[:2]) @ [a, b]
    centre = np.array([middle[0], middle[1], middle[2] + c])
    return centre, normal, sigma / np.sqrt(len(rows)), hull, len(rows), rows


def _least_squares(p: Array) -> tuple[Array, float, float, float, float, Array]:
    """z = a x + b y + c about the mean of (n, 3) points: mean, a, b, c, robust sigma and (n,) what is left, m."""
    middle = p.mean(axis=0)
    A = np.c_[p[:, :2] - middle[:2], np.ones(len(p))]
    slope, *_ = np.linalg.lstsq(A, p[:, 2] - middle[2], rcond=None)
    left = p[:, 2] - middle[2] - A @ slope
    sigma = max(1.4826 * float(np.median(np.abs(left))), 1e-4)
    return middle, float(slope[0]), float(slope[1]), float(slope[2]), sigma, left


def _inside(polygon: Array, p: Array, margin_m: float) -> NDArray[np.bool_]:
    """(n,) whether (n, 2) points lie in a counter-clockwise convex polygon, (k, 2)."""
    edge = np.roll(polygon, -1, axis=0) - polygon
    outward = np.c_[edge[:, 1], -edge[:, 0]] / np.maximum(np.linalg.norm(edge, axis=1), 1e-12)[:, None]
    return np.all(np.einsum("nkd,kd->nk", p[:, None] - polygon, outward) <= margin_m, axis=1)
