"""Small real file systems for a test: full ones, ones without inodes, ones that die. Mounting wants root."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import ioctl
from pathlib import Path

import pytest

_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10  # linux/fs.h
_SHUTDOWN, _NO_LOG = 0x8004587D, 2  # fs/ext4/ext4.h: EXT4_IOC_SHUTDOWN, without writing the journal back


@contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs, `options` as mount takes them; it is gone when the block ends."""
    disk = folder / "disk"
    disk.mkdir()
    _mount(["-t", "tmpfs", "-o", options, "tmpfs", str(disk)])
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def _mount(arguments: list[str]) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


@contextmanager
def mortal_disk(folder: Path) -> Iterator[tuple[Path, int]]:
    """An ext4 of its own on a loop device, and an open file descriptor for `die`."""
    image, mount = folder / "disk.img", folder / "disk"
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("a loop device wants root and e2fsprogs")
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    _mount(["-o", "loop", str(image), str(mount)])
    fd = os.open(mount, os.O_RDONLY)
    try:
        yield mount, fd
    finally:
        with suppress(OSError):
            os.close(fd)
        subprocess.run(["umount", "-l", str(mount)], check=False)


def die(fd: int) -> None:
    """The disk is pulled out: from now on every write and sync fails with an input/output error."""
    ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody, not even root, makes or renames anything in a folder."""
    mode = folder.stat().st_mode
    fd = os.open(folder, os.O_RDONLY)
    flags = bytearray(8)
    try:
        if os.geteuid() == 0:
            try:
                ioctl(fd, _GET_FLAGS, flags)
                ioctl(fd, _SET_FLAGS, struct.pack("q", struct.unpack("q", flags)[0] | _IMMUTABLE))
            except OSError as error:
                pytest.skip(f"root writes everywhere, and this file system has no immutable folders ({error})")
        else:
            folder.chmod(0o555)
        yield
    finally:
        if os.geteuid() == 0:
            with suppress(OSError):
                ioctl(fd, _SET_FLAGS, bytes(flags))
        else:
            folder.chmod(mode)
        os.close(fd)


def fill(folder: Path) -> Path:
    """Take all room; delete the file to give it back."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    return filler
