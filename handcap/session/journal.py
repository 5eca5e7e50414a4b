"""journal.sqlite: what happened while recording; belongs to the recording laptop."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from handcap.errors import SessionError
from handcap.session.folder import JOURNAL

_T = TypeVar("_T")
TakeState = Literal["open", "ended", "interrupted", "recovered", "discarded", "erased"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS takes (
  id TEXT PRIMARY KEY, task TEXT, state TEXT NOT NULL, first_ns INTEGER, last_ns INTEGER,
  counts TEXT, reason TEXT, utc_offset_ns INTEGER);
CREATE TABLE IF NOT EXISTS faults (
  n INTEGER PRIMARY KEY, take TEXT, t_ns INTEGER, device TEXT, code TEXT NOT NULL, detail TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS clock_fits (
  n INTEGER PRIMARY KEY, take TEXT, device TEXT NOT NULL, t_ns INTEGER NOT NULL,
  dt_session_device_s REAL NOT NULL, skew REAL NOT NULL, residual_s REAL, boot_id INTEGER);
"""


@dataclass(frozen=True, slots=True)
class TakeRecord:
    """A take as journalled.

    Attributes:
        state: "open" while recorded (or when the recorder died), "ended", "interrupted" (by an error), "recovered",
            "discarded" (thrown away by whoever recorded it: never exported), "erased" (its bytes are gone).
        first_ns, last_ns: span of its stamps, session clock; None while unknown.
        counts: topic to number of pictures or samples, None while unknown: nothing is claimed that was not saved.
        utc_offset_ns: UTC minus session clock when it began; None where nobody noted it. A session that was continued
            after the laptop slept or restarted has another one for each take.
    """

    id: str
    task: str | None
    state: TakeState
    first_ns: int | None
    last_ns: int | None
    counts: dict[str, int] | None
    reason: str | None
    utc_offset_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ClockFit:
    """How far a board's clock lies behind the session's: t_session = t_device + dt.

    Attributes:
        t_ns: when the fit holds best, session clock.
        dt_session_device_s: dt at that time.
        skew: growth of dt, seconds per second.
        boot_id: of the board, whose clock begins again with each boot; None: of all.
    """

    t_ns: int
    dt_session_device_s: float
    skew: float
    boot_id: int | None = None


_TASK_SCHEMA = """
CREATE TABLE IF NOT EXISTS cards (sha256 TEXT PRIMARY KEY, id TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS card_uses (take TEXT PRIMARY KEY, card_sha256 TEXT NOT NULL, variation TEXT);
CREATE TABLE IF NOT EXISTS steps (
  n INTEGER PRIMARY KEY, take TEXT NOT NULL, step TEXT NOT NULL, text TEXT NOT NULL, t_ns INTEGER NOT NULL,
  last INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class StepMark:
    """When a step of the work began, as the collector said it.

    Attributes:
        step: its id on the card.
        text: its sentence, in English.
        t_ns: session clock.
        last: whether no other step follows it on the card.
    """

    step: str
    text: str
    t_ns: int
    last: bool


@dataclass(frozen=True, slots=True)
class CardUse:
    """The task card that a take was done by.

    Attributes:
        card: its id.
        sha256: of its file.
        text: the file.
        variation: id of the way it was to be done; None where the card has none.
        marks: by time; empty where the collector marked no step.
    """

    card: str
    sha256: str
    text: str
    variation: str | None
    marks: tuple[StepMark, ...]


class Journal:
    """An open journal, for any thread. Every call is one transaction, on the disk when it returns."""

    def __init__(self, session: Path) -> None:
        self._path = session / JOURNAL
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            self._db.executescript(_TASK_SCHEMA)
            for table, column in (("clock_fits", "boot_id"), ("takes", "utc_offset_ns")):
                if column not in _columns(self._db, table):  # begun by an older handcap
                    self._db.execute(f"ALTER TABLE {table} ADD COLUMN {column} INTEGER")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> SessionError:
        return SessionError(
            f"the journal cannot be written ({error})",
            where=self._path,
            mend="free some disk space and check that you may write here, then run `handcap recover`",
        )

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written meanwhile is one transaction: all of it or nothing. Raises SessionError."""
        with self._lock:
            self._run("BEGIN")
            try:
                yield
                self._run("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk may have rolled it back already
                    self._db.execute("ROLLBACK")
                raise

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> None:
        try:
            with self._lock:
                self._db.execute(sql, values)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def take_started(self, take: str, task: str | None, utc_offset_ns: int | None = None) -> None:
        sql = "INSERT INTO takes (id, task, state, utc_offset_ns) VALUES (?, ?, 'open', ?)"
        self._run(sql, (take, task, utc_offset_ns))

    def take_closed(
        self,
        take: str,
        state: TakeState,
        span_ns: tuple[int, int] | None = None,
        counts: Mapping[str, int] | None = None,
        reason: str | None = None,
    ) -> None:
        """Write how a take ended; counts only of what is surely on the disk."""
        first_ns, last_ns = span_ns or (None, None)
        text = None if counts is None else json.dumps(dict(sorted(counts.items())))
        self._run(
            "INSERT INTO takes (id, state, first_ns, last_ns, counts, reason) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET state = excluded.state, first_ns = excluded.first_ns, "
            "last_ns = excluded.last_ns, counts = excluded.counts, reason = excluded.reason",
            (take, state, first_ns, last_ns, text, reason),
        )

    def take_discarded(self, take: str, reason: str) -> None:
        """A take that has ended was thrown away; what was counted of it stays."""
        self._run("UPDATE takes SET state = 'discarded', reason = ? WHERE id = ?", (reason, take))

    def take_erased(self, take: str, why: str) -> None:
        """Only that there was such a take stays, and why it is gone."""
        with self.together():
            self._run(
                "INSERT INTO takes (id, state, reason) VALUES (?, 'erased', ?) ON CONFLICT (id) DO UPDATE SET "
                "state = 'erased', first_ns = NULL, last_ns = NULL, counts = NULL, reason = excluded.reason",
                (take, why),
            )
            self._run("DELETE FROM faults WHERE take = ?", (take,))
            self._run("DELETE FROM clock_fits WHERE take = ?", (take,))

    def fault(self, code: str, detail: str, *, take: str | None, t_ns: int | None, device: str | None) -> None:
        self._run(
            "INSERT INTO faults (take, t_ns, device, code, detail) VALUES (?, ?, ?, ?, ?)",
            (take, t_ns, device, code, detail),
        )

    def clock_fit(
        self,
        device: str,
        t_ns: int,
        dt_session_device_s: float,
        skew: float,
        residual_s: float,
        *,
        take: str | None,
        boot_id: int | None = None,
    ) -> None:
        """t_session = t_device + dt at session time `t_ns`, growing by `skew` a second, in one boot or all."""
        self._run(
            "INSERT INTO clock_fits (take, device, t_ns, dt_session_device_s, skew, residual_s, boot_id) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (take, device, t_ns, dt_session_device_s, skew, residual_s, boot_id),
        )

    def card_used(self, take: str, card: str, sha256: str, text: str, variation: str | None) -> None:
        """Which card a take is done by, and in which way."""
        self._run("INSERT OR IGNORE INTO cards (sha256, id, text) VALUES (?, ?, ?)", (sha256, card, text))
        sql = "INSERT OR REPLACE INTO card_uses (take, card_sha256, variation) VALUES (?, ?, ?)"
        self._run(sql, (take, sha256, variation))

    def step_began(self, take: str, mark: StepMark) -> None:
        sql = "INSERT INTO steps (take, step, text, t_ns, last) VALUES (?, ?, ?, ?, ?)"
        self._run(sql, (take, mark.step, mark.text, mark.t_ns, int(mark.last)))

    def takes(self) -> dict[str, TakeRecord]:
        return _take_records(self._db)

    def close(self) -> None:
        with self._lock:
            self._db.close()


def _take_records(db: sqlite3.Connection) -> dict[str, TakeRecord]:
    offset = "utc_offset_ns" if "utc_offset_ns" in _columns(db, "takes") else "NULL"
    rows = db.execute(f"SELECT id, task, state, first_ns, last_ns, counts, reason, {offset} FROM takes ORDER BY id")
    return {
        id: TakeRecord(id, task, state, first, last, None if counts is None else json.loads(counts), reason, offset)
        for id, task, state, first, last, counts, reason, offset in rows
    }


def read_take_records(session: Path) -> dict[str, TakeRecord]:
    """Takes as journalled; empty where the journal was not copied along or cannot be read."""
    return _reading(session, _take_records, {})


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happened while a take ran.

    Attributes:
        t_ns: when, session clock.
        device: that it happened to; None: to the recorder.
    """

    code: str
    detail: str
    take: str | None
    t_ns: int | None
    device: str | None


def read_faults(session: Path, take: str) -> list[Fault]:
    """What happened during a take, in order."""

    def query(db: sqlite3.Connection) -> list[Fault]:
        sql = "SELECT code, detail, take, t_ns, device FROM faults WHERE take = ? ORDER BY n"
        return [Fault(*row) for row in db.execute(sql, (take,))]

    return _reading(session, query, [])


def read_clock_fits(session: Path, take: str, device: str) -> list[ClockFit]:
    """Fits of a device's clock during a take, or without a take, by time."""

    def query(db: sqlite3.Connection) -> list[ClockFit]:
        boot = "boot_id" if "boot_id" in _columns(db, "clock_fits") else "NULL"
        sql = (
            f"SELECT t_ns, dt_session_device_s, skew, {boot} FROM clock_fits "
            "WHERE device = ? AND (take = ? OR take IS NULL) ORDER BY t_ns"
        )
        return [ClockFit(*row) for row in db.execute(sql, (device, take))]

    return _reading(session, query, [])


def read_card_uses(session: Path) -> dict[str, CardUse]:
    """Take to the card it was done by; only those that were done by one."""

    def query(db: sqlite3.Connection) -> dict[str, CardUse]:
        if not _columns(db, "card_uses"):  # written by an older handcap
            return {}
        marks: dict[str, list[StepMark]] = {}
        for take, step, text, t_ns, last in db.execute("SELECT take, step, text, t_ns, last FROM steps ORDER BY t_ns"):
            marks.setdefault(take, []).append(StepMark(step, text, t_ns, bool(last)))
        sql = "SELECT take, id, sha256, text, variation FROM card_uses JOIN cards ON card_sha256 = sha256 ORDER BY take"
        return {
            take: CardUse(card, sha256, text, variation, tuple(marks.get(take, ())))
            for take, card, sha256, text, variation in db.execute(sql)
        }

    return _reading(session, query, {})


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}


def _reading(session: Path, query: Callable[[sqlite3.Connection], _T], absent: _T) -> _T:
    path = session / JOURNAL
    if not path.is_file():
        return absent
    # A closed journal is read without leaving side files; one that is open (or was, when its writer died) needs them.
    running = path.with_name(f"{path.name}-wal").exists()
    for flags in ("mode=ro", "immutable=1") if running else ("immutable=1",):
        try:
            db = sqlite3.connect(f"{path.absolute().as_uri()}?{flags}", uri=True)
            try:
                return query(db)
            finally:
                db.close()
        except (sqlite3.Error, ValueError):
            continue
    return absent
