"""Between keyframes: the IMU's path, bent so that it meets the keyframes at both ends."""

from __future__ import annotations

import numpy as np

from handcap.clock import seconds
from handcap.geometry import Array, adjoint, inverse, se3, so3_exp, so3_log
from handcap.reconstruct.gyro import running_product
from handcap.reconstruct.inertial import GRAVITY_WORLD, States
from handcap.reconstruct.uncertainty import PoseUncertainty
from handcap.types import ImuModel, ImuSamples, Stamps


def bridge_poses(states: States, imu: ImuSamples, at_ns: Stamps) -> Array:
    """Poses at any times within the states' span.

    Each interval is integrated from its first keyframe; what is left at the second one (position, velocity, rotation)
    is spread over the interval: rotation evenly, position by the cubic that meets both ends' position and velocity.

    Args:
        at_ns: (m,) ascending, IMU clock, within [states.t_ns[0], states.t_ns[-1]].

    Returns:
        (m, 4, 4) T_world_imu.
    """
    assert len(at_ns) == 0 or (at_ns[0] >= states.t_ns[0] and at_ns[-1] <= states.t_ns[-1])
    out = np.empty((len(at_ns), 4, 4))
    which = np.clip(np.searchsorted(states.t_ns, at_ns, side="right") - 1, 0, len(states) - 2)
    for i in np.unique(which):
        rows = np.flatnonzero(which == i)
        out[rows] = _bridge(states, int(i), imu, at_ns[rows])
    return out


def _bridge(states: States, i: int, imu: ImuSamples, at_ns: Stamps) -> Array:
    start, end = int(states.t_ns[i]), int(states.t_ns[i + 1])
    inner = imu.t_ns[np.searchsorted(imu.t_ns, start, side="right") : np.searchsorted(imu.t_ns, end, side="left")]
    grid = np.unique(np.concatenate([[start, end], inner, at_ns]))
    R, v, p = _integrate(states, i, imu, grid)
    T_end, v_end = states.T_world_imu[i + 1], states.velocity_world[i + 1]
    theta = so3_log(R[-1].T @ T_end[:3, :3])
    miss_p, miss_v = T_end[:3, 3] - p[-1], v_end - v[-1]
    rows = np.searchsorted(grid, at_ns)
    span_s = (end - start) / 1e9
    s = (seconds(at_ns, start) / span_s)[:, None]
    bent = p[rows] + miss_p * (3 * s**2 - 2 * s**3) + miss_v * span_s * (s**3 - s**2)
    return se3(R[rows] @ so3_exp(s * theta), bent)


def _integrate(states: States, i: int, imu: ImuSamples, grid: Stamps) -> tuple[Array, Array, Array]:
    """Strapdown integration from state i over `grid` (k,): rotation (k, 3, 3), velocity and position (k, 3)."""
    a, b = np.searchsorted(imu.t_ns, [grid[0], grid[-1]])
    near = slice(max(a - 1, 0), b + 2)
    t, known = seconds(grid, int(grid[0])), seconds(imu.t_ns[near], int(grid[0]))
    gyro = np.stack([np.interp(t, known, column) for column in imu.gyro_imu[near].T], axis=1) - states.gyro_bias[i]
    accel = np.stack([np.interp(t, known, column) for column in imu.accel_imu[near].T], axis=1) - states.accel_bias[i]
    dt = np.diff(t)[:, None]
    turn = (gyro[1:] + gyro[:-1]) / 2 * dt
    R = states.T_world_imu[i, :3, :3] @ running_product(turn).as_matrix()
    R_mid = R[:-1] @ so3_exp(turn / 2)
    a_world = np.einsum("kij,kj->ki", R_mid, (accel[1:] + accel[:-1]) / 2) + GRAVITY_WORLD
    v = states.velocity_world[i] + np.concatenate([np.zeros((1, 3)), np.cumsum(a_world * dt, axis=0)])
    moved = v[:-1] * dt + a_world * dt**2 / 2
    p = states.T_world_imu[i, :3, 3] + np.concatenate([np.zeros((1, 3)), np.cumsum(moved, axis=0)])
    return R, v, p


def bridge_covariance(
    states: States, uncertainty: PoseUncertainty, T_world_imu: Array, at_ns: Stamps, model: ImuModel
) -> Array:
    """Covariance (m, 6, 6) of bridged poses: both ends' joint covariance carried over, plus the IMU's noise between.

    The end keyframes weigh in linearly with time. The noise of a bridge pinned at both ends of an interval h is
    σ_g² h s(1-s) in rotation and σ_a² h³ (s(1-s))³ / 3 in position, s the share of the interval gone by.
    """
    i = np.clip(np.searchsorted(states.t_ns, at_ns, side="right") - 1, 0, len(states) - 2)
    h = (states.t_ns[i + 1] - states.t_ns[i]) / 1e9
    s = (at_ns - states.t_ns[i]) / 1e9 / h
    to_body = inverse(T_world_imu)
    A = (1 - s)[:, None, None] * adjoint(to_body @ states.T_world_imu[i])
    C = s[:, None, None] * adjoint(to_body @ states.T_world_imu[i + 1])
    ii, jj = uncertainty.cov[i, :, i, :], uncertainty.cov[i + 1, :, i + 1, :]
    ij = uncertainty.cov[i, :, i + 1, :]
    half = A @ ij @ np.swapaxes(C, 1, 2)
    cov = A @ ii @ np.swapaxes(A, 1, 2) + C @ jj @ np.swapaxes(C, 1, 2) + half + np.swapaxes(half, 1, 2)
    bow = s * (1 - s)
    rotation = model.gyro_noise_density**2 * h * bow
    position = model.accel_noise_density**2 * h**3 * bow**3 / 3
    cov[:, range(3), range(3)] += rotation[:, None]
    cov[:, range(3, 6), range(3, 6)] += position[:, None]
    return (cov + np.swapaxes(cov, 1, 2)) / 2
