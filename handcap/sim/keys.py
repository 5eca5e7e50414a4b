"""Key poses and key values, joined by minimum-jerk moves (Flash and Hogan 1985)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from handcap import geometry
from handcap.geometry import Array


@dataclass(eq=False)
class Track:
    """Key poses of one body and the moves between them.

    Attributes:
        t_s: when.
        T_room: (4, 4) each.
    """

    t_s: list[float] = field(default_factory=list)
    T_room: list[Array] = field(default_factory=list)

    def add(self, t_s: float, T_room: Array) -> None:
        assert not self.t_s or t_s > self.t_s[-1], (t_s, self.t_s[-1])
        self.t_s.append(t_s)
        self.T_room.append(T_room)

    def at(self, t_s: Array) -> Array:
        """(n,) s to (n, 4, 4), at rest before the first and after the last key."""
        i, s = _between(self.t_s, t_s)
        T = np.array(self.T_room)
        j = np.minimum(i + 1, len(T) - 1)
        turn = geometry.so3_log(np.swapaxes(T[i, :3, :3], -1, -2) @ T[j, :3, :3])
        R = T[i, :3, :3] @ geometry.so3_exp(s[:, None] * turn)
        return geometry.se3(R, (1 - s[:, None]) * T[i, :3, 3] + s[:, None] * T[j, :3, 3])


@dataclass(eq=False)
class Level:
    """Key values of one number, joined the same way."""

    t_s: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)

    def add(self, t_s: float, value: float) -> None:
        assert not self.t_s or t_s > self.t_s[-1], (t_s, self.t_s[-1])
        self.t_s.append(t_s)
        self.value.append(value)

    def at(self, t_s: Array) -> Array:
        i, s = _between(self.t_s, t_s)
        value = np.array(self.value)
        return (1 - s) * value[i] + s * value[np.minimum(i + 1, len(value) - 1)]


def _between(key_t_s: Sequence[float], t_s: Array) -> tuple[NDArray[np.intp], Array]:
    """Index of the key before each time, and how far a minimum-jerk move has come to the next, 0..1."""
    keys = np.array(key_t_s)
    i = np.clip(np.searchsorted(keys, t_s, side="right") - 1, 0, len(keys) - 1)
    following = np.minimum(i + 1, len(keys) - 1)
    span = np.where(following > i, keys[following] - keys[i], 1.0)
    s = np.clip((t_s - keys[i]) / span, 0.0, 1.0)
    return i, s**3 * (10 - 15 * s + 6 * s * s)
