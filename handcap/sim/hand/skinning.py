"""How skin follows bones: dual quaternions, which keep a bent finger round.

Kavan, Collins, Žára, O'Sullivan, Geometric skinning with approximate dual quaternion blending, ACM TOG 27(4), 2008.
"""

from __future__ import annotations

import numpy as np

from handcap import geometry
from handcap.geometry import Array
from handcap.sim.hand.skeleton import BONE_PARENT, BONES, FINGERS, FOREARM, PALM, bone

# Half the stretch of skin that bends, shares of the hand's length: at the first, second and third joint.
_BEND = (0.055, 0.038, 0.028)
_THUMB_BEND = (0.10, 0.045, 0.035)
_WRIST_BEND = 0.09
_ELSEWHERE = 0.010  # how sharply skin decides between two fingers
_BALL = 0.035  # the ball of the thumb goes half with the thumb


def weights(vertices: Array, joints: Array, T_wrist_bone: Array, length_m: float) -> Array:
    """Share (v, 17) of each bone in moving each vertex; rows sum to 1.

    Args:
        vertices: (v, 3) at rest.
        joints, T_wrist_bone: of the posture at rest, see `Skeleton.pose`.
        length_m: of the hand.
    """
    palm_to = _segment_distance(vertices, np.zeros((4, 3)), joints[[5, 9, 13, 17]]).min(axis=1)
    chains = [joints[1 + 4 * f : 5 + 4 * f] for f in range(len(FINGERS))]
    to_finger = np.stack([_segment_distance(vertices, c[:-1], c[1:]).min(axis=1) for c in chains], axis=1)
    fingers_only = np.exp(-(to_finger[:, 1:] - to_finger[:, 1:].min(axis=1, keepdims=True)) / (_ELSEWHERE * length_m))
    share = np.empty((len(vertices), len(FINGERS)))
    share[:, 1:] = fingers_only / fingers_only.sum(axis=1, keepdims=True)
    to_palm = np.minimum(palm_to, to_finger[:, 1:].min(axis=1))
    share[:, 0] = 1 / (1 + np.exp((to_finger[:, 0] - to_palm + 0.02 * length_m) / (_BALL * length_m / 2)))
    share[:, 1:] *= 1 - share[:, :1]

    out = np.zeros((len(vertices), BONES))
    for f, chain in enumerate(chains):
        bends = _THUMB_BEND if f == 0 else _BEND
        beyond = np.ones(len(vertices))
        along = [T_wrist_bone[bone(f, k), :3, 0] for k in range(3)]
        before = [along[0] if f == 0 else np.array([1.0, 0.0, 0.0]), *along[:2]]
        for k in range(3):
            across = before[k] + along[k]
            across /= np.linalg.norm(across)
            step = _smooth((vertices - chain[k]) @ across / (bends[k] * length_m)) * beyond
            if k:
                out[:, bone(f, k - 1)] -= share[:, f] * step
            out[:, bone(f, k)] += share[:, f] * step
            beyond = step
    behind = _smooth(-(vertices[:, 0] + 0.02 * length_m) / (_WRIST_BEND * length_m))
    out *= 1 - behind[:, None]
    out[:, FOREARM] = behind
    out[:, PALM] = 1 - out.sum(axis=1)
    return out


def bone_motions(T_wrist_bone: Array, T_wrist_rest: Array) -> Array:
    """From rest to a posture, as dual quaternions (17, 8) with signs that agree between neighbours."""
    T = T_wrist_bone @ geometry.inverse(T_wrist_rest)
    real = geometry.quat_wxyz_from_matrix(T[:, :3, :3])
    for k, parent in enumerate(BONE_PARENT):
        if real[k] @ real[parent] < 0:
            real[k] = -real[k]
    w, v, p = real[:, :1], real[:, 1:], T[:, :3, 3]
    dual = 0.5 * np.concatenate([-np.sum(p * v, axis=1, keepdims=True), w * p + np.cross(p, v)], axis=1)
    return np.concatenate([real, dual], axis=1)


def _smooth(x: Array) -> Array:
    """0 below -1, 1 above 1."""
    t = np.clip((x + 1) / 2, 0, 1)
    return t * t * (3 - 2 * t)


def _segment_distance(points: Array, starts: Array, ends: Array) -> Array:
    """(n, m) from points to segments."""
    axis = ends - starts
    local = points[:, None] - starts
    along = np.clip(np.einsum("nmi,mi->nm", local, axis) / np.sum(axis * axis, axis=-1), 0, 1)
    return np.linalg.norm(local - along[..., None] * axis, axis=-1)
