"""One virtual world: a furnished room, a person at work in it, and everything that is carried, at any time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from handcap import geometry
from handcap.errors import UsageError
from handcap.geometry import Array
from handcap.sim import gripper, rigs, tasks
from handcap.sim.bench_tasks import BENCH_TASKS
from handcap.sim.follow import followed
from handcap.sim.gripper import T_CAM_TCP
from handcap.sim.light import LightMap, bake
from handcap.sim.motion import Curve, Motion, PoseCurve
from handcap.sim.person import HeadParams, head_motion
from handcap.sim.play import Event, Hold, Play
from handcap.sim.scene import Room, Scene, SceneBuilder
from handcap.sim.scenes import SCENES
from handcap.types import SIDES, Rig, Side, Tag, Trajectory

if TYPE_CHECKING:
    from handcap.sim.render import PoseAt, Skin
    from handcap.sim.wearer import BareHand

_STEP_S = 0.08  # between control points of a hand: a quintic B-spline blurs by 0.7 steps
_HEAD_STEP_S = 0.16
_SWAY_STEP_S = 0.24
_MARGIN_S = 3.0  # control points before the start and after the end
_SCENE, _MOTION = 1, 2
_TAKES_APART = 100  # streams of random numbers
LOOK = "look"  # the one task that needs no hands


@dataclass(frozen=True, eq=False, slots=True)
class World:
    """Everything that can be sensed.

    Attributes:
        scene: room and bodies.
        light: baked on it.
        room: what its furnisher told.
        rig: as it truly is.
        motion: of every device's IMU, by device.
        tools: tool frames over time, by side, of grippers and of bare hands.
        opening_m: of jaws or between finger tips, by side.
        bodies: every moving body of the scene, by name.
        hands: bare hands, by side.
        events: what the person did.
        end_s: everything is known from 0 to here.
    """

    scene: Scene
    light: LightMap
    room: Room
    rig: Rig
    motion: Mapping[str, Motion]
    tools: Mapping[Side, PoseAt]
    opening_m: Mapping[Side, Curve]
    bodies: Mapping[str, PoseAt]
    hands: Mapping[Side, BareHand]
    events: Sequence[Event]
    end_s: float

    def T_room_cam(self, name: str) -> PoseAt:
        """Where a camera is, over time."""
        camera = self.rig.cameras[name]
        motion = self.motion[camera.device]
        return lambda t_s: motion.pose(t_s) @ camera.T_imu_cam

    def skins(self, t_s: float) -> list[Skin]:
        """The bare hands as they are at a time."""
        return [hand.skin(t_s) for hand in self.hands.values()]


def build(
    scene_name: str,
    rig: Rig,
    worn: rigs.Worn,
    task: str,
    head: HeadParams,
    until_s: float,
    seed: int,
    head_path: Trajectory | None = None,
    take: int = 0,
) -> World:
    """Furnish a room, write a person's script, and turn it into smooth motion.

    Args:
        scene_name: which room.
        rig: as it truly is.
        worn: its parts.
        task: a name of `tasks.TASKS`, or LOOK.
        head: liveliness of the head.
        until_s: everything must be known until then.
        seed: of room and motion.
        head_path: for the head's IMU to follow, in the task LOOK.
        take: which take in this room, from 0; each has a motion of its own.

    Raises:
        UsageError: the room has nothing for the task, or the path is too short or too long for it.
    """
    furnished = _furnished(scene_name, seed, tuple((side, rig.grippers[side].tags) for side in worn.grippers))
    scene, room, light = furnished.scene, furnished.room, furnished.light
    motion_stream = _MOTION + _TAKES_APART * take
    motion: dict[str, Motion] = {}
    tools: dict[Side, PoseAt] = {}
    opening: dict[Side, Curve] = {}
    hands: dict[Side, BareHand] = {}
    if task == LOOK:
        if head_path is not None:
            motion["head"] = followed(head_path, scene, room, until_s)
        elif "head" in rig.devices:
            motion["head"] = head_motion(room.standing, head, until_s, (seed, motion_stream))
        return World(scene, light, room, rig, motion, {}, {}, _resting(room), {}, (), until_s)

    if not room.props:
        raise UsageError(f"nothing to handle in the scene {scene_name!r}", mend=f"choose the task {LOOK!r}")
    play = Play(room, np.random.default_rng([seed, motion_stream, 0]), _mounts(rig, worn))
    if task in BENCH_TASKS:
        BENCH_TASKS[task](play, until_s + 1.0)
        head = HeadParams(sway_m=0.0, sway_rad=0.0)  # the rig is on the bench, nobody wears it
    else:
        tasks.TASKS[task](play, until_s + 1.0)
    sway = np.random.default_rng([seed, motion_stream, 1])
    if "head" in rig.devices:
        motion["head"] = _head(play, head, until_s, sway)
    for side in SIDES:
        t_s = _control_times(until_s, _STEP_S)
        T_room_tool = play.tool[side].at(t_s)
        start_s = t_s[0] + 2 * _STEP_S
        levels = play.opening_m[side].at(t_s)[:, None]
        if side in worn.grippers:
            T_tcp_imu = geometry.inverse(rigs.T_imu_tcp(rig.cameras[side], rig.grippers[side]))
            motion[side] = PoseCurve.through_controls(start_s, _STEP_S, T_room_tool @ T_tcp_imu)
            tools[side] = _carried(motion[side].pose, geometry.inverse(T_tcp_imu))
        elif worn.bare:
            from handcap.sim.wearer import BareHand  # meshing the hands needs scikit-image

            hands[side] = BareHand.along(side, start_s, _STEP_S, T_room_tool, levels[:, 0], play.head.at(t_s), seed)
            tools[side] = hands[side].T_room_tool
        else:  # nobody sees this hand, and what it holds moves all the same
            tools[side] = PoseCurve.through_controls(start_s, _STEP_S, T_room_tool).pose
        opening[side] = Curve.through_controls(start_s, _STEP_S, levels)
    holds = [
        replace(hold, end_s=hold.end_s if hold.end_s is not None and hold.end_s < until_s else None)
        for hold in play.holds
        if hold.start_s < until_s
    ]
    bodies = _resting(room) | _held(room, holds, tools)
    events = [event for event in play.events if event.t_s < until_s]
    for side in worn.grippers:
        names = gripper.body_names(side)
        bodies[names[0]] = tools[side]
        for name, sign in zip(names[1:], (-0.5, 0.5), strict=True):
            bodies[name] = _finger(tools[side], opening[side], sign)
    return World(scene, light, room, rig, motion, tools, opening, bodies, hands, events, until_s)


@dataclass(frozen=True, eq=False, slots=True)
class _Furnished:
    scene: Scene
    room: Room
    light: LightMap


@lru_cache(maxsize=2)  # a room is 100 MB of textures; it depends on no more than this
def _furnished(scene_name: str, seed: int, grippers: tuple[tuple[Side, tuple[Tag, ...]], ...]) -> _Furnished:
    b = SceneBuilder(np.random.default_rng([seed, _SCENE]))
    room = SCENES[scene_name](b)
    for side, tags in grippers:
        gripper.build(b, side, tags)
    scene = b.build(room.lights)
    return _Furnished(scene, room, bake(scene))


def _mounts(rig: Rig, worn: rigs.Worn) -> dict[str, Array]:
    """The camera to aim on every device: on the head's IMU, on the grippers' tool frame."""
    first = next((camera for camera in rig.cameras.values() if camera.device == "head"), None)
    mounts = {} if first is None else {"head": first.T_imu_cam}
    return mounts | {side: geometry.inverse(T_CAM_TCP) for side in worn.grippers}


def _control_times(until_s: float, step_s: float) -> Array:
    return np.arange(-_MARGIN_S, until_s + _MARGIN_S, step_s)


def _head(play: Play, head: HeadParams, until_s: float, rng: np.random.Generator) -> PoseCurve:
    t_s = _control_times(until_s, _HEAD_STEP_S)
    T = play.head.at(t_s)
    T[:, :3, 3] += play.gait(t_s)
    sway_t_s = _control_times(until_s + 1.0, _SWAY_STEP_S)
    sway = rng.standard_normal((len(sway_t_s), 6)) * np.repeat([head.sway_rad, head.sway_m], 3)
    unrest = np.stack([np.interp(t_s, sway_t_s, column) for column in sway.T], axis=-1)
    T[:, :3, 3] += unrest[:, 3:]
    T[:, :3, :3] = T[:, :3, :3] @ geometry.so3_exp(unrest[:, :3])
    return PoseCurve.through_controls(t_s[0] + 2 * _HEAD_STEP_S, _HEAD_STEP_S, T)


def _carried(pose: PoseAt, T_body_thing: Array) -> PoseAt:
    return lambda t_s: pose(t_s) @ T_body_thing


def _finger(tool: PoseAt, opening_m: Curve, sign: float) -> PoseAt:
    def pose(t_s: Array) -> Array:
        shift = np.zeros((len(t_s), 3))
        shift[:, 0] = sign * opening_m.at(t_s)[:, 0]
        return tool(t_s) @ geometry.se3(np.eye(3), shift)

    return pose


def _resting(room: Room) -> dict[str, PoseAt]:
    """Props and drawer where they stood at first."""
    places = {prop.body: prop.T_room_prop for prop in room.props}
    if room.slide is not None:
        places[room.slide.body] = room.slide.T_room_body
    return {name: _standing(T) for name, T in places.items()}


def _standing(T: Array) -> PoseAt:
    return lambda t_s: np.broadcast_to(T, (len(t_s), 4, 4))


def _held(room: Room, holds: Sequence[Hold], tools: Mapping[Side, PoseAt]) -> dict[str, PoseAt]:
    """Things that are carried: they stand, go with a hand, and stand again where it left them."""
    out: dict[str, PoseAt] = {}
    slide = room.slide
    start = {prop.body: prop.T_room_prop for prop in room.props}
    for thing in sorted({hold.thing for hold in holds}):
        mine = [hold for hold in holds if hold.thing == thing]
        if slide is not None and thing == slide.body:
            out[thing] = _sliding(slide.T_room_body, slide.pull_room, slide.travel_m, mine, tools)
        else:
            out[thing] = _passed_on(start[thing], mine, tools)
    return out


def _passed_on(T_room_thing: Array, holds: Sequence[Hold], tools: Mapping[Side, PoseAt]) -> PoseAt:
    # Each stretch: from when, and the pose as a function of time.
    stretches: list[tuple[float, PoseAt]] = [(-np.inf, _standing(T_room_thing))]
    here = T_room_thing
    for hold in holds:
        tool = tools[hold.side]
        T_tool_thing = geometry.inverse(tool(np.array([hold.start_s]))[0]) @ here
        stretches.append((hold.start_s, _carried(tool, T_tool_thing)))
        if hold.end_s is not None:
            here = tool(np.array([hold.end_s]))[0] @ T_tool_thing
            stretches.append((hold.end_s, _standing(here)))
    return _pieced(stretches)


def _sliding(
    T_shut: Array, pull: Array, travel_m: float, holds: Sequence[Hold], tools: Mapping[Side, PoseAt]
) -> PoseAt:
    def along(tool: PoseAt, start_s: float) -> Callable[[Array], Array]:
        origin = tool(np.array([start_s]))[0][:3, 3]
        return lambda t_s: np.clip((tool(t_s)[:, :3, 3] - origin) @ pull, 0.0, travel_m)

    def pulled(distance: Callable[[Array], Array]) -> PoseAt:
        return lambda t_s: geometry.se3(np.eye(3), distance(t_s)[:, None] * pull) @ T_shut

    stretches: list[tuple[float, PoseAt]] = [(-np.inf, _standing(T_shut))]
    for hold in holds:
        moving = pulled(along(tools[hold.side], hold.start_s))
        stretches.append((hold.start_s, moving))
        if hold.end_s is not None:
            stretches.append((hold.end_s, _standing(moving(np.array([hold.end_s]))[0])))
    return _pieced(stretches)


def _pieced(stretches: Sequence[tuple[float, PoseAt]]) -> PoseAt:
    starts = np.array([start for start, _ in stretches])

    def pose(t_s: Array) -> Array:
        which = np.searchsorted(starts, t_s, side="right") - 1
        out = np.empty((len(t_s), 4, 4))
        for k in np.unique(which):
            at = which == k
            out[at] = stretches[k][1](t_s[at])
        return out

    return pose
