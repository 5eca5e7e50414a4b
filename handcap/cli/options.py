"""Options that every verb has."""

from __future__ import annotations

from typing import Annotated

import typer

from handcap.causes import Language

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
Lang = Annotated[Language, typer.Option("--lang", help="Language of verdicts and messages.")]
