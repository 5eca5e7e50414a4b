"""A session for players that nobody rendered: motion that swings, walls that pass. Made in a second, true of nothing.

Whoever tests how recordings are carried and kept needs data at the right rate and of the right size, and no room.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handcap import session
from handcap.cameras import PinholeRadtan
from handcap.clock import NS_PER_S
from handcap.types import Device, ImuModel, MountedCamera, Rig

PERIOD_S = 1.0  # of the swing and of the wall: a take that is played again and again has no seam
_GRAVITY = 9.80665


def unrendered(
    path: Path,
    seconds: float = 10.0,
    devices: Sequence[str] = ("head", "left", "right"),
    size: tuple[int, int] = (640, 480),
    fps: int = 30,
    rate_hz: int = 1000,
    quality: int = 60,
    grain: float = 12.0,
) -> None:
    """Write a session with one take: every device has an inertial sensor and a camera of its name.

    Args:
        path: new folder.
        seconds: of the take, whole.
        devices: by name.
        size: width and height of pictures, pixels.
        fps: pictures a second.
        rate_hz: inertial samples a second.
        quality: of the JPEGs, to 100.
        grain: standard deviation of the pictures' noise, grey levels; it and the quality make them large.
    """
    imu = ImuModel(float(rate_hz), 1e-3, 1e-2, 1e-5, 1e-4)
    lens = PinholeRadtan(*size, (size[0] / 2, size[0] / 2, size[0] / 2 - 0.5, size[1] / 2 - 0.5, 0.0, 0.0, 0.0, 0.0))
    rig = Rig(
        "unrendered",
        {name: Device(imu, uid=name) for name in devices},
        {name: MountedCamera(name, lens, np.eye(4)) for name in devices},
    )
    meta = session.SessionMeta(
        id="unrendered",
        created="2026-01-01T00:00:00Z",
        origin="simulation",
        clock=session.SessionClock(kind="simulation", utc_offset_ns=0),
    )
    count = round(seconds * fps)
    pictures = {name: _pictures(size, fps, count, quality, grain, seed) for seed, name in enumerate(devices)}
    period_ns = NS_PER_S // rate_hz
    with session.create(path, meta, rig) as writer, writer.start_take() as take:
        for k in range(count):
            first, last = round(k * rate_hz / fps), round((k + 1) * rate_hz / fps)
            t_ns = np.arange(first, last, dtype=np.int64) * period_ns
            for name in devices:
                take.add_imu_si(name, t_ns, *_swing(t_ns))
                take.add_image(name, k * NS_PER_S // fps, pictures[name][k], "jpeg")


def _swing(t_ns: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turning to and fro about the vertical: rad/s and m/s²."""
    angle = 2 * np.pi * t_ns / NS_PER_S / PERIOD_S
    gyro = np.stack([0.2 * np.sin(angle), 0.1 * np.cos(angle), 0.5 * np.cos(angle)], axis=1)
    return gyro, np.stack([0.3 * np.sin(angle), 0.2 * np.cos(angle), np.full(len(angle), _GRAVITY)], axis=1)


def _pictures(size: tuple[int, int], fps: int, count: int, quality: int, grain: float, seed: int) -> list[bytes]:
    """A checkered wall that passes by once a second, without a seam, no two pictures alike."""
    import cv2

    width, height = size
    rng = np.random.default_rng(seed)
    step = max(width // 160, 2)
    cell = 3 * step
    tiles = rng.integers(20, 236, (height // cell + 1, step * fps // cell, 3), dtype=np.uint8)
    wall = cv2.resize(tiles, (step * fps, cell * tiles.shape[0]), interpolation=cv2.INTER_NEAREST)
    wide = np.tile(wall[:height], (1, width // wall.shape[1] + 2, 1)).astype(np.float32)
    made: list[bytes] = []
    for k in range(count):
        at = k % fps * step
        noise = cv2.resize(rng.normal(0, grain, (height // 2, width // 2)).astype(np.float32), (width, height))
        view = np.clip(wide[:, at : at + width] + noise[..., None], 0, 255).astype(np.uint8)
        made.append(cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())
    return made
