"""A person at a table: where the head goes and what it looks at."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from handcap import geometry
from handcap.geometry import Array
from handcap.sim.motion import PoseCurve
from handcap.sim.scene import Standing

CAMERA_PITCH_RAD = float(np.deg2rad(30.0))  # the camera looks at the hands when the head is level
_CONTROL_STEP_S = 0.25  # a quintic B-spline blurs by about 0.7 steps: head turns settle in a third of a second


@dataclass(frozen=True, slots=True)
class HeadParams:
    """How lively the head is.

    Attributes:
        speed_m_s: (slowest, fastest) move of the head; a side step is about 0.6.
        turn_rad_s: (slowest, fastest) turn; people looking about while they work turn at 20-60°/s, at times 120.
        dwell_s: (shortest, longest) look at one thing.
        sway_m: unrest of a standing body.
        sway_rad: unrest of a held head.
        aside: share of its moves that the head makes; at 0 it only turns, and sways.
        rest: no motion at all: a camera on a shelf.
    """

    speed_m_s: tuple[float, float] = (0.25, 0.6)
    turn_rad_s: tuple[float, float] = (0.8, 2.6)
    dwell_s: tuple[float, float] = (0.1, 0.6)
    sway_m: float = 0.006
    sway_rad: float = 0.012
    aside: float = 1.0
    rest: bool = False


@dataclass(eq=False)
class _Script:
    """Corner points of the wanted path: time and (x, y, z, yaw, pitch, roll)."""

    t_s: list[float] = field(default_factory=list)
    wanted: list[Array] = field(default_factory=list)

    def add(self, t_s: float, wanted: Array) -> None:
        self.t_s.append(t_s)
        self.wanted.append(wanted)


def _look(rng: np.random.Generator, place: Standing, side: float | None) -> Array:
    """Where to stand and how to hold the head to look at something; (6,)."""
    position = rng.uniform(place.head_low_room, place.head_high_room)
    if side is not None:
        position[1] = (1 - side) * place.head_low_room[1] + side * place.head_high_room[1]
    low, high = place.gaze_boxes_room[rng.choice(len(place.gaze_boxes_room), p=place.gaze_weights)]
    x, y, z = rng.uniform(low, high) - position
    yaw, down = np.arctan2(y, x), np.arctan2(-z, np.hypot(x, y))
    # Eyes do part of the work, so the head turns less than the gaze.
    return np.array([*position, 0.9 * yaw, np.clip(down - CAMERA_PITCH_RAD, -0.5, 0.6), rng.normal(0, 0.08)])


def _script(rng: np.random.Generator, place: Standing, params: HeadParams, until_s: float) -> _Script:
    script = _Script()
    # The first move is a side step that starts at 0.2 s, so that the first picture is taken on the way.
    t_s, here = 0.2, _look(rng, place, 0.0)
    script.add(-10.0, here)
    script.add(t_s, here)
    first = True
    while t_s < until_s:
        there = _look(rng, place, 1.0 if first else None)
        step_s = np.linalg.norm(there[:3] - here[:3]) / rng.uniform(*params.speed_m_s)
        turn_s = np.max(np.abs(there[3:] - here[3:])) / rng.uniform(*params.turn_rad_s)
        t_s += float(max(step_s, turn_s, 0.3))
        script.add(t_s, there)
        t_s += float(rng.uniform(*params.dwell_s))
        script.add(t_s, there)
        here, first = there, False
    return script


def head_motion(place: Standing, params: HeadParams, duration_s: float, seed: tuple[int, ...]) -> PoseCurve:
    """Motion of the head's IMU (x forward, y left, z up), valid on [0, duration_s].

    Args:
        place: where the scene lets a person stand, and what there is to look at.
        params: liveliness.
        duration_s: s.
        seed: of this motion; a longer motion of the same seed begins with the same path.
    """
    controls_t_s = np.arange(-3.0, duration_s + 4.0, _CONTROL_STEP_S)
    script = _script(np.random.default_rng([*seed, 0]), place, params, controls_t_s[-1] + 1.0)
    if params.rest:
        controls = np.repeat(script.wanted[0][None], len(controls_t_s), axis=0)
    else:
        wanted = np.array(script.wanted)
        if params.aside != 1.0:
            wanted[:, :3] = wanted[0, :3] + params.aside * (wanted[:, :3] - wanted[0, :3])
        controls = np.stack([np.interp(controls_t_s, script.t_s, column) for column in wanted.T], axis=-1)
        sway = np.repeat([params.sway_m, params.sway_rad], 3)
        controls = controls + np.random.default_rng([*seed, 1]).standard_normal(controls.shape) * sway
    start_s = float(controls_t_s[0]) + 2.0 * _CONTROL_STEP_S
    return PoseCurve.through_controls(start_s, _CONTROL_STEP_S, head_pose(controls))


def head_pose(held: Array) -> Array:
    """(..., 6) position [m] and yaw, pitch, roll [rad] to the head's pose (..., 4, 4): x forward, y left, z up.

    Turned by `Rz(yaw) Ry(pitch) Rx(roll)`, so that a positive pitch looks down.
    """
    yaw, pitch, roll = (geometry.so3_exp(held[..., 3 + k, None] * np.eye(3)[2 - k]) for k in range(3))
    return geometry.se3(yaw @ pitch @ roll, held[..., :3])
