"""The board's firmware: its own tests, its image, its stack. What needs a compiler is skipped where there is none."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from firmware_make import FIRMWARE, run_make

from handcap.devices.uf2 import read_image

PAYLOAD = 256


@pytest.fixture(scope="module")
def image() -> bytes:
    run_make("image")
    return (FIRMWARE / "build" / "rp2040" / "handcap.bin").read_bytes()


def test_core_and_drivers_pass_their_own_tests_under_sanitizers() -> None:
    printed = run_make("test")
    assert "[  PASSED  ]" in printed
    assert "[  FAILED  ]" not in printed


def test_the_tests_reach_95_percent_of_the_cores_lines() -> None:
    run_make("coverage")


def test_image_fits_64_kib_and_its_boot_stage_bears_the_crc_that_the_rom_checks(image: bytes) -> None:
    assert len(image) <= 64 * 1024
    # The ROM's CRC runs the other way round: the same polynomial, bits mirrored, not inverted at the end.
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in image[:252])
    crc = int(f"{zlib.crc32(mirrored) ^ 0xFFFFFFFF:032b}"[::-1], 2)
    assert int.from_bytes(image[252:256], "little") == crc
    stack_top, reset = struct.unpack_from("<2I", image, 256)
    assert stack_top == 0x20042000
    assert reset % 2 == 1
    assert 0x10000100 < reset < 0x10000000 + len(image)


def test_uf2_carries_the_image_to_the_rp2040_and_begins_the_boot_count_anew(image: bytes) -> None:
    uf2 = (FIRMWARE / "build" / "rp2040" / "handcap.uf2").read_bytes()
    blocks = [uf2[at : at + 512] for at in range(0, len(uf2), 512)]
    flash = {0x10000000 + at: image[at : at + PAYLOAD] for at in range(0, len(image), PAYLOAD)}
    flash[0x10010000] = b"\xff" * PAYLOAD  # the sector of the boot count
    carried: dict[int, bytes] = {}
    for number, block in enumerate(blocks):
        *magics, flags, address, size, this, count, family = struct.unpack_from("<8I", block)
        assert magics == [0x0A324655, 0x9E5D5157]
        assert block[508:] == (0x0AB16F30).to_bytes(4, "little")
        assert (flags, size, this, count, family) == (0x2000, PAYLOAD, number, len(blocks), 0xE48BFF56)
        carried[address] = block[32 : 32 + PAYLOAD]
    assert carried == flash


def test_handcap_flash_takes_the_uf2_that_is_built(image: bytes) -> None:
    built = read_image(FIRMWARE / "build" / "rp2040" / "handcap.uf2")
    assert built.memory.startswith(image)
    assert built.names((FIRMWARE / "VERSION").read_text().strip())


def test_the_same_sources_make_the_same_image_wherever_they_are_built(image: bytes, tmp_path: Path) -> None:
    run_make("image", f"BUILD={tmp_path / 'elsewhere'}", NANOPB_DIR=str(FIRMWARE / "build" / "nanopb"))
    assert (tmp_path / "elsewhere" / "rp2040" / "handcap.bin").read_bytes() == image


def test_the_image_holds_the_version_of_its_one_file(image: bytes) -> None:
    assert (FIRMWARE / "VERSION").read_text().strip().encode() + b"\0" in image


@pytest.mark.slow
def test_static_checks_find_nothing() -> None:
    run_make("check")


@pytest.mark.slow
def test_a_minute_of_random_bytes_finds_nothing() -> None:
    run_make("fuzz")


@pytest.mark.slow
def test_breaking_any_check_of_the_core_fails_some_test() -> None:
    run_make("mutants")
