"""Where things lie in a session folder, and what a name from disk may look like."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from handcap.errors import SessionError

SESSION_JSON = "session.json"
RIG_JSON = "rig.json"
JOURNAL = "journal.sqlite"
RAW = "raw"
DERIVED = "derived"
_LOCK = ".writer.lock"
# What a recorder that died before session.json may have left; nothing was recorded yet.
BEGUN = {RAW, RIG_JSON, f"{RIG_JSON}.new", JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm", _LOCK, f"{SESSION_JSON}.new"}

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


def misnamed(session: Path) -> list[str]:
    """Folders under raw/ that are no takes, for their names."""
    raw = session / RAW
    there = sorted(raw.iterdir()) if raw.is_dir() else []
    return [p.name for p in there if p.is_dir() and not is_name(p.name) and not p.name.startswith(".")]


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
    if error.errno == errno.ENOSPC and _no_more_files(path):
        what = "the disk can hold no more files"
        mend = "delete files that are not needed or record to another disk; what was recorded is kept"
    elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        what, mend = "the disk is full", "free some space or record to another disk, then run `handcap recover`"
    elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        what, mend = "may not be written", "choose a folder you may write to"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
        what, mend = "cannot be a session folder", "give the name of a new folder"
    else:
        what, mend = "could not be written", "check the disk and its cable, then run `handcap recover`"
    return SessionError(f"{what} ({error.strerror or error})", where=path, mend=mend)


def _no_more_files(path: Path) -> bool:
    """Whether a disk has room and no inodes."""
    for folder in (path, *path.parents):
        try:
            room = os.statvfs(folder)
        except OSError:
            continue
        return room.f_files > 0 and room.f_favail == 0 and room.f_bavail > 0
    return False


@contextmanager
def writing(session: Path) -> Iterator[None]:
    """Hold the session's lock, which dies with this process; a second writer is told who holds it."""
    try:
        fd = os.open(session / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise cannot_write(session, error) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SessionError(
                f"another program is still recording here: {_holder(fd)}",
                where=session,
                mend="stop that recording first, then try again",
            ) from error
        with suppress(OSError):  # a full disk has no room for a name; the lock holds all the same
            since = datetime.now().astimezone().isoformat(timespec="seconds")
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode(), 0)
        try:
            yield
        finally:
            with suppress(OSError):
                os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def _holder(fd: int) -> str:
    """Who wrote its name into a lock."""
    try:
        told: Any = json.loads(os.pread(fd, 4096, 0))
        return f"process {int(told['pid'])} on {str(told['host'])[:80]!r}, since {str(told['since'])[:40]}"
    except (ValueError, KeyError, TypeError, OSError):
        return "it did not write its name"
