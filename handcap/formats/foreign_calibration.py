"""What calibrations of other tools have in common: lenses, where they sit, clocks, an IMU's noise; all checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from handcap.cameras import Camera, KannalaBrandt4, PinholeRadtan
from handcap.errors import FormatError
from handcap.geometry import Array, project_to_so3
from handcap.session.pictures import PICTURE_LIMIT_PX

_LARGEST_FILE = 1 << 20
_LONGEST_LENS = 20.0  # focal length over picture width: such a telephoto lens, or so wide a one, is on nobody's head
_STRONGEST_DISTORTION = 1e3  # real lenses stay below 100, even where a fit is poor
_LONGEST_ARM_M = 3.0  # no camera sits further from its IMU; a larger number is millimetres
_LONGEST_OFFSET_S = 10.0  # beyond, the clocks were never set against each other, or it is milliseconds


@dataclass(frozen=True, eq=False, slots=True)
class ForeignCamera:
    """One camera; None for what the file does not say.

    Attributes:
        lens: with its picture size.
        T_imu_cam: (4, 4).
        T_first_cam: (4, 4) its pose in the axes of the file's first camera.
        dt_imu_cam_s: t_imu = t_cam + dt.
        line_delay_s: from one row's exposure to the next.
    """

    lens: Camera
    T_imu_cam: Array | None = None
    T_first_cam: Array | None = None
    dt_imu_cam_s: float | None = None
    line_delay_s: float | None = None


@dataclass(frozen=True, eq=False, slots=True)
class ForeignCalibration:
    """A file of another tool, understood.

    Attributes:
        cameras: by name, in the file's order.
        imu: noise by the names of ImuModel; empty where there is none.
        notes: what was changed on the way.
    """

    cameras: Mapping[str, ForeignCamera] = field(default_factory=dict)
    imu: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_text(path: Path) -> str:
    """A small text file. Raises FormatError."""
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise FormatError("is not a file", where=path, mend="give the calibration itself")
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise FormatError("no such file", where=path, mend="check the path") from error
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror})", where=path, mend="copy the file again") from error
    if len(data) > _LARGEST_FILE:
        raise FormatError("too large to be a calibration", where=path, mend="give the calibration itself")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError("not a text file", where=path, mend="give the calibration itself") from error


def numbers(found: Any, key: str, where: str, *shape: int) -> Array:
    """Finite numbers of a shape (-1: any length). Raises FormatError."""
    try:
        values = np.array(found, float)
        values = values.reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        wanted = " x ".join("n" if n < 0 else str(n) for n in shape)
        raise FormatError(f"{key} is missing or is not {wanted} numbers", where=where, mend=_mend(key)) from error
    if not np.all(np.isfinite(values)):
        raise FormatError(f"{key} holds a number that is not finite", where=where, mend=_mend(key))
    return values


def number(found: Any, key: str, where: str, most: float = np.inf, least: float = -np.inf) -> float:
    """One finite number within limits. Raises FormatError."""
    if isinstance(found, bool):
        found = None
    value = float(numbers(found, key, where, 1)[0])
    if not least <= value <= most:
        raise FormatError(f"{key} is {value:g}, not within {least:g} and {most:g}", where=where, mend=_mend(key))
    return value


def _mend(key: str) -> str:
    return f"correct {key} in the file, or export it again (SI units: metres, radians, seconds)"


def time_shift_s(found: Any, key: str, where: str) -> float:
    """A clock's offset, s. Raises FormatError."""
    return number(found, key, where, _LONGEST_OFFSET_S, -_LONGEST_OFFSET_S)


def pose(found: Any, key: str, where: str) -> Array:
    """A rigid motion (4, 4), metres, its rotation made exact. Raises FormatError."""
    T = numbers(found, key, where, 4, 4).copy()
    R = T[:3, :3]
    if np.abs(R @ R.T - np.eye(3)).max() > 0.01 or np.linalg.det(R) < 0:
        what = f"{key} is not a rigid motion: its rotation part is no rotation"
        raise FormatError(what, where=where, mend=_mend(key))
    if not np.allclose(T[3], [0, 0, 0, 1], atol=1e-6):
        what = f"{key} must end in the row 0 0 0 1; this one may be transposed"
        raise FormatError(what, where=where, mend=_mend(key))
    if (arm_m := float(np.linalg.norm(T[:3, 3]))) > _LONGEST_ARM_M:
        raise FormatError(f"{key} reaches {arm_m:g} m", where=where, mend="write the translation in metres")
    T[:3, :3], T[3] = project_to_so3(R), [0, 0, 0, 1]
    return T


def lens(model: type[Camera], size: Array, focal_centre: Array, distortion: Array, where: str) -> Camera:
    """A lens that could be one.

    Args:
        model: of it; with five coefficients of radial-tangential distortion the third radial term must be 0.
        size: (2,) width and height, px.
        focal_centre: (4,) fx, fy, cx, cy.
        distortion: (n,) in the model's order; fewer than four are filled up with zeros.

    Raises:
        FormatError: it is none; says why.
    """
    width, height = (int(value) for value in size)
    if not (0 < width < 65536 and 0 < height < 65536) or width * height > PICTURE_LIMIT_PX or np.any(size % 1):
        raise FormatError(f"no picture size: {size.tolist()}", where=where, mend="give width and height in pixels")
    fx, fy, cx, cy = focal_centre.tolist()
    near_size = all(1 / _LONGEST_LENS < f / max(width, height) < _LONGEST_LENS for f in (fx, fy))
    if not near_size or not (0 < cx < width and 0 < cy < height):
        what = f"fx, fy, cx, cy = {fx:g}, {fy:g}, {cx:g}, {cy:g} do not fit a picture of {width} x {height}"
        raise FormatError(what, where=where, mend="give them in pixels of that picture size")
    if len(distortion) > 4 or np.abs(distortion).max(initial=0.0) > _STRONGEST_DISTORTION:
        raise FormatError(f"{distortion.tolist()} is the distortion of no lens", where=where, mend=_mend("distortion"))
    return model(width, height, (fx, fy, cx, cy, *np.pad(distortion, (0, 4 - len(distortion))).tolist()))


def without_k3(size: Array, focal_centre: Array, distortion: Array, where: str, lose_px: float) -> tuple[Camera, str]:
    """The pinhole lens of four coefficients that comes nearest to one of five, and what to say of it.

    Args:
        size: (2,) width and height, px.
        focal_centre: (4,) fx, fy, cx, cy.
        distortion: (5,) k1, k2, p1, p2, k3.
        where: how messages call it.
        lose_px: how far off it may be anywhere in the picture.

    Raises:
        FormatError: none comes near.
    """
    import cv2
    from scipy.optimize import least_squares

    start = lens(PinholeRadtan, size, focal_centre, distortion[:4], where)
    fx, fy, cx, cy = focal_centre.tolist()
    x, y = np.meshgrid(np.linspace(0, size[0] - 1, 25), np.linspace(0, size[1] - 1, 19))
    px = np.stack([x, y], axis=-1).reshape(-1, 2)
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-14)
    xy = cv2.undistortPointsIter(px[:, None], K, distortion, np.eye(3), np.eye(3), stop)[:, 0]
    rays = np.column_stack([xy, np.ones(len(xy))])
    back = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), K, distortion)[0][:, 0]
    solved = np.linalg.norm(back - px, axis=1) < 1e-6  # elsewhere the lens folds the picture over

    def off_px(params: Array) -> Array:
        fitted = PinholeRadtan(start.width, start.height, tuple(params.tolist()))
        return (fitted.project(rays[solved])[0] - px[solved]).ravel()

    if np.mean(solved) <= 0.9:
        raise FormatError(f"{distortion.tolist()} folds the picture over", where=where, mend=_mend("distortion"))
    scale = np.array([fx, fy, fx, fy, 0.1, 0.1, 1e-3, 1e-3])
    found = least_squares(off_px, np.array(start.params), x_scale=scale, xtol=1e-14, ftol=1e-14)
    lost_px = float(np.abs(found.fun).max())
    if lost_px > lose_px:
        what = f"k3 = {distortion[4]:g} has no place in a rig.json, and without it the lens is {lost_px:.2g} px off"
        mend = f"calibrate it with four coefficients, or give --lose-px {np.ceil(lost_px):g} if that will do"
        raise FormatError(what, where=where, mend=mend)
    note = f"k3 = {distortion[4]:g} was fitted into the other terms, {lost_px:.2g} px off at most"
    return lens(PinholeRadtan, size, found.x[:4], found.x[4:], where), note


LENSES: Mapping[str, type[Camera]] = {
    "radtan": PinholeRadtan,
    "plumb_bob": PinholeRadtan,
    "none": PinholeRadtan,
    "equidistant": KannalaBrandt4,
}
