"""A small ASL folder made on the spot, to be soiled in one way per test."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from handcap.geometry import Array, so3_exp, so3_log

START_NS = 1_700_000_000_000_000_000
WIDTH, HEIGHT = 64, 48
IDENTITY = "[1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0]"

CAMERA_YAML = f"""%YAML:1.0
sensor_type: camera
T_BS:
  cols: 4
  rows: 4
  data: [0.0, -1.0, 0.0, -0.02, 1.0, 0.0, 0.0, -0.06, 0.0, 0.0, 1.0, 0.01, 0.0, 0.0, 0.0, 1.0]
rate_hz: 20
resolution: [{WIDTH}, {HEIGHT}]
camera_model: pinhole
intrinsics: [40.0, 41.0, 31.5, 23.5] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [-0.28, 0.07, 0.0002, 1.8e-05]
"""
IMU_YAML = f"""%YAML:1.0
sensor_type: imu
T_BS: {{cols: 4, rows: 4, data: {IDENTITY}}}
rate_hz: 200
gyroscope_noise_density: 1.7e-04
gyroscope_random_walk: 2e-5
accelerometer_noise_density: 2.0e-3
accelerometer_random_walk: 3.0e-3
"""
IMU_HEADER = "#timestamp [ns],w_x,w_y,w_z,a_x,a_y,a_z"


def picture(seed: int = 0, width: int = WIDTH, height: int = HEIGHT, suffix: str = ".png") -> bytes:
    image = np.random.default_rng(seed).integers(0, 255, (height, width), dtype=np.uint8)
    return cv2.imencode(suffix, image)[1].tobytes()


def head_motion(seconds: float, rate_hz: float = 200.0, sway_m_s2: float = 1.0, seed: int = 0) -> Array:
    """(n, 6) gyroscope and accelerometer of a head that nods, turns and sways, with bias and noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = rng.uniform(0, 6, (2, 3))
    R_world_imu = so3_exp(np.sin(t[:, None] * [1.1, 1.7, 0.8] + phase[0]) * [0.5, 0.6, 0.7])
    gyro = so3_log(np.swapaxes(R_world_imu[:-1], 1, 2) @ R_world_imu[1:]) * rate_hz
    gyro = np.concatenate([gyro, gyro[-1:]])
    sway = sway_m_s2 * np.sin(t[:, None] * [5.0, 6.1, 8.3] + phase[1])
    accel = np.einsum("nji,nj->ni", R_world_imu, sway + [0, 0, 9.81])
    noise = rng.normal(0, 1, (2, len(t), 3))
    return np.hstack([gyro + [0.01, -0.02, 0.03] + 0.003 * noise[0], accel + 0.1 + 0.05 * noise[1]])


def imu_lines(values: Array, start_ns: int = START_NS, period_ns: int = 5_000_000) -> list[str]:
    return [f"{start_ns + i * period_ns}," + ",".join(repr(float(x)) for x in row) for i, row in enumerate(values)]


class AslFolder:
    """mav0 with 40 pictures at 20 Hz and 4 s of IMU, from 1 s before the first picture to 1 s after the last."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.imu, self.cam = root / "mav0" / "imu0", root / "mav0" / "cam0"
        (self.cam / "data").mkdir(parents=True)
        self.imu.mkdir(parents=True)
        self.stamps = [START_NS + 1_000_000_000 + i * 50_000_000 for i in range(40)]
        self.values = head_motion(4.0)
        self.write_imu(imu_lines(self.values))
        for i, stamp in enumerate(self.stamps):
            (self.cam / "data" / f"{stamp}.png").write_bytes(picture(i))
        self.write_pictures([f"{stamp},{stamp}.png" for stamp in self.stamps])
        (self.imu / "sensor.yaml").write_text(IMU_YAML)
        (self.cam / "sensor.yaml").write_text(CAMERA_YAML)

    def write_imu(self, lines: list[str], header: str = IMU_HEADER) -> None:
        (self.imu / "data.csv").write_text("\n".join([header, *lines]) + "\n")

    def write_pictures(self, lines: list[str]) -> None:
        (self.cam / "data.csv").write_text("\n".join(["#timestamp [ns],filename", *lines]) + "\n")

    def picture_path(self, i: int) -> Path:
        return self.cam / "data" / f"{self.stamps[i]}.png"

    def edit_yaml(self, sensor: Path, old: str, new: str) -> None:
        text = (sensor / "sensor.yaml").read_text()
        assert old in text
        (sensor / "sensor.yaml").write_text(text.replace(old, new))
