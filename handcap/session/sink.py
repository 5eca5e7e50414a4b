"""The one way by which recorded bytes reach the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Protocol

from handcap.errors import SessionError
from handcap.session.folder import cannot_write


@cache
def _waiter() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="handcap disk")


def in_background(do: Callable[[], None]) -> Future[None]:
    """Wait for the disk on a thread of its own, one thing after the other."""
    return _waiter().submit(do)


class Sink(Protocol):
    """What a segment is written to; encryption is another sink, and recovery never knows."""

    def write(self, data: bytes) -> int: ...
    def tell(self) -> int: ...
    def flush(self) -> None: ...
    def sync(self) -> None: ...
    def sync_soon(self) -> None: ...
    def close(self) -> None: ...


class FileSink:
    """A new file, unbuffered: what `write` returned for has reached the operating system.

    Raises:
        SessionError: from every method, when the disk does not take the bytes. The file is then cut back to the last
            whole write, so that it ends between two records.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._syncing: Future[None] | None = None
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise cannot_write(path, error) from error

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        try:
            while rest:
                written = os.write(self._fd, rest)
                if written == 0:
                    raise OSError("short write")
                rest = rest[written:]
        except OSError as error:
            self._cut_back()
            raise cannot_write(self._path, error) from error
        self._size += len(data)
        return len(data)

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)
        except OSError:
            pass  # a torn record at the end: the reader stops there

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing is held back."""

    def sync(self) -> None:
        """Wait until the disk itself has the bytes, and make sure that they can still be found there."""
        try:
            os.fdatasync(self._fd)
            here = os.stat(self._path)
        except FileNotFoundError:
            here = None
        except OSError as error:
            raise cannot_write(self._path, error) from error
        ours = os.fstat(self._fd)
        if here is None or (here.st_dev, here.st_ino) != (ours.st_dev, ours.st_ino):
            raise SessionError(
                "the session folder was moved or deleted while it was recorded",
                where=self._path,
                mend="leave the folder alone while recording; start `handcap capture` again",
            )

    def sync_soon(self) -> None:
        """As `sync`, without waiting: a killed program loses what it has not written, and a slow sync holds that up.

        What went wrong is raised by the next call, or by `close`.
        """
        if self._syncing is None or self._syncing.done():
            self._synced()
            self._syncing = in_background(self.sync)

    def _synced(self) -> None:
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            syncing.result()

    def close(self) -> None:
        """Sync with metadata and close; closing twice is harmless."""
        if self._fd < 0:
            return
        try:
            self._synced()
        finally:
            fd, self._fd = self._fd, -1
            try:
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
            except OSError as error:
                raise cannot_write(self._path, error) from error
