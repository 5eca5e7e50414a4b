"""How well the poses are known, and the time offset that fits best: one linearisation at the optimum.

Velocities and biases are eliminated first (their block is banded, so this is cheap); what remains is the dense
information of all keyframe poses and of the time offset, which enters through the inertial factors alone: moving the
camera's stamps by dt moves the interval over which the IMU is integrated.

Tracking errors last: a feature that slid is still off in the next keyframe. The solver weighs observations as if they
were independent, which is near the best weighting, but its inverse information would then be too small. So the
covariance is the sandwich S⁻¹ (S_inertial + f S_visual) S⁻¹ (White 1980), f the variance factor of slow errors; and it
is then widened by what was measured to be missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import gtsam
import numpy as np
from gtsam.symbol_shorthand import X
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solveh_banded

from handcap.geometry import Array, adjoint, inverse
from handcap.reconstruct.bundle import Solution, Unsolvable, inertial_factors
from handcap.reconstruct.inertial import Preintegrator

_PROBE_S = 5e-4  # for the derivative by dt: far above rounding, far below the IMU's period
_CHAIN = 9  # velocity and both biases, per state
# Of covariances, for what no residual shows: lens, light on a surface, scale of an IMU. Chosen so that the regions of
# 48 bodies on 16 takes of the virtual rig (seeds 700 to 707 and 800 to 807) hold 94 %; EuRoC MH01 alone asks for 1.7.
UNMODELLED = 1.6


@dataclass(frozen=True, eq=False, slots=True)
class PoseUncertainty:
    """Joint covariance of keyframe poses, the time offset marginalised.

    Attributes:
        cov: (n, 6, n, 6) `[theta; rho]` in each body's axes.
        dt_step_s: Gauss–Newton step of the time offset from the current one.
        dt_sigma_s: standard deviation of the offset.
    """

    cov: Array
    dt_step_s: float
    dt_sigma_s: float

    def of_pose(self, i: int) -> Array:
        return self.cov[i, :, i, :]


def regauged(joint: PoseUncertainty, T_world_imu: Array, first: int) -> PoseUncertainty:
    """The same errors seen from a world whose position and yaw are those of one keyframe, exactly.

    Args:
        T_world_imu: (n, 4, 4), z up.
        first: that keyframe.
    """
    centred = T_world_imu.copy()
    centred[:, :3, 3] -= T_world_imu[first, :3, 3]
    kept = np.diag([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])  # turns about z, and shifts; the vertical is gravity's business
    M = adjoint(inverse(centred)) @ kept @ adjoint(centred[first])
    n = len(T_world_imu)
    G = np.eye(6 * n).reshape(n, 6, 6 * n)
    G[:, :, 6 * first : 6 * first + 6] -= M
    G = G.reshape(6 * n, 6 * n)
    cov = G @ joint.cov.reshape(6 * n, 6 * n) @ G.T
    return PoseUncertainty(((cov + cov.T) / 2).reshape(n, 6, n, 6), joint.dt_step_s, joint.dt_sigma_s)


class Linearised:
    """The normal equations of keyframe poses and the time offset at the optimum, all else eliminated.

    Attributes:
        inertial: (6n + 1, 6n + 1) information of the IMU and the priors; the offset comes last.
        visual: (6n, 6n) information of the observations.
        downhill: (6n + 1,) right-hand side.
    """

    def __init__(self, inertial: Array, visual: Array, downhill: Array) -> None:
        """Raises Unsolvable."""
        self.inertial, self.visual, self.downhill = inertial, visual, downhill
        whole = inertial.copy()
        whole[:-1, :-1] += visual
        self._scale = 1 / np.sqrt(np.maximum(np.diag(whole), 1e-12))  # units differ by 1e10: condition first
        scaled = whole * self._scale[:, None] * self._scale[None, :]
        try:
            self._factored = cho_factor(scaled + 1e-14 * np.eye(len(whole)), lower=True)
        except np.linalg.LinAlgError as error:
            raise Unsolvable(str(error)) from error

    def solve(self, rhs: Array) -> Array:
        """The whole information's inverse times (6n + 1, ...)."""
        scale = self._scale.reshape(-1, *[1] * (rhs.ndim - 1))
        return scale * cho_solve(self._factored, scale * rhs)

    def uncertainty(self, variance_factor: float) -> PoseUncertainty:
        """How well poses and offset are known.

        Args:
            variance_factor: of slow tracking errors over independent ones, at least 1.
        """
        n = len(self.visual) // 6
        half = self.solve(np.eye(len(self.inertial)))
        middle = self.inertial.copy()
        middle[:-1, :-1] += variance_factor * self.visual
        step = half @ self.downhill
        cov = UNMODELLED * (half @ middle @ half)
        return PoseUncertainty(
            ((cov + cov.T) / 2)[:-1, :-1].reshape(n, 6, n, 6), float(step[-1]), float(np.sqrt(cov[-1, -1]))
        )


def linearised(
    solution: Solution, imu: Preintegrator, dt_prior_sigma_s: float, dt_prior_off_s: float = 0.0
) -> Linearised:
    """Linearise at the optimum. Raises Unsolvable.

    Args:
        dt_prior_sigma_s: what is known of the offset beforehand.
        dt_prior_off_s: about which value, less the current one.
    """
    states, values, n = solution.states, solution.values, len(solution.states)
    inertial = inertial_factors(solution.steps)
    later = _whitened(inertial_factors(imu.chain(states.shifted(round(_PROBE_S * 1e9)))), values)
    earlier = _whitened(inertial_factors(imu.chain(states.shifted(-round(_PROBE_S * 1e9)))), values)
    by_dt = (later - earlier) / (2 * _PROBE_S)

    m = 6 * n + 1  # poses, then the offset
    S, g = np.zeros((m, m)), np.zeros(m)
    band = np.zeros((2 * _CHAIN, _CHAIN * n))  # lower form: band[i - j, j] = H[i, j]
    cross = np.zeros((_CHAIN * n, m))
    g_chain = np.zeros(_CHAIN * n)

    def add(pose_dims: NDArray[np.int_], chain_dims: NDArray[np.int_], J_pose: Array, J_chain: Array, r: Array) -> None:
        """One factor: whitened residual r, Jacobians by pose-or-offset and by chain variables."""
        S[np.ix_(pose_dims, pose_dims)] += J_pose.T @ J_pose
        g[pose_dims] -= J_pose.T @ r
        cross[np.ix_(chain_dims, pose_dims)] += J_chain.T @ J_pose
        g_chain[chain_dims] -= J_chain.T @ r
        H = J_chain.T @ J_chain
        row, col = np.meshgrid(chain_dims, chain_dims, indexing="ij")
        low = row >= col
        np.add.at(band, (row[low] - col[low], col[low]), H[low])

    for i, factor in enumerate(inertial):
        A, b = factor.linearize(values).jacobian()  # columns: X(i) V(i) X(i+1) V(i+1) B(i) B(i+1)
        pose_dims = np.r_[6 * i : 6 * i + 6, 6 * i + 6 : 6 * i + 12, m - 1]
        chain_dims = np.r_[_CHAIN * i : _CHAIN * i + 3, _CHAIN * (i + 1) : _CHAIN * (i + 1) + 3]
        chain_dims = np.r_[chain_dims, _CHAIN * i + 3 : _CHAIN * (i + 1), _CHAIN * (i + 1) + 3 : _CHAIN * (i + 2)]
        J_pose = np.c_[A[:, 0:6], A[:, 9:15], by_dt[i]]
        J_chain = np.c_[A[:, 6:9], A[:, 15:18], A[:, 18:24], A[:, 24:30]]
        add(pose_dims, chain_dims, J_pose, J_chain, -b)
    sight = gtsam.NonlinearFactorGraph()
    for k in range(solution.graph.size()):
        factor = solution.graph.at(k)
        if isinstance(factor, gtsam.PriorFactorConstantBias):
            A, b = factor.linearize(values).jacobian()
            i = gtsam.Symbol(factor.keys()[0]).index()
            add(np.zeros(0, int), _CHAIN * i + np.arange(3, _CHAIN), np.zeros((6, 0)), A, -b)
        elif isinstance(factor, gtsam.PriorFactorPose3):
            A, b = factor.linearize(values).jacobian()
            i = gtsam.Symbol(factor.keys()[0]).index()
            add(6 * i + np.arange(6), np.zeros(0, int), A, np.zeros((6, 0)), -b)
        elif not isinstance(factor, gtsam.CombinedImuFactor):
            sight.add(factor)
    visual = _visual_information(sight, values, g)
    S[-1, -1] += 1 / dt_prior_sigma_s**2
    g[-1] += dt_prior_off_s / dt_prior_sigma_s**2

    band[0] += 1e-9
    try:
        solved = solveh_banded(band, np.c_[cross, g_chain], lower=True)
    except np.linalg.LinAlgError as error:
        raise Unsolvable(str(error)) from error
    S -= cross.T @ solved[:, :-1]
    g -= cross.T @ solved[:, -1]
    return Linearised((S + S.T) / 2, visual, g)


def _visual_information(sight: gtsam.NonlinearFactorGraph, values: gtsam.Values, g: Array) -> Array:
    """Information (6n, 6n) of the smart factors; their gradient is added to `g`, whose last entry is the offset's."""
    present = sorted(gtsam.Symbol(key).index() for key in sight.keyVector())
    out = np.zeros((len(g) - 1, len(g) - 1))
    if not present:
        return out
    order = gtsam.Ordering()
    for i in present:
        order.push_back(X(i))
    information, eta = sight.linearize(values).hessian(order)
    dims = (6 * np.array(present)[:, None] + np.arange(6)).ravel()
    out[np.ix_(dims, dims)] = information
    g[dims] += np.asarray(eta).ravel()
    return (out + out.T) / 2


def _whitened(factors: list[gtsam.CombinedImuFactor], values: gtsam.Values) -> Array:
    return np.array([f.whitenedError(values) for f in factors]).reshape(len(factors), 15)
