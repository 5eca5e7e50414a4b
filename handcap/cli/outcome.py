"""How a verb ends: for people in lines, for programs as one JSON object."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from handcap.errors import HandcapError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a verb did.

    Attributes:
        outputs: files and folders written.
        takes: take id to verdict or state.
        lines: what a person reads.
        details: more for programs; joins `takes` in the summary.
        error: why the verb did not reach its goal although it ran, None when it did.
    """

    outputs: Sequence[Path] = ()
    takes: Mapping[str, str] = field(default_factory=dict)
    lines: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    error: HandcapError | None = None

    def as_dict(self) -> dict[str, Any]:
        head: dict[str, Any] = {"ok": self.error is None}
        if self.error is not None:
            head["error"] = self.error.as_dict()
        summary = {"takes": dict(self.takes), **self.details}
        return head | {"outputs": [str(path) for path in self.outputs], "summary": summary}


def finish(outcome: Outcome, as_json: bool) -> None:
    """Print an outcome; leaves with exit code 1 when it carries an error."""
    if as_json:
        print_json(outcome.as_dict())
    else:
        for line in outcome.lines:
            print(line)
        if outcome.error is not None:
            print(f"handcap: {outcome.error}", file=sys.stderr)
    if outcome.error is not None:
        raise typer.Exit(1)


_json_fd: int | None = None


@contextmanager
def stdout_for_json(wanted: bool) -> Iterator[None]:
    """Keep stdout for `print_json` alone: what libraries print there, in C too, goes to stderr meanwhile."""
    global _json_fd
    if not wanted:
        yield
        return
    sys.stdout.flush()
    _json_fd = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(_json_fd, 1)
        os.close(_json_fd)
        _json_fd = None


def print_json(values: Mapping[str, Any]) -> None:
    """One object, UTF-8, on the real stdout."""
    line = json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"
    with open(1 if _json_fd is None else _json_fd, "wb", closefd=False) as stdout:
        stdout.write(line.encode())
