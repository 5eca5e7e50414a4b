"""Whether a gripper holds something, guessed from its jaws alone: they closed, and stopped before they met."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.geometry import Array


@dataclass(frozen=True, slots=True)
class ContactParams:
    """Limits of the guess.

    Attributes:
        least_move_m: of the jaws, to count as opening or closing; hands tremble.
        sigmas: the same in standard deviations of the opening, where that is more.
        near_m: of where the jaws stopped: there the thing is touched.
        shut_m: jaws closer than this met, or hold something thin: nobody can tell.
    """

    least_move_m: float = 0.003
    sigmas: float = 6.0
    near_m: float = 0.001
    shut_m: float = 0.002


def guess_contact(width_m: Array, sigma_m: Array, params: ContactParams | None = None) -> Array:
    """Guess from when until when the jaws hold something.

    A hand that squeezes a trigger closes the jaws until something stops them, and opens them to let go. So between two
    openings the narrowest stretch is a hold, from where the jaws come near it; a pause on the way there is not.

    Args:
        width_m: (f,) opening of the jaws in the order of time, NaN where unknown.
        sigma_m: (f,) its standard deviation.
        params: limits.

    Returns:
        (f,) 1 held, 0 not; NaN where it cannot be told: before the jaws first moved, shut, or unseen.
    """
    params = params or ContactParams()
    guess = np.full(len(width_m), np.nan)
    known = np.flatnonzero(np.isfinite(width_m))
    if not len(known):
        return guess
    width = width_m[known]
    least_m = max(params.least_move_m, params.sigmas * float(np.nanmedian(sigma_m[known])))
    turns = _turns(width, least_m)
    if not turns:
        return guess
    said = np.zeros(len(known))
    said[: turns[0][0]] = np.nan
    ends = [*[k for k, _ in turns[1:]], len(known) - 1]
    for (begin, closes), end in zip(turns, ends, strict=True):
        if not closes:
            continue
        narrowest = float(width[begin : end + 1].min())
        last = end + _run(width[end:], narrowest + params.near_m)  # the jaws rest at it before they open
        near = begin + np.flatnonzero(width[begin:last] <= narrowest + params.near_m)
        said[near] = 1.0 if narrowest > params.shut_m else np.nan
    guess[known] = said
    return guess


def _turns(width: Array, least_m: float) -> list[tuple[int, bool]]:
    """Indices from which the jaws move by `least_m` or more, and whether they close; alternating."""
    turns: list[tuple[int, bool]] = []
    low = high = 0  # of the narrowest and widest since the last turn
    for k, value in enumerate(width):
        low = k if value < width[low] else low
        high = k if value > width[high] else high
        closing = turns[-1][1] if turns else None
        if closing is not False and value > width[low] + least_m:
            turns.append((low, False))
            high = k
        elif closing is not True and value < width[high] - least_m:
            turns.append((high, True))
            low = k
    return turns


def _run(width: Array, most_m: float) -> int:
    """How many leading values are at most `most_m`."""
    beyond = np.flatnonzero(width > most_m)
    return int(beyond[0]) if len(beyond) else len(width)
