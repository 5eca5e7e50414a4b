"""Least squares over a path and a few numbers beside it, in time that grows with the path's length.

Every row touches six neighbouring controls of the path and some of the numbers: the normal equations are a band of the
path's unknowns with a border of the others, an arrow. The band is factorised alone, the border by what is left of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cho_solve_banded, cholesky_banded

from handcap.calibrate.camera_imu.spline import ORDER
from handcap.geometry import Array

SIZE = 6  # unknowns of one control: turn and shift
LOCAL = ORDER * SIZE
_LOWER = np.tril_indices(LOCAL)

Columns = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Measurements, linearised, already divided by their sigma.

    Attributes:
        index: (n,) which measurement of its kind each is.
        t_s: (n,) when.
        first: (n,) number of the first control they touch.
        local: (n, r, 36) by the turns and shifts of six controls.
        columns: (n, k) which numbers they touch; the same for all of one `first`.
        beside: (n, r, k) by these.
        residual: (n, r).
    """

    index: NDArray[np.int64]
    t_s: Array
    first: NDArray[np.int64]
    local: Array
    columns: Columns
    beside: Array
    residual: Array

    @property
    def by_shift(self) -> Array:
        """(n, r, 3) by a shift of the body: of all controls at once."""
        return self.local.reshape(*self.residual.shape, ORDER, SIZE)[..., 3:].sum(axis=-2)

    def with_more(self, columns: Columns, beside: Array) -> Rows:
        """The same rows, touching more numbers: columns (n, j), the same for all of one `first`, and (n, r, j)."""
        return replace(
            self,
            columns=np.concatenate([self.columns, columns], axis=-1),
            beside=np.concatenate([self.beside, beside], axis=-1),
        )


@dataclass(eq=False)
class Arrow:
    """Normal equations being summed up.

    Attributes:
        controls: of the path.
        numbers: unknowns beside it.
        blocks: (controls - 5, 36, 36) of each group of six controls.
        side: (6 controls, numbers).
        corner: (numbers, numbers).
        path_gradient, gradient: of half the sum of squares, by the path's unknowns and by the numbers.
    """

    controls: int
    numbers: int
    blocks: Array = field(init=False)
    side: Array = field(init=False)
    corner: Array = field(init=False)
    path_gradient: Array = field(init=False)
    gradient: Array = field(init=False)

    def __post_init__(self) -> None:
        n = SIZE * self.controls
        self.blocks = np.zeros((self.controls - ORDER + 1, LOCAL, LOCAL))
        self.side, self.corner = np.zeros((n, self.numbers)), np.zeros((self.numbers, self.numbers))
        self.path_gradient, self.gradient = np.zeros(n), np.zeros(self.numbers)

    def add(self, rows: Rows) -> None:
        order = np.argsort(rows.first, kind="stable")
        starts = np.flatnonzero(np.diff(rows.first[order], prepend=-1))
        table = np.concatenate([rows.local, rows.beside, rows.residual[..., None]], axis=-1)[order]
        for a, b in zip(starts, np.r_[starts[1:], len(order)], strict=True):
            some = table[a:b].reshape(-1, table.shape[-1])
            square = some.T @ some
            k, where = int(rows.first[order[a]]), rows.columns[order[a]]
            here = slice(SIZE * k, SIZE * k + LOCAL)
            self.blocks[k] += square[:LOCAL, :LOCAL]
            self.side[here, where] += square[:LOCAL, LOCAL:-1]
            self.corner[np.ix_(where, where)] += square[LOCAL:-1, LOCAL:-1]
            self.path_gradient[here] += square[:LOCAL, -1]
            self.gradient[where] += square[LOCAL:-1, -1]

    def add_prior(self, columns: Columns, rows: Array, residual: Array) -> None:
        """Rows (r, k) that touch numbers alone, divided by their sigma."""
        self.corner[np.ix_(columns, columns)] += rows.T @ rows
        self.gradient[columns] += rows.T @ residual

    def with_more(self, more: int) -> Arrow:
        """The same sums, with room for more numbers."""
        out = Arrow(self.controls, self.numbers + more)
        out.blocks, out.path_gradient = self.blocks.copy(), self.path_gradient.copy()
        out.side[:, : self.numbers], out.corner[: self.numbers, : self.numbers] = self.side, self.corner
        out.gradient[: self.numbers] = self.gradient
        return out

    def __add__(self, other: Arrow) -> Arrow:
        out = Arrow(self.controls, self.numbers)
        for name in ("blocks", "side", "corner", "path_gradient", "gradient"):
            setattr(out, name, getattr(self, name) + getattr(other, name))
        return out

    def band(self) -> Array:
        """(36, 6 controls) lower band of the path's own matrix."""
        out = np.zeros((LOCAL, SIZE * self.controls))
        for row, column in zip(*_LOWER, strict=True):
            out[row - column, column : column + SIZE * len(self.blocks) : SIZE] += self.blocks[:, row, column]
        return out

    def times(self, path: Array, numbers: Array) -> tuple[Array, Array]:
        """The matrix times a vector."""
        pieces = np.lib.stride_tricks.sliding_window_view(path, LOCAL)[::SIZE]
        here = np.einsum("kij,kj->ki", self.blocks, pieces)
        out = self.side @ numbers
        for k in range(ORDER):
            part = here[:, SIZE * k : SIZE * (k + 1)].reshape(-1)
            out[SIZE * k : SIZE * k + len(part)] += part
        return out, self.side.T @ path + self.corner @ numbers


@dataclass(frozen=True, eq=False)
class Factor:
    """An arrow, factorised.

    Attributes:
        arrow: of this matrix.
        damping: (6 controls,) added to the path's diagonal: it keeps what nothing measures where it is.
    """

    arrow: Arrow
    damping: Array

    @cached_property
    def _band(self) -> Array:
        band = self.arrow.band()
        band[0] += self.damping
        return np.asarray(cholesky_banded(band, overwrite_ab=True, lower=True, check_finite=False))

    def _by_path(self, right: Array) -> Array:
        return np.asarray(cho_solve_banded((self._band, True), right, check_finite=False))

    @cached_property
    def side(self) -> Array:
        """(6 controls, numbers) the path's answer to each number."""
        return self._by_path(self.arrow.side)

    def scores(self, groups: Iterable[Rows], block_s: float) -> Array:
        """(blocks, numbers) gradients of stretches of time by the numbers, the path free to follow."""
        by_path: dict[int, Array] = {}
        by_numbers: dict[int, Array] = {}
        for rows in groups:
            block = np.floor(rows.t_s / block_s).astype(np.int64)
            local = np.einsum("nri,nr->ni", rows.local, rows.residual)
            beside = np.einsum("nri,nr->ni", rows.beside, rows.residual)
            for b in np.unique(block):
                here = block == b
                path = by_path.setdefault(int(b), np.zeros(len(self.damping)))
                np.add.at(path, SIZE * rows.first[here, None] + np.arange(LOCAL), local[here])
                numbers = by_numbers.setdefault(int(b), np.zeros(self.arrow.numbers))
                np.add.at(numbers, rows.columns[here], beside[here])
        return np.array([by_numbers[b] - by_path[b] @ self.side for b in sorted(by_path)])

    @cached_property
    def reduced(self) -> Array:
        """(numbers, numbers) information on the numbers, the path free to follow."""
        return self.arrow.corner - self.arrow.side.T @ self.side

    @cached_property
    def _reduced_factor(self) -> tuple[Array, bool]:
        return cho_factor(self.reduced, lower=True)

    def solve(self, path: Array, numbers: Array) -> tuple[Array, Array]:
        """x of A x = (path, numbers)."""
        alone = self._by_path(path)
        beside = cho_solve(self._reduced_factor, numbers - self.arrow.side.T @ alone)
        return alone - self.side @ beside, np.asarray(beside)

    @cached_property
    def covariance(self) -> Array:
        """(numbers, numbers)."""
        return np.asarray(cho_solve(self._reduced_factor, np.eye(self.arrow.numbers)))

    def step(self) -> tuple[Array, Array]:
        """Gauss–Newton's."""
        path, numbers = self.solve(-self.arrow.path_gradient, -self.arrow.gradient)
        return path, numbers
