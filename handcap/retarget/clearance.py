"""What comes near what: capsules around shapes tell cheaply, coal tells exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.retarget.kinematics import Posed, point_jacobian, supports
from handcap.retarget.model import Body

Rows = NDArray[np.int64]
_ROWS_AT_ONCE = 1000
_SLACK_M = 0.06
_CLOSE_M = 0.002


@dataclass(frozen=True, eq=False, slots=True)
class Near:
    """Pairs of shapes that are nearer than asked.

    Attributes:
        row: (m,) of the motion, not decreasing.
        pair: (m,) index of the body's pairs.
        distance_m: (m,) negative where they overlap.
        margin_m: (m,) that was asked of the pair.
        gradient: (m, d) of the distance, m per unit of each joint.
    """

    row: Rows
    pair: Rows
    distance_m: Array
    margin_m: Array
    gradient: Array


class Clearance:
    """Distances within a body, and between it and surfaces."""

    def __init__(self, body: Body) -> None:
        import pinocchio as pin

        self._pin: Any = pin
        self._model, self._geometry = body.model, body.geometry
        self._data = body.model.createData()
        self._carried = supports(body)
        objects = list(body.geometry.geometryObjects)
        self._joint = np.array([o.parentJoint for o in objects], np.int64)
        capsules = [_capsule(o) for o in objects]
        self._ends = np.array([(a, b) for a, b, _ in capsules]).reshape(-1, 2, 3)
        self._radius = np.array([r for *_, r in capsules])
        self.pairs = np.array([(p.first, p.second) for p in body.geometry.collisionPairs], np.int64).reshape(-1, 2)
        self._flat = np.array([o.name.startswith("surface_") for o in objects], bool)
        # Shapes two joints apart are never far from each other; only contact counts for them.
        self._close = np.array([joints_between(body, int(a), int(b)) <= 2 for a, b in self._joint[self.pairs]], bool)
        self._box = np.zeros((len(objects), 2, 3))
        self._kept: tuple[Array, float, Rows, Rows] | None = None
        self.stand(np.eye(4))

    def stand(self, T_built_world: Array) -> None:
        """Put the surfaces elsewhere: (4, 4) takes the world's coordinates to those that the body was built in."""
        self._kept = None
        for k in np.flatnonzero(self._flat):
            shape = self._geometry.geometryObjects[int(k)]
            shape.placement = self._pin.SE3(T_built_world)
            points = shape_points(shape.geometry) @ T_built_world[:3, :3].T + T_built_world[:3, 3]
            self._box[k] = points.min(axis=0), points.max(axis=0)

    def names(self, pair: int) -> tuple[str, str]:
        """Of the two shapes of a pair."""
        objects = self._geometry.geometryObjects
        first, second = (objects[int(k)].name for k in self.pairs[pair])
        return first, second

    def between(self, arms: Sequence[NDArray[np.int64]]) -> NDArray[np.bool_]:
        """(pairs,) whether the shapes of a pair belong to two of these arms, given by their columns of joints."""
        arm = np.full(len(self._carried), -1)
        for k, columns in enumerate(arms):
            arm[np.any(self._carried[:, columns] > 0, axis=1)] = k
        first, second = arm[self._joint[self.pairs[:, 0]]], arm[self._joint[self.pairs[:, 1]]]
        return (first >= 0) & (second >= 0) & (first != second)

    def near(self, q: Array, posed: Posed, margin_m: float) -> Near:
        """Pairs nearer than a margin, or than 2 mm where they are always close, in postures (n, d)."""
        pin = self._pin
        d = q.shape[1]
        T = posed.T_world_joint[:, self._joint]  # (n, shapes, 4, 4)
        ends = np.matmul(self._ends, np.swapaxes(T[..., :3, :3], -1, -2)) + T[..., None, :3, 3]
        rows, pairs = self._candidates(ends, margin_m)
        margins = np.where(self._close[pairs], min(margin_m, _CLOSE_M), margin_m)
        soon = self._bound(ends, rows, pairs) < margins
        rows, pairs, margins = rows[soon], pairs[soon], margins[soon]
        distance, points, normals = np.empty(len(rows)), np.empty((len(rows), 2, 3)), np.empty((len(rows), 3))
        shapes = self._geometry.createData()  # it remembers what it was asked before, and answers otherwise then
        last = -1
        for k, (row, pair) in enumerate(zip(rows.tolist(), pairs.tolist(), strict=True)):
            if row != last:
                pin.updateGeometryPlacements(self._model, self._data, self._geometry, shapes, q[row])
                last = row
            result = pin.computeDistance(self._geometry, shapes, pair)
            distance[k] = result.min_distance
            if distance[k] < margins[k]:
                points[k, 0], points[k, 1] = result.getNearestPoint1(), result.getNearestPoint2()
                normals[k] = result.normal
        keep = distance < margins
        rows, pairs, margins = rows[keep], pairs[keep], margins[keep]
        distance, points, normals = distance[keep], points[keep], normals[keep]
        # The normal points from the first shape to the second: distance grows when the second moves along it.
        moved = np.zeros((len(rows), 3, d))
        for which, sign in ((0, -1.0), (1, 1.0)):
            carried = self._carried[self._joint[self.pairs[pairs, which]]]
            moved += sign * point_jacobian(posed.J_world[rows], points[:, which]) * carried[:, None, :]
        return Near(rows, pairs, distance, margins, np.einsum("mi,mij->mj", normals, moved))

    def _candidates(self, ends: Array, margin_m: float) -> tuple[Rows, Rows]:
        """Row and pair of all that could be nearer than the margin: capsules (n, shapes, 2, 3) around them are.

        The answer for a wider margin is kept, and serves until a capsule has moved by half the difference.
        """
        kept = self._kept
        if kept is not None and kept[0].shape == ends.shape:
            moved_m = float(np.sqrt(np.square(ends - kept[0]).sum(axis=-1).max(initial=0.0)))
            if margin_m + 2 * moved_m <= kept[1]:
                return kept[2], kept[3]
        wide = margin_m + _SLACK_M
        found_rows, found_pairs = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for start in range(0, len(ends) if len(self.pairs) else 0, _ROWS_AT_ONCE):
            row, pair = self._within(ends[start : start + _ROWS_AT_ONCE], wide)
            found_rows.append(row + start)
            found_pairs.append(pair)
        self._kept = (ends, wide, np.concatenate(found_rows), np.concatenate(found_pairs))
        return self._kept[2], self._kept[3]

    def _bound(self, ends: Array, rows: Rows, pairs: Rows) -> Array:
        """No more than the distance (m,) of pairs of shapes; of surfaces minus infinity."""
        first, second = self.pairs[pairs, 0], self.pairs[pairs, 1]
        apart = _segments_apart(ends[rows, first], ends[rows, second]) - self._radius[first] - self._radius[second]
        return np.where(self._flat[second], -np.inf, apart)

    def _within(self, ends: Array, margin_m: float) -> tuple[Rows, Rows]:
        flat = np.flatnonzero(self._flat[self.pairs[:, 1]])
        round_ = np.flatnonzero(~self._flat[self.pairs[:, 1]])
        first, second = self.pairs[:, 0], self.pairs[:, 1]
        # Spheres around the capsules first: most pairs are far apart.
        middle = ends.mean(axis=2)
        size = self._radius + np.linalg.norm(self._ends[:, 1] - self._ends[:, 0], axis=-1) / 2
        a, b = first[round_], second[round_]
        gap = middle[:, a] - middle[:, b]
        row, which = np.nonzero(np.einsum("npi,npi->np", gap, gap) < (margin_m + size[a] + size[b]) ** 2)
        a, b = a[which], b[which]
        near = _segments_apart(ends[row, a], ends[row, b]) < margin_m + self._radius[a] + self._radius[b]
        row, pair = row[near], round_[which[near]]
        if len(flat):
            low, high = ends[:, first[flat]].min(axis=2), ends[:, first[flat]].max(axis=2)
            box = self._box[second[flat]]
            gap = np.maximum(np.maximum(box[:, 0] - high, low - box[:, 1]), 0.0)
            flat_row, which = np.nonzero(np.linalg.norm(gap, axis=-1) < margin_m + self._radius[first[flat]])
            row, pair = np.concatenate([row, flat_row]), np.concatenate([pair, flat[which]])
            order = np.lexsort((pair, row))
            row, pair = row[order], pair[order]
        return row, pair


def joints_between(body: Body, first: int, second: int) -> int:
    """How many joints lie between two joints of the tree, along it: 1 for neighbours."""
    above, others = set(body.model.supports[first]), set(body.model.supports[second])
    return len(above ^ others)


def _segments_apart(a: Array, b: Array) -> Array:
    """Distance between segments (..., 2, 3). Ericson, Real-Time Collision Detection, 5.1.9."""
    d1, d2, r = a[..., 1, :] - a[..., 0, :], b[..., 1, :] - b[..., 0, :], a[..., 0, :] - b[..., 0, :]
    aa, ee, f = (d1 * d1).sum(-1), (d2 * d2).sum(-1), (d2 * r).sum(-1)
    c, bb = (d1 * r).sum(-1), (d1 * d2).sum(-1)
    tiny = 1e-12
    denominator = aa * ee - bb * bb
    s = np.where(denominator > tiny, np.clip((bb * f - c * ee) / np.maximum(denominator, tiny), 0, 1), 0.0)
    t = np.where(ee > tiny, (bb * s + f) / np.maximum(ee, tiny), 0.0)
    s = np.where((t < 0) | (ee <= tiny), np.clip(-c / np.maximum(aa, tiny), 0, 1), s)
    s = np.where(t > 1, np.clip((bb - c) / np.maximum(aa, tiny), 0, 1), s)
    t = np.clip(t, 0, 1)
    return np.linalg.norm(r + s[..., None] * d1 - t[..., None] * d2, axis=-1)


def _capsule(shape: Any) -> tuple[Array, Array, float]:
    """Ends and radius of a capsule around a shape, in its joint's frame."""
    T = shape.placement.homogeneous
    points = shape_points(shape.geometry) @ T[:3, :3].T + T[:3, 3]
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


def shape_points(geometry: Any) -> Array:
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
