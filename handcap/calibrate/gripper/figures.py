"""How good calibrated jaws are: sigma over the range, linearity, hysteresis, backlash, gauges left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.calibrate.gripper.measurement import GaugedJaws, widths_by_encoder_m, widths_by_tags_m
from handcap.calibrate.gripper.model import Unknowns
from handcap.calibrate.gripper.record import JawRecord
from handcap.calibrate.gripper.solve import Fit, sigma_of, width_by_encoder_m, width_by_tags_m, without
from handcap.clock import seconds
from handcap.geometry import Array
from handcap.measure.fingers import openings_m

_STEP_M = 0.005


@dataclass(frozen=True, slots=True)
class Known:
    """A number and its standard deviation; NaN for unknown."""

    value: float = np.nan
    sigma: float = np.nan


@dataclass(frozen=True, eq=False, slots=True)
class Figures:
    """What one instrument is worth.

    Attributes:
        opening_m: (n,) openings from the narrowest to the widest gauge.
        sigma_m: (n,) of the width told there, from the calibration alone.
        line_m: largest mean deviation of a gauge from a straight line through the raw signal.
        linearity_m: largest mean deviation of a gauge from its width, as calibrated.
        hysteresis_m: width going back less width going up, mean over the gauges taken both ways.
        left_out_m: largest error on a gauge that the calibration had not seen.
    """

    opening_m: Array
    sigma_m: Array
    line_m: Known
    linearity_m: Known
    hysteresis_m: Known
    left_out_m: float


def figures_by_tags(jaws: GaugedJaws) -> Figures | None:
    """None where no tags were seen."""
    model, fit = jaws.model, jaws.fit
    if not model.by_tags:
        return None
    return _figures(
        jaws,
        jaws.by_tags_m,
        jaws.by_tags_m,
        lambda at, opening_m: width_by_tags_m(model, fit, at, opening_m),
        lambda left: widths_by_tags_m(jaws.held, model.drawn, left),
    )


def figures_by_encoder(jaws: GaugedJaws) -> Figures | None:
    """None where there was no encoder."""
    model, fit = jaws.model, jaws.fit
    if not model.by_encoder:
        return None
    return _figures(
        jaws,
        jaws.by_encoder_m,
        jaws.held.angle_rad * model.drawn.metres_per_rad,
        lambda at, opening_m: width_by_encoder_m(model, fit, at, opening_m),
        lambda left: widths_by_encoder_m(jaws.held.angle_rad, left),
    )


def _figures(
    jaws: GaugedJaws,
    width_m: Array,
    raw_m: Array,
    width: Callable[[Unknowns, Array], Array],
    widths: Callable[[Fit], Array],
) -> Figures:
    gauge = jaws.held.gauge_m
    known = np.isfinite(width_m)
    opening = np.arange(gauge.min(), gauge.max() + _STEP_M / 2, _STEP_M)
    line = np.polynomial.Polynomial.fit(raw_m[known], gauge[known], 1)
    left_out = [0.0]
    for block in np.unique(gauge[known]):
        this = gauge == block
        off = widths(without(jaws.model, jaws.fit, this))[this & known] - block
        left_out.append(float(abs(off.mean())))
    return Figures(
        opening_m=opening,
        sigma_m=sigma_of(jaws.fit, lambda at: width(at, opening)),
        line_m=_largest(gauge, np.where(known, line(np.nan_to_num(raw_m)), np.nan) - gauge),
        linearity_m=_largest(gauge, width_m - gauge),
        hysteresis_m=_hysteresis(gauge, width_m, jaws.going_back),
        left_out_m=max(left_out),
    )


def _largest(gauge: Array, off: Array) -> Known:
    """Of the gauges' mean deviations; the sigma is that of one gauge's mean, from how far holds on one block differ."""
    known = np.isfinite(off)
    blocks, group = np.unique(gauge[known], return_inverse=True)
    count = np.bincount(group, minlength=len(blocks))
    mean = np.bincount(group, off[known], minlength=len(blocks)) / count
    left = float(np.sum((off[known] - mean[group]) ** 2))
    freedom = int(known.sum()) - len(blocks)
    k = int(np.argmax(np.abs(mean)))
    return Known(float(abs(mean[k])), float(np.sqrt(left / freedom / count[k])) if freedom > 0 else np.nan)


def _hysteresis(gauge: Array, width_m: Array, going_back: NDArray[np.bool_]) -> Known:
    differences: list[float] = []
    for block in np.unique(gauge):
        here = (gauge == block) & np.isfinite(width_m)
        up, back = width_m[here & ~going_back], width_m[here & going_back]
        if len(up) and len(back):
            differences.append(float(back.mean() - up.mean()))
    n = len(differences)
    if n < 2:
        return Known()
    return Known(float(np.mean(differences)), float(np.std(differences, ddof=1) / np.sqrt(n)))


@dataclass(frozen=True, slots=True)
class Moving:
    """Encoder against tags while the jaws move.

    Attributes:
        backlash_m: encoder less tags while opening, less the same while closing.
        late_s: by how much the camera's stamps lag behind the encoder's.
        pictures: it rests on.
    """

    backlash_m: Known
    late_s: Known
    pictures: int


def compare_moving(record: JawRecord, jaws: GaugedJaws, slowest_m_s: float = 0.005, fewest: int = 20) -> Moving | None:
    """What differs between the two instruments with the direction of the jaws, and with their speed.

    Args:
        slowest_m_s: below it, a jaw may have come to rest.
        fewest: pictures of moving jaws that make an answer.

    Returns:
        None where one of the instruments is missing or the jaws hardly moved.
    """
    model, fit, seen = jaws.model, jaws.fit, record.sights
    if fit.encoder is None or fit.T_cam_tcp is None or model.drawn.camera is None:
        return None
    by_look = openings_m(seen, model.drawn.camera, fit.T_cam_tcp, fit.tags)
    frames = np.arange(len(record.picture_t_ns))
    count = np.bincount(seen.picture, minlength=len(frames))
    # One finger alone may be off by how unevenly they go.
    both = np.flatnonzero(count == len(fit.tags))
    t_ns, read_ns = record.picture_t_ns[both], record.readings.t_ns
    within = (t_ns > read_ns[0]) & (t_ns < read_ns[-1])
    both, t_ns = both[within], t_ns[within]
    by_tags = np.bincount(seen.picture, by_look, minlength=len(frames))[both] / len(fit.tags)
    width = widths_by_encoder_m(record.angle_rad, fit)
    t_s, read_s = seconds(t_ns, int(read_ns[0])), seconds(read_ns, int(read_ns[0]))
    by_encoder = np.interp(t_s, read_s, width)
    ahead, behind = (np.interp(t_s + step, read_s, width) for step in (0.02, -0.02))
    speed = (ahead - behind) / 0.04
    moving = np.abs(speed) > slowest_m_s
    if moving.sum() < fewest or len({*np.sign(speed[moving]).tolist()}) < 2:
        return None
    A = np.stack([np.sign(speed[moving]) / 2, speed[moving], np.ones(moving.sum())], axis=1)
    off = (by_encoder - by_tags)[moving]
    x, weight, scale = np.zeros(3), np.ones(len(off)), 1e-6
    for _ in range(10):  # blurred pictures and passing hands are far off
        x = np.linalg.lstsq(A * weight[:, None], off * weight, rcond=None)[0]
        left = off - A @ x
        scale = max(1.4826 * float(np.median(np.abs(left))), 1e-6)
        weight = np.sqrt(1 / (1 + (left / (3 * scale)) ** 2))
    cov = np.linalg.inv((A * weight[:, None]).T @ (A * weight[:, None])) * scale**2
    sigma = np.sqrt(np.diag(cov))
    return Moving(Known(float(x[0]), float(sigma[0])), Known(float(x[1]), float(sigma[1])), int(moving.sum()))
