"""Rerun recordings, one file per take: what `handcap review` shows, for those who have only the viewer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from handcap.formats.episodes import Accept, provenance, select
from handcap.formats.output import write_json
from handcap.review import write_replay
from handcap.session import Session, new_folder


@dataclass(frozen=True, slots=True)
class RrdExport:
    """Files written, and why takes were left out."""

    files: tuple[Path, ...]
    takes: dict[str, str]
    left_out: dict[str, str]


def export_rrd(
    session: Session,
    out: Path,
    accept: Accept = "auto",
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> RrdExport:
    """Write `<take>.rrd` for every accepted take, whole with its good pieces named, and handcap.json beside them."""
    selection = select(session, accept)
    names = [f"{chosen.take}.rrd" for chosen in selection.takes]
    with new_folder(out) as folder:
        for k, chosen in enumerate(selection.takes):
            on_progress("Exporting", k / len(names))
            write_replay([(session, chosen.take)], folder / names[k])
        write_json(folder / "handcap.json", provenance(session, selection, {"format": "rrd"}))
    verdicts = {chosen.take: str(chosen.report["verdict"]) for chosen in selection.takes}
    return RrdExport(tuple(out / name for name in names), verdicts, dict(selection.left_out))
