"""Pictures to feature tracks: pyramidal Lucas–Kanade led by the gyroscope.

Where the view was cut off for a while and comes back, features go on under their old ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handcap.cameras import Camera
from handcap.geometry import Array
from handcap.reconstruct.remembered import Grey, Memory, MemoryParams, Points, View
from handcap.types import Frame, Stamps

PredictRotation = Callable[[int, int], Array]  # two camera stamps to R_cam1_cam0 (3, 3)


@dataclass(frozen=True, slots=True)
class FrontendParams:
    points: int = 300  # more costs time in proportion and adds little below 1 px noise
    spacing_px: float = 14.0  # between features: spreads them without starving a small textured patch
    quality: float = 0.004  # of the strongest corner in its cell; low, as weak walls are better than nothing
    window_px: int = 15  # Lucas–Kanade patch; larger ones straddle depth edges and slide with them
    levels: int = 3
    return_px: float = 0.7  # forward–backward disagreement above this is a lost track
    epipolar_rad: float = 0.006  # off the epipolar plane given the gyroscope's rotation: about 2.5 px at 450 px focal
    off_axis_deg: float = 82.0  # GTSAM's projection needs z > 0; beyond this its derivative is useless
    max_width_px: int = 960  # larger pictures are halved until they fit: noise in rad hardly changes, time does
    refill_below: float = 0.92  # detect again when fewer than this share of `points` is alive
    min_ransac_points: int = 20
    hypotheses: int = 60
    seed: int = 0
    memory: MemoryParams = field(default_factory=MemoryParams)


@dataclass(frozen=True, eq=False, slots=True)
class Tracks:
    """Everything the front end saw.

    Attributes:
        camera_t_ns: (f,) stamps of the pictures, as recorded.
        frame: (k,) index into camera_t_ns of each observation, ascending.
        track: (k,) id of the feature seen.
        pixel: (k, 2) where, in the full-size picture.
        brightness: (f,) mean grey level.
        survived: (f,) share of the previous picture's features that were found again; NaN for the first.
    """

    camera_t_ns: Stamps
    frame: NDArray[np.int64]
    track: NDArray[np.int64]
    pixel: Array
    brightness: Array
    survived: Array

    def of_frames(self, frames: NDArray[np.int64]) -> Tracks:
        """Only the pictures `frames` (ascending indices), renumbered from 0."""
        position = np.full(len(self.camera_t_ns), -1)
        position[frames] = np.arange(len(frames))
        keep = position[self.frame] >= 0
        return Tracks(
            self.camera_t_ns[frames],
            position[self.frame[keep]],
            self.track[keep],
            self.pixel[keep],
            self.brightness[frames],
            self.survived[frames],
        )


def track(
    frames: Iterable[Frame],
    camera: Camera,
    predict: PredictRotation,
    params: FrontendParams | None = None,
    lit: NDArray[np.bool_] | None = None,
    frozen: NDArray[np.bool_] | None = None,
    on_frame: Callable[[int], None] = lambda n: None,
) -> Tracks:
    """Follow features through all pictures.

    Args:
        frames: grey pictures in stamp order.
        camera: lens of the full-size picture.
        predict: rotation between two pictures, from the gyroscope.
        lit: what of the picture the lens lights, at any size; None for all.
        frozen: (f,) pictures that show an earlier moment; nothing is seen in them.
    """
    params = params or FrontendParams()
    stamps: list[int] = []
    brightness: list[float] = []
    survived: list[float] = []
    seen: list[tuple[NDArray[np.int64], Array]] = []
    tracker: _Tracker | None = None
    last_ns = 0  # of the last picture that was followed
    for n, frame in enumerate(frames):
        if tracker is None:
            tracker, last_ns = _Tracker(camera, params, lit), frame.t_ns
        stamps.append(frame.t_ns)
        brightness.append(float(frame.image.mean()))
        if frozen is not None and frozen[n]:
            survived.append(np.nan)
            seen.append((np.zeros(0, np.int64), np.zeros((0, 2))))
        else:
            turn = predict(last_ns, frame.t_ns)
            survived.append(tracker.advance(tracker.shrink(frame.image), turn, frame.t_ns))
            seen.append((tracker.ids.copy(), tracker.full_size_pixels()))
            last_ns = frame.t_ns
        on_frame(n)
    counts = [len(ids) for ids, _ in seen]
    return Tracks(
        np.array(stamps, np.int64),
        np.repeat(np.arange(len(seen)), counts),
        np.concatenate([ids for ids, _ in seen]) if seen else np.zeros(0, np.int64),
        np.concatenate([pixel for _, pixel in seen]) if seen else np.zeros((0, 2)),
        np.array(brightness),
        np.array(survived),
    )


class _Tracker:
    """The features alive in the latest picture."""

    def __init__(self, camera: Camera, params: FrontendParams, lit: NDArray[np.bool_] | None) -> None:
        self.factor = 1.0
        while camera.width * self.factor > params.max_width_px:
            self.factor /= 2
        self.camera = camera.scaled(self.factor)
        self.params = params
        self.field = usable_field(self.camera, params.off_axis_deg)
        if lit is not None:
            size = (self.camera.width, self.camera.height)
            self.field &= cv2.resize(255 * lit.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        self.ids = np.zeros(0, np.int64)
        self.points = np.zeros((0, 2), np.float32)
        self._next_id = 0
        self._picture: Grey | None = None
        self._memory = Memory(params.memory)
        self._random = np.random.default_rng(params.seed)

    def shrink(self, image: Grey) -> Grey:
        if self.factor == 1.0:
            return image
        return cv2.resize(image, (self.camera.width, self.camera.height), interpolation=cv2.INTER_AREA)

    def full_size_pixels(self) -> Array:
        return (self.points.astype(np.float64) + 0.5) / self.factor - 0.5

    def advance(self, picture: Grey, R_new_old: Array, t_ns: int) -> float:
        """Take in the next picture; returns the share of features that survived, NaN if there were none."""
        share = np.nan
        if self._picture is not None and len(self.points):
            found, kept = self._follow(self._picture, self.points, picture, R_new_old)
            share = float(kept.mean())
            self.points, self.ids = found[kept], self.ids[kept]
        self._picture = picture
        self._memory.turned(R_new_old)
        if self._memory.is_cut_off(self.ids):
            self._recall(picture, t_ns)
        if len(self.points) < self.params.refill_below * self.params.points:
            self._refill(picture)
        self._memory.keep(View(t_ns, picture, self.ids, self.points))
        return share

    def _recall(self, picture: Grey, t_ns: int) -> None:
        """Features of a view from before it was cut off are alive again, where this is the same view."""
        for view in self._memory.to_try(t_ns):
            found, kept = self._follow(view.picture, view.points, picture, view.R_now_then)
            kept &= ~np.isin(view.ids, self.ids)
            if not self._memory.is_same(kept):
                continue
            near = np.linalg.norm(self.points[:, None] - found[None, kept], axis=2) < self.params.spacing_px
            alone = ~near.any(axis=1)
            self.points = np.concatenate([self.points[alone], found[kept]])
            self.ids = np.concatenate([self.ids[alone], view.ids[kept]])
            return

    def _follow(self, old: Grey, points: Points, new: Grey, R_new_old: Array) -> tuple[Points, NDArray[np.bool_]]:
        rays_old, _ = self.camera.unproject(points)
        turned = rays_old @ R_new_old.T
        guess, in_lens = self.camera.project(turned)
        guess = np.where(in_lens[:, None], guess, points).astype(np.float32)
        options: dict[str, Any] = {
            "winSize": (self.params.window_px, self.params.window_px),
            "maxLevel": self.params.levels,
            "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
            "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01),
        }
        found, ok, _ = cv2.calcOpticalFlowPyrLK(old, new, points, guess.copy(), **options)
        back, ok_back, _ = cv2.calcOpticalFlowPyrLK(new, old, found, points.copy(), **options)
        kept = (ok[:, 0] == 1) & (ok_back[:, 0] == 1)
        kept &= np.linalg.norm(back - points, axis=1) < self.params.return_px
        kept &= self._usable(found)
        rays_new, valid = self.camera.unproject(found)
        kept &= valid
        return found, self._epipolar_inliers(rays_new, turned, kept)

    def _epipolar_inliers(self, rays_new: Array, turned: Array, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Two-point RANSAC for the direction of travel: with the rotation known, cross(new, turned) ⟂ travel."""
        candidates = np.flatnonzero(kept)
        if len(candidates) < self.params.min_ransac_points:
            return kept
        normals = np.cross(rays_new, turned)
        pairs = self._random.choice(candidates, (self.params.hypotheses, 2))
        travel = np.cross(normals[pairs[:, 0]], normals[pairs[:, 1]])
        length = np.linalg.norm(travel, axis=1)
        travel = travel[length > 1e-9] / length[length > 1e-9, None]
        if not len(travel):
            return kept
        inliers = np.abs(travel @ normals[candidates].T) < self.params.epipolar_rad
        best = inliers[np.argmax(inliers.sum(axis=1))]
        out = np.zeros_like(kept)
        out[candidates[best]] = True
        return out

    def _usable(self, points: Points) -> NDArray[np.bool_]:
        cell = np.rint(np.clip(np.nan_to_num(points, nan=-1.0), -1.0, 1e6)).astype(int)  # some are followed to nowhere
        inside = (cell >= 1).all(axis=1) & (cell[:, 0] < self.camera.width - 1) & (cell[:, 1] < self.camera.height - 1)
        x, y = np.where(inside[:, None], cell, 0).T
        return inside & (self.field[y, x] > 0)

    def _refill(self, picture: Grey) -> None:
        free = self.field.copy()
        for x, y in np.rint(self.points).astype(int):
            cv2.circle(free, (int(x), int(y)), round(self.params.spacing_px), 0, -1)
        new = detect(picture, free, self.params.points - len(self.points), self.params)
        self.points = np.concatenate([self.points, new])
        self.ids = np.concatenate([self.ids, self._next_id + np.arange(len(new))])
        self._next_id += len(new)


def usable_field(camera: Camera, off_axis_deg: float) -> Grey:
    """(height, width) mask, 255 where the lens model holds and the ray is within `off_axis_deg` of the axis."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    rays, valid = camera.unproject(np.stack([u, v], axis=-1).astype(float))
    return (255 * (valid & (rays[..., 2] > np.cos(np.deg2rad(off_axis_deg))))).astype(np.uint8)


def detect(picture: Grey, free: Grey, wanted: int, params: FrontendParams) -> Points:
    """Up to `wanted` corners in the free part, spread over a 4 × 3 grid so that one rich corner does not take all."""
    height, width = picture.shape
    rows, cols = np.linspace(0, height, 4).astype(int), np.linspace(0, width, 5).astype(int)
    strength = cv2.cornerMinEigenVal(picture, 5, ksize=3)
    found: list[Points] = []
    quota = -(-wanted // 12) + 4
    for r0, r1 in zip(rows[:-1], rows[1:], strict=True):
        for c0, c1 in zip(cols[:-1], cols[1:], strict=True):
            cell_free = free[r0:r1, c0:c1]
            if not cell_free.any():
                continue
            corners = cv2.goodFeaturesToTrack(
                picture[r0:r1, c0:c1], quota, params.quality, params.spacing_px, mask=cell_free, blockSize=5
            )
            if corners is not None:
                found.append(corners[:, 0] + np.array([c0, r0], np.float32))
    if not found:
        return np.zeros((0, 2), np.float32)
    points = np.concatenate(found)
    x, y = np.rint(points).astype(int).T
    best = np.argsort(-strength[y, x], kind="stable")[:wanted]
    points = points[np.sort(best)]
    return cv2.cornerSubPix(picture, points[:, None].copy(), (3, 3), (-1, -1), (3, 10, 0.02))[:, 0]


def rotation_predictor(R_at: Callable[[NDArray[np.int64]], Rotation], R_imu_cam: Array) -> PredictRotation:
    """R_cam1_cam0 for two camera stamps, from the gyroscope's R_start_imu."""

    def predict(t0_ns: int, t1_ns: int) -> Array:
        R_start_imu = R_at(np.array([t0_ns, t1_ns], np.int64))
        R_imu1_imu0 = (R_start_imu[1].inv() * R_start_imu[0]).as_matrix()
        return R_imu_cam.T @ R_imu1_imu0 @ R_imu_cam

    return predict
