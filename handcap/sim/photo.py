"""From light to a compressed picture: the lens's blur, exposure, vignetting, noise, JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera


@dataclass(frozen=True, slots=True)
class PhotoParams:
    """A small modern camera in a lit room.

    Attributes:
        blur_px: standard deviation of the lens's blur, beside the pixel's own width. With it, edges of the virtual rig
            are as wide as those of real recordings, see docs/simulation.md.
        vignetting: share of light lost in the corner of the picture.
        jpeg_quality: OpenCV's scale.
    """

    blur_px: float = 0.6
    vignetting: float = 0.25
    jpeg_quality: int = 92


def vignette(camera: Camera, loss: float) -> NDArray[np.float32]:
    """(h, w) share of light that arrives."""
    v, u = np.mgrid[: camera.height, : camera.width].astype(float)
    radius2 = (u - camera.centre_px[0]) ** 2 + (v - camera.centre_px[1]) ** 2
    return (1 - loss * radius2 / radius2.max()).astype(np.float32)


def focus(light: NDArray[np.float32], blur_px: float) -> NDArray[np.float32]:
    """Light (h, w, 3) as the lens spreads it over the pixels."""
    import cv2

    if blur_px <= 0:
        return light
    blurred = cv2.GaussianBlur(light, (0, 0), blur_px, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def develop(
    light: NDArray[np.float32],
    arriving: NDArray[np.float32],
    gain: float | NDArray[np.float32],
    noise_grey: float,
    rng: np.random.Generator,
    *,
    shot_grey: float = 0.0,
) -> NDArray[np.uint8]:
    """Light to RGB pixels; the three colours share their noise, as after demosaicing.

    Args:
        light: (h, w, 3), 0..255.
        arriving: (h, w) see `vignette`.
        gain: grey per light, one number or one per row (h,).
        noise_grey: standard deviation in the dark.
        rng: draws the noise.
        shot_grey: variance of noise that each grey level of signal adds.
    """
    from handcap.sim import pixel

    normal = _normal_table()[rng.integers(0, 1 << 16, arriving.shape, np.uint16)]
    row_gain = np.ascontiguousarray(np.broadcast_to(np.asarray(gain, np.float32), (len(light),)))
    picture = np.empty(light.shape, np.uint8)
    pixel.expose(light, arriving, row_gain, normal, np.float32(noise_grey), np.float32(shot_grey), picture)
    return picture


@lru_cache
def _normal_table() -> NDArray[np.float32]:
    """65536 equally likely values of the standard normal distribution; picking one takes a tenth of the time."""
    from scipy.special import ndtri

    return ndtri((np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float32)


def jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """RGB (h, w, 3) to JPEG."""
    import cv2

    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()
