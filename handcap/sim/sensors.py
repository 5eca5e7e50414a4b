"""The sensors of a virtual rig: when each one samples, on whose clock, and the packets it sends."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from handcap import clock
from handcap.cameras import Camera
from handcap.session.inertial import to_session_clock
from handcap.session.journal import ClockFit
from handcap.sim import imu, photo
from handcap.sim.boardclock import BoardClock, fitted
from handcap.sim.encoder import JawEncoder, encoder_envelopes
from handcap.sim.exposure import Exposures, automatic
from handcap.sim.streams import ImuPacket, Packet, PicturePacket, WirePacket, merged
from handcap.sim.video import H264Encoder
from handcap.sim.world import World
from handcap.types import ImuSamples, Rig

if TYPE_CHECKING:
    from handcap.sim.render import Renderer
    from handcap.sim.simulation import SimulationParams

_MARGIN_S = 1.0  # the IMU runs this long before the first picture and after the last
_IMU_PACKET = 10  # samples
# Each purpose draws from its own stream, so that one more number in one place changes nothing elsewhere.
_IMU, _PHOTO, _CLOCK, _ENCODER = 3, 4, 6, 8
_ENCODER_HZ = 100.0
_METER_EVERY = 5  # pictures: rooms do not change their brightness faster
_LATE_S = 0.05  # boards whose clock must be fitted begin so much later: no stamp is before the session
_WIRE_NS = 800_000  # a message is on its way for this long

Stamps = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Sensors:
    """When everything is sampled.

    Attributes:
        params: what the sensors are like.
        seed: of their noise.
        clocks: of the boards; the first device's clock is the session's and needs none.
        fits: what the host knows of those clocks, and its residual, s.
        imu_ns: (n,) true times of the IMU samples, by device.
        exposed_ns: (k,) true mid-exposures, by camera.
        stamped_ns: (k,) the stamps those pictures get, session clock, by camera.
        encoders: of the jaws, by side.
    """

    params: SimulationParams
    seed: int
    clocks: Mapping[str, BoardClock]
    fits: Mapping[str, tuple[ClockFit, float]]
    imu_ns: Mapping[str, Stamps]
    exposed_ns: Mapping[str, Stamps]
    stamped_ns: Mapping[str, Stamps]
    encoders: Mapping[str, JawEncoder]

    @classmethod
    def of(cls, rig: Rig, duration_s: float, params: SimulationParams, seed: int) -> Sensors:
        """Sensors of a rig that runs for `duration_s`."""
        frames = np.arange(int(np.floor(duration_s * params.camera_rate_hz + 1e-9)))
        exposed = clock.nanoseconds(_MARGIN_S + frames / params.camera_rate_hz)
        last_s = float(clock.seconds(exposed[-1])) + _MARGIN_S
        clocks: dict[str, BoardClock] = {}
        fits: dict[str, tuple[ClockFit, float]] = {}
        for k, name in enumerate(list(rig.devices)[1:] if params.clock_errors else []):
            rng = np.random.default_rng([seed, _CLOCK, k])
            clocks[name] = BoardClock.drawn(rng)
            fits[name] = fitted(clocks[name], 0.0, last_s, rng)
        imu_ns: dict[str, Stamps] = {}
        for name, device in rig.devices.items():
            rate_hz = device.imu.rate_hz
            start = int(_LATE_S * rate_hz) if name in clocks else 0
            imu_ns[name] = clock.nanoseconds(np.arange(start, int(np.floor(last_s * rate_hz + 1e-9)) + 1) / rate_hz)
        serial = np.random.default_rng([seed, _ENCODER])
        sensors = cls(
            params=params,
            seed=seed,
            clocks=clocks,
            fits=fits,
            imu_ns=imu_ns,
            exposed_ns=dict.fromkeys(rig.cameras, exposed),
            stamped_ns={},
            encoders={side: JawEncoder.drawn(serial) for side in rig.grippers},
        )
        # A camera is triggered by its board, whose clock stamps it.
        stamped_ns = {
            name: sensors.as_stamped(camera.device, exposed) - clock.nanoseconds(camera.dt_imu_cam_s)
            for name, camera in rig.cameras.items()
        }
        return replace(sensors, stamped_ns=stamped_ns)

    def as_stamped(self, device: str, t_ns: Stamps) -> Stamps:
        """What the host makes of a board's stamps of true times (n,): session clock, wrong by the fit's residual."""
        if device not in self.clocks:
            return t_ns
        return to_session_clock(self.clocks[device].stamps(t_ns), [self.fits[device][0]])

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
        jaws = [self._encoder_packets(side) for side in self.sensors.encoders]
        try:
            yield from merged([pictures, *inertial, *jaws])
        finally:
            pictures.close()

    def _imu_packets(self, device: str) -> Iterator[Packet]:
        R_chip_imu = self.world.rig.devices[device].R_imu_chip.T
        samples = self.imu[device].samples
        for start in range(0, len(samples), _IMU_PACKET):
            rows = slice(start, start + _IMU_PACKET)
            gyro, accel = samples.gyro_imu[rows] @ R_chip_imu.T, samples.accel_imu[rows] @ R_chip_imu.T
            yield ImuPacket(int(samples.t_ns[start]), device, ImuSamples(samples.t_ns[rows], gyro, accel))

    def _encoder_packets(self, side: str) -> Iterator[Packet]:
        sensors = self.sensors
        t_ns = clock.nanoseconds(np.arange(_LATE_S, sensors.end_s, 1 / _ENCODER_HZ))
        rng = np.random.default_rng([sensors.seed, _ENCODER, list(sensors.encoders).index(side) + 1])
        opening_m = self.world.opening_m["left" if side == "left" else "right"].at(clock.seconds(t_ns))[:, 0]
        counts = sensors.encoders[side].counts(opening_m, rng)
        shown_ns = sensors.clocks[side].stamps(t_ns) if side in sensors.clocks else t_ns
        received_ns = sensors.as_stamped(side, t_ns) + _WIRE_NS
        for last, envelope in encoder_envelopes(shown_ns, counts, boot_id=int(rng.integers(1, 2**32))):
            yield WirePacket(int(received_ns[last]), side, envelope)


def sense(world: World, sensors: Sensors) -> Recording:
    """Let the inertial sensors run over the whole world; pictures are made when they are asked for."""
    recordings: dict[str, imu.ImuRecording] = {}
    for k, (device, t_ns) in enumerate(sensors.imu_ns.items()):
        rng = np.random.default_rng([sensors.seed, _IMU, k])
        model = world.rig.devices[device].imu
        recorded = imu.record(world.motion[device], model, sensors.params.imu, t_ns, rng)
        samples = replace(recorded.samples, t_ns=sensors.as_stamped(device, t_ns))
        recordings[device] = replace(recorded, samples=samples)
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

    exposures = {name: _exposures(renderer, world, sensors, name) for name in names}
    encode = {name: _encoder(params, world.rig.cameras[name].camera) for name in names}

    def picture(name: str, k: int) -> NDArray[np.uint8]:
        t_s = float(clock.seconds(sensors.exposed_ns[name][k]))
        exposure_s = float(exposures[name].exposure_s[k]) if params.blur else 0.0
        shutter = Shutter(t_s, world.rig.cameras[name].line_delay_s, exposure_s)
        light = renderer.render(lenses[name], Shot(shutter, world.T_room_cam(name), world.bodies, world.skins(t_s)))
        gain, grey_per_light = float(exposures[name].gain[k]), exposures[name].brightness[k]
        rows_s = shutter.row_times(len(light))
        lamps = params.flicker.row_gain(rows_s, exposures[name].exposure_s[k]) if params.flicker else 1.0
        rng = np.random.default_rng([sensors.seed, _PHOTO, names.index(name), k])
        noise = params.noise
        return photo.develop(
            light,
            arriving[name],
            np.float32(grey_per_light) * lamps,
            noise.read_grey(gain),
            rng,
            shot_grey=noise.shot_grey(gain),
        )

    def packet(t_ns: int, name: str, developed: Future[NDArray[np.uint8]]) -> PicturePacket:
        return PicturePacket(t_ns, name, encode[name](developed.result()), params.codec)

    order = sorted((int(t_ns), name, k) for name in names for k, t_ns in enumerate(sensors.stamped_ns[name]))
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[int, str, Future[NDArray[np.uint8]]]] = deque()
        try:
            for done, (t_ns, name, k) in enumerate(order):
                waiting.append((t_ns, name, pool.submit(picture, name, k)))
                if len(waiting) > workers:
                    yield packet(*waiting.popleft())
                    on_progress(done + 1 - len(waiting), len(order))
            while waiting:
                yield packet(*waiting.popleft())
                on_progress(len(order) - len(waiting), len(order))
        finally:
            for *_, future in waiting:
                future.cancel()


def _exposures(renderer: Renderer, world: World, sensors: Sensors, name: str) -> Exposures:
    """What automatic exposure makes of every picture of a camera, from thumbnails of the room without things in it."""
    from handcap.sim.render import Lens, Shot, Shutter

    lens = Lens(world.rig.cameras[name].camera.scaled(1 / 16))
    t_s = clock.seconds(sensors.exposed_ns[name])
    some = np.unique(np.append(np.arange(0, len(t_s), _METER_EVERY), len(t_s) - 1))
    seen = [renderer.render(lens, Shot(Shutter(float(t_s[k])), world.T_room_cam(name))).mean() for k in some]
    return automatic(sensors.params.exposure, np.interp(np.arange(len(t_s)), some, seen))


def _encoder(params: SimulationParams, camera: Camera) -> Callable[[NDArray[np.uint8]], bytes]:
    if params.codec == "h264":
        return H264Encoder(camera.width, camera.height, params.camera_rate_hz).encode
    return lambda picture: photo.jpeg(picture, params.photo.jpeg_quality)
