"""Inertial messages, from the wire or SI, become samples in imu axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S, nanoseconds
from handcap.geometry import Array
from handcap.session.journal import ClockFit
from handcap.types import ImuCalibration, ImuSamples, Stamps
from handcap.wire.handcap_pb2 import Envelope, ImuSI

# Beyond any sensor's range, even of one read in deg/s or mg for rad/s or m/s²: a number that is no measurement.
_MOST_RAD_S, _MOST_M_S2 = 5e3, 2e4
# Beyond the range of any worn sensor (4000 °/s, 32 g): once in a while, a word misread on the bus; often, a unit.
_RANGE_RAD_S, _RANGE_M_S2 = 100.0, 400.0
_RARE, _TELLING = 0.01, 20  # share of samples; how many tell once in a while from often
_ALONE_RAD_S = 15.0  # by which no hand turns faster in one sample than just before and after


class ImuReader:
    """Collects messages of one device until asked for the samples.

    Args:
        R_imu_chip: (3, 3).
        clock_fits: of the device, by time; needed for samples of a board only.
        calibration: taken off in chip axes, before R_imu_chip: it belongs to the chip, wherever that is soldered.
        stamps: to be read instead of those of ready samples, in the order of recording.

    Attributes:
        dropped: samples left out because their stamps repeat or run back, or their numbers are none, or are spikes.
    """

    def __init__(
        self,
        R_imu_chip: Array,
        clock_fits: Sequence[ClockFit] = (),
        calibration: ImuCalibration | None = None,
        stamps: Stamps | None = None,
    ) -> None:
        self._clock_fits = clock_fits
        self._stamps = stamps
        self._said = 0
        self._calibration = calibration
        self._R = None if np.array_equal(R_imu_chip, np.eye(3)) else R_imu_chip  # unturned numbers keep their bits
        self._parts: list[tuple[Stamps, Array, Array]] = []
        self._count = 0
        self._last_ns = np.int64(-1)
        self.dropped = 0

    def __len__(self) -> int:
        return self._count

    def add(self, kind: str, data: memoryview) -> None:
        """One message of topic kind "imu" (ImuSI) or "wire" (Envelope).

        Raises:
            ValueError: the numbers do not come in threes, one per stamp.
            DecodeError: not such a message.
        """
        if kind == "imu":
            t_ns, gyro, accel = _si_samples(ImuSI.FromString(bytes(data)))
        else:
            envelope = Envelope.FromString(bytes(data))
            t_ns, gyro, accel = _wire_samples(envelope)
            if len(t_ns):
                t_ns = to_session_clock(t_ns, of_boot(self._clock_fits, envelope.boot_id))
        if gyro.size != 3 * len(t_ns) or accel.size != 3 * len(t_ns):
            raise ValueError(f"{len(t_ns)} stamps with {gyro.size} and {accel.size} numbers")
        if not len(t_ns):
            return
        if kind == "imu" and self._stamps is not None:
            t_ns = self._stamps[self._said : self._said + len(t_ns)]
            self._said += len(t_ns)
        before = np.maximum.accumulate(np.concatenate([[self._last_ns], t_ns]))[:-1]
        keep = (t_ns > before) & _possible(gyro, _MOST_RAD_S) & _possible(accel, _MOST_M_S2)
        if not keep.all():
            self.dropped += int(np.count_nonzero(~keep))
            if not keep.any():
                return
        self._last_ns = t_ns[keep][-1]
        self._parts.append((t_ns[keep], gyro.reshape(-1, 3)[keep], accel.reshape(-1, 3)[keep]))
        self._count += int(np.count_nonzero(keep))

    def pop(self) -> ImuSamples:
        """The samples collected so far."""
        t_ns, gyro, accel = (np.concatenate(columns) for columns in zip(*self._parts, strict=True))
        self._parts, self._count = [], 0
        spike = _misread(gyro, accel)
        if 0 < np.count_nonzero(spike) <= max(2, _RARE * len(t_ns)) and len(t_ns) >= _TELLING:
            self.dropped += int(np.count_nonzero(spike))
            t_ns, gyro, accel = t_ns[~spike], gyro[~spike], accel[~spike]
        if self._calibration is not None:
            gyro, accel = self._calibration.corrected(gyro, accel)
        if self._R is not None:
            gyro, accel = gyro @ self._R.T, accel @ self._R.T
        return ImuSamples(t_ns, gyro, accel)


def _misread(gyro: Array, accel: Array) -> NDArray[np.bool_]:
    """(n,) samples that no worn sensor feels, by their size, or by a turn that the next sample has forgotten."""
    out = np.asarray((np.abs(gyro) > _RANGE_RAD_S).any(axis=1) | (np.abs(accel) > _RANGE_M_S2).any(axis=1), bool)
    step = np.diff(gyro, axis=0)
    there, back = step[:-1], step[1:]
    out[1:-1] |= ((np.minimum(np.abs(there), np.abs(back)) > _ALONE_RAD_S) & (there * back < 0)).any(axis=1)
    return out


def of_boot(fits: Sequence[ClockFit], boot_id: int) -> list[ClockFit]:
    """Those that hold for one boot of a board."""
    return [fit for fit in fits if fit.boot_id in (None, boot_id)]


def to_session_clock(t_device_ns: Stamps, fits: Sequence[ClockFit]) -> Stamps:
    """Stamps of a board's clock on the session clock: `dt_session_device` between two fits by straight line.

    Raises:
        ValueError: there is no fit, so nobody knows when the samples were taken.
    """
    if not fits:
        raise ValueError("no fit ties the board's clock to the session's")
    first, last = fits[0], fits[-1]
    at_ns = np.array([f.t_ns for f in fits], np.int64) - nanoseconds([f.dt_session_device_s for f in fits])
    dt_s = np.interp(t_device_ns, at_ns, [f.dt_session_device_s for f in fits])
    dt_s += first.skew * np.minimum(t_device_ns - at_ns[0], 0) / NS_PER_S
    dt_s += last.skew * np.maximum(t_device_ns - at_ns[-1], 0) / NS_PER_S
    return t_device_ns + nanoseconds(dt_s)


def _possible(values: Array, most: float) -> NDArray[np.bool_]:
    """(n,) whether samples (3 n,) hold numbers that a sensor can have measured."""
    return np.asarray((np.abs(values.reshape(-1, 3)) < most).all(axis=1), bool)


def together(messages: Iterable[ImuSI]) -> tuple[Stamps, Array]:
    """(n,) stamps and (n, 6) numbers of all ready samples, in the order of recording; malformed messages are left out.

    They are what an `ImuReader` given `stamps` counts.
    """
    good = [each for each in map(_si_samples, messages) if each[1].size == each[2].size == 3 * len(each[0])]
    t_ns = np.concatenate([np.empty(0, np.int64), *(each[0] for each in good)])
    gyro, accel = (np.concatenate([np.empty(0), *(each[k] for each in good)]).reshape(-1, 3) for k in (1, 2))
    return t_ns, np.asarray(np.c_[gyro, accel], float)


def _si_samples(message: ImuSI) -> tuple[Stamps, Array, Array]:
    return np.array(message.t_ns, np.int64), np.array(message.gyro_rad_s, float), np.array(message.accel_m_s2, float)


def _wire_samples(envelope: Envelope) -> tuple[Stamps, Array, Array]:
    """Raw counts of an Envelope in SI; nothing if it carries another body."""
    if envelope.WhichOneof("body") != "imu_batch":
        return np.empty(0, np.int64), np.empty(0), np.empty(0)
    batch = envelope.imu_batch
    n = len(batch.gyro_counts) // 3
    if batch.first_sample_t_ns + n * batch.period_ns > 10**9 * NS_PER_S:
        raise ValueError("a stamp beyond any board's clock")
    t_ns = np.int64(batch.first_sample_t_ns) + np.arange(n, dtype=np.int64) * batch.period_ns
    gyro = np.array(batch.gyro_counts, float) * batch.gyro_scale
    return t_ns, gyro, np.array(batch.accel_counts, float) * batch.accel_scale
