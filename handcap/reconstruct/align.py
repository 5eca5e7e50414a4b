"""Scale, gravity, velocities and accelerometer bias from poses up to scale, by linear least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as sparse_linalg
from numpy.typing import NDArray

from handcap.clock import seconds
from handcap.geometry import GRAVITY_M_S2, Array, gravity_alignment, inverse, se3
from handcap.reconstruct.inertial import Preintegrator, States
from handcap.types import Stamps


@dataclass(frozen=True, slots=True)
class AlignParams:
    velocity_sigma: float = 0.03  # m/s: what rotations and positions from structure from motion leave per interval
    accel_bias_sigma: float = 0.3  # m/s²: consumer parts stay within it
    gravity_rounds: int = 4


@dataclass(frozen=True, eq=False, slots=True)
class Alignment:
    """Metric start of the bundle adjustment.

    Attributes:
        states: at the keyframes, world z up, first keyframe at the origin.
        scale: metres per unit of the input.
        scale_sigma: its standard deviation over its value.
        gravity_norm: |g| found before it was held to 9.81, m/s².
    """

    states: States
    scale: float
    scale_sigma: float
    gravity_norm: float


def align(
    t_ns: Stamps,
    R_anchor_cam: Array,
    p_anchor: Array,
    T_imu_cam: Array,
    gyro_bias: Array,
    imu: Preintegrator,
    params: AlignParams | None = None,
) -> Alignment | None:
    """Visual-inertial alignment, after Martinelli 2014 and Qin et al. 2018, with |g| held in the last rounds.

    Args:
        t_ns: (n,) keyframe times, IMU clock.
        R_anchor_cam, p_anchor: (n, 3, 3), (n, 3) camera poses up to scale.
        gyro_bias: (3,) rad/s.

    Returns:
        None when the scale comes out negative or the system is singular.
    """
    params = params or AlignParams()
    n = len(t_ns)
    R_anchor_imu = R_anchor_cam @ T_imu_cam[:3, :3].T
    lever = R_anchor_imu @ T_imu_cam[:3, 3]  # from IMU to camera, anchor axes
    blank = States(
        t_ns, np.broadcast_to(np.eye(4), (n, 4, 4)), np.zeros((n, 3)), np.tile(gyro_bias, (n, 1)), np.zeros((n, 3))
    )
    steps = imu.chain(blank)
    dt = np.array([d.deltaTij() for d in steps])
    dp = np.array([d.deltaPij() for d in steps])
    dv = np.array([d.deltaVij() for d in steps])

    rows: list[NDArray[Any]] = []
    cols: list[NDArray[Any]] = []
    values: list[Array] = []

    def block(row: NDArray[np.int_], col: NDArray[np.int_], value: Array) -> None:
        """Place (m, 3, k) blocks at rows `row` (m,) and columns `col` (m,)."""
        m, _, k = value.shape
        rows.append(np.broadcast_to(row[:, None, None] + np.arange(3)[None, :, None], (m, 3, k)).ravel())
        cols.append(np.broadcast_to(col[:, None, None] + np.arange(k)[None, None, :], (m, 3, k)).ravel())
        values.append(value.ravel())

    m = n - 1
    position, velocity = 6 * np.arange(m), 6 * np.arange(m) + 3
    v_i, v_j = 3 * np.arange(m), 3 * np.arange(1, n)
    at_g, at_scale, at_bias = (np.full(m, 3 * n + k) for k in (0, 3, 4))
    eye = np.broadcast_to(np.eye(3), (m, 3, 3))
    d = dt[:, None, None]
    # position: s (c_j - c_i) / dt - v_i - g dt / 2 + R_i b dt / 2 = R_i dp / dt + (lever_j - lever_i) / dt
    block(position, at_scale, np.diff(p_anchor, axis=0)[:, :, None] / d)
    block(position, v_i, -eye)
    block(position, at_g, -eye * d / 2)
    block(position, at_bias, R_anchor_imu[:-1] * d / 2)
    rhs_position = (np.einsum("nij,nj->ni", R_anchor_imu[:-1], dp) + np.diff(lever, axis=0)) / dt[:, None]
    # velocity: v_j - v_i - g dt + R_i b dt = R_i dv
    block(velocity, v_j, eye)
    block(velocity, v_i, -eye)
    block(velocity, at_g, -eye * d)
    block(velocity, at_bias, R_anchor_imu[:-1] * d)
    rhs_velocity = np.einsum("nij,nj->ni", R_anchor_imu[:-1], dv)
    A: Any = sparse.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), shape=(6 * m, 3 * n + 7)
    )
    b = np.stack([rhs_position, rhs_velocity], axis=1).ravel()
    # An interval with a knock in it weighs as little as its speed is known.
    sure = np.repeat(1 / np.hypot(1.0, imu.speed_left_open(t_ns) / params.velocity_sigma), 6)
    A, b = sparse.diags(sure) @ A, sure * b
    prior = np.zeros(3 * n + 7)
    prior[-3:] = (params.velocity_sigma / params.accel_bias_sigma) ** 2

    free = _solve(A, b, prior)
    if free is None:
        return None
    gravity_norm = float(np.linalg.norm(free[0][3 * n : 3 * n + 3]))
    g = free[0][3 * n : 3 * n + 3]
    x, information = free
    for _ in range(params.gravity_rounds):
        g = g / np.linalg.norm(g) * GRAVITY_M_S2
        basis = np.linalg.svd(g[None])[2][1:].T  # two directions across gravity
        keep: Any = sparse.block_diag([sparse.eye(3 * n), basis, sparse.eye(4)]).tocsr()
        held = _solve(A @ keep, b - A[:, 3 * n : 3 * n + 3] @ g, keep.T @ prior)
        if held is None:
            return None
        y, information = held
        g = g + basis @ y[3 * n : 3 * n + 2]
        x = np.concatenate([y[: 3 * n], g, y[3 * n + 2 :]])
    scale, bias = float(x[3 * n + 3]), x[3 * n + 4 :]
    if not scale > 0:
        return None
    residual = A @ x - b
    unit = np.zeros(information.shape[0])
    unit[-4] = 1.0
    variance = float(np.asarray(sparse_linalg.spsolve(information, unit))[-4]) * max(
        float(residual @ residual) / len(b), 1e-8
    )
    R_world_anchor = gravity_alignment(-g)
    T_world_cam = se3(R_world_anchor @ R_anchor_cam, scale * p_anchor @ R_world_anchor.T)
    T_world_imu = T_world_cam @ inverse(T_imu_cam)
    T_world_imu[:, :3, 3] -= T_world_imu[0, :3, 3].copy()
    velocity_world = x[: 3 * n].reshape(n, 3) @ R_world_anchor.T
    states = States(t_ns, T_world_imu, velocity_world, np.tile(gyro_bias, (n, 1)), np.tile(bias, (n, 1)))
    return Alignment(states, scale, float(np.sqrt(max(variance, 0.0))) / scale, gravity_norm)


def as_placed(t_ns: Stamps, R_world_cam: Array, p_world: Array, T_imu_cam: Array, gyro_bias: Array) -> Alignment:
    """The same of poses that are metric and upright already: velocities are slopes between neighbours.

    Args:
        t_ns: (n,) keyframe times, n >= 2.
        R_world_cam, p_world: (n, 3, 3), (n, 3) camera poses, world z up, m.
        gyro_bias: (3,) rad/s.
    """
    T_world_imu = se3(R_world_cam, p_world) @ inverse(T_imu_cam)
    velocity = np.gradient(T_world_imu[:, :3, 3], seconds(t_ns, int(t_ns[0])), axis=0)
    n = len(t_ns)
    states = States(t_ns, T_world_imu, velocity, np.tile(gyro_bias, (n, 1)), np.zeros((n, 3)))
    return Alignment(states, 1.0, 0.0, GRAVITY_M_S2)


def _solve(A: Any, b: Array, prior: Array) -> tuple[Array, Any] | None:
    """Least squares with a diagonal prior towards zero; the solution and its normal matrix, None if singular."""
    normal = (A.T @ A + sparse.diags(prior + 1e-9)).tocsc()
    x = np.asarray(sparse_linalg.spsolve(normal, A.T @ b))
    return (x, normal) if np.all(np.isfinite(x)) else None
