"""How far the joints of fingers turn, and a hand brought back to where its joints can be.

Joints in the palm's frame say how each bone turns against the one before: flexion closes the hand, and a turn to the
thumb's side. Every finger is laid anew from its root, bone by bone towards where its next joint was, no farther than
the joint turns, each as long as it was. Then the hand as a whole is turned and moved to where its joints were seen: a
finger that seems to bend backwards is as often a palm that is seen askew. What lies far beyond the limits is left, and
said to be unsure: such a hand is wrong in more than a finger, and straightened fingers would make it no better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.geometry import Array, inverse, skew, so3_exp, transform
from handcap.reconstruct.hands.wrist import wrist_pose
from handcap.types import Side

_ROOTS = (1, 5, 9, 13, 17)
# Degrees, for each of a finger's three bones: flexion from, to; to the thumb's side from, to. American Academy of
# Orthopaedic Surgeons, Joint Motion: Method of Measuring and Recording, 1965: finger MCP 45 backwards to 90, to the
# sides 20, PIP 0 to 100, DIP 0 to 90; thumb MCP 0 to 50, IP 20 backwards to 80. Active flexion reaches a little farther
# in healthy adults, PIP 105 and thumb MCP 56 in the mean: Hume et al., Functional range of motion of the joints of the
# hand, J. Hand Surg. 15A, 1990. DIP backwards and thumb MCP backwards 10: passive, common.
_ASKEW = 30  # to either side, instead of those 20 and a hinge's none: so far palms are seen askew to their fingers
_FINGER_DEG = ((-45, 90, -_ASKEW, _ASKEW), (0, 105, -_ASKEW, _ASKEW), (-10, 90, -_ASKEW, _ASKEW))
# Where the thumb's own root lies the network does not know to 2 cm, so its first bone may point anywhere; and how far
# the thumb has rolled joints do not show, so its hinges may stand to either side by what it rolls.
_THUMB_DEG = ((-180, 180, -90, 90), (-10, 56, -40, 40), (-20, 80, -40, 40))
_LIMITS_RAD: Array = np.deg2rad(np.array([_THUMB_DEG, *([_FINGER_DEG] * 4)], float))
_FAN_RAD = np.deg2rad([0.0, 4.0, 0.0, -4.0, -9.0])  # straight fingers point, from the middle one's line
# The thumb beside a flat palm: along its first bone, and out of its nail when it has rolled half its way.
_THUMB_ALONG, _THUMB_BACK = np.array([0.72, 0.62, -0.30]), np.array([-0.50, 0.72, 0.48])
_THUMB_ROLL_RAD = np.deg2rad(22.0)


@dataclass(frozen=True, slots=True)
class AnatomyParams:
    """Joint limits."""

    on: bool = True
    # By which a joint seems to turn farther than it does: the network's joints lie 7 mm beside the anatomical ones for
    # long, on bones of 20 to 45 mm, and palms lean with them.
    slack_rad: float = 0.26
    # Beyond, a hand is not mended: without a bound one-view takes lost 0.7 mm of 65, and two views gained 0.03 of 16.
    most_m: float = 0.02


def within_limits(joints: Array, cov: Array, side: Side, params: AnatomyParams) -> tuple[Array, Array]:
    """Joints with every finger turned no farther than fingers turn.

    A hand within the limits stays as it is, and so does one that would have to give by more than `params.most_m`. Bones
    stay as long as they were in any case.

    Args:
        joints: (n, 21, 3) m, in any frame.
        cov: (n, 63, 63) of them, m²; says which way the hand as a whole gives.
        side: whose hand it is.

    Returns:
        (n, 21, 3) m; (n, 21) m by which a joint lies beyond the limits, or one before it on its finger, whichever is
        more: where it is then is known no better than that.
    """
    if not params.on or not len(joints):
        return joints, np.zeros(joints.shape[:2])
    T = wrist_pose(joints, side)
    mirror = np.array([1.0, 1.0 if side == "right" else -1.0, 1.0])
    held, beyond_m = _held(transform(inverse(T)[:, None], joints) * mirror, params)
    rows = np.flatnonzero(beyond_m.any(axis=1) & (beyond_m.max(axis=1) <= params.most_m))
    out = joints.copy()
    out[rows] = _laid_on(transform(T[rows, None], held[rows] * mirror), joints[rows], cov[rows])
    return out, beyond_m


def _held(hand: Array, params: AnatomyParams) -> tuple[Array, Array]:
    """Joints (n, 21, 3) of a right hand in its wrist frame with fingers that turn no farther, and (n, 21) m moved."""
    out, moved = hand.copy(), np.zeros(hand.shape[:2])
    for finger, root in enumerate(_ROOTS):
        before, axis = _straight(finger, hand)
        for k in range(3):
            here, onward = root + k, root + k + 1
            low, high = _LIMITS_RAD[finger, k, ::2], _LIMITS_RAD[finger, k, 1::2]
            bone = hand[:, onward] - out[:, here]
            along = bone / np.maximum(np.linalg.norm(bone, axis=1, keepdims=True), 1e-9)
            turned = bend(before, axis, along)
            held = np.clip(turned, low - params.slack_rad, high + params.slack_rad)
            beyond = ((held != turned).any(axis=1) | (moved[:, here] > 0))[:, None]
            along = np.where(beyond, bent(before, axis, held), along)
            length = np.linalg.norm(hand[:, onward] - hand[:, here], axis=1, keepdims=True)
            out[:, onward] = np.where(beyond, out[:, here] + length * along, hand[:, onward])
            off = np.linalg.norm(out[:, onward] - hand[:, onward], axis=1)
            moved[:, onward] = np.maximum(moved[:, here], off)
            axis = _across(axis, along)
            before = along
    return out, moved


def _laid_on(joints: Array, seen: Array, cov: Array) -> Array:
    """(n, 21, 3) joints turned and moved as a whole to where they were seen, as sure as that was."""
    info = np.linalg.inv(cov)
    for _ in range(3):
        middle = joints.mean(axis=1, keepdims=True)
        arm = joints - middle
        J = np.concatenate([-skew(arm), np.broadcast_to(np.eye(3), (*arm.shape, 3))], axis=-1).reshape(-1, 63, 6)
        pull = np.swapaxes(J, 1, 2) @ info
        step = np.linalg.solve(pull @ J, pull @ (seen - joints).reshape(-1, 63, 1))[..., 0]
        joints = middle + step[:, None, 3:] + arm @ np.swapaxes(so3_exp(step[:, :3]), 1, 2)
    return joints


def bend(before: Array, axis: Array, along: Array) -> Array:
    """(n, 2) rad: flexion of a bone against the one before, and how far it leans to the axis.

    Args:
        before, along: (n, 3) unit, along the bones; flexion turns `before` about the axis by the right hand.
        axis: (n, 3) unit, square to `before`.
    """
    down = np.cross(axis, before)
    flexion = np.arctan2(np.sum(along * down, axis=1), np.sum(along * before, axis=1))
    return np.stack([flexion, np.arcsin(np.clip(np.sum(along * axis, axis=1), -1, 1))], axis=1)


def bent(before: Array, axis: Array, turned: Array) -> Array:
    """(n, 3) unit, along a bone that is turned (n, 2) as `bend` says."""
    flexion, lean = turned[:, :1], turned[:, 1:]
    flat = np.cos(flexion) * before + np.sin(flexion) * np.cross(axis, before)
    return np.cos(lean) * flat + np.sin(lean) * axis


def _straight(finger: int, hand: Array) -> tuple[Array, Array]:
    """(n, 3) along the finger stretched out of the palm, and (n, 3) its hinges' axis; a right hand's wrist frame."""
    n = len(hand)
    if finger:
        fan = _FAN_RAD[finger]
        along, axis = np.array([np.cos(fan), np.sin(fan), 0.0]), np.array([-np.sin(fan), np.cos(fan), 0.0])
        return np.tile(along, (n, 1)), np.tile(axis, (n, 1))
    along = _THUMB_ALONG / np.linalg.norm(_THUMB_ALONG)
    axis = np.cross(_THUMB_BACK, along)
    return np.tile(along, (n, 1)), np.tile(so3_exp(-_THUMB_ROLL_RAD * along) @ (axis / np.linalg.norm(axis)), (n, 1))


def _across(axis: Array, along: Array) -> Array:
    """(n, 3) unit: the axis made square to a bone."""
    out = axis - np.sum(axis * along, axis=1, keepdims=True) * along
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
