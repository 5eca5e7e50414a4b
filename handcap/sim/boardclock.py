"""The crystal of a board, and what the host makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.clock import NS_PER_S, nanoseconds
from handcap.geometry import Array
from handcap.session.journal import ClockFit

# AT-cut crystals bend by about -0.035 ppm/K² around 25 °C (IEC 60122; any maker's catalogue).
_BEND_PPM_K2 = -0.035
_BEND_AT_C = 25.0


@dataclass(frozen=True, slots=True)
class BoardClock:
    """A clock that runs a little fast or slow, the more so as its board warms up.

    The crystal runs `skew_ppm + bend (T - 25 °C)²` fast, and T goes from `start_c` to `warm_c` exponentially, so the
    clock has a closed form.

    Attributes:
        offset_s: what the board's clock shows at session time 0.
        skew_ppm: how much faster than true time it runs at 25 °C.
        start_c, warm_c: temperature at session time 0 and long after, °C.
        warming_s: time constant in between.
    """

    offset_s: float = 0.0
    skew_ppm: float = 0.0
    start_c: float = 25.0
    warm_c: float = 25.0
    warming_s: float = 300.0

    def __post_init__(self) -> None:
        assert self.warming_s > 0
        assert abs(self.skew_ppm) < 1e4 and max(abs(self.start_c), abs(self.warm_c)) < 200, "no crystal does that"

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> BoardClock:
        """One serial number: booted up to ten minutes ago, within ±20 ppm, warming by 5 to 15 K."""
        start_c = float(rng.uniform(18, 28))
        return cls(
            offset_s=float(rng.uniform(5, 600)),
            skew_ppm=float(np.clip(rng.normal(0, 10), -20, 20)),
            start_c=start_c,
            warm_c=start_c + float(rng.uniform(5, 15)),
            warming_s=float(rng.uniform(120, 600)),
        )

    def _ahead_s(self, t_s: Array) -> Array:
        """How far the clock has run ahead of true time since time 0: the integral of its rate error."""
        cold, warm, tau = self.start_c - self.warm_c, self.warm_c - _BEND_AT_C, self.warming_s
        # (warm + cold e^(-t/τ))² integrated; expm1 keeps the first instants exact.
        once, twice = -tau * np.expm1(-t_s / tau), -tau / 2 * np.expm1(-2 * t_s / tau)
        bend = warm**2 * t_s + 2 * warm * cold * once + cold**2 * twice
        return 1e-6 * (self.skew_ppm * t_s + _BEND_PPM_K2 * bend)

    def device_from_true(self, t_s: ArrayLike) -> Array:
        """Board clock (n,) s at session times (n,) s; strictly increasing from time 0 on."""
        t_s = np.asarray(t_s, float)
        return t_s + self.offset_s + self._ahead_s(t_s)

    def true_from_device(self, t_device_s: ArrayLike) -> Array:
        """Session times (n,) s at which the board's clock shows (n,) s."""
        shown_s = np.asarray(t_device_s, float) - self.offset_s
        t_s = shown_s
        for _ in range(4):  # each round shrinks the error by the clock's rate error, 1e-4 at worst
            t_s = shown_s - self._ahead_s(t_s)
        return t_s

    def stamps(self, t_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Board clock, ns, at session times (n,) ns; whole microseconds stay exact over hours."""
        return t_ns + nanoseconds(self.offset_s + self._ahead_s(t_ns / NS_PER_S))


def fitted(
    clock: BoardClock,
    start_s: float,
    end_s: float,
    rng: np.random.Generator,
    *,
    rate_hz: float = 4.0,
    one_way_s: float = 3e-4,
) -> tuple[ClockFit, float]:
    """The straight line through a take's two-way exchanges, asymmetric USB delays and all.

    Each exchange knows dt to half the difference of its two delays. Delays are a fixed part, which cancels, and an
    exponential one; the line follows the half of the exchanges with the shorter round trips, as any sane host does.
    What remains is the bend of the crystal as it warms and a few microseconds of noise.

    Args:
        clock: the board's.
        start_s, end_s: of the take, session clock.
        rng: draws the delays.
        rate_hz: exchanges per second.
        one_way_s: mean of the varying part of a one-way delay.

    Returns:
        The fit as the session's journal keeps it, and the standard deviation of the exchanges around it, s.
    """
    assert end_s > start_s
    sent_s = np.linspace(start_s, end_s, max(int((end_s - start_s) * rate_hz), 8))
    there_s, back_s = rng.exponential(one_way_s, (2, len(sent_s)))
    t_device_s = clock.device_from_true(sent_s + there_s)
    measured_s = sent_s + (there_s + back_s) / 2 - t_device_s
    quick = np.argsort(there_s + back_s, kind="stable")[: len(sent_s) // 2]
    middle_s = float(np.mean(t_device_s))
    # Over the board's time, by which readers apply it.
    design = np.column_stack([np.ones(len(quick)), t_device_s[quick] - middle_s])
    line = np.linalg.lstsq(design, measured_s[quick], rcond=None)[0]
    residual_s = float(np.std(measured_s[quick] - design @ line))
    return ClockFit(int(nanoseconds(middle_s + line[0])), float(line[0]), float(line[1])), residual_s
