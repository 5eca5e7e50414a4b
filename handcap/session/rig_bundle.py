"""All that a store knows of one rig in one file, to carry it to another laptop.

A zip of the rig's folder as it lies in the store, and `manifest.json` with the SHA-256 of every file.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

from handcap.errors import OutputError, RigError
from handcap.session.folder import cannot_write, replace_file
from handcap.session.rig_file import parse_rig
from handcap.session.rig_store import (
    EVENTS,
    HASH_LETTERS,
    LARGEST_FILE,
    RIGS,
    RigRecord,
    RigStore,
    files_of,
    parse_event,
    require_rig_id,
)

_MANIFEST = "manifest.json"
_VERSION = 1
_MOST_FILES = 10_000
_ALL_BYTES = 256 << 20
_NAME = re.compile(rf"({RIGS}|{EVENTS})/[0-9TZ.]{{16,24}}-([a-z]+-)?([0-9a-f]{{{HASH_LETTERS}}})\.json")
_MEND = "export it again with `handcap rigs export`"


def export_rig(store: RigStore, rig_id: str, out: Path) -> Path:
    """Write a rig's folder as one file; the same store gives the same bytes.

    Raises:
        RigError: there is no such rig, or its folder is damaged.
        OutputError: the file exists already.
        SessionError: it cannot be written.
    """
    store.record(rig_id)
    if out.exists():
        raise OutputError("exists already", where=out, mend="give a new file, or remove this one")
    folder = store.path / rig_id
    files = {f"{kind}/{path.name}": path.read_bytes() for kind in (RIGS, EVENTS) for path in files_of(folder / kind)}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = {"version": _VERSION, "rig_id": rig_id, "sha256": hashes}
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in {_MANIFEST: json.dumps(manifest, indent=2, sort_keys=True).encode(), **files}.items():
            packed.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)  # ZipInfo's date is 1980
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    replace_file(out, into.getvalue())
    return out


def import_rig(store: RigStore, path: Path) -> RigRecord:
    """Join a rig's file with what the store has of it. What is in force is what came into force last on either laptop.

    Raises:
        RigError: the file is damaged, was changed, or has a device that belongs to another rig of this store.
        SessionError: the store cannot be written.
    """
    rig_id, files = _opened(path)
    rigs = {
        hashlib.sha256(data).hexdigest(): parse_rig(data, path / name)
        for name, data in files.items()
        if name.startswith(RIGS)
    }
    if any(rig.rig_id != rig_id for rig in rigs.values()):
        raise RigError(f"holds a calibration of another rig than {rig_id!r}", where=path, mend=_MEND)
    events = [parse_event(data, path / name) for name, data in files.items() if name.startswith(EVENTS)]
    added = sorted((event for event in events if event.kind == "added"), key=lambda event: event.when)
    if any(event.rig_sha256 not in rigs for event in added):
        raise RigError("a calibration is missing from it", where=path, mend=_MEND)
    with store.writing():
        if added:
            store.require_own_devices(rigs[str(added[-1].rig_sha256)], path)
        # Calibrations first: an event must never name one that is not there yet.
        for name, data in sorted(files.items(), key=lambda item: not item[0].startswith(RIGS)):
            store.write(store.path / rig_id / name, data)
    return store.record(rig_id)


def _opened(path: Path) -> tuple[str, dict[str, bytes]]:
    """Rig id and files by name, all of them checked against their hashes."""
    try:
        with zipfile.ZipFile(path) as packed:
            members = packed.infolist()
            if len(members) > _MOST_FILES or sum(member.file_size for member in members) > _ALL_BYTES:
                raise RigError("too large to be a rig", where=path, mend=_MEND)
            names = [member.filename for member in members]
            if len(set(names)) < len(names) or names.count(_MANIFEST) != 1:
                raise RigError("not a rig that `handcap rigs export` wrote", where=path, mend=_MEND)
            told: dict[str, bytes] = {}
            for member in members:
                with packed.open(member) as file:  # a wrong size in the directory must not fill the memory
                    told[member.filename] = file.read(min(member.file_size, LARGEST_FILE) + 1)
    except FileNotFoundError as error:
        raise RigError("no such file", where=path, mend="check the path") from error
    except (OSError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise RigError(f"not a rig that `handcap rigs export` wrote ({error})", where=path, mend=_MEND) from error
    rig_id, hashes = _manifest(told.pop(_MANIFEST), path)
    for name, data in told.items():
        match = _NAME.fullmatch(name)
        sha256 = hashlib.sha256(data).hexdigest()
        if match is None or hashes.get(name) != sha256 or not sha256.startswith(match[3]):
            raise RigError(f"{name} was changed after it was exported", where=path, mend=_MEND)
    if missing := sorted(set(hashes) - set(told)):
        raise RigError(f"{missing[0]} is missing from it", where=path, mend=_MEND)
    return rig_id, told


def _manifest(data: bytes, path: Path) -> tuple[str, dict[str, Any]]:
    try:
        values: Any = json.loads(data)
        if values["version"] != _VERSION:
            raise RigError("written by a newer handcap", where=path, mend="update handcap, then try again")
        return require_rig_id(str(values["rig_id"])), dict(values["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RigError(f"its manifest cannot be read ({error})", where=path, mend=_MEND) from error
