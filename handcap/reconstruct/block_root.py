"""A square root of a covariance that is block-diagonal, so that products with it cost what its blocks cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from handcap.geometry import Array


@dataclass(frozen=True, eq=False, slots=True)
class BlockRoot:
    """L in x = L y, y of unit covariance.

    Attributes:
        blocks: by first row of x, (r, c) each; rows and columns follow one another.
    """

    blocks: Sequence[tuple[int, Array]]

    @property
    def size(self) -> int:
        """Of y."""
        return sum(block.shape[1] for _, block in self.blocks)

    def _parts(self) -> Iterator[tuple[slice, slice, Array]]:
        """Rows of x, columns of y and the block between them."""
        column = 0
        for at, block in self.blocks:
            yield slice(at, at + len(block)), slice(column, column + block.shape[1]), block
            column += block.shape[1]

    def around(self, normal: Array) -> Array:
        """(c, c) lower half of Lᵀ N L, N (r, r) symmetric; blocks with nothing in common cost nothing."""
        out = np.zeros((self.size, self.size))
        for row, column, block in self._parts():
            for other_row, other, beside in self._parts():
                some = normal[row, other_row]
                if other.start <= column.start and some.any():
                    out[column, other] = block.T @ some @ beside
        return out

    def times(self, y: Array) -> Array:
        """(r,) L y."""
        return np.concatenate([block @ y[column] for _, column, block in self._parts()])

    def transposed_times(self, x: Array) -> Array:
        """(c,) Lᵀ x."""
        return np.concatenate([block.T @ x[row] for row, _, block in self._parts()])

    def rows(self, carried: Mapping[int, Array], factor: Array) -> Array:
        """(c, m) V with Vᵀ V the covariance of Σ A x[at:], (m, k) A by `at`, where `factor` of Lᵀ N L + 1 is lower."""
        L_t = np.zeros((self.size, len(next(iter(carried.values())))))
        for row, column, block in self._parts():
            if (A := carried.get(row.start)) is not None:
                L_t[column] = block[: A.shape[1]].T @ A.T
        return solve_triangular(factor, L_t, lower=True, overwrite_b=True)
