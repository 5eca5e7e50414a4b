"""A take's hands, bare or holding grippers, on a robot hand: motion, verdict and what is written of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap import session as session_store
from handcap.causes import Cause
from handcap.clock import NS_PER_S
from handcap.errors import RetargetError
from handcap.geometry import Array
from handcap.retarget.hands.follow import FollowParams, HandMotion, follow
from handcap.retarget.hands.grippers import gripper_from_hand, pinch_grasp
from handcap.retarget.hands.person import JOINTS, Person, person
from handcap.retarget.hands.robot_hand import RobotHand, hand_sides, make_hand
from handcap.retarget.robot import Robot
from handcap.retarget.verdict import RobotVerdict
from handcap.session import Session
from handcap.types import SIDES, Side, Trajectory

SOURCE = "reconstruct"


@dataclass(frozen=True, slots=True)
class HandVerdictParams:
    reached_m: float = 0.02  # beyond the recording's own sigma, fingertips in the mean: a pen's and a finger's breadth
    whole_pct: float = 95.0  # of the pictures that show the hand must be reached to be simply ok
    least_pct: float = 50.0  # fewer: refused
    unseen_pct: float = 10.0  # of the take may be without motion
    shortest_span_s: float = 1.0


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
    """A recorded gripper: (n,) stamps and jaw openings, m, NaN where unknown."""

    t_ns: NDArray[np.int64]
    width_m: Array


@dataclass(frozen=True, eq=False, slots=True)
class HandSolution:
    """A robot's hands over a take.

    Attributes:
        motions: by side; of one that held a gripper without fingertip errors.
        hands: by side.
        pinched: sides that follow a gripper's jaws.
        bare: the hands followed, by side, of those that held none.
        inputs_sha256: of the files read, relative to the session.
    """

    robot: Robot
    motions: Mapping[Side, HandMotion]
    hands: Mapping[Side, RobotHand]
    pinched: tuple[Side, ...]
    bare: Mapping[Side, BareHand]
    inputs_sha256: Mapping[str, str]


def solve_take(session: Session, take: str, robot: Robot, params: FollowParams | None = None) -> HandSolution:
    """A robot hand that does what was reconstructed of a take.

    Raises:
        RetargetError: neither a hand nor a gripper of a side that the robot has was reconstructed; see `make_hand` too.
    """
    folder = session.derived(take, SOURCE)
    session_store.read_report(folder)
    sides = hand_sides(robot)
    motions: dict[Side, HandMotion] = {}
    hands: dict[Side, RobotHand] = {}
    pinched: list[Side] = []
    bare: dict[Side, BareHand] = {}
    inputs: dict[str, str] = {}
    for side in SIDES:
        recorded = read_side(folder, side)
        if recorded is None or side not in sides:
            continue
        hands[side] = make_hand(robot, side)
        file = folder / (f"{side}_hand.parquet" if isinstance(recorded, BareHand) else f"{side}_tcp.parquet")
        inputs[file.relative_to(session.path).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()
        if isinstance(recorded, BareHand):
            bare[side] = recorded
            motions[side] = follow(hands[side], recorded.person(), recorded.wrist.t_ns, params)
        else:
            pinched.append(side)
            motions[side] = _pinch(hands[side], recorded)
    if not motions:
        raise RetargetError(
            f"no hand that {robot.title} could follow was reconstructed in take {take}",
            where=folder,
            mend="see what `handcap reconstruct` says of hands and grippers",
        )
    return HandSolution(robot, motions, hands, tuple(pinched), bare, inputs)


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
        table = pq.read_table(file, columns=["t_ns", "width_m"])
        width = table["width_m"].to_numpy(zero_copy_only=False).astype(float)
        return Held(table["t_ns"].to_numpy().astype(np.int64), width)
    return None


def _rows(column: Any, size: int) -> Array:
    """(n, size) of a column of lists, NaN for null."""
    unknown = [None] * size
    values = [unknown if row is None else row for row in column.to_pylist()]
    return np.array(values, float).reshape(-1, size)


def _pinch(hand: RobotHand, held: Held) -> HandMotion:
    q = pinch_grasp(hand).joints(held.width_m)
    n, f = len(held.t_ns), len(hand.fingers)
    unknown = np.full((n, f), np.nan)
    return HandMotion(held.t_ns, hand.joints, q, np.zeros(n, bool), unknown, unknown, np.zeros((n, f)))


def judge(solution: HandSolution, params: HandVerdictParams | None = None) -> RobotVerdict:
    """Whether the robot can do it, and why not more."""
    params = params or HandVerdictParams()
    causes: list[Cause] = []
    sides: dict[str, Any] = {}
    good: list[tuple[NDArray[np.int64], NDArray[np.bool_]]] = []
    shares: list[float] = []
    for side, motion in solution.motions.items():
        body = f"{side}_tcp" if side in solution.pinched else f"{side}_hand"
        known, reached = motion.known & ~motion.bridged, _reached(motion, params)
        t_s = (motion.t_ns - motion.t_ns[0]) / NS_PER_S
        idle = 100 * float(np.mean(~motion.known))
        if idle > params.unseen_pct:
            causes.append(Cause("robot_hand_unseen", body, None, idle, params.unseen_pct))
        share = float(reached.sum()) / max(int(known.sum()), 1)
        if known.any() and 100 * share < params.whole_pct:
            lost = np.flatnonzero(known & ~reached)
            span = (float(t_s[lost[0]]), float(t_s[lost[-1]]))
            causes.append(Cause("robot_fingers", body, span, 100 * (1 - share), 100 - params.whole_pct))
        shares.append(share)
        good.append((motion.t_ns, reached))
        sides[side] = _side_numbers(solution, side, share, int(known.sum()))
    worst = 100 * min(shares)
    decided = "refused" if worst < params.least_pct else "partial" if causes else "ok"
    return RobotVerdict(decided, tuple(causes), _spans(good, params.shortest_span_s), _numbers(sides, min(shares)))


def _reached(motion: HandMotion, params: HandVerdictParams) -> NDArray[np.bool_]:
    """(n,) whether fingertips are about where they should be; jaws that a pinch stands for are."""
    if np.isnan(motion.tip_error_m).all():
        return motion.known
    allowed = params.reached_m + np.nan_to_num(motion.tip_sigma_m).mean(axis=1)
    with np.errstate(invalid="ignore"):
        return motion.known & ~motion.bridged & (motion.tip_error_m.mean(axis=1) <= allowed)


def _side_numbers(solution: HandSolution, side: Side, share: float, rows: int) -> dict[str, Any]:
    motion, hand = solution.motions[side], solution.hands[side]
    error = motion.tip_error_m.mean(axis=1)
    error = 1e3 * error[np.isfinite(error)]
    sigma = motion.tip_sigma_m[np.isfinite(motion.tip_sigma_m)]
    q, low, high = motion.q[motion.known], hand.kinematics.joint_low, hand.kinematics.joint_high
    margin = np.minimum(q - low, high - q)
    return {
        "reachable": share,
        "rows": rows,
        "follows": "jaws" if side in solution.pinched else "hand",
        "position_error_mm": _spread(error),
        "rotation_error_deg": _spread(np.zeros(0)),
        "recording_sigma_mm": float(1e3 * np.median(sigma)) if len(sigma) else None,
        "tip_error_mm": {
            finger.name: _spread(1e3 * e[np.isfinite(e)])
            for finger, e in zip(hand.fingers, motion.tip_error_m.T, strict=True)
        },
        "pinching": float(np.mean(motion.pinching.max(axis=1) > 0.5)),
        "bridged": float(np.mean(motion.bridged)),
        "limit_margin_rad": float(np.min(margin)) if len(margin) else None,
        "speed_share": _speed_share(hand, motion),
        "mean_jerk_rad_s3": _mean_jerk(motion),
    }


def _speed_share(hand: RobotHand, motion: HandMotion) -> float | None:
    """Most of a joint's velocity limit that is used, 1 at the limit; None where the description has no limits."""
    dt = np.diff(motion.t_ns)[:, None] / NS_PER_S
    share = np.abs(np.diff(motion.q, axis=0)) / dt / hand.velocity
    share = share[np.isfinite(share)]
    return float(share.max()) if len(share) and np.isfinite(hand.velocity).any() else None


def _mean_jerk(motion: HandMotion) -> float | None:
    """Over joints and pictures, by the middle spacing of these; None where no four follow one another."""
    dt = float(np.median(np.diff(motion.t_ns))) / NS_PER_S if len(motion.t_ns) > 1 else 1.0
    jerk = np.abs(np.diff(motion.q, 3, axis=0)) / dt**3
    jerk = jerk[np.isfinite(jerk)]
    return float(jerk.mean()) if len(jerk) else None


def _numbers(sides: dict[str, Any], share: float) -> dict[str, Any]:
    return {"reachable": share, "sides": sides, "clearance_m": None, "time_scale": 1.0, "stand": {}}


def _spread(values: Array) -> dict[str, float | None]:
    if not len(values):
        return {"median": None, "p95": None, "max": None}
    return {"median": float(np.median(values)), "p95": float(np.percentile(values, 95)), "max": float(values.max())}


def _spans(
    good: list[tuple[NDArray[np.int64], NDArray[np.bool_]]], shortest_s: float
) -> tuple[tuple[float, float], ...]:
    """Stretches in which every hand does, in seconds from the first picture."""
    t_ns = good[0][0]
    all_good = np.ones(len(t_ns), bool)
    for stamps, each in good:
        nearest = np.clip(np.searchsorted(stamps, t_ns), 0, len(stamps) - 1)
        all_good &= each[nearest]
    edges = np.flatnonzero(np.diff(np.r_[False, all_good, False].astype(int)))
    t_s = (t_ns - t_ns[0]) / NS_PER_S
    pairs = zip(edges[::2], edges[1::2] - 1, strict=True)
    return tuple((float(t_s[a]), float(t_s[b])) for a, b in pairs if t_s[b] - t_s[a] >= shortest_s)


def write_hands(path: Path, solution: HandSolution) -> None:
    """`<robot>.parquet`: `t_ns`, a column per joint, rad, `reachable`, `position_error_m` of fingertips in the mean.

    Of two hands every column but the stamps has its side in front, and `reachable` and `position_error_m` are also
    there for both together. Null where the hand was unseen for long; `bridged` where motion only fills a gap.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    params = HandVerdictParams()
    stamps = np.unique(np.concatenate([motion.t_ns for motion in solution.motions.values()]))
    columns: dict[str, Any] = {"t_ns": pa.array(stamps)}
    several = len(solution.motions) > 1
    errors: list[Array] = []
    reached_all: list[Array] = []
    for side, motion in solution.motions.items():
        before = f"{side}_" if several else ""
        rows = np.searchsorted(stamps, motion.t_ns)

        def spread(values: Array, rows: NDArray[np.intp] = rows) -> Array:
            out = np.full(len(stamps), np.nan)
            out[rows] = values
            return out

        for k, name in enumerate(motion.joints):
            columns[name if name.startswith(before) else before + name] = _column(spread(motion.q[:, k]))
        seen = motion.known & ~motion.bridged
        reached = spread(np.where(seen, _reached(motion, params), np.nan))
        error = spread(motion.tip_error_m.mean(axis=1))
        bridged = spread(motion.bridged.astype(float))
        columns[f"{before}bridged"] = _truth(bridged)
        if several:
            columns[f"{before}reachable"] = _truth(reached)
            columns[f"{before}position_error_m"] = _column(error)
        errors.append(error)
        reached_all.append(reached)
    columns["reachable"] = _truth(_least(np.stack(reached_all)))
    columns["position_error_m"] = _column(-_least(-np.stack(errors)))
    columns["rotation_error_rad"] = _column(np.full(len(stamps), np.nan))
    table = pa.table(columns).replace_schema_metadata({"handcap.robot": solution.robot.name})
    pq.write_table(table, path, compression="zstd")


def _least(values: Array) -> Array:
    """(n,) smallest of (k, n), NaN where all are unknown."""
    known = np.isfinite(values).any(axis=0)
    return np.where(known, np.where(np.isfinite(values), values, np.inf).min(axis=0), np.nan)


def _column(values: Array) -> Any:
    import pyarrow as pa

    return pa.array(values, mask=np.isnan(values))


def _truth(values: Array) -> Any:
    import pyarrow as pa

    return pa.array(np.nan_to_num(values) > 0.5, mask=np.isnan(values))


def hand_report(solution: HandSolution, told: RobotVerdict, params: FollowParams | None = None) -> dict[str, Any]:
    """What report.json says of the robot."""
    hands = list(solution.hands.values())
    return {
        "title": solution.robot.title,
        "verdict": told.verdict,
        "causes": [cause.as_dict() for cause in told.causes],
        "spans_ok_s": [list(span) for span in told.spans_ok_s],
        "numbers": dict(told.numbers),
        "joints": list(hands[0].joints),
        "robot_sha256": solution.robot.sha256,
        "description_sha256": [hand.description_sha256 for hand in hands],
        "license": solution.robot.license,
        "parameters": {"follow": asdict(params or FollowParams()), "verdict": asdict(HandVerdictParams())},
        "inputs_sha256": dict(solution.inputs_sha256),
    }
