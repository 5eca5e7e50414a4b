"""A simulated session: whole, repeatable, and true to its own truth."""

from __future__ import annotations

import json
import os
import signal
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from handcap import geometry, session, sim
from handcap.clock import nanoseconds
from handcap.errors import HandcapError, SessionError, UsageError
from handcap.sim import pictures, rigs, world
from handcap.sim.faults import parse_fault
from handcap.sim.imu import RAW_PART
from handcap.sim.rigs import PRINTED
from handcap.sim.sensors import Sensors, sense
from handcap.sim.streams import WirePacket
from handcap.types import Trajectory

Process = get_context("spawn").Process


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


ALL_AT_ONCE = {
    "rig": "head-stereo+right+bare",
    "seconds": 1.0,
    "seed": 4,
    "params": sim.SimulationParams(
        line_delay_s=3e-5,
        blur=True,
        codec="h264",
        imu=RAW_PART,
        scatter=PRINTED,
        faults=(parse_fault("lost_frames@1.2-1.8:right"), parse_fault("usb_jitter@1.0-2.0:head_left")),
        depth=True,
    ),
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sim.simulate(tmp_path_factory.mktemp("sim") / "all", **ALL_AT_ONCE)  # type: ignore[arg-type]


@pytest.mark.slow  # on few cores as on many: the test of helpers shows the same in a tenth of the time
def test_one_core_writes_the_same_bytes_as_all(everything: Path, tmp_path: Path) -> None:
    alone = Process(target=_on_one_core, args=(tmp_path / "again",))
    alone.start()
    alone.join()
    assert alone.exitcode == 0
    names = [p.relative_to(everything) for p in sorted(everything.rglob("*")) if p.is_file()]
    assert len(names) > 60
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (everything / name).read_bytes(), name


def _on_one_core(out: Path) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sim.simulate(out, **ALL_AT_ONCE)  # type: ignore[arg-type]


def test_a_full_session_has_every_sensor_and_its_truth(everything: Path) -> None:
    take = session.read(everything).take("0001")
    assert take.cameras == ("head_left", "head_right", "right")
    assert take.devices == ("head", "right")
    for name in ("head", "head_imu", "right_tcp", "right_imu", "left_hand", "objects/bottle"):
        assert (everything / "truth" / f"{name}.parquet").exists(), name
    hand = pq.read_table(everything / "truth/left_hand.parquet")
    joints = np.array(hand["joints_world"].to_pylist()).reshape(-1, 21, 3)
    wrist = np.column_stack([hand[f"p_world_{axis}"].to_numpy() for axis in "xyz"])
    np.testing.assert_allclose(joints[:, 0], wrist, atol=1e-9)
    facts = json.loads((everything / "truth/truth.json").read_text())
    assert [fault["kind"] for fault in facts["faults"]] == ["lost_frames", "usb_jitter"]
    assert set(facts["dt_imu_cam_s"]) == {"head_left", "head_right", "right"}
    assert set(facts["clocks"]) == {"right"}  # the first device's clock is the session's


def test_faults_strike_what_they_name_in_the_recording(everything: Path) -> None:
    take = session.read(everything).take("0001")
    truth = session.read_trajectory(everything / "truth/right_tcp.parquet")
    assert len(take.camera_stamps("right")) < 20 == len(take.camera_stamps("head_right"))
    np.testing.assert_array_equal(take.camera_stamps("right"), truth.camera_t_ns)
    late_ns = take.camera_stamps("head_left") - take.camera_stamps("head_right")
    assert np.all(late_ns >= 0) and late_ns.max() < 1_200_000  # put back onto the beat
    assert take.late_pictures("head_left")[1] > 0.002


def test_a_rig_off_its_drawing_is_told_in_the_truth(everything: Path) -> None:
    drawn, true = (session.read_rig(everything / folder / "rig.json") for folder in ("", "truth"))
    for name, camera in true.cameras.items():
        off = geometry.inverse(drawn.cameras[name].T_imu_cam) @ camera.T_imu_cam
        assert 1e-4 < np.linalg.norm(off[:3, 3]) < 0.01
        assert camera.camera.params[0] != drawn.cameras[name].camera.params[0]


def test_one_serial_number_is_one_rig_in_every_room(tmp_path: Path) -> None:
    params = sim.SimulationParams(scatter=PRINTED, serial=7, imu=RAW_PART)
    for seed, folder in ((1, "a"), (2, "b")):
        sim.simulate(tmp_path / folder, rig="gripper", seconds=1.0, seed=seed, params=params)
    one, other = (tmp_path / folder / "truth" for folder in "ab")
    assert (one / "rig.json").read_bytes() == (other / "rig.json").read_bytes()
    facts = [json.loads((truth / "truth.json").read_text()) for truth in (one, other)]
    assert facts[0]["encoders"] == facts[1]["encoders"]
    assert facts[0]["imus"] == facts[1]["imus"]


def test_depth_pictures_are_no_farther_than_the_middle_of_what_stands_there(everything: Path) -> None:
    files = sorted((everything / "truth/depth/head_left").glob("*.png"))
    assert len(files) == 20
    depth_mm = cv2.imread(str(files[10]), cv2.IMREAD_UNCHANGED)
    assert depth_mm.dtype == np.uint16 and depth_mm.shape == (480, 640)
    rig = session.read_rig(everything / "truth/rig.json")
    head = session.read_trajectory(everything / "truth/head_imu.parquet")
    t_ns = int(files[10].stem)
    T_world_cam = geometry.interpolate_poses(head.t_ns, head.T_world_body, np.array([t_ns]))[0]
    T_world_cam = T_world_cam @ rig.cameras["head_left"].T_imu_cam
    truth = session.read_trajectory(everything / "truth/objects/bottle.parquet")
    row = int(np.argmin(np.abs(truth.t_ns - t_ns)))
    middle = geometry.transform(truth.T_world_body[row], [0.0, 0.0, 0.08])
    p_cam = geometry.transform(geometry.inverse(T_world_cam), middle)
    px, inside = rig.cameras["head_left"].camera.project(p_cam)
    assert inside and rig.cameras["head_left"].camera.in_picture(px[None])[0]
    u, v = np.rint(px).astype(int)
    # The bottle's near side, or what stands before it.
    assert 0 < depth_mm[v, u] / 1000 < p_cam[2]


def test_the_jaw_encoder_says_how_far_the_jaws_are_open() -> None:
    params = sim.SimulationParams()
    rig = rigs.drawn("gripper", 6)
    sensors = Sensors.of(rig, 15.0, params, 6)
    played = world.build("kitchen", rig, rigs.parse("gripper"), "tidy", params.head, sensors.end_s, 6)
    packets = [p for p in sense(played, sensors)._encoder_packets("right") if isinstance(p, WirePacket)]
    said = [p.envelope.encoder for p in packets]
    t_ns = np.concatenate([e.first_sample_t_ns + e.period_ns * np.arange(len(e.angle_counts)) for e in said])
    counts = np.concatenate([np.array(e.angle_counts) for e in said])
    opening_m = sensors.encoders["right"].opening_m(counts)
    true_m = played.opening_m["right"].at(t_ns / 1e9)[:, 0]
    assert np.ptp(true_m) > 0.01
    assert np.abs(opening_m - true_m).max() < 1e-4


def test_a_recorded_path_is_walked_again(tmp_path: Path) -> None:
    t_s = np.arange(0.0, 6.0, 0.1)
    T = geometry.se3(
        geometry.so3_exp(0.1 * np.sin(t_s)[:, None] * [0.0, 0.5, 1.0]), 0.1 * np.sin(t_s[:, None] * [1, 2, 3])
    )
    nan, yes = np.full((len(t_s), 6, 6), np.nan), np.ones(len(t_s), bool)
    path = Trajectory("head", nanoseconds(t_s), nanoseconds(t_s), T, nan, yes)
    out = sim.simulate(tmp_path / "s", seconds=3.0, seed=1, head_path=path)
    truth = session.read_trajectory(out / "truth/head_imu.parquet")
    # Time 0 is 0.15 s after the path begins.
    want = geometry.interpolate_poses(path.t_ns, path.T_world_body, truth.t_ns + 150_000_000)
    one, other = (np.linalg.norm(np.diff(x[::40, :3, 3], axis=0), axis=-1) for x in (want, truth.T_world_body))
    np.testing.assert_allclose(one, other, atol=3e-3)  # smoothed as a hand would
    with pytest.raises(UsageError, match="ask for at most"):
        sim.simulate(tmp_path / "long", seconds=30.0, head_path=path)


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
        ({"params": sim.SimulationParams(task="juggle")}, "tidy"),
        ({"params": sim.SimulationParams(line_delay_s=1e-3)}, "104 µs"),
        ({"rig": "gripper", "params": sim.SimulationParams(task="look")}, "tidy"),
        ({"params": sim.SimulationParams(faults=(parse_fault("unplug@1-2:left"),))}, "head"),
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


def test_helpers_in_other_processes_change_no_byte(recorded: Path, tmp_path: Path, with_helper: None) -> None:
    other = sim.simulate(tmp_path / "b", seconds=1.0, seed=3, dt_imu_cam_s=0.008)
    assert _bytes_of(other) == _bytes_of(recorded)


def test_a_helper_that_dies_is_told_and_leaves_no_session(
    tmp_path: Path, with_helper: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nkill -KILL $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(dying))
    with pytest.raises(SessionError, match=f"ended unexpectedly .code -{signal.SIGKILL:d}") as told:
        sim.simulate(tmp_path / "b", seconds=1.0, seed=3)
    assert told.value.mend
    assert os.listdir(tmp_path) == ["python"]


@pytest.fixture
def with_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes for takes that are too short for it."""
    monkeypatch.setattr(pictures, "_SHARE", 10)
    monkeypatch.setattr(pictures, "cores", lambda: 2)


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
