"""Whether calibrated jaws may be used, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handcap.calibrate.gripper.figures import Figures
from handcap.calibrate.gripper.measurement import GaugedJaws
from handcap.calibrate.gripper.solve import sigma_of
from handcap.causes import Cause, Verdict
from handcap.geometry import Array


@dataclass(frozen=True, slots=True)
class JudgeParams:
    """Where a calibration of jaws stops being good."""

    good_m: float = 1.5e-4  # half the 95 % interval, and deviation of any gauge: what a calibration is for
    worst_m: float = 5e-4  # beyond it, the tags of the drawing alone do as well
    repeat_m: float = 3e-4  # the same block, measured twice: pads and backlash of printed jaws stay below
    tag_size: float = 0.01  # share by which a print may differ anyway
    uneven_m: float = 1e-3  # by which one finger may go farther over the whole range


def judge_jaws(
    jaws: GaugedJaws, by_instrument: Sequence[Figures], params: JudgeParams | None = None
) -> tuple[Verdict, tuple[Cause, ...]]:
    """Verdict and causes."""
    params = params or JudgeParams()
    bad: list[Cause] = []
    doubtful: list[Cause] = []
    for width_m, code in ((jaws.by_encoder_m, "encoder_slips"), (jaws.by_tags_m, "jaw_slips")):
        apart = largest_repeat_m(jaws.held.gauge_m, width_m)
        if apart > params.repeat_m:
            bad.append(Cause(code, measured=1e3 * apart, limit=1e3 * params.repeat_m))
    size, sigma = tag_size(jaws)
    if abs(size - 1) > params.tag_size + 3 * sigma:
        bad.append(Cause("tag_size", measured=100 * size, limit=100 * (params.tag_size + 3 * sigma)))
    for figures in () if bad else by_instrument:
        off = max(figures.linearity_m.value, 1.96 * float(figures.sigma_m.max()))
        if off > params.good_m:
            cause = Cause("jaw_unsure", measured=1e3 * off, limit=1e3 * params.good_m)
            (bad if off > params.worst_m else doubtful).append(cause)
    model = jaws.model
    if model.by_tags and not bad:
        share = model.uneven(jaws.fit.unknowns)
        sigma = float(sigma_of(jaws.fit, lambda at: np.array([model.uneven(at)]))[0])
        uneven_m = abs(share) * float(np.ptp(jaws.held.gauge_m))
        if uneven_m > params.uneven_m and abs(share) > 3 * sigma:
            doubtful.append(Cause("fingers_uneven", measured=1e3 * uneven_m, limit=1e3 * params.uneven_m))
    return ("refused" if bad else "partial" if doubtful else "ok"), (*bad, *doubtful)


def largest_repeat_m(gauge_m: Array, width_m: Array) -> float:
    """By how much the same block was measured differently."""
    known = np.isfinite(width_m)
    spans = [float(np.ptp(width_m[known & (gauge_m == block)])) for block in np.unique(gauge_m[known])]
    return max(spans, default=0.0)


def tag_size(jaws: GaugedJaws) -> tuple[float, float]:
    """Size of the finger tags as a share of what is stated, and its sigma; (1, inf) where none were seen."""
    if not jaws.model.by_tags:
        return 1.0, np.inf
    sigma = sigma_of(jaws.fit, lambda at: np.array([jaws.model.size(at)]))
    return jaws.model.size(jaws.fit.unknowns), float(sigma[0])
