"""A simulated session as an ASL folder with its truth beside it, so that a peer and handcap read the same files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from handcap import session
from handcap.cameras import KannalaBrandt4
from handcap.clock import nanoseconds
from handcap.formats.tum import write_tum
from handcap.types import ImuModel, MountedCamera

TRUTH = "groundtruth_tum.txt"


def write_asl_folder(recording: Path, out: Path) -> None:
    """Write mav0/cam0, mav0/imu0 and the head's truth of a session's first take.

    Pictures are stored without loss, stamped by the IMU's clock as far as rig.json knows the offset. The layout has no
    room for a rolling shutter.
    """
    opened = session.read(recording)
    take = opened.take(opened.takes[0])
    camera = take.cameras[0]
    mounted = opened.rig.cameras[camera]
    assert mounted.line_delay_s == 0, "an ASL folder cannot tell of a rolling shutter"
    cam, imu = out / "mav0/cam0", out / "mav0/imu0"
    (cam / "data").mkdir(parents=True)
    imu.mkdir()
    stamps: list[int] = []
    for frame in take.frames(camera):
        stamps.append(frame.t_ns + int(nanoseconds(mounted.dt_imu_cam_s)))
        assert cv2.imwrite(str(cam / f"data/{stamps[-1]}.png"), frame.image)
    (cam / "data.csv").write_text("#timestamp [ns],filename\n" + "".join(f"{t},{t}.png\n" for t in stamps))
    (cam / "sensor.yaml").write_text(_camera_yaml(mounted, 1e9 / float(np.median(np.diff(stamps)))))
    samples = take.imu(mounted.device)
    rows = zip(samples.t_ns.tolist(), samples.gyro_imu.tolist(), samples.accel_imu.tolist(), strict=True)
    lines = (f"{t},{','.join(f'{v:.9g}' for v in gyro + accel)}\n" for t, gyro, accel in rows)
    (imu / "data.csv").write_text("#timestamp [ns],gyro x y z [rad s^-1],accel x y z [m s^-2]\n" + "".join(lines))
    (imu / "sensor.yaml").write_text(_imu_yaml(opened.rig.devices[mounted.device].imu))
    write_tum(out / TRUTH, session.read_trajectory(recording / "truth/head_imu.parquet"))


def _camera_yaml(mounted: MountedCamera, rate_hz: float) -> str:
    lens = mounted.camera
    model = "equidistant" if isinstance(lens, KannalaBrandt4) else "radial-tangential"
    return (
        f"sensor_type: camera\nrate_hz: {rate_hz:.3f}\nresolution: [{lens.width}, {lens.height}]\n"
        f"camera_model: pinhole\nintrinsics: {list(lens.params[:4])}\n"
        f"distortion_model: {model}\ndistortion_coefficients: {list(lens.params[4:])}\n"
        f"{_pose_yaml(mounted.T_imu_cam.ravel().tolist())}"
    )


def _imu_yaml(model: ImuModel) -> str:
    return (
        f"sensor_type: imu\nrate_hz: {model.rate_hz}\n"
        f"gyroscope_noise_density: {model.gyro_noise_density!r}\n"
        f"gyroscope_random_walk: {model.gyro_random_walk!r}\n"
        f"accelerometer_noise_density: {model.accel_noise_density!r}\n"
        f"accelerometer_random_walk: {model.accel_random_walk!r}\n"
        f"{_pose_yaml(np.eye(4).ravel().tolist())}"
    )


def _pose_yaml(T_body_sensor: Sequence[float]) -> str:
    return f"T_BS:\n  rows: 4\n  cols: 4\n  data: {list(T_body_sensor)}\n"
