"""How a camera sets its exposure and gain, what noise that costs, and how lamps on the mains flicker.

Light of 255 gives a grey level of 255 at the nominal exposure and a gain of 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.geometry import Array


@dataclass(frozen=True, slots=True)
class ExposureParams:
    """Automatic exposure of a small camera module.

    Attributes:
        target_grey: mean it steers for, of 255.
        highlight_grey, highlight_share: it stays darker where this share of a picture would be brighter than that.
        nominal_s: exposure at which, with gain 1, grey equals light.
        shortest_s, longest_s: limits of exposure; the longest keeps motion blur in bounds.
        step_s: exposure comes in whole sensor rows.
        most_gain: analogue gain runs from 1 to this.
        gain_step_db: analogue gain comes in steps.
        delay_frames: settings worked out from one picture act on the picture this much later.
        response: share of the error, in stops, mended per frame.
        dead_band: errors below this share are left alone, lest the picture breathe.
    """

    target_grey: float = 110.0
    highlight_grey: float = 215.0
    highlight_share: float = 0.03
    nominal_s: float = 0.008
    shortest_s: float = 0.0001
    longest_s: float = 0.010
    step_s: float = 3e-5
    most_gain: float = 16.0
    gain_step_db: float = 0.3
    delay_frames: int = 2
    response: float = 0.2
    dead_band: float = 0.05

    def __post_init__(self) -> None:
        assert 0 < self.step_s <= self.shortest_s <= self.longest_s and self.most_gain >= 1
        assert self.delay_frames >= 1
        # Beyond this a loop with that delay swings instead of settling.
        assert 0 < self.response * (2 * self.delay_frames + 1) < np.pi


@dataclass(frozen=True, eq=False, slots=True)
class Exposures:
    """What the camera chose.

    Attributes:
        exposure_s: (n,) per picture.
        gain: (n,) analogue gain.
        brightness: (n,) grey per light.
    """

    exposure_s: Array
    gain: Array
    brightness: Array


def metered(params: ExposureParams, picture: NDArray[np.float32]) -> Array:
    """(2,) what a meter reads of a picture (h, w, 3): mean light, and the light of its highlights."""
    return np.array([picture.mean(), np.quantile(picture.max(axis=2), 1 - params.highlight_share)], float)


def automatic(params: ExposureParams, light: ArrayLike) -> Exposures:
    """Exposure and gain of consecutive pictures.

    Args:
        params: of the camera.
        light: (n, 2) of each picture, see `metered`; NaN or 0 where the lens is covered.

    Returns:
        One setting per picture; at the first, the loop had settled long before.
    """
    light = np.nan_to_num(np.asarray(light, float))
    n = len(light)
    exposure_s, gain = np.empty(n), np.empty(n)
    brightest = params.longest_s / params.nominal_s * params.most_gain
    dimmest = params.shortest_s / params.nominal_s
    wanted = float(np.clip(brighter_by(params, np.maximum(light[0], 1e-6)), dimmest, brightest)) if n else 1.0
    brightness = np.empty(n)
    for k in range(n):
        seen = k - params.delay_frames
        if seen >= 0:
            # A blown-out picture reads 255 however bright it is: the way back from glare is slow.
            error = brighter_by(params, np.clip(light[seen] * brightness[seen], 1.0, 255.0))
            if abs(error - 1) > params.dead_band:
                wanted = float(np.clip(wanted * error**params.response, dimmest, brightest))
        exposure_s[k], gain[k] = _split(params, wanted)
        brightness[k] = exposure_s[k] / params.nominal_s * gain[k]
    return Exposures(exposure_s, gain, brightness)


def brighter_by(params: ExposureParams, grey: Array) -> float:
    """How much brighter a picture ought to be that is metered (2,)."""
    return min(params.target_grey / float(grey[0]), params.highlight_grey / float(grey[1]))


def _split(params: ExposureParams, wanted: float) -> tuple[float, float]:
    """Exposure first, gain for what it cannot give; both in the steps there are."""
    rows = np.clip(
        round(wanted * params.nominal_s / params.step_s),
        np.ceil(params.shortest_s / params.step_s - 1e-9),
        np.floor(params.longest_s / params.step_s + 1e-9),
    )
    exposure_s = float(rows * params.step_s)
    decibels = 20 * np.log10(max(wanted * params.nominal_s / exposure_s, 1.0))
    most = np.floor(20 * np.log10(params.most_gain) / params.gain_step_db + 1e-9)
    steps = min(round(decibels / params.gain_step_db), most)
    return exposure_s, float(10 ** (steps * params.gain_step_db / 20))


@dataclass(frozen=True, slots=True)
class SensorNoise:
    """Noise of a pixel, in electrons before the gain.

    Attributes:
        full_well_e: electrons that make 255 at gain 1; about that of a 3 µm pixel.
        read_e: standard deviation in the dark.
    """

    full_well_e: float = 10_000.0
    read_e: float = 6.0

    def read_grey(self, gain: float) -> float:
        """Standard deviation in the dark."""
        return self.read_e * gain * 255 / self.full_well_e

    def shot_grey(self, gain: float) -> float:
        """Variance per grey level of signal: photons come as they like."""
        return gain * 255 / self.full_well_e

    def sd(self, grey: ArrayLike, gain: float) -> Array:
        """Standard deviation (...) of pixels of these grey levels (...)."""
        signal = np.maximum(np.asarray(grey, float), 0.0)
        return np.sqrt(self.read_grey(gain) ** 2 + self.shot_grey(gain) * signal)


@dataclass(frozen=True, slots=True)
class Flicker:
    """Lamps on the mains.

    Attributes:
        frequency_hz: of the light, twice that of the mains: 100 or 120.
        depth: share by which brightness swings about its mean; 0.1 for a cheap LED, 0.3 for an old tube.
        phase_rad: at session time 0.
    """

    frequency_hz: float = 100.0
    depth: float = 0.1
    phase_rad: float = 0.0

    def row_gain(self, row_t_s: ArrayLike, exposure_s: float) -> NDArray[np.float32]:
        """Mean brightness (h,) over the exposure of each row, whose middles are at (h,) s; 1 is the lamp's mean.

        An exposure of whole periods sees no flicker, a short one sees bands.
        """
        angle = 2 * np.pi * self.frequency_hz * np.asarray(row_t_s, float) + self.phase_rad
        blurred = self.depth * np.sinc(self.frequency_hz * exposure_s)
        return (1 + blurred * np.cos(angle)).astype(np.float32)
