"""The pictures of all cameras, made on all cores.

Each depends on its camera and number only, so who makes it does not show. A few are made by threads, which often wait
for each other; many by processes, each of which furnishes the same world once more.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from handcap import clock
from handcap.ahead import ahead
from handcap.child import Child, ChildEnded, Say, cores
from handcap.errors import SessionError
from handcap.geometry import Array
from handcap.sim import faults, photo
from handcap.sim.exposure import Exposures, automatic, metered
from handcap.sim.once import once
from handcap.sim.streams import PicturePacket
from handcap.sim.video import H264Encoder

if TYPE_CHECKING:
    from handcap.sim.render import PoseAt, Renderer
    from handcap.sim.sensors import Sensors
    from handcap.sim.world import World

_PHOTO = 4  # stream of random numbers that makes the noise of the pixels
_METER_EVERY = 5  # pictures: rooms do not change their brightness faster
_AHEAD = 2  # pictures begun per core before the first of them is written
_SHARE = 100  # pictures that are worth a helper

Made = NDArray[np.uint8] | bytes
MakeWorld = Callable[[], "World"]


@contextmanager
def crew(make_world: MakeWorld, sensors: Sensors) -> Iterator[Sequence[Child]]:
    """Helpers for the pictures of one recording, at work until the context ends; none for a short one.

    Args:
        make_world: makes the world once more, in another process: a function of a module, or a `partial` of one.
        sensors: that look at it.
    """
    members = max(min(cores(), len(in_order(sensors)) // _SHARE), 1)
    with ExitStack() as hired:
        jobs = [(make_world, sensors, member, members) for member in range(1, members)]
        yield [hired.enter_context(closing(Child(_help, job))) for job in jobs]


def _help(job: tuple[MakeWorld, Sensors, int, int], say: Say) -> None:
    import cv2

    cv2.setNumThreads(1)  # the other cores have members of their own
    make_world, sensors, member, members = job
    studio = Studio(make_world(), sensors, threads=1)
    for _, name, k in in_order(sensors):
        if k % members == member:
            say(studio.finished(name, k))


def in_order(sensors: Sensors) -> list[tuple[int, str, int]]:
    """Stamp, camera and number in the schedule of every recorded picture, in the order in which they are exposed."""
    found = [
        (int(exposed_ns), int(t_ns), name, int(k))
        for name, shown in sensors.shown.items()
        for k, exposed_ns, t_ns in zip(shown, sensors.exposed_ns[name], sensors.stamped_ns[name], strict=True)
    ]
    return [(t_ns, name, k) for _, t_ns, name, k in sorted(found)]


def pictures(
    world: World, sensors: Sensors, helpers: Sequence[Child], on_progress: Callable[[int, int], None]
) -> Generator[PicturePacket]:
    """Pictures of all cameras in the order in which they are exposed.

    Raises:
        SessionError: a helper died.
    """
    order = in_order(sensors)
    studio = Studio(world, sensors, threads=1 if helpers else 0)
    # Pictures that stand alone are compressed where they were made, those of a stream in their order.
    rate_hz = sensors.params.camera_rate_hz
    streams = {name: H264Encoder(lens.width, lens.height, rate_hz) for name, lens in studio.lenses.items()}
    work = [(name, k) for _, name, k in order]
    made = _with_helpers(studio, work, helpers) if helpers else _with_threads(studio, work)
    with closing(made):
        for done, ((t_ns, name, _), data) in enumerate(zip(order, made, strict=True), start=1):
            data = data if isinstance(data, bytes) else streams[name].encode(data)
            yield PicturePacket(t_ns, name, data, sensors.params.codec)
            on_progress(done, len(order))


def _with_helpers(studio: Studio, work: Sequence[tuple[str, int]], helpers: Sequence[Child]) -> Generator[Made]:
    for name, k in work:
        turn = k % (len(helpers) + 1)  # cameras that look at the same time see the same hands
        try:
            yield next(helpers[turn - 1]) if turn else studio.finished(name, k)
        except ChildEnded as ended:
            raise SessionError(f"a process that made pictures {ended.how}", mend=ended.mend) from None


def _with_threads(studio: Studio, work: Sequence[tuple[str, int]]) -> Generator[Made]:
    # One thread more than cores: somebody always waits for Python.
    return ahead(lambda each: studio.finished(*each), work, cores() + 1, _AHEAD * cores())


class Studio:
    """Makes single pictures of a world; several threads may ask at once.

    Attributes:
        lenses: of all cameras.
    """

    def __init__(self, world: World, sensors: Sensors, threads: int = 0) -> None:
        from handcap.sim.lens import Lens
        from handcap.sim.render import Renderer

        self._world, self._sensors = world, sensors
        self._renderer = Renderer(world.scene, world.light, threads)
        self._names = list(world.rig.cameras)
        self.lenses = {name: Lens(camera.camera) for name, camera in world.rig.cameras.items()}
        loss = sensors.params.photo.vignetting
        self._arriving = {name: photo.vignette(camera.camera, loss) for name, camera in world.rig.cameras.items()}
        self._striking = {
            name: [fault for fault in sensors.params.faults if fault.strikes_camera(name, camera.device)]
            for name, camera in world.rig.cameras.items()
        }
        self._skins = once(world.skins)
        self._exposures = {name: _exposures(self._renderer, world, sensors, name) for name in self._names}

    def finished(self, name: str, k: int) -> Made:
        """The k-th picture of a camera's schedule: a JPEG, or pixels (h, w, 3) for a stream."""
        pixels = self._picture(name, k)
        params = self._sensors.params
        return pixels if params.codec == "h264" else photo.jpeg(pixels, params.photo.jpeg_quality)

    def _picture(self, name: str, k: int) -> NDArray[np.uint8]:
        from handcap.sim.render import Shot, Shutter

        world, sensors, params = self._world, self._sensors, self._sensors.params
        t_ns = int(sensors.schedule_ns[k])
        t_s = float(clock.seconds(t_ns))
        exposures = self._exposures[name]
        exposure_s, gain = float(exposures.exposure_s[k]), float(exposures.gain[k])
        shutter = Shutter(t_s, world.rig.cameras[name].line_delay_s, exposure_s if params.blur else 0.0)
        shot = Shot(shutter, _camera_pose(world, sensors, name), world.bodies, self._skins(t_s))
        light = photo.focus(self._renderer.render(self.lenses[name], shot), params.photo.blur_px)
        for fault in self._striking[name]:
            light = faults.light_after(fault, light, t_ns)
        brightness = np.full(len(light), exposures.brightness[k])
        flicker = next((lamp for f in self._striking[name] if (lamp := faults.flicker_in(f, t_ns))), params.flicker)
        if flicker is not None:
            brightness *= flicker.row_gain(shutter.row_times(len(light)), exposure_s)
        return photo.develop(
            light,
            self._arriving[name],
            brightness.astype(np.float32),
            params.noise.read_grey(gain),
            np.random.default_rng([sensors.seed, _PHOTO, self._names.index(name), k]),
            shot_grey=params.noise.shot_grey(gain),
        )


def depth_pictures(world: World, sensors: Sensors) -> Iterator[tuple[str, int, NDArray[np.uint16]]]:
    """Camera, true mid-exposure [ns] and depth along its z axis [mm, 0 unknown] of every recorded picture."""
    from handcap.sim.lens import Lens
    from handcap.sim.render import Renderer, Shot, Shutter

    renderer = Renderer(world.scene, world.light)
    for name, camera in world.rig.cameras.items():
        lens, pose = Lens(camera.camera), _camera_pose(world, sensors, name)
        for t_ns in sensors.exposed_ns[name]:
            t_s = float(clock.seconds(t_ns))
            shot = Shot(Shutter(t_s, camera.line_delay_s), pose, world.bodies, world.skins(t_s))
            depth_mm = np.nan_to_num(1000 * renderer.depth(lens, shot))
            yield name, int(t_ns), np.rint(np.clip(depth_mm, 0, 65535)).astype(np.uint16)


def _camera_pose(world: World, sensors: Sensors, name: str) -> PoseAt:
    """Where a camera is, screws that give way included."""
    mounted = world.T_room_cam(name)
    slips = [fault for fault in sensors.params.faults if fault.kind == "mount_slip" and fault.name == name]

    def pose(t_s: Array) -> Array:
        T = mounted(t_s)
        for fault in slips:
            T = T @ faults.slip(fault, t_s, sensors.fault_rng(fault))
        return T

    return pose


def _exposures(renderer: Renderer, world: World, sensors: Sensors, name: str) -> Exposures:
    """What automatic exposure makes of every picture of a camera, from thumbnails of the room without things in it."""
    from handcap.sim.lens import Lens
    from handcap.sim.render import Shot, Shutter

    lens = Lens(world.rig.cameras[name].camera.scaled(1 / 16))
    t_s = clock.seconds(sensors.schedule_ns)
    some = np.unique(np.append(np.arange(0, len(t_s), _METER_EVERY), len(t_s) - 1))
    params, every = sensors.params.exposure, np.arange(len(t_s))
    pose = world.T_room_cam(name)
    seen = np.array([metered(params, renderer.render(lens, Shot(Shutter(float(t_s[k])), pose))) for k in some])
    return automatic(params, np.stack([np.interp(every, some, column) for column in seen.T], axis=-1))
