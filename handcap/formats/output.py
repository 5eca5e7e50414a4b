"""Where an export lands: a new folder that appears whole or not at all, and JSON that is the same on every run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handcap.errors import FormatError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name when the block ends well and vanishes when it does not.

    Raises:
        FormatError: `out` holds something already, or cannot be written.
    """
    out = Path(out)
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise FormatError("exists already", where=out, mend="give a new folder, or remove this one")
    made: list[Path] = []
    temporary = out.with_name(f".{out.name}.writing-{os.getpid()}")
    try:
        for parent in reversed(out.parents):
            if not parent.exists():
                parent.mkdir()
                made.append(parent)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        temporary.replace(out)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in reversed(made):
            parent.rmdir()
        if isinstance(error, OSError):
            what = f"cannot be written ({error.strerror or error})"
            raise FormatError(what, where=out, mend="free some disk space, or give another folder") from error
        raise


def write_json(path: Path, values: Mapping[str, Any], *, sort_keys: bool = True) -> None:
    """Indented UTF-8; the same values give the same bytes."""
    text = json.dumps(values, indent=2, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")
