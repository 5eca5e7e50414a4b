"""Where a track really is: its patch laid on every keyframe's picture, bent as the known geometry bends it.

Following a feature from picture to picture adds up small slips, and a square window slides when its surface turns. Once
the cameras' poses and the points' distances are known roughly, every view of a track can be compared with one view of
it instead, so that its errors are small and no longer alike from one view to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from handcap.ahead import ahead
from handcap.cameras import Camera
from handcap.geometry import Array
from handcap.reconstruct.landmarks import Landmarks, Observations
from handcap.reconstruct.optics import Optics

Pictures = Callable[[], Iterator[tuple[int, int, NDArray[np.uint8]]]]  # camera, keyframe and full-size grey picture


@dataclass(frozen=True, slots=True)
class PatchParams:
    reach_px: int = 7  # half of a patch's side
    weight_px: float = 4.0  # standard deviation of the weight about its middle
    smoothing_px: float = 0.7  # of the pictures: what lies between their pixels is read off linearly
    iterations: int = 12
    settled_px: float = 0.003
    damping: float = 500.0  # of the bend, grey² per pixel: an edge says nothing of how it is stretched along itself
    least_contrast: float = 2.0  # grey levels
    most_left: float = 0.35  # of the contrast: more is another thing, or something in front
    most_shift_px: float = 3.0
    least_views: int = 30  # a keyframe that would be left with fewer keeps the others as they were followed


def aligned(
    seen: Observations,
    marks: Landmarks,
    T_world_cam: Array,
    camera: Camera | Optics,
    pictures: Pictures,
    params: PatchParams | None = None,
) -> Observations:
    """Observations moved to where the patch of the first camera's view in the middle of their track lies; those it does
    not fit go.

    Args:
        seen: sorted by track, each of them in `marks`.
        marks: where the points are, roughly.
        T_world_cam: (n, 4, 4) by keyframe, roughly, of the first camera.
        camera: lens of the pictures.
        pictures: starts the keyframes' pictures from the first, each time it is called.
    """
    params = params or PatchParams()
    from handcap.reconstruct import patch_kernel  # compiled by numba, which a quick pass is spared

    if not len(seen):
        return seen
    start = np.flatnonzero(np.diff(seen.track, prepend=-1))
    optics = Optics.of(camera)
    count = np.diff(np.r_[start, len(seen)])
    middle = start + np.add.reduceat(seen.camera == 0, start) // 2
    which = np.repeat(np.arange(len(start)), count)
    p_world = marks.p_world[np.searchsorted(marks.track, seen.track)]
    bend, sensible = _bends(seen, np.repeat(middle, count), p_world, T_world_cam, optics)
    side = 2 * params.reach_px + 1
    patches = np.full((len(start), side + 2, side + 2), np.nan, np.float32)

    def cut_out(rows: NDArray[np.int64], picture: NDArray[np.float32]) -> None:
        out = np.empty((len(rows), side + 2, side + 2), np.float32)
        patch_kernel.sample(picture, seen.recorded_px[middle[rows]], out)
        patches[rows] = out

    _on_every_picture(cut_out, seen.where(middle), pictures, params)
    away = np.arange(side) - params.reach_px
    weight = np.exp(-(away[:, None] ** 2 + away**2) / (2 * params.weight_px**2))
    px, left = seen.recorded_px.copy(), np.full(len(seen), np.inf)

    def lay(rows: NDArray[np.int64], picture: NDArray[np.float32]) -> None:
        there, rest = px[rows], np.empty(len(rows))
        patch_kernel.align(
            picture,
            patches,
            which[rows],
            weight,
            bend[rows],
            there,
            params.iterations,
            params.damping,
            params.settled_px,
            params.least_contrast,
            rest,
        )
        px[rows], left[rows] = there, rest

    _on_every_picture(lay, seen, pictures, params)
    shift = px - seen.recorded_px
    fits = sensible & (left < params.most_left) & (np.linalg.norm(shift, axis=1) < params.most_shift_px)
    ray, valid = optics.unproject(np.where(fits[:, None], seen.pixel + shift, seen.pixel), seen.camera)
    fits &= valid
    moved = fits[:, None]
    found = replace(
        seen,
        pixel=np.where(moved, seen.pixel + shift, seen.pixel),
        recorded_px=np.where(moved, px, seen.recorded_px),
        ray=np.where(moved, ray, seen.ray),
    )
    views = np.bincount(seen.keyframe[fits & (seen.camera == 0)], minlength=len(T_world_cam))
    return found.where(fits | (seen.camera == 0) & (views[seen.keyframe] < params.least_views))


def _on_every_picture(
    work: Callable[[NDArray[np.int64], NDArray[np.float32]], None],
    seen: Observations,
    pictures: Pictures,
    params: PatchParams,
) -> None:
    """Call `work` with the rows of each picture and the picture, smoothed, from as many threads as OpenCV may use."""
    number = seen.camera * (int(seen.keyframe.max()) + 1) + seen.keyframe
    order = np.argsort(number, kind="stable")
    ordered = number[order]

    def wanted() -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        for c, k, picture in pictures():
            if k > seen.keyframe.max():
                continue
            of = c * (int(seen.keyframe.max()) + 1) + k
            rows = order[np.searchsorted(ordered, of) : np.searchsorted(ordered, of, side="right")]
            if len(rows):
                yield rows, picture

    def smoothed(each: tuple[NDArray[np.int64], NDArray[np.uint8]]) -> None:
        rows, picture = each
        smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), params.smoothing_px)
        work(rows, np.asarray(smooth, np.float32))

    threads = cv2.getNumThreads()
    for _ in ahead(smoothed, wanted(), threads, 2 * threads):
        pass


def _bends(
    seen: Observations, middle: NDArray[np.int64], p_world: Array, T_world_cam: Array, optics: Optics
) -> tuple[Array, NDArray[np.bool_]]:
    """(k, 2, 2) from pixels around the middle view's point to pixels around each view's, and whether that makes sense.

    The surface is taken to face the middle view, its slant being unknown.
    """
    T_middle, T_view = T_world_cam[seen.keyframe[middle]], optics.poses(T_world_cam[seen.keyframe], seen.camera)
    facing = seen.ray[middle]
    distance = np.linalg.norm(p_world - T_middle[:, :3, 3], axis=1)

    def seen_from_view(ray: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Where the point of the surface that the middle view sees along `ray` lies in the view."""
        along = np.sum(ray * facing, axis=1)
        p = np.einsum("kij,kj->ki", T_middle[:, :3, :3], ray * (distance / np.maximum(along, 0.2))[:, None])
        p_view = np.einsum("kji,kj->ki", T_view[:, :3, :3], p + T_middle[:, :3, 3] - T_view[:, :3, 3])
        return optics.project(p_view, seen.camera)

    here, valid = seen_from_view(facing)
    bend = np.empty((len(seen), 2, 2))
    step_px = 2.0
    for axis in range(2):
        beside = seen.pixel[middle].copy()
        beside[:, axis] += step_px
        ray, known = optics.unproject(beside, seen.camera[middle])
        there, visible = seen_from_view(ray)
        bend[:, :, axis] = (there - here) / step_px
        valid &= known & visible
    area = np.abs(np.linalg.det(np.where(np.isfinite(bend), bend, 0.0)))
    return bend, valid & (area > 0.1) & (area < 10.0)
