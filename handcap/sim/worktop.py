"""Where a person works: a table with a free part, and a head before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from handcap import geometry
from handcap.geometry import Array
from handcap.sim.place import Place, box_room
from handcap.sim.scene import Standing

_EDGE_M = 0.025  # from the table's edge to the free part
_THICK_M, _LEG_M, _MAT_M = 0.035, 0.055, 0.003
_HEAD_LOW, _HEAD_HIGH = np.array([-0.60, -0.2, 0.52]), np.array([-0.45, 0.2, 0.72])
STAND_M = -0.525  # along the work frame's x: below the middle of the head's box


def table(place: Place, size: ArrayLike, work_size: Array, wood: int, mat: int) -> Array:
    """A table on four legs with a mat on its free part.

    Args:
        place: the middle of its foot, x away from the person.
        size: (3,) depth, width, height of its top, m.
        work_size: (2,) m to be kept free, at the person's edge.
        wood, mat: textures.

    Returns:
        T_room_work (4, 4).
    """
    depth, width, top = np.asarray(size, float)
    place.box([0, 0, top - _THICK_M], [depth, width, _THICK_M], wood, bottom=True)
    for sx in (-1, 1):
        for sy in (-1, 1):
            leg = [sx * (depth / 2 - 0.05), sy * (width / 2 - 0.05), 0]
            place.box(leg, [_LEG_M, _LEG_M, top - _THICK_M], wood)
    return free_part(place, size, work_size, mat)


def free_part(place: Place, size: ArrayLike, work_size: Array, mat: int) -> Array:
    """Lay the mat on something of this size; returns T_room_work (4, 4)."""
    depth, _, top = np.asarray(size, float)
    x = -depth / 2 + _EDGE_M + work_size[0] / 2
    place.box([x, 0, top], [*(work_size + 0.02), _MAT_M], mat)
    return place.T_room_place @ geometry.se3(np.eye(3), [x, 0, top + _MAT_M])


def beside(T_room_work: Array, work_size: Array) -> Callable[[Array, float], bool]:
    """What keeps things off the free part: whether a round thing at (2,), room frame, leaves it free."""
    T_work_room, half = geometry.inverse(T_room_work), work_size / 2 + 0.012

    def free(centre: Array, radius: float) -> bool:
        at = geometry.transform(T_work_room, np.array([*centre, 0.0]))[:2]
        return bool(np.any(np.abs(at) > half + radius))

    return free


def spots(
    place: Place,
    low: ArrayLike,
    high: ArrayLike,
    z: float,
    radii: ArrayLike,
    free: Callable[[Array, float], bool] = lambda centre, radius: True,
) -> Iterator[tuple[Array, float]]:
    """Where round things of these radii fit on an area (2,) to (2,), none in another's way; those that do not are left.

    Yields:
        (3,) foot in the place's frame, and the radius.
    """
    low, high = np.asarray(low, float), np.asarray(high, float)
    taken: list[tuple[Array, float]] = []
    for radius in np.asarray(radii, float):
        for _ in range(30):
            if np.any(high - low <= 2 * radius):
                break
            centre = place.builder.rng.uniform(low + radius, high - radius)
            apart = all(np.hypot(*(centre - other)) > radius + r + 0.004 for other, r in taken)
            if apart and free(place.at([*centre, z])[:2], radius):
                taken.append((centre, radius))
                yield np.array([*centre, z]), float(radius)
                break


def standing(T_room_work: Array, surroundings: Sequence[ArrayLike], share: ArrayLike) -> Standing:
    """A head behind the free part, which looks at it and at times about.

    Args:
        T_room_work: (4, 4) of quarter turns.
        surroundings: (k, 2, 3) boxes worth a look, room frame.
        share: (k,) how often; what is missing to 1 goes to the work.
    """
    head = box_room(T_room_work, _HEAD_LOW, _HEAD_HIGH)
    work = box_room(T_room_work, [-0.2, -0.5, 0.0], [0.3, 0.5, 0.15])
    weights = np.asarray(share, float)
    return Standing(
        head_low_room=head[0],
        head_high_room=head[1],
        gaze_boxes_room=np.concatenate([work[None], np.array(surroundings, float)]),
        gaze_weights=np.array([1 - weights.sum(), *weights]),
    )
