"""Noise density, bias instability and random walk of a sensor at rest, with intervals.

Values of the Allan deviation at neighbouring tau share their samples, so a line fitted through them has no honest
interval. The same model is fitted to the likelihood of the samples instead. White noise plus random walk is
decorrelated exactly by the discrete cosine transform (type II): its differences are a moving average of order one,
whose covariance, tridiagonal and Toeplitz, the sines diagonalise. With N white noise samples of variance N²/dt and
steps of the walk of variance K² dt, coefficient j of n has the variance

    N²/dt + K² dt / (2 sin(pi j / 2n))² + B² / (2 sin(pi j / 2n)),

the last for flicker noise, whose spectrum is B² / (2 pi f) (IEEE Std 952-1997, annex C), which the transform
decorrelates nearly. Neighbouring coefficients are summed to bands, so that an hour fits in a hundred numbers and each
band shows whether the model holds there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.optimize import brentq, nnls
from scipy.stats import chi2
from scipy.stats import t as student

from handcap.geometry import Array

_LEAST_FEW = 8.0  # at the edge of zero an interval has one end only, and is wide enough
_FLICKER = 2 * np.log(2) / np.pi  # Allan variance of flicker noise over B²


@dataclass(frozen=True, slots=True)
class NoiseParams:
    """How the noise is fitted.

    Attributes:
        band_ratio: of a band's ends. Within 10 % the spectrum is even.
        band_single: so many slowest coefficients stand alone: there the walk falls steeply.
        top_off: by how much the fastest octave may miss the model before it is left out; sensors filter there.
        top_octaves: so many may be left out.
        flicker_gain: in log-likelihood that flicker noise must bring to be in the model; 5.4 is one case in 2000.
        scatter_odds: bands that scatter more than one case in so many widen the intervals by as much as they do.
        walk_known: share of a random walk that its sigma may be, if it is to be stated. Beyond, the interval is so
            lopsided that one number misleads.
        walk_s: shortest log that may state a walk or a flicker: a sensor just laid down settles for minutes.
        confidence: of the intervals.
    """

    band_ratio: float = 1.1
    band_single: int = 10
    top_off: float = 0.05
    top_octaves: int = 8
    flicker_gain: float = 5.4
    scatter_odds: float = 1000.0
    walk_known: float = 0.25
    walk_s: float = 600.0
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval; value and sigma are None where only the upper end `high` is known."""

    value: float | None
    sigma: float | None
    low: float
    high: float


@dataclass(frozen=True, eq=False, slots=True)
class Bands:
    """The power of a log by frequency.

    Attributes:
        hz: (k,) middle.
        count: (k,) coefficients, or degrees of freedom.
        power: (k,) mean square.
        shapes: (k, 3) expected power of unit white noise, flicker and walk.
        rate_hz: of the samples.
        seconds: length of the log.
    """

    hz: Array
    count: Array
    power: Array
    shapes: Array
    rate_hz: float
    seconds: float


@dataclass(frozen=True, eq=False, slots=True)
class NoiseFit:
    """What the noise of one axis is, or of the mean over axes.

    Attributes:
        density: N, unit/√Hz.
        walk: K, unit/s/√Hz.
        flicker: B, unit; the lowest Allan deviation it would give by itself is 0.664 B.
        scatter: of the bands about the model over what chance gives, as a factor on sigma; 1 or more.
        tau_s: averaging times that the fit used.
        coefficients: (3,) variances of unit shapes: white, flicker, walk.
    """

    density: Estimate
    walk: Estimate
    flicker: Estimate
    scatter: float
    tau_s: tuple[float, float]
    coefficients: Array
    rate_hz: float

    def variances(self, tau_s: Array) -> Array:
        """(k, 3) Allan variance of white noise, flicker and walk at these times."""
        white, flicker, walk = self.coefficients
        dt = 1 / self.rate_hz
        return np.stack(
            [white * dt / tau_s, np.full(len(tau_s), flicker * _FLICKER), walk / dt * tau_s / 3],
            axis=1,
        )


def bands(samples: Array, rate_hz: float, params: NoiseParams) -> Bands:
    """Of (n,) evenly spaced samples, n >= 100."""
    n = len(samples)
    power = np.asarray(dct(samples - samples.mean(), type=2, norm="ortho"), float)[1:] ** 2
    edges = [*range(1, min(params.band_single, n) + 1)]
    while edges[-1] < n:
        edges.append(min(max(edges[-1] + 1, int(edges[-1] * params.band_ratio)), n))
    start = np.array(edges[:-1])
    count = np.diff(edges).astype(float)
    slowness = 1 / (2 * np.sin(np.pi * np.arange(1, n) / (2 * n)))

    def mean(values: Array) -> Array:
        return np.add.reduceat(values, start - 1) / count

    shapes = np.stack([np.ones(len(start)), mean(slowness), mean(slowness**2)], axis=1)
    hz = np.sqrt(start * (start + count)) * rate_hz / (2 * n)
    return Bands(hz, count, mean(power), shapes, rate_hz, n / rate_hz)


def mean_over_axes(axes: Sequence[Bands], fits: Sequence[NoiseFit]) -> Bands:
    """Bands of the mean variance over axes of one log; a band of unequal axes has fewer degrees of freedom."""
    each = np.stack([b.shapes @ fit.coefficients for b, fit in zip(axes, fits, strict=True)])
    count = axes[0].count * each.sum(axis=0) ** 2 / (each**2).sum(axis=0)
    first = axes[0]
    return Bands(first.hz, count, np.mean([b.power for b in axes], axis=0), first.shapes, first.rate_hz, first.seconds)


def fit_noise(seen: Bands, params: NoiseParams) -> NoiseFit:
    """The likeliest noise, and what else the log would allow."""
    cut = _fastest(seen, params)
    kept = seen.hz < seen.rate_hz / 2 / 2**cut * (1 + 1e-9)
    count, power, shapes = seen.count[kept], seen.power[kept], seen.shapes[kept]
    used = np.array([True, False, True])
    best = _likeliest(count, power, shapes, used)
    with_flicker = _likeliest(count, power, shapes, np.array([True, True, True]))
    if _loss(count, power, shapes, best) - _loss(count, power, shapes, with_flicker) > params.flicker_gain:
        used, best = np.array([True, True, True]), with_flicker
    scatter = _scatter(count, power, shapes @ best, int(used.sum()), params)
    dt = 1 / seen.rate_hz

    def estimate(which: int, to_variance: float, least_known: float) -> Estimate:
        """Of the root of coefficient times `to_variance`."""
        low, high = _interval(count, power, shapes, used, best, which, scatter, params.confidence)
        scale = float(np.sqrt(to_variance))
        sigma = _sigma(count, shapes, used, best, which) * scatter
        root = float(np.sqrt(best[which]))
        known = root > 0 and low > 0 and sigma / (2 * root**2) < least_known
        sigma_root = sigma / (2 * root) * scale if root > 0 else None
        ends = float(np.sqrt(low) * scale), float(np.sqrt(high) * scale)
        return Estimate(root * scale if known else None, sigma_root if known else None, *ends)

    slow_known = params.walk_known if seen.seconds >= params.walk_s * (1 - 1e-6) else 0.0
    return NoiseFit(
        density=estimate(0, dt, np.inf),
        walk=estimate(2, 1 / dt, slow_known),
        flicker=estimate(1, 1.0, slow_known) if used[1] else Estimate(None, None, 0.0, np.nan),
        scatter=scatter,
        tau_s=(2**cut * dt, seen.seconds / 2),
        coefficients=best,
        rate_hz=seen.rate_hz,
    )


def _fastest(seen: Bands, params: NoiseParams) -> int:
    """How many of the fastest octaves are left out because the sensor's own filter shaped them."""
    for cut in range(params.top_octaves):
        top = seen.rate_hz / 2 / 2**cut
        octave, slower = (seen.hz > top / 2) & (seen.hz < top * (1 + 1e-9)), seen.hz <= top / 2
        if slower.sum() < 2 * params.band_single or seen.count[slower].sum() < 500:
            return cut
        arrays = (seen.count[slower], seen.power[slower], seen.shapes[slower])
        model = seen.shapes @ _likeliest(*arrays, np.array([True, True, True]))
        ratio = float(np.average(seen.power[octave] / model[octave], weights=seen.count[octave]))
        chance = np.sqrt(2 / seen.count[octave].sum() + 2 / seen.count[slower].sum())
        if abs(ratio - 1) < max(params.top_off, 3 * chance):
            return cut
    return params.top_octaves


def _loss(count: Array, power: Array, shapes: Array, coefficients: Array) -> float:
    """Negative log-likelihood of band powers, each a sum of squares of equal normal numbers."""
    model = np.maximum(shapes @ coefficients, 1e-300)
    return float(0.5 * np.sum(count * (np.log(model) + power / model)))


def _likeliest(
    count: Array, power: Array, shapes: Array, used: NDArray[np.bool_], fixed: tuple[int, float] | None = None
) -> Array:
    """(3,) coefficients, none negative, by Fisher scoring; those not `used` are zero, one may be `fixed`."""
    free = np.flatnonzero(used) if fixed is None else np.array([k for k in np.flatnonzero(used) if k != fixed[0]])
    held = np.zeros(3)
    if fixed is not None:
        held[fixed[0]] = fixed[1]
    best = held.copy()
    best[free] = np.median(power) / np.median(shapes[:, free], axis=0) / len(free)
    loss = _loss(count, power, shapes, best)
    for _ in range(200):
        model = np.maximum(shapes @ best, 1e-300)
        weight = np.sqrt(count) / model
        A = shapes[:, free] * weight[:, None]
        size = np.linalg.norm(A, axis=0)
        step = held.copy()
        step[free] = nnls(A / size, (power - shapes @ held) * weight)[0] / size
        length = 1.0
        while length > 1e-3:
            tried = best + length * (step - best)
            better = _loss(count, power, shapes, tried)
            if better <= loss:
                break
            length /= 2
        else:
            return best
        done = loss - better < 1e-9 * max(1.0, abs(loss) * 1e-6)
        best, loss = tried, better
        if done:
            return best
    return best


def _sigma(count: Array, shapes: Array, used: NDArray[np.bool_], best: Array, which: int) -> float:
    """Of one coefficient, from the expected information."""
    J = shapes[:, used] / np.maximum(shapes @ best, 1e-300)[:, None]
    size = np.linalg.norm(J, axis=0)
    covariance = np.linalg.pinv((J / size).T @ ((J / size) * (count / 2)[:, None])) / np.outer(size, size)
    place = int(np.flatnonzero(np.flatnonzero(used) == which)[0])
    return float(np.sqrt(max(covariance[place, place], 0.0)))


def _interval(
    count: Array,
    power: Array,
    shapes: Array,
    used: NDArray[np.bool_],
    best: Array,
    which: int,
    scatter: float,
    confidence: float,
) -> tuple[float, float]:
    """Values of one coefficient that the profile likelihood allows."""
    least = _loss(count, power, shapes, best)
    sigma = max(_sigma(count, shapes, used, best, which) * scatter, 1e-12 * float(best.max()))
    # A walk is told by a handful of slow coefficients: Student's quantile for as many, not the normal one.
    few = max(2 * float(best[which] / sigma) ** 2, _LEAST_FEW)
    allowed = 0.5 * float(student.isf((1 - confidence) / 2, few)) ** 2 * scatter**2

    def excess(value: float) -> float:
        others = _likeliest(count, power, shapes, used, (which, value))
        return _loss(count, power, shapes, others) - least - allowed

    high = float(best[which]) + 2 * sigma
    while excess(high) < 0:
        high = float(best[which]) + 2 * (high - float(best[which]))

    def crossing(a: float, b: float) -> float:
        found: Any = brentq(excess, a, b, xtol=1e-4 * sigma)
        return float(found)

    middle = float(best[which])
    return 0.0 if excess(0.0) < 0 else crossing(0.0, middle), crossing(middle, high)


def _scatter(count: Array, power: Array, model: Array, fitted: int, params: NoiseParams) -> float:
    """Of the bands about the model over chance; 1 as long as chance may have done it."""
    # Log-likelihood ratio of each band against its own free power: chi-square with one degree of freedom each.
    ratio = power / model
    excess = float(np.sum(count * (ratio - 1 - np.log(ratio))))
    # Bartlett's correction: the expectation for a band of c coefficients is 1 + 1/(3c).
    expected = float(np.sum(1 + 1 / (3 * count))) - fitted
    freedom = max(len(count) - fitted, 1)
    return (
        float(np.sqrt(excess / expected))
        if excess > chi2.isf(1 / params.scatter_odds, freedom) * expected / freedom
        else 1.0
    )


def slope_on(samples: Array, driver: Array, fit: NoiseFit) -> tuple[float, float]:
    """How much samples (n,) change per unit of a slow driver (n,), temperature say, and its sigma under this noise."""
    c, d = (np.asarray(dct(x - x.mean(), type=2, norm="ortho"), float)[1:] for x in (samples, driver))
    slowness = 1 / (2 * np.sin(np.pi * np.arange(1, len(samples)) / (2 * len(samples))))
    weight = 1 / (np.stack([np.ones(len(c)), slowness, slowness**2], axis=1) @ fit.coefficients)
    information = float(np.sum(weight * d * d))
    return float(np.sum(weight * d * c)) / information, fit.scatter / float(np.sqrt(information))
