"""Errors that last: how much less a take tells than as many independent measurements would.

A detector's error of one corner fades over half a second, not from picture to picture, and a corner printed beside its
place stays there. Least squares weighs corners as if they were independent, which costs little; its covariance takes
them for independent, which would be a lie. So errors are propagated as they are: the residuals of each corner tell how
alike its errors are some pictures apart, and the influence of every corner on the result is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.calibrate.camera_imu.arrow import LOCAL, SIZE, Factor, Rows
from handcap.geometry import Array


@dataclass(frozen=True, slots=True)
class LastingParams:
    """Attributes:
    fades_s: after which nothing but a constant error of the corner itself is left.
    told_s: over which that constant is looked for, beyond `fades_s`.
    """

    fades_s: float = 2.0
    told_s: float = 2.0


def influence(factor: Factor, rows: Rows, numbers: NDArray[np.int64]) -> Array:
    """(n, r, k) what a unit error of each measurement, in its own sigma, does to these numbers, the path following."""
    followed = factor.side @ factor.covariance[:, numbers]
    windows = np.lib.stride_tricks.sliding_window_view(followed, LOCAL, axis=0)[::SIZE]  # (firsts, k, 36)
    direct = np.einsum("nrj,njk->nrk", rows.beside, factor.covariance[rows.columns][:, :, numbers])
    return direct - np.einsum("nri,nki->nrk", rows.local, windows[rows.first])


@dataclass(frozen=True, eq=False, slots=True)
class _Tracks:
    """One camera's corners as a table; 0 where not seen.

    Attributes:
        seen: (f, c).
        error: (f, c, 2) residual in its sigma.
        influence: (f, c, 2, k).
        period_s: from picture to picture.
    """

    seen: NDArray[np.bool_]
    error: Array
    influence: Array
    period_s: float


def lasting(
    factor: Factor,
    cameras: Iterable[tuple[Iterable[Rows], NDArray[np.int64], NDArray[np.int64], float]],
    numbers: NDArray[np.int64],
    params: LastingParams,
) -> Array:
    """(k, k) covariance of these numbers that errors add by lasting.

    Args:
        factor: at the optimum.
        cameras: of each its corners' rows, the picture (n,) and the corner (n,) of each measurement, and the time from
            picture to picture.
        numbers: (k,) columns.
        params: how long errors last.
    """
    out = np.zeros((len(numbers), len(numbers)))
    for rows, view, ids, period_s in cameras:
        tracks = _tracks(factor, rows, view, ids, period_s, numbers)
        out += _cross_terms(tracks, params)
    return out


def _tracks(
    factor: Factor,
    all_rows: Iterable[Rows],
    view: NDArray[np.int64],
    ids: NDArray[np.int64],
    period_s: float,
    numbers: NDArray[np.int64],
) -> _Tracks:
    names, which = np.unique(ids, return_inverse=True)
    shape = (int(view.max(initial=0)) + 1, len(names))
    seen, error = np.zeros(shape, bool), np.zeros((*shape, 2))
    told = np.zeros((*shape, 2, len(numbers)))
    for rows in all_rows:
        at = view[rows.index], which[rows.index]
        seen[at], error[at], told[at] = True, rows.residual, influence(factor, rows, numbers)
    return _Tracks(seen, error, told, period_s)


def _cross_terms(tracks: _Tracks, params: LastingParams) -> Array:
    fades = max(round(params.fades_s / tracks.period_s), 1)
    beyond = fades + max(round(params.told_s / tracks.period_s), 1)
    alike = [_alike(tracks, lag) for lag in range(1, min(beyond, len(tracks.seen) - 1) + 1)]
    constant = max(float(np.mean(alike[fades:])), 0.0) if len(alike) > fades else 0.0
    told = tracks.influence.reshape(*tracks.seen.shape, -1)
    k = tracks.influence.shape[-1]
    out = np.zeros((k, k))
    for lag, share in enumerate(alike[:fades], start=1):
        more = max(share, 0.0) - constant
        out += more * _summed(told[:-lag].reshape(-1, k), told[lag:].reshape(-1, k))
    # What never fades: all pairs of one corner and axis, less those of a measurement with itself.
    whole = tracks.influence.sum(axis=0).reshape(-1, k)
    flat = told.reshape(-1, k)
    return out + constant * (whole.T @ whole - flat.T @ flat)


def _alike(tracks: _Tracks, lag: int) -> float:
    """Correlation of errors of the same corner some pictures apart."""
    both = tracks.seen[:-lag] & tracks.seen[lag:]
    if not both.any():
        return 0.0
    early, late = tracks.error[:-lag][both], tracks.error[lag:][both]
    return float(np.sum(early * late) / np.sqrt(np.sum(early**2) * np.sum(late**2)))


def _summed(early: Array, late: Array) -> Array:
    product = early.T @ late
    return product + product.T
