"""Tracks to points in the room, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.geometry import Array
from handcap.reconstruct.frontend import Tracks
from handcap.reconstruct.optics import Optics


@dataclass(frozen=True, slots=True)
class GateParams:
    min_views: int = 3
    min_parallax_rad: float = 0.01  # below it depth is noise
    min_depth_m: float = 0.05
    max_depth_m: float = 40.0  # farther points say no more than the gyroscope does
    gate_sigmas: float = 3.5
    least_gate_px: float = 1.0
    refinements: int = 4
    still_px: float = 1.0  # a picture that moved less is the same again, its errors too
    least_still_views: int = 20  # a keyframe at rest holds on to at least so many tracks


_LEAST_SHARED = 8  # tracks, to tell whether a picture moved


@dataclass(frozen=True, eq=False, slots=True)
class Observations:
    """Which keyframe saw which track where, sorted by track, then camera, then keyframe.

    Attributes:
        keyframe: (k,) index of the state.
        track: (k,) track id.
        pixel: (k, 2) where it is seen, or would be if the whole picture were taken at its stamp.
        ray: (k, 3) unit, camera axes, of `pixel`.
        recorded_px: (k, 2) where it is in the picture; what a rolling shutter moves, see `shutter`.
        camera: (k,) index of the device's camera that saw it; 0 is the one whose tracks they are.
    """

    keyframe: NDArray[np.int64]
    track: NDArray[np.int64]
    pixel: Array
    ray: Array
    recorded_px: Array
    camera: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keyframe)

    def where(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Observations:
        """Those that a mask keeps, or the rows asked for."""
        return Observations(*(getattr(self, each.name)[keep] for each in fields(self)))


@dataclass(frozen=True, eq=False, slots=True)
class Landmarks:
    """Points in the world.

    Attributes:
        track: (m,) ids, ascending.
        p_world: (m, 3) metres.
        parallax_rad: (m,) angle between the two most different views.
    """

    track: NDArray[np.int64]
    p_world: Array
    parallax_rad: Array


def observations(keyframe_tracks: Tracks, camera: Camera, recorded_px: Array | None = None) -> Observations:
    """Observations of a `Tracks` that holds keyframes only; `recorded_px` (k, 2) where they are not where it says."""
    order = np.lexsort((keyframe_tracks.frame, keyframe_tracks.track))
    pixel = keyframe_tracks.pixel[order]
    ray, valid = camera.unproject(pixel)
    recorded = pixel if recorded_px is None else recorded_px[order]
    first = np.zeros(len(order), np.int64)
    out = Observations(keyframe_tracks.frame[order], keyframe_tracks.track[order], pixel, ray, recorded, first)
    return out.where(valid)


def ordered(parts: Sequence[Observations]) -> Observations:
    """All of them together, sorted."""
    joined = Observations(*(np.concatenate([getattr(p, each.name) for p in parts]) for each in fields(Observations)))
    return joined.where(np.lexsort((joined.keyframe, joined.camera, joined.track)))


def with_views(seen: Observations, least: int) -> Observations:
    """Only tracks seen at least `least` times, be it by two cameras at one keyframe."""
    _, inverse, count = np.unique(seen.track, return_inverse=True, return_counts=True)
    return seen.where(count[inverse] >= least)


def views(seen: Observations, keyframes: int) -> NDArray[np.int64]:
    """(n,) landmarks that each keyframe sees, in the camera that sees most."""
    by_camera = [np.bincount(seen.keyframe[seen.camera == c], minlength=keyframes) for c in np.unique(seen.camera)]
    return np.max([np.zeros(keyframes, np.int64), *by_camera], axis=0)


def stations(seen: Observations, keyframes: int, still_px: float) -> NDArray[np.int64]:
    """(n,) ascending numbers by keyframe: the same from one at which the picture begins to stand still to the last that
    shows it within `still_px`, median over the tracks they share.
    """
    seen = seen.where(seen.camera == 0)
    by_keyframe = seen.where(np.lexsort((seen.track, seen.keyframe)))
    edges = np.searchsorted(by_keyframe.keyframe, np.arange(keyframes + 1))
    out, first = np.zeros(keyframes, np.int64), 0
    for i in range(1, keyframes):
        a, b = slice(edges[first], edges[first + 1]), slice(edges[i], edges[i + 1])
        _, in_a, in_b = np.intersect1d(
            by_keyframe.track[a], by_keyframe.track[b], assume_unique=True, return_indices=True
        )
        shift = np.linalg.norm(by_keyframe.pixel[a][in_a] - by_keyframe.pixel[b][in_b], axis=1)
        still = len(shift) >= _LEAST_SHARED and np.median(shift) < still_px
        first = first if still else i
        out[i] = out[i - 1] + (not still)
    return out


def looked_once(seen: Observations, station: NDArray[np.int64], least_views: int) -> Observations:
    """Every track about once per station, another keyframe of it for every track.

    A camera at rest sees the same again and again, error and all: a hundred such views say what one says. Dealing the
    tracks out to the station's keyframes counts each once and still leaves every keyframe something to hold on to, at
    least `least_views` tracks where there are so many.
    """
    if not len(seen):
        return seen
    of = station[seen.keyframe]
    views = np.bincount(seen.keyframe, minlength=len(station))
    changes = [np.diff(of_row, prepend=-1) != 0 for of_row in (seen.track, seen.camera, of)]
    start = np.flatnonzero(np.any(changes, axis=0))
    size = np.diff(np.r_[start, len(seen)])
    place, of_size = np.arange(len(seen)) - np.repeat(start, size), np.repeat(size, size)
    wanted = np.ceil(of_size * least_views / np.maximum(views[seen.keyframe], 1)).astype(np.int64)
    return seen.where((place + seen.track) % of_size < np.maximum(wanted, 1))


def thinned(seen: Observations, most_views: int) -> tuple[Observations, Array]:
    """At most `most_views` observations of each track, evenly over its life, its first and last among them.

    Neighbouring errors of a long track are nearly the same, so the ones left out said little; a smart factor's cost
    grows with the square of its views.

    Returns:
        The observations kept, and (m,) the share of each track's that they are, ascending ids.
    """
    _, start, count = np.unique(seen.track, return_index=True, return_counts=True)
    place = np.arange(len(seen)) - np.repeat(start, count)
    kept = np.minimum(count, most_views)
    n, k = np.repeat(count, count), np.repeat(kept, count)
    # Of n observations keep those where round-down of i (k - 1) / (n - 1) steps up, and the first.
    share = place * (k - 1) // np.maximum(n - 1, 1)
    before = (place - 1) * (k - 1) // np.maximum(n - 1, 1)
    return seen.where((place == 0) | (share > before)), kept / count


def triangulate(
    seen: Observations, T_world_cam: Array, camera: Camera | Optics, params: GateParams | None = None
) -> tuple[Landmarks, Array]:
    """All tracks' points, refined on reprojection error.

    Args:
        seen: every track at least twice.
        T_world_cam: (n, 4, 4) by keyframe, of the first camera.

    Returns:
        The landmarks, NaN where a point cannot be placed, and (k, 2) residuals in px, measured minus predicted.
    """
    params = params or GateParams()
    optics = Optics.of(camera)
    T_world_view = optics.poses(T_world_cam[seen.keyframe], seen.camera)
    R, c = T_world_view[:, :3, :3], T_world_view[:, :3, 3]
    ray_world = np.einsum("kij,kj->ki", R, seen.ray)
    track, start = np.unique(seen.track, return_index=True)
    which = np.repeat(np.arange(len(track)), np.diff(np.r_[start, len(seen)]))
    if not len(track):
        return Landmarks(track, np.zeros((0, 3)), np.zeros(0)), np.zeros((0, 2))
    # Nearest point to all rays, then Gauss–Newton on pixels.
    across = np.eye(3) - ray_world[:, :, None] * ray_world[:, None, :]
    normal = np.add.reduceat(across, start) + 1e-9 * np.eye(3)
    p_world: Any = np.linalg.solve(normal, np.add.reduceat(np.einsum("kij,kj->ki", across, c), start)[..., None])[
        ..., 0
    ]
    for _ in range(params.refinements):
        p_cam = np.einsum("kji,kj->ki", R, p_world[which] - c)
        pixel, valid = optics.project(p_cam, seen.camera)
        residual = _residuals(seen, pixel, valid)
        J = np.einsum("kai,kji->kaj", optics.derivative(p_cam, seen.camera), R)
        J = np.where(valid[:, None, None], J, 0.0)
        JtJ = np.add.reduceat(np.einsum("kai,kaj->kij", J, J), start)
        Jtr = np.add.reduceat(np.einsum("kai,ka->ki", J, residual), start)
        damping = 1e-4 * np.trace(JtJ, axis1=1, axis2=2)[:, None, None] * np.eye(3) + 1e-9 * np.eye(3)
        step = np.linalg.solve(JtJ + damping, Jtr[..., None])[..., 0]
        p_world = p_world + np.where(np.isfinite(step).all(axis=1, keepdims=True), step, 0.0)
    residual = _residuals(seen, *optics.project(np.einsum("kji,kj->ki", R, p_world[which] - c), seen.camera))
    mean_ray = np.add.reduceat(ray_world, start)
    mean_ray /= np.linalg.norm(mean_ray, axis=1, keepdims=True)
    toward = p_world[which] - c
    distance = np.linalg.norm(toward, axis=1)
    spread = np.linalg.norm(np.cross(toward / np.maximum(distance, 1e-9)[:, None], mean_ray[which]), axis=1)
    parallax = 2 * np.maximum.reduceat(spread, start)
    depth = np.einsum("ki,ki->k", toward, ray_world)
    placed = np.minimum.reduceat(depth, start) > params.min_depth_m
    placed &= (np.maximum.reduceat(distance, start) < params.max_depth_m) & np.isfinite(p_world).all(axis=1)
    return Landmarks(track, np.where(placed[:, None], p_world, np.nan), parallax), residual


def _residuals(seen: Observations, pixel: Array, valid: NDArray[np.bool_]) -> Array:
    """(k, 2) measured minus predicted, px; far off where the lens sees nothing."""
    return np.where(valid[:, None], seen.pixel - pixel, 1e3)


def gate(
    seen: Observations, T_world_cam: Array, camera: Camera | Optics, params: GateParams | None = None
) -> tuple[Observations, Landmarks, Array, float]:
    """Drop what does not fit: first tracks that give no point, then single observations off by too many sigmas.

    Returns:
        Observations kept, their landmarks, residuals (k, 2) px, and the robust sigma of one residual coordinate, px.
    """
    params = params or GateParams()
    sigma = np.nan
    for _ in range(3):
        seen = with_views(seen, params.min_views)
        marks, residual = triangulate(seen, T_world_cam, camera, params)
        if not len(seen):
            break
        good = np.isfinite(marks.p_world).all(axis=1) & (marks.parallax_rad > params.min_parallax_rad)
        size = np.linalg.norm(residual, axis=1)
        usable = good[np.searchsorted(marks.track, seen.track)]
        # 1.1774: median of the length of a standard normal pair.
        sigma = float(np.median(size[usable]) / 1.1774) if usable.any() else np.nan
        keep = usable & (size < max(params.gate_sigmas * sigma * 1.4, params.least_gate_px))
        if keep.all():
            break
        seen = seen.where(keep)
    else:
        seen = with_views(seen, params.min_views)
        marks, residual = triangulate(seen, T_world_cam, camera, params)
    return seen, marks, residual, sigma
