"""The virtual person does what a person can do, and things go where hands take them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from handcap import geometry
from handcap.errors import UsageError
from handcap.geometry import Array
from handcap.sim import rigs, world
from handcap.sim.bench_tasks import BENCH_TASKS
from handcap.sim.person import HeadParams
from handcap.sim.scenes import SCENES
from handcap.sim.scenes.bench import GAUGES_MM
from handcap.sim.tasks import TASKS
from handcap.sim.world import World

UNTIL_S = 40.0
HOMES = [name for name in SCENES if name != "bench"]


@cache
def played(scene: str, task: str, seed: int = 5, rig: str = "full") -> World:
    return world.build(scene, rigs.drawn(rig, seed), rigs.parse(rig), task, HeadParams(), UNTIL_S, seed)


def times(start_s: float, end_s: float) -> Array:
    return np.arange(start_s, end_s, 0.02)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("scene", HOMES)
def test_nobody_moves_faster_than_a_person(scene: str, task: str) -> None:
    t_s = times(0.1, UNTIL_S)
    for device, motion in played(scene, task).motion.items():
        speed_m_s = np.linalg.norm(motion.velocity_room(t_s), axis=-1)
        force_m_s2 = np.linalg.norm(motion.acceleration_room(t_s), axis=-1)
        turn_deg_s = np.rad2deg(np.linalg.norm(motion.angular_rate_body(t_s), axis=-1))
        # A fast reach of an arm peaks at 2 to 3 m/s, a head that is shaken at 500 deg/s.
        assert speed_m_s.max() < (1.8 if device == "head" else 3.0), device
        assert force_m_s2.max() < (25 if device == "head" else 60), device
        assert turn_deg_s.max() < (500 if device == "head" else 900), device
        if task != "pause":
            assert np.ptp(motion.pose(t_s)[:, :3, 3], axis=0).max() > 0.05


@pytest.mark.parametrize("scene", HOMES)
def test_heads_stay_inside_the_room(scene: str) -> None:
    for task in TASKS:
        here = played(scene, task)
        walls = here.scene.bodies[0].vertices
        head = here.motion["head"].pose(times(0.1, UNTIL_S))[:, :3, 3]
        assert np.all(head > walls.min(axis=0) + 0.1) and np.all(head < walls.max(axis=0) - 0.1)


@pytest.mark.parametrize("scene", HOMES)
def test_what_is_held_goes_with_the_hand_and_stays_where_it_was_put(scene: str) -> None:
    here = played(scene, "tidy")
    grasps = [
        e for e in here.events if e.kind == "grasp" and (here.room.slide is None or e.thing != here.room.slide.body)
    ]
    assert grasps
    for grasp in grasps:
        side = "left" if grasp.side == "left" else "right"
        after = [
            e for e in here.events if e.t_s > grasp.t_s and e.thing == grasp.thing and e.kind in ("grasp", "release")
        ]
        released_s = after[0].t_s if after else UNTIL_S
        t_s = times(grasp.t_s + 1e-3, released_s - 1e-3)
        in_hand = geometry.inverse(here.tools[side](t_s)) @ here.bodies[grasp.thing](t_s)
        np.testing.assert_allclose(in_hand, np.broadcast_to(in_hand[0], in_hand.shape), atol=1e-9)
        if after and after[0].kind == "release":
            taken = [e.t_s for e in here.events if e.kind == "grasp" and e.thing == grasp.thing and e.t_s >= released_s]
            t_s = times(released_s + 1e-3, min([*taken, UNTIL_S]) - 1e-3)
            if len(t_s):
                stands = here.bodies[grasp.thing](t_s)
                np.testing.assert_allclose(stands, np.broadcast_to(stands[0], stands.shape), atol=1e-9)


@pytest.mark.parametrize("scene", HOMES)
def test_nothing_jumps(scene: str) -> None:
    here = played(scene, "tidy")
    t_s = np.arange(0.1, UNTIL_S, 0.005)
    for name, pose in here.bodies.items():
        step_m = np.linalg.norm(np.diff(pose(t_s)[:, :3, 3], axis=0), axis=-1)
        assert step_m.max() < 0.02, name


@pytest.mark.parametrize("scene", HOMES)
def test_jaws_close_to_the_width_of_what_they_hold(scene: str) -> None:
    here = played(scene, "tidy")
    width_m = {prop.body: prop.grasp_width_m for prop in here.room.props}
    seen = 0
    for event in here.events:
        if event.kind == "grasp" and event.thing in width_m:
            side = "left" if event.side == "left" else "right"
            opening_m = here.opening_m[side].at([event.t_s + 0.1])[0, 0]
            assert opening_m == pytest.approx(width_m[event.thing], abs=0.003)
            seen += 1
    assert seen
    for opening in here.opening_m.values():
        assert opening.at(times(0.1, UNTIL_S)).min() > -1e-6


def test_a_drawer_slides_along_its_way_and_comes_back() -> None:
    here = played("kitchen", "tidy", 7)
    slide = here.room.slide
    assert slide is not None and any(event.thing == slide.body for event in here.events)
    moved = here.bodies[slide.body](times(0.1, UNTIL_S))[:, :3, 3] - slide.T_room_body[:3, 3]
    along = moved @ slide.pull_room
    assert along.min() > -1e-9 and along.max() <= slide.travel_m + 1e-9 and along.max() > 0.8 * slide.travel_m
    np.testing.assert_allclose(moved, along[:, None] * slide.pull_room, atol=1e-9)


def test_a_walk_goes_somewhere_and_a_pause_stands_still() -> None:
    t_s = times(0.1, UNTIL_S)
    for scene in HOMES:
        assert np.ptp(played(scene, "walk").motion["head"].pose(t_s)[:, :2, 3], axis=0).max() > 0.8
    speed = np.linalg.norm(played("kitchen", "pause").motion["left"].velocity_room(t_s), axis=-1)
    assert np.mean(speed < 1e-6) > 0.4


def test_bare_hands_keep_their_joints_around_what_they_hold() -> None:
    here = played("kitchen", "tidy", 5, "hands")
    width_m = {prop.body: prop.grasp_width_m for prop in here.room.props}
    for event in here.events:
        if event.kind == "grasp" and event.thing in width_m:
            side = "left" if event.side == "left" else "right"
            joints = here.hands[side].joints_room(np.array([event.t_s + 0.1]))[0]
            assert np.linalg.norm(joints[8] - joints[4]) == pytest.approx(width_m[event.thing], abs=0.02)


@pytest.mark.parametrize("rig", ["head", "head-wide+left", "head-fisheye200+right", "left", "head-stereo+right+bare"])
def test_any_mix_of_devices_is_a_rig(rig: str) -> None:
    here = played("kitchen", "tidy", 5, rig)
    worn = rigs.parse(rig)
    assert set(here.motion) == set(here.rig.devices) == {*(["head"] if worn.head else []), *worn.grippers}
    assert set(here.hands) == ({"left", "right"} - set(worn.grippers) if worn.bare else set())
    for name in here.rig.cameras:
        assert np.isfinite(here.T_room_cam(name)(np.array([1.0]))).all()


def test_the_bench_closes_the_jaws_on_every_gauge_and_turns_every_face_up() -> None:
    assert set(BENCH_TASKS) == {"still", "poses", "jaws", "charuco", "aprilgrid", "check", "lens", "lens-aprilgrid"}
    jaws = world.build("bench", rigs.drawn("right", 1), rigs.parse("right"), "jaws", HeadParams(), 60.0, 1)
    held = [event for event in jaws.events if event.kind == "gauge" and event.side == "right"]
    opening_m = jaws.opening_m["right"].at([event.t_s + 0.5 for event in held])[:, 0]
    assert {event.thing for event in held} == {f"gauge_{mm:02d}mm" for mm in GAUGES_MM}
    np.testing.assert_allclose(opening_m, [int(event.thing[6:8]) / 1000 for event in held], atol=1e-4)
    poses = world.build("bench", rigs.drawn("head", 1), rigs.parse("head"), "poses", HeadParams(), 40.0, 1)
    up_imu = poses.motion["head"].pose(times(0.1, 40.0))[:, 2, :3]
    for axis in np.concatenate([np.eye(3), -np.eye(3)]):
        assert (up_imu @ axis).max() > 0.99
    still = world.build("bench", rigs.drawn("full", 1), rigs.parse("full"), "still", HeadParams(), 20.0, 1)
    for motion in still.motion.values():
        assert np.linalg.norm(motion.velocity_room(times(0.1, 20.0)), axis=-1).max() < 1e-9


def test_a_board_is_looked_at_only_where_one_stands() -> None:
    with pytest.raises(UsageError, match="bench"):
        played("kitchen", "charuco")
