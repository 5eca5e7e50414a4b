"""What a robot hand can do of a take, and why not the rest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.causes import Cause
from handcap.clock import NS_PER_S
from handcap.geometry import Array
from handcap.retarget.hands.follow import FollowParams, HandMotion
from handcap.retarget.hands.robot_hand import RobotHand
from handcap.retarget.hands.take import HandSolution
from handcap.retarget.verdict import RobotVerdict
from handcap.types import Side


@dataclass(frozen=True, slots=True)
class HandVerdictParams:
    reached_m: float = 0.02  # beyond the recording's own sigma, fingertips in the mean: a pen's and a finger's breadth
    whole_pct: float = 95.0  # of the pictures that show the hand must be reached to be simply ok
    least_pct: float = 50.0  # fewer: refused
    unseen_pct: float = 10.0  # of the take may be without motion
    shortest_span_s: float = 1.0
    overlap_m: float = 0.001  # fingers in one another, or in the palm, by more than that press; of convex hulls
    thumb_overlap_m: float = 0.003  # thumb and finger, whose pads give when they pinch
    touching_pct: float = 1.0
    slow: float = 1.02  # times as long as the person took


def judge(solution: HandSolution, params: HandVerdictParams | None = None) -> RobotVerdict:
    """Whether the robot can do it, and why not more."""
    params = params or HandVerdictParams()
    causes: list[Cause] = []
    sides: dict[str, Any] = {}
    good: list[tuple[NDArray[np.int64], NDArray[np.bool_]]] = []
    shares: list[float] = []
    for side, motion in solution.motions.items():
        body = f"{side}_tcp" if side in solution.strokes else f"{side}_hand"
        known, reached = motion.known & ~motion.bridged, reached_rows(motion, params)
        t_s = (motion.t_ns - motion.t_ns[0]) / NS_PER_S
        idle = 100 * float(np.mean(~motion.known))
        if idle > params.unseen_pct:
            causes.append(Cause("robot_hand_unseen", body, None, idle, params.unseen_pct))
        share = float(reached.sum()) / max(int(known.sum()), 1)
        if known.any() and 100 * share < params.whole_pct:
            lost = np.flatnonzero(known & ~reached)
            span = (float(t_s[lost[0]]), float(t_s[lost[-1]]))
            causes.append(Cause("robot_fingers", body, span, 100 * (1 - share), 100 - params.whole_pct))
        pressing = touching(motion, params)
        share_pct = 100 * float(pressing.sum()) / max(int(motion.known.sum()), 1)
        if share_pct > params.touching_pct:
            at = t_s[np.flatnonzero(pressing)[[0, -1]]]
            causes.append(
                Cause("robot_fingers_touch", body, (float(at[0]), float(at[1])), share_pct, params.touching_pct)
            )
        if side in solution.strokes:
            stroke_m, widest_m = solution.strokes[side]
            if widest_m > stroke_m + 1e-3:
                causes.append(Cause("robot_stroke", body, None, 1e3 * widest_m, 1e3 * stroke_m))
        shares.append(share)
        good.append((motion.t_ns, reached))
        sides[side] = _side_numbers(solution, side, share, int(known.sum()))
    worst = 100 * min(shares)
    decided = "refused" if worst < params.least_pct else "partial" if causes_that_spoil(causes) else "ok"
    scale = time_scale(solution)
    if scale > params.slow:
        causes.append(Cause("robot_slow", None, None, scale, 1.0))
    numbers = {
        "reachable": min(shares),
        "sides": sides,
        "clearance_m": _lowest([side["clearance_m"] for side in sides.values()]),
        "time_scale": scale,
        "stand": {},
    }
    return RobotVerdict(decided, tuple(causes), _spans(good, params.shortest_span_s), numbers)


def causes_that_spoil(causes: list[Cause]) -> list[Cause]:
    """All but that jaws open less wide, which does not matter where what was held is narrower."""
    return [cause for cause in causes if cause.code != "robot_stroke"]


def time_scale(solution: HandSolution) -> float:
    """How many times as long as the person the robot needs for the whole take."""
    first = min(int(motion.t_ns[0]) for motion in solution.motions.values())
    last = max(int(motion.t_ns[-1]) for motion in solution.motions.values())
    took_s = (last - first) / NS_PER_S
    return max(float(each[-1]) for each in solution.t_robot_s.values()) / took_s if took_s > 0 else 1.0


def touching(motion: HandMotion, params: HandVerdictParams | None = None) -> NDArray[np.bool_]:
    """(n,) whether shapes are in one another by more than hulls and pads excuse."""
    params = params or HandVerdictParams()
    with np.errstate(invalid="ignore"):
        return (motion.clearance_m < -params.overlap_m) | (motion.thumb_clearance_m < -params.thumb_overlap_m)


def _lowest(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return min(known) if known else None


def reached_rows(motion: HandMotion, params: HandVerdictParams) -> NDArray[np.bool_]:
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
    t_robot_s = solution.t_robot_s[side]
    near, thumb = (_smallest(each) for each in (motion.clearance_m, motion.thumb_clearance_m))
    return {
        "reachable": share,
        "rows": rows,
        "follows": "jaws" if side in solution.strokes else "hand",
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
        "speed_share": _speed_share(hand, motion, t_robot_s),
        "mean_jerk_rad_s3": _mean_jerk(motion, t_robot_s),
        "clearance_m": None if near is None or thumb is None else min(near, thumb),
        "finger_clearance_m": near,
        "thumb_clearance_m": thumb,
        "touching": float(touching(motion).sum()) / max(int(motion.known.sum()), 1),
        "stroke_m": solution.strokes[side][0] if side in solution.strokes else None,
    }


def _smallest(values: Array) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.min()) if len(known) else None


def _speed_share(hand: RobotHand, motion: HandMotion, t_robot_s: Array) -> float | None:
    """Most of a joint's velocity limit that is used, 1 at the limit; None where the description has no limits."""
    share = np.abs(np.diff(motion.q, axis=0)) / np.diff(t_robot_s)[:, None] / hand.velocity
    share = share[np.isfinite(share)]
    return float(share.max()) if len(share) and np.isfinite(hand.velocity).any() else None


def _mean_jerk(motion: HandMotion, t_robot_s: Array) -> float | None:
    """Over joints and pictures, at the robot's pace; None where no four follow one another."""
    if len(t_robot_s) < 4:
        return None
    dt = (t_robot_s[3:] - t_robot_s[:-3]) / 3
    jerk = np.abs(np.diff(motion.q, 3, axis=0)) / dt[:, None] ** 3
    jerk = jerk[np.isfinite(jerk)]
    return float(jerk.mean()) if len(jerk) else None


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
        "description_sha256": [hand.description.sha256 for hand in hands],
        "license": solution.robot.license,
        "parameters": {"follow": asdict(params or FollowParams()), "verdict": asdict(HandVerdictParams())},
        "inputs_sha256": dict(solution.inputs_sha256),
    }
