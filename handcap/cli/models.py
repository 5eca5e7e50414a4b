"""`handcap models`: the weights that come from outside."""

from __future__ import annotations

import typer

from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress

app = typer.Typer(no_args_is_help=True, help="Weights of the neural networks.")


@app.callback()
def _group() -> None:
    pass


@app.command("fetch")
def fetch(as_json: AsJson = False, lang: Lang = "en") -> None:
    """Download the weights of the hand and face detectors (36 MB once), checked, into your cache."""
    from handcap import models

    with progress(as_json) as on_progress:
        home = models.fetch(on_progress)
    names = sorted(models.SHA256)
    head = {"en": f"{home}: {', '.join(names)}", "zh": f"{home}:{'、'.join(names)}"}[lang]
    finish(Outcome([home / name for name in names], lines=[head]), as_json)
