"""Practice: a card is run through, nothing is kept, and whoever can do it gets a line in the practice book."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

from handcap import __version__
from handcap.capture.live import Ended
from handcap.capture.operator import Said
from handcap.capture.sentences import Sentence, failed
from handcap.capture.task_card import TaskCard
from handcap.capture.task_guide import TaskGuide, joined
from handcap.capture.task_run import TaskRun
from handcap.clock import utc_text
from handcap.errors import HandcapError, TaskError, UsageError
from handcap.session.folder import cannot_write

_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_LEAST_TAKES = 2  # of a card that does not ask for practice


def require_alias(alias: str) -> str:
    """`alias`, or a UsageError that says what a collector may be called."""
    if _ALIAS.fullmatch(alias) is None:
        raise UsageError(
            f"{alias!r} is no alias of a collector",
            mend="use a letter, then letters, digits, - and _, at most 32: anna, c07; no real names, they are kept",
        )
    return alias


class PracticeGuide(TaskGuide):
    """Coaches after each try, and is content with enough good ones in a row.

    Args:
        work: the card at work; its tally must be of nothing else.
        tell: says something to everybody who listens.
        passed: called when the collector has shown it; where it raises, that is told, and it is called again.
    """

    def __init__(self, work: TaskRun, tell: Callable[[Said], None], passed: Callable[[], None]) -> None:
        self._tell_passed, self._passed = passed, False
        super().__init__(work, tell)

    @property
    def wanted(self) -> int:
        return self.work.card.practice_takes or _LEAST_TAKES

    @property
    def done(self) -> bool:
        return self._passed or super().done

    def after(self, ended: Ended) -> Sentence:
        if ended.verdict.verdict == "ok":
            return joined(self._praise(ended), super().after(ended))
        self.work.tally.good.clear()
        return super().after(ended)

    def finished(self) -> Sentence:
        try:
            self._tell_passed()
        except HandcapError as error:
            self._said_done = False  # the next good try has another go
            return failed(error)
        self._passed = True
        return {"en": "Passed: you may record this task now.", "zh": "练习通过,可以正式录制了。"}

    def count(self) -> Sentence:
        if self._passed:
            return {"en": "You have passed; practise on, or finish.", "zh": "已通过,可继续练习或结束。"}
        left = self.wanted - self.good
        return {"en": f"{left} more good in a row.", "zh": f"还需连续合格 {left} 条。"}

    def _praise(self, ended: Ended) -> Sentence:
        """What was good about it."""
        steps, length_s = len(self.work.card.steps), ended.watched.length_s
        if len(self.work.marks) == steps:
            return {
                "en": f"Well done: {steps} steps in {length_s:.0f} s, and each showed what it must.",
                "zh": f"做得好:{length_s:.0f} 秒完成 {steps} 步,每一步都符合要求。",
            }
        return {
            "en": f"Well done: {length_s:.0f} s, and all was seen. Press for the next step as you go.",
            "zh": f"做得好:{length_s:.0f} 秒,内容完整。请在每步做完时按下一步。",
        }


# Where practised takes live and die.


def _folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("handcap", appauthor=False)) / "practice"


@contextmanager
def practice_folder() -> Iterator[Path]:
    """A new folder to practise in, gone with everything in it when the block ends. Raises SessionError."""
    with _only_one() as root:
        path = Path(mkdtemp(prefix="p-", dir=root))
        held = _hold(path)
    assert held is not None
    try:
        yield path / "session"
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(held)


def remove_left_practice() -> int:
    """Delete what a practice left behind that was killed; how many there were. Those that still run are let be."""
    if not _folder().is_dir():
        return 0
    removed = 0
    with _only_one() as root:
        for path in root.glob("p-*"):
            held = _hold(path)
            if held is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(held)
                removed += not path.exists()
    return removed


@contextmanager
def _only_one() -> Iterator[Path]:
    """The folder of all practices, while nobody else looks into it."""
    root = _folder()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise cannot_write(root, error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield root
    finally:
        os.close(fd)


def _hold(path: Path) -> int | None:
    """A lock on a folder, gone when its process is; None where somebody has it, or it is no folder."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


# The practice book: one JSON object a line.


def book_path() -> Path:
    """Of this user."""
    import platformdirs

    return Path(platformdirs.user_data_dir("handcap", appauthor=False)) / "practice.jsonl"


def write_pass(collector: str, card: TaskCard, virtual: bool) -> None:
    """Note that a collector can do a card. Raises TaskError."""
    told = {
        "at": utc_text(datetime.now(UTC)),
        "collector": collector,
        "card": card.id,
        "card_sha256": card.sha256,
        "virtual": virtual,
        "handcap": __version__,
    }
    path = book_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as book:
            fcntl.flock(book, fcntl.LOCK_EX)
            torn = path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")  # of a power cut
            book.write(b"\n" * torn + json.dumps(told, sort_keys=True).encode() + b"\n")
            book.flush()
            os.fsync(book.fileno())
    except OSError as error:
        what = f"the pass cannot be written down ({error.strerror})"
        raise TaskError(what, where=path, mend="free some disk space, and check that you may write there") from error


def has_passed(collector: str, card: TaskCard, virtual: bool) -> bool:
    """Whether a collector has practised this very card; with the virtual rig only counts there. Raises TaskError."""
    try:
        lines = book_path().read_bytes().splitlines()
    except FileNotFoundError:
        return False
    except OSError as error:
        what = f"who has practised cannot be read ({error.strerror})"
        raise TaskError(what, where=book_path(), mend="check that you may read it, or take it away") from error
    for line in lines:
        with suppress(ValueError, RecursionError):  # a torn line proves nothing
            told = json.loads(line)
            if (
                isinstance(told, dict)
                and (told.get("collector"), told.get("card_sha256")) == (collector, card.sha256)
                and (virtual or told.get("virtual") is False)
            ):
                return True
    return False


def require_practice(card: TaskCard, path: Path, collector: str | None, virtual: bool) -> None:
    """Refuse to record a card that asks for practice to whoever has not practised it.

    Raises:
        UsageError: nobody said who records.
        TaskError: they have not; names the command that would do it.
    """
    if not card.practice_takes:
        return
    if collector is None:
        raise UsageError("this card asks for practice, and nobody said who you are", mend="give --collector ALIAS")
    if not has_passed(collector, card, virtual):
        more = " --virtual" if virtual else ""
        raise TaskError(
            f"{collector} has not practised this card yet ({card.practice_takes} good tries in a row)",
            where=path,
            mend=f"run `handcap capture --card {path} --collector {collector} --practice{more}`",
        )
