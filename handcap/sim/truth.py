"""What really happened, written beside a simulated session in the shape of a reconstruction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handcap import clock, geometry, session
from handcap.geometry import Array
from handcap.sim.imu import ImuRecording
from handcap.sim.motion import Motion
from handcap.types import Rig, Trajectory


def world_gauge(T_room_imu: Array, T_imu_cam: Array) -> Array:
    """`T_world_room` (4, 4) that puts the world where design puts it.

    Origin at the IMU at the first picture, z up, x along the horizontal part of the camera's viewing axis.
    """
    forward_room = (T_room_imu @ T_imu_cam)[:3, 2]
    yaw = float(np.arctan2(forward_room[1], forward_room[0]))
    return geometry.inverse(geometry.se3(geometry.yaw_rotation(yaw), T_room_imu[:3, 3]))


def _trajectory(
    body: str, motion: Motion, T_world_room: Array, t_ns: NDArray[np.int64], camera_t_ns: NDArray[np.int64]
) -> Trajectory:
    n = len(t_ns)
    T_world_body = T_world_room @ motion.pose(clock.seconds(t_ns))
    return Trajectory(body, t_ns, camera_t_ns, T_world_body, np.full((n, 6, 6), np.nan), np.ones(n, bool))


def write(
    folder: Path,
    rig: Rig,
    motion: Motion,
    T_world_room: Array,
    exposed_ns: NDArray[np.int64],
    stamped_ns: NDArray[np.int64],
    recording: ImuRecording,
) -> None:
    """Write `truth/`: poses at every picture and IMU sample, biases, the true rig, offsets, events, faults.

    Args:
        folder: to create.
        rig: as truly mounted, with the true clock offsets.
        motion: of the head's IMU.
        T_world_room: see `world_gauge`.
        exposed_ns: (n,) true mid-exposures.
        stamped_ns: (n,) the stamps they got.
        recording: what the IMU measured, with its true biases.
    """
    folder.mkdir()
    head = _trajectory("head", motion, T_world_room, exposed_ns, stamped_ns)
    session.write_trajectory(folder / "head.parquet", head)
    imu_ns = recording.samples.t_ns
    session.write_trajectory(
        folder / "head_imu.parquet",
        _trajectory("head", motion, T_world_room, imu_ns, imu_ns),
        {
            "v_world": motion.velocity_room(clock.seconds(imu_ns)) @ T_world_room[:3, :3].T,
            "gyro_bias_imu": recording.gyro_bias,
            "accel_bias_imu": recording.accel_bias,
        },
    )
    session.write_rig(folder / "rig.json", rig)
    facts = {
        "dt_imu_cam_s": {name: camera.dt_imu_cam_s for name, camera in rig.cameras.items()},
        "events": [],
        "faults": [],
    }
    (folder / "truth.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
