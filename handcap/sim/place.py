"""A spot in a room with axes of its own, so that one piece of furniture fits every wall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from handcap import geometry
from handcap.geometry import Array
from handcap.sim.furniture import clutter
from handcap.sim.scene import SceneBuilder

_OFF_WALL_M = 0.004  # nothing coincides with the wall behind it
_YAW_QUARTERS = (-1, 1, 0, 2)  # turns y into the room, wall by wall


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """Where furniture stands: x to the left of who looks at its front, y out of the front, z up; m.

    Attributes:
        builder: takes the patches.
        T_room_place: (4, 4) quarter turns about z only.
    """

    builder: SceneBuilder
    T_room_place: Array

    def box(
        self,
        centre: ArrayLike,
        size: ArrayLike,
        texture: int | Sequence[int],
        *,
        turn: float = 0.0,
        bottom: bool = False,
    ) -> None:
        """Like `SceneBuilder.box`; faces are back, left, front, right and top."""
        yaw_rad = float(np.arctan2(self.T_room_place[1, 0], self.T_room_place[0, 0]))
        self.builder.box(self.at(centre), size, yaw_rad + turn, texture, bottom=bottom)

    def quad(self, origin: ArrayLike, edge_a: ArrayLike, edge_b: ArrayLike, texture: int) -> None:
        R = self.T_room_place[:3, :3]
        self.builder.quad(
            self.at(origin), R @ np.asarray(edge_a, float), R @ np.asarray(edge_b, float), texture, uv=(0, 0)
        )

    def sheet(self, middle: ArrayLike, width_m: float, height_m: float, texture: int) -> None:
        """A picture that looks out of the front; `middle` is that of its lower edge."""
        x, y, z = np.asarray(middle, float)
        self.quad([x + width_m / 2, y, z], [-width_m, 0, 0], [0, 0, height_m], texture)

    def cylinder(
        self, foot: ArrayLike, radius_m: float, height_m: float, side: int, top: int, *, facets: int = 16
    ) -> None:
        self.builder.cylinder(self.at(foot), radius_m, height_m, side, top, facets=facets)

    def clutter(
        self,
        low: ArrayLike,
        high: ArrayLike,
        z: float,
        count: int,
        tallest_m: float,
        free: Callable[[Array, float], bool] = lambda centre, radius: True,
    ) -> None:
        """Things side by side on an area (2,) to (2,); `free` is asked in the room's frame."""
        corners = np.array([self.at([*np.asarray(xy, float), z]) for xy in (low, high)])
        lowest, highest = corners.min(axis=0)[:2], corners.max(axis=0)[:2]
        clutter(self.builder, lowest, highest, float(corners[0, 2]), count, tallest_m, free)

    def at(self, point: ArrayLike) -> Array:
        """(3,) to the room's frame."""
        return geometry.transform(self.T_room_place, np.asarray(point, float))


def quarter_turn(quarters: int, position: ArrayLike) -> Array:
    """(4, 4) a pose turned by quarters about z, exactly."""
    return geometry.se3(np.rint(geometry.yaw_rotation(quarters * np.pi / 2)), position)


def against(b: SceneBuilder, room_size: ArrayLike, wall: int, along_m: float) -> Place:
    """At a wall: 0 is x = 0, 1 is x = size, 2 is y = 0, 3 is y = size, as `shell` counts them.

    Args:
        b: takes the patches.
        room_size: (3,) m.
        wall: which.
        along_m: where the middle of the back stands, along the wall's axis of the room.
    """
    x, y, _ = np.asarray(room_size, float)
    foot = [(_OFF_WALL_M, along_m), (x - _OFF_WALL_M, along_m), (along_m, _OFF_WALL_M), (along_m, y - _OFF_WALL_M)]
    return Place(b, quarter_turn(_YAW_QUARTERS[wall], [*foot[wall], 0.0]))


def box_room(T_room_place: Array, low: ArrayLike, high: ArrayLike) -> Array:
    """(2, 3) low and high corner, in the room's frame, of a box given in a frame of quarter turns."""
    corners = geometry.transform(T_room_place, np.array([low, high], float))
    return np.array([corners.min(axis=0), corners.max(axis=0)])
