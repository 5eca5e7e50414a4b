"""The virtual head: its derivatives are exact, and its IMU tells them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handcap import geometry
from handcap.sim import imu, world
from handcap.sim.motion import Motion, PoseCurve
from handcap.sim.person import HeadParams, head_motion
from handcap.sim.rigs import drawn, parse
from handcap.sim.scene import SceneBuilder, Standing
from handcap.sim.scenes.kitchen import furnish

PLACE = Standing(
    np.array([1.4, 1.6, 1.3]), np.array([1.9, 2.4, 1.6]), np.array([[[2.1, 1.5, 0.7], [2.8, 2.6, 0.9]]]), np.ones(1)
)
LIVELY = HeadParams()


def walk(duration_s: float, params: HeadParams = LIVELY, seed: int = 5) -> PoseCurve:
    return head_motion(PLACE, params, duration_s, (seed,))


@given(st.integers(0, 200))
def test_rates_are_the_derivatives_of_the_pose(seed: int) -> None:
    motion, h = walk(3.0, seed=seed), 1e-5
    t_s = np.linspace(0.1, 2.9, 20)
    before, after = motion.pose(t_s - h), motion.pose(t_s + h)
    turned = geometry.so3_log(np.swapaxes(before[:, :3, :3], -1, -2) @ after[:, :3, :3]) / (2 * h)
    np.testing.assert_allclose(motion.angular_rate_body(t_s), turned, atol=1e-7)
    np.testing.assert_allclose(motion.velocity_room(t_s), (after[:, :3, 3] - before[:, :3, 3]) / (2 * h), atol=1e-8)
    slope = (motion.velocity_room(t_s + h) - motion.velocity_room(t_s - h)) / (2 * h)
    np.testing.assert_allclose(motion.acceleration_room(t_s), slope, atol=1e-6)


def integrated(gyro: np.ndarray, accel: np.ndarray, step_s: float, T: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Positions (n, 3) every two samples, to fourth order.

    Over each pair of steps the rate and the force are parabolas: attitude by the Magnus expansion to its second
    term (Blanes et al. 2009, turned for rates in body axes), velocity and position by Simpson's rule.
    """
    h = 2 * step_s
    w0, w1, w2 = gyro[:-2:2], gyro[1:-1:2], gyro[2::2]
    whole = geometry.so3_exp(h / 6 * (w0 + 4 * w1 + w2) + h**2 / 12 * np.cross(w0, w2))
    half = geometry.so3_exp(h / 24 * (5 * w0 + 8 * w1 - w2) + h**2 / 48 * np.cross(w0, w1))
    R = np.empty((len(whole) + 1, 3, 3))
    R[0] = T[:3, :3]
    for k, turn in enumerate(whole):
        R[k + 1] = R[k] @ turn
    gravity = np.array([0.0, 0.0, geometry.GRAVITY_M_S2])
    a0, a2 = (np.einsum("nij,nj->ni", R[k : len(R) - 1 + k], accel[2 * k :: 2][: len(whole)]) - gravity for k in (0, 1))
    a1 = np.einsum("nij,nj->ni", R[:-1] @ half, accel[1::2][: len(whole)]) - gravity
    velocity = v + np.concatenate([np.zeros((1, 3)), np.cumsum(h / 6 * (a0 + 4 * a1 + a2), axis=0)])
    middle = velocity[:-1] + h / 24 * (5 * a0 + 8 * a1 - a2)
    moved = h / 6 * (velocity[:-1] + 4 * middle + velocity[1:])
    return T[:3, 3] + np.concatenate([np.zeros((1, 3)), np.cumsum(moved, axis=0)])


def error_of_integration_m(motion: Motion, rate_hz: int, duration_s: float) -> float:
    t_ns = np.arange(int(duration_s * rate_hz) // 2 * 2 + 1, dtype=np.int64) * (1_000_000_000 // rate_hz)
    gyro, accel = imu.exact(motion, t_ns)
    path = integrated(gyro, accel, 1 / rate_hz, motion.pose([0.0])[0], motion.velocity_room([0.0])[0])
    return float(np.linalg.norm(path - motion.pose(t_ns[::2] / 1e9)[:, :3, 3], axis=-1).max())


def test_integrating_a_perfect_imu_for_a_minute_returns_the_path_of_a_head() -> None:
    assert error_of_integration_m(walk(60.0), 1000, 60.0) < 1e-3
    assert error_of_integration_m(walk(10.0), 200, 10.0) < 5e-3


@pytest.mark.parametrize("task", ["tidy", "walk", "shake"])
def test_integrating_a_perfect_imu_for_a_minute_returns_the_path_at_every_task(task: str) -> None:
    played = world.build("kitchen", drawn("full", 3), parse("full"), task, LIVELY, 60.5, 3)
    for device, motion in played.motion.items():
        off_m = error_of_integration_m(motion, 1000, 60.0)
        print(f"virtual rig, {task}, {device}: {1e3 * off_m:.4f} mm after 60 s at 1 kHz")
        assert off_m < 1e-3, device


def test_a_head_at_rest_feels_gravity_and_nothing_else() -> None:
    motion = walk(2.0, HeadParams(rest=True))
    gyro, accel = imu.exact(motion, np.arange(0, 2_000_000_000, 5_000_000))
    np.testing.assert_allclose(gyro, 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(accel, axis=-1), geometry.GRAVITY_M_S2, rtol=1e-12)
    np.testing.assert_allclose(accel, np.tile(accel[0], (len(accel), 1)), atol=1e-9)


def test_heads_move_like_heads_and_stay_where_people_stand() -> None:
    t_s = np.linspace(0, 60, 6000)
    for seed in range(4):
        motion = walk(60.0, seed=seed)
        rate_deg_s = np.rad2deg(np.linalg.norm(motion.angular_rate_body(t_s), axis=-1))
        speed_m_s = np.linalg.norm(motion.velocity_room(t_s), axis=-1)
        assert 15 < np.median(rate_deg_s) < 60 and 60 < rate_deg_s.max() < 140
        assert speed_m_s.max() < 0.8
        position = motion.pose(t_s)[:, :3, 3]
        assert np.all(position > PLACE.head_low_room - 0.05) and np.all(position < PLACE.head_high_room + 0.05)


def test_a_longer_recording_begins_with_the_same_path() -> None:
    t_s = np.linspace(0, 5, 50)
    np.testing.assert_array_equal(walk(5.0).pose(t_s), walk(30.0).pose(t_s))


def test_noise_and_bias_are_as_large_as_the_rig_says() -> None:
    model, n = drawn("head", 0).devices["head"].imu, 40_000
    t_ns = np.arange(n, dtype=np.int64) * 5_000_000
    motion = walk(201.0, HeadParams(rest=True))
    got = imu.record(motion, model, imu.ImuErrors(), t_ns, np.random.default_rng(1))
    gyro, accel = imu.exact(motion, t_ns)
    white = got.samples.gyro_imu - gyro - got.gyro_bias
    assert np.std(white) == pytest.approx(model.gyro_noise_density * np.sqrt(200), rel=0.02)
    white = got.samples.accel_imu - accel - got.accel_bias
    assert np.std(white) == pytest.approx(model.accel_noise_density * np.sqrt(200), rel=0.02)
    # Over a second the bias walks by the density itself.
    walked = got.gyro_bias[200:] - got.gyro_bias[:-200]
    assert np.std(walked) == pytest.approx(model.gyro_random_walk, rel=0.15)
    walked = got.accel_bias[200:] - got.accel_bias[:-200]
    assert np.std(walked) == pytest.approx(model.accel_random_walk, rel=0.15)


def test_every_kitchen_leaves_the_person_room_to_stand() -> None:
    for seed in (0, 7):
        b = SceneBuilder(np.random.default_rng(seed))
        room = furnish(b)
        low, high = room.standing.head_low_room, room.standing.head_high_room
        assert np.all(low < high)
        vertices = b.build(room.lights).bodies[0].vertices
        inside = np.all((vertices > low - 0.25) & (vertices < high + 0.25), axis=-1)
        assert not inside.any()
