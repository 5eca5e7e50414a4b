"""A robot hand that follows picture by picture, for as long as a recording has no end: each answer is final.

Every picture is one small search from where the hand was, held back from moving and from changing its pace all at
once. What the whole motion at once reaches it does not: it cannot know what comes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.geometry import Array
from handcap.retarget.hands.kinematics import HandKinematics
from handcap.retarget.hands.seeds import seed
from handcap.retarget.hands.solver import SolverParams, solve_apart
from handcap.retarget.hands.terms import LocalTerms
from handcap.retarget.hands.wanted import Goals


@dataclass(frozen=True, slots=True)
class LiveParams:
    """How a picture is weighed against the ones before."""

    bend_m: float = 0.1  # see `SolverParams`; a finger out of reach pulls on all the same, or it would lag behind
    speed_rad_s: float = 1.2  # a joint's, costs as much as an error of one sigma
    pull_rad_s2: float = 20.0  # a joint's change of speed, the same
    steps: int = 2


class LiveHand:
    """Follows goals of one picture after the other.

    Args:
        hand: which.
        rest: (d,) free joints it begins near, rad.
    """

    def __init__(self, hand: HandKinematics, rest: Array, params: LiveParams | None = None) -> None:
        self._hand, self._rest, self._params = hand, rest, params or LiveParams()
        self._terms: LocalTerms | None = None
        self._before: list[Array] = []

    def follow(self, goals: Goals, dt_s: float) -> Array:
        """Free joints (d,), rad, within limits.

        Args:
            goals: of one picture; the same vectors, in the same order, every time.
            dt_s: since the picture before.
        """
        hand, params = self._hand, self._params
        if self._terms is None:
            self._terms = LocalTerms(hand, goals)
            first = solve_apart(hand, goals, seed(hand, goals, self._rest), self._rest, SolverParams())[0]
            self._before = [first, first]
            return first
        last, earlier = self._before
        weights = np.where(np.isfinite(goals.vectors[..., 0]), goals.weights, 0.0)
        slow, steady = (params.speed_rad_s * dt_s) ** -2, (params.pull_rad_s2 * dt_s**2) ** -2
        expected = 2 * last - earlier
        u = np.clip(last + (last - earlier) / 2, hand.low, hand.high)
        held_back = (slow + steady) * np.eye(len(u))
        for _ in range(params.steps):
            slope, bend = self._terms.derivatives(hand.move(u[None]), goals, weights, params.bend_m, curved=False)
            slope = slope[0] + slow * (u - last) + steady * (u - expected)
            stuck = ((u <= hand.low) & (slope > 0)) | ((u >= hand.high) & (slope < 0))
            matrix = np.where(stuck[:, None] | stuck, 0.0, bend[0] + held_back)
            matrix[stuck, stuck] = 1.0
            u = np.clip(u - np.linalg.solve(matrix, np.where(stuck, 0.0, slope)), hand.low, hand.high)
        self._before = [u, last]
        return u
