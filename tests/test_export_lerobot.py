"""LeRobot datasets, as far as they can be checked without LeRobot; test_lerobot_real.py asks the real class."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import av
import exported
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from handcap import session as session_store
from handcap.errors import FormatError
from handcap.formats.lerobot import LeRobotParams, export_lerobot
from handcap.formats.lerobot.grid import lay_out, nominal_fps
from handcap.formats.lerobot.motion import actions, pose_matrix, pose_vector
from handcap.formats.lerobot.statistics import QUANTILES, PictureStats, column_stats
from handcap.geometry import se3, so3_exp

tangents = hnp.arrays(float, (5, 3), elements=st.floats(-3, 3))
STATS = {"min", "max", "mean", "std", "count", *QUANTILES}


def _export(path: Path, out: Path, **options: Any) -> dict[str, Any]:
    export_lerobot(session_store.read(path), out, **options)
    table = pq.read_table(out / "data/chunk-000/file-000.parquet")
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


def _shown(out: Path) -> np.ndarray:
    """Which picture each video frame shows."""
    with av.open(str(out / "videos/observation.images.head/chunk-000/file-000.mp4")) as video:
        means = [frame.to_ndarray(format="rgb24").mean() for frame in video.decode(video=0)]
    return np.rint((np.array(means) - 40) / 3).astype(int)


@given(tangents, tangents)
def test_nine_numbers_hold_a_pose(theta: np.ndarray, p: np.ndarray) -> None:
    T = se3(so3_exp(theta), p)
    np.testing.assert_allclose(pose_matrix(pose_vector(T)), T, atol=1e-12)


@given(tangents, tangents)
def test_relative_actions_lead_from_each_pose_to_the_next(theta: np.ndarray, p: np.ndarray) -> None:
    T = se3(so3_exp(theta), p)
    step = actions(T, "relative")
    np.testing.assert_allclose((T @ step)[:-1], T[1:], atol=1e-12)
    np.testing.assert_allclose(step[-1], np.eye(4), atol=1e-12)


@given(tangents, tangents, tangents, tangents)
def test_relative_actions_do_not_depend_on_where_the_world_lies(
    theta: np.ndarray, p: np.ndarray, turn: np.ndarray, shift: np.ndarray
) -> None:
    T = se3(so3_exp(theta), p)
    moved = se3(so3_exp(turn[:1]), shift[:1]) @ T
    np.testing.assert_allclose(actions(moved, "relative"), actions(T, "relative"), atol=1e-10)


@given(st.integers(1, 120), hnp.arrays(float, st.integers(2, 60), elements=st.floats(-0.4, 0.4)))
def test_each_frame_of_the_grid_shows_the_nearest_picture(fps: int, jitter: np.ndarray) -> None:
    period = 1e9 / fps
    t_ns = exported.FIRST_NS + np.rint((np.arange(len(jitter)) + jitter) * period).astype(np.int64)
    timeline = lay_out(t_ns, fps)
    shown = t_ns[timeline.row]
    best = np.abs(timeline.t_ns[:, None] - t_ns).min(axis=1)
    np.testing.assert_array_equal(np.abs(timeline.t_ns - shown), best)
    assert timeline.t_ns[0] == t_ns[0]
    np.testing.assert_allclose(timeline.t_ns - t_ns[0], np.arange(len(timeline)) * period, atol=period / 100 + 1)
    assert timeline.t_ns[-1] <= t_ns[-1]
    assert int(t_ns[-1] - timeline.t_ns[-1]) < period


@pytest.mark.parametrize("rate", [15.0, 19.98, 20.02, 29.97, 30.0, 59.94])
def test_the_frame_rate_is_the_nominal_one(rate: float) -> None:
    assert nominal_fps([np.rint(np.arange(50) * 1e9 / rate).astype(np.int64)]) == round(rate)


@given(hnp.arrays(np.uint8, (7, 5, 3)))
def test_picture_statistics_are_those_of_the_pixels(image: np.ndarray) -> None:
    seen = PictureStats()
    seen.add(image)
    stats = seen.stats()
    level = image.reshape(-1, 3) / 255
    for name, expected in (
        ("min", level.min(0)),
        ("max", level.max(0)),
        ("mean", level.mean(0)),
        ("std", level.std(0)),
    ):
        np.testing.assert_allclose(np.ravel(stats[name]), expected, atol=1e-12, err_msg=name)
    for name, q in QUANTILES.items():
        expected = np.quantile(level, q, axis=0, method="inverted_cdf")
        np.testing.assert_allclose(np.ravel(stats[name]), expected, atol=1e-12, err_msg=name)


def test_integer_columns_keep_their_exact_limits() -> None:
    stats = column_stats(np.array([[exported.FIRST_NS + 1], [exported.FIRST_NS + 3]], np.int64))
    assert stats["min"] == [exported.FIRST_NS + 1]
    assert stats["max"] == [exported.FIRST_NS + 3]


def test_state_video_and_stamps_of_a_frame_belong_together(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session", task="fold the towel")
    exported.write_result(path)
    rows = _export(path, tmp_path / "out")
    k = np.arange(60)
    np.testing.assert_array_equal(_shown(tmp_path / "out"), k)
    np.testing.assert_array_equal(rows["camera_t_ns"], exported.FIRST_NS + k * exported.PERIOD_NS)
    np.testing.assert_array_equal(rows["t_ns"], rows["camera_t_ns"] + exported.OFFSET_NS)
    truth = np.stack([exported.pose_at(i / 20) for i in k])
    np.testing.assert_allclose(rows["observation.state"], pose_vector(truth), atol=1e-6)
    np.testing.assert_allclose(rows["action"], pose_vector(actions(truth, "relative")), atol=1e-6)
    np.testing.assert_allclose(rows["state_sigma"], np.tile([1e-3] * 3 + [2e-3] * 3, (60, 1)), rtol=1e-6)
    np.testing.assert_allclose(rows["timestamp"], k / 20, atol=1e-6)
    tasks = pq.read_table(tmp_path / "out/meta/tasks.parquet").to_pylist()
    assert tasks == [{"task_index": 0, "task": "fold the towel"}]


def test_absolute_actions_are_the_next_pose(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session")
    exported.write_result(path)
    rows = _export(path, tmp_path / "out", params=LeRobotParams(action="absolute"))
    np.testing.assert_array_equal(rows["action"][:-1], rows["observation.state"][1:])
    np.testing.assert_array_equal(rows["action"][-1], rows["observation.state"][-1])


def test_a_lost_picture_is_bridged_by_the_nearest_one_and_counted(tmp_path: Path) -> None:
    keep = [k for k in range(60) if k != 30]
    path = exported.write_session(tmp_path / "session", keep)
    exported.write_result(path, keep)
    rows = _export(path, tmp_path / "out")
    shown = _shown(tmp_path / "out")
    assert len(shown) == 60
    assert shown[30] == 29
    np.testing.assert_array_equal(rows["camera_t_ns"], exported.FIRST_NS + shown * exported.PERIOD_NS)
    origin = json.loads((tmp_path / "out/handcap.json").read_text())
    assert origin["counts"]["repeated_pictures"] == 1


def test_a_longer_gap_ends_the_episode(tmp_path: Path) -> None:
    keep = [k for k in range(60) if not 20 <= k < 30]
    path = exported.write_session(tmp_path / "session", keep)
    exported.write_result(path, keep)
    rows = _export(path, tmp_path / "out")
    assert np.bincount(rows["episode_index"]).tolist() == [20, 30]
    np.testing.assert_array_equal(_shown(tmp_path / "out"), keep)


def test_partial_spans_become_episodes_whose_video_starts_where_the_metadata_says(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session")
    exported.write_result(path, verdict="partial", spans=[(0.5, 1.5), (2.0, 2.75)])
    _export(path, tmp_path / "out")
    episodes = pq.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [e["length"] for e in episodes] == [21, 16]
    assert [(e["dataset_from_index"], e["dataset_to_index"]) for e in episodes] == [(0, 21), (21, 37)]
    starts = [e["videos/observation.images.head/from_timestamp"] for e in episodes]
    np.testing.assert_allclose(starts, [0, 21 / 20])
    shown = _shown(tmp_path / "out")
    assert (shown[0], shown[20], shown[21], shown[36]) == (10, 30, 40, 55)


def test_takes_follow_each_other_with_their_own_tasks_and_what_is_left_out_is_named(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session", takes=("wipe", "fold", None), task="tidy up")
    for take, verdict in (("0001", "ok"), ("0002", "refused"), ("0003", "ok")):
        exported.write_result(path, take=take, verdict=verdict)
    rows = _export(path, tmp_path / "out")
    assert np.bincount(rows["episode_index"]).tolist() == [60, 60]
    np.testing.assert_array_equal(rows["index"], np.arange(120))
    np.testing.assert_array_equal(_shown(tmp_path / "out"), [*range(60), *range(60)])
    tasks = pq.read_table(tmp_path / "out/meta/tasks.parquet").to_pylist()
    assert [row["task"] for row in tasks] == ["wipe", "tidy up"]
    assert list(json.loads((tmp_path / "out/handcap.json").read_text())["left_out"]) == ["0002"]


def test_pictures_that_change_their_size_are_refused(tmp_path: Path) -> None:
    meta = session_store.SessionMeta(
        id="sizes", created="2026-01-01T00:00:00Z", origin="import", clock=session_store.SessionClock(kind="import")
    )
    with session_store.create(tmp_path / "s", meta, exported.rig()) as writer, writer.start_take() as take:
        for k in range(60):
            width = 64 if k < 30 else 32
            take.add_image("head", exported.FIRST_NS + k * exported.PERIOD_NS, exported.picture(k, width), "png")
    exported.write_result(tmp_path / "s")
    with pytest.raises(FormatError, match="change their size"):
        _export(tmp_path / "s", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_column_has_every_statistic(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session")
    exported.write_result(path)
    _export(path, tmp_path / "out")
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    episodes = pq.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet")
    assert set(stats) == set(info["features"])
    for key, feature in info["features"].items():
        assert set(stats[key]) == STATS, key
        shape = (3, 1, 1) if feature["dtype"] == "video" else tuple(feature["shape"])
        assert np.shape(stats[key]["mean"]) == shape, key
        assert {f"stats/{key}/{name}" for name in STATS} <= set(episodes.column_names)


def test_pictures_of_odd_size_lose_a_row_and_a_column(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session", width=65, height=49)
    exported.write_result(path)
    _export(path, tmp_path / "out")
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert info["features"]["observation.images.head"]["shape"] == [48, 64, 3]


def test_a_session_whose_rows_know_no_sigma_exports_without_that_column(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session")
    exported.write_result(path)
    file = path / "derived/0001/reconstruct/head.parquet"
    head = session_store.read_trajectory(file)
    head.cov[5] = np.nan
    session_store.write_trajectory(file, head)
    assert "state_sigma" not in _export(path, tmp_path / "out")


def test_a_reconstruction_of_other_raw_data_is_noticed_and_nothing_is_left(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session", [k for k in range(60) if k != 30])
    exported.write_result(path)
    with pytest.raises(Exception, match="not in the recording"):
        export_lerobot(session_store.read(path), tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["session"]


def test_debugging_exports_are_marked_in_the_card(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session")
    exported.write_result(path)
    _export(path, tmp_path / "all", accept="all")
    _export(path, tmp_path / "auto")
    assert "debugging only" in (tmp_path / "all/README.md").read_text()
    assert "debugging only" not in (tmp_path / "auto/README.md").read_text()


def test_the_real_recording_gives_the_same_bytes_twice(mh01_session: Path, tmp_path: Path) -> None:
    session = tmp_path / "session"
    shutil.copytree(mh01_session, session)
    exported.set_verdict(session, "partial", [(1.0, 2.5)])
    done = export_lerobot(session_store.read(session), tmp_path / "a")
    export_lerobot(session_store.read(session), tmp_path / "b")
    assert (done.episodes, done.frames, done.fps) == (1, 31, 20)
    assert exported.files(tmp_path / "a") == exported.files(tmp_path / "b")
