"""Whether what is taken as constant is: clock, board, mounting, and the inertial sensor's own axes.

At the optimum each is let loose, the path and all else free to follow: one Gauss-Newton step says what it would rather
be, and how much better everything would fit. A board that is pushed pulls the path for a fraction of a second only, one
way before and the other way after: where the pull of all later corners, summed up, is largest, is when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from handcap.calibrate.camera_imu.arrow import Arrow, Factor, Rows
from handcap.calibrate.camera_imu.fit import Fit
from handcap.geometry import Array, skew

# What may be, standard deviations: a clock and its rate, a turn and a shift, an axis of a sensor.
_CLOCK_S, _CLOCK_RATE, _TURN_RAD, _SHIFT_M, _AXIS = 0.02, 0.01, 0.05, 0.05, 0.02
_END_S = 1.0  # a change so close to either end is told by too little


@dataclass(frozen=True, eq=False, slots=True)
class Change:
    """What a freed quantity would rather be.

    Attributes:
        gain: by how much the sum of squares falls, lasting errors allowed for.
        value: (d,) deviation; of a step, what is after it less what is before.
        t_s: when it stepped, on the fit's clock; None for what is no step.
    """

    gain: float
    value: Array
    t_s: float | None = None


ByCorner = Callable[[int, Rows], Array]  # camera, its rows: (n, 2, d) by what is freed


def _freed(fit: Fit, others: Arrow, rows: Iterable[Rows], prior: Array) -> tuple[float, Array]:
    """Gain and value of numbers beyond the layout's, which only `rows` touch; everything else as summed up already."""
    n = fit.factor.arrow.numbers
    arrow = others.with_more(len(prior))
    for some in rows:
        arrow.add(some)
    extra = n + np.arange(len(prior))
    arrow.add_prior(extra, np.diag(1 / prior), np.zeros(len(prior)))
    _, numbers = Factor(arrow, fit.factor.damping).step()
    return -float(arrow.gradient[extra] @ numbers[extra]) / fit.inflation, numbers[extra]


def _with(fit: Fit, cameras: Sequence[int], by: ByCorner) -> Iterator[Rows]:
    """Corners of these cameras, touching what is freed too."""
    n = fit.factor.arrow.numbers
    for k in cameras:
        for rows in fit.corners[k]:
            beside = by(k, rows)
            columns = np.broadcast_to(n + np.arange(beside.shape[-1]), (len(beside), beside.shape[-1]))
            yield rows.with_more(columns, beside)


def _but_corners(fit: Fit, cameras: Sequence[int]) -> Arrow:
    """Everything but the corners of these cameras."""
    gyros, accels, _, priors = fit.sums
    out = gyros + accels + priors
    for k in set(range(len(fit.problem.cameras))) - set(cameras):
        for rows in fit.corners[k]:
            out.add(rows)
    return out


def _stepped(fit: Fit, cameras: Sequence[int], by: ByCorner, prior: Array) -> Change:
    """The one step that would help most."""
    path, spans = fit.state.path, len(fit.state.path.p) - 5
    pull, hold = np.zeros((spans, len(prior))), np.diag(1 / prior**2)
    for k in cameras:
        for rows in fit.corners[k]:
            beside = by(k, rows)
            np.add.at(pull, rows.first, np.einsum("nri,nr->ni", beside, rows.residual))
            hold += np.einsum("nri,nrj->ij", beside, beside)
    later = np.cumsum(pull[::-1], axis=0)[::-1]
    end = min(int(_END_S / path.step_s), spans // 4)
    inner = later[end : spans - end]
    when = end + int(np.argmax(np.einsum("ni,ni->n", inner, np.linalg.solve(hold, inner.T).T)))

    def after(k: int, rows: Rows) -> Array:
        return by(k, rows) * (rows.first >= when)[:, None, None]

    gain, value = _freed(fit, _but_corners(fit, cameras), _with(fit, cameras, after), prior)
    return Change(gain, value, path.start_s + when * path.step_s)


def clock_step(fit: Fit, k: int) -> Change:
    """Of camera k's offset, s."""
    return _stepped(fit, [k], lambda _, rows: rows.beside[..., 6:7], np.array([_CLOCK_S]))


def clock_drift(fit: Fit, k: int) -> Change:
    """By how much camera k's offset grows, s per s."""
    middle = (fit.state.path.start_s + fit.state.path.end_s) / 2

    def by(_: int, rows: Rows) -> Array:
        return rows.beside[..., 6:7] * (rows.t_s - middle)[:, None, None]

    return Change(*_freed(fit, _but_corners(fit, [k]), _with(fit, [k], by), np.array([_CLOCK_RATE])))


def mount_step(fit: Fit, k: int) -> Change:
    """Of camera k's mounting, rad and m in its axes."""
    return _stepped(fit, [k], lambda _, rows: rows.beside[..., :6], np.repeat([_TURN_RAD, _SHIFT_M], 3))


def board_step(fit: Fit) -> Change:
    """Of the board's pose, rad about its middle and m in its own axes."""
    corners = np.concatenate([camera.board for camera in fit.problem.cameras])
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2

    def by(k: int, rows: Rows) -> Array:
        by_point = -rows.by_shift
        return np.concatenate([-by_point @ skew(fit.problem.cameras[k].board[rows.index] - middle), by_point], axis=-1)

    return _stepped(fit, range(len(fit.problem.cameras)), by, np.repeat([_TURN_RAD, _SHIFT_M], 3))


def axes_changes(fit: Fit) -> Change:
    """(15,) what gyroscope and accelerometer show of one axis on another, as shares.

    Six of the gyroscope's (xx, yy, zz, yz, xz, xy, symmetric), six of the accelerometer's, and three by which the
    gyroscope's axes are turned against the accelerometer's, rad. A turn of both is the mounting.
    """
    problem, state, n = fit.problem, fit.state, fit.factor.arrow.numbers
    sigmas = problem.sigmas
    gyros, accels = problem.gyro_rows(state, fit.weights.gyro), problem.accel_rows(state, fit.weights.accel)
    at = state.path.at(problem.imu.t_s)
    force = np.einsum("nji,nj->ni", at.R, at.acceleration - state.gravity_board)
    turned = -skew(at.rate_body)

    def rows(some: Rows, felt: Array, start: int, sigma: float, weight: Array, turn: Array) -> Rows:
        scale = (np.sqrt(weight) / sigma)[:, None, None]
        columns = np.broadcast_to(n + np.r_[start + np.arange(6), 12 + np.arange(3)], (len(felt), 9))
        return some.with_more(columns, np.concatenate([_symmetric(felt), turn], axis=-1) * scale)

    freed = [
        rows(gyros, at.rate_body, 0, sigmas.gyro, fit.weights.gyro, turned),
        rows(accels, force, 6, sigmas.accel, fit.weights.accel, np.zeros_like(turned)),
    ]
    _, _, corners, priors = fit.sums
    return Change(*_freed(fit, corners + priors, freed, np.full(15, _AXIS)))


def _symmetric(v: Array) -> Array:
    """(n, 3) to (n, 3, 6): a symmetric matrix's xx, yy, zz, yz, xz, xy times v."""
    out = np.zeros((len(v), 3, 6))
    for i in range(3):
        out[:, i, i] = v[:, i]
    for column, (i, j) in zip((3, 4, 5), ((1, 2), (0, 2), (0, 1)), strict=True):
        out[:, i, column], out[:, j, column] = v[:, j], v[:, i]
    return out
