"""Calibrations to and from other tools: nothing changes on the way, and what is wrong with a file is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handcap.cameras import Camera, KannalaBrandt4, PinholeRadtan
from handcap.cli.app import main
from handcap.errors import FormatError, HandcapError, OutputError, UsageError
from handcap.formats.convert import ConvertParams, convert
from handcap.geometry import inverse, se3, so3_exp
from handcap.session import read_rig, write_rig
from handcap.sim import rigs as virtual
from handcap.types import Device, ImuModel, MountedCamera, Rig

share = st.floats(-0.05, 0.05)
turn = st.lists(st.floats(-3, 3), min_size=3, max_size=3)
shift = st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3)
poses = st.builds(lambda r, t: se3(so3_exp(r), t), turn, shift)
lenses = st.builds(
    lambda kind, fx, fy, cx, cy, k: kind(640, 480, (fx, fy, 320 + cx, 240 + cy, *k)),
    st.sampled_from([PinholeRadtan, KannalaBrandt4]),
    st.floats(150, 900), st.floats(150, 900), st.floats(-50, 50), st.floats(-50, 50),
    st.lists(share, min_size=4, max_size=4),
)  # fmt: skip
mounts = st.builds(
    lambda lens, T, dt, delay: MountedCamera("head", lens, T, dt, None, delay),
    lenses, poses, st.floats(-0.5, 0.5), st.floats(0, 1e-4),
)  # fmt: skip
imus = st.builds(ImuModel, st.floats(50, 2000), *[st.floats(1e-7, 1e-1)] * 4)
rigs = st.builds(
    lambda imu, cameras: Rig("R", {"head": Device(imu)}, dict(zip(["head_left", "head_right"], cameras, strict=False))),
    imus, st.lists(mounts, min_size=1, max_size=2),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("convert")


def fresh(folder: Path, name: str) -> Path:
    (folder / name).unlink(missing_ok=True)
    return folder / name


@settings(max_examples=30)
@given(rig=rigs)
def test_a_rig_comes_back_from_kalibr_s_files(folder: Path, rig: Rig) -> None:
    write_rig(folder / "rig.json", rig)
    convert(folder / "rig.json", fresh(folder, "camchain.yaml"))
    convert(folder / "rig.json", fresh(folder, "imu.yaml"))
    convert(folder / "camchain.yaml", fresh(folder, "back.json"), ConvertParams(imu=folder / "imu.yaml", rig_id="R"))
    back = read_rig(folder / "back.json")
    assert back.devices["head"].imu == rig.devices["head"].imu and [*back.cameras] == [*rig.cameras]
    for name, camera in rig.cameras.items():
        assert back.cameras[name].camera == camera.camera
        assert back.cameras[name].dt_imu_cam_s == camera.dt_imu_cam_s
        assert back.cameras[name].line_delay_s == camera.line_delay_s
        np.testing.assert_allclose(back.cameras[name].T_imu_cam, camera.T_imu_cam, atol=1e-12)


@settings(max_examples=20)
@given(rig=rigs)
def test_kalibr_s_conventions_are_the_inverse_of_ours_and_the_chain_agrees(folder: Path, rig: Rig) -> None:
    write_rig(folder / "rig.json", rig)
    convert(folder / "rig.json", fresh(folder, "camchain.yaml"))
    told = yaml.safe_load((folder / "camchain.yaml").read_text())
    mounted = [*rig.cameras.values()]
    for k, camera in enumerate(mounted):
        np.testing.assert_allclose(np.array(told[f"cam{k}"]["T_cam_imu"]) @ camera.T_imu_cam, np.eye(4), atol=1e-12)
        assert told[f"cam{k}"]["timeshift_cam_imu"] == camera.dt_imu_cam_s  # t_imu = t_cam + shift
    if len(mounted) > 1:
        chained = np.array(told["cam1"]["T_cn_cnm1"]) @ np.array(told["cam0"]["T_cam_imu"])
        np.testing.assert_allclose(chained, told["cam1"]["T_cam_imu"], atol=1e-12)


@settings(max_examples=25)
@given(lens=lenses, suffix=st.sampled_from([".yml", ".xml"]))
def test_a_lens_comes_back_from_opencv_s_files_and_opencv_reads_them(folder: Path, lens: Camera, suffix: str) -> None:
    base = Rig("R", {"head": Device(ImuModel(200, 1, 1, 1, 1))}, {"head": MountedCamera("head", lens, np.eye(4))})
    write_rig(folder / "rig.json", base)
    target = fresh(folder, f"lens{suffix}")
    convert(folder / "rig.json", target)
    told = cv2.FileStorage(str(target), cv2.FILE_STORAGE_READ)
    K, D = told.getNode("camera_matrix").mat(), told.getNode("distortion_coefficients").mat()
    assert (K[0, 0], K[1, 1], K[0, 2], K[1, 2], *D.ravel()) == lens.params
    write_rig(folder / "base.json", replace(base, cameras={"head": MountedCamera("head", LENS, np.eye(4))}))
    convert(target, fresh(folder, "back.json"), ConvertParams(base=folder / "base.json"))
    assert read_rig(folder / "back.json").cameras["head"].camera == lens


LENS = virtual.drawn("head", 1).cameras["head"].camera


@settings(max_examples=15)
@given(lens=lenses)
def test_a_fisheye_comes_back_from_umi_s_file_and_a_pinhole_is_refused(folder: Path, lens: Camera) -> None:
    base = Rig("R", {"right": Device(ImuModel(200, 1, 1, 1, 1))}, {"right": MountedCamera("right", lens, np.eye(4))})
    write_rig(folder / "rig.json", base)
    target = fresh(folder, "gopro.json")
    if isinstance(lens, PinholeRadtan):
        with pytest.raises(FormatError, match="fisheye"):
            convert(folder / "rig.json", target)
        return
    convert(folder / "rig.json", target)
    convert(target, fresh(folder, "b.json"), ConvertParams(base=folder / "rig.json", camera="right"))
    np.testing.assert_allclose(read_rig(folder / "b.json").cameras["right"].camera.params, lens.params, rtol=1e-14)


def base_of(folder: Path, rig: str = "head", lens: Camera = LENS) -> Path:
    drawn = virtual.drawn(rig, 1)
    cameras = {name: replace(camera, camera=lens) for name, camera in drawn.cameras.items()}
    write_rig(folder / "base.json", replace(drawn, cameras=cameras))
    return folder / "base.json"


def test_umi_s_gopro_is_the_lens_it_says(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared_data("umi/example/calibration/gopro_intrinsics_2_7k.json")
    convert(source, tmp_path / "rig.json", ConvertParams(base=base_of(tmp_path, "gripper"), camera="right"))
    lens = read_rig(tmp_path / "rig.json").cameras["right"].camera
    assert isinstance(lens, KannalaBrandt4) and (lens.width, lens.height) == (2704, 2028)
    np.testing.assert_allclose(lens.params[:4], [796.8545, 796.8545 * 1.00297890, 1354.4265, 1011.4847], rtol=1e-6)
    assert lens.params[4:] == (
        -0.02196117964405394,
        -0.018959717016668237,
        0.001693880829392453,
        -0.00016807228608000285,
    )


def test_opencv_s_own_calibration_is_read_and_its_fifth_coefficient_told_of(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    source = shared_data("calib/opencv_chessboard/left_intrinsics.yml")
    with pytest.raises(FormatError, match=r"k3 = 0.238392 has no place .* 2.8 px off"):
        convert(source, tmp_path / "rig.json", ConvertParams(base=base_of(tmp_path)))
    _, _, notes = convert(source, tmp_path / "rig.json", ConvertParams(base=base_of(tmp_path), lose_px=3.0))
    assert len(notes) == 1 and "k3 = 0.238" in notes[0]
    lens = read_rig(tmp_path / "rig.json").cameras["head"].camera
    told = cv2.FileStorage(str(source), cv2.FILE_STORAGE_READ)
    K, D = told.getNode("camera_matrix").mat(), told.getNode("distortion_coefficients").mat()
    x, y = np.meshgrid(np.linspace(0, 639, 21), np.linspace(0, 479, 17))
    px = np.stack([x, y], axis=-1).reshape(-1, 2)
    xy = cv2.undistortPoints(px[:, None], K, D)[:, 0]
    theirs = cv2.projectPoints(np.column_stack([xy, np.ones(len(xy))]), np.zeros(3), np.zeros(3), K, D)[0][:, 0]
    ours, _ = lens.project(np.column_stack([xy, np.ones(len(xy))]))
    print(f"k3 left out: {np.abs(ours - theirs).max():.3f} px")
    assert np.abs(ours - theirs).max() < 3.0 and np.median(np.abs(ours - theirs)) < 0.3


def test_a_stereo_file_without_a_size_asks_for_it(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared_data("calib/opencv_chessboard/intrinsics.yml")
    base = base_of(tmp_path, "head-stereo")
    with pytest.raises(FormatError, match="how large"):
        convert(source, tmp_path / "rig.json", ConvertParams(base=base))
    convert(source, tmp_path / "rig.json", ConvertParams(base=base, size=(640, 480)))
    rig = read_rig(tmp_path / "rig.json")
    assert [c.camera.params[0] for c in rig.cameras.values()] == [534.80326845051309] * 2


CHAIN = """cam0:
  camera_model: pinhole
  distortion_coeffs: [-0.2, 0.05, 1.0e-3, 2e-4]
  distortion_model: radtan
  intrinsics: [460.0, 459.0, 320.0, 240.0]
  resolution: [640, 480]
  rostopic: /cam0/image_raw
  timeshift_cam_imu: 0.003
  T_cam_imu:
  - [1.0, 0.0, 0.0, 0.1]
  - [0.0, 1.0, 0.0, 0.0]
  - [0.0, 0.0, 1.0, 0.0]
  - [0.0, 0.0, 0.0, 1.0]
"""
LEFT = CHAIN.replace("/cam0/image_raw", "/camera/left")
TWICE = LEFT + LEFT.replace("cam0:", "cam1:")
IMU = """accelerometer_noise_density: 0.0015
accelerometer_random_walk: 5.0e-4
gyroscope_noise_density: 2e-4
gyroscope_random_walk: 2.0e-05
update_rate: 200.0
"""
OPENCV = """%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 500., 0., 320., 0., 500., 240., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ -0.2, 0.05, 0., 0., 0. ]
"""
XML = (
    '<?xml version="1.0"?><opencv_storage><image_width>640</image_width><image_height>480</image_height>'
    '<camera_matrix type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>d</dt>'
    "<data>500 0 320 0 500 240 0 0 1</data></camera_matrix>"
    '<distortion_coefficients type_id="opencv-matrix"><rows>4</rows><cols>1</cols><dt>d</dt>'
    "<data>0 0 0 0</data></distortion_coefficients></opencv_storage>"
)
GOPRO = {
    "image_height": 480,
    "image_width": 640,
    "intrinsic_type": "FISHEYE",
    "intrinsics": {
        "aspect_ratio": 1.0, "focal_length": 300.0, "principal_pt_x": 320.0, "principal_pt_y": 240.0, "skew": 0.0,
        "radial_distortion_1": 0.0, "radial_distortion_2": 0.0, "radial_distortion_3": 0.0, "radial_distortion_4": 0.0,
    },
}  # fmt: skip


def gopro(**changed: Any) -> str:
    return json.dumps({**GOPRO, "intrinsics": {**GOPRO["intrinsics"], **changed}})  # type: ignore[dict-item]


@pytest.mark.parametrize("text", [CHAIN, OPENCV, XML, gopro()], ids=["kalibr", "opencv", "xml", "gopro"])
def test_a_file_is_told_by_what_it_holds(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.txt").write_text(text)
    convert(tmp_path / "file.txt", tmp_path / "rig.json", ConvertParams(base=base_of(tmp_path), camera="head"))
    assert read_rig(tmp_path / "rig.json").cameras["head"].camera.params[2:4] == (320.0, 240.0)
    assert read_rig(tmp_path / "rig.json").cameras["head"].sigma is None


def test_a_camera_s_topic_is_its_name_and_a_camera_s_place_turns_round(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(LEFT)
    (tmp_path / "i.yaml").write_text(IMU)
    convert(tmp_path / "c.yaml", tmp_path / "rig.json", ConvertParams(imu=tmp_path / "i.yaml", device="left"))
    rig = read_rig(tmp_path / "rig.json")
    assert [*rig.cameras] == ["left"] and rig.cameras["left"].device == "left"
    assert rig.cameras["left"].T_imu_cam[0, 3] == -0.1 and rig.cameras["left"].dt_imu_cam_s == 0.003


def test_a_chain_without_an_imu_keeps_the_base_s_first_place(tmp_path: Path) -> None:
    lone = CHAIN[: CHAIN.index("  timeshift")]
    second = lone.replace("cam0", "cam1") + "  T_cn_cnm1:\n" + "".join(
        f"  - {row}\n" for row in [[1.0, 0, 0, -0.11], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
    )  # fmt: skip
    (tmp_path / "c.yaml").write_text(lone + second)
    base = base_of(tmp_path, "head-stereo")
    convert(tmp_path / "c.yaml", tmp_path / "rig.json", ConvertParams(base=base))
    rig, before = read_rig(tmp_path / "rig.json"), read_rig(base)
    left, right = (rig.cameras[name].T_imu_cam for name in ("head_left", "head_right"))
    np.testing.assert_allclose(left, before.cameras["head_left"].T_imu_cam, atol=1e-12)
    np.testing.assert_allclose((inverse(left) @ right)[:3, 3], [0.11, 0, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CHAIN.replace("pinhole", "omni"), "lens model 'omni'"),
        (CHAIN.replace("radtan", "fov"), "'fov' is not known"),
        (CHAIN.replace("460.0", ".nan"), "not finite"),
        (CHAIN.replace("460.0", "0.46"), "do not fit"),
        (CHAIN.replace("[640, 480]", "[640]"), "resolution"),
        (CHAIN.replace("[640, 480]", "[64000, 64000]"), "picture size"),
        (CHAIN.replace("[640, 480]", "[6.4, 480]"), "picture size"),
        (CHAIN.replace("-0.2, 0.05", "-0.2"), "4 numbers, not 3"),
        (CHAIN.replace("0.05", "5e9"), "no lens"),
        (CHAIN.replace("0.003", "3.0e+6"), "timeshift_cam_imu"),
        (CHAIN.replace("0.003", "yes"), "timeshift_cam_imu"),
        (CHAIN.replace("0.0, 0.1]", "0.0, 100.0]"), "in metres"),
        (CHAIN.replace("[1.0, 0.0, 0.0, 0.1]", "[-1.0, 0.0, 0.0, 0.1]"), "no rotation"),
        (CHAIN.replace("[1.0, 0.0, 0.0, 0.1]", "[1.0, 0.0, 0.0]"), "4 x 4"),
        (CHAIN.replace("[0.0, 0.0, 0.0, 1.0]", "[0.1, 0.0, 0.0, 1.0]"), "transposed"),
        (LEFT, "no camera 'left'"),
        (TWICE, "two cameras are called 'left'"),
        ("cam0: 3\n", "holds no keys"),
        ("cam0: &a [1]\ncam1: [*a, *a]\n", "aliases"),
        ("a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n", "aliases"),
        ("cam0: !!python/object/apply:os.system ['true']\n", "is not YAML"),
        (OPENCV.replace("500., 0., 320.", "500., 9., 320."), "fx 0 cx"),
        (OPENCV.replace("image_width: 640\n", ""), "how large"),
        (OPENCV.replace("-0.2", ".inf"), "not finite"),
        (OPENCV.replace("data: [ -0.2, 0.05, 0., 0., 0. ]", "data: [ 0, 0, 0, 0, 0, 1, 0, 0 ]"), "rational"),
        (OPENCV.replace("0., 0., 0. ]", "0., 0., 90. ]"), "k3 = 90"),
        (OPENCV.replace("0., 0., 0. ]", "0., 0., -9. ]"), "folds"),
        (OPENCV.replace("image_height: 480", "image_height: 480\nfisheye_model: 1"), "4 coefficients"),
        (OPENCV.replace("camera_matrix", "matrix"), "no calibration that handcap knows"),
        (XML.replace("500 0 320", "500 0"), "camera_matrix"),
        (XML.replace("opencv_storage", "storage"), "no OpenCV file"),
        (XML[:-5], "is not XML"),
        ('<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><opencv_storage>&b;</opencv_storage>', "document type"),
        (gopro(skew=0.1), "skew"),
        (gopro(focal_length="wide"), "focal_length"),
        (gopro(focal_length=None), "focal_length"),
        (gopro(principal_pt_x=-5), "do not fit"),
        (gopro(radial_distortion_3=1e9), "no lens"),
        (gopro().replace("FISHEYE", "PINHOLE"), "not FISHEYE"),
        (gopro().replace("300.0", "NaN"), "not finite"),
        ("{" * 5000, "is not JSON"),
        ("{}", "no calibration that handcap knows"),
        ("", "holds no keys"),
        ("- 1\n", "holds no keys"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(HandcapError) as told:
        convert(tmp_path / "file", tmp_path / "rig.json", ConvertParams(base=base_of(tmp_path), camera="head"))
    assert says in str(told.value) and told.value.mend and not (tmp_path / "rig.json").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (IMU.replace("2e-4", "-2e-4"), "must be positive"),
        (IMU.replace("0.0015", "150"), "accelerometer_noise_density"),
        (IMU.replace("0.0015", ".inf"), "not finite"),
        (IMU.replace("update_rate: 200.0", ""), "update_rate"),
        ("imu0: [1]\n", "imu0"),
        (CHAIN, "no imu.yaml"),
    ],
)
def test_what_is_wrong_with_an_imu_s_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "c.yaml").write_text(CHAIN)
    (tmp_path / "imu").write_text(text)
    with pytest.raises(FormatError) as told:
        convert(tmp_path / "c.yaml", tmp_path / "rig.json", ConvertParams(imu=tmp_path / "imu"))
    assert says in str(told.value)


def test_what_a_rig_needs_and_a_file_does_not_say_is_named(tmp_path: Path) -> None:
    (tmp_path / "lens.yml").write_text(OPENCV)
    with pytest.raises(FormatError, match=r"where head sits on its IMU and the IMU's noise"):
        convert(tmp_path / "lens.yml", tmp_path / "rig.json")
    with pytest.raises(UsageError, match="no camera 'left'"):
        convert(tmp_path / "lens.yml", tmp_path / "r.json", ConvertParams(base=base_of(tmp_path), camera="left"))
    write_rig(tmp_path / "full.json", virtual.drawn("full", 1))
    with pytest.raises(UsageError, match="several devices"):
        convert(tmp_path / "full.json", tmp_path / "camchain.yaml")
    with pytest.raises(OutputError, match="exists already"):
        convert(tmp_path / "full.json", tmp_path / "lens.yml", ConvertParams(camera="left"))
    with pytest.raises(UsageError, match="nobody can tell"):
        convert(tmp_path / "lens.yml", tmp_path / "lens.bin")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=60), st.text("{}[]:,-&*!<>\"' \ncam0K1.e", max_size=60).map(str.encode)))
def test_no_bytes_break_the_reader(folder: Path, data: bytes) -> None:
    (folder / "noise").write_bytes(data)
    with pytest.raises(HandcapError):
        convert(folder / "noise", folder / "never.json")


def test_the_command_converts_and_says_what_was_what(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text(CHAIN)
    arguments = ["convert", tmp_path / "c.yaml", tmp_path / "rig.json", "--base", base_of(tmp_path), "--json"]
    with pytest.raises(SystemExit) as left:
        main([*map(str, arguments)])
    assert not left.value.code and json.loads(capfd.readouterr().out)["outputs"] == [str(tmp_path / "rig.json")]
