"""What a robot is asked to follow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap import geometry
from handcap.geometry import Array
from handcap.types import Side, Stamps, Trajectory


@dataclass(frozen=True, slots=True)
class TrustParams:
    """How much a recorded pose is trusted.

    A recording's covariance says how far a pose may be off in the world. From frame to frame it wanders far less, so
    that a wide one is no leave to cut corners, and a narrow one no reason to follow a tremble that no robot makes.
    """

    least_m: float = 0.0005
    most_m: float = 0.002
    least_rad: float = 0.001
    most_rad: float = 0.01


@dataclass(frozen=True, eq=False, slots=True)
class Goal:
    """One side's poses.

    Attributes:
        T_world_tcp: (n, 4, 4), m; NaN where nobody knows.
        root: (n, 6, 6) `L` of the trust `L @ L.T` in [rotation; position], tool axes, per rad² and m²; zero where
            nobody knows.
        sigma: (n, 2) rad and m, of the recording itself, along one axis; NaN where unknown.
        tracked: (n,) bool.
    """

    T_world_tcp: Array
    root: Array
    sigma: Array
    tracked: NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Targets:
    """What is followed, on common stamps.

    Attributes:
        t_ns: (n,) int64, session clock.
        goals: one for each side.
        T_world_head: (n, 4, 4), NaN where unknown; None when no head was recorded.
    """

    t_ns: Stamps
    goals: Mapping[Side, Goal]
    T_world_head: Array | None = None

    def __len__(self) -> int:
        return len(self.t_ns)

    @property
    def t_s(self) -> Array:
        return (self.t_ns - self.t_ns[0]) * 1e-9

    @property
    def tracked(self) -> NDArray[np.bool_]:
        """(n,) whether any side is known."""
        return np.any([goal.tracked for goal in self.goals.values()], axis=0)

    def rows(self, which: NDArray[np.int64]) -> Targets:
        goals: dict[Side, Goal] = {
            side: Goal(g.T_world_tcp[which], g.root[which], g.sigma[which], g.tracked[which])
            for side, g in self.goals.items()
        }
        return Targets(self.t_ns[which], goals, None if self.T_world_head is None else self.T_world_head[which])


def targets(
    tools: Mapping[Side, Trajectory], head: Trajectory | None = None, params: TrustParams | None = None
) -> Targets:
    """Bring several bodies to the stamps of the first side; another body's pose is taken between its two nearest rows
    when both were tracked.
    """
    params = params or TrustParams()
    assert tools
    t_ns = next(iter(tools.values())).t_ns
    goals: dict[Side, Goal] = {}
    for side, body in tools.items():
        T, cov = _at(body, t_ns)
        tracked = np.isfinite(T[:, 0, 0])
        goals[side] = _goal(T, cov, tracked, params)
    return Targets(t_ns, goals, None if head is None else _at(head, t_ns)[0])


def turned(targets: Targets, sides: Collection[Side]) -> Targets:
    """The same with some sides' tools turned half round about their approach axis: jaws that open both ways grip the
    same.
    """
    half = np.array([-1.0, -1.0, 1.0])
    goals: dict[Side, Goal] = {}
    for side, goal in targets.goals.items():
        if side in sides:
            T = goal.T_world_tcp * np.append(half, 1.0)
            root = np.tile(half, 2)[:, None] * goal.root
            goal = Goal(T, root, goal.sigma, goal.tracked)
        goals[side] = goal
    return Targets(targets.t_ns, goals, targets.T_world_head)


def _goal(T: Array, cov: Array, tracked: NDArray[np.bool_], params: TrustParams) -> Goal:
    n = len(T)
    known = tracked & np.all(np.isfinite(cov), axis=(1, 2))
    diagonal = np.where(known[:, None], np.diagonal(cov, axis1=1, axis2=2), np.nan)
    sigma = np.sqrt(np.stack([diagonal[:, :3].mean(axis=1), diagonal[:, 3:].mean(axis=1)], axis=1))
    least = np.repeat([params.least_rad, params.least_m], 3)
    most = np.repeat([params.most_rad, params.most_m], 3)
    trusted = np.zeros((n, 6, 6))
    trusted[tracked] = np.diag(least**2)
    trusted[known] += cov[known]
    root = np.zeros((n, 6, 6))
    if np.any(tracked):
        values, vectors = np.linalg.eigh(trusted[tracked] / np.outer(most, most))
        # In units of the widest trust, so that rotation and position are cut alike.
        scaled = vectors / np.sqrt(np.clip(values, 1e-8, 1.0))[:, None, :]
        root[tracked] = scaled / most[:, None]
    return Goal(T, root, sigma, tracked)


def _at(body: Trajectory, t_ns: Stamps) -> tuple[Array, Array]:
    """Poses (n, 4, 4) and covariances (n, 6, 6) at stamps; NaN where untracked or outside."""
    if np.array_equal(body.t_ns, t_ns):
        T = np.where(body.tracked[:, None, None], body.T_world_body, np.nan)
        return T, body.cov
    after = np.clip(np.searchsorted(body.t_ns, t_ns), 1, len(body) - 1)
    before = after - 1
    span = body.t_ns[after] - body.t_ns[before]
    share = (t_ns - body.t_ns[before]) / span
    nearest = np.where(share < 0.5, before, after)
    usual = np.median(np.diff(body.t_ns))
    between = body.tracked[before] & body.tracked[after] & (share >= 0) & (share <= 1) & (span < 2.5 * usual)
    T = np.full((len(t_ns), 4, 4), np.nan)
    A, B = body.T_world_body[before[between]], body.T_world_body[after[between]]
    turn = geometry.so3_log(np.swapaxes(A[:, :3, :3], 1, 2) @ B[:, :3, :3])
    s = share[between, None]
    T[between] = geometry.se3(A[:, :3, :3] @ geometry.so3_exp(s * turn), A[:, :3, 3] + s * (B[:, :3, 3] - A[:, :3, 3]))
    return T, body.cov[nearest]
