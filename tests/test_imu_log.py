"""Foreign inertial logs: read as they are, or refused with what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handcap.errors import FormatError, UsageError
from handcap.formats.imu_log import LogOptions, open_logs, read_imu_log

ROW = "0.1,0.2,0.3,1,2,9.8"


def rows(n: int = 30, step_ns: int = 5_000_000, row: str = ROW) -> list[str]:
    return [f"{1403715523912143104 + k * step_ns},{row}" for k in range(n)]


def test_stamps_keep_every_nanosecond(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("#timestamp [ns],w,w,w,a,a,a\n" + "\n".join(rows()))
    log = read_imu_log(tmp_path)
    assert log.t_ns[1] == 1403715523917143104 and len(log) == 30
    np.testing.assert_array_equal(log.gyro[0], [0.1, 0.2, 0.3])
    assert list(log.inputs) == ["data.csv"] and log.name == tmp_path.name


def test_without_time_a_rate_must_be_stated(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    rng = np.random.default_rng(0)
    np.savetxt(path, rng.standard_normal((50, 6)))
    with pytest.raises(FormatError, match="no time") as error:
        read_imu_log(path)
    assert "--rate" in (error.value.mend or "")
    log = read_imu_log(path, LogOptions(rate_hz=200.0))
    assert log.t_ns[1] == 5_000_000 and log.rate_hz == 200.0


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no row of numbers"),
        ("hello\nworld\n", "no row of numbers"),
        ("\n".join([*rows(5), "x,y,z"]), "cannot be read"),
        ("\n".join([*rows(5), "1403715523999143104,1,2"]), "cannot be read"),
        ("\n".join(rows(5, row="0.1,nan,0.3,1,2,9.8")), "NaN or infinite"),
        ("\n".join(rows(5, row="0.1,0.2,0.3,1")), "columns of numbers"),
        ("\n".join(rows(5, row="1,2,3,4,5,6,7,8,9")), "columns of numbers"),
        ("\n".join(rows(5, step_ns=5)), "not nanoseconds"),
        ("t,px,py,pz,qw,qx,qy,qz\n" + "\n".join(rows(5, row=ROW + ",1")), "names no inertial columns"),
        ("\n".join(f"{k * 1e9 + 0.5:.1f},{ROW}" for k in range(20)), "not seconds"),
        ("99999999999999999999," + ROW, "cannot be read"),
    ],
)
def test_what_is_malformed_is_named(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(FormatError, match=what) as error:
        read_imu_log(path)
    assert "log.csv" in (error.value.where or "") and error.value.mend


@pytest.mark.parametrize(
    "data", [b"\x89HDF\r\n\x1a\n rest", b"MATLAB 5.0 MAT-file" + bytes(300), bytes(range(256)) * 20]
)
def test_other_files_are_refused_by_what_they_are(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "log.mat"
    path.write_bytes(data)
    with pytest.raises(FormatError):
        read_imu_log(path)


def test_a_folder_must_hold_one_log(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="0 files"):
        open_logs(tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("\n".join(rows()))
    with pytest.raises(FormatError, match="2 files"):
        open_logs(tmp_path)
    with pytest.raises(FormatError, match="no such"):
        open_logs(tmp_path / "c.csv")


@pytest.mark.parametrize("span", ["5", "7-3", "a-b", "-"])
def test_a_span_that_is_none_is_a_usage_error(span: str) -> None:
    with pytest.raises(UsageError):
        LogOptions.parsed(span=span)


def test_matlab_arrays_are_found_by_name(shared_data: Callable[[str], Path]) -> None:
    log = read_imu_log(shared_data("imu/xsens_static_noise") / "IMU_Xsens_noise.mat", LogOptions(rate_hz=100.0))
    assert len(log) == 25_000 and not log.accel_counts
    np.testing.assert_allclose(log.accel.mean(axis=0), 0, atol=1e-12)
