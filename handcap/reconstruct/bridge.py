"""Between keyframes: the IMU's path, bent so that it meets the keyframes at both ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handcap.clock import seconds
from handcap.geometry import Array, adjoint, inverse, se3, so3_exp, so3_log
from handcap.measure.gyro import running_product
from handcap.reconstruct.inertial import GRAVITY_WORLD, States
from handcap.reconstruct.knocks import Knocks
from handcap.reconstruct.uncertainty import PoseUncertainty
from handcap.types import ImuModel, ImuSamples, Stamps

_AT_ONCE = 256  # intervals: a minute of them, so that memory does not grow with the take


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
    wanted = np.unique(which)
    for k in range(0, len(wanted), _AT_ONCE):
        some = wanted[k : k + _AT_ONCE]
        rows = slice(*np.searchsorted(which, [some[0], some[-1] + 1]))
        out[rows] = _bridged(states, some, imu, at_ns[rows], np.searchsorted(some, which[rows]))
    return out


def _bridged(
    states: States, wanted: NDArray[np.int64], imu: ImuSamples, at_ns: Stamps, which: NDArray[np.int64]
) -> Array:
    """The intervals `wanted`, each from its keyframe of that number on; `at_ns` lie in number `which` of them."""
    start, end = states.t_ns[wanted], states.t_ns[wanted + 1]
    first = np.searchsorted(imu.t_ns, start, side="right")
    inner = np.maximum(np.searchsorted(imu.t_ns, end, side="left") - first, 0)
    sample = np.repeat(first, inner) + _counted(inner)
    number = np.arange(len(wanted))
    owner = np.concatenate([number, number, np.repeat(number, inner), which])
    past = np.concatenate([start, end, imu.t_ns[sample], at_ns]) - start[owner]
    longest = 1 + int((end - start).max())
    grid = np.unique(owner * longest + past)
    owner, past = np.divmod(grid, longest)
    edge = np.searchsorted(owner, np.arange(len(wanted) + 1))
    R, v, p = _integrated(states.take(wanted), imu, owner, start[owner] + past, edge[:-1])
    goal, last = states.take(wanted + 1), edge[1:] - 1
    theta = so3_log(np.swapaxes(R[last], 1, 2) @ goal.T_world_imu[:, :3, :3])
    miss_p, miss_v = goal.T_world_imu[:, :3, 3] - p[last], goal.velocity_world - v[last]
    at = np.searchsorted(grid, which * longest + (at_ns - start[which]))
    span_s = ((end - start) / 1e9)[which, None]
    s = ((at_ns - start[which]) / 1e9)[:, None] / span_s
    bent = p[at] + miss_p[which] * (3 * s**2 - 2 * s**3) + miss_v[which] * span_s * (s**3 - s**2)
    return se3(R[at] @ so3_exp(s * theta[which]), bent)


def _integrated(
    start: States, imu: ImuSamples, owner: NDArray[np.int64], time: Stamps, first: NDArray[np.int64]
) -> tuple[Array, Array, Array]:
    """Strapdown integration from every state over its own times.

    Args:
        owner: (k,) ascending, which of the states each time belongs to.
        time: (k,) ascending within each.
        first: where each state's times begin; the first of them is its own.

    Returns:
        Rotation (k, 3, 3), velocity and position (k, 3).
    """
    t, known = seconds(time, int(time[0])), seconds(imu.t_ns, int(time[0]))
    a, b = np.searchsorted(known, [t[0], t[-1]])
    near = slice(max(a - 1, 0), b + 2)
    gyro = np.stack([np.interp(t, known[near], column) for column in imu.gyro_imu[near].T], axis=1)
    accel = np.stack([np.interp(t, known[near], column) for column in imu.accel_imu[near].T], axis=1)
    gyro, accel = gyro - start.gyro_bias[owner], accel - start.accel_bias[owner]
    inside = owner[1:] == owner[:-1]  # the step from one state's last time to the next one's first is none
    dt = np.where(inside, np.diff(time) / 1e9, 0.0)[:, None]
    turn = (gyro[1:] + gyro[:-1]) / 2 * dt
    turned = running_product(turn).as_matrix()
    R = (start.T_world_imu[:, :3, :3] @ np.swapaxes(turned[first], 1, 2))[owner] @ turned
    a_world = np.einsum("kij,kj->ki", R[:-1] @ so3_exp(turn / 2), (accel[1:] + accel[:-1]) / 2) + GRAVITY_WORLD
    v = _summed(start.velocity_world, a_world * dt, owner, first)
    return R, v, _summed(start.T_world_imu[:, :3, 3], v[:-1] * dt + a_world * dt**2 / 2, owner, first)


def _summed(start: Array, step: Array, owner: NDArray[np.int64], first: NDArray[np.int64]) -> Array:
    """(k, 3) running sums of steps (k - 1, 3), begun anew from every owner's start."""
    total = np.concatenate([np.zeros((1, 3)), np.cumsum(step, axis=0)])
    return (start - total[first])[owner] + total


def _counted(count: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, ..., count[0] - 1, 0, 1, ..., count[1] - 1, ..."""
    return np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)


def bridge_covariance(
    states: States, uncertainty: PoseUncertainty, T_world_imu: Array, at_ns: Stamps, model: ImuModel, imu: ImuSamples
) -> Array:
    """Covariance (m, 6, 6) of bridged poses: both ends' joint covariance carried over, plus the IMU's noise between.

    The end keyframes weigh in linearly with time. The noise of a bridge pinned at both ends of an interval h is
    σ_g² h s(1-s) in rotation and σ_a² h³ (s(1-s))³ / 3 in position, s the share of the interval gone by; knocks add
    to σ_g and σ_a what they leave open.
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
    knocked = Knocks(imu).density(states.t_ns[:-1], states.t_ns[1:])[i]
    rotation = (model.gyro_noise_density**2 + knocked[:, 0] ** 2) * h * bow
    position = (model.accel_noise_density**2 + knocked[:, 1] ** 2) * h**3 * bow**3 / 3
    cov[:, range(3), range(3)] += rotation[:, None]
    cov[:, range(3, 6), range(3, 6)] += position[:, None]
    return (cov + np.swapaxes(cov, 1, 2)) / 2
