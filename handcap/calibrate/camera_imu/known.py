"""What earlier steps found, as this one needs it: lenses with their spread, an inertial sensor's axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from handcap.calibrate.camera_imu.estimate import Lens
from handcap.calibrate.part import Part, read_part
from handcap.calibrate.put import imu_calibration
from handcap.cameras import MODELS
from handcap.errors import CalibrationError
from handcap.geometry import Array
from handcap.types import CameraSigma, ImuModel, ImuSamples, MountedCamera

UNSTATED = CameraSigma(0.0175, 0.002, 5e-4, 0.3)  # a lens whose calibration does not say how good it is
_MEND = "calibrate it again with `handcap calibrate"


def lens_of(mount: MountedCamera, where: Path | None = None, part: Part | None = None) -> Lens:
    """A lens from its own part where there is one, else as rig.json has it.

    Raises:
        CalibrationError: the part was refused, or is damaged.
    """
    if part is None:
        sigma = mount.sigma or UNSTATED
        spread = np.zeros((len(mount.camera.params), 3))
        spread[:2, 0] = mount.camera.focal_px * sigma.focal
        spread[2, 1] = spread[3, 2] = sigma.centre_px
        return Lens(mount, spread)
    if part.verdict == "refused":
        raise CalibrationError("this lens was refused", where=where, mend=f"{_MEND} camera`")
    values = part.values
    try:
        kind = MODELS[values["model"]]
        params = tuple(float(x) for x in values["params"])
        camera = kind(int(values["width"]), int(values["height"]), params)
        covariance = np.array(part.details["covariance"], float)
        if covariance.shape != (len(params), len(params)) or not np.all(np.isfinite(covariance)):
            raise ValueError("details.covariance")
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise CalibrationError(f"is no whole lens ({error})", where=where, mend=f"{_MEND} camera`") from error
    return Lens(replace(mount, camera=camera), _spread(covariance))


def _spread(covariance: Array) -> Array:
    """(n, k) whose columns are independent and give this covariance."""
    sizes, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    kept = sizes > 1e-12 * max(float(sizes[-1]), 1e-300)
    return axes[:, kept] * np.sqrt(sizes[kept])


def lens_parts(paths: Sequence[Path]) -> dict[str, tuple[Path, Part]]:
    """Parts of `calibrate camera`, by camera.

    Raises:
        CalibrationError: a part is missing, damaged, or of another step.
    """
    parts: dict[str, tuple[Path, Part]] = {}
    for path in paths:
        part = read_part(path)
        if part.step != "camera":
            raise CalibrationError(f"is of the step {part.step!r}", where=path, mend="give parts of the step 'camera'")
        parts[part.subject] = (path, part)
    return parts


def corrected(
    recorded: ImuSamples, R_imu_chip: Array, model: ImuModel, part: Part, where: str
) -> tuple[ImuSamples, ImuModel]:
    """Samples and noise by the part of `calibrate imu`: what it knows is taken, the rest stays.

    Args:
        recorded: in chip axes, as the part is; no earlier calibration applied.
        R_imu_chip: (3, 3).
        model: of the sensor's noise, as stated so far.
        part: of the step imu.
        where: its file.

    Returns:
        Samples in imu axes, and the noise.

    Raises:
        CalibrationError: the part was refused, is damaged, or of another step.
    """
    if part.step != "imu" or part.verdict == "refused":
        what = "was refused" if part.step == "imu" else f"is of the step {part.step!r}"
        raise CalibrationError(what, where=where, mend=f"{_MEND} imu`")
    try:
        calibration = imu_calibration(part)
        gyro, accel = recorded.gyro_imu, recorded.accel_imu
        if calibration is not None:
            gyro, accel = calibration.corrected(gyro, accel)
        noise = {key: float(part.values[key]) for key in _NOISE if part.values.get(key) is not None}
        if any(value <= 0 for value in noise.values()):
            raise ValueError("a noise that is not positive")
    except (TypeError, ValueError, np.linalg.LinAlgError) as error:
        raise CalibrationError(f"is no whole sensor ({error})", where=where, mend=f"{_MEND} imu`") from error
    return ImuSamples(recorded.t_ns, gyro @ R_imu_chip.T, accel @ R_imu_chip.T), replace(model, **noise)


_NOISE = ("gyro_noise_density", "accel_noise_density", "gyro_random_walk", "accel_random_walk")
