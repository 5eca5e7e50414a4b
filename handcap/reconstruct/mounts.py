"""Whether cameras still sit on their device as calibrated, and look through the lens they were calibrated with.

The solver holds the calibration fixed. At its optimum one Gauss–Newton step in the calibration, poses and points free
to follow, says where the take's own pictures and IMU would rather have it, and how well they know.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import chi2, norm

from handcap.causes import Cause
from handcap.geometry import Array, adjoint, inverse, se3_exp, se3_log, skew
from handcap.reconstruct.landmarks import Observations, triangulate
from handcap.reconstruct.optics import Optics
from handcap.reconstruct.uncertainty import UNMODELLED, Linearised
from handcap.types import CameraSigma, MountedCamera

Parts = tuple[float, float, float, float]  # of the mount's rotation and position, the focal length and the centre
_SIZES = (3, 3, 1, 2)  # of one camera: rotation and position in its own axes, focal length as a share, centre
_COLUMNS = sum(_SIZES)
_POSSIBLE = CameraSigma(0.1, 0.03, 0.05, 20.0)  # what may have happened to a camera
_CALIBRATED = CameraSigma(0.002, 0.005, 0.002, 1.0)  # of a calibration that does not say
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
    """

    possible: CameraSigma = _POSSIBLE
    calibrated: CameraSigma = _CALIBRATED
    settled: CameraSigma = _SETTLED
    sigmas: float = 3.0
    back: float = 0.7
    rounds: int = 3  # at most, of believing mounts anew

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


def corrections(
    linear: Linearised,
    seen: Observations,
    sigma_px: Array,
    T_world_imu: Array,
    mounts: list[MountedCamera],
    variance_factor: float,
    params: MountParams,
) -> tuple[list[Correction], Array]:
    """What the take says of each camera, and how the poses would follow.

    Args:
        linear: at the optimum of `seen`.
        sigma_px: (m,) by track, ascending ids.
        T_world_imu: (n, 4, 4) by keyframe.
        variance_factor: of the observations' slow errors over what `sigma_px` holds.

    Returns:
        One correction for each camera, and (6 n, 9 c) by how much every pose `[theta; rho]` moves for each of them.
    """
    optics, q = Optics.mounted(mounts), _COLUMNS * len(mounts)
    T_world_first = T_world_imu @ mounts[0].T_imu_cam
    marks, residual = triangulate(seen, T_world_first, optics)
    _, start = np.unique(seen.track, return_index=True)
    which = np.repeat(np.arange(len(start)), np.diff(np.r_[start, len(seen)]))
    placed: Any = np.isfinite(marks.p_world).all(axis=1)
    usable = placed[which] & (np.abs(residual) < 100).all(axis=1)
    T = optics.poses(T_world_first[seen.keyframe], seen.camera)
    R = T[:, :3, :3]
    p_cam = np.einsum(
        "kji,kj->ki", R, np.where(usable[:, None], marks.p_world[which], T[:, :3, 3] + R[:, :, 2]) - T[:, :3, 3]
    )
    weight = np.where(usable, 1 / sigma_px[which], 0.0)[:, None]
    by_point_cam = optics.derivative(p_cam, seen.camera) * weight[..., None]
    r = residual * weight
    by_frame = np.concatenate([by_point_cam @ skew(p_cam), -by_point_cam], axis=2)
    by_point = np.einsum("kai,kji->kaj", by_point_cam, R)
    to_camera = np.array([adjoint(inverse(m.T_imu_cam)) for m in mounts])
    by_pose = by_frame @ to_camera[seen.camera]
    centre = np.array([camera.centre_px for camera in optics.cameras])[seen.camera]
    pixel = seen.pixel - residual
    by_lens = np.concatenate([(pixel - centre)[..., None], np.broadcast_to(np.eye(2), (len(seen), 2, 2))], axis=2)
    own = np.concatenate([by_frame, by_lens * weight[..., None]], axis=2)
    by_calibration = np.zeros((len(seen), 2, q))
    for c in range(len(mounts)):
        rows = seen.camera == c
        by_calibration[rows, :, columns(c)] = own[rows]
    # The points follow: their part of every column is taken out.
    normal = np.add.reduceat(np.einsum("kai,kaj->kij", by_point, by_point), start) + 1e-9 * np.eye(3)
    shared = np.add.reduceat(np.einsum("kai,kaq->kiq", by_point, by_calibration), start)
    follow = np.linalg.solve(normal, shared)
    left = by_calibration - np.einsum("kai,kiq->kaq", by_point, follow[which])
    # c: calibration, x: poses and the clock offset, last.
    A_cc = np.einsum("kap,kaq->pq", left, by_calibration)
    b_c = np.einsum("kaq,ka->q", left, r)
    A_xc = np.zeros((len(linear.downhill), q))
    np.add.at(A_xc[:-1].reshape(-1, 6, q), seen.keyframe, np.einsum("kai,kaq->kiq", by_pose, left))
    # The poses follow too.
    follow = linear.solve(A_xc)
    prior = np.diag(np.tile(_columns(params.possible), len(mounts)) ** -2)
    information = A_cc - A_xc.T @ follow + prior
    cov = np.linalg.inv((information + information.T) / 2)
    step = cov @ (b_c - follow.T @ linear.downhill)
    cov *= UNMODELLED * max(variance_factor, 1.0)
    out = []
    for c in range(len(mounts)):
        part = columns(c)
        s = step[part]
        out.append(Correction(s[:3], s[3:6], float(s[6]), s[7:9], cov[part, part]))
    return out, -follow[:-1]


def columns(c: int) -> slice:
    """Of camera number `c` in what `corrections` returns."""
    return slice(_COLUMNS * c, _COLUMNS * (c + 1))


def unknown(correction: Correction, calibrated: MountedCamera, applied: bool) -> Array:
    """(9, 9) covariance of what a solution takes for the camera's calibration."""
    if applied:
        return correction.cov
    if calibrated.sigma is None:  # nobody knows; taken as it is
        return np.zeros((_COLUMNS, _COLUMNS))
    return np.diag(_columns(calibrated.sigma) ** 2)


def _columns(sigma: CameraSigma) -> Array:
    """(9,) one for each column."""
    return np.repeat(astuple(sigma), _SIZES)


def _sigmas(step: Array, cov: Array) -> float:
    """How unlikely a step is, as the number of standard deviations along one axis that would be as unlikely."""
    squared: Any = step @ np.linalg.solve(cov, step)
    p = float(chi2.sf(squared, len(step)))
    return float(norm.isf(max(p, 1e-300) / 2))
