"""JSON that is the same on every run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, values: Mapping[str, Any], *, sort_keys: bool = True) -> None:
    """Indented UTF-8; the same values give the same bytes."""
    text = json.dumps(values, indent=2, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")
