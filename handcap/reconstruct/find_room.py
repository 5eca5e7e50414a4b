"""One take found in the room of another: descriptors matched, then a turn about the vertical and a shift.

Both worlds are metric and z up, so four numbers tie them. Two pairs of points give them; RANSAC (Fischler and Bolles
1981) scored as MSAC (Torr and Zisserman 2000) finds the pairs to trust, robust least squares weighs them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from handcap.geometry import Array, se3, skew, yaw_rotation
from handcap.reconstruct.room import Descriptors, Room
from handcap.types import Trajectory

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FindParams:
    hamming: int = 64  # of 256 bits; unrelated ORB descriptors differ by about 128
    ratio: float = 0.88  # of the best to the second best that shows another point
    vaguest_m: float = 0.15  # points known no better only blur the rest
    repeat_m: float = 0.006  # the same corner is not followed at quite the same place again
    scale_floor: float = 0.001  # more than a take knows of itself: its lens
    draws: int = 4000
    least_apart_m: float = 0.3  # of the two points of a draw, level
    reach_sigmas: float = 3.0
    least_reach_m: float = 0.05  # drift within either take bends its points by so much
    least_inliers: int = 15
    least_share: float = 0.12  # of the matches
    least_spread_m: float = 0.25  # rms of the inliers about their middle, level
    most_yaw_sigma_rad: float = 0.03
    most_residual: float = 6.0  # sigmas, median: the points agree worse than anything explains
    rival_share: float = 0.6  # of the inliers that another, different placing may have
    rival_m: float = 0.25
    rival_rad: float = 0.15
    seed: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Placing:
    """One world in another.

    Attributes:
        yaw_rad: turn about z.
        shift: (3,) m.
        cov: (4, 4) of yaw, x, y, z: rad², rad·m, m²; the truth less the estimate.
        inliers: (m,) bool, of the pairs.
        residual_m: rms distance of the inlying pairs.
    """

    yaw_rad: float
    shift: Array
    cov: Array
    inliers: NDArray[np.bool_]
    residual_m: float

    @property
    def T(self) -> Array:
        """(4, 4)."""
        return se3(yaw_rotation(self.yaw_rad), self.shift)


class NotFound(Exception):
    """Why a take was not found in another's room, in plain words."""


def match(here: Room, there: Room, params: FindParams | None = None) -> tuple[Indices, Indices]:
    """Points that look most alike, each of the other: (m,) indices into either room's points."""
    params = params or FindParams()
    if not len(here.point) or not len(there.point):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    forward = best_points(here.descriptor, here.point, there.descriptor, there.point, params.hamming, params.ratio)
    backward = best_points(there.descriptor, there.point, here.descriptor, here.point, params.hamming, 1.0)
    pairs = [(a, b) for a, b in sorted(forward.items()) if backward.get(b) == a]
    out = np.array(pairs, np.int64).reshape(-1, 2)
    return out[:, 0], out[:, 1]


def best_points(
    look: Descriptors, of: Indices, other_look: Descriptors, other_of: Indices, hamming: int, ratio: float
) -> dict[int, int]:
    """For each point that looks clearly like one other point: that one.

    Args:
        look, of: (k, 32) descriptors and the (k,) points they show.
        other_look, other_of: those to choose from.
        hamming: most bits that may differ.
        ratio: most of the best's distance over the next point's.
    """
    several = min(1 + int(np.bincount(other_of).max()), len(other_look))
    distance, row = cv2.batchDistance(look, other_look, cv2.CV_32S, normType=cv2.NORM_HAMMING, K=several)
    candidate = other_of[np.asarray(row, np.int64)]
    best = distance[:, 0]
    # The second best must show another point: the same one seen from elsewhere is no rival.
    rival = np.where(candidate != candidate[:, :1], distance, 256).min(axis=1)
    good = (best < hamming) & (best <= ratio * rival)
    out: dict[int, int] = {}
    for k in np.lexsort((np.arange(len(of)), best)):
        if good[k]:
            out.setdefault(int(of[k]), int(candidate[k, 0]))
    return out


def place(
    p_here: Array, p_there: Array, cov_here: Array, cov_there: Array, params: FindParams | None = None
) -> Placing:
    """`T_there_here` of paired points; its covariance is that of the pairs alone. Raises NotFound.

    Args:
        p_here, p_there: (m, 3) m, both z up, some of them wrong.
        cov_here, cov_there: (m, 3, 3) m².
    """
    params = params or FindParams()
    variance = (np.trace(cov_here, axis1=1, axis2=2) + np.trace(cov_there, axis1=1, axis2=2)) / 3
    sigma_m = np.sqrt(variance + params.repeat_m**2)
    usable = np.flatnonzero(np.isfinite(sigma_m) & (sigma_m < params.vaguest_m))
    if len(usable) < params.least_inliers:
        raise NotFound(f"only {len(usable)} points look alike; {params.least_inliers} are needed")
    a, b, reach = (
        p_here[usable],
        p_there[usable],
        np.maximum(params.reach_sigmas * sigma_m[usable], params.least_reach_m),
    )
    yaw, shift = _drawn(a, b, reach, params)
    if not len(yaw):
        raise NotFound("no two of the points that look alike are equally far apart in both takes")
    inside, cost = _scores(yaw, shift, a, b, reach)
    best = int(np.argmin(cost))
    inliers, start = inside[best], np.r_[yaw[best], shift[best]]
    _check_rivals(yaw, shift, inside, best, a, params)
    fit = None
    for _ in range(3):
        if inliers.sum() < params.least_inliers or inliers.mean() < params.least_share:
            raise NotFound(
                f"of {len(a)} points that look alike {int(inliers.sum())} agree on where the take was; "
                f"{max(params.least_inliers, int(np.ceil(params.least_share * len(a))))} are needed"
            )
        rows = usable[inliers]
        fit = _Fit.of(start, p_here[rows], p_there[rows], cov_here[rows], cov_there[rows], params)
        start = fit.x
        left = np.linalg.norm(b - a @ yaw_rotation(float(start[0])).T - start[1:], axis=1)
        again = left < reach
        if np.array_equal(again, inliers):
            break
        inliers = again
    assert fit is not None
    rows = usable[inliers]
    _check_fit(fit, p_here[rows], params)
    left = p_there[rows] - p_here[rows] @ yaw_rotation(float(fit.x[0])).T - fit.x[1:]
    found = np.zeros(len(p_here), bool)
    found[rows] = True
    return Placing(
        float((fit.x[0] + np.pi) % (2 * np.pi) - np.pi),
        fit.x[1:],
        fit.cov,
        found,
        float(np.sqrt(np.mean(np.sum(left**2, axis=1)))),
    )


def _drawn(a: Array, b: Array, reach: Array, params: FindParams) -> tuple[Array, Array]:
    """(h,) yaws and (h, 3) shifts that two pairs each agree on."""
    rng = np.random.default_rng(params.seed)
    i, j = rng.integers(0, len(a), (2, params.draws))
    da, db = a[j] - a[i], b[j] - b[i]
    level_a, level_b = np.hypot(da[:, 0], da[:, 1]), np.hypot(db[:, 0], db[:, 1])
    slack = np.hypot(reach[i], reach[j])
    good = (level_a > params.least_apart_m) & (level_b > params.least_apart_m)
    good &= (np.abs(level_a - level_b) < slack) & (np.abs(da[:, 2] - db[:, 2]) < slack)
    i, j, da, db = i[good], j[good], da[good], db[good]
    yaw = np.arctan2(da[:, 0] * db[:, 1] - da[:, 1] * db[:, 0], da[:, 0] * db[:, 0] + da[:, 1] * db[:, 1])
    middle_a, middle_b = (a[i] + a[j]) / 2, (b[i] + b[j]) / 2
    return yaw, middle_b - _turned(yaw, middle_a)


def _turned(yaw: Array, p: Array) -> Array:
    """Points (..., 3) about z by angles (...,)."""
    c, s = np.cos(yaw), np.sin(yaw)
    x, y, z = np.moveaxis(p, -1, 0)
    return np.stack(np.broadcast_arrays(c * x - s * y, s * x + c * y, z), axis=-1)


def _scores(yaw: Array, shift: Array, a: Array, b: Array, reach: Array) -> tuple[NDArray[np.bool_], Array]:
    """(h, m) which pairs fit each placing, and (h,) MSAC costs."""
    square = np.empty((len(yaw), len(a)))
    for k in range(0, len(yaw), 256):
        part = slice(k, k + 256)
        left = b - _turned(yaw[part, None], a[None]) - shift[part, None]
        square[part] = np.sum(left**2, axis=-1) / reach**2
    return square < 1, np.minimum(square, 1).sum(axis=1)


def _check_rivals(yaw: Array, shift: Array, inside: NDArray[np.bool_], best: int, a: Array, params: FindParams) -> None:
    """A room that looks the same from two sides says nothing. Raises NotFound."""
    count = inside.sum(axis=1)
    middle = a[inside[best]].mean(axis=0)
    there = _turned(yaw, np.broadcast_to(middle, (len(yaw), 3))) + shift
    turned = np.abs((yaw - yaw[best] + np.pi) % (2 * np.pi) - np.pi)
    away = (np.linalg.norm(there - there[best], axis=1) > params.rival_m) | (turned > params.rival_rad)
    rival = int(count[away].max(initial=0))
    if rival > params.rival_share * count[best]:
        raise NotFound(f"two places fit about as well: {int(count[best])} points agree on one, {rival} on another")


def _check_fit(fit: _Fit, p_here: Array, params: FindParams) -> None:
    """Raises NotFound."""
    level = p_here[:, :2] - p_here[:, :2].mean(axis=0)
    spread_m = float(np.sqrt(np.mean(np.sum(level**2, axis=1))))
    if spread_m < params.least_spread_m:
        raise NotFound(f"the points that agree lie within {spread_m:.2f} m; {params.least_spread_m:g} m are needed")
    if np.sqrt(fit.cov[0, 0]) > params.most_yaw_sigma_rad:
        raise NotFound(f"the turn is known to {np.rad2deg(np.sqrt(fit.cov[0, 0])):.1f}° only")
    if fit.typical > params.most_residual:
        raise NotFound(f"the points that agree do so {fit.typical:.1f} times worse than they are known")


@dataclass(frozen=True, eq=False, slots=True)
class _Fit:
    x: Array  # yaw, shift
    cov: Array
    typical: float  # residual over what is expected of it, robustly

    @classmethod
    def of(cls, start: Array, a: Array, b: Array, cov_a: Array, cov_b: Array, params: FindParams) -> _Fit:
        R = yaw_rotation(float(start[0]))
        cov = R @ cov_a @ R.T + cov_b + params.repeat_m**2 * np.eye(3)
        white = np.linalg.inv(np.linalg.cholesky(cov))
        middle = a.mean(axis=0)  # turned about it, yaw and shift are nearly independent

        def residual(x: Array) -> Array:
            left = b - (a - middle) @ yaw_rotation(float(x[0])).T - x[1:]
            return np.einsum("kij,kj->ki", white, left).ravel()

        at_middle = np.r_[start[0], start[1:] + R @ middle]
        fit = least_squares(residual, at_middle, loss="cauchy", f_scale=2.0, x_scale="jac")
        # Squares of a standard normal: median 0.455; three per pair that are seldom equally good.
        typical = float(np.sqrt(max(np.median(residual(fit.x) ** 2) / 0.455, 1.0)))
        J = np.asarray(fit.jac)
        spread = typical**2 * np.linalg.inv(J.T @ J)
        R = yaw_rotation(float(fit.x[0]))
        to_origin = np.eye(4)
        to_origin[1:, 0] = -np.cross([0.0, 0.0, 1.0], R @ middle)
        cov_x = to_origin @ spread @ to_origin.T
        return cls(np.r_[fit.x[0], fit.x[1:] - R @ middle], cov_x, typical)


def with_drift(
    found: Placing,
    here: Room,
    there: Room,
    poses_here: Trajectory,
    poses_there: Trajectory,
    points_here: Indices,
    points_there: Indices,
    params: FindParams,
) -> Placing:
    """The placing with what either take does not know of itself where the points were seen.

    A take's pose errors grow from its first keyframe on and are nearly the same for all it sees within a few seconds:
    so they count as one displacement, as large as they are on average over the looks at the paired points. A scale that
    is off moves every point along the way it is seen.

    Args:
        points_here, points_there: (m,) the pairs.
        params: of the placing.
    """
    inside_here, inside_there = points_here[found.inliers], points_there[found.inliers]
    middle_here, middle_there = here.p_world[inside_here].mean(axis=0), there.p_world[inside_there].mean(axis=0)
    R = found.T[:3, :3]
    lever = np.cross([0.0, 0.0, 1.0], R @ middle_here)
    by_there, by_here = np.eye(4), np.zeros((4, 4))
    by_there[1:, 0] = -lever
    by_here[0, 0], by_here[1:, 0], by_here[1:, 1:] = -1.0, lever, -R
    cov = found.cov.copy()
    for by, room, poses, points, middle in (
        (by_there, there, poses_there, inside_there, middle_there),
        (by_here, here, poses_here, inside_here, middle_here),
    ):
        cov += by @ _displacement(room, poses, points, middle) @ by.T
    p_here, p_there = here.p_world[inside_here], there.p_world[inside_there]
    stretched_here = (p_here - _seen_from(here, poses_here, inside_here)) @ R.T
    stretched_there = p_there - _seen_from(there, poses_there, inside_there)
    doubt = R @ here.cov_world[inside_here] @ R.T + there.cov_world[inside_there]
    weight = np.asarray(np.linalg.inv(doubt + params.repeat_m**2 * np.eye(3)), float)
    for stretched, sigma in ((stretched_here, here.scale_sigma), (stretched_there, there.scale_sigma)):
        by_scale = np.hypot(sigma, params.scale_floor) * _answer(p_here @ R.T, weight, stretched)
        cov += np.outer(by_scale, by_scale)
    return Placing(found.yaw_rad, found.shift, cov, found.inliers, found.residual_m)


def _seen_from(room: Room, poses: Trajectory, points: Indices) -> Array:
    """(m, 3) where the body was at the middle one of the looks at each point."""
    order = np.argsort(room.point, kind="stable")
    first, last = (np.searchsorted(room.point[order], points, side=side) for side in ("left", "right"))
    look = order[(first + last - 1) // 2]
    return poses.T_world_body[np.searchsorted(poses.camera_t_ns, room.camera_t_ns[look]), :3, 3]


def _answer(p: Array, weight: Array, moved: Array) -> Array:
    """(4,) what least squares makes of points (m, 3) that moved by (m, 3): yaw, x, y, z."""
    J = np.zeros((len(p), 3, 4))
    J[:, 0, 0], J[:, 1, 0] = -p[:, 1], p[:, 0]
    J[:, :, 1:] = np.eye(3)
    JtW = np.swapaxes(J, 1, 2) @ weight
    return np.linalg.solve((JtW @ J).sum(axis=0), (JtW @ moved[:, :, None]).sum(axis=0)[:, 0])


def _displacement(room: Room, poses: Trajectory, points: Indices, middle: Array) -> Array:
    """(4, 4) mean covariance of yaw and of the place of `middle`, as the body would carry it along."""
    stamps, count = np.unique(room.camera_t_ns[np.isin(room.point, points)], return_counts=True)
    row = np.searchsorted(poses.camera_t_ns, stamps)
    R, p = poses.T_world_body[row, :3, :3], poses.T_world_body[row, :3, 3]
    J = np.zeros((len(row), 4, 6))
    J[:, 0, :3] = R[:, 2]
    J[:, 1:, :3] = -R @ skew(np.einsum("kji,kj->ki", R, middle - p))
    J[:, 1:, 3:] = R
    return np.average(J @ poses.cov[row] @ np.swapaxes(J, 1, 2), axis=0, weights=count)


def find(
    here: Room, there: Room, poses_here: Trajectory, poses_there: Trajectory, params: FindParams | None = None
) -> tuple[Placing, int]:
    """`T_there_here` with its whole covariance, and how many pairs it was found among. Raises NotFound.

    Args:
        poses_here, poses_there: of a body that the camera is fixed to, with a row for every picture looked from.
    """
    params = params or FindParams()
    here, there = here.posed(poses_here), there.posed(poses_there)
    i, j = match(here, there, params)
    found = place(here.p_world[i], there.p_world[j], here.cov_world[i], there.cov_world[j], params)
    return with_drift(found, here, there, poses_here, poses_there, i, j, params), len(i)
