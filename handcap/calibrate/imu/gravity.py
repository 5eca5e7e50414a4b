"""The accelerometer from rests: whatever way it lies, what it feels is as long as gravity.

`accel = matrix @ force + bias`. Length alone leaves a rotation open; it is settled by taking the matrix symmetric, so
that imu axes are those least turned from the accelerometer's own. (Tedaldi, Pretto & Menegatti, ICRA 2014, hold the
x axis instead and make the matrix triangular.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import least_squares

from handcap.calibrate.imu.rests import RestMeans
from handcap.geometry import Array

PARAMETERS = 9
_UPPER = np.array([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)])


@dataclass(frozen=True, slots=True)
class GravityParams:
    """How the accelerometer is fitted.

    Attributes:
        outlier: rests this many robust sigmas off were not rests; one in ten at most is left out.
        least_error: m/s², below which the residual of a rest says nothing more.
        folds: of cross-validation; one rest each where there are no more.
    """

    outlier: float = 5.0
    least_error: float = 1e-4
    folds: int = 40


@dataclass(frozen=True, eq=False, slots=True)
class GravityFit:
    """The accelerometer.

    Attributes:
        matrix: (3, 3) symmetric; SI, or counts per m/s².
        bias: (3,) m/s² or counts.
        matrix_sigma: (3, 3).
        bias_sigma: (3,).
        covariance: (9, 9) of matrix xx, yy, zz, xy, xz, yz and bias x, y, z.
        residual: (k,) |force| - gravity of every rest, m/s².
        held_out: (k,) the same from fits that did not see the rest; NaN where left out.
        before: (k,) the same before any calibration; NaN in counts.
        used: (k,) rests that were fitted.
        scatter: of the residuals over their expected noise.
    """

    matrix: Array
    bias: Array
    matrix_sigma: Array
    bias_sigma: Array
    covariance: Array
    residual: Array
    held_out: Array
    before: Array
    used: NDArray[np.bool_]
    scatter: float

    def force(self, accel: Array) -> Array:
        """(..., 3) m/s² of readings (..., 3)."""
        return force_of(accel, self.matrix, self.bias)


def force_of(accel: Array, matrix: Array, bias: Array) -> Array:
    """(..., 3) m/s² of readings (..., 3)."""
    return np.asarray(np.linalg.solve(matrix, (accel - bias)[..., None])[..., 0], float)


def sphere(accel: Array, gravity_m_s2: float) -> tuple[float, Array]:
    """Scale (reading per m/s²) and centre (3,) of the ball on which readings (k, 3) lie, k >= 4."""
    middle = accel.mean(axis=0)
    size = max(float(np.abs(accel - middle).max()), 1e-12)
    x = (accel - middle) / size
    solution = np.linalg.lstsq(np.c_[2 * x, np.ones(len(x))], (x**2).sum(axis=1), rcond=None)[0]
    radius = np.sqrt(max(float(solution[3] + solution[:3] @ solution[:3]), 1e-12))
    return radius * size / gravity_m_s2, middle + size * solution[:3]


def fit_gravity(
    rests: RestMeans, noise: Array, walk: float, gravity_m_s2: float, counts: bool, params: GravityParams
) -> GravityFit:
    """The likeliest accelerometer.

    Args:
        rests: at least 10.
        noise: (k,) standard deviation of a rest's mean from white noise, per axis, in the unit of the readings.
        walk: of the bias, in the unit of the readings /s/√Hz; 0 where nobody knows.
        gravity_m_s2: where it was measured.
        counts: whether readings are counts.
    """
    used = np.ones(len(rests), bool)
    problem = _Problem(rests, noise, walk, gravity_m_s2)
    theta = problem.solve(used)
    off = np.abs(problem.residual(theta))
    sigma = max(1.4826 * float(np.median(off)), params.least_error)
    outlying = off > params.outlier * sigma
    if 0 < outlying.sum() <= len(rests) // 10:
        used = ~outlying
        theta = problem.solve(used, theta)
    covariance, scatter = problem.covariance(theta, used)
    held_out = np.full(len(rests), np.nan)
    fitted = np.flatnonzero(used)
    folds = min(params.folds, len(fitted))
    for fold in range(folds):
        seen = used.copy()
        seen[fitted[fold::folds]] = False
        if seen.sum() > PARAMETERS:
            held_out[fitted[fold::folds]] = problem.residual(problem.solve(seen, theta))[fitted[fold::folds]]
    matrix, bias = problem.matrix_bias(theta)
    sigma_9 = np.sqrt(np.diag(covariance))
    matrix_sigma = np.zeros((3, 3))
    matrix_sigma[_UPPER[:, 0], _UPPER[:, 1]] = matrix_sigma[_UPPER[:, 1], _UPPER[:, 0]] = sigma_9[:6]
    lengths = np.linalg.norm(rests.accel, axis=1)
    before = np.full(len(rests), np.nan) if counts else lengths - gravity_m_s2
    return GravityFit(
        matrix,
        bias,
        matrix_sigma,
        sigma_9[6:],
        covariance,
        problem.residual(theta),
        held_out,
        before,
        used,
        scatter,
    )


class _Problem:
    """Rests and what their residuals cost.

    theta is (9,): matrix / scale - identity (6, upper triangle) and (bias - centre) / scale, all near zero.
    """

    def __init__(self, rests: RestMeans, noise: Array, walk: float, gravity_m_s2: float) -> None:
        self.accel, self.gravity_m_s2 = rests.accel, gravity_m_s2
        self.scale, self.centre = sphere(rests.accel, gravity_m_s2)
        up = (self.accel - self.centre) / np.maximum(
            np.linalg.norm(self.accel - self.centre, axis=1, keepdims=True), 1e-12
        )
        t = rests.t_s - rests.t_s.mean()
        # The bias wanders about its value in the middle: a walk in both directions from there.
        apart = (np.abs(t)[:, None] + np.abs(t)[None, :] - np.abs(t[:, None] - t[None, :])) / 2
        self.spread = np.diag((noise / self.scale) ** 2 + 1e-12) + (walk / self.scale) ** 2 * apart * (up @ up.T)

    def matrix_bias(self, theta: Array) -> tuple[Array, Array]:
        matrix = np.eye(3)
        matrix[_UPPER[:, 0], _UPPER[:, 1]] += theta[:6]
        matrix[_UPPER[3:, 1], _UPPER[3:, 0]] += theta[3:6]
        return matrix * self.scale, self.centre + self.scale * theta[6:]

    def residual(self, theta: Array) -> Array:
        force = force_of(self.accel, *self.matrix_bias(theta))
        return np.linalg.norm(force, axis=1) - self.gravity_m_s2

    def solve(self, used: NDArray[np.bool_], start: Array | None = None) -> Array:
        root = np.linalg.cholesky(self.spread[np.ix_(used, used)])

        def cost(theta: Array) -> Array:
            return solve_triangular(root, self.residual(theta)[used], lower=True)

        start = np.zeros(PARAMETERS) if start is None else start
        return np.asarray(least_squares(cost, start, method="lm", x_scale=[0.01] * 6 + [0.1] * 3).x, float)

    def covariance(self, theta: Array, used: NDArray[np.bool_]) -> tuple[Array, float]:
        """(9, 9) of matrix and bias in the unit of the readings, and the scatter it was widened by (1 or more)."""
        root = np.linalg.cholesky(self.spread[np.ix_(used, used)])
        step = 1e-6
        J = np.stack(
            [
                (self.residual(theta + step * e) - self.residual(theta - step * e))[used] / (2 * step)
                for e in np.eye(PARAMETERS)
            ],
            axis=1,
        )
        J = solve_triangular(root, J, lower=True)
        r = solve_triangular(root, self.residual(theta)[used], lower=True)
        scatter = float(np.sqrt(r @ r / max(len(r) - PARAMETERS, 1)))
        return np.linalg.pinv(J.T @ J) * max(scatter, 1.0) ** 2 * self.scale**2, scatter
