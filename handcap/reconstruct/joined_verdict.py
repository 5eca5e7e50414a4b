"""What is said of a take from what its stretches say: causes, spans, numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from handcap.causes import Cause
from handcap.clock import seconds
from handcap.reconstruct.inputs import runs
from handcap.reconstruct.pieces import Piece
from handcap.reconstruct.rig_take import Spans, Whole
from handcap.types import Trajectory

_COUNTED = {
    *("imu_samples", "keyframes", "keyframes_registered", "start_keyframes", "landmarks", "stations"),
    *("observations", "joined_tracks", "path_m", "tag_sightings"),
}
_TOUCH_S = 0.15  # spans less than a few pictures apart are one


def merged_causes(pieces: Sequence[Piece], of: Callable[[Whole], Sequence[Cause]]) -> list[Cause]:
    """Each once where every stretch has it throughout, else with the spans in which it holds."""
    said: dict[tuple[str, str | None], list[tuple[Piece, Cause]]] = {}
    for piece in pieces:
        for cause in of(piece.whole):
            said.setdefault((cause.code, cause.body), []).append((piece, cause))
    out: list[Cause] = []
    for some in said.values():
        if all(cause.span_s is None for _, cause in some) and len({piece.start_s for piece, _ in some}) == len(pieces):
            out.append(_worst([cause for _, cause in some]))
            continue
        spans = [
            (span, cause)
            for piece, cause in some
            for span in (piece.shifted((cause.span_s,)) if cause.span_s else [(piece.start_s, piece.end_s)])
        ]
        for a, b in touching([span for span, _ in spans]):
            inside = [cause for (start_s, _), cause in spans if a <= start_s <= b]
            worst = _worst(inside)
            lasted = all(_says_how_long(cause) for cause in inside)
            out.append(replace(worst, span_s=(a, b), measured=b - a if lasted else worst.measured))
    return out


def drifting_causes(poses: Trajectory, first_ns: int, most_sigma_m: float) -> list[Cause]:
    """Where the head's place is known worse than that."""
    sigma_m = np.sqrt(np.trace(poses.cov[:, 3:, 3:], axis1=1, axis2=2))
    t_s = seconds(poses.camera_t_ns, first_ns)
    return [
        Cause("drifting", poses.body, (float(t_s[a]), float(t_s[b])), float(sigma_m[a : b + 1].max()), most_sigma_m)
        for a, b in runs(poses.tracked & (sigma_m > most_sigma_m))
    ]


def without(spans: Spans, hole: tuple[float, float]) -> Spans:
    pieces = [piece for a, b in spans for piece in ((a, min(b, hole[0])), (max(a, hole[1]), b))]
    return tuple((a, b) for a, b in pieces if b > a)


def _says_how_long(cause: Cause) -> bool:
    span = cause.span_s
    return span is not None and cause.measured is not None and abs(cause.measured - (span[1] - span[0])) < 0.2


def _worst(causes: Sequence[Cause]) -> Cause:
    return max(causes, key=lambda cause: 0.0 if cause.measured is None else abs(cause.measured - (cause.limit or 0.0)))


def touching(spans: Sequence[tuple[float, float]], least_s: float = 0.0) -> Spans:
    """Spans in order, those that touch made one, and then those of at least some length."""
    out: list[tuple[float, float]] = []
    for a, b in sorted(spans):
        if out and a <= out[-1][1] + _TOUCH_S:
            out[-1] = (out[-1][0], max(out[-1][1], b))
        else:
            out.append((a, b))
    return tuple((a, b) for a, b in out if b - a >= least_s)


def merged_numbers(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is counted added up, the mean of what is measured in all; anything else is left to the stretches."""
    out: dict[str, Any] = {}
    for name in dict.fromkeys(name for numbers in each for name in numbers):
        values = [numbers[name] for numbers in each if isinstance(numbers.get(name), int | float)]
        if name in _COUNTED and values:
            out[name] = sum(values)
        elif len(values) == len(each):
            out[name] = all(values) if isinstance(values[0], bool) else float(np.mean(values))
        elif values and len(values) == sum(name in numbers for numbers in each):
            out[name] = float(np.mean(values))
    return out


def added(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(s.get(name, 0.0) for s in each) for name in dict.fromkeys(name for s in each for name in s)}


def root_mean_square(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.sqrt(np.mean(np.square(known)))) if known else None
