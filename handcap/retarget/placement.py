"""Where a robot must stand for a session to be within reach, and how exactly."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from handcap import geometry
from handcap.geometry import Array
from handcap.retarget.branches import BranchParams, begin, spread
from handcap.retarget.branches import few as few_rows
from handcap.retarget.follow import Follower, Motion, Problem
from handcap.retarget.model import Body, Tool
from handcap.retarget.targets import Goal, Targets
from handcap.types import Side


@dataclass(frozen=True, slots=True)
class PlacementParams:
    samples: int = 25_000  # postures of the reach map
    turn_m: float = 0.25  # one radian of the tool counts as much as this
    key_poses: int = 10  # of the session, for the first look
    grid: int = 10  # steps of the first look from the middle of the work to the end of the reach
    height_m: float = 0.1  # steps
    below_m: tuple[float, float] = (0.1, 0.7)  # of the base under the middle of the work, where nothing else is known
    candidates: int = 6
    hopeless: float = 0.3  # share of rows; where the best reaches fewer, it is not made finer
    finalists: int = 2
    settle_first: int = 5  # steps of base and joints together, for every candidate
    settle: int = 12  # likewise for the best
    good_enough: float = 0.2  # cost of a row; then no other candidate is tried
    rows: int = 24  # of the session, for the second look
    refinements: int = 2
    first_step: tuple[float, float, float, float] = (0.08, 0.08, 0.06, 0.2)  # m, m, m, rad
    singular: float = 0.06  # singular values of the tool's Jacobian below it cost; one radian counts as 0.3 m
    probe_m: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)
    probe_rad: tuple[float, ...] = (0.1, 0.3)
    met_m: float = 0.003  # a row is met when its tool is off by less
    met_rad: float = 0.0087
    about_m: float = 0.006  # likewise where a motion is not settled yet
    about_rad: float = 0.03
    lost: float = 0.02  # share of poses that may be lost in that before another place is tried
    seed: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Placement:
    """Where a base stands.

    Attributes:
        T_world_base: (4, 4) level.
        motion: on the rows it was judged by, in the frame the body was built in.
        rows: (m,) of the targets.
        met: share of these rows within reach, 0 .. 1.
        there: likewise, but for a few mm, whether or not anything touches.
        room: how far it may be moved with no more rows lost: m forwards and back, sideways, up and down; rad of turn;
            each the lesser of both directions. None when it was not probed.
    """

    T_world_base: Array
    motion: Motion
    rows: NDArray[np.int64]
    met: float
    there: float
    room: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Ground:
    """Where a base may stand.

    Attributes:
        surfaces: (k, 3) convex level polygons, counter-clockwise from above; a base stands on or beside them.
        height_m: (low, high) of the base; below the middle of the work where None.
        half: (3,) `a, b, c` of the half of the floor that is the base's own: a x + b y >= c; all where None.
        T_world_there: (m, 4, 4) places of a frame that moves about, in which bases are given; surfaces are in the
            world. None where bases are given in the world, too.
        room_m: a base beside a surface keeps so far from its edge.
    """

    surfaces: Sequence[Array] = ()
    height_m: tuple[float, float] | None = None
    half: Array | None = None
    T_world_there: Array | None = None
    room_m: float = 0.12

    def allows(self, T: Array) -> NDArray[np.bool_]:
        """(...) whether a base may stand at (..., 4, 4)."""
        p = T[..., :3, 3]
        out = np.ones(p.shape[:-1], bool)
        if self.height_m is not None:
            out &= (p[..., 2] >= self.height_m[0] - 1e-6) & (p[..., 2] <= self.height_m[1] + 1e-6)
        if self.half is not None:
            out &= p[..., :2] @ self.half[:2] >= self.half[2]
        there = np.eye(4)[None] if self.T_world_there is None else self.T_world_there
        for T_world_there in there if self.surfaces else ():
            p_world = geometry.transform(T_world_there, p)
            for surface in self.surfaces:
                out &= (p_world[..., 2] >= surface[:, 2].mean() - 1e-3) | ~_over(surface, p_world, self.room_m)
        return out


def _over(polygon: Array, p: Array, margin_m: float) -> NDArray[np.bool_]:
    """(...) whether points (..., 3) lie over a polygon, counter-clockwise from above, or so near its edges' lines."""
    edge = np.roll(polygon, -1, axis=0)[:, :2] - polygon[:, :2]
    length = np.maximum(np.linalg.norm(edge, axis=1), 1e-9)
    to = p[..., None, :2] - polygon[:, :2]
    inwards = (edge[:, 0] * to[..., 1] - edge[:, 1] * to[..., 0]) / length
    return np.all(inwards > -margin_m, axis=-1)


def seen_from(targets: Targets, T_world_base: Array) -> Targets:
    """The same in the coordinates of a base."""
    T_base_world = geometry.inverse(T_world_base)
    goals: dict[Side, Goal] = {
        side: Goal(T_base_world @ g.T_world_tcp, g.root, g.sigma, g.tracked) for side, g in targets.goals.items()
    }
    head = None if targets.T_world_head is None else T_base_world @ targets.T_world_head
    return Targets(targets.t_ns, goals, head)


class ReachMap:
    """Sampled poses of one tool in its base's frame."""

    def __init__(self, follower: Follower, tool: Tool, params: PlacementParams) -> None:
        body = follower.body
        self.turn_m = params.turn_m
        self.turns = _turns_about_z(body, tool)
        rng = np.random.default_rng(params.seed)
        low, high = np.maximum(body.lower, body.home - np.pi), np.minimum(body.upper, body.home + np.pi)
        margin = 0.03 * (high - low)  # a pose on the limit is of little use
        low, high = low + margin, high - margin
        low[body.base] = high[body.base] = 0.0
        q = rng.uniform(low, high, (params.samples, body.dof))
        posed = follower.kinematics.poses(q)
        T = posed.T_world_joint[:, tool.joint] @ tool.T_joint_tcp
        self.reach_m = float(np.linalg.norm(T[:, :2, 3], axis=1).max())
        self._tree = KDTree(self._features(T))

    def distance(self, T_base_tcp: Array) -> Array:
        """(...,) m from poses (..., 4, 4) to the nearest samples; the turn of the tool counts as `turn_m`."""
        features = self._features(T_base_tcp.reshape(-1, 4, 4))
        found, _ = self._tree.query(features, k=2, eps=0.5)
        return found.mean(axis=1).reshape(T_base_tcp.shape[:-2])

    def _features(self, T: Array) -> Array:
        p, R = T[:, :3, 3], T[:, :3, :3]
        if self.turns:
            around = np.arctan2(p[:, 1], p[:, 0])
            R = geometry.so3_exp(np.stack([0 * around, 0 * around, -around], axis=1)) @ R
            p = np.stack([np.hypot(p[:, 0], p[:, 1]), p[:, 2]], axis=1)
        return np.concatenate([p, self.turn_m * R[:, :, 0], self.turn_m * R[:, :, 2]], axis=1)


def reach_maps(follower: Follower, params: PlacementParams | None = None) -> dict[Side, ReachMap]:
    """Of every tool of a body that was built at the origin."""
    params = params or PlacementParams()
    return {tool.side: ReachMap(follower, tool, params) for tool in follower.body.tools}


def _turns_about_z(body: Body, tool: Tool) -> bool:
    """Whether the arm's first joint turns it about the base's z axis most of the way round."""
    k = int(tool.columns[0])
    joint = body.model.getJointId(body.joints[k])
    M = body.model.jointPlacements[joint]
    lone = body.model.parents[joint] == 0 and len(body.tools) == 1
    centred = np.hypot(*M.translation[:2]) < 0.02
    q = np.zeros(body.dof)
    q[k] = 0.5
    data = body.model.createData()
    import pinocchio as pin

    pin.forwardKinematics(body.model, data, q)
    turned = data.oMi[joint].rotation @ M.rotation.T
    upright = abs(turned[2, 2]) > 0.9999
    return lone and centred and upright and body.upper[k] - body.lower[k] > 4.5


_FIRST = BranchParams(guesses=8, most=3, refined=2, iterations=3)


def place(
    follower: Follower,
    targets: Targets,
    ground: Ground | None = None,
    params: PlacementParams | None = None,
    maps: Mapping[Side, ReachMap] | None = None,
) -> Placement | None:
    """Search where the base of a body must stand; None when no row is tracked.

    Args:
        follower: of a body built at the origin.
        targets: in the world.
        ground: where it may stand; anywhere below the work by default.
        maps: see `reach_maps`; made here where None.
    """
    params = params or PlacementParams()
    rows = _spread(targets, params.rows)
    if not len(rows):
        return None
    few = targets.rows(rows)
    maps = maps or reach_maps(follower, params)
    ground = ground or Ground()
    guesses = _first_look(few, maps, ground, params)
    judged: list[tuple[float, Array, Motion]] = []
    best: tuple[float, float, Array, Motion] | None = None
    untried = iter(guesses)
    for T in untried:
        judged.append(_judged(follower, few, T, ground, params))
        if judged[-1][0] < params.good_enough * len(few):
            break
    judged.sort(key=lambda each: each[0])
    finals = [_settled(follower, few, each, ground, params) for each in judged[: params.finalists]]
    finals.sort(key=lambda each: each[0])
    spare = itertools.chain(judged[params.finalists :], (_judged(follower, few, T, ground, params) for T in untried))
    for final in itertools.chain(finals, (_settled(follower, few, each, ground, params) for each in spare)):
        cost, T, motion = final
        lost = 1 - _held(follower, targets, rows, T, motion, params)
        if best is None or (lost, cost) < best[:2]:
            best = (lost, cost, T, motion)
        # Where poses are met one by one but not in turn, another place may do; where they are not, none was better.
        if lost <= params.lost or _there(motion, few, params) < 1 - lost + params.lost:
            break
    assert best is not None
    _, cost, T, motion = best
    hopeless = _met(motion, few, params) < params.hopeless
    steps = np.array(params.first_step)
    for _ in range(0 if hopeless else params.refinements):
        better = False
        for axis in range(4):
            for sign in (1.0, -1.0):
                step = np.zeros(4)
                step[axis] = sign * steps[axis]
                T_new = _moved(T, step)
                if not ground.allows(T_new):
                    continue
                new = _standing(follower, T_new).follow(seen_from(few, T_new), motion.q, iterations=4)
                new_cost = _cost(follower, new, params)
                if new_cost < 0.99 * cost:
                    cost, T, motion, better = new_cost, T_new, new, True
                    break
        if not better:
            steps = steps / 2
    return Placement(T, motion, rows, _met(motion, few, params), _there(motion, few, params))


_Judged = tuple[float, Array, Motion]  # cost, base, motion on the few rows


def _judged(follower: Follower, few: Targets, T: Array, ground: Ground, params: PlacementParams) -> _Judged:
    """A candidate, as good as a first look makes it."""
    motion = begin(_standing(follower, T), seen_from(few, T), _FIRST)
    T, motion = _settle(follower, few, T, motion, ground, params.settle_first)
    return _cost(follower, motion, params), T, motion


def _settled(follower: Follower, few: Targets, judged: _Judged, ground: Ground, params: PlacementParams) -> _Judged:
    _, T, motion = judged
    T, motion = _settle(follower, few, T, motion, ground, params.settle)
    return _cost(follower, motion, params), T, motion


def _held(
    follower: Follower, targets: Targets, rows: NDArray[np.int64], T: Array, motion: Motion, params: PlacementParams
) -> float:
    """Share of poses, about so far apart in time as none can be left out, that are met in one way of holding the arm:
    poses that are far apart may all be met, each in a way of its own.
    """
    dense = few_rows(targets)
    some = targets.rows(dense)
    guess = spread(motion.q, targets.t_s[rows], targets.t_s[dense])
    found = begin(_standing(follower, T), seen_from(some, T), replace(_FIRST, iterations=6), guess=guess)
    return _there(found, some, params)


def _settle(
    follower: Follower,
    few: Targets,
    T: Array,
    motion: Motion,
    ground: Ground,
    steps: int,
) -> tuple[Array, Motion]:
    """Base and joints improved together by Gauss-Newton steps; surfaces count for the cost, not for the direction."""
    q, damping = motion.q, 1e-6
    body = follower.body
    prior = np.eye(4)  # a cost of 1 for a step of a metre or a radian
    t_s = few.t_s

    def problem(T: Array) -> Problem:
        return Problem(_standing(follower, T), seen_from(few, T), t_s, None)

    state = problem(T).at(q)
    for _ in range(steps):
        here = problem(T)
        chain = here.equations(state)
        across, hessian, gradient = here.standing(state)
        fixed = ((state.q <= body.lower) & (chain.gradient > 0)) | ((state.q >= body.upper) & (chain.gradient < 0))
        gained = 0.0
        for _ in range(5):
            damped = hessian + damping * np.diag(np.diag(hessian)) + prior
            found = chain.shared_step(np.full(len(few), damping), fixed, across, damped, gradient)
            if found is not None:
                step, base = found
                scale = min(
                    1.0, 0.4 / max(float(np.abs(step).max()), 1e-9), 0.15 / max(float(np.abs(base).max()), 1e-9)
                )
                T_new = _moved(T, scale * base)
                if not ground.allows(T_new):
                    T_new, base = T, np.zeros(4)
                new = problem(T_new).at(np.clip(state.q + scale * step, body.lower, body.upper))
                if new.cost < state.cost:
                    gained = (state.cost - new.cost) / (new.cost + 0.05 * len(few))
                    T, state, damping = T_new, new, damping / 5
                    break
            damping = max(damping, 1e-7) * 20
        if gained < 0.02:
            break
    return T, problem(T).motion(state)


def probe(
    follower: Follower, targets: Targets, placement: Placement, params: PlacementParams | None = None
) -> Placement:
    """How far a placement may be moved before rows are lost; not asked where most are lost as it is."""
    params = params or PlacementParams()
    if placement.met < params.hopeless:
        return placement
    few = targets.rows(placement.rows)
    room: list[float] = []
    for axis in range(4):
        reached: list[float] = []
        for sign in (1.0, -1.0):
            last, motion = 0.0, placement.motion
            for size in params.probe_rad if axis == 3 else params.probe_m:
                step = np.zeros(4)
                step[axis] = sign * size
                T = _moved(placement.T_world_base, step)
                motion = _standing(follower, T).follow(seen_from(few, T), motion.q, iterations=4)
                if _met(motion, few, params) < placement.met - 1e-9:
                    break
                last = size
            reached.append(last)
        room.append(min(reached))
    _standing(follower, placement.T_world_base)
    return replace(placement, room=(room[0], room[1], room[2], room[3]))


def _standing(follower: Follower, T_world_base: Array) -> Follower:
    if follower.clearance is not None:
        follower.clearance.stand(geometry.inverse(T_world_base))
    return follower


def _moved(T: Array, step: Array) -> Array:
    """Forwards, sideways, up (m), turned (rad), in the base's own axes."""
    return T @ geometry.se3(geometry.so3_exp([0.0, 0.0, step[3]]), step[:3])


def _spread(targets: Targets, count: int) -> NDArray[np.int64]:
    """Tracked rows, the first, the last and those farthest from all chosen before, in order of time."""
    rows = np.flatnonzero(targets.tracked)
    if len(rows) <= count:
        return rows
    features = []
    for goal in targets.goals.values():
        T = np.where(goal.tracked[rows, None, None], goal.T_world_tcp[rows], 0.0)
        features.append(np.concatenate([T[:, :3, 3], 0.25 * T[:, :3, 0], 0.25 * T[:, :3, 2]], axis=1))
    x = np.concatenate(features, axis=1)
    chosen = [0]
    distance = np.linalg.norm(x - x[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(x - x[chosen[-1]], axis=1))
    return rows[np.unique(chosen)]


def _first_look(
    few: Targets,
    maps: Mapping[Side, ReachMap],
    ground: Ground,
    params: PlacementParams,
) -> list[Array]:
    """The most promising bases on a grid around the work, by the reach map."""
    keys: dict[Side, Array] = {
        side: g.T_world_tcp[g.tracked][:: max(1, int(np.sum(g.tracked)) // params.key_poses)]
        for side, g in few.goals.items()
    }
    keys = {side: T for side, T in keys.items() if len(T)}
    p = np.concatenate([T[:, :3, 3] for T in keys.values()])
    middle = (p.min(axis=0) + p.max(axis=0)) / 2
    low, high = ground.height_m or (middle[2] - params.below_m[1], middle[2] - params.below_m[0])
    heights = np.linspace(low, high, 1 + int(np.ceil((high - low) / params.height_m - 1e-6)))
    reach = max(m.reach_m for m in maps.values())
    side = np.linspace(-reach, reach, 2 * params.grid + 1)
    yaws = [0.0] if all(m.turns for m in maps.values()) else [-0.8, -0.4, 0.0, 0.4, 0.8]
    z, x, y, yaw = (v.reshape(-1) for v in np.meshgrid(heights, side, side, yaws, indexing="ij"))
    away = np.hypot(x, y)
    near = (0.15 * reach < away) & (away < reach)
    z, x, y, yaw = z[near], x[near], y[near], yaw[near]
    yaw = yaw + np.arctan2(-y, -x)
    turn = geometry.so3_exp(np.stack([0 * yaw, 0 * yaw, yaw], axis=1))
    bases = geometry.se3(turn, np.stack([middle[0] + x, middle[1] + y, z], axis=1))
    bases = bases[ground.allows(bases)]
    if not len(bases):
        return [geometry.se3(np.eye(3), [*middle[:2], low])]
    stack = geometry.inverse(bases)
    score = np.zeros(len(bases))
    for which, T in keys.items():
        distance = maps[which].distance(stack[:, None] @ T[None])
        score += distance.mean(axis=1) + distance.max(axis=1)
    chosen: list[int] = []
    for k in np.argsort(score, kind="stable"):
        if all(np.linalg.norm(bases[k][:3, 3] - bases[c][:3, 3]) > 0.2 for c in chosen):
            chosen.append(int(k))
        if len(chosen) == params.candidates:
            break
    return [bases[k] for k in chosen]


def _cost(follower: Follower, motion: Motion, params: PlacementParams) -> float:
    return motion.cost + float(np.sum(np.maximum(params.singular / singular_margin(follower, motion) - 1, 0) ** 2))


def singular_margin(follower: Follower, motion: Motion) -> Array:
    """(n,) least singular value of the arms' Jacobians, one radian of the tool counting as 0.3 m: near zero the arm can
    no longer move its tool in some direction.
    """
    least = np.full(len(motion.q), np.inf)
    for tool in follower.body.tools:
        _, J = follower.kinematics.frame(motion.posed, tool.joint, tool.T_joint_tcp)
        J = J[:, :, tool.columns] * np.repeat([0.3, 1.0], 3)[:, None]
        values = np.linalg.svd(J, compute_uv=False)
        least = np.minimum(least, values[:, -1])
    return np.maximum(least, 1e-9)


def _there(motion: Motion, few: Targets, params: PlacementParams) -> float:
    """Share of rows where every tool is about where it should be, whether or not anything touches."""
    about = replace(params, met_m=params.about_m, met_rad=params.about_rad)
    return _met(replace(motion, near=None), few, about)


def _met(motion: Motion, few: Targets, params: PlacementParams) -> float:
    """Share of rows where every tool is where it should be and nothing touches."""
    good = [
        (motion.position_error_m[:, k] < params.met_m) & (motion.rotation_error_rad[:, k] < params.met_rad)
        | ~goal.tracked
        for k, goal in enumerate(few.goals.values())
    ]
    met = np.all(good, axis=0)
    if motion.near is not None:
        met[motion.near.row[motion.near.distance_m < 0]] = False
    return float(np.mean(met))
