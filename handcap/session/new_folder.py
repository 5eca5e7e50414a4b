"""Where a session, dataset or replay lands: a new folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handcap.errors import OutputError, SessionError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """An empty folder beside `out` that takes its name when the block ends well and vanishes when it does not.

    Parents that do not exist are made, and go again with it.

    Raises:
        OutputError: `out` holds something already, or cannot be written.
    """
    target = Path(out).absolute()  # "." has no name of its own
    temporary = target.with_name(f".{target.name}.writing-{os.getpid()}")
    made: list[Path] = []
    try:
        if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
            raise OutputError("exists already", where=out, mend="give a new folder, or remove this one")
        for parent in reversed(target.parents):
            if not parent.exists():
                parent.mkdir()
                made.append(parent)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        temporary.replace(target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in reversed(made):
            parent.rmdir()
        if isinstance(error, SessionError) and isinstance(error.__cause__, OSError):
            error = error.__cause__  # it names the temporary folder, which is gone, and how to recover what is gone
        if isinstance(error, OSError):
            what = f"cannot be written ({error.strerror or error})"
            raise OutputError(what, where=out, mend="free some disk space, or give another folder") from error
        raise
