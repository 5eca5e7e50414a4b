"""Reading one take: pictures and inertial samples as a stream, with word of everything that is damaged."""

from __future__ import annotations

import hashlib
import heapq
import logging
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.CompressedVideo_pb2 import CompressedVideo
from google.protobuf.message import DecodeError

from handcap.errors import SessionError
from handcap.session.chunks import BadChunk, Channels, ChunkSpan, RawMessage, chunk_spans, load, messages
from handcap.session.folder import is_name, segment_files
from handcap.session.inertial import ImuReader
from handcap.session.journal import read_clock_fits
from handcap.session.pictures import Packet, decode_picture, decode_video
from handcap.types import Frame, ImuSamples, Stamps

if TYPE_CHECKING:
    from handcap.session.reader import Session

log = logging.getLogger(__name__)

_REORDER_DEPTH = 8  # pictures that may wait for an earlier one
_BATCH_SAMPLES = 8192
_IMAGE, _VIDEO = CompressedImage.DESCRIPTOR.full_name, CompressedVideo.DESCRIPTOR.full_name
_LAST_STAMP = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Damage:
    """Something of the raw recording that cannot be read.

    Attributes:
        file: relative to the session folder, POSIX form.
        offset: byte in that file.
        what: what was lost, in words.
    """

    file: str
    offset: int
    what: str


@dataclass(frozen=True, slots=True)
class _Segment:
    path: Path
    channels: Channels
    chunks: list[tuple[ChunkSpan, frozenset[str]]]


class Take:
    """One attempt of a session. Nothing is read before it is asked for; pictures and samples come as streams."""

    def __init__(self, session: Session, id: str, folder: Path) -> None:
        self.session = session
        self.id = id
        self._folder = folder
        self._damage: list[Damage] = []
        self._stamps: dict[str, array[int]] = {}
        self._schemas: dict[str, str] = {}
        self._undecodable: dict[str, dict[int, None]] = {}
        self._imu_dropped: dict[str, int] = {}
        self._missing: dict[str, int] = {}
        self._next: dict[str, int] = {}

    def _report(self, path: Path, offset: int, what: str) -> None:
        damage = Damage(path.relative_to(self.session.path).as_posix(), offset, what)
        if damage not in self._damage:
            self._damage.append(damage)
            log.warning("%s, byte %d: %s", damage.file, offset, what)

    @cached_property
    def _segments(self) -> list[_Segment]:
        """Where each chunk lies and what it holds: one pass over the take, every CRC checked."""
        return [self._scan(path) for path in segment_files(self._folder)]

    def _scan(self, path: Path) -> _Segment:
        channels = Channels()
        chunks: list[tuple[ChunkSpan, frozenset[str]]] = []
        torn = path.suffix == ".part"
        with open(path, "rb") as file:
            for span in chunk_spans(path, channels, lambda at, what: self._report(path, at, what), torn=torn):
                topics: dict[str, None] = {}
                try:
                    for message in messages(load(file, span), channels):
                        topic, schema = channels.found.get(message.channel, ("", ""))
                        if topic not in topics:
                            topics[topic] = None
                            self._schemas.setdefault(topic, schema)
                        self._stamps.setdefault(topic, array("q")).append(min(message.log_time, _LAST_STAMP))
                        gap = message.sequence - self._next.get(topic, 0)
                        self._missing[topic] = self._missing.get(topic, 0) + max(gap, 0)
                        self._next[topic] = message.sequence + 1
                except BadChunk as error:
                    self._report(path, span.offset, f"a chunk of {span.data_bytes} bytes is lost: {error}")
                if "" in topics:
                    self._report(path, span.offset, "messages on a channel that is not defined are lost")
                chunks.append((span, frozenset(topics)))
        return _Segment(path, channels, chunks)

    def _names(self, prefix: str, suffix: str) -> tuple[str, ...]:
        assert self._segments is not None  # the scan fills the topics
        inner = (t[len(prefix) : len(t) - len(suffix)] for t in self._schemas if t.startswith(prefix))
        return tuple(sorted({name for name in inner if is_name(name) and f"{prefix}{name}{suffix}" in self._schemas}))

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras with at least one picture."""
        return self._names("/camera/", "")

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices with inertial samples."""
        return tuple(sorted({*self._names("/", "/imu"), *self._names("/", "/wire")}))

    @property
    def damage(self) -> tuple[Damage, ...]:
        """Everything found unreadable so far; the whole take has been checked once this returns."""
        assert self._segments is not None
        return tuple(self._damage)

    def _messages(self, topic: str) -> Iterator[tuple[Path, int, RawMessage]]:
        """(file, offset of the chunk, message) of a topic in the order of recording; one chunk in memory."""
        for segment in self._segments:
            with open(segment.path, "rb") as file:
                for span, topics in segment.chunks:
                    if topic not in topics:
                        continue
                    try:
                        for message in messages(load(file, span), segment.channels):
                            if segment.channels.found.get(message.channel, ("", ""))[0] == topic:
                                yield segment.path, span.offset, message
                    except BadChunk as error:
                        self._report(segment.path, span.offset, f"a chunk of {span.data_bytes} bytes is lost: {error}")

    def _camera_topic(self, camera: str) -> str:
        if camera not in self.cameras:
            known = ", ".join(self.cameras) or "none"
            raise SessionError(
                f"no pictures of camera {camera!r} (cameras: {known})",
                where=self._folder,
                mend="name one of these cameras, or record again with that camera plugged in",
            )
        return f"/camera/{camera}"

    def camera_stamps(self, camera: str) -> Stamps:
        """(n,) int64 stamps as recorded, camera clock, strictly increasing; no picture is decoded."""
        stamps = self._stamps[self._camera_topic(camera)]
        return np.fromiter((t for t, _ in _in_order((t, None) for t in stamps)), np.int64)

    def packets(self, camera: str) -> Iterator[Packet]:
        """Undecoded pictures in stamp order; repeated stamps and those far out of order are left out and counted."""
        topic = self._camera_topic(camera)
        schema = CompressedVideo if self._schemas[topic] == _VIDEO else CompressedImage

        def stored() -> Iterator[tuple[int, Packet]]:
            following = 0
            for path, offset, raw in self._messages(topic):
                message: Any = schema()
                try:
                    message.ParseFromString(bytes(raw.data))
                except DecodeError:
                    self._report(path, offset, f"a picture of camera {camera} is not a {schema.__name__}")
                    continue
                yield raw.log_time, Packet(raw.log_time, message.format, message.data, raw.sequence != following)
                following = raw.sequence + 1

        kept = 0
        for _, packet in _in_order(stored()):
            kept += 1
            yield packet
        late = len(self._stamps[topic]) - kept
        if late:
            log.warning("take %s, camera %s: %d pictures with repeated or late stamps left out", self.id, camera, late)

    def missing(self, camera: str) -> int:
        """Pictures that were recorded and are lost to damage, as far as later ones tell."""
        return self._missing[self._camera_topic(camera)]

    def frames(self, camera: str, grey: bool = True) -> Iterator[Frame]:
        """Decoded pictures in stamp order, a few in memory at a time; those that do not decode are skipped."""
        packets = self.packets(camera)
        if self._schemas[self._camera_topic(camera)] == _VIDEO:
            decoded = decode_video(packets, grey)
        else:
            decoded = ((p.t_ns, decode_picture(p.data, grey)) for p in packets)
        bad = self._undecodable.setdefault(camera, {})
        for t_ns, image in decoded:
            if image is not None:
                yield Frame(t_ns, camera, image)
            elif t_ns not in bad:
                bad[t_ns] = None
                log.warning("take %s, camera %s: the picture at %d ns does not decode", self.id, camera, t_ns)

    def undecodable(self, camera: str) -> tuple[int, ...]:
        """Stamps, ns, of the pictures that `frames` could not decode so far."""
        return tuple(self._undecodable.get(camera, {}))

    def imu_batches(self, device: str) -> Iterator[ImuSamples]:
        """Inertial samples in imu axes (R_imu_chip applied), some thousand at a time, stamps strictly increasing.

        Samples whose stamp repeats or runs back are left out and counted in `imu_dropped`.
        """
        if device not in self.devices or device not in self.session.rig.devices:
            known = ", ".join(name for name in self.devices if name in self.session.rig.devices) or "none"
            raise SessionError(
                f"no inertial samples of device {device!r} (devices: {known})",
                where=self._folder,
                mend="name one of these devices, or record again with its IMU connected",
            )
        fits = read_clock_fits(self.session.path, self.id, device)
        reader = ImuReader(self.session.rig.devices[device].R_imu_chip, fits)
        for kind in ("imu", "wire"):
            if f"/{device}/{kind}" not in self._schemas:
                continue
            for path, offset, message in self._messages(f"/{device}/{kind}"):
                try:
                    reader.add(kind, message.data)
                except (DecodeError, ValueError) as error:
                    self._report(path, offset, f"inertial samples of {device} are lost: {error}")
                if len(reader) >= _BATCH_SAMPLES:
                    yield reader.pop()
        if len(reader):
            yield reader.pop()
        self._imu_dropped[device] = reader.dropped
        if reader.dropped:
            text = "take %s, %s: %d samples with repeated or backward stamps left out"
            log.warning(text, self.id, device, reader.dropped)

    def imu_dropped(self, device: str) -> int:
        """Samples that the last full reading left out because their stamps did not increase."""
        return self._imu_dropped.get(device, 0)

    def imu(self, device: str) -> ImuSamples:
        """All inertial samples of a device at once; 56 bytes a sample. See `imu_batches` for long takes."""
        parts = list(self.imu_batches(device))
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
