"""A clock that jumps and jumps back loses nothing: what it stamped in between is read where it belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import new_session

from handcap import session as session_store
from handcap import sim
from handcap.geometry import Array
from handcap.session.clock_jumps import ClockJump, clock_jumps, pictures_mended, samples_mended
from handcap.sim.faults import Fault
from handcap.types import Stamps

PERIOD_NS, PICTURE_NS = 5_000_000, 50_000_000


def evenly(count: int, period_ns: int, seed: int) -> Stamps:
    """True times of a sensor that is a tenth of a millisecond from even."""
    late = np.random.default_rng(seed).integers(-100_000, 100_000, count)
    return 1_000_000_000 + np.arange(count) * period_ns + late


def jumping(t_ns: Stamps, start_ns: int, end_ns: int, by_ns: int) -> Stamps:
    return t_ns + np.where((t_ns >= start_ns) & (t_ns < end_ns), by_ns, 0)


def values(count: int) -> Array:
    return np.random.default_rng(9).normal(size=(count, 6))


def jumps_of(stamped: Stamps, *cameras: Stamps) -> list[ClockJump]:
    return clock_jumps(stamped, values(len(stamped)), cameras)


@given(
    by_ms=st.one_of(st.integers(-400, -10), st.integers(10, 400)),
    start_s=st.floats(1.5, 4.0),
    length_s=st.floats(1.0, 3.0),
    seed=st.integers(0, 1000),
)
def test_samples_and_pictures_of_a_clock_that_jumped_are_where_they_were_taken(
    by_ms: int, start_s: float, length_s: float, seed: int
) -> None:
    span = int(start_s * 1e9), int((start_s + length_s) * 1e9), by_ms * 1_000_000
    samples, pictures = evenly(1600, PERIOD_NS, seed), evenly(160, PICTURE_NS, seed + 1)
    stamped, shown = jumping(samples, *span), jumping(pictures, *span)
    jumps = jumps_of(stamped, shown)
    assert [jump.stayed for jump in jumps] == [False] and abs(jumps[0].by_ns - span[2]) < 1_000_000
    assert np.abs(samples_mended(stamped, jumps) - samples).max() < 1_000_000
    assert np.abs(pictures_mended(shown, jumps) - pictures).max() < 1_000_000


@given(by_ms=st.integers(20, 500), at_s=st.floats(1.5, 7.0), seed=st.integers(0, 1000))
def test_a_clock_set_back_for_good_goes_on_evenly(by_ms: int, at_s: float, seed: int) -> None:
    span = int(at_s * 1e9), 10**12, -by_ms * 1_000_000
    samples, pictures = evenly(1600, PERIOD_NS, seed), evenly(160, PICTURE_NS, seed + 1)
    stamped, shown = jumping(samples, *span), jumping(pictures, *span)
    jumps = jumps_of(stamped, shown)
    assert [jump.stayed for jump in jumps] == [True]
    assert np.abs(samples_mended(stamped, jumps) - samples).max() < 1_000_000
    assert np.abs(pictures_mended(shown, jumps) - pictures).max() < 1_000_000


def test_jumps_within_jumps_and_one_after_the_other_come_off_together() -> None:
    samples, pictures = evenly(1600, PERIOD_NS, 1), evenly(160, PICTURE_NS, 2)
    for spans in (
        [(2.2, 4.0, 100), (2.8, 3.4, 100)],
        [(2.2, 5.0, -80), (2.8, 3.4, 130)],
        [(2.0, 3.0, 70), (3.5, 4.5, 70)],
        [(2.0, 3.0, 70), (3.5, 4.5, -70)],
    ):
        off = [(int(a * 1e9), int(b * 1e9), by * 1_000_000) for a, b, by in spans]
        stamped, shown = (t + sum(jumping(t, *span) - t for span in off) for t in (samples, pictures))
        jumps = jumps_of(stamped, shown)
        assert sorted(round(jump.by_ns / 1e6) for jump in jumps) == sorted(by for _, _, by in spans), spans
        assert np.abs(samples_mended(stamped, jumps) - samples).max() < 1_000_000, spans
        assert np.abs(pictures_mended(shown, jumps) - pictures).max() < 1_000_000, spans


def test_a_camera_that_begins_while_the_clock_is_off_is_mended_from_its_first_picture() -> None:
    span = 2_500_000_000, 5_000_000_000, 100_000_000
    stamped = jumping(evenly(1600, PERIOD_NS, 1), *span)
    late = evenly(160, PICTURE_NS, 2)[60:]
    shown = jumping(late, *span)
    assert np.abs(pictures_mended(shown, jumps_of(stamped, shown)) - late).max() < 1_000_000


@pytest.mark.parametrize("lost", [slice(0, 0), slice(60, 62), slice(60, 63)])
def test_a_camera_that_another_clock_stamps_stays_as_it_is(lost: slice) -> None:
    stamped = jumping(evenly(1600, PERIOD_NS, 1), 2_500_000_000, 6_000_000_000, 100_000_000)
    pictures = np.delete(evenly(160, PICTURE_NS, 2), lost)
    np.testing.assert_array_equal(pictures_mended(pictures, jumps_of(stamped, pictures)), pictures)


def test_lost_samples_are_not_the_way_forth_of_a_clock_that_was_set_back_later() -> None:
    samples, pictures = evenly(1600, PERIOD_NS, 1), evenly(160, PICTURE_NS, 2)
    span = 5_000_000_000, 10**12, -100_000_000
    kept = np.delete(samples, slice(400, 420))
    stamped, shown = jumping(kept, *span), jumping(pictures, *span)
    jumps = jumps_of(stamped, shown)
    assert [jump.stayed for jump in jumps] == [True]
    assert np.abs(samples_mended(stamped, jumps) - kept).max() < 1_000_000
    assert np.abs(pictures_mended(shown, jumps) - pictures).max() < 1_000_000


ORDERS = {
    "nothing": np.arange(1600),
    "a gap": np.delete(np.arange(1600), slice(500, 560)),
    "a batch sent twice": np.r_[0:520, 500:520, 520:1600],
    "batches that overtook each other": np.r_[0:500, 520:540, 500:520, 540:1600],
    "a gap, and as much sent twice": np.r_[0:300, 340:900, 860:1600],
    "hardly a sample": np.arange(2),
}


@pytest.mark.parametrize("change", ORDERS)
def test_what_is_no_jump_is_left_as_it_is(change: str) -> None:
    t_ns, order = evenly(1600, PERIOD_NS, 3), ORDERS[change]
    assert clock_jumps(t_ns[order], values(1600)[order], [evenly(160, PICTURE_NS, 4)]) == []


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_a_session_whose_clock_jumped_reads_as_if_it_had_not(tmp_path: Path, codec: Literal["jpeg", "h264"]) -> None:
    takes = {}
    for name, faults in (("good", ()), ("bad", (Fault("clock_jump", 1.5, 2.6, "head"),))):
        params = sim.SimulationParams(faults=faults, codec=codec)
        sim.simulate(tmp_path / name, scene="bench", rig="head", seconds=3.0, seed=4, params=params)
        takes[name] = session_store.read(tmp_path / name).take("0001")
    good, bad = takes["good"], takes["bad"]
    (jump,) = bad.clock_jumps("head")
    assert good.clock_jumps("head") == [] and abs(jump.by_ns) >= 20_000_000
    assert len(bad.imu("head")) == len(good.imu("head")) and bad.imu_dropped("head") == 0
    assert np.abs(bad.imu("head").t_ns - good.imu("head").t_ns).max() < 100_000
    np.testing.assert_array_equal(bad.imu("head").gyro_imu, good.imu("head").gyro_imu)
    (camera,) = good.cameras
    assert np.abs(bad.camera_stamps(camera) - good.camera_stamps(camera)).max() < 100_000
    pairs = zip(good.frames(camera), bad.frames(camera), strict=True)
    assert all(np.array_equal(a.image, b.image) for a, b in pairs)
    assert len(bad.imu("head", as_recorded=True)) < len(good.imu("head")), "as recorded, some stamps run back"


@pytest.mark.parametrize("by_ms", [12, 40, -40, 120])
@pytest.mark.parametrize("at_once", [7, 10, 1600])
def test_a_jump_is_found_however_many_samples_a_message_holds(tmp_path: Path, by_ms: int, at_once: int) -> None:
    samples, pictures = evenly(1600, PERIOD_NS, 5), evenly(160, PICTURE_NS, 6)
    span = 2_512_000_000, 5_031_000_000, by_ms * 1_000_000
    stamped, shown, felt = jumping(samples, *span), jumping(pictures, *span), values(1600)
    with new_session(tmp_path / "s") as session, session.start_take() as take:
        for begin in range(0, 1600, at_once):
            rows = slice(begin, begin + at_once)
            take.add_imu_si("head", stamped[rows], felt[rows, :3], felt[rows, 3:])
        for t_ns in shown.tolist():
            take.add_image("head", t_ns, b"nothing to be seen", "jpeg")
    found = session_store.read(tmp_path / "s").take("0001")
    assert [round(jump.by_ns / 1e6) for jump in found.clock_jumps("head")] == [by_ms]
    assert np.abs(found.imu("head").t_ns - samples).max() < 1_000_000 and found.imu_dropped("head") == 0
    assert np.abs(found.camera_stamps("head") - pictures).max() < 1_000_000
