"""A small worn camera and what it records, for tests of the session store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handcap.cameras import KannalaBrandt4, PinholeRadtan
from handcap.geometry import se3, so3_exp
from handcap.session import SessionClock, SessionMeta, SessionWriter, TakeWriter, create
from handcap.types import Device, ImuModel, MountedCamera, Rig

IMU = ImuModel(1000.0, 1e-3, 1e-2, 1e-5, 1e-4)
PINHOLE = PinholeRadtan(64, 48, (50.0, 50.0, 31.5, 23.5, 0.01, 0.0, 0.0, 0.0))
FISHEYE = KannalaBrandt4(64, 64, (20.0, 20.0, 31.5, 31.5, 0.0, 0.0, 0.0, 0.0))
T_IMU_CAM = se3(so3_exp([0.1, -0.2, 0.3]), [0.05, 0.0, 0.02])
RIG = Rig(
    "bench",
    {"head": Device(IMU, so3_exp([0.0, 0.0, np.pi / 2]), "uid-1"), "left": Device(IMU)},
    {"head": MountedCamera("head", PINHOLE, T_IMU_CAM, 0.008, 1e-4), "left": MountedCamera("left", FISHEYE, np.eye(4))},
)


def session_meta(origin: str = "simulation") -> SessionMeta:
    kind = {"simulation": "simulation", "import": "import", "capture": "monotonic"}[origin]
    return SessionMeta(
        id="bench-1",
        created="2026-01-01T00:00:00Z",
        origin=origin,  # pyright: ignore[reportArgumentType]
        clock=SessionClock(kind=kind, utc_offset_ns=0),  # pyright: ignore[reportArgumentType]
    )


def new_session(path: Path, origin: str = "simulation") -> SessionWriter:
    return create(path, session_meta(origin), RIG)


def jpeg(seed: int = 0, width: int = 64, height: int = 48) -> bytes:
    """A noisy picture."""
    import cv2

    picture = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def imu_block(start_ns: int, n: int = 100, period_ns: int = 1_000_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps, gyro and accelerometer whose numbers tell their sample."""
    t_ns = start_ns + period_ns * np.arange(n, dtype=np.int64)
    ramp = (t_ns[:, None] / 1e9) + np.array([0.0, 0.1, 0.2])
    return t_ns, ramp, ramp + 9.0


def record(take: TakeWriter, seconds: float, picture: bytes, start_s: float = 0.0) -> None:
    """1 kHz IMU and 20 pictures a second of the head."""
    for i in range(round(seconds * 20)):
        t_ns = round(start_s * 1e9) + i * 50_000_000
        take.add_imu_si("head", *imu_block(t_ns, 50))
        take.add_image("head", t_ns, picture, "jpeg")
