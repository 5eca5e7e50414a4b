"""From a record of jaws on gauge blocks to a calibrated gripper, or to the reason why not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.calibrate.gripper.gauges import GaugeParams, Recognised, recognise
from handcap.calibrate.gripper.holds import HoldParams, Holds, find_holds
from handcap.calibrate.gripper.model import LSB_RAD, Drawn, GripperModel, HeldJaws, ModelParams, mean_opening_m
from handcap.calibrate.gripper.record import JawRecord
from handcap.calibrate.gripper.solve import Fit, fit_gripper
from handcap.causes import Cause
from handcap.encoder import COUNTS_PER_TURN, JawEncoder
from handcap.geometry import Array
from handcap.measure.fingers import openings_m

By = Literal["both", "tags", "encoder"]


@dataclass(frozen=True, slots=True)
class GripperParams:
    """What a calibration of jaws needs."""

    holds: HoldParams = field(default_factory=HoldParams)
    gauges: GaugeParams = field(default_factory=GaugeParams)
    model: ModelParams = field(default_factory=ModelParams)
    fewest_looks: int = 3  # at a tag during a hold, for its mean to count
    seen_holds: float = 0.8  # of the holds must show a finger tag
    moved_m: float = 3e-3  # jaws whose tags went farther did move
    turning_rad: float = 0.02  # an encoder that turned less meanwhile does not turn with them
    with_magnet: float = 0.98  # share of readings


@dataclass(frozen=True, eq=False, slots=True)
class GaugedJaws:
    """Jaws that were measured against gauges.

    Attributes:
        holds: when they rested on a block.
        held: what was seen and read then, and which block it was.
        model, fit: the gripper.
        noise_rad, noise_sigma_rad: of one reading of the encoder, before it is rounded; NaN without one.
        by_tags_m, by_encoder_m: (k,) opening of each hold by the calibration found; NaN where unknown.
        going_back: (k,) whether the blocks became narrower.
    """

    holds: Holds
    held: HeldJaws
    model: GripperModel
    fit: Fit
    noise_rad: float
    noise_sigma_rad: float
    by_tags_m: Array
    by_encoder_m: Array
    going_back: NDArray[np.bool_]


def measure_jaws(
    record: JawRecord,
    drawn: Drawn,
    gauges_m: ArrayLike,
    by: By = "both",
    params: GripperParams | None = None,
    sign_known: bool = True,
) -> GaugedJaws | Cause:
    """Calibrate one gripper's jaws.

    Args:
        record: of a take in which they closed on every gauge.
        drawn: what is known of the gripper.
        gauges_m: widths of the blocks in the order they were taken in; then back.
        by: what to calibrate.
        sign_known: whether the sign of `drawn.metres_per_rad` can be believed.

    Returns:
        The gripper, or why there is none.
    """
    params = params or GripperParams()
    gauges = np.asarray(gauges_m, float)
    use_tags, use_encoder = by != "encoder" and bool(drawn.tags), by != "tags"
    if use_encoder and by == "both" and record.health.sent == 0:
        use_encoder = False
    ailment = _ailment(record, params) if use_encoder else None
    if ailment is not None:
        return ailment
    by_tags = _by_tags(record, drawn) if use_tags else np.full(len(record.picture_t_ns), np.nan)
    seen = np.isfinite(by_tags)
    if use_tags and seen.sum() < params.gauges.fewest_holds * params.fewest_looks:
        return Cause(
            "finger_tags_unseen", measured=int(seen.sum()), limit=params.gauges.fewest_holds * params.fewest_looks
        )
    if use_tags and use_encoder:
        slope, turned_rad = _turns(record, by_tags), float(np.ptp(record.angle_rad))
        if np.ptp(by_tags[seen]) > params.moved_m and (turned_rad < params.turning_rad or slope == 0):
            return Cause("encoder_stuck", measured=float(np.rad2deg(turned_rad)))
        drawn = replace(drawn, metres_per_rad=float(np.copysign(drawn.metres_per_rad, slope)))
    found = (
        _recognised_by_tags(record, drawn, by_tags, gauges, use_encoder, params)
        if use_tags
        else _recognised_by_encoder(record, drawn, gauges, sign_known, params)
    )
    if isinstance(found, Cause):
        return found
    holds, recognised, drawn = found
    held, noise_rad, noise_sigma_rad = _held(
        record, drawn, holds, gauges[recognised.gauge], use_tags, use_encoder, params
    )
    shown, needed = int(np.isfinite(held.px).any(axis=(1, 2, 3)).sum()), int(np.ceil(params.seen_holds * len(holds)))
    if use_tags and shown < needed:
        return Cause("finger_tags_unseen", measured=shown, limit=needed)
    model = GripperModel(drawn, held, params.model)
    fit = fit_gripper(model)
    return GaugedJaws(
        holds=holds,
        held=held,
        model=model,
        fit=fit,
        noise_rad=noise_rad,
        noise_sigma_rad=noise_sigma_rad,
        by_tags_m=widths_by_tags_m(held, drawn, fit),
        by_encoder_m=widths_by_encoder_m(held.angle_rad, fit),
        going_back=_going_back(held.gauge_m),
    )


def widths_by_tags_m(held: HeldJaws, drawn: Drawn, fit: Fit) -> Array:
    """(k,) by the tags, as a reconstruction works it out; NaN where none was seen."""
    if fit.T_cam_tcp is None or drawn.camera is None:
        return np.full(len(held.gauge_m), np.nan)
    return mean_opening_m(held.px, drawn.camera, fit.T_cam_tcp, fit.tags)


def widths_by_encoder_m(angle_rad: Array, fit: Fit) -> Array:
    """(...,) by readings (...,)."""
    if fit.encoder is None:
        return np.full(len(angle_rad), np.nan)
    return fit.encoder.opening_m(angle_rad * (COUNTS_PER_TURN / (2 * np.pi)) - 0.5)


def _ailment(record: JawRecord, params: GripperParams) -> Cause | None:
    """What is wrong with an encoder before anybody looks at its readings."""
    health = record.health
    if health.sent == 0:
        return Cause("encoder_silent")
    with_magnet = 1 - health.no_magnet / health.sent
    if with_magnet < params.with_magnet:
        return Cause("encoder_no_magnet", measured=100 * (1 - with_magnet), limit=100 * (1 - params.with_magnet))
    if health.other_scale:
        return Cause("encoder_counts", measured=health.other_scale, limit=COUNTS_PER_TURN)
    if len(record.readings) < 2:
        return Cause("encoder_clock", measured=health.sent)
    return None


def _by_tags(record: JawRecord, drawn: Drawn) -> Array:
    """(f,) opening by the drawing, from whichever finger is seen; NaN where neither is."""
    by_finger = np.full((len(drawn.tags), len(record.picture_t_ns)), np.nan)
    if drawn.T_cam_tcp is not None and drawn.camera is not None:
        seen = record.sights
        by_finger[seen.tag, seen.picture] = openings_m(seen, drawn.camera, drawn.T_cam_tcp, drawn.tags)
    known = np.isfinite(by_finger)
    both = known.all(axis=0)
    # A camera that sits aside shows one finger farther out and the other farther in.
    middle = by_finger[:, both].mean(axis=0) if both.any() else np.zeros(0)
    aside = np.median(by_finger[:, both] - middle, axis=1) if both.any() else np.zeros(len(drawn.tags))
    mended = np.where(known, by_finger - aside[:, None], 0.0)
    return np.where(known.any(axis=0), mended.sum(axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)


def _turns(record: JawRecord, by_tags: Array) -> float:
    """Radians that the encoder turns per metre by the tags; 0 where the two have nothing in common."""
    t_ns, seen = record.picture_t_ns, np.isfinite(by_tags)
    seen &= (t_ns >= record.readings.t_ns[0]) & (t_ns <= record.readings.t_ns[-1])
    if seen.sum() < 10 or np.ptp(by_tags[seen]) == 0 or np.ptp(record.angle_rad) == 0:
        return 0.0
    at_rad = np.interp(t_ns[seen], record.readings.t_ns, record.angle_rad)
    return float(np.polyfit(by_tags[seen], at_rad, 1)[0]) if np.ptp(at_rad) > 0 else 0.0


_Found = tuple[Holds, Recognised, Drawn]


def _recognised_by_tags(
    record: JawRecord, drawn: Drawn, by_tags: Array, gauges: Array, use_encoder: bool, params: GripperParams
) -> _Found | Cause:
    seen = np.isfinite(by_tags)
    holds = find_holds(record.picture_t_ns[seen], by_tags[seen], params.holds)
    if use_encoder:  # it never looks away, and it is a hundred times as steady
        by_encoder = find_holds(record.readings.t_ns, record.angle_rad * drawn.metres_per_rad, params.holds)
        value = _medians(by_encoder.inside(record.picture_t_ns[seen]), by_tags[seen], len(by_encoder))
        shown = np.isfinite(value)
        holds = Holds(by_encoder.start_ns[shown], by_encoder.end_ns[shown], value[shown])
    recognised = recognise(holds.value_m, gauges, params.gauges)
    return recognised if isinstance(recognised, Cause) else (holds, recognised, drawn)


def _recognised_by_encoder(
    record: JawRecord, drawn: Drawn, gauges: Array, sign_known: bool, params: GripperParams
) -> _Found | Cause:
    """Which way the encoder turns may be unknown: then only one way may make sense."""
    good: list[_Found] = []
    causes: list[tuple[int, Cause]] = []
    for sign in (1.0,) if sign_known else (1.0, -1.0):
        turned = replace(drawn, metres_per_rad=sign * drawn.metres_per_rad)
        holds = find_holds(record.readings.t_ns, record.angle_rad * turned.metres_per_rad, params.holds)
        recognised = recognise(holds.value_m, gauges, params.gauges)
        if isinstance(recognised, Cause):
            code = "encoder_slips" if recognised.code == "jaw_slips" else recognised.code
            causes.append((len(holds), replace(recognised, code=code)))
        else:
            good.append((holds, recognised, turned))
    # The wrong way round, blocks come in the wrong order; what is held then are the jaws' widest openings.
    best = [found for found in good if found[1].in_order] or good
    if len(best) == 1:
        return best[0]
    return Cause("encoder_sign") if best else max(causes, key=lambda each: each[0])[1]


def _medians(group: NDArray[np.int64], value: Array, count: int) -> Array:
    """(count,) of the values in each group; NaN of none."""
    return np.array([np.median(value[group == k]) if np.any(group == k) else np.nan for k in range(count)])


def _held(
    record: JawRecord,
    drawn: Drawn,
    holds: Holds,
    gauge_m: Array,
    use_tags: bool,
    use_encoder: bool,
    params: GripperParams,
) -> tuple[HeldJaws, float, float]:
    """Means over every hold, the encoder's noise and its sigma."""
    px = np.full((len(holds), len(drawn.tags), 4, 2), np.nan)
    if use_tags:
        group = holds.inside(record.picture_t_ns)[record.sights.picture]
        for k in range(len(holds)):
            for tag in range(len(drawn.tags)):
                looks = record.sights.px[(group == k) & (record.sights.tag == tag)]
                if len(looks) >= params.fewest_looks:
                    px[k, tag] = looks.mean(axis=0)
    angle, sigma = np.full(len(holds), np.nan), np.full(len(holds), np.nan)
    noise_rad = noise_sigma_rad = np.nan
    if use_encoder:
        group = holds.inside(record.readings.t_ns)
        of_hold = [record.angle_rad[group == k] for k in range(len(holds))]
        count = sum(map(len, of_hold))
        left = sum(float(np.sum((each - each.mean()) ** 2)) for each in of_hold if len(each))
        scatter = left / max(count - len(holds), 1)
        # Rounding to counts adds to the scatter, and hides what is far smaller than a count.
        noise_rad = float(np.sqrt(max(scatter - LSB_RAD**2 / 12, 0.0)))
        # The scatter is known to √(2/n) of itself, the noise within it to what that leaves.
        noise_sigma_rad = float(scatter / (max(noise_rad, LSB_RAD / 12) * np.sqrt(2 * max(count, 1))))
        one = np.sqrt(max(scatter, LSB_RAD**2 / 12))
        repeats = noise_rad < LSB_RAD / 4  # too steady for a mean to know better than one reading
        angle = np.array([each.mean() if len(each) else np.nan for each in of_hold])
        sigma = np.array([one / np.sqrt(1 if repeats else max(len(each), 1)) for each in of_hold])
    return HeldJaws(gauge_m, px, angle, sigma), noise_rad, noise_sigma_rad


def _going_back(gauge_m: Array) -> NDArray[np.bool_]:
    """(k,) whether each block was narrower than the one before it; the second of two equal ones goes back if the way
    before went up."""
    out = np.zeros(len(gauge_m), bool)
    for k in range(1, len(gauge_m)):
        step = gauge_m[k] - gauge_m[k - 1]
        out[k] = step < 0 if abs(step) > 1e-9 else not out[k - 1]
    return out


def nominal_metres_per_rad(encoder: JawEncoder | None) -> tuple[float, bool]:
    """About how far the jaws open per radian, and whether its sign is known."""
    return (JawEncoder().metres_per_rad, False) if encoder is None else (encoder.metres_per_rad, True)
