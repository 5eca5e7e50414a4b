"""Printed and woven patterns: wallpaper, rugs, slabs, packets, price rails, book covers, paintings, coats."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array
from handcap.sim.texture import Colour, Texture, fractal, noise, upright

_GRAIN = 1024
_PRINT_M = 0.0012
_BRANDS = ("NOVA", "ALMA", "KORO", "BELLA", "TIKI", "ORBI", "LUNA", "FINO", "MAMBO", "PIPPO", "SOLE", "VERDE", "ZAZA")

Picture = NDArray[np.float32]  # (height, width, 3) RGB, 0..255, row 0 on top


def pastel(rng: np.random.Generator) -> Array:
    """A light, pale colour."""
    return np.clip(rng.uniform(175, 215) + rng.normal(0, 14, 3), 120, 235)


def between(rng: np.random.Generator, low: Colour, high: Colour) -> Array:
    """A colour from one to another, a little off the line."""
    start, end = np.asarray(low, float), np.asarray(high, float)
    return np.clip(start + rng.random() * (end - start) + rng.normal(0, 6, 3), 20, 240)


@lru_cache
def _grain() -> Array:
    """Unevenness of unit variance that all surfaces share; each takes its cut."""
    return fractal(np.random.default_rng(1), (_GRAIN, _GRAIN), 256)


def _sheet(width_m: float, height_m: float, texel_m: float, colour: Colour) -> Picture:
    shape = (max(round(height_m / texel_m), 8), max(round(width_m / texel_m), 8))
    return np.broadcast_to(np.asarray(colour, np.float32), (*shape, 3)).copy()


def _wear(rng: np.random.Generator, picture: Picture, contrast: float, marks: int) -> Picture:
    """Fading at all scales, scratches and stains."""
    import cv2

    h, w = picture.shape[:2]
    top, left = rng.integers(0, _GRAIN, 2)
    rows, columns = (top + np.arange(h)) % _GRAIN, (left + np.arange(w)) % _GRAIN
    brightness = (1 + contrast * _grain()[np.ix_(rows, columns)]).astype(np.float32)
    for _ in range(marks):
        x, y = int(rng.integers(w)), int(rng.integers(h))
        depth = float(rng.uniform(0.8, 1.15))
        if rng.random() < 0.6:
            dx, dy = (int(v) for v in rng.integers(-16, 17, 2))
            cv2.line(brightness, (x, y), (x + dx, y + dy), depth, int(rng.integers(1, 3)), cv2.LINE_AA)
        else:
            cv2.circle(brightness, (x, y), int(rng.integers(1, 6)), depth, -1, cv2.LINE_AA)
    return picture * brightness[..., None]


def _tone(rng: np.random.Generator, ground: Colour, contrast: float) -> tuple[float, float, float]:
    """A colour that differs from the ground by about `contrast` of its brightness."""
    base = np.asarray(ground, float)
    sign = -1.0 if base.mean() > 130 else 1.0
    red, green, blue = np.clip(base * (1 + sign * contrast * rng.uniform(0.6, 1.2)) + rng.normal(0, 16, 3), 25, 240)
    return float(red), float(green), float(blue)


_Ink = tuple[float, float, float]
_Motif = Callable[[Picture, tuple[int, int], int, tuple[_Ink, _Ink]], None]


def _flower(picture: Picture, at: tuple[int, int], radius: int, inks: tuple[_Ink, _Ink]) -> None:
    import cv2

    for angle in np.arange(6) * np.pi / 3:
        petal = (round(at[0] + 0.6 * radius * np.cos(angle)), round(at[1] + 0.6 * radius * np.sin(angle)))
        axes = (max(int(0.4 * radius), 1), max(int(0.22 * radius), 1))
        cv2.ellipse(picture, petal, axes, float(np.rad2deg(angle)), 0, 360, inks[0], -1, cv2.LINE_AA)
    cv2.circle(picture, at, max(int(0.25 * radius), 1), inks[1], -1, cv2.LINE_AA)


def _star(picture: Picture, at: tuple[int, int], radius: int, inks: tuple[_Ink, _Ink]) -> None:
    import cv2

    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    reach = radius * np.where(np.arange(10) % 2, 0.42, 1.0)
    points = np.stack([at[0] + reach * np.cos(angles), at[1] + reach * np.sin(angles)], axis=-1)
    cv2.fillPoly(picture, [np.rint(points).astype(np.int32)], inks[0], cv2.LINE_AA)


def _bear(picture: Picture, at: tuple[int, int], radius: int, inks: tuple[_Ink, _Ink]) -> None:
    import cv2

    def dot(x: float, y: float, size: float, ink: _Ink) -> None:
        place = (round(at[0] + x * radius), round(at[1] + y * radius))
        cv2.circle(picture, place, max(round(size * radius), 1), ink, -1, cv2.LINE_AA)

    for side in (-1, 1):
        dot(0.6 * side, -0.6, 0.32, inks[0])
    dot(0, 0, 0.8, inks[0])
    dot(0, 0.3, 0.33, inks[1])
    for side in (-1, 1):
        dot(0.3 * side, -0.15, 0.1, inks[1])


def _twig(picture: Picture, at: tuple[int, int], radius: int, inks: tuple[_Ink, _Ink]) -> None:
    import cv2

    cv2.line(picture, (at[0], at[1] + radius), (at[0], at[1] - radius), inks[0], 2, cv2.LINE_AA)
    for k in range(5):
        y = round(at[1] + radius * (0.8 - 0.4 * k))
        for side in (-1, 1):
            leaf = (at[0] + side * radius // 3, y - radius // 8)
            axes = (max(radius // 3, 1), max(radius // 9, 1))
            cv2.ellipse(picture, leaf, axes, -25.0 * side, 0, 360, inks[k % 2], -1, cv2.LINE_AA)


def _house(picture: Picture, at: tuple[int, int], radius: int, inks: tuple[_Ink, _Ink]) -> None:
    import cv2

    x, y, r = *at, radius
    cv2.rectangle(picture, (x - r // 2, y - r // 4), (x + r // 2, y + 3 * r // 4), inks[0], -1)
    roof = np.array([[x - 3 * r // 4, y - r // 4], [x + 3 * r // 4, y - r // 4], [x, y - r]], np.int32)
    cv2.fillPoly(picture, [roof], inks[1], cv2.LINE_AA)
    cv2.rectangle(picture, (x - r // 8, y + r // 4), (x + r // 8, y + 3 * r // 4), inks[1], -1)


_MOTIFS: tuple[_Motif, ...] = (_flower, _star, _bear, _twig, _house)


def wallpaper(rng: np.random.Generator, colour: Colour, contrast: float = 0.3, texel_m: float = 0.002) -> Texture:
    """One motif again and again, rows offset by half, at times on stripes; every repeat is the same."""
    import cv2

    h, w = ((64, 64), (64, 128), (128, 128), (128, 64))[int(rng.integers(4))]
    block = np.broadcast_to(np.asarray(colour, np.float32), (h, 2 * w, 3)).copy()
    if rng.random() < 0.5:
        stripe = int(rng.integers(w // 6, w // 2))
        for left in (0, w):
            cv2.rectangle(block, (left, 0), (left + stripe, h), _tone(rng, colour, 0.12), -1)
    motif = _MOTIFS[int(rng.integers(len(_MOTIFS)))]
    inks = (_tone(rng, colour, contrast), _tone(rng, colour, 1.4 * contrast))
    radius = int(rng.uniform(0.2, 0.38) * min(h, w))
    for at in ((w // 2, h // 2), (3 * w // 2, 0), (3 * w // 2, h)):
        motif(block, at, radius, inks)
    picture = np.tile(block, (_GRAIN // h, _GRAIN // (2 * w), 1))
    return upright(_wear(rng, picture, 0.015, 60), texel_m)


def rug(rng: np.random.Generator, width_m: float, depth_m: float, texel_m: float = 0.0025) -> Texture:
    """Borders around a field of one repeated figure, tufted and trodden."""
    import cv2

    ground = np.clip(rng.uniform(110, 185) + rng.normal(0, 25, 3), 60, 220)
    picture = _sheet(width_m, depth_m, texel_m, ground)
    h, w = picture.shape[:2]
    step = int(rng.integers(36, 90))
    inks = (_tone(rng, ground, 0.45), _tone(rng, ground, 0.3))
    style = int(rng.integers(3))
    motif = _MOTIFS[int(rng.integers(len(_MOTIFS)))]
    for k, y in enumerate(range(step // 2, h, step)):
        for x in range(step // 2 + (k % 2) * step // 2, w, step):
            if style == 0:
                motif(picture, (x, y), int(0.36 * step), inks)
                continue
            r = int(0.42 * step)
            diamond = np.array([[x - r, y], [x, y - r], [x + r, y], [x, y + r]], np.int32)
            cv2.fillPoly(picture, [diamond], inks[k % 2], cv2.LINE_AA)
            if style == 2:
                cv2.fillPoly(picture, [(diamond + [x, y]) // 2], inks[1 - k % 2], cv2.LINE_AA)
    edge = 0
    for _ in range(int(rng.integers(2, 5))):
        band = int(rng.integers(8, 26))
        cv2.rectangle(picture, (edge, edge), (w - 1 - edge, h - 1 - edge), _tone(rng, ground, 0.4), 2 * band)
        edge += band
    picture *= (1 + 0.08 * noise(rng, (h, w), (2, 2)))[..., None].astype(np.float32)
    return upright(_wear(rng, picture, 0.07, 40), texel_m)


def slabs(rng: np.random.Generator, colour: Colour, checkered: bool, texel_m: float = 0.0035) -> Texture:
    """Square slabs of a floor or a ceiling, with specks and narrow joints; some were replaced, wheels left marks."""
    import cv2

    slab, count = int(rng.choice([86, 114, 128])), 8
    n = slab * count
    checker = rng.uniform(0.8, 0.95) if checkered else 1.0
    rows, columns = np.indices((count, count))
    tone = np.where((rows + columns) % 2 == 0, 1.0, checker) * rng.uniform(0.97, 1.03, (count, count))
    tone *= np.where(rng.random((count, count)) < 0.04, 0.85, 1.0)
    brightness = np.kron(tone, np.ones((slab, slab)))
    brightness += 0.05 * noise(rng, (n, n), (2, 2)) - 0.12 * (noise(rng, (n, n), (3, 3)) > 2.0)
    lines = np.arange(0, n, slab)
    brightness[lines], brightness[:, lines] = 0.7, 0.7
    picture = (np.asarray(colour, float) * brightness[..., None]).astype(np.float32)
    for _ in range(12):
        a, b = ((int(rng.integers(n)), int(rng.integers(n))) for _ in range(2))
        cv2.line(picture, a, b, (np.asarray(colour, float) * 0.82).tolist(), 1, cv2.LINE_AA)
    return upright(_wear(rng, picture, 0.035, 80), texel_m)


def packet(rng: np.random.Generator, size: Array, colour: Colour) -> list[Texture]:
    """Faces of a packet of this size (3,): back, left, front, right, top. All of one kind look the same."""
    front = _packet_front(rng, size[0], size[2], colour)
    side = _small_print(rng, size[1], size[2], colour)
    top = _sheet(size[0], size[1], _PRINT_M, _tone(rng, colour, 0.15))
    pictures = (front, side, front, side, top)
    return [upright(_wear(rng, picture, 0.02, 3), _PRINT_M) for picture in pictures]


def _packet_front(rng: np.random.Generator, width_m: float, height_m: float, colour: Colour) -> Picture:
    import cv2

    sheet = _sheet(width_m, height_m, _PRINT_M, colour)
    h, w = sheet.shape[:2]
    band = int(rng.uniform(0.2, 0.4) * h)
    top = int(rng.choice([0, h // 8, h - band]))
    band_ink = _tone(rng, colour, 0.5)
    if rng.random() < 0.5:
        cv2.rectangle(sheet, (0, top), (w, top + band), band_ink, -1)
    else:
        slope = int(rng.uniform(-0.3, 0.3) * h)
        corners = np.array([[0, top], [w, top + slope], [w, top + band + slope], [0, top + band]], np.int32)
        cv2.fillPoly(sheet, [corners], band_ink, cv2.LINE_AA)
    middle = (w // 2, int(rng.uniform(0.6, 0.75) * h) if top < h // 2 else int(0.35 * h))
    motif = _MOTIFS[int(rng.integers(len(_MOTIFS)))]
    axes = (int(0.38 * w), int(0.2 * h))
    cv2.ellipse(sheet, middle, axes, 0, 0, 360, _tone(rng, colour, 0.25), -1, cv2.LINE_AA)
    motif(sheet, middle, max(int(0.8 * min(axes)), 4), (_tone(rng, colour, 0.6), _tone(rng, band_ink, 0.5)))
    word = str(rng.choice(_BRANDS))
    scale = 0.8 * w / (20.0 * len(word))
    thick = max(1, round(3.2 * scale))
    at = (int(0.1 * w), top + int(0.5 * band) + int(9 * scale))
    cv2.putText(sheet, word, at, cv2.FONT_HERSHEY_SIMPLEX, scale, _tone(rng, band_ink, 0.9), thick, cv2.LINE_AA)
    return sheet


def _small_print(rng: np.random.Generator, width_m: float, height_m: float, colour: Colour) -> Picture:
    import cv2

    sheet = _sheet(width_m, height_m, _PRINT_M, colour)
    h, w = sheet.shape[:2]
    ink = _tone(rng, colour, 0.6)
    for y in range(h // 6, int(0.7 * h), 5):
        cv2.line(sheet, (w // 8, y), (int(rng.uniform(0.5, 0.88) * w), y), ink, 1)
    x = w // 6
    while x < 0.8 * w:
        bar = int(rng.integers(1, 4))
        cv2.rectangle(sheet, (x, int(0.78 * h)), (x + bar - 1, int(0.93 * h)), (35, 35, 35), -1)
        x += bar + int(rng.integers(2, 4))
    return sheet


def price_rail(rng: np.random.Generator, length_m: float, height_m: float, colour: Colour) -> Texture:
    """Edge of a shop shelf with a label under every other product."""
    import cv2

    sheet = _sheet(length_m, height_m, _PRINT_M, colour)
    h, w = sheet.shape[:2]
    x = int(rng.integers(10, 60))
    while x + 56 < w:
        paper = (235.0, 225.0, 120.0) if rng.random() < 0.15 else (228.0, 228.0, 224.0)
        cv2.rectangle(sheet, (x, 3), (x + 50, h - 4), paper, -1)
        price = f"{int(rng.integers(0, 10))}.{int(rng.integers(10, 99))}"
        cv2.putText(sheet, price, (x + 12, h - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA)
        cv2.line(sheet, (x + 3, 7), (x + int(rng.integers(20, 44)), 7), (80, 80, 80), 1)
        x += int(rng.integers(90, 190))
    return upright(_wear(rng, sheet, 0.02, 4), _PRINT_M)


def cover(rng: np.random.Generator, width_m: float, height_m: float) -> Texture:
    """Front of a picture book: hills, a title, a few big figures."""
    import cv2

    texel_m = 0.0015
    sky = pastel(rng)
    sheet = _sheet(width_m, height_m, texel_m, sky)
    h, w = sheet.shape[:2]
    for _ in range(3):
        centre = (int(rng.integers(0, w)), int(rng.uniform(0.95, 1.25) * h))
        axes = (int(rng.uniform(0.4, 0.9) * w), int(rng.uniform(0.25, 0.5) * h))
        cv2.ellipse(sheet, centre, axes, 0, 0, 360, _tone(rng, sky, 0.35), -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(2, 5))):
        at = (int(rng.uniform(0.15, 0.85) * w), int(rng.uniform(0.35, 0.8) * h))
        radius = max(int(rng.uniform(0.08, 0.2) * min(h, w)), 3)
        _MOTIFS[int(rng.integers(len(_MOTIFS)))](sheet, at, radius, (_tone(rng, sky, 0.5), _tone(rng, sky, 0.7)))
    word = str(rng.choice(_BRANDS))
    scale = 0.7 * w / (20.0 * len(word))
    at = (int(0.12 * w), int(0.18 * h))
    cv2.putText(sheet, word, at, cv2.FONT_HERSHEY_SIMPLEX, scale, _tone(rng, sky, 0.7), max(1, round(3 * scale)))
    return upright(_wear(rng, sheet, 0.03, 6), texel_m)


def painting(rng: np.random.Generator, width_m: float, height_m: float) -> Texture:
    """A framed landscape, or blots, in brush strokes."""
    import cv2

    texel_m = 0.002
    sheet = _sheet(width_m, height_m, texel_m, pastel(rng))
    h, w = sheet.shape[:2]
    if rng.random() < 0.6:
        horizon = rng.uniform(0.35, 0.7) * h
        x = np.arange(w)
        for k in range(4):
            waves = [rng.uniform(0.01, 0.06) * h * np.sin(x * f / w + rng.uniform(0, 6)) for f in (5, 11, 23)]
            line = horizon + k * 0.13 * h + np.sum(waves, axis=0)
            colour = np.clip(rng.uniform(70, 190) + rng.normal(0, 22, 3), 40, 225)
            sheet[np.arange(h)[:, None] > line] = colour
    else:
        for _ in range(14):
            at, axes = (int(rng.integers(w)), int(rng.integers(h))), rng.integers(4, max(w // 4, 6), 2)
            colour = np.clip(rng.uniform(60, 220) + rng.normal(0, 30, 3), 30, 235)
            angle = float(rng.uniform(0, 180))
            cv2.ellipse(sheet, at, (int(axes[0]), int(axes[1])), angle, 0, 360, colour.tolist(), -1, cv2.LINE_AA)
    sheet *= (1 + 0.06 * noise(rng, (h, w), (3, 12)))[..., None].astype(np.float32)
    sheet = _wear(rng, sheet, 0.05, 4)
    frame = np.clip(rng.uniform(50, 180) + rng.normal(0, 15, 3), 30, 220)
    mount = int(rng.integers(0, 24))
    cv2.rectangle(
        sheet, (mount // 2, mount // 2), (w - 1 - mount // 2, h - 1 - mount // 2), (222, 220, 212), mount + 14
    )
    cv2.rectangle(sheet, (0, 0), (w - 1, h - 1), frame.tolist(), 16)
    return upright(sheet, texel_m)


def drape(rng: np.random.Generator, width_m: float, height_m: float, colour: Colour, printed: bool = False) -> Texture:
    """Cloth that hangs in folds: a curtain, a coat, a blanket; at times with figures printed on it."""
    texel_m = 0.002
    sheet = _sheet(width_m, height_m, texel_m, colour)
    h, w = sheet.shape[:2]
    if printed:
        inks, step = (_tone(rng, colour, 0.3), _tone(rng, colour, 0.45)), int(rng.integers(28, 60))
        motif = _MOTIFS[int(rng.integers(len(_MOTIFS)))]
        for k, y in enumerate(range(step // 2, h, step)):
            for x in range(step // 2 + (k % 2) * step // 2, w, step):
                motif(sheet, (x, y), int(0.3 * step), inks)
    folds = noise(rng, (h, w), (max(h / 2, 8), 24)) + 0.6 * noise(rng, (h, w), (max(h / 4, 8), 10))
    weave = 0.03 * noise(rng, (h, w), (2, 5)) + 0.03 * noise(rng, (h, w), (5, 2))
    sheet *= np.clip(1 + 0.10 * folds + weave, 0.4, 1.4)[..., None].astype(np.float32)
    return upright(_wear(rng, sheet, 0.03, 10), texel_m)
