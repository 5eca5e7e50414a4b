"""Printed things: cartons, cans, posters, cupboard doors, the view out of a window."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.sim.texture import Colour, Texture, fractal, noise, upright

_WORDS = ("RICE", "TEA", "OATS", "SALT", "MILK", "PASTA", "COFFEE", "SUGAR", "BEANS", "HONEY", "CORN", "SOAP", "CEREAL")
_TEXEL_M = 0.0012

Picture = NDArray[np.float32]  # (height, width, 3) RGB, 0..255, row 0 on top


@lru_cache
def _grain() -> Array:
    """(1024, 1024) unevenness of print, about 1; it repeats seamlessly. The same for all, each sheet takes its cut."""
    return 1 + 0.025 * fractal(np.random.default_rng(0), (1024, 1024), 64, 4)


def _sheet(rng: np.random.Generator, width_m: float, height_m: float, colour: Colour, texel_m: float) -> Picture:
    rows, columns = (np.arange(max(round(length_m / texel_m), 8)) for length_m in (height_m, width_m))
    top, left = rng.integers(0, 1024, 2)
    brightness = _grain()[np.ix_((top + rows) % 1024, (left + columns) % 1024)]
    return (np.asarray(colour, float) * brightness[..., None]).astype(np.float32)


def _ink(rng: np.random.Generator, paper: Colour) -> tuple[float, float, float]:
    """A colour that stands out from the paper."""
    level = float(np.mean(np.asarray(paper, float)))
    target = rng.uniform(30, 110) if level > 130 else rng.uniform(180, 235)
    r, g, b = np.clip(target + rng.normal(0, 30, 3), 10, 240)
    return float(r), float(g), float(b)


def _print(rng: np.random.Generator, sheet: Picture, paper: Colour) -> None:
    """Stripes, a name, a logo, small print and a bar code, in place."""
    import cv2

    h, w = sheet.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        y0, thick = int(rng.integers(0, h)), int(rng.integers(max(h // 20, 2), max(h // 5, 4)))
        cv2.rectangle(sheet, (0, y0), (w, y0 + thick), _ink(rng, paper), -1)
    for _ in range(int(rng.integers(1, 4))):
        centre = (int(rng.integers(0, w)), int(rng.integers(0, h)))
        axes = (int(rng.integers(3, max(w // 4, 4))), int(rng.integers(3, max(h // 5, 4))))
        cv2.ellipse(sheet, centre, axes, float(rng.uniform(0, 180)), 0, 360, _ink(rng, paper), -1, cv2.LINE_AA)
    word = str(rng.choice(_WORDS))
    scale = 0.8 * w / (20.0 * len(word))
    at = (int(0.06 * w), int(rng.uniform(0.25, 0.6) * h))
    cv2.putText(
        sheet, word, at, cv2.FONT_HERSHEY_SIMPLEX, scale, _ink(rng, paper), max(1, round(3 * scale)), cv2.LINE_AA
    )
    ink = _ink(rng, paper)
    for line in range(int(rng.integers(2, 6))):
        y = int(h * 0.68) + 6 * line
        x = int(0.08 * w)
        while x < 0.6 * w:
            length = int(rng.integers(3, 14))
            cv2.rectangle(sheet, (x, y), (min(x + length, int(0.62 * w)), y + 2), ink, -1)
            x += length + 3
    x = int(0.68 * w)
    while x < 0.93 * w:
        bar = int(rng.integers(1, 4))
        cv2.rectangle(sheet, (x, int(0.75 * h)), (x + bar - 1, int(0.93 * h)), (30, 30, 30), -1)
        x += bar + int(rng.integers(2, 4))


def carton(rng: np.random.Generator, size: Array, colour: Colour) -> list[Texture]:
    """Pictures for the four sides and the top of a box of this size (3,), m."""
    spans = [(size[0], size[2]), (size[1], size[2])] * 2 + [(size[0], size[1])]
    faces = []
    for width_m, height_m in spans:
        sheet = _sheet(rng, width_m, height_m, colour, _TEXEL_M)
        _print(rng, sheet, colour)
        faces.append(upright(sheet, _TEXEL_M))
    return faces


def wrapper(rng: np.random.Generator, around_m: float, height_m: float, colour: Colour) -> Texture:
    """Label of a can, printed twice around it."""
    half = _sheet(rng, around_m / 2, height_m, colour, _TEXEL_M)
    _print(rng, half, colour)
    sheet = np.concatenate([half, half], axis=1)
    rim = max(2, round(0.03 * len(sheet)))
    sheet[:rim], sheet[-rim:] = 165.0, 150.0
    return upright(sheet, _TEXEL_M)


def lid(rng: np.random.Generator, radius_m: float, colour: Colour) -> Texture:
    """Top of a can or jar: rings."""
    import cv2

    sheet = _sheet(rng, 2 * radius_m, 2 * radius_m, colour, _TEXEL_M)
    n = len(sheet)
    for share in rng.uniform(0.3, 0.95, 3):
        cv2.circle(
            sheet, (n // 2, n // 2), int(share * n / 2), _ink(rng, colour), 1 + int(rng.integers(0, 3)), cv2.LINE_AA
        )
    return upright(sheet, _TEXEL_M)


def poster(rng: np.random.Generator, width_m: float, height_m: float, colour: Colour, sheets: int) -> Texture:
    """Paper with `sheets` smaller printed things on it: a picture wall, a fridge door, a calendar."""
    texel_m = 0.0016
    ground = _sheet(rng, width_m, height_m, colour, texel_m)
    h, w = ground.shape[:2]
    for _ in range(sheets):
        part = _sheet(
            rng,
            rng.uniform(0.2, 0.5) * width_m,
            rng.uniform(0.12, 0.35) * height_m,
            np.clip(rng.uniform(90, 230) + rng.normal(0, 30, 3), 30, 240),
            texel_m,
        )
        _print(rng, part, part.mean(axis=(0, 1)))
        y, x = int(rng.integers(0, h - len(part))), int(rng.integers(0, w - part.shape[1]))
        ground[y : y + len(part), x : x + part.shape[1]] = part
    ground[:6], ground[-6:], ground[:, :6], ground[:, -6:] = (np.array([70.0, 60, 52]),) * 4
    return upright(ground, texel_m)


def panel(rng: np.random.Generator, width_m: float, height_m: float, colour: Colour) -> Texture:
    """Cupboard door: a frame, a bevelled field, a handle, smudges."""
    import cv2

    texel_m = 0.002
    sheet = _sheet(rng, width_m, height_m, colour, texel_m)
    h, w = sheet.shape[:2]
    sheet *= (1 + 0.03 * noise(rng, (h, w), (40, 3)))[..., None].astype(np.float32)
    inset = round(0.06 / texel_m)
    dark, light = (np.asarray(colour, float) * f for f in (0.6, 1.12))
    cv2.rectangle(sheet, (inset, inset), (w - inset, h - inset), dark.tolist(), 2)
    cv2.rectangle(sheet, (inset + 4, inset + 4), (w - inset - 4, h - inset - 4), light.tolist(), 2)
    cv2.rectangle(sheet, (0, 0), (w - 1, h - 1), (dark * 0.6).tolist(), 2)
    y = round(0.12 * h) + inset
    cv2.rectangle(sheet, (w // 2 - 30, y), (w // 2 + 30, y + 7), (60, 60, 62), -1)
    cv2.rectangle(sheet, (w // 2 - 30, y), (w // 2 + 30, y + 1), (180, 180, 182), -1)
    return upright(sheet, texel_m)


def window_view(rng: np.random.Generator, width_m: float, height_m: float) -> Texture:
    """Sky, houses and trees between window bars."""
    import cv2

    texel_m = 0.0025
    sheet = _sheet(rng, width_m, height_m, [188, 202, 216], texel_m)
    h, w = sheet.shape[:2]
    sheet *= (1 + 0.04 * fractal(rng, (h, w), 128, 8))[..., None].astype(np.float32)
    x = 0
    while x < w:
        width, top = int(rng.integers(50, 110)), int(rng.uniform(0.35, 0.6) * h)
        cv2.rectangle(sheet, (x, top), (x + width, h), tuple(rng.uniform(110, 190, 3)), -1)
        for yy in range(top + 12, h - 10, 34):
            for xx in range(x + 8, x + width - 14, 26):
                cv2.rectangle(sheet, (xx, yy), (xx + 12, yy + 18), tuple(rng.uniform(50, 100, 3)), -1)
        x += width
    for _ in range(14):
        centre = (int(rng.integers(0, w)), int(rng.uniform(0.7, 1.0) * h))
        cv2.circle(sheet, centre, int(rng.integers(15, 45)), (70, float(rng.uniform(90, 130)), 60), -1)
    for at in (w // 2, 4, w - 5):
        cv2.line(sheet, (at, 0), (at, h), (236, 236, 232), 16)
    for at in (h // 3, 4, h - 5):
        cv2.line(sheet, (0, at), (w, at), (236, 236, 232), 16)
    return upright(sheet, texel_m)
