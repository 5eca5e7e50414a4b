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


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """Numbers over time: joint angles, a jaw opening.

    Attributes:
        spline: t [s] to (d,).
    """

    spline: BSpline

    @classmethod
    def through_controls(cls, start_s: float, step_s: float, controls: Array) -> Curve:
        """Control points (m, d), m >= 6, `step_s` apart; valid from `start_s` for (m - 5) steps.

        Control i weighs on six knot spans; the middle of them, `start_s + (i - 2) step_s`, is its own time.
        """
        knots = start_s + step_s * np.arange(-_DEGREE, len(controls) + 1)
        return cls(BSpline(knots, controls, _DEGREE, extrapolate=False))

    @property
    def end_s(self) -> float:
        return float(self.spline.t[-_DEGREE - 1])

    def at(self, t_s: ArrayLike, derivative: int = 0) -> Array:
        """(n,) s to (n, d), or a derivative of it."""
        value = np.asarray(self.spline(np.asarray(t_s, float), nu=derivative))
        assert np.all(np.isfinite(value)), "asked outside the motion"
        return value


@dataclass(frozen=True, eq=False, slots=True)
class PoseCurve:
    """A rigid body on a curve of seven numbers: position, and a quaternion that is brought to unit length.

    The quaternion's length changes with the blend of its control points, and neither pose nor rate depends on it.

    Attributes:
        curve: t [s] to (x, y, z [m], qw, qx, qy, qz).
    """

    curve: Curve

    @classmethod
    def through_controls(cls, start_s: float, step_s: float, T_room_body: Array) -> PoseCurve:
        """Control poses (m, 4, 4), m >= 6, `step_s` apart and less than a right angle from one to the next."""
        quat_wxyz = geometry.quat_wxyz_from_matrix(T_room_body[:, :3, :3])
        flips = np.cumprod(np.where(np.sum(quat_wxyz[1:] * quat_wxyz[:-1], axis=-1) < 0, -1.0, 1.0))
        quat_wxyz[1:] *= flips[:, None]
        return cls(Curve.through_controls(start_s, step_s, np.concatenate([T_room_body[:, :3, 3], quat_wxyz], axis=-1)))

    @property
    def end_s(self) -> float:
        return self.curve.end_s

    def pose(self, t_s: ArrayLike) -> Array:
        x = self.curve.at(t_s)
        return geometry.se3(geometry.matrix_from_quat_wxyz(x[..., 3:]), x[..., :3])

    def velocity_room(self, t_s: ArrayLike) -> Array:
        return self.curve.at(t_s, 1)[..., :3]

    def acceleration_room(self, t_s: ArrayLike) -> Array:
        return self.curve.at(t_s, 2)[..., :3]

    def angular_rate_body(self, t_s: ArrayLike) -> Array:
        # omega = 2 Im(q* dq/dt) / |q|²; a change of length along q has no imaginary part (Sola 2017, eq. 198).
        q, dq = self.curve.at(t_s)[..., 3:], self.curve.at(t_s, 1)[..., 3:]
        w, v, dw, dv = q[..., :1], q[..., 1:], dq[..., :1], dq[..., 1:]
        return 2 * (w * dv - dw * v - np.cross(v, dv)) / np.sum(q * q, axis=-1, keepdims=True)
