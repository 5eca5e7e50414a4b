"""Automatic exposure settles, lags and stays within its limits; noise and flicker follow their physics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike

from handcap.sim import photo
from handcap.sim.exposure import ExposureParams, Flicker, SensorNoise, automatic, metered

PARAMS = ExposureParams()
NOISE = SensorNoise()


def flat(light: ArrayLike) -> np.ndarray:
    """Readings (n, 2) of pictures that are equally bright all over."""
    return np.stack([np.asarray(light, float)] * 2, axis=-1)


@given(hnp.arrays(float, st.integers(1, 60), elements=st.floats(0, 5000)))
def test_exposure_and_gain_stay_within_their_limits_and_steps(luminance: np.ndarray) -> None:
    got = automatic(PARAMS, flat(luminance))
    assert np.all((got.exposure_s >= PARAMS.shortest_s - 1e-12) & (got.exposure_s <= PARAMS.longest_s + 1e-12))
    assert np.all((got.gain >= 1) & (got.gain <= PARAMS.most_gain + 1e-9))
    rows = got.exposure_s / PARAMS.step_s
    decibels = 20 * np.log10(got.gain) / PARAMS.gain_step_db
    np.testing.assert_allclose(rows, np.rint(rows), atol=1e-9)
    np.testing.assert_allclose(decibels, np.rint(decibels), atol=1e-9)
    np.testing.assert_allclose(got.brightness, got.exposure_s / PARAMS.nominal_s * got.gain)
    assert np.all(got.gain[got.exposure_s < PARAMS.longest_s - 2 * PARAMS.step_s] < 1.2)  # time before gain


@given(st.floats(20, 2000), st.floats(20, 2000))
def test_a_change_of_light_is_mended_late_but_mended(before: float, after: float) -> None:
    luminance = np.r_[np.full(10, before), np.full(60, after)]
    got = automatic(PARAMS, flat(luminance))
    grey = luminance * got.brightness
    # Until the first picture of the new light has been seen, nothing moves.
    np.testing.assert_array_equal(got.brightness[10 : 10 + PARAMS.delay_frames], got.brightness[9])
    within = PARAMS.dead_band + 0.04  # and the steps of exposure and gain
    assert abs(grey[-1] / PARAMS.target_grey - 1) < within
    assert np.ptp(got.brightness[-20:]) == 0  # it does not swing


def test_the_darkest_room_takes_all_the_gain_there_is() -> None:
    got = automatic(PARAMS, flat(np.full(5, 0.5)))
    assert got.exposure_s[0] == pytest.approx(PARAMS.longest_s, abs=PARAMS.step_s)
    assert got.gain[0] == pytest.approx(PARAMS.most_gain, rel=0.04)


def test_a_covered_lens_leaves_the_picture_blown_out_when_it_opens() -> None:
    luminance = np.r_[np.full(20, 120.0), np.zeros(60), np.full(40, 120.0)]
    got = automatic(PARAMS, flat(luminance))
    grey = np.minimum(luminance * got.brightness, 255)
    assert grey[80] == 255 and grey[-1] < 130


def test_a_window_that_fills_a_tenth_of_the_picture_does_not_burn_out() -> None:
    picture = np.full((30, 40, 3), 60.0, np.float32)
    picture[:3] = 400.0
    got = automatic(PARAMS, [metered(PARAMS, picture)] * 40)
    assert PARAMS.highlight_grey * 0.9 < 400.0 * got.brightness[-1] < PARAMS.highlight_grey * 1.1
    picture[1:3] = 60.0  # one row is less than the share that is looked after
    picture[0, 28:] = 60.0
    got = automatic(PARAMS, [metered(PARAMS, picture)] * 40)
    assert picture.mean() * got.brightness[-1] == pytest.approx(PARAMS.target_grey, rel=0.1)


def test_a_loop_that_would_swing_is_refused() -> None:
    with pytest.raises(AssertionError):
        replace(PARAMS, response=0.9, delay_frames=4)


@pytest.mark.parametrize("gain", [1.0, 8.0])
def test_pixels_scatter_as_the_noise_model_says(gain: float) -> None:
    arriving = np.ones((200, 300), np.float32)
    for grey in (0.0, 40.0, 150.0):
        light = np.full((200, 300, 3), grey / gain, np.float32)
        light += 30 / gain  # clear of black, where half the noise is cut away
        read, shot = NOISE.read_grey(gain), NOISE.shot_grey(gain)
        picture = photo.develop(light, arriving, gain, read, np.random.default_rng(0), shot_grey=shot)
        expected = np.hypot(float(NOISE.sd(grey + 30, gain)), 1 / np.sqrt(12))
        assert picture[..., 1].std() == pytest.approx(expected, rel=0.03)


@given(st.sampled_from([100.0, 120.0]), st.floats(0, 0.5), st.floats(0, 6.28), st.floats(1e-5, 0.03))
def test_a_row_sees_the_mean_of_the_lamp_over_its_exposure(
    frequency_hz: float, depth: float, phase_rad: float, exposure_s: float
) -> None:
    flicker = Flicker(frequency_hz, depth, phase_rad)
    row_t_s = 7.0 + np.arange(5) * 2e-3
    moments = row_t_s[:, None] + (np.arange(2000) + 0.5) / 2000 * exposure_s - exposure_s / 2
    lamp = 1 + depth * np.cos(2 * np.pi * frequency_hz * moments + phase_rad)
    np.testing.assert_allclose(flicker.row_gain(row_t_s, exposure_s), lamp.mean(axis=1), atol=2e-6)


def test_whole_periods_of_exposure_see_no_flicker() -> None:
    rows = np.arange(480) * 3e-5
    assert np.ptp(Flicker(100.0, 0.3).row_gain(rows, 0.02)) < 1e-6
    assert np.ptp(Flicker(100.0, 0.3).row_gain(rows, 0.002)) > 0.5
