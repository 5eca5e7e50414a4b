"""Board clocks run their own way, never backwards, and the host's line follows them to microseconds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from handcap.session.inertial import to_session_clock
from handcap.sim.boardclock import BoardClock, fitted

clocks = st.builds(
    BoardClock,
    offset_s=st.floats(0, 1e5),
    skew_ppm=st.floats(-100, 100),
    start_c=st.floats(0, 50),
    warm_c=st.floats(0, 70),
    warming_s=st.floats(1, 2000),
)
instants = st.lists(st.floats(0, 3600), min_size=2, max_size=20, unique=True).map(lambda x: np.array(sorted(x)))


@given(clocks, instants)
def test_true_time_comes_back(clock: BoardClock, t_s: np.ndarray) -> None:
    np.testing.assert_allclose(clock.true_from_device(clock.device_from_true(t_s)), t_s, rtol=0, atol=1e-9)


@given(clocks)
def test_a_clock_never_runs_back(clock: BoardClock) -> None:
    t_ns = np.arange(0, 3600, dtype=np.int64) * 1_000_000_000
    later = clock.stamps(t_ns + 10_000) - clock.stamps(t_ns)
    assert np.all(np.abs(later - 10_000) <= 12)  # 10 us stay 10 us, to 1000 ppm and rounding


@given(clocks, st.floats(10, 3000))
def test_the_rate_is_that_of_the_crystal_at_its_temperature(clock: BoardClock, t_s: float) -> None:
    temperature_c = clock.warm_c + (clock.start_c - clock.warm_c) * np.exp(-t_s / clock.warming_s)
    ppm = clock.skew_ppm - 0.035 * (temperature_c - 25) ** 2
    step_s = 0.5
    shown_s = np.diff(clock.device_from_true([t_s - step_s, t_s + step_s]))[0]
    # Warming up, the crystal changes its rate within the step by far less than this.
    assert abs((shown_s / (2 * step_s) - 1) * 1e6 - ppm) < 0.01


def test_specimens_scatter_and_one_serial_number_does_not() -> None:
    drawn = [BoardClock.drawn(np.random.default_rng(seed)) for seed in range(100)]
    assert BoardClock.drawn(np.random.default_rng(3)) == drawn[3]
    assert 6 < np.std([clock.skew_ppm for clock in drawn]) < 14


def test_the_fit_of_a_take_leaves_microseconds() -> None:
    worst_s, typical_s = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        clock = BoardClock.drawn(rng)
        fit, residual_s = fitted(clock, 0.0, 60.0, rng)
        t_ns = np.arange(0, 60_000_000_000, 5_000_000, dtype=np.int64)
        error_s = (to_session_clock(clock.stamps(t_ns), [fit]) - t_ns) / 1e9
        worst_s.append(np.abs(error_s).max())
        typical_s.append(np.sqrt(np.mean(error_s**2)))
        assert 1e-6 < residual_s < 3e-4
    assert max(worst_s) < 2e-4
    assert 1e-6 < np.median(typical_s) < 5e-5  # neither perfect nor careless


def test_without_delays_only_the_bend_of_the_crystal_is_left() -> None:
    straight = BoardClock(offset_s=12.0, skew_ppm=30.0, start_c=25.0, warm_c=25.0)
    fit, residual_s = fitted(straight, 0.0, 100.0, np.random.default_rng(0), one_way_s=0.0)
    t_ns = np.arange(0, 100, dtype=np.int64) * 1_000_000_000
    assert np.abs(to_session_clock(straight.stamps(t_ns), [fit]) - t_ns).max() <= 10
    assert residual_s < 1e-8
    warming = BoardClock(12.0, 30.0, 20.0, 40.0, 60.0)
    bent, _ = fitted(warming, 0.0, 100.0, np.random.default_rng(0), one_way_s=0.0)
    assert np.abs(to_session_clock(warming.stamps(t_ns), [bent]) - t_ns).max() > 10_000
