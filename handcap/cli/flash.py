"""`handcap flash`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress


def flash(
    device: Annotated[str, typer.Argument(help="Port or number of a board, or the drive of its bootloader.")],
    image: Annotated[Path | None, typer.Option(help="UF2 image; default: the one that came with handcap.")] = None,
    drive: Annotated[
        Path | None, typer.Option(help="Where the bootloader's drive is mounted, if it is not found by itself.")
    ] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Put new firmware on a board, and check what came back."""
    from handcap.devices.flash import flash as put
    from handcap.devices.uf2 import default_image, read_image

    checked = read_image(image or default_image())
    with progress(as_json) as on_progress:
        done = put(device, checked, drive=drive, on_progress=on_progress)
    uid, version = f"{done.after.uid:016x}", done.after.firmware_version
    old = None if done.before is None else done.before.firmware_version
    lines = [
        {
            "en": f"{done.port}: board {uid} runs firmware {version}" + (f" (before: {old})" if old else ""),
            "zh": f"{done.port}:主板 {uid} 已运行固件 {version}" + (f"(之前为 {old})" if old else ""),
        }[lang]
    ]
    details = {
        "flash": {
            "port": done.port,
            "uid": uid,
            "image": str(checked.path),
            "sha256": checked.sha256,
            "firmware_before": old,
            "firmware": version,
            "git_hash": done.after.git_hash,
        }
    }
    finish(Outcome(lines=lines, details=details), as_json)
