"""How a worn device moves: smooth curves with exact derivatives.

A curve is a uniform quintic B-spline: four times continuously differentiable, and it stays inside the convex hull of
its control points, so that a bounded script cannot walk through a wall or outrun a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import BSpline

from handcap import geometry
from handcap.geometry import Array

_DEGREE = 5


class Motion(Protocol):
    """A rigid body whose pose and derivatives are known at any time."""

    def pose(self, t_s: ArrayLike) -> Array:
        """(n,) s to `T_room_body` (n, 4, 4)."""
        ...

    def velocity_room(self, t_s: ArrayLike) -> Array:
        """(n,) s to (n, 3) m/s."""
        ...

    def acceleration_room(self, t_s: ArrayLike) -> Array:
        """(n,) s to (n, 3) m/s², gravity not included."""
        ...

    def angular_rate_body(self, t_s: ArrayLike) -> Array:
        """(n,) s to (n, 3) rad/s, body axes."""
        ...


def _turn(axis: int, angle: Array) -> Array:
    return geometry.so3_exp(angle[..., None] * np.eye(3)[axis])


@dataclass(frozen=True, eq=False, slots=True)
class SplineMotion:
    """Position, yaw, pitch and roll as one B-spline of six numbers.

    Attributes:
        spline: t [s] to (x, y, z [m], yaw, pitch, roll [rad]); the body's axes are x forward, y left, z up, turned by
            `Rz(yaw) Ry(pitch) Rx(roll)`, so that a positive pitch looks down.
    """

    spline: BSpline

    @classmethod
    def through_controls(cls, start_s: float, step_s: float, controls: Array) -> SplineMotion:
        """Control points (m, 6), m >= 6, `step_s` apart; the curve is valid from `start_s` for (m - 5) steps."""
        knots = start_s + step_s * np.arange(-_DEGREE, len(controls) + 1)
        return cls(BSpline(knots, controls, _DEGREE, extrapolate=False))

    @property
    def end_s(self) -> float:
        return float(self.spline.t[-_DEGREE - 1])

    def _at(self, t_s: ArrayLike, derivative: int) -> Array:
        value = np.asarray(self.spline(np.asarray(t_s, float), nu=derivative))
        assert np.all(np.isfinite(value)), "asked outside the motion"
        return value

    def pose(self, t_s: ArrayLike) -> Array:
        x = self._at(t_s, 0)
        return geometry.se3(_turn(2, x[..., 3]) @ _turn(1, x[..., 4]) @ _turn(0, x[..., 5]), x[..., :3])

    def velocity_room(self, t_s: ArrayLike) -> Array:
        return self._at(t_s, 1)[..., :3]

    def acceleration_room(self, t_s: ArrayLike) -> Array:
        return self._at(t_s, 2)[..., :3]

    def angular_rate_body(self, t_s: ArrayLike) -> Array:
        _, pitch, roll = np.moveaxis(self._at(t_s, 0)[..., 3:], -1, 0)
        yaw_rate, pitch_rate, roll_rate = np.moveaxis(self._at(t_s, 1)[..., 3:], -1, 0)
        cp, sp, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
        return np.stack(
            [roll_rate - yaw_rate * sp, pitch_rate * cr + yaw_rate * cp * sr, yaw_rate * cp * cr - pitch_rate * sr],
            axis=-1,
        )
