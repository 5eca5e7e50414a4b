"""When and how the camera turned, against the gyroscope: time offset, gyro bias and the sanity of both.

Rotation needs no scale, no map and no gravity, so it comes first: a cheap pass finds the offset to a few milliseconds
(`coarse_offset`), and the keyframe rotations of structure from motion refine it (`refine_offset`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from handcap.cameras import Camera
from handcap.clock import seconds
from handcap.geometry import Array, so3_exp, so3_log
from handcap.measure.gyro import GyroRotation
from handcap.types import Frame, ImuSamples, Stamps

_AT_ONCE = 20_000  # pairs of pictures at trial offsets: so that memory does not grow with the take
_DRAWS = 200  # of five points: finds the turn with half of them astray; in worse pictures one turn is not missed


@dataclass(frozen=True, slots=True)
class SyncParams:
    points: int = 150
    max_width_px: int = 400  # a third of a pixel here is a milliradian: enough for milliseconds, at a tenth of the time
    off_axis_deg: float = 75.0
    search_s: float = 0.5  # phones and network cameras have been seen 0.3 s off
    step_s: float = 0.0025
    stride: int = 4  # steps at once, to begin with: a head does not turn there and back in 10 ms
    candidates: int = 4  # places looked at in single steps
    min_pairs: int = 12
    inlier_rad: float = 0.004
    unlit_level: int = 14  # grey level that a lens's dark rim never passes
    most_unlit: float = 0.6  # of the picture; an image circle leaves more than this lit
    rim_px: int = 9  # kept clear of the rim, in the small picture


@dataclass(frozen=True, eq=False, slots=True)
class VisualTurns:
    """Rotation between neighbouring pictures, from the pictures alone.

    Attributes:
        camera_t_ns: (f,) stamps.
        rotvec_cam: (f, 3) rad, from picture i-1 to i in camera axes (R_cam0_cam1); NaN where it could not be told.
        brightness: (f,) mean grey level.
        points: (f,) features found in each picture.
        repeated: (f,) whether it is the very same as the one before.
        lit: (h, w) bool, small picture: False in the rim that the lens never lights.
    """

    camera_t_ns: Stamps
    rotvec_cam: Array
    brightness: Array
    points: NDArray[np.int64]
    repeated: NDArray[np.bool_]
    lit: NDArray[np.bool_]

    def part(self, rows: slice) -> VisualTurns:
        """Some of the pictures; the first one's rotation is unknown."""
        rotvec_cam = self.rotvec_cam[rows].copy()
        rotvec_cam[:1] = np.nan
        return replace(
            self,
            camera_t_ns=self.camera_t_ns[rows],
            rotvec_cam=rotvec_cam,
            brightness=self.brightness[rows],
            points=self.points[rows],
            repeated=self.repeated[rows],
        )


@dataclass(frozen=True, eq=False, slots=True)
class CoarseSync:
    """What the cheap pass found.

    Attributes:
        dt_imu_cam_s: t_imu = t_cam + dt.
        sigma_s: of dt; infinite when the motion does not tell.
        gyro_bias: (3,) rad/s.
        gyro_scale: gyroscope's turn over the picture's turn; 1 when all is well, 57.3 for degrees.
        axis_error_rad: rotation that would best reconcile camera and gyroscope axes.
        correlation: of the two angular rates at the best offset.
    """

    dt_imu_cam_s: float
    sigma_s: float
    gyro_bias: Array
    gyro_scale: float
    axis_error_rad: float
    correlation: float


def visual_turns(frames: Iterable[Frame], camera: Camera, params: SyncParams | None = None) -> VisualTurns:
    """Rotation between neighbouring pictures by five-point RANSAC on coarse features."""
    params = params or SyncParams()
    factor = 1.0
    while camera.width * factor > params.max_width_px:
        factor /= 2
    small = camera.scaled(factor)
    stamps: list[int] = []
    turns: list[Array] = []
    light: list[float] = []
    counts: list[int] = []
    repeated: list[bool] = []
    old: NDArray[np.uint8] | None = None
    corners: NDArray[np.float32] | None = None
    brightest = np.zeros((small.height, small.width), np.uint8)
    for frame in frames:
        new = cv2.resize(frame.image, (small.width, small.height), interpolation=cv2.INTER_AREA)
        turn = np.full(3, np.nan)
        if old is not None and corners is not None and len(corners) >= 8:
            found, ok, _ = cv2.calcOpticalFlowPyrLK(old, new, corners, None, winSize=(15, 15), maxLevel=4)  # type: ignore[call-overload]
            good = ok[:, 0] == 1
            rays_old, v0 = small.unproject(corners[:, 0])
            rays_new, v1 = small.unproject(found[:, 0])
            ahead = np.cos(np.deg2rad(params.off_axis_deg))
            good &= v0 & v1 & (rays_old[:, 2] > ahead) & (rays_new[:, 2] > ahead)
            if good.sum() >= 8:
                turn = _turn_between(rays_old[good], rays_new[good], params.inlier_rad)
        stamps.append(frame.t_ns)
        repeated.append(old is not None and np.array_equal(new, old))
        turns.append(turn)
        light.append(float(new.mean()))
        np.maximum(brightest, new, out=brightest)
        old = new  # type: ignore[assignment]
        corners = cv2.goodFeaturesToTrack(new, params.points, 0.01, 8)  # type: ignore[assignment]
        counts.append(0 if corners is None else len(corners))
    return VisualTurns(
        np.array(stamps, np.int64),
        np.array(turns).reshape(-1, 3),
        np.array(light),
        np.array(counts, np.int64),
        np.array(repeated, bool),
        _lit(brightest, params),
    )


def _lit(brightest: NDArray[Any], params: SyncParams) -> NDArray[np.bool_]:
    """What the lens lights: all but dark patches that reach the picture's corners and stay dark throughout.

    A fisheye's image circle is a strong edge that moves with the camera; features on it are no part of the room.
    """
    dark = (brightest < params.unlit_level).astype(np.uint8)
    _, label = cv2.connectedComponents(dark)
    corners = {int(label[y, x]) for y in (0, -1) for x in (0, -1) if dark[y, x]}
    rim = np.isin(label, sorted(corners)) if corners else np.zeros(dark.shape, bool)
    if rim.mean() > params.most_unlit:
        return np.ones(dark.shape, bool)  # a dark room, not a lens
    return cv2.dilate(rim.astype(np.uint8), np.ones((params.rim_px, params.rim_px), np.uint8)) == 0


def _turn_between(rays_old: Array, rays_new: Array, inlier_rad: float) -> Array:
    """Rotation vector of R_old_new, from matched unit rays (n, 3); NaN where none fits."""
    flat_old, flat_new = rays_old[:, :2] / rays_old[:, 2:], rays_new[:, :2] / rays_new[:, 2:]
    # Refined as it draws: turns two to five times as exact as by plain RANSAC, in a fifth of the time (virtual rig).
    E, mask = cv2.findEssentialMat(flat_old, flat_new, np.eye(3), cv2.USAC_DEFAULT, 0.999, inlier_rad, maxIters=_DRAWS)
    if E is None or E.shape != (3, 3) or mask is None or mask.sum() < 8:
        return np.full(3, np.nan)
    R1, R2, _ = cv2.decomposeEssentialMat(E)
    # Between neighbouring pictures the true rotation is the smaller of the two candidates.
    R_new_old = max((R1, R2), key=np.trace)
    return so3_log(R_new_old.T)


def coarse_offset(
    turns: VisualTurns, imu: ImuSamples, R_imu_cam: Array, nominal_s: float = 0.0, params: SyncParams | None = None
) -> CoarseSync | None:
    """Offset that best explains the pictures' turning by the gyroscope's; None when too little could be compared."""
    params = params or SyncParams()
    t = turns.camera_t_ns
    period_s = np.diff(seconds(t, t[0]))
    known = np.isfinite(turns.rotvec_cam[1:]).all(axis=1) & (period_s < 3 * np.median(period_s))
    if known.sum() < params.min_pairs:
        return None
    rate_cam = (turns.rotvec_cam[1:] / period_s[:, None])[known] @ R_imu_cam.T
    pair = np.flatnonzero(known)
    start, end, period = t[pair], t[pair + 1], period_s[known, None]
    gyro = GyroRotation(imu)
    inside_s = (seconds(start, int(imu.t_ns[0])), seconds(end, int(imu.t_ns[-1])))

    def compared(dts_s: Array) -> Generator[tuple[float, Array, Array]]:
        """Robust cost per pair, bias and gyro rates at each of these offsets."""
        for some in np.array_split(dts_s, -(-len(dts_s) * len(start) // _AT_ONCE)):
            tiled = (np.tile(start, len(some)), np.tile(end, len(some)))
            turned = gyro.turns(*tiled, np.repeat(some, len(start))).reshape(len(some), -1, 3)
            for dt_s, rate_gyro in zip(some, turned / period, strict=True):
                ok = (inside_s[0] + dt_s >= 0) & (inside_s[1] + dt_s <= 0)
                if ok.sum() < max(params.min_pairs, 0.5 * len(start)):
                    yield np.inf, np.zeros(3), np.zeros((0, 3))
                    continue
                error = (rate_gyro - rate_cam)[ok]
                bias = np.median(error, axis=0)
                size = np.linalg.norm(error - bias, axis=1)
                scale = 0.05
                yield float(np.mean(np.minimum(size / scale, 4.0) ** 2 * 0.5)), bias, rate_gyro

    grid = nominal_s + np.arange(-params.search_s, params.search_s + params.step_s / 2, params.step_s)
    # At one trial scale per octave nothing is lost: units are checked at the best offset by regression below.
    cost = _searched(lambda k: [cost for cost, _, _ in compared(grid[k])], len(grid), params)
    if not np.isfinite(cost).any():
        return None
    best = int(np.argmin(cost))
    dt_s, sigma_s = _parabola(grid, cost, best, len(start))
    ((_, bias, rate_gyro),) = compared(np.array([dt_s]))
    a, b = rate_gyro - np.median(rate_gyro, axis=0), rate_cam - np.median(rate_cam, axis=0)
    scale = float(np.sqrt(np.median((a**2).sum(axis=1)) / max(np.median((b**2).sum(axis=1)), 1e-12)))
    correlation = float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum() + 1e-24))
    axis_error = Rotation.align_vectors(a, b)[0].magnitude() if correlation_is_telling(b) else 0.0
    return CoarseSync(float(dt_s), float(sigma_s), bias, scale, float(axis_error), correlation)


def _searched(costs: Callable[[NDArray[np.int64]], Sequence[float]], count: int, params: SyncParams) -> Array:
    """(count,) costs near the least ones; infinite where nobody looked."""
    out = np.full(count, np.inf)
    coarse = np.arange(0, count, params.stride)
    out[coarse] = costs(coarse)
    best = coarse[np.argsort(out[coarse], kind="stable")[: params.candidates]]
    near = np.unique(np.clip(best[:, None] + np.arange(-params.stride, params.stride + 1), 0, count - 1))
    near = near[~np.isfinite(out[near])]
    if len(near):
        out[near] = costs(near)
    return out


def correlation_is_telling(rate: Array) -> bool:
    """Whether (n, 3) angular rates vary about two axes enough (5 deg/s rms) to compare directions."""
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(rate.T)))
    return bool(spread[1] > np.deg2rad(5.0))


def _parabola(grid: Array, cost: Array, best: int, n: int) -> tuple[float, float]:
    """Vertex of the cost around its least sample, and the offset's sigma from its curvature."""
    if best in (0, len(grid) - 1) or not np.isfinite(cost[best - 1 : best + 2]).all():
        return float(grid[best]), float("inf")
    step = grid[1] - grid[0]
    below, here, above = cost[best - 1 : best + 2]
    curvature = (below - 2 * here + above) / step**2
    if curvature <= 0:
        return float(grid[best]), float("inf")
    shift = float(np.clip((below - above) / (2 * curvature * step), -step, step))
    return float(grid[best] + shift), float(np.sqrt(max(here, 1e-3) / (n * curvature)))


@dataclass(frozen=True, eq=False, slots=True)
class FineSync:
    """Rotation-only fit to keyframe rotations.

    Attributes:
        dt_imu_cam_s, sigma_s: offset and its standard deviation, s.
        gyro_bias: (3,) rad/s.
        R_imu_cam: (3, 3) as corrected by the fit.
        correction_rad: how far that is from the calibrated one.
        correction_sigma_rad: its standard deviation.
        rms_rad: what the fit leaves per keyframe pair.
    """

    dt_imu_cam_s: float
    sigma_s: float
    gyro_bias: Array
    R_imu_cam: Array
    correction_rad: float
    correction_sigma_rad: float
    rms_rad: float


def refine_offset(
    camera_t_ns: Stamps, R_anchor_cam: Array, imu: ImuSamples, R_imu_cam: Array, start: CoarseSync | FineSync
) -> FineSync:
    """Offset, gyro bias and camera–IMU rotation from keyframe rotations.

    Args:
        camera_t_ns: (n,) keyframe stamps.
        R_anchor_cam: (n, 3, 3) their rotations in any common frame.
        R_imu_cam: (3, 3) calibrated.
    """
    relative = np.swapaxes(R_anchor_cam[:-1], 1, 2) @ R_anchor_cam[1:]
    span_s = np.diff(seconds(camera_t_ns, int(camera_t_ns[0])))[:, None]
    R, bias, dt_s, fit = R_imu_cam, np.array(start.gyro_bias, float), start.dt_imu_cam_s, None
    for _ in range(3):  # the bias enters the integral: integrate anew about each estimate
        gyro = GyroRotation(imu, bias)

        def residual(x: Array, gyro: GyroRotation = gyro, R: Array = R) -> Array:
            now = R @ so3_exp(x[:3])
            measured = so3_exp(gyro.turns(camera_t_ns[:-1], camera_t_ns[1:], x[6])) @ so3_exp(-x[3:6] * span_s)
            return so3_log(now.T @ np.swapaxes(measured, 1, 2) @ now @ relative).ravel()

        x0 = np.r_[np.zeros(6), dt_s]
        scales = np.r_[[0.01] * 6, 0.005]
        fit = least_squares(residual, x0, loss="huber", f_scale=2e-3, x_scale=scales, diff_step=1e-4)
        R, bias, dt_s = R @ so3_exp(fit.x[:3]), bias + fit.x[3:6], float(fit.x[6])
    assert fit is not None
    variance = 2 * fit.cost / max(len(fit.fun) - 7, 1)
    cov = np.linalg.pinv(fit.jac.T @ fit.jac) * variance
    # Keyframe rotations of one bundle adjustment share errors; measured too small by 2 to 3 on 8 ms trials.
    inflate = 3.0
    return FineSync(
        dt_s,
        inflate * float(np.sqrt(cov[6, 6])),
        bias,
        R,
        float(np.linalg.norm(so3_log(R_imu_cam.T @ R))),
        inflate * float(np.sqrt(np.linalg.eigvalsh(cov[:3, :3])[-1])),
        float(np.sqrt(np.mean(fit.fun**2) * 3)),
    )
