"""What a person does: a script of minimum-jerk moves of the head and of both hands, and of what they carry.

A script is written step by step (`Play.pick`, `Play.pour`, ...); each step appends key poses with their times. The key
poses are joined by minimum-jerk moves (Flash and Hogan 1985), then made into curves smooth enough for an IMU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from handcap import geometry
from handcap.geometry import Array
from handcap.sim.keys import Level, Track
from handcap.sim.person import CAMERA_PITCH_RAD, head_pose
from handcap.sim.scene import Prop, Room
from handcap.types import SIDES, Side

_REACH_M_S = 0.45  # mean speed of an unhurried reach
_TURN_RAD_S = 1.4
_HEAD_RAD_S = 2.0  # mean speed of a head that looks elsewhere; the peak is nearly twice that
_EYES_FIRST_S = 0.2  # a hand arrives no earlier than so long before the head has turned to it
_WALK_M_S = 0.85
_STEP_HZ = 1.8  # steps a second
_ASIDE_M = 0.22
_CLEAR_M = 0.11  # things are carried this far above others
_OPEN_M = 0.075
_TABLE_GAP_M = 0.002  # a set-down thing stands this far above the surface rather than in it


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, at a time of the session clock."""

    t_s: float
    kind: str
    side: str
    thing: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Hold:
    """A thing goes with a hand from one moment to another; `None` ends with the script."""

    thing: str
    side: Side
    start_s: float
    end_s: float | None


@dataclass(eq=False)
class Play:
    """A script being written, and what was written. Poses of hands are those of the tool frame (tcp, room frame).

    Attributes:
        room: where.
        rng: decides what a step leaves open.
        T_body_cam: (4, 4) the first camera on the head's IMU frame, and on the tool frame of every gripper.
        t_s: up to where everything is written.
        head, tool, opening_m: the tracks.
        events, holds: what happened.
    """

    room: Room
    rng: np.random.Generator
    T_body_cam: Mapping[str, Array]
    t_s: float = 0.0
    head: Track = field(default_factory=Track)
    tool: dict[Side, Track] = field(default_factory=lambda: {side: Track() for side in SIDES})
    opening_m: dict[Side, Level] = field(default_factory=lambda: {side: Level() for side in SIDES})
    events: list[Event] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    _held: dict[Side, str] = field(default_factory=dict)
    _where: dict[str, Array] = field(default_factory=dict)  # T_room_prop of what stands
    _gait: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._where = {prop.body: prop.T_room_prop for prop in self.room.props}
        work = self.room.T_room_work
        standing = self.room.standing
        self._home = self.rng.uniform(standing.head_low_room, standing.head_high_room)
        self._forward_rad = float(np.arctan2(work[1, 0], work[0, 0]))
        self._look_at = work[:3, 3].copy()
        self._begin()

    def _begin(self) -> None:
        self.head.add(self.t_s, self._head(self._home, self._look_at))
        for side in SIDES:
            self.tool[side].add(self.t_s, self._rest(side))
            self.opening_m[side].add(self.t_s, 0.03)

    # How the body is held

    def _head(self, position: Array, look_at: Array) -> Array:
        x, y, z = look_at - position
        yaw, down = np.arctan2(y, x), np.arctan2(-z, np.hypot(x, y))
        # Eyes do part of the work, so the head turns less than the gaze.
        turn = 0.85 * _wrapped(yaw - self._forward_rad) + self._forward_rad
        pitch = np.clip(down - CAMERA_PITCH_RAD, -0.5, 0.6)
        return head_pose(np.array([*position, turn, pitch, self.rng.normal(0, 0.05)]))

    def _frame(self) -> Array:
        """The person's own frame on the floor: x forward, y left, z up."""
        T = self.head.T_room[-1]
        forward = geometry.yaw_rotation(float(np.arctan2(T[1, 0], T[0, 0])))
        return geometry.se3(forward, [T[0, 3], T[1, 3], T[2, 3]])

    def _rest(self, side: Side) -> Array:
        """Hand before the belly, below the head."""
        left = 1.0 if side == "left" else -1.0
        place = np.array([0.36, 0.19 * left, -0.52]) + self.rng.normal(0, 0.015, 3)
        T_room_person = self._frame()
        approach = T_room_person[:3, :3] @ np.array([0.9, -0.25 * left, -0.35])
        return geometry.se3(_tool_axes(approach), geometry.transform(T_room_person, place))

    def _grasp(self, T_room_prop: Array, height_m: float) -> Array:
        """How to hold a thing: jaws across its x axis, from the person's side and from above."""
        across = T_room_prop[:3, 0]
        right = np.array([np.sin(self._forward_rad), -np.cos(self._forward_rad), 0.0])
        x = across if across @ right > 0 else -across
        level = np.cross([0.0, 0.0, 1.0], x)
        down = np.deg2rad(self.rng.uniform(30, 48))
        z = np.cos(down) * level - np.sin(down) * np.array([0.0, 0.0, 1.0])
        point = geometry.transform(T_room_prop, [0.0, 0.0, height_m])
        return geometry.se3(np.column_stack([x, np.cross(z, x), z]), point)

    # How a move is written

    def _tool_to(self, side: Side, T_room_tool: Array, duration_s: float | None = None) -> float:
        """Move one hand; returns how long it takes."""
        here = self.tool[side].T_room[-1]
        if duration_s is None:
            distance = float(np.linalg.norm(T_room_tool[:3, 3] - here[:3, 3]))
            turn = float(np.linalg.norm(geometry.so3_log(here[:3, :3].T @ T_room_tool[:3, :3])))
            duration_s = max(distance / _REACH_M_S, turn / _TURN_RAD_S, 0.35) * self.rng.uniform(0.85, 1.15)
        self._gaze(T_room_tool[:3, 3], duration_s)
        early_s = self.head.t_s[-1] - (self.t_s + duration_s)
        if early_s > _EYES_FIRST_S:
            self.t_s += early_s - _EYES_FIRST_S
        self._hold_until(self.t_s)
        self.t_s += duration_s
        self.tool[side].add(self.t_s, T_room_tool)
        return duration_s

    def _gaze(self, point: Array, duration_s: float) -> None:
        """Look where the hand goes, a little ahead of it, leaning towards it."""
        lean = 0.12 * (point - self._home) * np.array([1.0, 1.0, 0.0]) + self.rng.normal(0, 0.012, 3)
        position = np.clip(
            self._home + lean, self.room.standing.head_low_room - 0.05, self.room.standing.head_high_room + 0.05
        )
        start = max(self.head.t_s[-1], self.t_s)
        if start > self.head.t_s[-1]:
            self.head.add(start, self.head.T_room[-1])
        looking = self._head(position, point)
        turn_rad = np.linalg.norm(geometry.so3_log(self.head.T_room[-1][:3, :3].T @ looking[:3, :3]))
        self.head.add(start + max(0.8 * duration_s, 0.25, float(turn_rad) / _HEAD_RAD_S), looking)

    def _hold_until(self, t_s: float) -> None:
        """Key poses of everything that has stood still until now, so that the next move begins now."""
        tracks: list[Track] = [*self.tool.values()]
        for track in tracks:
            if t_s > track.t_s[-1]:
                track.add(t_s, track.T_room[-1])
        for level in self.opening_m.values():
            if t_s > level.t_s[-1]:
                level.add(t_s, level.value[-1])

    def _open_to(self, side: Side, opening_m: float, duration_s: float = 0.4) -> None:
        self._hold_until(self.t_s)
        self.t_s += duration_s
        self.opening_m[side].add(self.t_s, opening_m)

    def wait(self, duration_s: float) -> None:
        self.t_s += duration_s
        self._hold_until(self.t_s)

    def note(self, kind: str, side: str, thing: str) -> None:
        """Something has happened now."""
        self._event(kind, side, thing)

    def track(self, body: str) -> Track:
        """Of the head, or of the tool on one side."""
        return self.head if body == "head" else self.tool["left" if body == "left" else "right"]

    def _event(self, kind: str, side: str, thing: str = "") -> None:
        self.events.append(Event(self.t_s, kind, side, thing))

    # What a person does

    def side_for(self, prop: Prop) -> Side:
        """The hand on whose side the thing stands."""
        y = (geometry.inverse(self.room.T_room_work) @ self._where[prop.body])[1, 3]
        return "left" if y > 0 else "right"

    def pick(self, side: Side, prop: Prop) -> None:
        """Reach, close the jaws around a thing, lift it."""
        T_room_prop = self._where[prop.body]
        grasp = self._grasp(T_room_prop, min(0.6 * prop.height_m, prop.height_m - 0.01))
        before = grasp.copy()
        before[:3, 3] -= 0.09 * grasp[:3, 2]
        self._event("reach", side, prop.body)
        self._open_to(side, min(prop.grasp_width_m + 0.03, 0.1), 0.3)
        self._tool_to(side, before)
        self._tool_to(side, grasp, 0.5)
        self.wait(0.15)
        self._open_to(side, prop.grasp_width_m)
        self._take(side, prop.body)
        self.wait(0.25)
        self._tool_to(side, _raised(grasp, _CLEAR_M))

    def gauge(self, side: Side, block: Prop, hold_s: float) -> None:
        """Close the jaws on a block without lifting it, and open them again."""
        grasp = self._grasp(self._where[block.body], 0.5 * block.height_m)
        before = grasp.copy()
        before[:3, 3] -= 0.09 * grasp[:3, 2]
        self._open_to(side, min(block.grasp_width_m + 0.02, 0.1), 0.3)
        self._tool_to(side, before)
        self._tool_to(side, grasp, 0.4)
        self._open_to(side, block.grasp_width_m)
        self.wait(0.3)
        self._event("gauge", side, block.body)
        self.wait(hold_s)
        self._open_to(side, min(block.grasp_width_m + 0.02, 0.1), 0.3)
        self._tool_to(side, before, 0.4)

    def shut(self, side: Side) -> None:
        """Close the jaws on nothing; the hand that held still does so on."""
        self._hold_until(self.t_s)
        self._open_to(side, 0.0, 0.6)
        self._event("shut", side)
        self.wait(0.1)

    def _take(self, side: Side, thing: str) -> None:
        self._event("grasp", side, thing)
        self.holds.append(Hold(thing, side, self.t_s, None))
        self._held[side] = thing

    def _let_go(self, side: Side, opening_m: float) -> None:
        thing = self._held.pop(side)
        k = max(i for i, hold in enumerate(self.holds) if hold.thing == thing and hold.side == side)
        self.holds[k] = Hold(thing, side, self.holds[k].start_s, self.t_s)
        self._event("release", side, thing)
        self._open_to(side, opening_m)

    def place(self, side: Side, prop: Prop, xy_work: Array) -> None:
        """Set a held thing down on the work surface at (x, y) of its frame."""
        grasp_in_prop = geometry.inverse(self._where[prop.body]) @ self._held_start(side)
        goal = self._where[prop.body].copy()
        surface = geometry.transform(self.room.T_room_work, [*xy_work, 0.0])
        goal[:3, 3] = surface
        T = goal @ grasp_in_prop
        self._tool_to(side, _raised(T, _CLEAR_M))
        self._tool_to(side, _raised(T, _TABLE_GAP_M))
        self.wait(0.25)
        self._where[prop.body] = _raised(goal, _TABLE_GAP_M)
        self._let_go(side, min(prop.grasp_width_m + 0.03, 0.1))
        back = T.copy()
        back[:3, 3] -= 0.1 * T[:3, 2]
        self._tool_to(side, back, 0.5)

    def _held_start(self, side: Side) -> Array:
        """The tool's pose when it took what it holds."""
        start_s = max(hold.start_s for hold in self.holds if hold.side == side)
        return self.tool[side].at(np.array([start_s]))[0]

    def pour(self, side: Side, prop: Prop, over: Prop) -> None:
        """Tilt a held thing over another and put it upright again."""
        target = self._where[over.body][:3, 3] + np.array([0.0, 0.0, over.height_m + 0.12])
        held = self._held_start(side)
        # The thing tilts about the jaws' closing axis, towards the other: its mouth comes above it.
        sideways = np.array([np.sin(self._forward_rad), -np.cos(self._forward_rad), 0.0])
        away = -sideways if side == "right" else sideways
        upright = geometry.se3(held[:3, :3], target - 0.7 * prop.height_m * away)
        axis = np.cross([0.0, 0.0, 1.0], away)
        tilted = geometry.se3(geometry.so3_exp(1.75 * axis) @ held[:3, :3], upright[:3, 3])
        self._tool_to(side, upright)
        self._event("pour", side, over.body)
        self._tool_to(side, tilted, 1.2)
        self.wait(0.7)
        self._tool_to(side, upright, 1.0)

    def wipe(self, side: Side, strokes: int) -> None:
        """Rub the held thing over the surface to and fro."""
        held = self._held_start(side)
        half = self.room.work_size / 2 - 0.06
        self._event("wipe", side, self._held[side])
        T_work_tool = geometry.inverse(self.room.T_room_work) @ held
        for k in range(strokes):
            to = T_work_tool.copy()
            to[0, 3] = self.rng.uniform(-half[0], half[0])
            to[1, 3] = half[1] * (0.8 if k % 2 else -0.8) * self.rng.uniform(0.4, 1.0)
            to[2, 3] += _TABLE_GAP_M
            self._tool_to(side, self.room.T_room_work @ to, self.rng.uniform(0.45, 0.7))

    def open_drawer(self, side: Side) -> None:
        """Pull the drawer open and push it shut."""
        slide = self.room.slide
        assert slide is not None
        handle = geometry.transform(slide.T_room_body, slide.handle_body)
        right = np.cross(-slide.pull_room, [0.0, 0.0, 1.0])
        # The bar of a handle lies level, so the jaws close up and down.
        z = -slide.pull_room
        x = np.array([0.0, 0.0, -1.0])
        assert abs(x @ z) < 1e-6 and np.linalg.norm(right) > 0.9
        grasp = geometry.se3(np.column_stack([x, np.cross(z, x), z]), handle)
        before = grasp.copy()
        before[:3, 3] += 0.1 * slide.pull_room
        opened = grasp.copy()
        opened[:3, 3] += slide.travel_m * slide.pull_room
        after = opened.copy()
        after[:3, 3] += 0.1 * slide.pull_room
        self._event("reach", side, slide.body)
        self._open_to(side, 0.05, 0.3)
        self._tool_to(side, before)
        self._tool_to(side, grasp, 0.5)
        self._open_to(side, 0.012)
        self._take(side, slide.body)
        self.wait(0.2)
        self._tool_to(side, opened, 1.1)
        self.wait(0.5)
        self._tool_to(side, grasp, 1.1)
        self.wait(0.2)
        self._let_go(side, 0.05)
        self._tool_to(side, before, 0.5)
        self._tool_to(side, self._rest(side))

    def hand_over(self, side: Side, prop: Prop) -> None:
        """Give a held thing to the other hand."""
        other: Side = "left" if side == "right" else "right"
        held = self._held_start(side)
        middle = geometry.transform(self._frame(), [0.42, 0.0, -0.45])
        give = geometry.se3(held[:3, :3], middle)
        self._tool_to(side, give)
        # The other hand takes it lower down, from its own side.
        approach = geometry.so3_exp([0.0, 0.0, -0.5 if other == "left" else 0.5]) @ held[:3, 2]
        take = geometry.se3(_tool_axes(approach), middle - np.array([0.0, 0.0, 0.3 * prop.height_m]))
        before = take.copy()
        before[:3, 3] -= 0.09 * take[:3, 2]
        self._open_to(other, min(prop.grasp_width_m + 0.03, 0.1), 0.3)
        self._tool_to(other, before)
        self._tool_to(other, take, 0.5)
        self._open_to(other, prop.grasp_width_m)
        self.wait(0.15)
        self._let_go(side, min(prop.grasp_width_m + 0.03, 0.1))
        self._take(other, prop.body)
        self._event("hand_over", other, prop.body)
        back = give.copy()
        back[:3, 3] -= 0.12 * give[:3, 2]
        self._tool_to(side, back, 0.6)
        self.wait(0.2)

    def begin_aside(self) -> None:
        """A slow step to either side before the work, as collectors are told to begin a take."""
        standing, aside = self.room.standing, geometry.yaw_rotation(self._forward_rad)[:, 1]
        for step_m, duration_s in ((_ASIDE_M, 1.0), (-_ASIDE_M, 1.4), (0.0, 1.0)):
            there = np.clip(self._home + step_m * aside, standing.head_low_room - 0.05, standing.head_high_room + 0.05)
            self._carry_to(there, self._look_at, duration_s)

    def rest(self) -> None:
        """Both hands back before the belly."""
        for side in SIDES:
            self._tool_to(side, self._rest(side))

    def look_about(self) -> None:
        """A look at something in the room."""
        standing = self.room.standing
        low, high = standing.gaze_boxes_room[self.rng.choice(len(standing.gaze_weights), p=standing.gaze_weights)]
        self._gaze(self.rng.uniform(low, high), self.rng.uniform(0.7, 1.3))
        self.wait(max(self.head.t_s[-1] - self.t_s, 0.0) + self.rng.uniform(0.2, 0.8))

    def walk(self, until_s: float) -> None:
        """Along the free path and back, hands before the belly, looking ahead and around."""
        self.rest()
        path = self.room.path_room
        height = float(self._home[2])
        stops = [*range(1, len(path)), *range(len(path) - 2, -1, -1)]
        self._event("walk", "head")
        started_s = self.t_s
        for k in stops:
            here, there = self.head.T_room[-1][:2, 3], path[k]
            if k == 0:
                there = self._home[:2]
            if self.t_s > until_s:
                break
            distance = float(np.linalg.norm(there - here))
            ahead = there - here if distance > 1e-6 else np.array([1.0, 0.0])
            self._forward_rad = float(np.arctan2(ahead[1], ahead[0]))
            turned = np.array([*here, height])
            look = turned + np.array([*ahead / max(distance, 1e-6), -0.45])
            self._carry_to(turned, look, 0.9)
            # A walk has no minimum-jerk pauses: it keeps its pace between the ends.
            self._carry_to(np.array([*there, height]), look + np.array([*ahead, 0.0]), max(distance / _WALK_M_S, 0.5))
        self._gait.append((started_s, self.t_s))
        work = self.room.T_room_work
        self._forward_rad = float(np.arctan2(work[1, 0], work[0, 0]))

    def _carry_to(self, position: Array, look_at: Array, duration_s: float) -> None:
        start = max(self.t_s, self.head.t_s[-1])
        self._hold_until(start)
        if start > self.head.t_s[-1]:
            self.head.add(start, self.head.T_room[-1])
        self.t_s = start + duration_s
        self.head.add(self.t_s, self._head(position, look_at))
        for side in SIDES:
            self.tool[side].add(self.t_s, self._rest(side))

    def gait(self, t_s: Array) -> Array:
        """Bounce of the head (n, 3), m, room axes, while walking: up at every step, to the side at every second."""
        out = np.zeros((len(t_s), 3))
        for start, end in self._gait:
            fade = np.clip(np.minimum(t_s - start, end - t_s) / 0.8, 0, 1)
            phase = 2 * np.pi * _STEP_HZ * (t_s - start)
            out[:, 2] += 0.018 * fade * np.sin(phase)
            out[:, 1] += 0.014 * fade * np.sin(phase / 2)
        return out

    def shake(self, who: Side | Literal["head"], duration_s: float) -> None:
        """Fast to and fro, as when something is rinsed, or a head shaken."""
        self._event("shake", who)
        track = self.head if who == "head" else self.tool[who]
        start = max(self.t_s, track.t_s[-1])
        self._hold_until(start)
        if start > track.t_s[-1]:
            track.add(start, track.T_room[-1])
        base, t_s = track.T_room[-1], start
        for k in range(int(duration_s / 0.14)):
            t_s += 0.14
            angle = 0.22 if k % 2 else -0.22
            swing = geometry.se3(geometry.so3_exp([0.0, 0.3 * angle, angle]), [0.0, 0.025 * np.sign(angle), 0.0])
            track.add(t_s, base @ swing)
        track.add(t_s + 0.3, base)
        self.t_s = t_s + 0.3

    def where(self, prop: Prop) -> Array:
        """`T_room_prop` (4, 4) of a thing that stands."""
        return self._where[prop.body]


def _wrapped(angle_rad: float) -> float:
    return float((angle_rad + np.pi) % (2 * np.pi) - np.pi)


def _raised(T: Array, by_m: float) -> Array:
    out = T.copy()
    out[2, 3] += by_m
    return out


def _tool_axes(approach: Array) -> Array:
    """Rotation (3, 3) of a tool that points along `approach` with its jaws level: x right, y down, z forward."""
    z = approach / np.linalg.norm(approach)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])
