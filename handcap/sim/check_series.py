"""The virtual technician's daily check without pictures: corners of board and finger tags, counts, inertial data.

World, motion, clocks and inertial sensors are those of `simulate`; only what a detector adds to corners is a model of
what rendered takes showed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap import clock, geometry
from handcap.boards import Board, BoardViews, CharucoBoard
from handcap.cameras import Camera
from handcap.geometry import Array
from handcap.sim import rigs, world
from handcap.sim.person import HeadParams
from handcap.sim.sensors import Sensors, sense
from handcap.sim.simulation import SimulationParams
from handcap.sim.world import World
from handcap.types import ImuSamples, JawReadings, Rig, Side

BOARD: Board = CharucoBoard(8, 6, 0.05, 0.0375)  # of the scene "bench"
_ROOM = 0  # one bench for all: furnishing it takes seconds
_DETECTOR, _SPECIMEN, _ENCODER_HZ = 12, 5, 100.0
_BORDER_PX = 6.0
_STEEPEST = np.cos(1.2)


@dataclass(frozen=True, slots=True)
class CheckNoise:
    """What a detector adds to corners, px per axis."""

    white_px: float = 0.04
    lasting_px: float = 0.02  # fades within half a second
    beside_px: float = 0.05  # of every corner of a finger tag, for good
    widening_px: float = 0.05  # of finger tags


@dataclass(frozen=True, eq=False, slots=True)
class SeenFingers:
    """Looks at finger tags.

    Attributes:
        camera_t_ns: (f,) stamps of the pictures.
        picture, tag, px: (m,), (m,), (m, 4, 2) in which picture, at which tag, its corners.
        readings: of the encoder.
    """

    camera_t_ns: NDArray[np.int64]
    picture: NDArray[np.int64]
    tag: NDArray[np.int64]
    px: Array
    readings: JawReadings


@dataclass(frozen=True, eq=False, slots=True)
class CheckSeries:
    """What a rig gave during one check.

    Attributes:
        true: the rig as it is.
        views: of the board, by camera.
        imu: by device, imu axes.
        fingers: by side.
    """

    true: Rig
    views: Mapping[str, BoardViews]
    imu: Mapping[str, ImuSamples]
    fingers: Mapping[Side, SeenFingers]


def record_check(
    rig: str,
    seed: int,
    *,
    seconds: float = 10.0,
    dt_imu_cam_s: float = 0.0,
    params: SimulationParams | None = None,
    noise: CheckNoise | None = None,
) -> CheckSeries:
    """One check; every seed has a motion, a specimen and noise of its own.

    Args:
        rig: its parts, see `rigs.parse`.
        dt_imu_cam_s: true offset of every camera's clock.
        params: of the sensors; what concerns pixels is not used.
    """
    params, noise = params or SimulationParams(), noise or CheckNoise()
    serial = params.serial_for(seed)
    drawn = rigs.drawn(rig, serial, params.line_delay_s)
    mounted = rigs.specimen(drawn, params.scatter, np.random.default_rng([serial, _SPECIMEN]))
    true = rigs.with_offset(mounted, dt_imu_cam_s)
    sensors = Sensors.of(true, seconds, params, seed)
    played = world.build("bench", true, rigs.parse(rig), "check", HeadParams(), sensors.end_s, _ROOM, None, seed)
    imu: dict[str, ImuSamples] = {}
    for device, recorded in sense(played, sensors).imu.items():
        kept, samples = sensors.imu_kept[device], recorded.samples
        imu[device] = ImuSamples(sensors.imu_stamped_ns[device][kept], samples.gyro_imu[kept], samples.accel_imu[kept])
    rngs = [np.random.default_rng([seed, _DETECTOR, k]) for k in range(2 * len(true.cameras))]
    views = {name: _board(played, sensors, name, noise, rngs[k]) for k, name in enumerate(true.cameras)}
    fingers: dict[Side, SeenFingers] = {}
    for k, (name, gripper) in enumerate(true.grippers.items()):
        side: Side = "left" if name == "left" else "right"
        assert gripper.encoder is not None
        fingers[side] = _fingers(played, sensors, side, noise, rngs[len(true.cameras) + k])
    return CheckSeries(true, views, imu, fingers)


def _board(played: World, sensors: Sensors, camera: str, noise: CheckNoise, rng: np.random.Generator) -> BoardViews:
    mount = played.rig.cameras[camera]
    printed = next(board for board in played.room.boards if board.name == "charuco")
    t_s = clock.seconds(sensors.exposed_ns[camera])
    corners_room = geometry.transform(printed.T_room_board, printed.target.corners_target)
    T_room_cam = played.T_room_cam(camera)(t_s)
    p_cam = geometry.transform(geometry.inverse(T_room_cam)[:, None], corners_room)
    px, seen = mount.camera.project(p_cam)
    if mount.line_delay_s:
        late_s = np.where(seen, mount.late_s(px), 0.0)
        T = played.T_room_cam(camera)((t_s[:, None] + late_s).ravel()).reshape(*late_s.shape, 4, 4)
        p_cam = geometry.transform(geometry.inverse(T), corners_room)
        px, seen = mount.camera.project(p_cam)
    normal_cam = np.einsum("fji,j->fi", T_room_cam[:, :3, :3], printed.T_room_board[:3, 2])
    square = np.einsum("fi,fni->fn", normal_cam, p_cam) / np.linalg.norm(p_cam, axis=-1)
    seen = seen & (square > _STEEPEST) & mount.camera.in_picture(px, _BORDER_PX)
    if camera in played.rig.grippers:
        seen &= ~_behind_fingers(mount.camera, px)
    fades = np.exp(-2.0 / sensors.params.camera_rate_hz)
    lasting = rng.standard_normal(px.shape) * noise.lasting_px
    for k in range(1, len(t_s)):
        lasting[k] = fades * lasting[k - 1] + np.sqrt(1 - fades**2) * lasting[k]
    px = px + lasting + rng.standard_normal(px.shape) * noise.white_px
    view, which = np.nonzero(seen)
    return BoardViews(sensors.stamped_ns[camera], view, printed.target.ids[which], px[view, which])


def _behind_fingers(lens: Camera, px: Array) -> NDArray[np.bool_]:
    """Where a gripper's camera sees the gripper itself: about the middle of the lower half."""
    x, y = (px[..., 0] - lens.width / 2) / lens.width, px[..., 1] / lens.height
    return (y > 0.52) & (np.abs(x) < 0.3)


def _fingers(played: World, sensors: Sensors, side: Side, noise: CheckNoise, rng: np.random.Generator) -> SeenFingers:
    camera, gripper = played.rig.cameras[side], played.rig.grippers[side]
    assert gripper.T_cam_tcp is not None and gripper.encoder is not None
    opening_m = played.opening_m[side].at(clock.seconds(sensors.exposed_ns[side]))
    tags = [tag for tag in gripper.tags if tag.body != "tcp"]
    widening = noise.widening_px * rng.standard_normal()
    picture: list[NDArray[np.int64]] = []
    which: list[NDArray[np.int64]] = []
    corners: list[Array] = []
    for k, tag in enumerate(tags):
        share = np.array([-0.5 if tag.body == "finger_a" else 0.5, 0.0, 0.0])
        px, _ = camera.camera.project(
            geometry.transform(gripper.T_cam_tcp, tag.corners_body + opening_m[:, :1, None] * share)
        )
        outward = px - px.mean(axis=1, keepdims=True)
        px = px + widening * np.sqrt(2) * outward / np.linalg.norm(outward, axis=2, keepdims=True)
        px = px + noise.beside_px * rng.standard_normal((4, 2)) + noise.white_px * rng.standard_normal(px.shape)
        shown = np.flatnonzero(camera.camera.in_picture(px, 3.0).all(axis=1))
        picture.append(shown)
        which.append(np.full(len(shown), k))
        corners.append(px[shown])
    t_ns = clock.nanoseconds(np.arange(0.05, sensors.end_s, 1 / _ENCODER_HZ))
    counts = gripper.encoder.counts(played.opening_m[side].at(clock.seconds(t_ns))[:, 0], rng)
    readings = JawReadings(sensors.as_stamped(side, t_ns), counts)
    return SeenFingers(
        sensors.stamped_ns[side], np.concatenate(picture), np.concatenate(which), np.concatenate(corners), readings
    )
