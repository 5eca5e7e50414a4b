"""The device's path as a smooth curve: uniform quintic B-splines of position and of a quaternion.

Position is a spline of control points, rotation the unit quaternion along a spline of control quaternions; both are
four times continuously differentiable, so that rates and accelerations are to be had in closed form, and so are their
derivatives by the controls. A control moves by a turn in its own axes and a shift: `q_i <- q_i * exp(turn / 2)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, PPoly

from handcap.geometry import Array, matrix_from_quat_wxyz, quat_wxyz_from_matrix, skew

ORDER = 6  # controls that weigh on any instant


@cache
def _coefficients() -> tuple[Array, Array, Array]:
    """(6, 6) each: the weights of six controls as polynomials in 0 <= u < 1, lowest power first, and derivatives."""
    pieces = PPoly.from_spline(BSpline.basis_element(np.arange(ORDER + 1.0), extrapolate=False)).c  # type: ignore[arg-type]
    # The outer pieces are SciPy's own continuation. The last control is in its first piece, the first in its last.
    value = pieces[::-1, 2 * ORDER - 2 : ORDER - 2 : -1]
    power = np.arange(1, ORDER)[:, None]
    rate = np.vstack([value[1:] * power, np.zeros(ORDER)])
    bend = np.vstack([rate[1:] * power, np.zeros(ORDER)])
    return value, rate, bend


@dataclass(frozen=True, eq=False, slots=True)
class Instants:
    """A curve at n instants, with what moves it.

    Attributes:
        first: (n,) number of the first of the six controls that weigh there.
        weight, rate_weight, bend_weight: (n, 6) of the controls' positions in p, velocity and acceleration.
        R: (n, 3, 3) rotation, world from body.
        rate_body: (n, 3) rad/s, body axes.
        p, velocity, acceleration: (n, 3) world, m and seconds.
        turn_by: (n, 6, 3, 3) turn of the body in its axes by the turn of each control.
        rate_by: (n, 6, 3, 3) change of `rate_body` by the turn of each control; empty where not asked for.
    """

    first: NDArray[np.int64]
    weight: Array
    rate_weight: Array
    bend_weight: Array
    R: Array
    rate_body: Array
    p: Array
    velocity: Array
    acceleration: Array
    turn_by: Array
    rate_by: Array


@dataclass(frozen=True, eq=False, slots=True)
class PoseSpline:
    """A rigid body's path.

    Attributes:
        start_s: where the curve begins.
        step_s: between controls.
        quat_wxyz: (m, 4) controls, unit length, each on the side of its neighbours.
        p: (m, 3) controls, m.
    """

    start_s: float
    step_s: float
    quat_wxyz: Array
    p: Array

    @classmethod
    def from_controls(cls, start_s: float, step_s: float, R: Array, p: Array) -> PoseSpline:
        """Of controls (m, 3, 3) and (m, 3), m >= 6."""
        quat = quat_wxyz_from_matrix(R)
        quat[1:] *= np.cumprod(np.where(np.sum(quat[1:] * quat[:-1], axis=-1) < 0, -1.0, 1.0))[:, None]
        return cls(start_s, step_s, quat, p)

    @staticmethod
    def control_times(start_s: float, step_s: float, end_s: float) -> Array:
        """(m,) s: where controls belong for a curve over [start, end]; each is in the middle of its own weight."""
        spans = int(np.ceil((end_s - start_s) / step_s + 1e-9))
        return np.asarray(start_s + step_s * (np.arange(spans + ORDER - 1) - (ORDER - 2) / 2), float)

    @property
    def end_s(self) -> float:
        return self.start_s + self.step_s * (len(self.p) - ORDER + 1)

    def moved(self, turn: Array, shift: Array) -> PoseSpline:
        """With every control turned in its own axes (m, 3), rad, and shifted (m, 3), m."""
        half = np.linalg.norm(turn, axis=-1, keepdims=True) / 2
        step = np.concatenate([np.cos(half), turn / 2 * np.sinc(half / np.pi)], axis=-1)
        quat = _product(self.quat_wxyz, step)
        return PoseSpline(
            self.start_s, self.step_s, quat / np.linalg.norm(quat, axis=-1, keepdims=True), self.p + shift
        )

    def at(self, t_s: Array, *, with_rates: bool = False) -> Instants:
        """The curve at (n,) seconds, held within its ends; `with_rates` asks for `rate_by` too."""
        x = (t_s - self.start_s) / self.step_s
        first = np.clip(np.floor(x).astype(np.int64), 0, len(self.p) - ORDER)
        powers = (x - first)[:, None] ** np.arange(ORDER)
        value, rate, bend = _coefficients()
        w, dw, ddw = powers @ value, powers @ rate / self.step_s, powers @ bend / self.step_s**2
        active = first[:, None] + np.arange(ORDER)
        quats, p = self.quat_wxyz[active], self.p[active]
        q, dq = np.einsum("ni,nij->nj", w, quats), np.einsum("ni,nij->nj", dw, quats)
        size = np.sum(q * q, axis=-1)
        # A control's turn t moves the blend by w_i q_i * (0, t / 2), seen from the body as q^-1 * q_i * (0, t / 2).
        seen = _product(_conjugate(q)[:, None], quats)
        turn_by = _imaginary_of(seen) * (w / size[:, None])[:, :, None, None]
        # omega = 2 Im(q* dq/dt) / |q|² (Sola 2017, eq. 198); Im(x* y) = -Im(y* x).
        body = 2 * _product(_conjugate(q), dq)[:, 1:] / size[:, None]
        rate_by = np.zeros((0, ORDER, 3, 3))
        if with_rates:
            moving = _product(_conjugate(dq)[:, None], quats)
            rate_by = dw[:, :, None, None] * _imaginary_of(seen) - w[:, :, None, None] * _imaginary_of(moving)
            rate_by += w[:, :, None, None] * body[:, None, :, None] * seen[:, :, None, 1:]
            rate_by /= size[:, None, None, None]
        return Instants(
            first,
            w,
            dw,
            ddw,
            matrix_from_quat_wxyz(q),
            body,
            np.einsum("ni,nij->nj", w, p),
            np.einsum("ni,nij->nj", dw, p),
            np.einsum("ni,nij->nj", ddw, p),
            turn_by,
            rate_by,
        )


def _product(a: Array, b: Array) -> Array:
    """Hamilton's product of quaternions (..., 4), w first."""
    aw, av, bw, bv = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    return np.concatenate(
        [aw * bw - np.sum(av * bv, axis=-1, keepdims=True), aw * bv + bw * av + np.cross(av, bv)], axis=-1
    )


def _conjugate(q: Array) -> Array:
    return q * np.array([1.0, -1.0, -1.0, -1.0])


def _imaginary_of(q: Array) -> Array:
    """(..., 3, 3) that takes t to the imaginary part of q * (0, t)."""
    return q[..., :1, None] * np.eye(3) + skew(q[..., 1:])
