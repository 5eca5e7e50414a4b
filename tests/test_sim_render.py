"""Rendered pictures agree with the lens model, the pose and the light that made them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from handcap import geometry
from handcap.cameras import Camera, KannalaBrandt4, PinholeRadtan
from handcap.geometry import Array
from handcap.sim import photo, rigs
from handcap.sim.lens import Lens
from handcap.sim.light import LightMap, bake
from handcap.sim.person import HeadParams, head_motion
from handcap.sim.render import PoseAt, Renderer, Shot, Shutter, still
from handcap.sim.scene import Room, Scene, SceneBuilder
from handcap.sim.scenes.kitchen import furnish
from handcap.sim.texture import Texture

HEAD = rigs.drawn("head", 0).cameras["head"]
FISHEYE = HEAD.camera
BEYOND_180 = KannalaBrandt4(640, 480, (150.3, 150.1, 323.4, 236.8, -0.012, 0.004, -0.0021, 0.0003))
PINHOLE = PinholeRadtan(640, 480, (430.3, 429.5, 315.4, 244.8, -0.28, 0.07, 2e-4, 2e-5))
SMALL = PinholeRadtan(160, 120, (200.0, 200.0, 79.5, 59.5, 0, 0, 0, 0))
DOWN = np.diag([1.0, -1.0, -1.0])
SQUARE_M = 0.06
RNG = np.random.default_rng(0)


def evenly_lit(scene: Scene) -> LightMap:
    n = len(scene.origin)
    return LightMap(np.ones(4 * n, np.float32), np.arange(n) * 4, np.full((n, 2), 2, np.int32))


def kitchen(seed: int) -> tuple[Scene, Room]:
    b = SceneBuilder(np.random.default_rng(seed))
    room = furnish(b)
    return b.build(room.lights), room


def at(T_room_cam: Array) -> Shot:
    """A picture by a camera that does not move, of a room in which nothing moves."""
    return Shot(Shutter(0.0), still(T_room_cam))


def half_plane() -> Scene:
    """White at x >= 0, nothing beside it."""
    b = SceneBuilder(np.random.default_rng(0))
    white = b.texture(Texture(np.full((4, 4, 3), 200, np.uint8), 0.01))
    b.quad([0, -5, 0], [5, 0, 0], [0, 10, 0], white)
    return b.build([])


def sliding(speed_m_s: float) -> PoseAt:
    """A camera 1 m above the plane that looks down and moves to negative x."""

    def pose(t_s: Array) -> Array:
        shift = np.zeros((len(t_s), 3))
        shift[:, 0], shift[:, 2] = -speed_m_s * t_s, 1.0
        return geometry.se3(DOWN, shift)

    return pose


def checker_plane() -> Scene:
    """A chequered floor around the origin of the room, a corner of a square in the origin."""
    rows, columns = np.indices((120, 120)) // 60
    dark = (rows + columns) % 2
    image = np.repeat(np.where(dark, 40, 200).astype(np.uint8)[..., None], 3, axis=-1)
    b = SceneBuilder(np.random.default_rng(0))
    floor = b.texture(Texture(image, SQUARE_M / 60))
    b.quad([-6, -6, 0], [12, 0, 0], [0, 12, 0], floor, uv=(0, 0))
    return b.build([])


@pytest.mark.parametrize("camera", [FISHEYE, PINHOLE, BEYOND_180], ids=["fisheye", "pinhole", "beyond 180 degrees"])
def test_corners_in_the_picture_lie_where_the_lens_projects_them(camera: Camera) -> None:
    scene = checker_plane()
    renderer, lens = Renderer(scene, evenly_lit(scene)), Lens(camera)
    down = np.diag([1.0, -1.0, -1.0])
    errors = []
    for tilt in ([0.0, 0.0, 0.3], [0.25, 0.1, 1.0], [-0.3, 0.2, 2.0]):
        T_room_cam = geometry.se3(down @ geometry.so3_exp(tilt), [0.013, -0.021, 0.45])
        grid = (np.stack(np.meshgrid(np.arange(-8, 9), np.arange(-8, 9)), axis=-1).reshape(-1, 2)) * SQUARE_M
        corners_room = np.column_stack([grid, np.zeros(len(grid))])
        true_px, valid = camera.project(geometry.transform(geometry.inverse(T_room_cam), corners_room))
        true_px = true_px[valid & camera.in_picture(true_px, 12)].astype(np.float32)
        picture = photo.develop(renderer.render(lens, at(T_room_cam)), np.ones((480, 640), np.float32), 1.0, 0.0, RNG)
        grey = np.ascontiguousarray(picture[..., 0])
        found = cv2.cornerSubPix(grey, true_px[:, None].copy(), (4, 4), (-1, -1), (3, 50, 1e-3))[:, 0]
        errors.append(np.linalg.norm(found - true_px, axis=-1))
    error_px = np.concatenate(errors)
    assert len(error_px) > 60
    assert np.median(error_px) < 0.05
    assert np.percentile(error_px, 95) < 0.15


def test_a_slanted_edge_is_smooth() -> None:
    scene = half_plane()
    camera = PinholeRadtan(160, 120, (200.0, 200.0, 79.6, 59.8, 0, 0, 0, 0))
    T_room_cam = geometry.se3(np.diag([1.0, -1.0, -1.0]) @ geometry.so3_exp([0, 0, 0.17]), [0.0, 0.0, 1.0])
    grey = Renderer(scene, evenly_lit(scene)).render(Lens(camera), at(T_room_cam))[..., 0]
    # The sum along a row tells where the edge crosses it: a straight line, to a small part of a pixel.
    crossing_px = 160 - grey.sum(axis=1) / 200.0
    rows = np.arange(120)
    straight = np.polyval(np.polyfit(rows, crossing_px, 1), rows)
    assert np.std(crossing_px - straight) < 0.08


def test_nearer_things_hide_farther_ones() -> None:
    b = SceneBuilder(np.random.default_rng(0))
    dim, bright = (b.texture(Texture(np.full((4, 4, 3), v, np.uint8), 0.01)) for v in (60, 180))
    b.quad([-5, -5, 0], [10, 0, 0], [0, 10, 0], dim)
    b.box([0, 0, 0], [0.2, 0.2, 0.2], 0.4, bright)
    scene = b.build([])
    T_room_cam = geometry.se3(np.diag([1.0, -1.0, -1.0]), [0.0, 0.0, 1.0])
    grey = Renderer(scene, evenly_lit(scene)).render(Lens(FISHEYE), at(T_room_cam))[..., 0]
    u, v = np.rint(FISHEYE.project(np.array([0.0, 0.0, 0.8]))[0]).astype(int)
    assert grey[v, u] == pytest.approx(180) and grey[v, u - 150] == pytest.approx(60)


def test_casting_every_fourth_ray_sees_what_casting_all_would() -> None:
    scene, room = kitchen(4)
    renderer, lens = Renderer(scene, evenly_lit(scene)), Lens(FISHEYE)
    T_room_cam = geometry.se3(HEAD.T_imu_cam[:3, :3], room.standing.head_low_room)
    placed = renderer._placed(lens, at(T_room_cam), (), 0.0)
    seen = renderer._seen(lens, lens.rook_cam[0], placed)
    every = renderer._cast(lens, lens.rook_cam[0], np.arange(lens.width * lens.height), placed)
    missed = seen.surface != every.surface
    assert missed.sum() <= 30  # of 307200: slivers thinner than two pixels


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    scene, room = kitchen(11)
    renderer, lens = Renderer(scene, bake(scene)), Lens(FISHEYE)
    motion = head_motion(room.standing, HeadParams(), 30.0, (11,))
    T_room_cam = motion.pose(np.arange(1.0, 29.0, 4.0)) @ HEAD.T_imu_cam
    arriving = photo.vignette(FISHEYE, 0.25)
    return [photo.develop(renderer.render(lens, at(T)), arriving, 1.0, 1.5, RNG) for T in T_room_cam]


def test_a_kitchen_offers_corners_all_over_the_picture(pictures: list[np.ndarray]) -> None:
    for picture in pictures:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        corners = cv2.goodFeaturesToTrack(grey, 1000, 0.01, 10)[:, 0]
        assert len(corners) >= 300
        assert len({(int(x // 80), int(y // 80)) for x, y in corners}) >= 24  # of 48 cells


def test_a_kitchen_is_neither_blown_out_nor_black(pictures: list[np.ndarray]) -> None:
    for picture in pictures:
        assert 60 < picture.mean() < 170
        assert np.mean(picture > 250) < 0.01 and np.mean(picture.max(axis=-1) < 8) < 0.02


def test_a_rolling_shutter_leans_a_moving_edge_by_its_speed() -> None:
    scene, camera = half_plane(), SMALL
    speed_m_s, line_delay_s = 0.5, 5e-4
    grey = Renderer(scene, evenly_lit(scene)).render(
        Lens(camera), Shot(Shutter(0.0, line_delay_s), sliding(speed_m_s))
    )[..., 0]
    crossing_px = 159.5 - grey.sum(axis=1) / 200.0
    rows = np.arange(120)
    expected_px = 79.5 + 200.0 * speed_m_s * line_delay_s * (rows - 59.5)
    np.testing.assert_allclose(crossing_px, expected_px, atol=0.25)
    slope, _ = np.polyfit(rows, crossing_px, 1)
    assert slope == pytest.approx(200.0 * speed_m_s * line_delay_s, rel=0.02)


def test_a_moving_body_lies_where_its_pose_says_and_hides_the_room() -> None:
    b = SceneBuilder(np.random.default_rng(0))
    dim, bright = (b.texture(Texture(np.full((4, 4, 3), v, np.uint8), 0.01)) for v in (60, 180))
    b.quad([-5, -5, 0], [10, 0, 0], [0, 10, 0], dim)
    b.body("box").box([0, 0, 0], [0.1, 0.1, 0.1], 0.0, bright, bottom=True)
    scene = b.build([])
    renderer, lens = Renderer(scene, evenly_lit(scene)), Lens(PINHOLE)
    T_room_cam = geometry.se3(np.diag([1.0, -1.0, -1.0]), [0.0, 0.0, 1.0])
    for x in (-0.2, 0.0, 0.15):
        T_room_box = geometry.se3(np.eye(3), [x, 0.05, 0.3])
        depth = renderer.depth(lens, Shot(Shutter(0.0), still(T_room_cam), {"box": still(T_room_box)}))
        middle = geometry.transform(geometry.inverse(T_room_cam), [x, 0.05, 0.4])
        u, v = np.rint(PINHOLE.project(middle)[0]).astype(int)
        assert depth[v, u] == pytest.approx(0.6, abs=1e-5)
        assert depth[v + 150, u] == pytest.approx(1.0, abs=1e-5)


def test_blur_spreads_a_moving_edge_over_the_way_it_goes() -> None:
    scene, camera = half_plane(), SMALL
    speed_m_s, exposure_s = 1.0, 0.05  # ten pixels
    shot = Shot(Shutter(0.0, 0.0, exposure_s), sliding(speed_m_s))
    row = Renderer(scene, evenly_lit(scene)).render(Lens(camera), shot)[60, :, 0] / 200.0
    ramp = np.clip((np.arange(160) - 79.5) / 10 + 0.5, 0, 1)
    np.testing.assert_allclose(row, ramp, atol=0.11)  # one of ten moments
    assert row.mean() == pytest.approx(ramp.mean(), abs=0.002)
