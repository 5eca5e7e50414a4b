"""sensor.yaml of an ASL folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handcap.cameras import Camera, KannalaBrandt4, PinholeRadtan
from handcap.errors import FormatError
from handcap.geometry import Array, project_to_so3
from handcap.safe_yaml import parse_yaml
from handcap.session.pictures import PICTURE_LIMIT_PX

_LARGEST_FILE = 1 << 20
_LENSES: dict[str, type[Camera]] = {
    "radial-tangential": PinholeRadtan,
    "radtan": PinholeRadtan,
    "plumb_bob": PinholeRadtan,
    "equidistant": KannalaBrandt4,
    "kannala-brandt": KannalaBrandt4,
    "fisheye": KannalaBrandt4,
}
_LONGEST_LENS = 20.0  # focal length over picture width: such a telephoto lens, or so wide a one, is on nobody's head
_STRONGEST_DISTORTION = 1e3  # real lenses stay below 100, even where a fit is poor
_LONGEST_ARM_M = 3.0  # no camera sits further from its IMU; a larger number is millimetres
_NOISE_KEYS = {
    "gyro_noise_density": "gyroscope_noise_density",
    "gyro_random_walk": "gyroscope_random_walk",
    "accel_noise_density": "accelerometer_noise_density",
    "accel_random_walk": "accelerometer_random_walk",
}


@dataclass(frozen=True, eq=False, slots=True)
class SensorYaml:
    """A sensor.yaml, read but not yet understood.

    Attributes:
        where: how messages call the file.
        values: its keys.
    """

    where: str
    values: dict[str, Any]

    def error(self, what: str, mend: str = "correct the file; the EuRoC recordings show its form") -> FormatError:
        return FormatError(what, where=self.where, mend=mend)

    def numbers(self, key: str, count: int | None = None) -> list[float]:
        """A list of numbers that must be there."""
        try:
            found = self.values[key]
            numbers = [float(v) for v in (found["data"] if isinstance(found, dict) else found)]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self.error(f"{key} is missing or is not a list of numbers") from error
        if not np.all(np.isfinite(numbers)) or (count is not None and len(numbers) != count):
            raise self.error(f"{key} must be {count or 'finite'} numbers, not {numbers}")
        return numbers

    def positive(self, key: str) -> float | None:
        """A number above zero, or None when it is not given."""
        try:
            number = float(self.values.get(key) or 0)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.error(f"{key} is not a number: {self.values[key]!r}") from error
        if not np.isfinite(number) or number < 0:
            raise self.error(f"{key} must be positive, not {number:g}")
        return number or None

    def pose(self, key: str = "T_BS") -> Array:
        """A rigid motion (4, 4), T_body_sensor."""
        found = self.values.get(key)
        data = found.get("data") if isinstance(found, dict) else found
        try:
            T = np.array(data, float).reshape(4, 4)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.error(f"{key} is missing or is not a 4 x 4 matrix") from error
        R = T[:3, :3]
        if not np.all(np.isfinite(T)) or np.abs(R @ R.T - np.eye(3)).max() > 0.01 or np.linalg.det(R) < 0:
            raise self.error(f"{key} is not a rigid motion: its rotation part is not a rotation")
        if not np.allclose(T[3], [0, 0, 0, 1], atol=1e-6):
            raise self.error(f"{key} must end in the row 0 0 0 1; this one may be transposed")
        if (arm := float(np.linalg.norm(T[:3, 3]))) > _LONGEST_ARM_M:
            raise self.error(f"{key} puts the sensor {arm:g} m from the body", "write the translation in metres")
        T[:3, :3] = project_to_so3(R)
        return T

    def lens(self) -> Camera:
        """The camera's lens model and picture size."""
        model = str(self.values.get("distortion_model", "")).strip().lower()
        kind = str(self.values.get("camera_model", "pinhole")).strip().lower()
        if model not in _LENSES or kind != "pinhole":
            known = "pinhole with radial-tangential or equidistant distortion"
            raise self.error(
                f"lens model {kind!r} with distortion {model!r} is not known; {known} is",
                "calibrate the camera with one of the known models",
            )
        resolution = self.numbers("resolution", 2)
        coefficients = self.numbers("distortion_coefficients")
        if len(coefficients) == 5 and coefficients[4] == 0 and _LENSES[model] is PinholeRadtan:
            coefficients = coefficients[:4]
        if len(coefficients) != 4:
            raise self.error(
                f"distortion_coefficients must be 4 numbers, not {len(coefficients)}",
                "calibrate the camera with the four-parameter model",
            )
        if max(map(abs, coefficients)) > _STRONGEST_DISTORTION:
            raise self.error(f"distortion_coefficients {coefficients} describe no lens")
        intrinsics = self.numbers("intrinsics", 4)
        width, height = int(resolution[0]), int(resolution[1])
        fx, fy, cx, cy = intrinsics
        if width <= 0 or height <= 0 or width * height > PICTURE_LIMIT_PX:
            raise self.error(f"resolution must be width and height in pixels, not {resolution}")
        near_size = all(1 / _LONGEST_LENS < f / max(width, height) < _LONGEST_LENS for f in (fx, fy))
        if not near_size or not (0 < cx < width and 0 < cy < height):
            raise self.error(f"intrinsics {intrinsics} do not fit a picture of {width} x {height} (fu, fv, cu, cv, px)")
        return _LENSES[model](width, height, (*intrinsics, *coefficients))

    def noise(self) -> dict[str, float | None]:
        """IMU noise by the names of ImuModel; None where the file does not say."""
        return {name: self.positive(key) for name, key in _NOISE_KEYS.items()}


def read_sensor_yaml(path: Path, where: str) -> SensorYaml:
    """Reads plain YAML and OpenCV's dialect (first line %YAML:1.0, !!opencv-matrix)."""
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise FormatError("is not a file", where=where, mend="put the right sensor.yaml there")
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
        if len(data) > _LARGEST_FILE:
            raise FormatError("too large to be a calibration", where=where, mend="put the right sensor.yaml there")
        text = data.decode("utf-8-sig", errors="replace")
    except FileNotFoundError as error:
        raise FormatError(
            "missing: without it nobody knows lens, mounting or noise",
            where=where,
            mend="copy the sensor.yaml of this sensor there",
        ) from error
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror})", where=where, mend="copy the file again") from error
    return SensorYaml(where, parse_yaml(text, where))
