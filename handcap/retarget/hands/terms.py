"""How the cost of wanted vectors changes with the joints, to second order, at many postures at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from handcap.geometry import Array
from handcap.retarget.hands.kinematics import HandKinematics, Motion
from handcap.retarget.hands.wanted import BASE, Goals


class LocalTerms:
    """Derivatives of every goal by the few joints that move it; summed up by free joint."""

    def __init__(self, hand: HandKinematics, goals: Goals) -> None:
        j = len(hand.joints)
        none = np.zeros(j, bool)
        by_head = hand.moves[goals.heads]
        by_tail = np.array([none if tail == BASE else hand.moves[tail] for tail in goals.tails]).reshape(-1, j)
        chains = [np.flatnonzero(a | b) for a, b in zip(by_head, by_tail, strict=True)]
        length = max((len(chain) for chain in chains), default=0)
        # Chains of one length: the last joint again and again, which moves nothing then.
        self._joints = np.array([[*chain, *([0] * (length - len(chain)))] for chain in chains], int).reshape(-1, length)
        real = np.arange(length) < np.array([len(chain) for chain in chains])[:, None]
        self._by_head = np.take_along_axis(by_head, self._joints, 1) & real
        self._by_tail = np.take_along_axis(by_tail, self._joints, 1) & real
        self._tailed = bool((goals.tails != BASE).any())
        m, d = len(goals.heads), len(hand.free)
        spread = np.where(real[..., None], hand.spread[self._joints], 0.0)  # (m, length, d)
        self._d = d
        self._to_free: Any = csr_array(spread.reshape(m * length, d).T)
        pairs = spread[:, :, None, :, None] * spread[:, None, :, None, :]
        self._pairs_to_free: Any = csr_array(pairs.reshape(m * length**2, d**2).T)

    def derivatives(
        self, motion: Motion, goals: Goals, weights: Array, bend_m: float, curved: bool = True
    ) -> tuple[Array, Array]:
        """Gradient (n, d) and second derivative (n, d, d) of sum w rho(|e|), less the loss's own bending.

        Not curved, the second derivative is without that of the kinematics, and convex.
        """
        n, d = len(weights), self._d
        e = goals.errors(motion.points)
        pull = weights / np.sqrt(1 + np.sum(e**2, axis=-1) / bend_m**2)
        force = pull[..., None] * e
        twists = motion.twists[:, :, self._joints]  # (n, 6, m, length)
        turning = np.ascontiguousarray(twists[:, 3:].transpose(0, 2, 3, 1))
        going = twists[:, :3].transpose(0, 2, 3, 1)
        J = (going + _cross(turning, motion.points[:, goals.heads, None])) * self._by_head[..., None]
        J_head, J_tail = J, None
        if self._tailed:
            at_tail = motion.points[:, np.where(goals.tails == BASE, 0, goals.tails), None]
            J_tail = (going + _cross(turning, at_tail)) * self._by_tail[..., None]
            J = J_head - J_tail
        local = J @ (pull[..., None, None] * J).swapaxes(-1, -2)
        if curved:
            pushed = _cross(force[:, :, None], turning)  # force · (axis × column) = column · (force × axis)
            bent = np.triu((pushed * self._by_head[..., None]) @ J_head.swapaxes(-1, -2))
            if J_tail is not None:
                bent -= np.triu((pushed * self._by_tail[..., None]) @ J_tail.swapaxes(-1, -2))
            local += bent + np.triu(bent, 1).swapaxes(-1, -2)
        gradient = (J @ force[..., None]).reshape(n, -1)
        return (self._to_free @ gradient.T).T, (self._pairs_to_free @ local.reshape(n, -1).T).T.reshape(n, d, d)


def _cross(a: Array, b: Array) -> Array:
    """Faster than numpy's."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)
