"""A clock that jumps and jumps back loses nothing: what it stamped in between is read where it belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handcap import session as session_store
from handcap import sim
from handcap.session.clock_jumps import Mender, clock_jumps
from handcap.sim.faults import Fault
from handcap.types import Stamps

PERIOD_NS, PICTURE_NS = 5_000_000, 50_000_000


def evenly(count: int, period_ns: int, seed: int) -> Stamps:
    """True times of a sensor that is a tenth of a millisecond from even."""
    late = np.random.default_rng(seed).integers(-100_000, 100_000, count)
    return 1_000_000_000 + np.arange(count) * period_ns + late


def jumping(t_ns: Stamps, start_ns: int, end_ns: int, by_ns: int) -> Stamps:
    return t_ns + np.where((t_ns >= start_ns) & (t_ns < end_ns), by_ns, 0)


def read(t_ns: Stamps, samples: Stamps) -> Stamps:
    mend = Mender(clock_jumps(samples), float(np.median(np.diff(t_ns))))
    return np.array([mend(t) for t in t_ns.tolist()])


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
    stamped = jumping(samples, *span)
    (jump,) = clock_jumps(stamped)
    assert abs(jump.by_ns - span[2]) < 1_000_000
    assert np.abs(read(stamped, stamped) - samples).max() < 1_000_000
    assert np.abs(read(jumping(pictures, *span), stamped) - pictures).max() < 1_000_000


def test_a_camera_that_another_clock_stamps_stays_as_it_is() -> None:
    stamped = jumping(evenly(1600, PERIOD_NS, 1), 2_500_000_000, 5_000_000_000, 130_000_000)
    pictures = evenly(160, PICTURE_NS, 2)
    np.testing.assert_array_equal(read(pictures, stamped), pictures)


def even_with(change: str) -> Stamps:
    t_ns = evenly(1600, PERIOD_NS, 3)
    return {
        "nothing": t_ns,
        "a gap": np.delete(t_ns, slice(500, 560)),
        "a batch sent twice": np.r_[t_ns[:520], t_ns[500:520], t_ns[520:]],
        "batches that overtook each other": np.r_[t_ns[:500], t_ns[520:540], t_ns[500:520], t_ns[540:]],
        "a clock set back for good": np.r_[t_ns[:500], t_ns[500:] - 80_000_000],
        "hardly a sample": t_ns[:2],
    }[change]


@pytest.mark.parametrize(
    "change",
    ["nothing", "a gap", "a batch sent twice", "batches that overtook each other", "a clock set back for good"]
    + ["hardly a sample"],
)
def test_what_is_no_jump_there_and_back_is_left_as_it_is(change: str) -> None:
    assert clock_jumps(even_with(change)) == []


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
