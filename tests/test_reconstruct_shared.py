"""A gripper whose tags nobody sees is placed by the room that its camera and the head's both know."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from handcap import session as session_store
from handcap.geometry import inverse, se3, se3_exp, se3_log, yaw_rotation
from handcap.reconstruct import run_session
from handcap.reconstruct.score import carried_errors_m, in_world_of
from handcap.reconstruct.shared import follow


def test_a_world_that_turns_and_shifts_takes_its_poses_with_it() -> None:
    rng = np.random.default_rng(3)
    poses = se3_exp(rng.normal(0, 1, (5, 6)))
    T_head_own = se3(yaw_rotation(0.7), np.array([0.3, -0.2, 0.1]))
    by_world = follow(T_head_own @ poses, T_head_own)
    for k in range(4):
        off = np.zeros(4)
        off[k] = 1e-6
        truth = se3(yaw_rotation(0.7 + off[0]), T_head_own[:3, 3] + off[1:])
        errors = se3_log(inverse(T_head_own @ poses) @ truth @ poses)
        np.testing.assert_allclose(errors / 1e-6, by_world[:, :, k], atol=1e-4)


@pytest.mark.slow
def test_a_gripper_without_tags_is_found_in_the_room_of_the_head(
    demo: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    shutil.copytree(demo[0] / "session", folder, ignore=shutil.ignore_patterns("derived"))
    rig = json.loads((folder / "rig.json").read_text())
    rig["grippers"]["left"]["tags"] = [t for t in rig["grippers"]["left"]["tags"] if t["body"] != "tcp"]
    (folder / "rig.json").write_text(json.dumps(rig))
    (result,) = run_session(folder, hands=False)
    assert result.report["bodies"]["left_tcp"]["numbers"]["shared_landmarks"] >= 12
    assert result.report["bodies"]["left_tcp"]["numbers"]["tag_sightings"] == 0
    derived = folder / "derived/0001/reconstruct"
    truth, head = (
        session_store.read_trajectory(p) for p in (folder / "truth/head_imu.parquet", derived / "head.parquet")
    )
    tool = session_store.read_trajectory(derived / "left_tcp.parquet")
    off_m = carried_errors_m(
        in_world_of(truth, head), session_store.read_trajectory(folder / "truth/left_tcp.parquet"), tool
    )
    assert np.median(off_m) < 0.01
    sigma_m = np.sqrt(np.nanmedian(np.trace(tool.cov[:, 3:, 3:], axis1=1, axis2=2)))
    assert np.median(off_m) < 3 * sigma_m
