"""Where a person's arm comes from: shoulder, elbow, and how the wrist bends so that the forearm leads there."""

from __future__ import annotations

from typing import Literal

import numpy as np

from handcap import geometry
from handcap.geometry import Array

# Approximate, of an adult: from between the eyes to the shoulder joint (back, aside, down), and the two links.
_SHOULDER_HEAD_M = (-0.08, 0.18, -0.26)
_UPPER_ARM_M, _FOREARM_M = 0.30, 0.26
_OUTWARDS = 0.35  # an elbow hangs down and a little to its side
_TRUNK_S = 1.2  # the trunk follows the head's turns over about so long


def shoulders_room(T_room_head: Array, step_s: float, side: Literal["left", "right"]) -> Array:
    """(m, 3) shoulder of a trunk that follows the head (m, 4, 4), `step_s` apart, x forward and y left; m >= 2."""
    yaw = np.unwrap(np.arctan2(T_room_head[:, 1, 0], T_room_head[:, 0, 0]))
    reach = max(int(_TRUNK_S / step_s / 2), 1)
    padded = np.pad(yaw, reach, mode="edge")
    yaw = np.convolve(padded, np.full(2 * reach + 1, 1 / (2 * reach + 1)), mode="valid")
    back, aside, down = _SHOULDER_HEAD_M
    shift = np.array([back, aside if side == "left" else -aside, down])
    turned = np.array([geometry.yaw_rotation(float(angle)) @ shift for angle in yaw])
    return T_room_head[:, :3, 3] + turned


def elbows_room(shoulder_room: Array, wrist_room: Array, outwards_room: Array) -> Array:
    """(m, 3) elbow of an arm from shoulder to wrist (m, 3), hanging down and a little outwards (m, 3).

    Where the wrist is out of reach the arm is stretched towards it.
    """
    to_wrist = wrist_room - shoulder_room
    distance = np.linalg.norm(to_wrist, axis=-1, keepdims=True)
    along = to_wrist / np.maximum(distance, 1e-9)
    longest, shortest = _UPPER_ARM_M + _FOREARM_M, abs(_UPPER_ARM_M - _FOREARM_M)
    span = np.clip(distance, shortest + 0.02, longest - 0.01)
    foot = (_UPPER_ARM_M**2 - _FOREARM_M**2 + span**2) / (2 * span)
    hang = np.array([0.0, 0.0, -1.0]) + _OUTWARDS * outwards_room
    hang = hang - np.sum(hang * along, axis=-1, keepdims=True) * along
    hang = hang / np.maximum(np.linalg.norm(hang, axis=-1, keepdims=True), 1e-9)
    return shoulder_room + foot * along + np.sqrt(np.maximum(_UPPER_ARM_M**2 - foot**2, 0.0)) * hang


def wrist_angles(T_room_wrist: Array, elbow_room: Array, side: Literal["left", "right"]) -> Array:
    """Wrist flexion and deviation (m, 2), rad, that lead the forearm from the wrist (m, 4, 4) to the elbow (m, 3)."""
    elbow_wrist = geometry.transform(geometry.inverse(T_room_wrist)[:, None], elbow_room[:, None])[:, 0]
    along = -elbow_wrist / np.maximum(np.linalg.norm(elbow_wrist, axis=-1, keepdims=True), 1e-9)
    y = along[:, 1] if side == "right" else -along[:, 1]  # a left hand is a right one in a mirror
    # The forearm's x axis is Rz(-deviation) Ry(-flexion) x, see `Skeleton.pose`.
    return np.stack([np.arcsin(np.clip(along[:, 2], -1, 1)), np.arctan2(-y, along[:, 0])], axis=-1)
