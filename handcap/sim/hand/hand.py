"""A hand of one person: bones, skin and colours, ready to be posed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.geometry import Array
from handcap.sim.hand import colour, kernel, skeleton, skinning, surface
from handcap.sim.hand.skeleton import FINGERS, Skeleton
from handcap.sim.hand.surface import REST_ANGLES, Flesh

_MIRROR = np.array([1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True)
class HandShape:
    """Whose hand it is.

    Attributes:
        side: the wearer's.
        length_m: wrist crease to the tip of the middle finger; 0.15 to 0.21 for children of ten to tall adults.
        tone: index into `colour.TONES`, 0 the lightest.
        girth: thickness of fingers, palm and arm; 1 for the average adult.
        sleeve_m: bare arm behind the wrist; from 0.17 on there is no sleeve to be seen.
        seed: of blotches and the sleeve's colour.
    """

    side: Literal["left", "right"] = "right"
    length_m: float = 0.19
    tone: int = 2
    girth: float = 1.0
    sleeve_m: float = 0.07
    seed: int = 0

    def __post_init__(self) -> None:
        assert self.side in ("left", "right"), self.side
        assert 0.12 <= self.length_m <= 0.24, self.length_m
        assert 0 <= self.tone < len(colour.TONES), self.tone
        assert 0.8 <= self.girth <= 1.25, self.girth
        assert self.sleeve_m >= 0.03, self.sleeve_m


class Hand:
    """Poses one hand; wrist frame, m, as docs/design.md defines it.

    Angles are (..., 23) rad in the order of `skeleton.ANGLES`; they mean the same for both sides.

    Attributes:
        shape: whose hand it is.
        rest_angles: (n,) in which the skin was made.
        limits: (n, 2) rad.
        triangles: (t, 3) uint32, anticlockwise seen from outside.
        albedo: (v, 3) float32 RGB, 0..255.
        occlusion: (v,) float32 share of surrounding light that reaches the skin at rest.
        is_hand: (v,) bool, False on arm and sleeve.
    """

    def __init__(self, shape: HandShape) -> None:
        self.shape = shape
        self.rest_angles = REST_ANGLES.copy()
        self.limits = skeleton.LIMITS_RAD.copy()
        self._skeleton = Skeleton.of_length(shape.length_m)
        flesh = Flesh(shape.girth, shape.sleeve_m / shape.length_m)
        rest = surface.build(self._skeleton, flesh)
        joints, self._T_wrist_rest = self._skeleton.pose(REST_ANGLES)
        self._vertices = rest.vertices
        self._share = skinning.weights(rest.vertices, joints, self._T_wrist_rest, shape.length_m)
        self._triangles = rest.triangles
        flipped = rest.triangles if shape.side == "right" else rest.triangles[:, ::-1]
        self.triangles: NDArray[np.uint32] = np.ascontiguousarray(flipped, dtype=np.uint32)
        self.occlusion: NDArray[np.float32] = rest.occlusion.astype(np.float32)
        rng = np.random.default_rng([shape.seed, 0x5C1])
        painted = colour.albedo(
            rest.vertices,
            rest.normals,
            self._T_wrist_rest,
            joints,
            self._share,
            shape.length_m,
            shape.tone,
            flesh.sleeve_from,
            rng,
        )
        self.albedo: NDArray[np.float32] = painted.astype(np.float32)
        self.is_hand: NDArray[np.bool_] = rest.vertices[:, 0] > 0
        self._finger = _finger_of(self._share)
        self._unshaded_rest = self._unshaded(rest.vertices, rest.normals, joints)
        self._mirror = _MIRROR if shape.side == "left" else np.ones(3)

    def joints_wrist(self, angles: ArrayLike) -> Array:
        """(..., 21, 3) in MediaPipe's order."""
        return self._skeleton.pose(angles)[0] * self._mirror

    def skin(self, angles: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """The skin in one posture, float32.

        Returns:
            Vertices (v, 3), unit normals (v, 3), and the share (v,) of surrounding light that reaches the skin: fingers
            shade each other.
        """
        joints, T_wrist_bone = self._skeleton.pose(angles)
        motions = skinning.bone_motions(T_wrist_bone, self._T_wrist_rest)
        vertices = kernel.bend(self._vertices, self._share, motions)
        normals = kernel.vertex_normals(vertices, self._triangles)
        left = self._unshaded(vertices, normals, joints)
        occlusion = self.occlusion * np.minimum(left / np.maximum(self._unshaded_rest, 0.2), 1).astype(np.float32)
        mirror = self._mirror.astype(np.float32)
        return vertices * mirror, normals * mirror, occlusion

    def _unshaded(
        self, vertices: Array | NDArray[np.float32], normals: Array | NDArray[np.float32], joints: Array
    ) -> NDArray[np.float32]:
        """(v,) share of light that the fingers leave to each other."""
        balls, radii, finger = surface.stand_ins(joints, self.shape.length_m, self.shape.girth)
        return kernel.shadowed(vertices, normals, self._finger, balls, radii, finger)


def _finger_of(share: Array) -> NDArray[np.int64]:
    """(v,) which finger skin belongs to; the palm is number 5."""
    per_finger = share[:, 2:].reshape(len(share), len(FINGERS), 3).sum(axis=-1)
    return np.where(per_finger.max(axis=1) > 0.5, per_finger.argmax(axis=1), len(FINGERS))
