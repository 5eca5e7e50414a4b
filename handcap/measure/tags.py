"""Printed tags in a picture: found by OpenCV, their corners where the edges of the square meet.

OpenCV's own corners lie about half a pixel inside a small square, whatever refinement is asked for (measured on the
virtual rig, 15 to 40 px); a tag's distance would come out too large by as much of its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from handcap.cameras import Camera
from handcap.geometry import Array, looking_along
from handcap.types import TagFamily

_DICTIONARIES: dict[TagFamily, int] = {"36h11": cv2.aruco.DICT_APRILTAG_36h11, "4x4_50": cv2.aruco.DICT_4X4_50}

_ALONG = np.linspace(0.12, 0.88, 17)  # where an edge is looked at, of its length; corners are round in any lens
_ACROSS = np.linspace(-1.0, 1.0, 25)  # of the reach to either side
_REACH = 0.1  # of an edge: the black border is an eighth of it wide in 36h11, a sixth in 4x4
_LEAST_REACH_PX, _MOST_REACH_PX = 1.5, 4.0
_ROUNDS = 3
_MOST_SHIFT_PX = 3.0  # a corner that wants to go farther has met another edge
_LEAST_EDGE_PX = 8.0


@dataclass(frozen=True, eq=False, slots=True)
class SeenTag:
    """A tag in a picture: (4, 2) px corners of its black square, clockwise from the tag's own upper left."""

    family: TagFamily
    id: int
    corners_px: Array


def find_tags(
    picture: Any, families: Sequence[TagFamily], camera: Camera | None = None, repeated: bool = False
) -> list[SeenTag]:
    """Tags of some families in a grey picture (h, w) uint8, ascending id by family; of a tag seen twice, neither.

    Args:
        repeated: every one of a tag seen several times, for whoever can tell them apart.
        camera: whose lens bends straight edges; without it they are taken to be straight in the picture.
    """
    found: list[SeenTag] = []
    for family in families:
        corners, ids, _ = _detector(family).detectMarkers(picture)
        if ids is None:
            continue
        ids = ids.ravel()
        squares = np.array(corners, float).reshape(-1, 4, 2)
        refined, good = square_corners(picture, squares, camera)
        once = [k for k in np.argsort(ids, kind="stable") if good[k] and (repeated or np.sum(ids == ids[k]) == 1)]
        found += [SeenTag(family, int(ids[k]), refined[k]) for k in once]
    return found


@cache
def _detector(family: TagFamily) -> Any:
    params = cv2.aruco.DetectorParameters()
    params.adaptiveThreshWinSizeMin, params.adaptiveThreshWinSizeMax, params.adaptiveThreshWinSizeStep = 5, 25, 10
    params.minMarkerPerimeterRate = 0.02
    return cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(_DICTIONARIES[family]), params)


def square_corners(picture: Any, corners_px: Array, camera: Camera | None = None) -> tuple[Array, Any]:
    """Corners of dark squares on light ground, to a tenth of a pixel, from rough ones.

    Each edge is crossed at several places; it lies where the brightness rises, weighted by the square of the slope (as
    Wang and Olson, AprilTag 2, IROS 2016); a line through these, and two lines meet in a corner. Lines are straight
    before the lens: an edge of 35 px at the rim of a fisheye's picture bows by a quarter of a pixel. A camera's tone
    curve moves all edges of all squares alike, out or in: whoever needs better than a tenth of a pixel has to estimate
    that.

    Args:
        picture: (h, w) uint8.
        corners_px: (m, 4, 2) clockwise in the picture.

    Returns:
        (m, 4, 2), and (m,) whether the square is large enough and its corners stayed near.
    """
    rough, corners = corners_px, corners_px
    edge_px = np.linalg.norm(np.roll(rough, -1, axis=1) - rough, axis=2)
    reach = np.clip(_REACH * edge_px.min(axis=1), _LEAST_REACH_PX, _MOST_REACH_PX)
    plane = _Plane.straight() if camera is None else _Plane.before(camera, rough.mean(axis=1))
    for _ in range(_ROUNDS):
        points, weight = _edge_points(picture, corners, reach)
        middle, direction = _lines(plane.flat(points), weight)
        corners = plane.pixels(_meet(np.roll(middle, 1, axis=1), np.roll(direction, 1, axis=1), middle, direction))
        corners = np.where(np.isfinite(corners), corners, rough)
    shift = np.linalg.norm(corners - rough, axis=2).max(axis=1)
    return corners, (shift < _MOST_SHIFT_PX) & (edge_px.min(axis=1) >= _LEAST_EDGE_PX)


@dataclass(frozen=True, eq=False, slots=True)
class _Plane:
    """A plane before the lens for each square, touching the sphere of rays at its middle: in it edges are straight.

    Attributes:
        camera: None where the picture itself is taken for that plane.
        R_cam_plane: (m, 3, 3).
    """

    camera: Camera | None
    R_cam_plane: Array

    @staticmethod
    def straight() -> _Plane:
        return _Plane(None, np.zeros((0, 3, 3)))

    @staticmethod
    def before(camera: Camera, middle_px: Array) -> _Plane:
        return _Plane(camera, looking_along(camera.unproject(middle_px)[0]))

    def flat(self, pixel: Array) -> Array:
        """(m, ..., 2) places of pixels, in focal lengths; a pixel's own where there is no lens."""
        if self.camera is None:
            return pixel
        ray, _ = self.camera.unproject(pixel.reshape(-1, 2))
        p = np.einsum("mka,mab->mkb", ray.reshape(len(pixel), -1, 3), self.R_cam_plane)
        return (p[..., :2] / np.maximum(p[..., 2:], 0.1)).reshape(pixel.shape)

    def pixels(self, flat: Array) -> Array:
        """The way back; NaN where the lens sees nothing."""
        if self.camera is None:
            return flat
        ray = np.einsum("mka,mba->mkb", np.concatenate([flat, np.ones_like(flat[..., :1])], axis=-1), self.R_cam_plane)
        pixel, valid = self.camera.project(np.nan_to_num(ray, posinf=0.0, neginf=0.0).reshape(-1, 3))
        return np.where(valid[:, None], pixel, np.nan).reshape(flat.shape)


def _edge_points(picture: Any, corners: Array, reach: Array) -> tuple[Array, Array]:
    """(m, 4, a, 2) px where each edge, from corner k to corner k + 1, is crossed, and (m, 4, a) how clearly."""
    to = np.roll(corners, -1, axis=1) - corners
    along = to / np.maximum(np.linalg.norm(to, axis=2, keepdims=True), 1e-9)
    outward = np.stack([along[..., 1], -along[..., 0]], axis=-1)  # clockwise with y down: the outside is on the left
    base = corners[:, :, None] + _ALONG[:, None] * to[:, :, None]  # (m, 4, a, 2)
    across = _ACROSS * reach[:, None]  # (m, c)
    at = base[:, :, :, None] + across[:, None, None, :, None] * outward[:, :, None, None]
    x, y = (np.ascontiguousarray(at[..., k].reshape(-1, len(_ACROSS)), np.float32) for k in (0, 1))
    grey = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(float)
    rise = np.maximum(np.diff(grey.reshape(at.shape[:-1]), axis=-1), 0.0) ** 2  # brighter outside
    weight = rise.sum(axis=-1)
    where = (across[:, None, None, 1:] + across[:, None, None, :-1]) / 2
    offset = (rise * where).sum(axis=-1) / np.maximum(weight, 1e-12)
    return base + offset[..., None] * outward[:, :, None], np.sqrt(weight) + 1e-12


def _lines(points: Array, weight: Array) -> tuple[Array, Array]:
    """(m, 4, 2) a point and (m, 4, 2) the direction of the line through each edge's points."""
    middle = (weight[..., None] * points).sum(axis=2) / weight.sum(axis=2)[..., None]
    spread = points - middle[:, :, None]
    moments = np.einsum("mea,meai,meaj->meij", weight, spread, spread)
    return middle, np.linalg.eigh(moments)[1][..., 1]


def _meet(p: Array, u: Array, q: Array, v: Array) -> Array:
    """(..., 2) where the line through p along u meets the one through q along v; infinite if they are parallel."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = q - p
        along = (gap[..., 0] * v[..., 1] - gap[..., 1] * v[..., 0]) / (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])
        return p + along[..., None] * u
