"""What reviewers said about takes, as far as exports must know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from handcap.errors import FormatError

Decision = Literal["accepted", "rejected"]
_WORDS: dict[str, Decision] = {
    "accept": "accepted",
    "accepted": "accepted",
    "reject": "rejected",
    "rejected": "rejected",
}


def read_decisions(session: Path) -> dict[str, Decision]:
    """Take id to what people decided: each reviewer's last word counts, and one rejection outweighs all acceptances.

    Raises:
        FormatError: a line cannot be read; nobody knows then whether it rejected something.
    """
    decided: dict[str, Decision] = {}
    for path in sorted((session / "review").glob("*.jsonl")):
        for take, decision in _last_words(path, session).items():
            decided[take] = "rejected" if "rejected" in (decision, decided.get(take)) else "accepted"
    return decided


def _last_words(path: Path, session: Path) -> dict[str, Decision]:
    words: dict[str, Decision] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
            take, verdict = row.get("take"), row.get("verdict")
            decision = None if verdict is None else _WORDS[verdict]
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
            raise FormatError(
                "this line of a review cannot be read, so nobody knows what it rejected",
                where=f"{path}, line {number}",
                mend="copy the review file again from the reviewer's computer",
            ) from error
        if isinstance(take, str) and decision is not None:
            words[take] = decision
    return words
