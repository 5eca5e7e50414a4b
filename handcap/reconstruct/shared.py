"""A gripper whose tags the head does not see, placed by what both cameras see of the room."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from handcap.geometry import Array
from handcap.reconstruct.chain import Chain
from handcap.reconstruct.find_room import FindParams, NotFound, find
from handcap.reconstruct.room import Room


def placed_by_room(
    chain: Chain, room: Room, head: Chain, head_room: Room, params: FindParams | None = None
) -> tuple[Chain, dict[str, float]] | None:
    """The chain in the head's world, and what that rests on; None where they do not share enough of the room.

    Each room is in the world of its own chain. Places that both know give a turn about the vertical and a shift, whose
    errors all keyframes have in common.
    """
    try:
        found, pairs = find(room, head_room, chain.pictures("gripper"), head.pictures("head"), params)
    except NotFound:
        return None
    moved = chain.moved(found.T)
    n = len(moved.states)
    follows = follow(moved.states.T_world_imu, found.T).reshape(6 * n, 4)
    cov = chain.joint.cov.reshape(6 * n, 6 * n) + follows @ found.cov @ follows.T
    joint = replace(chain.joint, cov=cov.reshape(n, 6, n, 6))
    return replace(moved, joint=joint), {"shared_landmarks": float(found.inliers.sum()), "shared_matches": float(pairs)}


def follow(T_world_imu: Array, T_world_own: Array) -> Array:
    """(n, 6, 4) of each pose `[theta; rho]` in its own axes by yaw, x, y, z of its world."""
    R = np.swapaxes(T_world_imu[:, :3, :3], 1, 2)
    z = np.array([0.0, 0.0, 1.0])
    aside = np.cross(z, T_world_imu[:, :3, 3] - T_world_own[:3, 3])
    out = np.zeros((len(R), 6, 4))
    out[:, :3, 0] = R @ z
    out[:, 3:, 0] = np.einsum("nij,nj->ni", R, aside)
    out[:, 3:, 1:] = R
    return out
