"""What a board's sensors are to feel: a file that an emulated board plays to its IMU, encoder and button."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from handcap.clock import NS_PER_S
from handcap.encoder import COUNTS_PER_TURN
from handcap.geometry import Array
from handcap.session import Take

_FORMAT = "handcap felt 1"


@dataclass(frozen=True, eq=False, slots=True)
class Felt:
    """Times are seconds since the first of all.

    Attributes:
        imu_t_s: (n,) strictly increasing, n > 0.
        gyro_chip, accel_chip: (n, 3) rad/s and m/s², chip axes.
        jaw_t_s: (m,) strictly increasing; none without an encoder.
        jaw_rad: (m,) angle of the encoder's magnet, not wrapped.
        button: when it was pressed (True) and released.
    """

    imu_t_s: Array
    gyro_chip: Array
    accel_chip: Array
    jaw_t_s: Array = field(default_factory=lambda: np.empty(0))
    jaw_rad: Array = field(default_factory=lambda: np.empty(0))
    button: Sequence[tuple[float, bool]] = ()

    def __post_init__(self) -> None:
        n = len(self.imu_t_s)
        assert n > 0 and self.gyro_chip.shape == self.accel_chip.shape == (n, 3)
        assert self.jaw_t_s.shape == self.jaw_rad.shape
        assert np.all(np.diff(self.imu_t_s) > 0) and np.all(np.diff(self.jaw_t_s) > 0), "times must increase"

    @classmethod
    def of_take(cls, take: Take, device: str) -> Felt:
        """As one device felt a take, from the take's first inertial sample of that device on."""
        imu = take.imu(device, as_recorded=True)
        jaw = take.jaw(device)
        # The middle of the step that a reading stands for; the linkage never turns by half a turn between two.
        turned = np.asarray(np.unwrap((jaw.counts + 0.5) * (2 * np.pi / COUNTS_PER_TURN)), np.float64)
        start_ns = imu.t_ns[0]
        return cls(
            (imu.t_ns - start_ns) / NS_PER_S,
            imu.gyro_imu,
            imu.accel_imu,
            (jaw.t_ns - start_ns) / NS_PER_S,
            turned,
        )

    def write(self, path: Path) -> None:
        """For firmware/emulation/world.mjs: a line of JSON, then little-endian doubles row by row."""
        button = [[t_s, down] for t_s, down in self.button]
        header = {"format": _FORMAT, "imu": len(self.imu_t_s), "jaw": len(self.jaw_t_s), "button": button}
        imu = np.column_stack([self.imu_t_s, self.gyro_chip, self.accel_chip])
        jaw = np.column_stack([self.jaw_t_s, self.jaw_rad])
        with path.open("wb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            file.write(imu.astype("<f8").tobytes())
            file.write(jaw.astype("<f8").tobytes())
