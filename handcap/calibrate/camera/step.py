"""One camera: pictures of a board become a lens with a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.boards import Board, board_text
from handcap.calibrate.camera.choose import ChooseParams, sharp_views, slow_views, speed_px_s, spread_views
from handcap.calibrate.camera.coverage import Coverage, CoverageParams, coverage
from handcap.calibrate.camera.doubts import BoardShape, TwoLenses, board_shape, two_lenses
from handcap.calibrate.camera.estimate import EstimateParams, LensEstimate, estimate_lens, view_rms_px
from handcap.calibrate.camera.judge import Found, Limits, judge, verdict_of
from handcap.calibrate.camera.other_board import other_board
from handcap.calibrate.camera.sources import Source
from handcap.calibrate.camera.start import first_lens
from handcap.calibrate.camera.uncertainty import expected_error_px, grid_px
from handcap.calibrate.camera.views import OnProgress, Views, look
from handcap.calibrate.part import Part
from handcap.cameras import KannalaBrandt4
from handcap.causes import Cause
from handcap.geometry import Array
from handcap.measure.boards import CornerParams

MAP = (24, 18)  # columns and rows of the map of expected errors
_PROBES = 4  # pictures in which another board is looked for


@dataclass(frozen=True, slots=True)
class CameraParams:
    """How a camera is calibrated; each part says what it holds."""

    corners: CornerParams = field(default_factory=CornerParams)
    choose: ChooseParams = field(default_factory=ChooseParams)
    estimate: EstimateParams = field(default_factory=EstimateParams)
    coverage: CoverageParams = field(default_factory=CoverageParams)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, eq=False, slots=True)
class Known:
    """What was found out about a lens.

    Attributes:
        estimate: it.
        covered: what the views showed of it.
        expected_px: (rows, columns) standard deviation per axis over the picture, see MAP; NaN where the model ends.
        expected_p90_px: of it where the board was seen.
        shape: how the board seems to differ from its description.
        two: what two lenses would explain.
    """

    estimate: LensEstimate
    covered: Coverage
    expected_px: Array
    expected_p90_px: float
    shape: BoardShape
    two: TwoLenses | None


@dataclass(frozen=True, eq=False, slots=True)
class CameraResult:
    """A part, and what its page is drawn from.

    Attributes:
        part: of the step "camera".
        views: what was looked at.
        chosen: places of the views that were fitted, among `views.views`.
        known: None where no lens could be fitted.
    """

    part: Part
    views: Views
    chosen: Sequence[int]
    known: Known | None


def calibrate_camera(
    source: Source,
    board: Board,
    params: CameraParams | None = None,
    on_progress: OnProgress = lambda what, fraction: None,
) -> CameraResult:
    """A lens from pictures of a board, with a verdict and its causes.

    Args:
        source: of the pictures.
        board: that they show.
        params: how.
        on_progress: told what is done and how much of it.

    Raises:
        CalibrationError: there is nothing to look at.
    """
    params = params or CameraParams()
    views = look(source, board, evenly(len(source.keys), params.choose.pictures), params.corners, on_progress)
    on_progress("Fitting the lens", 0.0)
    chosen = choose(views, params)
    before = doubts_before(source, views, chosen, params)
    estimate = None
    if len(chosen) >= params.estimate.least_views:
        estimate = estimate_lens(views.width, views.height, views.only(chosen).sightings(), params.estimate)
    if estimate is None:
        return CameraResult(part_of(source, views, chosen, None, before, params), views, chosen, None)
    known = weigh(estimate, views, params)
    found = before + judge_known(known, board, params)
    return CameraResult(part_of(source, views, chosen, known, found, params), views, chosen, known)


def evenly(count: int, most: int) -> list[int]:
    """At most `most` places of `count`, evenly apart."""
    return list(range(0, count, max(-(-count // most), 1)))


def choose(views: Views, params: CameraParams) -> list[int]:
    """Places of the views worth fitting."""
    sharp = sharp_views(views.views, params.choose)
    if len(sharp) <= params.choose.views:
        return sharp
    sharp = [sharp[k] for k in slow_views(speed_px_s([views.views[k] for k in sharp]), params.choose.views)]
    table = views.only(sharp).sightings()
    start = first_lens(KannalaBrandt4, views.width, views.height, table)
    if start is None:
        return sharp[: params.choose.views]
    return [sharp[k] for k in spread_views(table, start.lens, start.T_cam_board, params.choose.views)]


def doubts_before(source: Source, views: Views, chosen: Sequence[int], params: CameraParams) -> list[Found]:
    """What is wrong with the pictures whatever the lens."""
    found: list[Found] = []
    if views.other_sizes:
        found.append(Found(Cause("pictures_differ_in_size", measured=views.other_sizes), "refused"))
    with_board = [k for k, view in enumerate(views.views) if len(view.seen)]
    places = with_board if len(chosen) >= params.estimate.least_views else list(range(len(views.views)))
    probes = {views.views[k].place for k in [places[p] for p in evenly(len(places), _PROBES)]}
    pictures = (shot.picture for shot in source.shots(sorted(probes)) if shot.picture is not None)
    if len(chosen) < params.estimate.least_views:
        other = other_board(pictures, views.board)
        least = params.estimate.least_views
        edges = [views.views[k].edge_px for k in with_board]
        if other is not None:
            found.append(Found(Cause("board_is_another", other), "refused"))
        elif len(with_board) >= least and np.nanmedian(edges) > params.choose.edge_px:
            width, limit = float(f"{np.nanmedian(edges):.3g}"), params.choose.edge_px
            found.append(Found(Cause("board_blurred", measured=width, limit=limit), "refused"))
        else:
            found.append(Found(Cause("board_not_found", measured=len(with_board), limit=least), "refused"))
    elif views.board.kind == "chessboard":
        # A smaller board than the one held up is found somewhere in it, now here, now there.
        other = other_board(islice(pictures, 2), views.board)
        if other is not None and other.startswith("chessboard"):
            found.append(Found(Cause("board_is_another", other), "refused"))
    return found


def weigh(estimate: LensEstimate, views: Views, params: CameraParams) -> Known:
    """What an estimate is worth, and what speaks against it."""
    lens, seen = estimate.lens, estimate.seen
    covered = coverage(seen, lens, estimate.fit.setup.T_first_board, views.lit, params.coverage)
    at = grid_px(lens.width, lens.height, *MAP).reshape(-1, 2)
    expected = expected_error_px(lens, estimate.cov, at, seen.px)
    shown = _cells(covered.corners > 0, at, lens.width, lens.height)
    there = expected[shown & np.isfinite(expected)]
    p90 = float(np.percentile(there, 90)) if len(there) else float("nan")
    shape = board_shape(estimate.fit, seen, views.board, estimate.inflation)
    two = two_lenses(estimate, params.estimate) if estimate.inflation > params.limits.two_inflation else None
    return Known(estimate, covered, expected.reshape(MAP[::-1]), p90, shape, two)


def judge_known(known: Known, board: Board, params: CameraParams) -> list[Found]:
    return judge(known.estimate, board, known.covered, known.expected_p90_px, known.shape, known.two, params.limits)


def _cells(where: NDArray[np.bool_], at_px: Array, width: int, height: int) -> NDArray[np.bool_]:
    """(n,) whether pixels (n, 2) lie in cells (rows, columns) of a picture."""
    rows, columns = where.shape
    cell = np.floor((at_px + 0.5) / [width, height] * [columns, rows]).astype(int)
    return where[np.clip(cell[:, 1], 0, rows - 1), np.clip(cell[:, 0], 0, columns - 1)]


def part_of(
    source: Source,
    views: Views,
    chosen: Sequence[int],
    known: Known | None,
    found: Sequence[Found],
    params: CameraParams,
) -> Part:
    """As it is stored."""
    values: dict[str, Any] = {}
    sigma: dict[str, Any] = {}
    details: dict[str, Any] = {
        "board": board_text(views.board),
        "pictures": len(views.views),
        "pictures_with_board": sum(len(view.seen) > 0 for view in views.views),
        "unreadable": views.unreadable,
    }
    if known is not None:
        lens = known.estimate.lens
        values = {"model": lens.model, "width": lens.width, "height": lens.height, "params": list(lens.params)}
        sigma = {"params": known.estimate.sigma}
        details |= _details(known, views, chosen)
    return Part(
        "camera",
        source.camera,
        verdict_of(list(found)),
        [each.cause for each in found],
        values,
        sigma,
        details,
        source.uid,
        source.created,
        {},
        asdict(params),
        source.inputs(),
    )


def _details(known: Known, views: Views, chosen: Sequence[int]) -> Mapping[str, Any]:
    estimate, names = known.estimate, [views.views[k].name for k in chosen]
    held_out, shape = estimate.held_out, known.shape
    return {
        "covariance": estimate.cov,
        "variance_inflation": estimate.inflation,
        "residuals": {
            "rms_px": estimate.fit.rms_px,
            "noise_px": estimate.fit.noise_px,
            "corners": len(estimate.seen),
            "gross_errors": int(estimate.fit.gross.sum()),
            "view_rms_px": dict(zip([names[k] for k in estimate.used], view_rms_px(estimate).tolist(), strict=True)),
        },
        "left_out": [names[k] for k in estimate.bad],
        "noise_px_by_model": estimate.rivals,
        "cross_validation": None
        if held_out is None
        else {
            "folds": len(held_out.lenses),
            "held_out_rms_px": held_out.rms_px,
            "fitted_rms_px": held_out.fitted_rms_px,
            "params": [list(lens.params) for lens in held_out.lenses],
        },
        "expected_error_px": {"map": known.expected_px, "p90_where_seen": known.expected_p90_px},
        "coverage": {
            "share": known.covered.share,
            "corners": known.covered.corners,
            "lit": known.covered.lit,
            "tilted_views": known.covered.tilted,
            "missing": [wish.text() for wish in known.covered.wishes()],
        },
        "board_shape": asdict(shape),
    }
