"""New firmware on a board: into its bootloader, the image onto the drive that appears, and a look at what came back."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from handcap.devices import discovery
from handcap.devices.opening import open_board
from handcap.devices.uf2 import BLOCK, Image
from handcap.errors import DeviceError, HandcapError
from handcap.wire.handcap_pb2 import Hello, RebootToBootloader

INFO = "INFO_UF2.TXT"
DRIVE_LABEL = "RPI-RP2"
_BOARD_ID = "RPI-RP2"
_BY_LABEL = Path("/dev/disk/by-label") / DRIVE_LABEL
PRESS = (
    "hold the button BOOTSEL on the board, plug it in, let go, and run this command again; "
    f"a drive named {DRIVE_LABEL} must appear"
)
OnProgress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Flashed:
    """What was done.

    Attributes:
        port: where the board came back.
        drive: of its bootloader.
        before: what it said of itself, None when it was in its bootloader already.
        after: what it says now.
    """

    port: str
    drive: Path
    before: Hello | None
    after: Hello


@dataclass(frozen=True, slots=True)
class FlashParams:
    """How long each step may take, s.

    Attributes:
        hello_s: a board that runs says who it is within half a second.
        drive_s: desktops take up to ten seconds to mount a drive.
        back_s: the bootloader writes 64 KiB in two seconds, then the board boots.
        poll_s: between two looks.
    """

    hello_s: float = 2.0
    drive_s: float = 20.0
    back_s: float = 20.0
    poll_s: float = 0.2


def flash(
    device: str,
    image: Image,
    *,
    drive: Path | None = None,
    params: FlashParams | None = None,
    on_progress: OnProgress = lambda what, share: None,
) -> Flashed:
    """Put an image on a board.

    Args:
        device: its port, its number, or the folder of its bootloader's drive.
        image: checked already.
        drive: where its bootloader's drive is or will be mounted, where that is not found by itself.
        params: how long to wait.
        on_progress: called with what is done and which share of it.

    Raises:
        DeviceError: a step did not succeed; says what to press.
    """
    params = params or FlashParams()
    if Path(device).is_dir():
        drive = Path(device)
    there = _drives(drive)
    before, port, uid = _into_bootloader(device, there, params)
    on_progress("bootloader", 0.2)
    found = _wait_for_drive(drive, there if before is not None else [], params, device)
    _copy(image, found)
    on_progress("copied", 0.6)
    after, port = _wait_for_board(port, uid, params)
    on_progress("back", 1.0)
    _require_image(after, image, port)
    return Flashed(port, found, before, after)


def _into_bootloader(
    device: str, there: Sequence[Path], params: FlashParams
) -> tuple[Hello | None, str | None, str | None]:
    """What the board said of itself, its port and its number; nothing where it is in its bootloader already."""
    if Path(device).is_dir():
        if not there:
            raise DeviceError(f"is no bootloader's drive (no {INFO} for an RP2040)", where=device, mend=PRESS)
        return None, None, None
    try:
        board = open_board(device, any_version=True, timeout_s=params.hello_s)
    except HandcapError as error:
        if there:  # it waits in its bootloader, or has no firmware of ours
            return None, device, None
        raise DeviceError(f"{error.what}, and no board is in its bootloader", where=device, mend=PRESS) from error
    with board:
        # The drive may be there, or the port gone, before the answer is: only the drive counts.
        with suppress(DeviceError):
            board.command(RebootToBootloader(), timeout_s=params.hello_s)
        return board.hello, board.name, board.uid


def bootloader_drives(mounts: Path = Path("/proc/mounts")) -> list[Path]:
    """Mounted drives of RP2040 bootloaders."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    # Blanks in a mount point are written as octal escapes (fstab(5)).
    folders = [Path(line.split(" ")[1].replace("\\040", " ")) for line in lines if " vfat " in line]
    return [folder for folder in folders if is_bootloader(folder)]


def is_bootloader(folder: Path) -> bool:
    """Whether a folder is the drive of an RP2040's boot ROM."""
    try:
        text = (folder / INFO).read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return any(line.strip() == f"Board-ID: {_BOARD_ID}" for line in text.splitlines())


def _drives(drive: Path | None) -> list[Path]:
    if drive is not None:
        return [drive] if is_bootloader(drive) else []
    return bootloader_drives()


def _wait_for_drive(drive: Path | None, others: Sequence[Path], params: FlashParams, device: str) -> Path:
    """The drive that is there now and was not before."""
    end_s, asked = time.monotonic() + params.drive_s, False
    while True:
        new = [one for one in _drives(drive) if one not in others]
        if len(new) == 1:
            return new[0]
        if len(new) > 1:
            raise DeviceError(
                f"several boards are in their bootloader: {', '.join(map(str, new))}",
                where=device,
                mend="unplug all but one, or name the drive of one: `handcap flash DRIVE`",
            )
        if time.monotonic() > end_s:
            break
        if drive is None and not asked and _BY_LABEL.exists():
            asked = _mount(_BY_LABEL)
        time.sleep(params.poll_s)
    if drive is None and _BY_LABEL.exists():
        raise DeviceError(
            "the board's drive is there and is not mounted",
            where=_BY_LABEL,
            mend=f"mount it (`udisksctl mount -b {_BY_LABEL}`) and run `handcap flash FOLDER` with its folder",
        )
    raise DeviceError("the drive of the board's bootloader does not appear", where=device, mend=PRESS)


def _mount(block_device: Path) -> bool:
    """Ask the desktop to mount a drive; computers without one leave it to the user."""
    if shutil.which("udisksctl") is None:
        return True
    command = ["udisksctl", "mount", "--no-user-interaction", "-b", str(block_device)]
    subprocess.run(command, capture_output=True, check=False, timeout=10)
    return True


def _copy(image: Image, drive: Path) -> None:
    target, written = drive / image.path.name, 0
    try:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            while written < len(image.data):
                written += os.write(fd, image.data[written : written + 64 * BLOCK])
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        # With the last block the board restarts, and its drive is gone before it can say that all is well.
        if written < len(image.data):
            raise DeviceError(
                f"the image could not be copied ({error.strerror}, {written} of {len(image.data)} bytes)",
                where=drive,
                mend=PRESS,
            ) from error


def _wait_for_board(port: str | None, uid: str | None, params: FlashParams) -> tuple[Hello, str]:
    """What the board says of itself once it is back. Without a port, the only board that looks like ours is meant."""
    end_s = time.monotonic() + params.back_s
    last: HandcapError | None = None
    while time.monotonic() < end_s:
        time.sleep(params.poll_s)
        for name in _names(port, uid):
            try:
                with open_board(name, uid=uid, timeout_s=params.hello_s) as board:
                    return board.hello, board.name
            except HandcapError as error:
                last = error
    why = f" ({last.what})" if last is not None else ""
    raise DeviceError(f"the image was copied, and the board did not come back{why}", where=port or uid, mend=PRESS)


def _names(port: str | None, uid: str | None) -> list[str]:
    if port is None:
        found = [one.name for one in discovery.boards()]
        return found if len(found) == 1 else []
    if uid is None:
        return [port]
    return list(discovery.ports_of(port)(uid))


def _require_image(hello: Hello, image: Image, port: str) -> None:
    """What came back must say of itself what the image says."""
    for name, text in (("version", hello.firmware_version), ("git hash", hello.git_hash)):
        if text and not image.names(text):
            raise DeviceError(
                f"the board came back with firmware {name} {text}, which is not in the image",
                where=port,
                mend=f"the image was not taken: {PRESS}",
            )
