"""session.json: what was recorded, where and by whom, without personal data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from handcap.errors import SessionError
from handcap.session.folder import SESSION_JSON, replace_file

FORMAT_VERSION = 1


class SessionClock(BaseModel):
    """Which clock the stamps come from.

    Attributes:
        kind: "monotonic" (host), "import" (the IMU's own stamps) or "simulation" (starts at 0).
        utc_offset_ns: UTC minus session clock, ns; None where nobody knows.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["monotonic", "import", "simulation"]
    utc_offset_ns: int | None = None


class SessionMeta(BaseModel):
    """What session.json holds; aliases only, no personal data.

    Attributes:
        id: unique name of the session.
        created: ISO 8601, UTC.
        origin: how the bytes came here.
        versions: program name to version.
    """

    model_config = ConfigDict(frozen=True)

    format_version: int = FORMAT_VERSION
    id: str = Field(min_length=1, max_length=200)
    created: str
    origin: Literal["capture", "import", "simulation"]
    clock: SessionClock
    site: str | None = None
    scene: str | None = None
    room: str | None = None
    objects: list[str] = []
    lighting: str | None = None
    task: str | None = None
    collector: str | None = None
    device_uids: dict[str, str] = {}
    consent_id: str | None = None
    versions: dict[str, str] = {}


def read_meta(session: Path) -> SessionMeta:
    """session.json of a session folder; says so when it is missing, torn or newer than this program."""
    path = session / SESSION_JSON
    if not path.is_file():
        raise SessionError(
            "not a session: it has no session.json",
            where=session,
            mend="give the folder written by `handcap import`, `simulate` or `capture`",
        )
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise SessionError(f"cannot be read ({error})", where=path, mend="copy the session again") from error
    version = values.get("format_version", FORMAT_VERSION) if isinstance(values, dict) else FORMAT_VERSION
    if version != FORMAT_VERSION:  # what an unknown format holds must not be guessed at
        raise SessionError(
            f"written by a newer handcap (format {version!r}, this one knows {FORMAT_VERSION})",
            where=path,
            mend="update handcap, then try again",
        )
    try:
        return SessionMeta.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise SessionError(f"{key}: {first['msg']}", where=path, mend="copy the session again") from error


def write_meta(session: Path, meta: SessionMeta) -> None:
    text = json.dumps(meta.model_dump(mode="json"), indent=2, ensure_ascii=False)
    replace_file(session / SESSION_JSON, f"{text}\n".encode())
