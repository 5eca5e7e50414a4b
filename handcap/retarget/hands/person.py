"""A person's hand as a robot's follows it: joints in the wrist frame, sized by the bones of the whole session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array, inverse, transform

JOINTS = 21
# Which joint each one hangs on, MediaPipe's order.
PARENTS: NDArray[np.intp] = np.array([0, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19])
KNUCKLES = (1, 5, 9, 13, 17)
# Between the tips of thumb and finger when their pads touch, of the hand's length: a tip joint lies some 7 mm under the
# skin of a hand of 190 mm.
_TOUCH = 0.074


@dataclass(frozen=True, eq=False, slots=True)
class Person:
    """One hand over a take.

    Attributes:
        joints: (n, 21, 3) m, our wrist frame; NaN where unseen.
        sigma_m: (n, 21) of them; NaN where unknown.
        bones_m: (21,) from each joint to the one it hangs on, over the whole session; the wrist's own is 0.
        knuckles: (21, 3) m, where the joints next to the wrist are in it, over the whole session; NaN for others.
    """

    joints: Array
    sigma_m: Array
    bones_m: Array
    knuckles: Array

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(n,) whether all joints are known."""
        return np.asarray(np.isfinite(self.joints).all(axis=(1, 2)))

    @property
    def length_m(self) -> float:
        """Wrist to the middle finger's tip, straight."""
        return float(self.bones_m[9:13].sum())

    @property
    def touch_m(self) -> float:
        """Between tips that touch."""
        return _TOUCH * self.length_m

    def sized(self, length_m: float) -> Person:
        """The same hand, larger or smaller, to a tenth of a micrometre: digits beyond are of the arithmetic, and where
        flat shapes meet they would decide which corners touch.
        """
        k = length_m / self.length_m
        return Person(*(np.round(k * a, 7) for a in (self.joints, self.sigma_m, self.bones_m, self.knuckles)))


def person(T_world_wrist: Array, joints_world: Array, sigma_m: Array | None = None) -> Person:
    """From a recorded hand.

    Args:
        T_world_wrist: (n, 4, 4), NaN where unseen.
        joints_world: (n, 21, 3) m, NaN where unseen.
        sigma_m: (n, 21), NaN where unknown; None: nobody knows.
    """
    known = np.isfinite(joints_world).all(axis=(1, 2)) & np.isfinite(T_world_wrist).all(axis=(1, 2))
    seen = np.asarray(known)
    joints = np.full(joints_world.shape, np.nan)
    joints[seen] = transform(inverse(T_world_wrist[seen])[:, None], joints_world[seen])
    unknown = np.full(joints.shape[:2], np.nan)
    sigma = unknown if sigma_m is None else np.where(seen[:, None], sigma_m, np.nan)
    bones, knuckles = np.zeros(JOINTS), np.full((JOINTS, 3), np.nan)
    if seen.any():
        bones = np.median(np.linalg.norm(joints[seen] - joints[seen][:, PARENTS], axis=-1), axis=0)
        knuckles[list(KNUCKLES)] = np.median(joints[seen][:, KNUCKLES], axis=0)
    return Person(joints, sigma, bones, knuckles)
