"""A log of a sensor laid down in many attitudes: scale, misalignment and bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from handcap.calibrate.imu.attitudes import count_distinct, missing_faces
from handcap.calibrate.imu.gravity import PARAMETERS, GravityFit, GravityParams, fit_gravity, sphere
from handcap.calibrate.imu.log import ImuLog
from handcap.calibrate.imu.rests import Rest, RestMeans, rest_means
from handcap.calibrate.imu.turns import BiasFit, TurnFit, TurnParams, fit_bias, fit_turns, turns_between
from handcap.causes import Cause
from handcap.geometry import GRAVITY_M_S2, Array


@dataclass(frozen=True, slots=True)
class PosesParams:
    """When positions suffice, and what a sensor can be.

    Attributes:
        gravity_m_s2: where the log was recorded; standard gravity is within 0.3 % of it anywhere.
        near_rad: a rest this near to a face shows it. Half way to the next.
        apart_rad: rests less apart say the same.
        least_positions: distinct ones; nine numbers are sought, and some must be left to contradict.
        least_turns: likewise; a turn says two things.
        most_force_sigma_m_s2: of what the accelerometer says along an axis; 3 mg, or 0.3 % of scale.
        most_turn_sigma: share, gyroscope.
        most_residual_m_s2: rms over rests after calibration, per degree of freedom; a sound part leaves a tenth.
        most_turn_error_rad: rms over turns, likewise.
        most_scale: share by which an accelerometer's scale may be off before its unit is doubted.
        most_rate: share by which all three scales of a gyroscope may be off together before the clock is doubted.
        most_lean: share of one axis that may show on another.
    """

    gravity_m_s2: float = GRAVITY_M_S2
    near_rad: float = float(np.deg2rad(45))
    apart_rad: float = float(np.deg2rad(15))
    least_positions: int = 10
    least_turns: int = 8
    most_force_sigma_m_s2: float = 0.03
    most_turn_sigma: float = 0.01
    most_residual_m_s2: float = 0.02
    most_turn_error_rad: float = float(np.deg2rad(1.0))
    most_scale: float = 0.1
    most_rate: float = 0.05
    most_lean: float = 0.2
    gravity: GravityParams = field(default_factory=GravityParams)
    turns: TurnParams = field(default_factory=TurnParams)


@dataclass(frozen=True, eq=False, slots=True)
class PosesResult:
    """What the positions told; parts are None where it was refused before.

    Attributes:
        causes: why it is refused.
        rests: used.
        up: (k, 3) upward direction in imu axes at each rest.
        positions: distinct ones.
        gravity, bias, turns: the fits.
    """

    causes: Sequence[Cause]
    rests: RestMeans
    up: Array
    positions: int
    gravity: GravityFit | None = None
    bias: BiasFit | None = None
    turns: TurnFit | None = None


def study_poses(
    log: ImuLog, rate_hz: float, found: Sequence[Rest], gyro_walk: float, accel_walk: float, params: PosesParams
) -> PosesResult:
    """Scale, misalignment and bias of both sensors; refused where positions or turns do not suffice.

    Args:
        log: as recorded.
        rate_hz: measured.
        found: its rests.
        gyro_walk, accel_walk: of the biases; 0 where nobody knows.
        params: limits.
    """
    rests = rest_means(log, found)
    if len(rests) < 4:
        return PosesResult(
            [Cause("few_positions", measured=float(len(rests)), limit=float(params.least_positions))],
            rests,
            np.empty((0, 3)),
            len(rests),
        )
    _, centre = (1.0, np.zeros(3)) if not log.accel_counts else sphere(rests.accel, params.gravity_m_s2)
    up = _directions(rests.accel - centre) @ log.R_imu_chip.T
    positions = count_distinct(up, params.apart_rad)
    causes = [Cause("position_missing", face) for face in missing_faces(up, params.near_rad)]
    if not causes and positions < params.least_positions:
        causes.append(Cause("few_positions", measured=float(positions), limit=float(params.least_positions)))
    if causes:
        return PosesResult(causes, rests, up, positions)
    accel = fit_gravity(
        rests, _noise(log.accel, rests), accel_walk, params.gravity_m_s2, log.accel_counts, params.gravity
    )
    up = _directions(accel.force(rests.accel)) @ log.R_imu_chip.T
    causes = _doubt_gravity(accel, log.accel_counts, params)
    if causes:
        return PosesResult(causes, rests, up, positions, accel)
    bias = fit_bias(rests, accel.force(rests.accel), _noise(log.gyro, rests), gyro_walk)
    turns = turns_between(log, rests, accel, bias, params.turns)
    if len(turns) < params.least_turns:
        causes = [Cause("few_turns", measured=float(len(turns)), limit=float(params.least_turns))]
        return PosesResult(causes, rests, up, positions, accel, bias)
    fit = fit_turns(turns, log.gyro_counts, params.turns)
    return PosesResult(_doubt_turns(fit, log, params), rests, up, positions, accel, bias, fit)


def _directions(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _noise(values: Array, rests: RestMeans) -> Array:
    """(k,) standard deviation of each rest's mean per axis, as if its noise were white."""
    return np.array([float(np.sqrt(values[r.start : r.end].var(axis=0).mean() / len(r))) for r in rests.rests])


def _doubt_gravity(fit: GravityFit, counts: bool, params: PosesParams) -> list[Cause]:
    scale = float(np.trace(fit.matrix)) / 3
    unit = 1.0 if not counts else scale
    if not counts and abs(scale - 1) > params.most_scale:
        return [Cause("log_accel_unit", measured=scale * params.gravity_m_s2, limit=params.gravity_m_s2)]
    free = max(int(fit.used.sum()) - PARAMETERS, 1)
    rms = float(np.sqrt(np.sum(fit.residual[fit.used] ** 2) / free))  # what nine numbers hide in few rests is added
    if rms > params.most_residual_m_s2 or np.abs(fit.matrix / scale - np.eye(3)).max() > params.most_lean:
        return [Cause("rests_disagree", measured=1e3 * rms, limit=1e3 * params.most_residual_m_s2)]
    # What a bias or a share of gravity may be wrong by, on each axis.
    sigma = np.maximum(fit.bias_sigma / unit, params.gravity_m_s2 * fit.matrix_sigma.max(axis=1) / scale)
    if sigma.max() > params.most_force_sigma_m_s2:
        limit = 1e3 * params.most_force_sigma_m_s2
        return [Cause("positions_alike", "xyz"[int(np.argmax(sigma))], measured=1e3 * float(sigma.max()), limit=limit)]
    return []


def _doubt_turns(fit: TurnFit, log: ImuLog, params: PosesParams) -> list[Cause]:
    if not np.array_equal(fit.axes, np.eye(3)):
        # Gravity upside down turns alike: one axis of the accelerometer mirrored looks like two of the gyroscope.
        signs_alone = bool(np.all(np.diag(fit.axes) != 0))
        mirrored = signs_alone or np.linalg.det(fit.axes) < 0
        return [Cause("log_axes_mirrored" if mirrored else "log_axes_swapped", _axes_word(fit.axes))]
    scales = np.linalg.svd(fit.matrix, compute_uv=False)
    together = float(np.exp(np.mean(np.log(scales))))
    if not log.gyro_counts:
        for per_rad in (180 / np.pi, np.pi / 180):
            if abs(together / per_rad - 1) < 0.3:
                return [Cause("log_gyro_unit", measured=together)]
        if abs(together - 1) > params.most_rate and np.ptp(scales) < 0.1 * together:
            return [Cause("turns_scaled", measured=together)]
    rms = _rms(fit.residual_rad[fit.used])
    lean = np.abs(fit.matrix / together - np.eye(3)).max()
    if rms > params.most_turn_error_rad or lean > params.most_lean:
        limit = float(np.rad2deg(params.most_turn_error_rad))
        return [Cause("log_turns_disagree", measured=float(np.rad2deg(rms)), limit=limit)]
    sigma = fit.matrix_sigma / together
    if sigma.max() > params.most_turn_sigma:
        axis = "xyz"[int(np.argmax((log.R_imu_chip @ sigma).max(axis=1)))]
        return [Cause("turn_missing", axis, measured=100 * float(sigma.max()), limit=100 * params.most_turn_sigma)]
    return []


def _axes_word(axes: Array) -> str:
    """ "y x -z": what the gyroscope's columns hold, in the accelerometer's axes."""
    names = []
    for row in axes:
        k = int(np.argmax(np.abs(row)))
        names.append(("-" if row[k] < 0 else "") + "xyz"[k])
    return " ".join(names)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.nanmean(values**2)))
