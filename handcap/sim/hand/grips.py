"""Named postures of a hand, and where it holds what it grips.

Every grip is (n,) angles in the order of `skeleton.ANGLES`, rad.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from handcap import geometry
from handcap.geometry import Array
from handcap.sim.hand import skeleton
from handcap.sim.hand.hand import HandShape
from handcap.sim.hand.skeleton import Skeleton

_TIP_FLESH = 0.037  # from the tip joint to the skin of the pad, of the hand's length

_PINCH_SHUT = skeleton.posture(
    thumb=(24, 29, 42, 13, 12),
    index=(-6, 52, 40, 16),
    middle=(-2, 46, 50, 28),
    ring=(-2, 50, 52, 30),
    little=(-4, 52, 48, 28),
)
_PINCH_OPEN = skeleton.posture(
    thumb=(0, 48, 42, 1, 13),
    index=(-8, 29, 30, 14),
    middle=(0, 24, 30, 16),
    ring=(-2, 30, 34, 18),
    little=(-6, 32, 32, 18),
)
_GRASP_SHUT = skeleton.posture(
    thumb=(10, 54, 52, 48, 36),
    index=(0, 68, 82, 48),
    middle=(0, 72, 86, 50),
    ring=(0, 74, 84, 50),
    little=(-2, 74, 78, 46),
)
_GRASP_OPEN = skeleton.posture(
    thumb=(-14, 52, 36, 0, 16),
    index=(5, 26, 34, 20),
    middle=(0, 28, 38, 22),
    ring=(-4, 28, 38, 22),
    little=(-10, 30, 34, 20),
)
_SEARCH_STEPS = 24


def relaxed() -> Array:
    """Hanging or resting; fingers curl more towards the little one."""
    return skeleton.posture(
        thumb=(8, 18, 20, 10, 15),
        index=(2, 24, 28, 14),
        middle=(0, 30, 34, 18),
        ring=(-2, 34, 36, 20),
        little=(-6, 36, 34, 18),
    )


def flat(spread: float = 0.5) -> Array:
    """Open, fingers straight; spread from 0 (side by side) to 1."""
    s = float(spread)
    return skeleton.posture(
        thumb=(8 - 22 * s, 4 + 6 * s, 4, 4, 2),
        index=(-3 + 13 * s, 2, 4, 2),
        middle=(-1 + 2 * s, 2, 4, 2),
        ring=(3 - 9 * s, 2, 5, 2),
        little=(7 - 20 * s, 3, 5, 2),
    )


def fist() -> Array:
    return skeleton.posture(
        thumb=(8, 55, 53, 55, 44),
        index=(0, 88, 103, 72),
        middle=(0, 89, 104, 74),
        ring=(0, 89, 104, 74),
        little=(0, 89, 100, 70),
    )


def point() -> Array:
    """The index finger stretched, the others closed."""
    return skeleton.posture(
        thumb=(9, 55, 53, 50, 40),
        index=(0, 6, 8, 4),
        middle=(0, 80, 96, 56),
        ring=(0, 84, 96, 58),
        little=(0, 84, 92, 54),
    )


def pinch(width_m: float, shape: HandShape) -> Array:
    """Thumb and index finger hold something `width_m` wide between their pads."""
    return _for_opening(_PINCH_SHUT, _PINCH_OPEN, width_m, shape)


def grasp(radius_m: float, shape: HandShape) -> Array:
    """The whole hand round a bar or bottle of this radius."""
    size = shape.length_m
    # What a hand can span between shut and wide open, as the circle through thumb, index finger and palm.
    share = np.clip((radius_m / size - 0.05) / 0.22, 0, 1)
    return _GRASP_SHUT + share * (_GRASP_OPEN - _GRASP_SHUT)


def opening_m(angles: ArrayLike, shape: HandShape) -> float:
    """Free way between the pads of thumb and index finger."""
    joints, _ = Skeleton.of_length(shape.length_m).pose(angles)
    return float(np.linalg.norm(joints[8] - joints[4])) - 2 * _TIP_FLESH * shape.length_m * shape.girth


def T_wrist_grip(angles: ArrayLike, shape: HandShape) -> Array:
    """Where something is held: (..., 4, 4).

    Origin midway between the tips of thumb and index finger, x from the thumb's to the finger's, z out of the hand:
    away from the middle of the palm.
    """
    joints, _ = Skeleton.of_length(shape.length_m).pose(angles)
    if shape.side == "left":
        joints = joints * np.array([1.0, -1.0, 1.0])
    thumb, index = joints[..., 4, :], joints[..., 8, :]
    origin = (thumb + index) / 2
    x = index - thumb
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    out = origin - joints[..., 9, :] / 2
    z = out - np.sum(out * x, axis=-1, keepdims=True) * x
    z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    return geometry.se3(np.stack([x, np.cross(z, x), z], axis=-1), origin)


def within_limits(angles: ArrayLike) -> Array:
    """The nearest angles a hand can take."""
    return skeleton.clip(angles)


def _for_opening(shut: Array, wide: Array, width_m: float, shape: HandShape) -> Array:
    """The posture between two that leaves this way free, the nearest end where neither does."""
    low, high = 0.0, 1.0
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        if opening_m(shut + middle * (wide - shut), shape) < width_m:
            low = middle
        else:
            high = middle
    return shut + (low + high) / 2 * (wide - shut)
