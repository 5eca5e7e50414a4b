"""Single square tags, as printed on grippers."""

from __future__ import annotations

import numpy as np

from handcap.sim.texture import Texture

_DICTIONARY = {"4x4_50": "DICT_4X4_50", "36h11": "DICT_APRILTAG_36h11"}
_CELLS = {"4x4_50": 6, "36h11": 8}  # bits and border
_TEXELS = 16  # a cell: sharp at any distance at which a tag can be read


def tag(family: str, identity: int, size_m: float, margin_m: float) -> Texture:
    """Picture of a tag with a white margin.

    Args:
        family: "4x4_50" (OpenCV's ArUco) or "36h11" (AprilTag).
        identity: which tag of the family.
        size_m: edge of the black square.
        margin_m: white around it; rounded to whole texels.
    """
    import cv2

    cells = _CELLS[family]
    texel_m = size_m / (cells * _TEXELS)
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, _DICTIONARY[family]))
    black = cv2.aruco.generateImageMarker(dictionary, identity, cells * _TEXELS)
    printed = np.pad(np.where(black > 127, 225, 25).astype(np.uint8), round(margin_m / texel_m), constant_values=225)
    return Texture(np.ascontiguousarray(np.repeat(printed[::-1, :, None], 3, axis=-1)), texel_m)
