"""Scale, misalignment and bias from attitudes; how rig.json holds them and readers take them off."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imu_logs import MODEL, poses_log, poses_recording, still_log
from recording import RIG, new_session

from handcap.calibrate import read_part
from handcap.calibrate.imu import calibrate_imu, part_of
from handcap.calibrate.imu.turns import Turns
from handcap.cli.app import main
from handcap.errors import RigError
from handcap.formats.imu_log import read_imu_log
from handcap.geometry import GRAVITY_M_S2, Array
from handcap.session import read, read_rig, write_rig
from handcap.types import ImuCalibration, ImuSigma


def test_a_raw_part_is_found_as_it_was_made() -> None:
    result = calibrate_imu([replace(poses_log(seed=5, askew=10), stated=MODEL)])
    truth = poses_recording(5, 10)
    assert result.verdict == "ok" and result.poses is not None
    gravity, turns, bias = result.poses.gravity, result.poses.turns, result.poses.bias
    assert gravity is not None and turns is not None and bias is not None
    # Gravity cannot tell a turn of the whole board: ours are the axes in which the accelerometer is symmetric.
    U, s, Vt = np.linalg.svd(truth.accel_matrix)
    R_true_ours = (U @ Vt).T
    for found, sigma, true in (
        (gravity.matrix, gravity.matrix_sigma, (U * s) @ U.T),
        (gravity.bias, gravity.bias_sigma, truth.accel_bias.mean(axis=0)),
        (turns.matrix, turns.matrix_sigma, truth.gyro_matrix @ R_true_ours),
        (bias.bias, bias.bias_sigma, truth.gyro_bias.mean(axis=0)),
        (bias.g_sensitivity, bias.g_sensitivity_sigma, truth.gyro_g_sensitivity @ R_true_ours),
    ):
        assert np.all(np.abs(found - true) < 4 * sigma)
    assert gravity.matrix_sigma.max() < 1e-3 and turns.matrix_sigma.max() < 1e-3
    assert np.sqrt(np.mean(gravity.before**2)) > 10 * np.sqrt(np.nanmean(gravity.held_out**2))


def test_the_derivative_of_a_turn_by_the_gyroscope_s_matrix_is_the_difference_of_turns() -> None:
    rng = np.random.default_rng(1)
    up = rng.standard_normal((2, 3))
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    turns = Turns(rng.standard_normal((2, 7, 3)), np.full((2, 7), 0.1), up, up[::-1])
    inverse = np.eye(3) + 0.1 * rng.standard_normal((3, 3))
    for k, e in enumerate(np.eye(9).reshape(-1, 3, 3)):
        difference = (turns.miss(inverse + 1e-6 * e) - turns.miss(inverse - 1e-6 * e)) / 2e-6
        np.testing.assert_allclose(turns.miss_per(inverse)[..., k], difference, atol=1e-8)


def test_a_still_and_a_turned_log_make_one_part() -> None:
    part = part_of(calibrate_imu([poses_log(), still_log()]), "left")
    assert part.verdict == "partial" and part.subject == "left"  # two minutes do not tell the walk
    assert part.values["gyro_noise_density"] is not None and np.shape(part.values["gyro_matrix"]) == (3, 3)


def test_real_positions_agree_on_gravity_to_a_few_millimetres_per_second_squared(
    shared_data: Callable[[str], Path],
) -> None:
    folder = shared_data("imu/imu_tk_xsens_multiposition")
    log = read_imu_log(folder)
    assert log.gyro_counts and log.accel_counts
    part = part_of(calibrate_imu([log]), "head")
    assert part.verdict == "ok"
    poses = part.details["poses"]
    assert poses["rests"] > 30 and poses["rests_used"] == poses["rests"]
    assert poses["gravity_residual_rms_m_s2"] < 2e-3 and poses["gravity_held_out_rms_m_s2"] < 2.5e-3
    assert np.rad2deg(poses["turn_held_out_rms_rad"]) < 0.3
    # What its authors found for this very part (Tedaldi et al. 2014): 415 counts per m/s², 4778 per rad/s.
    np.testing.assert_allclose(np.diag(part.values["accel_matrix"]), 415, rtol=0.01)
    np.testing.assert_allclose(np.diag(part.values["gyro_matrix"]), 4778, rtol=0.01)
    assert np.max(part.sigma["accel_matrix"]) < 1.0 and np.max(part.sigma["gyro_matrix"]) < 10.0
    again = read_imu_log(folder / "xsens_acc.mat")
    np.testing.assert_array_equal(again.gyro, log.gyro)


matrices = st.lists(st.floats(-0.02, 0.02), min_size=27, max_size=27).map(lambda x: np.array(x).reshape(3, 3, 3))


def calibration(errors: Array) -> ImuCalibration:
    return ImuCalibration(
        np.eye(3) + errors[0], 0.5 * errors[0, 0], np.eye(3) + errors[1], 5 * errors[1, 0], 0.05 * errors[2]
    )


@given(matrices)
@settings(max_examples=25)
def test_correcting_undoes_what_the_part_did(errors: Array) -> None:
    part, rng = calibration(errors), np.random.default_rng(0)
    rate, force = rng.standard_normal((2, 5, 3)) * [[[1.0]], [[10.0]]]
    gyro = rate @ part.gyro_matrix.T + force @ part.gyro_g_sensitivity.T + part.gyro_bias
    got_rate, got_force = part.corrected(gyro, force @ part.accel_matrix.T + part.accel_bias)
    np.testing.assert_allclose(got_rate, rate, atol=1e-12)
    np.testing.assert_allclose(got_force, force, atol=1e-11)


def rig_with(known: ImuCalibration):
    return replace(RIG, devices=dict(RIG.devices) | {"head": replace(RIG.devices["head"], calibration=known)})


def test_rig_json_gives_a_calibration_back_as_it_was_written(tmp_path: Path) -> None:
    known = calibration(np.random.default_rng(2).uniform(-0.02, 0.02, (3, 3, 3)))
    sigma = ImuSigma(*(np.full(shape, 1e-4) for shape in ((3, 3), (3,), (3, 3), (3,), (3, 3))))
    write_rig(tmp_path / "rig.json", rig_with(replace(known, sigma=sigma)))
    devices = read_rig(tmp_path / "rig.json").devices
    got = devices["head"].calibration
    assert got is not None and got.sigma is not None and devices["left"].calibration is None
    for name in ("gyro_matrix", "gyro_bias", "accel_matrix", "accel_bias", "gyro_g_sensitivity"):
        np.testing.assert_array_equal(getattr(got, name), getattr(known, name))
        np.testing.assert_array_equal(getattr(got.sigma, name), getattr(sigma, name))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("accel_matrix", (415 * np.eye(3)).tolist()),
        ("gyro_matrix", np.eye(2).tolist()),
        ("gyro_matrix", (-np.eye(3)).tolist()),
        ("accel_bias", [0.1, 0.2]),
        ("accel_bias", [9.8, 0.0, 0.0]),
        ("gyro_bias", ["x", 0, 0]),
        ("gyro_bias", [[0.0], [0.0, 0.0], []]),
        ("accel_matrix", None),
    ],
)
def test_a_calibration_of_counts_or_of_the_wrong_shape_is_refused_by_its_key(
    tmp_path: Path, key: str, value: object
) -> None:
    path = tmp_path / "rig.json"
    write_rig(path, rig_with(calibration(np.zeros((3, 3, 3)))))
    values = json.loads(path.read_text())
    values["devices"]["head"]["imu"]["calibration"][key] = value
    path.write_text(json.dumps(values))
    with pytest.raises(RigError, match=f"devices.head.imu.calibration.{key}") as error:
        read_rig(path)
    assert "calibrate imu`" in (error.value.mend or "")


def session_of(path: Path, gyro: Array, accel: Array, t_ns: np.ndarray) -> Path:
    with new_session(path) as writer, writer.start_take() as take:
        for k in range(0, len(t_ns), 500):
            rows = slice(k, k + 500)
            take.add_imu_si("head", t_ns[rows], gyro[rows], accel[rows])
    return path


def test_readers_take_the_calibration_off_in_chip_axes_and_then_turn_to_imu_axes(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    known = calibration(rng.uniform(-0.02, 0.02, (3, 3, 3)))
    rate, force = rng.standard_normal((2, 1200, 3))
    gyro = rate @ known.gyro_matrix.T + force @ known.gyro_g_sensitivity.T + known.gyro_bias
    accel = force @ known.accel_matrix.T + known.accel_bias
    folder = session_of(tmp_path / "s", gyro, accel, 10_000_000 * np.arange(1200))
    write_rig(tmp_path / "rig.json", rig_with(known))
    R = RIG.devices["head"].R_imu_chip
    take = read(folder, tmp_path / "rig.json").take("0001")
    np.testing.assert_allclose(take.imu("head").gyro_imu, rate @ R.T, atol=1e-12)
    np.testing.assert_allclose(take.imu("head").accel_imu, force @ R.T, atol=1e-12)
    np.testing.assert_array_equal(take.imu("head", as_recorded=True).gyro_imu, gyro)
    np.testing.assert_allclose(read(folder).take("0001").imu("head").accel_imu, accel @ R.T, atol=1e-15)


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(["calibrate", "imu", *arguments])
    return int(caught.value.code or 0), capfd.readouterr().out


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Chip axes are not imu axes here, and rig.json states 1 kHz: the log's rate is set to that."""
    log = poses_log()
    rig = replace(RIG, devices={"head": replace(RIG.devices["head"], imu=MODEL)}, cameras={})
    folder = session_of(tmp_path / "s", log.gyro, log.accel, log.t_ns)
    write_rig(folder / "rig.json", rig)
    return folder


def test_a_session_leaves_a_part_and_a_page_beside_its_take_the_same_bytes_every_time(
    session: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out = run(capfd, str(session), "--json")
    told = json.loads(out)
    assert code == 0 and told["ok"] and told["summary"]["verdict"] == "ok"
    paths = [Path(path) for path in told["outputs"]]
    assert paths[0] == session / "derived/0001/calibrate/imu-head.json"
    part = read_part(paths[0])
    assert part.uid == "uid-1" and part.created == "2026-01-01T00:00:00Z"
    assert list(part.inputs) == ["raw/0001/seg-0000.mcap", "raw/0001/seg-0001.mcap"]
    assert part.values["gyro_noise_density"] is None  # three seconds of rest tell no noise
    before = [path.read_bytes() for path in paths]
    assert b"<svg" in before[1] and b"<script" not in before[1] and b"src=" not in before[1]
    assert run(capfd, str(session), "--json")[0] == 0
    assert [path.read_bytes() for path in paths] == before
    assert run(capfd, str(session), "--span", "0-30", "--out", str(session / "cut"), "--json")[0] == 1
    code, out = run(capfd, str(session), "--lang", "zh", "--out", str(session / "zh"))
    assert code == 0 and "合格" in out and "姿态" in (session / "zh/imu-head.html").read_text()


def csv(path: Path, header: str, columns: list[Array], stamps: list[str]) -> Path:
    rows = [
        ",".join([stamp, *(f"{x:.9g}" for x in row)]) for stamp, row in zip(stamps, np.hstack(columns), strict=True)
    ]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_refused_log_leaves_its_page_and_exit_code_1(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = still_log(10.0)
    path = csv(tmp_path / "data.csv", "#ns,w_x,w_y,w_z,a_x,a_y,a_z", [log.gyro, log.accel], [str(t) for t in log.t_ns])
    code, out = run(capfd, str(path), "--out", str(tmp_path / "out"), "--json")
    told = json.loads(out)
    assert code == 1 and not told["ok"] and "ten minutes" in told["error"]["mend"]
    assert read_part(tmp_path / "out/imu-head.json").verdict == "refused"
    assert "Refused" in (tmp_path / "out/imu-head.html").read_text()


def test_columns_are_taken_by_name_and_units_as_stated(tmp_path: Path) -> None:
    from handcap.formats.imu_log import LogOptions

    log = still_log(10.0)
    seconds = [f"{t:.4f}" for t in log.t_s]
    warmth = 20 + log.t_s[:, None]
    path = csv(
        tmp_path / "log.csv",
        "time_s,accel_x,accel_y,accel_z,temp_c,gyro_x,gyro_y,gyro_z",
        [log.accel / GRAVITY_M_S2, warmth, np.rad2deg(log.gyro)],
        seconds,
    )
    got = read_imu_log(path, LogOptions(gyro_unit="deg/s", accel_unit="g"))
    np.testing.assert_allclose(got.gyro, log.gyro, atol=1e-8)
    np.testing.assert_allclose(got.accel, log.accel, atol=1e-7)
    np.testing.assert_array_equal(got.t_ns, log.t_ns)
    assert got.temperature_c is not None and got.temperature_c[-1] == pytest.approx(29.99)
    cut = read_imu_log(path, LogOptions(span_s=(2.0, 5.0)))
    assert cut.t_ns[0] == 2_000_000_000 and cut.t_ns[-1] == 5_000_000_000
