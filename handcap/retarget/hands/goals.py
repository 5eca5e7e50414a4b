"""What a robot hand is asked to do, so that it does what the person's hand does.

Every fingertip should be where the person's is, seen from the knuckle and stretched by how much longer the robot's
finger is; the thumb's, near the fingers, from the index finger's knuckle, since there it counts where it is among them.
Bones should point where the person's do, which settles what fingertips leave open. And where thumb and finger come near
one another, the way between their tips counts more and more, until they touch when the person's do: the aim of DexPilot
(Handa et al. 2020), without its switches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from handcap.geometry import Array
from handcap.retarget.hands.person import Person
from handcap.retarget.hands.robot_hand import RobotFinger, RobotHand
from handcap.retarget.hands.wanted import BASE, Goals


@dataclass(frozen=True, slots=True)
class GoalParams:
    """How much each wish counts."""

    tip_m: float = 0.005  # a fingertip is wanted no closer than that
    unknown_m: float = 0.01  # sigma of a joint where the recording does not tell
    trusted_m: float = 0.03  # a sigma beyond is no reason to let go of a finger wholly
    bones: float = 0.05  # of a fingertip's weight
    pinch: float = 20.0  # of a fingertip's weight, when tips touch: with 6, Shadow's pinky stayed 13 mm off the thumb
    apart: float = 0.05  # of a fingertip's weight is left to it then
    doubt_m: float = 0.008  # tips whose sigma reaches across the gap touch, up to so wide a gap
    near: float = 0.12  # of a hand's length between tips: wholly a pinch
    far: float = 0.35  # of a hand's length: no pinch


@dataclass(frozen=True, eq=False, slots=True)
class Wishes:
    """Goals, and where the fingertips would be by them.

    Attributes:
        goals: for the solver, pictures where the hand is unseen without a vector.
        tips: (n, f, 3) m, base frame, in the order of the hand's fingers; NaN where unseen.
        sigma_m: (n, f) of the tips, as far as the recording tells; NaN where it does not.
        pinching: (n, f) 0 .. 1, how much each finger is in a pinch with the thumb; 0 for the thumb and where unseen.
    """

    goals: Goals
    tips: Array
    sigma_m: Array
    pinching: Array


def wishes(hand: RobotHand, person: Person, params: GoalParams | None = None) -> Wishes:
    """What a hand is asked to do at every picture."""
    params = params or GoalParams()
    person = person.sized(_LENGTH_M)
    n, fingers = len(person.joints), hand.fingers
    R_base_ours = hand.T_base_ours[:3, :3]
    size = {finger.name: _size(hand, finger, person) for finger in fingers}
    pinching = _pinching(hand, person, params)
    engaged = pinching.max(axis=1)
    tips = np.empty((n, len(fingers), 3))
    for f, finger in enumerate(fingers):
        tips[:, f] = _seen_from(finger, finger, size, person, R_base_ours)
        if finger.name == "thumb" and hand.others:
            index = next((other for other in hand.others if other.name == "index"), hand.others[0])
            among = _seen_from(finger, index, size, person, R_base_ours)
            tips[:, f] += engaged[:, None] * (among - tips[:, f])
    sigma = np.clip(np.nan_to_num(person.sigma_m, nan=params.unknown_m), 0.0, params.trusted_m)
    heads: list[int] = []
    tails: list[int] = []
    vectors: list[Array] = []
    weights: list[Array] = []

    def want(head: int, tail: int, vector: Array, weight: Array) -> None:
        heads.append(head)
        tails.append(tail)
        vectors.append(vector)
        weights.append(weight)

    trust: dict[str, Array] = {}
    for f, finger in enumerate(fingers):
        spread = size[finger.name] * sigma[:, finger.human[-1]]
        trust[finger.name] = 1 / (params.tip_m**2 + spread**2)
        busy = engaged if finger.name == "thumb" else pinching[:, f]
        want(finger.tip, BASE, tips[:, f], trust[finger.name] * (1 - (1 - params.apart) * busy))
        for i, length_m in enumerate(finger.lengths_m):
            bone = person.joints[:, finger.human[i + 1]] - person.joints[:, finger.human[i]]
            bone = bone / np.maximum(np.linalg.norm(bone, axis=-1, keepdims=True), 1e-9) @ R_base_ours.T
            weight = params.bones * trust[finger.name]
            want(int(finger.points[i + 1]), int(finger.points[i]), length_m * bone, weight)
    thumb = hand.thumb
    if thumb is not None:
        for f, finger in enumerate(fingers):
            if finger is thumb:
                continue
            between = person.joints[:, thumb.human[-1]] - person.joints[:, finger.human[-1]]
            gap_m = np.linalg.norm(between, axis=-1)
            told = np.nan_to_num(person.sigma_m[:, [thumb.human[-1], finger.human[-1]]])
            closed_m = person.touch_m + np.minimum(np.linalg.norm(told, axis=1), params.doubt_m)
            open_m = size[finger.name] * np.maximum(gap_m - closed_m, 0.0)
            assert hand.robot.palm is not None
            goal = between * ((hand.robot.palm.touch_m + open_m) / np.maximum(gap_m, 1e-9))[:, None] @ R_base_ours.T
            want(thumb.tip, finger.tip, goal, params.pinch * pinching[:, f] ** 2 * trust[finger.name])
    stacked = np.stack(vectors, axis=1)
    stacked[~person.seen] = np.nan
    goals = Goals(np.array(heads), np.array(tails), stacked, np.nan_to_num(np.stack(weights, axis=1)))
    told = np.stack([size[finger.name] * person.sigma_m[:, finger.human[-1]] for finger in fingers], axis=1)
    return Wishes(goals, tips, told, np.nan_to_num(pinching))


_LENGTH_M = 0.19  # hands of all sizes are brought to this; lengths in `GoalParams` are of such a hand


def _seen_from(
    finger: RobotFinger, anchor: RobotFinger, size: Mapping[str, float], person: Person, R_base_ours: Array
) -> Array:
    """(n, 3) m, base frame, where a fingertip is as seen from a finger's knuckle."""
    away = person.joints[:, finger.human[-1]] - person.knuckles[anchor.human[0]]
    return anchor.knuckle + size[anchor.name] * away @ R_base_ours.T


def _size(hand: RobotHand, finger: RobotFinger, person: Person) -> float:
    """How much longer the robot's finger is than the person's."""
    assert hand.robot.palm is not None
    first, last = finger.human[0], finger.human[-1]
    human_m = float(person.bones_m[first + 1 : last + 1].sum())
    return hand.robot.palm.scale * float(finger.lengths_m.sum()) / max(human_m, 1e-3)


def _pinching(hand: RobotHand, person: Person, params: GoalParams) -> Array:
    """(n, f) from 0, tips far apart, smoothly to 1."""
    out = np.zeros((len(person.joints), len(hand.fingers)))
    thumb = hand.thumb
    if thumb is None or person.length_m == 0:
        return out
    for f, finger in enumerate(hand.fingers):
        if finger is not thumb:
            gap = np.linalg.norm(person.joints[:, thumb.human[-1]] - person.joints[:, finger.human[-1]], axis=-1)
            x = np.clip((params.far - gap / person.length_m) / (params.far - params.near), 0.0, 1.0)
            out[:, f] = x * x * (3 - 2 * x)
    return out


def tips_base(hand: RobotHand, points: Array) -> Array:
    """(n, f, 3) fingertips of points (n, k, 3)."""
    return points[:, [finger.tip for finger in hand.fingers]]
