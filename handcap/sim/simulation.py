"""One simulated recording: the world is played, sensed and written as a session with its truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

import handcap
from handcap import clock, session
from handcap.errors import UsageError
from handcap.sim import faults, imu, photo, rigs, truth, world
from handcap.sim.bench_tasks import BENCH_TASKS
from handcap.sim.exposure import ExposureParams, Flicker, SensorNoise
from handcap.sim.faults import Fault
from handcap.sim.person import HeadParams
from handcap.sim.pictures import crew
from handcap.sim.scenes import SCENES
from handcap.sim.sensors import Sensors, sense
from handcap.sim.tasks import TASKS
from handcap.types import Rig, Trajectory

SHORTEST_S, LONGEST_S = 1.0, 3600.0
MOST_OFFSET_S = 0.5
MOST_ROWS = 480  # of every virtual camera
_UTC_2026_NS = 1_767_225_600 * clock.NS_PER_S  # 2026-01-01T00:00:00Z
_SEEDS_APART = 7919  # of the sensors' noise from take to take
_SPECIMEN = 5  # stream of random numbers that makes the rig's mounting errors


@dataclass(frozen=True, slots=True)
class SimulationParams:
    """What the virtual rig and its wearer are like.

    Attributes:
        task: what the person does: a name of `tasks.TASKS`, "look" to look about with empty hands; None chooses by rig.
        camera_rate_hz: pictures per second.
        line_delay_s: of every camera; 0 is a global shutter.
        blur: whether motion during the exposure shows.
        codec: of the pictures.
        head: how lively the wearer is.
        imu: how good this specimen of the IMU is.
        photo: lens and compression.
        exposure: how the cameras choose exposure and gain.
        noise: of their pixels.
        flicker: of the lamps; None for daylight.
        scatter: how far the true cameras are from what rig.json says.
        clock_errors: whether every board keeps its own time and only a fit of it is known.
        serial: which specimen of the rig: its mounting, lens, IMU and encoder errors; None for one of its own per seed.
        faults: what goes wrong.
        depth: whether truth/depth gets a depth picture for every picture.
        later: how lively the wearer is in each further take of the session: the same room, rig and task, another
            motion, no faults; the stamps of every take begin at 0.
    """

    task: str | None = None
    camera_rate_hz: float = 20.0
    line_delay_s: float = 0.0
    blur: bool = False
    codec: Literal["jpeg", "h264"] = "jpeg"
    head: HeadParams = field(default_factory=HeadParams)
    imu: imu.ImuErrors = field(default_factory=imu.ImuErrors)
    photo: photo.PhotoParams = field(default_factory=photo.PhotoParams)
    exposure: ExposureParams = field(default_factory=ExposureParams)
    noise: SensorNoise = field(default_factory=SensorNoise)
    flicker: Flicker | None = None
    scatter: rigs.Scatter = rigs.CALIBRATED
    clock_errors: bool = True
    serial: int | None = None
    faults: Sequence[Fault] = ()
    depth: bool = False
    later: Sequence[HeadParams] = ()

    def serial_for(self, seed: int) -> int:
        """The serial number of the rig in a session of this seed."""
        return seed if self.serial is None else self.serial


def simulate(
    out: Path,
    *,
    scene: str = "kitchen",
    seconds: float = 20.0,
    rig: str = "head",
    seed: int = 0,
    dt_imu_cam_s: float = 0.0,
    params: SimulationParams = SimulationParams(),
    head_path: Trajectory | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a session of a person in a room, with `truth/` beside it.

    Args:
        out: new or empty folder; it appears whole or not at all.
        scene: which room.
        seconds: length of the video, 1 to 3600.
        rig: which sensors are worn, see `rigs.parse`.
        seed: same seed and arguments, same bytes.
        dt_imu_cam_s: true clock offset of every camera, t_imu = t_cam + dt; rig.json says 0.
        params: what the sensors and the wearer are like.
        head_path: a path for the head's IMU to follow, moved to where people stand; the task is then "look".
        on_progress: called with (pictures done, pictures in all).

    Returns:
        `out`.

    Raises:
        UsageError: a wish that cannot be granted.
    """
    _check(scene, seconds, seed, dt_imu_cam_s, params)
    task = _task(params.task, rigs.parse(rig))
    if head_path is not None and (task != world.LOOK or rigs.parse(rig).head is None):
        raise UsageError("a given path needs a head, and hands with nothing to do", mend="use --rig head --task look")
    out = Path(out)
    with session.new_folder(out) as folder:
        report = on_progress or (lambda done, total: None)
        _write(folder, scene, seconds, rig, task, seed, dt_imu_cam_s, params, head_path, report)
    return out


def _check(scene: str, seconds_: float, seed: int, dt_imu_cam_s: float, params: SimulationParams) -> None:
    if scene not in SCENES:
        raise UsageError(f"no scene {scene!r}", mend=f"choose one of: {', '.join(SCENES)}")
    if not SHORTEST_S <= seconds_ <= LONGEST_S:  # also catches NaN
        raise UsageError(f"cannot simulate {seconds_} s", mend=f"ask for {SHORTEST_S:g} to {LONGEST_S:g} s")
    if not abs(dt_imu_cam_s) <= MOST_OFFSET_S:
        raise UsageError(f"no clock offset of {dt_imu_cam_s} s", mend=f"stay within ±{MOST_OFFSET_S:g} s")
    readout_s, period_s = MOST_ROWS * params.line_delay_s, 1 / params.camera_rate_hz
    if not 0 <= readout_s <= period_s:
        most_us = 1e6 * period_s / MOST_ROWS
        raise UsageError(
            f"a picture of {MOST_ROWS} rows takes {1e3 * readout_s:g} ms to read and comes every {1e3 * period_s:g} ms",
            mend=f"give a line delay of 0 to {np.floor(most_us):g} µs",
        )
    for name, number in (("seed", seed), ("serial number", params.serial_for(seed))):
        if number < 0:
            raise UsageError(f"no {name} {number}", mend="give a whole number, 0 or more")


def _task(wanted: str | None, worn: rigs.Worn) -> str:
    idle = not worn.grippers and not worn.bare
    task = wanted or (world.LOOK if idle else "tidy")
    known = [world.LOOK, *TASKS, *BENCH_TASKS]
    if task not in known:
        raise UsageError(f"no task {task!r}", mend=f"choose one of: {', '.join(known)}")
    if task == world.LOOK and worn.grippers:
        raise UsageError("nobody moves the grippers in the task 'look'", mend=f"choose one of: {', '.join(known[1:])}")
    return task


def _write(
    folder: Path,
    scene: str,
    duration_s: float,
    rig: str,
    task: str,
    seed: int,
    dt_imu_cam_s: float,
    params: SimulationParams,
    head_path: Trajectory | None,
    on_progress: Callable[[int, int], None],
) -> None:
    serial = params.serial_for(seed)
    drawn = rigs.drawn(rig, serial, params.line_delay_s)
    faults.check(params.faults, drawn)
    rng = np.random.default_rng([serial, _SPECIMEN])
    mounted = rigs.specimen(drawn, params.scatter, rng)
    known = mounted if params.scatter == rigs.CALIBRATED else drawn
    true_rig = rigs.with_offset(mounted, dt_imu_cam_s)
    heads = (params.head, *params.later)
    T_world_room = None
    with session.create(folder, _meta(scene, task, seed, true_rig), known) as writer:
        for k, head in enumerate(heads):
            of_take = params if k == 0 else replace(params, serial=serial, faults=())
            sensors = Sensors.of(true_rig, duration_s, of_take, seed + _SEEDS_APART * k)
            make_world = partial(
                world.build, scene, true_rig, rigs.parse(rig), task, head, sensors.end_s, seed, head_path, k
            )

            def report(done: int, total: int, k: int = k) -> None:
                on_progress(k * total + done, len(heads) * total)

            with crew(make_world, sensors) as helpers:
                played = make_world()
                recording = sense(played, sensors)
                with writer.start_take() as take, closing(recording.packets(report, helpers)) as packets:
                    for device, (fit, residual_s) in sensors.fits.items():
                        fitted = (fit.t_ns, fit.dt_session_device_s, fit.skew, residual_s)
                        writer.journal.clock_fit(device, *fitted, take=take.id)
                    for device in sensors.encoders:
                        if device not in sensors.fits:  # its clock is the session's
                            writer.journal.clock_fit(device, 0, 0.0, 0.0, 0.0, take=take.id)
                    for packet in packets:
                        packet.record(take)
            into = folder / "truth" if k == 0 else folder / "truth" / take.id
            T_world_room = truth.write(into, played, sensors, recording, take.id, T_world_room)


def _meta(scene: str, task: str, seed: int, rig: Rig) -> session.SessionMeta:
    return session.SessionMeta(
        id=f"simulation-{scene}-{rig.rig_id}-{seed}",
        created="2026-01-01T00:00:00Z",
        origin="simulation",
        clock=session.SessionClock(kind="simulation", utc_offset_ns=_UTC_2026_NS),
        scene=scene,
        room=f"{scene}-{seed}",
        task=task,
        device_uids={name: device.uid for name, device in rig.devices.items() if device.uid},
        versions={"handcap": handcap.__version__},
    )
