"""A camera that does not sit or look as calibrated is found by what its own take says, and named."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_motion import T_IMU_CAM, HeadMotion
from test_reconstruct_bundle import FISHEYE, NOISE, PINHOLE, PIXEL_SIGMA, recorded

from handcap import session as session_store
from handcap.cameras import Camera
from handcap.geometry import Array, inverse, se3_exp, se3_log, so3_exp
from handcap.reconstruct import recorded as on_disk
from handcap.reconstruct.bundle import Unsolvable, optimise
from handcap.reconstruct.inertial import Preintegrator
from handcap.reconstruct.mounts import Correction, MountParams, wishes
from handcap.reconstruct.refinement import Refinement
from handcap.reconstruct.result import Reconstruction, ReconstructParams
from handcap.reconstruct.score import Score, score
from handcap.reconstruct.uncertainty import UNMODELLED, linearised
from handcap.reconstruct.whole import solve_device
from handcap.types import CameraSigma, MountedCamera

TURN_RAD, SHIFT_M, FOCAL = np.deg2rad([0.3, -0.4, 0.2]), np.array([0.004, -0.003, 0.005]), 0.004


def believed(camera: Camera, off: Array, focal: float) -> MountedCamera:
    """A calibration that is off: the true camera lies at exp(off) of it, its focal length longer by that share."""
    params = (camera.params[0] / (1 + focal), camera.params[1] / (1 + focal), *camera.params[2:])
    return MountedCamera("head", replace(camera, params=params), T_IMU_CAM @ inverse(se3_exp(off)))


def told(camera: Camera, off: Array, focal: float, seed: int, drift_px: float = 0.0) -> Correction:
    """What a recording says of that calibration, after the step has been taken twice.

    Args:
        drift_px: by which every track slides off its point while it is followed, each its own way.
    """
    truth, samples, seen = recorded(HeadMotion.drawn(7), camera, seed)
    if drift_px:
        of, which = np.unique(seen.track, return_inverse=True)
        way = np.random.default_rng(seed).normal(0.0, drift_px, (len(of), 2))
        seen = replace(seen, pixel=seen.pixel + way[which] * (seen.keyframe / seen.keyframe.max())[:, None])
    imu, states, mount = Preintegrator(samples, NOISE), truth, believed(camera, off, focal)
    calibrated = mount
    for _ in range(3):
        seen = replace(seen, ray=mount.camera.unproject(seen.pixel)[0])
        solution = optimise(states, seen, mount.camera, mount.T_imu_cam, imu, PIXEL_SIGMA)
        sigma_px = np.full(len(np.unique(seen.track)), PIXEL_SIGMA)
        linear = linearised(solution, imu, 1e-5)
        poses = solution.states.T_world_imu
        (step,) = wishes(linear, seen, sigma_px, truth.t_ns, poses, [mount], 1.0).corrections([MountParams().possible])
        total = step.after(calibrated, mount)
        mount, states = total.applied(calibrated), solution.states
    return total


@pytest.mark.parametrize("camera", [PINHOLE, FISHEYE], ids=["pinhole", "fisheye"])
def test_turn_shift_and_focal_length_come_back_within_what_is_claimed(camera: Camera) -> None:
    off = np.r_[TURN_RAD, SHIFT_M]
    errors, covs = [], []
    for seed in range(8):
        found = told(camera, off, FOCAL, seed)
        errors.append(np.r_[found.rotation_rad - TURN_RAD, found.position_m - SHIFT_M, found.focal - FOCAL])
        covs.append(found.cov[:7, :7] / UNMODELLED)
    per_freedom = np.mean([e @ np.linalg.solve(c, e) for e, c in zip(errors, covs, strict=True)]) / 7
    assert 0.5 < per_freedom < 1.7, per_freedom


def test_a_good_calibration_is_mostly_left_alone_by_tracks_that_drift() -> None:
    """By their size alone, each view a witness of its own, these residuals speak against it with 5 to 10 sigmas."""
    params = MountParams()
    found = [told(PINHOLE, np.zeros(6), 0.0, seed, drift_px=8.0) for seed in range(5)]
    assert np.median([max(each.significance(params.calibrated)) for each in found]) < params.sigmas


def test_a_step_that_no_camera_can_have_made_is_not_believed() -> None:
    found = told(PINHOLE, np.zeros(6), 0.0, 1)
    assert found.can_be(MountParams())
    assert not replace(found, focal=-0.34).can_be(MountParams())
    assert not replace(found, position_m=np.array([0.0, 0.2, 0.0])).can_be(MountParams())


@pytest.mark.parametrize("turned_deg", [0.0, 1.0, 3.0])
def test_a_camera_that_slips_in_mid_take_is_told_from_one_that_was_mounted_askew(turned_deg: float) -> None:
    truth, samples, seen = recorded(HeadMotion.drawn(7), PINHOLE, 3)
    middle = len(truth) // 2
    R = so3_exp(np.deg2rad(turned_deg) * np.array([0.6, 0.0, 0.8]))
    ray = np.where((seen.keyframe >= middle)[:, None], seen.ray @ R, seen.ray)
    pixel, valid = PINHOLE.project(ray)
    kept = replace(seen, ray=ray, pixel=pixel).where(valid)
    imu = Preintegrator(samples, NOISE)
    askew = believed(PINHOLE, np.r_[np.deg2rad([0.5, 0.0, 0.0]), 0, 0, 0], 0.0)
    kept = replace(kept, ray=askew.camera.unproject(kept.pixel)[0])
    solution = optimise(truth, kept, askew.camera, askew.T_imu_cam, imu, PIXEL_SIGMA)
    sigma_px = np.full(len(np.unique(kept.track)), PIXEL_SIGMA)
    poses, linear = solution.states.T_world_imu, linearised(solution, imu, 1e-5)
    found = wishes(linear, kept, sigma_px, truth.t_ns, poses, [askew], 1.0, parts=6)
    (slip,) = found.slips([MountParams().calibrated], MountParams().possible.rotation_rad)
    significant = slip.significance(MountParams().calibrated) > MountParams().slip_sigmas
    assert significant == (turned_deg > 0), slip
    if turned_deg:
        assert slip.start_ns < truth.t_ns[middle] < slip.end_ns
        assert np.rad2deg(np.linalg.norm(slip.rotation_rad)) == pytest.approx(turned_deg, rel=0.5)


def test_a_lens_that_its_own_pictures_do_not_fit_is_unsolvable_and_no_crash() -> None:
    truth, samples, seen = recorded(HeadMotion.drawn(7), FISHEYE, 1)
    fx, fy, cx, cy, *lens = FISHEYE.params
    far = replace(FISHEYE, params=(fx * 0.6, fy * 0.6, cx, cy, *(40 * np.array(lens) - 0.5)))
    with pytest.raises(Unsolvable):
        optimise(truth, seen, far, T_IMU_CAM, Preintegrator(samples, NOISE), PIXEL_SIGMA)


def test_a_good_calibration_is_left_alone() -> None:
    found = told(PINHOLE, np.zeros(6), 0.0, 1)
    params = MountParams()
    assert max(found.significance(params.calibrated)) < params.sigmas
    assert found.causes("head", believed(PINHOLE, np.zeros(6), 0.0), params) == []


def test_a_calibration_that_states_its_sigma_is_held_to_it() -> None:
    off = np.r_[np.deg2rad([0.0, 2.5, 0.0]), 0, 0, 0]
    found, mount = told(PINHOLE, off, 0.0, 2), believed(PINHOLE, off, 0.0)
    loose = replace(mount, sigma=CameraSigma(0.03, 0.01, 0.01, 5.0))
    tight = replace(mount, sigma=CameraSigma(1e-4, 0.01, 0.01, 5.0))
    assert found.causes("head", loose, MountParams()) == []
    (cause,) = found.causes("head", tight, MountParams())
    assert cause.code == "mount_moved" and cause.body == "head"
    assert cause.measured == pytest.approx(2.5, abs=1.0)


@pytest.fixture(scope="module")
def rig_take(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    folder, done = demo
    assert done.returncode == 0, done.stderr
    return folder / "session"


def of_head(folder: Path) -> tuple[Reconstruction, Score]:
    """The head alone, and how good it is."""
    session = session_store.read(folder)
    recording = on_disk.recorded(session, session.take("0001"), share=False)
    result = solve_device(recording, "head", ReconstructParams())
    assert result.chain is not None, result.judgement.causes
    truth = session_store.read_trajectory(folder / "truth/head_imu.parquet")
    return result, score(truth, result.chain.pictures("head"))


def turned(source: Path, target: Path, camera: str, deg: float) -> Path:
    """The same session, the calibration of one camera turned away from how it was worn, and 5 mm aside."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("derived"))
    rig = json.loads((target / "rig.json").read_text())
    off = np.r_[np.deg2rad(deg) * np.array([0.6, 0.8, 0.0]), 0.0, 0.003, 0.004]
    mount = rig["cameras"][camera]
    mount["T_imu_cam"] = (np.array(mount["T_imu_cam"]) @ se3_exp(off)).tolist()
    (target / "rig.json").write_text(json.dumps(rig))
    return target


def test_both_cameras_of_a_head_see_the_same_points(rig_take: Path) -> None:
    report = json.loads((rig_take / "derived/0001/reconstruct/report.json").read_text())
    assert report["numbers"]["other_cameras_fit"]["head_right"] > 0.6
    assert report["numbers"]["scale_sigma"] < 0.002  # a head's own motion alone leaves a few thousandths
    truth = session_store.read_trajectory(rig_take / "truth/head_imu.parquet")
    found = session_store.read_trajectory(rig_take / "derived/0001/reconstruct/head.parquet")
    assert score(truth, found).ate_m.rmse < 0.0005


@pytest.mark.parametrize(
    ("camera", "deg"), [pytest.param("head_left", 1.5, marks=pytest.mark.slow), ("head_right", 1.0)]
)
def test_a_camera_turned_in_its_mount_is_named_and_the_take_solved_all_the_same(
    rig_take: Path, tmp_path: Path, camera: str, deg: float
) -> None:
    result, found = of_head(turned(rig_take, tmp_path / "s", camera, deg))
    causes = [c for c in result.judgement.causes if c.code == "mount_moved"]
    assert result.judgement.verdict == "partial" and [c.body for c in causes] == [camera]
    assert causes[0].measured == pytest.approx(deg, abs=0.15)
    assert result.judgement.spans_ok_s[0][1] > 9
    assert found.ate_m.rmse < 0.001
    true = json.loads((rig_take / "truth/rig.json").read_text())["cameras"][camera]["T_imu_cam"]
    apart = se3_log(inverse(np.array(true)) @ result.mounts[camera].T_imu_cam)
    assert np.rad2deg(np.linalg.norm(apart[:3])) < 0.15 and np.linalg.norm(apart[3:]) < 0.004


def test_a_take_that_a_cameras_new_place_makes_unsolvable_stands_as_solved_with_the_old_one(
    rig_take: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_store.read(turned(rig_take, tmp_path / "s", "head_left", 1.5))
    recording = on_disk.recorded(session, session.take("0001"), every=2, share=False)
    params = replace(ReconstructParams(), twice=False)
    unchecked = solve_device(recording, "head", replace(params, mounts=replace(params.mounts, rounds=0)))
    solve, refused = Refinement.solve, []

    def with_old_places_alone(self: Refinement, *args: Any) -> Any:
        if self.corrected:
            refused.append(sorted(self.corrected))
            self._numbers |= {"imu_noise_scale": 1.0, "pixel_sigma_px": 9.0}  # as a solution half-way has noted
            raise Unsolvable
        return solve(self, *args)

    monkeypatch.setattr(Refinement, "solve", with_old_places_alone)
    result = solve_device(recording, "head", params)
    assert refused == [[0]]
    assert result.mounts == {} and result.chain is not None and unchecked.chain is not None
    np.testing.assert_array_equal(result.chain.states.T_world_imu, unchecked.chain.states.T_world_imu)
    told, plain = result.judgement.numbers, unchecked.judgement.numbers
    assert {k: told[k] for k in ("imu_noise_scale", "pixel_sigma_px")} == {
        k: plain[k] for k in ("imu_noise_scale", "pixel_sigma_px")
    }


def test_a_camera_that_shows_another_moment_is_left_out_and_named(rig_take: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(rig_take, folder, ignore=shutil.ignore_patterns("derived"))
    rig = json.loads((folder / "rig.json").read_text())
    rig["cameras"]["head_right"]["dt_imu_cam_s"] += 0.02
    (folder / "rig.json").write_text(json.dumps(rig))
    result, found = of_head(folder)
    assert [(c.code, c.body) for c in result.judgement.causes] == [("camera_disagrees", "head_right")]
    assert result.judgement.verdict == "partial" and result.unfit == ("head_right",)
    assert found.ate_m.rmse < 0.001
