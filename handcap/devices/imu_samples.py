"""Batches of raw counts become samples with a time each, on the board's clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.devices.inbox import Message
from handcap.geometry import Array
from handcap.types import Stamps

_NO_DATA = -32768  # ICM-42688-P datasheet, FIFO: in each axis of a sample that was not ready
_LATEST_NS = 1 << 60


@dataclass(frozen=True, eq=False, slots=True)
class BoardSamples:
    """Inertial samples as a board sent them.

    Attributes:
        t_board_ns: (n,) board clock, strictly increasing within an epoch.
        gyro_chip: (n, 3) rad/s, chip axes.
        accel_chip: (n, 3) specific force, m/s², chip axes.
        epoch: of the board; stamps of different ones have nothing to do with each other.
    """

    t_board_ns: Stamps
    gyro_chip: Array
    accel_chip: Array
    epoch: int


class SampleClock:
    """When each sample was taken.

    The sensor ticks evenly, the data-ready interrupt is now and then served late. So first stamps of batches steer a
    clock of the sensor's own, whose phase and period follow them slowly.

    Attributes:
        period_ns: between two samples, as smoothed.
        missing: samples that the stamps say were taken and did not come.
        restarts: times the stamps did not go on where they had stopped.
    """

    # A straight line through all batches at first, then with the gains that a line through so many has: two seconds
    # of batches of 20 at 1 kHz, in which a late interrupt of 50 us shifts samples by 2 us.
    _REMEMBERED = 100

    def __init__(self) -> None:
        self.period_ns = 0.0
        self.missing = 0
        self.restarts = 0
        self._base_ns = 0  # integers for the sum, floats for the small rest
        self._rest_ns = 0.0
        self._batches = 0

    def stamps(self, first_ns: int, period_ns: int, n: int) -> Stamps:
        """(n,) stamps of a batch whose first sample's interrupt came at `first_ns`."""
        late_ns = (first_ns - self._base_ns) - self._rest_ns
        if self._batches == 0:
            self._begin(first_ns, period_ns)
        elif abs(late_ns) > self.period_ns / 2:
            self.restarts += 1
            self.missing += max(round(late_ns / self.period_ns), 0)
            self._begin(first_ns, period_ns)
        else:
            self._batches += 1
            k = min(self._batches, self._REMEMBERED)
            # Gains of the expanding-memory filter of first order (Brookner, Tracking and Kalman Filtering, 1998).
            self._rest_ns += 2 * (2 * k - 1) / (k * (k + 1)) * late_ns
            self.period_ns += 6 / (k * (k + 1)) * late_ns / n
        told = self._base_ns + np.rint(self._rest_ns + self.period_ns * np.arange(n)).astype(np.int64)
        whole = int(self._rest_ns + self.period_ns * n)
        self._base_ns += whole
        self._rest_ns += self.period_ns * n - whole
        return told

    def _begin(self, first_ns: int, period_ns: int) -> None:
        self.period_ns = float(max(period_ns, 1))
        self._base_ns, self._rest_ns, self._batches = first_ns, 0.0, 1


class ImuUnpacker:
    """Takes one board's messages in order, gives samples.

    Attributes:
        clock: of the sensor, in the present epoch.
        missing: samples that were taken and did not come, over all epochs.
        malformed: batches whose numbers do not belong together.
        no_data: samples that the chip itself marked as none.
    """

    def __init__(self) -> None:
        self.clock = SampleClock()
        self.malformed = 0
        self.no_data = 0
        self._missing_before = 0
        self._epoch = 0

    @property
    def missing(self) -> int:
        return self._missing_before + self.clock.missing

    def add(self, message: Message) -> BoardSamples | None:
        """The samples of a message; None where it carries none."""
        if message.body != "imu_batch":
            return None
        batch = message.envelope.imu_batch
        n = len(batch.gyro_counts) // 3
        lengths = {len(batch.gyro_counts), len(batch.accel_counts)}
        if n == 0 or lengths != {3 * n} or batch.first_sample_t_ns + n * batch.period_ns > _LATEST_NS:
            self.malformed += 1
            return None
        if message.epoch != self._epoch:
            self._missing_before, self._epoch, self.clock = self.missing, message.epoch, SampleClock()
        t_ns = self.clock.stamps(batch.first_sample_t_ns, batch.period_ns, n)
        gyro: NDArray[np.int64] = np.array(batch.gyro_counts, np.int64).reshape(n, 3)
        accel: NDArray[np.int64] = np.array(batch.accel_counts, np.int64).reshape(n, 3)
        there = ~(np.all(gyro == _NO_DATA, axis=1) & np.all(accel == _NO_DATA, axis=1))
        self.no_data += int(n - np.count_nonzero(there))
        gyro_chip = gyro[there].astype(np.float64) * batch.gyro_scale
        accel_chip = accel[there].astype(np.float64) * batch.accel_scale
        return BoardSamples(t_ns[there], gyro_chip, accel_chip, message.epoch)
