"""Colours that mean the same everywhere in a replay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array

AXES = ((235, 90, 80), (90, 190, 90), (85, 140, 240))  # x, y, z
GOOD, POOR = (70, 200, 120), (235, 70, 60)
MAP_POINT = (150, 160, 175)
PLANES = {"floor": (150, 130, 110), "surface": (90, 150, 220), "overhead": (140, 140, 150)}
UNKNOWN = (130, 130, 130)
SIDES = {"left": (60, 215, 230), "right": (190, 120, 240)}
# Green, yellow, red: told apart by brightness too.
_RAMP = np.array([[0.0, *GOOD], [0.5, 245, 210, 70], [1.0, *POOR]])


def traffic(share: Array) -> NDArray[np.uint8]:
    """(n,) from 0 (good) to 1 (at the limit or beyond) to (n, 3) RGB; grey where NaN."""
    x = np.clip(np.nan_to_num(share, nan=0.0), 0, 1)
    rgb = np.stack([np.interp(x, _RAMP[:, 0], _RAMP[:, c]) for c in (1, 2, 3)], axis=-1)
    rgb[np.isnan(share)] = UNKNOWN
    return np.rint(rgb).astype(np.uint8)
