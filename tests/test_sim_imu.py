"""The virtual IMU does to the truth exactly what it says it did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from handcap import geometry
from handcap.geometry import GRAVITY_M_S2, Array
from handcap.sim import imu
from handcap.sim.motion import PoseCurve
from handcap.types import ImuModel

MODEL = ImuModel(200.0, 1.7e-4, 2.0e-3, 1.9e-5, 3.0e-3)
T_NS = np.arange(1200, dtype=np.int64) * 5_000_000
NOISELESS = replace(imu.RAW_PART, noise_scale=0.0)


def moving(amplitude: float = 0.1) -> PoseCurve:
    steps = np.random.default_rng(3).normal(0, amplitude, (40, 6))
    return PoseCurve.through_controls(0.0, 0.2, geometry.se3_exp(steps))


def record(errors: imu.ImuErrors, amplitude: float = 0.1, seed: int = 1) -> imu.ImuRecording:
    return imu.record(moving(amplitude), MODEL, errors, T_NS, np.random.default_rng(seed))


def explained(got: imu.ImuRecording, rate: Array, force: Array) -> tuple[Array, Array]:
    """Gyroscope and accelerometer as the recording's own matrices and biases predict them."""
    gyro = rate @ got.gyro_matrix.T + force @ got.gyro_g_sensitivity.T + got.gyro_bias
    return gyro, force @ got.accel_matrix.T + got.accel_bias


def test_a_perfect_part_tells_the_truth() -> None:
    rate, force = imu.exact(moving(), T_NS)
    got = record(imu.PERFECT)
    np.testing.assert_array_equal(got.samples.gyro_imu, rate)
    np.testing.assert_array_equal(got.samples.accel_imu, force)
    assert not got.saturated.any()


def test_a_raw_part_is_explained_by_its_true_matrices_to_half_a_count() -> None:
    got = record(NOISELESS)
    gyro, accel = explained(got, *imu.exact(moving(), T_NS))
    assert not got.saturated.any()
    for value, predicted, range_ in (
        (got.samples.gyro_imu, gyro, imu.RAW_PART.gyro_range_rad_s),
        (got.samples.accel_imu, accel, imu.RAW_PART.accel_range_m_s2),
    ):
        count = range_ / 2**15
        assert np.abs(value - predicted).max() <= count / 2 * (1 + 1e-9)
        np.testing.assert_allclose(value / count, np.rint(value / count), atol=1e-9)
    # The errors are there: leaving any of them out explains less.
    assert np.abs(got.gyro_matrix - np.eye(3)).max() > 0.005
    assert np.abs(imu.exact(moving(), T_NS)[1] @ got.gyro_g_sensitivity.T).max() > 1e-4


def test_specimens_scatter_as_their_datasheet_says() -> None:
    parts = [record(NOISELESS, seed=seed) for seed in range(200)]
    off = np.array([part.gyro_matrix - np.eye(3) for part in parts])
    diagonal = off[:, np.eye(3, dtype=bool)]
    assert np.std(diagonal) == pytest.approx(0.005, rel=0.1)
    assert np.std(off[:, ~np.eye(3, dtype=bool)]) == pytest.approx(0.0125, rel=0.1)
    assert np.std([part.accel_bias[0] for part in parts]) == pytest.approx(0.02 * GRAVITY_M_S2, rel=0.1)


def test_a_hard_shake_sticks_at_full_scale_and_is_marked() -> None:
    errors = replace(NOISELESS, accel_range_m_s2=2 * GRAVITY_M_S2)
    got = record(errors, amplitude=0.4)
    rate, force = imu.exact(moving(0.4), T_NS)
    beyond = np.any(np.abs(explained(got, rate, force)[1]) > errors.accel_range_m_s2, axis=-1)
    assert 10 < beyond.sum() < len(beyond)
    assert got.saturated[beyond].all()
    assert np.abs(got.samples.accel_imu).max() <= errors.accel_range_m_s2
    within = np.all(np.abs(explained(got, rate, force)[1]) < 0.999 * errors.accel_range_m_s2, axis=-1)
    assert not got.saturated[within & np.all(np.abs(got.samples.gyro_imu) < 30, axis=-1)].any()


def test_counts_without_a_range_are_refused() -> None:
    with pytest.raises(AssertionError, match="counts need a range"):
        imu.ImuErrors(bits=16)


def test_new_errors_that_are_off_leave_every_byte_as_before() -> None:
    got = record(imu.ImuErrors())
    data = got.samples.gyro_imu.tobytes() + got.samples.accel_imu.tobytes() + got.gyro_bias.tobytes()
    known = imu.exact(moving(), T_NS)
    # Biases and white noise drawn in the old order, and nothing else.
    rng, dt_s = np.random.default_rng(1), 1.0 / MODEL.rate_hz
    parts = []
    for start_sd, walk in ((0.01, MODEL.gyro_random_walk), (0.1, MODEL.accel_random_walk)):
        steps = rng.standard_normal((len(T_NS), 3)) * walk * np.sqrt(dt_s)
        steps[0] = rng.standard_normal(3) * start_sd
        parts.append(np.cumsum(steps, axis=0))
    white = [
        rng.standard_normal((len(T_NS), 3)) * density / np.sqrt(dt_s)
        for density in (MODEL.gyro_noise_density, MODEL.accel_noise_density)
    ]
    before = [truth + bias + noise for truth, bias, noise in zip(known, parts, white, strict=True)]
    expected = before[0].tobytes() + before[1].tobytes() + parts[0].tobytes()
    assert data == expected
