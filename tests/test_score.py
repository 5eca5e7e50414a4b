"""Scores agree with evo's, and obey their laws."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from handcap.geometry import Array, matrix_from_quat_wxyz, se3, se3_exp, so3_exp, yaw_rotation
from handcap.reconstruct import score as stage
from handcap.reconstruct.inertial import States
from handcap.reconstruct.uncertainty import PoseUncertainty
from handcap.reconstruct.verdict import relative_sigma_1s
from handcap.types import Trajectory

finite = st.floats(-2, 2, allow_subnormal=False)
vectors = hnp.arrays(float, 3, elements=finite)
tangents = hnp.arrays(float, (40, 6), elements=st.floats(-1, 1, allow_subnormal=False))


def trajectory(T: Array, cov: Array | None = None, start_ns: int = 0, period_ns: int = 50_000_000) -> Trajectory:
    n = len(T)
    t_ns = start_ns + period_ns * np.arange(n, dtype=np.int64)
    cov = np.full((n, 6, 6), np.nan) if cov is None else cov
    return Trajectory("head", t_ns, t_ns, T, cov, np.isfinite(T[:, 0, 0]))


def walk(seed: int = 0, n: int = 60) -> Array:
    """(n, 4, 4) poses of a smooth, well spread motion."""
    s = np.linspace(0, 6, n)[:, None]
    phase = np.random.default_rng(seed).uniform(0, 6, 6)
    return se3_exp(np.sin(s * np.array([1.0, 0.7, 0.4, 0.9, 1.3, 0.6]) + phase) * [0.4, 0.4, 0.8, 1.0, 0.6, 0.3])


def read_tum(path: Path, separator: str | None = None, wxyz: bool = False) -> tuple[np.ndarray, Array]:
    t_ns, poses = [], []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            continue
        fields = line.split(separator)
        t_ns.append(int(fields[0]) if separator else round(float(fields[0]) * 1e9))
        x = [float(field) for field in fields[1:8]]
        quat_wxyz = x[3:7] if wxyz else [x[6], *x[3:6]]
        poses.append(se3(matrix_from_quat_wxyz(quat_wxyz), x[:3]))
    return np.array(t_ns, np.int64), np.array(poses)


# What evo 1.38.1 computes with `associate_trajectories` (0.01 s): pairs; APE of the positions after SE(3) and after
# Sim(3) alignment, the scale; RPE over 10 frames, all pairs, translation (m) and rotation (deg).
EVO = {
    "freiburg1_xyz-rgbdslam": {
        "pairs": 785,
        "scale": 1.0080013899313378,
        "se3": {"rmse": 0.013470088849733684, "median": 0.011183186775061079, "max": 0.03475954589500906},
        "sim3": {"rmse": 0.013389384904168201, "median": 0.011133899090810936, "max": 0.034846144852261104},
        "metres": {"rmse": 0.014040675998645386, "median": 0.010939370434006678, "max": 0.048023289418413516},
        "degrees": {"rmse": 0.6747777477331112, "median": 0.5360709771355839, "max": 1.7221765649076803},
    },
    "freiburg1_xyz-ORB_kf_mono": {
        "pairs": 32,
        "scale": 1.1056223637370346,
        "se3": {"rmse": 0.024301632277621003, "median": 0.021090778176947957, "max": 0.04273479767682471},
        "sim3": {"rmse": 0.009754581898685118, "median": 0.007909070259951256, "max": 0.02792400173407602},
        "metres": {"rmse": 0.03758186812313504, "median": 0.036569548056734034, "max": 0.060222980852680526},
        "degrees": {"rmse": 1.0714962547673683, "median": 1.0679519025827844, "max": 1.703501086778383},
    },
    "V102": {
        "pairs": 798,
        "scale": 0.9796982521745786,
        "se3": {"rmse": 0.09172711520685745, "median": 0.07791194901949514, "max": 0.2558167338139711},
        "sim3": {"rmse": 0.08384138804295287, "median": 0.07194517866622556, "max": 0.2266517923827704},
        "metres": {"rmse": 0.05567504013258814, "median": 0.03625223435119267, "max": 0.22121983988430866},
        "degrees": {"rmse": 1.1295830621113825, "median": 0.243929491857038, "max": 8.26477482026725},
    },
}


def pairs(shared_data: Callable[[str], Path], name: str) -> tuple[Array, Array]:
    folder = shared_data("formats/ros_mcap_evo")
    if name == "V102":
        t_truth_ns, T_truth = read_tum(folder / "V102_groundtruth.csv", ",", wxyz=True)
    else:
        t_truth_ns, T_truth = read_tum(folder / "freiburg1_xyz-groundtruth.txt")
    t_ns, T = read_tum(folder / f"{name}.txt")
    i, j = stage.associate(t_truth_ns, t_ns)
    return T_truth[i], T[j]


@pytest.mark.parametrize("name", EVO)
def test_alignment_errors_and_scale_agree_with_evo(shared_data, name):
    T_truth, T = pairs(shared_data, name)
    p_truth, p = T_truth[:, :3, 3], T[:, :3, 3]
    expected = EVO[name]
    assert len(T) == expected["pairs"]
    assert stage.align(p_truth, p, with_scale=True).scale == pytest.approx(expected["scale"], abs=1e-9)
    for key, with_scale in (("se3", False), ("sim3", True)):
        found = stage.statistics(stage.absolute_errors_m(p_truth, p, with_scale=with_scale))
        for what, value in expected[key].items():
            assert getattr(found, what) == pytest.approx(value, abs=1e-9), (key, what)


@pytest.mark.parametrize("name", EVO)
def test_relative_errors_over_ten_frames_agree_with_evo(shared_data, name):
    T_truth, T = pairs(shared_data, name)
    first = np.arange(len(T) - 10)
    metres, radians = stage.relative_errors(T_truth, T, first, first + 10)
    for errors, key in ((metres, "metres"), (np.rad2deg(radians), "degrees")):
        found = stage.statistics(errors)
        for what, value in EVO[name][key].items():
            assert getattr(found, what) == pytest.approx(value, abs=1e-6), (key, what)


@pytest.mark.parametrize("name", ["orb_ape", "orb_rpe", "sptam_ape", "sptam_rpe"])
def test_statistics_agree_with_the_results_that_evo_publishes(shared_data, name):
    with zipfile.ZipFile(shared_data(f"formats/ros_mcap_evo/res_files/{name}.zip")) as published:
        errors = np.load(BytesIO(published.read("error_array.npz")))
        expected = json.loads(published.read("stats.json"))
    found = stage.statistics(errors)
    for what, value in expected.items():
        assert getattr(found, what) == pytest.approx(value, rel=1e-9), what


def test_association_takes_the_nearest_stamp_and_drops_far_ones():
    a = np.array([0, 100, 200, 300], np.int64) * 1_000_000
    b = np.array([-1, 6, 104, 211, 295, 301, 500, 600], np.int64) * 1_000_000
    i, j = stage.associate(a, b)
    assert i.tolist() == [0, 1, 3] and j.tolist() == [0, 2, 5]
    j2, i2 = stage.associate(b, a)
    assert (i2.tolist(), j2.tolist()) == (i.tolist(), j.tolist())


@given(tangents, vectors, vectors)
def test_the_error_does_not_depend_on_where_the_estimates_world_lies(noise, turn, shift):
    T_truth = walk(n=40)
    T = T_truth @ se3_exp(noise * 0.1)
    moved = se3(so3_exp(turn), shift) @ T
    for with_scale in (False, True):
        before = stage.absolute_errors_m(T_truth[:, :3, 3], T[:, :3, 3], with_scale=with_scale)
        after = stage.absolute_errors_m(T_truth[:, :3, 3], moved[:, :3, 3], with_scale=with_scale)
        np.testing.assert_allclose(after, before, atol=1e-9)


@given(vectors, vectors, st.floats(0.2, 5))
def test_rotation_shift_and_scale_are_recovered(turn, shift, scale):
    p_truth = walk(n=40)[:, :3, 3]
    p = (p_truth - shift) @ so3_exp(turn) / scale
    found = stage.align(p_truth, p, with_scale=True)
    assert found.scale == pytest.approx(scale, rel=1e-9)
    np.testing.assert_allclose(found.R_truth_estimate, so3_exp(turn), atol=1e-7)
    np.testing.assert_allclose(found.apply(p), p_truth, atol=1e-9)


@given(st.floats(-3, 3), vectors)
def test_a_perfect_estimate_scores_zero_in_any_gauge(yaw, shift):
    T_truth = walk(n=60)
    cov = np.tile(np.eye(6) * 1e-6, (60, 1, 1))
    found = stage.score(trajectory(T_truth), trajectory(se3(yaw_rotation(yaw), shift) @ T_truth, cov))
    assert found.ate_m.max < 1e-9 and found.tilt_rad < 1e-9 and found.relative_m < 1e-9
    assert found.scale == pytest.approx(1) and found.coverage == 1 and found.honesty.fraction == 1


@given(st.floats(1e-4, 0.5), st.floats(-3, 3))
def test_tilt_is_the_angle_by_which_the_estimates_world_leans(lean, heading):
    T_truth = walk(n=20)
    axis = lean * np.array([np.cos(heading), np.sin(heading), 0])
    found = stage.gravity_tilt_rad(T_truth[:, :3, :3], so3_exp(axis) @ T_truth[:, :3, :3])
    np.testing.assert_allclose(found, lean, atol=1e-9)


def test_untracked_rows_count_against_coverage_and_nothing_else():
    T = walk(n=60)
    torn = T.copy()
    torn[20:35] = np.nan
    found = stage.score(trajectory(T), trajectory(torn))
    assert found.coverage == 45 / 60 and found.ate_m.max < 1e-9


def test_truth_is_interpolated_at_the_estimates_stamps():
    T = se3(np.eye(3), np.arange(40.0)[:, None] * [0.1, 0, 0] + np.sin(np.arange(40.0))[:, None] * [0, 1, 0])
    between = trajectory((T[:-1] + T[1:]) / 2, start_ns=25_000_000)
    assert stage.score(trajectory(T), between).ate_m.max < 1e-9


def draws(seed: int, told_sigma: float, true_sigma: float, n: int = 400) -> stage.Honesty:
    rng = np.random.default_rng(seed)
    T = walk(seed, n)
    xi = np.concatenate([np.zeros((n, 3)), rng.normal(0, true_sigma, (n, 3))], axis=1)
    xi[0] = 0
    cov = np.tile(np.eye(6) * told_sigma**2, (n, 1, 1))
    return stage.honesty(50_000_000 * np.arange(n, dtype=np.int64), T @ se3_exp(xi), T, cov)


def test_honest_covariance_holds_95_percent_and_boasting_far_less():
    share, low, high = stage.pooled([draws(seed, 0.01, 0.01) for seed in range(20)])
    assert 0.94 < share < 0.96 and low < share < high
    assert stage.pooled([draws(seed, 0.005, 0.01) for seed in range(20)])[0] < 0.5
    assert stage.pooled([draws(seed, 0.05, 0.01) for seed in range(20)])[0] > 0.999


def test_nees_of_an_honest_covariance_averages_three():
    assert np.mean([draws(seed, 0.01, 0.01).nees.mean() for seed in range(20)]) == pytest.approx(3, rel=0.05)


def test_honesty_leaves_out_the_first_second_and_rows_without_covariance():
    T = walk(n=60)
    cov = np.tile(np.eye(6), (60, 1, 1))
    cov[40:45] = np.nan
    t_ns = 50_000_000 * np.arange(60, dtype=np.int64)
    assert len(stage.honesty(t_ns, T, T, cov).nees) == 60 - 21 - 5


def test_a_lean_of_the_first_pose_is_not_aligned_away():
    T = walk(n=100)
    T[:, :3, 3] += np.linspace(0, 3, 100)[:, None] * [1, 0, 0]
    leaning = se3(so3_exp([0, 0.1, 0]), np.zeros(3)) @ T
    cov = np.tile(np.eye(6) * 1e-4, (100, 1, 1))
    assert stage.honesty(50_000_000 * np.arange(100, dtype=np.int64), T, leaning, cov).fraction < 0.5


def test_certainty_that_is_wrong_is_never_inside():
    T = walk(n=60)
    wrong = T.copy()
    wrong[30:, 0, 3] += 1
    found = stage.honesty(50_000_000 * np.arange(60, dtype=np.int64), T, wrong, np.zeros((60, 6, 6)))
    assert found.inside == 9 and np.isinf(found.nees[-1])


def test_one_second_honesty_compares_the_motion_with_its_sigma():
    rng = np.random.default_rng(3)
    T = walk(n=2000)
    noisy = T.copy()
    noisy[:, :3, 3] += rng.normal(0, 0.01 / np.sqrt(2), (2000, 3))
    t_ns = 50_000_000 * np.arange(2000, dtype=np.int64)
    assert stage.relative_honesty(t_ns, T, noisy, 0.01).fraction == pytest.approx(0.95, abs=0.02)
    assert stage.relative_honesty(t_ns, T, noisy, 0.003).fraction < 0.3


def test_the_sigma_of_a_second_survives_a_few_seconds_without_sight() -> None:
    n = 200
    cov = np.zeros((n, 6, n, 6))
    for i in range(n):  # independent keyframes, known to a tenth of a millimetre; three of them to a metre
        cov[i, :, i, :] = (1.0 if i in (50, 51, 120) else 1e-8) * np.eye(6)
    zero = np.zeros((n, 3))
    states = States(np.arange(n, dtype=np.int64) * 200_000_000, np.tile(np.eye(4), (n, 1, 1)), zero, zero, zero)
    metres, radians = relative_sigma_1s(states, PoseUncertainty(cov, 0.0, 1e-4))
    assert metres is not None and radians is not None
    assert 1e-4 < metres < 1e-3 and 1e-4 < radians < 1e-3


def test_the_sigma_of_a_second_is_the_root_mean_square_where_all_are_alike() -> None:
    n = 60
    cov = np.zeros((n, 6, n, 6))
    for i in range(n):
        cov[i, :, i, :] = np.diag([1e-8] * 3 + [4e-8] * 3)
    zero = np.zeros((n, 3))
    states = States(np.arange(n, dtype=np.int64) * 200_000_000, np.tile(np.eye(4), (n, 1, 1)), zero, zero, zero)
    metres, radians = relative_sigma_1s(states, PoseUncertainty(cov, 0.0, 1e-4))
    assert metres == pytest.approx(np.sqrt(8e-8), rel=1e-4) and radians == pytest.approx(np.sqrt(2e-8), rel=1e-4)
