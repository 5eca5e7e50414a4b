"""New firmware: images are checked before, boards after. The bootloader's drive is a folder here."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_board import UID, SimulatedBoard

from handcap.cli.app import main
from handcap.devices.flash import FlashParams, bootloader_drives, flash, is_bootloader
from handcap.devices.uf2 import RP2040_FAMILY, default_image, read_image
from handcap.errors import DeviceError

QUICK = FlashParams(hello_s=1.0, drive_s=1.0, back_s=5.0, poll_s=0.05)
INFO = "UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: RPI-RP2\r\n"


def uf2(memory: bytes, family: int = RP2040_FAMILY, flags: int = 0x2000, start: int = 0x1000_0000) -> bytes:
    memory += bytes(-len(memory) % 256)
    count, blocks = len(memory) // 256, []
    for number in range(count):
        head = (0x0A324655, 0x9E5D5157, flags, start + 256 * number, 256, number, count, family)
        blocks.append(struct.pack("<8I", *head) + memory[256 * number : 256 * number + 256].ljust(476, b"\0"))
        blocks[-1] += struct.pack("<I", 0x0AB16F30)
    return b"".join(blocks)


def firmware(version: str) -> bytes:
    return b"\0" * 700 + version.encode() + b"\0" + b"0123456789ab\0" + bytes(700)


@dataclass
class Bootloader:
    """A board that goes into its bootloader on command, and comes back with what lies on its drive."""

    board: SimulatedBoard
    drive: Path
    comes_back_as: dict[str, object] = field(default_factory=dict)
    got: list[bytes] = field(default_factory=list)

    def enter(self) -> None:
        """As the boot ROM does: drive there, port gone, until a whole image has come."""
        time.sleep(0.1)
        self.board.unplug()
        self.drive.mkdir()
        (self.drive / "INFO_UF2.TXT").write_text(INFO)
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        for _ in range(1000):
            for path in self.drive.glob("*.uf2"):
                data = path.read_bytes()
                if len(data) >= 512 and len(data) == 512 * struct.unpack_from("<8I", data)[6]:
                    self.got.append(data)
                    time.sleep(0.05)
                    for left in self.drive.iterdir():
                        left.unlink()
                    self.drive.rmdir()
                    for name, value in self.comes_back_as.items():
                        setattr(self.board, name, value)
                    self.board.plug_in()
                    return
            time.sleep(0.01)


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Bootloader]:
    board = SimulatedBoard(tmp_path / "board")
    boot = Bootloader(board, tmp_path / "RPI-RP2", {"firmware_version": "0.2.0", "protocol_version": 1})
    board.on_bootloader = boot.enter
    with board:
        yield boot


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "handcap-rp2040.uf2"
    path.write_bytes(uf2(firmware("0.2.0")))
    return path


def test_a_board_gets_its_image_and_comes_back_with_it(boot: Bootloader, image: Path) -> None:
    done = flash(str(boot.board.port), read_image(image), drive=boot.drive, params=QUICK)
    assert boot.got == [image.read_bytes()]
    assert done.before is not None and done.before.firmware_version == "0.1.0"
    assert (done.after.firmware_version, done.after.uid) == ("0.2.0", UID)


def test_a_board_whose_protocol_is_too_old_to_talk_to_can_be_flashed(boot: Bootloader, image: Path) -> None:
    boot.board.unplug()
    boot.board.protocol_version = 7
    boot.board.plug_in()
    done = flash(str(boot.board.port), read_image(image), drive=boot.drive, params=QUICK)
    assert done.before is not None and done.before.protocol_version == 7 and done.after.protocol_version == 1


@pytest.mark.parametrize("by_drive", [True, False])
def test_a_board_that_is_in_its_bootloader_already_is_flashed_too(
    boot: Bootloader, image: Path, by_drive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot.enter()
    from handcap.devices import discovery

    monkeypatch.setattr(discovery, "boards", lambda: [discovery.FoundPort(str(boot.board.port), "")])
    device = str(boot.drive if by_drive else boot.board.port)
    done = flash(device, read_image(image), drive=None if by_drive else boot.drive, params=QUICK)
    assert done.before is None and done.after.firmware_version == "0.2.0" and done.drive == boot.drive


def test_the_command_says_what_runs_now(boot: Bootloader, image: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["flash", str(boot.board.port), "--image", str(image), "--drive", str(boot.drive), "--json"])
    told = json.loads(capfd.readouterr().out)["summary"]["flash"]
    assert not left.value.code
    assert (told["uid"], told["firmware_before"], told["firmware"]) == (f"{UID:016x}", "0.1.0", "0.2.0")


def test_without_a_drive_it_says_what_to_press(boot: Bootloader, image: Path) -> None:
    boot.board.on_bootloader = None
    with pytest.raises(DeviceError, match="does not appear") as told:
        flash(str(boot.board.port), read_image(image), drive=boot.drive, params=QUICK)
    assert "BOOTSEL" in (told.value.mend or "") and "RPI-RP2" in (told.value.mend or "")


def test_a_board_that_is_not_there_at_all_is_told_with_what_to_press(tmp_path: Path, image: Path) -> None:
    with pytest.raises(DeviceError, match="no such port") as told:
        flash(str(tmp_path / "none"), read_image(image), drive=tmp_path / "no drive", params=QUICK)
    assert "BOOTSEL" in (told.value.mend or "")


def test_a_board_that_comes_back_with_other_firmware_is_not_called_flashed(boot: Bootloader, image: Path) -> None:
    boot.comes_back_as["firmware_version"] = "0.1.9"
    with pytest.raises(DeviceError, match=r"0\.1\.9, which is not in the image"):
        flash(str(boot.board.port), read_image(image), drive=boot.drive, params=QUICK)


def test_another_board_that_comes_back_is_not_called_flashed(boot: Bootloader, image: Path) -> None:
    boot.comes_back_as["uid"] = 5
    with pytest.raises(DeviceError, match="did not come back") as told:
        flash(str(boot.board.port), read_image(image), drive=boot.drive, params=QUICK)
    assert f"instead of {UID:016x}" in told.value.what


def test_a_drive_that_was_there_before_is_another_boards(boot: Bootloader, image: Path, tmp_path: Path) -> None:
    """Its own drive never comes; the one that lies there is not touched."""
    boot.board.on_bootloader = None
    boot.drive.mkdir()
    (boot.drive / "INFO_UF2.TXT").write_text(INFO)
    with pytest.raises(DeviceError, match="does not appear"):
        flash(str(boot.board.port), read_image(image), drive=boot.drive, params=QUICK)
    assert [path.name for path in boot.drive.iterdir()] == ["INFO_UF2.TXT"]


def test_a_folder_that_is_no_bootloader_is_not_written_to(tmp_path: Path, image: Path) -> None:
    folder = tmp_path / "stick"
    folder.mkdir()
    (folder / "INFO_UF2.TXT").write_text("UF2 Bootloader\nBoard-ID: SAMD21\n")
    with pytest.raises(DeviceError, match="no bootloader's drive"):
        flash(str(folder), read_image(image), params=QUICK)
    assert not is_bootloader(folder) and [path.name for path in folder.iterdir()] == ["INFO_UF2.TXT"]


SPOILED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut in a block": (lambda data: data[:-100], "cut off"),
    "cut between blocks": (lambda data: data[:-512], "cut off"),
    "empty": (lambda data: b"", "no UF2"),
    "the raw binary": (lambda data: firmware("0.2.0"), "no UF2"),
    "another family": (lambda data: uf2(firmware("0.2.0"), family=0xADA52840), "another chip"),
    "no family": (lambda data: uf2(firmware("0.2.0"), flags=0), "another chip"),
    "not for flash": (lambda data: uf2(firmware("0.2.0"), flags=0x2001), "does not belong"),
    "for memory": (lambda data: uf2(firmware("0.2.0"), start=0x2000_0000), "does not belong"),
    "a damaged end": (lambda data: data[:1020] + b"\0\0\0\0" + data[1024:], "block 1 is damaged"),
    "blocks swapped": (lambda data: data[:512] + data[1024:1536] + data[512:1024] + data[1536:], "block 1 is damaged"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_image_is_refused_before_anything_is_asked_of_the_board(
    tmp_path: Path, image: Path, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil, says = SPOILED[how]
    image.write_bytes(spoil(image.read_bytes()))
    with SimulatedBoard(tmp_path / "board") as board:
        with pytest.raises(SystemExit) as left:
            main(["flash", str(board.port), "--image", str(image)])
        assert not board.asked
    said = capfd.readouterr().err
    assert left.value.code == 1 and says in said and str(image) in said and "→" in said


@given(st.binary(max_size=2000), st.integers(0, 2000))
def test_no_bytes_break_the_reading_of_images(noise: bytes, cut: int) -> None:
    from handcap.devices.uf2 import _checked

    good = uf2(firmware("0.2.0"))
    for data in (noise, good[:cut] + noise, good[:cut] + noise + good[cut + len(noise) :]):
        with suppress(DeviceError):
            assert len(_checked(data, Path("image.uf2"))) * 2 == len(data)


def test_a_missing_image_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handcap.devices.uf2.files", lambda name: tmp_path)
    monkeypatch.setattr("handcap.devices.uf2.__file__", str(tmp_path / "a" / "b" / "uf2.py"))
    with pytest.raises(DeviceError, match="without a firmware image") as told:
        default_image()
    assert "make -C firmware image" in (told.value.mend or "") and "--image" in (told.value.mend or "")


def test_drives_are_found_among_mounts_by_what_they_say_of_themselves(tmp_path: Path) -> None:
    ours, other = tmp_path / "my RPI-RP2", tmp_path / "stick"
    for folder, text in ((ours, INFO), (other, "hello")):
        folder.mkdir()
        (folder / "INFO_UF2.TXT").write_text(text)
    mounts = tmp_path / "mounts"
    escaped = str(ours).replace(" ", "\\040")
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 {escaped} vfat rw 0 0\n/dev/sdc1 {other} vfat rw 0 0\n")
    assert bootloader_drives(mounts) == [ours]
    assert bootloader_drives(tmp_path / "none") == []
