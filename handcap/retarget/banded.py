"""Normal equations of a chain: every row of d unknowns touches only its two neighbours on either side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded

from handcap.geometry import Array

REACH = 2  # rows


class Chain:
    """A symmetric matrix of n rows of d unknowns, in LAPACK's lower banded form, and a right side.

    Attributes:
        gradient: (n, d) of half the sum of squares.
    """

    def __init__(self, n: int, d: int) -> None:
        self.n, self.d = n, d
        self._band = np.zeros((REACH * d + d, n, d))  # [row - column, row of the chain, unknown]
        self.gradient = np.zeros((n, d))

    def add_rows(self, hessian: Array, gradient: Array) -> None:
        """Dense blocks (n, d, d) on the diagonal, and (n, d)."""
        for b in range(self.d):
            for a in range(b, self.d):
                self._band[a - b, :, b] += hessian[:, a, b]
        self.gradient += gradient

    def add_diagonal(self, hessian: Array, gradient: Array | float) -> None:
        """(n, d) on the diagonal."""
        self._band[0] += hessian
        self.gradient += gradient

    def add_difference(self, first: int, coefficients: Array, weight: Array, values: Array) -> None:
        """Sum of weight * values² over stretches of k rows, where values are linear in each unknown.

        Args:
            first: row at which the first stretch begins.
            coefficients: (m, k) of the rows of each of m stretches.
            weight: (m, d).
            values: (m, d).
        """
        m, k = coefficients.shape
        for i in range(k):
            rows = slice(first + i, first + i + m)
            self.gradient[rows] += weight * coefficients[:, i, None] * values
            for j in range(i, k):
                block = coefficients[:, i, None] * coefficients[:, j, None] * weight
                self._band[(j - i) * self.d, rows] += block

    def step(self, damping: Array, fixed: NDArray[np.bool_], moved: Array) -> Array | None:
        """The Gauss-Newton step (n, d); None when the matrix is not positive.

        Args:
            damping: (n,) share of each row's diagonal that is added to it.
            fixed: (n, d) unknowns whose step is given.
            moved: (n, d) that step; elsewhere zero.
        """
        right = -self.gradient
        solved = self._solve(damping, fixed, moved, right[..., None])
        return None if solved is None else solved[..., 0]

    def shared_step(
        self, damping: Array, fixed: NDArray[np.bool_], across: Array, hessian: Array, gradient: Array
    ) -> tuple[Array, Array] | None:
        """The step of the chain (n, d) and of k unknowns that all rows share; None when the matrix is not positive.

        Args:
            damping: (n,) see `step`.
            fixed: (n, d) unknowns of the chain that stay.
            across: (n, d, k) products of the chain's Jacobian and that of the shared unknowns.
            hessian, gradient: (k, k) and (k,) of the shared unknowns alone.
        """
        across = np.where(fixed[..., None], 0.0, across)
        sides = np.concatenate([-self.gradient[..., None], across], axis=-1)
        solved = self._solve(damping, fixed, np.zeros_like(self.gradient), sides)
        if solved is None:
            return None
        own, through = solved[..., 0], solved[..., 1:]
        # Schur's complement of the chain.
        left = hessian - np.einsum("nik,nil->kl", across, through)
        shared = np.linalg.solve(left + 1e-9 * np.eye(len(left)), -gradient - np.einsum("nik,ni->k", across, own))
        return own - through @ shared, shared

    def _solve(self, damping: Array, fixed: NDArray[np.bool_], moved: Array, right: Array) -> Array | None:
        """(n, d, k) for as many right sides; those of fixed unknowns are `moved`."""
        u = self._band.shape[0]
        band = self._band.reshape(u, -1)
        size = band.shape[1]
        band = band[: min(u, size)].copy()
        right = right.reshape(size, -1).copy()
        flat, given = fixed.reshape(-1), np.where(fixed, moved, 0.0).reshape(-1)
        band[0] += np.repeat(damping, self.d) * band[0] + 1e-9
        if np.any(flat):
            if np.any(given):
                right -= _times(band, given)[:, None]
            free = (~flat).astype(float)
            for k in range(1, len(band)):
                band[k, : size - k] *= free[: size - k] * free[k:]
            band[0] = np.where(flat, 1.0, band[0])
            right = np.where(flat[:, None], given[:, None], right)
        try:
            factor = cholesky_banded(band, overwrite_ab=True, lower=True, check_finite=False)
        except LinAlgError:
            return None
        return cho_solve_banded((factor, True), right, check_finite=False).reshape(self.n, self.d, -1)


def _times(band: Array, x: Array) -> Array:
    size = len(x)
    out = band[0] * x
    for k in range(1, len(band)):
        out[k:] += band[k, : size - k] * x[: size - k]
        out[: size - k] += band[k, : size - k] * x[k:]
    return out
