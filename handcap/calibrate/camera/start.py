"""A first lens from nothing but where corners of a flat board were seen: no focal length has to be guessed by hand.

For a lens without distortion and its centre in the picture's, only the focal length is unknown. Each of a row of focal
lengths turns pixels into rays; rays and board are tied by a homography in every view; the focal length under which
these homographies are rigid poses explains the pixels best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.calibrate.camera.bundle import BundleParams, Setup, Sightings, fit, per_view_rms_px
from handcap.cameras import Camera
from handcap.geometry import Array, project_to_so3, se3

_FOCALS = np.geomspace(0.18, 4.0, 14)  # of the picture's width: from fisheyes of 220° to tele lenses
_VIEWS = 12  # for the search; the rest brings nothing but time
_CORNERS = 500  # for the search, in all of them
_TRIED = 3  # focal lengths from which a whole fit begins
_ROUGH = BundleParams(freedom=4.0, steps=25, converged=1e-5, free_bend=False)
_POSES_ONLY = BundleParams(freedom=4.0, steps=6, converged=1e-3, free_lenses=False, free_mounts=False, free_bend=False)
_LEAST_CORNERS = 6


@dataclass(frozen=True, eq=False, slots=True)
class Start:
    """Rough but good enough to be refined.

    Attributes:
        lens: it.
        T_cam_board: (views, 4, 4).
    """

    lens: Camera
    T_cam_board: Array


def first_lens(model: type[Camera], width: int, height: int, seen: Sightings) -> Start | None:
    """A lens and the poses of the board in all views of one camera; None where nothing explains what was seen."""
    views = int(seen.view.max()) + 1 if len(seen) else 0
    if views == 0:
        return None
    some = _spread(seen, views)
    few = seen.of_views(some)
    few = few.where(np.arange(len(few)) % max(len(few) // _CORNERS, 1) == 0)
    tried: list[tuple[float, Camera]] = []
    for focal in _FOCALS * width:
        lens = _undistorted(model, width, height, float(focal))
        setup = Setup([lens], np.eye(4)[None], board_poses(lens, few))
        rms = per_view_rms_px(fit(setup, few, _POSES_ONLY).residual_px, few.view, len(some))
        tried.append((float(np.median(rms)), lens))
    best: tuple[float, Camera] | None = None
    for _, lens in sorted(tried, key=lambda each: each[0])[:_TRIED]:
        rough = fit(Setup([lens], np.eye(4)[None], board_poses(lens, few)), few, _ROUGH)
        rms = float(np.median(per_view_rms_px(rough.residual_px, few.view, len(some))))
        if np.isfinite(rms) and (best is None or rms < best[0]):
            best = rms, rough.setup.lenses[0]
    if best is None:
        return None
    return Start(best[1], board_poses(best[1], seen))


def _undistorted(model: type[Camera], width: int, height: int, focal: float) -> Camera:
    terms = (0.0,) * (len(model.parameter_names) - 4)
    return model(width, height, (focal, focal, (width - 1) / 2, (height - 1) / 2, *terms))


def _spread(seen: Sightings, views: int) -> NDArray[np.int64]:
    """Views for the search, ascending: those that show the most of the board, evenly over the recording."""
    count = np.bincount(seen.view, minlength=views)
    parts = np.array_split(np.arange(views), min(views, _VIEWS))
    return np.array([part[np.argmax(count[part])] for part in parts], np.int64)


def board_poses(lens: Camera, seen: Sightings) -> Array:
    """(views, 4, 4) of the board in the camera, from a homography between rays and the board's plane.

    Rays may point backwards. Where too little was seen, the board is put before the lens.
    """
    views = int(seen.view.max()) + 1
    rays, valid = lens.unproject(seen.px)
    poses = np.tile(se3(np.eye(3), [0.0, 0.0, 1.0]), (views, 1, 1))
    for view in range(views):
        rows = (seen.view == view) & valid
        if int(rows.sum()) >= _LEAST_CORNERS:
            pose = _pose(seen.p_board[rows], rays[rows])
            if pose is not None:
                poses[view] = pose
    return poses


def _pose(p_board: Array, rays: Array) -> Array | None:
    """(4, 4) from points of a plane (n, 3) with z = 0 and rays to them (n, 3)."""
    middle, size = p_board[:, :2].mean(axis=0), float(np.std(p_board[:, :2])) or 1.0
    on_board = np.column_stack([(p_board[:, :2] - middle) / size, np.ones(len(p_board))])
    # ray × (H p) = 0: three equations a point, linear in the nine elements of H.
    x, y, z = (rays[:, k, None] * on_board for k in range(3))
    nothing = np.zeros_like(x)
    rows = np.block([[nothing, -z, y], [z, nothing, -x], [-y, x, nothing]])
    H = np.linalg.eigh(rows.T @ rows)[1][:, 0].reshape(3, 3)
    if np.sum(rays * (on_board @ H.T)) < 0:
        H = -H
    scale = np.sqrt(np.linalg.norm(H[:, 0]) * np.linalg.norm(H[:, 1]))
    if not scale > 1e-12:
        return None
    H = H / scale
    R = project_to_so3(np.column_stack([H[:, 0], H[:, 1], np.cross(H[:, 0], H[:, 1])]))
    return se3(R, H[:, 2] * size - R[:, :2] @ middle)
