"""Runs dex-retargeting over a recorded hand. For the peer's own Python (dex_retargeting.txt), not for ours.

    python dex_retargeting_run.py DATA HAND LOW_PASS OUT.npz

Its own default settings for teleoperation of that right hand, frame after frame; LOW_PASS 1 is without its filter.
Leaves joints (n, dof) in pinocchio's order with their names, the error of its vectors and the seconds it computed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import dex_retargeting  # pyright: ignore[reportMissingImports]
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import yaml
from dex_retargeting.retargeting_config import RetargetingConfig  # pyright: ignore[reportMissingImports]

WARM = 30  # frames before its time counts


def main() -> None:
    data, hand, low_pass, out = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), Path(sys.argv[4])
    torch.set_num_threads(1)
    joints = np.load(data / "hands/dex_retargeting/example/profiling/human_joint_right.npy").astype(float)
    RetargetingConfig.set_default_urdf_dir(str(data / "robots/dex-urdf/hands"))
    settings = Path(dex_retargeting.__file__).parent / f"configs/teleop/{hand}_hand_right.yml"
    config = yaml.safe_load(settings.read_text())["retargeting"]
    config["urdf_path"] = config["urdf_path"].replace("_glb", "")
    config["low_pass_alpha"] = low_pass
    retargeting = RetargetingConfig.from_dict(config).build()
    optimizer = retargeting.optimizer
    origin, task = optimizer.target_link_human_indices
    vectors = joints[:, task] - joints[:, origin]
    q: list[np.ndarray] = []
    seconds: list[float] = []
    for wanted in vectors:
        began = time.process_time()
        q.append(retargeting.retarget(wanted))
        seconds.append(time.process_time() - began)
    robot = optimizer.robot
    heads = [robot.get_link_index(name) for name in config["target_task_link_names"]]
    tails = [robot.get_link_index(name) for name in config["target_origin_link_names"]]
    errors = []
    for row, wanted in zip(q, vectors, strict=True):
        robot.compute_forward_kinematics(row)
        ends, starts = (np.array([robot.get_link_pose(link)[:3, 3] for link in links]) for links in (heads, tails))
        errors.append(np.linalg.norm(ends - starts - wanted * config["scaling_factor"], axis=1))
    np.savez(
        out,
        q=np.array(q),
        names=np.array(robot.dof_joint_names),
        errors=np.array(errors),
        hz=1 / np.mean(seconds[WARM:]),
    )


if __name__ == "__main__":
    main()
