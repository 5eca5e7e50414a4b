"""Where pictures of a board come from: a session's take and camera, a folder, a pattern of file names, files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handcap.ahead import ahead
from handcap.errors import CalibrationError
from handcap.session import Session, Take, read
from handcap.session.folder import SESSION_JSON
from handcap.session.pictures import PICTURE_LIMIT_PX, decode_picture

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".tif", ".tiff")
_AHEAD = 4
_FEWEST_NS = 10**7  # keys all below it count pictures; larger ones are stamps
_TOGETHER_NS = 2_000_000  # a board held in the hand moves less than 0.2 mm within it
_STAMP = 10**14  # a number in a file's name above it is a time in ns


@dataclass(frozen=True, eq=False, slots=True)
class Shot:
    """One picture.

    Attributes:
        name: of its file, or its stamp.
        place: among all pictures of the source.
        t_ns: camera clock; None where nobody said.
        picture: (h, w) grey; None where it cannot be read.
    """

    name: str
    place: int
    t_ns: int | None
    picture: NDArray[np.uint8] | None


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """Pictures of one camera.

    Attributes:
        name: how messages call it.
        camera: its name.
        keys: of all pictures in order; equal, or nearly for stamps, where two cameras looked at the same moment.
        shots: gives those of them that are wanted, by their places among the keys, ascending.
        uid: of the device that carries the camera.
        created: when they were taken, ISO 8601 UTC; None where nobody said.
        inputs: SHA-256 by file.
        folder: where results go when nobody says: the take's folder for a session.
    """

    name: str
    camera: str
    keys: Sequence[int]
    shots: Callable[[Sequence[int]], Iterator[Shot]]
    folder: Path
    uid: str | None = None
    created: str | None = None
    inputs: Callable[[], Mapping[str, str]] = field(default=dict)


def open_source(
    texts: Sequence[str], camera: str | None = None, take: str | None = None, default_camera: str = "head"
) -> Source:
    """Pictures by what a user names.

    Args:
        texts: one session, folder or pattern such as `pictures/left*.jpg`; or several files.
        camera: of a session; for pictures, how the camera shall be called.
        take: of a session.
        default_camera: name of a camera that has none yet.

    Raises:
        CalibrationError: there are no pictures there.
        SessionError: the session cannot be read.
    """
    if len(texts) == 1 and (Path(texts[0]) / SESSION_JSON).is_file():
        return _of_session(read(Path(texts[0])), camera, take)
    if take is not None:
        raise CalibrationError("a take was named, but this is no session", where=texts[0], mend="leave --take out")
    files = _files(texts)
    if not files:
        kinds = ", ".join(_SUFFIXES)
        raise CalibrationError("no pictures there", where=texts[0], mend=f"name a folder or pattern of {kinds} files")
    return Source(
        texts[0],
        camera or default_camera,
        [_number(path, place) for place, path in enumerate(files)],
        lambda wanted: _of_files(files, wanted),
        Path("calibration"),
        inputs=lambda: {path.name: _sha256(path) for path in files},
    )


def _files(texts: Sequence[str]) -> list[Path]:
    found: list[Path] = []
    for text in texts:
        path = Path(text)
        if path.is_dir():
            inside = [path, path / "data"]  # ASL folders keep the pictures of cam0 in cam0/data
            found += next((some for some in map(_pictures_in, inside) if some), [])
        elif path.is_file():
            found.append(path)
        elif any(letter in path.name for letter in "*?["):
            found += [each for each in sorted(path.parent.glob(path.name)) if each.is_file()]
        else:
            raise CalibrationError("no such file or folder", where=path, mend="check the path")
    return sorted((path for path in found if path.suffix.lower() in _SUFFIXES), key=_natural)


def _pictures_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in _SUFFIXES]


def _natural(path: Path) -> tuple[str, list[tuple[int, str]]]:
    """Order in which left2 comes before left10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return str(path.parent), [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _number(path: Path, place: int) -> int:
    """The last number in a file's name, or its place where there is none."""
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else place


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_files(files: Sequence[Path], wanted: Sequence[int]) -> Iterator[Shot]:
    def shot(place: int) -> Shot:
        number = _number(files[place], 0)
        return Shot(files[place].name, place, number if number > _STAMP else None, _read(files[place]))

    return ahead(shot, wanted, 1, _AHEAD)


def _read(path: Path) -> NDArray[np.uint8] | None:
    import cv2

    try:
        data = path.read_bytes()
    except OSError as error:
        raise CalibrationError(f"cannot be read ({error.strerror})", where=path, mend="copy the file again") from error
    if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        return decode_picture(data, grey=True)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    return None if image is None or image.size > PICTURE_LIMIT_PX else np.asarray(image, np.uint8)


def _of_session(session: Session, camera: str | None, take_id: str | None) -> Source:
    take = session.take(take_id or _only(session.takes, "take", "--take", session.path))
    camera = camera or _only(take.cameras, "camera", "--camera", session.path)
    if camera not in take.cameras:
        known = ", ".join(take.cameras) or "none"
        raise CalibrationError(f"no camera {camera!r} (cameras: {known})", where=session.path, mend="name one of these")
    mounted = session.rig.cameras.get(camera)
    device = session.rig.devices.get(mounted.device) if mounted else None
    return Source(
        f"{session.path}, take {take.id}, camera {camera}",
        camera,
        take.camera_stamps(camera).tolist(),
        lambda wanted: _of_take(take, camera, wanted),
        session.derived(take.id, "calibrate"),
        None if device is None else device.uid,
        session.meta.created,
        take.raw_sha256,
    )


def _of_take(take: Take, camera: str, wanted: Sequence[int]) -> Iterator[Shot]:
    stamps = take.camera_stamps(camera)
    place = {int(stamps[k]): k for k in wanted}
    for frame in take.frames(camera, grey=True, only=set(place)):
        yield Shot(str(frame.t_ns), place[frame.t_ns], frame.t_ns, frame.image)


def same_moments(first: Sequence[int], second: Sequence[int]) -> list[tuple[int, int]]:
    """Places of the pictures that two cameras took at the same moment: by equal keys, stamps to a few ms."""
    place = {key: k for k, key in enumerate(second)}
    exact = [(k, place[key]) for k, key in enumerate(first) if key in place]
    if exact or not first or not second or max(*first, *second) < _FEWEST_NS:
        return exact
    # Cameras that run side by side, each with stamps of its own.
    stamps = np.sort(np.array(second, np.int64))
    middles = (stamps[:-1] + stamps[1:]) // 2
    nearest = np.searchsorted(middles, first)
    return [(k, place[int(stamps[n])]) for k, n in enumerate(nearest) if abs(int(stamps[n]) - first[k]) <= _TOGETHER_NS]


def _only(names: Sequence[str], kind: str, option: str, where: Path) -> str:
    if len(names) == 1:
        return names[0]
    known = ", ".join(names) or "none"
    raise CalibrationError(f"{len(names)} {kind}s there ({known})", where=where, mend=f"choose one with {option}")


def open_pair(
    first: Sequence[str],
    second: str,
    camera: str | None = None,
    second_camera: str | None = None,
    take: str | None = None,
) -> tuple[Source, Source]:
    """Two cameras that looked at the same board.

    Args:
        first: as `open_source`.
        second: folder or pattern of the second camera's pictures; for a session, the name of the second camera.
        camera, second_camera: their names; for a session the first must be named where it has more than two.
        take: of a session.

    Raises:
        CalibrationError, SessionError: as `open_source`.
    """
    if len(first) == 1 and (Path(first[0]) / SESSION_JSON).is_file():
        session = read(Path(first[0]))
        if camera is None:
            chosen = session.take(take or _only(session.takes, "take", "--take", session.path))
            others = [name for name in chosen.cameras if name != second]
            camera = _only(others, "other camera", "--camera", session.path)
        pair = _of_session(session, camera, take), _of_session(session, second, take)
    else:
        one = open_source(first, camera, take, "head_left")
        pair = one, open_source([second], second_camera, None, "head_right")
    if pair[0].camera == pair[1].camera:
        mend = "name them with --camera and --second-camera"
        raise CalibrationError(f"both cameras are called {pair[0].camera}", where=first[0], mend=mend)
    return pair
