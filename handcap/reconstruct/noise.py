"""How noisy the tracks are, measured from what the solution leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.geometry import Array
from handcap.reconstruct.landmarks import Observations

# Share (as an exponent) of that loss that the solver's weights take on. 0 fits slow errors best left to the IMU's slow
# side, 1 gives away what neighbouring keyframes know; the covariance accounts for either.
_SOLVER_SHARE = 0.5
_LEAST_SIGMA_PX = 0.1  # below it the lens model, not the tracker, sets the error
_LONG_TRACK = 8  # views; the fitted point eats the correlation of shorter ones
_MOST_CORRELATION = 0.93  # beyond, a track says once what it says at all
_PRIOR_VIEWS = 6.0  # how many views' worth the typical track counts in judging a single one


@dataclass(frozen=True, eq=False, slots=True)
class PixelNoise:
    """Noise of one coordinate of one observation.

    Attributes:
        typical_px: standard deviation in the typical track, corrected for the parameters fitted.
        correlation: of neighbouring residuals along a track, each in its track's sigma.
        track_px: (m,) by track, ascending ids: its standard deviation.
    """

    typical_px: float
    correlation: float
    track_px: Array

    @property
    def variance_factor(self) -> float:
        """How much larger the variance of slow errors is than that of independent ones: a first-order process with
        this correlation carries (1 - r) / (1 + r) of the information."""
        return (1 + self.correlation) / (1 - self.correlation)

    @property
    def solver_factor(self) -> float:
        """The part of `variance_factor` that the solver's sigmas hold already."""
        return self.variance_factor**_SOLVER_SHARE

    @property
    def solver_px(self) -> Array:
        """(m,) sigma by track for the solver."""
        return self.track_px * np.sqrt(self.solver_factor)


def pixel_noise(seen: Observations, residual: Array) -> PixelNoise:
    """Noise from the residuals (k, 2), px, of observations sorted by track, then keyframe.

    Tracks differ: a printed corner stays put, one where a near edge crosses a far one slides. Each track's variance is
    its own mean square shrunk towards the typical one (the posterior mean under an inverse-gamma prior).
    """
    tracks, start, count = np.unique(seen.track, return_index=True, return_counts=True)
    if not len(tracks):
        return PixelNoise(_LEAST_SIGMA_PX, 0.0, np.zeros(0))
    freedom = 2.0 * count - 3.0
    power = np.add.reduceat((residual**2).sum(axis=1), start)
    variance = power / freedom
    typical = max(float(np.sqrt(np.median(variance))), _LEAST_SIGMA_PX)
    own = (2 * _PRIOR_VIEWS * typical**2 + freedom * variance) / (2 * _PRIOR_VIEWS + freedom)
    scaled = residual / np.sqrt(np.repeat(np.maximum(variance, 1e-6), count))[:, None]
    long = np.repeat(count >= _LONG_TRACK, count)
    same = (seen.track[1:] == seen.track[:-1]) & long[1:]
    found = float((scaled[1:] * scaled[:-1])[same].mean()) if same.any() else 0.0
    # A correlation measured about a fitted mean over n views comes out too small by (1 + 4 r) / n (Kendall 1954).
    per_view = float((1 / np.repeat(count, count)[long]).mean()) if same.any() else 0.0
    correlation = float(np.clip(found + (1 + 4 * found) * per_view, 0.0, _MOST_CORRELATION))
    return PixelNoise(typical, correlation, np.maximum(np.sqrt(own), _LEAST_SIGMA_PX))
