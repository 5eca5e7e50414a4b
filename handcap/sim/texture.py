"""Procedural pictures: what household surfaces look like, from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.geometry import Array

Colour = ArrayLike  # (3,) RGB, 0..255


@dataclass(frozen=True, eq=False, slots=True)
class Texture:
    """A picture with a size in the world; it repeats beyond its edges.

    Attributes:
        image: (height, width, 3) uint8 RGB; row 0 is the lower edge.
        texel_m: edge of a texel, m.
    """

    image: NDArray[np.uint8]
    texel_m: float

    def __post_init__(self) -> None:
        assert self.image.ndim == 3 and self.image.shape[2] == 3 and self.image.dtype == np.uint8
        assert self.texel_m > 0


def upright(picture: NDArray[np.floating], texel_m: float) -> Texture:
    """From a picture painted as it is seen, row 0 on top."""
    return Texture(np.ascontiguousarray(np.clip(np.rint(picture[::-1]), 0, 255).astype(np.uint8)), texel_m)


def noise(rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float]) -> Array:
    """Smooth noise (height, width) of unit variance, about `cell` texels coarse; it repeats seamlessly."""
    import cv2

    height, width = shape
    rows, columns = max(round(height / cell[0]), 1), max(round(width / cell[1]), 1)
    coarse = np.pad(rng.standard_normal((rows, columns)), 4, mode="wrap").astype(np.float32)
    x = (np.arange(width, dtype=np.float32) + 0.5) * (columns / width) + 3.5
    y = (np.arange(height, dtype=np.float32) + 0.5) * (rows / height) + 3.5
    map_x, map_y = np.meshgrid(x, y)
    fine = cv2.remap(coarse, map_x, map_y, cv2.INTER_CUBIC).astype(float)
    return fine / max(float(fine.std()), 1e-9)


def fractal(rng: np.random.Generator, shape: tuple[int, int], coarsest: float, finest: float = 2.0) -> Array:
    """Noise of unit variance with equal contrast in every octave from `coarsest` to `finest` texels."""
    total, cell = np.zeros(shape), coarsest
    while cell >= finest:
        total += noise(rng, shape, (cell, cell))
        cell /= 2
    return total / max(float(total.std()), 1e-9)


def _tinted(colour: Colour, brightness: Array) -> Array:
    """(3,) colour times (height, width) brightness."""
    return np.asarray(colour, float) * brightness[..., None]


def _size(width_m: float, height_m: float, texel_m: float) -> tuple[int, int]:
    return max(round(height_m / texel_m), 4), max(round(width_m / texel_m), 4)


def plaster(rng: np.random.Generator, colour: Colour, texel_m: float = 0.003) -> Texture:
    """Painted wall: roller marks, faint stains, a few dents and scuffs; weak but not blank."""
    import cv2

    shape = (1024, 1024)
    brightness = 1 + 0.016 * fractal(rng, shape, 256, 4) + 0.012 * noise(rng, shape, (3, 3))
    marks = np.zeros(shape, np.float32)
    for _ in range(160):
        x, y, r = (int(v) for v in (rng.integers(1024), rng.integers(1024), rng.integers(2, 9)))
        depth = float(rng.choice([-1, 1], p=[0.7, 0.3]) * rng.uniform(0.03, 0.14))
        if rng.random() < 0.5:
            cv2.circle(marks, (x, y), r, depth, -1)
        else:
            dx, dy = (int(v) for v in rng.integers(-22, 23, 2))
            cv2.line(marks, (x, y), (x + dx, y + dy), depth, int(rng.integers(1, 4)))
    brightness += cv2.GaussianBlur(marks, (0, 0), 1.2)
    return upright(_tinted(colour, brightness), texel_m)


def wood(
    rng: np.random.Generator, colour: Colour, width_m: float, height_m: float, plank_m: float, texel_m: float = 0.002
) -> Texture:
    """Boards along x, `plank_m` wide, with grain, knots and gaps."""
    import cv2

    shape = _size(width_m, height_m, texel_m)
    warp = 10 * noise(rng, shape, (60, 300))
    rows = np.arange(shape[0])[:, None] + warp
    grain = np.sin(rows * 2 * np.pi / 13 + 2.5 * noise(rng, shape, (30, 200)))
    brightness = 1 + 0.05 * grain + 0.06 * noise(rng, shape, (3, 60)) + 0.045 * fractal(rng, shape, 64)
    plank = max(round(plank_m / texel_m), 8)
    for k, top in enumerate(range(0, shape[0], plank)):
        band = slice(top, min(top + plank, shape[0]))
        joint = int(rng.integers(0, shape[1]))
        brightness[band] *= rng.uniform(0.82, 1.1)
        brightness[band, joint:] *= rng.uniform(0.88, 1.12)
        brightness[band] = np.roll(brightness[band], int(rng.integers(0, shape[1])), axis=1)
        if k and plank_m < height_m:
            brightness[top : top + 2] *= 0.55
        brightness[band, joint : joint + 2] *= 0.6
    knots = np.zeros(shape, np.float32)
    for _ in range(int(shape[0] * shape[1] / 30000)):
        x, y = int(rng.integers(shape[1])), int(rng.integers(shape[0]))
        axes = (int(rng.integers(4, 12)), int(rng.integers(3, 7)))
        cv2.ellipse(knots, (x, y), axes, 0, 0, 360, float(rng.uniform(0.15, 0.4)), -1)
    brightness -= cv2.GaussianBlur(knots, (0, 0), 1.5)
    return upright(_tinted(colour, brightness), texel_m)


def tiles(rng: np.random.Generator, colour: Colour, tile_m: tuple[float, float], texel_m: float = 0.002) -> Texture:
    """Glazed tiles with grout; one in seven carries an ornament."""
    import cv2

    rows, columns = 10, 8
    h, w = round(tile_m[1] / texel_m), round(tile_m[0] / texel_m)
    shape = (rows * h, columns * w)
    picture = _tinted(colour, 1 + 0.02 * fractal(rng, shape, 128, 4))
    for r in range(rows):
        for c in range(columns):
            cell = picture[r * h : (r + 1) * h, c * w : (c + 1) * w]
            cell *= rng.uniform(0.93, 1.05)
            if rng.random() < 0.14:
                tint = rng.uniform(40, 170, 3)
                centre, radius = (w // 2, h // 2), int(0.36 * min(h, w))
                patch = np.ascontiguousarray(cell)
                cv2.circle(patch, centre, radius, tint.tolist(), 3)
                for angle in np.linspace(0, 2 * np.pi, int(rng.integers(4, 9)), endpoint=False):
                    tip = (round(w / 2 + radius * np.cos(angle)), round(h / 2 + radius * np.sin(angle)))
                    cv2.line(patch, centre, tip, tint.tolist(), 3)
                cell[:] = patch
            cell[:2], cell[:, :2] = np.array([150, 146, 140]), np.array([150, 146, 140])
    picture *= (1 + 0.012 * noise(rng, shape, (3, 3)))[..., None]
    return upright(picture, texel_m)


def speckled(rng: np.random.Generator, colour: Colour, texel_m: float = 0.0015) -> Texture:
    """Granite."""
    shape = (768, 768)
    brightness = 1 + 0.10 * fractal(rng, shape, 96, 4)
    brightness += 0.35 * (noise(rng, shape, (5, 5)) > 1.5) - 0.45 * (noise(rng, shape, (7, 7)) > 1.6)
    return upright(_tinted(colour, brightness), texel_m)


def cloth(rng: np.random.Generator, colour: Colour, texel_m: float = 0.0015) -> Texture:
    """Woven stripes both ways, unevenly spaced, with a few stains."""
    shape = (512, 512)
    brightness = (
        1 + 0.05 * noise(rng, shape, (2, 6)) + 0.05 * noise(rng, shape, (6, 2)) + 0.04 * fractal(rng, shape, 128)
    )
    for axis in (0, 1):
        position = 0
        while position < 512:
            width = int(rng.integers(6, 40))
            band = (slice(None),) * axis + (slice(position, position + width),)
            brightness[band] *= rng.uniform(0.65, 1.1)
            position += width + int(rng.integers(10, 60))
    return upright(_tinted(colour, brightness), texel_m)


def plain(rng: np.random.Generator, colour: Colour, texel_m: float = 0.002) -> Texture:
    """Painted metal, plastic, glazed clay: smudges, specks and scratches."""
    import cv2

    shape = (256, 256)
    brightness = (1 + 0.03 * fractal(rng, shape, 64, 4)).astype(np.float32)
    for _ in range(26):
        x, y = (int(v) for v in rng.integers(0, 256, 2))
        dx, dy = (int(v) for v in rng.integers(-14, 15, 2))
        cv2.line(brightness, (x, y), (x + dx, y + dy), float(rng.uniform(0.7, 1.25)), int(rng.integers(1, 3)))
    return upright(_tinted(colour, cv2.GaussianBlur(brightness, (0, 0), 0.8).astype(float)), texel_m)
