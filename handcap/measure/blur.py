"""How blurred the edges around corners are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array

_DIRECTIONS = np.arange(8) * np.pi / 8
_LEAST_CONTRAST = 12.0  # grey levels; below it noise makes the edges
_MOST_CORNERS = 24  # their median does not move any more


def edge_width_px(picture: NDArray[np.uint8], corners_px: Array, reach_px: float) -> float:
    """Median width of edges at corners, as the standard deviation of a Gaussian, px; NaN where nothing can be told.

    Of the two edges that meet in a corner the wider one counts, so that a smear along one direction shows.

    Args:
        picture: (h, w) grey.
        corners_px: (n, 2).
        reach_px: edges are looked at within this distance of a corner.
    """
    import cv2

    reach = max(int(reach_px), 3)
    every = max(len(corners_px) // _MOST_CORNERS, 1)
    widths: list[float] = []
    for x, y in np.rint(corners_px[::every]).astype(int):
        patch = picture[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
        if min(patch.shape) < 5:
            continue
        low, high = np.percentile(patch, [5, 95])
        if high - low < _LEAST_CONTRAST:
            continue
        # Scharr's kernel sums to 32 per grey level and pixel.
        gx, gy = (cv2.Scharr(patch, cv2.CV_32F, *d)[1:-1, 1:-1] / 32 for d in ((1, 0), (0, 1)))
        steepest = np.array([np.abs(np.cos(a) * gx + np.sin(a) * gy).max() for a in _DIRECTIONS])
        sharpest = int(np.argmax(steepest))
        across = steepest[(sharpest + np.array([3, 4, 5])) % len(_DIRECTIONS)].max()
        # The middle of an edge of height h, blurred by sigma, has the slope h / (sigma sqrt(2 pi)).
        widths.append(float((high - low) / (np.sqrt(2 * np.pi) * across)))
    return float(np.median(widths)) if widths else float("nan")
