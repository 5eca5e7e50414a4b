"""A simulated session: whole, repeatable, and true to its own truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from handcap import session, sim
from handcap.errors import HandcapError


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sim.simulate(tmp_path_factory.mktemp("sim") / "a", seconds=1.0, seed=3, dt_imu_cam_s=0.008)


def test_camera_stamps_run_behind_the_truth_by_the_offset(recorded: Path) -> None:
    stamps = session.read(recorded).take("0001").camera_stamps("head")
    truth = session.read_trajectory(recorded / "truth" / "head.parquet")
    np.testing.assert_array_equal(truth.t_ns, stamps + 8_000_000)
    np.testing.assert_array_equal(truth.camera_t_ns, stamps)
    assert json.loads((recorded / "truth" / "truth.json").read_text())["dt_imu_cam_s"] == {"head": 0.008}
    assert session.read_rig(recorded / "rig.json").cameras["head"].dt_imu_cam_s == 0.0
    assert session.read_rig(recorded / "truth" / "rig.json").cameras["head"].dt_imu_cam_s == 0.008


def test_the_imu_runs_a_second_longer_at_both_ends(recorded: Path) -> None:
    take = session.read(recorded).take("0001")
    imu, stamps = take.imu("head"), take.camera_stamps("head")
    assert len(stamps) == 20
    assert imu.t_ns[0] == 0
    assert imu.t_ns[-1] >= stamps[-1] + 990_000_000
    assert set(np.diff(imu.t_ns)) == {5_000_000}


def test_the_world_begins_at_the_first_picture_and_looks_along_x(recorded: Path) -> None:
    T_world_imu = session.read_trajectory(recorded / "truth" / "head.parquet").T_world_body[0]
    T_imu_cam = session.read_rig(recorded / "truth" / "rig.json").cameras["head"].T_imu_cam
    forward_world = (T_world_imu @ T_imu_cam)[:3, 2]
    np.testing.assert_allclose(T_world_imu[:3, 3], 0, atol=1e-12)
    assert abs(forward_world[1]) < 1e-12 and forward_world[0] > 0


def test_the_first_picture_is_taken_on_the_move(recorded: Path) -> None:
    truth = session.read_trajectory(recorded / "truth" / "head.parquet")
    speed_m_s = np.linalg.norm(np.diff(truth.T_world_body[:3, :3, 3], axis=0), axis=-1) * 20
    assert np.all(speed_m_s > 0.1)


def test_the_same_arguments_give_the_same_bytes(recorded: Path, tmp_path: Path) -> None:
    again = sim.simulate(tmp_path / "b", seconds=1.0, seed=3, dt_imu_cam_s=0.008)
    names = [p.relative_to(recorded) for p in sorted(recorded.rglob("*")) if p.is_file() and p.name != "journal.sqlite"]
    assert len(names) >= 7
    for name in names:
        assert (again / name).read_bytes() == (recorded / name).read_bytes(), name


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"scene": "palace"}, "kitchen"),
        ({"rig": "tail"}, "head-stereo"),
        ({"rig": "head+head-wide"}, "one head"),
        ({"seconds": 0.5}, "3600"),
        ({"seconds": float("nan")}, "3600"),
        ({"seconds": 1e9}, "3600"),
        ({"dt_imu_cam_s": float("nan")}, "0.5"),
        ({"dt_imu_cam_s": 8.0}, "0.5"),
        ({"seed": -1}, "seed"),
    ],
)
def test_impossible_wishes_are_refused_before_any_work(tmp_path: Path, bad: dict[str, float], named: str) -> None:
    with pytest.raises(HandcapError, match=named):
        sim.simulate(tmp_path / "out", **bad)  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("mine")
    with pytest.raises(HandcapError, match="exists"):
        sim.simulate(tmp_path / "out", seconds=1.0)
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "diary.txt"]


def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sim.simulate(tmp_path / "out", seconds=1.0, on_progress=stop)
    assert not any(tmp_path.iterdir())
