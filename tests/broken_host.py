"""A computer that misbehaves, for one program: broken_host.c, built here and preloaded into it."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

_FIELDS = ("realtime_ns", "monotonic_ns", "fsync_fails", "write_delay_us")


class BrokenHost:
    """What misbehaves, from now on.

    Args:
        folder: empty; for the library and the file that steers it.
    """

    def __init__(self, folder: Path) -> None:
        if shutil.which("gcc") is None:
            reason = "the library that makes a computer misbehave wants gcc"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        library, steering = folder / "broken_host.so", folder / "steering"
        source = Path(__file__).with_name("broken_host.c")
        options = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
        subprocess.run(["gcc", *options, "-o", str(library), str(source), "-ldl", "-lpthread"], check=True)
        steering.write_bytes(bytes(8 * len(_FIELDS)))
        with open(steering, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.environment = {"LD_PRELOAD": str(library), "HANDCAP_BROKEN_HOST": str(steering)}

    def misbehave(self, what: str, value: int) -> None:
        """`realtime_ns`, `monotonic_ns`: added to the clocks; `fsync_fails`: or not; `write_delay_us`: each time."""
        self._map[8 * _FIELDS.index(what) : 8 * _FIELDS.index(what) + 8] = struct.pack("q", value)
