"""Reasons to doubt a lens that was fitted: a board that is not as stated, pictures of two cameras."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handcap.boards import AprilGrid, Board
from handcap.calibrate.camera.bundle import Fit, Sightings, board_step, fit
from handcap.calibrate.camera.estimate import EstimateParams, LensEstimate, poses_only
from handcap.calibrate.camera.uncertainty import difference_px, grid_px
from handcap.geometry import Array

_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class BoardShape:
    """How the board in the pictures seems to differ from its description; each with its standard deviation.

    Attributes:
        bend_m: by how far its middle stands out from its corners' circle, along the most bent direction.
        stretch: by which share of its height it is higher than stated, its width taken as right.
        spacing: of an AprilGrid, gap between tags as a share of a tag, minus the stated one; NaN for others.
    """

    bend_m: float
    bend_sigma_m: float
    stretch: float
    stretch_sigma: float
    spacing: float
    spacing_sigma: float


def board_shape(result: Fit, seen: Sightings, board: Board, inflation: float) -> BoardShape:
    """As fitted, and one step further with a board that may be stretched and spaced otherwise."""
    corners = board.corners_board
    half = float(np.linalg.norm(np.ptp(corners[:, :2], axis=0))) / 2
    zero = np.zeros(len(seen))
    directions: list[Array] = [np.stack([zero, seen.p_board[:, 1], zero], axis=-1)]
    if isinstance(board, AprilGrid):
        tag = seen.corner // 4
        row, column = board.rows - 1 - tag // board.columns, tag % board.columns
        gaps = np.stack([column * board.tag_m, row * board.tag_m, zero], axis=-1)
        directions.append(gaps.astype(float))
    step, cov = board_step(result, seen, np.array(directions, float))
    at = len(step) - len(directions)
    own, sigma = step[at:], np.sqrt(np.diag(cov)[at:] * inflation)
    a, b, c = result.setup.bend
    bend = np.linalg.eigvalsh([[a, b], [b, c]])
    bend_sigma = float(np.sqrt(np.mean(np.diag(result.shared_cov)[-3:]) * inflation))
    has_spacing = len(own) > 1
    return BoardShape(
        half * float(bend[np.argmax(np.abs(bend))]),
        half * bend_sigma,
        float(own[0]),
        float(sigma[0]),
        float(own[1]) if has_spacing else float("nan"),
        float(sigma[1]) if has_spacing else float("nan"),
    )


@dataclass(frozen=True, slots=True)
class TwoLenses:
    """What two lenses instead of one explain.

    Attributes:
        share: of the views that belong to the rarer lens.
        noise: that remains, as a share of the noise that one lens leaves.
        apart_px: rms difference of the two over the picture.
    """

    share: float
    noise: float
    apart_px: float


def two_lenses(estimate: LensEstimate, params: EstimateParams) -> TwoLenses | None:
    """Views dealt to two lenses so that each explains its own; None where there are too few for that.

    Views of one camera pull at the common lens in one direction, those of the other against it: the largest principal
    component of their scores begins.
    """
    views = len(estimate.used)
    if views < 2 * params.least_views:
        return None
    deviation = np.sqrt(np.maximum(np.diag(estimate.fit.shared_cov), 1e-300))
    scores = estimate.fit.scores * deviation
    first = np.linalg.svd(scores, full_matrices=False)[2][0]
    second = scores @ first > np.median(scores @ first)
    fits: list[Fit] = []
    for _ in range(_ROUNDS):
        sides = [np.flatnonzero(~second), np.flatnonzero(second)]
        if min(len(side) for side in sides) < params.least_views:
            return None
        fits = [_refit(estimate, side, params) for side in sides]
        costs = [_view_cost(result, estimate, params) for result in fits]
        now = costs[1] < costs[0]
        if np.array_equal(now, second):
            break
        second = now
    lenses = [result.setup.lenses[0] for result in fits]
    square = sum(np.sum(result.weight * np.sum(result.residual_px**2, axis=1)) for result in fits)
    one = np.sum(estimate.fit.weight * np.sum(estimate.fit.residual_px**2, axis=1))
    at = grid_px(estimate.lens.width, estimate.lens.height, 16, 12).reshape(-1, 2)
    apart = difference_px(lenses[0], lenses[1], at, estimate.seen.px)
    # Only where both have seen something; beyond, models run apart.
    near = np.min(np.linalg.norm(at[:, None] - estimate.seen.px[None, ::7], axis=-1), axis=1)
    apart = apart[near < estimate.lens.width / 16]
    return TwoLenses(
        float(np.mean(second)) if np.mean(second) < 0.5 else float(1 - np.mean(second)),
        float(np.sqrt(square / one)),
        float(np.sqrt(np.nanmean(np.sum(apart**2, axis=1)))),
    )


def _refit(estimate: LensEstimate, side: NDArray[np.int64], params: EstimateParams) -> Fit:
    bundle = replace(params.bundle, steps=30, converged=1e-6)
    return fit(estimate.fit.setup.of_views(side), estimate.seen.of_views(side), bundle)


def _view_cost(result: Fit, estimate: LensEstimate, params: EstimateParams) -> Array:
    """(views,) how badly a lens explains each view."""
    refitted = poses_only(result.setup, estimate.seen, params)
    square = np.sum(refitted.residual_px**2, axis=1) / estimate.fit.sigma_px**2
    return np.asarray(np.bincount(estimate.seen.view, np.log1p(square / 6), len(estimate.used)), float)
