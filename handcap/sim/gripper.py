"""The hand-held gripper: its shape, its two fingers, the tags on them and on the cube behind.

Tool frame (tcp): z approach, x along the jaw opening, y completes; origin between the closed fingertips. Parallel to
the gripper's camera, which sits 86 mm above and 220 mm behind, as UMI's does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from handcap import geometry
from handcap.geometry import Array
from handcap.sim import targets, texture
from handcap.sim.scene import SceneBuilder
from handcap.sim.targets import Target
from handcap.sim.texture import Texture
from handcap.types import Side, Tag, TagBody

T_CAM_TCP = geometry.se3(np.eye(3), [0.0, 0.086, 0.21965])
FINGER_TAG_M, CUBE_TAG_M = 0.020, 0.036
_PLATE_M, _CUBE_M = 0.026, 0.046
_FINGERS: Sequence[tuple[TagBody, float]] = (("finger_a", -1.0), ("finger_b", 1.0))
_CUBE_CENTRE = np.array([0.0, -0.150, -0.285])


def body_names(side: Side) -> tuple[str, str, str]:
    """Bodies of one gripper: itself, the finger at negative x and the finger at positive x."""
    return f"{side}_gripper", f"{side}_finger_a", f"{side}_finger_b"


def number(side: Side) -> int:
    """UMI's number of the robot on that side."""
    return 0 if side == "right" else 1


@cache  # the same tags for the same side, so that a room furnished with them is known again
def tags(side: Side) -> tuple[Tag, ...]:
    """Where its tags are by the drawing: five on the cube that look up, back, left, right and ahead (the sixth face is
    glued on), and one on each finger that looks at the camera."""
    found: list[Tag] = []
    for k, outward in enumerate(([0, -1, 0], [0, 0, -1], [-1, 0, 0], [1, 0, 0], [0, 0, 1])):
        normal = np.array(outward, float)
        T = _facing(_CUBE_CENTRE + _CUBE_M / 2 * normal, _CUBE_CENTRE + normal)
        found.append(Tag("36h11", 10 * (1 + number(side)) + k, CUBE_TAG_M, "tcp", T))
    for k, (body, sign) in enumerate(_FINGERS):
        centre = np.array([sign * (0.012 + _PLATE_M / 2), -0.014, -0.07])
        T = _facing(centre, geometry.inverse(T_CAM_TCP)[:3, 3])
        found.append(Tag("4x4_50", 6 * number(side) + k, FINGER_TAG_M, body, T))
    return tuple(found)


def build(b: SceneBuilder, side: Side, tags: Sequence[Tag]) -> None:
    """Add the three bodies of a gripper with its tags; all of them in the tool frame with the jaws shut."""
    rng = b.rng
    shell = b.texture(texture.plain(rng, [60, 62, 66] if side == "left" else [88, 66, 58]))
    pad = b.texture(texture.plain(rng, [38, 38, 40]))
    gripper, *fingers = (b.body(name) for name in body_names(side))
    for centre, size in (
        ([0, 0.004, -0.155], [0.08, 0.036, 0.04]),
        ([0, -0.008, -0.25], [0.06, 0.055, 0.09]),
        ([0, 0.075, -0.185], [0.034, 0.11, 0.045]),  # handle
        ([0, -0.05, -0.246], [0.026, 0.05, 0.02]),
        ([0, -0.086, -0.254], [0.04, 0.04, 0.03]),  # camera
        ([0, -0.115, -0.262], [0.02, 0.03, 0.015]),
    ):
        gripper.box(centre, size, 0.0, shell, bottom=True)
    for finger, sign in zip(fingers, (-1.0, 1.0), strict=True):
        finger.box([sign * 0.006, 0, -0.115], [0.012, 0.018, 0.115], 0.0, pad, bottom=True)
    carriers = {"tcp": gripper, "finger_a": fingers[0], "finger_b": fingers[1]}
    for tag in tags:
        sheet_m = _CUBE_M if tag.body == "tcp" else _PLATE_M
        printed = targets.tag(tag.family, tag.id, tag.size_m, (sheet_m - tag.size_m) / 2)
        _hang(carriers[tag.body], tag.T_body_tag, printed)
        if tag.body != "tcp":
            back = Texture(np.full((4, 4, 3), 90, np.uint8), 0.01)
            _plate(carriers[tag.body], _turned(tag.T_body_tag), back, float(printed.size_m[0]))


def _facing(centre: Array, towards: Array) -> Array:
    """A tag's pose (4, 4) at `centre`, its printed side looking `towards` a point: x right, y down, z into the tag."""
    z = centre - towards
    z = z / np.linalg.norm(z)
    down = np.array([0.0, 1.0, 0.0]) if abs(z[1]) < 0.9 else np.array([0.0, 0.0, -1.0])
    x = np.cross(down, z)
    x /= np.linalg.norm(x)
    return geometry.se3(np.column_stack([x, np.cross(z, x), z]), centre)


def _turned(T: Array) -> Array:
    """The back of a plate."""
    return T @ geometry.se3(np.diag([-1.0, 1.0, -1.0]), [0.0, 0.0, 0.0005])


def _hang(b: SceneBuilder, T_body_tag: Array, printed: Target) -> None:
    """A printed tag with its middle in the tag's frame; the sheet is a whole number of texels, the margin gives way."""
    half = (printed.size_m - 2 * printed.margin_m) / 2
    T_body_target = T_body_tag @ geometry.se3(np.eye(3), [-half[0], -half[1], 0.0])
    b.quad(*printed.sheet(T_body_target), b.texture(printed.texture), uv=(0, 0))


def _plate(b: SceneBuilder, T: Array, picture: Texture, edge_m: float) -> None:
    x, y = T[:3, 0] * edge_m, T[:3, 1] * edge_m
    b.quad(T[:3, 3] - x / 2 + y / 2, x, -y, b.texture(picture), uv=(0, 0))
