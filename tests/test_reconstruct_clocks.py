"""A real reconstruction of what a clock, a cable or a disk has spoilt: nothing good is lost, nothing spoilt is ok."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handcap import session as session_store
from handcap import sim
from handcap.reconstruct import TakeResult, run_session
from handcap.reconstruct.score import score
from handcap.types import Stamps

SECONDS = 3.0
MIDDLE_NS = 2_500_000_000


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clocks") / "good"
    sim.simulate(folder, scene="bench", rig="head", seconds=SECONDS, seed=4)
    return folder


def rewritten(
    good: Path,
    folder: Path,
    stamped: Callable[[Stamps], Stamps] = lambda t_ns: t_ns,
    picture: Callable[[int, bytes], bytes] = lambda k, data: data,
    wild: int = 0,
) -> Path:
    """The same session with other stamps, other pictures, or numbers in its samples that are none."""
    session = session_store.read(good)
    take = session.take("0001")
    (camera,) = take.cameras
    imu, packets = take.imu("head", as_recorded=True), list(take.packets(camera))
    t_ns = stamped(imu.t_ns)
    gyro = imu.gyro_imu.copy()
    gyro[100 : 100 + wild] = np.nan
    shown = stamped(np.array([packet.t_ns for packet in packets]))
    with session_store.create(folder, session.meta, session.rig) as writer, writer.start_take() as into:
        for begin in range(0, len(imu), 10):
            rows = slice(begin, begin + 10)
            into.add_imu_si("head", t_ns[rows], gyro[rows], imu.accel_imu[rows])
        for k, packet in enumerate(packets):
            into.add_image(camera, int(shown[k]), picture(k, packet.data), packet.format)
    return folder


def solved(good: Path, folder: Path) -> tuple[TakeResult, float]:
    """What came out, and how far the head is off, m rms."""
    (result,) = run_session(folder)
    found = session_store.read_trajectory(folder / "derived/0001/reconstruct/head.parquet")
    return result, score(session_store.read_trajectory(good / "truth/head_imu.parquet"), found).ate_m.rmse


@pytest.mark.parametrize("by_ms", [30, 300])
def test_a_clock_set_back_for_good_costs_nothing_and_is_told(good: Path, tmp_path: Path, by_ms: int) -> None:
    def set_back(t_ns: Stamps) -> Stamps:
        return t_ns - np.where(t_ns > MIDDLE_NS, by_ms * 1_000_000, 0)

    result, off_m = solved(good, rewritten(good, tmp_path / "s", set_back))
    (cause,) = result.causes
    assert result.verdict == "partial" and cause.code == "clock_set_back" and cause.body == "head"
    assert cause.measured == pytest.approx(by_ms, abs=1) and result.report["spans_ok_s"][0][1] > SECONDS - 0.2
    assert off_m < 1e-3


def test_a_clock_that_jumps_and_jumps_back_costs_nothing_and_is_told(good: Path, tmp_path: Path) -> None:
    def off(t_ns: Stamps) -> Stamps:
        return t_ns + np.where(np.abs(t_ns - MIDDLE_NS) < 400_000_000, 130_000_000, 0)

    result, off_m = solved(good, rewritten(good, tmp_path / "s", off))
    assert [c.code for c in result.causes] == ["clock_mended"] and result.report["spans_ok_s"][0][1] > SECONDS - 0.2
    assert result.causes[0].span_s == pytest.approx((1.1, 1.9), abs=0.01) and off_m < 1e-3


def test_pictures_that_do_not_decode_leave_a_take_no_longer_simply_ok(good: Path, tmp_path: Path) -> None:
    (result,) = run_session(rewritten(good, tmp_path / "s", picture=lambda k, data: data if k % 2 else b""), field=True)
    (cause,) = [cause for cause in result.causes if cause.code == "pictures_undecodable"]
    assert result.verdict == "partial" and cause.measured == pytest.approx(50, abs=2)


def test_a_sample_that_is_no_number_is_left_out(good: Path, tmp_path: Path) -> None:
    folder = rewritten(good, tmp_path / "s", wild=3)
    take = session_store.read(folder).take("0001")
    imu = take.imu("head")
    assert np.isfinite(imu.gyro_imu).all() and take.imu_dropped("head") == 3
    result, off_m = solved(good, folder)
    assert result.verdict == "ok" and off_m < 1e-3
