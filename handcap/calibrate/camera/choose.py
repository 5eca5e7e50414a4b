"""Which views of many are worth fitting: sharp, slow, and each unlike the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.calibrate.camera.bundle import Sightings
from handcap.calibrate.camera.views import View
from handcap.cameras import Camera
from handcap.geometry import Array

_NEAR_NS = 500_000_000  # pictures further apart tell no speed


@dataclass(frozen=True, slots=True)
class ChooseParams:
    """What makes a view worth fitting.

    Attributes:
        pictures: looked at, of a recording that has more: half a minute's work.
        views: fitted at most. Of 240 pictures of a ChArUco board, 60 leave lenses up to 0.15 px off, 120 up to 0.07.
        least_corners: in a view.
        edge_px: a board whose edges are wider is blurred; real ones lie between 0.5 and 1.2.
        edge_times: nor may they be this many times wider than usual in these pictures.
    """

    pictures: int = 240
    views: int = 120
    least_corners: int = 8
    edge_px: float = 2.5
    edge_times: float = 2.0


def sharp_views(views: Sequence[View], params: ChooseParams) -> list[int]:
    """Places of views with enough corners that are not blurred."""
    enough = [k for k, view in enumerate(views) if len(view.seen) >= params.least_corners]
    if not enough:
        return []
    edges = np.array([views[k].edge_px for k in enough])
    limit = min(params.edge_px, params.edge_times * float(np.nanmedian(edges))) if np.isfinite(edges).any() else np.inf
    return [k for k, edge in zip(enough, edges, strict=True) if not edge > limit]


def speed_px_s(views: Sequence[View]) -> Array:
    """(n,) how fast the board moved in the picture, from the nearer neighbour in time; NaN where that is unknown."""
    speed = np.full(len(views), np.nan)
    for k in range(len(views) - 1):
        a, b = views[k], views[k + 1]
        if a.t_ns is None or b.t_ns is None or not 0 < b.t_ns - a.t_ns < _NEAR_NS:
            continue
        _, mine, theirs = np.intersect1d(a.seen.ids, b.seen.ids, return_indices=True)
        if len(mine) < 4:
            continue
        moved = float(np.median(np.linalg.norm(a.seen.px[mine] - b.seen.px[theirs], axis=1)))
        between = moved / ((b.t_ns - a.t_ns) * 1e-9)
        speed[k], speed[k + 1] = np.fmin(speed[k], between), np.fmin(speed[k + 1], between)
    return speed


def slow_views(speed: Array, most: int) -> NDArray[np.int64]:
    """Places of the slower half, or of the `most` slowest where that is more; those of unknown speed count as slow."""
    keep = max(most, -(-len(speed) // 2))
    return np.sort(np.argsort(np.nan_to_num(speed, nan=0.0), kind="stable")[:keep])


def spread_views(seen: Sightings, lens: Camera, T_cam_board: Array, most: int) -> NDArray[np.int64]:
    """Views that differ most from each other in place, distance, tilt and roll, ascending; at most `most`."""
    views = len(T_cam_board)
    if views <= most:
        return np.arange(views)
    traits = np.zeros((views, 7))
    for view in range(views):
        rows = seen.view == view
        px, T = seen.px[rows], T_cam_board[view]
        size = np.hypot(*np.std(px, axis=0)) / lens.width
        # Weights: half a picture sideways counts like 30 degrees of tilt, 50 of roll or twice the distance.
        traits[view] = [
            *(2 * px.mean(axis=0) / lens.width),
            1.4 * np.log(max(size, 1e-3)),
            *(2 * T[:2, 2]),
            T[0, 0],
            T[1, 0],
        ]
    count = np.bincount(seen.view, minlength=views)
    chosen = [int(np.argmax(count))]
    nearest = np.full(views, np.inf)
    while len(chosen) < most:
        nearest = np.minimum(nearest, np.linalg.norm(traits - traits[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(nearest)))
    return np.unique(chosen)
