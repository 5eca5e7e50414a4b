"""Level surfaces among the map's points: the floor, and what one works on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, KDTree, QhullError

from handcap.geometry import Array

Kind = Literal["floor", "surface", "overhead"]
Rows = NDArray[np.int64]
_NARROWEST_M = 0.002  # no map is better than that, and weights must not pick single points
_LONELY = 2.5  # times the usual distance to the fourth neighbour


@dataclass(frozen=True, slots=True)
class PlaneParams:
    band_m: float = 0.03  # a level surface's points lie within it, noise of the map at arm's length and 1° included
    band_per_m: float = 0.05  # and farther below the head within so much per metre: depth is known worse there
    min_points: int = 25
    neighbour_m: float = 0.35  # points of one surface are no farther apart
    neighbour_per_m: float = 0.5  # or so much per metre below the head: floors have few
    min_width_m: float = 0.2  # a ledge, or a wall seen edge on, is narrower
    min_contrast: float = 3.0  # times the points of equally thick bands just above and below, which clutter also fills
    max_tilt_rad: float = 0.05  # 3°, of the fit that knows nothing of gravity: 60 points tell the tilt to 1°
    level_rad: float = 0.009  # 0.5°: furniture and floors are levelled so, about each axis, better than points tell
    alike: float = 4.0  # points err together: on virtual takes heights err twice what as many independent ones would
    floor_below_head_m: tuple[float, float] = (1.2, 2.2)  # nearer may be a low table, farther is no floor one stands on


@dataclass(frozen=True, eq=False, slots=True)
class Plane:
    """A level surface in the world.

    Attributes:
        kind: floor; surface below the head; overhead.
        centre: (3,) mean of its points, put on the plane, m.
        normal: (3,) unit, upwards.
        sigma_m: of the height at the centre against the head, from the scatter of its points and the map's scale.
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


def find_planes(
    p_world: Array, head_world: Array, params: PlaneParams | None = None, scale_sigma: float = 0.0
) -> tuple[Plane, ...]:
    """Level surfaces, lowest first; none where too few points show one.

    Args:
        p_world: (m, 3) map, z up, m; the order does not matter.
        head_world: (n, 3) where the head was, m.
        scale_sigma: of the map, as a share; the deeper below the head, the more it shifts a surface.
    """
    params = params or PlaneParams()
    points = p_world[np.isfinite(p_world).all(axis=1)]
    points = points[np.lexsort(points.T)]  # by height
    if not len(points) or not len(head_world):
        return ()
    head_z = float(np.median(head_world[:, 2]))
    depth = np.abs(head_z - points[:, 2])
    half_band = np.maximum(params.band_m, params.band_per_m * depth) / 2
    free, untried = np.ones((2, len(points)), bool)
    found: list[tuple[Plane, Rows]] = []
    while True:
        z = points[free, 2]
        count = np.searchsorted(z, points[:, 2] + half_band) - np.searchsorted(z, points[:, 2] - half_band)
        best = int(np.argmax(np.where(untried & free, count, 0)))
        if not (untried & free)[best] or count[best] < params.min_points:
            break
        off = np.abs(points[:, 2] - points[best, 2])
        untried &= off > half_band[best] / 2
        reach_m = max(params.neighbour_m, params.neighbour_per_m * depth[best])
        for rows in _clusters(points, np.flatnonzero(free & (off <= half_band[best])), reach_m, params.min_points):
            fit = _fit(points, rows, half_band[best], scale_sigma * depth[best], params)
            if fit is not None and not any(_same(old, fit, points, 4 * half_band[best]) for old in found):
                found.append(fit)
                free[fit[1]] = False
    return _named([plane for plane, _ in found], head_z, params)


def _same(old: tuple[Plane, Rows], new: tuple[Plane, Rows], points: Array, apart_m: float) -> bool:
    """Whether two lie over each other too closely to be two: the rim of one surface's noise, or low things on it."""
    if abs(old[0].above_m(new[0].centre[None])[0]) > apart_m:
        return False
    return any(a[0].covers(points[b[1]]).mean() > 0.5 for a, b in ((old, new), (new, old)))


def _named(found: list[Plane], head_z: float, params: PlaneParams) -> tuple[Plane, ...]:
    """Lowest first, each told what it is; without those under the floor: reflections, wrong points in numbers."""
    found = sorted(found, key=lambda plane: plane.centre[::-1].tolist())
    near, far = params.floor_below_head_m
    heights = [plane.centre[2] for plane in found if head_z - plane.centre[2] <= far]
    floor_z = heights[0] if heights and head_z - heights[0] >= near else None
    lowest = head_z - far if floor_z is None else floor_z
    planes = []
    for plane in found:
        z = plane.centre[2]
        same = floor_z is not None and z - floor_z < params.band_m
        kind: Kind = "floor" if same else "surface" if z < head_z else "overhead"
        if z >= lowest:
            planes.append(replace(plane, kind=kind))
    return tuple(planes)


def _clusters(points: Array, rows: Rows, reach_m: float, least: int) -> list[Rows]:
    """Rows that hang together seen from above, the largest group first."""
    pairs = KDTree(points[rows, :2]).query_pairs(reach_m, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(rows), len(rows)))
    _, label = connected_components(links, directed=False)
    groups = [rows[label == k] for k in range(label.max() + 1)]
    return sorted((g for g in groups if len(g) >= least), key=lambda g: (-len(g), int(g[0])))


def _fit(
    points: Array, rows: Rows, half_band_m: float, scale_m: float, params: PlaneParams
) -> tuple[Plane, Rows] | None:
    """A plane through a flat group, and its rows; None where narrow, tilted, or no denser than its surroundings."""
    freely = _robust(points[rows], half_band_m, np.inf)
    if np.hypot(*freely.slope) > np.tan(params.max_tilt_rad):
        return None
    fit = _robust(points[rows], half_band_m, params.level_rad)
    rows = rows[np.abs(fit.above(points[rows])) < 3 * fit.noise_m]
    if len(rows) < params.min_points:
        return None
    p = points[rows]
    # A wrong point beside a table is lonely; at the corner of evenly strewn points neighbours are twice as far.
    apart = KDTree(p[:, :2]).query(p[:, :2], k=5)[0][:, -1]
    firm = p[apart <= _LONELY * np.median(apart)]
    spread = np.linalg.svd(firm[:, :2] - firm[:, :2].mean(axis=0), compute_uv=False)[-1] / np.sqrt(len(firm))
    # A uniform strip of width w spreads by w / √12.
    if spread * np.sqrt(12) < params.min_width_m:
        return None
    try:
        hull = firm[ConvexHull(firm[:, :2]).vertices]
    except QhullError:
        return None
    # A table's top has things on it and nothing in it, while clutter fills the bands around as well; and what a
    # surface's noise leaves beside it is not as dense as the surface.
    above = fit.above(points[_inside(hull[:, :2], points[:, :2], 0.0)]) / (2 * half_band_m)
    around = np.sum((np.abs(above) > 1) & (np.abs(above) <= 3)) / 4
    beside = max(np.sum((above > 0.5) & (above <= 1.5)), np.sum((above < -0.5) & (above >= -1.5)))
    if len(rows) < max(params.min_contrast * around, beside):
        return None
    hull[:, 2] -= fit.above(hull)
    centre = p.mean(axis=0)
    centre[2] -= fit.above(centre[None])[0]
    normal = np.array([*-fit.slope, 1.0]) / np.sqrt(1 + fit.slope @ fit.slope)
    sigma_m = float(np.hypot(np.sqrt(params.alike) * fit.sigma_m, scale_m))
    tilt_rad = float(np.arctan(np.hypot(*fit.slope)))
    return Plane("surface", centre, normal, sigma_m, tilt_rad, hull, len(rows)), rows


@dataclass(frozen=True, eq=False, slots=True)
class _Sheet:
    """z = height_m + slope @ (xy - middle): `noise_m` of its points, `sigma_m` of the height in the middle."""

    middle: Array
    height_m: float
    slope: Array
    noise_m: float
    sigma_m: float

    def above(self, p: Array) -> Array:
        return p[:, 2] - self.height_m - (p[:, :2] - self.middle) @ self.slope


def _robust(p: Array, half_band_m: float, level_rad: float) -> _Sheet:
    """Where (n, 3) points are densest: what stands on a table or sticks out of it weighs little (Welsch's weights).

    Args:
        level_rad: sigma of the slope about level, per axis; infinite where nothing is known.
    """
    middle, start = p[:, :2].mean(axis=0), float(np.median(p[:, 2]))
    A = np.c_[p[:, :2] - middle, np.ones(len(p))]
    z = p[:, 2] - start
    level = np.diag([level_rad**-2, level_rad**-2, 0.0])
    x, width, noise = np.zeros(3), half_band_m, half_band_m
    information = np.eye(3)
    for _ in range(12):
        left = z - A @ x
        weight = np.exp(-0.5 * (left / width) ** 2)
        seen = float(weight @ left**2 / weight.sum())
        # Normal noise of variance v, weighted so, shows v w² / (v + w²).
        noise = min(np.sqrt(seen / max(1 - seen / width**2, 1e-3)), half_band_m)
        noise = max(noise, 1e-4)
        information = A.T @ (weight[:, None] * A) / noise**2 + level
        x = np.linalg.lstsq(information, A.T @ (weight * z) / noise**2, rcond=1e-12)[0]
        width = min(max(1.5 * noise, _NARROWEST_M), half_band_m)
    sigma_m = float(np.sqrt(np.linalg.pinv(information)[2, 2]))
    return _Sheet(middle, start + float(x[2]), x[:2], float(noise), sigma_m)


def _inside(polygon: Array, p: Array, margin_m: float) -> NDArray[np.bool_]:
    """(n,) whether (n, 2) points lie in a counter-clockwise convex polygon, (k, 2)."""
    edge = np.roll(polygon, -1, axis=0) - polygon
    outward = np.c_[edge[:, 1], -edge[:, 0]] / np.maximum(np.linalg.norm(edge, axis=1), 1e-12)[:, None]
    return np.all(np.einsum("nkd,kd->nk", p[:, None] - polygon, outward) <= margin_m, axis=1)
