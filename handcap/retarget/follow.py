"""Whole-trajectory inverse kinematics: all rows of a motion at once, within limits."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from handcap import geometry
from handcap.geometry import Array
from handcap.retarget.banded import Chain
from handcap.retarget.clearance import Clearance, Near
from handcap.retarget.kinematics import Kinematics, Posed
from handcap.retarget.model import Body, without_shapes
from handcap.retarget.targets import Targets
from handcap.types import Side


@dataclass(frozen=True, slots=True)
class FollowParams:
    """Weights are costs: a tool that is off by what its pose is trusted to costs 1."""

    outlier: float = 20.0  # in units of trust; farther off costs in proportion, so that what is out of reach is let go
    short_of_joints: float = 0.03  # weight of rotation for an arm with fewer than six joints
    smooth: float = 0.02  # at the limit of acceleration
    slow: float = 1e-3  # at the limit of velocity
    posture: float = 1e-3  # one radian (or metre) from home
    base_posture: float = 0.5  # likewise, of the base, from where it is asked to be
    base_smooth: float = 1.0
    waist_posture: float = 0.02
    head_rad: float = 1.0  # how far the robot's head may look past where the wearer looked
    limit_margin: float = 0.05  # rad or m: nearer to a limit costs up to
    limit_cost: float = 0.2
    speed_margin: float = 0.1  # share of velocity and acceleration that is left free; at the limit costs 1
    clearance_m: float = 0.02  # nearer shapes cost
    clearance_trust: float = 0.2  # share of that clearance whose lack costs `clearance_cost`
    clearance_cost: float = 4.0
    iterations: int = 25
    settled: float = 2e-3  # relative change of the cost
    settled_free: float = 1e-2  # likewise where nothing can touch, and costs are not dominated by a few rows
    little: float = 0.05  # cost of a row that is good enough
    damping: float = 1e-7
    tries: int = 6  # of one step
    most_step: float = 0.4  # rad or m per iteration


@dataclass(frozen=True, eq=False, slots=True)
class Motion:
    """Joints over time and how well the tools follow.

    Attributes:
        q: (n, d) rad or m.
        position_error_m, rotation_error_rad: (n, sides) in the order of the body's tools; NaN where nobody knows.
        cost: of all rows.
        near: pairs of shapes within the margin.
        posed: the body at q.
    """

    q: Array
    position_error_m: Array
    rotation_error_rad: Array
    cost: float
    near: Near | None
    posed: Posed = field(repr=False)


class Follower:
    """Follows targets with a body."""

    def __init__(self, body: Body, params: FollowParams | None = None, collide: bool = True) -> None:
        self.body = body if collide else without_shapes(body)
        self.params = params or FollowParams()
        self.kinematics = Kinematics(self.body)
        self.clearance = Clearance(body) if collide and len(body.geometry.collisionPairs) else None

    def follow(
        self,
        targets: Targets,
        start: Array,
        t_s: Array | None = None,
        reference: Array | None = None,
        iterations: int | None = None,
    ) -> Motion:
        """Improve a motion until it settles.

        Args:
            targets: n rows.
            start: (n, d) rad or m; cut to the limits.
            t_s: (n,) when the robot is to be there; as recorded by default.
            reference: (n, d) the posture preferred at every row; home by default.
            iterations: at most.
        """
        body, params = self.body, self.params
        problem = Problem(self, targets, targets.t_s if t_s is None else t_s, reference)
        q = np.clip(start, body.lower, body.upper)
        state = problem.at(q)
        damping = np.full(len(q), params.damping)
        for _ in range(params.iterations if iterations is None else iterations):
            chain = problem.equations(state)
            new = None
            for _ in range(params.tries):
                q_new = self._stepped(chain, state.q, damping)
                new = None if q_new is None else problem.at(q_new)
                # Rows that got worse are held back, the rest go on.
                worse = np.ones(len(q), bool) if new is None else new.rows > state.rows + params.little
                damping = np.where(worse, np.maximum(damping, 1e-7) * 30, damping)
                if new is not None and new.cost < state.cost:
                    break
                if not np.any(worse):
                    damping = damping * 30 + 1e-7
            if new is None or new.cost >= state.cost:
                break
            gained = (state.cost - new.cost) / (new.cost + params.little * len(targets))
            state, damping = new, np.maximum(damping / 5, params.damping)
            if gained < (params.settled_free if self.clearance is None else params.settled):
                break
        return problem.motion(state)

    def nudged(self, targets: Targets, start: Array, steps: int = 3) -> Array:
        """A motion (n, d) whose tools are near the targets, row by row by damped least squares: a whole trajectory
        settles the sooner the nearer it begins. Rows that get worse stay as they were.
        """
        body = self.body
        q = np.clip(start, body.lower, body.upper)
        worth = np.repeat([0.3, 1.0], 3)  # a radian of the tool counts as 0.3 m
        kept, least = q, np.full(len(q), np.inf)
        for step in range(steps + 1):
            posed = self.kinematics.poses(q)
            residuals, jacobians = [], []
            for tool in body.tools:
                goal = self._goal_of(targets, tool.side)
                T, J = self.kinematics.frame(posed, tool.joint, tool.T_joint_tcp)
                turn = geometry.so3_log(np.swapaxes(goal[:, :3, :3], 1, 2) @ T[:, :3, :3])
                shift = np.einsum("nji,nj->ni", T[:, :3, :3], T[:, :3, 3] - goal[:, :3, 3])
                known = targets.goals[tool.side].tracked[:, None]
                residuals.append(np.where(known, np.concatenate([turn, shift], axis=1), 0.0) * worth)
                jacobians.append(J * worth[:, None])
            e, J = np.concatenate(residuals, axis=1), np.concatenate(jacobians, axis=1)
            J[:, :, body.base] = 0.0
            size = np.linalg.norm(e, axis=1)
            better = size < least
            kept, least = np.where(better[:, None], q, kept), np.where(better, size, least)
            if step == steps:
                break
            small = 1e-4 * np.eye(J.shape[1])
            dq = -np.einsum("nkd,nk->nd", J, np.linalg.solve(J @ np.swapaxes(J, 1, 2) + small, e[..., None])[..., 0])
            largest = np.abs(dq).max(axis=1, keepdims=True)
            q = np.clip(q + dq * np.minimum(1.0, 0.3 / np.maximum(largest, 1e-9)), body.lower, body.upper)
        return kept

    @staticmethod
    def _goal_of(targets: Targets, side: Side) -> Array:
        """(n, 4, 4), the identity where nobody knows."""
        goal = targets.goals[side]
        return np.where(goal.tracked[:, None, None], goal.T_world_tcp, np.eye(4))

    def _stepped(self, chain: Chain, q: Array, damping: Array) -> Array | None:
        """One step that ends within the limits: unknowns that would leave are put on the limit, the rest anew."""
        lower, upper = self.body.lower, self.body.upper
        tiny = 1e-12
        fixed = ((q <= lower + tiny) & (chain.gradient > 0)) | ((q >= upper - tiny) & (chain.gradient < 0))
        step, moved = np.zeros_like(q), np.zeros_like(q)
        for _ in range(4):
            step = chain.step(damping, fixed, moved)
            if step is None:
                return None
            largest = np.abs(step).max()
            if largest > self.params.most_step:
                step *= self.params.most_step / largest
            out = ~fixed & ((q + step < lower - tiny) | (q + step > upper + tiny))
            if not np.any(out):
                break
            moved = np.where(out, np.clip(q + step, lower, upper) - q, moved)
            fixed = fixed | out
        return np.clip(q + step, lower, upper)


@dataclass(frozen=True, eq=False, slots=True)
class State:
    q: Array
    posed: Posed
    whitened: list[tuple[Array, Array, Array]]  # per tool: residual (n, 6), Jacobian (n, 6, d), robust weight (n,)
    look: tuple[Array, Array] | None
    near: Near | None
    cost: float
    rows: Array  # (n,) cost of tools and clearance, row by row
    errors: Array  # (n, sides, 2)


class Problem:
    """Costs and their derivatives of one body on one set of targets."""

    def __init__(self, follower: Follower, targets: Targets, t_s: Array, reference: Array | None) -> None:
        self.follower, self.targets = follower, targets
        body, params = follower.body, follower.params
        self.body, self.params = body, params
        self.n, self.d = len(targets), body.dof
        step_s = np.diff(t_s)
        assert np.all(step_s > 0), "t_s must increase"
        self.reference = np.broadcast_to(body.home if reference is None else reference, (self.n, self.d))
        self.speed = np.stack([-1 / step_s, 1 / step_s], axis=1)  # (n - 1, 2)
        before, after = step_s[:-1], step_s[1:]
        both = (before + after) / 2
        self.acceleration = np.stack(
            [1 / (before * both), -(1 / before + 1 / after) / both, 1 / (after * both)], axis=1
        )
        goes = np.zeros(self.d, bool)
        goes[body.base] = True
        arms = np.zeros(self.d, bool)
        for tool in body.tools:
            arms[tool.columns] = True
        posture = np.where(arms, params.posture, params.waist_posture)
        self.posture = np.where(goes, params.base_posture, posture)
        self.smooth = np.where(goes, params.base_smooth, params.smooth) / body.acceleration**2
        self.slow = params.slow / body.velocity**2
        # An arm of fewer than six joints goes where it is asked to and turns as far as it can.
        easy = np.repeat([params.short_of_joints, 1.0], 3)
        self.ease = [np.ones(6) if len(tool.columns) >= 6 else easy for tool in body.tools]

    def at(self, q: Array) -> State:
        params, follower, body = self.params, self.follower, self.body
        posed = follower.kinematics.poses(q)
        cost, rows = 0.0, np.zeros(self.n)
        whitened: list[tuple[Array, Array, Array]] = []
        errors = np.full((self.n, len(body.tools), 2), np.nan)
        for k, tool in enumerate(body.tools):
            goal = self.targets.goals[tool.side]
            known = goal.tracked
            T, J = follower.kinematics.frame(posed, tool.joint, tool.T_joint_tcp)
            R_goal = goal.T_world_tcp[:, :3, :3]
            turn = np.zeros((self.n, 3))
            turn[known] = geometry.so3_log(np.swapaxes(R_goal[known], 1, 2) @ T[known, :3, :3])
            apart = np.where(known[:, None], T[:, :3, 3] - goal.T_world_tcp[:, :3, 3], 0.0)
            errors[known, k] = np.stack(
                [np.linalg.norm(apart[known], axis=1), np.linalg.norm(turn[known], axis=1)], axis=1
            )
            residual = np.concatenate([turn, np.einsum("nji,nj->ni", T[:, :3, :3], apart)], axis=1)
            root = np.swapaxes(goal.root, 1, 2) * self.ease[k]
            residual = np.einsum("nij,nj->ni", root, residual)
            size = np.linalg.norm(residual, axis=1)
            weight = np.minimum(1.0, params.outlier / np.maximum(size, 1e-9))
            cost += float(
                np.sum(np.where(size <= params.outlier, size**2, params.outlier * (2 * size - params.outlier)))
            )
            whitened.append((residual, root @ J, weight))
        look = self._look(posed)
        if look is not None:
            cost += float(np.sum(look[0] ** 2))
        cost += float(np.sum(self.posture * (q - self.reference) ** 2))
        speed, acceleration = self._rates(q)
        cost += float(np.sum(self.slow * speed**2) + np.sum(self.smooth * acceleration**2))
        for rate, limit in ((speed, body.velocity), (acceleration, body.acceleration)):
            excess, weight, _ = self._hinge(rate, limit)
            # Huber: in proportion from the limit on.
            cost += float(np.sum(np.where(excess <= 1, excess**2, 2 * excess - 1)))
        close = self._close(q)
        cost += params.limit_cost * float(np.sum(close**2))
        near = None
        if follower.clearance is not None:
            near = follower.clearance.near(q, posed, params.clearance_m)
            lacking = (near.margin_m - near.distance_m) / (params.clearance_trust * near.margin_m)
            np.add.at(rows, near.row, params.clearance_cost * lacking**2)
        return State(q, posed, whitened, look, near, cost + float(rows.sum()), rows, errors)

    def equations(self, state: State) -> Chain:
        params, body, q = self.params, self.body, state.q
        chain = Chain(self.n, self.d)
        hessian, gradient = np.zeros((self.n, self.d, self.d)), np.zeros((self.n, self.d))
        blocks = list(state.whitened)
        if state.look is not None:
            blocks.append((*state.look, np.ones(self.n)))
        for residual, J, weight in blocks:
            weighted = np.swapaxes(J, 1, 2) * weight[:, None, None]
            hessian += weighted @ J
            gradient += (weighted @ residual[..., None])[..., 0]
        if state.near is not None and len(state.near.row):
            near = state.near
            weight = params.clearance_cost / (params.clearance_trust * near.margin_m[:, None]) ** 2
            weighted = weight * near.gradient
            np.add.at(hessian, near.row, weighted[:, :, None] * near.gradient[:, None, :])
            lacking = (near.margin_m - near.distance_m)[:, None]
            np.add.at(gradient, near.row, -weighted * lacking)
        chain.add_rows(hessian, gradient)
        chain.add_diagonal(np.broadcast_to(self.posture, q.shape), self.posture * (q - self.reference))
        close = self._close(q)
        slope = params.limit_cost / params.limit_margin
        chain.add_diagonal(np.where(close != 0, slope / params.limit_margin, 0.0), slope * close)
        speed, acceleration = self._rates(q)
        for coefficients, rate, weight, limit in (
            (self.speed, speed, self.slow, body.velocity),
            (self.acceleration, acceleration, self.smooth, body.acceleration),
        ):
            if not len(rate):
                continue
            chain.add_difference(0, coefficients, np.broadcast_to(weight, rate.shape), rate)
            excess, over, unit = self._hinge(rate, limit)
            if np.any(excess > 0):
                chain.add_difference(0, coefficients, over / unit**2, np.sign(rate) * excess * unit)
        return chain

    def standing(self, state: State) -> tuple[Array, Array, Array]:
        """How the tools' costs change when the base is moved in its own axes by [x, y, z, turn about z]: products with
        the joints' Jacobian (n, d, 4), hessian (4, 4) and gradient (4,).
        """
        across, hessian, gradient = np.zeros((self.n, self.d, 4)), np.zeros((4, 4)), np.zeros(4)
        for tool, (residual, J, weight), ease in zip(self.body.tools, state.whitened, self.ease, strict=True):
            T = state.posed.T_world_joint[:, tool.joint] @ tool.T_joint_tcp
            R_tcp_base = np.swapaxes(T[:, :3, :3], 1, 2)
            moved = np.zeros((self.n, 6, 4))
            moved[:, 3:, :3] = R_tcp_base
            moved[:, :3, 3] = R_tcp_base[:, :, 2]
            moved[:, 3:, 3] = np.einsum("nij,nj->ni", R_tcp_base, np.cross([0.0, 0.0, 1.0], T[:, :3, 3]))
            A = (np.swapaxes(self.targets.goals[tool.side].root, 1, 2) * ease) @ moved
            weighted = np.swapaxes(A, 1, 2) * weight[:, None, None]
            hessian += np.sum(weighted @ A, axis=0)
            gradient += np.einsum("nki,ni->k", weighted, residual)
            across += np.swapaxes(J, 1, 2) @ np.swapaxes(weighted, 1, 2)
        return across, hessian, gradient

    def _hinge(self, rate: Array, limit: Array) -> tuple[Array, Array, Array]:
        """How far into the margin below a limit (1: at the limit), robust weights, and the margin."""
        unit = self.params.speed_margin * limit
        excess = np.maximum((np.abs(rate) - limit) / unit + 1.0, 0.0)
        weight = np.where(excess > 0, 1 / np.maximum(excess, 1.0), 0.0)
        return excess, weight, unit

    def _rates(self, q: Array) -> tuple[Array, Array]:
        """Velocity (n - 1, d) between rows, acceleration (n - 2, d) at them."""
        speed = self.speed[:, :1] * q[:-1] + self.speed[:, 1:] * q[1:]
        a = self.acceleration
        return speed, a[:, :1] * q[:-2] + a[:, 1:2] * q[1:-1] + a[:, 2:] * q[2:]

    def _close(self, q: Array) -> Array:
        """(n, d) how far into the margin before a limit: positive at the upper, negative at the lower; 1 on it."""
        margin = self.params.limit_margin
        return np.maximum((q - self.body.upper) / margin + 1, 0) - np.maximum((self.body.lower - q) / margin + 1, 0)

    def _look(self, posed: Posed) -> tuple[Array, Array] | None:
        """Residual (n, 3) and Jacobian of the robot's head against the wearer's, directions alone."""
        head, T_world_head = self.body.head, self.targets.T_world_head
        if head is None or T_world_head is None:
            return None
        T, J = self.follower.kinematics.frame(posed, *head)
        known = np.isfinite(T_world_head[:, 0, 0])
        turn = np.zeros((self.n, 3))
        turn[known] = geometry.so3_log(np.swapaxes(T_world_head[known, :3, :3], 1, 2) @ T[known, :3, :3])
        scale = np.where(known, 1 / self.params.head_rad, 0.0)
        return turn * scale[:, None], J[:, :3] * scale[:, None, None]

    def motion(self, state: State) -> Motion:
        return Motion(state.q, state.errors[:, :, 0], state.errors[:, :, 1], state.cost, state.near, state.posed)


def rates(q: Array, t_s: Array) -> tuple[Array, Array]:
    """Velocity (n - 1, d) between rows and acceleration (n - 2, d) at them, of postures (n, d) at times (n,)."""
    step_s = np.diff(t_s)[:, None]
    speed = np.diff(q, axis=0) / step_s
    return speed, np.diff(speed, axis=0) / ((step_s[:-1] + step_s[1:]) / 2)
