"""Tracks without a depth of their own, at points that are known already.

A camera that rests has no parallax. What passes before it takes the features with a depth away, and those found in
their places have none, until nothing holds the camera any more. But it sees the same corners: a track that begins where
a known point lies, while that point is not seen otherwise, is that point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import KDTree

from handcap.cameras import Camera
from handcap.geometry import Array, inverse, transform
from handcap.reconstruct.landmarks import Landmarks, Observations, ordered, views, with_views


@dataclass(frozen=True, slots=True)
class AdoptParams:
    """Where it is done, and how near is the same."""

    few: int = 20  # landmarks seen by a keyframe that needs more
    least_views: int = 3  # of a track
    reach_px: float = 6.0  # by which a keyframe's pose may let all its points be off together
    near_px: float = 2.0  # then
    least_agree: int = 6  # tracks of a keyframe, to tell by how much


def adopted(
    seen: Observations,
    known: Observations,
    marks: Landmarks,
    T_world_cam: Array,
    camera: Camera,
    params: AdoptParams | None = None,
) -> Observations | None:
    """What is `known`, and tracks of all that was `seen` under the ids of the points they show; None if there are none.

    Args:
        seen, known: of the first camera; `known` those that place `marks`.
        T_world_cam: (n, 4, 4) by keyframe.
    """
    params = params or AdoptParams()
    needy = views(known, len(T_world_cam)) < params.few
    loose = with_views(seen.where(~np.isin(seen.track, known.track)), params.least_views)
    loose = loose.where(np.isin(loose.track, loose.track[needy[loose.keyframe]]))
    if not len(loose) or not len(marks.track):
        return None
    _, begin = np.unique(loose.track, return_index=True)
    seen_at = {int(k): known.track[known.keyframe == k] for k in np.unique(loose.keyframe)}
    label: dict[int, int] = {}
    taken: dict[int, set[int]] = {}  # keyframes by point
    for k in np.unique(loose.keyframe[begin]):
        rows = begin[loose.keyframe[begin] == k]
        free = ~np.isin(marks.track, seen_at[int(k)])
        pixel, valid = camera.project(transform(inverse(T_world_cam[k]), marks.p_world[free]))
        ids, pixel = marks.track[free][valid], pixel[valid]
        for row, which in _matches(loose.pixel[rows], pixel, params):
            track, point = int(loose.track[rows[row]]), int(ids[which])
            at = set(loose.keyframe[loose.track == track].tolist())
            if any(point in seen_at[j] for j in at) or at & taken.get(point, set()):
                continue
            label[track] = point
            taken.setdefault(point, set()).update(at)
    if not label:
        return None
    found = loose.where(np.isin(loose.track, np.array(list(label), np.int64)))
    named = np.array([label[int(t)] for t in found.track], np.int64)
    return ordered([known, replace(found, track=named)])


def _matches(tracks_px: Array, points_px: Array, params: AdoptParams) -> list[tuple[int, int]]:
    """Track and point, the nearest first; none unless enough agree on where the keyframe's points lie."""
    if not len(points_px):
        return []
    tree = KDTree(points_px)
    far, which = map(np.asarray, tree.query(tracks_px, distance_upper_bound=params.reach_px))
    near = np.isfinite(far)
    if near.sum() < params.least_agree:
        return []
    shift = np.median(tracks_px[near] - points_px[which[near]], axis=0)
    far, which = map(np.asarray, tree.query(tracks_px - shift, distance_upper_bound=params.near_px))
    rows = np.flatnonzero(np.isfinite(far))
    if len(rows) < params.least_agree:
        return []
    rows = rows[np.argsort(far[rows], kind="stable")]
    return [(int(row), int(which[row])) for row in rows]
