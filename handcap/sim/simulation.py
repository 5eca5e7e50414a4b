"""One simulated recording: the world is played, sensed and written as a session with its truth."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import handcap
from handcap import clock, session
from handcap.errors import UsageError
from handcap.geometry import Array
from handcap.sim import imu, photo, rigs, truth
from handcap.sim.motion import Motion
from handcap.sim.person import HeadParams, head_motion
from handcap.sim.scenes import SCENES
from handcap.types import ImuSamples, Rig

if TYPE_CHECKING:
    from handcap.sim.scene import Scene

RIGS = ("head",)
SHORTEST_S, LONGEST_S = 1.0, 3600.0
MOST_OFFSET_S = 0.5
_MARGIN_S = 1.0  # the IMU runs this long before the first picture and after the last
_UTC_2026_NS = 1_767_225_600 * clock.NS_PER_S  # 2026-01-01T00:00:00Z
# Each purpose draws from its own stream, so that one more number in one place changes nothing elsewhere.
_SCENE, _MOTION, _IMU, _PHOTO, _MOUNTING = range(1, 6)


@dataclass(frozen=True, slots=True)
class SimulationParams:
    """What the virtual rig and its wearer are like.

    Attributes:
        camera_rate_hz: pictures per second.
        head: how lively the wearer is.
        imu: how good this specimen of the IMU is.
        photo: how good the camera is.
        mounting_sd_rad, mounting_sd_m: how far the true camera sits from where rig.json says; 0 is perfectly known.
    """

    camera_rate_hz: float = 20.0
    head: HeadParams = field(default_factory=HeadParams)
    imu: imu.ImuErrors = field(default_factory=imu.ImuErrors)
    photo: photo.PhotoParams = field(default_factory=photo.PhotoParams)
    mounting_sd_rad: float = 0.0
    mounting_sd_m: float = 0.0


def simulate(
    out: Path,
    *,
    scene: str = "kitchen",
    seconds: float = 20.0,
    rig: str = "head",
    seed: int = 0,
    dt_imu_cam_s: float = 0.0,
    params: SimulationParams = SimulationParams(),
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a session of a person in a room, with `truth/` beside it.

    Args:
        out: new or empty folder; it appears whole or not at all.
        scene: which room.
        seconds: length of the video, 1 to 3600.
        rig: which sensors are worn.
        seed: same seed and arguments, same bytes.
        dt_imu_cam_s: true clock offset, t_imu = t_cam + dt; rig.json says 0.
        params: what the sensors and the wearer are like.
        on_progress: called with (pictures done, pictures in all).

    Returns:
        `out`.
    """
    _check(scene, seconds, rig, seed, dt_imu_cam_s)
    out = Path(out)
    with session.new_folder(out) as folder:
        _write(folder, scene, seconds, seed, dt_imu_cam_s, params, on_progress or (lambda done, total: None))
    return out


def _check(scene: str, seconds_: float, rig: str, seed: int, dt_imu_cam_s: float) -> None:
    if scene not in SCENES:
        raise UsageError(f"no scene {scene!r}", mend=f"choose one of: {', '.join(SCENES)}")
    if rig not in RIGS:
        raise UsageError(f"no rig {rig!r}", mend=f"choose one of: {', '.join(RIGS)}")
    if not SHORTEST_S <= seconds_ <= LONGEST_S:  # also catches NaN
        raise UsageError(f"cannot simulate {seconds_} s", mend=f"ask for {SHORTEST_S:g} to {LONGEST_S:g} s")
    if not abs(dt_imu_cam_s) <= MOST_OFFSET_S:
        raise UsageError(f"no clock offset of {dt_imu_cam_s} s", mend=f"stay within ±{MOST_OFFSET_S:g} s")
    if seed < 0:
        raise UsageError(f"no seed {seed}", mend="give a whole number, 0 or more")


def _write(
    folder: Path,
    scene_name: str,
    duration_s: float,
    seed: int,
    dt_imu_cam_s: float,
    params: SimulationParams,
    on_progress: Callable[[int, int], None],
) -> None:
    nominal = rigs.head(seed)
    true_rig = rigs.as_mounted(
        nominal, dt_imu_cam_s, params.mounting_sd_rad, params.mounting_sd_m, np.random.default_rng([seed, _MOUNTING])
    )
    camera = true_rig.cameras["head"]
    model = true_rig.devices["head"].imu
    exposed_ns, imu_ns = _schedule(duration_s, params.camera_rate_hz, model.rate_hz)
    stamped_ns = exposed_ns - clock.nanoseconds(dt_imu_cam_s)

    scene = SCENES[scene_name](np.random.default_rng([seed, _SCENE]))
    until_s = float(clock.seconds(imu_ns[-1]))
    motion = head_motion(scene.standing, params.head, until_s, rigs.HEAD_CAMERA_PITCH_RAD, (seed, _MOTION))
    recording = imu.record(motion, model, params.imu, imu_ns, np.random.default_rng([seed, _IMU]))

    with (
        session.create(folder, _meta(scene_name, seed, true_rig), nominal) as writer,
        writer.start_take() as take,
        closing(_pictures(scene, true_rig, motion, exposed_ns, seed, params)) as pictures,
    ):
        R_chip_imu = true_rig.devices["head"].R_imu_chip.T
        sent = 0
        for k, (t_ns, data) in enumerate(zip(stamped_ns, pictures, strict=True)):
            until = int(np.searchsorted(imu_ns, t_ns))
            _add_imu(take, R_chip_imu, recording.samples, sent, until)
            sent = until
            take.add_image("head", int(t_ns), data, "jpeg")
            on_progress(k + 1, len(stamped_ns))
        _add_imu(take, R_chip_imu, recording.samples, sent, len(imu_ns))

    T_world_room = truth.world_gauge(motion.pose(clock.seconds(exposed_ns[:1]))[0], camera.T_imu_cam)
    truth.write(folder / "truth", true_rig, motion, T_world_room, exposed_ns, stamped_ns, recording)


def _schedule(
    duration_s: float, camera_rate_hz: float, imu_rate_hz: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Instants of mid-exposure and of IMU samples, ns of the session clock, which is the IMU's."""
    frames = np.arange(int(np.floor(duration_s * camera_rate_hz + 1e-9)))
    exposed_ns = clock.nanoseconds(_MARGIN_S + frames / camera_rate_hz)
    samples = np.arange(int(np.floor((clock.seconds(exposed_ns[-1]) + _MARGIN_S) * imu_rate_hz + 1e-9)) + 1)
    return exposed_ns, clock.nanoseconds(samples / imu_rate_hz)


def _meta(scene_name: str, seed: int, rig: Rig) -> session.SessionMeta:
    return session.SessionMeta(
        id=f"simulation-{scene_name}-{rig.rig_id}-{seed}",
        created="2026-01-01T00:00:00Z",
        origin="simulation",
        clock=session.SessionClock(kind="simulation", utc_offset_ns=_UTC_2026_NS),
        scene=scene_name,
        room=f"{scene_name}-{seed}",
        device_uids={name: device.uid for name, device in rig.devices.items() if device.uid},
        versions={"handcap": handcap.__version__},
    )


def _add_imu(take: session.TakeWriter, R_chip_imu: Array, samples: ImuSamples, start: int, end: int) -> None:
    if end > start:
        rows = slice(start, end)
        gyro_chip, accel_chip = samples.gyro_imu[rows] @ R_chip_imu.T, samples.accel_imu[rows] @ R_chip_imu.T
        take.add_imu_si("head", samples.t_ns[rows], gyro_chip, accel_chip)


def _pictures(
    scene: Scene, rig: Rig, motion: Motion, exposed_ns: NDArray[np.int64], seed: int, params: SimulationParams
) -> Generator[bytes]:
    """JPEGs of the head camera in order, rendered a few at a time on all cores; each depends on its number only."""
    from handcap.sim.light import bake
    from handcap.sim.render import Lens, Renderer

    mounted = rig.cameras["head"]
    renderer, lens = Renderer(scene, bake(scene)), Lens(mounted.camera)
    arriving = photo.vignette(mounted.camera, params.photo.vignetting)

    def picture(k: int) -> bytes:
        t_s = clock.seconds(exposed_ns[k : k + 1])
        light = renderer.render(lens, motion.pose(t_s)[0] @ mounted.T_imu_cam)
        gain = photo.exposure(params.photo, float(t_s[0]))
        rng = np.random.default_rng([seed, _PHOTO, k])
        return photo.jpeg(photo.develop(light, arriving, gain, params.photo.noise_grey, rng), params.photo.jpeg_quality)

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[bytes]] = deque()
        try:
            for k in range(len(exposed_ns)):
                waiting.append(pool.submit(picture, k))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
