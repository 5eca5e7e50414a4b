"""Robot hands and a person's hand that moves, for tests of retargeting."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from handcap.geometry import Array
from handcap.sim.hand import grips
from handcap.sim.hand.hand import HandShape
from handcap.sim.hand.skeleton import Skeleton
from handcap.types import Side, Stamps

if TYPE_CHECKING:
    from handcap.retarget.hands import Person, RobotHand

HANDS = ("allegro", "leap", "shadow", "inspire", "barrett")
RATE_HZ = 30.0


@cache
def robot_hand(name: str, side: Side = "right") -> RobotHand:
    from handcap.retarget.hands import make_hand
    from handcap.retarget.robot import read_robot

    return make_hand(read_robot(name), side)


def moving(*postures: Array, seconds: float = 1.0) -> Array:
    """(n, 23) angles that go from one posture to the next, softly, each in so many seconds."""
    n = round(seconds * RATE_HZ)
    ease = (1 - np.cos(np.pi * np.arange(n) / n)) / 2
    steps = [a + ease[:, None] * (b - a) for a, b in zip(postures[:-1], postures[1:], strict=True)]
    return np.concatenate([*steps, postures[-1][None]])


def joints_of(angles: Array, side: Side = "right", length_m: float = 0.19) -> Array:
    """(n, 21, 3) m in our wrist frame."""
    joints, _ = Skeleton.of_length(length_m).pose(angles)
    return np.asarray(joints) * [1.0, 1.0 if side == "right" else -1.0, 1.0]


def person_of(joints: Array, sigma_m: Array | None = None) -> Person:
    from handcap.retarget.hands import person

    return person(np.tile(np.eye(4), (len(joints), 1, 1)), joints, sigma_m)


def stamps(n: int) -> Stamps:
    return np.round(np.arange(n) / RATE_HZ * 1e9).astype(np.int64)


def work(side: Side = "right", length_m: float = 0.19) -> Array:
    """(n, 21, 3) joints of a hand that opens, pinches, makes a fist, points and grasps."""
    shape = HandShape(side="right", length_m=length_m)
    order: Sequence[Array] = (
        grips.flat(0.5),
        grips.pinch(0.0, shape),
        grips.pinch(0.05, shape),
        grips.fist(),
        grips.point(),
        grips.grasp(0.03, shape),
    )
    return joints_of(moving(*order, seconds=0.8), side, length_m)


def tips_ours(hand: RobotHand, q: Array) -> Array:
    """(n, f, 3) m, fingertips in our wrist frame, at joints (n, j)."""
    from handcap.retarget.hands.robot_hand import in_ours

    kinematics = hand.kinematics
    u = q[:, [kinematics.joints.index(name) for name in kinematics.free]]
    return in_ours(hand, kinematics.points(u)[:, [finger.tip for finger in hand.fingers]])
