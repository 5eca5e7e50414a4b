"""Whether there is something in a picture to hold on to, and whether it is found again in the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array

Grey = NDArray[np.uint8]

_MOST = 100
_APART_PX = 8
# Least eigenvalue of a corner's gradients. A lens under a finger at full gain gives 6e-6, a sharp corner of a few grey
# levels 3e-4, those of a furnished room 4e-3 and more (virtual rig, pictures 320 wide).
_LEAST_CORNER = 3e-4
_BACK_PX = 1.0  # a point followed there and back has to come home
_BANDS = 6  # of rows, in which brightness is compared: a rolling shutter gives lamps' flicker stripes
_LEAST_IN_BAND = 5
_LEAST_GREY, _MOST_GREY = 8.0, 245.0


@dataclass(frozen=True, eq=False, slots=True)
class Followed:
    """Two consecutive pictures, the first one's corners followed into the second.

    Attributes:
        corners: points to hold on to in the first, at most 100.
        points_px: (n, 2) those of them that were found again, in the first picture.
        share: of them that were found again; NaN where there are none.
        brighter: (b,) by how much the second is brighter, natural logarithm, in bands of rows from the top; NaN where
            too few points tell.
    """

    corners: int
    points_px: Array
    share: float
    brighter: Array


def corners(picture: Grey) -> NDArray[np.float32]:
    """(n, 1, 2) corners of a picture that stand out of its noise, px."""
    import cv2

    found = cv2.goodFeaturesToTrack(picture, _MOST, 0.01, _APART_PX)
    if found is None:
        return np.zeros((0, 1, 2), np.float32)
    strength = cv2.cornerMinEigenVal(picture, 3)
    x, y = np.rint(found[:, 0]).astype(int).T
    return found[strength[y, x] > _LEAST_CORNER].astype(np.float32)


def follow(first: Grey, second: Grey) -> Followed:
    """Corners of one picture in the next one, followed there and back.

    Args:
        first, second: (h, w), small ones: a few hundred pixels wide.
    """
    points = corners(first)
    if not len(points):
        return Followed(0, np.zeros((0, 2)), float("nan"), np.full(_BANDS, np.nan))
    there, found, astray_px = there_and_back(first, second, points, 3)
    good = found & (astray_px < _BACK_PX)
    kept, moved = points[good, 0], there[good, 0]
    return Followed(len(points), kept.astype(float), float(np.mean(good)), _brighter(first, second, kept, moved))


def there_and_back(
    first: Grey, second: Grey, points: NDArray[np.float32], levels: int, near: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_], Array]:
    """Points of one picture in another one, and from there in the first again.

    Args:
        points: (n, 1, 2) px in the first.
        levels: of the pyramid, beyond the pictures themselves.
        near: (n, 1, 2) px, about where they are in the second; as in the first by default.

    Returns:
        (n, 1, 2) px in the second, (n,) whether they were found both ways, (n,) px by which they do not come home.
    """
    import cv2

    def flow(begin: Grey, end: Grey, at: NDArray[np.float32], about: NDArray[np.float32]) -> tuple[Any, Any]:
        flags = 0 if near is None else cv2.OPTFLOW_USE_INITIAL_FLOW
        to, found, _ = cv2.calcOpticalFlowPyrLK(
            begin, end, at, about.copy(), winSize=(15, 15), maxLevel=levels, flags=flags
        )
        return to, found.ravel() > 0

    there, found = flow(first, second, points, points if near is None else near)
    back, home = flow(second, first, there, points)
    return there, found & home, np.linalg.norm((back - points)[:, 0], axis=1)


def _brighter(first: Grey, second: Grey, at: NDArray[np.float32], to: NDArray[np.float32]) -> Array:
    """(b,) logarithm of the ratio of brightness around the same points, its median in each band of rows."""
    import cv2

    smooth = [np.asarray(cv2.blur(picture, (9, 9)), np.uint8) for picture in (first, second)]
    before, after = (_around(picture, where) for picture, where in zip(smooth, (at, to), strict=True))
    told = (np.minimum(before, after) > _LEAST_GREY) & (np.maximum(before, after) < _MOST_GREY)
    ratio = np.log(after[told] / before[told])
    band = np.clip(at[told, 1] * _BANDS / first.shape[0], 0, _BANDS - 1).astype(int)
    return np.array(
        [
            np.median(ratio[band == k]) if np.count_nonzero(band == k) >= _LEAST_IN_BAND else np.nan
            for k in range(_BANDS)
        ]
    )


def _around(picture: Grey, at: NDArray[np.float32]) -> Array:
    x = np.clip(np.rint(at[:, 0]).astype(int), 0, picture.shape[1] - 1)
    y = np.clip(np.rint(at[:, 1]).astype(int), 0, picture.shape[0] - 1)
    return picture[y, x].astype(float)
