"""What comes out of the sensors: packets with stamps, one stream per sensor, merged in the order of their stamps.

A recording writes them as fast as they are made; `paced` hands them out when they are due, as hardware would.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.clock import seconds
from handcap.geometry import Array
from handcap.session import Take, TakeWriter
from handcap.session.pictures import PictureFormat
from handcap.wire.handcap_pb2 import Envelope


@dataclass(frozen=True, eq=False, slots=True)
class PicturePacket:
    """One picture, compressed.

    Attributes:
        t_ns: the camera's stamp, session clock.
        camera: its name.
        data, format: as it goes to disk.
    """

    t_ns: int
    camera: str
    data: bytes
    format: PictureFormat

    def record(self, take: TakeWriter) -> None:
        if self.format == "h264":
            take.add_video(self.camera, self.t_ns, self.data)
        else:
            take.add_image(self.camera, self.t_ns, self.data, self.format)


@dataclass(frozen=True, eq=False, slots=True)
class ImuPacket:
    """A few inertial samples, chip axes.

    Attributes:
        device: its name.
        sample_t_ns: (n,) stamps, session clock; a clock that jumps may turn them back.
        gyro_chip: (n, 3) rad/s.
        accel_chip: (n, 3) m/s².
    """

    device: str
    sample_t_ns: NDArray[np.int64]
    gyro_chip: Array
    accel_chip: Array

    @property
    def t_ns(self) -> int:
        """The first sample's stamp."""
        return int(self.sample_t_ns[0])

    def record(self, take: TakeWriter) -> None:
        take.add_imu_si(self.device, self.sample_t_ns, self.gyro_chip, self.accel_chip)


@dataclass(frozen=True, eq=False, slots=True)
class WirePacket:
    """One message of a board.

    Attributes:
        t_ns: when it was received, session clock.
        device: its name.
        envelope: the message.
    """

    t_ns: int
    device: str
    envelope: Envelope

    def record(self, take: TakeWriter) -> None:
        take.add_wire(self.device, self.t_ns, self.envelope)


Packet = PicturePacket | ImuPacket | WirePacket
_IMU_PACKET = 10  # samples


def imu_packets(device: str, t_ns: NDArray[np.int64], gyro_chip: Array, accel_chip: Array) -> Iterator[ImuPacket]:
    """Samples (n,) of a device, a few at a time."""
    for start in range(0, len(t_ns), _IMU_PACKET):
        rows = slice(start, start + _IMU_PACKET)
        yield ImuPacket(device, t_ns[rows], gyro_chip[rows], accel_chip[rows])


def of_take(take: Take) -> Iterator[Packet]:
    """Everything a take holds, in the order of its stamps: a world that was rendered ahead, ready to be streamed."""
    streams: list[Iterator[Packet]] = [_pictures(take, camera) for camera in take.cameras]
    streams += [_samples(take, device) for device in take.devices]
    streams += [_messages(take, device) for device in take.devices]
    return merged(streams)


def _pictures(take: Take, camera: str) -> Iterator[Packet]:
    for packet in take.packets(camera):
        yield PicturePacket(packet.t_ns, camera, packet.data, packet.format)


def _samples(take: Take, device: str) -> Iterator[Packet]:
    for batch in take.imu_batches(device, as_recorded=True):
        yield from imu_packets(device, batch.t_ns, batch.gyro_imu, batch.accel_imu)


def _messages(take: Take, device: str) -> Iterator[Packet]:
    for t_ns, envelope in take.wire(device):
        yield WirePacket(t_ns, device, envelope)


def merged(streams: Iterable[Iterable[Packet]]) -> Iterator[Packet]:
    """All packets in the order of their stamps; each stream keeps its own order, even where its clock jumps."""
    return heapq.merge(*streams, key=lambda packet: packet.t_ns)


def paced(
    packets: Iterable[Packet],
    speed: float = 1.0,
    now_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Packet]:
    """Hand out each packet when it is due, the first at once.

    Args:
        packets: in order.
        speed: 2 plays twice as fast.
        now_s, sleep: the clock that is kept.
    """
    first_ns = start_s = None
    for packet in packets:
        if first_ns is None or start_s is None:
            first_ns, start_s = packet.t_ns, now_s()
        wait_s = start_s + float(seconds(packet.t_ns, first_ns)) / speed - now_s()
        if wait_s > 0:
            sleep(wait_s)
        yield packet
