"""A board's clock from exchanges: found under USB delays, not fooled by jumps, reboots or nonsense. Virtual time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handcap.clock import NS_PER_S
from handcap.devices.clock_fit import Exchange
from handcap.devices.clock_tracker import ClockTracker, TrackerParams, fit_recording
from handcap.session.inertial import to_session_clock


@dataclass
class Cable:
    """Two clocks and what lies between: exponential delays of 2 ms, bursts of 50 ms."""

    skew: float = 0.0
    seed: int = 0
    delay_s: float = 2e-3
    down_delay_s: float | None = None
    shortest_up_s: float = 3e-4
    shortest_down_s: float = 3e-4
    burst_s: float = 0.05
    rate_hz: float = 20.0
    host_at_s: float = 5_000.0
    board_at_s: float = 3.0
    jump_at_s: float = np.inf
    jump_s: float = 0.0
    bend_per_s: float = 0.0

    def host_ns(self, t_s: np.ndarray) -> np.ndarray:
        return np.rint((self.host_at_s + np.asarray(t_s, float)) * NS_PER_S).astype(np.int64)

    def board_ns(self, t_s: np.ndarray) -> np.ndarray:
        """While a laptop sleeps its monotonic clock stands still: on waking, the board's has jumped ahead."""
        t_s = np.asarray(t_s, float)
        shown_s = self.board_at_s + t_s * (1 + self.skew) + self.bend_per_s * t_s**2 / 2
        shown_s += np.where(t_s >= self.jump_at_s, self.jump_s, 0.0)
        return np.rint(shown_s * NS_PER_S).astype(np.int64)

    def exchanges(self, seconds: float, start_s: float = 0.0) -> list[Exchange]:
        rng = np.random.default_rng(self.seed)
        n = int(seconds * self.rate_hz)
        sent = start_s + np.arange(n) / self.rate_hz
        up = self.shortest_up_s + rng.exponential(self.delay_s, n)
        down = self.shortest_down_s + rng.exponential(self.down_delay_s or self.delay_s, n)
        for burst in start_s + rng.uniform(0, seconds, int(seconds / 5)):
            held = (sent > burst) & (sent < burst + 0.3)
            up[held] += rng.uniform(0, self.burst_s, held.sum())
            down[held] += rng.uniform(0, self.burst_s, held.sum())
        there = np.maximum.accumulate(sent + up)  # what is held up arrives together, in order
        back = there + 5e-5
        arrived = np.maximum.accumulate(back + down)
        rows = np.column_stack((self.host_ns(sent), self.board_ns(there), self.board_ns(back), self.host_ns(arrived)))
        return [Exchange(*map(int, row)) for row in rows]

    def errors_s(self, session_ns, t_s: np.ndarray) -> np.ndarray:
        return (session_ns(self.board_ns(t_s)) - self.host_ns(t_s)) / NS_PER_S


def followed(exchanges: list[Exchange], **params) -> ClockTracker:
    tracker = ClockTracker(replace(TrackerParams(), **params))
    for exchange in exchanges:
        tracker.add(exchange)
    return tracker


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("ppm", [-200, 0, 200])
def test_within_thirty_seconds_skew_is_known_to_5_ppm_and_stamps_to_100_us(ppm: int, seed: int) -> None:
    cable = Cable(skew=ppm * 1e-6, seed=seed)
    estimate = followed(cable.exchanges(30.0)).estimate
    assert estimate is not None
    assert estimate.board_fast_ppm == pytest.approx(ppm, abs=5)
    wrong_s = np.abs(cable.errors_s(estimate.session_ns, np.linspace(0, 30, 301)))
    assert np.quantile(wrong_s, 0.95) < 1e-4


def test_stated_sigmas_hold_two_in_three_and_nineteen_in_twenty_errors() -> None:
    sigmas = []
    for seed in range(60):
        cable = Cable(skew=1e-4, seed=seed)
        estimate = followed(cable.exchanges(20.0)).estimate
        assert estimate is not None
        t_s = np.linspace(0, 20, 21)
        sigmas.extend(np.abs(cable.errors_s(estimate.session_ns, t_s)) / estimate.sigma_at(cable.board_ns(t_s)))
    assert np.mean(np.array(sigmas) < 2) > 0.93
    assert 0.6 < np.mean(np.array(sigmas) < 1) < 0.95, "too modest is dishonest too"


def test_a_longer_way_back_shifts_stamps_by_half_its_excess_and_the_limit_says_so() -> None:
    cable = Cable(shortest_up_s=2e-4, shortest_down_s=6e-4)
    estimate = followed(cable.exchanges(40.0)).estimate
    assert estimate is not None
    wrong_s = cable.errors_s(estimate.session_ns, np.linspace(10, 30, 50))
    assert np.mean(wrong_s) == pytest.approx(2e-4, abs=3e-5)
    assert estimate.asymmetry_limit_s == pytest.approx(4e-4, abs=5e-5)


def test_a_slower_tail_in_one_direction_shifts_nothing() -> None:
    wrong_s = []
    for seed in range(12):
        cable = Cable(seed=seed, delay_s=1e-3, down_delay_s=6e-3)
        estimate = followed(cable.exchanges(30.0)).estimate
        assert estimate is not None
        wrong_s.append(cable.errors_s(estimate.session_ns, np.linspace(0, 30, 50)))
    assert np.quantile(np.abs(wrong_s), 0.95) < 1e-4
    assert abs(np.mean(wrong_s)) < 1e-5


def test_answers_quicker_than_a_cable_are_dropped_and_counted() -> None:
    cable, rng = Cable(skew=1e-4), np.random.default_rng(1)
    exchanges = cable.exchanges(30.0)
    for at in rng.choice(len(exchanges), 60, replace=False):
        # An emulator that catches up: its clock ran behind, and the answer comes at once.
        one = exchanges[at]
        late = int(rng.uniform(0, 5e6))
        exchanges[at] = Exchange(
            one.host_sent_ns, one.board_received_ns - late, one.board_received_ns - late, one.host_sent_ns + 40_000
        )
    tracker = followed(exchanges)
    assert tracker.estimate is not None and tracker.rejected.too_quick >= 55
    assert tracker.estimate.board_fast_ppm == pytest.approx(100, abs=5)


def test_a_single_absurd_exchange_moves_nothing() -> None:
    cable = Cable(skew=-5e-5)
    exchanges = cable.exchanges(30.0)
    one = exchanges[400]
    exchanges[400] = one._replace(board_received_ns=one.board_received_ns + 1, board_sent_ns=one.board_sent_ns + 10**9)
    tracker = followed(exchanges, shortest_round_trip_s=None)
    assert tracker.jumps == 0 and tracker.rejected.too_quick + tracker.rejected.contradicting == 1
    assert tracker.estimate is not None and tracker.estimate.board_fast_ppm == pytest.approx(-50, abs=5)


@pytest.mark.parametrize("shift_s", [0.03, -0.03])
def test_up_to_four_stamps_that_no_delay_explains_are_left_out_and_counted(shift_s: float) -> None:
    cable = Cable(skew=-5e-5, burst_s=0.0)
    exchanges, by_ns = cable.exchanges(30.0), int(shift_s * NS_PER_S)
    for at in (300, 400, 401, 402, 403):
        one = exchanges[at]
        shifted = {"board_received_ns": one.board_received_ns + by_ns, "board_sent_ns": one.board_sent_ns + by_ns}
        exchanges[at] = one._replace(**shifted)
    tracker = followed(exchanges)
    assert tracker.jumps == 0 and tracker.rejected.contradicting == 5
    assert tracker.estimate is not None and tracker.estimate.board_fast_ppm == pytest.approx(-50, abs=5)


@pytest.mark.parametrize("jump_s", [3600.0, 2.0, 0.02, -0.02, -15.0])
def test_a_jump_of_either_clock_begins_a_new_fit_within_half_a_second(jump_s: float) -> None:
    cable = Cable(skew=1e-4, jump_at_s=20.0, jump_s=jump_s, burst_s=0.0)
    tracker, exchanges = ClockTracker(), cable.exchanges(40.0)
    for exchange in exchanges[:410]:
        tracker.add(exchange)
    assert tracker.jumps == 1 and tracker.segment == 1
    for exchange in exchanges[410:]:
        tracker.add(exchange)
    assert tracker.jumps == 1 and tracker.estimate is not None
    wrong_s = np.abs(cable.errors_s(tracker.estimate.session_ns, np.linspace(20, 40, 50)))
    assert np.quantile(wrong_s, 0.95) < 1e-4
    before, after = fit_recording((exchange, 0) for exchange in exchanges)
    assert np.quantile(np.abs(cable.errors_s(before.session_ns, np.linspace(0, 19.9, 50))), 0.95) < 1e-4
    assert np.quantile(np.abs(cable.errors_s(after.session_ns, np.linspace(20.1, 40, 50))), 0.95) < 1e-4


def test_bursts_are_never_taken_for_a_jump() -> None:
    for seed in range(6):
        tracker = followed(Cable(skew=2e-4, seed=seed, burst_s=0.2).exchanges(60.0))
        assert tracker.jumps == 0 and tracker.rejected.contradicting == 0


def test_a_reboot_begins_a_new_fit_and_no_stamp_is_mapped_by_the_old_one() -> None:
    first, second = Cable(skew=1e-4, board_at_s=900.0), Cable(skew=1e-4, board_at_s=-19.5)
    tracker = ClockTracker()
    for exchange in first.exchanges(20.0):
        tracker.add(exchange, boot_id=7)
    for exchange in second.exchanges(0.4, start_s=20.0):
        tracker.add(exchange, boot_id=8)
    assert tracker.estimate is None and tracker.segment == 1 and tracker.jumps == 0
    for exchange in second.exchanges(20.0, start_s=21.0):
        tracker.add(exchange, boot_id=8)
    assert tracker.estimate is not None
    wrong_s = np.abs(second.errors_s(tracker.estimate.session_ns, np.linspace(21, 41, 50)))
    assert np.quantile(wrong_s, 0.95) < 1e-4


def test_a_warming_crystal_is_followed_live_and_better_afterwards() -> None:
    cable = Cable(skew=5e-5, bend_per_s=5e-8)  # 15 ppm in five minutes
    tracker, live = ClockTracker(), []
    exchanges = cable.exchanges(300.0)
    for at, exchange in enumerate(exchanges):
        tracker.add(exchange)
        if at % 20 == 0 and at > 600 and tracker.estimate:
            live.append(cable.errors_s(tracker.estimate.session_ns, np.array([at / cable.rate_hz]))[0])
    (segment,) = fit_recording((exchange, 0) for exchange in exchanges)
    later = cable.errors_s(segment.session_ns, np.linspace(0, 300, 500))
    assert np.quantile(np.abs(live), 0.95) < 1e-4
    assert np.quantile(np.abs(later), 0.95) < 3e-5


def test_the_journals_entries_map_stamps_as_the_fit_does() -> None:
    cable = Cable(skew=-1e-4)
    estimate = followed(cable.exchanges(30.0)).estimate
    assert estimate is not None
    t_ns = cable.board_ns(np.linspace(-10, 60, 71))
    np.testing.assert_allclose(to_session_clock(t_ns, [estimate.for_journal()]), estimate.session_ns(t_ns), atol=2)


stamps = st.integers(0, 2**64 - 1) | st.integers(0, 10**12)


@given(st.lists(st.tuples(st.builds(Exchange, stamps, stamps, stamps, stamps), st.integers(0, 1)), max_size=60))
def test_no_exchange_however_absurd_breaks_the_tracker(told: list[tuple[Exchange, int]]) -> None:
    tracker = ClockTracker()
    for exchange, boot_id in told:
        tracker.add(exchange, boot_id)
    assert len(tracker.kept) <= len(told)
    for segment in fit_recording(told):
        segment.session_ns(np.array([0, 10**15]))


def test_memory_stays_bounded_however_often_a_board_answers() -> None:
    tracker = ClockTracker(TrackerParams(most_exchanges=50, refit_every=1000))
    for at in range(2000):
        tracker.add(Exchange(at * 1000, at * 1000 + 10**6, at * 1000 + 10**6, at * 1000 + 10**6))
    assert len(tracker.kept) == 50
