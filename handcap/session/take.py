"""Reading one take: pictures and inertial samples as a stream, with word of everything that is damaged."""

from __future__ import annotations

import hashlib
import heapq
import logging
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.CompressedVideo_pb2 import CompressedVideo
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from handcap.ahead import ahead
from handcap.clock import NS_PER_S
from handcap.encoder import COUNTS_PER_TURN
from handcap.errors import SessionError
from handcap.session.clock_jumps import ClockJump, clock_jumps, pictures_mended, samples_mended
from handcap.session.folder import is_name, segment_files
from handcap.session.inertial import ImuReader, of_boot, to_session_clock, together
from handcap.session.journal import read_clock_fits
from handcap.session.late_pictures import pictures_steadied
from handcap.session.pictures import FORMATS, Packet, decode_picture, decode_video, is_key
from handcap.session.take_index import Damage, TakeIndex
from handcap.types import Frame, ImuSamples, JawReadings, Stamps
from handcap.wire.handcap_pb2 import Envelope, ImuSI

if TYPE_CHECKING:
    from handcap.session.reader import Session

log = logging.getLogger(__name__)

_AHEAD = 4  # pictures decoded while earlier ones are worked on
_REORDER_DEPTH = 8  # pictures that may wait for an earlier one
_BATCH_SAMPLES = 8192
_UNEVEN_NS = 1_000_000  # by which messages of a clock that never jumped come at most apart
_LONGEST_NS = 10**9 * NS_PER_S  # beyond any board's clock
_IMAGE, _VIDEO = CompressedImage.DESCRIPTOR.full_name, CompressedVideo.DESCRIPTOR.full_name
_IMU_SI, _ENVELOPE = ImuSI.DESCRIPTOR.full_name, Envelope.DESCRIPTOR.full_name


class Take:
    """One attempt of a session. Nothing is read before it is asked for; pictures and samples come as streams."""

    def __init__(self, session: Session, id: str, folder: Path) -> None:
        self.session = session
        self.id = id
        self._folder = folder
        self._undecodable: dict[str, dict[int, None]] = {}
        self._imu_dropped: dict[str, int] = {}
        self._clocks: dict[str, tuple[Sequence[ClockJump], Stamps | None]] = {}
        self._mended: dict[str, Stamps] = {}
        self._late: dict[str, tuple[int, float]] = {}

    @cached_property
    def _index(self) -> TakeIndex:
        return TakeIndex(self.session.path, self._folder)

    def _names(self, prefix: str, suffix: str, schemas: tuple[str, ...]) -> tuple[str, ...]:
        known = self._index.schemas
        topics = [t for t in known if t.startswith(prefix) and t.endswith(suffix) and known[t] in schemas]
        return tuple(sorted(filter(is_name, (t[len(prefix) : len(t) - len(suffix)] for t in topics))))

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras with at least one picture."""
        return self._names("/camera/", "", (_IMAGE, _VIDEO))

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices with inertial samples."""
        return tuple(sorted({*self._names("/", "/imu", (_IMU_SI,)), *self._names("/", "/wire", (_ENVELOPE,))}))

    @property
    def damage(self) -> tuple[Damage, ...]:
        """Everything found unreadable so far; the whole take has been checked once this returns."""
        return tuple(self._index.damage)

    def _camera_topic(self, camera: str) -> str:
        if camera not in self.cameras:
            known = ", ".join(self.cameras) or "none"
            raise SessionError(
                f"no pictures of camera {camera!r} (cameras: {known})",
                where=self._folder,
                mend="name one of these cameras, or record again with that camera plugged in",
            )
        return f"/camera/{camera}"

    def clock_jumps(self, device: str) -> Sequence[ClockJump]:
        """Where the clock of a device jumped, as the stamps of its inertial samples show; all is read without it.

        Samples of a board are not looked at: clock fits tie them.
        """
        return self._clock(device)[0]

    def _clock(self, device: str) -> tuple[Sequence[ClockJump], Stamps | None]:
        """Its jumps, and stamps of its ready samples without them, in the order of recording."""
        if device not in self._clocks:
            self._clocks[device] = [], None
            batches = np.diff(np.array(self._index.stamps.get(f"/{device}/imu", ()), np.int64))
            if len(batches) and np.ptp(batches) > _UNEVEN_NS:  # a clock jumped, or samples are missing
                t_ns, values = together(self.ready_samples(device))
                mounts = self.session.rig.cameras
                on = [c for c in self.cameras if c in mounts and mounts[c].device == device]
                recorded = [np.array(self._index.stamps[self._camera_topic(c)], np.int64) for c in on]
                jumps = clock_jumps(t_ns, values, recorded)
                if jumps:
                    self._clocks[device] = jumps, samples_mended(t_ns, jumps)
        return self._clocks[device]

    def _recorded_stamps(self, camera: str) -> Stamps:
        """(n,) in the order of recording, without the jumps of its device's clock and without waits on the bus."""
        if camera not in self._mended:
            stamps = np.array(self._index.stamps[self._camera_topic(camera)], np.int64)
            mount = self.session.rig.cameras.get(camera)
            mended = stamps if mount is None else pictures_mended(stamps, self.clock_jumps(mount.device))
            if mount is None or mount.plug is None or mount.plug.trigger is None:  # else its pulses tell
                late_ns = mended - pictures_steadied(mended)
                self._late[camera] = int(np.count_nonzero(late_ns)), float(late_ns.max(initial=0) / NS_PER_S)
                mended = mended - late_ns
            self._mended[camera] = mended
        return self._mended[camera]

    def late_pictures(self, camera: str) -> tuple[int, float]:
        """How many pictures of a camera were stamped late, and by how many seconds at most; all is read without it."""
        self._recorded_stamps(camera)
        return self._late.get(camera, (0, 0.0))

    def camera_stamps(self, camera: str, as_recorded: bool = False) -> Stamps:
        """(n,) int64 stamps, camera clock, strictly increasing; no picture is decoded.

        Args:
            as_recorded: with `clock_jumps` and `late_pictures`, which are mended otherwise.
        """
        recorded = self._index.stamps[self._camera_topic(camera)]
        stamps = (recorded if as_recorded else self._recorded_stamps(camera)).tolist()
        return np.fromiter((t for t, _ in _in_order((t, None) for t in stamps)), np.int64)

    def packets(self, camera: str) -> Iterator[Packet]:
        """Undecoded pictures in stamp order; repeated stamps and those far out of order are left out and counted."""
        topic, stamps = self._camera_topic(camera), self._recorded_stamps(camera).tolist()
        schema = CompressedVideo if self._index.schemas[topic] == _VIDEO else CompressedImage

        def stored() -> Iterator[tuple[int, Packet]]:
            following = 0
            for t_ns, (path, offset, raw) in zip(stamps, self._index.messages(topic), strict=False):
                message: Any = schema()
                try:
                    message.ParseFromString(bytes(raw.data))
                except DecodeError:
                    self._index.report(path, offset, f"a picture of camera {camera} is not a {schema.__name__}")
                    continue
                if message.format not in FORMATS:
                    what = f"a picture of camera {camera} has the unknown format {message.format[:20]!r}"
                    self._index.report(path, offset, what)
                    continue
                yield t_ns, Packet(t_ns, message.format, message.data, raw.sequence != following)
                following = raw.sequence + 1

        kept = 0
        for _, packet in _in_order(stored()):
            kept += 1
            yield packet
        late = len(self._index.stamps[topic]) - kept
        if late:
            log.warning("take %s, camera %s: %d pictures with repeated or late stamps left out", self.id, camera, late)

    def missing(self, camera: str) -> int:
        """Pictures that were recorded and are lost to damage, as far as later ones tell."""
        return self._index.missing[self._camera_topic(camera)]

    def frames(
        self, camera: str, grey: bool = True, every: int = 1, only: Collection[int] | None = None
    ) -> Iterator[Frame]:
        """Decoded pictures in stamp order, a few in memory at a time; those that do not decode are skipped.

        Pictures that nobody wants are not decoded where they stand alone.

        Args:
            every: of how many pictures, as recorded, one is wanted.
            only: the stamps of those that are wanted, of these.
        """
        packets = self.packets(camera)
        if only is not None:
            packets = _until(packets, max(only, default=-1))
        if self._index.schemas[self._camera_topic(camera)] == _VIDEO:
            begun, packets = (0, packets) if only is None else _from_key(packets, min(only, default=0))
            decoded = islice(decode_video(packets, grey), -begun % every, None, every)
            decoded = (each for each in decoded if only is None or each[0] in only)
        else:
            wanted = (p for p in islice(packets, 0, None, every) if only is None or p.t_ns in only)
            decoded = ahead(lambda p: (p.t_ns, decode_picture(p.data, grey)), wanted, 1, _AHEAD)
        bad = self._undecodable.setdefault(camera, {})
        known = len(bad)
        for t_ns, image in decoded:
            if image is not None:
                yield Frame(t_ns, camera, image)
            elif t_ns not in bad:
                if not bad:
                    log.warning("take %s, camera %s: the picture at %d ns does not decode", self.id, camera, t_ns)
                bad[t_ns] = None
        if len(bad) > max(known, 1):  # not on every pass again
            log.warning("take %s, camera %s: %d pictures in all do not decode", self.id, camera, len(bad))

    def undecodable(self, camera: str) -> tuple[int, ...]:
        """Stamps, ns, of the pictures that `frames` could not decode so far."""
        return tuple(self._undecodable.get(camera, {}))

    def imu_batches(self, device: str, as_recorded: bool = False) -> Iterator[ImuSamples]:
        """Inertial samples in imu axes, some thousand at a time, stamps strictly increasing.

        The rig's calibration and R_imu_chip are applied, `clock_jumps` are mended. Samples whose stamp repeats or runs
        back, or whose numbers no sensor can have measured, are left out and counted in `imu_dropped`.

        Args:
            as_recorded: nothing applied or mended: chip axes, uncalibrated.
        """
        if device not in self.devices or device not in self.session.rig.devices:
            known = ", ".join(name for name in self.devices if name in self.session.rig.devices) or "none"
            raise SessionError(
                f"no inertial samples of device {device!r} (devices: {known})",
                where=self._folder,
                mend="name one of these devices, or record again with its IMU connected",
            )
        fits = read_clock_fits(self.session.path, self.id, device)
        known = self.session.rig.devices[device]
        if as_recorded:
            reader = ImuReader(np.eye(3), fits)
        else:
            reader = ImuReader(known.R_imu_chip, fits, known.calibration, self._clock(device)[1])
        for kind in ("imu", "wire"):
            if f"/{device}/{kind}" not in self._index.schemas:
                continue
            for path, offset, message in self._index.messages(f"/{device}/{kind}"):
                try:
                    reader.add(kind, message.data)
                except (DecodeError, ValueError) as error:
                    self._index.report(path, offset, f"inertial samples of {device} are lost: {error}")
                if len(reader) >= _BATCH_SAMPLES:
                    yield reader.pop()
        if len(reader):
            yield reader.pop()
        self._imu_dropped[device] = reader.dropped
        if reader.dropped:
            text = "take %s, %s: %d samples with repeated or backward stamps, or with impossible numbers, left out"
            log.warning(text, self.id, device, reader.dropped)

    def wire(self, device: str) -> Iterator[tuple[int, Envelope]]:
        """Messages of a device's board with the time they were received, session clock, in that order."""
        topic = f"/{device}/wire"
        if topic not in self._index.schemas:
            return
        for path, offset, raw in self._index.messages(topic):
            envelope = Envelope()
            try:
                envelope.ParseFromString(bytes(raw.data))
            except DecodeError as error:
                self._index.report(path, offset, f"a message of {device} is lost: {error}")
                continue
            yield raw.log_time, envelope

    def ready_samples(self, device: str) -> Iterator[ImuSI]:
        """Messages of inertial samples in SI, as recorded: stamps may run back, nothing is left out."""
        topic = f"/{device}/imu"
        if topic not in self._index.schemas:
            return
        for path, offset, raw in self._index.messages(topic):
            message = ImuSI()
            try:
                message.ParseFromString(bytes(raw.data))
            except DecodeError as error:
                self._index.report(path, offset, f"inertial samples of {device} are lost: {error}")
                continue
            yield message

    def jaw(self, device: str) -> JawReadings:
        """All readings of a gripper's encoder; none if it has no encoder or nothing ties its clock to the session's.

        Readings without a magnet, on another scale, or whose stamps do not increase are left out.
        """
        fits = read_clock_fits(self.session.path, self.id, device)
        t_ns: list[Stamps] = []
        counts: list[NDArray[np.int64]] = []
        for _, envelope in self.wire(device) if fits else ():
            said, mine = envelope.encoder, of_boot(fits, envelope.boot_id)
            told = envelope.HasField("encoder") and said.magnet_found and said.counts_per_turn == COUNTS_PER_TURN
            if not (told and mine):
                continue
            count = len(said.angle_counts)
            if said.first_sample_t_ns + count * said.period_ns > _LONGEST_NS:
                continue
            device_ns = np.int64(said.first_sample_t_ns) + np.arange(count, dtype=np.int64) * said.period_ns
            t_ns.append(to_session_clock(device_ns, mine))
            counts.append(np.array(said.angle_counts, np.int64) % COUNTS_PER_TURN)
        stamps = np.concatenate([*t_ns, np.empty(0, np.int64)])
        later = stamps > np.maximum.accumulate(np.concatenate([[np.int64(-1)], stamps]))[:-1]
        return JawReadings(stamps[later], np.concatenate([*counts, np.empty(0, np.int64)])[later])

    def imu_dropped(self, device: str) -> int:
        """Samples that the last full reading left out because their stamps did not increase."""
        return self._imu_dropped.get(device, 0)

    def imu(self, device: str, as_recorded: bool = False) -> ImuSamples:
        """All inertial samples of a device at once; 56 bytes a sample. See `imu_batches` for long takes."""
        parts = list(self.imu_batches(device, as_recorded))
        if not parts:
            return ImuSamples(np.empty(0, np.int64), np.empty((0, 3)), np.empty((0, 3)))
        return ImuSamples(
            np.concatenate([p.t_ns for p in parts]),
            np.concatenate([p.gyro_imu for p in parts]),
            np.concatenate([p.accel_imu for p in parts]),
        )

    def raw_sha256(self) -> dict[str, str]:
        """Each raw file of the take, relative to the session in POSIX form, with the SHA-256 of its bytes."""
        hashes: dict[str, str] = {}
        for path in segment_files(self._folder):
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[path.relative_to(self.session.path).as_posix()] = digest
        return hashes


def _until(packets: Iterator[Packet], last_ns: int) -> Iterator[Packet]:
    """Those up to a stamp; what comes later is not read."""
    return takewhile(lambda packet: packet.t_ns <= last_ns, packets)


def _from_key(packets: Iterator[Packet], first_ns: int) -> tuple[int, Iterator[Packet]]:
    """Packets of a video from the key frame on that the picture at a stamp needs, and how many come before it."""
    waiting: list[Packet] = []
    begun = 0
    for packet in packets:
        if is_key(packet.data):
            begun += len(waiting)
            waiting.clear()
        waiting.append(packet)
        if packet.t_ns >= first_ns:
            break
    return begun, chain(waiting, packets)


def _in_order(items: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Items by increasing stamp, mending disorder of a few places; repeated and later stragglers are left out."""
    waiting: list[tuple[int, int, Any]] = []
    last = -1
    for n, (t_ns, item) in enumerate(items):
        heapq.heappush(waiting, (t_ns, n, item))
        if len(waiting) > _REORDER_DEPTH:
            t_ns, _, item = heapq.heappop(waiting)
            if t_ns > last:
                last = t_ns
                yield t_ns, item
    while waiting:
        t_ns, _, item = heapq.heappop(waiting)
        if t_ns > last:
            last = t_ns
            yield t_ns, item
