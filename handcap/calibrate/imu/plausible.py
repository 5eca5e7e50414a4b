"""Is a log what it says: units, columns, a sensor that works?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handcap.calibrate.imu.log import ImuLog
from handcap.causes import Cause
from handcap.geometry import GRAVITY_M_S2, Array


@dataclass(frozen=True, slots=True)
class PlausibleParams:
    """What no working sensor shows.

    Attributes:
        gravity_m_s2: lengths of the median force that a poor part may show at rest; 80 mg of bias on each axis.
        g: the same in units of g.
        milli_g: the same in thousandths of it.
        counts: whole numbers that average more than this are counts.
        repeats: share of rows equal to the one before, in all six numbers; noise prevents more.
        clipped_run: samples in a row at the same end of an axis that are no chance.
        clipped_count: samples there in all.
        clipped_far: noise steps that this end must be away from the middle: a still converter has few values.
    """

    gravity_m_s2: tuple[float, float] = (8.0, 11.6)
    g: tuple[float, float] = (0.8, 1.2)
    milli_g: tuple[float, float] = (800.0, 1200.0)
    counts: float = 50.0
    repeats: float = 0.3
    clipped_run: int = 4
    clipped_count: int = 8
    clipped_far: float = 30.0


def implausible(log: ImuLog, rate_hz: float, params: PlausibleParams) -> Sequence[Cause]:
    """Why a log of at least 100 samples cannot be used at all; empty when nothing speaks against it."""
    for values in (log.gyro, log.accel):
        stuck = np.flatnonzero(np.ptp(values, axis=0) == 0)
        if len(stuck):
            return [Cause("log_frozen", "gyro" if values is log.gyro else "accel", measured=float(len(stuck)))]
        for i, j in ((0, 1), (0, 2), (1, 2)):
            if np.array_equal(values[:, i], values[:, j]) or np.array_equal(values[:, i], -values[:, j]):
                return [Cause("log_twin_axes", "gyro" if values is log.gyro else "accel")]
    rows = np.concatenate([log.gyro, log.accel], axis=1)
    same = float(np.mean(np.all(rows[1:] == rows[:-1], axis=1)))
    if same > params.repeats:
        return [Cause("log_repeats", measured=1 / max(1 - same, 1e-9), limit=rate_hz * (1 - same))]
    units = _units(log, params)
    if units:
        return units
    for name, values in (("gyro", log.gyro), ("accel", log.accel)):
        clipped = _clipped(values, params)
        if clipped:
            return [Cause("log_saturated", name, measured=clipped / rate_hz)]
    return []


def mean_removed(log: ImuLog) -> bool:
    """Whether somebody subtracted the accelerometer's own mean: no sensor averages nothing on each axis."""
    scatter = float(np.linalg.norm(log.accel.std(axis=0)))
    return not log.accel_counts and float(np.linalg.norm(log.accel.mean(axis=0))) < 1e-6 * scatter


def _units(log: ImuLog, params: PlausibleParams) -> list[Cause]:
    turn = float(np.median(np.linalg.norm(log.gyro, axis=1)))
    force = float(np.median(np.linalg.norm(log.accel, axis=1)))
    causes: list[Cause] = []
    if not log.accel_counts:
        low, high = params.gravity_m_s2
        if force < low and low < turn < high and not log.gyro_counts:
            return [Cause("log_swapped", measured=turn, limit=force)]
        if params.g[0] < force < params.g[1]:
            causes.append(Cause("log_accel_g", measured=force))
        elif params.milli_g[0] < force < params.milli_g[1]:
            causes.append(Cause("log_accel_unit", measured=force, limit=GRAVITY_M_S2))
        elif force > params.counts and _whole(log.accel):
            causes.append(Cause("log_counts", "accel", measured=force))
        elif force < params.g[0] and not mean_removed(log):
            causes.append(Cause("log_no_gravity", measured=force))
        elif not low < force < high and not mean_removed(log):
            causes.append(Cause("log_accel_unit", measured=force, limit=GRAVITY_M_S2))
    if not log.gyro_counts and _whole(log.gyro) and float(np.abs(log.gyro).max()) > 1:
        causes.append(Cause("log_counts", "gyro", measured=turn))
    return causes


def _whole(values: Array) -> bool:
    return bool(np.all(values == np.rint(values)))


def _clipped(values: Array, params: PlausibleParams) -> int:
    """Samples at the end of the range of an axis (n, 3)."""
    total = 0
    for column in values.T:
        step = np.abs(np.diff(column))
        noise = max(float(np.median(step)), float(step[step > 0].min(initial=np.inf)))
        middle = float(np.median(column))
        for end in (float(column.max()), float(column.min())):
            there = column == end
            count = int(there.sum())
            # A sensor that lies at the end of its range all the time has it for a median.
            always = count > 0.3 * len(column) and len(np.unique(column[:10_000])) > 50
            far = abs(end - middle) > params.clipped_far * noise
            if always or (far and count >= params.clipped_count and _longest_run(there) >= params.clipped_run):
                total += count
    return total


def _longest_run(true: Array) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], true, [False]]).astype(np.int8)))
    return int(np.max(edges[1::2] - edges[::2], initial=0))
