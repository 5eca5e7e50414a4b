"""Whether a lens may be used, and if not, what is to be done about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.boards import AprilGrid, Board
from handcap.calibrate.camera.coverage import Coverage
from handcap.calibrate.camera.doubts import BoardShape, TwoLenses
from handcap.calibrate.camera.estimate import LensEstimate
from handcap.causes import Cause, Verdict


@dataclass(frozen=True, slots=True)
class Limits:
    """A pair is (usable with reservations beyond it, refused beyond it).

    Attributes:
        views: fewer; 8 intrinsics are fixed by 3 views, the rest tells how far they can be trusted.
        area: share of the lit picture that held corners. Beyond corners a lens model is a guess, whatever its sigma.
        tilt_rad: of the most tilted fifth of the views; focal length and distance part with its square.
        expected_px: of the 90th percentile of the expected error over the picture that held corners. What uses a
            camera sees features to 0.1 to 0.3 px.
        noise_px: of corners, per axis; good detectors on good pictures reach 0.05 to 0.15.
        held_out: by which share views err more when they are held out.
        bad_views: share of views that fit no common lens.
        bend: of the board, as a share of half its diagonal. Real boards glued on by hand lie between 0.002 and 0.008.
        stretch: height against width.
        spacing: of an AprilGrid's gaps, in tags.
        certain: times its sigma that a board's fault has to be before it is named.
        other_model: a model whose noise is this many times larger than another's is wrong.
        edge_px: width of edges of blurred boards.
        two_noise, two_inflation, two_apart_px: two lenses instead of one leave less than this share of the noise,
            where views scatter this much more than their corners, and differ by this much over the picture.
    """

    views: tuple[int, int] = (12, 6)
    area: tuple[float, float] = (0.7, 0.35)
    tilt_rad: tuple[float, float] = (0.25, 0.1)
    expected_px: tuple[float, float] = (0.3, 1.0)
    noise_px: tuple[float, float] = (0.35, 1.0)
    held_out: tuple[float, float] = (0.15, 0.5)
    bad_views: tuple[float, float] = (0.1, 0.25)
    bend: tuple[float, float] = (0.004, 0.015)
    stretch: tuple[float, float] = (0.002, 0.01)
    spacing: tuple[float, float] = (0.0015, 0.006)
    certain: float = 5.0
    other_model: float = 1.3
    edge_px: float = 2.5
    two_noise: float = 0.9
    two_inflation: float = 6.0
    two_apart_px: float = 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """A cause and how bad it is."""

    cause: Cause
    verdict: Verdict


def verdict_of(found: list[Found]) -> Verdict:
    said = {each.verdict for each in found}
    return "refused" if "refused" in said else "partial" if "partial" in said else "ok"


def judge(
    estimate: LensEstimate,
    board: Board,
    covered: Coverage,
    expected_px: float,
    shape: BoardShape,
    two: TwoLenses | None,
    limits: Limits,
) -> list[Found]:
    """Causes, the one that explains most of the others first.

    Args:
        estimate: the lens.
        board: as stated.
        covered: what the views showed.
        expected_px: 90th percentile of the expected error where the board was seen.
        shape: how the board seems to differ.
        two: what two lenses would explain.
        limits: what is allowed.
    """
    found: list[Found] = []

    def above(code: str, value: float, limit: tuple[float, float], unit: float = 1.0, body: str | None = None) -> None:
        if not value <= limit[0]:
            refused = not value <= limit[1]
            asked = limit[1] if refused else limit[0]
            cause = Cause(code, body, measured=_short(unit * value), limit=_short(unit * asked))
            found.append(Found(cause, "refused" if refused else "partial"))

    def below(code: str, value: float, limit: tuple[float, float], unit: float = 1.0) -> None:
        if not value >= limit[0]:
            cause = Cause(code, measured=_short(unit * value), limit=_short(unit * limit[0]))
            found.append(Found(cause, "partial" if value >= limit[1] else "refused"))

    lens, views = estimate.lens, len(estimate.used)
    others = {name: noise for name, noise in estimate.rivals.items() if name != lens.model}
    best = min(others.values(), default=np.inf)
    mixed = two is not None and estimate.inflation > limits.two_inflation and two.noise < limits.two_noise
    if estimate.fit.noise_px > limits.other_model * best:
        # A wrong model also bends boards and sets views against each other.
        cause = Cause("lens_model_wrong", lens.model, measured=_short(estimate.fit.noise_px), limit=_short(best))
        found.append(Found(cause, "refused"))
    else:
        if mixed and two is not None and two.apart_px > limits.two_apart_px:
            found.append(Found(Cause("two_cameras_mixed", measured=_short(100 * two.share)), "refused"))
        above("views_disagree", len(estimate.bad) / (views + len(estimate.bad)), limits.bad_views, 100)
        _board(found, estimate, board, shape, limits)
    above("corners_noisy", estimate.fit.noise_px, limits.noise_px)
    below("few_views", views, limits.views)
    below("picture_not_covered", covered.share, limits.area, 100)
    below("board_not_tilted", float(np.percentile(covered.tilt_rad, 80)), limits.tilt_rad, 180 / np.pi)
    above("lens_uncertain", expected_px, limits.expected_px)
    if estimate.held_out is not None:
        more = estimate.held_out.rms_px / max(estimate.held_out.fitted_rms_px, 1e-9) - 1
        above("held_out_views_disagree", more, limits.held_out, 100)
    return found


def _board(found: list[Found], estimate: LensEstimate, board: Board, shape: BoardShape, limits: Limits) -> None:
    """What is wrong with the board: only what is certain, and larger than does harm."""
    half_m = float(np.linalg.norm(np.ptp(board.corners_board[:, :2], axis=0))) / 2

    def excess(value: float, sigma: float, limit: tuple[float, float]) -> Verdict | None:
        if not abs(value) > max(limits.certain * sigma, limit[0]):
            return None
        return "refused" if abs(value) > limit[1] else "partial"

    # The plainest first: a wrong spacing makes a board look stretched and bent as well.
    spacing = excess(shape.spacing, shape.spacing_sigma, limits.spacing) if isinstance(board, AprilGrid) else None
    if spacing is not None and isinstance(board, AprilGrid):
        cause = Cause("board_spacing", measured=_short(board.spacing + shape.spacing), limit=board.spacing)
        found.append(Found(cause, spacing))
        return
    stretch = excess(shape.stretch, shape.stretch_sigma, limits.stretch)
    if stretch is not None:
        limit = limits.stretch[stretch == "refused"]
        cause = Cause("board_stretched", measured=_short(100 * shape.stretch), limit=_short(100 * limit))
        found.append(Found(cause, stretch))
    bend = excess(shape.bend_m / half_m, shape.bend_sigma_m / half_m, limits.bend)
    if bend is not None:
        limit = limits.bend[bend == "refused"] * half_m
        cause = Cause("board_bent", measured=_short(1000 * abs(shape.bend_m)), limit=_short(1000 * limit))
        found.append(Found(cause, bend))


def _short(value: float) -> float:
    """Three digits, as people read them; the part holds the rest."""
    return float(f"{value:.3g}")
