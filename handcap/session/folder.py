"""Where things lie in a session folder, and what a name from disk may look like."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handcap.errors import SessionError

SESSION_JSON = "session.json"
RIG_JSON = "rig.json"
JOURNAL = "journal.sqlite"
RAW = "raw"
DERIVED = "derived"
_LOCK = ".writer.lock"

_NAME = re.compile(r"[a-z0-9_]{1,64}")
_SEGMENT = re.compile(r"seg-[0-9]{4,8}\.mcap(\.part)?")


def is_name(text: str) -> bool:
    """Whether `text` can name a take, device, camera or stage: lower-case letters, digits, underscores."""
    return _NAME.fullmatch(text) is not None


def require_name(text: str, kind: str) -> str:
    """`text`, or a SessionError that says what a `kind` may be called."""
    if not is_name(text):
        raise SessionError(
            f"{text!r} cannot name a {kind}", mend=f"name the {kind} with lower-case letters, digits and underscores"
        )
    return text


def require_folder(path: Path) -> Path:
    """`path`, if it is a folder of its own: a link could point out of the session."""
    if path.is_symlink() or not path.is_dir():
        raise SessionError(
            "not a folder" if not path.is_symlink() else "a link, not a folder",
            where=path,
            mend="copy the whole session again, with its files instead of links",
        )
    return path


def take_folders(session: Path) -> dict[str, Path]:
    """Take id to its folder under raw/, in order of their ids."""
    raw = session / RAW
    if not raw.exists() and not raw.is_symlink():
        return {}
    require_folder(raw)
    return {p.name: require_folder(p) for p in sorted(raw.iterdir()) if is_name(p.name)}


def segment_files(take: Path) -> list[Path]:
    """Segments of a take in the order of recording; of one that is both whole and `.part`, the whole one."""
    found = [p for p in sorted(take.iterdir()) if _SEGMENT.fullmatch(p.name)]
    for path in found:
        if path.is_symlink() or not path.is_file():
            raise SessionError("not a plain file", where=path, mend="copy the session again, files instead of links")
    whole = {p.name for p in found if p.suffix == ".mcap"}
    return [p for p in found if p.suffix == ".mcap" or p.name.removesuffix(".part") not in whole]


def sync_folder(path: Path) -> None:
    """Make renames and new names in a folder survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    try:
        with open(temporary, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> SessionError:
    """What a failed write means to the person who records."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        what, mend = "the disk is full", "free some space or record to another disk, then run `handcap recover`"
    elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        what, mend = "may not be written", "choose a folder you may write to"
    else:
        what, mend = "could not be written", "check the disk and its cable, then run `handcap recover`"
    return SessionError(f"{what} ({error.strerror or error})", where=path, mend=mend)


@contextmanager
def writing(session: Path) -> Iterator[None]:
    """Hold the session's lock; a second writer is told that the first is still at it."""
    try:
        fd = os.open(session / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise cannot_write(session, error) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SessionError(
                "another program is still recording here",
                where=session,
                mend="stop that recording first, then try again",
            ) from error
        yield
    finally:
        os.close(fd)
