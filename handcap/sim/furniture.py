"""Furniture and things that rooms share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from handcap import geometry
from handcap.geometry import Array
from handcap.sim import label, texture
from handcap.sim.scene import Prop, SceneBuilder, Slide

_APART_M = 0.045  # between two props: fingers must get in
_SKIN_M = 0.001  # props stand this far above their surface, so that no two faces coincide


def muted(rng: np.random.Generator) -> Array:
    """A household colour, not too dark and not too loud."""
    grey = rng.uniform(110, 225)
    return np.clip(grey + rng.normal(0, 17, 3), 60, 240)


def shell(b: SceneBuilder, size: tuple[float, float, float], walls: list[int], floor: int, ceiling: int) -> None:
    """Floor, ceiling and four walls of a box-shaped room, seen from inside.

    Args:
        b: where to put them.
        size: (x, y, z) m.
        walls: textures at x = 0, x = size, y = 0, y = size.
        floor, ceiling: textures.
    """
    x, y, z = size
    b.quad([0, 0, 0], [x, 0, 0], [0, y, 0], floor)
    b.quad([0, 0, z], [0, y, 0], [x, 0, 0], ceiling)
    b.quad([0, 0, 0], [0, y, 0], [0, 0, z], walls[0])
    b.quad([x, y, 0], [0, -y, 0], [0, 0, z], walls[1])
    b.quad([x, 0, 0], [-x, 0, 0], [0, 0, z], walls[2])
    b.quad([0, y, 0], [x, 0, 0], [0, 0, z], walls[3])


def clutter(
    b: SceneBuilder,
    low: Array,
    high: Array,
    z: float,
    count: int,
    tallest_m: float,
    free: Callable[[Array, float], bool] = lambda centre, radius: True,
) -> None:
    """Cartons, cans, cups and jars side by side on a shelf or table top, none inside another.

    Args:
        b: where to put them.
        low, high: (2,) corners of the area, m.
        z: its height.
        count: how many to try.
        tallest_m: nothing higher.
        free: whether something of that radius may stand there.
    """
    rng, taken = b.rng, []
    for _ in range(count):
        for _attempt in range(30):
            radius = rng.uniform(0.03, 0.095)
            centre = rng.uniform(low + radius, high - radius) if np.all(high - low > 2 * radius) else None
            if centre is None or not free(centre, radius):
                continue
            if all(np.hypot(*(centre - c)) > radius + r + 0.004 for c, r in taken):
                taken.append((centre, radius))
                _thing(b, np.array([*centre, z]), radius, tallest_m)
                break


def outside(centre: ArrayLike, size: ArrayLike) -> Callable[[Array, float], bool]:
    """What keeps clutter off an upright rectangle (its middle and size, (2,) m), for `clutter`."""
    middle, half = np.asarray(centre, float), np.asarray(size, float) / 2
    return lambda at, radius: bool(np.any(np.abs(at - middle) > half + radius))


def _thing(b: SceneBuilder, foot: Array, radius: float, tallest_m: float) -> None:
    rng = b.rng
    if rng.random() < 0.55:
        angle = rng.uniform(0.5, 1.07)  # half diagonal of the footprint = radius
        size = np.array([2 * radius * np.cos(angle), 2 * radius * np.sin(angle), 0.0])
        size[2] = np.clip(rng.uniform(0.4, 2.6) * radius, 0.03, tallest_m)
        b.box(foot, size, rng.uniform(0, np.pi), [b.texture(t) for t in label.carton(rng, size, muted(rng))])
    else:
        radius = min(radius, 0.06)
        height = float(np.clip(rng.uniform(1.2, 3.4) * radius, 0.05, tallest_m))
        around = label.wrapper(rng, 2 * np.pi * radius, height, muted(rng))
        b.cylinder(foot, radius, height, b.texture(around), b.texture(label.lid(rng, radius, muted(rng))))


def props_on(b: SceneBuilder, T_room_work: Array, work_size: Array, extra: int) -> tuple[Prop, ...]:
    """Things to handle, apart from one another: a bottle, a cup, a sponge and some more.

    Args:
        b: the room's builder.
        T_room_work: (4, 4) middle of the free surface.
        work_size: (2,) m of it.
        extra: how many more cans and cartons.
    """
    rng = b.rng
    props: list[Prop] = []
    taken: list[tuple[Array, float]] = []
    kinds = [("bottle", _bottle), ("cup", _cup), ("sponge", _sponge)]
    kinds += [(f"thing_{k + 1}", _can if rng.random() < 0.5 else _carton) for k in range(extra)]
    for name, make in kinds:
        for _ in range(200):
            xy = rng.uniform(-work_size / 2 + 0.05, work_size / 2 - 0.05)
            if all(np.hypot(*(xy - other)) > 0.05 + radius + _APART_M for other, radius in taken):
                width_m, height_m, radius_m = make(b.body(name), name)
                taken.append((xy, radius_m))
                # Within a third of a right angle across the person's view: jaws close on it without contortion.
                turn = geometry.yaw_rotation(float(-np.pi / 2 + rng.uniform(-0.5, 0.5)))
                T_room_prop = T_room_work @ geometry.se3(turn, [*xy, _SKIN_M])
                props.append(Prop(name, T_room_prop, width_m, height_m))
                break
    return tuple(props)


def _round(body: SceneBuilder, radius_m: float, height_m: float) -> tuple[float, float, float]:
    rng = body.rng
    around = body.texture(label.wrapper(rng, 2 * np.pi * radius_m, height_m, muted(rng)))
    lid = body.texture(label.lid(rng, radius_m, muted(rng)))
    body.cylinder([0, 0, 0], radius_m, height_m, around, lid)
    _underside(body, radius_m, lid)
    return 2 * radius_m, height_m, radius_m


def _underside(body: SceneBuilder, radius_m: float, picture: int) -> None:
    """A bottom, a little smaller than the foot, for things that are lifted and tilted."""
    edge = 1.4 * radius_m
    body.quad([-edge / 2, -edge / 2, 0.0], [0, edge, 0], [edge, 0, 0], picture)


def _bottle(body: SceneBuilder, name: str) -> tuple[float, float, float]:
    rng = body.rng
    radius_m, height_m = float(rng.uniform(0.028, 0.036)), float(rng.uniform(0.15, 0.19))
    size = _round(body, radius_m, height_m)
    neck = body.texture(texture.plain(rng, muted(rng)))
    body.cylinder([0, 0, height_m], 0.4 * radius_m, 0.04, neck, neck, facets=16)
    return size


def _cup(body: SceneBuilder, name: str) -> tuple[float, float, float]:
    rng = body.rng
    radius_m, height_m = float(rng.uniform(0.033, 0.04)), float(rng.uniform(0.08, 0.1))
    glaze = body.texture(label.wrapper(rng, 2 * np.pi * radius_m, height_m, muted(rng)))
    inside = body.texture(texture.plain(rng, [70, 62, 58]))
    body.cylinder([0, 0, 0], radius_m, height_m, glaze, inside)
    _underside(body, radius_m, glaze)
    return 2 * radius_m, height_m, radius_m


def _sponge(body: SceneBuilder, name: str) -> tuple[float, float, float]:
    rng = body.rng
    foam = body.texture(texture.speckled(rng, rng.uniform([190, 150, 60], [235, 200, 120])))
    body.box([0, 0, 0], [0.055, 0.085, 0.03], 0.0, foam, bottom=True)
    return 0.055, 0.03, 0.05


def _can(body: SceneBuilder, name: str) -> tuple[float, float, float]:
    return _round(body, float(body.rng.uniform(0.027, 0.036)), float(body.rng.uniform(0.07, 0.12)))


def _carton(body: SceneBuilder, name: str) -> tuple[float, float, float]:
    rng = body.rng
    size = rng.uniform([0.035, 0.04, 0.06], [0.065, 0.085, 0.13])
    faces = [body.texture(picture) for picture in label.carton(rng, size, muted(rng))]
    body.box([0, 0, 0], size, 0.0, faces, bottom=True)
    return float(size[0]), float(size[2]), float(np.hypot(*size[:2]) / 2)


def drawer(b: SceneBuilder, front_room: ArrayLike, pull_room: ArrayLike, size: ArrayLike, travel_m: float) -> Slide:
    """A drawer that slides out of a table or a cupboard, with a few things in it.

    Args:
        b: the room's builder.
        front_room: (3,) middle of the front panel's outer face when shut, m.
        pull_room: (3,) level unit vector out of the furniture.
        size: (3,) depth, width, height, m.
        travel_m: how far it opens.
    """
    rng = b.rng
    depth, width, height = (float(x) for x in np.asarray(size, float))
    pull = np.asarray(pull_room, float)
    # The drawer's own frame: x out of the furniture, z up.
    yaw = float(np.arctan2(pull[1], pull[0]))
    T = geometry.se3(geometry.yaw_rotation(yaw), front_room)
    body = b.body("drawer")
    front = body.texture(label.panel(rng, width, height, muted(rng)))
    wood = body.texture(texture.wood(rng, [168, 128, 88], 0.5, 0.5, 0.25))
    steel = body.texture(texture.plain(rng, [150, 152, 156]))
    body.box([-0.008, 0, -height / 2], [0.016, width, height], 0.0, [front, front, front, front, wood], bottom=True)
    inner = width - 0.03
    middle = -depth / 2 - 0.016
    body.box([middle, 0, -height / 2 + 0.005], [depth, inner, 0.008], 0.0, wood, bottom=True)
    for side in (-1, 1):
        body.box([middle, side * (inner / 2 - 0.005), -height / 2 + 0.013], [depth, 0.01, 0.6 * height], 0.0, wood)
    body.box([-depth - 0.01, 0, -height / 2 + 0.013], [0.01, inner, 0.6 * height], 0.0, wood)
    things = np.array([[-depth + 0.02, -inner / 2 + 0.02], [-0.04, inner / 2 - 0.02]])
    clutter(body, things[0], things[1], -height / 2 + 0.0135, 6, 0.5 * height)
    grip = 0.030
    for side in (-1, 1):
        body.box([grip / 2, side * 0.05, -0.004], [grip, 0.008, 0.008], 0.0, steel, bottom=True)
    body.box([grip, 0, -0.005], [0.01, 0.12, 0.01], 0.0, steel, bottom=True)
    return Slide("drawer", T, np.array([grip, 0.0, 0.0]), pull, travel_m)
