"""Joint motion as a cubic B-spline with even knots: smooth between the pictures too, and inside limits where its
coefficients are, since a B-spline never leaves the hull of its coefficients. De Boor, A Practical Guide to Splines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve_banded, cholesky_banded

from handcap.geometry import Array

REACH = 4  # coefficients that a moment depends on


@dataclass(frozen=True, eq=False, slots=True)
class Spline:
    """The basis at the moments asked for.

    Attributes:
        first: (n,) of the four coefficients that each moment depends on.
        weights: (n, 4) of them; not negative, they sum to 1.
        knot_s: between coefficients.
        count: coefficients.
    """

    first: NDArray[np.intp]
    weights: Array
    knot_s: float
    count: int

    @staticmethod
    def over(t_s: Array, knot_s: float) -> Spline:
        """At (n,) increasing times, from the first to the last of them; knots a little closer than asked, to fit."""
        length_s = float(t_s[-1] - t_s[0])
        spans = max(int(np.ceil(length_s / knot_s - 1e-9)), 1)
        knot_s = length_s / spans if length_s > 0 else knot_s
        at = (t_s - t_s[0]) / knot_s
        first = np.minimum(at.astype(np.intp), spans - 1)
        x = (at - first)[:, None]
        weights = np.concatenate(
            [(1 - x) ** 3, 3 * x**3 - 6 * x**2 + 4, -3 * x**3 + 3 * x**2 + 3 * x + 1, x**3], axis=1
        )
        return Spline(first, weights / 6, knot_s, spans + REACH - 1)

    def rows(self, chosen: NDArray[np.intp]) -> Spline:
        """The same motion at some of the moments."""
        return Spline(self.first[chosen], self.weights[chosen], self.knot_s, self.count)

    def at(self, coefficients: Array) -> Array:
        """Values (n, d) of coefficients (count, d)."""
        return np.einsum("na,nad->nd", self.weights, coefficients[self.first[:, None] + np.arange(REACH)])

    def through(self, t_s: Array, values: Array) -> Array:
        """Coefficients (count, d) of a motion near (n, d) values at the same times; a start, not a fit."""
        middle_s = t_s[0] + (np.arange(self.count) - 1) * self.knot_s
        return np.stack([np.interp(middle_s, t_s, column) for column in values.T], axis=1)

    def jerk(self, coefficients: Array) -> Array:
        """(count - 3, d) third derivative, constant between knots, per s³."""
        return np.diff(coefficients, 3, axis=0) / self.knot_s**3


class Band:
    """A symmetric matrix over coefficients (count, d), filled where coefficients less than four apart meet."""

    def __init__(self, count: int, d: int) -> None:
        self._count, self._d = count, d
        # By column of the matrix, then by how far below the diagonal: as LAPACK wants it, turned.
        self._columns = np.zeros((count * d, REACH * d))

    def add_blocks(self, apart: int, blocks: Array) -> None:
        """Add blocks (count - apart, d, d): rows of coefficient i + apart, columns of coefficient i."""
        d, size = self._d, self._columns.itemsize
        if apart == 0:
            blocks = np.tril(blocks)
        flat = self._columns.reshape(-1)[apart * d :]
        # Down a column rows follow one another; the next column begins one row lower.
        strides = (REACH * d * d * size, size, (REACH * d - 1) * size)
        np.lib.stride_tricks.as_strided(flat, blocks.shape, strides)[...] += blocks

    def add_diagonal(self, apart: int, values: Array) -> None:
        """Add the diagonals (count, d) of such blocks."""
        self._columns[:, apart * self._d] += values.ravel()

    def solve(self, right: Array, more: Array) -> Array:
        """x (count, d) in (matrix + diagonal of `more`) @ x = right; both (count, d).

        Raises:
            numpy.linalg.LinAlgError: the sum is not positive definite.
        """
        columns = self._columns.copy()
        columns[:, 0] += more.ravel()
        factor = cholesky_banded(columns.T, overwrite_ab=True, lower=True, check_finite=False)
        return cho_solve_banded((factor, True), right.ravel(), check_finite=False).reshape(right.shape)
