"""The sensors of a virtual rig: when each one samples, on whose clock, and the packets it sends."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from handcap import clock
from handcap.sim import imu, photo
from handcap.sim.streams import ImuPacket, Packet, PicturePacket, merged
from handcap.sim.world import World
from handcap.types import ImuSamples, Rig

if TYPE_CHECKING:
    from handcap.sim.simulation import SimulationParams

_MARGIN_S = 1.0  # the IMU runs this long before the first picture and after the last
_IMU_PACKET = 10  # samples
# Each purpose draws from its own stream, so that one more number in one place changes nothing elsewhere.
_IMU, _PHOTO = 3, 4

Stamps = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Sensors:
    """When everything is sampled.

    Attributes:
        params: what the sensors are like.
        seed: of their noise.
        imu_ns: (n,) true times of the IMU samples, by device.
        exposed_ns: (k,) true mid-exposures, by camera.
        stamped_ns: (k,) the stamps those pictures get, session clock, by camera.
    """

    params: SimulationParams
    seed: int
    imu_ns: Mapping[str, Stamps]
    exposed_ns: Mapping[str, Stamps]
    stamped_ns: Mapping[str, Stamps]

    @classmethod
    def of(cls, rig: Rig, duration_s: float, params: SimulationParams, seed: int) -> Sensors:
        """Sensors of a rig that runs for `duration_s`."""
        frames = np.arange(int(np.floor(duration_s * params.camera_rate_hz + 1e-9)))
        exposed = clock.nanoseconds(_MARGIN_S + frames / params.camera_rate_hz)
        last_s = float(clock.seconds(exposed[-1])) + _MARGIN_S
        imu_ns: dict[str, Stamps] = {}
        for name, device in rig.devices.items():
            rate_hz = device.imu.rate_hz
            imu_ns[name] = clock.nanoseconds(np.arange(int(np.floor(last_s * rate_hz + 1e-9)) + 1) / rate_hz)
        exposed_ns = dict.fromkeys(rig.cameras, exposed)
        stamped_ns = {name: exposed - clock.nanoseconds(camera.dt_imu_cam_s) for name, camera in rig.cameras.items()}
        return cls(params, seed, imu_ns, exposed_ns, stamped_ns)

    @property
    def end_s(self) -> float:
        return float(clock.seconds(max(int(t_ns[-1]) for t_ns in self.imu_ns.values())))


@dataclass(frozen=True, eq=False, slots=True)
class Recording:
    """A world as its sensors give it out.

    Attributes:
        world: what is sensed.
        sensors: by what.
        imu: every device's samples, imu axes, stamped on the session clock, with their true errors.
    """

    world: World
    sensors: Sensors
    imu: Mapping[str, imu.ImuRecording]

    def packets(self, on_progress: Callable[[int, int], None]) -> Generator[Packet]:
        """Everything in the order of its stamps; pictures are made a few ahead on all cores."""
        pictures = _pictures(self.world, self.sensors, on_progress)
        inertial = [self._imu_packets(device) for device in self.imu]
        try:
            yield from merged([pictures, *inertial])
        finally:
            pictures.close()

    def _imu_packets(self, device: str) -> Iterator[Packet]:
        R_chip_imu = self.world.rig.devices[device].R_imu_chip.T
        samples = self.imu[device].samples
        for start in range(0, len(samples), _IMU_PACKET):
            rows = slice(start, start + _IMU_PACKET)
            gyro, accel = samples.gyro_imu[rows] @ R_chip_imu.T, samples.accel_imu[rows] @ R_chip_imu.T
            yield ImuPacket(int(samples.t_ns[start]), device, ImuSamples(samples.t_ns[rows], gyro, accel))


def sense(world: World, sensors: Sensors) -> Recording:
    """Let the inertial sensors run over the whole world; pictures are made when they are asked for."""
    recordings: dict[str, imu.ImuRecording] = {}
    for k, (device, t_ns) in enumerate(sensors.imu_ns.items()):
        rng = np.random.default_rng([sensors.seed, _IMU, k])
        model = world.rig.devices[device].imu
        recordings[device] = imu.record(world.motion[device], model, sensors.params.imu, t_ns, rng)
    return Recording(world, sensors, recordings)


def _pictures(world: World, sensors: Sensors, on_progress: Callable[[int, int], None]) -> Generator[PicturePacket]:
    """Pictures of all cameras in the order of their stamps; each depends on its camera and number only."""
    from handcap.sim.light import bake
    from handcap.sim.render import Lens, Renderer, Shot, Shutter

    params = sensors.params
    renderer = Renderer(world.scene, bake(world.scene))
    names = list(world.rig.cameras)
    lenses = {name: Lens(world.rig.cameras[name].camera) for name in names}
    arriving = {name: photo.vignette(world.rig.cameras[name].camera, params.photo.vignetting) for name in names}

    def picture(name: str, k: int) -> bytes:
        t_s = float(clock.seconds(sensors.exposed_ns[name][k]))
        shutter = Shutter(t_s, world.rig.cameras[name].line_delay_s, 0.008 if params.blur else 0.0)
        light = renderer.render(lenses[name], Shot(shutter, world.T_room_cam(name), world.bodies, world.skins(t_s)))
        gain = photo.exposure(params.photo, t_s)
        rng = np.random.default_rng([sensors.seed, _PHOTO, names.index(name), k])
        developed = photo.develop(light, arriving[name], gain, params.photo.noise_grey, rng)
        return photo.jpeg(developed, params.photo.jpeg_quality)

    order = sorted((int(t_ns), name, k) for name in names for k, t_ns in enumerate(sensors.stamped_ns[name]))
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[int, str, Future[bytes]]] = deque()
        try:
            for done, (t_ns, name, k) in enumerate(order):
                waiting.append((t_ns, name, pool.submit(picture, name, k)))
                if len(waiting) > workers:
                    yield _next(waiting)
                    on_progress(done + 1 - len(waiting), len(order))
            while waiting:
                yield _next(waiting)
                on_progress(len(order) - len(waiting), len(order))
        finally:
            for *_, future in waiting:
                future.cancel()


def _next(waiting: deque[tuple[int, str, Future[bytes]]]) -> PicturePacket:
    t_ns, name, future = waiting.popleft()
    return PicturePacket(t_ns, name, future.result(), "jpeg")
