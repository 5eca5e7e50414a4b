"""A reconstructed session in, joint motion and a report out; the same bytes every time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from handcap import geometry, retarget, session
from handcap.cli.app import main
from handcap.errors import RetargetError
from handcap.geometry import Array
from handcap.retarget.robot import package_folder, read_robot
from handcap.sim import rigs
from handcap.types import Trajectory
from tests.replays import entities

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


def test_robots_tried_together_move_as_each_does_alone(kitchen: Path, tmp_path: Path) -> None:
    """Each in a process of its own; one that cannot be used is told of and stops no other."""
    shipped = (Path(retarget.__file__).parent / "robots" / "iiwa14.toml").read_text()
    (tmp_path / "lost.toml").write_text(shipped.replace('name = "iiwa14"', 'name = "lost"'))
    robots = [read_robot("panda"), read_robot(tmp_path / "lost.toml"), read_robot("ur5e")]
    first, lost, last = retarget.run_session(kitchen, robots, out=tmp_path / "together")
    assert lost.verdict is None and "no such file" in (lost.error or "")
    for each in (first, last):
        assert each.verdict is not None
        retarget.run_session(kitchen, [each.robot], out=tmp_path / "alone")
        a, b = (tmp_path / way / "0001" / f"{each.robot.name}.parquet" for way in ("together", "alone"))
        assert a.read_bytes() == b.read_bytes()


def test_a_start_adds_the_way_from_there(kitchen: Path, capfd: pytest.CaptureFixture[str]) -> None:
    start = "0.3,-0.5,0.2,-1.9,0.1,1.7,0.5"
    code, _ = run(["retarget", str(kitchen), "--robot", "panda", "--start", start], capfd)
    folder = kitchen / "derived" / "0001" / "retarget"
    way, motion = (pq.read_table(folder / f"panda{kind}.parquet") for kind in (".approach", ""))
    names = [f"panda_joint{k}" for k in range(1, 8)]
    assert code == 0
    assert [way[name][0].as_py() for name in names] == [float(value) for value in start.split(",")]
    assert [way[name][-1].as_py() for name in names] == [motion[name][0].as_py() for name in names]
    assert way["t_s"][-1].as_py() == 0 and session.read_report(folder)["robots"]["panda"]["approach"]["lasts_s"] > 0
    code, told = run(["retarget", str(kitchen), "--robot", "panda", "--start", "0,x"], capfd)
    assert code == 1 and "no row of numbers" in told["error"]["what"]


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
    found, at = entities(replay), "/take_0001/iiwa14"
    # What a reviewer needs: the verdict in words, joints between limits, errors below what is allowed, arm and table,
    # and what the person did.
    assert "TextDocument:text" in found[f"{at}/verdict"]
    for plot in ("joints", "limits", "errors/tools", "errors/allowed"):
        assert {"Scalars:scalars", "SeriesLines:names"} <= found[f"{at}/{plot}"]
    shapes = [path for path, what in found.items() if "Mesh3D:vertex_positions" in what]
    assert any("/joint_0/" in path for path in shapes) and any("/joint_7/" in path for path in shapes)
    assert "Transform3D:quaternion" in found[f"{at}/world/robot/joint_7"]
    assert "Points3D:positions" in found[f"{at}/world/person/right_path"]
    assert "Transform3D:translation" in found[f"{at}/world/person/head"]
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


def test_actions_for_a_policy_are_written_and_told(kitchen: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["retarget", str(kitchen), "--robot", "ur5e", "--actions", "10"]
    with pytest.raises(SystemExit):
        main(arguments)
    assert "actions at 10 Hz" in capfd.readouterr().out
    folder = kitchen / "derived" / "0001" / "retarget"
    table = pq.read_table(folder / "ur5e.actions.parquet")
    assert table.num_rows == 20 and "right_recorded_action" in table.column_names
    told = session.read_report(folder)["robots"]["ur5e"]["actions"]
    assert told["sides"]["right"]["planned"]["round_trip_m"] < 1e-6
    # Another robot's run keeps the file.
    assert run(["retarget", str(kitchen), "--robot", "iiwa14"], capfd)[0] == 0
    assert (folder / "ur5e.actions.parquet").is_file()


def test_a_hand_without_an_arm_has_no_actions(kitchen: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, told = run(["retarget", str(kitchen), "--robot", "allegro", "--actions", "10"], capfd)
    assert code == 1 and "without an arm" in told["error"]["what"]
