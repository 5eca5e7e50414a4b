"""What a rolling shutter does to features is undone: by the gyroscope alone, then with a solution."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from head_motion import T_IMU_CAM, HeadMotion, points_ahead, times

from handcap import session, sim
from handcap.cameras import Camera, KannalaBrandt4, PinholeRadtan
from handcap.geometry import Array, inverse, transform
from handcap.measure.gyro import GyroRotation
from handcap.reconstruct import run_session
from handcap.reconstruct.frontend import Tracks
from handcap.reconstruct.landmarks import GateParams, Observations, observations
from handcap.reconstruct.score import score
from handcap.reconstruct.shutter import RollingShutter
from handcap.types import MountedCamera, Stamps

LINE_DELAY_S, DT_S = 5e-5, 0.008
PINHOLE = PinholeRadtan(752, 480, (458.0, 457.0, 367.0, 248.0, -0.28, 0.07, 2e-4, 2e-5))
FISHEYE = KannalaBrandt4(640, 640, (210.0, 211.0, 319.0, 321.0, 0.03, -0.01, 0.002, -0.0005))
LENSES = pytest.mark.parametrize("camera", [PINHOLE, FISHEYE], ids=["pinhole", "fisheye"])


class Turning(HeadMotion):
    """The same motion, but the camera stays where it is."""

    def poses(self, t_ns: Stamps) -> Array:
        T = super().poses(t_ns)
        T[:, :3, 3] = -T[:, :3, :3] @ T_IMU_CAM[:3, 3]
        return T


def seen_by(motion: HeadMotion, camera: Camera, p_world: Array, t_ns: Stamps, line_delay_s: float) -> Array:
    """(n, m, 2) pixels of points (m, 3) in pictures at (n,) IMU times, each row at its own time; NaN outside."""
    out = np.full((len(t_ns), len(p_world), 2), np.nan)
    for k, stamp in enumerate(t_ns):
        late_s = np.zeros(len(p_world))
        for _ in range(6 if line_delay_s else 1):
            T_world_cam = motion.poses(stamp + np.rint(1e9 * late_s).astype(np.int64)) @ T_IMU_CAM
            pixel, valid = camera.project(transform(inverse(T_world_cam), p_world))
            late_s = (pixel[:, 1] - (camera.height - 1) / 2) * line_delay_s
        out[k] = np.where((valid & camera.in_picture(pixel))[:, None], pixel, np.nan)
    return out


def recorded(motion: HeadMotion, camera: Camera) -> tuple[RollingShutter, Tracks, Array]:
    """The shutter, what it recorded in pictures 0.1 s apart, and where the features would be at once (k, 2)."""
    stamps = times(1.5, 0.1)
    p_world = points_ahead(motion.poses(stamps[7:]) @ T_IMU_CAM, 200)
    rolled, at_once = (seen_by(motion, camera, p_world, stamps, delay_s) for delay_s in (LINE_DELAY_S, 0.0))
    frame, track = np.nonzero(np.isfinite(rolled[..., 0]) & np.isfinite(at_once[..., 0]))
    camera_t_ns = stamps - round(1e9 * DT_S)
    nothing = np.zeros(len(stamps))
    tracks = Tracks(camera_t_ns, frame, track, rolled[frame, track], nothing, nothing)
    mount = MountedCamera("head", camera, T_IMU_CAM, line_delay_s=LINE_DELAY_S)
    return RollingShutter(mount, GyroRotation(motion.imu(1.5)), DT_S), tracks, at_once[frame, track]


def apart_px(one: Array, other: Array) -> Array:
    return np.linalg.norm(one - other, axis=-1)


@LENSES
def test_of_a_camera_that_only_turns_everything_is_undone(camera: Camera) -> None:
    drawn = HeadMotion.drawn(1)
    shutter, tracks, at_once = recorded(Turning(drawn.amplitude, drawn.omega, drawn.phase), camera)
    before, after = apart_px(tracks.pixel, at_once), apart_px(shutter.turned_back(tracks).pixel, at_once)
    assert np.quantile(before, 0.95) > 0.4
    assert after.max() < 0.02


@LENSES
def test_of_a_camera_that_moves_the_rest_is_undone_once_the_motion_is_known(camera: Camera) -> None:
    motion = HeadMotion.drawn(2)
    shutter, tracks, at_once = recorded(motion, camera)
    turned = shutter.turned_back(tracks)
    seen = observations(turned, camera, tracks.pixel)
    truth = observations(replace(tracks, pixel=at_once), camera)
    states = motion.states(tracks.camera_t_ns + round(1e9 * DT_S))
    moved = shutter.moved_back(seen, states, tracks.camera_t_ns, GateParams())
    assert len(moved) == len(truth)
    before, after = apart_px(seen.pixel, truth.pixel), apart_px(moved.pixel, truth.pixel)
    assert np.quantile(before, 0.95) > 0.2
    assert np.quantile(after, 0.95) < np.quantile(before, 0.95) / 50
    assert after.max() < 0.1
    np.testing.assert_allclose(moved.ray, camera.unproject(moved.pixel)[0])


def test_correcting_twice_changes_nothing() -> None:
    motion = HeadMotion.drawn(3)
    shutter, tracks, _ = recorded(motion, PINHOLE)
    seen = observations(shutter.turned_back(tracks), PINHOLE, tracks.pixel)
    states = motion.states(tracks.camera_t_ns + round(1e9 * DT_S))

    def again(seen: Observations) -> Observations:
        return shutter.moved_back(seen, states, tracks.camera_t_ns, GateParams())

    once = again(seen)
    assert np.quantile(apart_px(again(once).pixel, once.pixel), 0.99) < 0.05
    np.testing.assert_array_equal(again(once).recorded_px, seen.recorded_px)


def test_a_global_shutter_is_left_alone() -> None:
    motion = HeadMotion.drawn(4)
    shutter, tracks, _ = recorded(motion, PINHOLE)
    still = RollingShutter(MountedCamera("head", PINHOLE, T_IMU_CAM), shutter.gyro, DT_S)
    assert still.turned_back(tracks) is tracks
    seen = observations(tracks, PINHOLE)
    assert still.moved_back(seen, motion.states(tracks.camera_t_ns), tracks.camera_t_ns, GateParams()) is seen


@pytest.mark.slow
def test_a_take_with_a_rolling_shutter_is_within_the_floors_of_a_global_one(tmp_path: Path) -> None:
    params = sim.SimulationParams(line_delay_s=LINE_DELAY_S)
    take = sim.simulate(tmp_path / "take", seconds=10.0, seed=300, dt_imu_cam_s=DT_S, params=params)
    (result,) = run_session(take)
    assert result.verdict == "ok"
    truth = session.read_trajectory(take / "truth/head_imu.parquet")
    found = score(truth, session.read_trajectory(take / "derived/0001/reconstruct/head.parquet"))
    assert found.coverage == 1.0 and found.ate_m.rmse < 0.008 and np.rad2deg(found.tilt_rad) < 0.1
    (offset_s, *_) = result.report["time_offset_s"].values()
    assert offset_s == pytest.approx(DT_S, abs=2e-4)
