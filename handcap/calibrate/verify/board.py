"""What a camera's pictures of a board say of its lens, and where the camera was in each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from handcap.boards import Board, BoardViews
from handcap.cameras import Camera
from handcap.geometry import Array, inverse, se3, se3_exp, skew, so3_exp, transform
from handcap.types import CameraSigma

_WIDEST = np.cos(np.deg2rad(75.0))  # off axis: in a plane before the lens, pictures beyond grow without limit


@dataclass(frozen=True, slots=True)
class BoardParams:
    """How pictures of a board are weighed."""

    fewest_corners: int = 8
    fewest_pictures: int = 10
    most_pictures: int = 150  # more of the same second tell nothing new
    least_moved_px: float = 2.0  # since the picture before: corners that rest err alike in every picture
    robust_px: float = 0.3  # a corner farther off is another corner, or a reflection
    least_px: float = 0.04  # what corners scatter by at best
    repeats: float = 1.8  # sigmas are so much larger than if every corner erred by itself
    rounds: int = 8


@dataclass(frozen=True, eq=False, slots=True)
class Corners:
    """Corners in all pictures, one after another.

    Attributes:
        t_ns: (v,) of the pictures, camera clock.
        first: (v,) where each picture's corners begin.
        view: (n,) which picture each is in.
        corners: (n, 3) where it is on the board.
        px: (n, 2) where it was seen.
    """

    t_ns: NDArray[np.int64]
    first: NDArray[np.int64]
    view: NDArray[np.int64]
    corners: Array
    px: Array


@dataclass(frozen=True, eq=False, slots=True)
class SeenBoard:
    """A camera before a board.

    Attributes:
        corners: that were used.
        T_board_cam: (v, 4, 4) by `camera`.
        attitude_cov: (v, 3, 3) rad², camera axes, with this lens.
        camera: the lens by these pictures: as told, but for focal length and centre.
        lens: (3,) share by which the focal length is longer than told, px by which the centre is off.
        lens_cov: (3, 3).
        rms_px: what remains of every corner, per axis.
    """

    corners: Corners
    T_board_cam: Array
    attitude_cov: Array
    camera: Camera
    lens: Array
    lens_cov: Array
    rms_px: float

    @property
    def t_ns(self) -> NDArray[np.int64]:
        """(v,) of the pictures, camera clock."""
        return self.corners.t_ns

    @property
    def row_px(self) -> Array:
        """(v,) mean row of each picture's corners."""
        count = np.diff(self.corners.first, append=len(self.corners.view))
        return np.add.reduceat(self.corners.px[:, 1], self.corners.first) / count


def look_at_board(
    views: BoardViews,
    board: Board,
    camera: Camera,
    params: BoardParams | None = None,
    sigma: CameraSigma | None = None,
) -> SeenBoard | None:
    """Lens and poses at once; None where the board is hardly seen.

    Args:
        views: corners in the camera's pictures.
        camera: the lens as told.
        sigma: how well it is known, to hold it there; without, the pictures alone decide.
    """
    params = params or BoardParams()
    seen = _chosen(views, board, camera, params)
    if len(seen.t_ns) < params.fewest_pictures:
        return None
    T = _first_poses(seen, camera)
    lens = np.zeros(3)
    prior = np.zeros(3) if sigma is None else np.array([1 / sigma.focal, 1 / sigma.centre_px, 1 / sigma.centre_px])
    noise_px, rms_px, A, H = params.least_px, np.nan, np.eye(3), np.eye(6)[None]
    for _ in range(params.rounds):
        off, J_pose, J_lens = _linear(seen, T, with_lens(camera, lens), camera)
        length = np.linalg.norm(off, axis=1)
        weight = np.minimum(1.0, params.robust_px / np.maximum(length, 1e-9))
        # Poses are eliminated one by one; what they leave of the lens adds up.
        H = _sums(seen, np.einsum("n,nij,nik->njk", weight, J_pose, J_pose))
        C = _sums(seen, np.einsum("n,nij,nik->njk", weight, J_pose, J_lens))
        g = _sums(seen, np.einsum("n,nij,ni->nj", weight, J_pose, off))
        solved = np.linalg.solve(H, np.concatenate([C, g[..., None]], axis=2))
        held = (noise_px * prior) ** 2
        A = np.diag(held) + np.einsum("n,nij,nik->jk", weight, J_lens, J_lens)
        A -= np.einsum("vij,vik->jk", C, solved[..., :3])
        b = -held * lens - np.einsum("n,nij,ni->j", weight, J_lens, off) + np.einsum("vij,vi->j", C, solved[..., 3])
        step = np.linalg.solve(A, b)
        lens = lens + step
        T = se3_exp(-(solved[..., 3] + solved[..., :3] @ step)) @ T
        rms_px = float(np.sqrt(np.sum(weight * length**2) / (2 * len(length))))
        noise_px = max(rms_px, params.least_px)
        if np.abs(step * [1e3, 1.0, 1.0]).max() < 1e-5:
            break
    return SeenBoard(
        corners=seen,
        T_board_cam=inverse(T),
        attitude_cov=np.asarray(noise_px**2 * np.linalg.inv(H)[:, :3, :3], float),
        camera=with_lens(camera, lens),
        lens=lens,
        lens_cov=np.asarray((params.repeats * noise_px) ** 2 * np.linalg.inv(A), float),
        rms_px=rms_px,
    )


def poses_through(seen: SeenBoard, camera: Camera) -> SeenBoard:
    """The same pictures through another lens, near the one they were looked at with: poses alone are found anew."""
    T = inverse(seen.T_board_cam)
    for _ in range(2):
        off, J, _ = _linear(seen.corners, T, camera, camera)
        H = _sums(seen.corners, np.einsum("nij,nik->njk", J, J))
        g = _sums(seen.corners, np.einsum("nij,ni->nj", J, off))
        T = se3_exp(-np.linalg.solve(H, g[..., None])[..., 0]) @ T
    return replace(seen, T_board_cam=inverse(T), camera=camera)


def with_lens(camera: Camera, lens: Array) -> Camera:
    """A camera whose focal length and centre are off by `lens` (3,)."""
    fx, fy, cx, cy, *terms = camera.params
    stretch = 1 + float(lens[0])
    return replace(camera, params=(fx * stretch, fy * stretch, cx + float(lens[1]), cy + float(lens[2]), *terms))


def _chosen(views: BoardViews, board: Board, camera: Camera, params: BoardParams) -> Corners:
    """Pictures with enough corners in which the camera has moved."""
    order = np.argsort(board.ids)
    places = board.corners_board[order[np.searchsorted(board.ids[order], views.ids)]]
    ray, valid = camera.unproject(views.px)
    near = valid & (ray[:, 2] > _WIDEST)
    edges = np.searchsorted(views.view, np.arange(len(views.t_ns) + 1))
    rows: list[NDArray[np.int64]] = []
    before: NDArray[np.int64] | None = None
    for i, j in zip(edges[:-1], edges[1:], strict=True):
        these = np.arange(i, j)[near[i:j]]
        if len(these) < params.fewest_corners or not _spread(places[these]):
            continue
        if before is None or _moved_px(views, before, these) >= params.least_moved_px:
            rows.append(these)
            before = these
    rows = rows[:: -(-len(rows) // params.most_pictures)] if rows else rows
    flat = np.concatenate([np.zeros(0, np.int64), *rows])
    count = np.array([len(these) for these in rows], np.int64)
    return Corners(
        t_ns=views.t_ns[views.view[[these[0] for these in rows]]] if rows else np.zeros(0, np.int64),
        first=np.cumsum(count) - count,
        view=np.repeat(np.arange(len(rows)), count),
        corners=places[flat],
        px=views.px[flat],
    )


def _moved_px(views: BoardViews, before: NDArray[np.int64], these: NDArray[np.int64]) -> float:
    """How far corners that both pictures show have gone, their median; infinite if there are none."""
    _, i, j = np.intersect1d(views.ids[before], views.ids[these], assume_unique=True, return_indices=True)
    gone = np.linalg.norm(views.px[these[j]] - views.px[before[i]], axis=1)
    return float(np.median(gone)) if len(gone) else np.inf


def _spread(corners: Array) -> bool:
    """Whether corners are more than one row."""
    sizes = np.linalg.svd(corners - corners.mean(axis=0), compute_uv=False)
    return bool(sizes[1] > 0.15 * sizes[0])


def _first_poses(seen: Corners, camera: Camera) -> Array:
    """(v, 4, 4) T_cam_board, from a plane before the lens."""
    ray, _ = camera.unproject(seen.px)
    flat, edges = ray[:, :2] / ray[:, 2:], np.append(seen.first, len(seen.view))
    T = np.empty((len(seen.first), 4, 4))
    for k, (i, j) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        _, turn, shift = cv2.solvePnP(seen.corners[i:j], flat[i:j], np.eye(3), np.zeros(4), flags=cv2.SOLVEPNP_IPPE)
        T[k] = se3(so3_exp(np.ravel(turn)), np.ravel(shift))
    return T


def _sums(seen: Corners, values: Array) -> Array:
    """(v, ...) sums over each picture's corners."""
    return np.add.reduceat(values, seen.first)


def _linear(seen: Corners, T_cam_board: Array, bent: Camera, told: Camera) -> tuple[Array, Array, Array]:
    """(n, 2) how far corners are off, and how that changes with the poses (n, 2, 6) and with the lens (n, 2, 3)."""
    p_cam = transform(T_cam_board[seen.view], seen.corners)
    px, _ = bent.project(p_cam)
    by_p = bent.derivative(p_cam)
    J_pose = np.concatenate([-by_p @ skew(p_cam), by_p], axis=-1)  # T <- Exp(xi) T
    J_lens = np.zeros((len(px), 2, 3))
    J_lens[:, :, 0] = (px - bent.centre_px) * (told.focal_px / bent.focal_px)
    J_lens[:, 0, 1] = J_lens[:, 1, 2] = 1.0
    return px - seen.px, J_pose, J_lens
