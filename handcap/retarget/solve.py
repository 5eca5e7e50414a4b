"""One take on one robot: where it stands, how it moves, what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from handcap import geometry
from handcap.errors import RetargetError
from handcap.geometry import Array, inverse
from handcap.retarget.approach import Approach, approach, start_posture
from handcap.retarget.base_path import PathParams, base_path, person, stays
from handcap.retarget.branches import BranchParams, begin, few, spread
from handcap.retarget.follow import Follower, FollowParams, Motion, rates
from handcap.retarget.model import Body, build, for_side, sides_of
from handcap.retarget.pace import slowed
from handcap.retarget.placement import Ground, Placement, PlacementParams, place, probe, reach_maps, singular_margin
from handcap.retarget.robot import Robot
from handcap.retarget.targets import Goal, Targets, TrustParams, turned
from handcap.types import SIDES, Side


@dataclass(frozen=True, slots=True)
class RetargetParams:
    trust: TrustParams = field(default_factory=TrustParams)
    branch: BranchParams = field(default_factory=BranchParams)
    follow: FollowParams = field(default_factory=FollowParams)
    placement: PlacementParams = field(default_factory=PlacementParams)
    path: PathParams = field(default_factory=PathParams)
    # Beyond the recording's own sigma a row counts as reached when it is off by less.
    reached_m: float = 0.003
    reached_rad: float = 0.0087  # 0.5°
    touching_m: float = 0.0  # shapes nearer than that collide
    arms_apart_m: float = 0.3  # bases of two arms of their own
    stop_rad: float = 0.05  # a joint nearer to its limit is held up by it
    turn_worth: float = 0.01  # share of rows that turning a gripper half round must win


@dataclass(frozen=True, eq=False, slots=True)
class Solution:
    """A motion and what is to be said of it.

    Attributes:
        body: the robot, standing where it stands.
        targets: that it follows.
        motion: n rows.
        t_robot_s: (n,) from the first row, when the robot is there; as recorded where it keeps up.
        reached: (n, tools) whether a tool is where it should be and nothing touches; False where nobody knows.
        off: (n, tools) whether a tool is known and not where it should be.
        touching: (n,) whether shapes touch.
        crowded: (n,) whether the two arms touch each other or nearly do.
        singular: (n,) see `singular_margin`.
        placements: where bases stand and how exactly, per side; empty for a robot that goes along.
        left_out: sides that were recorded and that the robot has no arm for.
        turned: sides whose gripper is turned half round for the whole take, and so are the poses in `targets`.
        way: from the posture that the robot was said to start from; None when nobody said.
    """

    body: Body
    targets: Targets
    motion: Motion
    t_robot_s: Array
    reached: NDArray[np.bool_]
    off: NDArray[np.bool_]
    touching: NDArray[np.bool_]
    crowded: NDArray[np.bool_]
    singular: Array
    placements: Mapping[Side, Placement]
    left_out: tuple[Side, ...]
    way: Approach | None = None
    turned: tuple[Side, ...] = ()


def solve(
    robot: Robot,
    targets: Targets,
    surfaces: Sequence[Array] = (),
    height_m: tuple[float, float] | None = None,
    start: Sequence[float] | None = None,
    params: RetargetParams | None = None,
) -> Solution:
    """Follow all recorded sides that the robot has arms for.

    Args:
        robot: with at least one arm.
        targets: in the world.
        surfaces: (k, 3) level polygons in the world, counter-clockwise from above.
        height_m: (low, high) where bases may be in the world's z; free where None.
        start: where the robot's joints are before it begins, see `start_posture`; then it goes on in the way it holds
            its arms there, if that is no worse, and how it gets from there to the motion is told, too.

    Raises:
        RetargetError: the robot has no arm, nothing is tracked, or the start is no posture of the robot.
    """
    params = params or RetargetParams()
    sides = sides_of(robot, [side for side in SIDES if side in targets.goals])
    if not sides:
        raise RetargetError(f"{robot.title} has no arm for what was recorded", mend="choose another robot")
    left_out: tuple[Side, ...] = tuple(side for side in targets.goals if side not in sides)
    targets = replace(targets, goals={side: targets.goals[side] for side in sides})
    if not np.any(targets.tracked):
        raise RetargetError("no row of the take is tracked", mend="see what `handcap reconstruct` says of it")
    first = _solved(robot, targets, surfaces, height_m, start, params, left_out)
    other = _at_the_stop(first, params)
    if not other:
        return first
    second = _solved(robot, turned(targets, other), surfaces, height_m, start, params, left_out)
    better = second.reached.sum() > first.reached.sum() + params.turn_worth * len(targets)
    return replace(second, turned=other) if better else first


def _at_the_stop(solution: Solution, params: RetargetParams) -> tuple[Side, ...]:
    """Sides that lose rows because the arm's last joint is at its limit, and whose jaws grip the same the other way."""
    out: list[Side] = []
    body, q = solution.body, solution.motion.q
    for k, tool in enumerate(body.tools):
        last = int(tool.columns[-1])
        stopped = np.minimum(q[:, last] - body.lower[last], body.upper[last] - q[:, last]) < params.stop_rad
        lost = solution.off[:, k] & stopped
        if tool.jaws is not None and tool.jaws.symmetric and lost.sum() > params.turn_worth * len(q):
            out.append(tool.side)
    return tuple(out)


def _solved(
    robot: Robot,
    targets: Targets,
    surfaces: Sequence[Array],
    height_m: tuple[float, float] | None,
    start: Sequence[float] | None,
    params: RetargetParams,
    left_out: tuple[Side, ...],
) -> Solution:
    sides = list(targets.goals)
    if robot.base.kind != "fixed":
        return go(robot, targets, surfaces, height_m, start, params, left_out)
    placements = stand(robot, targets, surfaces, height_m, params)
    body = build(robot, sides, {side: each.T_world_base for side, each in placements.items()}, surfaces)
    posture = None if start is None else start_posture(body, start, np.empty(0))
    return follow(body, targets, placements, posture, params, left_out)


def go(
    robot: Robot,
    targets: Targets,
    surfaces: Sequence[Array],
    height_m: tuple[float, float] | None,
    start: Sequence[float] | None,
    params: RetargetParams,
    left_out: tuple[Side, ...] = (),
) -> Solution:
    """As `solve`, of a robot that can go along: it stands where it reaches all. Where no such place is, its base
    follows the person at the place beside them that serves it best, and leaves that path as far as the work needs.
    """
    sides = list(targets.goals)
    ground = Ground(surfaces, height_m, room_m=params.path.room_m)
    found, stands = _found(robot, targets, ground, params)
    if stands:
        T_path = np.broadcast_to(found.T_world_base, (len(targets), 4, 4))
        base = replace(robot.base, kind="fixed")
    else:
        T_path, base = person(targets, params.path) @ found.T_world_base, robot.base
    T_world_floor = np.eye(4)
    T_world_floor[2, 3] = float(np.median(T_path[:, 2, 3]))
    body = build(robot, sides, dict.fromkeys(sides, T_world_floor), surfaces)
    reference = np.tile(body.home, (len(targets), 1))
    reference[:, body.base] = base_path(T_path, targets.t_s, base, params.path)
    hold = replace(params.follow, base_posture=params.path.hold[base.kind])
    guess = reference.copy()
    guess[:, ~np.isin(np.arange(body.dof), body.base)] = spread(found.motion.q, targets.t_s[found.rows], targets.t_s)
    posture = None if start is None else start_posture(body, start, reference[0, body.base])
    solution = follow(body, targets, {}, posture, replace(params, follow=hold), left_out, reference, guess)
    x, y, yaw = solution.motion.q[:, body.base].T
    turn = geometry.so3_exp(np.stack([0 * yaw, 0 * yaw, yaw], axis=1))
    inside = ~replace(ground, height_m=None, room_m=0.0).allows(
        geometry.se3(turn, np.stack([x, y, np.full(len(x), T_world_floor[2, 3])], axis=1))
    )
    return replace(solution, touching=solution.touching | inside, reached=solution.reached & ~inside[:, None])


def _found(robot: Robot, targets: Targets, ground: Ground, params: RetargetParams) -> tuple[Placement, bool]:
    """Where a base that can go along had best be, and whether it had best stand there: in the world if it stands, else
    seen from the person.
    """
    sides = list(targets.goals)
    still = replace(robot, base=replace(robot.base, kind="fixed"))
    standing = place(
        Follower(build(still, sides, None, ground.surfaces), params.follow), targets, ground, params.placement
    )
    assert standing is not None
    T_world_person = person(targets, params.path)
    if standing.there >= params.path.stands or stays(T_world_person, params.path):
        return standing, True
    level = float(np.median(T_world_person[:, 2, 3]))
    height_m = ground.height_m
    low = None if height_m is None else (height_m[0] - level, height_m[1] - level)
    few_places = T_world_person[:: max(1, len(targets) // 20)]
    beside = replace(ground, height_m=low, T_world_there=few_places)
    # Seen from the person, the work stays where it is, and so does the base.
    follower = Follower(build(still, sides), params.follow)
    along = place(follower, _beside(targets, T_world_person), beside, params.placement)
    assert along is not None
    return (standing, True) if standing.there > along.there else (along, False)


def stand(
    robot: Robot,
    targets: Targets,
    surfaces: Sequence[Array],
    height_m: tuple[float, float] | None,
    params: RetargetParams,
) -> dict[Side, Placement]:
    """Where each side's base stands; arms of one base share it."""
    lone = not robot.parts and all(arm.side == "any" for arm in robot.arms)
    groups: list[tuple[Side, ...]] = [(side,) for side in targets.goals] if lone else [tuple(targets.goals)]
    follower = Follower(build(robot, groups[0], None, surfaces), params.follow)
    maps = reach_maps(follower, params.placement)
    out: dict[Side, Placement] = {}
    for group in groups:
        some = replace(targets, goals={side: targets.goals[side] for side in group})
        half = None
        if len(groups) > 1:  # the same arm twice
            follower.body = for_side(follower.body, group[0])
            maps = dict.fromkeys(group, next(iter(maps.values())))
            half = own_half(targets, group[0], params.arms_apart_m)
        found = place(follower, some, Ground(surfaces, height_m, half), params.placement, maps)
        if found is not None:
            found = probe(follower, some, found, params.placement)
            out |= dict.fromkeys(group, found)
    return out


def own_half(targets: Targets, side: Side, apart_m: float) -> Array:
    """The half of the floor (3,) on which the base of a side's own arm may stand, see `place`: left of the person's
    middle line or right of it, so that two arms do not cross.
    """
    known = [g.T_world_tcp[g.tracked] for g in targets.goals.values() if np.any(g.tracked)]
    middle = np.mean([T[:, :2, 3].mean(axis=0) for T in known], axis=0)
    ahead = np.mean([T[:, :2, 2].mean(axis=0) for T in known], axis=0)
    head = targets.T_world_head
    if head is not None and np.any(np.isfinite(head[:, 0, 3])):
        ahead = middle - np.nanmean(head[:, :2, 3], axis=0)
    left = np.array([-ahead[1], ahead[0]]) / max(float(np.linalg.norm(ahead)), 1e-9)
    sign = 1.0 if side == "left" else -1.0
    return np.array([*(sign * left), sign * float(left @ middle) + apart_m / 2])


def follow(
    body: Body,
    targets: Targets,
    placements: Mapping[Side, Placement],
    posture: Array | None,
    params: RetargetParams,
    left_out: tuple[Side, ...] = (),
    reference: Array | None = None,
    guess: Array | None = None,
) -> Solution:
    """The motion of a body that stands where it stands, slowed down where it must be."""
    follower = Follower(body, params.follow)
    rows = few(targets, params.branch)
    some = None if reference is None else reference[rows]
    first = _as_placed(body, placements, targets, rows) if guess is None else guess[rows]
    coarse = begin(follower, targets.rows(rows), params.branch, posture, some, first)
    start = follower.nudged(targets, spread(coarse.q, targets.t_s[rows], targets.t_s))
    motion = follower.follow(targets, start, reference=reference)
    if len(body.base):
        # Base and arms share the work in many ways: what stuck goes on when it is taken up anew.
        motion = follower.follow(targets, motion.q, reference=reference)
    t_s = slowed(motion.q, targets.t_s, body.velocity, body.acceleration)
    if t_s[-1] > targets.t_s[-1] * (1 + 1e-6):
        # With the time it needs it need not cut corners.
        motion = follower.follow(targets, motion.q, t_s, reference)
        t_s = slowed(motion.q, targets.t_s, body.velocity, body.acceleration)
    solution = judge(follower, targets, motion, t_s, placements, params, left_out)
    return solution if posture is None else replace(solution, way=approach(follower, posture, motion.q[0]))


def _as_placed(
    body: Body, placements: Mapping[Side, Placement], targets: Targets, rows: NDArray[np.int64]
) -> Array | None:
    """The motion that placements were judged by, at other rows (m,); None when there is none."""
    if not placements:
        return None
    out = np.tile(body.home, (len(rows), 1))
    for tool in body.tools:
        placed = placements[tool.side]
        q = placed.motion.q
        # A side that stands alone was judged alone.
        own = q if q.shape[1] == len(tool.columns) else q[:, tool.columns] if q.shape[1] == body.dof else None
        if own is not None:
            out[:, tool.columns] = spread(own, targets.t_s[placed.rows], targets.t_s[rows])
    return out


def _beside(targets: Targets, T_world_person: Array) -> Targets:
    T = inverse(T_world_person)
    goals: dict[Side, Goal] = {
        side: Goal(T @ g.T_world_tcp, g.root, g.sigma, g.tracked) for side, g in targets.goals.items()
    }
    return Targets(targets.t_ns, goals, None if targets.T_world_head is None else T @ targets.T_world_head)


def judge(
    follower: Follower,
    targets: Targets,
    motion: Motion,
    t_s: Array,
    placements: Mapping[Side, Placement],
    params: RetargetParams,
    left_out: tuple[Side, ...] = (),
) -> Solution:
    n, body = len(targets), follower.body
    touching, crowded = np.zeros(n, bool), np.zeros(n, bool)
    if motion.near is not None:
        near = motion.near
        touching[near.row[near.distance_m < params.touching_m]] = True
        if follower.clearance is not None and len(body.tools) > 1:
            between = follower.clearance.between([tool.columns for tool in body.tools])
            crowded[near.row[between[near.pair]]] = True
    off = np.zeros((n, len(body.tools)), bool)
    known = np.zeros_like(off)
    for k, tool in enumerate(body.tools):
        goal = targets.goals[tool.side]
        sigma = np.nan_to_num(goal.sigma)
        known[:, k] = goal.tracked
        with np.errstate(invalid="ignore"):
            off[:, k] = (motion.position_error_m[:, k] > params.reached_m + sigma[:, 1]) | (
                motion.rotation_error_rad[:, k] > params.reached_rad + sigma[:, 0]
            )
    off &= known
    singular = singular_margin(follower, motion)
    reached = known & ~off & ~touching[:, None]
    return Solution(body, targets, motion, t_s, reached, off, touching, crowded, singular, placements, left_out)


def ratios(solution: Solution) -> tuple[float, float]:
    """Most of the limits of velocity and of acceleration that is used, 1 at the limit, at the robot's own pace."""
    speed, acceleration = rates(solution.motion.q, solution.t_robot_s)
    body = solution.body
    return (
        float((np.abs(speed) / body.velocity).max(initial=0.0)),
        float((np.abs(acceleration) / body.acceleration).max(initial=0.0)),
    )
