"""The firmware's make, for tests."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).resolve().parent.parent / "firmware"
NEEDED = ("arm-none-eabi-gcc", "gcc", "clang", "protoc", "protoc-gen-nanopb", "gcovr", "cppcheck", "clang-tidy")


def run_make(*arguments: str, **environment: str) -> str:
    """What `make -C firmware ...` prints; its failure is the test's."""
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"firmware needs {', '.join(missing)}: see firmware/README.md")
    build = FIRMWARE / "build"
    build.mkdir(exist_ok=True)
    with (build / "lock").open("w") as lock:  # tests run side by side, and others build the image too
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = subprocess.run(
            ["make", "--no-print-directory", "-C", FIRMWARE, *arguments],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stdout[-4000:]
    return result.stdout
