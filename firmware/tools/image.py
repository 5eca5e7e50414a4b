"""Finish an RP2040 image: fill in the boot stage's CRC, write it as raw bytes and as UF2, state its size.

python3 image.py IN.bin OUT.bin OUT.uf2
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

FLASH_BASE = 0x10000000
IMAGE_MAX = 64 * 1024
BOOT_COUNT = IMAGE_MAX  # flash.h: FLASH_BOOT_COUNT
BOOT2_LEN = 252  # of 256 bytes; the last four are their CRC

# UF2: https://github.com/microsoft/uf2, blocks of 512 bytes that each carry 256.
UF2_MAGICS = (0x0A324655, 0x9E5D5157)
UF2_MAGIC_END = 0x0AB16F30
UF2_FAMILY_PRESENT = 0x00002000
UF2_FAMILY_RP2040 = 0xE48BFF56
UF2_PAYLOAD = 256


def boot_crc(data: bytes) -> int:
    """CRC-32 as the boot ROM computes it: polynomial 04C11DB7, not reflected, all ones in, nothing out (2.8.1.3.1)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def finished(raw: bytes) -> bytes:
    """The image with its boot CRC, padded to whole UF2 payloads."""
    image = raw[:BOOT2_LEN] + boot_crc(raw[:BOOT2_LEN]).to_bytes(4, "little") + raw[BOOT2_LEN + 4 :]
    return image + b"\xff" * (-len(image) % UF2_PAYLOAD)


def uf2(image: bytes) -> bytes:
    """What the boot ROM takes as a file: the image, and an empty page that has the sector of the boot count erased."""
    pages = {at: image[at : at + UF2_PAYLOAD] for at in range(0, len(image), UF2_PAYLOAD)}
    pages[BOOT_COUNT] = b"\xff" * UF2_PAYLOAD
    blocks: list[bytes] = []
    for number, (at, payload) in enumerate(pages.items()):
        head = struct.pack(
            "<8I",
            *UF2_MAGICS,
            UF2_FAMILY_PRESENT,
            FLASH_BASE + at,
            UF2_PAYLOAD,
            number,
            len(pages),
            UF2_FAMILY_RP2040,
        )
        blocks.append(head + payload.ljust(476, b"\0") + UF2_MAGIC_END.to_bytes(4, "little"))
    return b"".join(blocks)


def main() -> None:
    raw, image_path, uf2_path = (Path(argument) for argument in sys.argv[1:4])
    image = finished(raw.read_bytes())
    if len(image) > IMAGE_MAX:
        raise SystemExit(f"image.py: {raw} has {len(image)} bytes; no more than {IMAGE_MAX} are allowed")
    image_path.write_bytes(image)
    uf2_path.write_bytes(uf2(image))
    print(f"{image_path}: {len(image)} bytes of {IMAGE_MAX}")


if __name__ == "__main__":
    main()
