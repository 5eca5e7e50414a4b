"""Lens models: points in the camera frame to pixels and back.

Pixel (0, 0) is the centre of the top-left pixel (OpenCV). The camera frame is x right, y down, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import ArrayLike, NDArray

from handcap.geometry import Array

_NEWTON_STEPS = 30
_CONVERGED = 1e-12


@dataclass(frozen=True)
class Camera:
    """What both models share.

    Attributes:
        width, height: px.
        params: model parameters; the first four are fx, fy, cx, cy in px.
    """

    width: int
    height: int
    params: tuple[float, ...]

    model: ClassVar[str]
    parameter_names: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        assert len(self.params) == len(self.parameter_names), (self.params, self.parameter_names)
        assert self.width > 0 and self.height > 0
        assert np.all(np.isfinite(self.params)) and self.params[0] > 0 and self.params[1] > 0, self.params

    @property
    def focal_px(self) -> Array:
        return np.array(self.params[:2])

    @property
    def centre_px(self) -> Array:
        return np.array(self.params[2:4])

    def project(self, p_cam: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
        """Points (..., 3) to pixels (..., 2) and whether the lens model holds there (not: inside the picture)."""
        raise NotImplementedError  # the two models below

    def derivative(self, p_cam: ArrayLike) -> Array:
        """(..., 2, 3) of the pixel by the point (..., 3), px per unit; nothing where the lens model does not hold."""
        raise NotImplementedError

    def derivative_by_params(self, p_cam: ArrayLike) -> Array:
        """(..., 2, n) of the pixel by the model's n parameters, in their order."""
        raise NotImplementedError

    def unproject(self, pixels: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
        """Pixels (..., 2) to unit rays (..., 3) and whether the lens model can be inverted there."""
        raise NotImplementedError

    def in_picture(self, pixels: ArrayLike, border_px: float = 0.0) -> NDArray[np.bool_]:
        """Whether (..., 2) pixels lie inside the picture, `border_px` away from its edge."""
        pixels = np.asarray(pixels, float)
        limit = np.array([self.width - 1, self.height - 1]) - border_px
        return np.all((pixels >= border_px) & (pixels <= limit), axis=-1)

    def scaled(self, factor: float) -> Camera:
        """The same lens on a picture resized by `factor` (pixel centres kept: u' + 0.5 = factor (u + 0.5))."""
        fx, fy, cx, cy, *lens = self.params
        return type(self)(
            round(self.width * factor),
            round(self.height * factor),
            (fx * factor, fy * factor, (cx + 0.5) * factor - 0.5, (cy + 0.5) * factor - 0.5, *lens),
        )


def _positive_roots(coefficients: list[float]) -> Array:
    """Real positive roots of a polynomial, lowest power first, sorted."""
    roots = polynomial.polyroots(np.trim_zeros(np.array(coefficients), "b")) if any(coefficients[1:]) else np.array([])
    real = np.real(roots[np.abs(np.imag(roots)) < 1e-9])
    return np.sort(real[real > 0])


class PinholeRadtan(Camera):
    """Pinhole with radial-tangential distortion: fx, fy, cx, cy, k1, k2, p1, p2 (OpenCV's first four terms)."""

    model = "pinhole-radtan"
    parameter_names = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")

    @property
    def _radial(self) -> tuple[float, float, float]:
        """k1, k2, k3."""
        return self.params[4], self.params[5], 0.0

    @cached_property
    def _radius_limit(self) -> float:
        """Largest undistorted radius at which the radial polynomial still grows; beyond it the image folds over."""
        k1, k2, k3 = self._radial
        roots = _positive_roots([1.0, 3 * k1, 5 * k2, 7 * k3])  # d/dr (r + k1 r³ + k2 r⁵ + k3 r⁷) in r²
        return float(np.sqrt(roots[0])) if len(roots) else np.inf

    def _distort(self, xy: Array) -> Array:
        (k1, k2, k3), (p1, p2) = self._radial, self.params[6:8]
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        return np.stack(
            [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y],
            axis=-1,
        )

    def _distort_jacobian(self, xy: Array) -> Array:
        """(..., 2, 2) derivative of `_distort`."""
        (k1, k2, k3), (p1, p2) = self._radial, self.params[6:8]
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        radial, slope = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), k1 + r2 * (2 * k2 + 3 * k3 * r2)
        J = np.empty((*xy.shape[:-1], 2, 2))
        J[..., 0, 0] = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
        J[..., 1, 1] = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
        J[..., 0, 1] = J[..., 1, 0] = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        return J

    def project(self, p_cam: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
        p_cam = np.asarray(p_cam, float)
        in_front = p_cam[..., 2] > 1e-9
        xy = p_cam[..., :2] / np.where(in_front, p_cam[..., 2], 1.0)[..., None]
        valid = in_front & (np.hypot(xy[..., 0], xy[..., 1]) < self._radius_limit)
        return self._distort(xy) * self.focal_px + self.centre_px, valid

    def derivative(self, p_cam: ArrayLike) -> Array:
        p_cam = np.asarray(p_cam, float)
        per_z = 1 / np.where(p_cam[..., 2] > 1e-9, p_cam[..., 2], 1.0)
        xy = p_cam[..., :2] * per_z[..., None]
        by_xy = self._distort_jacobian(xy) * self.focal_px[:, None] * per_z[..., None, None]
        return np.concatenate([by_xy, -(by_xy @ xy[..., None])], axis=-1)

    def derivative_by_params(self, p_cam: ArrayLike) -> Array:
        p_cam = np.asarray(p_cam, float)
        xy = p_cam[..., :2] / np.where(p_cam[..., 2] > 1e-9, p_cam[..., 2], 1.0)[..., None]
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        J = _by_focal_and_centre(self._distort(xy), len(self.params))
        powers = np.stack([r2, r2**2, r2**3], axis=-1)
        terms = [0, 1, *range(4, len(self.params) - 4)]  # where each radial term stands among k1, k2, p1, p2, k3
        for power, term in enumerate(terms):
            J[..., 4 + term] = xy * powers[..., power, None] * self.focal_px
        J[..., 6] = np.stack([2 * x * y, r2 + 2 * y * y], axis=-1) * self.focal_px
        J[..., 7] = np.stack([r2 + 2 * x * x, 2 * x * y], axis=-1) * self.focal_px
        return J

    def unproject(self, pixels: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
        goal = (np.asarray(pixels, float) - self.centre_px) / self.focal_px
        xy = goal.copy()
        for _ in range(_NEWTON_STEPS):
            error = self._distort(xy) - goal
            step = _solved(self._distort_jacobian(xy), error)
            length = np.linalg.norm(step, axis=-1, keepdims=True)
            xy = xy - step * np.minimum(1.0, 0.5 / np.maximum(length, 1e-300))  # damped far from the solution
            if error.size == 0 or np.max(np.abs(error)) < _CONVERGED:
                break
        solved = np.max(np.abs(self._distort(xy) - goal), axis=-1) < 1e-9
        valid = solved & (np.hypot(xy[..., 0], xy[..., 1]) < self._radius_limit)
        ray = np.concatenate([xy, np.ones_like(xy[..., :1])], axis=-1)
        return ray / np.linalg.norm(ray, axis=-1, keepdims=True), valid


def _by_focal_and_centre(image: Array, count: int) -> Array:
    """(..., 2, count), columns of fx, fy, cx, cy filled in: the pixel is focal × image (..., 2) + centre."""
    J = np.zeros((*image.shape, count))
    J[..., 0, 0], J[..., 1, 1] = image[..., 0], image[..., 1]
    J[..., 0, 2] = J[..., 1, 3] = 1.0
    return J


def _solved(J: Array, b: Array) -> Array:
    """x (..., 2) of the symmetric J x = b, by Cramer's rule; large where J (..., 2, 2) is singular."""
    a, c, d = J[..., 0, 0], J[..., 0, 1], J[..., 1, 1]
    det = a * d - c * c
    det = np.where(np.abs(det) > 1e-30, det, 1e-30)
    return np.stack([d * b[..., 0] - c * b[..., 1], a * b[..., 1] - c * b[..., 0]], axis=-1) / det[..., None]


class PinholeRadtan5(PinholeRadtan):
    """The same with a third radial term: fx, fy, cx, cy, k1, k2, p1, p2, k3 (OpenCV's default five).

    For comparison with calibrations that others published; no rig.json holds it.
    """

    model = "pinhole-radtan5"
    parameter_names = (*PinholeRadtan.parameter_names, "k3")

    @property
    def _radial(self) -> tuple[float, float, float]:
        return self.params[4], self.params[5], self.params[8]


class KannalaBrandt4(Camera):
    """Fisheye, Kannala and Brandt 2006 with four terms: fx, fy, cx, cy, k1..k4.

    `r = theta + k1 theta³ + k2 theta⁵ + k3 theta⁷ + k4 theta⁹`: OpenCV "fisheye", Kalibr "equidistant". Rays behind the
    camera (theta > 90°) are fine as long as r still grows.
    """

    model = "kannala-brandt4"
    parameter_names = ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4")

    @cached_property
    def theta_limit_rad(self) -> float:
        """Largest angle off axis at which r still grows with it, at most π."""
        k1, k2, k3, k4 = self.params[4:8]
        roots = _positive_roots([1.0, 3 * k1, 5 * k2, 7 * k3, 9 * k4])
        return float(min(np.sqrt(roots[0]), np.pi)) if len(roots) else np.pi

    def _radius(self, theta: Array) -> Array:
        k1, k2, k3, k4 = self.params[4:8]
        s = theta * theta
        return theta * (1 + s * (k1 + s * (k2 + s * (k3 + s * k4))))

    def _radius_slope(self, theta: Array) -> Array:
        k1, k2, k3, k4 = self.params[4:8]
        s = theta * theta
        return 1 + s * (3 * k1 + s * (5 * k2 + s * (7 * k3 + s * 9 * k4)))

    def project(self, p_cam: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
        p_cam = np.asarray(p_cam, float)
        across = np.hypot(p_cam[..., 0], p_cam[..., 1])
        theta = np.arctan2(across, p_cam[..., 2])
        valid = (theta < self.theta_limit_rad) & (np.linalg.norm(p_cam, axis=-1) > 0)
        # Right ahead, r / across tends to 1 / z.
        ahead = across < 1e-12
        scale = np.where(ahead, 1 / np.where(ahead, np.maximum(p_cam[..., 2], 1e-300), 1.0), 0.0)
        scale = np.where(ahead, scale, self._radius(theta) / np.where(ahead, 1.0, across))
        return p_cam[..., :2] * scale[..., None] * self.focal_px + self.centre_px, valid

    def derivative(self, p_cam: ArrayLike) -> Array:
        p_cam = np.asarray(p_cam, float)
        x, y, z = p_cam[..., 0], p_cam[..., 1], p_cam[..., 2]
        across2 = x * x + y * y
        across = np.sqrt(across2)
        theta = np.arctan2(across, z)
        radius, slope = self._radius(theta), self._radius_slope(theta)
        far2 = np.maximum(across2 + z * z, 1e-300)
        ahead = across < 1e-9  # there r / across is 1 / z, and changes with neither x nor y
        safe2 = np.where(ahead, 1.0, across2)
        scale = np.where(ahead, 1 / np.maximum(z, 1e-9), radius / np.sqrt(safe2))
        # What the scale changes by along (x, y), per unit of x and y; with z it changes by -slope / |p|².
        along = np.where(ahead, 0.0, (slope * z / far2 - scale) / safe2)
        J = np.empty((*x.shape, 2, 3))
        J[..., 0, 0], J[..., 1, 1] = scale + along * x * x, scale + along * y * y
        J[..., 0, 1] = J[..., 1, 0] = along * x * y
        J[..., 0, 2], J[..., 1, 2] = -x * slope / far2, -y * slope / far2
        return J * self.focal_px[:, None]

    def derivative_by_params(self, p_cam: ArrayLike) -> Array:
        p_cam = np.asarray(p_cam, float)
        across = np.hypot(p_cam[..., 0], p_cam[..., 1])
        theta = np.arctan2(across, p_cam[..., 2])[..., None]
        outward = p_cam[..., :2] / np.maximum(across, 1e-12)[..., None]
        J = _by_focal_and_centre(self._radius(theta) * outward, len(self.params))
        for term in range(4):
            J[..., 4 + term] = theta ** (2 * term + 3) * outward * self.focal_px
        return J

    def unproject(self, pixels: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
        xy = (np.asarray(pixels, float) - self.centre_px) / self.focal_px
        goal = np.hypot(xy[..., 0], xy[..., 1])
        # r grows on [0, limit], so Newton steps kept inside a shrinking bracket cannot miss.
        low, high = np.zeros_like(goal), np.full_like(goal, self.theta_limit_rad)
        theta = np.minimum(goal, self.theta_limit_rad)
        for _ in range(_NEWTON_STEPS):
            error = self._radius(theta) - goal
            if error.size == 0 or np.max(np.abs(error)) < _CONVERGED:
                break
            high, low = np.where(error > 0, theta, high), np.where(error > 0, low, theta)
            slope = self._radius_slope(theta)
            newton = theta - error / np.where(slope > 1e-9, slope, 1.0)
            theta = np.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
        valid = np.abs(self._radius(theta) - goal) < 1e-9
        ratio = np.where(goal > 1e-12, np.sin(theta) / np.where(goal > 1e-12, goal, 1.0), 1.0)
        return np.concatenate([xy * ratio[..., None], np.cos(theta)[..., None]], axis=-1), valid


MODELS: dict[str, type[Camera]] = {m.model: m for m in (PinholeRadtan, KannalaBrandt4)}
