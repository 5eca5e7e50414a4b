"""Calibration takes at the level of detected corners: the virtual rig without its pictures.

A take costs a tenth of a second instead of a minute, so that statistics over hundreds of rigs are to be had. Motion,
clocks, lenses, shutters and inertial sensors are those of `simulate`; only the detector is a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from handcap import clock, geometry
from handcap.boards import AprilGrid, Board, BoardViews, CharucoBoard
from handcap.geometry import Array
from handcap.sim import rigs, world
from handcap.sim.person import HeadParams
from handcap.sim.sensors import Sensors, sense
from handcap.sim.simulation import SimulationParams
from handcap.sim.world import World
from handcap.types import ImuSamples, Rig

BOARDS: Mapping[str, Board] = {  # of the scene "bench", by task
    "charuco": CharucoBoard(8, 6, 0.05, 0.0375),
    "aprilgrid": AprilGrid(6, 6, 0.055, 0.3),
}
_ROOM = 0  # one bench for all: building it takes seconds, and nothing but the motion matters here
_DETECTOR, _SPECIMEN = 11, 5
_ROW_ROUNDS = 4  # a row's time depends on the row: each round gains two digits


@dataclass(frozen=True, slots=True)
class CornerNoise:
    """What a detector adds to a corner, px per axis; the defaults are what rendered takes showed against the truth.

    There (30 s each) ChArUco corners through a fisheye were 0.045 px off, 4 % of the variance lasting for half a
    second; corners of an AprilGrid through a pinhole 0.035 px, of which 25 % lasted, a little of it common to all.

    Attributes:
        white_px: anew in every picture.
        lasting_px, common_px, lasting_s: of each corner and of all alike, fading with this time constant.
        astray, astray_px: share of corners that are off by more, and by how much.
        border_px: a corner so close to the picture's edge is not found.
        steepest_rad: nor one on a board seen more obliquely.
    """

    white_px: float = 0.038
    lasting_px: float = 0.016
    common_px: float = 0.004
    lasting_s: float = 0.5
    astray: float = 0.003
    astray_px: float = 0.5
    border_px: float = 8.0
    steepest_rad: float = 1.2


_SPECIMENS = SimulationParams(scatter=rigs.PRINTED)
EXACT = CornerNoise(0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, eq=False, slots=True)
class CornerTake:
    """What a rig recorded before a board.

    Attributes:
        rig: as it truly is, offsets included.
        drawn: as its drawing says.
        board: what it looked at.
        views: of each camera.
        imu: of each device, imu axes, session clock.
    """

    rig: Rig
    drawn: Rig
    board: Board
    views: Mapping[str, BoardViews]
    imu: Mapping[str, ImuSamples]


def corner_take(
    rig: str = "head",
    *,
    task: str = "charuco",
    seconds: float = 40.0,
    seed: int = 0,
    dt_imu_cam_s: float = 0.0,
    params: SimulationParams = _SPECIMENS,
    noise: CornerNoise = CornerNoise(),
    moved: tuple[float, Array] | None = None,
) -> CornerTake:
    """One take; every seed has a motion, a specimen and noise of its own.

    Args:
        rig: its parts, see `rigs.parse`.
        task: a key of BOARDS.
        seconds: of pictures.
        seed: same seed and arguments, same take.
        dt_imu_cam_s: true offset of every camera's clock.
        params: of the sensors; what concerns pixels is not used.
        noise: of the detector.
        moved: when, in session seconds, somebody moves the board, and T_board_moved (4, 4).
    """
    serial = params.serial_for(seed)
    drawn = rigs.drawn(rig, serial, params.line_delay_s)
    mounted = rigs.specimen(drawn, params.scatter, np.random.default_rng([serial, _SPECIMEN]))
    true_rig = rigs.with_offset(mounted, dt_imu_cam_s)
    sensors = Sensors.of(true_rig, seconds, params, seed)
    # Head at rest when worn by nobody: `build` sees to that for tasks of the bench.
    played = world.build("bench", true_rig, rigs.parse(rig), task, HeadParams(), sensors.end_s, _ROOM, None, seed)
    recording = sense(played, sensors)
    imu: dict[str, ImuSamples] = {}
    for device, recorded in recording.imu.items():
        kept, samples = sensors.imu_kept[device], recorded.samples
        imu[device] = ImuSamples(sensors.imu_stamped_ns[device][kept], samples.gyro_imu[kept], samples.accel_imu[kept])
    views: dict[str, BoardViews] = {}
    for k, name in enumerate(true_rig.cameras):
        rng = np.random.default_rng([seed, _DETECTOR, k])
        views[name] = _views(played, sensors, name, task, noise, rng, moved)
    return CornerTake(true_rig, drawn, BOARDS[task], views, imu)


def _views(
    played: World,
    sensors: Sensors,
    camera: str,
    task: str,
    noise: CornerNoise,
    rng: np.random.Generator,
    moved: tuple[float, Array] | None,
) -> BoardViews:
    mount = played.rig.cameras[camera]
    printed = next(board for board in played.room.boards if board.name == task)
    corners = printed.target.corners_target
    t_s = clock.seconds(sensors.exposed_ns[camera])
    f, n = len(t_s), len(corners)
    T_room_board = np.broadcast_to(printed.T_room_board, (f, 4, 4))
    if moved is not None:
        T_room_board = np.where((t_s >= moved[0])[:, None, None], printed.T_room_board @ moved[1], T_room_board)
    corners_room = geometry.transform(T_room_board[:, None], corners)
    at_s = np.repeat(t_s[:, None], n, axis=1)
    px, seen = np.empty((f, n, 2)), np.zeros((f, n), bool)
    p_cam = np.empty((f, n, 3))
    T_room_cam = np.empty((f, n, 4, 4))
    for _ in range(_ROW_ROUNDS if mount.line_delay_s else 1):
        T_room_cam = played.T_room_cam(camera)(at_s.ravel()).reshape(f, n, 4, 4)
        p_cam = geometry.transform(geometry.inverse(T_room_cam), corners_room)
        px, seen = mount.camera.project(p_cam)
        at_s = t_s[:, None] + np.where(seen, mount.late_s(px), 0.0)
    normal_cam = np.einsum("fnji,fj->fni", T_room_cam[..., :3, :3], T_room_board[:, :3, 2])
    distance_m = np.linalg.norm(p_cam, axis=-1)
    square = np.sum(normal_cam * p_cam, axis=-1) / np.maximum(distance_m, 1e-9)
    seen = seen & (square > np.cos(noise.steepest_rad)) & mount.camera.in_picture(px, noise.border_px)
    px = px + _errors(t_s, n, noise, rng)
    view, which = np.nonzero(seen)
    return BoardViews(sensors.stamped_ns[camera], view, printed.target.ids[which], px[view, which])


def _errors(t_s: Array, n: int, noise: CornerNoise, rng: np.random.Generator) -> Array:
    """(f, n, 2) px."""
    f = len(t_s)
    white = rng.standard_normal((f, n, 2)) * noise.white_px
    fresh = rng.standard_normal((f, n, 2)) * noise.lasting_px + rng.standard_normal((f, 1, 2)) * noise.common_px
    keeps = np.exp(-np.diff(t_s, prepend=t_s[0]) / noise.lasting_s)
    lasting = fresh.copy()
    for k in range(1, f):
        lasting[k] = keeps[k] * lasting[k - 1] + np.sqrt(1 - keeps[k] ** 2) * fresh[k]
    astray = (rng.random((f, n, 1)) < noise.astray) * rng.standard_normal((f, n, 2)) * noise.astray_px
    return white + lasting + astray
