"""The angle encoder that a gripper's jaw turns, and what its board sends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.geometry import Array
from handcap.wire.handcap_pb2 import Encoder, Envelope

COUNTS_PER_TURN = 4096  # 12 bits
_BATCH = 10  # samples in one message
Counts = NDArray[np.int64]
_TURN_RAD = 2 * np.pi


@dataclass(frozen=True, slots=True)
class JawEncoder:
    """One gripper's encoder: a magnet on the jaw's pinion above an AS5600.

    The defaults are the nominal part. Its noise: 0.015° rms with the slow filter at 16×, 0.043° at 2× (AS5600
    datasheet, v1-06), which also allows ±1° of non-linearity for a magnet within 0.25 mm of the axis.

    Attributes:
        metres_per_rad: jaw opening per angle of the pinion; negative when opening turns it backwards.
        zero_rad: angle with the jaw shut.
        eccentricity_rad: amplitude of the error that a magnet off its axis adds once per turn.
        eccentricity_phase_rad: angle at which that error is zero and growing.
        noise_rad: standard deviation of a reading.
    """

    metres_per_rad: float = 0.020
    zero_rad: float = 0.6
    eccentricity_rad: float = 0.0
    eccentricity_phase_rad: float = 0.0
    noise_rad: float = 0.0

    def __post_init__(self) -> None:
        assert self.metres_per_rad != 0
        assert abs(self.eccentricity_rad) < 1, "an error that large has no inverse"

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> JawEncoder:
        """One specimen: printed linkage ±1 %, magnet glued on at any angle and a little off axis."""
        nominal = cls()
        return cls(
            metres_per_rad=nominal.metres_per_rad * (1 + 0.01 * float(rng.standard_normal())),
            zero_rad=float(rng.uniform(0, _TURN_RAD)),
            eccentricity_rad=abs(float(rng.normal(0, np.deg2rad(0.4)))),
            eccentricity_phase_rad=float(rng.uniform(0, _TURN_RAD)),
            noise_rad=float(np.deg2rad(0.043)),
        )

    def counts(self, opening_m: ArrayLike, rng: np.random.Generator) -> Counts:
        """Raw readings (n,), 0 .. 4095, wrapped, for jaw openings (n,)."""
        true_rad = self.zero_rad + np.asarray(opening_m, float) / self.metres_per_rad
        read_rad = true_rad + self.eccentricity_rad * np.sin(true_rad - self.eccentricity_phase_rad)
        read_rad = read_rad + self.noise_rad * rng.standard_normal(read_rad.shape)
        return np.floor(read_rad * (COUNTS_PER_TURN / _TURN_RAD)).astype(np.int64) % COUNTS_PER_TURN

    def opening_m(self, counts: ArrayLike) -> Array:
        """Jaw openings (n,) from readings (n,); from a tenth of a turn below shut to nine tenths above it."""
        # The middle of the step that the reading stands for.
        read_rad = (np.asarray(counts, float) + 0.5) * (_TURN_RAD / COUNTS_PER_TURN)
        true_rad = read_rad
        for _ in range(30):  # contracts by the eccentricity, a hundredth
            true_rad = read_rad - self.eccentricity_rad * np.sin(true_rad - self.eccentricity_phase_rad)
        # A jaw hardly closes past shut, and opens by most of a turn.
        opened_rad = (true_rad - self.zero_rad) * np.sign(self.metres_per_rad)
        opened_rad = (opened_rad + 0.1 * _TURN_RAD) % _TURN_RAD - 0.1 * _TURN_RAD
        return opened_rad * abs(self.metres_per_rad)


def encoder_envelopes(
    t_device_ns: NDArray[np.int64], counts: Counts, *, boot_id: int, first_seq: int = 0
) -> Iterator[tuple[int, Envelope]]:
    """Readings as the board would send them, for `TakeWriter.add_wire`.

    Args:
        t_device_ns: (n,) when each was read, board clock, evenly spaced.
        counts: (n,).
        boot_id: of the board.
        first_seq: number of the first message.

    Yields:
        Index of the last reading in the message, and the message: it leaves the board right after that reading.
    """
    assert len(t_device_ns) == len(counts)
    for number, begin in enumerate(range(0, len(counts), _BATCH)):
        t_ns = t_device_ns[begin : begin + _BATCH]
        period_ns = round((int(t_ns[-1]) - int(t_ns[0])) / (len(t_ns) - 1)) if len(t_ns) > 1 else 0
        body = Encoder(
            first_sample_t_ns=int(t_ns[0]),
            period_ns=period_ns,
            angle_counts=counts[begin : begin + _BATCH].tolist(),
            counts_per_turn=COUNTS_PER_TURN,
            magnet_found=True,
        )
        last = begin + len(t_ns) - 1
        seq = (first_seq + number) % 2**32
        yield last, Envelope(seq=seq, t_us=int(t_ns[-1]) // 1000, boot_id=boot_id, encoder=body)
