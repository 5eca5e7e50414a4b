"""Is an inertial recording what it says: units, columns, one stream? Judged by gravity, which every take contains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handcap.causes import Cause
from handcap.clock import NS_PER_S, seconds
from handcap.errors import FormatError
from handcap.formats.findings import Finding
from handcap.formats.rows import Rows
from handcap.geometry import GRAVITY_M_S2, Array, skew

_GRAVITY_RANGE = (6.0, 15.0)  # median |a| of people and drones at work stays inside
_FASTEST_RAD_S = 70.0  # the widest range sold is 4000 deg/s
_FASTEST_MEDIAN_RAD_S = 10.0  # nobody turns at 570 deg/s for half of a take
_WINDOW_S = 2.0  # long enough that steps and sways average out of the accelerometer
_STREAM_SIGMAS = 8.0
_BLOCKS = 8


def require_plausible(rows: Rows, where: str) -> None:
    """Refuse wrong units and swapped columns.

    Args:
        rows: values (n, 6): gyroscope, which should be rad/s, then accelerometer, which should be m/s².
        where: how messages call the file.
    """
    gyro, accel = rows.values[:, :3], rows.values[:, 3:]
    turn = float(np.median(np.linalg.norm(gyro, axis=1)))
    force = float(np.median(np.linalg.norm(accel, axis=1)))
    if force < _GRAVITY_RANGE[0] and 8.0 < turn < 12.0:
        raise FormatError(
            f"the gyroscope columns hold gravity (length {turn:.3g}), the accelerometer columns do not ({force:.3g})",
            where=where,
            mend="swap the columns: stamp, gyroscope x y z in rad/s, accelerometer x y z in m/s²",
        )
    if force < 0.5:
        raise FormatError(
            f"the accelerometer averages {force:.3g} m/s²: gravity was taken out of it, or it is not connected",
            where=where,
            mend="export the raw accelerometer, not the linear acceleration",
        )
    if not _GRAVITY_RANGE[0] <= force <= _GRAVITY_RANGE[1]:
        raise _refused(Cause("accel_unit", measured=force, limit=GRAVITY_M_S2), where)
    factor = gyro_factor(rows.stamp, gyro, accel)
    if factor is not None and factor > 10:
        raise FormatError(
            f"the gyroscope turns {factor:.3g} times faster than gravity turns in the accelerometer: "
            "its unit is wrong (degrees instead of radians give 57.3)",
            where=where,
            mend=Cause("gyro_unit", measured=factor).mend(),
        )
    fast = float(np.percentile(np.linalg.norm(gyro, axis=1), 95))
    if fast > _FASTEST_RAD_S or turn > _FASTEST_MEDIAN_RAD_S:
        raise FormatError(
            f"the gyroscope reads {turn:.3g} rad/s half of the time and {fast:.3g} at times: its unit is wrong "
            "(degrees instead of radians?)",
            where=where,
            mend=Cause("gyro_unit", measured=57.3).mend(),
        )


def _refused(cause: Cause, where: str) -> FormatError:
    return FormatError(cause.text(), where=where, mend=cause.mend())


def gyro_factor(t_ns: NDArray[np.int64], gyro: Array, accel: Array) -> float | None:
    """How many times the gyroscope exceeds rad/s, judged by how gravity turns in the accelerometer.

    Gravity's direction u in body axes obeys du/dt = -(gyro - bias) x u. Over windows its change is regressed on the
    integral of -gyro x u, with the bias as a second unknown.

    Args:
        t_ns: (n,).
        gyro: (n, 3) in the unit to be judged.
        accel: (n, 3), any unit.

    Returns:
        1 for rad/s, 57.3 for deg/s; None when the take does not tilt enough to know.
    """
    t = seconds(t_ns, int(t_ns[0]))
    if t[-1] < 3 * _WINDOW_S:
        return None
    dt = np.clip(np.gradient(t), 0, 0.1)
    up = _smooth(accel, max(1, round(0.5 / np.median(np.diff(t)))))
    up = up / np.maximum(np.linalg.norm(up, axis=1, keepdims=True), 1e-9)
    turned = _integral(np.einsum("nij,nj->ni", skew(up), gyro) * dt[:, None])  # -gyro x up
    leaned = _integral(up * dt[:, None])
    starts = np.arange(t[0] + 0.5, t[-1] - _WINDOW_S - 0.5, _WINDOW_S / 2)
    i, j = np.searchsorted(t, starts), np.searchsorted(t, starts + _WINDOW_S)
    change, x, lean = up[j] - up[i], turned[j] - turned[i], leaned[j] - leaned[i]
    # bias x u, integrated over the window, is -skew(lean) @ bias
    A = np.concatenate([x[:, :, None], -skew(lean)], axis=2).reshape(-1, 4)
    if A.shape[0] < 12 or np.linalg.matrix_rank(A) < A.shape[1]:
        return None
    b = change.ravel()
    solution, weight, sigma = _robust_fit(A, b)
    covariance = np.linalg.inv(A.T @ (A * weight[:, None])) * sigma**2 * 2  # windows overlap by half
    scale, scale_sigma = float(solution[0]), float(np.sqrt(covariance[0, 0]))
    return 1 / scale if scale > 6 * scale_sigma else None


def _robust_fit(A: Array, b: Array) -> tuple[Array, Array, float]:
    """Solution, weights and scatter of a least-squares fit with Huber weights: knocks and steps are outliers."""
    weight, sigma = np.ones(len(b)), 1.0
    solution = np.zeros(A.shape[1])
    for _ in range(5):
        W = np.sqrt(weight)
        solution = np.linalg.lstsq(A * W[:, None], b * W, rcond=None)[0]
        residual = np.abs(b - A @ solution)
        sigma = max(1.4826 * float(np.median(residual)), 1e-6)
        weight = np.minimum(1.0, 1.5 * sigma / np.maximum(residual, 1e-12))
    return np.asarray(solution, float), np.asarray(weight, float), sigma


def _smooth(x: Array, n: int) -> Array:
    """Mean over n samples, centred; the ends over fewer."""
    total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])
    i = np.clip(np.arange(len(x)) - n // 2, 0, len(x))
    j = np.clip(np.arange(len(x)) + n - n // 2, 0, len(x))
    return (total[j] - total[i]) / (j - i)[:, None]


def _integral(x: Array) -> Array:
    return np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])[:-1]


def one_stream(rows: Rows, stated_hz: float | None, where: str) -> tuple[Rows, list[Finding]]:
    """Refuse two sensors merged into one file; drop a stream that only repeats the other.

    Args:
        rows: in time order, stamps unique, values (n, 6).
        stated_hz: what sensor.yaml says.
        where: how messages call the file.
    """
    if len(rows) < 40:
        return rows, []
    twice = stated_hz is not None and (len(rows) - 1) * NS_PER_S / (rows.stamp[-1] - rows.stamp[0]) > 1.3 * stated_hz
    if twice:
        repeat = np.concatenate([[False], np.all(rows.values[1:] == rows.values[:-1], axis=1)])
        if repeat.mean() > 0.3:
            shown = tuple(int(line) for line in rows.line[repeat][:5])
            return rows.take(~repeat), [Finding("repeated_rows", where, int(repeat.sum()), shown)]
    splits = [np.arange(len(rows)) % 2 == 0]
    if twice and stated_hz is not None:
        splits.append(_every_period(rows.stamp, NS_PER_S / stated_hz))
    for first in splits:
        difference = _difference(rows, first)
        if difference is None:
            continue
        i, j = int(np.flatnonzero(first)[0]), int(np.flatnonzero(~first)[0])
        raise FormatError(
            f"two streams in one file: rows of one and of the other differ by {difference:.3g} on average, "
            f"the first in lines {rows.line[i]} and {rows.line[j]}",
            where=where,
            mend="export each sensor to a file of its own",
        )
    return rows, []


def _every_period(stamp: NDArray[np.int64], period: float) -> NDArray[np.bool_]:
    """The rows that tick at `period` from the first row on; the others belong to somebody else."""
    mine = np.zeros(len(stamp), bool)
    i = 0
    while i < len(stamp):
        mine[i] = True
        goal = stamp[i] + period
        j = int(np.searchsorted(stamp, goal))
        nearest: Sequence[int] = [k for k in (j - 1, j) if i < k < len(stamp)]
        if not nearest:
            break
        i = min(nearest, key=lambda k: abs(float(stamp[k]) - goal))
    return mine


def _difference(rows: Rows, first: NDArray[np.bool_]) -> float | None:
    """Mean difference on the axis where two interleaved streams differ most surely; None when they look like one.

    Motion and vibration average out; the biases of two sensors do not, and keep their sign in every part of the take.
    """
    if first.sum() < 20 or (~first).sum() < 20:
        return None
    t = seconds(rows.stamp, int(rows.stamp[0]))
    inside = ~first & (t > t[first][0]) & (t < t[first][-1])
    between = np.stack([np.interp(t[inside], t[first], rows.values[first, axis]) for axis in range(6)], axis=1)
    d = rows.values[inside] - between
    if len(d) < 2 * _BLOCKS:
        return None
    means = np.array([block.mean(axis=0) for block in np.array_split(d, _BLOCKS)])
    mean = d.mean(axis=0)
    # The scatter of the blocks, not of the samples: vibration is correlated from sample to sample.
    error = np.maximum(means.std(axis=0, ddof=1) / np.sqrt(_BLOCKS), 1e-9)
    floor = np.array([1e-3] * 3 + [1e-2] * 3)  # rad/s, m/s²: below, two streams would do no harm
    sure = (np.abs(mean) > _STREAM_SIGMAS * error) & (np.abs(mean) > floor) & np.all(means * mean > 0, axis=0)
    if not sure.any():
        return None
    return float(mean[np.argmax(np.where(sure, np.abs(mean) / error, 0))])
