"""Smoothing over a stretch from both sides: nothing lags, outliers do not pull."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

from handcap.clock import seconds
from handcap.geometry import Array
from handcap.types import Stamps


def stretches(t_ns: Stamps, seen: NDArray[np.bool_], longest_gap_s: float) -> list[NDArray[np.intp]]:
    """Rows that belong together: from a seen row to a seen row, gaps inside no longer than `longest_gap_s`."""
    rows = np.flatnonzero(seen)
    if not len(rows):
        return []
    cuts = np.flatnonzero(np.diff(t_ns[rows]) > longest_gap_s * 1e9) + 1
    return [np.arange(part[0], part[-1] + 1) for part in np.split(rows, cuts)]


def smoothed(t_ns: Stamps, p: Array, cov: Array, jerk_m_s3: float, rounds: int = 4) -> tuple[Array, Array]:
    """The path of least jerk that the samples allow.

    Minimises Σ w_i (x_i − p_i)ᵀ cov_i⁻¹ (x_i − p_i) + Σ |jerk_i|² / jerk_m_s3², jerk by third divided differences, so a
    constant acceleration passes unchanged and a minimum-jerk motion keeps its time. w: Cauchy's, at three sigma.

    Args:
        t_ns: (n,).
        p: (n, 3) m; NaN where there is no sample.
        cov: (n, 3, 3) m².

    Returns:
        (n, 3) m; (n,) weights of the last round, 0 where there was no sample.
    """
    n = len(t_ns)
    seen: NDArray[np.bool_] = np.asarray(np.isfinite(p).all(axis=1), bool)
    if n < 5 or seen.sum() < 4:
        t = t_ns.astype(float)
        filled = np.stack([np.interp(t, t[seen], column[seen]) for column in p.T], axis=1)
        return filled, seen.astype(float)
    D = _jerk_rows(seconds(t_ns, int(t_ns[0])))
    smooth = np.zeros((10, 3 * n))  # lower band: 3 rows of 3 axes below the diagonal
    for offset in range(4):
        products = np.zeros(n)
        for a in range(4 - offset):
            products[a : a + n - 3] += D[:, a] * D[:, a + offset]
        smooth[3 * offset] = np.repeat(products / jerk_m_s3**2, 3)
    info = np.zeros((n, 3, 3))
    info[seen] = np.linalg.inv(cov[seen])
    goal = np.where(seen[:, None], np.nan_to_num(p), 0.0)
    weight = seen.astype(float)
    x = goal
    for _ in range(rounds):
        W = weight[:, None, None] * info
        band = smooth.copy()
        for a in range(3):
            for b in range(a + 1):
                band[a - b, b::3] += W[:, a, b]
        x = solveh_banded(band, np.einsum("nab,nb->na", W, goal).reshape(-1), lower=True).reshape(n, 3)
        squared = np.einsum("na,nab,nb->n", x - goal, info, x - goal)
        weight = np.where(seen, 1 / (1 + squared / 27), 0.0)
    return x, weight


def _jerk_rows(t_s: Array) -> Array:
    """(n - 3, 4) coefficients of the third derivative through four neighbours."""
    near = np.stack([t_s[k : len(t_s) - 3 + k] for k in range(4)], axis=1)
    out = np.empty_like(near)
    for k in range(4):
        others = [m for m in range(4) if m != k]
        out[:, k] = 6 / np.prod(near[:, k, None] - near[:, others], axis=1)
    return out
