"""rig.json: what it says comes back, and what is wrong with it is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import RIG

from handcap.encoder import JawEncoder
from handcap.errors import RigError
from handcap.geometry import se3, so3_exp
from handcap.session import read_rig, write_rig
from handcap.types import CameraSigma, Gripper, Rig, Tag


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_rig(tmp_path / "rig.json", RIG)
    return tmp_path / "rig.json"


def test_a_rig_comes_back_as_it_was_written(path: Path) -> None:
    rig = read_rig(path)
    assert rig.rig_id == RIG.rig_id and list(rig.devices) == ["head", "left"] and list(rig.cameras) == ["head", "left"]
    for name, device in RIG.devices.items():
        assert rig.devices[name].imu == device.imu and rig.devices[name].uid == device.uid
        np.testing.assert_allclose(rig.devices[name].R_imu_chip, device.R_imu_chip, atol=1e-15)
    for name, camera in RIG.cameras.items():
        assert rig.cameras[name].camera == camera.camera
        assert rig.cameras[name].dt_imu_cam_s == camera.dt_imu_cam_s
        assert rig.cameras[name].dt_sigma_s == camera.dt_sigma_s
        np.testing.assert_allclose(rig.cameras[name].T_imu_cam, camera.T_imu_cam, atol=1e-15)


def test_what_is_known_of_a_camera_s_calibration_comes_back(tmp_path: Path) -> None:
    head = replace(RIG.cameras["head"], sigma=CameraSigma(1e-3, 2e-3, 3e-3, 0.5))
    write_rig(tmp_path / "rig.json", replace(RIG, cameras=dict(RIG.cameras) | {"head": head}))
    assert read_rig(tmp_path / "rig.json").cameras["head"].sigma == head.sigma


def test_grippers_and_provenance_are_kept(tmp_path: Path) -> None:
    tag = Tag("36h11", 12, 0.036, "tcp", se3(so3_exp([0.1, 0.2, 0.3]), [0.0, -0.1, -0.2]))
    extra = {"width": {"closed_m": 0.01}, "serial": "g7"}
    grippers = {"left": Gripper(np.eye(4), (tag,), JawEncoder(-0.02, 1.0, 0.01, 2.0, 1e-3), extra)}
    provenance = {"created": "2026-02-03", "camera": {"by": "bench 2", "rms_px": 0.2}}
    write_rig(tmp_path / "rig.json", Rig("g", RIG.devices, RIG.cameras, grippers, provenance))
    rig = read_rig(tmp_path / "rig.json")
    (read,) = rig.grippers.values()
    assert read.encoder == grippers["left"].encoder and read.extra == extra and rig.provenance == provenance
    np.testing.assert_allclose(read.T_cam_tcp, np.eye(4))
    (back,) = read.tags
    assert (back.family, back.id, back.size_m, back.body) == ("36h11", 12, 0.036, "tcp")
    np.testing.assert_allclose(back.T_body_tag, tag.T_body_tag, atol=1e-15)
    assert json.loads((tmp_path / "rig.json").read_text())["created"] == "2026-02-03"


def test_a_rotation_typed_with_four_digits_becomes_an_exact_one(path: Path) -> None:
    values = json.loads(path.read_text())
    values["cameras"]["head"]["T_imu_cam"] = np.round(RIG.cameras["head"].T_imu_cam, 4).tolist()
    path.write_text(json.dumps(values))
    R = read_rig(path).cameras["head"].T_imu_cam[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-14)


SIGMA = {"rotation_rad": 1e-3, "position_m": 1e-3, "focal": 1e-3, "centre_px": 0.5}
TAG = {"family": "36h11", "id": 3, "size_m": 0.03, "T_body_tag": np.eye(4).tolist()}


def put(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(rig: dict[str, Any]) -> None:
        for key in keys[:-1]:
            rig = rig[key]
        rig[keys[-1]] = value

    return change


def refused(path: Path, change: Callable[[dict[str, Any]], None]) -> RigError:
    """What is said of the rig file with that change."""
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(RigError) as error:
        read_rig(path)
    return error.value


def drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(rig: dict[str, Any]) -> None:
        for key in keys[:-1]:
            rig = rig[key]
        del rig[keys[-1]]

    return change


skewed = np.eye(4)
skewed[0, 1] = 0.01
mirrored = np.diag([1.0, 1.0, -1.0, 1.0])
not_affine = np.eye(4)
not_affine[3] = [0.1, 0, 0, 1]


@pytest.mark.parametrize(
    ("change", "key", "verb"),
    [
        (put("cameras", "head", "T_imu_cam", value=skewed.tolist()), "cameras.head.T_imu_cam", "camera-imu"),
        (put("cameras", "head", "T_imu_cam", value=mirrored.tolist()), "cameras.head.T_imu_cam", "camera-imu"),
        (put("cameras", "head", "T_imu_cam", value=not_affine.tolist()), "cameras.head.T_imu_cam", "camera-imu"),
        (put("cameras", "head", "T_imu_cam", value=np.eye(3).tolist()), "cameras.head.T_imu_cam", "camera-imu"),
        (put("cameras", "head", "T_imu_cam", value="identity"), "cameras.head.T_imu_cam", "camera-imu"),
        (drop("cameras", "head", "T_imu_cam"), "cameras.head.T_imu_cam", "camera-imu"),
        (put("cameras", "head", "model", value="omni"), "cameras.head.model", "camera"),
        (put("cameras", "head", "params", value=[1.0] * 7), "params", "camera"),
        (put("cameras", "head", "params", value=[-1.0] * 8), "params", "camera"),
        (put("cameras", "head", "params", value=["a"] * 8), "cameras.head.params", "camera"),
        (put("cameras", "head", "sigma", value=1e-3), "cameras.head.sigma", "rig"),
        (put("cameras", "head", "sigma", value={}), "cameras.head.sigma.rotation_rad", "rig"),
        (put("cameras", "head", "sigma", value=SIGMA | {"focal": 0.0}), "cameras.head.sigma.focal", "rig"),
        (put("cameras", "head", "sigma", value=SIGMA | {"focal": float("nan")}), "cameras.head.sigma.focal", "rig"),
        (put("cameras", "head", "sigma", value=SIGMA | {"position_m": 1e300}), "cameras.head.sigma.position_m", "rig"),
        (put("cameras", "head", "width", value=0), "cameras.head.width", "rig"),
        (put("cameras", "head", "device", value="right"), "cameras.head.device", "rig"),
        (put("devices", "head", "R_imu_chip", value=skewed[:3, :3].tolist()), "devices.head.R_imu_chip", "imu"),
        (put("devices", "head", "imu", "rate_hz", value=0), "devices.head.imu.rate_hz", "imu"),
        (drop("devices", "head", "imu", "gyro_noise_density"), "devices.head.imu.gyro_noise_density", "imu"),
        (put("grippers", value={"left": {"T_cam_tcp": skewed.tolist()}}), "grippers.left.T_cam_tcp", "gripper"),
        (
            put("grippers", value={"left": {"width": {"encoder": {"metres_per_rad": 0.0, "zero_rad": 0.0}}}}),
            "grippers.left.width.encoder",
            "gripper",
        ),
        (
            put("grippers", value={"left": {"tags": [TAG]}, "right": {"tags": [TAG]}}),
            "the same tag is on both",
            "gripper",
        ),
        (put("grippers", value={"left": {"tags": [TAG, TAG]}}), "listed twice", "gripper"),
        (put("grippers", value={"left": {"tags": [{**TAG, "size_m": -1}]}}), "grippers.left.tags.0.size_m", "gripper"),
        (put("grippers", value={"left": {"tags": [{**TAG, "size_m": 30}]}}), "grippers.left.tags.0.size_m", "gripper"),
        (
            put("grippers", value={"left": {"width": {"encoder": {"metres_per_rad": 20.0, "zero_rad": 0.0}}}}),
            "grippers.left.width.encoder.metres_per_rad",
            "gripper",
        ),
        (put("devices", value={"../x": {}}), "devices.../x", "rig"),
        (drop("devices"), "devices", "rig"),
        (put("version", value="one"), "version", "rig"),
    ],
)
def test_what_is_wrong_is_named_by_its_key_with_the_calibration_that_mends_it(
    path: Path, change: Callable[[dict[str, Any]], None], key: str, verb: str
) -> None:
    error = refused(path, change)
    assert key in error.what, error.what
    assert f"calibrate {verb}`" in (error.mend or ""), error.mend
    assert error.where == str(path)


CAMERA, MOTION = ("cameras", "head"), ("devices", "head", "imu")
far, unknown = se3(np.eye(3), [50.0, 20.0, -30.0]), np.eye(4)
unknown[1, 3] = np.nan


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put(*CAMERA, "dt_sigma_s", value=1e-300), ("dt_sigma_s", "1e-300", "0, or between 1e-09 and 2 s")),
        (put(*CAMERA, "dt_sigma_s", value=1e300), ("dt_sigma_s", "1e+300", "2 s")),
        (put(*CAMERA, "dt_sigma_s", value=-1e-3), ("dt_sigma_s", "-0.001", "1e-09")),
        (put(*CAMERA, "dt_imu_cam_s", value=-2.5), ("dt_imu_cam_s", "-2.5", "between -2 and 2 s")),
        (put(*CAMERA, "line_delay_s", value=-0.02), ("line_delay_s", "-0.02", "between -0.001 and 0.001 s")),
        (put(*CAMERA, "line_delay_s", value=0.02), ("line_delay_s", "0.02", "0.001 s")),
        (put(*CAMERA, "sigma", value=SIGMA | {"rotation_rad": 1e-300}), ("rotation_rad", "1e-300", "1e-09 and 1 rad")),
        (put(*CAMERA, "params", value=[0.001, 50, 32, 24, 0, 0, 0, 0]), ("fx", "0.001", "between 10 and 100000 px")),
        (put(*CAMERA, "params", value=[50, 50, 32, 24, 1e300, 0, 0, 0]), ("k1", "1e+300", "100000")),
        (put(*CAMERA, "T_imu_cam", value=far.tolist()), ("T_imu_cam", "50, 20, -30", "between -5 and 5 m")),
        (put(*CAMERA, "T_imu_cam", value=unknown.tolist()), ("T_imu_cam", "row 2 column 4 is nan", "finite")),
        (put(*CAMERA, "width", value="64"), ("width", "'64'", "integer")),
        (put(*MOTION, "rate_hz", value=1e300), ("rate_hz", "1e+300", "between 1 and 100000 Hz")),
        (put(*MOTION, "gyro_noise_density", value=1e300), ("gyro_noise_density", "1e+300", "10 rad/s/√Hz")),
        (put(*MOTION, "accel_random_walk", value=float("nan")), ("accel_random_walk", "nan", "10 m/s³/√Hz")),
    ],
)
def test_a_number_that_no_real_rig_has_is_told_with_its_field_and_the_bounds(
    path: Path, change: Callable[[dict[str, Any]], None], words: tuple[str, ...]
) -> None:
    error = refused(path, change)
    assert all(word in error.what for word in words), error.what


@pytest.mark.parametrize("value", [None, 0, 1e-9, 2])
def test_an_offset_of_which_nobody_knows_how_sure_it_is_may_stand_as_null_or_zero(path: Path, value: Any) -> None:
    values = json.loads(path.read_text())
    values["cameras"]["head"]["dt_sigma_s"] = value
    path.write_text(json.dumps(values))
    assert read_rig(path).cameras["head"].dt_sigma_s == value


@pytest.mark.parametrize("text", ["", "null", "[1]", "{", '{"version": 1}', "\ud800"])
def test_a_torn_rig_is_refused(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RigError):
        read_rig(path)


def test_a_missing_rig_and_a_newer_one_are_told_apart(path: Path) -> None:
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(RigError, match="newer handcap"):
        read_rig(path)
    with pytest.raises(RigError, match="no such"):
        read_rig(path.with_name("other.json"))
