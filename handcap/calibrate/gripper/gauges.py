"""Which gauge block each hold was on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handcap.causes import Cause
from handcap.geometry import Array


@dataclass(frozen=True, slots=True)
class GaugeParams:
    """What counts as a gauge recognised."""

    fewest_gauges: int = 3  # two give a line and nothing that could contradict it
    fewest_holds: int = 5
    scale: float = (
        0.15  # share by which an uncalibrated instrument may be off: printed linkage, lens, place of the tags
    )
    off_share: float = 0.25  # of the smallest step between two gauges: beyond, it might be another block
    most_off_m: float = 1.5e-3  # printed jaws and a magnet off its axis are straighter
    same_m: float = 1.2e-3  # two holds this near are on one block
    unit: float = 3.0  # a scale wrong by so many times is no scale but a unit

    def tolerance_m(self, gauges_m: Array) -> float:
        return min(self.off_share * float(np.diff(np.unique(gauges_m)).min()), self.most_off_m)


@dataclass(frozen=True, eq=False, slots=True)
class Recognised:
    """Holds on known blocks.

    Attributes:
        gauge: (k,) which of the gauges each hold was on.
        scale, offset_m: opening = offset + scale × signal, as far as a line fits.
        off_m: (k,) how far each hold lies off that line.
        in_order: whether the blocks came in the order that was told; else their widths told them apart.
    """

    gauge: NDArray[np.int64]
    scale: float
    offset_m: float
    off_m: Array
    in_order: bool = False


def recognise(value_m: Array, gauges_m: Array, params: GaugeParams | None = None) -> Recognised | Cause:
    """Tell the blocks from the order they were taken in, or else from their widths.

    Args:
        value_m: (k,) the signal at every hold, in time; at about the true scale, its zero anywhere.
        gauges_m: (n,) widths in the order in which the jaws closed on them, then back, then again.

    Returns:
        Every hold's gauge; or why nobody can know.
    """
    params = params or GaugeParams()
    if len(np.unique(gauges_m)) < params.fewest_gauges:
        return Cause("gauges_few", measured=len(np.unique(gauges_m)), limit=params.fewest_gauges)
    if not len(value_m):
        return Cause("no_holds")
    if len(value_m) < max(params.fewest_holds, params.fewest_gauges):
        return Cause("holds_few", measured=len(value_m), limit=max(params.fewest_holds, params.fewest_gauges))
    span_m, seen_m = np.ptp(gauges_m), np.ptp(value_m)
    if seen_m > params.same_m and not 1 / params.unit < span_m / seen_m < params.unit:
        return Cause("gauge_unit", measured=1e3 * float(span_m), limit=1e3 * float(seen_m))
    in_order = _fitted(value_m, gauges_m, _there_and_back(len(gauges_m), len(value_m)))
    if len(value_m) >= len(gauges_m) and _good(in_order, gauges_m, params):
        return replace(in_order, in_order=True)
    return _by_width(value_m, gauges_m, params)


def _there_and_back(gauges: int, holds: int) -> NDArray[np.int64]:
    turn = np.concatenate([np.arange(gauges), np.arange(gauges)[::-1]])
    return np.resize(turn, holds)


def _fitted(value_m: Array, gauges_m: Array, gauge: NDArray[np.int64]) -> Recognised:
    A = np.stack([np.ones(len(value_m)), value_m], axis=1)
    (offset, scale), *_ = np.linalg.lstsq(A, gauges_m[gauge])
    return Recognised(gauge, float(scale), float(offset), A @ [offset, scale] - gauges_m[gauge])


def _good(found: Recognised, gauges_m: Array, params: GaugeParams) -> bool:
    fits = float(np.abs(found.off_m).max()) <= params.tolerance_m(gauges_m)
    return fits and abs(found.scale - 1) <= params.scale


def _by_width(value_m: Array, gauges_m: Array, params: GaugeParams) -> Recognised | Cause:
    """As many different widths as gauges: the narrowest is the narrowest."""
    order = np.argsort(value_m, kind="stable")
    step = np.diff(value_m[order]) > params.same_m
    rank = np.empty(len(value_m), np.int64)
    rank[order] = np.concatenate([[0], np.cumsum(step)])
    seen, known = int(rank.max()) + 1, np.argsort(gauges_m, kind="stable")
    if seen < len(gauges_m):
        return Cause("gauges_missing", measured=seen, limit=len(gauges_m))
    if seen > len(gauges_m):
        return _odd_one(value_m, gauges_m, params)
    found = _fitted(value_m, gauges_m, known[rank])
    if abs(found.scale - 1) > params.scale:
        return Cause("gauge_scale", measured=100 * float(found.scale), limit=100 * params.scale)
    if not _good(found, gauges_m, params):
        worst = float(np.abs(found.off_m).max())
        return Cause("gauge_disagrees", measured=1e3 * worst, limit=1e3 * params.tolerance_m(gauges_m))
    return found


def _odd_one(value_m: Array, gauges_m: Array, params: GaugeParams) -> Cause:
    """More widths than gauges: a block was missed or another one taken, or the instrument slipped half-way."""
    order = _there_and_back(len(gauges_m), len(value_m))
    slips = [abs(shift) for shift, good in _steps(value_m, gauges_m, order, params) if good]
    if slips:
        return Cause("jaw_slips", measured=1e3 * min(slips))
    off = np.abs(value_m[:, None] - gauges_m - np.median(value_m - gauges_m[order])).min(axis=1)
    return Cause("block_missed", measured=1e3 * float(off.max()), limit=1e3 * params.tolerance_m(gauges_m))


def _steps(
    value_m: Array, gauges_m: Array, gauge: NDArray[np.int64], params: GaugeParams
) -> Sequence[tuple[float, bool]]:
    """For a slip before each hold but the first two and last two: how far, and whether all holds fit then."""
    out: list[tuple[float, bool]] = []
    for at in range(2, len(value_m) - 1):
        A = np.stack([np.ones(len(value_m)), value_m, np.arange(len(value_m)) >= at], axis=1)
        x, *_ = np.linalg.lstsq(A, gauges_m[gauge])
        off = np.abs(A @ x - gauges_m[gauge]).max()
        out.append((float(x[2]), bool(off <= params.tolerance_m(gauges_m) and abs(x[1] - 1) <= params.scale)))
    return out
