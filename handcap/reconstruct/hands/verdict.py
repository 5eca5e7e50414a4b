"""Is a bare hand seen well, where, and if not, why. It says nothing about the take: hands may leave the view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.causes import Cause, Verdict
from handcap.clock import seconds
from handcap.geometry import Array
from handcap.reconstruct.inputs import runs
from handcap.types import Stamps


@dataclass(frozen=True, slots=True)
class HandLimits:
    """Where a hand stops being simply ok; each is engineering judgement."""

    # A glance aside or a step with hanging arms takes a second or two and costs no handling; longer ones hide some.
    longest_unseen_s: float = 2.0
    least_seen: float = 0.5  # share of the take; a hand that works is in view for most of it
    most_sigma_m: float = 0.05  # per axis: half a palm; two views give 0.016, one alone 0.05 to 0.1
    shortest_span_s: float = 0.5  # a reach or a grasp takes as long


@dataclass(frozen=True, slots=True)
class HandJudgement:
    """The stage's proposal for one hand.

    Attributes:
        verdict: ok; partial: seen, and lost, seldom seen or vague for longer than usual; refused: nowhere seen well.
        causes: why it is not simply ok, the body named in each.
        spans_ok_s: (start, end) from the first picture of the head's followed camera, seen well enough.
        numbers: what it rests on.
    """

    verdict: Verdict
    causes: tuple[Cause, ...]
    spans_ok_s: tuple[tuple[float, float], ...]
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class HandRows:
    """How well a hand is placed, a row per picture.

    Attributes:
        sigma_m: (n,) of its joints per axis, their mean; NaN where it has no pose.
        views: (n,) cameras that see it.
    """

    sigma_m: Array
    views: NDArray[np.int64]

    @staticmethod
    def unseen(rows: int) -> HandRows:
        return HandRows(np.full(rows, np.nan), np.zeros(rows, np.int64))


def judge(
    body: str, camera_t_ns: Stamps, rows: HandRows, known: NDArray[np.bool_], limits: HandLimits
) -> HandJudgement:
    """Verdict on one hand.

    Args:
        body: left_hand or right_hand.
        camera_t_ns: (n,) pictures of the followed camera.
        known: (n,) whether the head has a pose; where it has none, nothing is held against the hand.
    """
    placed = np.isfinite(rows.sigma_m)
    if not placed.any():
        return HandJudgement("refused", (Cause("hand_never_seen", body),), ())
    t_s = seconds(camera_t_ns, int(camera_t_ns[0]))
    vague = placed & (rows.sigma_m > limits.most_sigma_m)
    guessed = vague & (rows.views < 2)
    causes = _lost(body, t_s, placed, known, limits)
    for a, b in runs(guessed):
        if t_s[b] - t_s[a] > limits.longest_unseen_s:
            causes.append(_one_view(body, t_s, rows.sigma_m, a, b, limits))
    seen, good = (float(each.sum() / max(known.sum(), 1)) for each in (placed, placed & ~vague))
    if seen < limits.least_seen:
        causes.append(_seldom(body, seen, limits))
    spans = tuple(
        (float(t_s[a]), float(t_s[b])) for a, b in runs(placed & ~vague) if t_s[b] - t_s[a] >= limits.shortest_span_s
    )
    if not causes and (not spans or good < limits.least_seen):  # many pieces, each too short or too vague
        first, last = (int(k) for k in np.flatnonzero(placed)[[0, -1]])
        mostly_guessed = guessed.sum() > placed.sum() / 2
        causes.append(
            _one_view(body, t_s, rows.sigma_m, first, last, limits)
            if mostly_guessed
            else _seldom(body, good if spans else 0.0, limits)
        )
    verdict: Verdict = "refused" if not spans else "partial" if causes else "ok"
    return HandJudgement(verdict, tuple(causes), spans)


def _lost(
    body: str, t_s: Array, placed: NDArray[np.bool_], known: NDArray[np.bool_], limits: HandLimits
) -> list[Cause]:
    """Times between two sightings for which the head knew where it was and the hand was nowhere."""
    period_s = np.diff(t_s, append=t_s[-1])
    away_s = np.r_[0.0, np.cumsum(np.where(known & ~placed, period_s, 0.0))]
    rows = np.flatnonzero(placed)
    return [
        Cause("hand_lost", body, (float(t_s[a]), float(t_s[b])), float(away_s[b] - away_s[a]), limits.longest_unseen_s)
        for a, b in zip(rows[:-1], rows[1:], strict=True)
        if away_s[b] - away_s[a] > limits.longest_unseen_s
    ]


def _one_view(body: str, t_s: Array, sigma_m: Array, a: int, b: int, limits: HandLimits) -> Cause:
    span_s, typical_m = (float(t_s[a]), float(t_s[b])), float(np.nanmedian(sigma_m[a : b + 1]))
    return Cause("hand_one_view", body, span_s, 100 * typical_m, 100 * limits.most_sigma_m)


def _seldom(body: str, seen: float, limits: HandLimits) -> Cause:
    return Cause("hand_seldom_seen", body, None, 100 * seen, 100 * limits.least_seen)
