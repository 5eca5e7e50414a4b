"""Vectors between points of a robot hand, as they should be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.retarget.hands.kinematics import HandKinematics

BASE = -1  # as the tail of a vector: the origin of the base frame


@dataclass(frozen=True, eq=False, slots=True)
class Goals:
    """Vectors between points of the hand, as they should be.

    Attributes:
        heads, tails: (m,) indices of points; a tail may be `BASE`.
        vectors: (n, m, 3) m, from tail to head in the base frame; NaN where nobody knows.
        weights: (n, m) 1/m², what a squared error costs.
    """

    heads: NDArray[np.intp]
    tails: NDArray[np.intp]
    vectors: Array
    weights: Array

    def __post_init__(self) -> None:
        n, m = self.weights.shape
        assert self.vectors.shape == (n, m, 3) and self.heads.shape == self.tails.shape == (m,)

    def rows(self, chosen: NDArray[np.intp]) -> Goals:
        """At some of the pictures."""
        return Goals(self.heads, self.tails, self.vectors[chosen], self.weights[chosen])

    def errors(self, points: Array) -> Array:
        """(n, m, 3) of points (n, k, 3), m; zero where nothing is wanted."""
        away = points[:, self.heads] - self.vectors
        tailed = self.tails != BASE
        away[:, tailed] -= points[:, self.tails[tailed]]
        return np.nan_to_num(away, nan=0.0)


def independent(hand: HandKinematics, goals: Goals) -> list[tuple[NDArray[np.intp], NDArray[np.bool_]]]:
    """Groups of goals that no joint ties to others: the goals' indices, and (d,) which free joints move them."""
    by_point = hand.moves @ np.abs(hand.spread) > 0  # (k, d)
    left = [
        (np.array([g]), by_point[head] | (by_point[tail] if tail != BASE else False))
        for g, (head, tail) in enumerate(zip(goals.heads, goals.tails, strict=True))
    ]
    groups: list[tuple[NDArray[np.intp], NDArray[np.bool_]]] = []
    while left:
        members, joints = left.pop(0)
        near = [i for i, (_, other) in enumerate(left) if (other & joints).any()]
        if near:
            joints = np.logical_or.reduce([joints, *(left[i][1] for i in near)])
            members = np.concatenate([members, *(left[i][0] for i in near)])
            left = [(members, joints), *(pair for i, pair in enumerate(left) if i not in near)]
        else:
            groups.append((members, joints))
    return groups
