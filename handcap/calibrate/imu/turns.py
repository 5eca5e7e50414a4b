"""The gyroscope from turns between rests: gravity before, turned by what it measured, is gravity after.

`gyro = matrix @ rate + g_sensitivity @ force + bias`, in the accelerometer's axes. Bias and g-sensitivity come from the
rests, the matrix from the turns (after Tedaldi, Pretto & Menegatti, ICRA 2014, whose matrix has no g-sensitivity).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import least_squares

from handcap.calibrate.imu.gravity import GravityFit
from handcap.calibrate.imu.log import ImuLog
from handcap.calibrate.imu.rests import RestMeans
from handcap.geometry import Array, skew, so3_exp, so3_left_jacobian

PARAMETERS = 9


@dataclass(frozen=True, slots=True)
class TurnParams:
    """How the gyroscope is fitted.

    Attributes:
        least_turn_rad: gravity must move by so much in a turn; less tells nothing.
        coarse_s: steps of the first search, short against a turn by hand.
        good_rad: median error of the turns that the axes and unit as stated may have; beyond, others are tried.
        better: others must be better by this factor to be believed.
        outlier: turns this many robust sigmas off are left out, one in ten at most.
        least_error_rad: below which a turn's residual says nothing more.
        folds: of cross-validation.
    """

    least_turn_rad: float = 0.15
    coarse_s: float = 0.2
    good_rad: float = 0.1
    better: float = 2.0
    outlier: float = 5.0
    least_error_rad: float = 1e-4
    folds: int = 5


@dataclass(frozen=True, eq=False, slots=True)
class BiasFit:
    """The gyroscope at rest: `bias + g_sensitivity @ force`.

    Attributes:
        bias, bias_sigma: (3,).
        g_sensitivity, g_sensitivity_sigma: (3, 3) per m/s².
    """

    bias: Array
    bias_sigma: Array
    g_sensitivity: Array
    g_sensitivity_sigma: Array


@dataclass(frozen=True, eq=False, slots=True)
class TurnFit:
    """The gyroscope.

    Attributes:
        matrix, matrix_sigma: (3, 3); SI, or counts per rad/s.
        covariance: (9, 9) of the matrix, row by row.
        residual_rad: (k,) angle by which each turn misses gravity.
        held_out_rad: (k,) the same from fits that did not see the turn; NaN where left out.
        before_rad: (k,) the same with the identity for a matrix and the bias alone; NaN in counts.
        used: (k,) turns that were fitted.
        axes: (3, 3) signed permutation that fits best: the identity unless axes are swapped or mirrored.
    """

    matrix: Array
    matrix_sigma: Array
    covariance: Array
    residual_rad: Array
    held_out_rad: Array
    before_rad: Array
    used: NDArray[np.bool_]
    axes: Array


@dataclass(frozen=True, eq=False, slots=True)
class Turns:
    """Every turn's samples, padded to one length with nothing.

    Attributes:
        rate: (k, n, 3) readings less bias and g-sensitivity, mean over each step.
        step_s: (k, n); 0 where padded.
        up_before, up_after: (k, 3) unit.
    """

    rate: Array
    step_s: Array
    up_before: Array
    up_after: Array

    def __len__(self) -> int:
        return len(self.rate)

    def miss(self, inverse: Array) -> Array:
        """(k, 3) by how much gravity, turned by the gyroscope, misses gravity as felt; unit vectors.

        `inverse` (3, 3) takes readings to rates.
        """
        R_before_after = _product(so3_exp(self.rate @ inverse.T * self.step_s[..., None]))
        return np.einsum("kji,kj->ki", R_before_after, self.up_before) - self.up_after

    def miss_per(self, inverse: Array) -> Array:
        """(k, 3, 9) derivative of `miss` by the inverse, row by row."""
        theta = self.rate @ inverse.T * self.step_s[..., None]
        # A small turn d(theta) of one step, J d(theta) behind it, seen from the end: through all later steps.
        steps, J = np.swapaxes(so3_exp(theta), -1, -2), so3_left_jacobian(-theta)
        later = np.broadcast_to(np.eye(3), (len(self), 3, 3))
        turned = np.zeros((len(self), 3, 9))
        for n in range(theta.shape[1] - 1, -1, -1):
            lever = (later @ J[:, n])[..., None] * (self.rate[:, n] * self.step_s[:, n, None])[:, None, None, :]
            turned += lever.reshape(len(self), 3, 9)
            later = later @ steps[:, n]
        return skew(np.einsum("kij,kj->ki", later, self.up_before)) @ turned

    def error_rad(self, inverse: Array) -> Array:
        """(k,) angle between the two."""
        return 2 * np.arcsin(np.clip(np.linalg.norm(self.miss(inverse), axis=1) / 2, 0, 1))

    def where(self, kept: NDArray[np.bool_]) -> Turns:
        return Turns(self.rate[kept], self.step_s[kept], self.up_before[kept], self.up_after[kept])

    def coarse(self, step_s: float) -> Turns:
        """Steps joined until they last about `step_s`."""
        longest = float(self.step_s.max())
        n = max(int(step_s / longest), 1)
        pad = -self.step_s.shape[1] % n
        step = np.pad(self.step_s, ((0, 0), (0, pad)))
        turned = np.pad(self.rate * self.step_s[..., None], ((0, 0), (0, pad), (0, 0)))
        step = step.reshape(len(self), -1, n).sum(axis=2)
        turned = turned.reshape(len(self), -1, n, 3).sum(axis=2)
        return replace(self, rate=turned / np.maximum(step, 1e-12)[..., None], step_s=step)


def _product(R: Array) -> Array:
    """(k, n, 3, 3) multiplied along n, first from the left, in pairs."""
    while R.shape[1] > 1:
        if R.shape[1] % 2:
            R = np.concatenate([R, np.broadcast_to(np.eye(3), (len(R), 1, 3, 3))], axis=1)
        R = R[:, ::2] @ R[:, 1::2]
    return R[:, 0]


def fit_bias(rests: RestMeans, force: Array, noise: Array, walk: float) -> BiasFit:
    """Bias and g-sensitivity from what the gyroscope says at rest.

    Args:
        rests: at least 5, in several attitudes.
        force: (k, 3) m/s² in each.
        noise: (k,) standard deviation of a rest's mean, in the unit of the readings.
        walk: of the bias, in that unit /s/√Hz; 0 where nobody knows.
    """
    t = rests.t_s - rests.t_s.mean()
    apart = (np.abs(t)[:, None] + np.abs(t)[None, :] - np.abs(t[:, None] - t[None, :])) / 2
    root = np.linalg.cholesky(np.diag(noise**2 + 1e-24) + walk**2 * apart)
    A = solve_triangular(root, np.c_[np.ones(len(rests)), force], lower=True)
    y = solve_triangular(root, rests.gyro, lower=True)
    x = np.linalg.lstsq(A, y, rcond=None)[0]
    freedom = max(len(rests) - 4, 1)
    scatter = np.maximum(np.sqrt(((y - A @ x) ** 2).sum(axis=0) / freedom), 1.0)
    sigma = np.sqrt(np.diag(np.linalg.pinv(A.T @ A)))[:, None] * scatter
    return BiasFit(x[0], sigma[0], x[1:].T, sigma[1:].T)


def turns_between(log: ImuLog, rests: RestMeans, gravity: GravityFit, bias: BiasFit, params: TurnParams) -> Turns:
    """Every turn from one rest to the next in which gravity moved."""
    up = gravity.force(rests.accel)
    up = up / np.linalg.norm(up, axis=1, keepdims=True)
    t_s, force = log.t_s, gravity.force(log.accel)
    free = log.gyro - force @ bias.g_sensitivity.T
    rates: list[Array] = []
    steps: list[Array] = []
    kept: list[int] = []
    for k in range(len(rests) - 1):
        if np.linalg.norm(up[k + 1] - up[k]) < params.least_turn_rad:
            continue
        before, after = rests.rests[k], rests.rests[k + 1]
        inside = slice(before.end - 1, after.start + 1)
        t = t_s[inside]
        # What the bias was just before and after, in a straight line between: it wanders less than noise in a turn.
        ends = [free[rest.start : rest.end].mean(axis=0) for rest in (before, after)]
        share = ((t - t[0]) / (t[-1] - t[0]))[:, None]
        rate = free[inside] - (ends[0] * (1 - share) + ends[1] * share)
        rates.append((rate[1:] + rate[:-1]) / 2)
        steps.append(np.diff(t))
        kept.append(k)
    n = max((len(s) for s in steps), default=0)
    rate = np.zeros((len(kept), n, 3))
    step = np.zeros((len(kept), n))
    for k, (r, s) in enumerate(zip(rates, steps, strict=True)):
        rate[k, : len(r)], step[k, : len(s)] = r, s
    return Turns(rate, step, up[kept], up[np.array(kept, int) + 1])


def fit_turns(turns: Turns, counts: bool, params: TurnParams) -> TurnFit:
    """The likeliest matrix; `turns` at least 6."""
    axes, inverse = _first_guess(turns, counts, params)
    used = np.ones(len(turns), bool)
    inverse = _solve(turns, inverse)
    off = turns.error_rad(inverse)
    sigma = max(1.4826 * float(np.median(off)), params.least_error_rad)
    outlying = off > params.outlier * sigma
    if 0 < outlying.sum() <= len(turns) // 10:
        used = ~outlying
        inverse = _solve(turns.where(used), inverse)
    held_out = np.full(len(turns), np.nan)
    fitted = np.flatnonzero(used)
    folds = min(params.folds, len(fitted)) if np.array_equal(axes, np.eye(3)) else 0
    for fold in range(folds):
        seen = used.copy()
        seen[fitted[fold::folds]] = False
        if 2 * seen.sum() > PARAMETERS:
            found = _solve(turns.where(seen), inverse)
            held_out[fitted[fold::folds]] = turns.error_rad(found)[fitted[fold::folds]]
    matrix = np.asarray(np.linalg.inv(inverse), float)
    covariance = _covariance(turns.where(used), inverse)
    before = np.full(len(turns), np.nan) if counts else turns.error_rad(np.eye(3))
    sigma_9 = np.sqrt(np.diag(covariance)).reshape(3, 3)
    return TurnFit(matrix, sigma_9, covariance, turns.error_rad(inverse), held_out, before, used, axes)


def signed_axes() -> Sequence[Array]:
    """All 48 ways (3, 3) to swap and mirror three axes; the identity first."""
    return [
        np.array(signs, float)[:, None] * np.eye(3)[list(order)]
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]


def _first_guess(turns: Turns, counts: bool, params: TurnParams) -> tuple[Array, Array]:
    """Axes, and the inverse to start from: as stated if that fits at all, else whatever fits far better."""
    if not counts and np.median(turns.error_rad(np.eye(3))) < params.good_rad:
        return np.eye(3), np.eye(3)
    coarse = turns.coarse(params.coarse_s)
    fastest = float(np.percentile(np.linalg.norm(turns.rate, axis=2)[turns.step_s > 0], 99))
    # Hands turn things at 0.2 to 30 rad/s at the fastest.
    scales = np.geomspace(fastest / 30, fastest / 0.2, 18)

    every = signed_axes()

    def best_of(which: Sequence[int]) -> tuple[float, int, float]:
        return min(
            (float(np.median(coarse.error_rad(every[k].T / scale))), k, float(scale)) for k in which for scale in scales
        )

    found = best_of([0])
    if found[0] > params.good_rad:
        other = best_of(range(1, len(every)))
        found = other if params.better * other[0] < found[0] else found
    axes = every[found[1]]
    return axes, axes.T / found[2]


def _solve(turns: Turns, start: Array) -> Array:
    """The inverse that misses least."""
    size = float(np.abs(start).max())

    def inverse(x: Array) -> Array:
        return start + size * x.reshape(3, 3)

    per: Any = lambda x: size * turns.miss_per(inverse(x)).reshape(-1, PARAMETERS)  # noqa: E731 (stubs know words only)
    found = least_squares(
        lambda x: turns.miss(inverse(x)).ravel(),
        np.zeros(PARAMETERS),
        jac=per,
        method="lm",
        xtol=1e-10,
        ftol=1e-12,
        max_nfev=50,
    )
    return inverse(np.asarray(found.x, float))


def _covariance(turns: Turns, inverse: Array) -> Array:
    """(9, 9) of the matrix, row by row, widened to what the turns scatter."""
    size = float(np.abs(inverse).max())
    J = size * turns.miss_per(inverse).reshape(-1, PARAMETERS)
    miss = turns.miss(inverse).ravel()
    freedom = max(2 * len(turns) - PARAMETERS, 1)  # a unit vector misses in two directions
    of_inverse = np.linalg.pinv(J.T @ J) * (miss @ miss / freedom) * size**2
    matrix = np.linalg.inv(inverse)
    to_matrix = np.kron(matrix, matrix.T)  # d(matrix) = -matrix d(inverse) matrix
    return to_matrix @ of_inverse @ to_matrix.T
