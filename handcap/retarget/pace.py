"""Time given to a robot that is slower than a person: only where it needs it, and no more."""

from __future__ import annotations

import numpy as np

from handcap.geometry import Array

_ROUNDS = 200
_MOST = 1.25  # of a step, per round: small, for slowing here changes accelerations beside it


def slowed(q: Array, t_s: Array, velocity: Array, acceleration: Array) -> Array:
    """When a robot may be at every row so that no limit is passed: `t_s` itself if it keeps up.

    Args:
        q: (n, d) postures, rad or m.
        t_s: (n,) when a person was there, increasing from 0.
        velocity, acceleration: (d,) limits.

    Returns:
        (n,) increasing from t_s[0]; no step is shorter than recorded.
    """
    least = np.diff(t_s)
    step_s = least.copy()
    moved = np.diff(q, axis=0)
    if not len(step_s):
        return t_s.copy()
    # Velocity alone fixes each step by itself.
    step_s = np.maximum(step_s, (np.abs(moved) / velocity).max(axis=1) * (1 + 1e-9))
    over = np.ones(len(step_s))
    for _ in range(_ROUNDS):
        if len(step_s) < 2:
            break
        speed = moved / step_s[:, None]
        over = (np.abs(np.diff(speed, axis=0)) * 2 / (step_s[:-1] + step_s[1:])[:, None] / acceleration).max(axis=1)
        if over.max(initial=0.0) <= 1 + 1e-9:
            break
        # Time stretched by s divides accelerations by s².
        stretch = np.clip(np.sqrt(over) * (1 + 1e-6), 1.0, _MOST)
        wanted = np.ones(len(step_s))
        wanted[:-1] = np.maximum(wanted[:-1], stretch)
        wanted[1:] = np.maximum(wanted[1:], stretch)
        # Its neighbours slow down with it, so that slowing is no new jolt.
        beside = 1 + (np.maximum(np.r_[wanted[1:], 1.0], np.r_[1.0, wanted[:-1]]) - 1) / 2
        step_s = step_s * np.maximum(wanted, beside)
    else:
        # What is left is slowed down as a whole: always enough.
        step_s = step_s * np.sqrt(over.max())
    return np.r_[t_s[0], t_s[0] + np.cumsum(step_s)]
