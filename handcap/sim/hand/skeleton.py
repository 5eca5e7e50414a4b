"""Bones and joints of a right hand: how long, how far they turn, where they go.

Wrist frame: origin in joint 0, x to the middle finger's knuckle (joint 9), z out of the back of the hand, y = z × x,
which is the thumb's side of a right hand. Joints are in MediaPipe's order. A left hand is a right hand mirrored in y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap import geometry
from handcap.geometry import Array

FINGERS = ("thumb", "index", "middle", "ring", "little")
JOINTS = 21

_FINGER_ANGLES = ("abduction", "mcp_flexion", "pip_flexion", "dip_flexion")
_THUMB_ANGLES = ("cmc_flexion", "cmc_abduction", "cmc_rotation", "mcp_flexion", "ip_flexion")
ANGLES = (
    "wrist_flexion",
    "wrist_deviation",
    *(f"thumb_{name}" for name in _THUMB_ANGLES),
    *(f"{finger}_{name}" for finger in FINGERS[1:] for name in _FINGER_ANGLES),
)

# Degrees. American Academy of Orthopaedic Surgeons, Joint Motion, 1965: wrist, thumb and fingers; abduction and the
# thumb's rotation, which comes with its abduction: Kapandji, The Physiology of the Joints, vol. 1.
_WRIST_LIMITS = ((-70, 80), (-30, 20))
_THUMB_LIMITS = ((-20, 50), (-20, 55), (-15, 60), (-10, 55), (-15, 80))
_FINGER_LIMITS = ((-20, 20), (-35, 90), (0, 105), (-8, 85))
LIMITS_RAD: Array = np.deg2rad(np.array([*_WRIST_LIMITS, *_THUMB_LIMITS, *(4 * _FINGER_LIMITS)], float))

# Lengths of bones from X-rays of 66 adults, mm: Buryanov and Kotiuk, Proportions of hand segments, Int. J. Morphol.
# 28(3), 2010, tables 1 and 2. The thumb's metacarpal and two phalanges; three phalanges of each finger.
_BONES_MM = np.array(
    [
        [46.22, 31.57, 21.67],
        [39.78, 22.38, 15.82],
        [44.63, 26.33, 17.40],
        [41.37, 25.65, 17.30],
        [32.74, 18.11, 15.96],
    ]
)
_SOFT_TIP_MM = 3.95  # flesh before the middle finger's last bone, same source
_MIDDLE_FINGER_MM = _BONES_MM[2].sum() + _SOFT_TIP_MM
_PALM_SHARE = 0.5  # of the hand's length, from the wrist to the middle knuckle

# First joint of every finger, shares of the hand's length. The knuckles spread over the breadth of a hand, 0.44 of its
# length (ANSUR II, 2012), less the flesh at both sides. All lie in the plane z = 0 except the thumb's.
_ROOTS = np.array(
    [
        [0.135, 0.125, -0.055],
        [0.490, 0.120, 0.000],
        [_PALM_SHARE, 0.000, 0.000],
        [0.468, -0.104, 0.000],
        [0.418, -0.204, 0.000],
    ]
)
# Straight fingers fan out; bent ones meet over the ball of the thumb, as their axes are rolled.
_FAN_RAD = np.deg2rad([3.0, 0.0, -4.0, -9.0])
_ROLL_RAD = np.deg2rad([-5.0, 0.0, 6.0, 13.0])
# The thumb beside the palm, its nail to the side; it swings across the palm about z, away from it about an axis in the
# palm's plane, and turns its pad to the fingers on the way.
_THUMB_ALONG = np.array([0.72, 0.62, -0.30])
_THUMB_BACK = np.array([-0.50, 0.72, 0.48])
_THUMB_AWAY = np.array([-0.68, 0.73, 0.0])


def _frame(along: ArrayLike, back: ArrayLike) -> Array:
    """(3, 3) axes x along and z as near as possible to `back`."""
    x = np.asarray(along, float) / np.linalg.norm(along)
    y = np.cross(np.asarray(back, float), x)
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _turn(axis: int, angle_rad: ArrayLike) -> Array:
    """(..., 3, 3) about one axis."""
    return geometry.so3_exp(np.asarray(angle_rad, float)[..., None] * np.eye(3)[axis])


_R_WRIST_ROOT = np.stack(
    [
        _frame(_THUMB_ALONG, _THUMB_BACK),
        *(_turn(2, fan) @ _turn(0, roll) for fan, roll in zip(_FAN_RAD, _ROLL_RAD, strict=True)),
    ]
)

# What each angle turns about, in the order of `ANGLES`: wrist, thumb, then four fingers alike.
_X, _Y, _Z = np.eye(3)
_AXES = np.array([-_Y, -_Z, -_Z, _THUMB_AWAY / np.linalg.norm(_THUMB_AWAY), -_X, _Y, _Y, *([_Z, _Y, _Y, _Y] * 4)])

# Bones that skin hangs on: the palm, the forearm, then three of every finger.
PALM, FOREARM = 0, 1
BONES = 2 + 3 * len(FINGERS)
BONE_PARENT = (PALM, PALM, *(PALM if k == 0 else 2 + 3 * f + k - 1 for f in range(len(FINGERS)) for k in range(3)))


def bone(finger: int, k: int) -> int:
    """Number of the k-th bone of a finger."""
    return 2 + 3 * finger + k


@dataclass(frozen=True, eq=False, slots=True)
class Skeleton:
    """Bones of a right hand.

    Attributes:
        length_m: wrist crease to the tip of the middle finger.
        root_wrist: (5, 3) first joint of every finger, m.
        bone_m: (5, 3) from each joint to the next.
    """

    length_m: float
    root_wrist: Array
    bone_m: Array

    @staticmethod
    def of_length(length_m: float) -> Skeleton:
        bones = _BONES_MM * ((1 - _PALM_SHARE) / _MIDDLE_FINGER_MM)
        return Skeleton(length_m, _ROOTS * length_m, bones * length_m)

    def pose(self, angles: ArrayLike) -> tuple[Array, Array]:
        """Joints and bones of a posture.

        Args:
            angles: (..., n) rad, in the order of `ANGLES`; flexion closes the hand, abduction goes to the thumb's
                side, the thumb's away from the palm.

        Returns:
            Joints (..., 21, 3), m, and `T_wrist_bone` (..., 17, 4, 4): x along the bone, z to the back of the hand.
        """
        angles = np.asarray(angles, float)
        assert angles.shape[-1] == len(ANGLES), angles.shape
        lead = angles.shape[:-1]
        joints = np.zeros((*lead, JOINTS, 3))
        T_wrist_bone = np.zeros((*lead, BONES, 4, 4))
        T_wrist_bone[..., PALM, :, :] = np.eye(4)
        turn = geometry.so3_exp(angles[..., None] * _AXES)
        # The forearm moves as the wrist turns under a palm that stays: the other way round.
        R_palm_forearm = turn[..., 1, :, :] @ turn[..., 0, :, :]
        T_wrist_bone[..., FOREARM, :, :] = geometry.se3(R_palm_forearm, np.zeros((*lead, 3)))
        for f in range(len(FINGERS)):
            tip = self.root_wrist[f]
            R = np.eye(3)
            for k, onward in enumerate(_finger_turns(turn, f)):
                R = R @ onward
                T_wrist_bone[..., bone(f, k), :, :] = geometry.se3(R, np.broadcast_to(tip, (*lead, 3)))
                joints[..., 1 + 4 * f + k, :] = tip
                tip = tip + self.bone_m[f, k] * R[..., :, 0]
            joints[..., 4 + 4 * f, :] = tip
        return joints, T_wrist_bone


def _finger_turns(turn: Array, finger: int) -> tuple[Array, Array, Array]:
    """(..., 3, 3) that turn the wrist's axes to those of a finger's first bone, these to the second's, and so on.

    Args:
        turn: (..., n, 3, 3) by every angle about its axis.
        finger: its number.
    """
    root = _R_WRIST_ROOT[finger]
    if finger == 0:
        flexion, abduction, rotation, mcp, ip = (turn[..., 2 + k, :, :] for k in range(5))
        return abduction @ flexion @ root @ rotation, mcp, ip
    abduction, mcp, pip, dip = (turn[..., 7 + 4 * (finger - 1) + k, :, :] for k in range(4))
    return root @ abduction @ mcp, pip, dip


def clip(angles: ArrayLike) -> Array:
    """The nearest angles a hand can take."""
    return np.clip(np.asarray(angles, float), LIMITS_RAD[:, 0], LIMITS_RAD[:, 1])


def posture(**degrees: float | tuple[float, ...]) -> NDArray[np.float64]:
    """Angles (n,) rad from degrees by finger or by angle; the rest 0.

    A finger takes its angles in order (`index=(0, 30, 40, 20)`), `wrist` its two.
    """
    angles = np.zeros(len(ANGLES))
    for name, value in degrees.items():
        at = [k for k, angle in enumerate(ANGLES) if angle == name or angle.startswith(f"{name}_")]
        assert at, name
        angles[at] = np.deg2rad(value)
    return angles
