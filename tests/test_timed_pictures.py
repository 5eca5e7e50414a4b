"""A recorded take of a triggered camera: every picture has its pulse's time, or none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from recording import RIG, imu_block, jpeg, session_meta

from handcap import session as session_store
from handcap.measure.timed_pictures import TimedPictures
from handcap.reconstruct.recorded import recorded, with_doubts
from handcap.reconstruct.rig_take import Whole
from handcap.sim.trigger import Trigger
from handcap.types import CameraPlug, Rig, Stamps
from handcap.wire.handcap_pb2 import Envelope, FrameStamp, VideoFrame

RATE_HZ = 30.0
PICTURE = jpeg()
# Clocks of the board and of the camera node: t_session = t + dt, dt growing by skew.
DT_S, SKEW, NODE_DT_S = 1234.5, 2e-5, 77.0


def triggered_rig() -> Rig:
    plug = CameraPlug(rate_hz=RATE_HZ, trigger=("head", 0))
    return replace(RIG, cameras={**RIG.cameras, "head": replace(RIG.cameras["head"], plug=plug)})


@dataclass(frozen=True, eq=False, slots=True)
class Filmed:
    """What is true of a take.

    Attributes:
        exposed_ns: (p,) middles of all exposures, session clock.
        kept: which of them have a picture on the disk.
        stamp_ns: these pictures' stamps.
    """

    exposed_ns: Stamps
    kept: Stamps
    stamp_ns: Stamps


def film(
    path: Path,
    seconds: float,
    loss: float,
    seed: int,
    *,
    delay_s: float = 0.045,
    jitter_s: float = 0.0004,
    stamps_lost: float = 0.0,
    counted: bool = False,
    line: int = 0,
    reboot: bool = False,
    mark: bool = True,
    with_imu: bool = False,
) -> Filmed:
    """Write a take: pulses from a board, pictures as they come from a camera, or from a node that counts them."""
    rng = np.random.default_rng(seed)
    trigger = Trigger(RATE_HZ)
    stamps: list[FrameStamp] = []
    for k in range(round(seconds * RATE_HZ)):
        if mark and k == 20:
            trigger.mark()
        pulse = trigger.pulse(100 * 10**9 + round(k * 1e9 / RATE_HZ), exposure_ns=4_000_000)
        if pulse is not None:
            stamps.append(pulse)
    board_ns = np.array([stamp.exposure_start_t_ns + stamp.exposure_ns // 2 for stamp in stamps], np.int64)
    exposed_ns = board_ns + np.rint(1e9 * DT_S + SKEW * (board_ns - 100 * 10**9)).astype(np.int64)
    kept = np.flatnonzero(rng.random(len(stamps)) >= loss)
    late = np.rint(1e9 * (delay_s + rng.exponential(jitter_s, len(kept)))).astype(np.int64)
    arrived_ns = np.maximum.accumulate(exposed_ns[kept] + late)
    # A take begins and ends anywhere: the first pictures are of pulses before it, the last pulses' pictures come later.
    begin_ns, end_ns = exposed_ns[0] + round(rng.uniform(0.1, 0.4) * 1e9), exposed_ns[-1] - round(rng.uniform(0, 2e8))
    recorded = (arrived_ns >= begin_ns) & (arrived_ns <= end_ns)
    kept, arrived_ns = kept[recorded], arrived_ns[recorded]
    with session_store.create(path, session_meta("capture"), triggered_rig()) as writer:
        take = writer.start_take()
        for at_s in (100.0, 110.0, 130.0):
            dt_s = DT_S + SKEW * (at_s - 100.0)
            writer.journal.clock_fit("head", round(1e9 * (at_s + dt_s)), dt_s, SKEW, 1e-5, take=take.id)
        writer.journal.clock_fit("node0", 0, NODE_DT_S, 0.0, 1e-5, take=take.id)
        for k, (stamp, t_ns) in enumerate(zip(stamps, exposed_ns.tolist(), strict=True)):
            if rng.random() >= stamps_lost and begin_ns <= t_ns + 3_000_000 <= end_ns:
                boot_id = 1 + (reboot and k > len(stamps) // 2)
                stamp.camera, stamp.frame = line, stamp.frame - (boot_id - 1) * (len(stamps) // 2)
                take.add_wire("head", t_ns + 3_000_000, Envelope(boot_id=boot_id, frame_stamp=stamp))
        if with_imu:
            take.add_imu_si("head", *imu_block(int(begin_ns), 500))
        for place, t_ns in zip(kept.tolist(), arrived_ns.tolist(), strict=True):
            if counted:
                said = VideoFrame(camera="head", frame=1000 + place, capture_t_ns=t_ns - round(1e9 * NODE_DT_S))
                take.add_wire("node0", t_ns + 2_000_000, Envelope(boot_id=9, video_frame=said))
            take.add_image("head", t_ns, PICTURE, "jpeg")
        take.end()
    return Filmed(exposed_ns, kept, arrived_ns)


def read(path: Path) -> TimedPictures:
    return TimedPictures(session_store.read(path).take("0001"), "head")


def assert_right(timed: TimedPictures, true: Filmed) -> None:
    """No picture has another pulse's time; a clock's fit is good for microseconds."""
    at = np.searchsorted(true.stamp_ns, timed.as_recorded(timed.stamps))
    assert np.abs(timed.stamps - true.exposed_ns[true.kept[at]]).max() < 5_000


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31),
    loss=st.floats(0, 0.05),
    stamps_lost=st.sampled_from([0.0, 0.0, 0.02]),
    delay_s=st.floats(0.005, 0.15),
    counted=st.booleans(),
    seconds=st.floats(4, 25),
)
@example(seed=0, loss=0.05, stamps_lost=0.02, delay_s=0.045, counted=True, seconds=25.0)
def test_no_picture_of_a_recorded_take_has_the_time_of_another_pulse(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    loss: float,
    stamps_lost: float,
    delay_s: float,
    counted: bool,
    seconds: float,
) -> None:
    path = tmp_path_factory.mktemp("take") / "s"
    true = film(path, seconds, loss, seed, delay_s=delay_s, stamps_lost=stamps_lost, counted=counted)
    timed = read(path)
    match = timed.match
    assert match is not None and match.matched + match.ambiguous + match.outside == match.pictures == len(true.kept)
    if timed.exposed:
        assert_right(timed, true)
    else:
        np.testing.assert_array_equal(timed.stamps, true.stamp_ns)


@pytest.mark.parametrize(("counted", "by"), [(False, "time"), (True, "numbers")])
def test_one_lost_picture_shifts_no_other(tmp_path: Path, counted: bool, by: str) -> None:
    true = film(tmp_path / "s", 12.0, 0.01, 4, counted=counted)
    timed = read(tmp_path / "s")
    assert timed.match is not None and timed.match.by == by
    after_a_loss = int(np.count_nonzero(np.diff(true.kept) > 1))
    assert after_a_loss and abs(timed.match.ambiguous - (0 if counted else after_a_loss)) <= 1
    assert timed.match.outside <= 3
    assert timed.match.delay_s == pytest.approx(0.0453, abs=3e-4)
    assert timed.match.delay_sigma_s == pytest.approx(4e-4, rel=0.6)
    assert_right(timed, true)


def test_decoded_pictures_carry_the_times_of_their_exposures(tmp_path: Path) -> None:
    film(tmp_path / "s", 6.0, 0.03, 1)
    timed = read(tmp_path / "s")
    assert [frame.t_ns for frame in timed.frames()] == timed.stamps.tolist()
    assert [frame.t_ns for frame in timed.frames(every=3)] == timed.stamps[::3].tolist()
    wanted = timed.stamps[10:40:7].tolist()
    assert [frame.t_ns for frame in timed.frames(grey=False, only=wanted)] == wanted


def test_a_count_that_leaves_out_lost_pictures_is_not_believed(tmp_path: Path) -> None:
    """Some drivers count what reached them: after the first loss their numbers are a picture short."""
    from handcap.measure.frame_match import NONE, match_frames

    true = film(tmp_path / "s", 12.0, 0.02, 8)
    found = match_frames(true.exposed_ns, true.stamp_ns, np.arange(len(true.kept)))
    tied = found.pulse != NONE
    assert not found.by_ids and np.count_nonzero(tied) > 0.9 * len(true.kept)
    np.testing.assert_array_equal(found.pulse[tied], true.kept[tied])


@pytest.mark.parametrize("counted", [False, True])
def test_a_board_that_restarts_and_counts_anew_is_matched_all_the_same(tmp_path: Path, counted: bool) -> None:
    true = film(tmp_path / "s", 12.0, 0.01, 5, counted=counted, reboot=True)
    timed = read(tmp_path / "s")
    assert timed.match is not None and timed.match.matched > 0.9 * timed.match.pictures
    assert_right(timed, true)


def test_without_a_gap_in_view_the_stamps_stay_as_recorded_and_it_is_said(tmp_path: Path) -> None:
    true = film(tmp_path / "s", 6.0, 0.0, 0, mark=False)
    timed = read(tmp_path / "s")
    assert timed.match is not None and timed.match.matched == 0 and not timed.exposed
    np.testing.assert_array_equal(timed.stamps, true.stamp_ns)


def test_pulses_of_another_line_are_nobodys(tmp_path: Path) -> None:
    film(tmp_path / "s", 6.0, 0.0, 0, line=1)
    timed = read(tmp_path / "s")
    assert timed.match is None and not timed.exposed


def test_a_camera_that_runs_free_keeps_its_stamps_whatever_the_board_says(tmp_path: Path) -> None:
    film(tmp_path / "s", 4.0, 0.0, 0)
    session_store.write_rig(tmp_path / "s/rig.json", RIG)
    assert read(tmp_path / "s").match is None


def test_reconstruction_works_on_exposures_and_finds_its_pictures_on_the_disk(tmp_path: Path) -> None:
    true = film(tmp_path / "s", 8.0, 0.01, 2, with_imu=True)
    session = session_store.read(tmp_path / "s")
    recording = recorded(session, session.take("0001"))
    stamps = recording.stamps("head")
    assert [frame.t_ns for frame in recording.frames("head")] == stamps.tolist()
    part = recording.part(int(stamps[20]), int(stamps[60]))
    assert [frame.t_ns for frame in part.frames("head")] == part.stamps("head").tolist() == stamps[20:60].tolist()
    on_disk = recording.as_recorded("head", stamps)
    assert set(on_disk) <= set(true.stamp_ns.tolist()) and np.median((on_disk - stamps) / 1e9) > 0.04
    assert recording.rig.cameras["head"].dt_sigma_s == RIG.cameras["head"].dt_sigma_s


@pytest.mark.parametrize(
    ("loss", "mark", "codes"),
    [(0.0, True, []), (0.05, True, ["pictures_ambiguous"]), (0.0, False, ["trigger_unmatched"])],
)
def test_a_take_whose_pictures_cannot_all_be_told_says_so(tmp_path: Path, loss: float, mark: bool, codes: list) -> None:
    film(tmp_path / "s", 9.0, loss, 5, mark=mark, with_imu=True)
    session = session_store.read(tmp_path / "s")
    take = session.take("0001")
    recording = recorded(session, take)
    judged = with_doubts(Whole("ok", (), (), {}, {}, {}, {}), recording, take, {})
    assert [cause.code for cause in judged.causes] == codes and judged.verdict == ("partial" if codes else "ok")
    assert (recording.rig.cameras["head"].dt_sigma_s is None) == (not mark), "another kind of stamp, another offset"
