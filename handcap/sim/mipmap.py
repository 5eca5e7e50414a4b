"""Textures at every size, in one flat array that a compiled kernel can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.sim.texture import Texture

_MAX_LEVELS = 13


@dataclass(frozen=True, eq=False, slots=True)
class Atlas:
    """All pictures of a scene with their mip levels, each level half as large as the one before.

    Attributes:
        texels: (n,) uint32, red in the lowest byte, then green and blue; level after level, row 0 at v = 0.
        first: (textures, levels) index of a level's first texel.
        width, height: (textures, levels) texels.
        levels: (textures,) how many levels there are.
        texel_m: (textures,) size of a texel of level 0.
    """

    texels: NDArray[np.uint32]
    first: NDArray[np.int64]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    levels: NDArray[np.int32]
    texel_m: Array


def _halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    height, width = image.shape[:2]
    half = cv2.resize(image, (max(width // 2, 1), max(height // 2, 1)), interpolation=cv2.INTER_AREA)
    return half.astype(np.uint8, copy=False)


def pack(textures: Sequence[Texture]) -> Atlas:
    """Build the mip pyramids."""
    n = len(textures)
    first = np.zeros((n, _MAX_LEVELS), np.int64)
    width, height = np.ones((n, _MAX_LEVELS), np.int32), np.ones((n, _MAX_LEVELS), np.int32)
    levels, parts, count = np.zeros(n, np.int32), [], 0
    for i, texture in enumerate(textures):
        image = texture.image
        for level in range(_MAX_LEVELS):
            first[i, level] = count
            height[i, level], width[i, level] = image.shape[:2]
            parts.append(image.reshape(-1, 3))
            count += len(parts[-1])
            levels[i] = level + 1
            if max(image.shape[:2]) == 1:
                break
            image = _halved(image)
    red, green, blue = np.concatenate(parts).T.astype(np.uint32)
    return Atlas(red | green << 8 | blue << 16, first, width, height, levels, np.array([t.texel_m for t in textures]))
