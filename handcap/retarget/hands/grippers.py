"""A gripper for a hand, and a hand for a gripper.

A person's thumb and the finger opposite it are jaws: how far apart their pads are is the opening, and where they would
meet is the tool frame. A robot hand that follows a gripper pinches: thumb against index and middle finger, as wide
apart as the jaws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from handcap.errors import RetargetError
from handcap.geometry import Array, inverse, se3
from handcap.retarget.hands.follow import postures
from handcap.retarget.hands.person import Person
from handcap.retarget.hands.robot_hand import RobotHand
from handcap.retarget.hands.solver import SolverParams, solve
from handcap.retarget.hands.wanted import BASE, Goals

_THUMB, _OPPOSITE = 4, (8, 12)  # tips of thumb, index and middle finger
_NEARER_M = 0.01  # of index and middle finger the nearer one counts, both where they differ by no more than about this
_REACH_M, _LEAST_M = 0.1, 0.02  # levers of a turn about the opening, and across it where pads are close
_PALM = 0.5  # from the wrist to the middle knuckle: the middle of the palm


@dataclass(frozen=True, eq=False, slots=True)
class HandAsGripper:
    """Jaws that a person's hand stands for.

    Attributes:
        T_world_tcp: (n, 4, 4) tool frame: between the pads, x from the thumb to the finger, z away from the palm; NaN
            where unseen.
        width_m: (n,) between the pads, 0 when they touch; NaN where unseen.
        cov: (n, 6, 6) of the tool frame as in `Trajectory`; NaN where the recording does not tell.
        width_sigma_m: (n,) of the opening; NaN where unknown.
    """

    T_world_tcp: Array
    cov: Array
    width_m: Array
    width_sigma_m: Array


def gripper_from_hand(T_world_wrist: Array, person: Person) -> HandAsGripper:
    """Jaws that a hand stands for, at (n, 4, 4) poses of the wrist that `person` was made with."""
    joints, n = person.joints, len(person.joints)
    seen = person.seen
    T, width = np.full((n, 4, 4), np.nan), np.full(n, np.nan)
    tips = joints[:, list(_OPPOSITE)]
    gap = np.linalg.norm(tips - joints[:, _THUMB, None], axis=-1)
    near = np.exp(-(gap - gap.min(axis=1, keepdims=True)) / _NEARER_M)
    near /= near.sum(axis=1, keepdims=True)
    finger, thumb = np.einsum("nf,nfi->ni", near, tips), joints[:, _THUMB]
    between = finger - thumb
    apart = np.linalg.norm(between, axis=1)
    width[seen] = np.maximum(apart[seen] - person.touch_m, 0.0)
    middle = (finger + thumb) / 2
    tcp = _tool_frame(middle[seen], between[seen], _PALM * joints[seen][:, 9])
    T[seen] = T_world_wrist[seen] @ tcp
    spread = np.hypot(person.sigma_m[:, _THUMB], np.einsum("nf,nf->n", near, person.sigma_m[:, list(_OPPOSITE)]))
    sigma = np.stack([spread / _REACH_M, *[spread / np.maximum(apart, _LEAST_M)] * 2, *[spread / 2] * 3], axis=1)
    cov = sigma[:, :, None] ** 2 * np.eye(6)
    cov[~seen | ~np.isfinite(spread)] = np.nan
    return HandAsGripper(T, cov, width, np.where(seen, spread, np.nan))


def _tool_frame(origin: Array, opening: Array, palm: Array) -> Array:
    """(..., 4, 4) with x along the opening and z away from the palm as far as it can."""
    x = opening / np.maximum(np.linalg.norm(opening, axis=-1, keepdims=True), 1e-9)
    out = origin - palm
    z = out - np.sum(out * x, axis=-1, keepdims=True) * x
    z = z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-9)
    return se3(np.stack([x, np.cross(z, x), z], axis=-1), origin)


@dataclass(frozen=True, eq=False, slots=True)
class PinchGrasp:
    """How a robot hand stands for jaws.

    Attributes:
        hand: which.
        widths_m: (w,) openings, from 0 to the widest that it can.
        u: (w, d) free joints there, rad.
        T_base_tcp: (w, 4, 4) where the tool frame is in the hand's base frame.
    """

    hand: RobotHand
    widths_m: Array
    u: Array
    T_base_tcp: Array

    @property
    def stroke_m(self) -> float:
        return float(self.widths_m[-1])

    def joints(self, width_m: Array) -> Array:
        """(n,) openings, m, NaN where unknown, to (n, j) joints, rad; an opening beyond the stroke is cut to it."""
        known = np.isfinite(width_m)
        u = np.full((len(width_m), self.u.shape[1]), np.nan)
        for i in range(self.u.shape[1]):
            u[known, i] = np.interp(width_m[known], self.widths_m, self.u[:, i])
        return self.hand.kinematics.full(u)


_WIDEST_M, _STEPS = 0.12, 61
_HELD_M = 0.001  # tips are as far apart as the opening says to within this
_TOGETHER, _BESIDE, _STILL = 1 / 0.0005**2, 1 / 0.01**2, 1 / 0.05**2  # between tips, of the middle finger, in place
_TURNS = 6  # the way between the tips may turn as they open


@threadpool_limits.wrap(limits=1)
def pinch_grasp(hand: RobotHand) -> PinchGrasp:
    """How a hand with a thumb opens and closes as jaws do.

    Raises:
        RetargetError: it has no thumb or no finger against it, or their tips cannot meet.
    """
    thumb, facing = hand.thumb, [finger for finger in hand.others if finger.name in ("index", "middle")]
    facing = facing or list(hand.others[:1])
    if thumb is None or not facing:
        raise RetargetError(f"{hand.robot.title} has no thumb and finger to pinch with", where=hand.robot.file)
    k, first = hand.kinematics, facing[0]
    assert hand.robot.palm is not None
    touch_m = hand.robot.palm.touch_m
    at_rest = k.points(hand.rest[None])[0]
    way = _unit(at_rest[None, first.tip] - at_rest[None, thumb.tip])
    meeting = Goals(np.array([first.tip]), np.array([thumb.tip]), touch_m * way[None], np.full((1, 1), _TOGETHER))
    u = postures(hand, meeting, SolverParams(rest_rad=0.05, bend_m=0.1))
    shut = k.points(u)[0]
    centre = (shut[first.tip] + shut[thumb.tip]) / 2
    widths = np.linspace(0.0, _WIDEST_M, _STEPS)
    apart = (widths + touch_m)[:, None]
    heads = np.array([first.tip, first.tip, thumb.tip, *(finger.tip for finger in facing[1:])])
    tails = np.array([thumb.tip, BASE, BASE, *(first.tip for _ in facing[1:])])
    weights = np.array([_TOGETHER, _STILL, _STILL, *(_BESIDE for _ in facing[1:])])
    beside = [np.tile(finger.knuckle - first.knuckle, (_STEPS, 1)) for finger in facing[1:]]
    params = SolverParams(rest_rad=0.5, bend_m=0.1, jerk_rad_s3=10.0, levels=((1, 15),))
    u, way, points = (np.repeat(start, _STEPS, axis=0) for start in (u, way, shut[None]))
    for _ in range(_TURNS):
        half = apart * way / 2
        vectors = np.stack([2 * half, centre + half, centre - half, *beside], axis=1)
        goals = Goals(heads, tails, vectors, np.tile(weights, (_STEPS, 1)))
        u = solve(k, goals, widths / _WIDEST_M * _OPENING_S, u, hand.rest, params)
        points = k.points(u)
        way = _unit(points[:, first.tip] - points[:, thumb.tip])
    gap = np.linalg.norm(points[:, first.tip] - points[:, thumb.tip], axis=1)
    between = k.points((u[1:] + u[:-1]) / 2)
    swung = np.linalg.norm(between[:, first.tip] - between[:, thumb.tip], axis=1) - (apart[1:, 0] + apart[:-1, 0]) / 2
    off = np.flatnonzero((np.abs(gap - apart[:, 0]) > _HELD_M) | (np.abs(np.append(swung, 0.0)) > _HELD_M))
    last = int(off[0]) if len(off) else _STEPS
    if last < 2:
        raise RetargetError(
            f"tips of thumb and {first.name} finger of {hand.robot.title} cannot meet: {1e3 * gap[0]:.0f} mm apart, "
            f"{1e3 * touch_m:.0f} when they touch",
            where=hand.robot.file,
            mend="check its tip frames, touch_m and rest",
        )
    middle = (points[:last, first.tip] + points[:last, thumb.tip]) / 2
    return PinchGrasp(hand, widths[:last], u[:last], _tool_frame(middle, way[:last], hand.T_base_ours[:3, 3]))


_OPENING_S = 4.0  # from shut to the widest; only for how smooth that is


def _unit(v: Array) -> Array:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def T_world_base(grasp: PinchGrasp, T_world_tcp: Array, width_m: Array) -> Array:
    """(n, 4, 4) where the hand's base must be for its pads to be where a gripper's were, NaN where unknown."""
    known = np.isfinite(width_m) & np.isfinite(T_world_tcp).all(axis=(1, 2))
    at = np.searchsorted(grasp.widths_m, np.clip(width_m[known], 0.0, grasp.stroke_m))
    nearest = np.clip(at, 0, len(grasp.widths_m) - 1)
    out = np.full(T_world_tcp.shape, np.nan)
    out[known] = T_world_tcp[known] @ inverse(grasp.T_base_tcp[nearest])
    return out
