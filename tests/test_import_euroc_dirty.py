"""Dirty ASL folders: mended with a note that names rows, or refused with where, what and how to mend."""

from __future__ import annotations

import os

import numpy as np
import pytest
from asl_folder import IMU_YAML, START_NS, AslFolder, head_motion, imu_lines, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from handcap import session as session_store
from handcap.errors import FormatError, OutputError
from handcap.formats.euroc import import_euroc
from handcap.formats.inertial import gyro_factor
from handcap.geometry import so3_exp


@pytest.fixture
def asl(tmp_path):
    return AslFolder(tmp_path / "recording")


def refused(asl, tmp_path, words, **options):
    """The error of an import that must fail and leave nothing behind."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FormatError, match=words) as caught:
        import_euroc(asl.root, tmp_path / "deep" / "out", **options)
    assert sorted(tmp_path.iterdir()) == before, "something half-written was left"
    assert caught.value.where and caught.value.mend
    return caught.value


def findings(asl, tmp_path):
    report = import_euroc(asl.root, tmp_path / "out")
    return {finding.code: finding for finding in report.findings}, report


def test_a_few_unreadable_rows_are_left_out_and_named(asl, tmp_path):
    lines = imu_lines(asl.values)
    lines[10], lines[20], lines[30] = (
        "garbage",
        lines[20].replace(",", ",nan,", 1),
        lines[30].rsplit(",", 1)[0] + ",inf",
    )
    lines[40] = "9" * 100_000
    asl.write_imu(lines)
    found, report = findings(asl, tmp_path)
    assert found["bad_rows"].rows == (12, 22, 32, 42) and found["bad_rows"].n == 4
    assert report.imu_samples == 791 - 4


def test_many_unreadable_rows_are_refused(asl, tmp_path):
    lines = imu_lines(asl.values)
    lines[100:120] = [line + ",7" for line in lines[100:120]]
    asl.write_imu(lines)
    error = refused(asl, tmp_path, "8 columns instead of 7: 20")
    assert "imu0/data.csv, line 102" in str(error)


def test_an_imu_file_of_words_is_refused(asl, tmp_path):
    asl.write_imu(["these", "are", "words"])
    refused(asl, tmp_path, "no row can be read")


def test_a_few_rows_out_of_order_are_sorted_in(asl, tmp_path):
    lines = imu_lines(asl.values)
    lines[100], lines[101] = lines[101], lines[100]
    asl.write_imu(lines)
    found, _ = findings(asl, tmp_path)
    assert found["out_of_order"].rows == (103,)
    imu = session_store.read(tmp_path / "out").take("0001").imu("head")
    np.testing.assert_array_equal(imu.gyro_imu, asl.values[:791, :3])


def test_a_stamp_with_a_flipped_digit_is_dropped_and_named(asl, tmp_path):
    lines = imu_lines(asl.values)
    lines[50], lines[60] = "2" + lines[50][1:], "0" + lines[60][1:]
    asl.write_imu(lines)
    found, report = findings(asl, tmp_path)
    assert found["far_stamps"].rows == (52, 62) and report.imu_samples == 791 - 2


def test_a_clock_that_was_reset_is_refused_at_its_row(asl, tmp_path):
    lines = imu_lines(asl.values)
    asl.write_imu(lines[400:] + lines[:400])
    assert "line 402" in str(refused(asl, tmp_path, "time runs backwards: 400 of 800"))


def test_equal_rows_are_dropped_and_counted(asl, tmp_path):
    lines = imu_lines(asl.values)
    asl.write_imu([line for line in lines for _ in range(2)])
    found, report = findings(asl, tmp_path)
    assert found["repeated_rows"].n == 800 and report.imu_samples == 791


def test_two_sensors_with_the_same_stamps_in_one_file_are_refused(asl, tmp_path):
    other = imu_lines(asl.values + 0.05)
    asl.write_imu([line for pair in zip(imu_lines(asl.values), other, strict=True) for line in pair])
    error = refused(asl, tmp_path, "two streams in one file")
    assert "lines 2 and 3" in str(error)


@pytest.mark.parametrize("stated_hz", [200, 400])
def test_two_sensors_that_take_turns_are_refused(asl, tmp_path, stated_hz):
    other = imu_lines(asl.values + [0.02, 0, 0, 0, 0.2, 0], start_ns=START_NS + 2_300_000)
    asl.write_imu([line for pair in zip(imu_lines(asl.values), other, strict=True) for line in pair])
    asl.edit_yaml(asl.imu, "rate_hz: 200", f"rate_hz: {stated_hz}")
    error = refused(asl, tmp_path, "two streams in one file")
    assert "lines 2 and 3" in str(error)


def test_a_second_slower_sensor_in_the_file_is_refused(asl, tmp_path):
    other = imu_lines(asl.values[::2] + [0.03, 0, 0, 0, 0.3, 0], START_NS + 1_700_000, 10_000_000)
    asl.write_imu(sorted(imu_lines(asl.values) + other))
    refused(asl, tmp_path, "two streams in one file")


def test_a_faster_sensor_than_stated_is_one_stream_and_its_rate_is_noted(asl, tmp_path):
    asl.write_imu(imu_lines(head_motion(4.0, 400.0), period_ns=2_500_000))
    found, _ = findings(asl, tmp_path)
    assert list(found) == ["rate"] and "400 Hz" in found["rate"].text()
    assert session_store.read(tmp_path / "out").rig.devices["head"].imu.rate_hz == 400


@settings(max_examples=25)
@given(st.integers(0, 50), st.floats(0, 8), st.floats(60, 99))
def test_vibration_is_not_taken_for_two_streams(seed, strength, vibration_hz):
    from handcap.formats.inertial import one_stream
    from handcap.formats.rows import Rows

    values = head_motion(8.0, seed=seed)
    n = len(values)
    values[:, 3:] += strength * np.sin(2 * np.pi * vibration_hz * np.arange(n)[:, None] / 200)
    stamp = START_NS + 5_000_000 * np.arange(n, dtype=np.int64)
    rows = Rows(np.arange(n), stamp, stamp.astype(float), False, values, [])
    assert one_stream(rows, 200, "imu0/data.csv") == (rows, [])


def test_gaps_are_reported_with_their_span(asl, tmp_path):
    lines = imu_lines(asl.values)
    asl.write_imu(lines[:300] + lines[340:])
    asl.write_pictures([f"{s},{s}.png" for s in asl.stamps[:10] + asl.stamps[14:]])
    found = [f for f in import_euroc(asl.root, tmp_path / "out").findings if f.code == "gap"]
    assert [(f.where, f.rows) for f in found] == [("imu0/data.csv", (301,)), ("cam0/data.csv", (11,))]
    assert "0.205 s" in found[0].text() and "0.25 s" in found[1].text()


@pytest.mark.parametrize(
    ("per_s", "unit", "factor"), [(1, "seconds", "1e9"), (1e3, "milliseconds", "1e6"), (1e6, "microseconds", "1e3")]
)
def test_stamps_in_another_unit_are_refused_by_name(asl, tmp_path, per_s, unit, factor):
    asl.write_imu(
        [f"{int(line.split(',')[0]) / 1e9 * per_s:.6f}," + line.split(",", 1)[1] for line in imu_lines(asl.values)]
    )
    error = refused(asl, tmp_path, f"stamps look like {unit}")
    assert factor in (error.mend or "") and "imu0/data.csv" in (error.where or "")


def test_picture_stamps_in_seconds_are_refused(asl, tmp_path):
    asl.write_pictures([f"{s / 1e9:.6f},{s}.png" for s in asl.stamps])
    assert "cam0/data.csv" in (refused(asl, tmp_path, "stamps look like seconds").where or "")


@pytest.mark.parametrize("factor", [1 / 9.80665, 1000 / 9.80665, 1000.0])
def test_an_accelerometer_in_another_unit_is_refused(asl, tmp_path, factor):
    asl.write_imu(imu_lines(asl.values * [1, 1, 1, factor, factor, factor]))
    refused(asl, tmp_path, "accelerometer averages .* unit is wrong")


def test_an_accelerometer_without_gravity_is_refused(asl, tmp_path):
    asl.write_imu(imu_lines(asl.values * [1, 1, 1, 0.001, 0.001, 0.001]))
    refused(asl, tmp_path, "gravity was taken out")


def test_swapped_columns_are_refused(asl, tmp_path):
    asl.write_imu(imu_lines(np.roll(asl.values, 3, axis=1)))
    refused(asl, tmp_path, "gyroscope columns hold gravity")


def test_a_gyroscope_in_degrees_is_refused(asl, tmp_path):
    asl.write_imu(imu_lines(asl.values * [57.29578, 57.29578, 57.29578, 1, 1, 1]))
    error = refused(asl, tmp_path, "unit is wrong")
    assert "rad/s" in (error.mend or "")


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(0, 4))
def test_gravity_tells_degrees_from_radians_whatever_the_sway(seed, sway):
    values = head_motion(20.0, sway_m_s2=sway, seed=seed)
    t_ns = 5_000_000 * np.arange(len(values), dtype=np.int64)
    radians = gyro_factor(t_ns, values[:, :3], values[:, 3:])
    degrees = gyro_factor(t_ns, np.rad2deg(values[:, :3]), values[:, 3:])
    assert radians is None or 0.5 < radians < 2
    assert degrees is None or 30 < degrees < 115
    assert sway > 2 or (radians is not None and degrees is not None)


def test_a_camera_at_rest_says_nothing_about_the_gyroscopes_unit():
    rng = np.random.default_rng(0)
    n = 4000
    gyro = np.rad2deg(np.array([0.0, 0.02, 0.08]) + rng.normal(0, 0.003, (n, 3)))
    accel = so3_exp([0.3, 0.2, 0]) @ [0, 0, 9.81] + rng.normal(0, 0.05, (n, 3))
    assert gyro_factor(5_000_000 * np.arange(n, dtype=np.int64), gyro, accel) is None


def test_real_flight_data_is_not_refused(shared_data):
    from handcap.formats.inertial import one_stream, require_plausible
    from handcap.formats.rows import read_rows

    rows, _ = read_rows(shared_data("imu/euroc_imu_gt_full/V1_02_medium_imu.csv"), "imu", columns=6)
    require_plausible(rows, "imu")
    assert one_stream(rows, 200, "imu") == (rows, [])


def test_pictures_that_do_not_decode_are_skipped_and_named(asl, tmp_path):
    asl.picture_path(3).write_bytes(b"this is no picture")
    whole = picture(5, suffix=".jpg")
    asl.picture_path(5).write_bytes(whole[: len(whole) // 3])
    asl.picture_path(8).write_bytes(b"")
    flipped = bytearray(picture(9))
    flipped[len(flipped) // 2 : len(flipped) // 2 + 40] = bytes(40)
    asl.picture_path(9).write_bytes(flipped)
    found, report = findings(asl, tmp_path)
    assert found["undecodable_pictures"].rows == (5, 7, 10, 11) and report.frames == 36


def test_files_that_are_no_pictures_at_all_are_refused(asl, tmp_path):
    for i in range(40):
        asl.picture_path(i).write_text("hello")
    refused(asl, tmp_path, "none of its 40 pictures decodes")


def test_pictures_of_another_size_are_refused_with_both_sizes(asl, tmp_path):
    asl.picture_path(2).write_bytes(picture(2, 128, 96))
    assert "line 4" in str(refused(asl, tmp_path, "128 x 96, sensor.yaml says 64 x 48"))


def test_listed_pictures_that_do_not_exist_and_unlisted_ones_are_counted(asl, tmp_path):
    asl.picture_path(4).unlink()
    (asl.cam / "data" / "extra.png").write_bytes(picture())
    found, report = findings(asl, tmp_path)
    assert found["missing_pictures"].rows == (6,) and found["unlisted_pictures"].n == 1 and report.frames == 39


def test_a_list_whose_pictures_are_all_elsewhere_is_refused(asl, tmp_path):
    asl.write_pictures([f"{s},other_{i}.png" for i, s in enumerate(asl.stamps)])
    refused(asl, tmp_path, "none of its 40 pictures exists")


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "..", "a/../b.png", "..\\x.png", "x\0.png"])
def test_a_picture_name_that_leaves_the_recording_is_refused(asl, tmp_path, name):
    asl.write_pictures([f"{s},{s}.png" for s in asl.stamps[:-1]] + [f"{asl.stamps[-1]},{name}"])
    assert "line 41" in str(refused(asl, tmp_path, "outside the recording"))


def test_clocks_without_overlap_are_refused(asl, tmp_path):
    asl.write_imu(imu_lines(asl.values, start_ns=5_000_000_000))
    refused(asl, tmp_path, "clocks disagree")


def test_pictures_outside_the_imus_span_are_kept_and_noted(asl, tmp_path):
    asl.write_imu(imu_lines(asl.values)[:400])
    found, report = findings(asl, tmp_path)
    assert found["outside_imu"].n == 20 and report.frames == 40


@pytest.mark.parametrize(
    ("remove", "words"),
    [("imu0/data.csv", "no IMU data"), ("imu0/sensor.yaml", "missing"), ("cam0/sensor.yaml", "missing")],
)
def test_missing_files_are_named(asl, tmp_path, remove, words):
    (asl.root / "mav0" / remove).unlink()
    refused(asl, tmp_path, words)


def test_a_camera_that_is_not_there_names_those_that_are(asl, tmp_path):
    for camera in ("cam7", "../cam0", ""):
        assert "cam0" in (refused(asl, tmp_path, "no camera", camera=camera).mend or "")


def test_an_empty_folder_a_file_and_nothing_at_all_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name, words in (("empty", "neither mav0"), ("file", "is a file"), ("nothing", "does not exist")):
        with pytest.raises(FormatError, match=words):
            import_euroc(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_that_exists_is_left_alone(asl, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        import_euroc(asl.root, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("radial-tangential", "omni", "omni.*is not known"),
        ("[-0.28, 0.07, 0.0002, 1.8e-05]", "[1, 2, 3]", "must be 4 numbers, not 3"),
        ("[40.0, 41.0, 31.5, 23.5]", "[40.0, 41.0, 300, 23.5]", "do not fit"),
        ("[40.0, 41.0, 31.5, 23.5]", "[1e9, 1e9, 31.5, 23.5]", "do not fit"),
        ("[40.0, 41.0, 31.5, 23.5]", f"[1{'0' * 400}, 41.0, 31.5, 23.5]", "not a list of numbers"),
        ("[-0.28, 0.07, 0.0002, 1.8e-05]", "[1e300, 0, 0, 0]", "no lens"),
        ("[40.0, 41.0, 31.5, 23.5]", "[a, b, c, d]", "not a list of numbers"),
        ("rate_hz: 20", "x: &x [1, 1]\nrate_hz: *x", "aliases"),
        ("data: [0.0, -1.0", "data: [0.5, -1.0", "not a rigid motion"),
        ("-0.02, 1.0, 0.0, 0.0, -0.06", "-20, 1.0, 0.0, 0.0, -60", "from the body"),
        ("T_BS", "T_SB", "T_BS is missing"),
        ("resolution", "size", "resolution is missing"),
        ("rate_hz: 20", "rate_hz: fast", "rate_hz is not a number"),
        ("%YAML:1.0", "]:[", "is not YAML"),
    ],
)
def test_a_calibration_that_makes_no_sense_is_refused_by_key(asl, tmp_path, old, new, words):
    asl.edit_yaml(asl.cam, old, new)
    assert refused(asl, tmp_path, words).where == "cam0/sensor.yaml"


def test_a_calibration_cannot_run_code(asl, tmp_path):
    (asl.imu / "sensor.yaml").write_text(IMU_YAML + "evil: !!python/object/apply:os.system ['touch pwned']\n")
    refused(asl, tmp_path, "is not YAML")


def test_findings_speak_chinese_too(asl, tmp_path):
    asl.picture_path(4).unlink()
    found, _ = findings(asl, tmp_path)
    assert "不存在" in found["missing_pictures"].text("zh")


def test_a_sensor_yaml_that_is_a_pipe_is_refused_instead_of_waited_for(asl, tmp_path):
    path = asl.root / "mav0" / "cam0" / "sensor.yaml"
    path.unlink()
    os.mkfifo(path)
    refused(asl, tmp_path, "is not a file")


def test_a_picture_size_that_would_fill_the_memory_is_refused(asl, tmp_path):
    path = asl.root / "mav0" / "cam0" / "sensor.yaml"
    text = path.read_text()
    assert "[64, 48]" in text
    path.write_text(text.replace("[64, 48]", "[30000, 30000]"))
    refused(asl, tmp_path, "resolution must be")


def test_stamps_that_a_spreadsheet_shortened_are_not_called_two_streams(asl, tmp_path):
    lines = [line.split(",", 1) for line in imu_lines(asl.values)]
    asl.write_imu([f"{int(stamp):.9e},{rest}" for stamp, rest in lines])
    refused(asl, tmp_path, "lost their last digits")
