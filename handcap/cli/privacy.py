"""`handcap privacy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish

app = typer.Typer(no_args_is_help=True, help="What people in recordings are owed.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command("erase")
def erase(
    session: Annotated[Path, typer.Argument(help="Session folder.")],
    take: Annotated[str, typer.Option(help="The take to erase, 0001.")],
    why: Annotated[str, typer.Option(help="Kept in its tombstone; name no person.")],
    by: Annotated[str, typer.Option(help="Alias of who wishes it.")] = "unnamed",
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Erase a take for good: everything recorded of it, derived from it and said of it."""
    from handcap import session as session_store

    stone = session_store.erase(session, take, why, by)
    size_mb = sum(stone.files.values()) / 1e6
    line = {
        "en": f"{take}: erased on {stone.erased} ({len(stone.files)} files, {size_mb:.1f} MB); what was exported or "
        "copied before lies elsewhere still",
        "zh": f"{take}:已于 {stone.erased} 彻底删除({len(stone.files)} 个文件,{size_mb:.1f} MB);"
        "此前已导出或复制的数据仍在别处",
    }[lang]
    finish(Outcome([], {take: "erased"}, [line], {"erased": stone.model_dump(mode="json")}), as_json)
