"""Reading stamped rows of text: tolerant of dirt, exact about stamps, and never more than one line in memory."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handcap.errors import FormatError
from handcap.formats.findings import Finding, lines_text
from handcap.geometry import Array

_LONGEST_LINE = 4096  # bytes; a row of an IMU or picture list has about 150
_ABSURD = 1e6  # no unit of any inertial sensor gives such a number
_FEW = 0.01  # dirt in more than one row of a hundred is not an accident
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}|[+-]?[0-9]{19}")


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Rows that could be read, in the order of the file.

    Attributes:
        line: (n,) line numbers in the file, from 1.
        stamp: (n,) int64, in whatever unit the file uses.
        fractional: whether stamps had digits after the point (then `stamp` has lost them).
        seconds_like: (n,) float64 of the same stamps, to judge the unit by.
        values: (n, columns) float64; no columns for a picture list.
        names: (n,) file names; empty for numbers.
    """

    line: NDArray[np.int64]
    stamp: NDArray[np.int64]
    seconds_like: Array
    fractional: bool
    values: Array
    names: list[str]

    def __len__(self) -> int:
        return len(self.line)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Rows:
        """The rows of an index or mask, in its order."""
        picked = np.arange(len(self))[index]
        names = [self.names[i] for i in picked] if self.names else []
        return Rows(
            self.line[index], self.stamp[index], self.seconds_like[index], self.fractional, self.values[index], names
        )


def _lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Line number and text; None in place of a line too long to be a row."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
                while (rest := file.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield number, None
                continue
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").strip()


def split(text: str) -> list[str]:
    """Fields of a row: by commas, else by semicolons, else by blanks."""
    for separator in (",", ";"):
        if separator in text:
            fields = [field.strip() for field in text.split(separator)]
            return fields[:-1] if fields[-1] == "" else fields
    return text.split()


def _stamp(text: str) -> Decimal | None:
    if _INTEGER.fullmatch(text):
        return Decimal(text)
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() and value.adjusted() < 19 else None


def read_header(path: Path) -> list[str]:
    """Column names of the first line, lower case, without units; empty when it has none."""
    _, text = next(_lines(path), (0, None))
    if not text or _stamp(split(text.lstrip("#"))[0] if split(text.lstrip("#")) else "") is not None:
        return []
    return [re.sub(r"\[.*", "", field).strip().lower() for field in split(text.lstrip("#"))]


def read_rows(path: Path, where: str, *, columns: int, named: bool = False) -> tuple[Rows, list[Finding]]:
    """All rows of a file.

    Args:
        path: the file; lines that begin with # are skipped, and a first line of words.
        where: how messages call it.
        columns: numbers after the stamp.
        named: whether a file name follows the stamp instead.

    Raises:
        FormatError: when the file cannot be read, or more than a few of its rows cannot.
    """
    lines: list[int] = []
    stamps: list[Decimal] = []
    values: list[list[float]] = []
    names: list[str] = []
    bad: dict[str, list[int]] = {}
    try:
        for number, text in _lines(path):
            if text is not None and (text == "" or text.startswith("#")):
                continue
            fields = [] if text is None else split(text)
            stamp = _stamp(fields[0]) if fields else None
            if stamp is None and number == 1:
                continue  # a header without #
            reason = _fault(fields, stamp, text, columns, named)
            if reason is not None or stamp is None:
                bad.setdefault(reason or "no stamp", []).append(number)
                continue
            lines.append(number)
            stamps.append(stamp)
            if named:
                names.append(fields[1] if len(fields) > 1 else "")
            else:
                values.append([float(field) for field in fields[1 : columns + 1]])
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror})", where=where, mend="copy the file again") from error
    findings = _bad_rows(bad, len(lines), where)
    return (
        Rows(
            np.array(lines, np.int64),
            np.array([int(stamp) if abs(stamp) < 2**63 else 2**63 - 1 for stamp in stamps], np.int64),
            np.array([float(stamp) for stamp in stamps]),
            any(stamp != stamp.to_integral_value() for stamp in stamps),
            np.array(values, float).reshape(len(lines), 0 if named else columns),
            names,
        ),
        findings,
    )


def _fault(fields: list[str], stamp: Decimal | None, text: str | None, columns: int, named: bool) -> str | None:
    if text is None:
        return "line too long"
    if stamp is None:
        return "no stamp"
    if not 0 <= stamp < 2**63:
        return "stamp negative or too large"
    if named:
        return None if len(fields) <= 2 else f"{len(fields)} columns instead of 2"
    if len(fields) != columns + 1:
        return f"{len(fields)} columns instead of {columns + 1}"
    try:
        numbers = [float(field) for field in fields[1:]]
    except ValueError:
        return "not a number"
    if not all(math.isfinite(number) for number in numbers):
        return "NaN or infinite"
    return "absurdly large number" if max(abs(number) for number in numbers) > _ABSURD else None


def _bad_rows(bad: dict[str, list[int]], good: int, where: str) -> list[Finding]:
    total = sum(len(rows) for rows in bad.values())
    reasons = "; ".join(f"{reason}: {len(rows)}" for reason, rows in bad.items())
    rows = tuple(sorted(row for found in bad.values() for row in found)[:5])
    if good == 0:
        detail = f" ({reasons})" if bad else ""
        raise FormatError(f"no row can be read{detail}", where=where, mend="export the recording again")
    if total > few(good + total):
        raise FormatError(
            f"{total} of {good + total} rows cannot be read ({reasons})",
            where=f"{where}{lines_text(rows, total)}",
            mend="export the recording again; a file with so many bad rows cannot be trusted",
        )
    return [Finding("bad_rows", where, total, rows, reasons)] if total else []


def few(n: int) -> int:
    """How many rows out of n may be dirty before the file is refused."""
    return max(2, int(_FEW * n))
