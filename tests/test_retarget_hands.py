"""A person's hand on a robot's: what holds for every hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pinocchio", reason="pip install 'handcap[retarget,robots]'")

from handcap.errors import RetargetError
from handcap.geometry import Array
from handcap.retarget.hands import FollowParams, LiveHand, Person, follow, make_hand, person, postures
from handcap.retarget.hands.follow import spans, unhurried
from handcap.retarget.hands.goals import wishes
from handcap.retarget.hands.kinematics import Coupling, HandKinematics
from handcap.retarget.hands.pace import common_pace, slowness
from handcap.retarget.hands.shapes import HandShapes
from handcap.retarget.hands.terms import LocalTerms
from handcap.retarget.hands.verdict import touching
from handcap.retarget.hands.wanted import BASE, Goals
from handcap.retarget.robot import read_robot
from handcap.sim.hand import grips
from handcap.sim.hand.hand import HandShape
from handcap.types import Side
from tests.robot_hands import (
    HANDS,
    joints_of,
    moving,
    person_of,
    robot_hand,
    stamps,
    tips_ours,
    work,
)

pytestmark = pytest.mark.usefixtures("robot_collections")


def follow_joints(
    name: str,
    joints: Array,
    side: Side = "right",
    sigma_m: Array | None = None,
    params: FollowParams | None = None,
):
    hand = robot_hand(name, side)
    return hand, follow(hand, person_of(joints, sigma_m), stamps(len(joints)), params)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", HANDS)
def test_its_own_random_postures_turned_to_fingertips_come_back_within_a_millimetre(name: str, side: Side):
    hand = robot_hand(name, side)
    k = hand.kinematics
    u = np.random.default_rng(3).uniform(k.low, k.high, (40, len(k.free)))
    heads = np.array([finger.tip for finger in hand.fingers])
    tips = k.points(u)[:, heads]
    goals = Goals(heads, np.full(len(heads), BASE), tips, np.full(tips.shape[:2], 1 / 0.005**2))
    found = postures(hand, goals)
    off_m = np.linalg.norm(k.points(found)[:, heads] - tips, axis=-1)
    assert off_m.max() < 1e-3
    assert np.all(found >= k.low) and np.all(found <= k.high)


@pytest.mark.parametrize("name", HANDS)
def test_limits_are_never_violated_however_wild_the_hand(name: str):
    rng = np.random.default_rng(5)
    joints = work()[::2] * rng.uniform(0.7, 1.4, (1, 21, 1)) + rng.normal(0, 0.03, (len(work()[::2]), 21, 3))
    hand, motion = follow_joints(name, joints)
    k = hand.kinematics
    assert motion.known.all()
    assert np.all(motion.q >= k.joint_low - 1e-12) and np.all(motion.q <= k.joint_high + 1e-12)
    speed = np.abs(np.diff(motion.q, axis=0)) / np.diff(stamps(len(joints)))[:, None] * 1e9
    assert np.all(speed <= hand.velocity * (1 + 1e-6))
    assert np.isfinite(hand.velocity).all()


@pytest.mark.parametrize("name", ["allegro", "inspire"])
@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_larger_or_smaller_hand_that_does_the_same_moves_the_robot_the_same(name: str, factor: float):
    joints = work()[:80]
    sigma = np.full(joints.shape[:2], 0.008)
    _, usual = follow_joints(name, joints, sigma_m=sigma)
    _, other = follow_joints(name, factor * joints, sigma_m=factor * sigma)
    np.testing.assert_allclose(other.q, usual.q, atol=1e-6)


@pytest.mark.parametrize("name", ["allegro", "shadow"])
def test_a_mirrored_hand_moves_the_mirrored_robot(name: str):
    right, of_right = follow_joints(name, work("right"), "right")
    left, of_left = follow_joints(name, work("left"), "left")
    mirrored = tips_ours(left, of_left.q) * [1.0, -1.0, 1.0]
    np.testing.assert_allclose(mirrored, tips_ours(right, of_right.q), atol=1e-3)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["allegro", "leap", "shadow", "inspire"])
def test_when_thumb_and_index_finger_touch_so_do_the_robots(name: str, side: Side):
    shape = HandShape()
    shut, wide = grips.pinch(0.0, shape), grips.pinch(0.06, shape)
    hand, motion = follow_joints(name, joints_of(moving(wide, shut, shut, wide), side), side)
    assert hand.robot.palm is not None
    names = [finger.name for finger in hand.fingers]
    tips = tips_ours(hand, motion.q)
    gap_m = np.linalg.norm(tips[:, names.index("thumb")] - tips[:, names.index("index")], axis=-1)
    assert abs(gap_m[45] - hand.robot.palm.touch_m) < 0.006  # LEAP's other fingers are in the way of the index finger
    assert gap_m[0] > hand.robot.palm.touch_m + 0.03
    assert motion.pinching[45, names.index("index")] > 0.95
    assert np.all(motion.pinching[:, names.index("thumb")] == 0)


@pytest.mark.parametrize("name", ["allegro", "leap", "shadow", "inspire"])
def test_the_thumb_does_not_stick(name: str):
    """A thumb that goes to and fro is followed from end to end, wherever it began."""
    closed, away = grips.flat(0.0), grips.flat(0.0)
    closed[2:7], away[2:7] = np.deg2rad([35, 50, 40, 40, 40]), np.deg2rad([-10, 5, 0, 0, 0])
    joints = joints_of(moving(closed, away, closed, away, closed, seconds=1.5))
    hand, motion = follow_joints(name, joints)
    assert hand.thumb is not None
    tip = tips_ours(hand, motion.q)[:, [finger.name for finger in hand.fingers].index("thumb")]
    size = float(hand.thumb.lengths_m.sum() / person_of(joints).bones_m[2:5].sum())
    wanted_m = size * np.linalg.norm(joints[45, 4] - joints[0, 4])
    for start in (0, 45, 90, 135):
        assert np.linalg.norm(tip[start + 45] - tip[start]) > 0.5 * wanted_m


@pytest.mark.parametrize("name", [name for name in HANDS if name != "inspire"])  # its fingers have no room to
def test_fingers_do_not_pass_through_one_another_or_the_palm(name: str):
    joints = work()
    hand, motion = follow_joints(name, joints)
    through = follow(hand, person_of(joints), stamps(len(joints)), FollowParams(apart=None))
    assert touching(through).any()  # they would
    assert touching(motion).mean() <= 0.01
    assert motion.tip_error_m.mean() < through.tip_error_m.mean() + 0.002


def test_shapes_that_are_near_know_how_joints_move_them_apart():
    shapes, hand = HandShapes(robot_hand("allegro")), robot_hand("allegro")
    k, rng = hand.kinematics, np.random.default_rng(1)
    u = rng.uniform(k.low, k.high, (30, len(k.free)))
    near = shapes.near(u, 0.02)
    apart = near.distance_m > 1e-4  # where corners meet, the nearest corner changes
    assert apart.sum() > 20
    step = 1e-6 * rng.normal(size=u.shape)
    there, back = ({(r, p): d for r, p, d in zip(n.row, n.pair, n.distance_m, strict=True)} for n in (
        shapes.near(u + step, 0.03), shapes.near(u - step, 0.03)))  # fmt: skip
    keys = list(zip(near.row[apart].tolist(), near.pair[apart].tolist(), strict=True))
    measured = np.array([there[key] - back[key] for key in keys]) / 2
    predicted = np.einsum("md,md->m", near.gradient[apart], step[near.row[apart]])
    assert np.median(np.abs(measured - predicted)) < 1e-9
    assert np.abs(measured - predicted).max() < 1e-6


def test_time_is_stretched_only_around_what_is_too_fast():
    t_s = np.arange(60) / 30
    q = np.zeros((60, 2))
    q[30:, 1] = 0.5  # in a thirtieth of a second, 2 rad/s allowed
    slow = slowness(q, t_s, np.array([2.0, 2.0]))
    assert slow[29] >= 0.25 * 30 and np.all(slow >= 1)
    np.testing.assert_array_equal(slow[:20], 1)
    np.testing.assert_array_equal(slow[40:], 1)
    stamp = np.round(t_s * 1e9).astype(np.int64)
    other = stamp[5:-5:2]  # seen more rarely by the other side's camera
    pace = common_pace({"left": stamp, "right": other}, {"left": slow, "right": np.ones(len(other) - 1)})
    np.testing.assert_allclose(pace["left"][5:-5:2], pace["right"])
    assert np.all(np.abs(np.diff(q, axis=0)) / np.diff(pace["left"])[:, None] <= 2.0)
    kept = common_pace({"left": stamp}, {"left": np.ones(59)})
    np.testing.assert_array_equal(kept["left"], stamp / 1e9)


def test_a_gap_is_long_enough_for_what_the_hand_must_do_in_it():
    q = np.full((40, 1), np.nan)
    q[:10], q[30:] = 0.0, 3.0
    slow = slowness(q, np.arange(40) / 30, np.array([1.0]))
    assert np.sum(slow[9:30] / 30) >= 3.0


def real_person(shared_data: Callable[[str], Path]) -> Person:
    """The first half of the 621 pictures of a real hand that bench/retarget_hands.py uses."""
    from handcap.reconstruct.hands.wrist import wrist_pose

    file = shared_data("hands/dex_retargeting") / "example/profiling/human_joint_right.npy"
    joints = np.load(file).astype(float)[:310]
    return person(wrist_pose(joints, "right"), joints)


@pytest.mark.parametrize("name", ["allegro", "leap", "shadow", "inspire"])
def test_the_thumb_of_a_real_hand_does_not_stick(name: str, shared_data: Callable[[str], Path]):
    """Wherever a real thumb goes, and back, the robot's goes along: never at rest while the person's is under way."""
    who, hand = real_person(shared_data), robot_hand(name)
    t_ns = stamps(len(who.joints))
    motion = follow(hand, who, t_ns, None, common_pace(
        {"right": t_ns}, {"right": slowness(unhurried(hand, who, t_ns, FollowParams()), t_ns / 1e9, hand.velocity)}
    )["right"])  # fmt: skip
    assert hand.thumb is not None
    at = [finger.name for finger in hand.fingers].index("thumb")
    robots, persons = tips_ours(hand, motion.q)[:, at], who.joints[:, 4]
    size = float(hand.thumb.lengths_m.sum() / who.bones_m[2:5].sum())
    second = 30
    went = size * np.linalg.norm(persons[second:] - persons[:-second], axis=1)
    goes = np.linalg.norm(robots[second:] - robots[:-second], axis=1)
    far = went > 0.03
    assert far.sum() > 50
    assert np.median(goes[far] / went[far]) > 0.5
    assert np.mean(goes[far] < 0.1 * went[far]) < 0.05


def test_a_fist_is_a_fist_and_a_pointing_finger_points():
    hand, motion = follow_joints("shadow", joints_of(moving(grips.flat(), grips.fist(), grips.point())))
    far_m = np.linalg.norm(tips_ours(hand, motion.q), axis=-1)
    index, ring = (next(i for i, f in enumerate(hand.fingers) if f.name == n) for n in ("index", "ring"))
    assert far_m[30, index] < 0.6 * far_m[0, index]
    assert far_m[60, index] > 0.9 * far_m[0, index]
    assert far_m[60, ring] < 0.6 * far_m[0, ring]


def test_where_the_hand_is_long_unseen_there_is_no_motion_and_short_gaps_are_bridged_and_marked():
    joints = work()
    joints[:5] = joints[20:24] = joints[60:90] = joints[-3:] = np.nan
    _, motion = follow_joints("allegro", joints)
    unseen = np.asarray(np.isnan(joints).any(axis=(1, 2)))
    long = unseen.copy()
    long[20:24] = False
    np.testing.assert_array_equal(motion.known, ~long)
    np.testing.assert_array_equal(np.flatnonzero(motion.bridged), np.arange(20, 24))
    assert np.isnan(motion.tip_error_m[unseen]).all() and np.isfinite(motion.tip_error_m[~unseen]).all()
    assert np.isnan(motion.q[long]).all()


def test_a_hand_with_one_joint_unknown_is_unseen_and_a_take_without_any_has_no_motion():
    joints = work()[:10]
    joints[:, 8] = np.nan
    _, motion = follow_joints("inspire", joints)
    assert not motion.known.any() and np.isnan(motion.q).all() and np.isnan(motion.tip_error_m).all()


def test_a_single_picture_is_followed_too():
    _, motion = follow_joints("leap", work()[40:41])
    assert motion.known.all()


def test_gaps_split_by_their_length_and_the_ends_stay_open():
    seen, t_s = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1, 0], bool), np.linspace(0.0, 0.9, 10)
    assert spans(t_s, seen, 0.25) == [slice(1, 5), slice(8, 9)]
    assert spans(t_s, seen, 0.45) == [slice(1, 9)]
    assert spans(t_s, np.zeros(10, bool), 1.0) == []


def test_the_hand_need_not_be_at_rest_in_the_world():
    joints, n = work(), len(work())
    T = np.tile(np.eye(4), (n, 1, 1))
    turn = np.linspace(0, 2, n)
    T[:, 0, 0] = T[:, 1, 1] = np.cos(turn)
    T[:, 1, 0], T[:, 0, 1] = np.sin(turn), -np.sin(turn)
    T[:, :3, 3] = np.linspace([0, 0, 0], [1, 2, 0.5], n)
    world = np.einsum("nij,nkj->nki", T[:, :3, :3], joints) + T[:, None, :3, 3]
    hand = robot_hand("allegro")
    moved = follow(hand, person(T, world), stamps(n))
    np.testing.assert_allclose(moved.q, follow(hand, person_of(joints), stamps(n)).q, atol=1e-6)


def test_a_trembling_recording_does_not_make_the_hand_tremble():
    still = np.repeat(joints_of(grips.relaxed()[None]), 90, axis=0)
    trembling = still + np.random.default_rng(0).normal(0, 0.004, still.shape)
    hand, motion = follow_joints("shadow", trembling, sigma_m=np.full(still.shape[:2], 0.004))
    steps_m = np.linalg.norm(np.diff(tips_ours(hand, motion.q), axis=0), axis=-1)
    recorded_m = np.linalg.norm(np.diff(trembling[:, 4::4], axis=0), axis=-1)
    assert np.median(steps_m) < 0.2 * np.median(recorded_m)


def test_what_is_known_badly_is_followed_less_than_what_is_known_well():
    still = np.repeat(joints_of(grips.relaxed()[None]), 45, axis=0)
    jumping = still.copy()
    jumping[20:23, 12, 2] -= 0.03
    moved_m: list[float] = []
    for sigma_m in (0.002, 0.03):
        sigma = np.full(still.shape[:2], 0.002)
        sigma[20:23, 9:13] = sigma_m
        hand, motion = follow_joints("shadow", jumping, sigma_m=sigma)
        middle = next(i for i, finger in enumerate(hand.fingers) if finger.name == "middle")
        tips = tips_ours(hand, motion.q)[:, middle]
        moved_m.append(float(np.linalg.norm(tips[21] - tips[0])))
    assert moved_m[1] < 0.5 * moved_m[0]


@pytest.mark.parametrize("name", ["allegro", "inspire"])
def test_a_hand_that_follows_live_stays_near_what_the_whole_motion_does_and_within_limits(name: str):
    joints, hand = work(), robot_hand(name)
    who = person_of(joints, np.full(joints.shape[:2], 0.003))
    k, goals = hand.kinematics, wishes(hand, who).goals
    live = LiveHand(k, hand.rest)
    u = np.stack([live.follow(goals.rows(np.array([i])), 1 / 30) for i in range(len(joints))])
    assert np.all(u >= k.low) and np.all(u <= k.high)
    whole = tips_ours(hand, follow(hand, who, stamps(len(joints))).q)
    apart_m = np.linalg.norm(tips_ours(hand, k.full(u)) - whole, axis=-1)
    assert np.median(apart_m) < 0.015  # it comes a little late
    again = LiveHand(k, hand.rest)
    first = np.stack([again.follow(goals.rows(np.array([i])), 1 / 30) for i in range(40)])
    np.testing.assert_array_equal(first, u[:40])  # what comes later changes nothing


@pytest.mark.parametrize("name", ["inspire", "barrett"])
def test_driven_joints_go_as_their_drivers_do(name: str):
    hand, motion = follow_joints(name, work())
    k = hand.kinematics
    u = motion.q[:, [k.joints.index(free) for free in k.free]]
    np.testing.assert_allclose(motion.q, k.full(u), atol=1e-12)
    assert len(k.free) < len(k.joints)
    if name == "inspire":
        q = dict(zip(k.joints, motion.q.T, strict=True))
        # multiplier and offset as its URDF has them
        np.testing.assert_allclose(
            q["index_intermediate_joint"], 1.06399 * q["index_proximal_joint"] - 0.04545, atol=1e-4
        )


def test_the_same_hand_gives_the_same_bits():
    joints = work()
    _, first = follow_joints("leap", joints)
    _, second = follow_joints("leap", joints)
    assert first.q.tobytes() == second.q.tobytes()


_CHAIN = """<robot name="r"><link name="a"/><link name="b"/><link name="c"/><link name="d"/>
<joint name="one" type="revolute"><parent link="a"/><child link="b"/><axis xyz="0 0 1"/>
<limit lower="-1" upper="1" effort="1" velocity="1"/></joint>
<joint name="two" type="prismatic"><parent link="b"/><child link="c"/><origin xyz="0.1 0 0"/><axis xyz="1 0 0"/>
<limit lower="0" upper="0.05" effort="1" velocity="1"/></joint>
<joint name="three" type="revolute"><parent link="c"/><child link="d"/><origin xyz="0.1 0 0"/><axis xyz="0 1 0"/>
<limit lower="-2" upper="2" effort="1" velocity="1"/></joint></robot>"""


def test_the_solvers_derivatives_are_those_of_the_kinematics():
    hand = HandKinematics(_CHAIN, [("d", np.array([0.1, 0.02, 0.03])), "c"], [Coupling("three", "one", 0.5, 0.1)])
    rng = np.random.default_rng(0)
    u = rng.uniform(hand.low, hand.high, (8, len(hand.free)))
    goals = Goals(np.array([0, 1]), np.array([1, BASE]), rng.normal(0, 0.1, (8, 2, 3)), rng.uniform(1, 2, (8, 2)))

    def cost(u: Array) -> Array:
        return 0.5 * np.sum(goals.weights * np.sum(goals.errors(hand.points(u)) ** 2, axis=-1), axis=1)

    gradient, hessian = LocalTerms(hand, goals).derivatives(hand.move(u), goals, goals.weights, 1e6)
    d = rng.normal(size=u.shape)
    h = 1e-4
    slope = (cost(u + h * d) - cost(u - h * d)) / (2 * h)
    bend = (cost(u + h * d) + cost(u - h * d) - 2 * cost(u)) / h**2
    np.testing.assert_allclose(np.einsum("ni,ni->n", gradient, d), slope, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(np.einsum("ni,nij,nj->n", d, hessian, d), bend, rtol=1e-4, atol=1e-6)


_G1 = """
name = "g1_hand"
title = "Unitree G1 three-finger hand"
kind = "hand"
license = "BSD-3-Clause"
[description]
package = "example-robot-data"
path = "robots/g1_description/urdf/g1_29dof_with_hand_rev_1_0.urdf"
[hand]
wrist = "{side}_hand_palm_link"
T_wrist_ours = [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
T_wrist_ours_left = [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]
touch_m = 0.03
[[fingers]]
name = "thumb"
frames = ["{side}_hand_thumb_1_link", "{side}_hand_thumb_2_link", "{side}_hand_thumb_2_link"]
human = [1, 3, 4]
tip_offset_m = [0, %s, 0]
[[fingers]]
name = "index"
frames = ["{side}_hand_index_0_link", "{side}_hand_index_1_link", "{side}_hand_index_1_link"]
human = [5, 6, 8]
tip_offset_m = [0.05, 0, 0]
[[fingers]]
name = "middle"
frames = ["{side}_hand_middle_0_link", "{side}_hand_middle_1_link", "{side}_hand_middle_1_link"]
human = [9, 10, 12]
tip_offset_m = [0.05, 0, 0]
"""


def test_a_hand_that_nobody_prepared_needs_only_a_file(tmp_path: Path):
    """The hand on the arm of a humanoid: the rest of its joints is held."""
    tips: dict[Side, Array] = {}
    through: dict[Side, Array] = {}
    outwards: dict[Side, str] = {"right": "0.05", "left": "-0.05"}
    for side, out in outwards.items():
        path = tmp_path / "g1_hand.toml"
        path.write_text(_G1 % out)
        hand = make_hand(read_robot(path), side)
        assert len(hand.joints) == 7 and all(side in name for name in hand.joints)
        who, t_ns = person_of(work(side)[:80]), stamps(80)
        motion = follow(hand, who, t_ns)
        assert motion.known.all()
        tips[side] = tips_ours(hand, motion.q)
        through[side] = tips_ours(hand, follow(hand, who, t_ns, FollowParams(apart=None)).q)
        fist, open_ = np.linalg.norm(tips[side], axis=-1)[72], np.linalg.norm(tips[side], axis=-1)[0]
        assert fist[1] < 0.8 * open_[1] and fist[2] < 0.8 * open_[2]
    np.testing.assert_allclose(through["left"] * [1, -1, 1], through["right"], atol=2e-3)
    # Its two descriptions differ: by 1 mm in free motion already, and by 0.3 mm in the palm that a fist lies on.
    np.testing.assert_allclose(tips["left"] * [1, -1, 1], tips["right"], atol=5e-3)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"link_3.0_tip"', '"link_99"', "link_99"),
        ("human = [5, 6, 7, 8]", "human = [6, 7, 8, 8]", "follows joints"),
        ("human = [5, 6, 7, 8]", "human = [5, 8]", "4 frames for 2"),
        ('"link_3.0", "link_3.0_tip"', '"link_3.0", "link_3.0"', "lie on one another"),
        ("touch_m = 0.024", 'touch_m = 0.024\nrest = { "joint_99" = 1.0 }', "joint_99"),
        ('"palm_link"', '"no_palm"', "no_palm"),
    ],
)
def test_a_file_that_does_not_fit_its_description_is_told_where(tmp_path: Path, old: str, new: str, says: str):
    text = read_robot("allegro").file.read_text()
    assert old in text
    path = tmp_path / "bad.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(RetargetError, match=says) as error:
        make_hand(read_robot(path), "right")
    assert error.value.where == str(path) and error.value.mend


def test_a_collection_that_was_never_copied_says_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from handcap.retarget import robot

    monkeypatch.setattr(robot, "collections_folder", lambda: tmp_path)
    with pytest.raises(RetargetError, match="dex-urdf") as error:
        make_hand(read_robot("shadow"), "right")
    assert error.value.where == str(tmp_path / "dex-urdf") and "copy" in str(error.value.mend)


def test_how_calm_the_motion_is_can_be_chosen():
    from dataclasses import replace

    joints, hand = work(), robot_hand("allegro")
    usual = FollowParams()
    calm = replace(usual, solver=replace(usual.solver, jerk_rad_s3=20.0))
    jerk = [
        np.abs(np.diff(follow(hand, person_of(joints), stamps(len(joints)), p).q, 3, axis=0)).mean()
        for p in (usual, calm)
    ]
    assert jerk[1] < 0.5 * jerk[0]
