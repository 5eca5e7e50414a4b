"""How far a gripper's jaws are open: from the tags on its fingers and from its encoder, together or either alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.causes import Cause
from handcap.clock import nanoseconds, seconds
from handcap.encoder import COUNTS_PER_TURN, JawEncoder
from handcap.geometry import Array
from handcap.measure.fingers import find_finger_tags, finger_tags, openings_m
from handcap.types import Frame, Gripper, JawReadings, Stamps


@dataclass(frozen=True, slots=True)
class JawParams:
    """What is known of jaws beforehand."""

    every: int = 1  # of how many pictures one is searched for tags
    calibration_m: float = 5e-5  # what gauge blocks leave of tags, and of an encoder that does not say
    least_tag_m: float = 2e-5  # scatter of one picture's tags, at best
    longest_gap_s: float = 0.05  # between encoder readings
    most_disagreement_m: float = 1.5e-3  # of tags and encoder: printed fingers bend by less
    least_range_m: float = 0.004  # of opening, to calibrate an encoder by the tags of the same take
    slope_sigma: float = 0.03  # of a printed linkage
    eccentricity_m: float = 2e-4


@dataclass(frozen=True, eq=False, slots=True)
class JawWidth:
    """Opening at each picture of the gripper's camera.

    Attributes:
        width_m: (f,) NaN where unknown.
        sigma_m: (f,) its standard deviation.
        causes: what is wrong with it.
        numbers: what it rests on.
    """

    width_m: Array
    sigma_m: Array
    causes: tuple[Cause, ...]
    numbers: dict[str, float]


def jaw_width(
    frames: Iterable[Frame],
    camera_t_ns: Stamps,
    dt_imu_cam_s: float,
    camera: Camera,
    gripper: Gripper,
    readings: JawReadings,
    params: JawParams | None = None,
) -> JawWidth:
    """Opening of one gripper's jaws.

    Args:
        frames: of its camera, grey.
        camera_t_ns: (f,) the pictures to answer for.
        dt_imu_cam_s: of that camera.
        camera: its lens.
        readings: of its encoder; may be empty.
    """
    params = params or JawParams()
    seen_m = _by_finger(frames, camera_t_ns, camera, gripper)
    tags_m, tags_sigma = _from_tags(seen_m, params)
    picture_t_ns = camera_t_ns + nanoseconds(dt_imu_cam_s)
    read_m, read_sigma = _from_encoder(readings, picture_t_ns, gripper.encoder, tags_m, tags_sigma, params)
    told = None if gripper.encoder is None else gripper.encoder.opening_sigma_m
    width, sigma = _together(
        np.stack([tags_m, read_m]),
        np.stack([tags_sigma, read_sigma]),
        np.array([params.calibration_m, params.calibration_m if told is None else told]),
    )
    apart = np.abs(tags_m - read_m)
    apart_m = float(np.nanmedian(apart)) if np.isfinite(apart).any() else 0.0
    numbers = {
        "jaw_by_tags": float(np.isfinite(tags_m).mean()),
        "jaw_by_encoder": float(np.isfinite(read_m).mean()),
        "jaw_disagreement_mm": 1e3 * apart_m,
    }
    causes: list[Cause] = []
    if not np.isfinite(width).any():
        causes.append(Cause("jaw_unseen"))
    elif apart_m > params.most_disagreement_m:
        causes.append(Cause("jaw_disagrees", measured=1e3 * apart_m, limit=1e3 * params.most_disagreement_m))
    return JawWidth(width, sigma, tuple(causes), numbers)


def _together(width_m: Array, scatter_m: Array, calibration_m: Array) -> tuple[Array, Array]:
    """(f,) opening and its sigma from what several instruments say, NaN where none does.

    Instruments scatter each by itself; what their calibrations leave may have one source, the same blocks, and adds up.

    Args:
        width_m: (m, f), NaN where an instrument is silent.
        scatter_m: (m, f) standard deviations, infinite there.
        calibration_m: (m,) standard deviations.
    """
    weight = 1 / (scatter_m**2 + calibration_m[:, None] ** 2)
    total = weight.sum(axis=0)
    known = total > 0
    share = weight / np.where(known, total, 1.0)
    scatter = share * np.where(np.isfinite(scatter_m), scatter_m, 0.0)
    width = (share * np.nan_to_num(width_m)).sum(axis=0)
    sigma = np.hypot(np.linalg.norm(scatter, axis=0), calibration_m @ share)
    return np.where(known, width, np.nan), np.where(known, sigma, np.nan)


def _by_finger(frames: Iterable[Frame], camera_t_ns: Stamps, camera: Camera, gripper: Gripper) -> Array:
    """(2, f) opening as each finger's tag alone tells it, were the jaws centred; NaN where it is hidden."""
    out = np.full((2, len(camera_t_ns)), np.nan)
    tags = finger_tags(gripper.tags)
    if not tags or gripper.T_cam_tcp is None:
        return out
    seen = find_finger_tags(frames, camera_t_ns, camera, tags, gripper.T_cam_tcp)
    finger = np.array([0 if tag.body == "finger_a" else 1 for tag in tags])
    out[finger[seen.tag], seen.picture] = openings_m(seen, camera, gripper.T_cam_tcp, tags)
    return out


def _from_tags(by_finger: Array, params: JawParams) -> tuple[Array, Array]:
    """(f,) opening and its sigma, infinite where neither tag was seen.

    A camera that sits a little aside shifts both fingers alike: half their typical difference mends a single one.
    """
    seen = np.isfinite(by_finger)
    difference = by_finger[0] - by_finger[1]
    both = seen.all(axis=0)
    aside = float(np.median(difference[both])) if both.any() else 0.0
    mended = by_finger - np.array([[0.5], [-0.5]]) * aside
    count = seen.sum(axis=0)
    width = np.where(count > 0, np.nansum(np.where(seen, mended, 0.0), axis=0) / np.maximum(count, 1), np.nan)
    scatter = 1.4826 * float(np.median(np.abs(difference[both] - aside))) if both.any() else 1e-3
    one_m = max(scatter / np.sqrt(2), params.least_tag_m)
    return width, np.where(count > 0, one_m / np.sqrt(np.maximum(count, 1)), np.inf)


def _from_encoder(
    readings: JawReadings,
    t_ns: Stamps,
    calibrated: JawEncoder | None,
    tags_m: Array,
    tags_sigma: Array,
    params: JawParams,
) -> tuple[Array, Array]:
    """(f,) opening at times (f,) and its sigma, infinite where there is no reading near."""
    nothing = np.full(len(t_ns), np.nan), np.full(len(t_ns), np.inf)
    if len(readings) < 2:
        return nothing
    turn_rad = 2 * np.pi / COUNTS_PER_TURN
    angle_rad = np.unwrap((readings.counts + 0.5) * turn_rad)
    after = np.clip(np.searchsorted(readings.t_ns, t_ns), 1, len(readings) - 1)
    gap_s = seconds(readings.t_ns[after] - readings.t_ns[after - 1])
    near = (gap_s <= params.longest_gap_s) & (t_ns >= readings.t_ns[0]) & (t_ns <= readings.t_ns[-1])
    if calibrated is not None:
        opened = np.interp(t_ns, readings.t_ns, calibrated.opening_m(readings.counts))
        sigma_m = abs(calibrated.metres_per_rad) * np.hypot(calibrated.noise_rad, turn_rad / np.sqrt(12))
        return np.where(near, opened, np.nan), np.where(near, max(sigma_m, 1e-6), np.inf)
    at_rad = np.interp(t_ns, readings.t_ns, angle_rad)
    use = near & np.isfinite(tags_m)
    if use.sum() < 10 or np.ptp(tags_m[use]) < params.least_range_m:
        return nothing
    return _calibrated_by_tags(at_rad, near, tags_m, tags_sigma, use, params)


def _calibrated_by_tags(
    at_rad: Array, near: NDArray[np.bool_], tags_m: Array, tags_sigma: Array, use: NDArray[np.bool_], params: JawParams
) -> tuple[Array, Array]:
    """Opening from angles (f,): a line and one wave per turn, fitted to the tags of the same take."""
    slope = float(np.sign(np.corrcoef(at_rad[use], tags_m[use])[0, 1])) * JawEncoder().metres_per_rad
    middle = float(at_rad[use].mean())
    A = np.stack([np.ones(len(at_rad)), at_rad - middle, np.sin(at_rad), np.cos(at_rad)], axis=1)
    prior = np.array([0.0, slope, 0.0, 0.0])
    weight = np.diag(1 / np.array([1.0, params.slope_sigma * abs(slope), params.eccentricity_m, params.eccentricity_m]))
    rows = A[use] / tags_sigma[use, None]
    normal = rows.T @ rows + weight**2
    x = prior + np.linalg.solve(normal, rows.T @ ((tags_m[use] - A[use] @ prior) / tags_sigma[use]))
    spread = np.sqrt(np.einsum("fi,ij,fj->f", A, np.linalg.inv(normal), A))
    return np.where(near, A @ x, np.nan), np.where(near, np.maximum(spread, 1e-6), np.inf)
