"""`handcap review`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from handcap.causes import Language
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress
from handcap.errors import UsageError


def review(
    source: Annotated[list[Path], typer.Argument(help="Session folders.")],
    save: Annotated[Path | None, typer.Option(help="Write the replay to this .rrd file.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Show it in the browser of this computer.")] = False,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Replay takes: video, path, uncertainty, sensors, residuals and verdict on one time line."""
    from handcap import review as replays

    if serve and as_json:
        raise UsageError("--serve runs until interrupted and prints an address, no JSON", mend="leave one of them out")
    takes = replays.find_takes(source)
    if save is None and not serve:
        replays.require_display()
    with tempfile.TemporaryDirectory(prefix="handcap-replay-") as folder:
        path = save or Path(folder) / "replay.rrd"
        with progress(as_json) as on_progress:
            replays.write_replay(takes, path, on_progress=on_progress)
        verdicts = {f"{session.meta.id}/{take}": replays.verdict(session, take) for session, take in takes}
        if len({session.meta.id for session, _ in takes}) == 1:
            verdicts = {name.rpartition("/")[2]: verdict for name, verdict in verdicts.items()}
        lines = [line for session, take in takes for line in replays.spoken_verdict(session, take, lang)]
        if save is not None:
            lines.append(_how_to_open(save, lang))
        finish(Outcome([] if save is None else [save], verdicts, lines), as_json)
        if serve:
            stop = {"en": "Ctrl-C ends it", "zh": "按 Ctrl-C 结束"}[lang]
            replays.serve(path, lambda address: print(f"{address}  ({stop})", flush=True))
        elif save is None:
            replays.open_viewer(path)


def _how_to_open(path: Path, lang: Language) -> str:
    return {"en": f"{path}: open it with `rerun {path}`", "zh": f"{path}:用 `rerun {path}` 打开"}[lang]
