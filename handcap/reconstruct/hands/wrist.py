"""The wrist frame that joints define, and how it errs with them."""

from __future__ import annotations

import numpy as np

from handcap.geometry import Array, se3, so3_log
from handcap.types import Side

_STEP_M = 1e-5


def wrist_pose(joints: Array, side: Side) -> Array:
    """(..., 4, 4) `T_a_wrist` from joints (..., 21, 3) in a: origin joint 0, x to joint 9, z out of the hand's back."""
    origin = joints[..., 0, :]
    x = joints[..., 9, :] - origin
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    z = np.cross(joints[..., 17, :] - origin, joints[..., 5, :] - origin) * (1.0 if side == "right" else -1.0)
    z = z - np.sum(z * x, axis=-1, keepdims=True) * x
    z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    return se3(np.stack([x, np.cross(z, x), z], axis=-1), origin)


def wrist_covariance(joints: Array, cov: Array, side: Side) -> Array:
    """(..., 6, 6) of [δθ; δp] in wrist axes, T_true = T Exp, from the joints' (..., 63, 63)."""
    T = wrist_pose(joints, side)
    back = np.swapaxes(T[..., :3, :3], -1, -2)
    J = np.zeros((*joints.shape[:-2], 6, 63))
    for joint in (0, 5, 9, 17):
        for axis in range(3):
            moved = joints.copy()
            moved[..., joint, axis] += _STEP_M
            T_moved = wrist_pose(moved, side)
            J[..., :3, 3 * joint + axis] = so3_log(back @ T_moved[..., :3, :3]) / _STEP_M
    J[..., 3:, :3] = back
    return J @ cov @ np.swapaxes(J, -1, -2)
