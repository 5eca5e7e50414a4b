"""A lens from views of a board: the model that explains held-out views best, with what it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from handcap.calibrate.camera.bundle import BundleParams, Fit, Setup, Sightings, fit, per_view_rms_px
from handcap.calibrate.camera.curved import straightened
from handcap.calibrate.camera.start import Start, board_poses, first_lens
from handcap.cameras import MODELS, Camera, PinholeRadtan, PinholeRadtan5
from handcap.geometry import Array

LENSES: Mapping[str, type[Camera]] = {**MODELS, PinholeRadtan5.model: PinholeRadtan5}


@dataclass(frozen=True, slots=True)
class EstimateParams:
    """How a lens is estimated.

    Attributes:
        model: of the lens; None for the one of rig.json's that held-out views speak for.
        bundle: of the least squares.
        folds: into which views are dealt for the cross-validation.
        least_views: fewer determine nothing; 8 intrinsics need 3, and something has to be left to check them with.
        bad_view: a view whose typical residual is this many times that of all is left out.
        bad_view_px: and at least this large: below, it is as good as detectors are.
        suspicious_px: noise above it makes us ask whether only some of the views belong together.
        plainer: a fisheye model has to explain held-out views better by this share to be taken for a pinhole lens.
        hopeless: a model with this many times the noise of another is not cross-validated.
        compare: whether the others are fitted too where a model is named, to notice that it is the wrong one.
        common: what the finding of corners errs by in all views alike, standard deviation: the focal length as a share
            of it, the principal point in px. No scatter shows it; measured on the virtual rig, which knows the truth.
    """

    model: str | None = None
    bundle: BundleParams = field(default_factory=BundleParams)
    folds: int = 5
    least_views: int = 6
    bad_view: float = 4.0
    bad_view_px: float = 0.4
    suspicious_px: float = 0.35
    plainer: float = 0.005
    hopeless: float = 1.3
    compare: bool = True
    common: tuple[float, float] = (5e-5, 0.015)


@dataclass(frozen=True, eq=False, slots=True)
class HeldOut:
    """What views say that were not used.

    Attributes:
        rms_px: of their residuals, only their poses fitted; gross errors cut.
        fitted_rms_px: of the same views when all are used.
        lenses: of each fold.
    """

    rms_px: float
    fitted_rms_px: float
    lenses: Sequence[Camera]


@dataclass(frozen=True, eq=False, slots=True)
class LensEstimate:
    """A lens and what is known about it.

    Attributes:
        fit: of all views used.
        seen: what was used; numbered as fit's views.
        used: (views,) places of the views used, in what was given.
        bad: places of those left out because they fit no common lens.
        cov: (p, p) of the parameters, errors that a view's corners have in common included.
        inflation: by which variance had to grow for that.
        held_out: cross-validation; None where there were too few views.
        rivals: noise in px by model, of all that were tried.
    """

    fit: Fit
    seen: Sightings
    used: NDArray[np.int64]
    bad: Sequence[int]
    cov: Array
    inflation: float
    held_out: HeldOut | None
    rivals: Mapping[str, float]

    @property
    def lens(self) -> Camera:
        return self.fit.setup.lenses[0]

    @property
    def sigma(self) -> Array:
        """(p,) of the parameters."""
        return np.sqrt(np.diag(self.cov))


def estimate_lens(
    width: int, height: int, seen: Sightings, params: EstimateParams | None = None
) -> LensEstimate | None:
    """A lens from one camera's views; None where no lens explains them at all.

    Args:
        width, height: of the pictures, px.
        seen: corners; every view has enough to place the board.
        params: how.
    """
    params = params or EstimateParams()
    quick: dict[str, Fit] = {}
    others = list(MODELS) if params.compare or params.model is None else []
    for name in dict.fromkeys([params.model or PinholeRadtan.model, *others]):
        start = first_lens(LENSES[name], width, height, seen)
        if start is not None:
            quick[name] = fit(_setup(start), seen, params.bundle)
    rivals = {name: each.noise_px for name, each in quick.items()}
    names = [params.model] if params.model else list(quick)
    # Which of two models is better is only asked where neither is much worse.
    likely = [name for name in names if name in quick and rivals[name] < params.hopeless * min(rivals.values())]
    likely = likely or [name for name in names if name in quick]
    tried = [_estimate(quick[name], width, height, seen, params) for name in likely]
    if not tried:
        return None
    best = tried[0]
    for other in tried[1:]:
        if _misfit(other) < _misfit(best) * (1 - params.plainer):
            best = other
    return replace(best, rivals=rivals)


def _misfit(estimate: LensEstimate) -> float:
    """Smaller is better; views that had to be left out count as if they were far off."""
    rms = estimate.held_out.rms_px if estimate.held_out else estimate.fit.noise_px
    return rms * (1 + len(estimate.bad))


def _estimate(quick: Fit, width: int, height: int, seen: Sightings, params: EstimateParams) -> LensEstimate:
    result, model = quick, LENSES[quick.setup.lenses[0].model]
    views = np.unique(seen.view)
    if result.sigma_px > params.suspicious_px:
        result = _largest_agreement(model, width, height, seen, result, params) or result
    typical = _typical_px(result, seen, len(views))
    # A single bad corner is the t distribution's business, a view of which half is off is not.
    bad = typical > max(params.bad_view * float(np.median(typical)), params.bad_view_px)
    used = np.flatnonzero(~bad)
    if bad.any() and len(used) >= params.least_views:
        kept = seen.of_views(used)
        result = fit(result.setup.of_views(used), kept, params.bundle)
    else:
        used, kept = np.arange(len(views)), seen
    # Now that the lens is known, where its bending of edges made corners seem to lie can be told.
    kept = straightened(result.setup, kept)
    result = fit(result.setup, kept, params.bundle)
    inflation = variance_inflation(result)
    p = len(result.setup.lenses[0].params)
    cov = result.shared_cov[:p, :p] * inflation + common_cov(result.setup.lenses[0], params)
    bad_places = sorted(set(range(len(views))) - set(used.tolist()))
    return LensEstimate(result, kept, used, bad_places, cov, inflation, _held_out(result, kept, params), {})


def _setup(start: Start) -> Setup:
    return Setup([start.lens], np.eye(4)[None], start.T_cam_board)


def _typical_px(result: Fit, seen: Sightings, views: int) -> Array:
    """(views,) median length of a view's residuals."""
    length = np.linalg.norm(result.residual_px, axis=1)
    return np.array([np.median(length[seen.view == view]) for view in range(views)])


_SUBSETS = 8
_SUBSET_VIEWS = 7


def _largest_agreement(
    model: type[Camera], width: int, height: int, seen: Sightings, whole: Fit, params: EstimateParams
) -> Fit | None:
    """A fit whose lens is that of the largest part of the views that agree; None where no part agrees much better.

    Pictures of two cameras in one folder make one bad lens of both; a few views of one of them make a good one.
    """
    views = int(seen.view.max()) + 1
    if views < 2 * params.least_views:
        return None
    rng = np.random.default_rng(0)  # the same views give the same answer
    best: tuple[int, Setup, NDArray[np.int64]] | None = None
    for _ in range(_SUBSETS):
        chosen = np.sort(rng.choice(views, _SUBSET_VIEWS, replace=False))
        few = seen.of_views(chosen)
        start = first_lens(model, width, height, few)
        if start is None:
            continue
        rough = fit(_setup(start), few, params.bundle)
        if rough.sigma_px > whole.sigma_px / 2:
            continue
        typical = _typical_px(poses_only(rough.setup, seen, params), seen, views)
        agree = np.flatnonzero(typical < max(3 * rough.sigma_px, params.bad_view_px))
        if best is None or len(agree) > len(best[2]):
            best = len(agree), rough.setup, agree
    if best is None or best[0] < params.least_views:
        return None
    some = seen.of_views(best[2])
    poses = board_poses(best[1].lenses[0], some)
    agreed = fit(replace(best[1], T_first_board=poses), some, params.bundle)
    return poses_only(agreed.setup, seen, params) if agreed.sigma_px < whole.sigma_px / 2 else None


def poses_only(setup: Setup, seen: Sightings, params: EstimateParams) -> Fit:
    """Views of one camera explained by a lens and a board that are taken as they are; poses are found anew."""
    return fit(replace(setup, T_first_board=board_poses(setup.lenses[0], seen)), seen, _fixed(params))


def _fixed(params: EstimateParams) -> BundleParams:
    bundle = replace(params.bundle, free_lenses=False, free_mounts=False, free_bend=False)
    return replace(bundle, steps=20, converged=1e-6)


def variance_inflation(result: Fit) -> float:
    """By how much more the views' scores scatter than corners that err independently would make them; at least 1.

    A corner's error lasts over a view: a bent sheet, a picture that moved while it was read out. Views count as
    independent of each other (a sandwich estimate pooled over the parameters, leverage taken into account).
    """
    total = result.information.sum(axis=0)
    scale = np.sqrt(np.maximum(np.diag(total), 1e-300))
    free = np.diag(total) > 0
    inverse = np.linalg.pinv((total / np.outer(scale, scale))[np.ix_(free, free)], hermitian=True)
    scores = (result.scores / scale)[:, free]
    parts = (result.information / np.outer(scale, scale))[:, free][:, :, free] @ inverse
    expected = float(free.sum() - np.einsum("vij,vji->", parts, parts))
    if expected < 0.5:
        return 1.0
    spread = float(np.einsum("vi,ij,vj->", scores, inverse, scores)) / result.noise_px**2
    return max(spread / expected, 1.0)


def common_cov(lens: Camera, params: EstimateParams) -> Array:
    """(p, p) of the parameters: what no number of views takes away."""
    by_error = np.zeros((len(lens.params), 3))
    by_error[:2, 0] = np.array(lens.params[:2]) * params.common[0]
    by_error[[2, 3], [1, 2]] = params.common[1]
    return by_error @ by_error.T


def _held_out(result: Fit, seen: Sightings, params: EstimateParams) -> HeldOut | None:
    """Views are dealt out in turn, so that every fold holds something of every part of the recording."""
    views = len(result.setup.T_first_board)
    folds = min(params.folds, views // 2)
    if folds < 2 or views - (views + folds - 1) // folds < params.least_views // 2:
        return None
    fold = np.arange(views) % folds
    lenses: list[Camera] = []
    squares: list[Array] = []
    most = (8 * result.sigma_px) ** 2  # what is further off is a wrong corner, and says nothing of the lens
    for k in range(folds):
        others, mine = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        setup = fit(result.setup.of_views(others), seen.of_views(others), params.bundle).setup
        lenses.append(setup.lenses[0])
        there = replace(setup, T_first_board=result.setup.T_first_board[mine])
        residual = fit(there, seen.of_views(mine), _fixed(params)).residual_px
        squares.append(np.minimum(np.sum(residual**2, axis=1), most))
    fitted = np.minimum(np.sum(result.residual_px**2, axis=1), most)
    rms = float(np.sqrt(np.mean(np.concatenate(squares))))
    return HeldOut(rms, float(np.sqrt(np.mean(fitted))), lenses)


def view_rms_px(estimate: LensEstimate) -> Array:
    """(views,) of the views used."""
    return per_view_rms_px(estimate.fit.residual_px, estimate.seen.view, len(estimate.used))
