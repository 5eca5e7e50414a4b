"""A log of a sensor that lies still: its noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from handcap.calibrate.imu.allan import AllanCurve, Slope, allan, freedom, interval
from handcap.calibrate.imu.log import ImuLog
from handcap.calibrate.imu.noise import (
    Bands,
    NoiseFit,
    NoiseParams,
    bands,
    fit_noise,
    mean_over_axes,
    slope_on,
)
from handcap.calibrate.imu.plausible import mean_removed
from handcap.calibrate.imu.rests import Rest
from handcap.causes import Cause
from handcap.geometry import Array

AXES = ("x", "y", "z")


@dataclass(frozen=True, slots=True)
class StillParams:
    """When a log counts as still, and for what it is long enough.

    Attributes:
        least_s: of stillness, to state a density: its interval is then 2 % wide at 100 Hz, and slow motion shows.
        end_s, end_share: handling before and after, seconds or share of the log, that needs no word.
        most_gyro_density: rad/s/√Hz that no part on sale reaches and every one does in degrees.
        most_accel_density: m/s²/√Hz, likewise.
        unit_factor: between measured and stated noise that is no scatter of parts but a unit.
        least_kelvin: of warming, to tell how the bias follows temperature.
        noise: of the fit.
    """

    least_s: float = 30.0
    end_s: float = 20.0
    end_share: float = 0.05
    most_gyro_density: float = 2e-3
    most_accel_density: float = 0.1
    unit_factor: float = 20.0
    least_kelvin: float = 1.0
    noise: NoiseParams = field(default_factory=NoiseParams)


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """An Allan deviation with the ends of its interval, each (k,)."""

    allan: AllanCurve
    low: Array
    high: Array


@dataclass(frozen=True, eq=False, slots=True)
class SensorNoise:
    """Noise of one sensor.

    Attributes:
        axes: a fit for x, y and z.
        mean: the fit of their mean variance: what one number for the sensor can be.
        curves: for x, y and z.
        per_kelvin: for x, y and z, change of the bias and its sigma, unit/K; None where temperature is unknown.
    """

    axes: Sequence[NoiseFit]
    mean: NoiseFit
    curves: Sequence[Curve]
    per_kelvin: Sequence[tuple[float, float]] | None


@dataclass(frozen=True, eq=False, slots=True)
class StillResult:
    """What a still log told.

    Attributes:
        causes: why it is refused, or what is reserved.
        stretch: samples used, None when the log never lay still.
        span_s: the same in seconds of the log.
        gyro, accel: None when refused before.
    """

    causes: Sequence[Cause]
    stretch: Rest | None = None
    span_s: tuple[float, float] = (0.0, 0.0)
    gyro: SensorNoise | None = None
    accel: SensorNoise | None = None


def study_still(log: ImuLog, rate_hz: float, rests: Sequence[Rest], params: StillParams) -> StillResult:
    """The noise of a log, from its longest rest; refused unless that is all but the whole of it."""
    t_s = log.t_s
    if not rests:
        return StillResult([Cause("log_not_still")])
    longest = max(rests, key=len)
    start_s, end_s = float(t_s[longest.start]), float(t_s[longest.end - 1])
    span_s = (start_s, end_s)
    ends_s = max(params.end_s, params.end_share * float(t_s[-1]))
    causes: list[Cause] = []
    if start_s > ends_s or t_s[-1] - end_s > ends_s:
        touched_s = end_s if t_s[-1] - end_s > ends_s else start_s
        return StillResult(
            [Cause("log_moved", measured=touched_s, limit=end_s - start_s, span_s=span_s)], longest, span_s
        )
    if end_s - start_s < params.least_s:
        return StillResult([Cause("log_short", measured=end_s - start_s, limit=params.least_s)], longest, span_s)
    gyro, accel = noise_of_rest(log, longest, rate_hz, params)
    causes += _units_by_noise(log, gyro, accel, params)
    if mean_removed(log):
        causes.append(Cause("log_mean_removed"))
    unknown = [s for s in (gyro, accel) if s.mean.walk.value is None]
    if unknown:
        causes.append(Cause("walk_unknown", measured=(end_s - start_s) / 3600))
    return StillResult(causes, longest, span_s, gyro, accel)


def noise_of_rest(log: ImuLog, rest: Rest, rate_hz: float, params: StillParams) -> tuple[SensorNoise, SensorNoise]:
    """Of gyroscope and accelerometer, from a rest of at least 100 samples."""
    return _sensor(log, log.gyro, rest, rate_hz, params), _sensor(log, log.accel, rest, rate_hz, params)


def _sensor(log: ImuLog, values: Array, rest: Rest, rate_hz: float, params: StillParams) -> SensorNoise:
    columns = [column[rest.start : rest.end] for column in values.T]
    seen: list[Bands] = [bands(column, rate_hz, params.noise) for column in columns]
    fits = [fit_noise(each, params.noise) for each in seen]
    curves = [_curve(column, fit) for column, fit in zip(columns, fits, strict=True)]
    warmth = None if log.temperature_c is None else log.temperature_c[rest.start : rest.end]
    per_kelvin = None
    if warmth is not None and np.ptp(warmth) >= params.least_kelvin:
        per_kelvin = [slope_on(column, warmth, fit) for column, fit in zip(columns, fits, strict=True)]
    return SensorNoise(fits, fit_noise(mean_over_axes(seen, fits), params.noise), curves, per_kelvin)


def _curve(column: Array, fit: NoiseFit) -> Curve:
    curve = allan(column, fit.rate_hz)
    slopes: tuple[Slope, ...] = ("white", "flicker", "walk")
    each = np.stack([freedom(curve.m.astype(float), len(column), slope) for slope in slopes], axis=1)
    ruling = np.argmax(fit.variances(curve.tau_s), axis=1)
    return Curve(curve, *interval(curve.deviation, each[np.arange(len(ruling)), ruling]))


def _units_by_noise(log: ImuLog, gyro: SensorNoise, accel: SensorNoise, params: StillParams) -> list[Cause]:
    """Noise far beyond what is on sale, or what rig.json states, is in another unit."""
    causes: list[Cause] = []
    for code, counts, noise, most, stated in (
        (
            "log_gyro_noise",
            log.gyro_counts,
            gyro,
            params.most_gyro_density,
            log.stated.gyro_noise_density if log.stated else None,
        ),
        (
            "log_accel_noise",
            log.accel_counts,
            accel,
            params.most_accel_density,
            log.stated.accel_noise_density if log.stated else None,
        ),
    ):
        density = noise.mean.density.value
        if counts or density is None:
            continue
        if stated is not None and density > params.unit_factor * stated:
            causes.append(Cause(code, measured=density, limit=stated))
        elif density > most:
            causes.append(Cause(code, measured=density, limit=most))
    return causes
