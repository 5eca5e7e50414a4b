"""When the sensor lay still, and when it was touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.calibrate.imu.log import ImuLog
from handcap.geometry import Array


@dataclass(frozen=True, slots=True)
class RestParams:
    """What counts as still.

    Attributes:
        window_s: a knock shows in a window this long; a hand-over between two rests takes several.
        least_window: samples in it, so that its scatter means something.
        quiet: share of windows taken to be at rest when noise is measured; no calibration rests less.
        times_quiet: scatter of a window at rest, at most, in units of the quiet ones'. Tables shake a little.
        most_accel: m/s², scatter of an accelerometer that lies on anything. Hands and drones shake more.
        lean: m/s², by how much the accelerometer's mean may change over `lag_s` at rest; 0.2°.
        drift: rad/s, the gyroscope's; a slow turntable does ten times that.
        lag_s: between the windows that are compared.
        spike: samples this many scatters from their window's median are a knock.
        least_s: shortest rest.
        settle_s: left out at both ends of a rest: a hand still touches it.
    """

    window_s: float = 0.25
    least_window: int = 20
    quiet: float = 0.1
    times_quiet: float = 4.0
    most_accel: float = 0.25
    lean: float = 0.04
    drift: float = 0.01
    lag_s: float = 2.0
    spike: float = 12.0
    least_s: float = 1.0
    settle_s: float = 0.25


@dataclass(frozen=True, slots=True)
class Rest:
    """Samples [start, end) of a log in which it lay still."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def find_rests(log: ImuLog, rate_hz: float, params: RestParams) -> Sequence[Rest]:
    """Every stretch of stillness, in order; none when the log never rests.

    Judged by the scatter of short windows against the quietest of the same log, so that noisy parts and those whose
    unit is counts are judged alike; what no accelerometer at rest can scatter is never called still.
    """
    n = max(round(params.window_s * rate_hz), params.least_window)
    count = len(log) // n
    if count < 4:
        return []
    sensors = [values[: count * n].reshape(count, n, 3) for values in (log.gyro, log.accel)]
    still = np.ones(count, bool)
    lag = max(round(params.lag_s * rate_hz / n), 1)
    for k, windows in enumerate(sensors):
        scatter = windows.std(axis=1)
        floor = _floor(scatter, params.quiet)
        still &= np.all(scatter <= params.times_quiet * floor, axis=1)
        off = np.abs(windows - np.median(windows, axis=1, keepdims=True)).max(axis=1)
        still &= np.all(off <= params.spike * floor, axis=1)
        counts = log.accel_counts if k == 1 else log.gyro_counts
        allowed = (params.drift, params.lean)[k]
        if counts:
            allowed = allowed / 10 * 0.5 * float(np.ptp(windows.mean(axis=1), axis=0).max())
        elif k == 1:
            still &= np.linalg.norm(scatter, axis=1) <= params.most_accel
        still &= ~_shifts(windows.mean(axis=1), floor / np.sqrt(n), still, lag, allowed)
    return _runs(still, n, round(params.least_s * rate_hz), round(params.settle_s * rate_hz), len(log))


def _floor(scatter: Array, quiet: float) -> Array:
    """(3,) scatter of the quiet windows; a converter that rounds may show none."""
    floor = np.quantile(scatter, quiet, axis=0)
    return np.maximum(floor, 1e-3 * max(float(floor.max()), 1e-12))


def _shifts(mean: Array, noise: Array, still: NDArray[np.bool_], lag: int, allowed: float) -> NDArray[np.bool_]:
    """Windows (count,) around which the mean changes by more than noise and `allowed` while it seems to rest."""
    moved = np.zeros(len(mean), bool)
    for step in (1, lag):
        change = np.abs(mean[step:] - mean[:-step])
        runs = np.concatenate([[0], np.cumsum(~still)])
        quiet = runs[step + 1 :] - runs[: -step - 1] == 0  # no motion in between that explains it
        jumped = np.flatnonzero(np.any(change > allowed + 8 * noise, axis=1) & quiet)
        for k in jumped:
            moved[k + (step + 1) // 2] = True
    return moved


def _runs(still: NDArray[np.bool_], n: int, least: int, settle: int, samples: int) -> list[Rest]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(np.int8)))
    rests: list[Rest] = []
    for first, last in edges.reshape(-1, 2):
        start, end = int(first) * n, int(last) * n
        if last == len(still):
            end = samples  # the rest of the last window goes with it
        start, end = start + settle * (start > 0), end - settle * (end < samples)
        if end - start >= least:
            rests.append(Rest(start, end))
    return rests


@dataclass(frozen=True, eq=False, slots=True)
class RestMeans:
    """What the sensors said in each rest.

    Attributes:
        t_s: (k,) middle, from the log's first sample.
        seconds: (k,) length.
        gyro, accel: (k, 3) mean.
        rests: the samples.
    """

    t_s: Array
    seconds: Array
    gyro: Array
    accel: Array
    rests: Sequence[Rest]

    def __len__(self) -> int:
        return len(self.t_s)

    def where(self, kept: NDArray[np.bool_]) -> RestMeans:
        rests = [rest for rest, keep in zip(self.rests, kept, strict=True) if keep]
        return RestMeans(self.t_s[kept], self.seconds[kept], self.gyro[kept], self.accel[kept], rests)


def rest_means(log: ImuLog, rests: Sequence[Rest]) -> RestMeans:
    t_s = log.t_s
    ends = np.array([(t_s[rest.start], t_s[rest.end - 1]) for rest in rests]).reshape(-1, 2)
    gyro = np.array([log.gyro[rest.start : rest.end].mean(axis=0) for rest in rests]).reshape(-1, 3)
    accel = np.array([log.accel[rest.start : rest.end].mean(axis=0) for rest in rests]).reshape(-1, 3)
    return RestMeans(ends.mean(axis=1), ends[:, 1] - ends[:, 0], gyro, accel, rests)
