"""Where to begin: several ways of holding the arm are tried on a few rows, and the best is kept for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap import geometry
from handcap.geometry import Array
from handcap.retarget.follow import Follower, Motion
from handcap.retarget.model import Tool
from handcap.retarget.targets import Targets


@dataclass(frozen=True, slots=True)
class BranchParams:
    every_s: float = 0.25  # rows that are tried
    least_rows: int = 20
    guesses: int = 24  # postures from which the anchor row is solved
    steps: int = 40
    apart_rad: float = 0.5  # solutions nearer than that are one
    most: int = 6  # solutions followed
    seed: int = 0
    iterations: int = 12
    good: float = 4.0  # a row is met when it is off by less, in units of trust


def begin(
    follower: Follower,
    targets: Targets,
    params: BranchParams | None = None,
    posture: Array | None = None,
    reference: Array | None = None,
) -> Motion:
    """A motion on a few rows of the targets, in the way of holding the arms that serves them best.

    Args:
        follower: of the body.
        targets: those few rows.
        posture: (d,) where the robot is before; tried first, and preferred when others are no better. Home by default.
        reference: see `Follower.follow`.
    """
    params = params or BranchParams()
    body = follower.body
    home = body.home if posture is None else np.clip(posture, body.lower, body.upper)
    n = len(targets)
    base = np.broadcast_to(home if reference is None else reference, (n, body.dof)).copy()
    choices = [_choices(follower, targets, tool, base, home, params) for tool in body.tools]
    best: Motion | None = None
    # Arms of one body are chosen in turn by rank: the best of each together, then the second of one at a time.
    tried = [tuple(0 for _ in choices)]
    for arm, options in enumerate(choices):
        tried += [tuple(k if a == arm else 0 for a in range(len(choices))) for k in range(1, len(options))]
    for combination in tried:
        start = base.copy()
        for tool, options, k in zip(body.tools, choices, combination, strict=True):
            start[:, tool.columns] = options[k][:, tool.columns]
        motion = follower.follow(targets, start, reference=reference, iterations=params.iterations)
        if best is None or motion.cost < 0.98 * best.cost:
            best = motion
    assert best is not None
    return best


def few(targets: Targets, params: BranchParams | None = None) -> np.ndarray:
    """(m,) rows that stand for all: tracked, about so far apart in time."""
    params = params or BranchParams()
    rows = np.flatnonzero(targets.tracked)
    if not len(rows):
        return rows
    t_s = targets.t_s[rows]
    count = max(int((t_s[-1] - t_s[0]) / params.every_s) + 1, params.least_rows)
    picked = np.searchsorted(t_s, np.linspace(t_s[0], t_s[-1], count))
    return rows[np.unique(np.clip(picked, 0, len(rows) - 1))]


def _choices(
    follower: Follower, targets: Targets, tool: Tool, base: Array, home: Array, params: BranchParams
) -> list[Array]:
    """Motions (n, d) of one arm, best first: each begins at another solution of the anchor row and goes on from
    there in both directions.
    """
    body = follower.body
    goal = targets.goals[tool.side]
    rows = np.flatnonzero(goal.tracked)
    if not len(rows):
        return [base]
    p = goal.T_world_tcp[rows, :3, 3]
    anchor = int(rows[np.argmin(np.linalg.norm(p - np.median(p, axis=0), axis=1))])
    chase = _Chase(follower, targets, tool)
    rng = np.random.default_rng(params.seed)
    lower, upper = body.lower[tool.columns], body.upper[tool.columns]
    # Of joints that turn more than once around, the turn at home.
    low = np.maximum(lower, body.home[tool.columns] - np.pi)
    high = np.minimum(upper, body.home[tool.columns] + np.pi)
    found: list[tuple[float, Array]] = []
    for guess in range(params.guesses):
        q = base[anchor].copy()
        q[tool.columns] = home[tool.columns] if guess == 0 else rng.uniform(low, high)
        q, off = chase.solve(anchor, q, params.steps)
        if all(np.abs(q - other)[tool.columns].max() > params.apart_rad for _, other in found):
            found.append((max(off, params.good) + 0.1 * float(np.sum((q - body.home)[tool.columns] ** 2)), q))
    found.sort(key=lambda each: each[0])
    motions: list[tuple[float, Array]] = []
    for _, q in found[: params.most]:
        motion, off = base.copy(), np.zeros(len(base))
        for order in (range(anchor, len(base)), range(anchor - 1, -1, -1)):
            here = q
            for row in order:
                here = np.where(np.isin(np.arange(body.dof), tool.columns), here, base[row])
                if goal.tracked[row]:
                    here, off[row] = chase.solve(row, here, 8)
                motion[row] = here
        bad = np.minimum(np.maximum(off - params.good, 0.0), 100.0)
        jumps = np.abs(np.diff(motion[:, tool.columns], axis=0)).max(initial=0.0)
        motions.append((float(bad.sum()) + float(jumps), motion))
    motions.sort(key=lambda each: each[0])
    return [motion for _, motion in motions[:3]]


class _Chase:
    """One row of one arm by damped least squares, within limits."""

    def __init__(self, follower: Follower, targets: Targets, tool: Tool) -> None:
        import pinocchio as pin

        body = follower.body
        self._compute, self._model, self._data = pin.computeJointJacobians, body.model, body.model.createData()
        self._goal, self._tool = targets.goals[tool.side], tool
        self._lower, self._upper = body.lower[tool.columns], body.upper[tool.columns]
        self._R, self._p = tool.T_joint_tcp[:3, :3], tool.T_joint_tcp[:3, 3]

    def solve(self, row: int, q: Array, steps: int) -> tuple[Array, float]:
        """The posture (d,) and how far off the tool still is, in units of trust."""
        goal, columns = self._goal, self._tool.columns
        R_goal, p_goal = goal.T_world_tcp[row, :3, :3], goal.T_world_tcp[row, :3, 3]
        root = goal.root[row].T
        q = q.copy()
        eye = np.eye(len(columns))
        off, kept, damping = np.inf, q, 1e-3
        for _ in range(steps):
            self._compute(self._model, self._data, q)
            M = self._data.oMi[self._tool.joint]
            R = M.rotation @ self._R
            p = M.rotation @ self._p + M.translation
            residual = root @ np.concatenate([_log(R_goal.T @ R), R.T @ (p - p_goal)])
            size = float(np.sqrt(residual @ residual))
            if size < off:
                off, kept, damping = size, q, max(damping / 4, 1e-6)
                J = self._data.J[:, columns]
                turn = R.T @ J[3:]
                shift = R.T @ (J[:3] + np.cross(J[3:].T, p).T)
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


def _log(R: Array) -> Array:
    """Rotation vector (3,) of one matrix; far from a half turn exact, near it only about right."""
    v = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) / 2
    sine, cosine = np.sqrt(v @ v), (R[0, 0] + R[1, 1] + R[2, 2] - 1) / 2
    if sine < 1e-6:
        return geometry.so3_log(R) if cosine < 0 else v
    return v * (np.arctan2(sine, cosine) / sine)
