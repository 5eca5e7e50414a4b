"""Whether cameras still sit on their device as calibrated, and look through the lens they were calibrated with.

The solver holds the calibration fixed. At its optimum one Gauss–Newton step in the calibration, poses and points free
to follow, says where the take's own pictures and IMU would rather have it, and how well they know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
from scipy.special import chdtrc, ndtri  # chi2.sf and norm.isf, without the second that scipy.stats takes to import

from handcap.causes import Cause
from handcap.clock import seconds
from handcap.geometry import Array, adjoint, inverse, se3_exp, se3_log, skew
from handcap.reconstruct.landmarks import Observations, triangulate
from handcap.reconstruct.optics import Optics
from handcap.reconstruct.uncertainty import UNMODELLED, Linearised
from handcap.types import CameraSigma, MountedCamera, Stamps

Parts = tuple[float, float, float, float]  # of the mount's rotation and position, the focal length and the centre
_SIZES = (3, 3, 1, 2)  # of one camera: rotation and position in its own axes, focal length as a share, centre
_COLUMNS = sum(_SIZES)
_POSSIBLE = CameraSigma(0.1, 0.03, 0.05, 20.0)  # what may have happened to a camera
_CALIBRATED = CameraSigma(0.002, 0.005, 0.002, 1.0)  # of a calibration that does not say
_EXACT = CameraSigma(1e-7, 1e-7, 1e-7, 1e-5)
_LARGE = 0.5  # of a slip's largest step, for a step to belong to it
_SETTLED = CameraSigma(2e-4, 2e-4, 2e-4, 0.1)  # a smaller step is not worth another round


@dataclass(frozen=True, slots=True)
class MountParams:
    """Beyond what a camera is said to have moved.

    Attributes:
        possible: prior of every step.
        calibrated: how good a calibration is that does not say.
        settled: steps below this end the search.
        sigmas: a camera farther off than so many is no longer believed where it was calibrated,
        back: and is again within this share of them, so that it does not flip from round to round.
        parts: of a take, between which a camera may have turned on its mount,
        slip_sigmas: and beyond so many has.
    """

    possible: CameraSigma = _POSSIBLE
    calibrated: CameraSigma = _CALIBRATED
    exact: CameraSigma = _EXACT  # what a calibration is taken for in the covariance that does not say
    settled: CameraSigma = _SETTLED
    sigmas: float = 3.0
    back: float = 0.7
    rounds: int = 3  # at most, of believing mounts anew
    parts: int = 6
    slip_sigmas: float = 4.0  # of the surest of all those parts and cameras

    def tolerance(self, mount: MountedCamera) -> CameraSigma:
        """Of a camera's calibration."""
        return mount.sigma or self.calibrated


@dataclass(frozen=True, eq=False, slots=True)
class Correction:
    """What a take says of one camera's calibration.

    Attributes:
        rotation_rad, position_m: (3,) of the true camera's frame in the calibrated one's axes.
        focal: by how much longer the focal length is, as a share.
        centre_px: (2,) by how much the principal point lies elsewhere.
        cov: (9, 9) of all of these, in this order.
    """

    rotation_rad: Array
    position_m: Array
    focal: float
    centre_px: Array
    cov: Array

    def significance(self, tolerance: CameraSigma) -> Parts:
        """By how many sigmas each part differs, the calibration itself being good for `tolerance`."""
        step = np.r_[self.rotation_rad, self.position_m, self.focal, self.centre_px]
        both = self.cov + np.diag(_columns(tolerance) ** 2)
        ends = np.cumsum(_SIZES)
        rotation, position, focal, centre = (
            _sigmas(step[b - n : b], both[b - n : b, b - n : b]) for b, n in zip(ends, _SIZES, strict=True)
        )
        return rotation, position, focal, centre

    def can_be(self, params: MountParams) -> bool:
        """Whether it is within what can have happened to a camera; else something else is wrong with the solution."""
        step = np.abs(np.r_[self.rotation_rad, self.position_m, self.focal, self.centre_px])
        return bool(np.all(step < params.sigmas * _columns(params.possible)))

    def causes(self, camera: str, calibrated: MountedCamera, params: MountParams) -> list[Cause]:
        """What to say of the camera of this name."""
        tolerance, width_px = params.tolerance(calibrated), calibrated.camera.width
        rotation, position, focal, centre = (s > params.sigmas for s in self.significance(tolerance))
        limits = params.sigmas * np.array(astuple(tolerance))
        found = []
        if rotation:
            turned_deg = float(np.rad2deg(np.linalg.norm(self.rotation_rad)))
            found.append(Cause("mount_moved", camera, measured=turned_deg, limit=float(np.rad2deg(limits[0]))))
        if position:
            shifted_mm = 1e3 * float(np.linalg.norm(self.position_m))
            found.append(Cause("mount_shifted", camera, measured=shifted_mm, limit=float(1e3 * limits[1])))
        if focal or centre:
            off_px = abs(self.focal) * width_px / 2 + float(np.linalg.norm(self.centre_px))
            found.append(
                Cause("lens_changed", camera, measured=off_px, limit=float(limits[2] * width_px / 2 + limits[3]))
            )
        return found

    def after(self, calibrated: MountedCamera, believed: MountedCamera) -> Correction:
        """The same of the calibrated camera, where this is a step from the believed one."""
        moved = self.applied(believed)
        apart = se3_log(inverse(calibrated.T_imu_cam) @ moved.T_imu_cam)
        focal = float(moved.camera.focal_px[0] / calibrated.camera.focal_px[0]) - 1
        return Correction(apart[:3], apart[3:], focal, moved.camera.centre_px - calibrated.camera.centre_px, self.cov)

    def applied(self, mount: MountedCamera) -> MountedCamera:
        """The camera as the take would have it."""
        camera = mount.camera
        fx, fy, cx, cy, *lens = camera.params
        focal, centre = 1 + self.focal, self.centre_px
        moved = (fx * focal, fy * focal, cx + centre[0], cy + centre[1], *lens)
        T_imu_cam = mount.T_imu_cam @ se3_exp(np.r_[self.rotation_rad, self.position_m])
        rotation, position, lens, middle = (
            float(np.sqrt(np.mean(part))) for part in np.split(np.diag(self.cov), np.cumsum(_SIZES)[:-1])
        )
        return replace(
            mount,
            camera=replace(camera, params=tuple(float(v) for v in moved)),
            T_imu_cam=T_imu_cam,
            sigma=CameraSigma(rotation, position, lens, middle),
        )


@dataclass(frozen=True, eq=False, slots=True)
class Slip:
    """How far a camera turned on its mount in the course of a take.

    Attributes:
        rotation_rad: (3,) from the first part of the take to another, the camera's axes.
        cov: (3, 3).
        start_ns, end_ns: keyframes between which most of it happened.
    """

    rotation_rad: Array
    cov: Array
    start_ns: int
    end_ns: int

    def cause(self, camera: str, first_ns: int, tolerance: CameraSigma, params: MountParams) -> Cause:
        """What to say of the camera of this name, in a take whose first picture is of `first_ns`."""
        begin_s, end_s = np.maximum(seconds(np.array([self.start_ns, self.end_ns]), first_ns), 0.0).tolist()
        turned_deg, limit_rad = np.rad2deg(np.linalg.norm(self.rotation_rad)), params.sigmas * tolerance.rotation_rad
        return Cause("mount_slipped", camera, (begin_s, end_s), float(turned_deg), float(np.rad2deg(limit_rad)))

    def significance(self, tolerance: CameraSigma) -> float:
        """By how many sigmas it turned, the calibration itself being good for `tolerance`."""
        return _sigmas(self.rotation_rad, self.cov + tolerance.rotation_rad**2 * np.eye(3))


@dataclass(frozen=True, eq=False, slots=True)
class Wishes:
    """What a take's solution would rather have of its c cameras' calibrations, nothing else being known of them.

    Columns are the calibrations, 9 a camera, and behind them all, 3 (p - 1) a camera, by how much the camera turned on
    its mount between one of p parts of the take and the next; k of both together.

    Attributes:
        information: (k, k), poses and points following.
        downhill: (k,) right-hand side.
        follows: (6 n, k) by how much every pose `[theta; rho]` moves with each of them.
        scatter: (k, k) covariance of `downhill`: of pictures as their tracks show it one against the other, of the
            inertial sensor as it is stated.
        widening: of variances, for what the solution's weights leave out.
        edge_ns: (p + 1,) stamps of keyframes at which the parts begin and the last one ends.
    """

    information: Array
    downhill: Array
    follows: Array
    scatter: Array
    widening: float
    edge_ns: Stamps

    def corrections(self, known: Sequence[CameraSigma]) -> list[Correction]:
        """One for each camera, of which so much is known beforehand.

        How sure they are is told by how the tracks differ, each with all its views as one witness (Liang and Zeger
        1986): a track that drifts pulls in the same direction in every picture.
        """
        step, cov = self._step(_information(known))
        out = []
        for part in map(_columns_of, range(len(known))):
            own = step[part]
            out.append(Correction(own[:3], own[3:6], float(own[6]), own[7:9], cov[part, part]))
        return out

    def slips(self, known: Sequence[CameraSigma], possible_rad: float) -> list[Slip]:
        """By how much each camera turned on its mount, from the first part of the take to where that is the surest."""
        count, cuts = len(known), len(self.edge_ns) - 2
        step, cov = self._step(np.r_[_information(known), np.full(3 * cuts * count, possible_rad**-2)])
        out = []
        for c in range(count):
            own = slice(_COLUMNS * count + 3 * cuts * c, _COLUMNS * count + 3 * cuts * (c + 1))
            turns = step[own].reshape(cuts, 3)
            turned = np.cumsum(turns, axis=0)
            spread = cov[own, own].reshape(cuts, 3, cuts, 3).cumsum(axis=0).cumsum(axis=2)
            size = np.linalg.norm(turns, axis=1)
            large = np.flatnonzero(size >= _LARGE * size.max())
            start_ns, end_ns = int(self.edge_ns[large[0]]), int(self.edge_ns[large[-1] + 2])
            parts = [Slip(turned[p], spread[p, :, p], start_ns, end_ns) for p in range(cuts)]
            out.append(max(parts, key=lambda slip: slip.significance(known[c])))
        return out

    def _step(self, prior: Array) -> tuple[Array, Array]:
        """(m,) of the first m columns, of which (m,) information is known beforehand, and (m, m) covariance."""
        m = len(prior)
        half: Any = np.linalg.inv(self.information[:m, :m] + np.diag(prior))
        return half @ self.downhill[:m], UNMODELLED * (half @ (self.scatter[:m, :m] + np.diag(prior)) @ half)

    def covariance(self, known: Sequence[CameraSigma]) -> Array:
        """(6 n, 6 n) of poses, by what is not known of all calibrations together but so much beforehand."""
        prior = _information(known)
        m = len(prior)
        inverted: Any = np.linalg.inv(self.information[:m, :m] + np.diag(prior))
        return self.follows[:, :m] @ (self.widening * inverted) @ self.follows[:, :m].T


def wishes(
    linear: Linearised,
    seen: Observations,
    sigma_px: Array,
    t_ns: Stamps,
    T_world_imu: Array,
    mounts: Sequence[MountedCamera],
    variance_factor: float,
    parts: int = 1,
) -> Wishes:
    """Of the optimum of `seen`.

    Args:
        linear: there.
        sigma_px: (m,) by track, ascending ids.
        t_ns, T_world_imu: (n,) and (n, 4, 4) by keyframe.
        variance_factor: of the observations' slow errors over what `sigma_px` holds.
        parts: p, of the take, alike in keyframes.
    """
    edges = np.arange(parts + 1) * (len(t_ns) - 1) // parts
    optics = Optics.mounted(mounts)
    T_world_first = T_world_imu @ mounts[0].T_imu_cam
    marks, residual = triangulate(seen, T_world_first, optics)
    _, start = np.unique(seen.track, return_index=True)
    which = np.repeat(np.arange(len(start)), np.diff(np.r_[start, len(seen)]))
    placed: Any = np.isfinite(marks.p_world).all(axis=1)
    usable = placed[which] & (np.abs(residual) < 100).all(axis=1)
    T = optics.poses(T_world_first[seen.keyframe], seen.camera)
    R = T[:, :3, :3]
    p_world = np.where(usable[:, None], marks.p_world[which], T[:, :3, 3] + R[:, :, 2])
    p_cam = np.einsum("kji,kj->ki", R, p_world - T[:, :3, 3])
    weight = np.where(usable, 1 / sigma_px[which], 0.0)[:, None]
    by_point_cam = optics.derivative(p_cam, seen.camera) * weight[..., None]
    by_point = np.einsum("kai,kji->kaj", by_point_cam, R)
    by_frame = np.concatenate([by_point_cam @ skew(p_cam), -by_point_cam], axis=2)
    by_pose = by_frame @ np.array([adjoint(inverse(m.T_imu_cam)) for m in mounts])[seen.camera]
    by_calibration = _by_calibration(by_frame, seen, seen.pixel - residual, weight, optics)
    by_turn = by_calibration.reshape(len(seen), 2, len(mounts), _COLUMNS)[..., None, :3]
    late = seen.keyframe[:, None] >= edges[1:-1]
    by_turns = (by_turn * late[:, None, None, :, None]).reshape(len(seen), 2, -1)
    by_calibration = np.concatenate([by_calibration, by_turns], axis=2)
    # The points follow: their part of every column is taken out.
    normal = np.add.reduceat(np.einsum("kai,kaj->kij", by_point, by_point), start) + 1e-9 * np.eye(3)
    shared = np.add.reduceat(np.einsum("kai,kaq->kiq", by_point, by_calibration), start)
    left = by_calibration - np.einsum("kai,kiq->kaq", by_point, np.linalg.solve(normal, shared)[which])
    # The poses follow too. c: calibration, x: poses and the clock offset, last.
    A_cc = np.einsum("kap,kaq->pq", left, by_calibration)
    A_xc = np.zeros((len(linear.downhill), A_cc.shape[0]))
    np.add.at(A_xc[:-1].reshape(-1, 6, len(A_cc)), seen.keyframe, np.einsum("kai,kaq->kiq", by_pose, left))
    x_by_c = linear.solve(A_xc)
    information = A_cc - A_xc.T @ x_by_c
    downhill = np.einsum("kaq,ka->q", left, residual * weight) - x_by_c.T @ linear.downhill
    followed = np.einsum("kai,kiq->kaq", by_pose, x_by_c[:-1].reshape(-1, 6, len(A_cc))[seen.keyframe])
    pulls = np.add.reduceat(np.einsum("kaq,ka->kq", left - followed, residual * weight), start)
    measured, fitted = 2 * int(usable.sum()), 3 * len(start) + 6 * len(T_world_imu)
    visual = pulls.T @ pulls * (measured / max(measured - fitted, 1))  # residuals are smaller than errors by the fit
    scatter = visual + x_by_c.T @ linear.inertial @ x_by_c
    widening = UNMODELLED * max(variance_factor, 1.0)
    return Wishes((information + information.T) / 2, downhill, -x_by_c[:-1], scatter, widening, t_ns[edges])


def _by_calibration(by_frame: Array, seen: Observations, pixel: Array, weight: Array, optics: Optics) -> Array:
    """(k, 2, 9 c) of weighted pixels by each camera's frame (k, 2, 6, weighted already), focal length and centre."""
    centre = np.array([camera.centre_px for camera in optics.cameras])[seen.camera]
    by_lens = np.concatenate([(pixel - centre)[..., None], np.broadcast_to(np.eye(2), (len(seen), 2, 2))], axis=2)
    own = np.concatenate([by_frame, by_lens * weight[..., None]], axis=2)
    out = np.zeros((len(seen), 2, _COLUMNS * len(optics.cameras)))
    for c in range(len(optics.cameras)):
        rows = seen.camera == c
        out[rows, :, _columns_of(c)] = own[rows]
    return out


def _columns_of(c: int) -> slice:
    """Where camera number `c` stands among the calibrations."""
    return slice(_COLUMNS * c, _COLUMNS * (c + 1))


def _information(known: Sequence[CameraSigma]) -> Array:
    """(9 c,) of what is known beforehand."""
    return np.concatenate([_columns(sigma) for sigma in known]) ** -2


def _columns(sigma: CameraSigma) -> Array:
    """(9,) one for each column."""
    return np.repeat(astuple(sigma), _SIZES)


def _sigmas(step: Array, cov: Array) -> float:
    """How unlikely a step is, as the number of standard deviations along one axis that would be as unlikely."""
    squared: Any = step @ np.linalg.solve(cov, step)
    p = float(chdtrc(len(step), squared))
    return float(-ndtri(max(p, 1e-300) / 2))
