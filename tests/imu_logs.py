"""Inertial logs of a virtual part, good and spoiled, for tests of its calibration."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from handcap.calibrate.imu import ImuLog
from handcap.clock import nanoseconds
from handcap.geometry import GRAVITY_M_S2, Array
from handcap.sim import imu
from handcap.sim.turned import record_poses
from handcap.types import ImuModel

MODEL = ImuModel(100.0, 2e-4, 1.5e-3, 2e-5, 5e-4)


def noise(rng: np.random.Generator, n: int, density: float, walk: float, rate_hz: float = MODEL.rate_hz) -> Array:
    """(n,) white noise plus random walk."""
    dt = 1 / rate_hz
    return rng.standard_normal(n) * density / np.sqrt(dt) + np.cumsum(rng.standard_normal(n)) * walk * np.sqrt(dt)


@cache
def still_log(seconds: float = 120.0, seed: int = 0) -> ImuLog:
    """A part that lies a little askew on a table."""
    rng, n = np.random.default_rng([seed, 7]), int(seconds * MODEL.rate_hz)
    gyro = np.stack([noise(rng, n, 2e-4, 2e-5) for _ in range(3)], axis=1) + [0.004, -0.002, 0.003]
    accel = np.stack([noise(rng, n, 1.5e-3, 5e-4) for _ in range(3)], axis=1)
    accel += GRAVITY_M_S2 * np.array([0.02, -0.03, 0.9994])
    return ImuLog("still", nanoseconds(np.arange(n) / MODEL.rate_hz), gyro, accel)


@cache
def poses_recording(seed: int = 0, askew: int = 8) -> imu.ImuRecording:
    return record_poses(seed, MODEL, askew=askew)


def poses_log(seed: int = 0, askew: int = 8) -> ImuLog:
    """An uncalibrated part, laid down on its faces and askew."""
    samples = poses_recording(seed, askew).samples
    return ImuLog("poses", samples.t_ns, samples.gyro_imu, samples.accel_imu)


def with_columns(log: ImuLog, gyro: Array | None = None, accel: Array | None = None) -> ImuLog:
    return replace(log, gyro=log.gyro if gyro is None else gyro, accel=log.accel if accel is None else accel)
