"""Clean ASL folders come in whole and unchanged."""

from __future__ import annotations

import json

import numpy as np
import pytest
from asl_folder import IDENTITY, AslFolder, imu_lines, picture

from handcap import session as session_store
from handcap.cameras import KannalaBrandt4, PinholeRadtan
from handcap.formats.euroc import import_euroc
from handcap.geometry import inverse, se3, so3_exp


@pytest.fixture
def asl(tmp_path):
    return AslFolder(tmp_path / "recording")


def codes(report):
    return [finding.code for finding in report.findings]


def test_a_clean_recording_comes_in_unchanged_and_unremarked(asl, tmp_path):
    report = import_euroc(asl.root, tmp_path / "out")
    assert (report.frames, report.imu_samples, codes(report)) == (40, 800 - 9, [])
    take = session_store.read(tmp_path / "out").take("0001")
    packets = list(take.packets("head"))
    assert [p.t_ns for p in packets] == asl.stamps
    assert [p.data for p in packets] == [asl.picture_path(i).read_bytes() for i in range(40)]
    assert {p.format for p in packets} == {"png"}
    imu = take.imu("head")
    # One second each side of the pictures: the first 791 samples end 1 s after the last picture.
    np.testing.assert_array_equal(np.hstack([imu.gyro_imu, imu.accel_imu]), asl.values[:791])


def test_mav0_itself_is_accepted(asl, tmp_path):
    assert import_euroc(asl.root / "mav0", tmp_path / "out").frames == 40


def test_the_rig_holds_lens_mounting_noise_and_hashes_of_its_sources(asl, tmp_path):
    import_euroc(asl.root, tmp_path / "out")
    rig = session_store.read(tmp_path / "out").rig
    camera = rig.cameras["head"]
    assert isinstance(camera.camera, PinholeRadtan)
    assert camera.camera.params == (40.0, 41.0, 31.5, 23.5, -0.28, 0.07, 0.0002, 1.8e-05)
    np.testing.assert_allclose(camera.T_imu_cam[:3, 3], [-0.02, -0.06, 0.01])
    assert (rig.devices["head"].imu.rate_hz, rig.devices["head"].imu.gyro_random_walk) == (200.0, 2e-5)
    assert set(rig.provenance["sha256"]) == {"imu0/sensor.yaml", "imu0/data.csv", "cam0/sensor.yaml", "cam0/data.csv"}


def test_a_turned_imu_keeps_its_own_axes_and_the_camera_is_given_relative_to_it(asl, tmp_path):
    T_body_imu = se3(so3_exp([0.1, -0.4, 1.2]), [0.05, 0.01, -0.02])
    T_body_cam = se3([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [-0.02, -0.06, 0.01])
    asl.edit_yaml(asl.imu, IDENTITY, str(T_body_imu.ravel().tolist()))
    import_euroc(asl.root, tmp_path / "out")
    rig = session_store.read(tmp_path / "out").rig
    np.testing.assert_allclose(rig.cameras["head"].T_imu_cam, inverse(T_body_imu) @ T_body_cam, atol=1e-12)
    np.testing.assert_array_equal(rig.devices["head"].R_imu_chip, np.eye(3))


def test_a_fisheye_and_opencvs_matrix_dialect_are_read(asl, tmp_path):
    asl.edit_yaml(asl.cam, "radial-tangential", "equidistant")
    asl.edit_yaml(asl.cam, "T_BS:\n", "T_BS: !!opencv-matrix\n")
    import_euroc(asl.root, tmp_path / "out")
    assert isinstance(session_store.read(tmp_path / "out").rig.cameras["head"].camera, KannalaBrandt4)


def test_the_format_of_a_picture_comes_from_its_bytes_not_its_name(asl, tmp_path):
    asl.picture_path(3).write_bytes(picture(3, suffix=".jpg"))
    import_euroc(asl.root, tmp_path / "out")
    packets = list(session_store.read(tmp_path / "out").take("0001").packets("head"))
    assert [p.format for p in packets[2:5]] == ["png", "jpeg", "png"]


@pytest.mark.parametrize(
    "style",
    [
        lambda s: f"{s}",
        lambda s: f"{s},{s}",
        lambda s: f" {s} , {s}.png \r",
        lambda s: f"{s} {s}.png",
        lambda s: f"{s},data/{s}.png",
        lambda s: f"{s};{s}.png",
        lambda s: f"{s / 1e9:.3f}".replace(".", "") + f"000000,{s}.png",
    ],
)
def test_picture_lists_of_many_styles_are_understood(asl, tmp_path, style):
    asl.write_pictures([style(stamp) for stamp in asl.stamps])
    assert import_euroc(asl.root, tmp_path / "out").frames == 40


def test_a_list_without_header_or_no_list_at_all_is_understood(asl, tmp_path):
    (asl.cam / "data.csv").write_text("".join(f"{s},{s}.png\n" for s in asl.stamps))
    assert import_euroc(asl.root, tmp_path / "out").frames == 40
    (asl.cam / "data.csv").unlink()
    report = import_euroc(asl.root, tmp_path / "again")
    assert report.frames == 40 and codes(report) == ["listed_by_name"]


def test_a_header_that_puts_the_accelerometer_first_is_obeyed(asl, tmp_path):
    asl.write_imu(imu_lines(np.roll(asl.values, 3, axis=1)), "#timestamp [ns],a_x,a_y,a_z,w_x,w_y,w_z")
    report = import_euroc(asl.root, tmp_path / "out")
    assert codes(report) == ["columns_by_name"]
    imu = session_store.read(tmp_path / "out").take("0001").imu("head")
    np.testing.assert_array_equal(imu.gyro_imu, asl.values[:791, :3])


def test_missing_noise_is_replaced_by_cautious_defaults_and_said(asl, tmp_path):
    asl.edit_yaml(asl.imu, "gyroscope_noise_density: 1.7e-04\n", "")
    report = import_euroc(asl.root, tmp_path / "out")
    assert codes(report) == ["default_noise"] and "gyro_noise_density" in report.findings[0].text()
    assert session_store.read(tmp_path / "out").rig.devices["head"].imu.gyro_noise_density == 1e-3


def test_a_sensor_without_data_is_noted_unless_it_was_asked_for(asl, tmp_path):
    (asl.root / "mav0" / "cam1").mkdir()
    (asl.root / "mav0" / "cam1" / "sensor.yaml").write_text("rate_hz: 20\n")
    report = import_euroc(asl.root, tmp_path / "out")
    assert [(f.code, f.where) for f in report.findings] == [("empty_sensor", "cam1")]


def test_the_other_camera_can_be_chosen(asl, tmp_path):
    asl.cam.rename(asl.root / "mav0" / "cam1")
    assert import_euroc(asl.root, tmp_path / "out", camera="cam1").frames == 40


def test_the_report_is_kept_in_the_session_and_in_its_journal(asl, tmp_path):
    asl.picture_path(7).write_bytes(b"not a picture")
    report = import_euroc(asl.root, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "import.json").read_text())
    assert kept["format"] == "euroc" and kept["findings"] == json.loads(json.dumps(report.as_dict()["findings"]))
    assert str(tmp_path) not in (tmp_path / "out" / "import.json").read_text()


def test_progress_runs_to_the_end(asl, tmp_path):
    told = []
    import_euroc(asl.root, tmp_path / "out", on_progress=lambda what, fraction: told.append((what, fraction)))
    assert told[-1][1] == 1.0 and [f for _, f in told] == sorted(f for _, f in told)


def test_the_real_clip_comes_in_whole(shared_data, tmp_path):
    report = import_euroc(shared_data("vio/euroc_mh01_head"), tmp_path / "out")
    assert (report.frames, report.imu_samples, codes(report)) == (185, 2240, [])


def test_the_real_clip_at_rest_is_trimmed_to_its_pictures(shared_data, tmp_path):
    report = import_euroc(shared_data("vio/euroc_V101_micro_kimera"), tmp_path / "out")
    assert report.frames == 10 and report.imu_samples < 500
    assert [(f.code, f.where) for f in report.findings] == [("empty_sensor", "cam1")]
