"""An inertial log: what one sensor said, with stamps, before anybody believed it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from handcap.clock import seconds
from handcap.geometry import GRAVITY_M_S2, Array
from handcap.session.reader import Session
from handcap.types import ImuModel, Stamps
from handcap.wire.handcap_pb2 import Envelope

GyroUnit = Literal["rad/s", "deg/s", "count"]
AccelUnit = Literal["m/s2", "g", "count"]
_GYRO_FACTOR: dict[GyroUnit, float] = {"rad/s": 1.0, "deg/s": float(np.pi / 180), "count": 1.0}
_ACCEL_FACTOR: dict[AccelUnit, float] = {"m/s2": 1.0, "g": GRAVITY_M_S2, "count": 1.0}


@dataclass(frozen=True, eq=False, slots=True)
class ImuLog:
    """Samples in chip axes, in the order of the file.

    Attributes:
        name: what messages call it.
        t_ns: (n,) int64 as recorded: they may jump, that is for the calibration to see.
        gyro: (n, 3) rad/s, or counts.
        accel: (n, 3) specific force, m/s², or counts.
        gyro_counts, accel_counts: whether they are counts of an unknown size.
        temperature_c: (n,) of the chip, or None.
        dropped: samples that a reader left out because their stamps ran back.
        stated: noise and rate that a rig.json claims, or None.
        rate_hz: that somebody stated, or None.
        R_imu_chip: (3, 3), for words like "on its left side"; imu axes are x forward, y left, z up.
        device: its name in the rig, or None.
        uid: of the device, or None.
        created: of the recording, ISO 8601 UTC, or None.
        inputs: SHA-256 of every file it came from, by relative path.
        home: folder where what is found in it belongs; None for a foreign log.
    """

    name: str
    t_ns: Stamps
    gyro: Array
    accel: Array
    gyro_counts: bool = False
    accel_counts: bool = False
    temperature_c: Array | None = None
    dropped: int = 0
    stated: ImuModel | None = None
    rate_hz: float | None = None
    R_imu_chip: Array = field(default_factory=lambda: np.eye(3))
    device: str | None = None
    uid: str | None = None
    created: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    home: Path | None = None

    def __post_init__(self) -> None:
        n = len(self.t_ns)
        assert self.t_ns.dtype == np.int64, self.t_ns.dtype
        assert self.gyro.shape == (n, 3) and self.accel.shape == (n, 3), (self.gyro.shape, self.accel.shape)
        assert self.temperature_c is None or self.temperature_c.shape == (n,)

    def __len__(self) -> int:
        return len(self.t_ns)

    @property
    def t_s(self) -> Array:
        """(n,) seconds after the first sample."""
        return seconds(self.t_ns, int(self.t_ns[0]))

    def between(self, start_s: float, end_s: float) -> ImuLog:
        """Seconds after the first sample, both ends included."""
        kept = (self.t_s >= start_s) & (self.t_s <= end_s)
        warmth = None if self.temperature_c is None else self.temperature_c[kept]
        return replace(self, t_ns=self.t_ns[kept], gyro=self.gyro[kept], accel=self.accel[kept], temperature_c=warmth)


def in_si(gyro: Array, accel: Array, gyro_unit: GyroUnit, accel_unit: AccelUnit) -> tuple[Array, Array]:
    """Columns of these units as `ImuLog` holds them; counts stay counts."""
    return gyro * _GYRO_FACTOR[gyro_unit], accel * _ACCEL_FACTOR[accel_unit]


def log_of_take(session: Session, take_id: str, device: str) -> ImuLog:
    """What a device recorded in a take, chip axes: neither R_imu_chip nor an earlier calibration applied.

    Raises:
        SessionError: no such take or device, or the session cannot be read.
    """
    take = session.take(take_id)
    samples = take.imu(device, as_recorded=True)
    known = session.rig.devices[device]
    return ImuLog(
        f"{session.path.name}/{take_id}/{device}",
        samples.t_ns,
        samples.gyro_imu,
        samples.accel_imu,
        temperature_c=_temperature(take.wire(device), len(samples)),
        dropped=take.imu_dropped(device),
        stated=known.imu,
        R_imu_chip=known.R_imu_chip,
        device=device,
        uid=known.uid,
        created=session.meta.created,
        inputs=take.raw_sha256(),
        home=session.derived(take_id, "calibrate"),
    )


def _temperature(messages: Iterable[tuple[int, Envelope]], n: int) -> Array | None:
    """(n,) °C by sample; None unless every one of the n samples came with one."""
    batches = [envelope.imu_batch for _, envelope in messages if envelope.HasField("imu_batch")]
    each = [np.full(len(batch.gyro_counts) // 3, batch.temperature_c) for batch in batches]
    known = np.concatenate([*each, np.empty(0)])
    return known if len(known) == n and np.all(np.isfinite(known)) and n else None
