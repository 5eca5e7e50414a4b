"""A robot hand that follows a person's over a whole take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from handcap.clock import NS_PER_S
from handcap.geometry import Array
from handcap.retarget.hands.goals import GoalParams, tips_base, wishes
from handcap.retarget.hands.person import Person
from handcap.retarget.hands.robot_hand import RobotHand
from handcap.retarget.hands.seeds import seed
from handcap.retarget.hands.shapes import ApartParams, hand_shapes
from handcap.retarget.hands.solver import Apart, SolverParams, solve, solve_apart
from handcap.retarget.hands.wanted import Goals, independent
from handcap.types import Stamps


@dataclass(frozen=True, slots=True)
class FollowParams:
    """How a person's hand is followed."""

    goals: GoalParams = field(default_factory=GoalParams)
    solver: SolverParams = field(default_factory=SolverParams)
    apart: ApartParams | None = field(default_factory=ApartParams)  # None: fingers may pass through one another
    bridge_s: float = 0.3  # unseen for no longer than this, the motion goes on smoothly; a finger closes in about that


@dataclass(frozen=True, eq=False, slots=True)
class HandMotion:
    """Joint motion of a robot hand.

    Attributes:
        t_ns: (n,) int64, session clock.
        joints: names; q: (n, j) rad, NaN where the person's hand is unseen for long.
        bridged: (n,) bool, unseen but filled in between.
        tip_error_m: (n, f) from where the fingertips would be, in the order of the hand's fingers; NaN where unseen.
        tip_sigma_m: (n, f) how far the recording may be off there; NaN where it does not tell.
        pinching: (n, f) 0 .. 1, see `Wishes`.
        clearance_m: (n,) between the nearest shapes of different fingers, or of finger and palm; of those that are
            farther apart than `LOOK_M` it is that; NaN where there is no motion, or no shape. Negative: they overlap.
        thumb_clearance_m: (n,) the same between thumb and fingers, which meet when they pinch.
    """

    t_ns: Stamps
    joints: tuple[str, ...]
    q: Array
    bridged: NDArray[np.bool_]
    tip_error_m: Array
    tip_sigma_m: Array
    pinching: Array
    clearance_m: Array
    thumb_clearance_m: Array

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n,) whether there are joint values."""
        return np.asarray(np.isfinite(self.q).all(axis=1))


@threadpool_limits.wrap(limits=1)  # its matrices are small: threads would only wait for one another
def follow(
    hand: RobotHand, person: Person, t_ns: Stamps, params: FollowParams | None = None, t_robot_s: Array | None = None
) -> HandMotion:
    """Joint motion that does what the person's hand does.

    Args:
        t_ns: (n,) increasing, session clock.
        t_robot_s: (n,) increasing, when the robot is there; as recorded by default, and where it is too slow for that
            its fingers cut corners.
    """
    params = params or FollowParams()
    n, kinematics = len(t_ns), hand.kinematics
    t_s = (t_ns - t_ns[0]) / NS_PER_S if t_robot_s is None else t_robot_s - t_robot_s[0]
    u = np.full((n, len(kinematics.free)), np.nan)
    errors = np.full((n, len(hand.fingers)), np.nan)
    sigma, pinching = np.full_like(errors, np.nan), np.zeros_like(errors)
    seen = person.seen
    if seen.any():
        asked = wishes(hand, person, params.goals)
        apart = None if params.apart is None else hand_shapes(hand).keep_apart(params.apart)
        for part in spans((t_ns - t_ns[0]) / NS_PER_S, seen, params.bridge_s):
            goals = asked.goals.rows(np.arange(n)[part])
            u[part] = _solve_part(hand, goals, t_s[part], params.solver, hand.fastest, apart)
        filled = np.isfinite(u).all(axis=1)
        at = tips_base(hand, kinematics.points(u[filled]))
        errors[filled] = np.linalg.norm(at - asked.tips[filled], axis=-1)
        sigma, pinching = asked.sigma_m, asked.pinching
    bridged = ~seen & np.isfinite(u).all(axis=1)
    q = kinematics.full(u)
    return HandMotion(t_ns, kinematics.joints, q, bridged, errors, sigma, pinching, *clearance(hand, q))


@threadpool_limits.wrap(limits=1)
def unhurried(hand: RobotHand, person: Person, t_ns: Stamps, params: FollowParams) -> Array:
    """(n, j) joints as `follow` would have them if no joint were ever too slow; NaN where unseen for long."""
    n, kinematics = len(t_ns), hand.kinematics
    u = np.full((n, len(kinematics.free)), np.nan)
    if person.seen.any():
        asked, t_s = wishes(hand, person, params.goals), (t_ns - t_ns[0]) / NS_PER_S
        for part in spans(t_s, person.seen, params.bridge_s):
            u[part] = _solve_part(hand, asked.goals.rows(np.arange(n)[part]), t_s[part], params.solver, None, None)
    return kinematics.full(u)


LOOK_M = 0.01


def clearance(hand: RobotHand, q: Array) -> tuple[Array, Array]:
    """(n,) `clearance_m` and `thumb_clearance_m` of `HandMotion`, at joints (n, j), NaN where there are none."""
    shapes, kinematics = hand_shapes(hand), hand.kinematics
    out = np.full((2, len(q)), np.nan)
    known = np.flatnonzero(np.isfinite(q).all(axis=1))
    if not len(known) or not len(shapes.thumb):
        return out[0], out[1]
    near = shapes.near(q[known][:, [kinematics.joints.index(name) for name in kinematics.free]], LOOK_M)
    for which, thumb in enumerate((False, True)):
        some = shapes.thumb[near.pair] == thumb
        nearest = np.full(len(known), LOOK_M)
        np.minimum.at(nearest, near.row[some], near.distance_m[some])
        out[which, known] = nearest
    return out[0], out[1]


def _solve_part(
    hand: RobotHand,
    goals: Goals,
    t_s: Array,
    params: SolverParams,
    fastest: Array | None,
    apart: Callable[[Array], Apart] | None,
) -> Array:
    some = np.unique(np.append(np.arange(0, len(t_s), params.levels[0][0]), len(t_s) - 1))
    known = np.isfinite(goals.vectors[some, 0, 0])
    some = some[known] if known.any() else np.flatnonzero(np.isfinite(goals.vectors[:, 0, 0]))[:1]
    rough = seed(hand.kinematics, goals.rows(some), hand.rest)
    start = np.stack([np.interp(t_s, t_s[some], column) for column in rough.T], axis=1)
    return solve(hand.kinematics, goals, t_s, start, hand.rest, params, fastest, apart)


def spans(t_s: Array, seen: NDArray[np.bool_], bridge_s: float) -> list[slice]:
    """Stretches of pictures that begin and end seen, with no longer unseen gap inside than `bridge_s`."""
    at = np.flatnonzero(seen)
    if not len(at):
        return []
    torn = np.flatnonzero(np.diff(t_s[at]) > bridge_s) if len(at) > 1 else np.zeros(0, np.intp)
    # Two seen pictures next to one another belong together however far apart they are: the camera was slow.
    torn = torn[np.diff(at)[torn] > 1]
    first, last = at[np.concatenate([[0], torn + 1])], at[np.concatenate([torn, [len(at) - 1]])]
    return [slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)]


def postures(hand: RobotHand, goals: Goals, params: SolverParams | None = None) -> Array:
    """Free joints (n, d), rad, of pictures that have nothing to do with one another."""
    params, kinematics = params or SolverParams(), hand.kinematics
    groups = independent(kinematics, goals)

    def off(goals: Goals, u: Array) -> Array:
        """(n, groups) mean error, m."""
        known = np.where(np.isfinite(goals.vectors[..., 0]), goals.weights, 0.0)
        far = known * np.linalg.norm(goals.errors(kinematics.points(u)), axis=-1)
        sums = [(far[:, g].sum(axis=1), known[:, g].sum(axis=1)) for g, _ in groups]
        return np.stack([error / np.maximum(total, 1e-12) for error, total in sums], axis=1)

    u = solve_apart(kinematics, goals, seed(kinematics, goals, hand.rest), hand.rest, params)
    far = off(goals, u)
    for rank in _RANKS:  # a finger that went the wrong way once may not from elsewhere
        poor = np.flatnonzero((far > _GOOD_M).any(axis=1))
        if not len(poor):
            break
        left = goals.rows(poor)
        new = solve_apart(kinematics, left, seed(kinematics, left, hand.rest, rank, _TABLE), hand.rest, params)
        then = off(left, new)
        for i, (_, joints) in enumerate(groups):
            better = then[:, i] < far[poor, i]
            u[np.ix_(poor[better], joints)] = new[np.ix_(better, joints)]
            far[poor[better], i] = then[better, i]
    return u


_TABLE = 1024
_RANKS = (0, 1, 3, 6, 10, 16, 25, 40, 60, 90, 140, 200, 300, 450, 650, 900)
_GOOD_M = 2e-5
