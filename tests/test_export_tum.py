"""TUM trajectories."""

from __future__ import annotations

from pathlib import Path

import exported
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from handcap import session as session_store
from handcap.errors import FormatError, OutputError
from handcap.formats.tum import export_tum, read_tum, write_tum
from handcap.geometry import se3, so3_exp
from handcap.types import Trajectory

stamps = hnp.arrays(np.int64, 4, elements=st.integers(0, 1 << 61), unique=True)
vectors = hnp.arrays(float, (4, 3), elements=st.floats(-3, 3))


@given(stamps, vectors, vectors)
def test_what_is_written_reads_back_with_exact_stamps(
    tmp_path_factory: pytest.TempPathFactory, t_ns: np.ndarray, theta: np.ndarray, p: np.ndarray
) -> None:
    t_ns = np.sort(t_ns)
    T = se3(so3_exp(theta), p)
    cov = np.full((4, 6, 6), np.nan)
    path = tmp_path_factory.mktemp("tum") / "a.txt"
    write_tum(path, Trajectory("head", t_ns, t_ns, T, cov, np.ones(4, bool)))
    back = read_tum(path)
    np.testing.assert_array_equal(back.t_ns, t_ns)
    np.testing.assert_allclose(back.T_world_body, T, atol=5e-9)


def test_untracked_rows_are_not_written(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session")
    exported.write_result(path, untracked=(3, 4))
    done = export_tum(session_store.read(path), tmp_path / "out")
    assert [p.name for p in done.files] == ["0001_head.txt"]
    lines = done.files[0].read_text().splitlines()
    assert len(lines) == 58
    assert lines[0].split()[0] == "1700000000.003000001"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("1.0 0 0 0 0 0 0", "7 columns"),
        ("1.0 0 0 0 0 0 zero 1", "not all columns are numbers"),
        ("1.0 0 0 nan 0 0 0 1", "not finite"),
        ("1.0 0 0 0 0 0 0 0", "length 0"),
        ("0.5 0 0 0 0 0 0 1", "does not come after"),
        ("1e12 0 0 0 0 0 0 1", "no time in seconds"),
        ("inf 0 0 0 0 0 0 1", "not all columns are numbers"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, row: str, why: str) -> None:
    path = tmp_path / "truth.txt"
    path.write_text(f"# time x y z\n0.5 0 0 0 0 0 0 1\n{row}\n")
    with pytest.raises(FormatError, match=why) as raised:
        read_tum(path)
    assert str(raised.value.where) == f"{path}, row 3"


@pytest.mark.parametrize("content", [b"", b"# only a comment\n", b"\xff\xfe\x00"])
def test_a_file_without_poses_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "truth.txt"
    path.write_bytes(content)
    with pytest.raises(FormatError):
        read_tum(path)


def test_nothing_is_left_behind_when_the_export_fails(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session")
    exported.write_result(path)
    (path / "derived/0001/reconstruct/head.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(Exception, match="cannot be read"):
        export_tum(session_store.read(path), tmp_path / "deep" / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["session"]


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session")
    exported.write_result(path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        export_tum(session_store.read(path), tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_the_real_recording_exports_every_frame(mh01_session: Path, tmp_path: Path) -> None:
    done = export_tum(session_store.read(mh01_session), tmp_path / "out")
    assert len(read_tum(done.files[0])) == 185
