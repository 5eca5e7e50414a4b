"""Where a camera was, picture by picture, from the corners of one board."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_lsq_spline

from handcap.boards import Board, BoardViews
from handcap.cameras import Camera
from handcap.clock import seconds
from handcap.geometry import Array, inverse, se3, skew, so3_exp

_WIDEST = np.deg2rad(75.0)  # off axis: a plane's picture before the lens grows without limit
_SMOOTH_S = 0.15  # between knots of a path by pictures alone
_HOLE = 1.6  # periods without a pose that end a stretch
_CLEARLY = 3.0
_ROUNDS = 8
_ROBUST_PX = 1.0


@dataclass(frozen=True, eq=False, slots=True)
class ViewPoses:
    """A camera before a board.

    Attributes:
        t_ns: (f,) stamps of all pictures, camera clock.
        T_board_cam: (f, 4, 4); NaN where too few corners were seen.
        rms_px: (f,) what the corners leave; NaN likewise.
    """

    t_ns: NDArray[np.int64]
    T_board_cam: Array
    rms_px: Array

    @property
    def known(self) -> NDArray[np.bool_]:
        """(f,)."""
        return np.isfinite(self.rms_px)


def board_positions(board: Board, ids: NDArray[np.int64]) -> Array:
    """(n, 3) m of the corners with these names, board axes."""
    order = np.argsort(board.ids)
    return board.corners_board[order[np.searchsorted(board.ids[order], ids)]]


def view_poses(views: BoardViews, board: Board, camera: Camera, least_corners: int) -> ViewPoses:
    """Poses of one camera, each picture by itself; rows of a rolling shutter are taken as simultaneous."""
    f = len(views.t_ns)
    T, rms = np.full((f, 4, 4), np.nan), np.full(f, np.nan)
    ray, valid = camera.unproject(views.px)
    valid &= ray[:, 2] > np.cos(_WIDEST)
    corners = board_positions(board, views.ids)
    edges = np.searchsorted(views.view, np.arange(f + 1))
    for k in range(f):
        rows = np.arange(edges[k], edges[k + 1])
        rows = rows[valid[rows]]
        if len(rows) >= least_corners and _spread(corners[rows]):
            T[k], rms[k] = _pose(corners[rows], ray[rows], views.px[rows], camera)
    return ViewPoses(views.t_ns, T, rms)


def _spread(corners: Array) -> bool:
    """Whether corners are more than one row."""
    sizes = np.linalg.svd(corners - corners.mean(axis=0), compute_uv=False)
    return bool(sizes[1] > 0.1 * sizes[0])


def _pose(corners: Array, ray: Array, px: Array, camera: Camera) -> tuple[Array, float]:
    """T_board_cam and rms; NaN where no pose has the board before the camera."""
    flat = ray[:, :2] / ray[:, 2:]
    try:
        _, turns, shifts, left = cv2.solvePnPGeneric(corners, flat, np.eye(3), None, flags=cv2.SOLVEPNP_IPPE)
    except cv2.error:
        return np.full((4, 4), np.nan), np.nan
    best, least = np.full((4, 4), np.nan), np.inf
    for turn, shift, error in zip(turns, shifts, np.ravel(left), strict=True):
        if error > _CLEARLY * np.ravel(left)[0]:
            break  # the mirrored pose of a plane, and clearly not the one
        T_cam_board, rms = _refined(se3(so3_exp(np.ravel(turn)), np.ravel(shift)), corners, px, camera)
        if rms < least:
            best, least = inverse(T_cam_board), rms
    return best, least if np.isfinite(least) else np.nan


def _refined(T_cam_board: Array, corners: Array, px: Array, camera: Camera) -> tuple[Array, float]:
    """Least squares in the picture, corners far off weighed down; infinite rms where the lens does not reach."""
    error = np.zeros_like(px)
    for round_ in range(_ROUNDS + 1):
        p_cam = corners @ T_cam_board[:3, :3].T + T_cam_board[:3, 3]
        seen, valid = camera.project(p_cam)
        if not valid.all() or not np.isfinite(seen).all():
            return T_cam_board, np.inf
        error = seen - px
        if round_ == _ROUNDS:
            break
        by_p = camera.derivative(p_cam)
        # T <- Exp(xi) T moves p_cam by theta × p + rho.
        J = np.concatenate([-by_p @ skew(p_cam), by_p], axis=-1)
        weight = np.minimum(1.0, _ROBUST_PX / np.maximum(np.linalg.norm(error, axis=1), 1e-12))
        A = np.einsum("n,nij,nik->jk", weight, J, J)
        step = np.linalg.solve(A + 1e-9 * np.trace(A) * np.eye(6), -np.einsum("n,nij,ni->j", weight, J, error))
        T_cam_board = se3(so3_exp(step[:3]), step[3:]) @ T_cam_board
        if np.abs(step).max() < 1e-7:
            break
    return T_cam_board, float(np.sqrt(np.mean(np.sum(error**2, axis=1))))


def accelerations(poses: ViewPoses) -> Array:
    """(f, 3) m/s² of the camera, board axes, by pictures alone; NaN where too few follow each other.

    A cubic spline through each stretch, its knots far enough apart that a millimetre of noise does not drown it.
    """
    out = np.full((len(poses.t_ns), 3), np.nan)
    rows = np.flatnonzero(poses.known)
    if len(rows) < 2:
        return out
    t_s = seconds(poses.t_ns, int(poses.t_ns[0]))
    period_s = float(np.median(np.diff(t_s[rows])))
    holes = np.flatnonzero(np.diff(t_s[rows]) > _HOLE * period_s) + 1
    for stretch in np.split(rows, holes):
        t = t_s[stretch]
        spans = int((t[-1] - t[0]) / max(_SMOOTH_S, 2.5 * period_s))
        if spans < 4:
            continue
        inner = np.linspace(t[0], t[-1], spans + 1)[1:-1]
        spline = make_lsq_spline(t, poses.T_board_cam[stretch, :3, 3], np.r_[[t[0]] * 4, inner, [t[-1]] * 4], k=3)
        ends = slice(3, -3)  # where a spline hangs free
        out[stretch[ends]] = np.asarray(spline.derivative(2)(t[ends]))
    return out
