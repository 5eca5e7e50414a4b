"""Laws of rotations and rigid motions, near identity and near π included."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from handcap import geometry as g

unit_range = st.floats(-1, 1)
vectors = hnp.arrays(float, 3, elements=unit_range)
angles = st.one_of(
    st.floats(0, np.pi - 1e-6),
    st.floats(0, 1e-3),
    st.sampled_from([0.0, 1e-300, 1e-12, 1e-8, 0.99e-4, 1e-4, 1.01e-4, 0.0199, 0.02, 0.0201, np.pi - 1e-9, np.pi]),
)


@st.composite
def rotation_vectors(draw: st.DrawFn) -> np.ndarray:
    axis = draw(vectors)
    assume(np.linalg.norm(axis) > 1e-3)
    return axis / np.linalg.norm(axis) * draw(angles)


@st.composite
def poses(draw: st.DrawFn) -> np.ndarray:
    return g.se3(g.so3_exp(draw(rotation_vectors())), 10 * draw(vectors))


@given(rotation_vectors())
def test_exp_is_scipys_and_a_rotation(theta: np.ndarray) -> None:
    R = g.so3_exp(theta)
    np.testing.assert_allclose(R, Rotation.from_rotvec(theta).as_matrix(), atol=1e-14)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-14)


@given(rotation_vectors())
def test_log_undoes_exp_up_to_the_sign_of_a_half_turn(theta: np.ndarray) -> None:
    got = g.so3_log(g.so3_exp(theta))
    assert np.linalg.norm(got) <= np.pi + 1e-12
    if np.pi - np.linalg.norm(theta) > 1e-7:
        np.testing.assert_allclose(got, theta, atol=1e-8 if np.linalg.norm(theta) > 3.1 else 1e-12)
    np.testing.assert_allclose(g.so3_exp(got), g.so3_exp(theta), atol=1e-13)


@given(rotation_vectors(), vectors)
def test_rigid_log_undoes_exp(theta: np.ndarray, rho: np.ndarray) -> None:
    assume(np.pi - np.linalg.norm(theta) > 1e-5)
    xi = np.concatenate([theta, rho])
    np.testing.assert_allclose(g.se3_log(g.se3_exp(xi)), xi, atol=1e-9)


@given(rotation_vectors(), vectors)
def test_exp_of_a_screw_is_many_small_steps(theta: np.ndarray, rho: np.ndarray) -> None:
    xi = np.concatenate([theta, rho])
    step = g.se3_exp(xi / 1024)
    whole = np.linalg.matrix_power(step, 1024)
    np.testing.assert_allclose(g.se3_exp(xi), whole, atol=1e-10)


@given(rotation_vectors(), vectors)
def test_left_jacobian_is_the_derivative_of_exp(theta: np.ndarray, direction: np.ndarray) -> None:
    h = 1e-6
    moved = g.so3_exp(theta + h * direction) @ g.so3_exp(theta - h * direction).T
    np.testing.assert_allclose(g.so3_log(moved) / (2 * h), g.so3_left_jacobian(theta) @ direction, atol=1e-8)


@given(poses(), poses(), vectors)
def test_inner_names_cancel(T_a_b: np.ndarray, T_b_c: np.ndarray, p_c: np.ndarray) -> None:
    np.testing.assert_allclose(g.transform(T_a_b @ T_b_c, p_c), g.transform(T_a_b, g.transform(T_b_c, p_c)), atol=1e-12)
    np.testing.assert_allclose(g.inverse(T_a_b) @ T_a_b, np.eye(4), atol=1e-12)


@given(poses(), rotation_vectors(), vectors)
def test_adjoint_carries_a_tangent_to_the_other_side(T: np.ndarray, theta: np.ndarray, rho: np.ndarray) -> None:
    xi = np.concatenate([theta, rho])
    np.testing.assert_allclose(T @ g.se3_exp(xi), g.se3_exp(g.adjoint(T) @ xi) @ T, atol=1e-10)


@given(vectors, vectors)
def test_skew_is_the_cross_product(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(g.skew(a) @ b, np.cross(a, b), atol=1e-15)


@given(rotation_vectors(), st.floats(0.1, 10))
def test_quaternions_go_round_whatever_their_length_and_sign(theta: np.ndarray, length: float) -> None:
    R = g.so3_exp(theta)
    quat_wxyz = g.quat_wxyz_from_matrix(R)
    assert quat_wxyz[0] >= 0
    np.testing.assert_allclose(np.linalg.norm(quat_wxyz), 1, atol=1e-14)
    np.testing.assert_allclose(g.matrix_from_quat_wxyz(-length * quat_wxyz), R, atol=1e-13)


def test_the_quaternion_has_w_first() -> None:
    np.testing.assert_allclose(g.quat_wxyz_from_matrix(g.yaw_rotation(np.pi / 2)), [np.sqrt(0.5), 0, 0, np.sqrt(0.5)])


@given(hnp.arrays(float, (3, 3), elements=unit_range), rotation_vectors())
def test_projection_keeps_rotations_and_finds_the_nearest(noise: np.ndarray, theta: np.ndarray) -> None:
    R = g.so3_exp(theta)
    np.testing.assert_allclose(g.project_to_so3(R), R, atol=1e-13)
    nearest = g.project_to_so3(R + 0.1 * noise)
    np.testing.assert_allclose(nearest @ nearest.T, np.eye(3), atol=1e-13)
    assert np.linalg.det(nearest) > 0
    assert np.linalg.norm(nearest - R - 0.1 * noise) <= np.linalg.norm(0.1 * noise) + 1e-12


def test_a_mirror_is_projected_to_a_rotation_not_to_itself() -> None:
    assert np.linalg.det(g.project_to_so3(np.diag([1.0, 1.0, -0.9]))) > 0


@given(vectors)
def test_gravity_alignment_turns_up_onto_z_by_the_least_angle(up: np.ndarray) -> None:
    assume(np.linalg.norm(up) > 1e-3)
    R = g.gravity_alignment(up)
    unit = up / np.linalg.norm(up)
    np.testing.assert_allclose(R @ unit, [0, 0, 1], atol=1e-9)
    angle = np.arctan2(np.linalg.norm(np.cross(unit, [0, 0, 1])), unit[2])
    np.testing.assert_allclose(np.linalg.norm(g.so3_log(R)), angle, atol=1e-7)


def test_gravity_alignment_upside_down_is_a_half_turn() -> None:
    for up in ([0, 0, -1.0], [0, 0, 1.0], [1e-13, 0, -1.0], [1e-9, 0, -1.0]):
        R = g.gravity_alignment(up)
        np.testing.assert_allclose(R @ np.array(up), [0, 0, 1], atol=1e-8)
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(R) > 0


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_yaw_turns_about_the_vertical(a: float, b: float) -> None:
    np.testing.assert_allclose(g.yaw_rotation(a) @ g.yaw_rotation(b), g.yaw_rotation(a + b), atol=1e-14)
    np.testing.assert_allclose(g.yaw_rotation(a) @ [0, 0, 1], [0, 0, 1], atol=1e-15)


@given(poses(), rotation_vectors(), vectors, st.floats(0, 1))
def test_interpolation_hits_the_samples_and_turns_steadily_between(
    T0: np.ndarray, theta: np.ndarray, step: np.ndarray, share: float
) -> None:
    assume(np.linalg.norm(theta) < np.pi - 1e-3)
    t_ns = np.array([10**18, 10**18 + 50_000_000], np.int64)  # epoch stamps: no digits to lose
    T1 = g.se3(T0[:3, :3] @ g.so3_exp(theta), T0[:3, 3] + step)
    at_ns = np.array([t_ns[0], t_ns[0] + round(share * 50_000_000), t_ns[1]], np.int64)
    first, middle, last = g.interpolate_poses(t_ns, np.stack([T0, T1]), at_ns)
    np.testing.assert_allclose(first, T0, atol=1e-12)
    np.testing.assert_allclose(last, T1, atol=1e-10)
    s = round(share * 50_000_000) / 50_000_000
    np.testing.assert_allclose(middle[:3, :3], T0[:3, :3] @ g.so3_exp(s * theta), atol=1e-9)
    np.testing.assert_allclose(middle[:3, 3], T0[:3, 3] + s * step, atol=1e-12)


@given(hnp.arrays(float, (2, 6, 6), elements=unit_range))
def test_the_upper_triangle_goes_round_in_the_documented_order(A: np.ndarray) -> None:
    cov = A @ np.swapaxes(A, 1, 2)
    triangle = g.upper_triangle(cov)
    assert triangle.shape == (2, 21)
    np.testing.assert_array_equal(triangle[:, :7], np.concatenate([cov[:, 0, :], cov[:, 1, 1:2]], axis=1))
    np.testing.assert_allclose(g.from_upper_triangle(triangle), cov, atol=1e-15)


def test_every_function_takes_stacks() -> None:
    theta = np.random.default_rng(0).normal(size=(2, 5, 3))
    R = g.so3_exp(theta)
    T = g.se3(R, theta)
    for stacked, one in (
        (R, g.so3_exp),
        (g.so3_left_jacobian(theta), g.so3_left_jacobian),
        (g.skew(theta), g.skew),
    ):
        np.testing.assert_allclose(stacked[1, 3], one(theta[1, 3]), atol=1e-15)
    for stacked, one, source in (
        (g.so3_log(R), g.so3_log, R),
        (g.quat_wxyz_from_matrix(R), g.quat_wxyz_from_matrix, R),
        (g.se3_log(T), g.se3_log, T),
        (g.inverse(T), g.inverse, T),
        (g.adjoint(T), g.adjoint, T),
    ):
        np.testing.assert_allclose(stacked[1, 3], one(source[1, 3]), atol=1e-14)
    assert g.so3_exp(np.zeros((0, 3))).shape == (0, 3, 3) and g.so3_log(np.zeros((0, 3, 3))).shape == (0, 3)
    assert g.quat_wxyz_from_matrix(np.zeros((0, 3, 3))).shape == (0, 4)
