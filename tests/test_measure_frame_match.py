"""Pictures and trigger pulses: one lost picture shifts no other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handcap.measure.frame_match import NONE, match_frames
from handcap.types import Stamps

PERIOD_NS = 33_333_333


def pulses(seconds: float, start_gap_s: float = 1.0) -> Stamps:
    """As the board gives them: 6 left out at the take's start, 2 or 4 every ten seconds."""
    grid = np.arange(round(seconds * 1e9 / PERIOD_NS), dtype=np.int64)
    keep = np.ones(len(grid), bool)
    first = round(start_gap_s * 1e9 / PERIOD_NS)
    keep[first : first + 6] = False
    for k, at in enumerate(np.arange(first + 300, len(grid), 302)):
        keep[at : at + (2 if k % 2 else 4)] = False
    return grid[keep] * PERIOD_NS + 5_000_000_000


def filmed(
    pulse_ns: Stamps, rng: np.random.Generator, loss: float, delay_s: float, jitter_s: float, bursts: int = 0
) -> tuple[Stamps, Stamps]:
    """Which pulses' pictures arrive, and when; bursts hold all pictures up and let them go at once."""
    kept = np.flatnonzero(rng.random(len(pulse_ns)) >= loss)
    arrival = pulse_ns[kept] + np.rint((delay_s + rng.exponential(jitter_s, len(kept))) * 1e9).astype(np.int64)
    for begin in rng.uniform(pulse_ns[0], pulse_ns[-1], bursts):
        end = begin + rng.uniform(0.02, 0.12) * 1e9
        held = (arrival > begin) & (arrival < end)
        arrival[held] = round(end) + 200_000 * np.arange(np.count_nonzero(held))
    return kept, np.maximum.accumulate(arrival)


@given(
    seed=st.integers(0, 2**31),
    loss=st.floats(0, 0.05),
    delay_s=st.floats(0.004, 0.15),
    bursts=st.integers(0, 6),
    counted=st.booleans(),
    seconds=st.floats(8, 45),
)
def test_no_picture_is_tied_to_a_wrong_pulse(
    seed: int, loss: float, delay_s: float, bursts: int, counted: bool, seconds: float
) -> None:
    rng = np.random.default_rng(seed)
    pulse_ns = pulses(seconds)
    kept, arrival = filmed(pulse_ns, rng, loss, delay_s, 0.0004, bursts)
    ids = kept - kept[0] + int(rng.integers(0, 1000)) if counted else None
    found = match_frames(pulse_ns, arrival, ids)
    tied = found.pulse != NONE
    np.testing.assert_array_equal(found.pulse[tied], kept[tied])
    assert found.ambiguous == np.count_nonzero(~tied)


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05])
def test_only_the_picture_after_a_lost_one_is_left_open(loss: float) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pulse_ns = pulses(30.0)
        kept, arrival = filmed(pulse_ns, rng, loss, 0.045, 0.0003)
        found = match_frames(pulse_ns, arrival)
        after_a_loss = np.count_nonzero(np.diff(kept) > 1)
        assert found.ambiguous == after_a_loss
        assert found.delay_s == pytest.approx(0.0452, abs=0.0005)


def test_pictures_held_up_together_are_tied_in_order_when_none_is_missing() -> None:
    pulse_ns = pulses(20.0)
    kept, arrival = filmed(pulse_ns, np.random.default_rng(3), 0.0, 0.03, 0.0003, bursts=5)
    found = match_frames(pulse_ns, arrival)
    np.testing.assert_array_equal(found.pulse, kept)


def test_a_picture_lost_from_a_bunch_leaves_the_bunch_and_the_next_one_open_and_nothing_else() -> None:
    pulse_ns = pulses(20.0)
    kept, arrival = filmed(pulse_ns, np.random.default_rng(3), 0.0, 0.03, 0.0)
    bunch = slice(60, 63)  # held up until the last is due
    arrival[bunch] = arrival[62] + np.arange(3) * 100_000
    found = match_frames(pulse_ns, np.delete(arrival, 61))
    assert found.ambiguous == 3
    tied = found.pulse != NONE
    np.testing.assert_array_equal(found.pulse[tied], np.delete(kept, 61)[tied])


def test_without_a_gap_nobody_can_say_which_pulse_and_nothing_is_guessed() -> None:
    pulse_ns = np.arange(300, dtype=np.int64) * PERIOD_NS
    found = match_frames(pulse_ns, pulse_ns[2:] + 40_000_000)
    assert np.all(found.pulse == NONE)
    assert found.delay_s is None


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_match_is_no_match(n: int) -> None:
    found = match_frames(np.arange(n, dtype=np.int64), np.zeros(3, np.int64))
    assert np.all(found.pulse == NONE)
    assert len(match_frames(pulses(3.0), np.zeros(0, np.int64)).pulse) == 0
