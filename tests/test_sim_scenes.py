"""Every virtual room keeps the laws that scripts of motion rely on, and looks like a room."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import cv2
import numpy as np
import pytest

from handcap import geometry
from handcap.geometry import Array
from handcap.sim import rigs
from handcap.sim.lens import Lens
from handcap.sim.light import bake
from handcap.sim.person import CAMERA_PITCH_RAD, head_pose
from handcap.sim.render import Renderer, Shot, Shutter, still
from handcap.sim.scene import Body, Room, Scene, SceneBuilder
from handcap.sim.scenes import SCENES

FLAT_M = 0.03  # rugs and floors are walked on
HEAD_M = 0.12  # from between the eyes to the outside of a head with a camera
LENS = Lens(rigs.HEADS["head"])
T_IMU_CAM = rigs.drawn("head", 0).cameras["head"].T_imu_cam


@dataclass(frozen=True, eq=False, slots=True)
class Furnished:
    room: Room
    scene: Scene


@pytest.fixture(scope="module", params=[(name, seed) for name in SCENES for seed in (0, 1, 2)], ids=str)
def furnished(request: pytest.FixtureRequest) -> Furnished:
    return furnish(*request.param)


def furnish(name: str, seed: int) -> Furnished:
    b = SceneBuilder(np.random.default_rng([seed, 1]))
    room = SCENES[name](b)
    return Furnished(room, b.build(room.lights))


def caster(body: Body, triangles: Array | None = None) -> Any:
    import open3d as o3d

    tensor: Any = o3d.core.Tensor
    scene: Any = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(tensor(body.vertices), tensor(body.triangles if triangles is None else triangles))
    return scene


def tensor(values: Array) -> Any:
    import open3d as o3d

    as_tensor: Any = o3d.core.Tensor
    return as_tensor(np.ascontiguousarray(values, np.float32))


def clearance_m(body: Body, points: Array, *, above_m: float = -np.inf) -> Array:
    """(n,) distance to the nearest thing of which some part is higher than `above_m`."""
    high = body.vertices[body.triangles][..., 2].max(axis=1) > above_m
    return caster(body, body.triangles[high]).compute_distance(tensor(points)).numpy()


def along_path(room: Room, step_m: float = 0.05) -> Array:
    """(n, 2) floor points."""
    parts = []
    for start, end in zip(room.path_room[:-1], room.path_room[1:], strict=True):
        share = np.arange(0, 1, step_m / np.linalg.norm(end - start))[:, None]
        parts.append(start + share * (end - start))
    return np.concatenate([*parts, room.path_room[-1:]])


def head_middle(room: Room) -> Array:
    return (room.standing.head_low_room + room.standing.head_high_room) / 2


def looking(position: Array, at: Array) -> Array:
    """(4, 4) T_room_cam of the head camera."""
    x, y, z = at - position
    yaw, down = np.arctan2(y, x), np.arctan2(-z, np.hypot(x, y))
    pitch = np.clip(down - CAMERA_PITCH_RAD, -0.5, 0.6)
    return head_pose(np.array([*position, yaw, pitch, 0.0])) @ T_IMU_CAM


def props_at(room: Room) -> dict[str, Any]:
    bodies = {prop.body: still(prop.T_room_prop) for prop in room.props}
    return bodies if room.slide is None else bodies | {room.slide.body: still(room.slide.T_room_body)}


def prop_bodies(furnished: Furnished) -> dict[str, Body]:
    """Props with their vertices in the room's frame."""
    bodies = {body.name: body for body in furnished.scene.bodies}
    return {
        prop.body: Body(
            prop.body,
            geometry.transform(prop.T_room_prop, bodies[prop.body].vertices.astype(float)).astype(np.float32),
            bodies[prop.body].triangles,
            bodies[prop.body].surface_of,
        )
        for prop in furnished.room.props
    }


def test_a_head_at_work_touches_nothing(furnished: Furnished) -> None:
    standing = furnished.room.standing
    axes = [
        np.linspace(low, high, 6) for low, high in zip(standing.head_low_room, standing.head_high_room, strict=True)
    ]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)
    assert clearance_m(furnished.scene.bodies[0], points).min() > HEAD_M


def test_the_head_is_where_a_person_stands_who_works_there(furnished: Furnished) -> None:
    room = furnished.room
    corners = np.array([room.standing.head_low_room, room.standing.head_high_room])
    at_work = geometry.transform(geometry.inverse(room.T_room_work), corners)
    assert np.all(at_work[:, 0] >= -0.75) and np.all(at_work[:, 0] <= -0.3)
    assert np.all(np.abs(at_work[:, 1]) <= 0.3)
    assert np.all(at_work[:, 2] >= 0.45) and np.all(at_work[:, 2] <= 0.8)
    assert np.linalg.norm(room.path_room[0] - head_middle(room)[:2]) < 0.1


def test_the_walk_is_clear_up_to_the_head(furnished: Furnished) -> None:
    room = furnished.room
    heights = np.arange(0.05, room.standing.head_high_room[2] + HEAD_M, 0.1)
    path = along_path(room)
    points = np.array([[*xy, z] for xy in path for z in heights])
    clear = clearance_m(furnished.scene.bodies[0], points, above_m=FLAT_M).reshape(len(path), -1).min(axis=1)
    # Who works at a table stands near it; who walks keeps off.
    walking = np.linalg.norm(path - path[0], axis=1) > 0.3
    assert clear[~walking].min() > 0.2
    assert clear[walking].min() > 0.29


def test_nothing_but_props_is_on_the_free_part(furnished: Furnished) -> None:
    room, (depth, width) = furnished.room, furnished.room.work_size
    heights = np.arange(0.005, 0.4, 0.01)
    rays = []
    for z in heights:
        rays += [[-depth / 2, y, z, depth, 0, 0] for y in np.arange(-width / 2, width / 2, 0.01)]
        rays += [[x, -width / 2, z, 0, width, 0] for x in np.arange(-depth / 2, depth / 2, 0.01)]
    rays = np.array(rays)
    rays = np.concatenate(
        [geometry.transform(room.T_room_work, rays[:, :3]), rays[:, 3:] @ room.T_room_work[:3, :3].T], axis=1
    )
    assert not caster(furnished.scene.bodies[0]).test_occlusions(tensor(rays), 0.0, 1.0).numpy().any()


def test_the_free_part_has_a_surface_right_below(furnished: Furnished) -> None:
    room = furnished.room
    share = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 21), np.linspace(-0.5, 0.5, 41)), axis=-1).reshape(-1, 2)
    start = np.column_stack([share * room.work_size, np.full(len(share), 0.05)])
    rays = np.column_stack([geometry.transform(room.T_room_work, start), np.tile([0.0, 0.0, -1.0], (len(share), 1))])
    depth_m = caster(furnished.scene.bodies[0]).cast_rays(tensor(rays))["t_hit"].numpy() - 0.05
    assert np.all(np.abs(depth_m) < 0.001)


def test_props_stand_on_the_free_part_with_room_for_fingers_between(furnished: Furnished) -> None:
    room, bodies = furnished.room, prop_bodies(furnished)
    assert bodies
    T_work_room = geometry.inverse(room.T_room_work)
    for body in bodies.values():
        at_work = geometry.transform(T_work_room, body.vertices.astype(float))
        assert np.all(np.abs(at_work[:, :2]) <= room.work_size / 2 + 0.005), body.name
        assert 0 <= at_work[:, 2].min() < 0.003, body.name
    for one, other in combinations(bodies.values(), 2):
        # Upright prisms are nearest at a vertex of one of them.
        gaps_m = [caster(a).compute_distance(tensor(b.vertices)).numpy() for a, b in ((one, other), (other, one))]
        assert min(gap_m.min() for gap_m in gaps_m) > 0.03, (one.name, other.name)


def test_a_prop_is_as_large_as_it_says(furnished: Furnished) -> None:
    bodies = {body.name: body for body in furnished.scene.bodies}
    for prop in furnished.room.props:
        vertices = bodies[prop.body].vertices
        # A bottle is gripped below its neck, so it may be taller.
        lower = vertices[vertices[:, 2] <= prop.height_m + 1e-6]
        assert lower[:, 2].max() == pytest.approx(prop.height_m, abs=1e-6)
        assert np.ptp(lower[:, 0]) == pytest.approx(prop.grasp_width_m, rel=0.02)


def test_the_drawer_slides_out_of_its_furniture(furnished: Furnished) -> None:
    room = furnished.room
    if room.slide is None:
        pytest.skip("no drawer in this room")
    body = next(body for body in furnished.scene.bodies if body.name == room.slide.body)
    shut = geometry.transform(room.slide.T_room_body, body.vertices.astype(float))
    front = shut[(shut @ room.slide.pull_room) > (shut @ room.slide.pull_room).max() - 0.04]
    for share in (0.0, 0.5, 1.0):
        points = front + share * room.slide.travel_m * room.slide.pull_room
        # Shut, the front panel lies 1 mm before the table.
        assert clearance_m(furnished.scene.bodies[0], points).min() > 0.0005


def test_faces_look_at_who_is_in_the_room(furnished: Furnished) -> None:
    room, scene = furnished.room, furnished.scene
    body = scene.bodies[0]
    k = np.arange(20000) + 0.5
    z, angle = 1 - k / 10000, k * np.pi * (3 - np.sqrt(5))
    directions = np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], axis=-1)
    height = head_middle(room)[2]
    scene_caster = caster(body)
    for eye in [head_middle(room), *([*xy, height] for xy in room.path_room)]:
        hits = scene_caster.cast_rays(tensor(np.column_stack([np.tile(eye, (len(directions), 1)), directions])))
        triangle = hits["primitive_ids"].numpy()
        assert np.all(np.isfinite(hits["t_hit"].numpy())), "the room has a hole"
        normal = scene.normal[body.surface_of[triangle]]
        from_behind = np.einsum("ij,ij->i", normal, directions) > 0
        assert from_behind.mean() < 0.001


def test_pictures_are_neither_black_nor_blown_out_and_have_corners_to_track(furnished: Furnished) -> None:
    room, scene = furnished.room, furnished.scene
    renderer, bodies = Renderer(scene, bake(scene)), props_at(room)

    def picture(T_room_cam: Array) -> Any:
        light = renderer.render(LENS, Shot(Shutter(0.0), still(T_room_cam), bodies))
        return np.clip(np.rint(light), 0, 255).astype(np.uint8)

    head = head_middle(room)
    at_work = picture(looking(head, room.T_room_work[:3, 3]))
    grey = cv2.cvtColor(at_work, cv2.COLOR_RGB2GRAY)
    assert len(cv2.goodFeaturesToTrack(grey, 2000, 0.01, 8)) >= 120
    around = [picture(looking(head, box.mean(axis=0))) for box in room.standing.gaze_boxes_room]
    height = head[2]
    walk = [
        picture(looking(np.array([*here, height]), np.array([*there, height - 0.4])))
        for here, there in zip(room.path_room[:-1], room.path_room[1:], strict=True)
    ]
    for view in [at_work, *around, *walk]:
        seen = view.reshape(-1, 3)[LENS.pixel_rad > 0].mean(axis=1)
        assert 50 < seen.mean() < 200
        assert np.mean(seen < 8) < 0.05
        assert np.mean(seen > 250) < 0.05
        assert seen.std() > 15


def test_gaze_is_mostly_on_the_work(furnished: Furnished) -> None:
    standing = furnished.room.standing
    assert standing.gaze_weights.sum() == pytest.approx(1.0)
    low, high = standing.gaze_boxes_room[0]
    work = furnished.room.T_room_work[:3, 3]
    assert standing.gaze_weights[0] >= 0.6
    assert np.all(low <= work + 0.005) and np.all(work <= high)
    assert np.all(standing.gaze_boxes_room[:, 0] <= standing.gaze_boxes_room[:, 1])


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in ("kitchen", "corridor") else ()) for n in SCENES]
)
def test_a_room_depends_on_nothing_but_its_seed(name: str) -> None:
    first, again, other = (furnish(name, seed) for seed in (3, 3, 4))
    for field in ("origin", "size", "normal", "uv", "texture"):
        np.testing.assert_array_equal(getattr(first.scene, field), getattr(again.scene, field))
    np.testing.assert_array_equal(first.scene.atlas.texels, again.scene.atlas.texels)
    np.testing.assert_array_equal(first.room.path_room, again.room.path_room)
    texels = [each.scene.atlas.texels for each in (first, other)]
    assert len(texels[0]) != len(texels[1]) or np.any(texels[0] != texels[1])
