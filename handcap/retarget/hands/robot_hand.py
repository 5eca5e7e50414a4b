"""A robot hand made ready to follow a person's: its fingers measured, in the person's own wrist frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.errors import RetargetError
from handcap.geometry import Array
from handcap.retarget.description import Description
from handcap.retarget.hands.kinematics import Coupling, HandKinematics
from handcap.retarget.hands.person import KNUCKLES
from handcap.retarget.robot import Robot, load_description
from handcap.types import Side


@dataclass(frozen=True, eq=False, slots=True)
class RobotFinger:
    """One finger.

    Attributes:
        name: thumb, index, middle, ring or pinky.
        points: (k,) indices of its points in the kinematics, from knuckle to tip.
        human: (k,) joints of a person's hand that they follow.
        lengths_m: (k - 1,) from each to the next.
        knuckle: (3,) m, where its first point is at rest, base frame.
    """

    name: str
    points: NDArray[np.intp]
    human: NDArray[np.intp]
    lengths_m: Array
    knuckle: Array

    @property
    def tip(self) -> int:
        return int(self.points[-1])


@dataclass(frozen=True, eq=False, slots=True)
class RobotHand:
    """A hand for one side.

    Attributes:
        robot: which.
        side: whose hand it follows.
        kinematics: its joints; joints that do not move its fingers against its wrist are held.
        fingers: in the order of its file; the thumb may be anywhere among them.
        T_base_ours: (4, 4) our wrist frame in its base frame.
        rest: (d,) posture of rest of the free joints, rad.
        velocity: (j,) rad/s that joints may have at most; infinite where nobody says.
        description: what it was read from.
    """

    robot: Robot
    side: Side
    kinematics: HandKinematics
    fingers: tuple[RobotFinger, ...]
    T_base_ours: Array
    rest: Array
    velocity: Array
    description: Description

    @property
    def joints(self) -> tuple[str, ...]:
        """(j,) names as written to files."""
        return self.kinematics.joints

    @property
    def fastest(self) -> Array:
        """(d,) rad/s that free joints may have, so that the ones they drive keep theirs."""
        with np.errstate(divide="ignore"):
            return np.min(self.velocity[:, None] / np.abs(self.kinematics.spread), axis=0)

    @property
    def thumb(self) -> RobotFinger | None:
        return next((finger for finger in self.fingers if finger.name == "thumb"), None)

    @property
    def others(self) -> tuple[RobotFinger, ...]:
        """All but the thumb."""
        return tuple(finger for finger in self.fingers if finger.name != "thumb")


def hand_sides(robot: Robot) -> tuple[Side, ...]:
    """Sides that a robot has a hand for; none when it is no hand."""
    return () if robot.palm is None or not robot.fingers else tuple(robot.palm.T_wrist_ours)


def make_hand(robot: Robot, side: Side) -> RobotHand:
    """Read a hand's description and measure it.

    Raises:
        RetargetError: it is no hand, has none for that side, or names what its description has not; see
            `load_description` too.
    """
    palm = robot.palm
    if palm is None or not robot.fingers:
        raise RetargetError(f"{robot.title} is no hand", where=robot.file, mend="give it [hand] and [[fingers]]")
    if side not in palm.T_wrist_ours:
        raise RetargetError(f"{robot.title} has no {side} hand", where=robot.file, mend="give the other side's")
    description = load_description(robot, side)
    if description.format != "urdf":
        raise RetargetError("hands are read from URDF", where=description.path, mend="give its URDF")
    wanted = [finger for finger in robot.fingers if finger.side in ("any", side)]
    points: list[tuple[str, Array]] = []
    for finger in wanted:
        if finger.human[0] not in KNUCKLES or list(finger.human) != sorted(set(finger.human)):
            raise RetargetError(
                f"finger {finger.name!r} follows joints {list(finger.human)}",
                where=robot.file,
                mend=f"begin at one of {list(KNUCKLES)} and go on to the tip of the same finger",
            )
        offsets = [np.zeros(3)] * (len(finger.frames) - 1) + [finger.tip_offset_m]
        points += [(name.replace("{side}", side), offset) for name, offset in zip(finger.frames, offsets, strict=True)]
    points.append((palm.wrist.replace("{side}", side), np.zeros(3)))
    couplings = [
        Coupling(c.joint.replace("{side}", side), c.of.replace("{side}", side), c.multiplier, c.offset)
        for c in palm.coupled
    ]
    locked = {name.replace("{side}", side): value for name, value in robot.locked}
    try:
        whole = HandKinematics(description.xml, points, couplings, locked)
        own = whole.moves[:-1].any(axis=0) & ~whole.moves[-1]
        held = {name: 0.0 for name, moves in zip(whole.joints, own, strict=True) if not moves} | locked
        kinematics = HandKinematics(description.xml, points, couplings, held) if len(held) > len(locked) else whole
    except RetargetError as error:
        raise RetargetError(error.what, where=robot.file, mend=error.mend) from error
    rest = (kinematics.low + kinematics.high) / 2
    for name, value in palm.rest:
        joint = name.replace("{side}", side)
        if joint not in kinematics.free:
            known = ", ".join(kinematics.free)
            raise RetargetError(f"hand.rest: no free joint {joint!r}", where=robot.file, mend=f"known: {known}")
        rest[kinematics.free.index(joint)] = value
    rest = np.clip(rest, kinematics.low, kinematics.high)
    T_base = kinematics.poses(rest[None])[0]
    fingers: list[RobotFinger] = []
    first = 0
    for finger in wanted:
        at = np.arange(first, first + len(finger.frames))
        first += len(at)
        place = T_base[at, :3, 3]
        lengths = np.linalg.norm(np.diff(place, axis=0), axis=1)
        if lengths.min() < 1e-4:
            raise RetargetError(
                f"finger {finger.name!r}: two of its frames lie on one another", where=robot.file, mend="leave one out"
            )
        fingers.append(RobotFinger(finger.name, at, np.array(finger.human), lengths, place[0]))
    T_base_ours = T_base[-1] @ palm.T_wrist_ours[side]
    told = np.full(len(kinematics.joints), palm.velocity_rad_s) if palm.velocity_rad_s else kinematics.velocity
    velocity = np.where(np.isfinite(told), told, np.inf)
    return RobotHand(robot, side, kinematics, tuple(fingers), T_base_ours, rest, velocity, description)


def in_ours(hand: RobotHand, points_base: Array) -> Array:
    """Points (..., 3) of the base frame in our wrist frame."""
    R, p = hand.T_base_ours[:3, :3], hand.T_base_ours[:3, 3]
    return (points_base - p) @ R
