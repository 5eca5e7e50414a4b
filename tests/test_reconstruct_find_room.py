"""Described points of made-up rooms: a take is found in another's room exactly where it is, or not at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_reconstruct_bundle import PINHOLE
from test_reconstruct_eyes import textured

from handcap.geometry import Array, inverse, se3, so3_exp, transform, yaw_rotation
from handcap.reconstruct.align import as_placed
from handcap.reconstruct.find_room import FindParams, NotFound, Placing, find, match, place
from handcap.reconstruct.landmarks import Landmarks, Observations
from handcap.reconstruct.relocalise import up_in_start
from handcap.reconstruct.room import Looks, Room
from handcap.reconstruct.session_map import InSession
from handcap.types import Trajectory

SIGMA_M = 0.004
STAMPS = 50_000_000 * np.arange(1, 21, dtype=np.int64)


def points(rng: np.random.Generator, n: int) -> Array:
    return rng.uniform([-1.5, -1.5, 0.0], [1.5, 1.5, 2.0], (n, 3))


def noisy(rng: np.random.Generator, p: Array) -> Array:
    return p + rng.normal(0, SIGMA_M, p.shape)


def known(n: int) -> Array:
    return np.tile(SIGMA_M**2 * np.eye(3), (n, 1, 1))


def placed(p_here: Array, p_there: Array) -> Placing:
    return place(p_here, p_there, known(len(p_here)), known(len(p_here)))


@given(st.floats(-np.pi, np.pi), st.tuples(*[st.floats(-5, 5)] * 3), st.integers(0, 1000))
def test_a_turn_about_the_vertical_and_a_shift_are_recovered(yaw_rad, shift, seed):
    p = points(np.random.default_rng(seed), 40)
    T = se3(yaw_rotation(yaw_rad), shift)
    found = placed(p, transform(T, p))
    np.testing.assert_allclose(found.T, T, atol=1e-6)
    assert found.inliers.all()


@given(st.integers(0, 1000))
def test_pairs_that_are_wrong_are_left_out(seed):
    rng = np.random.default_rng(seed)
    here, T = points(rng, 120), se3(yaw_rotation(2.0), [1.0, -2.0, 0.3])
    there = transform(T, here)
    there[:70] = points(rng, 70) + [1.0, -2.0, 0.3]
    found = placed(noisy(rng, here), noisy(rng, there))
    assert found.inliers[70:].mean() > 0.95
    assert found.inliers[:70].mean() < 0.1
    np.testing.assert_allclose(found.T, T, atol=0.01)


def test_the_stated_covariance_is_that_of_the_errors():
    rng = np.random.default_rng(5)
    T = se3(yaw_rotation(-0.7), [3.0, 1.0, -0.2])
    squares = []
    for _ in range(150):
        here = points(rng, 60)
        there = noisy(rng, transform(T, here))
        found = place(noisy(rng, here), there, known(60), known(60), FindParams(repeat_m=0.0))
        turn = found.T[:3, :3].T @ T[:3, :3]
        error = np.r_[np.arctan2(turn[1, 0], turn[0, 0]), T[:3, 3] - found.shift]
        squares.append(error @ np.linalg.solve(found.cov, error))
    # 4 is the mean of a chi-square with four degrees of freedom; robust weights give a little away.
    assert 2.5 < np.mean(squares) < 4.5


def test_a_few_pairs_are_not_enough():
    p = points(np.random.default_rng(0), 10)
    with pytest.raises(NotFound, match="only 10 points"):
        placed(p, p)


def test_points_that_share_nothing_place_nothing():
    rng = np.random.default_rng(1)
    with pytest.raises(NotFound):
        placed(points(rng, 80), points(rng, 80))


def test_points_all_in_one_corner_do_not_say_the_turn():
    rng = np.random.default_rng(2)
    p = rng.normal(0, 0.15, (60, 3))
    with pytest.raises(NotFound, match="lie within"):
        placed(p, p + 1.0)


@pytest.mark.parametrize("other", [se3(yaw_rotation(np.pi), np.zeros(3)), se3(np.eye(3), [0.6, 0.0, 0.0])])
def test_a_room_that_looks_the_same_from_two_places_is_refused(other):
    rng = np.random.default_rng(3)
    p = points(rng, 100)
    there = p.copy()
    there[:45] = transform(other, p[:45])
    with pytest.raises(NotFound, match="two places"):
        placed(noisy(rng, p), noisy(rng, there))


def room(p: Array, descriptor: np.ndarray) -> Room:
    """One look at each point, all over the take."""
    n = len(p)
    return Room(p, known(n), np.arange(n), STAMPS[np.arange(n) % len(STAMPS)], descriptor)


def flipped(rng: np.random.Generator, descriptor: np.ndarray, bits: int) -> np.ndarray:
    out = np.unpackbits(descriptor, axis=1)
    for row in out:
        row[rng.choice(256, bits, replace=False)] ^= 1
    return np.packbits(out, axis=1)


def test_looks_are_matched_though_some_bits_differ_and_twins_are_not():
    rng = np.random.default_rng(4)
    look = rng.integers(0, 256, (50, 32), np.uint8)
    twins = look.copy()
    twins[10:20] = twins[0:10]
    p = points(rng, 50)
    here, there = match(room(p, flipped(rng, look, 20)), room(p, look))
    np.testing.assert_array_equal(here, np.arange(50))
    np.testing.assert_array_equal(there, np.arange(50))
    here, there = match(room(p, flipped(rng, twins, 20)), room(p, twins))
    assert set(here.tolist()) <= set(range(20, 50)) | {k for k in range(20) if k in there.tolist()}
    assert len(set(range(20)) & set(here.tolist())) < 5


def poses(position_sigma_m: float) -> Trajectory:
    """A body that moves along, equally unsure everywhere."""
    n = len(STAMPS)
    T = se3(so3_exp(np.linspace([0, 0, 0], [0.2, 0.1, 0.5], n)), np.linspace([0, 0, 1.0], [1, 0, 1.2], n))
    cov = np.tile(np.diag([1e-8] * 3 + [position_sigma_m**2] * 3), (n, 1, 1))
    return Trajectory("head", STAMPS, STAMPS, T, cov, np.ones(n, bool))


def test_drift_of_either_take_is_part_of_what_is_said():
    rng = np.random.default_rng(6)
    look, p = rng.integers(0, 256, (60, 32), np.uint8), points(rng, 60)
    T = se3(yaw_rotation(0.4), [1.0, 0.0, 0.0])
    here, there = room(p, look), room(transform(T, p), look)
    sure, pairs = find(here, there, poses(1e-5), poses(1e-5))
    vague, _ = find(here, there, poses(0.03), poses(0.04))
    assert pairs == 60
    np.testing.assert_allclose(sure.T, vague.T)
    assert np.sqrt(np.diag(vague.cov)[1:]) == pytest.approx([0.05] * 3, rel=0.02)
    assert np.sqrt(np.diag(sure.cov)[1:]).max() < 0.005


def test_a_scale_that_may_be_off_is_part_of_what_is_said():
    rng = np.random.default_rng(8)
    look, p = rng.integers(0, 256, (60, 32), np.uint8), points(rng, 60) + [5.0, 0.0, 0.0]
    here, there = room(p, look), room(p, look)
    sure, _ = find(here, there, poses(1e-5), poses(1e-5))
    vague, _ = find(replace(here, scale_sigma=0.02), there, poses(1e-5), poses(1e-5))
    # The points lie about 5 m ahead of where they were seen from: 2 % of it.
    assert np.sqrt(vague.cov[1, 1]) == pytest.approx(0.1, rel=0.3)
    assert np.sqrt(sure.cov[1, 1]) < 0.02


def test_looks_from_pictures_without_a_pose_do_not_count():
    rng = np.random.default_rng(7)
    look, p = rng.integers(0, 256, (60, 32), np.uint8), points(rng, 60)
    lost = replace(poses(1e-3), tracked=np.zeros(len(STAMPS), bool))
    with pytest.raises(NotFound):
        find(room(p, look), room(p, look), lost, poses(1e-3))


def test_a_point_that_the_camera_lost_again_is_no_part_of_its_room():
    x, y = np.meshgrid([100.0, 250.0, 400.0], [100.0, 250.0])
    pixel = np.stack([x.ravel(), y.ravel()], axis=1)
    ray, _ = PINHOLE.unproject(pixel)
    keyframe, track, T_world_cam = np.zeros(6, int), np.arange(6), np.eye(4)[None]
    seen = Observations(keyframe, track, pixel, ray, pixel, np.zeros(6, int))
    marks = Landmarks(track, 2 * ray, np.ones(6))
    looks = Looks(seen, marks, T_world_cam, PINHOLE)
    looks.see(0, textured(0))
    whole, less = (
        looks.room(each, marks, T_world_cam, np.zeros(1, np.int64), 0.2, 0.0) for each in (seen, seen.where(track != 2))
    )
    assert (len(whole.p_world), len(less.p_world)) == (6, 5)
    assert np.isfinite(less.cov_world).all()


@given(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 100))
def test_two_steps_add_up_in_place_and_in_doubt(yaw_a, yaw_b, seed):
    rng = np.random.default_rng(seed)
    first, second = (np.r_[yaw, rng.uniform(-2, 2, 3)] for yaw in (yaw_a, yaw_b))

    def T(x: Array) -> Array:
        return se3(yaw_rotation(float(x[0])), x[1:])

    def both(x: Array) -> Array:
        joined = T(x[:4]) @ T(x[4:])
        turn = np.arctan2(joined[1, 0], joined[0, 0])
        return np.r_[(turn - yaw_a - yaw_b + np.pi) % (2 * np.pi) - np.pi, joined[:3, 3]]

    A = rng.normal(size=(2, 4, 4))
    cov_a, cov_b = (a @ a.T for a in A)
    x, step = np.r_[first, second], 1e-6
    J = np.stack([(both(x + step * e) - both(x - step * e)) / (2 * step) for e in np.eye(8)], axis=1)
    total = InSession("0001", T(first), cov_a).then(T(second), cov_b)
    np.testing.assert_allclose(total.T_session_world, T(first) @ T(second), atol=1e-12)
    whole = np.block([[cov_a, np.zeros((4, 4))], [np.zeros((4, 4)), cov_b]])
    np.testing.assert_allclose(total.cov, J @ whole @ J.T, atol=1e-6, rtol=1e-6)


def test_up_is_what_a_moving_sensor_feels_on_the_average():
    t = np.linspace(0, 8, 1601)
    R = so3_exp(np.stack([0.3 * np.sin(t), 0.4 * np.cos(1.3 * t), 0.8 * np.sin(0.7 * t)], axis=1))
    swing = np.stack([np.sin(2 * np.pi * t), np.cos(2 * np.pi * t), np.sin(4 * np.pi * t)], axis=1)
    accel_imu = np.einsum("nji,nj->ni", R, swing + [0.0, 0.0, 9.81])
    up = up_in_start(accel_imu, R[0].T @ R)
    assert np.arccos(up @ R[0].T[:, 2]) < 0.01


def test_poses_that_are_metric_start_with_the_slope_between_them():
    n, T_imu_cam = 12, se3(so3_exp([0.1, 0.2, 0.3]), [0.05, 0.0, 0.02])
    t_ns = 200_000_000 * np.arange(n, dtype=np.int64)
    R = so3_exp(np.linspace([0, 0, 0], [0.1, 0.3, 0.5], n))
    T_world_imu = se3(R, np.outer(t_ns / 1e9, [0.3, -0.1, 0.05]))
    T_world_cam = T_world_imu @ T_imu_cam
    start = as_placed(t_ns, T_world_cam[:, :3, :3], T_world_cam[:, :3, 3], T_imu_cam, np.array([0.01, 0.0, 0.0]))
    np.testing.assert_allclose(start.states.T_world_imu, T_world_imu, atol=1e-12)
    np.testing.assert_allclose(start.states.velocity_world, np.tile([0.3, -0.1, 0.05], (n, 1)), atol=1e-9)
    np.testing.assert_allclose(
        inverse(start.states.T_world_imu) @ T_world_cam, np.tile(T_imu_cam, (n, 1, 1)), atol=1e-9
    )
