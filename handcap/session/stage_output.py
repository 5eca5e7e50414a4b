"""What a stage writes beside the raw data: a folder that appears whole, with a report."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from handcap.causes import Verdict
from handcap.errors import SessionError
from handcap.session.erasure import erased_error, read_tombstone
from handcap.session.folder import cannot_write, sync_folder
from handcap.session.reader import Session

REPORT = "report.json"
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]  # readers compute with it: no "0.5"


class _Report(BaseModel):
    """What every stage's report holds, as far as others rely on it."""

    verdict: Verdict
    causes: list[dict[str, Any]] = []
    spans_ok_s: list[tuple[Number, Number]] = []
    time_offset_s: dict[str, Number | None] = {}
    time_offset_sigma_s: dict[str, Number | None] = {}


def require_place(session: Session, take_id: str, stage: str) -> None:
    """Say before long work what would keep `write_stage` from putting it in place. Raises SessionError."""
    target = session.derived(take_id, stage)
    for path in (target.parent.parent, target.parent, target):
        if (path.exists() or path.is_symlink()) and not path.is_dir():
            what = "a link that leads nowhere" if path.is_symlink() else "a file"
            raise SessionError(
                f"{what}, where a folder for results belongs", where=path, mend="move it away, then try again"
            )
    there = next(path for path in target.parents if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise cannot_write(there, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def remove_stage(session: Session, take_id: str, stage: str) -> None:
    """Take derived/<take>/<stage> away, whole, if it is there. Raises SessionError."""
    target = session.derived(take_id, stage)
    old = target.with_name(f".{stage}.old")
    try:
        if target.is_dir():
            _remove(old)
            os.rename(target, old)
            sync_folder(target.parent)
            _remove(old)
    except OSError as error:
        raise cannot_write(target, error) from error


def _remove(path: Path) -> None:
    """A folder, file or link of ours, whichever it is, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def write_stage(session: Session, take_id: str, stage: str) -> Iterator[Path]:
    """A temporary folder that becomes derived/<take>/<stage> when the block ends well and vanishes when it does not."""
    require_place(session, take_id, stage)
    target = session.derived(take_id, stage)
    new, old = (target.with_name(f".{stage}.{word}") for word in ("new", "old"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(new)  # of a run that was killed
        new.mkdir()
    except OSError as error:
        raise cannot_write(target, error) from error
    try:
        yield new
        stone = read_tombstone(session.path, take_id)
        if stone is not None:  # erased while the stage worked
            raise erased_error(stone, session.path)
        _put_in_place(new, target, old)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _put_in_place(new: Path, target: Path, old: Path) -> None:
    for path in sorted(new.rglob("*")):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
    _remove(old)
    if target.exists():
        os.rename(target, old)
    os.rename(new, target)
    sync_folder(target.parent)
    with suppress(OSError):  # the new one is there
        _remove(old)


def as_json(report: Mapping[str, Any]) -> str:
    """Sorted keys, NaN and infinity as null, so the same values give the same bytes."""
    return json.dumps(plain(report), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_report(folder: Path, report: Mapping[str, Any]) -> None:
    """report.json, see `as_json`."""
    try:
        (folder / REPORT).write_text(as_json(report), encoding="utf-8")
    except OSError as error:
        raise cannot_write(folder / REPORT, error) from error


def read_report(folder: Path) -> dict[str, Any]:
    """report.json of a stage's folder."""
    path = folder / REPORT
    mend = f"run `handcap {folder.name}` again"
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _Report.model_validate(values)
    except FileNotFoundError as error:
        raise SessionError("no report there", where=path, mend=f"run `handcap {folder.name}` first") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise SessionError(f"{key}: {first['msg']}", where=path, mend=mend) from error
    except (ValueError, OSError, RecursionError) as error:
        raise SessionError(f"cannot be read ({error})", where=path, mend=mend) from error
    return values


def plain(value: Any) -> Any:
    """numpy, paths and tuples as JSON knows them."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, PurePath):
        assert not value.is_absolute(), f"a report names files relative to the session: {value}"
        return value.as_posix()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    assert value is None or isinstance(value, str | bool | int), f"{type(value).__name__} in a report"
    return value
