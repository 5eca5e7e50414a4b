"""Boards and cameras that fail in the middle of a take: it is told, it is in the file, and nothing else is lost.

docs/capture_safety.md has the table. How a board's connection takes these faults, tests/test_devices_board.py shows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from live_capture import (
    FPS,
    RATE_HZ,
    PluggedIn,
    causes,
    faults,
    make_source,
    plugged_in,
    record,
    seqs,
    taken,
    until,
    whole_but_for,
)

from handcap.capture import Capture
from handcap.devices import open_board
from handcap.errors import DeviceError
from handcap.session.journal import read_clock_fits

SECONDS = 2.0


@pytest.fixture(scope="module")
def rig(tmp_path_factory) -> Iterator[PluggedIn]:
    with plugged_in(make_source(tmp_path_factory.mktemp("faults"))) as rig:
        yield rig


@pytest.fixture(scope="module")
def running(rig: PluggedIn, tmp_path_factory) -> Iterator[Capture]:
    with rig.capture(tmp_path_factory.mktemp("faults") / "session") as running:
        running.ready()
        record(running, 0.2)  # from its first take on the player moves
        yield running


@pytest.fixture(autouse=True)
def mended(rig: PluggedIn, running: Capture) -> Iterator[None]:
    """Whatever a test did to the rig is over when the next one begins."""
    yield
    for device in ("head", "left", "right"):
        rig.live.do("well", device)
        rig.live.do("seen", device)
        if not rig.boards[device].connected:
            rig.live.do("plug", device)
    rig.live.do("well", "cameras")
    until(lambda: all(board.connected and board.clock is not None for board in rig.boards.values()))


def test_a_take_without_a_fault_is_good_and_whole(running: Capture) -> None:
    ended = record(running, SECONDS)
    assert causes(ended) == set()
    take = taken(running, ended.take)
    assert whole_but_for(take)
    for device in ("head", "left", "right"):
        imu = take.imu(device)
        assert len(imu) >= 0.8 * RATE_HZ * SECONDS
        np.testing.assert_allclose(np.diff(imu.t_ns), 1e9 / RATE_HZ, rtol=0.05)
    assert faults(running, ended.take) == set()


def test_an_unplugged_board_is_told_and_the_others_go_on(rig: PluggedIn, running: Capture) -> None:
    ended = record(running, SECONDS, lambda: rig.live.do("unplug", "left"))
    assert ("imu_missing", "imu_left") in causes(ended)
    take = taken(running, ended.take)
    assert 0.3 * RATE_HZ * SECONDS < len(take.imu("left")) < 0.9 * len(take.imu("right"))
    assert whole_but_for(take, "left")
    assert ("unplugged", "left") in faults(running, ended.take)

    with pytest.raises(DeviceError, match="left: it is unplugged"):  # half a rig records no further take
        running.start()
    assert not running.recorder.recording
    rig.live.do("plug", "left")
    until(lambda: rig.boards["left"].connected and rig.boards["left"].clock is not None)
    assert causes(record(running, SECONDS)) == set()


def test_a_board_plugged_in_again_goes_on_in_the_same_take(rig: PluggedIn, running: Capture) -> None:
    def out_and_in() -> None:
        rig.live.do("unplug", "right")
        time.sleep(0.3)
        rig.live.do("plug", "right")
        until(lambda: rig.boards["right"].connected and rig.boards["right"].clock is not None)

    ended = record(running, SECONDS, out_and_in)
    assert {body for _, body in causes(ended)} == {"imu_right"}, causes(ended)
    take = taken(running, ended.take)
    imu = take.imu("right")
    assert np.max(np.diff(imu.t_ns)) > 0.25e9, "the hole"
    assert imu.t_ns[-1] > take.imu("left").t_ns[-1] - 0.2e9, "and it goes on after it, on the same clock"
    assert len({fit.boot_id for fit in read_clock_fits(running.path, ended.take, "right")}) == 2
    assert whole_but_for(take, "right")


def test_a_board_that_restarts_is_told_and_its_samples_stay_on_one_clock(rig: PluggedIn, running: Capture) -> None:
    def restart() -> None:
        rig.live.do("reboot", "head")
        time.sleep(0.2)
        until(lambda: rig.boards["head"].connected and rig.boards["head"].clock is not None)

    ended = record(running, SECONDS, restart)
    assert ("board_rebooted", "imu_head") in causes(ended)
    assert {body for _, body in causes(ended)} == {"imu_head"}, causes(ended)
    take = taken(running, ended.take)
    imu, other = take.imu("head"), take.imu("left")
    assert len(imu) > 0.3 * len(other)
    assert abs(int(imu.t_ns[-1] - other.t_ns[-1])) < 0.2e9
    assert ("rebooted", "head") in faults(running, ended.take)
    assert whole_but_for(take, "head")


def test_a_camera_that_falls_silent_is_named_and_the_others_go_on(rig: PluggedIn, running: Capture) -> None:
    ended = record(running, SECONDS, lambda: rig.live.do("silent", "left"))
    assert {body for _, body in causes(ended)} == {"left"}, causes(ended)
    take = taken(running, ended.take)
    assert 0.3 * FPS * SECONDS < len(take.camera_stamps("left")) < 0.9 * len(take.camera_stamps("head"))
    numbers = seqs(take, "left")
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "its board goes on"
    for camera in ("head", "right"):
        assert len(take.camera_stamps(camera)) >= 0.8 * FPS * SECONDS


def test_a_camera_whose_picture_stands_still_is_named(rig: PluggedIn, running: Capture) -> None:
    ended = record(running, SECONDS, lambda: rig.live.do("frozen", "right"))
    assert causes(ended) == {("camera_frozen", "right")}
    assert whole_but_for(taken(running, ended.take)), "what it sent is kept as it came"


def test_messages_that_come_twice_count_once(rig: PluggedIn, running: Capture) -> None:
    for device in ("left", "cameras"):
        rig.live.do("twice", device)
    ended = record(running, SECONDS)
    take = taken(running, ended.take)
    imu = take.imu("left")
    np.testing.assert_allclose(np.diff(imu.t_ns), 1e9 / RATE_HZ, rtol=0.05)
    for camera in take.cameras:
        stamps = [packet.t_ns for packet in take.packets(camera)]
        assert len(stamps) == len(set(stamps))
        assert len(stamps) == pytest.approx(FPS * (stamps[-1] - stamps[0]) * 1e-9, abs=2)
    assert ended.watched.devices["left"].samples <= len(imu) + 40, "none is counted twice"
    assert causes(ended) == set(), "nothing is missing"


def test_messages_that_overtake_each_other_are_put_in_order(rig: PluggedIn, running: Capture) -> None:
    for device in ("left", "cameras"):
        rig.live.do("swapped", device)
    ended = record(running, SECONDS)
    take = taken(running, ended.take)
    for camera in take.cameras:
        frames = [packet.t_ns for packet in take.packets(camera)]
        assert frames == sorted(frames) and len(frames) >= 0.8 * FPS * SECONDS
    assert whole_but_for(take, "left", "cameras")
    assert causes(ended) == set(), "nothing is missing"


def test_garbage_on_a_cable_costs_the_frames_it_hits_and_is_told(rig: PluggedIn, running: Capture) -> None:
    before = rig.boards["right"].losses.as_dict()
    rig.live.do("garbage", "right")
    ended = record(running, SECONDS)
    lost = {what: n - before[what] for what, n in rig.boards["right"].losses.as_dict().items()}
    assert lost["bad_crc"] + lost["bad_cobs"] + lost["too_long"] + lost["too_short"] > 0
    assert causes(ended) == {("imu_samples_lost", "imu_right")}
    take = taken(running, ended.take)
    assert len(take.imu("right")) > 0.6 * RATE_HZ * SECONDS
    assert whole_but_for(take, "right")


def test_a_second_board_that_claims_the_same_number_is_refused_and_disturbs_nobody(
    rig: PluggedIn, running: Capture
) -> None:
    from simulated_board import SimulatedBoard

    def twin() -> None:
        port = running.path.parent / "twin"
        with SimulatedBoard(port, uid=int(rig.boards["left"].uid, 16)), pytest.raises(DeviceError) as refused:
            open_board(str(port))
        assert "is open already" in refused.value.what and "one of them answers for the other" in str(refused.value)

    ended = record(running, SECONDS, twin)
    assert causes(ended) == set()
    assert whole_but_for(taken(running, ended.take))


def test_a_board_whose_clock_jumps_is_told(rig: PluggedIn, running: Capture) -> None:
    ended = record(running, 3.0, lambda: rig.live.do("jump", "left", 30.0))
    assert ("clock_jumped", "left") in faults(running, ended.take)
    assert ("clock_jumped", "imu_left") in causes(ended)
    assert whole_but_for(taken(running, ended.take))
