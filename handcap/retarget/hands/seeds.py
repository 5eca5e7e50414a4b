"""Where to begin: a rough posture for every picture, from a table of postures spread over all that the hand can do.

A search that begins at one posture for all keeps thumbs on the wrong side of where they should be.
"""

from __future__ import annotations

import numpy as np

from handcap.geometry import Array
from handcap.retarget.hands.kinematics import HandKinematics
from handcap.retarget.hands.wanted import BASE, Goals

_NEAR_M = 0.01  # postures so much worse than the best count for a third of it


def seed(hand: HandKinematics, goals: Goals, rest: Array, rank: int | None = None, count: int = 256) -> Array:
    """(n, d) free joints, rad: for every finger the mean of the postures that suit its goals, weighed by how well.

    With a rank, not the mean but the posture of that rank, 0 the best.

    Joints that move every point asked for stay at rest, and what no goal asks about too; goals between two fingers are
    left out.
    """
    n, d = len(goals.weights), len(rest)
    postures = np.tile(rest, (count, 1))
    own = hand.spread.T.astype(bool) @ (hand.moves & ~hand.moves.all(axis=0)).T  # (d, k): free joint moves the point
    spread = _spread(count, d)
    alone = own.any(axis=1)
    postures[:, alone] = (hand.low + spread * (hand.high - hand.low))[:, alone]
    points = hand.points(postures)
    out = np.tile(rest, (n, 1))
    simple = [g for g, tail in enumerate(goals.tails) if tail == BASE or not own[:, tail].any()]
    while simple:
        joints = own[:, goals.heads[simple[0]]]
        finger = [g for g in simple if (own[:, goals.heads[g]] & joints).any()]
        simple = [g for g in simple if g not in finger]
        far = np.zeros((n, count))
        total = np.zeros((n, 1))
        for g in finger:
            tail = 0.0 if goals.tails[g] == BASE else points[:, goals.tails[g]]
            vectors = points[:, goals.heads[g]] - tail
            weight = np.where(np.isfinite(goals.vectors[:, g, 0]), goals.weights[:, g], 0.0)[:, None]
            wanted = np.nan_to_num(goals.vectors[:, g])
            far += weight * np.linalg.norm(vectors - wanted[:, None], axis=-1)
            total += weight
        far /= np.maximum(total, 1e-12)
        moved = own[:, goals.heads[finger]].any(axis=1)
        if rank is None:
            suits = np.exp(-(far - far.min(axis=1, keepdims=True)) / _NEAR_M)
            out[:, moved] = (suits @ postures / suits.sum(axis=1, keepdims=True))[:, moved]
        else:
            chosen = np.argpartition(far, rank, axis=1)[:, rank]
            out[:, moved] = postures[chosen][:, moved]
    return out


def _spread(n: int, d: int) -> Array:
    """(n, d) points that fill the unit cube evenly: multiples of the powers of the root of x^(d+1) = x + 1, less their
    whole part (Roberts 2018).
    """
    root = 1.5
    for _ in range(60):
        root = (1 + root) ** (1 / (d + 1))
    return np.arange(1, n + 1)[:, None] * root ** -np.arange(1.0, d + 1) % 1.0
