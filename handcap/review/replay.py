"""Takes in, one Rerun recording out."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handcap.errors import ReviewError
from handcap.review.layout import Page, blueprint
from handcap.review.material import Material, gather
from handcap.review.overlay import log_overlay
from handcap.review.pictures import log_pictures, log_residuals
from handcap.review.plots import log_plots
from handcap.review.space import log_space
from handcap.review.words import drawable, verdict_text
from handcap.session import Session, read

APPLICATION = "handcap"
_FOOTER, _END_BYTES = b"RRF2FOOT", 64


@dataclass(frozen=True, slots=True)
class ReplayParams:
    """How a take is drawn."""

    sigma_limit_m: float = 0.02  # drawn red: a fingertip's width, where grasping gets unreliable


def find_takes(sources: Sequence[Path]) -> list[tuple[Session, str]]:
    """All takes of the sessions given.

    Raises:
        SessionError: a source is no session.
        ReviewError: none of them holds a take.
    """
    sessions = [read(Path(source)) for source in sources]
    found = [(session, take) for session in sessions for take in session.takes]
    if not found:
        names = ", ".join(str(source) for source in sources)
        raise ReviewError("no take to show", where=names, mend="record or import one first")
    return found


def write_replay(
    takes: Sequence[tuple[Session, str]],
    out: Path,
    params: ReplayParams | None = None,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> None:
    """Write takes as one .rrd file, whole or not at all; the same takes give equal logged data.

    Raises:
        ReviewError: `out` exists or cannot be written, or a take has nothing to show.
    """
    out = Path(out)
    if out.exists():
        raise ReviewError("exists already", where=out, mend="give a new file, or remove this one")
    params = params or ReplayParams()
    shown = [(_root(session, take, takes), gather(session, take)) for session, take in takes]
    temporary = out.with_name(f".{out.name}.writing-{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _record(shown, temporary, params, on_progress)
        _require_whole(temporary)
        temporary.replace(out)
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise ReviewError(what, where=out, mend="free some disk space, or give another place") from error
    finally:
        temporary.unlink(missing_ok=True)


def _require_whole(path: Path) -> None:
    """The SDK says nothing when the disk is full; a file that it finished ends in a footer. Raises OSError."""
    with open(path, "rb") as file:
        file.seek(max(path.stat().st_size - _END_BYTES, 0))
        if _FOOTER not in file.read():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _root(session: Session, take: str, takes: Sequence[tuple[Session, str]]) -> str:
    """Entity that holds a take: by its id, and by its session where there are several."""
    several = len({s.meta.id for s, _ in takes}) > 1
    return f"{drawable(session.meta.id)}/take_{take}" if several else f"take_{take}"


def _record(
    shown: Sequence[tuple[str, Material]],
    path: Path,
    params: ReplayParams,
    on_progress: Callable[[str, float], None],
) -> None:
    import rerun as rr

    # No properties and no `log` in time: both would add the clock of this computer to the data.
    name = drawable("+".join(f"{m.take.session.meta.id}/{m.take.id}" for _, m in shown))
    rec: Any = rr.RecordingStream(APPLICATION, recording_id=name, send_properties=False)
    try:
        rec.save(path)
        pages: list[Page] = []
        for k, (root, material) in enumerate(shown):
            on_progress(f"Drawing take {material.take.id}", k / len(shown))
            text = rr.TextDocument(drawable(verdict_text(material, "en")), media_type=rr.MediaType.MARKDOWN)
            rec.log(f"{root}/verdict", text, static=True)
            log_space(rec, root, material, params.sigma_limit_m)
            pages.append(Page(root, material, log_plots(rec, root, material)))
            log_residuals(rec, root, material)
            log_overlay(rec, root, material)
            log_pictures(rec, root, material)
        rec.send_blueprint(blueprint(pages))
    finally:
        rec.disconnect()
