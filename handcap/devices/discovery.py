"""Which of this computer's ports are ours, told without writing a byte to anybody's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# What our USB descriptors say (firmware/boards/rp2040). The ids alone are not enough: others use them too.
USB_IDS = frozenset({(0x1209, 0x0001)})
USB_NAME = "handcap"
BOOTLOADER_USB_ID = (0x2E8A, 0x0003)  # the RP2040's boot ROM (RP2040 datasheet, 2.8.1)
VIDEO4LINUX = Path("/sys/class/video4linux")


class UsbPort(Protocol):
    """What pyserial tells of a port (`serial.tools.list_ports`)."""

    device: str
    vid: int | None
    pid: int | None
    serial_number: str | None
    manufacturer: str | None
    product: str | None


@dataclass(frozen=True, slots=True)
class FoundPort:
    """A port that looks like one of ours.

    Attributes:
        name: to open it by.
        uid: what its USB serial number says, 16 hexadecimal digits; the board itself has the last word.
    """

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """A camera that is plugged into this computer.

    Attributes:
        name: /dev/video0.
        model: what it calls itself.
        usb_serial: its serial number, or None.
        usb_id: "046d:0825", or None where it is no USB camera.
        usb_place: the socket it is in, "1-2.4": bus and ports, counted by the kernel; None as above.
    """

    name: str
    model: str
    usb_serial: str | None
    usb_id: str | None
    usb_place: str | None = None


def list_usb_ports() -> list[UsbPort]:
    """Every serial port of this computer."""
    from serial.tools import list_ports

    return list(list_ports.comports())


def boards(ports: Iterable[UsbPort] | None = None) -> list[FoundPort]:
    """The ports of our boards. Others are neither opened nor written to."""
    found = [
        FoundPort(port.device, (port.serial_number or "").lower())
        for port in (list_usb_ports() if ports is None else ports)
        if is_ours(port)
    ]
    return sorted(found, key=lambda port: port.name)


def is_ours(port: UsbPort) -> bool:
    """By its USB ids and by what it calls itself, both."""
    if port.vid is None or port.pid is None or (port.vid, port.pid) not in USB_IDS:
        return False
    return any(USB_NAME in (text or "").lower() for text in (port.manufacturer, port.product))


def ports_of(named: str) -> Callable[[str], Sequence[str]]:
    """Where an unplugged board may turn up again: where it was, and wherever our USB descriptors carry its number."""

    def candidates(uid: str) -> Sequence[str]:
        if named.startswith("tcp://"):
            return [named]
        there = [port.name for port in boards() if port.uid == uid]
        return list(dict.fromkeys([*there, *([named] if os.path.exists(named) else [])]))

    return candidates


def cameras(root: Path = VIDEO4LINUX) -> list[FoundCamera]:
    """V4L2 capture devices as the kernel lists them; nothing is opened."""
    found: list[FoundCamera] = []
    for entry in sorted(root.iterdir(), key=lambda path: (len(path.name), path.name)) if root.is_dir() else []:
        if _text(entry / "index") not in (None, "0"):  # a camera's further nodes carry its metadata
            continue
        usb = _usb_parent(entry / "device")
        vendor, product = (None, None) if usb is None else (_text(usb / "idVendor"), _text(usb / "idProduct"))
        found.append(
            FoundCamera(
                name=f"/dev/{entry.name}",
                model=_text(entry / "name") or "",
                usb_serial=None if usb is None else _text(usb / "serial"),
                usb_id=f"{vendor}:{product}" if vendor and product else None,
                usb_place=None if usb is None else usb.name,
            )
        )
    return found


def _usb_parent(device: Path) -> Path | None:
    """The USB device that an interface belongs to."""
    if not device.exists():
        return None
    device = device.resolve()
    return next((folder for folder in (device, *device.parents[:3]) if (folder / "idVendor").exists()), None)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def udev_rule() -> str:
    """What lets whoever sits at this computer open our boards, and no other ports."""
    ids = sorted(USB_IDS)
    lines = [
        f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor:04x}", ATTRS{{idProduct}}=="{product:04x}", '
        f'ATTRS{{manufacturer}}=="{USB_NAME}", TAG+="uaccess", ENV{{ID_MM_DEVICE_IGNORE}}="1"'
        for vendor, product in ids
    ]
    return "\n".join(["# handcap boards: save as /etc/udev/rules.d/60-handcap.rules", *lines])
