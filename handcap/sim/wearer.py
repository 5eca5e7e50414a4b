"""Bare hands of the person: where the wrist goes and how the fingers bend so that the tool frame is in its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap import geometry
from handcap.geometry import Array
from handcap.sim import arm
from handcap.sim.hand import Hand, HandShape, grips
from handcap.sim.motion import Curve, PoseCurve
from handcap.sim.render import Skin
from handcap.types import Side

_WEARER = 7  # stream of random numbers that makes the person
_TONES = 6
_HELD_M = 0.05  # opening at which the grip frame is taken


@dataclass(frozen=True, eq=False, slots=True)
class BareHand:
    """One hand over time.

    Attributes:
        hand: its shape.
        wrist: motion of the wrist frame.
        angles: joint angles over time.
        T_wrist_tool: (4, 4) the tool frame.
    """

    hand: Hand
    wrist: PoseCurve
    angles: Curve
    T_wrist_tool: Array

    @classmethod
    def along(
        cls,
        side: Side,
        start_s: float,
        step_s: float,
        T_room_tool: Array,
        opening_m: Array,
        T_room_head: Array,
        seed: int,
    ) -> BareHand:
        """Follow tool poses (m, 4, 4) and openings (m,), `step_s` apart, below a head (m, 4, 4).

        The person's hand is drawn from the seed.
        """
        rng = np.random.default_rng([seed, _WEARER])
        length_m = float(np.clip(rng.normal(0.186, 0.012), 0.155, 0.215))
        shape = HandShape(side=side, length_m=length_m, tone=int(rng.integers(_TONES)))
        T_wrist_grip = grips.T_wrist_grip(grips.pinch(_HELD_M, shape), shape)
        # The tool's x looks right; a hand's grip x looks from thumb to fingers, which is left for the left hand.
        half_turn = np.diag([-1.0, -1.0, 1.0]) if side == "left" else np.eye(3)
        T_wrist_tool = T_wrist_grip @ geometry.se3(half_turn, np.zeros(3))
        T_room_wrist = T_room_tool @ geometry.inverse(T_wrist_tool)
        wrist = PoseCurve.through_controls(start_s, step_s, T_room_wrist)
        widths_m, which = np.unique(np.round(opening_m, 4), return_inverse=True)
        angles = np.array([grips.pinch(float(width_m), shape) for width_m in widths_m])[which]
        left, right = (arm.shoulders_room(T_room_head, step_s, each) for each in ("left", "right"))
        shoulder, other = (left, right) if side == "left" else (right, left)
        outwards = (shoulder - other) / np.linalg.norm(shoulder - other, axis=-1, keepdims=True)
        elbow = arm.elbows_room(shoulder, T_room_wrist[:, :3, 3], outwards)
        angles[:, :2] = arm.wrist_angles(T_room_wrist, elbow, side)
        angles = grips.within_limits(angles)
        return cls(Hand(shape), wrist, Curve.through_controls(start_s, step_s, angles), T_wrist_tool)

    def T_room_tool(self, t_s: Array) -> Array:
        """(n,) s to (n, 4, 4)."""
        return self.wrist.pose(t_s) @ self.T_wrist_tool

    def joints_room(self, t_s: Array) -> Array:
        """(n,) s to the 21 joints (n, 21, 3), m."""
        joints = self.hand.joints_wrist(self.angles.at(t_s))
        return geometry.transform(self.wrist.pose(t_s)[:, None], joints)

    def skin(self, t_s: float) -> Skin:
        """The hand's surface at a time; during a picture it moves with the wrist and does not bend."""
        hand, angles = self.hand, self.angles.at(np.array([t_s]))[0]
        vertices, normals, occlusion = hand.skin(angles)
        return Skin(self.wrist.pose, vertices, normals, hand.triangles, hand.albedo, occlusion)
