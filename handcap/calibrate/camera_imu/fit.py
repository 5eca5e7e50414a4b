"""The full refinement: path, mounting, clocks, shutters, gravity, biases and board size, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from handcap.calibrate.camera_imu.arrow import Arrow, Factor, Rows
from handcap.calibrate.camera_imu.lasting import LastingParams, lasting
from handcap.calibrate.camera_imu.problem import Problem, Residuals, Sigmas, State
from handcap.geometry import Array


@dataclass(frozen=True, slots=True)
class FitParams:
    """Attributes:
    step_s: between controls of the path: motion of hands up to some 15 Hz is followed, the IMU tells it.
    bias_step_s: between the knots of the biases.
    rounds: of Gauss–Newton at most.
    settled: a step below this share of every number's sigma ends it.
    robust: sigmas beyond which a corner's weight falls (Huber),
    lost: and is nothing, once the noise is known: a tag taken for another is no measurement.
    hold_rad, hold_m: keep controls that nothing measures where they are.
    noise_rounds: how often the noise is measured anew.
    noise_settled: share by which it may still change.
    probes: random vectors that count degrees of freedom; a few tell them to a hundredth.
    least_noise: times the first guess of a noise that it may fall to: nothing is exact.
    shutter_sigmas: a line delay that is 0 in rig.json and within so many sigmas of it is a global shutter's: 0.
    block_s: stretches whose errors are taken as independent of each other.
    """

    step_s: float = 0.02
    bias_step_s: float = 5.0
    rounds: int = 15
    settled: float = 0.05
    robust: float = 2.5
    lost: float = 7.0
    hold_rad: float = 10.0
    hold_m: float = 10.0
    noise_rounds: int = 4
    noise_settled: float = 0.02
    probes: int = 8
    least_noise: float = 0.1
    shutter_sigmas: float = 3.0
    block_s: float = 1.0
    lasting: LastingParams = field(default_factory=LastingParams)


@dataclass(frozen=True, eq=False, slots=True)
class Weights:
    """What robust losses give, by sample (n,), by corner of each camera (n,); 0 where the lens does not reach.

    Inertial samples all count alike: one that does not fit is no slip of a detector but a sign of something else, and a
    robust loss would hide it: a board pushed by 3 mm passed for eight bad samples of the gyroscope.
    """

    gyro: Array
    accel: Array
    corner: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Fit:
    """The optimum.

    Attributes:
        problem: with sigmas as the take shows them.
        state, residuals, weights: at the optimum.
        sums: normal equations there of gyroscope, accelerometer, corners and priors.
        factor: of their sum.
        settled: whether the last step was small.
        rounds: how many it took.
        freedom: (3,) of gyroscope, accelerometer, corners: degrees of freedom left per number measured.
        covariance: of all numbers beside the path, errors that last allowed for.
        inflation: by how much variances came out larger still from stretch to stretch.
    """

    problem: Problem
    state: State
    residuals: Residuals
    weights: Weights
    sums: tuple[Arrow, Arrow, Arrow, Arrow]
    factor: Factor
    settled: bool
    rounds: int
    freedom: Array
    covariance: Array
    inflation: float = 1.0

    @cached_property
    def corners(self) -> tuple[tuple[Rows, ...], ...]:
        """Of each camera, linearised at the optimum; many ask."""
        return tuple(
            tuple(self.problem.corner_rows(self.state, k, weight)) for k, weight in enumerate(self.weights.corner)
        )


def _weight(error: Array, sigma: float, robust: float, lost: float) -> Array:
    """(n,) of rows (n, d); 0 where unknown."""
    size = np.linalg.norm(error, axis=1) / (sigma * np.sqrt(error.shape[1]))
    return np.where(size <= lost, np.minimum(1.0, robust / np.maximum(size, 1e-12)), 0.0)


def _weights_of(problem: Problem, residuals: Residuals, robust: float, lost: float) -> Weights:
    return Weights(
        np.ones(len(residuals.gyro)),
        np.ones(len(residuals.accel)),
        tuple(_weight(error, problem.sigmas.corner, robust, lost) for error in residuals.corner),
    )


def linearised(problem: Problem, state: State, weights: Weights) -> tuple[Arrow, Arrow, Arrow, Arrow]:
    """Normal equations of gyroscope, accelerometer, corners and priors."""
    gyros, accels, corners, priors = (Arrow(len(state.path.p), problem.layout(state).size) for _ in range(4))
    gyros.add(problem.gyro_rows(state, weights.gyro))
    accels.add(problem.accel_rows(state, weights.accel))
    for k, weight in enumerate(weights.corner):
        for rows in problem.corner_rows(state, k, weight):
            corners.add(rows)
    problem.add_priors(state, priors)
    return gyros, accels, corners, priors


def fitted(problem: Problem, state: State, params: FitParams, lost: float = np.inf) -> Fit:
    """Gauss–Newton with robust weights from a start that is near; corners more than `lost` sigmas off do not count."""
    hold = np.tile(1 / np.r_[[params.hold_rad] * 3, [params.hold_m] * 3] ** 2, len(state.path.p))
    settled, rounds = False, 0
    residuals = problem.residuals(state)
    weights = _weights_of(problem, residuals, params.robust, lost)
    while True:
        rounds += 1
        sums = linearised(problem, state, weights)
        factor = Factor(sums[0] + sums[1] + sums[2] + sums[3], hold)
        path, numbers = factor.step()
        sigma = np.sqrt(np.maximum(np.diag(factor.covariance), 1e-300))
        settled = bool(np.max(np.abs(numbers) / sigma) < params.settled)
        state = problem.moved(state, path, numbers)
        residuals = problem.residuals(state)
        if settled or rounds >= params.rounds:
            freedom = _freedom(factor, sums, params)
            return Fit(problem, state, residuals, weights, sums, factor, settled, rounds, freedom, factor.covariance)
        weights = _weights_of(problem, residuals, params.robust, lost)


def _freedom(factor: Factor, sums: tuple[Arrow, ...], params: FitParams) -> Array:
    """(3,) degrees of freedom that gyroscope, accelerometer and corners use up (Hutchinson's trace)."""
    rng = np.random.default_rng(0)  # the same take, the same bytes
    used = np.zeros(3)
    n, k = len(factor.arrow.path_gradient), factor.arrow.numbers
    for _ in range(params.probes):
        path, numbers = rng.choice([-1.0, 1.0], n), rng.choice([-1.0, 1.0], k)
        answer = factor.solve(path, numbers)
        for group in range(3):
            by_path, by_numbers = sums[group].times(path, numbers)
            used[group] += answer[0] @ by_path + answer[1] @ by_numbers
    return used / params.probes


def _measured_noise(fit: Fit) -> Array:
    """(3,) sigmas of gyroscope, accelerometer and corners that the residuals show."""
    weights, residuals = fit.weights, fit.residuals
    groups = [(weights.gyro, residuals.gyro), (weights.accel, residuals.accel)]
    groups.append((np.concatenate(weights.corner), np.concatenate(residuals.corner)))
    found: list[float] = []
    for (weight, error), used in zip(groups, fit.freedom, strict=True):
        known = weight > 0
        count = error.shape[1] * float(weight[known].sum())
        left = float(np.clip(1 - used / count, 0.05, 1.0))
        total = float(np.sum(weight[known, None] * error[known] ** 2))
        found.append(float(np.sqrt(total / (count * left))))
    return np.array(found)


def _middling(errors: Sequence[Array]) -> float:
    """Sigma per axis of Gaussian errors with this median length."""
    length = np.concatenate([np.linalg.norm(error, axis=1) for error in errors])
    return float(np.nanmedian(length) / np.sqrt(2 * np.log(2)))


def refined(problem: Problem, state: State, params: FitParams) -> Fit:
    """The optimum with noise as the take shows it; a shutter that shows no delay is held as global."""
    told = [mount.line_delay_s for mount in state.mounts]
    fit = fitted(problem, state, params)
    least = params.least_noise * np.array(astuple(problem.sigmas))
    # The median first: a few corners that are wholly astray would make all others seem noisy.
    noise = np.r_[_measured_noise(fit)[:2], _middling(fit.residuals.corner)]
    for _ in range(params.noise_rounds):
        noise = np.maximum(noise, least)
        problem = Problem(problem.imu, problem.cameras, Sigmas(*noise.tolist()), problem.priors)
        fit = fitted(problem, fit.state, params, params.lost)
        before, noise = noise, _measured_noise(fit)
        if np.max(np.abs(np.log(noise / before))) < params.noise_settled:
            break
    free = [value != 0 or not _no_delay(fit, k, params) for k, value in enumerate(told)]
    if not all(free):
        problem = Problem(problem.imu, problem.cameras, problem.sigmas, problem.priors, free)
        mounts = [
            mount if sought else replace(mount, line_delay_s=0.0)
            for mount, sought in zip(fit.state.mounts, free, strict=True)
        ]
        fit = fitted(problem, replace(fit.state, mounts=tuple(mounts)), params, params.lost)
    return _honest(fit, params)


def _honest(fit: Fit, params: FitParams) -> Fit:
    """With the covariance that errors which last leave, and what their scatter from stretch to stretch says of it."""
    problem, state, factor = fit.problem, fit.state, fit.factor
    layout = problem.layout(state)
    numbers = np.r_[layout.scale, np.concatenate(layout.mounts)]
    covariance = factor.covariance.copy()
    seen = (
        (rows, camera.view, camera.ids, camera.period_s)
        for rows, camera in zip(fit.corners, problem.cameras, strict=True)
    )
    covariance[np.ix_(numbers, numbers)] += lasting(factor, seen, numbers, params.lasting)
    inflation = _scatter(fit, np.diag(covariance), numbers, params)
    return replace(fit, covariance=covariance * inflation, inflation=inflation)


def _no_delay(fit: Fit, k: int, params: FitParams) -> bool:
    """Whether camera k's rows are exposed at once, for all that the take can tell."""
    column = fit.problem.layout(fit.state).mounts[k][7]
    sigma = float(np.sqrt(fit.covariance[column, column]))
    return abs(fit.state.mounts[k].line_delay_s) < params.shutter_sigmas * sigma


def _all_rows(fit: Fit) -> Iterator[Rows]:
    """Of every measurement."""
    yield fit.problem.gyro_rows(fit.state, fit.weights.gyro)
    yield fit.problem.accel_rows(fit.state, fit.weights.accel)
    for rows in fit.corners:
        yield from rows


def _scatter(fit: Fit, variance: Array, numbers: NDArray[np.int64], params: FitParams) -> float:
    """How much larger variances are than told, by the gradients of stretches of time, the path free to follow.

    They scatter as their information says, or more, where an error lasts that nobody modelled (White 1982, clustered in
    time); what is known beforehand scatters as stated.
    """
    scores = fit.factor.scores(_all_rows(fit), params.block_s)
    spread = fit.factor.covariance @ (scores.T @ scores + fit.sums[3].corner) @ fit.factor.covariance
    return float(max(np.mean(np.diag(spread)[numbers] / variance[numbers]), 1.0))
