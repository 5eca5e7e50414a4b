"""What no solver can mend is named before one is tried: units, axes, stamps, clocks, a board that moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handcap.calibrate.camera_imu.poses import ViewPoses, accelerations
from handcap.calibrate.camera_imu.start import (
    Start,
    StartParams,
    Turns,
    Window,
    board_rotation,
    windows_of,
)
from handcap.causes import Cause
from handcap.clock import nanoseconds, seconds
from handcap.geometry import GRAVITY_M_S2, Array, so3_log
from handcap.types import ImuSamples


@dataclass(frozen=True, slots=True)
class CheckParams:
    """Limits; each is engineering judgement unless a source is named."""

    least_rate_hz: float = 50.0
    saturated: float = 0.01  # share of samples
    accel_share: float = 0.25  # median |a| off gravity by more is a unit, not motion
    gyro_unit: float = 1.2  # times what the pictures show: no sensor's scale is so far off, a unit is 57
    gyro_shape: float = 1.2  # of the best axis over the worst
    explained: float = 0.9  # of the gyroscope's variance; good takes show 0.99
    search_s: float = 0.5  # offsets beyond are no delay but clocks that nothing ties
    rate: float = 0.002  # share by which IMU time may run off; crystals differ by 1e-4
    jump_s: float = 0.015  # between windows: each is known to a few ms
    windows: float = 0.5  # share of windows that must find their place
    mount_deg: float = 20.0  # off the drawing: no mount is so crooked, axes are
    board_deg: float = 1.5  # between neighbouring seconds
    lens_px: float = 0.6  # of the steadiest fifth of pictures; sharp ones and their own lens leave 0.1 to 0.3
    average_s: float = 0.25  # of accelerations that are compared: as smooth as pictures tell them
    size: float = 1.5  # times the stated one: what is less wrong, the full fit measures
    axes_better: float = 0.5  # times the residual: how much better other accelerometer axes must fit


class Refused(Exception):
    """Ends a calibration that cannot succeed."""

    def __init__(self, *causes: Cause) -> None:
        super().__init__(", ".join(cause.code for cause in causes))
        self.causes = causes


def check_imu(imu: ImuSamples, start_ns: int, end_ns: int, params: CheckParams) -> None:
    """Samples that can be used at all, over the time of the pictures. Raises Refused."""
    if len(imu) < 2:
        raise Refused(Cause("imu_slow", measured=0.0, limit=params.least_rate_hz))
    rate_hz = 1 / float(np.median(np.diff(seconds(imu.t_ns, int(imu.t_ns[0])))))
    if rate_hz < params.least_rate_hz:
        raise Refused(Cause("imu_slow", measured=rate_hz, limit=params.least_rate_hz))
    felt = float(np.median(np.linalg.norm(imu.accel_imu, axis=1)))
    if abs(felt - GRAVITY_M_S2) > params.accel_share * GRAVITY_M_S2:
        raise Refused(Cause("accel_unit", measured=felt, limit=GRAVITY_M_S2))
    stuck = _stuck(imu)
    if stuck.mean() > params.saturated:
        raise Refused(Cause("imu_saturated", measured=float(stuck.sum() / rate_hz)))
    apart_ns = max(int(imu.t_ns[0]) - end_ns, start_ns - int(imu.t_ns[-1]))
    if apart_ns > 0:
        raise Refused(Cause("no_overlap", measured=apart_ns / 1e9, limit=0.0))


def _stuck(imu: ImuSamples) -> NDArray[np.bool_]:
    """(n,) any axis three times in a row at its very largest or smallest value."""
    out = np.zeros(len(imu), bool)
    for column in np.hstack([imu.gyro_imu, imu.accel_imu]).T:
        for extreme in (column.min(), column.max()):
            at = np.r_[False, column == extreme, False].astype(int)
            a, b = np.flatnonzero(np.diff(at) == 1), np.flatnonzero(np.diff(at) == -1)
            for first, last in zip(a, b, strict=True):
                out[first:last] |= last - first >= 3 and np.ptp(column) > 0.2
    return out


def check_lens(poses: ViewPoses, camera: str, params: CheckParams) -> None:
    """Refuse a lens that does not describe its pictures. Raises Refused."""
    rms = poses.rms_px[poses.known]
    if len(rms) and float(np.percentile(rms, 20)) > params.lens_px:
        raise Refused(Cause("wrong_lens", camera, None, float(np.percentile(rms, 20)), params.lens_px))


def placed(turns: Turns, imu: ImuSamples, nominal_s: float, start: StartParams, params: CheckParams) -> float:
    """The offset of all windows; refuses stamps that run off, jump, or belong to another clock. Raises Refused."""
    windows = windows_of(turns, imu, start)
    good = [window for window in windows if window.alike > start.alike]
    if not windows or len(good) < max(2, params.windows * len(windows)):
        _rate_far_off(turns, imu, start, windows)
        best = max((window.alike for window in windows), default=0.0)
        raise Refused(Cause("turns_disagree", measured=float(max(best, 0.0)), limit=start.alike))
    short = [window for window in windows_of(turns, imu, start, good) if window.alike > start.alike]
    good = short if len(short) > len(good) else good  # more of them tell better when, and how
    t, dt = np.array([w.t_s for w in good]), np.array([w.dt_s for w in good])
    skew, steady = slope(t, dt)
    step, at = best_step(dt)
    if abs(skew) > params.rate and steady < step:
        raise Refused(Cause("imu_rate", measured=100 * skew, limit=100 * params.rate))
    if step < np.inf and abs(at[1]) > params.jump_s and step < 0.5 * float(np.mean(np.abs(dt - np.median(dt)))):
        when = float((t[at[0] - 1] + t[at[0]]) / 2)
        span = (when - start.short_s / 2, when + start.short_s / 2)
        raise Refused(Cause("clock_jump", None, span, 1e3 * at[1], 1e3 * params.jump_s))
    offset = float(np.median(dt))
    if abs(offset - nominal_s) > params.search_s:
        raise Refused(Cause("offset_too_large", measured=offset - nominal_s, limit=params.search_s))
    return offset


def slope(t: Array, dt: Array) -> tuple[float, float]:
    """Median slope (Theil 1950) and the mean of what it leaves."""
    i, j = np.triu_indices(len(t), 1)
    rise = float(np.median((dt[j] - dt[i]) / (t[j] - t[i]))) if len(i) else 0.0
    left = dt - rise * t
    return rise, float(np.mean(np.abs(left - np.median(left))))


def best_step(dt: Array) -> tuple[float, tuple[int, float]]:
    """What the best single step leaves on average, with the first row after it and its size."""
    best, at = np.inf, (0, 0.0)
    for k in range(1, len(dt)):
        a, b = np.median(dt[:k]), np.median(dt[k:])
        left = float(np.mean(np.abs(np.r_[dt[:k] - a, dt[k:] - b])))
        if left < best:
            best, at = left, (k, float(b - a))
    return best, at


def _rate_far_off(turns: Turns, imu: ImuSamples, start: StartParams, windows: Sequence[Window]) -> None:
    """Refuse IMU stamps that run at another speed, where that makes the windows find their place. Raises Refused."""
    before = float(np.median([w.alike for w in windows])) if windows else 0.0
    best, rate = before, 1.0
    for stretch in (0.5, 0.8, 0.9, 0.95, 0.97, 1.03, 1.05, 1.1, 1.25, 2.0):
        t_ns = imu.t_ns[0] + np.rint((imu.t_ns - imu.t_ns[0]) * stretch).astype(np.int64)
        tried = windows_of(turns, ImuSamples(t_ns, imu.gyro_imu, imu.accel_imu), start)
        alike = float(np.median([w.alike for w in tried])) if tried else 0.0
        if alike > best:
            best, rate = alike, stretch
    if rate != 1.0 and best > start.alike:
        raise Refused(Cause("imu_rate", measured=100 * (1 / rate - 1), limit=0.2))


def check_line(line: Array, explained: float, params: CheckParams) -> None:
    """Refuse a gyroscope whose unit, handedness or axes are not what they should be. Raises Refused."""
    sizes = np.linalg.svd(line, compute_uv=False)
    scale = float(np.cbrt(np.prod(sizes)))
    if not 1 / params.gyro_unit < scale < params.gyro_unit:
        raise Refused(Cause("gyro_unit", measured=scale, limit=params.gyro_unit))
    if np.linalg.det(line) < 0:
        raise Refused(Cause("axes_mirrored"))
    if explained < params.explained:
        raise Refused(Cause("turns_disagree", measured=explained, limit=params.explained))
    if sizes[0] / sizes[2] > params.gyro_shape:
        raise Refused(Cause("gyro_axes_unequal", measured=float(sizes[0] / sizes[2]), limit=params.gyro_shape))


def check_mount(R_imu_cam: Array, drawn: Array, camera: str, params: CheckParams) -> None:
    """Refuse a camera that would sit as no mount can hold it. Raises Refused."""
    off = float(np.rad2deg(np.linalg.norm(so3_log(drawn.T @ R_imu_cam))))
    if off > params.mount_deg:
        raise Refused(Cause("axes_swapped", camera, None, off, params.mount_deg))


def check_board(poses: ViewPoses, imu: ImuSamples, start: Start, params: CheckParams) -> None:
    """Refuse a board that turned against gravity while the gyroscope did not. Raises Refused."""
    R_board_start, t_ns, _ = board_rotation(poses, imu, start)
    second = (seconds(t_ns, int(t_ns[0]))).astype(int)
    told = np.unique(second)
    means = [middle(R_board_start[second == k]) for k in told]
    for k in range(2, len(told) - 1):
        # Two seconds before against two after: a knock of the rig itself passes.
        before, after = means[k - 2].inv() * means[k], means[k - 1].inv() * means[k + 1]
        turn = min(before.magnitude(), after.magnitude())
        if np.rad2deg(turn) > params.board_deg:
            at = float(seconds(t_ns[np.flatnonzero(second == told[k])[0]], int(poses.t_ns[0])))
            raise Refused(Cause("board_turned", None, (at - 2.0, at + 2.0), float(np.rad2deg(turn)), params.board_deg))


def middle(R: Rotation) -> Rotation:
    """A mean that a few wrong poses do not move."""
    mean = R.mean()
    off = (mean.inv() * R).magnitude()
    near = off <= 2 * np.median(off) + 1e-9
    return Rotation.from_matrix(R.as_matrix()[near]).mean()


def gravity_start(poses: ViewPoses, imu: ImuSamples, start: Start, params: CheckParams) -> Array:
    """Gravity in board axes (3,), m/s², by pictures and accelerometer.

    Refuses accelerometer axes that do not go with the gyroscope's, and a board of a wholly other size. Raises Refused.
    """
    R_board_start, t_ns, gyro = board_rotation(poses, imu, start)
    inside = imu.between(int(t_ns[0]), int(t_ns[-1]))
    R_board_imu = (middle(R_board_start) * gyro.at(inside.t_ns)).as_matrix()
    bend = accelerations(poses)
    told = np.isfinite(bend[:, 0])
    at_s, bent_s = seconds(inside.t_ns, int(t_ns[0])), seconds(poses.t_ns[told] + nanoseconds(start.dt_s), int(t_ns[0]))
    moved = np.zeros((len(inside), 3))
    if told.any():
        moved = np.stack([np.interp(at_s, bent_s, column, 0.0, 0.0) for column in bend[told].T], axis=-1)
    box = max(int(params.average_s / float(np.median(np.diff(at_s)))), 1)
    accel = _averaged(inside.accel_imu, box)
    turned = _averaged(np.swapaxes(R_board_imu, 1, 2).reshape(-1, 9), box).reshape(-1, 3, 3)
    by_motion = _averaged(np.einsum("nji,nj->ni", R_board_imu, moved), box)
    # accel = R_board_imu^T up + share R_board_imu^T bend + bias, linear in up, bias and share; the bias stays small by
    # a prior, else it could take the place of gravity in a take that hardly turns.
    n = len(accel)
    table = np.concatenate([turned, np.broadcast_to(np.eye(3), (n, 3, 3)), by_motion[..., None]], axis=-1).reshape(
        -1, 7
    )
    prior = np.eye(7)[3:6] * np.sqrt(n)

    def fit(axes: Array) -> tuple[float, Array]:
        right = np.r_[(accel @ axes.T).reshape(-1), np.zeros(3)]
        rows = np.vstack([table, prior])
        found = np.asarray(np.linalg.lstsq(rows, right, rcond=None)[0], float)
        if found[6] < 0:  # nobody is pushed against the way he goes
            found = np.r_[np.asarray(np.linalg.lstsq(rows[:, :6], right, rcond=None)[0], float), 0.0]
        return float(np.sqrt(np.mean((rows @ found - right) ** 2))), found

    asis, found = fit(np.eye(3))
    best, axes = asis, np.eye(3)
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            tried = np.eye(3)[list(order)] * np.array(signs)[:, None]
            left, _ = fit(tried)
            if left < best:
                best, axes = left, tried
    if best < params.axes_better * asis:
        code = "accel_axes" if np.linalg.det(axes) > 0 else "accel_mirrored"
        raise Refused(Cause(code, measured=asis, limit=best))
    if told.any():
        _check_size(accel, by_motion, table[:, :6], prior[:, :6], params)
    return -found[:3]


def _check_size(accel: Array, by_motion: Array, others: Array, prior: Array, params: CheckParams) -> None:
    """Refuse a board whose motion is of a wholly other size than the accelerometer felt. Raises Refused.

    Accelerations by pictures are noisy where the board is small in them, and noise in what explains makes the share
    seem smaller: explained the other way round it seems larger. The truth lies between the two.

    Args:
        accel, by_motion: (n, 3) felt, and by pictures.
        others: (3 n, 6) what gravity and bias add to them.
        prior: (3, 6) rows that keep the bias small.
    """
    rows = np.vstack([others, prior])

    def without_others(values: Array) -> Array:
        right = np.r_[values.reshape(-1), np.zeros(3)]
        return right - rows @ np.linalg.lstsq(rows, right, rcond=None)[0]

    felt, seen = without_others(accel), without_others(by_motion)
    both = float(felt @ seen)
    least, most = both / max(float(seen @ seen), 1e-12), float(felt @ felt) / max(both, 1e-12)
    if both > 0 and (least >= params.size or most <= 1 / params.size):
        share = least if least >= params.size else most
        raise Refused(Cause("board_size", measured=100 / share, limit=100 * (params.size - 1)))


def _averaged(values: Array, box: int) -> Array:
    """(n, k) to means of `box` rows."""
    n = len(values) // box
    return values[: n * box].reshape(n, box, -1).mean(axis=1)
