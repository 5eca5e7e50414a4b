"""`handcap doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handcap.cli.devices import Ports, Seconds, Store, as_dict, examined
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.errors import DeviceError


def doctor(
    port: Ports = None,
    seconds: Seconds = 5.0,
    folder: Annotated[Path, typer.Option(help="Where sessions are recorded: is there room?")] = Path(),
    udev_rule: Annotated[
        bool, typer.Option("--udev-rule", help="Print the rule that lets you open boards, and do nothing else.")
    ] = False,
    store: Store = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """What is wrong with boards, cables and this computer, and how to mend it."""
    from handcap.causes import Cause
    from handcap.devices import findings
    from handcap.devices.discovery import udev_rule as rule

    if udev_rule:
        finish(Outcome(lines=[rule()], details={"udev_rule": rule()}), as_json)
        return
    reports = examined(port, seconds, store)
    found = findings.findings(reports) if reports else [Cause("no_device")]
    found += findings.disk(folder)
    lines: list[str] = []
    for cause in found:
        lines += [cause.text(lang), f"  → {cause.mend(lang)}"]
    details = {"boards": [as_dict(report) for report in reports], "findings": [cause.as_dict(lang) for cause in found]}
    error = None
    if found:
        n = len(found)
        what = {"en": f"{n} thing{'s' if n > 1 else ''} to mend", "zh": f"发现 {n} 个问题"}[lang]
        mend = {
            "en": "do what the arrows say, then run `handcap doctor` again",
            "zh": "请按箭头提示处理,然后再次运行 `handcap doctor`",
        }
        error = DeviceError(what, mend=mend[lang])
    else:
        n = len(reports)
        lines = [{"en": f"{n} board{'s' if n > 1 else ''}, nothing wrong", "zh": f"{n} 块主板,一切正常"}[lang]]
    finish(Outcome(lines=lines, details=details, error=error), as_json)
