"""Bundle adjustment and its covariance on scenes with stated noise: errors are as large as claimed, not larger."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from head_motion import T_IMU_CAM, HeadMotion, observed, points_ahead, sights, times
from scipy.stats import chi2

from handcap.cameras import Camera, KannalaBrandt4, PinholeRadtan
from handcap.clock import nanoseconds
from handcap.geometry import Array, inverse, se3_exp, se3_log
from handcap.reconstruct.bundle import Solution, optimise
from handcap.reconstruct.inertial import Preintegrator, States
from handcap.reconstruct.landmarks import Observations, with_views
from handcap.reconstruct.uncertainty import UNMODELLED, PoseUncertainty, linearised
from handcap.reconstruct.verdict import scale_sigma
from handcap.types import ImuModel, ImuSamples

PINHOLE = PinholeRadtan(752, 480, (380.0, 381.0, 367.0, 248.0, -0.1, 0.02, 2e-4, 2e-5))
FISHEYE = KannalaBrandt4(640, 640, (210.0, 211.0, 319.0, 321.0, 0.03, -0.01, 0.002, -0.0005))
LENSES = {"pinhole": PINHOLE, "fisheye": FISHEYE}
NOISE = ImuModel(200.0, 2e-3, 2e-2, 1e-5, 1e-4)
PIXEL_SIGMA = 0.5
OFFSET_S = 0.002  # planted: the stamps given to the solver are this much too early
DRAWS = 16
LENGTH_S = 2.4


@dataclass(frozen=True, eq=False)
class Draw:
    """One noisy recording, solved: what came out and what was true."""

    truth: States
    solution: Solution
    joint: PoseUncertainty
    offset_s: float

    def errors(self) -> Array:
        """(n, 6) of T_true = T_est Exp(xi)."""
        return se3_log(inverse(self.solution.states.T_world_imu) @ self.truth.T_world_imu)


def recorded(motion: HeadMotion, camera: Camera, seed: int) -> tuple[States, ImuSamples, Observations]:
    """True keyframe states, and IMU and pixels with the stated noise."""
    rng = np.random.default_rng(seed)
    truth = motion.states(times(LENGTH_S, 0.2))
    ideal = motion.imu(LENGTH_S, NOISE.rate_hz)
    per_sample = np.sqrt(NOISE.rate_hz)
    imu = ImuSamples(
        ideal.t_ns,
        ideal.gyro_imu + [0.01, -0.02, 0.03] + rng.normal(0, NOISE.gyro_noise_density * per_sample, (len(ideal), 3)),
        ideal.accel_imu + [0.05, 0.1, -0.1] + rng.normal(0, NOISE.accel_noise_density * per_sample, (len(ideal), 3)),
    )
    T_world_cam = truth.T_world_imu @ T_IMU_CAM
    p_world = np.concatenate([points_ahead(T_world_cam[k:], 25, seed=k) for k in (0, 4, 8, 12)])
    seen = with_views(sights(T_world_cam, camera, p_world), 3)
    return (
        truth,
        imu,
        observed(seen.keyframe, seen.track, seen.pixel + rng.normal(0, PIXEL_SIGMA, seen.pixel.shape), camera),
    )


def solved(camera: Camera, seed: int, offset_s: float = OFFSET_S) -> Draw:
    truth, samples, seen = recorded(HeadMotion.drawn(7), camera, seed)
    rng = np.random.default_rng(1000 + seed)
    off = se3_exp(rng.normal(0, [0.005] * 3 + [0.01] * 3, (len(truth), 6)))
    off[0] = np.eye(4)  # the gauge's state stays where it starts
    start = replace(truth.shifted(-int(nanoseconds(offset_s))), T_world_imu=truth.T_world_imu @ off)
    imu, states, found_s = Preintegrator(samples, NOISE), start, 0.0
    for _ in range(3):
        solution = optimise(states, seen, camera, T_IMU_CAM, imu, PIXEL_SIGMA)
        joint = linearised(solution, imu, 0.05).uncertainty(1.0)
        found_s += joint.dt_step_s
        states = solution.states.shifted(int(nanoseconds(joint.dt_step_s)))
    return Draw(truth, solution, joint, found_s)


@pytest.fixture(scope="module", params=LENSES)
def draws(request) -> list[Draw]:
    return [solved(LENSES[request.param], seed) for seed in range(DRAWS)]


def consistent(errors: Array, covs: Array) -> None:
    """Sum of squared errors over their covariances lies within chi-square's 99.9 % bounds.

    The factor for what real recordings hold beyond the model is taken off: here there is nothing beyond it.
    """
    nees = np.einsum("ki,kij,kj->k", errors, np.linalg.inv(covs / UNMODELLED), errors)
    low, high = chi2.ppf([0.0005, 0.9995], errors.size)
    assert low < nees.sum() < high, (nees.sum() / errors.size, low / errors.size, high / errors.size)


@pytest.mark.parametrize("keyframe", [4, 8, -1])
def test_position_errors_are_as_large_as_claimed(draws, keyframe):
    errors = np.array([d.errors()[keyframe, 3:] for d in draws])
    consistent(errors, np.array([d.joint.cov[keyframe, 3:, keyframe, 3:] for d in draws]))


def test_rotation_errors_are_as_large_as_claimed(draws):
    errors = np.array([d.errors()[-1, :3] for d in draws])
    consistent(errors, np.array([d.joint.cov[-1, :3, -1, :3] for d in draws]))


def test_the_planted_clock_offset_is_found_as_well_as_claimed(draws):
    errors = np.array([[d.offset_s - OFFSET_S] for d in draws])
    consistent(errors, np.array([[[d.joint.dt_sigma_s**2]] for d in draws]))
    assert np.abs([d.joint.dt_step_s for d in draws]).max() < 1e-4  # three rounds settle it


def test_scale_errors_are_as_large_as_claimed(draws):
    errors = []
    for d in draws:
        p, p_true = (s.T_world_imu[:, :3, 3] - s.T_world_imu[0, :3, 3] for s in (d.solution.states, d.truth))
        errors.append([(p * p_true).sum() / (p * p).sum() - 1])
    consistent(np.array(errors), np.array([[[scale_sigma(d.solution.states, d.joint) ** 2]] for d in draws]))


def test_position_and_yaw_of_the_first_keyframe_are_known_by_definition_and_its_tilt_is_not(draws):
    d = draws[0]
    up_imu = d.solution.states.T_world_imu[0, 2, :3]
    first = d.joint.of_pose(0)
    assert np.sqrt(np.trace(first[3:, 3:])) < 1e-4
    assert np.sqrt(up_imu @ first[:3, :3] @ up_imu) < 1e-4
    assert np.sqrt(np.trace(first[:3, :3])) > 5e-4
    np.testing.assert_allclose(d.errors()[0, 3:], 0, atol=1e-4)


def test_the_imus_residual_matches_its_stated_noise(draws):
    # 9 rows of 12 intervals, of which the fit takes some
    assert 0.3 < np.mean([d.solution.imu_chi2 for d in draws]) < 1.1
    assert all(d.solution.converged for d in draws)


def test_slow_tracking_errors_widen_the_covariance_and_leave_the_solution():
    d = solved(PINHOLE, 0)
    imu = Preintegrator(recorded(HeadMotion.drawn(7), PINHOLE, 0)[1], NOISE)
    wide = linearised(d.solution, imu, 0.05).uncertainty(9.0)
    same = linearised(d.solution, imu, 0.05).uncertainty(1.0)
    ratio = np.sqrt(np.trace(wide.of_pose(12)[3:, 3:]) / np.trace(same.of_pose(12)[3:, 3:]))
    assert 1.2 < ratio <= 3.0
    assert wide.dt_step_s == pytest.approx(same.dt_step_s, abs=1e-12)
    assert wide.dt_sigma_s >= same.dt_sigma_s


@pytest.mark.parametrize("offset_s", [-0.004, 0.004])
def test_one_step_goes_most_of_the_way_to_the_offset_with_its_sign(offset_s):
    truth, samples, seen = recorded(HeadMotion.drawn(7), FISHEYE, 3)
    imu = Preintegrator(samples, NOISE)
    early = truth.shifted(-int(nanoseconds(offset_s)))
    solution = optimise(early, seen, FISHEYE, T_IMU_CAM, imu, PIXEL_SIGMA)
    assert linearised(solution, imu, 0.05).uncertainty(1.0).dt_step_s == pytest.approx(offset_s, rel=0.25)
