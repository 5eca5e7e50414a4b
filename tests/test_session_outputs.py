"""What stages write beside the raw data appears whole, reads back, and is the same twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recording import new_session

from handcap.errors import SessionError
from handcap.geometry import se3, so3_exp
from handcap.reconstruct import run_session
from handcap.session import (
    Session,
    read,
    read_report,
    read_trajectory,
    remove_stage,
    require_place,
    write_report,
    write_stage,
    write_trajectory,
)
from handcap.types import Trajectory


@pytest.fixture
def session(tmp_path: Path) -> Session:
    with new_session(tmp_path / "s") as writer, writer.start_take():
        pass
    return read(tmp_path / "s")


def test_a_stage_folder_replaces_the_old_one_whole(session: Session) -> None:
    for text in ("one", "two"):
        with write_stage(session, "0001", "reconstruct") as folder:
            (folder / f"{text}.txt").write_text(text)
            assert not (session.derived("0001", "reconstruct") / f"{text}.txt").exists()
    assert [p.name for p in session.derived("0001", "reconstruct").iterdir()] == ["two.txt"]
    assert [p.name for p in (session.path / "derived/0001").iterdir()] == ["reconstruct"]


def test_a_stage_that_fails_leaves_the_old_folder_and_nothing_else(session: Session) -> None:
    with write_stage(session, "0001", "reconstruct") as folder:
        (folder / "good.txt").write_text("good")

    def fail() -> None:
        with write_stage(session, "0001", "reconstruct") as folder:
            (folder / "bad.txt").write_text("bad")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [str(p.relative_to(session.path / "derived")) for p in sorted(session.path.glob("derived/**/*"))] == [
        "0001",
        "0001/reconstruct",
        "0001/reconstruct/good.txt",
    ]


@pytest.mark.parametrize("leave", [Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_what_a_killed_run_left_of_a_stage_is_no_hindrance(session: Session, leave: Callable[[Path], None]) -> None:
    with write_stage(session, "0001", "reconstruct"):
        pass
    for word in ("new", "old"):
        leave(session.path / f"derived/0001/.reconstruct.{word}")
    with write_stage(session, "0001", "reconstruct") as folder:
        (folder / "good.txt").touch()
    assert [str(p.relative_to(session.path)) for p in sorted(session.path.glob("derived/0001/*/*"))] == [
        "derived/0001/reconstruct/good.txt"
    ]
    leave(session.path / "derived/0001/.reconstruct.old")
    remove_stage(session, "0001", "reconstruct")
    remove_stage(session, "0001", "reconstruct")
    assert [p.name for p in session.path.glob("derived/0001/*")] == []


@pytest.mark.parametrize("where", ["derived", "derived/0001", "derived/0001/reconstruct"])
@pytest.mark.parametrize("leave", [Path.touch, lambda path: path.symlink_to("/nowhere/at/all")])
def test_what_is_in_the_way_of_a_stage_and_is_not_ours_is_named_before_the_work_and_left_alone(
    session: Session, where: str, leave: Callable[[Path], None]
) -> None:
    (session.path / where).parent.mkdir(parents=True, exist_ok=True)
    leave(session.path / where)
    for step in (lambda: require_place(session, "0001", "reconstruct"), lambda: run_session(session.path)):
        with pytest.raises(SessionError, match="where a folder for results belongs") as told:
            step()
        assert told.value.where == str(session.path / where) and "move it away" in (told.value.mend or "")
    assert (session.path / where).is_symlink() or (session.path / where).is_file()
    (session.path / where).unlink()
    require_place(session, "0001", "reconstruct")


def test_a_report_has_sorted_keys_and_null_for_what_is_unknown(tmp_path: Path) -> None:
    report = {"b": np.float64(np.nan), "a": np.array([1, 2]), "c": {"z": (1.5, np.inf), "y": Path("raw/x")}, "d": "转"}
    write_report(tmp_path, report)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"a": [1, 2], "b": None, "c": {"y": "raw/x", "z": [1.5, None]}, "d": "转"}
    assert text.index('"a"') < text.index('"b"') and "转" in text
    write_report(tmp_path, report | {"verdict": "ok"})
    assert read_report(tmp_path)["a"] == [1, 2]
    write_report(tmp_path, report)
    write_report(tmp_path, dict(reversed(report.items())))
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == text


def test_a_report_that_is_missing_or_torn_says_which_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(SessionError) as error:
        read_report(tmp_path / "reconstruct")
    assert "handcap reconstruct" in (error.value.mend or "")
    for text in ("{", "[]", "{}", "[" * 100_000, '{"verdict": "great"}', '{"verdict": "ok", "causes": [5]}'):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(SessionError, match=r"cannot be read|verdict|causes|whole file"):
            read_report(tmp_path)
    for spans in ("[[1]]", "[[NaN, 1]]", '[["a", 1]]', "5"):
        (tmp_path / "report.json").write_text(f'{{"verdict": "partial", "spans_ok_s": {spans}}}')
        with pytest.raises(SessionError, match="spans_ok_s"):
            read_report(tmp_path)


def trajectory(n: int = 50) -> Trajectory:
    rng = np.random.default_rng(0)
    tracked = rng.random(n) > 0.2
    T = se3(so3_exp(rng.normal(size=(n, 3))), rng.normal(size=(n, 3)))
    T[~tracked] = np.nan
    A = rng.normal(size=(n, 6, 6))
    cov = A @ np.swapaxes(A, 1, 2)
    cov[~tracked] = np.nan
    cov[5:6] = np.nan
    t_ns = np.arange(n, dtype=np.int64) * 50_000_000 + 1_403_636_579_763_555_584
    return Trajectory("left_tcp", t_ns + 8_000_000, t_ns, T, cov, tracked)


def test_a_trajectory_comes_back_and_untracked_rows_are_null(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    written = trajectory()
    width = np.where(written.tracked, 0.05, np.nan)
    joints = np.where(written.tracked[:, None], np.ones((50, 63)), np.nan)
    write_trajectory(
        tmp_path / "x.parquet", written, {"width_m": width, "joints_world": joints, "seen": written.tracked}
    )
    got = read_trajectory(tmp_path / "x.parquet")
    assert got.body == "left_tcp"
    np.testing.assert_array_equal(got.t_ns, written.t_ns)
    np.testing.assert_array_equal(got.camera_t_ns, written.camera_t_ns)
    np.testing.assert_array_equal(got.tracked, written.tracked)
    np.testing.assert_allclose(got.T_world_body, written.T_world_body, atol=1e-15)
    np.testing.assert_array_equal(got.cov, written.cov)
    table = pq.read_table(tmp_path / "x.parquet")
    names = [
        "t_ns",
        "camera_t_ns",
        *(f"p_world_{a}" for a in "xyz"),
        *(f"q_world_{a}" for a in "wxyz"),
        "cov",
        "tracked",
    ]
    assert table.column_names == [*names, "width_m", "joints_world", "seen"]
    lost = int(np.count_nonzero(~written.tracked))
    for name in ("p_world_x", "q_world_w", "width_m", "joints_world"):
        assert table[name].null_count == lost, name
    assert len(table["cov"][0].as_py()) == 21 and table["cov"][5].as_py() is None
    assert table["tracked"].null_count == 0
    q = np.array([table[f"q_world_{a}"].to_numpy() for a in "wxyz"])[:, written.tracked]
    np.testing.assert_allclose(np.linalg.norm(q, axis=0), 1, atol=1e-12)


def test_a_trajectory_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_trajectory(tmp_path / name, trajectory(), {"confidence": np.linspace(0, 1, 50)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_trajectory_without_any_tracked_row_or_any_row_is_still_one(tmp_path: Path) -> None:
    whole = trajectory(4)
    nothing = np.zeros(4, bool)
    for rows in (4, 0):
        empty = Trajectory(
            "head",
            whole.t_ns[:rows],
            whole.camera_t_ns[:rows],
            np.full((rows, 4, 4), np.nan),
            np.full((rows, 6, 6), np.nan),
            nothing[:rows],
        )
        write_trajectory(tmp_path / "x.parquet", empty)
        assert not read_trajectory(tmp_path / "x.parquet").tracked.any()


def test_what_is_no_trajectory_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pytest.raises(SessionError, match="no such"):
        read_trajectory(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 rubbish PAR1")
    with pytest.raises(SessionError, match="cannot be read"):
        read_trajectory(tmp_path / "x.parquet")
    pq.write_table(pa.table({"t_ns": [1]}), tmp_path / "x.parquet")
    with pytest.raises(SessionError, match="camera_t_ns"):
        read_trajectory(tmp_path / "x.parquet")
