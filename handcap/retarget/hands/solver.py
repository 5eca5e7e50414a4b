"""The whole motion of a robot hand at once: where its points should be, smoothly, within limits.

Minimised over the coefficients of a spline is the sum over pictures of w rho(|e|), e the error of each wanted vector,
rho the pseudo-Huber loss; plus jerk and distance from a posture of rest. Newton's method with the exact second
derivative of the kinematics: where a target is out of reach the error stays large, and Gauss-Newton would leave it
out. The matrix is banded. Few pictures come first, all of them last. Limits hold by a one-sided spring that hardens
from step to step, and a last cut of what is left. What keeps shapes apart is such a spring too, from the first step on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from handcap.geometry import Array
from handcap.retarget.hands.kinematics import HandKinematics, Motion
from handcap.retarget.hands.spline import REACH, Band, Spline
from handcap.retarget.hands.terms import LocalTerms
from handcap.retarget.hands.wanted import Goals


@dataclass(frozen=True, slots=True)
class SolverParams:
    """How a motion is weighed and sought."""

    knot_s: float = 1 / 15  # fingers move at up to 5 Hz or so
    bend_m: float = 0.01  # errors beyond cost in proportion, not squared: one bad finger does not bend the others
    jerk_rad_s3: float = 600.0  # over a tenth of a second, costs as much as an error of one sigma
    jerk_bend_rad_s3: float = 300.0  # jerk beyond costs in proportion: a quick grasp may be quick, rest is at rest
    rest_rad: float = 20.0  # the same, away from rest: only decides what nothing else does
    # One of every so many pictures, in so many steps.
    levels: tuple[tuple[int, int], ...] = ((9, 6), (3, 4), (1, 3))
    settled_rad: float = 1e-3
    # Shapes too near by so much cost as much as an error of one sigma: for each level, one a round; what is near is
    # looked up anew before each. Soft at first: which way fingers deep in one another are pushed out, the last digit
    # decides; fingers that are held from the start, however softly, do not get there.
    apart_m: tuple[tuple[float, ...], ...] = (
        (0.003,) * 8,
        (0.003,) * 6,
        (0.002, 0.002, 0.002, 0.0015, 0.0012, 0.001, 0.0007, 0.0007, 0.0005, 0.0005),
    )
    apart_steps: int = 4  # a round, at most
    apart_step_rad: float = 0.1  # what is near is known to first order only


@dataclass(frozen=True, eq=False, slots=True)
class Apart:
    """What keeps shapes apart, to first order: `gradient @ u[row] >= least`.

    Attributes:
        row: (m,) of the motion.
        gradient: (m, d) m per radian of each free joint.
        least: (m,) m.
    """

    row: NDArray[np.int64]
    gradient: Array
    least: Array

    def lack(self, u: Array) -> Array:
        """(m,) m by which it is not so at free joints (n, d)."""
        return np.maximum(self.least - np.einsum("md,md->m", self.gradient, u[self.row]), 0.0)


def solve(
    hand: HandKinematics,
    goals: Goals,
    t_s: Array,
    start: Array,
    rest: Array,
    params: SolverParams,
    fastest: Array | None = None,
    apart: Callable[[Array], Apart] | None = None,
) -> Array:
    """Free joints (n, d), rad, at increasing times (n,), s, from a start (n, d); within limits everywhere.

    Args:
        fastest: (d,) rad/s that no joint exceeds, also between the times; infinite where it does not matter.
        apart: tells of a motion (n, d) what keeps its shapes apart; None: nobody looks.
    """
    n, u = len(t_s), start
    for level, (stride, steps) in enumerate(params.levels):
        chosen = np.unique(np.append(np.arange(0, n, stride), n - 1))
        spacing_s = (t_s[-1] - t_s[0]) / max(len(chosen) - 1, 1)
        spline = Spline.over(t_s, max(params.knot_s, spacing_s))
        pace = None if fastest is None else fastest * spline.knot_s
        problem = _Problem(hand, goals.rows(chosen), spline.rows(chosen), rest, params, n / len(chosen), pace)
        c = np.clip(spline.through(t_s, u), hand.low, hand.high)
        if apart is None:
            c = problem.minimise(c, steps)
        else:
            c = problem.minimise_apart(c, apart, params.apart_m[level - len(params.levels)])
        if pace is not None:
            c = _paced(c, pace)
        u = np.clip(spline.at(c), hand.low, hand.high)
    return u


def solve_apart(hand: HandKinematics, goals: Goals, start: Array, rest: Array, params: SolverParams) -> Array:
    """Free joints (n, d), rad, of pictures that have nothing to do with one another; within limits."""
    local = LocalTerms(hand, goals)
    weights = np.where(np.isfinite(goals.vectors[..., 0]), goals.weights, 0.0)
    u: Array = np.asarray(np.clip(start, hand.low, hand.high), float)
    n, d = u.shape

    def cost(motion: Motion, u: Array) -> Array:
        squared = np.sum(goals.errors(motion.points) ** 2, axis=-1) / params.bend_m**2
        data = params.bend_m**2 * np.sum(weights * (np.sqrt(1 + squared) - 1), axis=1)
        return data + 0.5 * np.sum((u - rest) ** 2, axis=1) / params.rest_rad**2

    motion = hand.move(u)
    now = cost(motion, u)
    damping = np.full(n, np.nan)
    for _ in range(_APART_STEPS):
        gradient, hessian = local.derivatives(motion, goals, weights, params.bend_m)
        slope = gradient + (u - rest) / params.rest_rad**2
        hessian = _convex(hessian)
        stiff = np.maximum(np.einsum("nii->n", hessian) / d, 1.0)
        damping = np.where(np.isnan(damping), _DAMPED * stiff, damping)
        held = ((u <= hand.low) & (slope > 0)) | ((u >= hand.high) & (slope < 0))
        more = np.where(held, _HELD, damping[:, None] + 1 / params.rest_rad**2)
        matrix = hessian + more[:, :, None] * np.eye(d)
        step = -np.linalg.solve(matrix, np.where(held, 0.0, slope)[..., None])[..., 0]
        new: Array = np.asarray(np.clip(u + step, hand.low, hand.high), float)
        motion = hand.move(new)
        then = cost(motion, new)
        better = then <= now
        damping = np.where(better, damping / 5, damping * 4)
        moved = np.abs(new - u)[better].max(initial=0.0)
        u, now = np.where(better[:, None], new, u), np.where(better, then, now)
        if better.all() and moved < 1e-7:
            break
        if not better.all():
            motion = hand.move(u)
    return u


class _Problem:
    """A cost over coefficients (count, d) of a spline.

    Args:
        share: pictures that each of those given stands for.
        pace: (d,) rad at most from coefficient to coefficient; None: any.
    """

    def __init__(
        self,
        hand: HandKinematics,
        goals: Goals,
        spline: Spline,
        rest: Array,
        params: SolverParams,
        share: float,
        pace: Array | None,
    ) -> None:
        self._apart: Apart | None = None
        self._apart_price = 0.0
        self._share = share
        self._pace = None if pace is None else _SLOWER * pace
        self._hand, self._goals, self._spline, self._rest, self._params = hand, goals, spline, rest, params
        self._local = LocalTerms(hand, goals)
        self._weights = np.where(np.isfinite(goals.vectors[..., 0]), share * goals.weights, 0.0)
        self._together = _together(spline)
        # Driven joints jerk along with the one that drives them.
        self._jerk_price = spline.knot_s / _SPAN_S / params.jerk_rad_s3**2 * np.abs(hand.spread).sum(axis=0)

    def minimise_apart(self, c: Array, apart: Callable[[Array], Apart], softness_m: tuple[float, ...]) -> Array:
        """Coefficients within limits at which shapes keep apart, ever less softly."""
        for soft_m in softness_m:
            before, u = c, self._spline.at(c)
            self._apart, self._apart_price = apart(u), self._share / soft_m**2
            c = self.minimise(c, self._params.apart_steps, self._params.apart_step_rad)
            free = not self._apart.lack(u).any() and not self._apart.lack(self._spline.at(c)).any()
            if free and np.abs(c - before).max() < self._params.settled_rad:
                break
        return c

    def minimise(self, c: Array, steps: int, longest_rad: float = np.inf) -> Array:
        """Coefficients within limits after so many of Levenberg and Marquardt's steps, fewer when settled."""
        low, high = self._hand.low, self._hand.high
        motion = self._hand.move(self._spline.at(c))
        cost = self._cost(motion, c)
        model, damping = self._expand(motion, c)
        damping *= _DAMPED
        worse = 2.0
        for step in range(steps):
            least, most = np.maximum(low - c, -longest_rad), np.minimum(high - c, longest_rad)
            new_c = np.clip(c + model.step(damping, least, most), low, high)
            motion = self._hand.move(self._spline.at(new_c))
            new = self._cost(motion, new_c)
            if new > cost:
                damping *= worse
                worse *= 2
                continue
            moved = np.abs(new_c - c).max()
            c, cost, worse = new_c, new, 2.0
            damping /= 5
            if moved < self._params.settled_rad or step == steps - 1:
                break
            model, _ = self._expand(motion, c)
        return c

    def _cost(self, motion: Motion, c: Array) -> float:
        params, spline = self._params, self._spline
        squared = np.sum(self._goals.errors(motion.points) ** 2, axis=-1)
        data = params.bend_m**2 * np.sum(self._weights * (np.sqrt(1 + squared / params.bend_m**2) - 1))
        bend = params.jerk_bend_rad_s3**2
        smooth = bend * np.sum(self._jerk_price * (np.sqrt(1 + spline.jerk(c) ** 2 / bend) - 1))
        rest = 0.5 * np.sum((c - self._rest) ** 2) / params.rest_rad**2
        hurry = 0.5 * _HURRY * np.sum(self._too_fast(c) ** 2)
        touch = 0.0 if self._apart is None else 0.5 * self._apart_price * np.sum(self._apart.lack(spline.at(c)) ** 2)
        return float(data + smooth + rest + hurry + touch)

    def _too_fast(self, c: Array) -> Array:
        """(count - 1, d) rad by which coefficients differ too much, with the sign of the motion."""
        step = np.diff(c, axis=0)
        return np.zeros_like(step) if self._pace is None else step - np.clip(step, -self._pace, self._pace)

    def _expand(self, motion: Motion, c: Array) -> tuple[_Model, float]:
        """The cost near coefficients, and how stiff it is there, 1/rad²."""
        spline, params = self._spline, self._params
        count, d = c.shape
        gradient, hessian = self._local.derivatives(motion, self._goals, self._weights, params.bend_m)
        if self._apart is not None:
            self._push_apart(spline.at(c), gradient, hessian)
        slope = np.zeros((count, d))
        for a in range(REACH):
            slope += _placed(spline.first + a, spline.weights[:, a], count) @ gradient
        slope += (c - self._rest) / params.rest_rad**2
        jerk = spline.jerk(c)
        price = self._jerk_price / np.sqrt(1 + (jerk / params.jerk_bend_rad_s3) ** 2)
        third = np.array([-1.0, 3.0, -3.0, 1.0]) / spline.knot_s**3
        smooth = np.zeros((REACH, count, d))  # (i + a, i) of what jerk costs; no two joints meet in it
        for a in range(REACH):
            slope[a : a + len(jerk)] += third[a] * price * jerk
            for b in range(a + 1):
                smooth[a - b, b : b + len(jerk)] += third[a] * third[b] * price
        fast = self._too_fast(c)
        slope[1:] += _HURRY * fast
        slope[:-1] -= _HURRY * fast
        held_back = np.where(fast != 0, _HURRY, 0.0)
        smooth[0, 1:] += held_back
        smooth[0, :-1] += held_back
        smooth[1, :-1] -= held_back
        stiff = float(np.einsum("nii->", hessian)) / (count * d)
        return _Model(slope, self._together, hessian, smooth, 1 / params.rest_rad**2), max(stiff, 1.0)

    def _push_apart(self, u: Array, gradient: Array, hessian: Array) -> None:
        """Add what shapes that are too near cost, to the slope (n, d) and the second derivative (n, d, d)."""
        assert self._apart is not None
        lack, by = self._apart.lack(u), self._apart.gradient
        some, price = lack > 0, self._apart_price
        rows, by = self._apart.row[some], by[some]
        np.add.at(gradient, rows, -price * lack[some, None] * by)
        np.add.at(hessian, rows, price * by[:, :, None] * by[:, None])


class _Model:
    """The cost near a point, to second order; made convex, picture by picture, where it turns out not to be."""

    def __init__(self, slope: Array, together: list[csr_array], hessian: Array, smooth: Array, diagonal: float) -> None:
        self.slope, self._together, self._hessian = slope, together, hessian
        self._smooth, self._diagonal = smooth, diagonal
        self._convex = False
        self._band = self._summed(hessian)

    def _summed(self, hessian: Array) -> Band:
        """Of a second derivative (n, d, d) by joint at every picture, and of jerk and rest."""
        flat, d = hessian.reshape(len(hessian), -1), hessian.shape[1]
        band = Band(len(self.slope), d)
        for apart, together in enumerate(self._together):
            band.add_blocks(apart, (together @ flat).reshape(-1, d, d))
            band.add_diagonal(apart, self._smooth[apart])
        return band

    def step(self, damping: float, low: Array, high: Array) -> Array:
        """Down to the lowest point between bounds (count, d), or near: what hits one is held there, what would leave it
        is let go (primal-dual active sets, Hintermüller et al. 2003), a few times over.
        """
        wall = np.where((low >= 0) & (self.slope > 0), low, np.where((high <= 0) & (self.slope < 0), high, np.nan))
        step = np.zeros_like(low)
        for _ in range(_TRIES):
            held = np.isfinite(wall)
            step = self._solve(
                np.where(held, _HELD * wall, 0.0) - self.slope, np.where(held, _HELD, damping + self._diagonal)
            )
            # A held one that is pushed into the wall lies a hair beyond it.
            wall = np.where(step > high, high, np.where(step < low, low, np.nan))
            if np.sum(np.isfinite(wall) != held) <= _FEW * held.size:
                break
        return step

    def _solve(self, right: Array, more: Array) -> Array:
        try:
            return self._band.solve(right, more)
        except np.linalg.LinAlgError:
            assert not self._convex, "a convex matrix cannot be solved for"
            self._band, self._convex = self._summed(_convex(self._hessian)), True
            return self._band.solve(right, more)


def _paced(c: Array, pace: Array) -> Array:
    """Coefficients that differ by no more than the pace; between what they were, so within the same limits."""
    out = c.copy()
    for before, here in zip(out[:-1], out[1:], strict=True):
        np.clip(here, before - pace, before + pace, out=here)
    return out


def _placed(rows: NDArray[np.intp], values: Array, count: int) -> csr_array:
    return csr_array((values, (rows, np.arange(len(rows)))), shape=(count, len(rows)))


def _together(spline: Spline) -> list[csr_array]:
    """For 0 .. 3 apart, (count - apart, n): what each picture adds to coefficients i + apart and i."""
    out: list[csr_array] = []
    for apart in range(REACH):
        parts = [
            _placed(spline.first + b, spline.weights[:, b] * spline.weights[:, b + apart], spline.count - apart)
            for b in range(REACH - apart)
        ]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        out.append(total)
    return out


def _convex(hessian: Array) -> Array:
    """The nearest (n, d, d) without negative curvature."""
    values, axes = np.linalg.eigh(hessian)
    return (axes * np.maximum(values, 0.0)[:, None]) @ np.swapaxes(axes, 1, 2)


_SPAN_S = 0.1
_SLOWER = 0.99  # than allowed, so that what is left to cut is next to nothing
_HURRY = 1e6  # 1/rad², what too fast a step costs
_HELD = 1e9  # 1/rad²
_APART_STEPS = 60
_TRIES = 3
_FEW = 0.002
_DAMPED = 0.1  # of the mean stiffness, at first
