"""A virtual world rendered ahead is streamed as hardware would send it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from handcap import session, sim
from handcap.sim.streams import ImuPacket, Packet, PicturePacket, WirePacket


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> session.Take:
    folder = tmp_path_factory.mktemp("streams") / "s"
    sim.simulate(folder, rig="head+left", seconds=1.0, seed=2)
    return session.read(folder).take("0001")


@pytest.fixture(scope="module")
def packets(take: session.Take) -> list[Packet]:
    return list(sim.of_take(take))


def test_nothing_is_lost_and_all_is_in_order(take: session.Take, packets: list[Packet]) -> None:
    stamps = [packet.t_ns for packet in packets]
    assert stamps == sorted(stamps)
    pictures = Counter(packet.camera for packet in packets if isinstance(packet, PicturePacket))
    assert pictures == {"head": 20, "left": 20}
    for device in ("head", "left"):
        parts = [p for p in packets if isinstance(p, ImuPacket) and p.device == device]
        again = np.concatenate([p.gyro_chip for p in parts]) @ take.session.rig.devices[device].R_imu_chip.T
        np.testing.assert_allclose(again, take.imu(device).gyro_imu, atol=1e-15)
        np.testing.assert_array_equal(np.concatenate([p.sample_t_ns for p in parts]), take.imu(device).t_ns)
    assert sum(isinstance(packet, WirePacket) for packet in packets) == len(list(take.wire("left"))) > 20


def test_what_is_recorded_again_is_the_same(take: session.Take, packets: list[Packet], tmp_path: Path) -> None:
    old = take.session
    with session.create(tmp_path / "again", old.meta, old.rig) as writer, writer.start_take() as new:
        for packet in packets:
            packet.record(new)
    again = session.read(tmp_path / "again").take("0001")
    for camera in take.cameras:
        assert [p.data for p in again.packets(camera)] == [p.data for p in take.packets(camera)]
    assert [e for _, e in again.wire("left")] == [e for _, e in take.wire("left")]


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_packets_come_when_they_are_due(packets: list[Packet], speed: float) -> None:
    clock = [100.0]

    def sleep(duration_s: float) -> None:
        assert duration_s > 0
        clock[0] += duration_s

    came_s = []
    for _ in sim.paced(packets, speed, now_s=lambda: clock[0], sleep=sleep):
        came_s.append(clock[0] - 100.0)
        clock[0] += 1e-4  # whoever takes them needs time
    due_s = np.array([packet.t_ns - packets[0].t_ns for packet in packets]) / 1e9 / speed
    late_s = np.array(came_s) - due_s
    assert late_s.min() > -1e-9 and np.median(late_s) < 1e-3 and late_s.max() < 0.02


def test_png_pictures_stay_png(take: session.Take, tmp_path: Path) -> None:
    _, data = cv2.imencode(".png", np.zeros((480, 640), np.uint8))
    with session.create(tmp_path / "png", take.session.meta, take.session.rig) as writer, writer.start_take() as new:
        new.add_image("head", 1_000_000_000, data.tobytes(), "png")
    (packet,) = sim.of_take(session.read(tmp_path / "png").take("0001"))
    assert isinstance(packet, PicturePacket) and packet.format == "png"
