"""Views of a board at the level of corners: what a perfect picture would show, and noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from handcap import geometry
from handcap.boards import AprilGrid, Board
from handcap.calibrate.camera.views import View, Views
from handcap.cameras import Camera
from handcap.geometry import Array
from handcap.measure.boards import SeenCorners

GRID = AprilGrid(4, 4, 0.08, 0.3)
Warp = Callable[[Array], Array]


def board_views(
    lens: Camera,
    count: int,
    rng: np.random.Generator,
    *,
    noise_px: float = 0.05,
    tilt_rad: float = 0.7,
    aside: float = 1.0,
    away_m: tuple[float, float] = (0.3, 0.7),
    warp: Warp = lambda corners: corners,
    board: Board = GRID,
) -> list[View]:
    """Views of a board as it truly is: `warp` makes it differ from its description.

    Args:
        lens: true.
        count: of views with at least eight corners.
        rng: of poses and noise.
        noise_px: per axis.
        tilt_rad: of the most tilted.
        aside: how far from the middle of the picture its middle comes, as a share of the way to the border.
        away_m: nearest and furthest.
        warp: corners (n, 3) as described to corners as they are.
        board: as described.
    """
    corners = warp(board.corners_board)
    middle, views = corners.mean(axis=0), []
    while len(views) < count:
        tilt, around = rng.uniform(0, tilt_rad), rng.uniform(0, 2 * np.pi)
        R = geometry.so3_exp([tilt * np.cos(around), tilt * np.sin(around), 0]) @ geometry.so3_exp(
            [0, 0, rng.uniform(-1, 1)]
        )
        size = np.array([lens.width, lens.height])
        at_px = (size - 1) / 2 + aside * rng.uniform(-0.5, 0.5, 2) * size
        ray, known = lens.unproject(at_px)
        if not known:
            continue
        T_cam_board = geometry.se3(R, ray * rng.uniform(*away_m) - R @ middle)
        px, valid = lens.project(geometry.transform(T_cam_board, corners))
        ids = np.flatnonzero(valid & lens.in_picture(px, 5.0))
        if len(ids) >= 8:
            seen = SeenCorners(ids, px[ids] + noise_px * rng.standard_normal((len(ids), 2)))
            views.append(View(f"{len(views)}.png", len(views), None, seen, 0.7))
    return views


def as_views(lens: Camera, views: list[View], board: Board = GRID) -> Views:
    """All of the picture is lit."""
    return Views("head", board, lens.width, lens.height, views, 0, 0, np.ones((48, 64), bool))
