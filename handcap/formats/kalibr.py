"""Kalibr's camchain.yaml, camchain-imucam.yaml and imu.yaml.

`T_cam_imu` takes IMU coordinates to the camera's: the inverse of our `T_imu_cam`. `T_cn_cnm1` takes those of the camera
before to this one's. `timeshift_cam_imu` is our `dt_imu_cam`: t_imu = t_cam + shift. (Kalibr's wiki, Yaml formats.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from handcap.cameras import Camera, KannalaBrandt4, PinholeRadtan
from handcap.errors import FormatError
from handcap.formats.foreign_calibration import (
    LENSES,
    ForeignCalibration,
    ForeignCamera,
    lens,
    number,
    numbers,
    pose,
    time_shift_s,
)
from handcap.geometry import Array, inverse
from handcap.session.folder import is_name

_IMU = {
    "gyro_noise_density": "gyroscope_noise_density",
    "accel_noise_density": "accelerometer_noise_density",
    "gyro_random_walk": "gyroscope_random_walk",
    "accel_random_walk": "accelerometer_random_walk",
    "rate_hz": "update_rate",
}
_MODELS: Mapping[str, str] = {PinholeRadtan.model: "radtan", KannalaBrandt4.model: "equidistant"}
_CAMERA = re.compile(r"cam[0-9]{1,2}")
_LARGEST_NOISE = 10.0  # rad/s or m/s² per √Hz: a density in other units is far larger, or the sensor is broken
_LONGEST_ROW_S = 1e-3
_HEAD = "# Written by handcap. imu: chip axes turned by R_imu_chip of rig.json.\n"


def is_camchain(values: Mapping[str, Any]) -> bool:
    return "cam0" in values


def is_imu(values: Mapping[str, Any]) -> bool:
    return "gyroscope_noise_density" in values or "imu0" in values


def camchain_of(values: Mapping[str, Any], where: str) -> ForeignCalibration:
    """The cameras of a chain, named as their topics are if these are handcap's.

    Raises:
        FormatError: a key is missing, of the wrong shape, or in other units.
    """
    cameras: dict[str, ForeignCamera] = {}
    T_first_cam: Array | None = np.eye(4)
    for k, key in enumerate(sorted((key for key in values if _CAMERA.fullmatch(str(key))), key=lambda c: int(c[3:]))):
        told, at = values[key], f"{where}, {key}"
        if not isinstance(told, Mapping):
            raise FormatError("holds no keys", where=at, mend="export it again from Kalibr")
        if k > 0:
            chained = told.get("T_cn_cnm1")
            T_before_cam = None if chained is None else inverse(pose(chained, "T_cn_cnm1", at))
            T_first_cam = None if T_before_cam is None or T_first_cam is None else T_first_cam @ T_before_cam
        mounted, shift, delay = (told.get(name) for name in ("T_cam_imu", "timeshift_cam_imu", "line_delay"))
        name = _name(told.get("rostopic"), str(key))
        if name in cameras:
            raise FormatError(f"two cameras are called {name!r}", where=at, mend="give every camera its own rostopic")
        cameras[name] = ForeignCamera(
            _lens(told, at),
            None if mounted is None else inverse(pose(mounted, "T_cam_imu", at)),
            T_first_cam,
            None if shift is None else time_shift_s(shift, "timeshift_cam_imu", at),
            None if delay is None else number(delay, "line_delay", at, _LONGEST_ROW_S, -_LONGEST_ROW_S),
        )
    return ForeignCalibration(cameras)


def imu_of(values: Mapping[str, Any], where: str) -> ForeignCalibration:
    """The noise of one IMU, from Kalibr's input (flat) or its result (imu0). Raises FormatError."""
    told = values.get("imu0", values)
    if not isinstance(told, Mapping):
        raise FormatError("imu0 holds no keys", where=where, mend="export it again from Kalibr")
    found: dict[str, float] = {}
    for name, key in _IMU.items():
        most = 1e5 if name == "rate_hz" else _LARGEST_NOISE
        found[name] = number(told.get(key), key, where, most)
        if found[name] <= 0:
            raise FormatError(f"{key} must be positive, not {found[name]:g}", where=where, mend="correct the file")
    return ForeignCalibration(imu=found)


def camchain_text(calibration: ForeignCalibration) -> str:
    """A camchain-imucam.yaml, or a camchain.yaml where no camera's place on an IMU is known."""
    out = [_HEAD]
    before: Array | None = None
    names = [*calibration.cameras]
    for k, (name, camera) in enumerate(calibration.cameras.items()):
        overlaps = ", ".join(str(other) for other in range(len(names)) if other != k)
        params = camera.lens.params
        out += [f"cam{k}:\n", f"  cam_overlaps: [{overlaps}]\n", "  camera_model: pinhole\n"]
        out += [f"  distortion_coeffs: {_row(params[4:])}\n", f"  distortion_model: {_MODELS[camera.lens.model]}\n"]
        out += [f"  intrinsics: {_row(params[:4])}\n"]
        out += [f"  resolution: [{camera.lens.width}, {camera.lens.height}]\n", f"  rostopic: /camera/{name}\n"]
        place = camera.T_imu_cam if camera.T_imu_cam is not None else camera.T_first_cam
        if camera.T_imu_cam is not None:
            out += ["  T_cam_imu:\n", *_rows(inverse(camera.T_imu_cam))]
        if k > 0 and place is not None and before is not None:
            out += ["  T_cn_cnm1:\n", *_rows(inverse(place) @ before)]
        if camera.dt_imu_cam_s is not None:
            out.append(f"  timeshift_cam_imu: {_plain(camera.dt_imu_cam_s)}\n")
        if camera.line_delay_s:
            out.append(f"  line_delay: {_plain(camera.line_delay_s)}\n")
        before = place
    return "".join(out)


def imu_text(calibration: ForeignCalibration) -> str:
    """An imu.yaml as Kalibr reads it."""
    lines = [f"{key}: {_plain(calibration.imu[name])}\n" for name, key in _IMU.items()]
    return "".join([_HEAD, *sorted(lines), "rostopic: /imu\n"])


def _name(topic: Any, key: str) -> str:
    """ "/camera/head_left" names the camera; other topics leave it cam0, cam1, …"""
    parts = topic.split("/") if isinstance(topic, str) else []
    return parts[2] if len(parts) == 3 and parts[:2] == ["", "camera"] and is_name(parts[2]) else key


def _lens(told: Mapping[str, Any], where: str) -> Camera:
    model, distortion = told.get("camera_model"), told.get("distortion_model")
    if model != "pinhole" or not isinstance(distortion, str) or distortion not in LENSES:
        raise FormatError(
            f"lens model {model!r} with distortion {distortion!r} is not known",
            where=where,
            mend="calibrate it in Kalibr as pinhole-radtan or pinhole-equi, or with `handcap calibrate camera`",
        )
    coefficients = numbers(told.get("distortion_coeffs"), "distortion_coeffs", where, -1)
    if len(coefficients) != (0 if distortion == "none" else 4):
        what = f"distortion_coeffs must be 4 numbers, not {len(coefficients)}"
        raise FormatError(what, where=where, mend="export it again from Kalibr")
    size = numbers(told.get("resolution"), "resolution", where, 2)
    return lens(LENSES[distortion], size, numbers(told.get("intrinsics"), "intrinsics", where, 4), coefficients, where)


def _plain(value: float) -> str:
    """With a dot before an exponent, without which YAML 1.1 reads a word."""
    text = repr(float(value))
    return text if "e" not in text or "." in text else text.replace("e", ".0e")


def _row(values: Any) -> str:
    return f"[{', '.join(_plain(value) for value in values)}]"


def _rows(T: Array) -> list[str]:
    return [f"  - {_row(row)}\n" for row in T.tolist()]
