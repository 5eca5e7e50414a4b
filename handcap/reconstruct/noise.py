"""How noisy the tracks are, measured from what the solution leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.geometry import Array
from handcap.reconstruct.landmarks import Observations

# How much of the variance factor the solver's weights take on, as its exponent. With 0 the solver believes slides of
# features and bends gravity to them (EuRoC); with 1 it forgets that neighbouring keyframes are seen well, and scale
# suffers (virtual rig). The covariance accounts for either.
_SOLVER_SHARE = 0.5
_LEAST_SIGMA_PX = 0.1  # below it the lens model, not the tracker, sets the error
_LONG_TRACK = 8  # views; the fitted point eats the correlation of shorter ones
_PRIOR_VIEWS = 6.0  # how many views' worth the typical track counts in judging a single one


@dataclass(frozen=True, eq=False, slots=True)
class PixelNoise:
    """Noise of one coordinate of one observation.

    Attributes:
        typical_px: standard deviation in the typical track, corrected for the parameters fitted.
        correlation: of neighbouring residuals along a track, each in its track's sigma.
        track_px: (m,) by track, ascending ids: its standard deviation.
        variance_factor: how much larger the variance of slow errors is than that of independent ones.
    """

    typical_px: float
    correlation: float
    track_px: Array
    variance_factor: float

    @property
    def solver_factor(self) -> float:
        """The part of `variance_factor` that the solver's sigmas hold already."""
        return self.variance_factor**_SOLVER_SHARE

    @property
    def solver_px(self) -> Array:
        """(m,) sigma by track for the solver."""
        return self.track_px * np.sqrt(self.solver_factor)


def pixel_noise(seen: Observations, residual: Array) -> PixelNoise:
    """Noise from the residuals (k, 2), px, of observations sorted as `Observations` says.

    Tracks differ: a printed corner stays put, one where a near edge crosses a far one slides. Each track's variance is
    its own mean square shrunk towards the typical one (the posterior mean under an inverse-gamma prior).
    """
    tracks, start, count = np.unique(seen.track, return_index=True, return_counts=True)
    if not len(tracks):
        return PixelNoise(_LEAST_SIGMA_PX, 0.0, np.zeros(0), 1.0)
    freedom = 2.0 * count - 3.0
    power = np.add.reduceat((residual**2).sum(axis=1), start)
    variance = power / freedom
    typical = max(float(np.sqrt(np.median(variance))), _LEAST_SIGMA_PX)
    own = (2 * _PRIOR_VIEWS * typical**2 + freedom * variance) / (2 * _PRIOR_VIEWS + freedom)
    scaled = residual / np.sqrt(np.repeat(np.maximum(variance, 1e-6), count))[:, None]
    long = np.repeat(count >= _LONG_TRACK, count)
    same = (seen.track[1:] == seen.track[:-1]) & (seen.camera[1:] == seen.camera[:-1]) & long[1:]
    found = float((scaled[1:] * scaled[:-1])[same].mean()) if same.any() else 0.0
    # A correlation measured about a fitted mean over n views comes out too small by (1 + 4 r) / n (Kendall 1954).
    per_view = float((1 / np.repeat(count, count)[long]).mean()) if same.any() else 0.0
    correlation = float(np.clip(found + (1 + 4 * found) * per_view, 0.0, 0.99))
    # A first-order process with this correlation carries (1 - r) / (1 + r) of the information; but a track of n views
    # that err alike still says once what it says, so never less than 1 / n.
    views = float((count.astype(float) ** 2).sum() / count.sum())
    factor = float(np.clip((1 + correlation) / (1 - correlation), 1.0, views))
    return PixelNoise(typical, correlation, np.maximum(np.sqrt(own), _LEAST_SIGMA_PX), factor)
