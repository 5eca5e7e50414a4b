"""UF2 images: what a bootloader's drive takes (github.com/microsoft/uf2)."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from handcap.errors import DeviceError

BLOCK = 512
_HEADER = struct.Struct("<8I")
_MAGIC_START, _MAGIC_SECOND, _MAGIC_END = 0x0A324655, 0x9E5D5157, 0x0AB16F30
_FAMILY_PRESENT = 0x2000
_NOT_FOR_FLASH = 0x0001
RP2040_FAMILY = 0xE48BFF56
_FLASH_START, _FLASH_END = 0x1000_0000, 0x1100_0000  # the most an RP2040 maps (datasheet, 2.6.3)
LARGEST_FILE = 64 << 20
IMAGE_NAME = "handcap-rp2040.uf2"
MEND = "copy the image again, or build it with `make -C firmware image`"


@dataclass(frozen=True, eq=False, slots=True)
class Image:
    """A whole, checked image.

    Attributes:
        path: of its file.
        data: the file's bytes.
        memory: what ends up in flash, block after block.
        sha256: of the file.
    """

    path: Path
    data: bytes
    memory: bytes
    sha256: str

    def names(self, text: str) -> bool:
        """Whether this firmware can say `text` of itself."""
        return bool(text) and text.encode() in self.memory


def read_image(path: Path) -> Image:
    """Read and check an image for an RP2040.

    Raises:
        DeviceError: it is missing, cut off, damaged, or another chip's.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= LARGEST_FILE else b""
    except OSError as error:
        raise DeviceError(f"the image cannot be read ({error.strerror})", where=path, mend=MEND) from error
    if size > LARGEST_FILE:
        raise DeviceError("is far too large to be an image", where=path, mend="name the .uf2 file")
    return Image(path, data, _checked(data, path), hashlib.sha256(data).hexdigest())


def _checked(data: bytes, path: Path) -> bytes:
    """Contents of flash. Raises DeviceError."""
    if len(data) < BLOCK or _HEADER.unpack_from(data)[:2] != (_MAGIC_START, _MAGIC_SECOND):
        raise DeviceError("is no UF2 image", where=path, mend="name the .uf2 file, not the .bin or .elf")
    if len(data) % BLOCK:
        raise DeviceError(f"is cut off: {len(data)} bytes are no whole number of blocks", where=path, mend=MEND)
    memory: list[bytes] = []
    count = _HEADER.unpack_from(data)[6]
    if count != len(data) // BLOCK:
        raise DeviceError(f"is cut off: {len(data) // BLOCK} of {count} blocks", where=path, mend=MEND)
    expected = None
    for number in range(count):
        block = data[number * BLOCK : (number + 1) * BLOCK]
        start, second, flags, address, length, own, total, family = _HEADER.unpack_from(block)
        (end,) = struct.unpack_from("<I", block, BLOCK - 4)
        if (start, second, end) != (_MAGIC_START, _MAGIC_SECOND, _MAGIC_END) or (own, total) != (number, count):
            raise DeviceError(f"block {number} is damaged", where=path, mend=MEND)
        if not flags & _FAMILY_PRESENT or family != RP2040_FAMILY:
            told = f"family {family:08x}" if flags & _FAMILY_PRESENT else "no family"
            raise DeviceError(
                f"is for another chip ({told}, an RP2040 is {RP2040_FAMILY:08x})",
                where=path,
                mend=f"name the image for this board: {IMAGE_NAME}",
            )
        misplaced = expected is not None and address < expected  # a gap is flash that stays as it is
        inside = address in range(_FLASH_START, _FLASH_END - length + 1)
        if flags & _NOT_FOR_FLASH or length != 256 or misplaced or not inside:
            raise DeviceError(f"block {number} does not belong into flash at {address:08x}", where=path, mend=MEND)
        expected = address + length
        memory.append(block[_HEADER.size : _HEADER.size + length])
    return b"".join(memory)


def default_image() -> Path:
    """The image that comes with handcap, or the one built beside it. Raises DeviceError when there is none."""
    package = Path(str(files("handcap.devices"))) / "firmware" / IMAGE_NAME
    repository = Path(__file__).resolve().parents[2] / "firmware" / "build"
    places = [package, repository / IMAGE_NAME, repository / "rp2040" / "handcap.uf2"]
    for place in places:
        if place.is_file():
            return place
    raise DeviceError(
        "this handcap came without a firmware image",
        where=package,
        mend="build one with `make -C firmware image`, or name one with --image",
    )
