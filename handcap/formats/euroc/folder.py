"""Where things lie in an ASL folder, and which of them may be opened."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from handcap.errors import FormatError
from handcap.formats.findings import Finding
from handcap.formats.rows import Rows

_PICTURE = re.compile(r".+\.(png|jpg|jpeg)", re.IGNORECASE)
_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")
_SENSOR = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class AslFolder:
    """A checked layout.

    Attributes:
        root: the folder that holds imu0, cam0, ...
        camera: the camera folder asked for.
        findings: sensors without data.
    """

    root: Path
    camera: str
    findings: tuple[Finding, ...] = field(default=())


def open_folder(source: Path, camera: str) -> AslFolder:
    """Find mav0, the IMU and the camera; say what is missing and what would have worked."""
    if not source.exists():
        raise FormatError("does not exist", where=source, mend="give the folder that holds mav0, or mav0 itself")
    if not source.is_dir():
        raise FormatError("is a file", where=source, mend="give the folder that holds mav0; unpack an archive first")
    root = source / "mav0" if (source / "mav0").is_dir() else source
    cameras = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name.startswith("cam"))
    if not cameras and not (root / "imu0").is_dir():
        raise FormatError(
            "neither mav0, imu0 nor cam0 is here",
            where=source,
            mend="give the folder that holds mav0 (mav0/cam0, mav0/imu0), or mav0 itself",
        )
    if not _SENSOR.fullmatch(camera) or camera not in cameras:
        usable = [name for name in cameras if has_pictures(root / name)]
        raise FormatError(
            f"no camera {camera!r}",
            where=root,
            mend=f"choose with --cam: {', '.join(usable)}" if usable else "put the pictures into mav0/cam0/data",
        )
    if not (root / "imu0" / "data.csv").is_file():
        raise FormatError(
            "no IMU data (imu0/data.csv): without it there is neither scale nor gravity",
            where=root,
            mend="copy the imu0 folder there",
        )
    if not has_pictures(root / camera):
        usable = [name for name in cameras if has_pictures(root / name)]
        raise FormatError(
            "no pictures",
            where=root / camera,
            mend=f"choose another camera with --cam: {', '.join(usable)}" if usable else "copy cam0/data there",
        )
    sensors = sorted(p for p in root.iterdir() if p.is_dir() and p.name.startswith(("cam", "imu")))
    empty = [p.name for p in sensors if p.name != camera and not _has_data(p)]
    return AslFolder(root, camera, tuple(Finding("empty_sensor", name) for name in empty))


def has_pictures(folder: Path) -> bool:
    data = folder / "data"
    return data.is_dir() and any(_PICTURE.fullmatch(p.name) for p in data.iterdir())


def _has_data(folder: Path) -> bool:
    if folder.name.startswith("cam"):
        return has_pictures(folder)
    return (folder / "data.csv").is_file()


def picture_names(folder: Path) -> list[str]:
    """Names of the picture files of a camera folder, sorted."""
    return sorted(p.name for p in (folder / "data").iterdir() if _PICTURE.fullmatch(p.name))


def picture_paths(folder: Path, rows: Rows, where: str) -> list[Path | None]:
    """The file of each row of a picture list; None where there is none.

    A name may lack its suffix; where the list holds stamps only, the stamp is the name.
    """
    data = folder / "data"
    there = {p.name for p in data.iterdir()}
    paths: list[Path | None] = []
    for line, stamp, name in zip(rows.line, rows.stamp, rows.names, strict=True):
        plain = name.removeprefix("./").removeprefix("data/")
        if any(c in plain for c in "/\\\0") or plain in (".", ".."):
            raise FormatError(
                f"names a file outside the recording: {name[:80]!r}",
                where=f"{where}, line {line}",
                mend="a picture's name must be plain; do not use this file if you did not write it",
            )
        stem = plain or str(stamp)
        found = next((stem + suffix for suffix in _SUFFIXES if stem + suffix in there), None)
        path = data / found if found else None
        paths.append(path if path is not None and path.is_file() else None)
    return paths
