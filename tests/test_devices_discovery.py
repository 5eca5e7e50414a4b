"""What is plugged in is told from what it says of itself, and nobody else's port is touched."""

from __future__ import annotations

import os
import select
import tty
from dataclasses import dataclass
from pathlib import Path

import pytest
from serial.tools import list_ports
from simulated_board import UID, SimulatedBoard

from handcap import devices
from handcap.devices import discovery
from handcap.devices.examine import examine_all
from handcap.devices.port import tcp_address
from handcap.errors import DeviceError

OURS = min(discovery.USB_IDS)


@dataclass
class UsbPort:
    """As pyserial tells of one."""

    device: str
    vid: int | None = OURS[0]
    pid: int | None = OURS[1]
    serial_number: str | None = f"{UID:016X}"
    manufacturer: str | None = "handcap"
    product: str | None = "handcap board"


def test_a_port_is_ours_by_its_ids_and_by_its_name_both() -> None:
    ours = UsbPort("/dev/ttyACM1")
    others = [
        UsbPort("/dev/ttyACM0", manufacturer="Arduino", product="Leonardo"),
        UsbPort("/dev/ttyACM2", vid=0x2341),
        UsbPort("/dev/ttyS0", vid=None, pid=None),
        UsbPort("/dev/ttyACM3", manufacturer=None, product=None),
    ]
    assert discovery.boards([*others, ours]) == [devices.FoundPort("/dev/ttyACM1", f"{UID:016x}")]


def test_no_byte_is_written_to_a_port_that_is_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An Arduino would restart, a modem would dial."""
    master, slave = os.openpty()
    tty.setraw(slave)
    with SimulatedBoard(tmp_path / "board") as board:
        found = [UsbPort(os.ttyname(slave), manufacturer="Arduino", product="Mega"), UsbPort(str(board.port))]
        monkeypatch.setattr(list_ports, "comports", lambda: found)
        names = [port.name for port in devices.boards()]
        (report,) = examine_all(names, 0.2, {})
        assert report.port == str(board.port)
        assert not select.select([master], [], [], 0.3)[0], "somebody wrote to another's port"
    os.close(master)
    os.close(slave)


def test_a_board_is_opened_by_its_number_and_found_again_on_another_port(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with SimulatedBoard(tmp_path / "ttyACM0") as board:
        monkeypatch.setattr(list_ports, "comports", lambda: [UsbPort(str(board.port))] * board.port.exists())
        with devices.open_board(f"{UID:016x}") as opened:
            assert opened.name == str(board.port)
            board.unplug()
            board.port = tmp_path / "ttyACM5"
            board.plug_in()
            while opened.epoch == 1:
                opened.receive(0.1)
            assert opened.name == str(tmp_path / "ttyACM5") and opened.uid == f"{UID:016x}"


def test_a_number_that_is_not_plugged_in_is_told_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_ports, "comports", lambda: [UsbPort("/dev/ttyACM4")])
    with pytest.raises(DeviceError, match="no such board") as told:
        devices.open_board("0123456789abcdef")
    assert f"{UID:016x} on /dev/ttyACM4" in told.value.what


def test_cameras_are_told_by_the_kernel_and_their_metadata_nodes_left_out(tmp_path: Path) -> None:
    usb = tmp_path / "devices/usb1/1-2"
    root = tmp_path / "video4linux"
    for name, index in (("video0", "0"), ("video1", "1"), ("video10", "0"), ("video2", "0")):
        node = root / name
        node.mkdir(parents=True)
        (node / "name").write_text(f"Camera {name}\n")
        (node / "index").write_text(f"{index}\n")
    (usb / "1-2:1.0").mkdir(parents=True)
    for name, text in (("idVendor", "046d"), ("idProduct", "0825"), ("serial", "ABC")):
        (usb / name).write_text(text + "\n")
    (root / "video0/device").symlink_to(usb / "1-2:1.0")
    found = discovery.cameras(root)
    assert [camera.name for camera in found] == ["/dev/video0", "/dev/video2", "/dev/video10"]
    assert (found[0].usb_id, found[0].usb_serial, found[0].model) == ("046d:0825", "ABC", "Camera video0")
    assert found[0].usb_place == "1-2" and found[1].usb_place is None
    assert found[1].usb_id is None and discovery.cameras(tmp_path / "none") == []


@pytest.mark.parametrize("name", ["tcp://", "tcp://host", "tcp://host:port", "tcp://host:99999", "tcp://:7047"])
def test_an_address_that_is_none_says_how_to_write_one(name: str) -> None:
    with pytest.raises(DeviceError, match="no address") as told:
        tcp_address(name)
    assert "tcp://192.168" in (told.value.mend or "")
    assert tcp_address("tcp://[::1]:7047") == ("::1", 7047)
