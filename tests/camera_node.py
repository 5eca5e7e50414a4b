"""The camera node built from its sources, and running."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PATIENCE_S = 30.0  # for a machine that does many other things; nothing here waits so long where all is well


def need(*programs: str, packages: str) -> None:
    """Skip where a program is not installed; on CI that is a failure."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    reason = f"no {' and no '.join(missing)}; `apt-get install {packages}`"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def node_folder(repository: Path) -> Path:
    need("cc", "make", "nanopb_generator.py", packages="gcc make nanopb libnanopb-dev libjpeg-dev libcmocka-dev")
    return repository / "firmware/node"


def make(folder: Path, *arguments: str) -> None:
    line = ["make", "--no-print-directory", "-C", str(folder), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def plain_node(node_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("node")
    make(node_folder, f"BUILD={build}")
    return build / "handcap-node"


@pytest.fixture(scope="session")
def node_program(node_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the address and undefined-behaviour sanitizers; leaks end it with an error too."""
    build = tmp_path_factory.mktemp("sanitized-node")
    make(node_folder, f"BUILD={build}", "SANITIZED=1")
    return build / "handcap-node"


@dataclass
class Node:
    """A running node."""

    process: subprocess.Popen[str]
    port: int
    said: list[str] = field(default_factory=list)

    def peak_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def wait_for_words(self, words: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while not any(words in line for line in self.said):
            assert time.monotonic() < until and self.process.poll() is None, f"no '{words}' in {self.said}"
            time.sleep(0.02)


@contextlib.contextmanager
def running(program: Path, *options: str) -> Iterator[Node]:
    """A node on a free port of this machine; whatever was done to it, it must end well when told to."""
    line = [str(program), "--port", "0", "--imu", "none", *options]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said: list[str] = []
    for text in process.stderr:
        said.append(text)
        if "listening" in text:
            break
    found = re.search(r"port (\d+)", "".join(said[-1:]))
    assert found, f"{line} ended: {said}"
    reader = threading.Thread(target=said.extend, args=(process.stderr,))
    reader.start()
    try:
        yield Node(process, int(found[1]), said)
        assert process.poll() is None, f"the node ended by itself: {said}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        reader.join()
        process.stderr.close()
    assert process.returncode == 0, "".join(said)


@pytest.fixture(scope="session")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures of noise, each of about 100 kB."""
    import cv2
    import numpy as np

    folder = tmp_path_factory.mktemp("jpegs")
    random = np.random.default_rng(0)
    for number in range(10):
        coarse = random.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"{number:03}.jpg"), cv2.resize(coarse, (640, 480)))
    return folder
