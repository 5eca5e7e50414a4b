"""What comes near what: capsules around shapes tell cheaply, coal tells exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.retarget.kinematics import Posed, point_jacobian, supports
from handcap.retarget.model import Body

Rows = NDArray[np.int64]
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, eq=False, slots=True)
class Near:
    """Pairs of shapes that are nearer than asked.

    Attributes:
        row: (m,) of the motion, not decreasing.
        pair: (m,) index of the body's pairs.
        distance_m: (m,) negative where they overlap.
        gradient: (m, d) of the distance, m per unit of each joint.
    """

    row: Rows
    pair: Rows
    distance_m: Array
    gradient: Array


class Clearance:
    """Distances within a body, and between it and surfaces."""

    def __init__(self, body: Body) -> None:
        import pinocchio as pin

        self._pin: Any = pin
        self._model, self._geometry = body.model, body.geometry
        self._data, self._shapes = body.model.createData(), body.geometry.createData()
        self._carried = supports(body)
        objects = list(body.geometry.geometryObjects)
        self._joint = np.array([o.parentJoint for o in objects], np.int64)
        capsules = [_capsule(o) for o in objects]
        self._ends = np.array([(a, b) for a, b, _ in capsules]).reshape(-1, 2, 3)
        self._radius = np.array([r for *_, r in capsules])
        self.pairs = np.array([(p.first, p.second) for p in body.geometry.collisionPairs], np.int64).reshape(-1, 2)
        self._flat = np.array([o.name.startswith("surface_") for o in objects], bool)
        self._box = np.array([_box(o) if f else np.zeros((2, 3)) for o, f in zip(objects, self._flat, strict=True)])

    def names(self, pair: int) -> tuple[str, str]:
        """Of the two shapes of a pair."""
        objects = self._geometry.geometryObjects
        first, second = (objects[int(k)].name for k in self.pairs[pair])
        return first, second

    def near(self, q: Array, posed: Posed, margin_m: float) -> Near:
        """Pairs nearer than a margin, in postures (n, d)."""
        pin = self._pin
        d = q.shape[1]
        rows, pairs = self._candidates(posed, margin_m)
        distance, points, normals = np.empty(len(rows)), np.empty((len(rows), 2, 3)), np.empty((len(rows), 3))
        last = -1
        for k, (row, pair) in enumerate(zip(rows.tolist(), pairs.tolist(), strict=True)):
            if row != last:
                pin.updateGeometryPlacements(self._model, self._data, self._geometry, self._shapes, q[row])
                last = row
            result = pin.computeDistance(self._geometry, self._shapes, pair)
            distance[k] = result.min_distance
            if distance[k] < margin_m:
                points[k, 0], points[k, 1] = result.getNearestPoint1(), result.getNearestPoint2()
                normals[k] = result.normal
        keep = distance < margin_m
        rows, pairs, distance, points, normals = (a[keep] for a in (rows, pairs, distance, points, normals))
        # The normal points from the first shape to the second: distance grows when the second moves along it.
        moved = np.zeros((len(rows), 3, d))
        for which, sign in ((0, -1.0), (1, 1.0)):
            carried = self._carried[self._joint[self.pairs[pairs, which]]]
            moved += sign * point_jacobian(posed.J_world[rows], points[:, which]) * carried[:, None, :]
        return Near(rows, pairs, distance, np.einsum("mi,mij->mj", normals, moved))

    def _candidates(self, posed: Posed, margin_m: float) -> tuple[Rows, Rows]:
        """Row and pair of all that could be nearer than the margin: capsules around them are."""
        found_rows, found_pairs = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for start in range(0, len(posed.T_world_joint) if len(self.pairs) else 0, _ROWS_AT_ONCE):
            T = posed.T_world_joint[start : start + _ROWS_AT_ONCE][:, self._joint]  # (n, shapes, 4, 4)
            ends = np.einsum("ngij,gkj->ngki", T[..., :3, :3], self._ends) + T[..., None, :3, 3]
            bound = np.empty((len(T), len(self.pairs)))
            flat = self._flat[self.pairs[:, 1]]
            first, second = self.pairs[:, 0], self.pairs[:, 1]
            a, b = first[~flat], second[~flat]
            bound[:, ~flat] = _segments_apart(ends[:, a], ends[:, b]) - self._radius[a] - self._radius[b]
            low, high = ends[:, first[flat]].min(axis=2), ends[:, first[flat]].max(axis=2)
            box = self._box[second[flat]]
            gap = np.maximum(np.maximum(box[:, 0] - high, low - box[:, 1]), 0.0)
            bound[:, flat] = np.linalg.norm(gap, axis=-1) - self._radius[first[flat]]
            row, pair = np.nonzero(bound < margin_m)
            found_rows.append(row + start)
            found_pairs.append(pair)
        return np.concatenate(found_rows), np.concatenate(found_pairs)


def _segments_apart(a: Array, b: Array) -> Array:
    """Distance between segments (..., 2, 3). Ericson, Real-Time Collision Detection, 5.1.9."""
    d1, d2, r = a[..., 1, :] - a[..., 0, :], b[..., 1, :] - b[..., 0, :], a[..., 0, :] - b[..., 0, :]
    aa, ee, f = (d1 * d1).sum(-1), (d2 * d2).sum(-1), (d2 * r).sum(-1)
    c, bb = (d1 * r).sum(-1), (d1 * d2).sum(-1)
    tiny = 1e-12
    denominator = aa * ee - bb * bb
    s = np.where(denominator > tiny, np.clip((bb * f - c * ee) / np.maximum(denominator, tiny), 0, 1), 0.0)
    t = np.where(ee > tiny, (bb * s + f) / np.maximum(ee, tiny), 0.0)
    s = np.where(t < 0, np.clip(-c / np.maximum(aa, tiny), 0, 1), s)
    s = np.where(t > 1, np.clip((bb - c) / np.maximum(aa, tiny), 0, 1), s)
    t = np.clip(t, 0, 1)
    return np.linalg.norm(r + s[..., None] * d1 - t[..., None] * d2, axis=-1)


def _capsule(shape: Any) -> tuple[Array, Array, float]:
    """Ends and radius of a capsule around a shape, in its joint's frame."""
    T = shape.placement.homogeneous
    points = _points(shape.geometry) @ T[:3, :3].T + T[:3, 3]
    middle = points.mean(axis=0)
    _, _, axes = np.linalg.svd(points - middle, full_matrices=False)
    along = (points - middle) @ axes[0]
    across = np.linalg.norm(points - middle - along[:, None] * axes[0], axis=1).max()
    low, high = along.min() + across, along.max() - across
    if low > high:
        low = high = (low + high) / 2
    a, b = middle + low * axes[0], middle + high * axes[0]
    nearest = np.clip(along, low, high)[:, None] * axes[0] + middle
    return a, b, float(np.linalg.norm(points - nearest, axis=1).max())


def _box(shape: Any) -> Array:
    points = _points(shape.geometry)
    return np.stack([points.min(axis=0), points.max(axis=0)])


def _points(geometry: Any) -> Array:
    """Points whose hull holds a shape."""
    import coal

    if isinstance(geometry, coal.ConvexBase):
        return np.array(geometry.points())
    if isinstance(geometry, coal.Box):
        half = np.array(geometry.halfSide)
    elif isinstance(geometry, coal.Sphere):
        half = np.full(3, geometry.radius)
    elif isinstance(geometry, coal.Capsule):
        half = np.array([geometry.radius, geometry.radius, geometry.halfLength + geometry.radius])
    else:
        half = np.array([geometry.radius, geometry.radius, geometry.halfLength])
    corners = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1], indexing="ij"), axis=-1).reshape(-1, 3)
    return corners * half
