"""What is in a replay, as Rerun's own tool tells it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

RERUN = Path(sys.executable).with_name("rerun")


def rrd(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([RERUN, "rrd", *map(str, arguments)], capture_output=True, text=True, check=False)


def entities(replay: Path) -> dict[str, set[str]]:
    """Entity path to the components logged there."""
    found: dict[str, set[str]] = {}
    for line in rrd("print", replay).stdout.splitlines():
        match = re.search(r"\) - (/\S+) - .*columns: \[(.*)\]", line)
        if match:
            found.setdefault(match[1], set()).update(match[2].split())
    return found
