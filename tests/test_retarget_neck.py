"""A robot's head looks where the wearer looked, with its neck and waist, and never at the tools' cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pinocchio", reason="the extra `retarget` is not installed")

from handcap.errors import RetargetError
from handcap.geometry import Array, se3, so3_exp
from handcap.retarget.kinematics import Kinematics
from handcap.retarget.model import build
from handcap.retarget.recorded import looking
from handcap.retarget.robot import package_folder, read_robot
from handcap.retarget.solve import solve
from handcap.retarget.targets import targets
from handcap.sim import rigs
from handcap.types import Trajectory

try:
    package_folder("example-robot-data")
except RetargetError:
    pytest.skip("the extra `robots` is not installed", allow_module_level=True)

TALOS = """
name = "talos"
title = "TALOS, right arm"
kind = "humanoid"
waist = ["torso_1_joint", "torso_2_joint", "head_1_joint", "head_2_joint"]
head = "head_2_link"
[description]
package = "example-robot-data"
path = "robots/talos_data/robots/talos_reduced.urdf"
[[arms]]
side = "right"
base = "base_link"
tool = "gripper_right_base_link"
joints = [
    "arm_right_1_joint", "arm_right_2_joint", "arm_right_3_joint", "arm_right_4_joint", "arm_right_5_joint",
    "arm_right_6_joint", "arm_right_7_joint",
]
T_tool_tcp = [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, -0.12], [0, 0, 0, 1]]
home = [-0.2, -0.4, 0.0, -1.2, 0.0, 0.0, 0.0]
acceleration = [10, 10, 10, 10, 10, 10, 10]
limits_source = "declared for this test"
"""
N = 60


def body_of(name: str, T: Array) -> Trajectory:
    t_ns = np.arange(N, dtype=np.int64) * 50_000_000
    return Trajectory(name, t_ns, t_ns, T, np.tile(1e-7 * np.eye(6), (N, 1, 1)), np.ones(N, bool))


def test_a_humanoid_with_a_neck_looks_where_the_wearer_looked(tmp_path: Path) -> None:
    file = tmp_path / "talos.toml"
    file.write_text(TALOS)
    robot = read_robot(file)
    body = build(robot, ["right"], shapes=False)
    assert body.head is not None
    kinematics, (tool,) = Kinematics(body), body.tools
    at_home = kinematics.poses(body.home[None])
    head, _ = kinematics.frame(at_home, *body.head)
    tcp, _ = kinematics.frame(at_home, tool.joint, tool.T_joint_tcp)
    t = np.arange(N) / 20
    yaw = 0.6 * np.sin(2 * t)
    looks = se3(so3_exp(np.stack([0 * yaw, 0 * yaw + 0.2, yaw], axis=1)), np.tile(head[0, :3, 3], (N, 1)))
    sway = np.tile(tcp[0], (N, 1, 1))
    sway[:, :3, 3] += np.column_stack([0.03 * np.sin(t), 0.03 * np.cos(t), 0.02 * np.sin(2 * t)])
    solution = solve(robot, targets({"right": body_of("right_tcp", sway)}, body_of("head", looks)))
    assert solution.body.head is not None
    there, _ = (kinematics := Kinematics(solution.body)).frame(kinematics.poses(solution.motion.q), *solution.body.head)
    turned = np.unwrap(np.arctan2(there[:, 1, 0], there[:, 0, 0]))
    assert np.corrcoef(turned, yaw)[0, 1] > 0.9
    assert np.ptp(turned) > 0.5 * np.ptp(yaw)
    assert np.nanmedian(solution.motion.position_error_m) < 1e-3
    neck = solution.motion.q[:, [solution.body.joints.index("head_2_joint")]]
    assert np.ptp(neck) > 0.2  # not with its waist alone


def test_where_the_head_looks_does_not_depend_on_how_its_chip_is_glued_on() -> None:
    rig = rigs.drawn("head", 1, 0.0)
    (camera,) = [rig.cameras[name] for name in ("head", "head_left") if name in rig.cameras][:1]
    T_world_cam = se3(so3_exp(np.tile([0.1, 0.2, 0.3], (N, 1))), np.zeros((N, 3)))
    head = body_of("head", T_world_cam @ np.linalg.inv(camera.T_imu_cam))
    look = looking(head, rig).T_world_body
    np.testing.assert_allclose(look[:, :3, 0], T_world_cam[:, :3, 2], atol=1e-9)  # ahead
    np.testing.assert_allclose(look[:, :3, 2], -T_world_cam[:, :3, 1], atol=1e-9)  # up
