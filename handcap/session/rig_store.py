"""The rig store: one folder per rig, every calibration ever in force, and what became of it.

    <store>/<rig id>/rigs/<date>-<hash>.json       a rig.json, byte for byte
    <store>/<rig id>/events/<time>-<kind>-<hash>.json   added, assigned, verified

A file is written once, under a name that ends in the hash of its bytes, and is never changed: two laptops' stores are
merged by putting their files together, and two programs that write at once cannot spoil each other's. What is in force
follows from the events in the order of their times.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from handcap.clock import parse_utc, utc_text
from handcap.errors import RigError
from handcap.session.folder import cannot_write, replace_file
from handcap.session.rig_file import parse_rig
from handcap.types import Rig

ENVIRONMENT = "HANDCAP_STORE"
State = Literal["in force", "drifting", "expired", "none"]
Checked = Literal["in force", "drifting", "recalibrate"]
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
HASH_LETTERS = 12
LARGEST_FILE = 16 << 20
RIGS, EVENTS = "rigs", "events"
MEND = "copy the store again, or take the file out of it by hand"


def _time_text(text: str) -> str:
    if parse_utc(text) is None:
        raise ValueError("is no time")
    return text


class Event(BaseModel):
    kind: Literal["added", "assigned", "verified"]
    at: Annotated[str, AfterValidator(_time_text)]
    rig_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    to: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    state: Checked | None = None
    text: str = ""

    @property
    def when(self) -> datetime:
        at = parse_utc(self.at)
        assert at is not None
        return at


@dataclass(frozen=True, eq=False, slots=True)
class Calibration:
    """One rig.json of the store.

    Attributes:
        rig: as read.
        sha256: of its bytes.
        path: where it lies.
    """

    rig: Rig
    sha256: str
    path: Path

    @property
    def created(self) -> datetime | None:
        """When its newest part was measured."""
        text = self.rig.provenance.get("created")
        return parse_utc(text) if isinstance(text, str) else None


@dataclass(frozen=True, eq=False, slots=True)
class RigRecord:
    """All that the store knows of one rig.

    Attributes:
        rig_id: its name.
        calibrations: in the order they came into force, the last one is in force; one that came twice is there twice.
        assigned_to: who has it, or None.
        checked, checked_at, check_text: what the last daily check said since the calibration came into force.
    """

    rig_id: str
    calibrations: tuple[Calibration, ...]
    assigned_to: str | None
    checked: Checked | None
    checked_at: datetime | None
    check_text: str

    @property
    def in_force(self) -> Calibration | None:
        return self.calibrations[-1] if self.calibrations else None

    def age_days(self, now: datetime) -> float | None:
        """Of the calibration in force; None where nobody knows."""
        created = None if self.in_force is None else self.in_force.created
        return None if created is None else (now - created).total_seconds() / 86400

    def state(self, now: datetime) -> State:
        """Whether it may be used. A check that asked for a new calibration ends the old one."""
        if self.in_force is None:
            return "none"
        until = parse_utc(self.in_force.rig.valid_until or "")
        if (until is not None and now >= until) or self.checked == "recalibrate":
            return "expired"
        return "drifting" if self.checked == "drifting" else "in force"


def default_store() -> Path:
    """The user's store, or the folder HANDCAP_STORE names."""
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_data_dir("handcap", appauthor=False)) / "rigs"


class RigStore:
    """Calibrations by rig. Reading needs no lock: files appear whole.

    Attributes:
        path: its folder; made when first written to.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = default_store() if path is None else Path(path)

    def ids(self) -> list[str]:
        """Names of the rigs, in order."""
        if not self.path.is_dir():
            return []
        return sorted(p.name for p in self.path.iterdir() if p.is_dir() and _ID.fullmatch(p.name))

    def record(self, rig_id: str) -> RigRecord:
        """Everything about one rig, its hashes checked.

        Raises:
            RigError: there is no such rig, or a file was changed after it was written.
        """
        folder = self.path / require_rig_id(rig_id)
        if not folder.is_dir():
            known = ", ".join(self.ids()) or "none"
            raise RigError(f"no rig {rig_id!r} (rigs: {known})", where=self.path, mend="`handcap rigs add` adds one")
        known = {one.sha256: one for one in map(calibration_of, files_of(folder / RIGS))}
        events = [read_event(path) for path in files_of(folder / EVENTS)]
        events.sort(key=lambda event: (event.when, event.kind, event.rig_sha256 or "", event.to or ""))
        order: list[Calibration] = []
        who: str | None = None
        checked: Checked | None = None
        checked_at: datetime | None = None
        text = ""
        for event in events:
            if event.kind == "added":
                if event.rig_sha256 not in known:
                    raise RigError(
                        f"the calibration {event.rig_sha256} of {event.at} is missing",
                        where=folder,
                        mend="copy the store again, or import the rig's file again",
                    )
                order.append(known[event.rig_sha256])
                checked, checked_at, text = None, None, ""
            elif event.kind == "assigned":
                who = event.to
            else:
                checked, checked_at, text = event.state, parse_utc(event.at), event.text
        return RigRecord(rig_id, tuple(order), who, checked, checked_at, text)

    def records(self) -> list[RigRecord]:
        return [self.record(rig_id) for rig_id in self.ids()]

    def add(self, path: Path, now: datetime, older: bool = False) -> RigRecord:
        """Put a rig.json in force; the same one again changes nothing.

        Args:
            path: its file.
            now: what the clock says.
            older: whether to go back to a calibration older than the one in force.

        Raises:
            RigError: it is none, one of its devices belongs to another rig, or a newer one is in force.
            SessionError: the store cannot be written.
        """
        data = read_small(Path(path))
        rig = parse_rig(data, Path(path))
        rig_id, sha256 = require_rig_id(rig.rig_id), hashlib.sha256(data).hexdigest()
        with self.writing():
            before = self.record(rig_id) if rig_id in self.ids() else RigRecord(rig_id, (), None, None, None, "")
            if before.in_force is not None and before.in_force.sha256 == sha256:
                return before
            self.require_own_devices(rig, path)
            new = Calibration(rig, sha256, path)
            last = None if before.in_force is None else before.in_force.created
            if not older and last is not None and new.created is not None and new.created < last:
                raise RigError(
                    f"measured on {new.created:%Y-%m-%d}, and the one in force on {last:%Y-%m-%d}",
                    where=path,
                    mend="give --older to go back to it",
                )
            folder = self.path / rig_id
            created = new.created or now
            name = f"{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{sha256[:HASH_LETTERS]}.json"
            self.write(folder / RIGS / name, data)
            self._event(rig_id, now, {"kind": "added", "rig_sha256": sha256})
            if rig.assigned_to is not None and rig.assigned_to != before.assigned_to:
                self._event(rig_id, now, {"kind": "assigned", "to": rig.assigned_to})
        return self.record(rig_id)

    def assign(self, rig_id: str, to: str | None, now: datetime) -> RigRecord:
        """Say who has a rig; None: nobody."""
        self.record(rig_id)
        with self.writing():
            self._event(rig_id, now, {"kind": "assigned", "to": to})
        return self.record(rig_id)

    def verified(self, rig_id: str, state: Checked, text: str, now: datetime) -> RigRecord:
        """Keep what a daily check said of the calibration in force."""
        self.record(rig_id)
        with self.writing():
            self._event(rig_id, now, {"kind": "verified", "state": state, "text": text})
        return self.record(rig_id)

    def checked(self, path: Path, state: Checked, text: str, now: datetime) -> RigRecord | None:
        """Keep what a daily check said of a rig.json, where that very file is in force; None where it is not.

        Raises:
            RigError: the file cannot be read, or the store is damaged.
            SessionError: the store cannot be written.
        """
        data = read_small(Path(path))
        sha256, rig_id = hashlib.sha256(data).hexdigest(), parse_rig(data, Path(path)).rig_id
        in_force = self.record(rig_id).in_force if rig_id in self.ids() else None
        return self.verified(rig_id, state, text, now) if in_force is not None and in_force.sha256 == sha256 else None

    def find(self, uids: Mapping[str, str]) -> RigRecord:
        """The rig whose devices are plugged in.

        Args:
            uids: serial number by device, of all that is plugged in.

        Raises:
            RigError: none, several, or parts of several; names the uids and what comes near.
        """
        wanted = set(uids.values())
        found: list[RigRecord] = []
        near: list[str] = []
        for record in self.records():
            if record.in_force is None:
                continue
            own = set(record.in_force.rig.uids.values())
            if own and own == wanted:
                found.append(record)
            elif own & wanted:
                lacks, more = own - wanted, wanted - own
                what = [f"lacks {', '.join(sorted(lacks))}"] if lacks else []
                what += [f"knows nothing of {', '.join(sorted(more))}"] if more else []
                near.append(f"{record.rig_id} {' and '.join(what)}")
        here = ", ".join(f"{device} {uid}" for device, uid in sorted(uids.items())) or "nothing"
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(record.rig_id for record in found)
            raise RigError(f"several rigs have these devices ({here}): {names}", where=self.path, mend="give --rig")
        hint = f"; {'; '.join(near)}" if near else ""
        mend = "plug in the devices of one rig, or calibrate these with `handcap calibrate run`, or give --rig"
        raise RigError(f"no rig has these devices ({here}){hint}", where=self.path, mend=mend)

    def require_own_devices(self, rig: Rig, path: Path) -> None:
        """Refuse a rig with a device that another rig has in force. Raises RigError."""
        taken = [
            f"{uid} belongs to {other.rig_id}"
            for other in self.records()
            if other.rig_id != rig.rig_id and other.in_force is not None
            for uid in sorted(set(rig.uids.values()) & set(other.in_force.rig.uids.values()))
        ]
        if taken:
            raise RigError(
                "; ".join(taken), where=path, mend="calibrate under that rig's id, or calibrate that rig without it"
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store's lock. One writer at a time; a second one waits."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _event(self, rig_id: str, now: datetime, told: Mapping[str, Any]) -> None:
        folder = self.path / rig_id / EVENTS
        # Entries follow one another whatever this computer's clock, or that of the laptop they came from, says.
        last = max((read_event(path).when for path in files_of(folder)), default=None)
        at = now.astimezone(UTC) if last is None else max(now.astimezone(UTC), last + timedelta(microseconds=1))
        data = (json.dumps({"at": utc_text(at), **told}, sort_keys=True, ensure_ascii=False) + "\n").encode()
        self.write(folder / event_name(at, told["kind"], data), data)

    def write(self, path: Path, data: bytes) -> None:
        """A file that was not there yet; to be called while `writing`."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
        if not path.exists():
            replace_file(path, data)


def require_rig_id(rig_id: str) -> str:
    """`rig_id`, or a RigError that says what a rig may be called."""
    if _ID.fullmatch(rig_id) is None:
        raise RigError(f"{rig_id!r} cannot name a rig", mend="use letters, digits, dots, plus and minus signs: R07")
    return rig_id


def files_of(folder: Path) -> list[Path]:
    """What was written there, in the order of the names."""
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def read_small(path: Path) -> bytes:
    """Bytes of a file of no great size. Raises RigError."""
    try:
        if path.exists() and not path.is_file():
            raise RigError("is not a file", where=path, mend="give the rig.json itself")
        if path.stat().st_size > LARGEST_FILE:
            raise RigError("too large to be a rig.json", where=path, mend="give the rig.json itself")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise RigError("no such calibration", where=path, mend="check the path") from error
    except OSError as error:
        raise RigError(f"cannot be read ({error.strerror})", where=path, mend="copy the file again") from error


def unchanged(path: Path) -> tuple[bytes, str]:
    """Bytes and their hash, which the name must end in."""
    data = read_small(path)
    sha256 = hashlib.sha256(data).hexdigest()
    if not path.stem.endswith(sha256[:HASH_LETTERS]):
        raise RigError("was changed after it was written", where=path, mend=MEND)
    return data, sha256


def calibration_of(path: Path) -> Calibration:
    """A rig.json of the store, hash checked. Raises RigError."""
    data, sha256 = unchanged(path)
    return Calibration(parse_rig(data, path), sha256, path)


def read_event(path: Path) -> Event:
    """An event of the store, hash checked. Raises RigError."""
    return parse_event(unchanged(path)[0], path)


def parse_event(data: bytes, path: Path) -> Event:
    """An event from the bytes of its file. Raises RigError."""
    try:
        event = Event.model_validate_json(data)
    except ValidationError as error:
        raise RigError(f"is no entry of a rig store ({error.errors()[0]['msg']})", where=path, mend=MEND) from error
    return event


def event_name(at: datetime, kind: str, data: bytes) -> str:
    """Of the file that holds an event."""
    return f"{at:%Y%m%dT%H%M%S.%fZ}-{kind}-{hashlib.sha256(data).hexdigest()[:HASH_LETTERS]}.json"
