"""Erasing a take: its bytes are gone, a tombstone says that it was there.

The tombstone is written first. From then on the take counts as erased, and whoever holds the session next finishes
what a crash cut off.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from handcap.clock import utc_text
from handcap.errors import SessionError
from handcap.session.folder import (
    DERIVED,
    JOURNAL,
    RAW,
    cannot_write,
    replace_file,
    require_folder,
    require_name,
    sync_folder,
    take_folders,
    writing,
)
from handcap.session.journal import Journal, read_take_records
from handcap.session.meta import read_meta

TOMBSTONE = "erased.json"
REVIEW = "review"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Tombstone(BaseModel):
    """What remains of an erased take, raw/<take>/erased.json.

    Attributes:
        take: its id, never used again.
        erased: when, ISO 8601, UTC.
        by: alias of who wished it.
        why: in their words.
        files: what was there, relative to the session, with its size in bytes.
    """

    model_config = ConfigDict(frozen=True)

    take: str
    erased: str
    by: str
    why: str
    files: dict[str, int] = {}


def erase(session: Path, take: str, why: str, by: str) -> Tombstone:
    """Erase a take of a session that nobody records to; erasing it again does no harm.

    Raises:
        SessionError: there is no such take, it is being recorded here, or the disk does not obey.
    """
    session = Path(session)
    read_meta(session)
    with writing(session):
        stone = erase_held(session, None, take, why, by)
        if (session / JOURNAL).exists():  # it stays on the recording laptop
            journal = Journal(session)  # only now: on a full disk, what is erased makes room for it
            try:
                journal.take_erased(take, stone.why)
            finally:
                journal.close()
        return stone


def erase_held(session: Path, journal: Journal | None, take: str, why: str, by: str) -> Tombstone:
    """`erase` for whoever holds the session's lock."""
    stone = read_tombstone(session, require_name(take, "take"))
    for folder in (session / DERIVED, session / REVIEW):
        if folder.exists() or folder.is_symlink():
            require_folder(folder)  # nothing outside the session is touched
    if stone is None:
        known = sorted({*take_folders(session), *read_take_records(session)})
        if take not in known:
            takes = ", ".join(known) or "none"
            raise SessionError(f"no take {take!r} (takes: {takes})", where=session, mend="name one of these takes")
        stone = Tombstone(take=take, erased=utc_text(datetime.now(UTC)), by=by, why=why, files=_files(session, take))
        _put_up(session, stone)
    _finish(session, journal, stone)
    return stone


def finish_erasing(session: Path, journal: Journal | None) -> list[str]:
    """Finish what a crash cut off; ids of those takes of which something was still there. For the lock's holder."""
    finished: list[str] = []
    for take in tombstones(session):
        stone = read_tombstone(session, take)
        assert stone is not None
        left = _files(session, take) or (session / DERIVED / take).exists()
        record = None if journal is None else journal.takes().get(take)
        if left or (record is not None and record.state != "erased"):
            _finish(session, journal, stone)
            finished.append(take)
    return finished


def tombstones(session: Path) -> list[str]:
    """Ids of the takes that were erased, in order."""
    return [take for take, folder in take_folders(session).items() if (folder / TOMBSTONE).is_file()]


def read_tombstone(session: Path, take: str) -> Tombstone | None:
    """None where the take was not erased. One that cannot be read still says so, without when and why."""
    path = session / RAW / take / TOMBSTONE
    if not path.is_file():
        return None
    try:
        return Tombstone.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return Tombstone(take=take, erased="unknown", by="unknown", why="unknown")


def erased_error(stone: Tombstone, where: Path) -> SessionError:
    """Somebody asked for an erased take."""
    return SessionError(
        f"take {stone.take} was erased on {stone.erased} ({stone.why})",
        where=where,
        mend="nothing brings it back; record it again, or name another take",
    )


def _put_up(session: Path, stone: Tombstone) -> None:
    folder = session / RAW / stone.take
    text = json.dumps(stone.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        replace_file(folder / TOMBSTONE, text.encode())
    except SessionError as error:
        cause = error.__cause__
        if not (isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)):
            raise
        _remove(session, stone.take)  # what is to go makes room for the word that it went
        replace_file(folder / TOMBSTONE, text.encode())


def _finish(session: Path, journal: Journal | None, stone: Tombstone) -> None:
    """Every step may have been done already."""
    try:
        _remove(session, stone.take)
        _remove_reviews(session, stone.take)
    except OSError as error:
        raise cannot_write(session / RAW / stone.take, error) from error
    if journal is not None:
        journal.take_erased(stone.take, stone.why)


def _remove(session: Path, take: str) -> None:
    folder = session / RAW / take
    for path in sorted(folder.iterdir()):
        if path.name == TOMBSTONE:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    sync_folder(folder)
    sync_folder(folder.parent)
    derived = session / DERIVED / take
    if derived.is_symlink():
        derived.unlink()
    elif derived.exists():
        shutil.rmtree(derived)
    if derived.parent.is_dir():
        sync_folder(derived.parent)


def _remove_reviews(session: Path, take: str) -> None:
    """What reviewers wrote of the take; a line stays in its place, with the hashes that chain it to its neighbours."""
    for path in sorted((session / REVIEW).glob("*.jsonl")):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [_without(line, take) for line in lines]
        if kept != lines:
            replace_file(path, b"".join(kept))


def _without(line: bytes, take: str) -> bytes:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(row, dict) or row.get("take") != take:
        return line
    hashes = {key: value for key, value in row.items() if isinstance(value, str) and _SHA256.fullmatch(value)}
    return json.dumps({"take": take, "erased": True, **hashes}, sort_keys=True).encode() + b"\n"


def _files(session: Path, take: str) -> dict[str, int]:
    """All that is there of a take, without its tombstone."""

    def walk() -> Iterator[tuple[str, int]]:
        for folder in (session / RAW / take, session / DERIVED / take):
            for at, _, names in os.walk(folder):
                for path in (Path(at) / name for name in names):
                    if path.parent != session / RAW / take or path.name != TOMBSTONE:
                        yield path.relative_to(session).as_posix(), path.lstat().st_size

    return dict(sorted(walk()))
