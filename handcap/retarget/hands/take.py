"""A take's hands, bare or holding grippers, on a robot hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handcap import session as session_store
from handcap.clock import NS_PER_S
from handcap.errors import RetargetError
from handcap.geometry import Array, inverse
from handcap.retarget.hands.follow import FollowParams, HandMotion, clearance, follow, unhurried
from handcap.retarget.hands.grippers import PinchGrasp, T_world_base, gripper_from_hand, pinch_grasp
from handcap.retarget.hands.pace import common_pace, slowness
from handcap.retarget.hands.person import JOINTS, Person, person
from handcap.retarget.hands.robot_hand import RobotHand, hand_sides, make_hand
from handcap.retarget.robot import Robot
from handcap.session import Session
from handcap.types import Side, Stamps, Trajectory

SOURCE = "reconstruct"


@dataclass(frozen=True, eq=False, slots=True)
class BareHand:
    """A recorded hand: its wrist, (n, 21, 3) joints, world, m, and (n, 21) their sigma, m; NaN where unknown."""

    wrist: Trajectory
    joints_world: Array
    sigma_m: Array

    def person(self) -> Person:
        return person(self.wrist.T_world_body, self.joints_world, self.sigma_m)

    def as_gripper(self, side: Side) -> tuple[Trajectory, Array]:
        """The tool frame and the (n,) jaw opening, m, that thumb and finger stand for; NaN where unseen."""
        jaws = gripper_from_hand(self.wrist.T_world_body, self.person())
        tracked = np.isfinite(jaws.width_m)
        stamps = self.wrist.t_ns, self.wrist.camera_t_ns
        return Trajectory(f"{side}_tcp", *stamps, jaws.T_world_tcp, jaws.cov, tracked), jaws.width_m


@dataclass(frozen=True, eq=False, slots=True)
class Held:
    """A recorded gripper: where its tool is, and (n,) jaw openings, m; NaN where unknown."""

    tool: Trajectory
    width_m: Array

    @property
    def T_world_tcp(self) -> Array:
        """(n, 4, 4), NaN where nobody knows."""
        return np.where(self.tool.tracked[:, None, None], self.tool.T_world_body, np.nan)


@dataclass(frozen=True, eq=False, slots=True)
class HandSolution:
    """A robot's hands over a take.

    Attributes:
        motions: by side; of one that held a gripper without fingertip errors.
        hands: by side.
        t_robot_s: (n,) of each side, from the first stamp of all: when its hand is there; as recorded where all of them
            keep up.
        T_world_base: (n, 4, 4) of each side, where the hand's base must be carried to; NaN where unknown.
        strokes: (widest that the robot's pinch opens, widest that the jaws were open), m, of sides that follow a
            gripper's jaws.
        bare: the hands followed, by side, of those that held none.
        inputs_sha256: of the files read, relative to the session.
    """

    robot: Robot
    motions: Mapping[Side, HandMotion]
    hands: Mapping[Side, RobotHand]
    t_robot_s: Mapping[Side, Array]
    T_world_base: Mapping[Side, Array]
    strokes: Mapping[Side, tuple[float, float]]
    bare: Mapping[Side, BareHand]
    inputs_sha256: Mapping[str, str]


def solve_take(session: Session, take: str, robot: Robot, params: FollowParams | None = None) -> HandSolution:
    """A robot hand that does what was reconstructed of a take.

    Raises:
        RetargetError: neither a hand nor a gripper of a side that the robot has was reconstructed; see `make_hand` too.
    """
    params = params or FollowParams()
    folder = session.derived(take, SOURCE)
    session_store.read_report(folder)
    hands: dict[Side, RobotHand] = {}
    bare: dict[Side, BareHand] = {}
    held: dict[Side, Held] = {}
    inputs: dict[str, str] = {}
    for side in hand_sides(robot):
        recorded = read_side(folder, side)
        if recorded is None:
            continue
        hands[side] = make_hand(robot, side)
        if isinstance(recorded, BareHand):
            bare[side] = recorded
        else:
            held[side] = recorded
        file = folder / (f"{side}_hand.parquet" if side in bare else f"{side}_tcp.parquet")
        inputs[file.relative_to(session.path).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()
    if not hands:
        raise RetargetError(
            f"no hand that {robot.title} could follow was reconstructed in take {take}",
            where=folder,
            mend="see what `handcap reconstruct` says of hands and grippers",
        )
    people: dict[Side, Person] = {side: each.person() for side, each in bare.items()}
    grasps: dict[Side, PinchGrasp] = {side: pinch_grasp(hands[side]) for side in held}
    stamps: dict[Side, Stamps] = {side: each.wrist.t_ns for side, each in bare.items()}
    stamps |= {side: each.tool.t_ns for side, each in held.items()}
    # As the person moves, however fast, tells where the robot needs more time.
    hurried: dict[Side, Array] = {
        side: unhurried(hands[side], who, stamps[side], params) for side, who in people.items()
    }
    hurried |= {side: grasps[side].joints(each.width_m) for side, each in held.items()}
    slow: dict[Side, Array] = {
        side: slowness(q, stamps[side] / NS_PER_S, hands[side].velocity) for side, q in hurried.items()
    }
    pace = common_pace(stamps, slow)
    motions: dict[Side, HandMotion] = {}
    bases: dict[Side, Array] = {}
    for side, hand in hands.items():
        if side in bare:
            motions[side] = follow(hand, people[side], stamps[side], params, pace[side])
            bases[side] = bare[side].wrist.T_world_body @ inverse(hand.T_base_ours)
        else:
            motions[side] = _pinch(hand, stamps[side], hurried[side])
            bases[side] = T_world_base(grasps[side], held[side].T_world_tcp, held[side].width_m)
    strokes: dict[Side, tuple[float, float]] = {
        side: (grasps[side].stroke_m, _widest(each.width_m)) for side, each in held.items()
    }
    return HandSolution(robot, motions, hands, pace, bases, strokes, bare, inputs)


def _widest(width_m: Array) -> float:
    known = width_m[np.isfinite(width_m)]
    return float(known.max()) if len(known) else 0.0


def read_side(folder: Path, side: Side) -> BareHand | Held | None:
    """What was reconstructed of a side: its bare hand, else its gripper's jaws, or None."""
    import pyarrow.parquet as pq

    file = folder / f"{side}_hand.parquet"
    if file.is_file():
        wrist = session_store.read_trajectory(file)
        table = pq.read_table(file, columns=["joints_world", "joint_sigma_m"])
        joints = _rows(table["joints_world"], 3 * JOINTS).reshape(-1, JOINTS, 3)
        return BareHand(wrist, joints, _rows(table["joint_sigma_m"], JOINTS))
    file = folder / f"{side}_tcp.parquet"
    if file.is_file() and "width_m" in pq.read_schema(file).names:
        width = pq.read_table(file, columns=["width_m"])["width_m"].to_numpy(zero_copy_only=False).astype(float)
        return Held(session_store.read_trajectory(file), width)
    return None


def _rows(column: Any, size: int) -> Array:
    """(n, size) of a column of lists, NaN for null."""
    unknown = [None] * size
    values = [unknown if row is None else row for row in column.to_pylist()]
    return np.array(values, float).reshape(-1, size)


def _pinch(hand: RobotHand, t_ns: Stamps, q: Array) -> HandMotion:
    n, f = len(t_ns), len(hand.fingers)
    unknown = np.full((n, f), np.nan)
    near = clearance(hand, q)
    return HandMotion(t_ns, hand.joints, q, np.zeros(n, bool), unknown, unknown, np.zeros((n, f)), *near)
