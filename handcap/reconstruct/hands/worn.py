"""A wearer's bone lengths handed from take to take of a session: one wearer, one hand's length."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from handcap.geometry import Array
from handcap.reconstruct.hands.bones import HAND_BONES
from handcap.types import SIDES

log = logging.getLogger(__name__)

_ROUNDS = 5
_LONGEST_M = 0.3  # no bone of a hand comes near that


@dataclass(frozen=True, eq=False, slots=True)
class WornBones:
    """What earlier takes say of the wearer's bones.

    Attributes:
        lengths_m: (20,) in the order of `bones.HAND_BONES`.
        sigma_m: (20,).
        takes: ids they come from.
    """

    lengths_m: Array
    sigma_m: Array
    takes: tuple[str, ...]

    def __post_init__(self) -> None:
        assert self.lengths_m.shape == self.sigma_m.shape == (len(HAND_BONES),)
        assert (self.lengths_m > 0).all() and (self.sigma_m > 0).all()

    def as_dict(self) -> dict[str, Any]:
        """As report.json holds it."""
        return {
            "from_takes": list(self.takes),
            "bones_m": self.lengths_m.tolist(),
            "bones_sigma_m": self.sigma_m.tolist(),
        }


def worn_bones(reports: Mapping[str, Mapping[str, Any]]) -> WornBones | None:
    """Bones from the reports of other takes of the same wearer, by take.

    The mean of the logarithms, weighted by variance and by Cauchy's weights at two sigma, so that one take that went
    wrong hardly pulls. It is taken to be no surer than one take: the network errs alike in all of them. Takes that
    solved no bones themselves, or say nothing usable of them, are passed over; None where all are.
    """
    takes: list[str] = []
    rows: list[tuple[Array, Array]] = []
    for take, report in reports.items():
        try:
            row = _solved(report)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            log.warning("take %s says nothing usable of the wearer's hands: %s", take, error)
            continue
        if row is not None:
            takes.append(take)
            rows.append(row)
    if not rows:
        return None
    lengths_m, sigma_m = (np.stack(each) for each in zip(*rows, strict=True))
    logs, sigma = np.log(lengths_m), sigma_m / lengths_m
    mean, weight = np.median(logs, axis=0), sigma**-2
    for _ in range(_ROUNDS):
        weight = sigma**-2 / (1 + ((logs - mean) / (2 * sigma)) ** 2)
        mean = np.average(logs, axis=0, weights=weight)
    lengths = np.exp(mean)
    return WornBones(lengths, lengths * np.sqrt(np.average(sigma**2, axis=0, weights=weight)), tuple(takes))


def _solved(report: Mapping[str, Any]) -> tuple[Array, Array] | None:
    """Lengths and sigma of one take; both of its hands say the same. Raises one of several for what makes no sense."""
    for side in SIDES:
        numbers = ((report.get("bodies") or {}).get(f"{side}_hand") or {}).get("numbers") or {}
        if numbers.get("bones_solved") != 1.0:
            continue
        row = np.array(numbers["bones_m"], float), np.array(numbers["bones_sigma_m"], float)
        if not all(each.shape == (len(HAND_BONES),) and ((each > 0) & (each < _LONGEST_M)).all() for each in row):
            raise ValueError(f"bones_m and bones_sigma_m are not {len(HAND_BONES)} lengths of a hand's bones")
        return row
    return None
