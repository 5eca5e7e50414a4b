"""A robot hand with its shapes: what of it may come near what, and how near it comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from handcap.geometry import Array
from handcap.retarget.clearance import Clearance, Near
from handcap.retarget.hands.robot_hand import RobotHand
from handcap.retarget.hands.solver import Apart
from handcap.retarget.kinematics import Kinematics
from handcap.retarget.model import Body

_SAMPLES = 200
_OFTEN = 0.5  # overlap in so many postures: then it is the hulls, which are fatter than links
_SEED = 0


@dataclass(frozen=True, slots=True)
class ApartParams:
    """How near shapes may come."""

    fingers_m: float = 0.0005  # fingers among themselves, and to the palm
    thumb_m: float = -0.001  # thumb and finger touch when they pinch, and their pads give
    look_m: float = 0.01  # nearer pairs are watched; a step moves a fingertip by about that


class HandShapes:
    """Distances between fingers, and between fingers and palm.

    Attributes:
        body: the hand as what moves; without shapes it has no pairs, and nothing is ever near.
        thumb: (pairs,) whether a pair is thumb against finger.
    """

    def __init__(self, hand: RobotHand) -> None:
        self._hand = hand
        self.body = hand_body(hand)
        self._kinematics = Kinematics(self.body)
        self._clearance = Clearance(self.body)
        self.thumb = np.array([self._is_thumb(pair) for pair in range(len(self._clearance.pairs))], bool)

    def _is_thumb(self, pair: int) -> bool:
        fingers = finger_of(self._hand, self.body.model)
        of = {fingers.get(self.body.geometry.geometryObjects[int(k)].parentJoint) for k in self._clearance.pairs[pair]}
        return "thumb" in of and None not in of

    def names(self, pair: int) -> tuple[str, str]:
        """Of the two shapes of a pair."""
        return self._clearance.names(pair)

    def near(self, u: Array, margin_m: float) -> Near:
        """Pairs nearer than a margin at free joints (n, d); gradients are by these."""
        k = self._hand.kinematics
        q = k.full(u)
        found = self._clearance.near(q, self._kinematics.poses(q), margin_m)
        return replace(found, gradient=found.gradient @ k.spread)

    def keep_apart(self, params: ApartParams) -> Callable[[Array], Apart]:
        """For `solve`: what must be so that shapes stay apart, near a motion (n, d)."""

        def apart(u: Array) -> Apart:
            near = self.near(u, params.look_m)
            wanted = np.where(self.thumb[near.pair], params.thumb_m, params.fingers_m)
            there = np.einsum("md,md->m", near.gradient, u[near.row])
            return Apart(near.row, near.gradient, wanted - near.distance_m + there)

        return apart


@lru_cache(maxsize=16)
def hand_shapes(hand: RobotHand) -> HandShapes:
    """Made once for each hand."""
    return HandShapes(hand)


@lru_cache(maxsize=16)
def hand_body(hand: RobotHand) -> Body:
    """A hand as arms are known: the same joints as its kinematics, convex shapes, and pairs that should stay apart."""
    import pinocchio as pin

    description, k = hand.description, hand.kinematics
    model: Any = pin.buildModelFromXML(description.xml)
    geometry: Any = pin.buildGeomFromUrdfString(model, description.xml, pin.COLLISION)
    for shape in geometry.geometryObjects:
        shape.geometry = _convex(shape.geometry)
    at = pin.neutral(model)
    for name, value in k.held.items():
        at[model.joints[model.getJointId(name)].idx_q] = value
    if k.held:
        model, [geometry] = pin.buildReducedModel(model, [geometry], [model.getJointId(n) for n in k.held], at)
    assert tuple(model.names)[1:] == k.joints
    rest = k.full(hand.rest[None])[0]
    _add_pairs(pin, hand, model, geometry, rest)
    return Body(
        robot=hand.robot,
        model=model,
        geometry=geometry,
        joints=k.joints,
        tools=(),
        lower=k.joint_low,
        upper=k.joint_high,
        velocity=hand.velocity,
        acceleration=np.full(len(k.joints), np.inf),
        home=rest,
        base=np.zeros(0, np.int64),
        head=None,
        without_shape=description.missing,
        descriptions=(description,),
        T_world_base={hand.side: np.eye(4)},
    )


def _convex(shape: Any) -> Any:
    import coal

    if isinstance(shape, coal.BVHModelBase):
        shape.buildConvexHull(False, "Qt")
        return shape.convex
    return shape


def finger_of(hand: RobotHand, model: Any) -> dict[int, str]:
    """Joint of the model to the finger that it belongs to; joints that carry several fingers are the palm's."""
    tips: dict[int, set[str]] = {}
    for finger in hand.fingers:
        for joint in np.flatnonzero(hand.kinematics.moves[finger.tip]):
            tips.setdefault(int(joint) + 1, set()).add(finger.name)
    return {joint: next(iter(names)) for joint, names in tips.items() if len(names) == 1 and joint < model.njoints}


def _add_pairs(pin: Any, hand: RobotHand, model: Any, geometry: Any, rest: Array) -> None:
    """Shapes of different fingers, and of fingers and the palm but for the joint between; not what overlaps at rest or
    in half of all postures.
    """
    fingers, k = finger_of(hand, model), hand.kinematics
    joints = [shape.parentJoint for shape in geometry.geometryObjects]
    for a in range(len(joints)):
        for b in range(a + 1, len(joints)):
            one, other = joints[a], joints[b]
            same = one == other or fingers.get(one) == fingers.get(other)
            if not same and one != model.parents[other] and other != model.parents[one]:
                geometry.addCollisionPair(pin.CollisionPair(a, b))
    data, shapes = model.createData(), geometry.createData()
    rng = np.random.default_rng(_SEED)
    touches = np.zeros(len(geometry.collisionPairs))
    for q in k.full(rng.uniform(k.low, k.high, (_SAMPLES, len(k.free)))):
        pin.computeCollisions(model, data, geometry, shapes, q, False)
        touches += [result.isCollision() for result in shapes.collisionResults]
    pin.computeCollisions(model, data, geometry, shapes, rest, False)
    at_rest = [result.isCollision() for result in shapes.collisionResults]
    for i, pair in enumerate(list(geometry.collisionPairs)):
        if at_rest[i] or touches[i] > _OFTEN * _SAMPLES:
            geometry.removeCollisionPair(pair)
