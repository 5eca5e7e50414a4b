"""Stamps of a foreign recording: unit, order, repeats, gaps, rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S, likely_unit
from handcap.errors import FormatError
from handcap.formats.findings import Finding, lines_text
from handcap.formats.rows import Rows, few

_UNIT_NAMES = {"s": ("seconds", "1e9"), "ms": ("milliseconds", "1e6"), "us": ("microseconds", "1e3")}
_GAP_PERIODS = 1.5  # more than one and a half periods without a row: at least one row is missing
_RATE_TOLERANCE = 0.1
_SHOWN_GAPS = 20
_FAR_S = 10.0  # a row this far from all others, and three recordings away, is a wrong stamp and not a gap


def require_nanoseconds(rows: Rows, rate_hz: float, where: str) -> None:
    """Refuse stamps in another unit: scaling them on a guess could hide a broken export."""
    ticks = np.unique(rows.seconds_like)
    if len(ticks) < 3:
        return
    unit = likely_unit(ticks, rate_hz)
    if unit != "ns":
        name, factor = _UNIT_NAMES[unit]
        raise FormatError(
            f"stamps look like {name}, not nanoseconds (typical step {np.median(np.diff(ticks)):.6g})",
            where=f"{where}, line {rows.line[0]}",
            mend=f"multiply the stamps by {factor} and write them as whole nanoseconds",
        )
    if rows.fractional:
        raise FormatError(
            "stamps have digits after the point; nanoseconds are whole numbers",
            where=f"{where}, line {rows.line[0]}",
            mend="write the stamps as whole nanoseconds",
        )


def without_far_strays(rows: Rows, where: str) -> tuple[Rows, list[Finding]]:
    """Drop a few rows whose stamp lies many recordings away: a flipped digit, or a clock that was not set yet."""
    low, middle, high = np.percentile(rows.stamp - rows.stamp.min(), [5, 50, 95])
    limit = max(3 * (high - low), _FAR_S * NS_PER_S)
    far = np.abs(rows.stamp - rows.stamp.min() - middle) > limit
    n = int(far.sum())
    if n == 0 or n > few(len(rows)):
        return rows, []
    lines = tuple(int(line) for line in rows.line[far][:5])
    seconds_off = float((rows.stamp[far][0] - rows.stamp.min() - middle) / NS_PER_S)
    return rows.take(~far), [Finding("far_stamps", where, n, lines, f"{seconds_off:.6g} s")]


def in_time_order(rows: Rows, where: str) -> tuple[Rows, list[Finding]]:
    """Rows sorted by stamp; a few strays are sorted in, many mean a broken or doubled file."""
    late = rows.stamp < np.maximum.accumulate(rows.stamp)
    n = int(late.sum())
    if n == 0:
        return rows, []
    lines = tuple(int(line) for line in rows.line[late][:5])
    if n > few(len(rows)):
        i = int(np.flatnonzero(late)[0])
        back_s = (rows.stamp[:i].max() - rows.stamp[i]) / NS_PER_S
        raise FormatError(
            f"time runs backwards: {n} of {len(rows)} stamps are earlier than one before, the first by {back_s:g} s",
            where=f"{where}{lines_text(lines, n)}",
            mend="split the file where the clock was reset or where a second recording begins, or sort it by stamp",
        )
    return rows.take(np.argsort(rows.stamp, kind="stable")), [Finding("out_of_order", where, n, lines)]


def without_repeats(rows: Rows, where: str) -> tuple[Rows, list[Finding]]:
    """Rows with each stamp once. Equal rows are dropped; many stamps with two contents are two streams in one file."""
    repeat = np.concatenate([[False], rows.stamp[1:] == rows.stamp[:-1]])
    if not repeat.any():
        return rows, []
    first = np.maximum.accumulate(np.where(repeat, 0, np.arange(len(rows))))
    if rows.names:
        equal = np.array([rows.names[i] == rows.names[j] for i, j in enumerate(first)])
    else:
        equal = np.all(rows.values == rows.values[first], axis=1)
    conflict = repeat & ~equal
    n = int(conflict.sum())
    lines = tuple(int(line) for line in rows.line[conflict][:5])
    if n > few(len(rows)):
        i = int(np.flatnonzero(conflict)[0])
        if repeat.sum() > 0.6 * len(rows):
            raise FormatError(
                f"stamps have lost their last digits: {len(rows)} rows share {int((~repeat).sum())} stamps",
                where=f"{where}, line {rows.line[first[i]]}",
                mend="export it again with whole nanoseconds; a spreadsheet program shortens them when it saves",
            )
        raise FormatError(
            f"two streams in one file: {n} of {len(rows)} rows repeat a stamp with other content, "
            f"the first in lines {rows.line[first[i]]} and {rows.line[i]}",
            where=where,
            mend="export each sensor to a file of its own",
        )
    findings: list[Finding] = []
    if n:
        findings.append(Finding("same_stamp", where, n, lines))
    dropped = repeat & equal
    if dropped.any():
        shown = tuple(int(line) for line in rows.line[dropped][:5])
        findings.append(Finding("repeated_rows", where, int(dropped.sum()), shown))
    return rows.take(~repeat), findings


def period_ns(stamp: NDArray[np.int64]) -> float:
    """Median step, ns; NaN with fewer than two stamps."""
    return float(np.median(np.diff(stamp))) if len(stamp) > 1 else float("nan")


def gaps(rows: Rows, where: str) -> list[Finding]:
    """One finding for each hole longer than one and a half periods, at most the 20 longest, in time order."""
    step = np.diff(rows.stamp)
    holes = np.flatnonzero(step > _GAP_PERIODS * period_ns(rows.stamp)) if len(step) else np.array([], int)
    longest = np.sort(holes[np.argsort(-step[holes], kind="stable")][:_SHOWN_GAPS])
    start = rows.stamp[0] if len(rows) else 0
    return [
        Finding(
            "gap",
            where,
            1,
            (int(rows.line[i]),),
            f"{step[i] / NS_PER_S:.4g} s, {(rows.stamp[i] - start) / NS_PER_S:.3f} s after the first row",
            (int(rows.stamp[i]), int(rows.stamp[i + 1])),
        )
        for i in longest
    ]


def measured_rate(rows: Rows, stated_hz: float | None, where: str) -> tuple[float, list[Finding]]:
    """The rate to believe: the stated one when the stamps agree, else the measured one."""
    period = period_ns(rows.stamp)
    if not period > 0:
        return stated_hz or 1.0, []
    rate = NS_PER_S / period
    if stated_hz is None:
        return rate, [Finding("default_rate", where, detail=f"{rate:.4g} Hz")]
    if abs(rate / stated_hz - 1) > _RATE_TOLERANCE:
        return rate, [Finding("rate", where, detail=f"{rate:.4g} Hz, not {stated_hz:g} Hz as sensor.yaml says")]
    return stated_hz, []
