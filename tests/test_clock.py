"""Stamps keep their nanoseconds and clocks their direction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handcap import clock

EPOCH_NS = 1_403_636_579_763_555_584


@given(st.integers(-(10**12), 10**12))
def test_seconds_after_an_epoch_stamp_keep_their_nanoseconds(offset_ns: int) -> None:
    since = clock.seconds([EPOCH_NS + offset_ns], since_ns=EPOCH_NS)
    assert clock.nanoseconds(since)[0] == offset_ns


@given(st.floats(-1e6, 1e6))
def test_durations_round_to_the_nearest_nanosecond(duration_s: float) -> None:
    assert abs(float(clock.nanoseconds(duration_s)) - duration_s * 1e9) <= 0.5 + 1e-6 * abs(duration_s)


def test_the_offset_is_added_to_camera_stamps() -> None:
    np.testing.assert_array_equal(clock.to_imu_clock([EPOCH_NS], 0.008), [EPOCH_NS + 8_000_000])
    assert clock.to_imu_clock([EPOCH_NS], -0.015).dtype == np.int64


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("rate_hz", [20.0, 200.0, 1000.0])
@given(factor=st.floats(1 / 20, 20))
def test_the_unit_of_stamps_is_told_by_their_rate(unit: str, per_second: int, rate_hz: float, factor: float) -> None:
    stamps = np.arange(50) / (rate_hz * factor) * per_second
    assert clock.likely_unit(stamps, rate_hz) == unit


def test_one_long_gap_or_repeated_stamps_do_not_change_the_unit() -> None:
    stamps = np.concatenate([np.arange(50), 10**9 + np.arange(50)]) * 5_000_000.0
    assert clock.likely_unit(stamps, 200.0) == "ns"
