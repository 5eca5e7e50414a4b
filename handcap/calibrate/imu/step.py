"""`calibrate imu`: logs of one sensor become its noise, scale, misalignment and bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from handcap.calibrate.imu.attitudes import count_distinct
from handcap.calibrate.imu.log import ImuLog
from handcap.calibrate.imu.noise import Estimate, NoiseFit
from handcap.calibrate.imu.plausible import PlausibleParams, implausible
from handcap.calibrate.imu.poses import PosesParams, PosesResult, study_poses
from handcap.calibrate.imu.rests import Rest, RestParams, find_rests, rest_means
from handcap.calibrate.imu.still import SensorNoise, StillParams, StillResult, noise_of_rest, study_still
from handcap.calibrate.imu.timing import Timing, TimingParams, timing
from handcap.calibrate.part import Part
from handcap.causes import Cause, Verdict
from handcap.errors import CalibrationError
from handcap.geometry import Array

_LEAST_SAMPLES = 500
_LEAST_HZ = 20.0
# What leaves the rest of the numbers good; everything else refuses the part.
RESERVATIONS = ("walk_unknown", "log_mean_removed")


@dataclass(frozen=True, slots=True)
class ImuStepParams:
    """Attributes:
    timing, plausible, rests, still, poses: of these steps.
    """

    timing: TimingParams = field(default_factory=TimingParams)
    plausible: PlausibleParams = field(default_factory=PlausibleParams)
    rests: RestParams = field(default_factory=RestParams)
    still: StillParams = field(default_factory=StillParams)
    poses: PosesParams = field(default_factory=PosesParams)


@dataclass(frozen=True, eq=False, slots=True)
class ImuResult:
    """What the logs told.

    Attributes:
        still_log, poses_log: which log was which, None where there was none.
        timing: by name of the log.
        causes: of all logs; those that only reserve are among `RESERVATIONS`.
        still, poses: None where it was not tried.
        gyro_noise, accel_noise: from the still log, or the longest rest of the other; None when unknown. In the unit
            of the log.
        noise_log: the log they came from.
        params: of the steps.
    """

    still_log: ImuLog | None
    poses_log: ImuLog | None
    timing: Mapping[str, Timing]
    causes: Sequence[Cause]
    still: StillResult | None
    poses: PosesResult | None
    gyro_noise: SensorNoise | None
    accel_noise: SensorNoise | None
    noise_log: ImuLog | None
    params: ImuStepParams

    @property
    def logs(self) -> Sequence[ImuLog]:
        return [log for log in (self.still_log, self.poses_log) if log is not None]

    @property
    def verdict(self) -> Verdict:
        if any(cause.code not in RESERVATIONS for cause in self.causes):
            return "refused"
        return "partial" if self.causes else "ok"


@dataclass(frozen=True, eq=False, slots=True)
class _Opened:
    """A log that can be worked with, or why not."""

    log: ImuLog
    timing: Timing
    causes: Sequence[Cause]
    rests: Sequence[Rest]


def calibrate_imu(
    logs: Sequence[ImuLog] = (),
    *,
    still: ImuLog | None = None,
    poses: ImuLog | None = None,
    params: ImuStepParams = ImuStepParams(),
) -> ImuResult:
    """Whatever the logs can tell of one sensor.

    Args:
        logs: one that lies still, one in many attitudes, or both; which is which shows in them.
        still, poses: logs that are declared to be so.
        params: of the steps.

    Raises:
        CalibrationError: there is no log, two of a kind, two devices, or a log too short to open.
    """
    declared_still = [still] if still is not None else []
    declared_poses = [poses] if poses is not None else []
    every = [*declared_still, *declared_poses, *logs]
    _require_one_sensor(every)
    opened = {id(log): _open(log, params) for log in every}
    for log in logs:
        one = opened[id(log)]
        (declared_poses if not one.causes and _in_many_attitudes(one, params) else declared_still).append(log)
    for kind, found in (("lie still", declared_still), ("show many attitudes", declared_poses)):
        if len(found) > 1:
            names = ", ".join(log.name for log in found)
            raise CalibrationError(
                f"{len(found)} logs {kind}: {names}", mend="give one log that lies still and one in many attitudes"
            )
    still_open = opened[id(declared_still[0])] if declared_still else None
    poses_open = opened[id(declared_poses[0])] if declared_poses else None
    causes = [cause for one in (still_open, poses_open) if one is not None for cause in one.causes]
    still_result = None
    if still_open is not None and not still_open.causes:
        still_result = study_still(still_open.log, still_open.timing.rate_hz, still_open.rests, params.still)
        causes += still_result.causes
        if still_open.log.accel_counts or still_open.log.gyro_counts:
            causes += _counts_without_scale(still_open.log, poses_open)
    noise = (None, None) if still_result is None else (still_result.gyro, still_result.accel)
    noise_log = still_open.log if still_open is not None and noise[0] is not None else None
    if still_open is None and poses_open is not None and not poses_open.causes and poses_open.rests:
        longest = max(poses_open.rests, key=len)
        if len(longest) >= params.still.least_s * poses_open.timing.rate_hz:
            noise = noise_of_rest(poses_open.log, longest, poses_open.timing.rate_hz, params.still)
            noise_log = poses_open.log
    poses_result = None
    if poses_open is not None and not poses_open.causes:
        log, rate_hz = poses_open.log, poses_open.timing.rate_hz
        stated = log.stated
        walks = (stated.gyro_random_walk, stated.accel_random_walk) if stated is not None else (0.0, 0.0)
        if noise[0] is not None and noise[1] is not None:
            walks = noise[0].mean.walk.value or walks[0], noise[1].mean.walk.value or walks[1]
        poses_result = study_poses(log, rate_hz, poses_open.rests, *walks, params.poses)
        causes += poses_result.causes
    return ImuResult(
        None if still_open is None else still_open.log,
        None if poses_open is None else poses_open.log,
        {log.name: opened[id(log)].timing for log in every},
        causes,
        still_result,
        poses_result,
        *noise,
        noise_log,
        params,
    )


def _require_one_sensor(logs: Sequence[ImuLog]) -> None:
    if not logs:
        raise CalibrationError(
            "no log given", mend="give a session or a log of the sensor lying still or in many poses"
        )
    uids = sorted({log.uid for log in logs if log.uid is not None})
    if len(uids) > 1:
        raise CalibrationError(
            f"the logs are of different devices: {', '.join(uids)}", mend="give logs of one device at a time"
        )
    for log in logs:
        if len(log) < _LEAST_SAMPLES:
            raise CalibrationError(
                f"only {len(log)} samples, at least {_LEAST_SAMPLES} needed", where=log.name, mend="record for longer"
            )
        if not (np.all(np.isfinite(log.gyro)) and np.all(np.isfinite(log.accel))):
            raise CalibrationError("NaN or infinite samples", where=log.name, mend="check the board, then record again")


def _open(log: ImuLog, params: ImuStepParams) -> _Opened:
    measured, causes = timing(log, params.timing)
    if not causes and measured.rate_hz < _LEAST_HZ:
        causes = [Cause("imu_slow", measured=measured.rate_hz, limit=_LEAST_HZ)]
    causes = [*causes, *implausible(log, measured.rate_hz, params.plausible)] if measured.rate_hz > 0 else causes
    rests = [] if causes else find_rests(log, measured.rate_hz, params.rests)
    return _Opened(log, measured, causes, rests)


def _in_many_attitudes(one: _Opened, params: ImuStepParams) -> bool:
    """Whether a log means to show attitudes: three or more, or two and mostly something else than one rest."""
    if len(one.rests) < 2:
        return False
    accel = rest_means(one.log, one.rests).accel
    if one.log.accel_counts:
        accel = accel - (accel.max(axis=0) + accel.min(axis=0)) / 2
    up = accel / np.maximum(np.linalg.norm(accel, axis=1, keepdims=True), 1e-12)
    distinct = count_distinct(up, params.poses.apart_rad)
    longest = max(len(rest) for rest in one.rests)
    return distinct >= 3 or (distinct == 2 and longest < 0.5 * len(one.log))


def _counts_without_scale(log: ImuLog, poses: _Opened | None) -> list[Cause]:
    known = poses is not None and (poses.log.gyro_counts, poses.log.accel_counts) == (log.gyro_counts, log.accel_counts)
    return [] if known else [Cause("counts_without_scale")]


def part_of(result: ImuResult, subject: str) -> Part:
    """What the step leaves; a refused part holds no values."""
    noise_gyro, noise_accel = _sensor_noise(result.gyro_noise), _sensor_noise(result.accel_noise)
    scales = readings_per_unit(result)
    values: dict[str, Any] = {"rate_hz": _rate(result)}
    sigma: dict[str, Any] = {}
    for sensor, noise, counts_per_unit in (("gyro", noise_gyro, scales[0]), ("accel", noise_accel, scales[1])):
        for name in ("noise_density", "random_walk", "bias_instability"):
            told = None if noise is None or counts_per_unit is None else noise[name]
            values[f"{sensor}_{name}"] = _over(None if told is None else told.value, counts_per_unit)
            sigma[f"{sensor}_{name}"] = _over(None if told is None else told.sigma, counts_per_unit)
    for name, (value, one_sigma) in _errors(result.poses).items():
        values[name], sigma[name] = value, one_sigma
    if result.verdict == "refused":
        values, sigma = dict.fromkeys(values), dict.fromkeys(sigma)
    logs = result.logs
    inputs = {path: digest for log in logs for path, digest in log.inputs.items()}
    return Part(
        "imu",
        subject,
        result.verdict,
        result.causes,
        values,
        sigma,
        _details(result),
        uid=next((log.uid for log in logs if log.uid is not None), None),
        created=max((log.created for log in logs if log.created is not None), default=None),
        conditions=_conditions(result, logs),
        params=asdict(result.params),
        inputs=dict(sorted(inputs.items())),
    )


def _errors(found: PosesResult | None) -> dict[str, tuple[Array | None, Array | None]]:
    """Matrices and biases with their sigmas, all or none: one is of no use without the others."""
    names = ("accel_matrix", "accel_bias", "gyro_matrix", "gyro_bias", "gyro_g_sensitivity")
    if found is None or found.gravity is None or found.bias is None or found.turns is None:
        return dict.fromkeys(names, (None, None))
    g, b, t = found.gravity, found.bias, found.turns
    return {
        "accel_matrix": (g.matrix, g.matrix_sigma),
        "accel_bias": (g.bias, g.bias_sigma),
        "gyro_matrix": (t.matrix, t.matrix_sigma),
        "gyro_bias": (b.bias, b.bias_sigma),
        "gyro_g_sensitivity": (b.g_sensitivity, b.g_sensitivity_sigma),
    }


def _sensor_noise(noise: SensorNoise | None) -> dict[str, Estimate] | None:
    return None if noise is None else _three(noise.mean)


def _three(fit: NoiseFit) -> dict[str, Estimate]:
    return {"noise_density": fit.density, "random_walk": fit.walk, "bias_instability": fit.flicker}


def _over(value: float | None, counts_per_unit: float | None) -> float | None:
    return None if value is None or counts_per_unit is None else value / counts_per_unit


def readings_per_unit(result: ImuResult) -> tuple[float | None, float | None]:
    """Readings per SI unit of gyroscope and accelerometer; None for counts of unknown size."""
    log = result.noise_log
    gyro: float | None = 1.0 if log is not None and not log.gyro_counts else None
    accel: float | None = 1.0 if log is not None and not log.accel_counts else None
    if gyro is None and result.poses is not None and result.poses.turns is not None:
        gyro = float(np.linalg.svd(result.poses.turns.matrix, compute_uv=False).mean())
    if accel is None and result.poses is not None and result.poses.gravity is not None:
        accel = float(np.trace(result.poses.gravity.matrix)) / 3
    return gyro, accel


def _rate(result: ImuResult) -> float | None:
    log = result.still_log or result.poses_log
    return None if log is None else result.timing[log.name].rate_hz


def _conditions(result: ImuResult, logs: Sequence[ImuLog]) -> dict[str, Any]:
    warmth = [log.temperature_c for log in logs if log.temperature_c is not None]
    ends = None if not warmth else [min(float(w.min()) for w in warmth), max(float(w.max()) for w in warmth)]
    return {"temperature_c": ends, "gravity_m_s2": result.params.poses.gravity_m_s2}


def _details(result: ImuResult) -> dict[str, Any]:
    details: dict[str, Any] = {
        "logs": {
            kind: None if log is None else {"name": log.name, "samples": len(log), **asdict(result.timing[log.name])}
            for kind, log in (("still", result.still_log), ("poses", result.poses_log))
        }
    }
    if result.still is not None:
        details["still_span_s"] = result.still.span_s
    scales = readings_per_unit(result)
    details["noise"] = {
        sensor: None if noise is None or scale is None else _noise_details(noise, scale)
        for sensor, noise, scale in (
            ("gyro", result.gyro_noise, scales[0]),
            ("accel", result.accel_noise, scales[1]),
        )
    }
    if result.poses is not None:
        details["poses"] = _poses_details(result.poses)
    return details


def _noise_details(noise: SensorNoise, counts_per_unit: float) -> dict[str, Any]:
    def told(fit: NoiseFit) -> dict[str, Any]:
        return {
            **{
                name: {
                    "value": _over(e.value, counts_per_unit),
                    "sigma": _over(e.sigma, counts_per_unit),
                    "interval_95": [e.low / counts_per_unit, e.high / counts_per_unit],
                }
                for name, e in _three(fit).items()
            },
            "tau_s": fit.tau_s,
            "scatter": fit.scatter,
        }

    axes = {axis: told(fit) for axis, fit in zip("xyz", noise.axes, strict=True)}
    for axis, curve in zip("xyz", noise.curves, strict=True):
        axes[axis]["allan"] = {
            "tau_s": curve.allan.tau_s,
            "deviation": curve.allan.deviation / counts_per_unit,
            "low": curve.low / counts_per_unit,
            "high": curve.high / counts_per_unit,
        }
    kelvin = None
    if noise.per_kelvin is not None:
        kelvin = [[value / counts_per_unit, sigma / counts_per_unit] for value, sigma in noise.per_kelvin]
    return {"mean": told(noise.mean), "axes": axes, "bias_per_kelvin": kelvin}


def _poses_details(found: PosesResult) -> dict[str, Any]:
    out: dict[str, Any] = {
        "rests": len(found.rests),
        "positions": found.positions,
        "rest_t_s": found.rests.t_s,
        "rest_s": found.rests.seconds,
        "up_imu": found.up,
    }
    if found.gravity is not None:
        g = found.gravity
        out |= {
            "rests_used": int(g.used.sum()),
            "gravity_residual_m_s2": g.residual,
            "gravity_residual_rms_m_s2": rms(g.residual[g.used]),
            "gravity_held_out_rms_m_s2": rms(g.held_out),
            "gravity_before_rms_m_s2": rms(g.before),
            "accel_covariance": g.covariance,
            "scatter": g.scatter,
        }
    if found.turns is not None:
        t = found.turns
        out |= {
            "turns": len(t.used),
            "turns_used": int(t.used.sum()),
            "turn_residual_rad": t.residual_rad,
            "turn_residual_rms_rad": rms(t.residual_rad[t.used]),
            "turn_held_out_rms_rad": rms(t.held_out_rad),
            "turn_before_rms_rad": rms(t.before_rad),
            "gyro_covariance": t.covariance,
        }
    return out


def rms(values: Array) -> float:
    """NaN left out; NaN when nothing is known."""
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")


def with_gravity(params: ImuStepParams, gravity_m_s2: float) -> ImuStepParams:
    """The same, recorded where gravity is this."""
    return replace(params, poses=replace(params.poses, gravity_m_s2=gravity_m_s2))
