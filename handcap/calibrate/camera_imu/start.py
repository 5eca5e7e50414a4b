"""The rotation-only start: how a camera and a gyroscope turned, and what turns the one's axes and clock to the other's.

Turning needs no scale, no lever arm and no gravity, so it comes first and is hard to fool: strength of turning against
time finds the offset however large, a straight line from the camera's rates to the gyroscope's finds unit, handedness
and mounting at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy.optimize import least_squares
from scipy.signal import correlate
from scipy.spatial.transform import Rotation

from handcap.calibrate.camera_imu.poses import ViewPoses
from handcap.clock import nanoseconds, seconds
from handcap.geometry import Array, project_to_so3
from handcap.measure.gyro import GyroRotation
from handcap.types import ImuSamples, Stamps


@dataclass(frozen=True, slots=True)
class StartParams:
    grid_s: float = 0.01  # of the wide search: hands change their turning over a tenth of a second
    longest_pair_s: float = 0.2  # between two pictures whose turn is compared
    window_s: float = 6.0  # long enough for half a dozen moves, whose strengths no other window repeats
    window_step_s: float = 2.0
    alike: float = 0.8  # correlation of a window that found its place; wrong places reach 0.6
    short_s: float = 3.0  # of windows that tell when something changed, looked for near the long ones' places
    short_step_s: float = 1.0
    near_s: float = 0.25
    fine_s: float = 0.03  # about the wide search's answer
    fine_step_s: float = 0.0025


@dataclass(frozen=True, eq=False, slots=True)
class Turns:
    """How a camera turned from picture to picture.

    Attributes:
        start_ns, end_ns: (n,) stamps of the two pictures, camera clock.
        rate_cam: (n, 3) rad/s between them, camera axes.
    """

    start_ns: Stamps
    end_ns: Stamps
    rate_cam: Array

    @property
    def period_s(self) -> Array:
        return seconds(self.end_ns - self.start_ns)


def turns_of(poses: ViewPoses, params: StartParams) -> Turns:
    """Between neighbouring pictures that both see the board."""
    t_ns, R = poses.t_ns[poses.known], poses.T_board_cam[poses.known, :3, :3]
    near = seconds(np.diff(t_ns)) <= params.longest_pair_s
    turn = Rotation.from_matrix(np.swapaxes(R[:-1], 1, 2) @ R[1:]).as_rotvec()[near] if len(R) > 1 else np.zeros((0, 3))
    start, end = t_ns[:-1][near], t_ns[1:][near]
    return Turns(start, end, turn / seconds(end - start)[:, None])


@dataclass(frozen=True, eq=False, slots=True)
class Window:
    """Where a stretch of the camera's turning is found in the gyroscope's.

    Attributes:
        t_s: its middle, from the camera's first picture.
        dt_s: t_imu = t_cam + dt.
        alike: correlation there.
    """

    t_s: float
    dt_s: float
    alike: float


def windows_of(turns: Turns, imu: ImuSamples, params: StartParams, near: Sequence[Window] = ()) -> list[Window]:
    """Each window's place in the recording of the gyroscope, by strength of turning alone.

    In the whole of it; or those of short windows, near where longer ones lie.
    """
    length_s, step_s = (params.short_s, params.short_step_s) if near else (params.window_s, params.window_step_s)
    t0 = int(turns.start_ns[0])
    middle_s = seconds((turns.start_ns - t0) + (turns.end_ns - turns.start_ns) // 2)
    strength = np.linalg.norm(turns.rate_cam - np.median(turns.rate_cam, axis=0), axis=1)
    t_imu_s = seconds(imu.t_ns, t0)
    grid_imu = np.arange(t_imu_s[0], t_imu_s[-1], params.grid_s)
    # Averaged over the time from picture to picture, as the camera's own turning is.
    box = max(round(float(np.median(turns.period_s)) / params.grid_s), 1)
    gyro = imu.gyro_imu - np.median(imu.gyro_imu, axis=0)
    smooth = np.stack(
        [np.convolve(np.interp(grid_imu, t_imu_s, axis), np.ones(box) / box, "same") for axis in gyro.T], axis=-1
    )
    felt = np.linalg.norm(smooth, axis=1)
    out: list[Window] = []
    for start in np.arange(0.0, max(middle_s[-1] - length_s, 0.0) + 1e-9, step_s):
        grid = np.arange(start, min(start + length_s, middle_s[-1]), params.grid_s)
        inside = (middle_s >= start) & (middle_s <= start + length_s)
        if inside.sum() < 0.5 * len(grid) * params.grid_s / np.median(turns.period_s):
            continue  # the board was out of sight for half of the window
        first, last = 0, len(felt)
        if near:
            middle = float(start + length_s / 2)
            about_s = min(near, key=lambda window: abs(window.t_s - middle)).dt_s
            lag = (start + about_s - grid_imu[0]) / params.grid_s
            reach = params.near_s / params.grid_s
            first, last = max(int(lag - reach), 0), max(int(lag + reach) + len(grid), 0)
        found = _placed(np.interp(grid, middle_s, strength), felt[first:last])
        if found is not None:
            lag, alike = found
            dt_s = float(grid_imu[0] + (first + lag) * params.grid_s - start)
            out.append(Window(float(start + length_s / 2), dt_s, alike))
    return out


def _placed(seen: Array, felt: Array) -> tuple[float, float] | None:
    """Lag of `seen` in `felt`, grid steps, and the correlation there; None where `felt` is shorter."""
    n = len(seen)
    if n < 50 or len(felt) < n or np.std(seen) == 0:
        return None
    centred = (seen - seen.mean()) / (np.std(seen) * n)
    ones = np.ones(n)
    mean = correlate(felt, ones, "valid") / n
    spread = np.sqrt(np.maximum(correlate(felt * felt, ones, "valid") / n - mean**2, 1e-12))
    alike = correlate(felt, centred, "valid") / spread
    best = int(np.argmax(alike))
    shift = 0.0
    if 0 < best < len(alike) - 1:
        a, b, c = alike[best - 1 : best + 2]
        shift = float((a - c) / (2 * (a - 2 * b + c))) if a - 2 * b + c < 0 else 0.0
    return best + shift, float(alike[best])


@dataclass(frozen=True, eq=False, slots=True)
class Start:
    """What turning alone says.

    Attributes:
        dt_s: t_imu = t_cam + dt.
        gyro_by_cam: (3, 3) the straight line from the camera's rates to the gyroscope's: unit times rotation.
        explained: share of the gyroscope's variance that this line explains.
        R_imu_cam: (3, 3) nearest rotation, refined.
        gyro_bias: (3,) rad/s.
        rms_rad: what is left per pair of pictures.
    """

    dt_s: float
    gyro_by_cam: Array
    explained: float
    R_imu_cam: Array
    gyro_bias: Array
    rms_rad: float


def straight_line(turns: Turns, imu: ImuSamples, dt_s: float) -> tuple[Array, Array, float]:
    """(3, 3), (3,) and explained share of the gyroscope's mean rates as a straight line in the camera's."""
    felt = _mean_rate(imu, turns, dt_s)
    seen = np.column_stack([turns.rate_cam, np.ones(len(felt))])
    weight = np.ones(len(felt))
    line = np.zeros((4, 3))
    for _ in range(5):
        line = np.asarray(np.linalg.lstsq(seen * weight[:, None], felt * weight[:, None], rcond=None)[0], float)
        size = np.linalg.norm(felt - seen @ line, axis=1)
        weight = np.sqrt(np.minimum(1.0, 2 * np.median(size) / np.maximum(size, 1e-12)))
    error = felt - seen @ line
    spread = felt - np.average(felt, axis=0, weights=weight**2)
    explained = 1 - float(
        np.sum(weight[:, None] ** 2 * error**2) / max(np.sum(weight[:, None] ** 2 * spread**2), 1e-12)
    )
    return line[:3].T, line[3], explained


def _mean_rate(imu: ImuSamples, turns: Turns, dt_s: float) -> Array:
    """(n, 3) of each pair: axis by axis, not as a rotation, which a wrong unit would wrap."""
    t_s = seconds(imu.t_ns, int(imu.t_ns[0]))
    steps = (imu.gyro_imu[1:] + imu.gyro_imu[:-1]) / 2 * np.diff(t_s)[:, None]
    angle = np.vstack([np.zeros(3), np.cumsum(steps, axis=0)])
    ends = [seconds(t_ns, int(imu.t_ns[0])) + dt_s for t_ns in (turns.start_ns, turns.end_ns)]
    a, b = (np.stack([np.interp(end, t_s, column) for column in angle.T], axis=-1) for end in ends)
    return (b - a) / turns.period_s[:, None]


def rotation_start(turns: Turns, imu: ImuSamples, dt_s: float, params: StartParams) -> Start:
    """Offset near `dt_s`, mounting and gyroscope bias from turning alone."""
    steps = np.arange(-params.fine_s, params.fine_s + params.fine_step_s / 2, params.fine_step_s)
    tried = [straight_line(turns, imu, dt_s + step) for step in steps]
    best = int(np.argmax([explained for *_, explained in tried]))
    line, bias, explained = tried[best]
    dt_s += float(steps[best])
    R = Rotation.from_matrix(project_to_so3(line))
    relative = Rotation.from_rotvec(turns.rate_cam * turns.period_s[:, None])
    span_s = turns.period_s[:, None]
    fit: Any = None
    for _ in range(2):  # the bias enters the integral
        gyro = GyroRotation(imu, bias)

        def left(x: Array, gyro: GyroRotation = gyro, R: Rotation = R) -> Array:
            turned = R * Rotation.from_rotvec(x[:3])
            felt = gyro.at(turns.start_ns, x[6]).inv() * gyro.at(turns.end_ns, x[6])
            felt = felt * Rotation.from_rotvec(-x[3:6] * span_s)
            return cast(Array, ((turned.inv() * felt * turned).inv() * relative).as_rotvec().ravel())

        scales = np.r_[[0.01] * 6, 0.005]
        fit = least_squares(left, np.r_[np.zeros(6), dt_s], loss="huber", f_scale=2e-3, x_scale=scales, diff_step=1e-4)
        R, bias, dt_s = R * Rotation.from_rotvec(fit.x[:3]), bias + fit.x[3:6], float(fit.x[6])
    rms = float(np.sqrt(3 * np.mean(np.minimum(np.abs(fit.fun), 0.1) ** 2)))
    return Start(dt_s, line, explained, R.as_matrix(), bias, rms)


def board_rotation(poses: ViewPoses, imu: ImuSamples, start: Start) -> tuple[Rotation, Stamps, GyroRotation]:
    """R_board_start as each picture tells it, with their stamps on the IMU's clock: constant where all is well."""
    gyro = GyroRotation(imu, start.gyro_bias)
    t_ns = poses.t_ns[poses.known] + nanoseconds(start.dt_s)
    R_board_imu = Rotation.from_matrix(poses.T_board_cam[poses.known, :3, :3] @ start.R_imu_cam.T)
    return R_board_imu * gyro.at(t_ns).inv(), t_ns, gyro
