"""Sensors, clocks and calibrations that lie: each is named, none passes as good, none crashes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from recording import imu_block, jpeg, new_session

from handcap import session as session_store
from handcap.causes import Cause
from handcap.errors import HandcapError, ReconstructionError, RigError
from handcap.reconstruct import Reconstruction, reconstruct_take, run_session
from handcap.reconstruct.eyes import Eye
from handcap.reconstruct.inputs import blind_causes, check_inputs, without_frozen
from handcap.reconstruct.limits import Refused, VerdictParams
from handcap.reconstruct.sync import VisualTurns
from handcap.reconstruct.verdict import blind_pictures
from handcap.session import SessionClock, SessionMeta
from handcap.types import Device, Frame, ImuSamples, MountedCamera, Rig


@dataclass(frozen=True, eq=False)
class Clip:
    frames: tuple[Frame, ...]
    imu: ImuSamples
    device: Device
    mount: MountedCamera

    def reconstruct(self) -> Reconstruction:
        def pictures(only: Collection[int] | None = None) -> Iterator[Frame]:
            return (f for f in self.frames if only is None or f.t_ns in only)

        stamps = np.array([f.t_ns for f in self.frames], np.int64)
        return reconstruct_take([Eye("head", self.mount, stamps, pictures)], self.imu, self.device)

    def codes(self) -> list[str]:
        result = self.reconstruct()
        assert result.judgement.verdict == "refused" and result.chain is None
        return [cause.code for cause in result.judgement.causes]


@pytest.fixture(scope="module")
def flight(mh01_session) -> Clip:
    session = session_store.read(mh01_session)
    take = session.take("0001")
    frames = tuple(take.frames("head"))
    return Clip(frames, take.imu("head"), session.rig.devices["head"], session.rig.cameras["head"])


@pytest.fixture(scope="module")
def clip(flight) -> Clip:
    """The first 5 s of the real flight."""
    return replace(flight, frames=flight.frames[:100])


def test_an_accelerometer_ten_percent_short_is_told_by_gravity(clip):
    assert "gravity_mismatch" in replace(clip, imu=replace(clip.imu, accel_imu=0.9 * clip.imu.accel_imu)).codes()


def test_an_accelerometer_at_its_limit_is_named(clip):
    clipped = replace(clip.imu, accel_imu=np.clip(clip.imu.accel_imu, -9.5, 9.5))
    assert replace(clip, imu=clipped).codes() == ["imu_saturated"]


def test_a_gyroscope_that_says_nothing_is_not_called_a_wrong_unit(clip):
    silent = replace(clip.imu, gyro_imu=np.zeros_like(clip.imu.gyro_imu))
    assert replace(clip, imu=silent).codes() == ["gyro_silent"]


def test_an_upside_down_accelerometer_disagrees_with_the_pictures(clip):
    assert replace(clip, imu=replace(clip.imu, accel_imu=-clip.imu.accel_imu)).codes() == ["accel_disagrees"]


def test_a_camera_clock_one_percent_fast_is_named(flight):
    start = flight.frames[0].t_ns
    fast = tuple(replace(f, t_ns=start + round((f.t_ns - start) * 1.01)) for f in flight.frames)
    assert "clock_drift" in replace(flight, frames=fast).codes()


def test_clocks_that_both_jump_an_hour_leave_the_longer_side(clip):
    middle, hour = clip.frames[30].t_ns, 3_600_000_000_000
    frames = tuple(replace(f, t_ns=f.t_ns + hour * (f.t_ns > middle)) for f in clip.frames)
    imu = replace(clip.imu, t_ns=clip.imu.t_ns + hour * (clip.imu.t_ns > middle))
    result = replace(clip, frames=frames, imu=imu).reconstruct()
    assert result.judgement.verdict == "partial" and result.chain is not None
    assert not result.chain.tracked[:31].any() and result.chain.tracked[31:].mean() > 0.95


def test_an_imu_said_to_be_noiseless_is_not_believed(clip):
    model = replace(
        clip.device.imu,
        gyro_noise_density=1e-12,
        accel_noise_density=1e-12,
        gyro_random_walk=1e-12,
        accel_random_walk=1e-12,
    )
    assert replace(clip, device=replace(clip.device, imu=model)).reconstruct().judgement.verdict in ("ok", "refused")


def test_pictures_of_another_size_than_calibrated_name_both_sizes(mh01_session, tmp_path):
    session = session_store.read(mh01_session)
    mount = session.rig.cameras["head"]
    other = Rig("other", session.rig.devices, {"head": replace(mount, camera=mount.camera.scaled(0.5))})
    session_store.write_rig(tmp_path / "rig.json", other)
    copy = tmp_path / "session"
    shutil.copytree(mh01_session, copy, ignore=shutil.ignore_patterns("derived"))
    with pytest.raises(RigError, match=r"752×480.*376×240"):
        run_session(copy, tmp_path / "rig.json")
    told = session_store.read_report(copy / "derived/0001/reconstruct")
    assert told["verdict"] == "refused" and "752×480" in told["causes"][0]["text"]


def test_an_empty_take_does_not_keep_the_next_one_from_being_tried(mh01_session, clip, tmp_path):
    recorded = session_store.read(mh01_session)
    source = recorded.take("0001")
    clock = SessionClock(kind="import", utc_offset_ns=0)
    meta = SessionMeta(id="two", created="2026-01-01T00:00:00Z", origin="import", clock=clock)
    with session_store.create(tmp_path / "two", meta, recorded.rig) as writer:
        with writer.start_take() as out:
            out.add_imu_si("head", clip.imu.t_ns, clip.imu.gyro_imu, clip.imu.accel_imu)
        with writer.start_take() as out:
            for packet in list(source.packets("head"))[:20]:
                out.add_image("head", packet.t_ns, packet.data, packet.format)
            out.add_imu_si("head", clip.imu.t_ns, clip.imu.gyro_imu, clip.imu.accel_imu)
    first, second = run_session(tmp_path / "two")
    assert [c.code for c in first.causes] == ["no_pictures"]
    assert [c.code for c in second.causes] == ["too_short"]


@pytest.fixture
def several(tmp_path) -> Path:
    """Takes of half a second; 0002 has pictures of another size, 0003 no motion sensor, 0004 nothing."""
    with new_session(tmp_path / "several") as writer:
        for k in range(5):
            with writer.start_take() as out:
                for i in range(10 * (k != 3)):
                    out.add_image("head", 50_000_000 * i, jpeg(0, *((32, 24) if k == 1 else (64, 48))), "jpeg")
                    if k != 2:
                        out.add_imu_si("head", *imu_block(50_000_000 * i, 50))
    return tmp_path / "several"


def test_a_take_that_cannot_be_tried_keeps_no_other_one_from_being_tried_and_says_why(several) -> None:
    first, size, blind, empty, last = run_session(several)
    assert first.error is None and last.error is None and "bodies" in last.report
    assert isinstance(size.error, RigError) and "32×24" in size.error.what and not size.causes
    assert [c.code for c in blind.causes] == ["no_imu"] and [c.code for c in empty.causes] == ["recording_empty"]
    for told in (size, blind, empty):
        assert told.verdict == "refused" and told.error is not None
        report = session_store.read_report(several / "derived" / told.take / "reconstruct")
        assert report["verdict"] == "refused" and len(report["causes"]) == 1 and report["causes"][0]["mend"]


def test_a_single_take_that_cannot_be_tried_is_an_error_that_names_it(several) -> None:
    for take, what in (("0002", "32×24"), ("0003", "motion-sensor"), ("0004", "is empty")):
        with pytest.raises(HandcapError, match=what) as told:
            run_session(several, take=take)
        assert f"take {take}" in str(told.value)


def test_a_file_in_the_way_of_one_take_is_named_and_the_others_are_solved(several) -> None:
    (several / "derived").mkdir()
    (several / "derived/0002").touch()
    results = run_session(several)
    assert [result.error is None for result in results] == [True, False, False, False, True]
    assert results[1].report["causes"][0]["text"].startswith("derived/0002: a file")
    assert (several / "derived/0002").read_bytes() == b""


def test_a_take_whose_folder_has_a_name_that_no_take_has_is_told_by_it(several, caplog) -> None:
    (several / "raw/0001").rename(several / "raw/My Take é")
    run_session(several)
    assert "'My Take é'" in caplog.text and "lower-case letters" in caplog.text
    for take in ("0002", "0003", "0004", "0005"):
        shutil.rmtree(several / "raw" / take)
    with pytest.raises(ReconstructionError, match=r"holds no take.*'My Take é'.*lower-case letters") as told:
        run_session(several)
    assert "rename" in (told.value.mend or "")
    shutil.rmtree(several / "raw/My Take é")
    with pytest.raises(ReconstructionError, match=r"holds no take\n"):
        run_session(several)


def found_before(folder: Path, take: str) -> Path:
    with session_store.write_stage(session_store.read(folder), take, "reconstruct") as out:
        session_store.write_report(out, {"verdict": "ok"})
        (out / "head.parquet").write_bytes(b"of an earlier run")
    return folder / "derived" / take / "reconstruct"


@pytest.mark.parametrize("take", [None, "0003"])
def test_what_an_earlier_run_found_does_not_outlive_one_that_fails(several, take) -> None:
    there = found_before(several, "0003")
    with contextlib.suppress(HandcapError):
        run_session(several, take=take)
    assert [path.name for path in there.iterdir()] == ["report.json"]
    assert session_store.read_report(there)["causes"][0]["code"] == "no_imu"
    assert [path.name for path in there.parent.iterdir()] == ["reconstruct"]


def test_what_an_earlier_run_found_goes_when_the_program_breaks_and_stays_when_somebody_stops_it(several) -> None:
    def stop_by(error: BaseException) -> None:
        def stop(what: str, share: float) -> None:
            raise error

        with pytest.raises(type(error)):
            run_session(several, take="0001", on_progress=stop)

    there = found_before(several, "0001")
    stop_by(KeyboardInterrupt())
    assert session_store.read_report(there)["verdict"] == "ok"
    stop_by(ZeroDivisionError())
    assert not there.exists()


@pytest.mark.parametrize(
    ("data", "part", "word"),
    [(b"", False, "copy raw/0001"), (bytes(5000), False, "copy raw/0001"), (bytes(5000), True, "handcap recover")],
)
def test_a_recording_of_which_nothing_can_be_read_is_called_damaged_and_not_foreign(
    several, data: bytes, part: bool, word: str
) -> None:
    segment = several / "raw/0001/seg-0000.mcap"
    segment.unlink()
    segment.with_name("seg-0000.mcap.part" if part else segment.name).write_bytes(data)
    with pytest.raises(ReconstructionError, match="take 0001 is damaged") as told:
        run_session(several, take="0001")
    assert word in (told.value.mend or "") and told.value.cause == Cause("recording_unreadable")
    segment.with_name(segment.name + (".part" if part else "")).unlink()
    with pytest.raises(ReconstructionError, match="take 0001 is empty"):
        run_session(several, take="0001")


def test_a_gyroscope_is_not_called_silent_because_lamps_flicker_before_a_device_that_rests() -> None:
    rng, t_ns = np.random.default_rng(1), np.arange(0, 8 * 10**9, 5 * 10**6, dtype=np.int64)
    camera_t_ns = 33_333_333 * np.arange(240, dtype=np.int64)
    moves = (t_ns > 5 * 10**9)[:, None]
    gyro = np.where(moves, rng.normal(0, 0.5, (len(t_ns), 3)), 0.0) + rng.normal(0, 0.001, (len(t_ns), 3))
    seen = rng.normal(0, np.where(camera_t_ns > 5 * 10**9, 0.5, 0.08)[:, None], (240, 3)) / 30
    turns = VisualTurns(
        camera_t_ns, seen, np.full(240, 90.0), np.full(240, 150), np.zeros(240, bool), np.ones((8, 8), bool)
    )
    force = np.tile([0.0, 0.0, 9.81], (len(t_ns), 1))
    check_inputs(turns, ImuSamples(t_ns, gyro, force), VerdictParams())
    with pytest.raises(Refused, match="gyro_silent"):
        check_inputs(turns, ImuSamples(t_ns, gyro / 57.3, force), VerdictParams())


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize(("grey", "points", "shows_nothing"), [(2.0, 15, True), (90.0, 3, True), (90.0, 57, False)])
def test_pictures_that_show_nothing_are_the_same_ones_at_half_the_rate(
    every: int, grey: float, points: int, shows_nothing: bool
) -> None:
    def turns(bad: list[slice]) -> VisualTurns:
        stamps = 50_000_000 * np.arange(80, dtype=np.int64)
        rows, light, found = np.zeros(80, bool), np.full(80, 90.0), np.full(80, 150)
        for some in bad:
            light[some], found[some] = grey, points
        whole = VisualTurns(stamps, np.zeros((80, 3)), light, found, rows, np.ones((8, 8), bool))
        return whole.part(slice(None, None, every))

    gone = blind_pictures(turns([slice(20, 24), slice(40, 42), slice(76, 80)]), VerdictParams())
    expected = np.zeros(80, bool)
    expected[20:24] = expected[76:80] = shows_nothing  # a fifth of a second; a tenth is a blink
    np.testing.assert_array_equal(gone, expected[::every])


def test_a_camera_that_sends_one_picture_again_and_again_while_it_is_turned_shows_nothing() -> None:
    t_ns = np.arange(0, 4 * 10**9, 10**7, dtype=np.int64)
    turning = np.where((t_ns > 10**9)[:, None], [0.0, 0.5, 0.0], [0.0, 0.005, 0.0])
    imu = ImuSamples(t_ns, turning, np.tile([0.0, 0.0, 9.81], (len(t_ns), 1)))
    camera_t_ns = 50_000_000 * np.arange(80, dtype=np.int64)
    repeated = np.zeros(80, bool)
    repeated[2:14] = repeated[40:60] = repeated[70] = True  # at rest, turning, a single one twice
    turns = VisualTurns(
        camera_t_ns, np.zeros((80, 3)), np.full(80, 90.0), np.full(80, 150), repeated, np.ones((8, 8), bool)
    )
    limits = VerdictParams()
    found = without_frozen(turns, imu, limits)
    frozen = np.arange(80)[found.repeated]
    np.testing.assert_array_equal(frozen, np.arange(40, 60))
    assert (found.points[frozen] == 0).all() and (np.delete(found.points, frozen) == 150).all()
    assert np.isnan(found.rotvec_cam[40:61]).all() and np.isfinite(np.delete(found.rotvec_cam, np.r_[40:61], 0)).all()
    (cause,) = blind_causes(found, found.repeated, limits, imu)
    assert cause.code == "camera_frozen" and cause.measured == pytest.approx(0.95)
