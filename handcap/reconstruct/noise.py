"""How noisy the tracks are, measured from what the solution leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.geometry import Array
from handcap.reconstruct.landmarks import Observations

_LEAST_SIGMA_PX = 0.1  # below it the lens model, not the tracker, sets the error
_LONG_TRACK = 8  # views; the fitted point eats the correlation of shorter ones


@dataclass(frozen=True, slots=True)
class PixelNoise:
    """Noise of one coordinate of one observation.

    Attributes:
        sigma_px: standard deviation, corrected for the parameters fitted.
        correlation: of neighbouring residuals along a track.
        effective_px: the sigma of independent errors that would say as little as these correlated ones do.
    """

    sigma_px: float
    correlation: float
    effective_px: float


def pixel_noise(seen: Observations, residual: Array, n_states: int) -> PixelNoise:
    """Noise from the residuals (k, 2), px, of observations sorted by track, then keyframe."""
    tracks, count = np.unique(seen.track, return_counts=True)
    freedom = 2 * len(seen) - 3 * len(tracks) - 6 * n_states
    sigma = float(np.sqrt((residual**2).sum() / max(freedom, 0.2 * residual.size)))
    long = np.repeat(count >= _LONG_TRACK, count)
    same = (seen.track[1:] == seen.track[:-1]) & long[1:]
    power = float((residual[long] ** 2).mean()) if long.any() else 0.0
    correlation = float((residual[1:] * residual[:-1])[same].mean() / power) if same.any() and power > 0 else 0.0
    correlation = float(np.clip(correlation, 0.0, 0.9))
    sigma = max(sigma, _LEAST_SIGMA_PX)
    # A first-order process with this correlation carries (1 - r) / (1 + r) of the information.
    return PixelNoise(sigma, correlation, sigma * float(np.sqrt((1 + correlation) / (1 - correlation))))
