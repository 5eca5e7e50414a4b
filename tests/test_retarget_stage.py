"""A reconstructed session in, joint motion and a report out; the same bytes every time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from handcap import geometry, session
from handcap.cli.app import main
from handcap.errors import RetargetError
from handcap.geometry import Array
from handcap.retarget.robot import package_folder
from handcap.sim import rigs
from handcap.types import Trajectory

pytest.importorskip("pinocchio", reason="the extra `retarget` is not installed")
for package in ("example-robot-data", "airo-models"):
    try:
        package_folder(package)
    except RetargetError:
        pytest.skip("the extra `robots` is not installed", allow_module_level=True)

N = 40
LOST = slice(10, 14)


def trajectory(body: str, T: Array, lost: slice | None = None) -> Trajectory:
    tracked = np.ones(N, bool)
    if lost is not None:
        tracked[lost] = False
        T = T.copy()
        T[lost] = np.nan
    t_ns = 1_000_000_000 + np.arange(N, dtype=np.int64) * 50_000_000
    cov = np.tile(np.diag(np.repeat([0.0005, 0.0003], 3) ** 2), (N, 1, 1))
    return Trajectory(body, t_ns, t_ns, T, cov, tracked)


@pytest.fixture(scope="session")
def reconstructed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A take of two seconds: the right gripper stirs before the wearer, over a table, and is lost for a moment."""
    path = tmp_path_factory.mktemp("sessions") / "kitchen"
    meta = session.SessionMeta(
        id="stirring",
        created="2026-01-01T00:00:00Z",
        origin="simulation",
        clock=session.SessionClock(kind="simulation", utc_offset_ns=0),
    )
    with session.create(path, meta, rigs.drawn("full", 1, 0.0)) as writer, writer.start_take():
        pass
    stored = session.read(path)
    t = np.arange(N) / 20
    R = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    p = np.column_stack([0.5 + 0.1 * np.sin(t), -0.2 + 0.1 * np.cos(t), np.full(N, -0.45)])
    head = geometry.se3(np.eye(3), np.zeros((N, 3)))
    x, y, z = 0.3, 0.6, -0.6
    polygon = [[x, -y, z], [1.2, -y, z], [1.2, y, z], [x, y, z]]
    planes = [{"kind": "surface", "height_m": z, "polygon_world": polygon}]
    with session.write_stage(stored, "0001", "reconstruct") as folder:
        session.write_report(folder, {"verdict": "ok", "causes": [], "spans_ok_s": [[0.0, 1.95]], "planes": planes})
        session.write_trajectory(folder / "head.parquet", trajectory("head", head))
        tool = trajectory("right_tcp", geometry.se3(np.broadcast_to(R, (N, 3, 3)), p), LOST)
        session.write_trajectory(folder / "right_tcp.parquet", tool, {"width_m": np.linspace(0.0, 0.09, N)})
    return path


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--json"])
    out = capsys.readouterr().out
    return int(end.value.code or 0), json.loads(out or "{}")


@pytest.fixture
def kitchen(reconstructed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reconstructed, tmp_path / "kitchen"))


def test_a_take_becomes_joint_motion_with_a_verdict(kitchen: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, told = run(["retarget", str(kitchen), "--robot", "panda"], capfd)
    assert code == 0 and told["ok"] and told["summary"]["takes"] == {"0001": "ok"}
    folder = kitchen / "derived" / "0001" / "retarget"
    table = pq.read_table(folder / "panda.parquet")
    names = table.column_names
    assert names[0] == "t_ns" and {"reachable", "position_error_m", "rotation_error_rad", "panda_joint7"} <= set(names)
    reachable = table["reachable"].to_pylist()
    assert reachable[LOST] == [None] * 4
    assert [each for k, each in enumerate(reachable) if k not in range(10, 14)] == [True] * (N - 4)
    # Jaws that open wider than the robot's are cut to its stroke, and it is said.
    assert max(table["panda_finger_joint1"].to_pylist()) == pytest.approx(0.04)
    report = session.read_report(folder)
    assert "robot_stroke" in [cause["code"] for cause in report["robots"]["panda"]["causes"]]
    assert report["robots"]["panda"]["numbers"]["largest_step_share"] <= 1 + 1e-6


def test_a_second_run_gives_the_same_bytes(kitchen: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for out in ("a", "b"):
        run(["retarget", str(kitchen), "--robot", "ur5e", "--out", str(tmp_path / out)], capfd)
    for file in ("ur5e.parquet", "report.json"):
        first, second = ((tmp_path / out / "0001" / file).read_bytes() for out in ("a", "b"))
        assert first == second


def test_another_robot_leaves_the_first_ones_motion(kitchen: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("ur5e", "iiwa14"):
        run(["retarget", str(kitchen), "--robot", name], capfd)
    folder = kitchen / "derived" / "0001" / "retarget"
    assert sorted(session.read_report(folder)["robots"]) == ["iiwa14", "ur5e"]
    assert (folder / "ur5e.parquet").is_file() and (folder / "iiwa14.parquet").is_file()


def test_a_replay_is_written_whole_and_never_over_another(
    kitchen: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    replay = tmp_path / "robot.rrd"
    arguments = ["retarget", str(kitchen), "--robot", "iiwa14", "--save", str(replay)]
    assert run(arguments, capfd)[0] == 0
    assert replay.stat().st_size > 10_000
    code, told = run(arguments, capfd)
    assert code == 1 and "exists" in told["error"]["what"]


def test_a_session_without_grippers_says_so(kitchen: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (kitchen / "derived" / "0001" / "reconstruct" / "right_tcp.parquet").unlink()
    code, told = run(["retarget", str(kitchen), "--robot", "panda"], capfd)
    assert code == 1 and "neither a gripper nor a hand" in told["error"]["what"]


def test_a_session_that_was_not_reconstructed_says_so(kitchen: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(kitchen / "derived")
    code, told = run(["retarget", str(kitchen), "--robot", "panda"], capfd)
    assert code == 1 and "reconstruct" in told["error"]["mend"]


def test_robots_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    code, told = run(["robots", "list"], capfd)
    assert code == 0
    assert {"panda", "ur5e", "ur10", "kinova", "so101", "g1", "iiwa14"} <= {
        r["name"] for r in told["summary"]["robots"]
    }
