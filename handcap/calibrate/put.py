"""One part's values, put into a rig."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from handcap.calibrate.part import Part
from handcap.cameras import MODELS
from handcap.encoder import JawEncoder
from handcap.errors import CalibrationError
from handcap.types import (
    SIDES,
    CameraSigma,
    Device,
    Gripper,
    ImuCalibration,
    ImuModel,
    ImuSigma,
    MountedCamera,
    Rig,
    Tag,
)

_MEND = "run the step of `handcap calibrate` that makes it again"
NOMINAL_IMU = tuple(field.name for field in fields(ImuModel))


def device_of(part: Part, rig: Rig | None = None) -> str:
    """The device a part was measured on: its own word, the rig's, or what the camera's name says."""
    if part.step in ("imu", "gripper"):
        return part.subject
    camera = part.subject.split("+")[0]
    told = part.values.get("device")
    if isinstance(told, str):
        return told
    if rig is not None and camera in rig.cameras:
        return rig.cameras[camera].device
    return "head" if camera.startswith("head") else camera


def put(rig: Rig, part: Part) -> Rig:
    """The rig with what a part found; what the part does not know stays as it is.

    A camera must have a lens before it has a place: put "camera" parts before "camera-imu" ones. Stereo and verify
    parts change nothing.

    Raises:
        CalibrationError: the part's values are none.
    """
    try:
        match part.step:
            case "camera":
                return _lens(rig, part)
            case "camera-imu":
                return _mount(rig, part)
            case "imu":
                return _imu(rig, part)
            case "gripper":
                return _gripper(rig, part)
            case _:
                return rig
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        what = f"its values are not those of a {part.step} part ({type(error).__name__}: {error})"
        raise CalibrationError(what, where=f"{part.stem}.json", mend=_MEND) from error


def _lens(rig: Rig, part: Part) -> Rig:
    values = part.values
    params = tuple(float(value) for value in values["params"])
    lens = MODELS[values["model"]](int(values["width"]), int(values["height"]), params)
    mounted = rig.cameras.get(part.subject) or MountedCamera(device_of(part, rig), lens, np.eye(4))
    sigma = _numbers(part.sigma.get("params"))
    share = px = None
    if sigma is not None and len(sigma) >= 4 and np.all(sigma[:4] > 0):
        share = float(np.sqrt(np.mean((sigma[:2] / np.array(params[:2])) ** 2)))
        px = float(np.sqrt(np.mean(sigma[2:4] ** 2)))
    known = mounted.sigma
    joined = None
    if share is not None and px is not None:
        # A place that nobody measured yet is known to within anything.
        joined = CameraSigma(known.rotation_rad if known else 1.0, known.position_m if known else 1.0, share, px)
    return _with_camera(rig, part.subject, replace(mounted, camera=lens, sigma=joined))


def _mount(rig: Rig, part: Part) -> Rig:
    values, sigma = part.values, part.sigma
    mounted = rig.cameras[part.subject]
    rotation, position = _numbers(sigma.get("rotation_rad")), _numbers(sigma.get("position_m"))
    joined = mounted.sigma
    if joined is not None and rotation is not None and position is not None:
        of_rotation, of_position = (float(np.sqrt(np.mean(axes**2))) for axes in (rotation, position))
        joined = CameraSigma(of_rotation, of_position, joined.focal, joined.centre_px)
    else:
        joined = None
    dt_s, line_delay_s = values.get("dt_imu_cam_s"), values.get("line_delay_s")
    dt_sigma_s = sigma.get("dt_imu_cam_s")
    mounted = replace(
        mounted,
        device=device_of(part, rig),
        T_imu_cam=np.array(values["T_imu_cam"], float),
        dt_imu_cam_s=mounted.dt_imu_cam_s if dt_s is None else float(dt_s),
        dt_sigma_s=None if dt_sigma_s is None else float(dt_sigma_s),
        line_delay_s=mounted.line_delay_s if line_delay_s is None else float(line_delay_s),
        sigma=joined,
    )
    return _with_camera(rig, part.subject, mounted)


def _with_camera(rig: Rig, name: str, camera: MountedCamera) -> Rig:
    return replace(rig, cameras={**rig.cameras, name: camera})


def unknown_noise(part: Part) -> tuple[str, ...]:
    """The keys of the IMU's noise that an imu part does not know."""
    return tuple(key for key in NOMINAL_IMU if part.values.get(key) is None)


def _imu(rig: Rig, part: Part) -> Rig:
    known = {key: float(part.values[key]) for key in NOMINAL_IMU if part.values.get(key) is not None}
    before = rig.devices.get(part.subject)
    if before is None:
        missing = unknown_noise(part)
        if missing:
            raise ValueError(f"does not know {', '.join(missing)}")
        before = Device(ImuModel(**known), uid=part.uid)
    calibration = imu_calibration(part)
    device = replace(before, imu=replace(before.imu, **known), calibration=calibration or before.calibration)
    return replace(rig, devices={**rig.devices, part.subject: device})


_MATRICES = tuple(field.name for field in fields(ImuSigma))


def imu_calibration(part: Part) -> ImuCalibration | None:
    """Scale, misalignment and bias of an imu part, chip axes; None where it does not know them.

    Raises:
        TypeError, ValueError: its values are none.
    """
    if any(part.values.get(key) is None for key in ("accel_matrix", "accel_bias", "gyro_matrix", "gyro_bias")):
        return None
    values = {key: np.array(part.values[key], float) for key in _MATRICES if part.values.get(key) is not None}
    sigma = None
    if all(part.sigma.get(key) is not None for key in _MATRICES):
        sigma = ImuSigma(**{key: np.array(part.sigma[key], float) for key in _MATRICES})
    return ImuCalibration(**values, sigma=sigma)


def _gripper(rig: Rig, part: Part) -> Rig:
    values = part.values
    side = next(side for side in SIDES if side == part.subject)
    before = rig.grippers.get(side, Gripper())
    T_cam_tcp = values.get("T_cam_tcp")
    tags, encoder = values.get("tags"), values.get("encoder")
    gripper = replace(
        before,
        T_cam_tcp=before.T_cam_tcp if T_cam_tcp is None else np.array(T_cam_tcp, float),
        tags=before.tags if tags is None else tuple(_tag(tag) for tag in tags),
        encoder=None if encoder is None else JawEncoder(**encoder),
    )
    return replace(rig, grippers={**rig.grippers, side: gripper})


def _tag(values: Mapping[str, Any]) -> Tag:
    T_body_tag = np.array(values["T_body_tag"], float)
    return Tag(values["family"], int(values["id"]), float(values["size_m"]), values.get("body", "tcp"), T_body_tag)


def _numbers(values: Any) -> Any:
    """(n,) finite positive numbers, or None."""
    if not isinstance(values, list | tuple | np.ndarray) or any(value is None for value in values):
        return None
    found = np.array(values, float).ravel()
    return found if len(found) and np.all(np.isfinite(found) & (found > 0)) else None
