"""What an inertial sensor shows while it lies still: bias, noise, gravity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.clock import nanoseconds, seconds
from handcap.geometry import Array
from handcap.types import ImuSamples


@dataclass(frozen=True, slots=True)
class RestParams:
    """What counts as lying still."""

    step_s: float = 0.25
    wander_rad_s: float = 0.01  # of the mean rate from step to step: a hand trembles by more, a bench by far less
    wander_m_s2: float = 0.15
    shortest_s: float = 1.5  # shorter, noise is known no better than to a tenth
    settle_s: float = 0.1  # at either end


@dataclass(frozen=True, eq=False, slots=True)
class Rest:
    """One device, lying still.

    Attributes:
        start_ns, end_ns: session clock.
        gyro_bias: (3,) rad/s.
        gravity_m_s2: length of the mean specific force.
        gyro_density, accel_density: rad/s/√Hz, m/s²/√Hz; white noise, by differences from sample to sample.
        samples: it rests on.
    """

    start_ns: int
    end_ns: int
    gyro_bias: Array
    gravity_m_s2: float
    gyro_density: float
    accel_density: float
    samples: int


def longest_rest(imu: ImuSamples, params: RestParams | None = None) -> Rest | None:
    """The longest stretch without motion; None where there is none."""
    params = params or RestParams()
    if len(imu) < 10:
        return None
    step = np.asarray((imu.t_ns - imu.t_ns[0]) // int(nanoseconds(params.step_s)), np.int64)
    edges = np.searchsorted(step, np.arange(step[-1] + 2))
    full = [(i, j) for i, j in zip(edges[:-1], edges[1:], strict=True) if j - i >= 4]
    gyro = np.array([imu.gyro_imu[i:j].mean(axis=0) for i, j in full])
    accel = np.array([imu.accel_imu[i:j].mean(axis=0) for i, j in full])
    best: tuple[int, int] | None = None
    begin = 0
    for k in range(len(full)):
        while begin < k and (
            np.ptp(gyro[begin : k + 1], axis=0).max() > params.wander_rad_s
            or np.ptp(accel[begin : k + 1], axis=0).max() > params.wander_m_s2
        ):
            begin += 1
        if best is None or k - begin > best[1] - best[0]:
            best = begin, k
    if best is None:
        return None
    start, end = int(imu.t_ns[full[best[0]][0]]), int(imu.t_ns[full[best[1]][1] - 1])
    settle = int(nanoseconds(params.settle_s))
    some = imu.between(start + settle, end - settle)
    if len(some) < 10 or seconds(end - start) < params.shortest_s:
        return None
    rate_hz = (len(some) - 1) / float(seconds(some.t_ns[-1] - some.t_ns[0]))
    return Rest(
        start_ns=int(some.t_ns[0]),
        end_ns=int(some.t_ns[-1]),
        gyro_bias=some.gyro_imu.mean(axis=0),
        gravity_m_s2=float(np.linalg.norm(some.accel_imu.mean(axis=0))),
        gyro_density=_density(some.gyro_imu, rate_hz),
        accel_density=_density(some.accel_imu, rate_hz),
        samples=len(some),
    )


def _density(values: Array, rate_hz: float) -> float:
    """White noise per √Hz: differences from sample to sample know nothing of slow wandering."""
    return float(np.sqrt(np.mean(np.diff(values, axis=0) ** 2) / 2 / rate_hz))
