"""Takes of one session in one room: what a later take learns of earlier ones, and that none of it can cost a take."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recording import RIG, new_session

from handcap import session as session_store
from handcap import sim
from handcap.geometry import Array, interpolate_poses, inverse, se3, yaw_rotation
from handcap.reconstruct import run_session
from handcap.reconstruct.result import ReconstructParams
from handcap.reconstruct.room import Room
from handcap.reconstruct.score import score, yaw_alignment
from handcap.reconstruct.session_map import ROOM_FILE, Earlier, SessionMapParams, in_session, read_room, write_room
from handcap.sim.person import HeadParams

DT_IMU_CAM_S = 0.008
ONLY_TURNS = HeadParams(aside=0.0, sway_m=0.001)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    """Two takes of somebody who moves about, and one of somebody who only turns the head."""
    folder = tmp_path_factory.mktemp("kitchen") / "session"
    params = sim.SimulationParams(later=(HeadParams(), ONLY_TURNS))
    sim.simulate(folder, seconds=5.0, seed=1, dt_imu_cam_s=DT_IMU_CAM_S, params=params)
    run_session(folder)
    return folder


def report(folder: Path, take: str) -> dict[str, Any]:
    return json.loads((folder / "derived" / take / "reconstruct/report.json").read_text())


def told_and_true(folder: Path, take: str) -> tuple[Array, Array]:
    """Poses of the head in the estimated and in the true world, of the pictures with a pose."""
    told = session_store.read_trajectory(folder / "derived" / take / "reconstruct/head.parquet").tracked_only()
    true = session_store.read_trajectory(folder / "truth" / ("" if take == "0001" else take) / "head.parquet")
    return told.T_world_body, interpolate_poses(true.t_ns, true.T_world_body, np.clip(told.t_ns, *true.t_ns[[0, -1]]))


def T_truth_world(folder: Path, take: str) -> Array:
    told, true = told_and_true(folder, take)
    return inverse(yaw_alignment(true[0], told[0]))


def test_the_first_take_is_the_session_s_world(kitchen):
    told = report(kitchen, "0001")["session_map"]
    assert (told["take"], told["session"]) == ("0001", "0001")
    np.testing.assert_array_equal(told["T_session_world"], np.eye(4))


@pytest.mark.parametrize("take", ["0002", "0003"])
def test_later_takes_lie_where_they_truly_are_in_it(kitchen, take):
    told = report(kitchen, take)["session_map"]
    T_true = inverse(T_truth_world(kitchen, "0001")) @ T_truth_world(kitchen, take)
    off = inverse(np.array(told["T_session_world"])) @ T_true
    error = np.r_[np.arctan2(off[1, 0], off[0, 0]), T_true[:3, 3] - np.array(told["T_session_world"])[:3, 3]]
    assert np.linalg.norm(error[1:]) < 0.01
    assert abs(error[0]) < np.deg2rad(0.2)
    assert error @ np.linalg.solve(told["cov"], error) < 18.5  # one draw in a thousand is beyond
    assert np.sqrt(np.diag(told["cov"]))[1:].max() < 0.01


def test_a_head_that_only_turns_is_held_in_the_room_of_an_earlier_take(kitchen):
    told = report(kitchen, "0003")
    assert told["verdict"] == "ok"
    assert told["priors"]["room"]["take"] == "0001"
    truth = session_store.read_trajectory(kitchen / "truth/0003/head_imu.parquet")
    found = score(truth, session_store.read_trajectory(kitchen / "derived/0003/reconstruct/head.parquet"))
    assert found.ate_m.rmse < 0.005
    assert found.honesty.fraction > 0.6


@pytest.mark.slow
def test_left_to_itself_it_is_refused_as_ever(kitchen, tmp_path):
    shutil.copytree(kitchen, tmp_path / "alone")
    (result,) = run_session(tmp_path / "alone", take="0003", params=ReconstructParams(share=False))
    assert result.verdict == "refused"
    assert "priors" not in result.report
    assert {cause.code for cause in result.causes} <= {"rotation_only", "scale_unobservable", "no_initialisation"}


def test_the_camera_s_clock_is_taken_over_and_its_source_told(kitchen):
    prior = report(kitchen, "0002")["priors"]["time_offset"]["head"]
    file = kitchen / "derived/0001/reconstruct/report.json"
    assert prior["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (prior["take"], prior["used"]) == ("0001", True)
    assert prior["time_offset_s"] == report(kitchen, "0001")["time_offset_s"]["head"]
    assert report(kitchen, "0002")["time_offset_s"]["head"] == pytest.approx(DT_IMU_CAM_S, abs=2e-4)


@pytest.mark.slow
def test_a_second_run_gives_the_same_bytes(kitchen, tmp_path):
    shutil.copytree(kitchen, tmp_path / "again")
    run_session(tmp_path / "again", take="0002")
    for name in ("report.json", ROOM_FILE, "head.parquet"):
        first, again = (root / "derived/0002/reconstruct" / name for root in (kitchen, tmp_path / "again"))
        assert first.read_bytes() == again.read_bytes(), name


def test_a_damaged_room_costs_a_warning_and_nothing_else(kitchen, tmp_path, caplog):
    shutil.copytree(kitchen, tmp_path / "torn")
    file = tmp_path / "torn/derived/0001/reconstruct" / ROOM_FILE
    file.write_bytes(file.read_bytes()[:2000])
    with caplog.at_level(logging.WARNING):
        (result,) = run_session(tmp_path / "torn", take="0002")
    assert result.verdict == "ok"
    assert "take 0001 is left out of the session's map" in caplog.text
    left_out = report(tmp_path / "torn", "0002")["session_map_left_out"]
    assert list(left_out) == ["0001"] and str(tmp_path) not in left_out["0001"]


def test_a_quick_pass_neither_uses_nor_leaves_a_room(kitchen, tmp_path):
    shutil.copytree(kitchen, tmp_path / "quick")
    (result,) = run_session(tmp_path / "quick", take="0002", field=True)
    assert "session_map" not in result.report
    assert not (tmp_path / "quick/derived/0002/field" / ROOM_FILE).exists()


def a_room(n: int = 30) -> Room:
    rng = np.random.default_rng(0)
    spread = rng.normal(0, 0.01, (n, 3, 3)).astype(np.float32).astype(float)
    cov = (spread @ np.swapaxes(spread, 1, 2) + 1e-6 * np.eye(3)).astype(np.float32).astype(float)
    look = rng.integers(0, 256, (2 * n, 32), np.uint8)
    return Room(
        rng.normal(0, 2, (n, 3)), cov, np.repeat(np.arange(n), 2), np.arange(2 * n, dtype=np.int64), look, 0.003
    )


def test_a_room_is_read_as_it_was_written(tmp_path):
    room = a_room()
    write_room(tmp_path / "a.parquet", room, "head")
    write_room(tmp_path / "b.parquet", room, "head")
    again, body = read_room(tmp_path / "a.parquet")
    assert (body, again.scale_sigma) == ("head", room.scale_sigma)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    for name in ("p_world", "cov_world", "point", "camera_t_ns", "descriptor"):
        np.testing.assert_array_equal(getattr(again, name), getattr(room, name), name)


def test_an_empty_room_is_still_one(tmp_path):
    write_room(tmp_path / "a.parquet", a_room().where(np.zeros(60, bool)), "head")
    assert len(read_room(tmp_path / "a.parquet")[0].point) == 0


def without(column: str) -> Any:
    return lambda table: table.drop_columns([column])


def instead(column: str, values: list[Any]) -> Any:
    return lambda table: table.set_column(table.schema.get_field_index(column), column, pa.array(values))


FOREIGN = {
    "no descriptors": without("descriptor"),
    "short descriptors": instead("descriptor", [b"short"] * 60),
    "null descriptors": instead("descriptor", [None] * 60),
    "points in the plane": instead("p_world", [[0.0, 1.0]] * 60),
    "two columns of points": lambda table: table.append_column("p_world", table["p_world"]),
    "points beyond all rooms": instead("p_world", [[0.0, 1e300, 1.0]] * 60),
    "points nowhere": instead("p_world", [[0.0, float("nan"), 1.0]] * 60),
    "points that are words": instead("p_world", ["here"] * 60),
    "ragged points": instead("p_world", [[0.0, 1.0, 2.0]] * 59 + [[0.0]]),
    "negative variance": instead("cov_world", [[-1.0, 0.0, 0.0, 1.0, 0.0, 1.0]] * 60),
    "null stamps": instead("camera_t_ns", [None] * 60),
    "no body": lambda table: table.replace_schema_metadata({"handcap.scale_sigma": "0.003"}),
    "no scale": lambda table: table.replace_schema_metadata({"handcap.body": "head"}),
    "a scale that is a word": lambda table: table.replace_schema_metadata(
        {"handcap.body": "head", "handcap.scale_sigma": "sure"}
    ),
    "a body that is a path": lambda table: table.replace_schema_metadata(
        {"handcap.body": "../../head", "handcap.scale_sigma": "0.003"}
    ),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_no_room_of_ours_says_so(tmp_path, what):
    write_room(tmp_path / "a.parquet", a_room(), "head")
    pq.write_table(FOREIGN[what](pq.read_table(tmp_path / "a.parquet")), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r".+"):
        read_room(tmp_path / "b.parquet")


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" * 100, b"not a table at all"])
def test_what_is_no_table_says_so(tmp_path, data):
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(ValueError, match="cannot be read"):
        read_room(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    "told",
    [
        {"session": "0001"},
        {"session": "0001", "T_session_world": [[1.0]], "cov": np.eye(4).tolist()},
        {"session": "0001", "T_session_world": np.diag([1.0, -1.0, -1.0, 1.0]).tolist(), "cov": np.eye(4).tolist()},
        {"session": "0001", "T_session_world": np.eye(4).tolist(), "cov": (-np.eye(4)).tolist()},
        {"session": "0001", "T_session_world": np.eye(4).tolist(), "cov": [[None] * 4] * 4},
        ["0001"],
        7,
    ],
)
def test_a_place_in_the_session_that_is_none_says_so(told):
    with pytest.raises(ValueError, match="session_map"):
        in_session({"session_map": told})


def test_a_place_in_the_session_is_read():
    T = se3(yaw_rotation(2.5), [1.0, 2.0, 3.0])
    at = in_session({"session_map": {"session": "0001", "T_session_world": T.tolist(), "cov": np.eye(4).tolist()}})
    assert at is not None
    np.testing.assert_allclose(at.T_session_world, T)
    assert in_session({"session_map": None}) is None and in_session({}) is None


def earlier_with(folder: Path, reports: dict[str, Any]) -> Earlier:
    """A session of four takes of which some have left a report."""
    with new_session(folder) as writer:
        for _ in range(4):
            writer.start_take().end()
    for id, text in reports.items():
        stage = folder / "derived" / id / "reconstruct"
        stage.mkdir(parents=True)
        (stage / "report.json").write_text(text if isinstance(text, str) else json.dumps(text))
    return Earlier(session_store.read(folder), "0004")


def clock(offset_s: float | None, sigma_s: float | None, verdict: str = "ok") -> dict[str, Any]:
    return {"verdict": verdict, "time_offset_s": {"left": offset_s}, "time_offset_sigma_s": {"left": sigma_s}}


def test_the_newest_take_that_knew_the_clock_is_asked(tmp_path, caplog):
    told = {"0001": clock(0.004, 1e-4), "0002": clock(0.005, 3e-4), "0003": "{torn"}
    earlier = earlier_with(tmp_path / "session", told)
    params = SessionMapParams()
    prior = earlier.clock_prior("left", RIG.cameras["left"], params)
    assert prior is not None
    assert (prior.take, prior.dt_imu_cam_s) == ("0002", 0.005)
    assert prior.sigma_s == pytest.approx(np.hypot(3e-4, params.clock_walk_s))
    assert "what take 0003 told is done without" in caplog.text


NONSENSE = [
    {**clock(0.004, 1e-4), "time_offset_s": value} for value in ({"left": "0.004"}, {"left": True}, [0.004], None)
]


@pytest.mark.parametrize(
    "told", [clock(0.004, 1e-4, "refused"), clock(None, None), clock(0.004, 0.1), clock(5.0, 1e-4), *NONSENSE]
)
def test_a_clock_that_nobody_knew_is_not_taken_over(tmp_path, told):
    earlier = earlier_with(tmp_path / "session", {"0001": told})
    assert earlier.clock_prior("left", RIG.cameras["left"], SessionMapParams()) is None


def test_a_calibrated_clock_needs_no_earlier_take(tmp_path):
    told = {"verdict": "ok", "time_offset_s": {"head": 0.004}, "time_offset_sigma_s": {"head": 1e-4}}
    earlier = earlier_with(tmp_path / "session", {"0001": told})
    assert RIG.cameras["head"].dt_sigma_s is not None
    assert earlier.clock_prior("head", RIG.cameras["head"], SessionMapParams()) is None
