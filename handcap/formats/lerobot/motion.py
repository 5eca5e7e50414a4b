"""Poses as the numbers a policy learns: position and six of the nine numbers of the rotation matrix."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from handcap.geometry import Array, inverse

Action = Literal["relative", "absolute"]
ACTIONS: tuple[Action, ...] = get_args(Action)
POSE_NAMES = ("x", "y", "z", "r11", "r21", "r31", "r12", "r22", "r32")


def pose_vector(T: Array) -> Array:
    """(n, 4, 4) to (n, 9): position, m, then first and second column of R (Zhou et al., CVPR 2019: continuous)."""
    return np.concatenate([T[:, :3, 3], T[:, :3, 0], T[:, :3, 1]], axis=1)


def pose_matrix(vector: Array) -> Array:
    """(n, 9) as `pose_vector` gives, also with a rotation that is only nearly one, to (n, 4, 4)."""
    first = vector[:, 3:6] / np.linalg.norm(vector[:, 3:6], axis=1, keepdims=True)
    second = vector[:, 6:9] - np.sum(first * vector[:, 6:9], axis=1, keepdims=True) * first
    second = second / np.linalg.norm(second, axis=1, keepdims=True)
    T = np.zeros((len(vector), 4, 4))
    T[:, :3, :3] = np.stack([first, second, np.cross(first, second)], axis=-1)
    T[:, :3, 3], T[:, 3, 3] = vector[:, :3], 1.0
    return T


def actions(T_world_body: Array, kind: Action) -> Array:
    """(n, 4, 4) poses of an episode to (n, 4, 4): where to go next.

    "relative": the next pose in axes of the current one; "absolute": the next pose in the world. At the last frame:
    stay.
    """
    following = np.concatenate([T_world_body[1:], T_world_body[-1:]])
    return following if kind == "absolute" else inverse(T_world_body) @ following
