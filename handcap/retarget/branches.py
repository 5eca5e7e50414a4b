"""Where to begin: several ways of holding the arm are tried on a few rows, and the best is kept for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from handcap import geometry
from handcap.geometry import Array
from handcap.retarget.follow import Follower, Motion
from handcap.retarget.model import Tool
from handcap.retarget.targets import Targets


@dataclass(frozen=True, slots=True)
class BranchParams:
    every_s: float = 0.25  # rows that are tried
    tried: int = 24  # rows on which ways are compared
    guesses: int = 20  # postures from which the anchor row is solved
    steps: int = 40
    apart_rad: float = 0.5  # solutions nearer than that are one
    most: int = 8  # solutions followed over these rows
    touch: float = 5.0  # two shapes that overlap on one row cost as much as being off by so many units of trust
    refined: int = 3  # of these, compared with all that counts
    seed: int = 0
    iterations: int = 12
    good: float = 4.0  # a row is met when it is off by less, in units of trust


def begin(
    follower: Follower,
    targets: Targets,
    params: BranchParams | None = None,
    posture: Array | None = None,
    reference: Array | None = None,
    guess: Array | None = None,
) -> Motion:
    """A motion on a few rows of the targets, in the way of holding the arms that serves them best.

    Args:
        follower: of the body.
        targets: those few rows.
        posture: (d,) where the robot is before; tried first, and preferred when others are no better. Home by default.
        reference: see `Follower.follow`.
        guess: (n, d) a motion that may be good already; tried first.
    """
    params = params or BranchParams()
    body = follower.body
    home = body.home if posture is None else np.clip(posture, body.lower, body.upper)
    n = len(targets)
    base = np.broadcast_to(home if reference is None else reference, (n, body.dof)).copy()
    rows = np.unique(np.linspace(0, n - 1, min(n, params.tried)).astype(int))
    small, small_base = targets.rows(rows), base[rows]
    chases = [_Chase(follower, small, tool) for tool in body.tools]
    choices = [_choices(follower, chase, small_base, home, params) for chase in chases]
    some = None if reference is None else reference[rows]
    starts = [] if guess is None else [guess[rows]]
    # Arms of one body are chosen in turn: the first of each together, then another one of a single arm.
    tried = [tuple(0 for _ in choices)]
    for arm, options in enumerate(choices):
        tried += [tuple(k if a == arm else 0 for a in range(len(choices))) for k in range(1, len(options))]
    for combination in tried:
        start = small_base.copy()
        for tool, options, k in zip(body.tools, choices, combination, strict=True):
            start[:, tool.columns] = options[k][:, tool.columns]
        starts.append(start)
    best: Motion | None = None
    for start in starts:
        motion = follower.follow(small, start, reference=some, iterations=params.iterations)
        if best is None or motion.cost < 0.98 * best.cost:
            best = motion
    assert best is not None
    if len(rows) == n:
        return best
    start = spread(best.q, rows.astype(float), np.arange(n, dtype=float))
    for tool in body.tools:
        chase = _Chase(follower, targets, tool)
        middle = int(rows[len(rows) // 2])
        start[:, tool.columns] = chase.along(middle, start[middle], start, 8)[0][:, tool.columns]
    return follower.follow(targets, start, reference=reference, iterations=4)


def few(targets: Targets, params: BranchParams | None = None) -> NDArray[np.int64]:
    """(m,) rows that stand for all: tracked, about so far apart in time."""
    params = params or BranchParams()
    rows = np.flatnonzero(targets.tracked)
    if not len(rows):
        return rows
    t_s = targets.t_s[rows]
    count = max(int((t_s[-1] - t_s[0]) / params.every_s) + 1, params.tried)
    picked = np.searchsorted(t_s, np.linspace(t_s[0], t_s[-1], count))
    return rows[np.unique(np.clip(picked, 0, len(rows) - 1))]


def spread(q: Array, t_few_s: Array, t_s: Array) -> Array:
    """Postures (m, d) at a few times, to (n, d) at all; held before the first and after the last."""
    if len(q) == 1:
        return np.repeat(q, len(t_s), axis=0)
    return PchipInterpolator(t_few_s, q)(np.clip(t_s, t_few_s[0], t_few_s[-1]))


def _choices(follower: Follower, chase: _Chase, base: Array, home: Array, params: BranchParams) -> list[Array]:
    """Motions (n, d) of one arm, best first: each begins at another solution of the anchor row and goes on from
    there in both directions.
    """
    body, columns = chase.body, chase.tool.columns
    rows = np.flatnonzero(chase.goal.tracked)
    if not len(rows):
        return [base]
    p = chase.goal.T_world_tcp[rows, :3, 3]
    anchor = int(rows[np.argmin(np.linalg.norm(p - np.median(p, axis=0), axis=1))])
    rng = np.random.default_rng(params.seed)
    # Of joints that turn more than once around, the turn at home.
    low = np.maximum(body.lower[columns], body.home[columns] - np.pi)
    high = np.minimum(body.upper[columns], body.home[columns] + np.pi)
    found: list[tuple[float, Array]] = []
    for guess in range(params.guesses):
        q = base[anchor].copy()
        q[columns] = home[columns] if guess == 0 else rng.uniform(low, high)
        q, off = chase.solve(anchor, q, params.steps)
        if all(np.abs(q - other)[columns].max() > params.apart_rad for _, other in found):
            found.append((max(off, params.good) + 0.1 * float(np.sum((q - body.home)[columns] ** 2)), q))
    found.sort(key=lambda each: each[0])
    motions: list[tuple[float, Array]] = []
    for _, q in found[: params.most]:
        motion, off = chase.along(anchor, q, base, 8)
        bad = np.minimum(np.maximum(off - params.good, 0.0), 100.0)
        jumps = np.abs(np.diff(motion[:, columns], axis=0)).max(initial=0.0)
        motions.append((float(bad.sum()) + float(jumps) + params.touch * _touching(follower, motion), motion))
    motions.sort(key=lambda each: each[0])
    return [motion for _, motion in motions[: params.refined]]


def _touching(follower: Follower, motion: Array) -> int:
    """Times that shapes overlap; arms that are not chosen yet may be in the way and count too."""
    if follower.clearance is None:
        return 0
    return len(follower.clearance.near(motion, follower.kinematics.poses(motion), 0.0).row)


class _Chase:
    """One row of one arm by damped least squares, within limits."""

    def __init__(self, follower: Follower, targets: Targets, tool: Tool) -> None:
        import pinocchio as pin

        body = follower.body
        self._compute, self._model, self._data = pin.computeJointJacobians, body.model, body.model.createData()
        self.body, self.goal, self.tool = body, targets.goals[tool.side], tool
        self._lower, self._upper = body.lower[tool.columns], body.upper[tool.columns]
        short = len(tool.columns) < 6
        self._ease = np.repeat([follower.params.short_of_joints if short else 1.0, 1.0], 3)
        self._R, self._p = tool.T_joint_tcp[:3, :3], tool.T_joint_tcp[:3, 3]

    def along(self, anchor: int, q: Array, base: Array, steps: int) -> tuple[Array, Array]:
        """Motion (n, d) from the anchor row in both directions, other joints as in `base`, and how far off (n,)."""
        columns = self.tool.columns
        motion, off = base.copy(), np.zeros(len(base))
        for order in (range(anchor, len(base)), range(anchor - 1, -1, -1)):
            here = q[columns]
            for row in order:
                motion[row, columns] = here
                if self.goal.tracked[row]:
                    motion[row], off[row] = self.solve(row, motion[row], steps)
                    here = motion[row, columns]
        return motion, off

    def solve(self, row: int, q: Array, steps: int) -> tuple[Array, float]:
        """The posture (d,) and how far off the tool still is, in units of trust."""
        goal, columns = self.goal, self.tool.columns
        R_goal, p_goal = goal.T_world_tcp[row, :3, :3], goal.T_world_tcp[row, :3, 3]
        root = goal.root[row].T * self._ease
        q = q.copy()
        eye = np.eye(len(columns))
        H, g, scale = eye, np.zeros(len(columns)), 1.0
        off, kept, damping = np.inf, q, 1e-3
        for _ in range(steps):
            self._compute(self._model, self._data, q)
            M = self._data.oMi[self.tool.joint]
            R = M.rotation @ self._R
            p = M.rotation @ self._p + M.translation
            residual = root @ np.concatenate([_log(R_goal.T @ R), R.T @ (p - p_goal)])
            size = float(np.sqrt(residual @ residual))
            if size < off:
                off, kept, damping = size, q, max(damping / 4, 1e-6)
                J = self._data.J[:, columns]
                turn = R.T @ J[3:]
                shift = R.T @ (J[:3] - _skew(p) @ J[3:])
                A = root @ np.concatenate([turn, shift])
                H, g = A.T @ A, A.T @ residual
                scale = np.trace(H) / len(columns)
            else:
                damping = max(damping, 1e-6) * 8
                if damping > 1e3:
                    break
            if off < 0.05:
                break
            step = np.linalg.solve(H + damping * scale * eye, -g)
            largest = np.abs(step).max()
            if largest < 1e-6:
                break
            if largest > 0.5:
                step *= 0.5 / largest
            q = kept.copy()
            q[columns] = np.clip(kept[columns] + step, self._lower, self._upper)
        return kept, off


def _skew(p: Array) -> Array:
    x, y, z = p
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _log(R: Array) -> Array:
    """Rotation vector (3,) of one matrix; far from a half turn exact, near it only about right."""
    v = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) / 2
    sine, cosine = np.sqrt(v @ v), (R[0, 0] + R[1, 1] + R[2, 2] - 1) / 2
    if sine < 1e-6:
        return geometry.so3_log(R) if cosine < 0 else v
    return v * (np.arctan2(sine, cosine) / sine)
