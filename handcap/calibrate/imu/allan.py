"""Overlapping Allan deviation of a rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from handcap.geometry import Array

Slope = Literal["white", "flicker", "walk"]


@dataclass(frozen=True, eq=False, slots=True)
class AllanCurve:
    """Attributes:
    m: (k,) samples averaged.
    tau_s: (k,) over how long.
    deviation: (k,) in the unit of the samples.
    """

    m: NDArray[np.int64]
    tau_s: Array
    deviation: Array


def allan(samples: Array, rate_hz: float, per_decade: int = 10) -> AllanCurve:
    """Overlapping Allan deviation (IEEE Std 952-1997, annex C) of (n,) evenly spaced samples, n >= 9.

    Up to a third of the length, where it still means something.
    """
    phase = np.concatenate([[0.0], np.cumsum(samples - samples.mean())])
    largest = len(samples) // 3
    count = int(np.log10(largest) * per_decade) + 1
    m = np.unique(np.rint(np.geomspace(1, largest, count)).astype(np.int64))
    variance = np.array([_variance(phase, int(k)) for k in m])
    return AllanCurve(m, m / rate_hz, np.sqrt(variance))


def _variance(phase: Array, m: int) -> float:
    second = phase[2 * m :] - 2 * phase[m:-m] + phase[: -2 * m]
    return float(np.mean(second * second)) / (2.0 * m * m)


def freedom(m: Array, samples: int, slope: Slope) -> Array:
    """(k,) equivalent degrees of freedom of the overlapping estimate.

    Howe, Allan & Barnes 1981; NIST Special Publication 1065 (2008), table 5. `slope` is the noise that rules at this m.
    """
    N = samples + 1.0
    if slope == "white":
        return (3 * (N - 1) / (2 * m) - 2 * (N - 2) / N) * 4 * m**2 / (4 * m**2 + 5)
    if slope == "flicker":
        return np.where(m == 1, 2 * (N - 2) ** 2 / (2.3 * N - 4.9), 5 * N**2 / (4 * m * (N + 3 * m)))
    return (N - 2) / m * ((N - 1) ** 2 - 3 * m * (N - 1) + 4 * m**2) / (N - 3) ** 2


def interval(deviation: Array, edf: Array, confidence: float = 0.95) -> tuple[Array, Array]:
    """Lower and upper end (k,) of the interval that holds the true deviation."""
    edf = np.maximum(edf, 1.0)
    tail = (1 - confidence) / 2
    return deviation * np.sqrt(edf / chi2.ppf(1 - tail, edf)), deviation * np.sqrt(edf / chi2.ppf(tail, edf))
