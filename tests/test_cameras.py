"""Both lens models: out and back over their whole valid field, and the same as OpenCV's where it has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from handcap.cameras import MODELS, Camera, KannalaBrandt4, PinholeRadtan, PinholeRadtan5

EUROC = PinholeRadtan(
    752, 480, (458.654, 457.296, 367.215, 248.375, -0.28340811, 0.07395907, 0.00019359, 1.76187114e-05)
)
PLAIN = PinholeRadtan(640, 480, (400.0, 410.0, 319.5, 239.5, 0, 0, 0, 0))
BARREL = PinholeRadtan(640, 480, (300.0, 300.0, 319.5, 239.5, -0.3, 0.0, 0.001, -0.002))
PINCUSHION = PinholeRadtan(640, 480, (300.0, 300.0, 319.5, 239.5, 0.2, 0.05, 0.0, 0.0))
TUM_VI = KannalaBrandt4(
    512, 512, (190.97847, 190.97330, 254.93170, 256.89744, 0.003482389, 0.000715034, -0.002053236, 0.00020294)
)
EQUIDISTANT = KannalaBrandt4(800, 800, (200.0, 200.0, 399.5, 399.5, 0, 0, 0, 0))
GOPRO = KannalaBrandt4(2704, 2028, (796.9, 796.9, 1354.4, 1011.9, -0.0217, -0.0141, 0.0026, 0.0008))
FOLDING = KannalaBrandt4(800, 800, (200.0, 200.0, 399.5, 399.5, -0.1, 0.0, 0.0, 0.0))
PINHOLES, FISHEYES = (EUROC, PLAIN, BARREL, PINCUSHION), (TUM_VI, EQUIDISTANT, GOPRO, FOLDING)


def ray(theta: float, phi: float) -> np.ndarray:
    """Unit vector `theta` off the viewing axis, towards `phi` in the picture."""
    return np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])


@given(
    camera=st.sampled_from(FISHEYES),
    share=st.one_of(st.floats(0, 0.98), st.sampled_from([0.0, 1e-13, 1e-9, 1e-4])),
    phi=st.floats(-np.pi, np.pi),
    distance_m=st.floats(0.01, 100),
)
def test_fisheye_goes_out_and_back_over_its_whole_field_even_behind_the_camera(
    camera: KannalaBrandt4, share: float, phi: float, distance_m: float
) -> None:
    p_cam = ray(share * camera.theta_limit_rad, phi)
    pixel, valid = camera.project(distance_m * p_cam)
    assert valid
    back, valid = camera.unproject(pixel)
    assert valid
    np.testing.assert_allclose(back, p_cam, atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(back), 1, atol=1e-12)


def test_an_equidistant_fisheye_sees_120_degrees_off_axis() -> None:
    pixel, valid = EQUIDISTANT.project(ray(np.radians(120), 0.0))
    assert valid
    np.testing.assert_allclose(pixel, [399.5 + 200 * np.radians(120), 399.5])
    back, valid = EQUIDISTANT.unproject(pixel)
    assert valid and back[2] < 0


def test_beyond_the_angle_where_the_image_folds_back_nothing_is_valid() -> None:
    limit = FOLDING.theta_limit_rad
    np.testing.assert_allclose(limit, np.sqrt(1 / 0.3))
    assert FOLDING.project(ray(limit - 1e-3, 1.0))[1] and not FOLDING.project(ray(limit + 1e-3, 1.0))[1]
    rim_px = 399.5 + 200 * (limit - 0.1 * limit**3)
    assert FOLDING.unproject([rim_px - 1, 399.5])[1] and not FOLDING.unproject([rim_px + 1, 399.5])[1]
    # Barrel distortion of a pinhole folds too: a point far off axis would land back in the picture.
    assert not BARREL.project([2.0, 0.0, 1.0])[1]
    assert BARREL.project([0.9, 0.0, 1.0])[1]


@given(camera=st.sampled_from(PINHOLES), u=st.floats(0, 1), v=st.floats(0, 1), depth_m=st.floats(0.01, 100))
def test_every_pixel_of_a_pinhole_picture_goes_out_and_back(camera: Camera, u: float, v: float, depth_m: float) -> None:
    pixel = np.array([u * (camera.width - 1), v * (camera.height - 1)])
    p_cam, valid = camera.unproject(pixel)
    if camera is not BARREL:  # whose corners lie beyond its fold
        assert valid
    if valid:
        back, inside = camera.project(depth_m * p_cam)
        assert inside
        np.testing.assert_allclose(back, pixel, atol=1e-6)


@given(camera=st.sampled_from(PINHOLES), xy=hnp.arrays(float, 2, elements=st.floats(-0.6, 0.6)))
def test_pinhole_rays_come_back(camera: Camera, xy: np.ndarray) -> None:
    p_cam = np.array([*xy, 1.0])
    pixel, valid = camera.project(p_cam)
    assert valid
    back, valid = camera.unproject(pixel)
    assert valid
    np.testing.assert_allclose(back, p_cam / np.linalg.norm(p_cam), atol=1e-9)


def test_pixels_agree_with_opencv() -> None:
    import cv2

    rng = np.random.default_rng(0)
    p_cam = np.column_stack([rng.uniform(-0.6, 0.6, (200, 2)), np.ones(200)]) * rng.uniform(0.2, 5, (200, 1))
    for camera in PINHOLES:
        fx, fy, cx, cy, *lens = camera.params
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        expected = cv2.projectPoints(p_cam, np.zeros(3), np.zeros(3), K, np.array(lens, float))[0][:, 0]
        np.testing.assert_allclose(camera.project(p_cam)[0], expected, atol=1e-9)
    for camera in FISHEYES:
        fx, fy, cx, cy, *lens = camera.params
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        expected = cv2.fisheye.projectPoints(p_cam[:, None], np.zeros(3), np.zeros(3), K, np.array(lens, float))[0][
            :, 0
        ]
        np.testing.assert_allclose(camera.project(p_cam)[0], expected, atol=1e-9)


@pytest.mark.parametrize("camera", [*PINHOLES, *FISHEYES])
def test_what_lies_behind_or_in_the_camera_is_never_valid(camera: Camera) -> None:
    with np.errstate(all="raise"):
        assert not camera.project([0.0, 0.0, 0.0])[1]
        if isinstance(camera, PinholeRadtan):
            assert not camera.project([[0.1, 0, -1.0], [0.1, 0, 0.0]])[1].any()


@pytest.mark.parametrize("camera", [*PINHOLES, *FISHEYES])
def test_the_viewing_axis_is_the_principal_point(camera: Camera) -> None:
    pixel, valid = camera.project([0.0, 0.0, 2.0])
    assert valid
    np.testing.assert_allclose(pixel, camera.params[2:4])
    np.testing.assert_allclose(camera.unproject(pixel)[0], [0, 0, 1], atol=1e-12)


@pytest.mark.parametrize("camera", [*PINHOLES, *FISHEYES])
def test_stacks_of_any_shape_give_the_same_as_one_by_one(camera: Camera) -> None:
    p_cam = np.random.default_rng(0).normal(size=(2, 3, 3)) + np.array([0, 0, 3])
    pixels, valid = camera.project(p_cam)
    assert pixels.shape == (2, 3, 2) and valid.shape == (2, 3)
    np.testing.assert_allclose(pixels[1, 2], camera.project(p_cam[1, 2])[0], atol=1e-12)
    rays, valid = camera.unproject(pixels)
    assert rays.shape == (2, 3, 3) and valid.shape == (2, 3)
    assert camera.project(np.zeros((0, 3)))[0].shape == (0, 2) and camera.unproject(np.zeros((0, 2)))[0].shape == (0, 3)


@given(camera=st.sampled_from((EUROC, TUM_VI)), factor=st.sampled_from([0.5, 0.25, 2.0]), phi=st.floats(-3, 3))
def test_a_resized_picture_sees_the_same_rays(camera: Camera, factor: float, phi: float) -> None:
    p_cam = ray(0.5, phi)
    u, v = camera.project(p_cam)[0]
    np.testing.assert_allclose(
        camera.scaled(factor).project(p_cam)[0], [factor * (u + 0.5) - 0.5, factor * (v + 0.5) - 0.5]
    )


def test_the_picture_runs_from_centre_to_centre_of_its_corner_pixels() -> None:
    assert PLAIN.in_picture([[0, 0], [639, 479]]).all()
    assert not PLAIN.in_picture([[-0.6, 0], [639.6, 0], [0, 480]]).any()
    assert not PLAIN.in_picture([[5, 5]], border_px=10).any()


def test_models_are_found_by_the_names_of_rig_json() -> None:
    assert {"pinhole-radtan": PinholeRadtan, "kannala-brandt4": KannalaBrandt4} == MODELS


@pytest.mark.parametrize("params", [(1.0,) * 7, (-1.0, *(1.0,) * 7), (float("nan"), *(1.0,) * 7)])
def test_a_lens_with_impossible_numbers_is_never_made(params: tuple[float, ...]) -> None:
    with pytest.raises(AssertionError):
        PinholeRadtan(640, 480, params)


@given(
    camera=st.sampled_from([*PINHOLES, *FISHEYES]),
    theta=st.one_of(st.floats(0.0, 1.9), st.sampled_from([0.0, 1e-12, 1e-6])),
    phi=st.floats(-np.pi, np.pi),
    distance_m=st.floats(0.05, 30),
)
def test_the_derivative_is_what_the_pixel_changes_by(
    camera: Camera, theta: float, phi: float, distance_m: float
) -> None:
    p_cam = distance_m * ray(theta, phi)
    h = 1e-6 * distance_m
    aside = np.concatenate([p_cam + h * np.eye(3), p_cam - h * np.eye(3)])
    (pixels, valid), (_, here) = camera.project(aside), camera.project(p_cam)
    if not (valid.all() and here):
        return
    expected = ((pixels[:3] - pixels[3:]) / (2 * h)).T
    np.testing.assert_allclose(camera.derivative(p_cam), expected, atol=2e-4 * camera.params[0] / distance_m)


@given(
    camera=st.sampled_from(
        [*PINHOLES, *FISHEYES, PinholeRadtan5(640, 480, (400, 401, 320, 240, -0.2, 0.1, 1e-3, 0, 0.05))]
    ),
    theta=st.floats(0.0, 1.9),
    phi=st.floats(-np.pi, np.pi),
)
def test_the_derivative_by_the_parameters_is_what_the_pixel_changes_by(
    camera: Camera, theta: float, phi: float
) -> None:
    p_cam = ray(theta, phi)
    if not camera.project(p_cam)[1]:
        return
    values = np.array(camera.params)
    # The pixel is linear in the terms of the lens and bilinear in those and the focal length: one difference is exact.
    for k, column in enumerate(camera.derivative_by_params(p_cam).T):
        step = np.zeros(len(values))
        step[k] = 1e-4
        more, less = (replace(camera, params=tuple(values + sign * step)) for sign in (1, -1))
        expected = (more.project(p_cam)[0] - less.project(p_cam)[0]) / 2e-4
        np.testing.assert_allclose(column, expected, atol=1e-4 * max(1.0, float(np.abs(expected).max())))
