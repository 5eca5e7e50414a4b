"""A real flight with ground truth, as it came and spoiled in one way at a time; and a camera at rest.

`vio/euroc_mh01_head`: 185 pictures at 20 Hz, IMU at 200 Hz, hardware-synchronised; its true offset is about 0.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from handcap import session as session_store
from handcap.causes import LANGUAGES
from handcap.clock import seconds
from handcap.formats.tum import read_tum
from handcap.geometry import interpolate_poses, se3, so3_exp, transform
from handcap.reconstruct import Reconstruction, bundle, reconstruct_take, refinement, run_session
from handcap.reconstruct.eyes import Eye
from handcap.reconstruct.score import score, yaw_alignment
from handcap.session import SessionClock, SessionMeta
from handcap.types import Device, Frame, ImuSamples, MountedCamera, Rig, Trajectory

RECORDING = "vio/euroc_mh01_head"
DERIVED = "derived/0001/reconstruct"


@dataclass(frozen=True, eq=False)
class Take:
    """A take in memory: what `reconstruct_take` needs."""

    frames: tuple[Frame, ...]
    imu: ImuSamples
    device: Device
    mount: MountedCamera

    def since_start_s(self, t_ns):
        return seconds(t_ns, self.frames[0].t_ns)

    def reconstruct(self) -> Reconstruction:
        def pictures(only: Collection[int] | None = None) -> Iterator[Frame]:
            return (f for f in self.frames if only is None or f.t_ns in only)

        stamps = np.array([f.t_ns for f in self.frames], np.int64)
        return reconstruct_take([Eye("head", self.mount, stamps, pictures)], self.imu, self.device)

    def refused_for(self) -> list[str]:
        result = self.reconstruct()
        assert result.judgement.verdict == "refused"
        assert result.chain is None
        return speaking_codes(result)


def speaking_codes(result: Reconstruction) -> list[str]:
    """Codes of the causes, once each was found to have its sentence and mend in both languages."""
    for cause in result.judgement.causes:
        texts = [cause.text(lang) for lang in LANGUAGES] + [cause.mend(lang) for lang in LANGUAGES]
        assert len(set(texts)) == 4 and all("{" not in text and "None" not in text for text in texts), texts
    return [cause.code for cause in result.judgement.causes]


@pytest.fixture(scope="module")
def take(mh01_session) -> Take:
    session = session_store.read(mh01_session)
    recorded = session.take("0001")
    return Take(
        tuple(recorded.frames("head")), recorded.imu("head"), session.rig.devices["head"], session.rig.cameras["head"]
    )


@pytest.fixture(scope="module")
def truth(shared_data) -> Trajectory:
    return read_tum(shared_data(RECORDING) / "groundtruth_tum.txt")


@pytest.fixture(scope="module")
def late_session(mh01_session, tmp_path_factory) -> Path:
    """The recording with all picture stamps 15 ms later, reconstructed."""
    recorded = session_store.read(mh01_session)
    path = tmp_path_factory.mktemp("late") / "session"
    source = recorded.take("0001")
    meta = SessionMeta(
        id="late", created="2026-01-01T00:00:00Z", origin="import", clock=SessionClock(kind="import", utc_offset_ns=0)
    )
    rig = Rig("late", dict(recorded.rig.devices), dict(recorded.rig.cameras))
    with session_store.create(path, meta, rig) as writer, writer.start_take() as out:
        for packet in source.packets("head"):
            out.add_image("head", packet.t_ns + 15_000_000, packet.data, packet.format)
        imu = source.imu("head")
        out.add_imu_si("head", imu.t_ns, imu.gyro_imu, imu.accel_imu)
    run_session(path)
    return path


def read(session: Path) -> tuple[dict, Trajectory]:
    report = session_store.read_report(session / DERIVED)
    return report, session_store.read_trajectory(session / DERIVED / "head.parquet")


def test_the_flight_is_followed_whole_metric_upright_and_in_time(mh01_session, truth):
    report, head = read(mh01_session)
    found = score(truth, head)
    assert report["verdict"] == "ok" and report["causes"] == []
    assert len(head) == 185 and found.coverage == 1
    assert found.ate_m.rmse <= 0.008
    assert found.scale == pytest.approx(1, abs=0.02)
    assert np.rad2deg(found.tilt_rad) <= 0.3
    assert report["time_offset_s"]["head"] == pytest.approx(0, abs=0.0005)
    assert 0 < report["time_offset_sigma_s"]["head"] < 0.0005


def test_a_flight_that_is_knocked_every_second_is_followed_as_well(take, truth):
    imu, ring_s = take.imu, 0.005 * np.arange(12)
    gyro, accel = imu.gyro_imu.copy(), imu.accel_imu.copy()
    for k in range(100, len(imu) - 12, 200):  # 73 Hz, gone in 40 ms, as a struck frame rings
        ring = np.exp(-ring_s / 0.012) * np.cos(2 * np.pi * 73 * ring_s + k)
        axis = np.random.default_rng(k).normal(size=(2, 3))
        accel[k : k + 12] += 80 * ring[:, None] * axis[0]
        gyro[k : k + 12] += 5 * ring[:, None] * axis[1]
    result = replace(take, imu=ImuSamples(imu.t_ns, gyro, accel)).reconstruct()
    assert result.judgement.verdict == "ok" and result.chain is not None
    found = score(truth, result.chain.pictures("head"))
    assert found.coverage == 1 and found.ate_m.rmse <= 0.008


def test_halves_that_cannot_be_solved_do_not_cost_the_take(take, monkeypatch):
    def unsolvable(*_):
        raise bundle.Unsolvable("indeterminate")

    monkeypatch.setattr(refinement, "split_half", unsolvable)
    result = take.reconstruct()
    assert result.judgement.verdict == "ok" and result.chain is not None
    assert result.judgement.numbers["split_half_m"] is None


def test_the_covariance_of_the_flight_is_as_large_as_its_errors(mh01_session, truth):
    _, head = read(mh01_session)
    rows = head.tracked_only()
    rows = rows.where((rows.t_ns >= truth.t_ns[0]) & (rows.t_ns <= truth.t_ns[-1]))
    T_truth = interpolate_poses(truth.t_ns, truth.T_world_body, rows.t_ns)
    p = transform(yaw_alignment(T_truth[0], rows.T_world_body[0]), T_truth[:, :3, 3])
    error = np.einsum("nji,nj->ni", rows.T_world_body[:, :3, :3], p - rows.T_world_body[:, :3, 3])
    truth_m = 0.002  # of the laser tracker, at both ends
    cov = rows.cov[:, 3:, 3:] + 2 * truth_m**2 * np.eye(3)
    assert 0.2 <= np.mean(np.einsum("ni,nij,nj->n", error, np.linalg.inv(cov), error)) / 3 <= 3


def test_the_imu_rate_path_passes_through_the_pictures_poses(mh01_session, truth):
    _, head = read(mh01_session)
    dense = session_store.read_trajectory(mh01_session / DERIVED / "head_imu.parquet")
    assert score(truth, dense).ate_m.rmse <= 0.008
    assert score(dense, head).ate_m.max < 0.001
    assert np.median(np.diff(dense.t_ns)) == 5_000_000


def test_the_world_starts_at_the_first_pose_and_looks_along_x(mh01_session):
    _, head = read(mh01_session)
    mount = session_store.read(mh01_session).rig.cameras["head"]
    np.testing.assert_allclose(head.T_world_body[0, :3, 3], 0, atol=0.02)
    axis = head.T_world_body[0, :3, :3] @ mount.T_imu_cam[:3, 2]
    assert axis[0] > 0 and abs(axis[1]) < 0.02
    covariance = head.cov[head.tracked]
    assert np.linalg.eigvalsh(covariance).min() >= 0
    assert np.sqrt(np.trace(covariance[-1, 3:, 3:])) > np.sqrt(np.trace(covariance[0, 3:, 3:]))


def test_stamps_15_ms_late_are_found_and_cost_no_accuracy(late_session, truth):
    report, head = read(late_session)
    found = score(truth, head)
    assert report["time_offset_s"]["head"] == pytest.approx(-0.015, abs=0.0005)
    assert found.coverage == 1 and found.ate_m.rmse <= 0.010
    # t_ns is on the IMU's clock, camera_t_ns as recorded
    np.testing.assert_allclose(head.t_ns - head.camera_t_ns, report["time_offset_s"]["head"] * 1e9, atol=1.5)


def contents(session: Path) -> dict[str, bytes]:
    """All of the stage's files but the one that may differ."""
    files = {p.name: p.read_bytes() for p in sorted((session / DERIVED).iterdir())}
    assert set(files) >= {"report.json", "timing.json", "head.parquet", "head_imu.parquet"}
    del files["timing.json"]
    return files


def run_on_cores(session: Path, cores: set[int]) -> None:
    code = (
        f"import os; os.sched_setaffinity(0, {cores!r})\n"
        "import sys; from pathlib import Path\n"
        "from handcap.reconstruct import run_session\n"
        "run_session(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(session)], check=True, timeout=300)


linux_only = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores can be chosen on Linux only")


@linux_only
@pytest.mark.parametrize("cores", [1, None])
def test_a_second_run_writes_the_same_bytes_on_any_number_of_cores(mh01_session, tmp_path, cores):
    again = tmp_path / "session"
    shutil.copytree(mh01_session, again, ignore=shutil.ignore_patterns("derived"))
    run_on_cores(again, set(sorted(os.sched_getaffinity(0))[:cores]))
    first, second = contents(mh01_session), contents(again)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.slow
@linux_only
@pytest.mark.slow
def test_late_stamps_give_the_same_bytes_on_one_core_and_on_two(late_session, tmp_path):
    answers = []
    for count in (1, 2):
        session = tmp_path / f"{count}" / "session"
        shutil.copytree(late_session, session, ignore=shutil.ignore_patterns("derived"))
        run_on_cores(session, set(sorted(os.sched_getaffinity(0))[:count]))
        answers.append(contents(session))
    assert answers[0] == answers[1] == contents(late_session)


def test_a_camera_at_rest_is_refused_on_the_command_line_for_want_of_motion(shared_data, tmp_path, capfd):
    from handcap.cli.app import main

    session = tmp_path / "session"
    with pytest.raises(SystemExit) as imported:
        main(["import", "euroc", str(shared_data("vio/euroc_V101_micro_kimera")), str(session), "--json"])
    assert imported.value.code == 0
    capfd.readouterr()
    with pytest.raises(SystemExit) as refused:
        main(["reconstruct", str(session), "--json"])
    assert refused.value.code == 1
    answer = json.loads(capfd.readouterr().out)
    assert answer["ok"] is False and answer["summary"]["takes"] == {"0001": "refused"}
    assert answer["summary"]["causes"]["0001"][0]["code"] == "no_motion"
    report = session_store.read_report(session / DERIVED)
    assert report["verdict"] == "refused" and report["causes"][0]["code"] == "no_motion"
    assert list((session / "derived").rglob("*.parquet")) == []


def test_a_gyroscope_in_degrees_is_named(take):
    assert replace(take, imu=replace(take.imu, gyro_imu=np.rad2deg(take.imu.gyro_imu))).refused_for() == ["gyro_unit"]


def test_an_accelerometer_in_g_is_named(take):
    assert replace(take, imu=replace(take.imu, accel_imu=take.imu.accel_imu / 9.80665)).refused_for() == ["accel_unit"]


@pytest.mark.parametrize("order", [[1, 2, 0], [2, 0, 1]])
def test_swapped_axes_of_the_motion_sensor_are_named(take, order):
    swapped = ImuSamples(take.imu.t_ns, take.imu.gyro_imu[:, order], take.imu.accel_imu[:, order])
    assert replace(take, imu=swapped).refused_for() == ["camera_imu_rotation"]


def test_a_camera_remounted_by_eight_degrees_is_named(take):
    tilted = replace(take.mount, T_imu_cam=take.mount.T_imu_cam @ se3(so3_exp([np.deg2rad(8), 0, 0]), np.zeros(3)))
    result = replace(take, mount=tilted).reconstruct()
    assert speaking_codes(result) == ["camera_imu_rotation"]
    assert result.judgement.causes[0].measured == pytest.approx(8, abs=0.5)


def test_a_take_of_0_6_s_is_too_short(take):
    short = replace(take, frames=take.frames[60:73])
    assert short.refused_for() == ["too_short"]


def test_pictures_and_imu_that_share_no_time_are_named(take):
    later = replace(take.imu, t_ns=take.imu.t_ns + 60_000_000_000)
    assert replace(take, imu=later).refused_for() == ["no_overlap"]


def test_a_few_pictures_are_no_take(take):
    assert replace(take, frames=take.frames[:5]).refused_for() == ["no_pictures"]


def test_a_recording_in_the_dark_is_named(take):
    unlit = tuple(replace(f, image=(f.image // 100).astype(np.uint8)) for f in take.frames[:60])
    assert replace(take, frames=unlit).refused_for()[0] == "too_dark"


def test_a_lens_covered_from_the_start_is_named(take):
    covered = tuple(replace(f, image=np.full_like(f.image, 60)) for f in take.frames[:60])
    assert replace(take, frames=covered).refused_for() == ["camera_covered"]


@pytest.fixture(scope="module")
def interrupted(take) -> Reconstruction:
    """Lens covered from 1.6 to 2.6 s, no pictures from 6.6 to 7.8 s."""
    t_s = take.since_start_s(np.array([f.t_ns for f in take.frames]))
    frames = tuple(
        replace(f, image=np.full_like(f.image, 20)) if 1.58 <= t < 2.58 else f
        for f, t in zip(take.frames, t_s, strict=True)
        if not 6.62 < t < 7.78
    )
    return replace(take, frames=frames).reconstruct()


def test_a_lens_covered_for_a_second_leaves_the_rest_good_and_those_rows_empty(interrupted):
    judgement, head = interrupted.judgement, interrupted.chain.pictures("head")
    assert judgement.verdict == "partial" and head is not None
    (covered,) = [c for c in judgement.causes if c.code == "camera_covered"]
    np.testing.assert_allclose(covered.span_s, (1.6, 2.6), atol=0.06)
    t_s = seconds(head.camera_t_ns, int(head.camera_t_ns[0]))
    # A quarter of a second from sight the IMU still carries the pose.
    blind, bright = (t_s > 1.9) & (t_s < 2.3), (t_s < 1.58) | ((t_s > 2.6) & (t_s < 6.6)) | (t_s > 7.8)
    assert not head.tracked[blind].any() and head.tracked[bright].all()
    assert np.isnan(head.T_world_body[blind]).all() and np.isnan(head.cov[blind]).all()
    dense = interrupted.chain.samples("head_imu")
    assert dense is not None
    t_s = seconds(dense.t_ns, int(head.t_ns[0]))
    assert np.isnan(dense.T_world_body[(t_s > 1.9) & (t_s < 2.3)]).all()


def test_missing_pictures_are_named_and_cut_the_good_spans(interrupted):
    (missing,) = [c for c in interrupted.judgement.causes if c.code == "frames_missing"]
    np.testing.assert_allclose(missing.span_s, (6.6, 7.8), atol=0.01)
    assert {"frames_missing", "camera_covered"} <= set(speaking_codes(interrupted))
    np.testing.assert_allclose(interrupted.judgement.spans_ok_s, [(0.0, 1.55), (2.6, 6.6), (7.8, 9.2)], atol=0.06)


def test_the_good_spans_of_an_interrupted_take_stay_accurate(interrupted, truth):
    assert score(truth, interrupted.chain.pictures("head")).ate_m.rmse <= 0.020


def test_a_motion_sensor_that_stops_a_moment_before_the_camera_costs_nothing(take, truth):
    """No two streams of a live take end together."""
    end_ns = take.frames[-1].t_ns - 30_000_000
    result = replace(take, imu=take.imu.between(take.imu.t_ns[0], end_ns)).reconstruct()
    assert result.judgement.verdict == "ok", speaking_codes(result)
    assert result.judgement.spans_ok_s[0][1] > take.since_start_s(end_ns) - 0.1


@pytest.mark.slow
def test_half_a_second_without_imu_is_named_and_cut_out(take, truth):
    t_s = take.since_start_s(take.imu.t_ns)
    keep = ~((t_s > 4.5) & (t_s < 5.0))
    torn = ImuSamples(take.imu.t_ns[keep], take.imu.gyro_imu[keep], take.imu.accel_imu[keep])
    result = replace(take, imu=torn).reconstruct()
    assert result.judgement.verdict == "partial" and speaking_codes(result) == ["imu_missing"]
    np.testing.assert_allclose(result.judgement.causes[0].span_s, (4.5, 5.0), atol=0.06)
    np.testing.assert_allclose(result.judgement.spans_ok_s, [(0.0, 4.5), (5.0, 9.2)], atol=0.11)
    assert score(truth, result.chain.pictures("head")).ate_m.rmse <= 0.010
