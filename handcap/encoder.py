"""The angle encoder that a gripper's jaw turns: its calibration, and what it reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.geometry import Array

COUNTS_PER_TURN = 4096  # 12 bits
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
        opening_sigma_m: what the calibration leaves of an opening, standard deviation; None where it does not say.
    """

    metres_per_rad: float = 0.020
    zero_rad: float = 0.6
    eccentricity_rad: float = 0.0
    eccentricity_phase_rad: float = 0.0
    noise_rad: float = 0.0
    opening_sigma_m: float | None = None

    def __post_init__(self) -> None:
        assert self.metres_per_rad != 0
        assert abs(self.eccentricity_rad) < 1, "an error that large has no inverse"

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
