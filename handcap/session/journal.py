"""journal.sqlite: what happened while recording; belongs to the recording laptop."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from handcap.errors import SessionError
from handcap.session.folder import JOURNAL

_T = TypeVar("_T")
TakeState = Literal["open", "ended", "interrupted", "recovered", "discarded"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS takes (
  id TEXT PRIMARY KEY, task TEXT, state TEXT NOT NULL, first_ns INTEGER, last_ns INTEGER,
  counts TEXT, reason TEXT);
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
            "discarded" (thrown away by whoever recorded it: never exported).
        first_ns, last_ns: span of its stamps, session clock; None while unknown.
        counts: topic to number of pictures or samples, None while unknown: nothing is claimed that was not saved.
    """

    id: str
    task: str | None
    state: TakeState
    first_ns: int | None
    last_ns: int | None
    counts: dict[str, int] | None
    reason: str | None


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


class Journal:
    """An open journal, for one thread at a time. Every call is one transaction, on the disk when it returns."""

    def __init__(self, session: Path) -> None:
        self._path = session / JOURNAL
        try:
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            if "boot_id" not in _columns(self._db, "clock_fits"):  # begun by an older handcap
                self._db.execute("ALTER TABLE clock_fits ADD COLUMN boot_id INTEGER")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> SessionError:
        return SessionError(
            f"the journal cannot be written ({error})",
            where=self._path,
            mend="free some disk space and check that you may write here, then run `handcap recover`",
        )

    def _run(self, sql: str, values: tuple[Any, ...]) -> None:
        try:
            self._db.execute(sql, values)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def take_started(self, take: str, task: str | None) -> None:
        self._run("INSERT INTO takes (id, task, state) VALUES (?, ?, 'open')", (take, task))

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

    def takes(self) -> dict[str, TakeRecord]:
        return _take_records(self._db)

    def close(self) -> None:
        self._db.close()


def _take_records(db: sqlite3.Connection) -> dict[str, TakeRecord]:
    rows = db.execute("SELECT id, task, state, first_ns, last_ns, counts, reason FROM takes ORDER BY id")
    return {
        id: TakeRecord(id, task, state, first_ns, last_ns, None if counts is None else json.loads(counts), reason)
        for id, task, state, first_ns, last_ns, counts, reason in rows
    }


def read_take_records(session: Path) -> dict[str, TakeRecord]:
    """Takes as journalled; empty where the journal was not copied along or cannot be read."""
    return _reading(session, _take_records, {})


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
