"""One take of a whole rig: what it holds, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from handcap.causes import Cause, Verdict
from handcap.geometry import Array
from handcap.measure.timed_pictures import TimedPictures
from handcap.reconstruct.hands import HandJudgement, HandResult
from handcap.reconstruct.hands.worn import WornBones
from handcap.reconstruct.jaw import JawWidth
from handcap.reconstruct.result import Reconstruction
from handcap.reconstruct.session_map import Earlier
from handcap.types import Frame, ImuSamples, JawReadings, Rig, Stamps, Trajectory


class Frames(Protocol):
    """Pictures of a camera, one of `of` so many; of these stamps only, if any are given."""

    def __call__(self, camera: str, of: int = 1, only: Collection[int] | None = None) -> Iterator[Frame]: ...


_IMU_AROUND_NS = 1_000_000_000  # samples beside the pictures of a part: clocks differ, and their offset is looked for
Spans = tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False, slots=True)
class Recording:
    """What a take holds of one rig, read when it is asked for.

    Attributes:
        rig: its calibration.
        cameras: the camera to follow, by device; the first device's world is everybody's.
        recorded: all cameras with pictures.
        stamps: of all pictures of a camera: as recorded, or of their exposures (`timed`).
        frames: grey pictures of a camera from the beginning, each time it is called; one of so many, if asked.
        imu: samples of a device.
        jaw: encoder readings of a gripper.
        missing: devices that were worn and lack pictures or samples, and what to say of it.
        colour: the same pictures in RGB; without it no bare hands are looked for.
        worn: the wearer's bones, from earlier takes.
        earlier: takes of the session before this one, where it may use what they know.
        timed: what stamps are, by camera, of those that are on a trigger or may be.
        all_pictures: the same with every picture, where this holds only some.
    """

    rig: Rig
    cameras: Mapping[str, str]
    recorded: Collection[str]
    stamps: Callable[[str], Stamps]
    frames: Frames
    imu: Callable[[str], ImuSamples]
    jaw: Callable[[str], JawReadings]
    missing: Mapping[str, Cause] = field(default_factory=dict)
    colour: Frames | None = None
    worn: WornBones | None = None
    earlier: Earlier | None = None
    timed: Mapping[str, TimedPictures] = field(default_factory=dict)
    all_pictures: Callable[[], Recording] | None = None

    def part(self, start_ns: int, end_ns: int) -> Recording:
        """What it holds of the pictures with stamps, as recorded, start_ns <= t < end_ns."""

        def stamps(camera: str) -> Stamps:
            t_ns = self.stamps(camera)
            return t_ns[(t_ns >= start_ns) & (t_ns < end_ns)]

        def within(frames: Frames) -> Frames:
            def some(camera: str, of: int = 1, only: Collection[int] | None = None) -> Iterator[Frame]:
                wanted = set(stamps(camera)[::of].tolist())
                return frames(camera, only=wanted if only is None else wanted.intersection(only))

            return some

        def imu(device: str) -> ImuSamples:
            return self.imu(device).between(start_ns - _IMU_AROUND_NS, end_ns + _IMU_AROUND_NS)

        colour = None if self.colour is None else within(self.colour)
        every = self.all_pictures
        return replace(
            self,
            stamps=stamps,
            frames=within(self.frames),
            imu=imu,
            colour=colour,
            all_pictures=None if every is None else lambda: every().part(start_ns, end_ns),
        )

    def as_recorded(self, device: str, t_ns: Stamps) -> Stamps:
        """Stamps of pictures of a device's camera to follow, as they lie on the disk."""
        timed = self.timed.get(self.cameras[device])
        return t_ns if timed is None else timed.as_recorded(t_ns)

    def others(self, device: str) -> list[str]:
        """Cameras on a device beside the one to follow."""
        known = self.rig.cameras
        return [c for c in self.recorded if c in known and known[c].device == device and c != self.cameras[device]]


@dataclass(frozen=True, eq=False, slots=True)
class BodyResult:
    """One body in the take's world.

    Attributes:
        verdict, spans_ok_s: of this body alone; spans from the first picture of its own camera.
        poses: a row per picture of its own camera.
        dense: a row per IMU sample.
        rel_sigma_1s: rms sigma of the motion over one second per axis, m and rad.
        jaw: opening, of a gripper.
    """

    verdict: Verdict
    spans_ok_s: Spans
    poses: Trajectory
    dense: Trajectory
    rel_sigma_1s: tuple[float | None, float | None]
    jaw: JawWidth | None


@dataclass(frozen=True, eq=False, slots=True)
class Whole:
    """What became of a take.

    Attributes:
        verdict, causes, spans_ok_s: of everything worn together; spans from the first picture of the first device.
        devices: each one's own reconstruction, in its own world.
        bodies: by name: head, left_tcp, right_tcp; those that have a trajectory.
        numbers: by body, what tie and jaw rest on.
        seconds: time by step; steps of several devices may run at the same time.
        hands: bare ones that were seen, by body: left_hand, right_hand.
        hand_judgements: of all that were looked for, seen or not; they change nothing about the other bodies.
    """

    verdict: Verdict
    causes: tuple[Cause, ...]
    spans_ok_s: Spans
    devices: Mapping[str, Reconstruction]
    bodies: Mapping[str, BodyResult]
    numbers: Mapping[str, Mapping[str, float]]
    seconds: Mapping[str, float]
    hands: Mapping[str, HandResult] = field(default_factory=dict)
    hand_judgements: Mapping[str, HandJudgement] = field(default_factory=dict)


def body_of(device: str) -> str:
    """The body that a device's trajectory is written for."""
    return "head" if device == "head" else f"{device}_tcp"


def device_of(body: str) -> str:
    """The device whose camera gives a body's rows."""
    return body.removesuffix("_tcp") if body.endswith("_tcp") else "head"


def tool_on_imu(rig: Rig, device: str) -> Array | None:
    """(4, 4) tool frame of a gripper on its IMU; None where rig.json does not say."""
    gripper, mount = rig.grippers.get(device), rig.cameras.get(device)
    if gripper is None or gripper.T_cam_tcp is None or mount is None:
        return None
    return mount.T_imu_cam @ gripper.T_cam_tcp
