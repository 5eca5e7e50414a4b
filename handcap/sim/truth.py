"""What really happened, written beside a simulated session in the shape of a reconstruction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from handcap import clock, geometry, session
from handcap.errors import SessionError
from handcap.geometry import Array
from handcap.sim.pictures import depth_pictures
from handcap.sim.sensors import Recording, Sensors, Stamps
from handcap.sim.world import World
from handcap.types import Trajectory

OBJECTS = "objects"


def world_gauge(T_room_imu: Array, T_imu_cam: Array) -> Array:
    """`T_world_room` (4, 4) that puts the world where design puts it.

    Origin at the IMU at the first picture, z up, x along the horizontal part of the camera's viewing axis.
    """
    forward_room = (T_room_imu @ T_imu_cam)[:3, 2]
    yaw = float(np.arctan2(forward_room[1], forward_room[0]))
    return geometry.inverse(geometry.se3(geometry.yaw_rotation(yaw), T_room_imu[:3, 3]))


def _trajectory(body: str, T_world_body: Array, t_ns: Stamps, camera_t_ns: Stamps) -> Trajectory:
    n = len(t_ns)
    return Trajectory(body, t_ns, camera_t_ns, T_world_body, np.full((n, 6, 6), np.nan), np.ones(n, bool))


def write(
    folder: Path,
    world: World,
    sensors: Sensors,
    recording: Recording,
    take: str = "0001",
    T_world_room: Array | None = None,
) -> Array:
    """Write `truth/`: every device's IMU, tool frames, jaws, hands, things, the true rig, offsets, events, faults.

    `<device>_imu.parquet` has a row per IMU sample with velocity and biases; `head`, `left_tcp`, `right_tcp`,
    `left_hand` and `right_hand` a row per picture, shaped like a reconstruction; `objects/<thing>.parquet` likewise.

    Args:
        folder: to create.
        world: what was sensed.
        sensors: when.
        recording: what the IMUs measured, with their true errors.
        take: its id.
        T_world_room: (4, 4) the world to tell it in; by default this take's own.

    Returns:
        That world.
    """
    folder.mkdir()
    first = next(iter(world.rig.cameras))
    camera = world.rig.cameras[first]
    t_first_s = clock.seconds(sensors.schedule_ns[:1])
    if T_world_room is None:
        T_world_room = world_gauge(world.motion[camera.device].pose(t_first_s)[0], camera.T_imu_cam)

    def poses(name: str, body: str, T_room_body: Array, camera: str, extra: Mapping[str, ArrayLike]) -> None:
        t_ns, stamps = sensors.exposed_ns[camera], sensors.stamped_ns[camera]
        session.write_trajectory(
            folder / f"{name}.parquet", _trajectory(body, T_world_room @ T_room_body, t_ns, stamps), extra
        )

    for device, recorded in recording.imu.items():
        t_ns, motion = sensors.imu_ns[device], world.motion[device]
        t_s = clock.seconds(t_ns)
        known = {
            "v_world": motion.velocity_room(t_s) @ T_world_room[:3, :3].T,
            "gyro_bias_imu": recorded.gyro_bias,
            "accel_bias_imu": recorded.accel_bias,
        }
        along = _trajectory(device, T_world_room @ motion.pose(t_s), t_ns, sensors.imu_stamped_ns[device])
        session.write_trajectory(folder / f"{device}_imu.parquet", along, known)
    t_s = clock.seconds(sensors.exposed_ns[first])
    if "head" in world.motion:
        poses("head", "head", world.motion["head"].pose(t_s), first, {})
    for side, opening in world.opening_m.items():
        at = side if side in world.rig.cameras else first
        side_t_s = clock.seconds(sensors.exposed_ns[at])
        if side in world.rig.cameras:
            width_m = opening.at(side_t_s)[:, 0]
            poses(f"{side}_tcp", f"{side}_tcp", world.tools[side](side_t_s), at, {"width_m": width_m})
        elif side in world.hands:
            hand = world.hands[side]
            joints = geometry.transform(T_world_room, hand.joints_room(side_t_s))
            extra = {"joints_world": joints.reshape(len(side_t_s), 63)}
            poses(f"{side}_hand", f"{side}_hand", hand.wrist.pose(side_t_s), at, extra)
    (folder / OBJECTS).mkdir()
    for name, pose in world.bodies.items():
        if name in [world.room.slide.body if world.room.slide else "", *(prop.body for prop in world.room.props)]:
            poses(f"{OBJECTS}/{name}", name, pose(t_s), first, {})
    if sensors.params.depth:
        _write_depth(folder / "depth", world, sensors)
    session.write_rig(folder / "rig.json", world.rig)
    facts = _facts(world, sensors, recording, take, T_world_room)
    (folder / "truth.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return T_world_room


def _facts(world: World, sensors: Sensors, recording: Recording, take: str, T_world_room: Array) -> dict[str, Any]:
    """What truth.json says."""
    return {
        "dt_imu_cam_s": {name: camera.dt_imu_cam_s for name, camera in world.rig.cameras.items()},
        "events": [
            {
                "t_ns": int(clock.nanoseconds(event.t_s)),
                "take": take,
                "kind": event.kind,
                "device": event.side,
                "thing": event.thing or None,
            }
            for event in world.events
        ],
        "faults": [fault.as_truth(take) for fault in sensors.params.faults],
        "clocks": {
            device: {**asdict(board), "fit_residual_s": sensors.fits[device][1]}
            for device, board in sensors.clocks.items()
        },
        "imus": {
            device: {
                "gyro_matrix": recorded.gyro_matrix.tolist(),
                "accel_matrix": recorded.accel_matrix.tolist(),
                "gyro_g_sensitivity": recorded.gyro_g_sensitivity.tolist(),
            }
            for device, recorded in recording.imu.items()
        },
        "encoders": {side: asdict(encoder) for side, encoder in sensors.encoders.items()},
        "boards": [
            {
                "name": board.name,
                "T_world_board": (T_world_room @ board.T_room_board).tolist(),
                "corner_ids": board.target.ids.tolist(),
                "corners_board_m": board.target.corners_target.tolist(),
            }
            for board in world.room.boards
        ],
    }


def _write_depth(folder: Path, world: World, sensors: Sensors) -> None:
    """`depth/<camera>/<t_ns>.png`: 16 bit, mm along the camera's z axis; 0 where nothing is seen or it lies behind."""
    import cv2

    for name, t_ns, depth_mm in depth_pictures(world, sensors):
        (folder / name).mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(folder / name / f"{t_ns:015d}.png"), depth_mm)
        if not written:
            raise SessionError("cannot be written", where=folder / name, mend="free some disk space")
