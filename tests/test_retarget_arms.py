"""Arms follow what they can, within their limits, and say what they cannot."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handcap import geometry
from handcap.errors import RetargetError
from handcap.geometry import Array
from handcap.retarget import hulls
from handcap.retarget.approach import approach, start_posture
from handcap.retarget.banded import Chain
from handcap.retarget.base_path import PathParams, base_path, person
from handcap.retarget.branches import begin, few, spread
from handcap.retarget.clearance import Clearance, shape_points
from handcap.retarget.follow import Follower, rates
from handcap.retarget.kinematics import Kinematics
from handcap.retarget.model import Body, build
from handcap.retarget.pace import slowed
from handcap.retarget.placement import Ground, seen_from
from handcap.retarget.robot import Base, arms, load_description, package_folder, read_robot, robot_names
from handcap.retarget.solve import RetargetParams, follow, solve
from handcap.retarget.targets import Targets, targets, turned
from handcap.retarget.verdict import verdict
from handcap.types import Side, Trajectory

pytest.importorskip("pinocchio", reason="the extra `retarget` is not installed")
for package in ("example-robot-data", "airo-models"):
    try:
        package_folder(package)
    except RetargetError:
        pytest.skip("the extra `robots` is not installed", allow_module_level=True)

SIGMA = np.repeat([0.0005, 0.00025], 3)


@cache
def arm(name: str) -> Body:
    return build(read_robot(name), ("right",))


@cache
def follower(name: str, collide: bool = False) -> Follower:
    return Follower(arm(name), collide=collide)


def recorded(T: Array, side: Side = "right", period_s: float = 0.05, tracked: Array | None = None) -> Trajectory:
    n = len(T)
    t_ns = np.round(np.arange(n) * period_s * 1e9).astype(np.int64)
    known = np.ones(n, bool) if tracked is None else tracked
    return Trajectory(f"{side}_tcp", t_ns, t_ns, T, np.tile(np.diag(SIGMA**2), (n, 1, 1)), known)


def sway(body: Body, n: int = 60, seed: int = 0, size: float = 0.25, period_s: float = 0.05) -> Array:
    """(n, d) slow waves about home, within limits."""
    rng = np.random.default_rng(seed)
    t_s = np.arange(n)[:, None] * period_s
    wave = np.sin(t_s * rng.uniform(0.5, 1.2, body.dof) + rng.uniform(0, 6, body.dof))
    q = body.home + size * wave
    return np.clip(q, body.lower + 0.05, body.upper - 0.05)


def tool_poses(body: Body, q: Array) -> Array:
    kinematics = Kinematics(body)
    tool = body.tools[0]
    return kinematics.frame(kinematics.poses(q), tool.joint, tool.T_joint_tcp)[0]


def reachable(name: str, **how: float) -> Targets:
    body = arm(name)
    return targets({"right": recorded(tool_poses(body, sway(body, **how)))})  # type: ignore[arg-type]


def followed(name: str, wanted: Targets, collide: bool = False) -> tuple[Array, Array, Array]:
    """Postures, and errors in m and rad."""
    f = follower(name, collide)
    rows = few(wanted)
    coarse = begin(f, wanted.rows(rows))
    motion = f.follow(wanted, f.nudged(wanted, spread(coarse.q, wanted.t_s[rows], wanted.t_s)))
    return motion.q, motion.position_error_m[:, 0], motion.rotation_error_rad[:, 0]


@pytest.mark.parametrize("name", ["panda", "ur5e", "ur10", "iiwa14", "kinova"])
def test_what_an_arm_did_it_can_follow(name: str) -> None:
    _, off_m, off_rad = followed(name, reachable(name))
    assert np.median(off_m) < 2e-4
    assert np.median(off_rad) < 1e-3
    assert off_m.max() < 3e-3


def test_an_arm_of_five_joints_goes_where_it_went() -> None:
    _, off_m, off_rad = followed("so101", reachable("so101"))
    assert np.median(off_m) < 1e-3
    assert np.median(off_rad) < 0.02


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_joints_stay_within_limits_and_do_not_jump(seed: int) -> None:
    body = arm("panda")
    rng = np.random.default_rng(seed)
    # Wherever it is sent, even out of reach.
    middle = rng.uniform([0.2, -0.6, 0.0], [1.1, 0.6, 0.9])
    t = np.linspace(0, 1, 50)[:, None]
    p = middle + 0.2 * np.sin(2 * np.pi * t * rng.uniform(0.3, 1.0, 3))
    turn = geometry.so3_exp([np.pi, 0.0, 0.0]) @ geometry.so3_exp(0.5 * np.sin(3 * t) * rng.normal(size=3))
    wanted = targets({"right": recorded(geometry.se3(turn, p))})
    solution = follow(body, wanted, {}, None, RetargetParams())
    q = solution.motion.q
    assert np.all(q >= body.lower) and np.all(q <= body.upper)
    speed, acceleration = rates(q, solution.t_robot_s)
    assert np.all(np.abs(speed) <= body.velocity * (1 + 1e-6))
    assert np.all(np.abs(acceleration) <= body.acceleration * (1 + 1e-3))


def test_a_gap_in_the_recording_is_bridged_and_not_judged() -> None:
    body = arm("ur5e")
    T = tool_poses(body, sway(body))
    tracked = np.ones(len(T), bool)
    tracked[20:30] = False
    T[~tracked] = np.nan
    wanted = targets({"right": recorded(T, tracked=tracked)})
    q, off_m, _ = followed("ur5e", wanted)
    assert np.all(np.isfinite(q)) and np.all(np.isnan(off_m[20:30]))
    assert np.abs(np.diff(q, axis=0)).max() < 0.2
    assert np.nanmax(off_m) < 3e-3


def test_far_away_is_said_to_be_far_away() -> None:
    body = arm("panda")
    T = tool_poses(body, sway(body))
    T[:, 0, 3] += 3.0
    wanted = targets({"right": recorded(T)})
    told = verdict(follow(body, wanted, {}, None, RetargetParams()), {}, RetargetParams())
    assert told.verdict == "refused"
    assert told.causes[0].code == "robot_far"
    assert told.numbers["reachable"] == 0.0
    assert "reach" in told.causes[0].text("en") and "可达" in told.causes[0].text("zh")


def test_a_slow_arm_takes_longer_and_says_how_much() -> None:
    body = replace(arm("panda"), velocity=arm("panda").velocity / 20)
    wanted = reachable("panda", size=0.4)
    solution = follow(body, wanted, {}, None, RetargetParams())
    told = verdict(solution, {}, RetargetParams())
    assert told.numbers["time_scale"] > 1.5
    assert "robot_slow" in [cause.code for cause in told.causes]
    assert told.numbers["speed_share"] <= 1 + 1e-6
    assert told.numbers["reachable"] > 0.98


def test_a_session_that_nobody_placed_the_robot_for_is_within_reach_where_it_is_put() -> None:
    body = arm("ur5e")
    T_world_base = geometry.se3(geometry.so3_exp([0.0, 0.0, 1.0]), [2.0, -1.0, 0.3])
    wanted = targets({"right": recorded(T_world_base @ tool_poses(body, sway(body)))})
    solution = solve(read_robot("ur5e"), wanted)
    assert solution.reached.mean() > 0.99
    room = solution.placements["right"].room
    assert room is not None and max(room[:3]) > 0


def test_the_same_session_gives_the_same_motion() -> None:
    wanted = reachable("panda")
    first, second = (solve(read_robot("panda"), wanted) for _ in range(2))
    np.testing.assert_array_equal(first.motion.q, second.motion.q)


def test_arms_keep_off_a_table() -> None:
    body = arm("panda")
    wanted = reachable("panda")
    lowest = float(tool_poses(body, sway(body))[:, 2, 3].min())
    height = lowest - 0.01
    table = np.array([[0.1, -1.0, height], [1.0, -1.0, height], [1.0, 1.0, height], [0.1, 1.0, height]])
    solid = build(read_robot("panda"), ("right",), None, [table])
    solution = follow(solid, wanted, {}, None, RetargetParams())
    assert not solution.touching.any()
    assert solution.reached.mean() > 0.98


def test_postures_that_fold_an_arm_into_itself_are_found() -> None:
    body = arm("panda")
    clearance = Clearance(body)
    folded = body.home.copy()
    folded[1], folded[3], folded[5] = 1.7, -3.05, 0.1
    q = np.stack([body.home, folded])
    near = clearance.near(q, Kinematics(body).poses(q), 0.02)
    assert set(near.row[near.distance_m < 0]) == {1}


def test_the_gradient_of_a_distance_is_its_slope() -> None:
    body = arm("panda")
    q = body.home.copy()
    q[1], q[3], q[5] = 0.9, -2.95, 1.0
    clearance, kinematics = Clearance(body), Kinematics(body)
    near = clearance.near(q[None], kinematics.poses(q[None]), 0.15)
    assert len(near.row)
    k = int(np.argmax(np.abs(near.gradient).max(axis=1)))
    slope = np.empty(body.dof)
    for j in range(body.dof):
        both = np.stack([q, q])
        both[0, j] -= 1e-5
        both[1, j] += 1e-5
        found = clearance.near(both, kinematics.poses(both), 0.3)
        of_pair = found.distance_m[found.pair == near.pair[k]]
        slope[j] = (of_pair[1] - of_pair[0]) / 2e-5
    np.testing.assert_allclose(near.gradient[k], slope, atol=0.02)


def test_capsules_around_shapes_miss_no_pair() -> None:
    import pinocchio as pin

    body = arm("ur5e")
    clearance, kinematics = Clearance(body), Kinematics(body)
    rng = np.random.default_rng(3)
    q = rng.uniform(np.maximum(body.lower, -np.pi), np.minimum(body.upper, np.pi), (40, body.dof))
    near = clearance.near(q, kinematics.poses(q), 0.0)
    data, shapes = body.model.createData(), body.geometry.createData()
    for row in range(len(q)):
        pin.computeCollisions(body.model, data, body.geometry, shapes, q[row], False)
        truth = {k for k, result in enumerate(shapes.collisionResults) if result.isCollision()}
        assert truth == set(near.pair[near.row == row])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 9))
def test_a_chain_is_solved_as_the_dense_matrix_would_be(seed: int, d: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    chain, dense = Chain(n, d), np.zeros((n * d, n * d))
    gradient = rng.normal(size=(n, d))
    for i in range(n):
        A = rng.normal(size=(d + 2, d))
        block = A.T @ A + np.eye(d)
        dense[i * d : (i + 1) * d, i * d : (i + 1) * d] = block
        whole = np.zeros((n, d, d))
        whole[i] = block
        chain.add_rows(whole, np.zeros((n, d)))
    chain.add_diagonal(np.zeros((n, d)), gradient)
    right = gradient.reshape(-1).copy()
    if n > 2:
        stencil, values = rng.normal(size=(n - 2, 3)), rng.normal(size=(n - 2, d))
        chain.add_difference(0, stencil, np.ones((n - 2, d)), values)
        for i in range(n - 2):
            for a in range(d):
                row = np.zeros(n * d)
                row[[(i + k) * d + a for k in range(3)]] = stencil[i]
                dense += np.outer(row, row)
                right += row * values[i, a]
    step = chain.step(np.zeros(n), np.zeros((n, d), bool), np.zeros((n, d)))
    assert step is not None
    np.testing.assert_allclose(step.reshape(-1), np.linalg.solve(dense, -right), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_slowing_down_ends_within_limits_and_never_hurries(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q = np.cumsum(rng.normal(size=(40, 3)), axis=0) * 0.2
    t_s = np.arange(40) * 0.05
    velocity, acceleration = np.array([1.0, 2.0, 3.0]), np.array([5.0, 5.0, 8.0])
    slow = slowed(q, t_s, velocity, acceleration)
    speed, force = rates(q, slow)
    assert np.all(np.diff(slow) >= np.diff(t_s) * (1 - 1e-9))
    assert np.all(np.abs(speed) <= velocity * (1 + 1e-6)) and np.all(np.abs(force) <= acceleration * (1 + 1e-3))


def test_a_motion_within_limits_is_not_slowed_down() -> None:
    t_s = np.arange(20) * 0.1
    q = np.sin(t_s)[:, None] * 0.1
    np.testing.assert_array_equal(slowed(q, t_s, np.ones(1), 5 * np.ones(1)), t_s)


def walk() -> Targets:
    """Both hands before a wearer who walks three metres and works at either end."""
    n = 160
    share = np.clip((np.arange(n) - 50) / 60, 0, 1)
    share = share**2 * (3 - 2 * share)
    head = geometry.se3(np.eye(3), np.column_stack([3 * share, 0 * share, np.full(n, 1.5)]))
    hands: dict[Side, Trajectory] = {}
    R = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    for side, y in (("left", 0.25), ("right", -0.25)):
        stir = 0.05 * np.sin(np.arange(n) / 8)
        p = np.column_stack([3 * share + 0.45 + stir, np.full(n, y), np.full(n, 1.0)])
        hands[side] = recorded(geometry.se3(np.broadcast_to(R, (n, 3, 3)), p), side)  # type: ignore[index, arg-type]
    return targets(hands, replace(recorded(head), body="head"))


def test_a_wheeled_base_goes_along_within_its_speed() -> None:
    robot = read_robot("panda_duo_mobile")
    solution = solve(robot, walk(), (), (0.0, 0.0))
    base = solution.motion.q[:, solution.body.base]
    assert base[-1, 0] - base[0, 0] > 1.5
    speed, _ = rates(base, solution.t_robot_s)
    assert np.abs(speed[:, :2]).max() <= robot.base.speed_m_s * (1 + 1e-6)
    assert solution.reached.mean() > 0.95


def test_a_base_that_walks_stands_while_it_can() -> None:
    wanted = walk()
    base = Base("walking", 0.8, 1.0, 1.0, 2.0, None, "")
    path = base_path(person(wanted), wanted.t_s, base, PathParams())
    moving = np.abs(np.diff(path[:, 0])) > 1e-9
    assert 0.05 < moving.mean() < 0.8
    assert np.abs(np.diff(path[:, 0]) / np.diff(wanted.t_s)).max() <= 0.8 * (1 + 1e-6)
    assert path[-1, 0] - path[0, 0] > 2.0


def test_a_base_that_can_go_along_stands_where_it_reaches_all() -> None:
    wanted = walk().rows(np.arange(40))
    solution = solve(read_robot("panda_duo_mobile"), wanted, (), (0.0, 0.0))
    base = solution.motion.q[:, solution.body.base]
    assert np.ptp(base[:, :2], axis=0).max() < 0.05
    assert solution.reached.mean() > 0.95


def test_a_base_keeps_out_of_furniture_from_wherever_it_is_seen() -> None:
    table = np.array([[1.0, -0.5, 0.8], [2.0, -0.5, 0.8], [2.0, 0.5, 0.8], [1.0, 0.5, 0.8]])
    inside, before, above = (geometry.se3(np.eye(3), p) for p in ([1.5, 0, 0.1], [0.5, 0, 0.1], [1.5, 0, 0.8]))
    where = np.stack([inside, before, above])
    np.testing.assert_array_equal(Ground([table]).allows(where), [False, True, True])
    # Seen from a person who steps forward, a place before the table ends up in it.
    steps = np.stack([np.eye(4), geometry.se3(np.eye(3), [1.0, 0, 0])])
    np.testing.assert_array_equal(Ground([table], T_world_there=steps).allows(where), [False, False, True])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_way_to_the_beginning_is_within_limits_and_at_rest_at_either_end(seed: int) -> None:
    body = arm("panda")
    rng = np.random.default_rng(seed)
    start, first = rng.uniform(body.lower, body.upper, (2, body.dof))
    way = approach(follower("panda", collide=True), start, first)
    np.testing.assert_array_equal(way.q[[0, -1]], [start, first])
    assert np.all(way.q >= body.lower - 1e-9) and np.all(way.q <= body.upper + 1e-9)
    speed, acceleration = rates(way.q, way.t_s)
    assert np.all(np.abs(speed) <= body.velocity) and np.all(np.abs(acceleration) <= body.acceleration)
    assert np.abs(speed[[0, -1]]).max() < 0.1 * np.abs(speed).max()


def test_a_start_that_is_no_posture_of_the_robot_is_told_by_its_joint() -> None:
    body = arm("panda")
    with pytest.raises(RetargetError, match="3 numbers for 7 joints"):
        start_posture(body, [0, 0, 0], np.empty(0))
    with pytest.raises(RetargetError, match="panda_joint4"):
        start_posture(body, [0.0] * 3 + [1.0] + [0.0] * 3, np.empty(0))


def test_a_gripper_turned_half_round_points_the_same_way_from_the_same_place() -> None:
    wanted = reachable("panda")
    other = turned(wanted, ["right"])
    a, b = (t.goals["right"].T_world_tcp for t in (wanted, other))
    np.testing.assert_array_equal(a[:, :3, 2:], b[:, :3, 2:])
    np.testing.assert_array_equal(a[:, :3, :2], -b[:, :3, :2])
    back = turned(other, ["right"]).goals["right"]
    np.testing.assert_array_equal(back.T_world_tcp, a)
    # What a pose is trusted to goes with it: an error in the world costs the same.
    shift = np.array([0.003, -0.001, 0.002])
    costs = [
        np.linalg.norm(
            np.einsum(
                "nij,nj->ni", np.swapaxes(g.root[:, 3:, 3:], 1, 2), g.T_world_tcp[:, :3, :3].swapaxes(1, 2) @ shift
            ),
            axis=1,
        )
        for g in (wanted.goals["right"], other.goals["right"])
    ]
    np.testing.assert_allclose(costs[0], costs[1])


def test_hulls_that_were_kept_are_those_that_were_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pinocchio as pin

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    description = load_description(read_robot("ur5e"))
    model = pin.buildModelFromXML(description.xml)

    def corners() -> list[Array]:
        return [shape_points(shape.geometry) for shape in hulls.convex_shapes(model, description).geometryObjects]

    made, kept = corners(), corners()
    (file,) = (tmp_path / "handcap" / "hulls").glob("*.npz")
    file.write_bytes(file.read_bytes()[:200])
    for again in (kept, corners()):
        for a, b in zip(made, again, strict=True):
            np.testing.assert_array_equal(a, b)


def test_two_arms_of_their_own_do_not_cross() -> None:
    wanted = walk().rows(np.arange(40))
    solution = solve(read_robot("ur5e"), wanted)
    left, right = (solution.placements[side].T_world_base[1, 3] for side in ("left", "right"))
    assert left > right
    assert not solution.touching.any()


def test_physics_follows_the_motion() -> None:
    pytest.importorskip("mujoco")
    from handcap.retarget.physics import play

    body = arm("panda")
    q = sway(body, n=20)
    played = play(body, q, np.arange(20) * 0.05)
    assert np.percentile(played.tool_error_m, 95) < 2e-3
    assert played.contacts.max() == 0
    assert np.nanmax(played.torque_share) < 1.0


@pytest.mark.parametrize("name", robot_names())
def test_every_robot_that_is_shipped_can_be_read(name: str) -> None:
    robot = read_robot(name)
    assert robot.name == name and robot.title


@pytest.mark.parametrize("robot", arms(), ids=lambda robot: robot.name)
def test_every_arm_that_is_shipped_can_be_put_together(robot) -> None:
    sides: tuple[Side, ...] = ("right",)
    body = build(robot, sides, shapes=False)
    assert len(body.tools) == 1
    assert np.all(body.home >= body.lower) and np.all(body.home <= body.upper)
    assert np.all(body.velocity > 0) and np.all(body.acceleration > 0)


@pytest.mark.parametrize("urdf", ["xarm_description/urdf/xarm7.urdf", "z1_description/urdf/z1.urdf"])
def test_a_robot_that_nobody_prepared_follows_by_toml_alone(tmp_path: Path, urdf: str) -> None:
    """The Z1 has links that are called like the joints that hold them."""
    from handcap.retarget.describe import describe

    source = package_folder("example-robot-data") / "robots" / urdf
    (tmp_path / source.name).write_bytes(source.read_bytes())
    written = describe(tmp_path / source.name)
    assert written.outputs[1].read_bytes()[:4] == b"\x89PNG"
    body = build(read_robot(written.outputs[0]), ("right",))
    wanted = targets({"right": recorded(tool_poses(body, sway(body)))})
    solution = follow(body, wanted, {}, None, RetargetParams())
    assert solution.reached.mean() > 0.98


def test_a_frame_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    from handcap.retarget.robot import _SHIPPED

    text = (_SHIPPED / "iiwa14.toml").read_text().replace('tool = "flange"', 'tool = "hand"')
    (tmp_path / "mine.toml").write_text(text)
    (tmp_path / "iiwa14.urdf").write_bytes((_SHIPPED / "iiwa14.urdf").read_bytes())
    with pytest.raises(RetargetError) as told:
        build(read_robot(tmp_path / "mine.toml"), ("right",))
    assert "flange" in (told.value.mend or "")


def test_seen_from_a_base_the_work_keeps_its_shape() -> None:
    wanted = reachable("panda")
    T = geometry.se3(geometry.so3_exp([0.0, 0.0, 0.7]), [1.0, 2.0, 3.0])
    seen = seen_from(wanted, T)
    back = seen_from(seen, geometry.inverse(T))
    np.testing.assert_allclose(back.goals["right"].T_world_tcp, wanted.goals["right"].T_world_tcp, atol=1e-12)
