"""Rotations and rigid motions.

`T_a_b` takes b's coordinates to a's: `p_a = T_a_b @ p_b`. A tangent vector of SE(3) is `[theta; rho]`, rotation
first, in body axes: `T_new = T @ se3_exp([theta; rho])`. Every function takes stacked input: a leading `...` of any
shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

GRAVITY_M_S2 = 9.80665  # standard gravity (CGPM 1901); local gravity differs by up to 0.03
_SMALL_ANGLE_RAD = 1e-4  # below it a three-term series is exact to double precision


def skew(v: ArrayLike) -> Array:
    """(..., 3) to the (..., 3, 3) matrix of the cross product: `skew(a) @ b == cross(a, b)`."""
    v = np.asarray(v, float)
    out = np.zeros((*v.shape[:-1], 3, 3))
    out[..., 0, 1], out[..., 0, 2] = -v[..., 2], v[..., 1]
    out[..., 1, 0], out[..., 1, 2] = v[..., 2], -v[..., 0]
    out[..., 2, 0], out[..., 2, 1] = -v[..., 1], v[..., 0]
    return out


def looking_along(axis: ArrayLike) -> Array:
    """Directions (..., 3) to rotations (..., 3, 3) whose z lies along them and whose y points down as far as it can;
    along z where the direction itself is nearly up or down.
    """
    z = np.asarray(axis, float)
    z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    x = np.cross(np.where(np.abs(z[..., 1:2]) < 0.9, [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]), z)
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=-1)


def _sinc_terms(angle: Array) -> tuple[Array, Array, Array]:
    """sin(x)/x, (1-cos x)/x², (x-sin x)/x³, each exact near zero."""
    small = angle < _SMALL_ANGLE_RAD
    x = np.where(small, 1.0, angle)
    square = angle * angle
    a = np.where(small, 1 - square / 6 + square**2 / 120, np.sin(x) / x)
    # 2 sin²(x/2) rather than 1 - cos x: no cancellation at small angles.
    b = np.where(small, 0.5 - square / 24 + square**2 / 720, 2 * np.sin(x / 2) ** 2 / x**2)
    c = np.where(angle < 0.02, 1 / 6 - square / 120 + square**2 / 5040, (x - np.sin(x)) / x**3)
    return a, b, c


def so3_exp(theta: ArrayLike) -> Array:
    """Rotation vector (..., 3), rad, to matrix (..., 3, 3). Rodrigues' formula."""
    theta = np.asarray(theta, float)
    a, b, _ = _sinc_terms(np.linalg.norm(theta, axis=-1))
    hat = skew(theta)
    return np.eye(3) + a[..., None, None] * hat + b[..., None, None] * (hat @ hat)


def so3_log(R: ArrayLike) -> Array:
    """Matrix (..., 3, 3) to the rotation vector (..., 3) of least angle, rad; exact near identity and near π."""
    R = np.asarray(R, float)
    flat = Rotation.from_matrix(R.reshape(-1, 3, 3)).as_rotvec()
    return flat.reshape(*R.shape[:-2], 3)


def so3_left_jacobian(theta: ArrayLike) -> Array:
    """(..., 3) to (..., 3, 3): the V of `se3_exp`, Barfoot, State Estimation for Robotics, eq. 7.37."""
    theta = np.asarray(theta, float)
    _, b, c = _sinc_terms(np.linalg.norm(theta, axis=-1))
    hat = skew(theta)
    return np.eye(3) + b[..., None, None] * hat + c[..., None, None] * (hat @ hat)


def se3(R: ArrayLike, p: ArrayLike) -> Array:
    """Rotation (..., 3, 3) and position (..., 3), m, to (..., 4, 4)."""
    R, p = np.asarray(R, float), np.asarray(p, float)
    shape = np.broadcast_shapes(R.shape[:-2], p.shape[:-1])
    T = np.zeros((*shape, 4, 4))
    T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = R, p, 1.0
    return T


def se3_exp(xi: ArrayLike) -> Array:
    """Tangent (..., 6) `[theta; rho]`, rad and m, to (..., 4, 4)."""
    xi = np.asarray(xi, float)
    theta, rho = xi[..., :3], xi[..., 3:]
    return se3(so3_exp(theta), np.einsum("...ij,...j->...i", so3_left_jacobian(theta), rho))


def se3_log(T: ArrayLike) -> Array:
    """(..., 4, 4) to tangent (..., 6) `[theta; rho]`, rad and m."""
    T = np.asarray(T, float)
    theta = so3_log(T[..., :3, :3])
    rho = np.asarray(np.linalg.solve(so3_left_jacobian(theta), T[..., :3, 3, None])[..., 0], float)
    return np.concatenate([theta, rho], axis=-1)


def inverse(T: ArrayLike) -> Array:
    """`T_a_b` (..., 4, 4) to `T_b_a`."""
    T = np.asarray(T, float)
    R_b_a = np.swapaxes(T[..., :3, :3], -1, -2)
    return se3(R_b_a, -np.einsum("...ij,...j->...i", R_b_a, T[..., :3, 3]))


def transform(T_a_b: ArrayLike, p_b: ArrayLike) -> Array:
    """Points (..., 3) of frame b in frame a."""
    T_a_b = np.asarray(T_a_b, float)
    return np.einsum("...ij,...j->...i", T_a_b[..., :3, :3], np.asarray(p_b, float)) + T_a_b[..., :3, 3]


def adjoint(T_a_b: ArrayLike) -> Array:
    """(..., 6, 6) that takes a tangent in b's axes to a's: `T Exp(xi) = Exp(Ad xi) T`."""
    T_a_b = np.asarray(T_a_b, float)
    R, p = T_a_b[..., :3, :3], T_a_b[..., :3, 3]
    out = np.zeros((*T_a_b.shape[:-2], 6, 6))
    out[..., :3, :3] = out[..., 3:, 3:] = R
    out[..., 3:, :3] = skew(p) @ R
    return out


def matrix_from_quat_wxyz(quat_wxyz: ArrayLike) -> Array:
    """Quaternion (..., 4), w first, any nonzero length, to matrix (..., 3, 3)."""
    quat_wxyz = np.asarray(quat_wxyz, float)
    flat = Rotation.from_quat(quat_wxyz.reshape(-1, 4), scalar_first=True).as_matrix()
    return flat.reshape(*quat_wxyz.shape[:-1], 3, 3)


def quat_wxyz_from_matrix(R: ArrayLike) -> Array:
    """Matrix (..., 3, 3) to unit quaternion (..., 4), w first and not negative."""
    R = np.asarray(R, float)
    flat = Rotation.from_matrix(R.reshape(-1, 3, 3)).as_quat(canonical=True, scalar_first=True)
    return flat.reshape(*R.shape[:-2], 4)


def project_to_so3(M: ArrayLike) -> Array:
    """Nearest rotation (Frobenius) to (..., 3, 3); for matrices typed with few digits."""
    U, _, Vt = np.linalg.svd(np.asarray(M, float))
    U[..., :, 2] *= np.linalg.det(U @ Vt)[..., None]
    return U @ Vt


def gravity_alignment(up_a: ArrayLike) -> Array:
    """Least rotation `R_world_a` (3, 3) that turns the upward direction `up_a` (3,) onto world z."""
    up = np.asarray(up_a, float)
    up = up / np.linalg.norm(up)
    axis = np.cross(up, [0.0, 0.0, 1.0])
    sine, cosine = np.linalg.norm(axis), up[2]
    if sine < 1e-12:  # already aligned, or upside down: any horizontal axis will do
        return np.eye(3) if cosine > 0 else np.diag([1.0, -1.0, -1.0])
    return so3_exp(axis / sine * np.arctan2(sine, cosine))


def yaw_rotation(yaw_rad: float) -> Array:
    """Rotation (3, 3) about world z."""
    return so3_exp([0.0, 0.0, yaw_rad])


def vertical_part(R: ArrayLike) -> Array:
    """The turn about z (3, 3) nearest to a rotation (3, 3), Frobenius."""
    R = np.asarray(R, float)
    return yaw_rotation(float(np.arctan2(R[1, 0] - R[0, 1], R[0, 0] + R[1, 1])))


def interpolate_poses(t_ns: NDArray[np.int64], T: Array, at_ns: NDArray[np.int64]) -> Array:
    """Poses between samples: straight line in position, constant angular rate in rotation.

    Args:
        t_ns: (n,) strictly increasing, n >= 2.
        T: (n, 4, 4).
        at_ns: (m,) same clock, within [t_ns[0], t_ns[-1]].

    Returns:
        (m, 4, 4).
    """
    assert at_ns.size == 0 or (at_ns.min() >= t_ns[0] and at_ns.max() <= t_ns[-1]), "asked outside the trajectory"
    i = np.clip(np.searchsorted(t_ns, at_ns, side="right") - 1, 0, len(t_ns) - 2)
    s = ((at_ns - t_ns[i]) / (t_ns[i + 1] - t_ns[i]))[:, None]
    R0, R1 = T[i, :3, :3], T[i + 1, :3, :3]
    R = R0 @ so3_exp(s * so3_log(np.swapaxes(R0, -1, -2) @ R1))
    return se3(R, (1 - s) * T[i, :3, 3] + s * T[i + 1, :3, 3])


def upper_triangle(cov: ArrayLike) -> Array:
    """(..., 6, 6) symmetric to its row-major upper triangle (..., 21): c00, c01, …, c05, c11, …"""
    rows, cols = np.triu_indices(6)
    return np.asarray(cov, float)[..., rows, cols]


def from_upper_triangle(triangle: ArrayLike) -> Array:
    """(..., 21) to the symmetric (..., 6, 6)."""
    triangle = np.asarray(triangle, float)
    rows, cols = np.triu_indices(6)
    out = np.zeros((*triangle.shape[:-1], 6, 6))
    out[..., rows, cols] = triangle
    out[..., cols, rows] = triangle
    return out
