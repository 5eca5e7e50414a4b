"""A hand of balls: how deep its joints lie behind what is seen of it.

Where skin is seen before a joint it is the joint's own, or that of a part of the hand that is in its way; the hand as
it is thought to stand says which.
"""

from __future__ import annotations

import numpy as np

from handcap.geometry import Array

# Radii, m: half of the thickness of a hand at its knuckles (28 mm in women, 33 in men), of the breadth of a finger's
# middle (18, 21) and end (16, 18) joint, and of a thumb (19, 23): Pheasant, Bodyspace, 1986.
_KNUCKLE, _THUMB, _MIDDLE, _END, _WRIST = 0.015, 0.0105, 0.0095, 0.008, 0.018
_FINGERS = (5, 9, 13, 17)


def _balls() -> tuple[Array, Array]:
    """(k, 21) shares of the joints in each ball's centre, and (k,) radii; the first 21 are the joints themselves."""
    radius = np.full(21, _MIDDLE)
    radius[[0, 1, 2, 3, 4]] = _WRIST, _KNUCKLE, (_KNUCKLE + _THUMB) / 2, _THUMB, _END
    for root in _FINGERS:
        radius[[root, root + 2, root + 3]] = _KNUCKLE, _END, _END
    between = [(0, root, share) for root in _FINGERS for share in (1 / 3, 2 / 3)]
    between += [(1, 5, 1 / 3), (1, 5, 2 / 3), (5, 9, 1 / 2), (9, 13, 1 / 2), (13, 17, 1 / 2)]
    between += [(k, k + 1, 1 / 2) for root in (1, *_FINGERS) for k in range(root, root + 3)]
    share = np.zeros((len(between), 21))
    for ball, (a, b, to_b) in zip(share, between, strict=True):
        ball[a], ball[b] = 1 - to_b, to_b
    return np.concatenate([np.eye(21), share]), np.concatenate([radius, share @ radius])


_SHARE, RADIUS_M = _balls()


def depth_m(joints: Array, eye: Array, rays: Array) -> Array:
    """(..., 21) how far behind the first skin on its ray each joint lies.

    Args:
        joints: (..., 21, 3) m.
        eye: (..., 3) where the rays begin.
        rays: (..., 21, 3) unit, towards the joints or a little beside.
    """
    off = _SHARE @ joints - eye[..., None, :]
    along = np.einsum("...ja,...ka->...jk", rays, off)
    beside_2 = np.sum(off**2, axis=-1)[..., None, :] - along**2
    # A joint's own ball counts even where the ray passes beside it.
    chord = np.sqrt(np.maximum(RADIUS_M**2 - beside_2, 0.0))
    met = beside_2 < RADIUS_M**2
    met[..., np.arange(21), np.arange(21)] = True
    first = np.where(met, along - chord, np.inf).min(axis=-1)
    return along[..., np.arange(21), np.arange(21)] - first
