"""Two cameras that look at the same board: where the second sits in the first, both lenses refined together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.boards import Board, board_text
from handcap.calibrate.camera.bundle import Fit, Setup, Sightings, fit, sightings
from handcap.calibrate.camera.curved import straightened
from handcap.calibrate.camera.estimate import LensEstimate, common_cov, estimate_lens, poses_only, variance_inflation
from handcap.calibrate.camera.judge import Found, verdict_of
from handcap.calibrate.camera.sources import Source, same_moments
from handcap.calibrate.camera.step import (
    MAP,
    CameraParams,
    CameraResult,
    Known,
    choose,
    doubts_before,
    evenly,
    judge_known,
    part_of,
    weigh,
)
from handcap.calibrate.camera.uncertainty import expected_error_px, grid_px
from handcap.calibrate.camera.views import OnProgress, Views, look
from handcap.calibrate.part import Part
from handcap.causes import Cause
from handcap.geometry import Array, inverse, se3_log

_ROUNDS = 4  # of leaving out pairs; every round the rest agrees better


@dataclass(frozen=True, slots=True)
class PairLimits:
    """A pair is (usable with reservations beyond it, refused beyond it).

    Attributes:
        pairs: fewer.
        bad_pairs: share of pairs that fit no common position of the cameras.
        epipolar_px: rms distance of corners from each other's epipolar planes. Real boards reach 0.1 to 0.3.
        bad_pair, bad_pair_px: a pair whose typical residual is this many times what is usual, and at least this large,
            does not fit.
        together: lenses are refined together where that leaves less than this many times the noise that each has on its
            own. Cameras that are not triggered together see a hand-held board in two places, which no lens explains.
    """

    pairs: tuple[int, int] = (10, 4)
    bad_pairs: tuple[float, float] = (0.1, 0.25)
    epipolar_px: tuple[float, float] = (0.4, 1.0)
    bad_pair: float = 2.5
    bad_pair_px: float = 0.3
    together: float = 1.3


@dataclass(frozen=True, eq=False, slots=True)
class Joint:
    """Both cameras, fitted together.

    Attributes:
        fit: of every frame in which either saw the board; camera 0 is the first.
        seen: what was fitted.
        names: of the frames.
        cov: (shared, shared) of both lenses, of (theta, rho) in `T_a_b @ Exp`, b's axes, and of the board's bend.
        bad: names of pairs left out.
        pairs: fitted.
        epipolar_px: (n,) distance of each corner that both saw from the plane of the other, px; signed.
        epipolar_pair: (n,) which pair it belongs to.
        together: whether the lenses were refined together; else they are those of the single cameras.
    """

    fit: Fit
    seen: Sightings
    names: Sequence[str]
    cov: Array
    bad: Sequence[str]
    pairs: int
    epipolar_px: Array
    epipolar_pair: NDArray[np.int64]
    together: bool

    @property
    def T_a_b(self) -> Array:
        """(4, 4)."""
        return self.fit.setup.T_first_cam[1]


@dataclass(frozen=True, eq=False, slots=True)
class StereoResult:
    """Two cameras' parts and that of the pair.

    Attributes:
        cameras: as of `calibrate_camera`, with the lenses refined together where the pair was.
        pair: part of the step "stereo".
        joint: None where the cameras could not be tied.
    """

    cameras: tuple[CameraResult, CameraResult]
    pair: Part
    joint: Joint | None

    @property
    def parts(self) -> list[Part]:
        return [self.cameras[0].part, self.cameras[1].part, self.pair]


def calibrate_stereo(
    first: Source,
    second: Source,
    board: Board,
    params: CameraParams | None = None,
    on_progress: OnProgress = lambda what, fraction: None,
    limits: PairLimits | None = None,
) -> StereoResult:
    """Both lenses and the second camera's pose in the first.

    Args:
        first, second: their pictures; those of the same moment have the same key.
        board: that both saw.
        params: how each lens is estimated and judged.
        on_progress: told what is done and how much of it.
        limits: on the pair.

    Raises:
        CalibrationError: there is nothing to look at.
    """
    params, limits = params or CameraParams(), limits or PairLimits()
    moments = same_moments(first.keys, second.keys)
    some = [moments[k] for k in evenly(len(moments), params.choose.pictures // 2)]
    # Without common moments each lens can still be measured.
    wanted = [
        [pair[side] for pair in some] or evenly(len(source.keys), params.choose.pictures // 2)
        for side, source in enumerate((first, second))
    ]
    sources = (first, second)
    views = [
        look(source, board, sorted(places), params.corners, on_progress)
        for source, places in zip(sources, wanted, strict=True)
    ]
    on_progress("Fitting the lenses", 0.0)
    chosen = [choose(each, params) for each in views]
    estimates: list[LensEstimate | None] = []
    for each, mine in zip(views, chosen, strict=True):
        enough = len(mine) >= params.estimate.least_views
        table = each.only(mine).sightings() if enough else None
        estimates.append(None if table is None else estimate_lens(each.width, each.height, table, params.estimate))
    joint, doubts = None, list[Found]()
    a, b = estimates
    if a is not None and b is not None:
        joint, doubts = _tied(views, chosen, (a, b), some, params, limits)
    results: list[CameraResult] = []
    for side in range(2):
        source, each, estimate = sources[side], views[side], estimates[side]
        before = doubts_before(source, each, chosen[side], params)
        known = None
        if estimate is not None:
            known = weigh(estimate, each, params)
            before = before + judge_known(known, board, params)
            known = known if joint is None or not joint.together else _refined_together(known, joint, side, params)
        part = part_of(source, each, chosen[side], known, before, params)
        results.append(CameraResult(part, each, chosen[side], known))
    refused = [Found(cause, "refused") for r in results if r.part.verdict == "refused" for cause in r.part.causes[:1]]
    pair = _part(sources, board, joint, refused + doubts, params, limits)
    return StereoResult((results[0], results[1]), pair, joint)


def _tied(
    views: Sequence[Views],
    chosen: Sequence[Sequence[int]],
    estimates: tuple[LensEstimate, LensEstimate],
    moments: Sequence[tuple[int, int]],
    params: CameraParams,
    limits: PairLimits,
) -> tuple[Joint | None, list[Found]]:
    by_place = [{view.place: k for k, view in enumerate(each.views)} for each in views]
    usable: list[set[int]] = []
    for each, mine, estimate in zip(views, chosen, estimates, strict=True):
        bad = {mine[k] for k in estimate.bad}
        enough = {k for k, view in enumerate(each.views) if len(view.seen) >= params.choose.least_corners}
        edges = params.choose.edge_px
        usable.append({k for k in enough - bad if not each.views[k].edge_px > edges})
    frames: list[dict[int, int]] = []
    for moment in moments:
        here = {side: by_place[side][place] for side, place in enumerate(moment) if place in by_place[side]}
        here = {side: k for side, k in here.items() if k in usable[side]}
        if any(k in chosen[side] for side, k in here.items()):
            frames.append(here)
    pairs = sum(len(frame) == 2 for frame in frames)
    if pairs < limits.pairs[1]:
        return None, [Found(Cause("few_pairs", measured=pairs, limit=limits.pairs[1]), "refused")]
    names = [views[min(frame)].views[frame[min(frame)]].name for frame in frames]

    seen = sightings(
        [{side: views[side].views[k].seen for side, k in frame.items()} for frame in frames],
        views[0].board.corners_board,
    )
    lenses = (estimates[0].lens, estimates[1].lens)
    poses = [_poses(each.fit.setup, seen.of_camera(side), len(frames), params) for side, each in enumerate(estimates)]
    tied = [k for k, frame in enumerate(frames) if len(frame) == 2]
    T_a_b = _middle(np.array([poses[0][k] @ inverse(poses[1][k]) for k in tied]))
    first = np.array([poses[0][k] if 0 in frame else T_a_b @ poses[1][k] for k, frame in enumerate(frames)])
    start = Setup(lenses, np.stack([np.eye(4), T_a_b]), first, estimates[0].fit.setup.bend)
    seen = straightened(start, seen)
    result = fit(start, seen, params.estimate.bundle)
    usual = max(float(np.median(np.linalg.norm(e.fit.residual_px, axis=1))) for e in estimates)
    good = np.arange(len(frames))
    for _ in range(_ROUNDS):
        both = np.array([len(frames[k]) == 2 for k in good])
        typical = _typical(result, seen, len(good))
        limit = max(limits.bad_pair * max(usual, float(np.median(typical[both]))), limits.bad_pair_px)
        bad = both & (typical > limit)
        if not bad.any() or int((both & ~bad).sum()) < limits.pairs[1]:
            break
        good, stay = good[~bad], np.flatnonzero(~bad)
        seen = seen.of_views(stay)
        result = fit(result.setup.of_views(stay), seen, params.estimate.bundle)
    together = result.noise_px < limits.together * max(e.fit.noise_px for e in estimates)
    if not together:
        setup = replace(result.setup, lenses=lenses, bend=estimates[0].fit.setup.bend)
        fixed = replace(params.estimate.bundle, free_lenses=False, free_bend=False)
        result = fit(setup, seen, fixed)
    cov = result.shared_cov * variance_inflation(result)
    at = 0
    for lens in result.setup.lenses:
        own = slice(at, at := at + len(lens.params))
        cov[own, own] += common_cov(lens, params.estimate)
    epipolar, of_pair = _epipolar(result, seen)
    left_out = [names[k] for k in sorted(set(range(len(frames))) - set(good.tolist()))]
    kept = sum(len(frames[k]) == 2 for k in good)
    joint = Joint(result, seen, [names[k] for k in good], cov, left_out, kept, epipolar, of_pair, together)
    return joint, _judged(joint, pairs, limits)


def _poses(setup: Setup, seen: Sightings, frames: int, params: CameraParams) -> Array:
    """(frames, 4, 4) of the board in one camera; whatever where it saw nothing."""
    views = np.unique(seen.view)
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[views] = poses_only(setup, seen.of_views(views), params.estimate).setup.T_first_board
    return poses


def _middle(T: Array) -> Array:
    """The pose (4, 4) of many (n, 4, 4) that is nearest to all, so that a few wrong ones do no harm."""
    apart = se3_log(inverse(T)[:, None] @ T[None])
    return T[int(np.argmin(np.linalg.norm(apart, axis=-1).sum(axis=1)))]


def _typical(result: Fit, seen: Sightings, frames: int) -> Array:
    length = np.linalg.norm(result.residual_px, axis=1)
    return np.array([np.median(length[seen.view == frame]) for frame in range(frames)])


def _epipolar(result: Fit, seen: Sightings) -> tuple[Array, NDArray[np.int64]]:
    """How far the rays to one corner miss each other, as px of the first camera's focal length.

    The angle between the first ray and the plane of the baseline and the second ray. For cameras that are rectified by
    angle this is the difference of the rows; near the middle of a pinhole picture it is too.
    """
    T_a_b = result.setup.T_first_cam[1]
    first, second = seen.camera == 0, seen.camera == 1
    key = seen.view * (int(seen.corner.max()) + 1) + seen.corner
    common, at_a, at_b = np.intersect1d(key[first], key[second], return_indices=True)
    rays_a, good_a = result.setup.lenses[0].unproject(seen.px[first][at_a])
    rays_b, good_b = result.setup.lenses[1].unproject(seen.px[second][at_b])
    plane = np.cross(T_a_b[:3, 3], rays_b @ T_a_b[:3, :3].T)
    length = np.linalg.norm(plane, axis=1)
    good = good_a & good_b & (length > 1e-9)
    angle = np.arcsin(np.clip(np.sum(rays_a * plane, axis=1)[good] / length[good], -1, 1))
    view = common[good] // (int(seen.corner.max()) + 1)
    return angle * float(np.mean(result.setup.lenses[0].focal_px)), view.astype(np.int64)


def _judged(joint: Joint, pairs: int, limits: PairLimits) -> list[Found]:
    found: list[Found] = []
    share, rms = len(joint.bad) / max(pairs, 1), epipolar_rms_px(joint)
    for code, value, limit, unit in (
        ("pairs_disagree", share, limits.bad_pairs, 100.0),
        ("epipolar_error", rms, limits.epipolar_px, 1.0),
    ):
        if value > limit[0]:
            refused = value > limit[1]
            asked = limit[1] if refused else limit[0]
            cause = Cause(code, measured=float(f"{unit * value:.3g}"), limit=unit * asked)
            found.append(Found(cause, "refused" if refused else "partial"))
    if joint.pairs < limits.pairs[0]:
        found.append(Found(Cause("few_pairs", measured=joint.pairs, limit=limits.pairs[0]), "partial"))
    return found


def epipolar_rms_px(joint: Joint) -> float:
    """Of all corners that both saw; those further off than eight times the usual are wrong corners."""
    usual = float(np.median(np.abs(joint.epipolar_px)))
    return float(np.sqrt(np.mean(np.minimum(np.abs(joint.epipolar_px), 8 * max(usual, 1e-9)) ** 2)))


def _refined_together(known: Known, joint: Joint, side: int, params: CameraParams) -> Known:
    """The same camera with the lens of the joint fit."""
    lens = joint.fit.setup.lenses[side]
    at = sum(len(each.params) for each in joint.fit.setup.lenses[:side])
    size = len(lens.params)
    cov = joint.cov[at : at + size, at : at + size]
    refitted = poses_only(
        Setup([lens], np.eye(4)[None], np.eye(4)[None], joint.fit.setup.bend), known.estimate.seen, params.estimate
    )
    places = grid_px(lens.width, lens.height, *MAP).reshape(-1, 2)
    expected = expected_error_px(lens, cov, places, known.estimate.seen.px).reshape(MAP[::-1])
    return replace(known, estimate=replace(known.estimate, fit=refitted, cov=cov), expected_px=expected)


def _part(
    sources: tuple[Source, Source],
    board: Board,
    joint: Joint | None,
    found: list[Found],
    params: CameraParams,
    limits: PairLimits,
) -> Part:
    first, second = sources
    values: dict[str, Any] = {}
    sigma: dict[str, Any] = {}
    details: dict[str, Any] = {"board": board_text(board)}
    if joint is not None:
        at = joint.fit.setup.sizes[0]
        cov = joint.cov[at : at + 6, at : at + 6]
        deviation = np.sqrt(np.diag(cov))
        values = {"T_a_b": joint.T_a_b}
        sigma = {"rotation_rad": deviation[:3], "position_m": deviation[3:]}
        per_pair = [
            float(np.sqrt(np.mean(joint.epipolar_px[joint.epipolar_pair == k] ** 2)))
            for k in np.unique(joint.epipolar_pair)
        ]
        names = [joint.names[k] for k in np.unique(joint.epipolar_pair)]
        along = joint.T_a_b[:3, :3].T @ joint.T_a_b[:3, 3]  # the baseline in b's axes, as its covariance
        baseline = float(np.linalg.norm(along))
        details |= {
            "a": first.camera,
            "b": second.camera,
            "axes_of_sigma": "b",
            "covariance": cov,
            "baseline_m": baseline,
            "baseline_sigma_m": float(np.sqrt(along @ cov[3:, 3:] @ along)) / max(baseline, 1e-12),
            "lenses_refined_together": joint.together,
            "pairs": joint.pairs,
            "pairs_left_out": list(joint.bad),
            "epipolar_rms_px": epipolar_rms_px(joint),
            "epipolar_mean_px": float(np.mean(np.abs(joint.epipolar_px))),
            "epipolar_rms_px_by_pair": dict(zip(names, per_pair, strict=True)),
            "rms_px": joint.fit.rms_px,
        }
    uid = first.uid if first.uid == second.uid else None
    inputs = {f"{source.camera}/{name}": value for source in sources for name, value in source.inputs().items()}
    return Part(
        "stereo",
        f"{first.camera}+{second.camera}",
        verdict_of(found),
        [each.cause for each in found],
        values,
        sigma,
        details,
        uid,
        first.created,
        {},
        asdict(params) | {"pair_limits": asdict(limits)},
        inputs,
    )
