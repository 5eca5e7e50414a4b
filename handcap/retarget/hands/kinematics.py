"""Where the points of a robot hand are at many postures at once, and how they move with its joints.

Parsing and kinematics are pinocchio's; what is ours is the book-keeping: coupled joints, and all frames in one array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.errors import RetargetError
from handcap.geometry import Array


@dataclass(frozen=True, slots=True)
class Coupling:
    """A joint that another one drives: `q = multiplier * q_of + offset`, rad."""

    joint: str
    of: str
    multiplier: float
    offset: float = 0.0


@dataclass(frozen=True, eq=False, slots=True)
class Motion:
    """Points of a hand at n postures, and how its joints move them.

    Attributes:
        points: (n, k, 3) m, in the hand's base frame.
        twists: (n, 6, j) of each joint of the description: velocity at the base's origin and turning rate, base axes,
            for one rad/s.
    """

    points: Array
    twists: Array


class HandKinematics:
    """A robot hand.

    Args:
        xml: its URDF, checked by `read_description`.
        points: frames asked for, or (frame, (3,) m in it).
        couplings: joints driven by others, beside those the URDF says itself.
        held: joint name to value, for joints that stay as they are, rad.

    Attributes:
        joints: (j,) names of all joints that move, in the description's order.
        free: (d,) names of those that move by themselves.
        low, high: (d,) limits of the free ones, within which coupled ones keep theirs, rad.
        joint_low, joint_high: (j,) limits as the description has them, rad.
        velocity: (j,) limits as the description has them, rad/s; NaN where it has none.
        moves: (k, j) whether each joint moves each point.
        held: the joints that stay as they are.
        spread: (j, d) and offset: (j,), joints of free ones: q = spread @ u + offset.
    """

    def __init__(
        self,
        xml: str,
        points: Sequence[str | tuple[str, Array]],
        couplings: Sequence[Coupling] = (),
        held: Mapping[str, float] | None = None,
    ) -> None:
        import pinocchio

        pin: Any = pinocchio
        self._pin = pin
        model: Any = pin.buildModelFromXML(xml)
        assert model.nq == model.nv, "every joint has one number"
        held = held or {}
        names = tuple(model.names)[1:]
        couplings = [c for c in (*_mimics(xml), *couplings) if c.joint not in held]
        for name in (*held, *(c.joint for c in couplings), *(c.of for c in couplings)):
            _known(name, names, "joint")
        if held:
            at = pin.neutral(model)
            for name, value in held.items():
                at[model.joints[model.getJointId(name)].idx_q] = value
            model = pin.buildReducedModel(model, [model.getJointId(name) for name in held], at)
        self.held: Mapping[str, float] = dict(held)
        self.joints: tuple[str, ...] = tuple(model.names)[1:]
        driven = {c.joint for c in couplings}
        self.free: tuple[str, ...] = tuple(name for name in self.joints if name not in driven)
        self.spread, self.offset = _spread(self.joints, self.free, couplings)
        self._model = model
        self.joint_low: Array = np.array(model.lowerPositionLimit)
        self.joint_high: Array = np.array(model.upperPositionLimit)
        limit = np.array(model.velocityLimit)
        self.velocity: Array = np.where(np.isfinite(limit) & (limit > 0), limit, np.nan)
        self.low, self.high = self._limits()
        self._frames = [self._frame(name) for name in points]
        self._data = model.createData()
        self.moves = np.array([self._support(frame) for frame in self._frames]).reshape(len(points), len(self.joints))

    def _limits(self) -> tuple[Array, Array]:
        low, high = np.full(len(self.free), -np.inf), np.full(len(self.free), np.inf)
        joint_low, joint_high = self.joint_low, self.joint_high
        for j, i in zip(*np.nonzero(self.spread), strict=True):
            ends = (np.array([joint_low[j], joint_high[j]]) - self.offset[j]) / self.spread[j, i]
            low[i], high[i] = max(low[i], ends.min()), min(high[i], ends.max())
        for name, a, b in zip(self.free, low, high, strict=True):
            if a > b:
                raise RetargetError(f"no value of joint {name!r} keeps what it drives within limits")
        return low, high

    def _frame(self, point: str | tuple[str, Array]) -> int:
        model, pin = self._model, self._pin
        name, offset = (point, None) if isinstance(point, str) else point
        _known(name, [frame.name for frame in model.frames], "frame")
        body = pin.FrameType.BODY  # a joint may be called like its link
        frame = int(model.getFrameId(name, body) if model.existFrame(name, body) else model.getFrameId(name))
        if offset is None or not np.any(offset):
            return frame
        there = model.frames[frame]
        placed = there.placement * pin.SE3(np.eye(3), np.asarray(offset, float))
        new = f"{name} {len(model.frames)}"
        return int(model.addFrame(pin.Frame(new, there.parentJoint, frame, placed, pin.FrameType.OP_FRAME)))

    def _support(self, frame: int) -> NDArray[np.bool_]:
        """(j,) whether each joint moves the frame."""
        chain = self._model.supports[self._model.frames[frame].parentJoint]
        moves = np.zeros(len(self.joints), bool)
        moves[[joint - 1 for joint in chain if joint > 0]] = True
        return moves

    def full(self, u: Array) -> Array:
        """Free joints (..., d) to all of them (..., j), rad."""
        return u @ self.spread.T + self.offset

    def points(self, u: Array) -> Array:
        """Points (n, k, 3), m, in the base frame, at free joints (n, d)."""
        pin, model, data, frames = self._pin, self._model, self._data, self._frames
        out = np.empty((len(u), len(frames), 3))
        for row, q in zip(out, np.ascontiguousarray(self.full(u)), strict=True):
            pin.framesForwardKinematics(model, data, q)
            placed = data.oMf
            for i, frame in enumerate(frames):
                row[i] = placed[frame].translation
        return out

    def poses(self, u: Array) -> Array:
        """Poses (n, k, 4, 4) of the points' frames in the base frame, at free joints (n, d)."""
        pin, model, data = self._pin, self._model, self._data
        out = np.empty((len(u), len(self._frames), 4, 4))
        for row, q in zip(out, np.ascontiguousarray(self.full(u)), strict=True):
            pin.framesForwardKinematics(model, data, q)
            for i, frame in enumerate(self._frames):
                row[i] = data.oMf[frame].homogeneous
        return out

    def move(self, u: Array) -> Motion:
        """Points and their derivatives at free joints (n, d), rad."""
        pin, model, data, frames = self._pin, self._model, self._data, self._frames
        n, k, j = len(u), len(frames), len(self.joints)
        points, twists = np.empty((n, k, 3)), np.empty((n, 6, j))
        for row, q in enumerate(np.ascontiguousarray(self.full(u))):
            pin.computeJointJacobians(model, data, q)
            pin.updateFramePlacements(model, data)
            twists[row] = data.J
            placed = data.oMf
            for i, frame in enumerate(frames):
                points[row, i] = placed[frame].translation
        return Motion(points, twists)


def _spread(joints: Sequence[str], free: Sequence[str], couplings: Sequence[Coupling]) -> tuple[Array, Array]:
    spread, offset = np.zeros((len(joints), len(free))), np.zeros(len(joints))
    for i, name in enumerate(free):
        spread[joints.index(name), i] = 1.0
    settled = set(free)
    waiting = list(couplings)
    while waiting:  # one driven by a driven one comes after it
        ready = [c for c in waiting if c.of in settled]
        if not ready:
            raise RetargetError(f"joint {waiting[0].joint!r} is driven by one that nothing drives")
        for c in ready:
            row, of = joints.index(c.joint), joints.index(c.of)
            spread[row], offset[row] = c.multiplier * spread[of], c.multiplier * offset[of] + c.offset
            settled.add(c.joint)
        waiting = [c for c in waiting if c not in ready]
    return spread, offset


def _mimics(xml: str) -> list[Coupling]:
    from xml.etree import ElementTree

    found: list[Coupling] = []
    for joint in ElementTree.fromstring(xml).iterfind("joint"):
        mimic = joint.find("mimic")
        if mimic is not None:
            multiplier, offset = float(mimic.get("multiplier", "1")), float(mimic.get("offset", "0"))
            found.append(Coupling(joint.get("name", ""), mimic.get("joint", ""), multiplier, offset))
    return found


def _known(name: str, names: Sequence[str], what: str) -> None:
    if name not in names:
        shown = ", ".join(names[:40])
        raise RetargetError(f"no {what} {name!r} in the robot's description", mend=f"it has: {shown}")
