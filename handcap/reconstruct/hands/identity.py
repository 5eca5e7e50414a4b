"""Which hand is whose: belief gathered over time, so that one wrong answer of the network swaps nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handcap.geometry import Array
from handcap.types import Side

_MOST = 8.0  # of gathered log odds: what was believed for long can still be unlearnt within a second
_FADE = 0.9  # per picture


def gathered(belief: float, right: float) -> float:
    """Log odds for the right hand after one more answer `right` (0..1) of the network."""
    odds = np.log(np.clip(right, 0.05, 0.95) / np.clip(1 - right, 0.05, 0.95))
    return float(np.clip(_FADE * belief + odds, -_MOST, _MOST))


def supports(belief: float, side: Side) -> float:
    """Log odds for `side`."""
    return belief if side == "right" else -belief


def same_hand(one: Array, other: Array) -> bool:
    """Whether two sets of rays (21, 3) lie on one hand.

    They coincide joint by joint, as crossing hands do not; or, one of them taken for a hand of the other side, finger
    upon thumb, about the same middle: of two hands so behind each other only one is seen.
    """
    size = float(np.linalg.norm(np.ptp(one, axis=0)))
    apart = float(np.median(np.linalg.norm(one - other, axis=1)))
    return apart < 0.2 * size or float(np.linalg.norm(one.mean(axis=0) - other.mean(axis=0))) < 0.1 * size


def assigned(right: Sequence[float], centre_x: Sequence[float], free: Sequence[Side]) -> dict[Side, int]:
    """Which found hand becomes which free side.

    Args:
        right: belief of every found hand, 0..1.
        centre_x: where it lies, from the left; decides between two that claim the same side equally.
        free: sides that are not followed.
    """
    score: dict[tuple[Side, int], float] = {
        (side, k): (r if side == "right" else 1 - r) + 0.1 * (x if side == "right" else -x)
        for k, (r, x) in enumerate(zip(right, centre_x, strict=True))
        for side in free
    }
    out: dict[Side, int] = {}
    for (side, k), value in sorted(score.items(), key=lambda item: -item[1]):
        if side not in out and k not in out.values() and value > 0.5:
            out[side] = k
    return out
