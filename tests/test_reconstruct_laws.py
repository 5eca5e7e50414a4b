"""Inertial steps of the reconstruction recover motions known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from head_motion import IDEAL, START_NS, T_IMU_CAM, HeadMotion, times
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from handcap.geometry import GRAVITY_M_S2, inverse, se3_exp, so3_exp, so3_log
from handcap.measure.gyro import GyroRotation, running_product
from handcap.reconstruct.align import AlignParams, align
from handcap.reconstruct.bridge import bridge_covariance, bridge_poses
from handcap.reconstruct.inertial import Preintegrator, States, predict
from handcap.reconstruct.knocks import Knocks
from handcap.reconstruct.sync import CoarseSync, VisualTurns, coarse_offset, refine_offset
from handcap.reconstruct.uncertainty import PoseUncertainty
from handcap.types import ImuSamples

numbers = st.floats(-2, 2, allow_subnormal=False)
vectors = hnp.arrays(float, 3, elements=numbers)
seeds = st.integers(0, 10_000)
GYRO_BIAS, ACCEL_BIAS = np.array([0.02, -0.05, 0.08]), np.array([0.1, -0.15, 0.05])


def apart_rad(R_a, R_b):
    return np.linalg.norm(so3_log(np.swapaxes(R_a, -1, -2) @ R_b), axis=-1)


def apart_m(T_a, T_b):
    return np.linalg.norm(T_a[..., :3, 3] - T_b[..., :3, 3], axis=-1)


@given(hnp.arrays(float, st.tuples(st.integers(0, 20), st.just(3)), elements=numbers))
def test_the_running_product_is_what_multiplying_one_after_another_gives(turns):
    R, expected = np.eye(3), [np.eye(3)]
    for turn in turns:
        R = R @ so3_exp(turn)
        expected.append(R)
    np.testing.assert_allclose(running_product(turns).as_matrix(), expected, atol=1e-12)


@given(vectors, vectors, st.floats(0, 1), st.floats(-0.2, 0.2))
def test_a_gyroscope_that_turns_evenly_is_integrated_exactly(rate, bias, at_s, dt_s):
    t_ns = START_NS + 5_000_000 * np.arange(400, dtype=np.int64)
    imu = ImuSamples(t_ns, np.tile(rate + bias, (400, 1)), np.zeros((400, 3)))
    at_ns = np.array([START_NS + 300_000_000 + round(at_s * 1e9)])
    turned = GyroRotation(imu, bias).at(at_ns, dt_s).as_matrix()
    np.testing.assert_allclose(turned[0], so3_exp(rate * ((at_ns[0] - START_NS) / 1e9 + dt_s)), atol=1e-9)


@settings(max_examples=15)
@given(seeds, st.sampled_from([200.0, 400.0, 1000.0]))
def test_the_gyroscope_follows_a_swaying_head(seed, rate_hz):
    motion = HeadMotion.drawn(seed)
    at_ns = times(3.0, 0.0333)
    R = GyroRotation(motion.imu(3.0, rate_hz, GYRO_BIAS), GYRO_BIAS).at(at_ns).as_matrix()
    R_true = motion.poses(at_ns)[:, :3, :3]
    # second order in the period: 5 ms leave tenths of a milliradian after 3 s
    assert apart_rad(R[0].T @ R, R_true[0].T @ R_true).max() < 5e-4 * (200 / rate_hz) ** 2 + 1e-6


def test_the_gyroscopes_rotation_is_held_outside_its_samples():
    imu = HeadMotion.drawn(1).imu(1.0)
    gyro = GyroRotation(imu)
    beyond = gyro.at(imu.t_ns[[0, -1]] + np.array([-1_000_000_000, 1_000_000_000])).as_matrix()
    np.testing.assert_allclose(beyond, gyro.at(imu.t_ns[[0, -1]]).as_matrix())


@settings(max_examples=15)
@given(seeds, st.sampled_from([(200.0, 3e-5), (1000.0, 2e-6)]), st.integers(-400, 400))
def test_prediction_follows_the_motion_forward_and_backward(seed, rate, after_ms):
    rate_hz, tolerance = rate
    motion = HeadMotion.drawn(seed)
    t_ns = START_NS + np.array([500_300_000, 500_300_000 + after_ms * 1_000_000 + 1], np.int64)
    states = motion.states(t_ns, GYRO_BIAS, ACCEL_BIAS)
    imu = Preintegrator(motion.imu(1.0, rate_hz, GYRO_BIAS, ACCEL_BIAS), IDEAL)
    T, v = predict(states, 0, [int(t_ns[1])], imu)
    assert apart_m(T[0], states.T_world_imu[1]) < tolerance
    assert apart_rad(T[0, :3, :3], states.T_world_imu[1, :3, :3]) < tolerance
    assert np.linalg.norm(v[0] - states.velocity_world[1]) < 4 * tolerance


@settings(max_examples=15)
@given(seeds, st.integers(1_000_000, 500_000_000))
def test_predicting_there_and_back_leads_home(seed, ahead_ns):
    motion = HeadMotion.drawn(seed)
    start = motion.states(START_NS + np.array([7], np.int64), GYRO_BIAS, ACCEL_BIAS)
    imu = Preintegrator(motion.imu(1.0, 200.0), IDEAL)  # the biases do not even fit
    T, v = predict(start, 0, [START_NS + ahead_ns], imu)
    there = States(np.array([START_NS + ahead_ns]), T, v, start.gyro_bias, start.accel_bias)
    T_home, v_home = predict(there, 0, [int(start.t_ns[0])], imu)
    np.testing.assert_allclose(T_home, start.T_world_imu, atol=1e-9)
    np.testing.assert_allclose(v_home, start.velocity_world, atol=1e-9)


@pytest.mark.parametrize(("lost", "trusted"), [(4, True), (60, False)])
def test_an_interval_over_a_gap_in_the_samples_is_hardly_trusted(lost, trusted):
    imu = HeadMotion.drawn(2).imu(2.0, 200.0)
    keep = np.r_[np.arange(100), np.arange(100 + lost, len(imu))]
    torn = Preintegrator(ImuSamples(imu.t_ns[keep], imu.gyro_imu[keep], imu.accel_imu[keep]), IDEAL)

    def sigmas(start, end):
        cov = torn.between(int(imu.t_ns[start]), int(imu.t_ns[end]), np.zeros(3), np.zeros(3)).preintMeasCov()
        return np.sqrt(np.diag(cov)[:9])

    before, over, after = sigmas(10, 90), sigmas(95, 175), sigmas(100 + lost, 180 + lost)
    np.testing.assert_allclose(before, after, rtol=0.5)
    if trusted:
        np.testing.assert_allclose(over, before, rtol=0.5)
    else:
        # rotation, position, velocity: whatever a head does
        assert (over > 0.1).all() and (over > 100 * before).all()


@settings(max_examples=8)
@given(seeds, vectors, vectors, st.floats(0.05, 20))
def test_alignment_finds_scale_gravity_velocity_and_bias(seed, turn, shift, scale):
    motion, t_ns = HeadMotion.drawn(seed), times(6.0, 0.2)
    truth = motion.states(t_ns)
    T_world_cam = truth.T_world_imu @ T_IMU_CAM
    R_anchor_world = so3_exp(turn)
    R_anchor_cam = R_anchor_world @ T_world_cam[:, :3, :3]
    p_anchor = (T_world_cam[:, :3, 3] @ R_anchor_world.T + shift) / scale
    imu = Preintegrator(motion.imu(6.0, 400.0, GYRO_BIAS, ACCEL_BIAS), IDEAL)
    exact = AlignParams(velocity_sigma=1e-4)  # poses without error: the bias need not be held near zero
    found = align(t_ns, R_anchor_cam, p_anchor, T_IMU_CAM, GYRO_BIAS, imu, exact)
    assert found is not None
    # The turn within an interval is left out of the bias's effect, which costs a tenth of a small bias.
    assert found.scale == pytest.approx(scale, rel=6e-3)
    assert found.gravity_norm == pytest.approx(GRAVITY_M_S2, abs=0.06)
    np.testing.assert_allclose(found.states.accel_bias[0], ACCEL_BIAS, atol=0.025)
    T = found.states.T_world_imu
    up_imu, up_imu_true = T[:, 2, :3], truth.T_world_imu[:, 2, :3]
    assert np.linalg.norm(np.cross(up_imu, up_imu_true), axis=1).max() < 3e-3
    # in body axes, as yaw is anybody's
    v_imu = np.einsum("nji,nj->ni", T[:, :3, :3], found.states.velocity_world)
    v_imu_true = np.einsum("nji,nj->ni", truth.T_world_imu[:, :3, :3], truth.velocity_world)
    np.testing.assert_allclose(v_imu, v_imu_true, atol=0.01)
    np.testing.assert_allclose(T[0, :3, 3], 0, atol=1e-12)
    np.testing.assert_allclose(inverse(T[0]) @ T, inverse(truth.T_world_imu[0]) @ truth.T_world_imu, atol=3e-3)


def test_alignment_of_a_mirrored_path_is_given_up():
    motion, t_ns = HeadMotion.drawn(3), times(4.0, 0.2)
    T_world_cam = motion.poses(t_ns) @ T_IMU_CAM
    imu = Preintegrator(motion.imu(4.0), IDEAL)
    assert align(t_ns, T_world_cam[:, :3, :3], -T_world_cam[:, :3, 3], T_IMU_CAM, np.zeros(3), imu) is None


@settings(max_examples=10)
@given(seeds, st.integers(0, 3))
def test_bridges_meet_their_keyframes_and_follow_the_motion_between(seed, wrong):
    motion, t_ns = HeadMotion.drawn(seed), times(2.0, 0.2) + 1_234_567
    states = motion.states(t_ns, GYRO_BIAS, ACCEL_BIAS)
    at_ns = np.unique(np.r_[t_ns, t_ns[0] + np.arange(0, 2_000_000_000, 7_777_777)])
    imu = motion.imu(2.1, 200.0, GYRO_BIAS, ACCEL_BIAS)
    T = bridge_poses(states, imu, at_ns)
    on = np.isin(at_ns, t_ns)
    np.testing.assert_allclose(T[on], states.T_world_imu, atol=1e-12)
    assert apart_m(T, motion.poses(at_ns)).max() < 1e-4
    assert apart_rad(T[:, :3, :3], motion.poses(at_ns)[:, :3, :3]).max() < 1e-4
    # keyframes that moved are met all the same
    moved = states.put(np.array([wrong]), States(
        t_ns[[wrong]], states.T_world_imu[[wrong]] @ se3_exp(np.full(6, 0.02)), *(
            getattr(states, name)[[wrong]] for name in ("velocity_world", "gyro_bias", "accel_bias")
        ),
    ))  # fmt: skip
    np.testing.assert_allclose(bridge_poses(moved, imu, at_ns)[on], moved.T_world_imu, atol=1e-12)


def random_uncertainty(n, seed):
    """A positive definite joint covariance of n poses that err together."""
    rng = np.random.default_rng(seed)
    scale = np.tile(np.r_[[1e-3] * 3, [5e-3] * 3], n)
    factor = rng.normal(0, 1, (6 * n, 6 * n)) / np.sqrt(6 * n) + 0.3 * np.tile(rng.normal(0, 1, (6, 6 * n)), (n, 1))
    return PoseUncertainty((scale[:, None] * (factor @ factor.T) * scale).reshape(n, 6, n, 6), 0.0, 1e-4)


@settings(max_examples=15)
@given(seeds)
def test_covariance_between_keyframes_is_sound_and_at_keyframes_their_own(seed):
    motion, t_ns = HeadMotion.drawn(seed), times(1.0, 0.2)
    states, joint = motion.states(t_ns), random_uncertainty(6, seed)
    at_ns = times(1.0, 0.01)
    cov = bridge_covariance(states, joint, motion.poses(at_ns), at_ns, IDEAL, motion.imu(1.0))
    np.testing.assert_array_equal(cov, np.swapaxes(cov, 1, 2))
    assert np.linalg.eigvalsh(cov).min() > 0
    own = np.array([joint.of_pose(i) for i in range(6)])
    np.testing.assert_allclose(cov[np.isin(at_ns, t_ns)], own, atol=1e-12)


def test_poses_known_exactly_leave_only_the_imus_noise_between_them():
    motion, t_ns = HeadMotion.drawn(4), times(1.0, 0.2)
    joint = PoseUncertainty(np.zeros((6, 6, 6, 6)), 0.0, 1e-4)
    at_ns = t_ns[:-1] + 100_000_000
    cov = bridge_covariance(motion.states(t_ns), joint, motion.poses(at_ns), at_ns, IDEAL, motion.imu(1.0))
    sigma_rad = IDEAL.gyro_noise_density * np.sqrt(0.2) / 2  # Brownian bridge at its middle
    np.testing.assert_allclose(np.sqrt(cov[:, range(3), range(3)]), sigma_rad, rtol=1e-9)
    assert np.sqrt(cov[:, 5, 5]).max() < 1e-4


def misread(imu, at_s, gyro_rad_s, accel_m_s2):
    """The samples, one of them off by so much along all axes."""
    k = int(np.searchsorted(imu.t_ns, START_NS + round(at_s * 1e9)))
    gyro, accel = imu.gyro_imu.copy(), imu.accel_imu.copy()
    gyro[k] += gyro_rad_s
    accel[k] += accel_m_s2
    return ImuSamples(imu.t_ns, gyro, accel)


@settings(max_examples=25)
@given(seeds, st.floats(0.05, 0.95), st.floats(20, 300), st.floats(5, 30), st.sampled_from([100.0, 200.0, 400.0]))
def test_what_a_misread_sample_adds_stays_within_what_the_chain_leaves_open(seed, at_s, accel, gyro, rate_hz):
    imu = HeadMotion.drawn(seed).imu(1.0, rate_hz)
    t_ns, zero = times(1.0, 0.1), np.zeros(3)
    for a_ns, b_ns in zip(t_ns[:-1], t_ns[1:], strict=True):
        good, bad = (
            Preintegrator(each, IDEAL).between(int(a_ns), int(b_ns), zero, zero)
            for each in (imu, misread(imu, at_s, gyro, accel))
        )
        off = np.r_[
            so3_log(good.deltaRij().matrix().T @ bad.deltaRij().matrix()),
            bad.deltaPij() - good.deltaPij(),
            bad.deltaVij() - good.deltaVij(),
        ]
        sigma = np.sqrt(np.diag(bad.preintMeasCov()))[:9]
        assert (np.abs(off) <= 3 * sigma + 1e-9).all(), off / sigma


@given(seeds, st.sampled_from([100.0, 200.0, 1000.0]))
def test_no_head_that_sways_knocks(seed, rate_hz):
    imu, t_ns = HeadMotion.drawn(seed).imu(3.0, rate_hz), times(3.0, 0.05)
    assert not Knocks(imu).density(t_ns[:-1], t_ns[1:]).any()


def test_pictures_beside_a_knock_are_told():
    imu, t_ns = misread(HeadMotion.drawn(3).imu(1.0, 200.0), 0.42, 0.0, 60.0), times(1.0, 0.05)
    np.testing.assert_array_equal(np.flatnonzero(Knocks(imu).beside(t_ns)), [8, 9])


def visual_turns(motion, camera_t_ns, dt_s, noise_rad=0.0, seed=0):
    R_world_cam = motion.poses(camera_t_ns + round(dt_s * 1e9))[:, :3, :3] @ T_IMU_CAM[:3, :3]
    turns = so3_log(np.swapaxes(R_world_cam[:-1], 1, 2) @ R_world_cam[1:])
    turns = turns + np.random.default_rng(seed).normal(0, noise_rad, turns.shape)
    n = len(camera_t_ns)
    turns, all_lit = np.r_[np.full((1, 3), np.nan), turns], np.ones((8, 8), bool)
    return VisualTurns(camera_t_ns, turns, np.full(n, 100.0), np.full(n, 150), np.zeros(n, bool), all_lit)


@settings(max_examples=8)
@given(seeds, st.floats(-0.3, 0.3))
def test_the_cheap_pass_finds_offset_and_bias_with_the_right_sign(seed, dt_s):
    motion = HeadMotion.drawn(seed)
    camera_t_ns = times(6.0, 0.05) - round(dt_s * 1e9)  # t_imu = t_cam + dt
    turns = visual_turns(motion, camera_t_ns, dt_s, noise_rad=2e-4, seed=seed)
    found = coarse_offset(turns, motion.imu(6.0, 200.0, GYRO_BIAS), T_IMU_CAM[:3, :3])
    assert found is not None
    assert found.dt_imu_cam_s == pytest.approx(dt_s, abs=0.003)
    np.testing.assert_allclose(found.gyro_bias, GYRO_BIAS, atol=0.005)
    assert found.correlation > 0.99 and found.gyro_scale == pytest.approx(1, abs=0.05)


@settings(max_examples=8)
@given(seeds, st.floats(-0.02, 0.02), hnp.arrays(float, 3, elements=st.floats(-0.03, 0.03)))
def test_keyframe_rotations_refine_offset_bias_and_mount(seed, dt_s, turn):
    motion, camera_t_ns = HeadMotion.drawn(seed), times(6.0, 0.2) - round(dt_s * 1e9)
    R_imu_cam = T_IMU_CAM[:3, :3] @ so3_exp(turn)
    R_anchor_cam = so3_exp([0.3, 0.2, -1]) @ motion.poses(camera_t_ns + round(dt_s * 1e9))[:, :3, :3] @ R_imu_cam
    start = CoarseSync(0.0, 0.003, np.zeros(3), 1.0, 0.0, 1.0)
    found = refine_offset(camera_t_ns, R_anchor_cam, motion.imu(6.0, 1000.0, GYRO_BIAS), T_IMU_CAM[:3, :3], start)
    assert found.dt_imu_cam_s == pytest.approx(dt_s, abs=1e-4)
    np.testing.assert_allclose(found.gyro_bias, GYRO_BIAS, atol=1e-3)
    assert apart_rad(found.R_imu_cam, R_imu_cam) < 2e-3
    assert found.correction_rad == pytest.approx(np.linalg.norm(turn), abs=2e-3)


def test_a_still_camera_gives_no_offset_to_rely_on():
    t_ns = START_NS + 5_000_000 * np.arange(1000, dtype=np.int64)
    rng = np.random.default_rng(0)
    imu = ImuSamples(t_ns, rng.normal(0, 1e-3, (1000, 3)), np.tile([0, 0, 9.81], (1000, 1)))
    camera_t_ns = START_NS + 1_000_000_000 + 50_000_000 * np.arange(60, dtype=np.int64)
    turns = np.r_[np.full((1, 3), np.nan), rng.normal(0, 2e-4, (59, 3))]
    still = VisualTurns(
        camera_t_ns, turns, np.full(60, 90.0), np.full(60, 150), np.zeros(60, bool), np.ones((8, 8), bool)
    )
    found = coarse_offset(still, imu, np.eye(3))
    assert found is None or found.sigma_s > 0.02 or found.correlation < 0.5
    few = VisualTurns(
        *(getattr(still, name)[:8] for name in VisualTurns.__dataclass_fields__ if name != "lit"), still.lit
    )
    assert coarse_offset(few, imu, np.eye(3)) is None


def test_the_ideal_imu_of_these_tests_senses_the_motion_it_claims():
    motion, t_ns = HeadMotion.drawn(5), times(1.0, 1e-3)
    T, (rate, force) = motion.poses(t_ns), motion.sensed(t_ns)
    rate_numeric = so3_log(np.swapaxes(T[:-2, :3, :3], 1, 2) @ T[2:, :3, :3]) / 2e-3
    np.testing.assert_allclose(rate_numeric, rate[1:-1], atol=1e-4)
    a_world = np.diff(T[:, :3, 3], 2, axis=0) / 1e-6 + [0, 0, GRAVITY_M_S2]
    np.testing.assert_allclose(np.einsum("nij,nj->ni", T[1:-1, :3, :3], force[1:-1]), a_world, atol=1e-3)
