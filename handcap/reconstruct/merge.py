"""Tracks that are the same point seen at different times become one: the batch solver's loop closure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from handcap.cameras import Camera
from handcap.geometry import Array
from handcap.reconstruct.landmarks import GateParams, Landmarks, Observations, triangulate, with_views


@dataclass(frozen=True, slots=True)
class MergeParams:
    radius_m: float = 0.08  # how far apart drift and depth noise may have put the same point
    radius_share: float = 0.04  # of the distance it was seen from, where that is more
    hamming: int = 48  # of 256 bits; unrelated ORB descriptors differ by about 128
    worst_px: float = 3.0  # a merged point must fit all its views within this
    patch_px: float = 31.0  # ORB's


def describe(
    pictures: Iterable[tuple[int, NDArray[np.uint8]]],
    seen: Observations,
    marks: Landmarks,
    T_world_cam: Array,
    camera: Camera,
    params: MergeParams | None = None,
) -> dict[int, NDArray[np.uint8]]:
    """One upright ORB descriptor per landmark, from the keyframe in the middle of its track.

    Args:
        pictures: (keyframe index, full-size grey picture), any order.

    Returns:
        (32,) bytes by track id.
    """
    params = params or MergeParams()
    orb = cv2.ORB_create()  # type: ignore[attr-defined]
    row = _middle_rows(seen)
    row = row[np.isin(seen.track[row], marks.track)]
    # The world's up in the picture makes the descriptor independent of how the head was tilted.
    up_cam = np.einsum("kji,j->ki", T_world_cam[seen.keyframe[row], :3, :3], np.array([0.0, 0.0, 1.0]))
    above, _ = camera.project(seen.ray[row] + 0.02 * up_cam)
    angle = np.rad2deg(np.arctan2(*(above - seen.pixel[row]).T[::-1])) % 360
    out: dict[int, NDArray[np.uint8]] = {}
    for keyframe, picture in pictures:
        here = np.flatnonzero(seen.keyframe[row] == keyframe)
        points = [
            cv2.KeyPoint(float(x), float(y), params.patch_px, float(a), 0, 0, int(k))
            for k, (x, y), a in zip(here, seen.recorded_px[row[here]], angle[here], strict=True)
        ]
        if not points:
            continue
        kept, found = orb.compute(picture, points)
        for point, descriptor in zip(kept, found if found is not None else [], strict=False):
            out[int(seen.track[row[point.class_id]])] = descriptor
    return out


def _middle_rows(seen: Observations) -> NDArray[np.int64]:
    """Row of each track's middle observation by the first camera."""
    start = np.flatnonzero(np.diff(seen.track, prepend=-1))
    return start + np.add.reduceat(seen.camera == 0, start) // 2 if len(start) else start


def keyframes_to_describe(seen: Observations) -> NDArray[np.int64]:
    """Keyframes whose pictures `describe` needs, ascending."""
    return np.unique(seen.keyframe[_middle_rows(seen)])


def merge(
    seen: Observations,
    marks: Landmarks,
    descriptors: dict[int, NDArray[np.uint8]],
    T_world_cam: Array,
    camera: Camera,
    params: MergeParams | None = None,
) -> tuple[Observations, int]:
    """Join tracks that agree in place and looks and never appear in one picture; undo joins that do not fit.

    Returns:
        Observations under their joined ids, sorted, and the number of joins.
    """
    params = params or MergeParams()
    usable = np.isfinite(marks.p_world).all(axis=1) & np.isin(marks.track, np.array(sorted(descriptors), np.int64))
    ids, points = marks.track[usable], marks.p_world[usable]
    if len(ids) < 2:
        return seen, 0
    _, start = np.unique(seen.track, return_index=True)
    views = dict(zip(np.unique(seen.track).tolist(), np.split(seen.keyframe, start[1:]), strict=True))
    distance = np.array([np.linalg.norm(T_world_cam[views[t][0], :3, 3] - p) for t, p in zip(ids, points, strict=True)])
    radius = np.maximum(params.radius_m, params.radius_share * distance)
    pairs = KDTree(points).query_pairs(float(radius.max()), output_type="ndarray")
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    close = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1) < radius[pairs].min(axis=1)
    pairs = pairs[close]
    bits = np.unpackbits(np.array([descriptors[int(t)] for t in ids]), axis=1)
    differ = (bits[pairs[:, 0]] != bits[pairs[:, 1]]).sum(axis=1)
    alike = differ < params.hamming
    order = np.argsort(differ[alike], kind="stable")

    group = {int(t): int(t) for t in views}
    member_views = {t: set(v.tolist()) for t, v in views.items()}

    def root(t: int) -> int:
        while group[t] != t:
            t = group[t]
        return t

    joins = 0
    for a, b in ids[pairs[alike][order]]:
        ra, rb = root(int(a)), root(int(b))
        if ra == rb or member_views[ra] & member_views[rb]:
            continue
        group[rb] = ra
        member_views[ra] |= member_views[rb]
        joins += 1
    joined = _relabel(seen, np.array([root(int(t)) for t in seen.track.tolist()]))
    misfit = _misfits(joined, T_world_cam, camera, params)
    label = np.array([int(t) if root(int(t)) in misfit else root(int(t)) for t in seen.track.tolist()])
    undone = sum(1 for t in group if group[t] != t and root(t) in misfit)
    return _relabel(seen, label), joins - undone


def _relabel(seen: Observations, label: NDArray[np.int64]) -> Observations:
    order = np.lexsort((seen.keyframe, label))
    return replace(seen, track=label).where(order)


def _misfits(seen: Observations, T_world_cam: Array, camera: Camera, params: MergeParams) -> set[int]:
    """Tracks with any residual above the limit."""
    enough = with_views(seen, 2)
    _, residual = triangulate(enough, T_world_cam, camera, GateParams())
    bad = np.linalg.norm(residual, axis=1) > params.worst_px
    return set(enough.track[bad].tolist())
