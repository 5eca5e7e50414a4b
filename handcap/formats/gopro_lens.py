"""The GoPro intrinsics that UMI uses (written by OpenImuCameraCalibrator): one fisheye lens as JSON.

fx = focal_length and fy = focal_length × aspect_ratio, as in Theia, whose model it is; UMI itself leaves the aspect
ratio out. Radial terms are Kannala–Brandt's four, OpenCV's fisheye.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from handcap.cameras import KannalaBrandt4
from handcap.errors import FormatError
from handcap.formats.foreign_calibration import ForeignCalibration, ForeignCamera, lens, number, numbers

_RADIAL = tuple(f"radial_distortion_{k}" for k in range(1, 5))
_MEND = "give the file that OpenImuCameraCalibrator wrote for a fisheye lens"


def is_gopro(values: Mapping[str, Any]) -> bool:
    return "intrinsic_type" in values and "intrinsics" in values


def gopro_of(values: Mapping[str, Any], where: str) -> ForeignCalibration:
    """The lens, of cam0.

    Raises:
        FormatError: it is no fisheye, has skew, or a key is missing or wrong.
    """
    if values.get("intrinsic_type") != "FISHEYE":
        raise FormatError(f"intrinsic_type {values.get('intrinsic_type')!r} is not FISHEYE", where=where, mend=_MEND)
    told = values["intrinsics"]
    if not isinstance(told, Mapping):
        raise FormatError("intrinsics holds no keys", where=where, mend=_MEND)
    if number(told.get("skew", 0.0), "skew", where) != 0.0:
        raise FormatError("skew must be 0: no lens of ours has any", where=where, mend="calibrate it without skew")
    focal, ratio, cx, cy = (
        number(told.get(key), key, where)
        for key in ("focal_length", "aspect_ratio", "principal_pt_x", "principal_pt_y")
    )
    size = numbers([values.get("image_width"), values.get("image_height")], "image_width, image_height", where, 2)
    radial = np.array([number(told.get(key), key, where) for key in _RADIAL])
    focal_centre = np.array([focal, focal * ratio, cx, cy])
    return ForeignCalibration({"cam0": ForeignCamera(lens(KannalaBrandt4, size, focal_centre, radial, where))})


def gopro_text(calibration: ForeignCalibration) -> str:
    """As UMI reads it. Raises FormatError where the lens is no fisheye."""
    (camera,) = calibration.cameras.values()
    found = camera.lens
    if not isinstance(found, KannalaBrandt4):
        raise FormatError("this file holds fisheye lenses only", mend="convert it to OpenCV's yaml instead")
    fx, fy, cx, cy = found.params[:4]
    intrinsics = {"aspect_ratio": fy / fx, "focal_length": fx, "principal_pt_x": cx, "principal_pt_y": cy, "skew": 0.0}
    intrinsics |= dict(zip(_RADIAL, found.params[4:], strict=True))
    values = {
        "image_height": found.height,
        "image_width": found.width,
        "intrinsic_type": "FISHEYE",
        "intrinsics": intrinsics,
    }
    return json.dumps(values, indent=4, sort_keys=True, allow_nan=False) + "\n"
