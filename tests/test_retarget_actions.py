"""Actions of tools: nothing of the path is lost in them, and what is unknown stays unknown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytest.importorskip("pinocchio", reason="pip install 'handcap[retarget,robots]'")

import pyarrow.parquet as pq

from handcap.geometry import Array, se3, so3_exp
from handcap.retarget import actions
from handcap.retarget.actions import ActionParams, applied, make_actions, poses, relative, rows, write_actions
from handcap.retarget.model import build
from handcap.retarget.physics import Eye, mujoco_model
from handcap.retarget.robot import read_robot
from handcap.retarget.solve import Solution, solve
from handcap.retarget.targets import targets
from handcap.types import Side, Trajectory

pytest.importorskip("mujoco", reason="pip install 'handcap[retarget,robots]'")

twists = hnp.arrays(float, (12, 6), elements=st.floats(-1.5, 1.5))


@given(twists)
def test_one_action_after_the_other_gives_the_path_back(xi: Array) -> None:
    T = se3(so3_exp(xi[:, :3]), xi[:, 3:])
    written = poses(rows(relative(T, 3)))
    np.testing.assert_allclose(applied(T[0], written[:-1, 0]), T, atol=1e-6)
    # and an action of several steps is those steps one after the other
    np.testing.assert_allclose(written[4, 2], written[4, 0] @ written[5, 0] @ written[6, 0], atol=1e-6)


@given(twists, twists)
def test_actions_do_not_depend_on_where_the_world_is(xi: Array, other: Array) -> None:
    T, elsewhere = se3(so3_exp(xi[:, :3]), xi[:, 3:]), se3(so3_exp(other[:1, :3]), other[:1, 3:])
    moved = relative(elsewhere @ T, 4)
    np.testing.assert_allclose(moved, relative(T, 4), atol=1e-9)


def test_no_action_leads_to_or_from_what_is_unknown_or_beyond_the_end() -> None:
    T = np.tile(np.eye(4), (6, 1, 1))
    T[3] = np.nan
    known = np.isfinite(relative(T, 2)).all(axis=(2, 3))
    assert known.tolist() == [[True, True], [True, False], [False, True], [False, False], [True, False], [False, False]]


N = 60


def tool(side: Side, at: Array, lost: slice | None = None) -> Trajectory:
    t = np.arange(N) / 20
    R = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]) @ so3_exp(0.2 * np.sin(t)[:, None] * [0.3, 0.2, 1.0])
    sway = np.column_stack([0.05 * np.sin(t), 0.1 * np.cos(t), 0.03 * np.sin(2 * t)])
    T, tracked = se3(R, at + sway), np.ones(N, bool)
    if lost is not None:
        tracked[lost] = False
        T[lost] = np.nan
    t_ns = np.round(t * 1e9).astype(np.int64) + 7_000_000_000
    return Trajectory(f"{side}_tcp", t_ns, t_ns, T, np.tile(1e-7 * np.eye(6), (N, 1, 1)), tracked)


LOST = slice(20, 26)


@pytest.fixture(scope="module")
def solution() -> Solution:
    left, right = tool("left", np.array([0.6, 0.35, 0.0])), tool("right", np.array([0.6, -0.35, 0.0]), LOST)
    return solve(read_robot("panda"), targets({"left": left, "right": right}))


def table(path: Path, column: str, width: int) -> Array:
    values = pq.read_table(path)[column].to_pylist()
    return np.array([[np.nan if v is None else v for v in row] for row in values]).reshape(len(values), -1, width)


def test_what_is_written_gives_the_tools_paths_back_and_is_what_the_robot_does(
    solution: Solution, tmp_path: Path
) -> None:
    path = tmp_path / "panda.actions.parquet"
    params = ActionParams(rate_hz=10.0, horizon=4)
    width = np.linspace(0.0, 0.1, N)
    made = make_actions(solution, {"left": width}, solution.motion.q, params)
    write_actions(path, made)
    for side in ("left", "right"):
        for source in ("recorded", "planned", "played"):
            at = poses(table(path, f"{side}_{source}_pose", 7)[:, 0])
            steps = poses(table(path, f"{side}_{source}_action", 7))
            first = 14 if side == "right" and source == "recorded" else 0
            back = applied(at[first], steps[first:-1, 0])
            np.testing.assert_allclose(back, at[first:], atol=1e-6)
    stamps = pq.read_table(path, columns=["t_ns", "t_robot_ns"])
    assert set(np.diff(stamps["t_robot_ns"].to_numpy())) == {100_000_000}
    assert stamps["t_ns"][0].as_py() == 7_000_000_000
    seen = np.isfinite(table(path, "right_recorded_pose", 7)).all(axis=(1, 2))
    lost_s = solution.t_robot_s[[LOST.start - 1, LOST.stop]]
    step_s = np.arange(len(seen)) / 10
    np.testing.assert_array_equal(seen, (step_s < lost_s[0] + 1e-6) | (step_s > lost_s[1] - 1e-6))
    # Jaws of the robot open no wider than they can; the next opening is the action.
    wide = np.array(pq.read_table(path)["left_planned_width_m"].to_pylist())
    assert wide.max() == pytest.approx(0.08)
    np.testing.assert_allclose(table(path, "left_planned_action_width_m", 4)[:-1, 0, 0], wide[1:])
    between = poses(table(path, "left_in_right_planned", 7)[:, 0])
    left, right = (poses(table(path, f"{side}_planned_pose", 7)[:, 0]) for side in ("left", "right"))
    np.testing.assert_allclose(right @ between, left, atol=1e-6)


def test_the_report_tells_how_far_the_robots_actions_are_from_the_recorded_ones(solution: Solution) -> None:
    late = np.concatenate([solution.motion.q[:1], solution.motion.q[:-1]])  # physics that lags a row behind
    made = make_actions(solution, {}, late, ActionParams(rate_hz=10.0, horizon=4))
    told = actions.numbers(made)
    for side in ("left", "right"):
        of = told["sides"][side]
        assert all(each["round_trip_m"] < 1e-6 and each["round_trip_rad"] < 1e-6 for each in of.values())
        assert of["planned"]["step"]["mm"]["p95"] < 1.0 and of["planned"]["step"]["deg"]["p95"] < 0.5
        assert of["played"]["step"]["mm"]["max"] > 2 * of["planned"]["step"]["mm"]["max"]
    assert told["sides"]["right"]["recorded"]["known"] < 1 == told["sides"]["right"]["planned"]["known"]
    assert told["left_in_right"]["planned"]["mm"]["p95"] < 2.0


def test_a_camera_on_the_tool_sees_where_the_grippers_camera_looked() -> None:
    import mujoco

    body = build(read_robot("panda"), ("right",))
    T_tcp_cam = se3(so3_exp(np.array([0.3, -0.2, 0.1])), np.array([0.01, -0.06, -0.12]))
    model = mujoco_model(body, eyes={"right": Eye(T_tcp_cam, 1.2, 4 / 3, Path("unused.mp4"))})
    data = mujoco.MjData(model)
    data.qpos[:] = body.home
    mujoco.mj_forward(model, data)
    from handcap.retarget.kinematics import Kinematics

    (carried,) = body.tools
    wanted = Kinematics(body).poses(body.home[None]).T_world_joint[0, carried.joint] @ carried.T_joint_tcp @ T_tcp_cam
    np.testing.assert_allclose(data.cam_xpos[0], wanted[:3, 3], atol=1e-6)
    R = data.cam_xmat[0].reshape(3, 3)
    np.testing.assert_allclose(-R[:, 2], wanted[:3, 2], atol=1e-6)  # looks along our z
    np.testing.assert_allclose(-R[:, 1], wanted[:3, 1], atol=1e-6)
    assert np.rad2deg(1.2) == pytest.approx(float(model.cam_fovy[0]))
