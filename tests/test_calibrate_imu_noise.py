"""Noise of a sensor at rest: found as it was made, with intervals that say how well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imu_logs import noise, still_log
from scipy.fft import dct
from scipy.signal import lfilter

from handcap.calibrate.imu import calibrate_imu, part_of
from handcap.calibrate.imu.allan import allan, freedom, interval
from handcap.calibrate.imu.noise import NoiseFit, NoiseParams, bands, fit_noise
from handcap.formats.imu_log import LogOptions, read_imu_log
from handcap.geometry import Array

PARAMS = NoiseParams(walk_s=0.0)  # a virtual sensor needs no time to settle


def fitted(samples: Array, rate_hz: float = 100.0) -> NoiseFit:
    return fit_noise(bands(samples, rate_hz, PARAMS), PARAMS)


def test_the_cosine_transform_decorrelates_white_noise_and_random_walk_exactly() -> None:
    n, white, walk = 40, 3.0, 0.2
    covariance = white * np.eye(n) + walk * (np.minimum.outer(np.arange(n), np.arange(n)) + 1.0)
    D = np.asarray(dct(np.eye(n), type=2, norm="ortho", axis=0), float)[1:]
    expected = white + walk / (2 * np.sin(np.pi * np.arange(1, n) / (2 * n))) ** 2
    np.testing.assert_allclose(D @ covariance @ D.T, np.diag(expected), atol=1e-9 * expected.max())


def test_the_overlapping_deviation_is_what_its_definition_says() -> None:
    samples = np.random.default_rng(0).standard_normal(60)
    curve = allan(samples, 10.0)
    for m, deviation in zip(curve.m, curve.deviation, strict=True):
        means = np.array([samples[k : k + m].mean() for k in range(len(samples) - m + 1)])
        assert deviation == pytest.approx(np.sqrt(np.mean((means[m:] - means[:-m]) ** 2) / 2), rel=1e-9)


def test_intervals_of_the_deviation_hold_the_truth_as_often_as_they_say() -> None:
    held: list[np.ndarray] = []
    for seed in range(300):
        curve = allan(np.random.default_rng(seed).standard_normal(600), 1.0, per_decade=3)
        low, high = interval(curve.deviation, freedom(curve.m.astype(float), 600, "white"))
        truth = 1 / np.sqrt(curve.m)
        held.append((low <= truth) & (truth <= high))
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


@settings(max_examples=15)
@given(st.floats(-5, -2), st.floats(-2.2, -0.8), st.integers(0, 10**6))
def test_density_and_walk_come_back_within_their_intervals(log_density: float, log_ratio: float, seed: int) -> None:
    density, walk = 10**log_density, 10 ** (log_density + log_ratio)
    fit = fitted(noise(np.random.default_rng(seed), 60_000, density, walk, 100.0))
    assert fit.density.value == pytest.approx(density, rel=0.05)
    # Four sigmas, not two: of thousands of examples none may fail by chance.
    assert fit.density.sigma is not None and abs(fit.density.value - density) < 4 * fit.density.sigma
    assert 0 <= fit.walk.low <= fit.walk.high and walk < 2 * fit.walk.high
    if fit.walk.value is not None and fit.walk.sigma is not None:
        assert abs(fit.walk.value - walk) < 5 * fit.walk.sigma


@given(st.floats(1e-3, 1e3), st.floats(0.1, 10))
@settings(max_examples=10)
def test_noise_scales_with_the_unit_and_the_clock(unit: float, faster: float) -> None:
    samples = noise(np.random.default_rng(3), 40_000, 1e-3, 2e-4, 100.0)
    fit, other = fitted(samples), fitted(unit * samples, 100.0 * faster)
    assert fit.density.value is not None and fit.walk.value is not None
    assert other.density.value == pytest.approx(unit * fit.density.value / np.sqrt(faster), rel=1e-3)
    assert other.walk.value == pytest.approx(unit * fit.walk.value * np.sqrt(faster), rel=1e-2)


def test_four_hours_tell_the_walk_within_a_fifth_and_less_time_tells_less() -> None:
    samples = noise(np.random.default_rng(1), 4 * 360_000, 2e-4, 4e-6, 100.0)
    long, hour, minutes = fitted(samples), fitted(samples[:360_000]), fitted(samples[:30_000])
    assert long.walk.value == pytest.approx(4e-6, rel=0.2) and long.density.value == pytest.approx(2e-4, rel=0.01)
    assert long.walk.low < 4e-6 < long.walk.high
    widths = [(fit.walk.high - fit.walk.low) for fit in (long, hour, minutes)]
    assert widths[0] < widths[1] < widths[2]
    assert minutes.walk.value is None and minutes.walk.sigma is None and minutes.walk.high > 4e-6


def test_noise_without_a_walk_has_none() -> None:
    fit = fitted(np.random.default_rng(4).standard_normal(60_000))
    assert fit.walk.value is None and fit.walk.low == 0 and fit.flicker.value is None


def test_flicker_noise_is_told_from_a_walk_and_leaves_the_density_alone() -> None:
    rng, n = np.random.default_rng(5), 720_000
    density, instability = 1e-3, 2e-3
    f = np.fft.rfftfreq(n, 0.01)
    power = instability**2 / (2 * np.pi * np.maximum(f, f[1])) * 100 * n
    spectrum = np.sqrt(power / 2) * (rng.standard_normal(len(f)) + 1j * rng.standard_normal(len(f)))
    fit = fitted(np.fft.irfft(spectrum, n) + noise(rng, n, density, 0.0, 100.0))
    assert fit.flicker.value == pytest.approx(instability, rel=0.1)
    assert fit.density.value == pytest.approx(density, rel=0.02)


def test_a_filter_inside_the_sensor_is_left_out_and_said() -> None:
    smooth = lfilter([0.25], [1, -0.75], np.random.default_rng(6).standard_normal(600_000) * 1e-2)
    fit = fitted(np.asarray(smooth, float), 1000.0)
    assert fit.density.value == pytest.approx(1e-2 / np.sqrt(1000), rel=0.05)
    assert fit.tau_s[0] >= 0.004


def test_a_still_log_gives_densities_and_leaves_unknown_what_it_cannot_tell() -> None:
    part = part_of(calibrate_imu([still_log()]), "head")
    assert part.verdict == "partial" and [cause.code for cause in part.causes] == ["walk_unknown"]
    assert part.values["gyro_noise_density"] == pytest.approx(2e-4, rel=0.05)
    assert part.values["accel_noise_density"] == pytest.approx(1.5e-3, rel=0.05)
    assert part.values["accel_matrix"] is None and part.values["gyro_bias"] is None
    assert (part.values["gyro_random_walk"] is None) == (part.sigma["gyro_random_walk"] is None)


def test_hands_at_the_beginning_and_the_end_of_a_still_log_need_no_word() -> None:
    log = still_log()
    accel = log.accel.copy()
    accel[:300] += np.random.default_rng(0).standard_normal((300, 3))
    accel[-400:] += np.random.default_rng(1).standard_normal((400, 3))
    result = calibrate_imu([replace(log, accel=accel)])
    assert result.verdict != "refused" and result.still is not None
    assert result.still.span_s[0] >= 3.0 and result.still.span_s[1] <= 116.0
    assert result.accel_noise is not None and result.accel_noise.mean.density.value == pytest.approx(1.5e-3, rel=0.05)


def test_a_bias_that_follows_temperature_is_told_with_its_slope() -> None:
    log = still_log(300.0)
    warmth = 25.0 + 6.0 * (1 - np.exp(-log.t_s / 100.0))
    warm = replace(log, gyro=log.gyro + np.outer(warmth, [3e-3, 0.0, -1e-3]), temperature_c=warmth)
    result = calibrate_imu([warm])
    assert result.gyro_noise is not None and result.gyro_noise.per_kelvin is not None
    for (slope, sigma), truth in zip(result.gyro_noise.per_kelvin, [3e-3, 0.0, -1e-3], strict=True):
        assert abs(slope - truth) < 4 * sigma < 2e-3
    assert part_of(result, "head").conditions["temperature_c"] == pytest.approx([25.0, 30.7], abs=0.1)


def test_a_real_static_log_gives_densities_with_intervals(shared_data: Callable[[str], Path]) -> None:
    log = read_imu_log(shared_data("imu/xsens_static_noise"), LogOptions(rate_hz=100.0))
    part = part_of(calibrate_imu([log]), "head")
    assert part.verdict == "partial" and "log_mean_removed" in [cause.code for cause in part.causes]
    assert part.values["gyro_random_walk"] is None  # four minutes
    for sensor in ("gyro", "accel"):
        for axis in "xyz":
            told = part.details["noise"][sensor]["axes"][axis]["noise_density"]
            low, high = told["interval_95"]
            assert 0 < low < told["value"] < high < 1.1 * low
            # Where it falls as white noise does, the deviation itself says the same.
            curve = part.details["noise"][sensor]["axes"][axis]["allan"]
            by_eye = np.interp(0.2, curve["tau_s"], curve["deviation"]) * np.sqrt(0.2)
            assert told["value"] == pytest.approx(by_eye, rel=0.06)


def test_a_drone_in_flight_is_no_still_log(shared_data: Callable[[str], Path]) -> None:
    log = read_imu_log(shared_data("imu/euroc_imu_gt_full") / "V1_02_medium_imu.csv")
    for result in (calibrate_imu([log]), calibrate_imu(still=log)):
        assert result.verdict == "refused" and [cause.code for cause in result.causes] == ["log_not_still"]
    assert calibrate_imu(poses=log).verdict == "refused"
