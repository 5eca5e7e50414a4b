"""What a camera saw before its view was cut off: something in front of the lens, the dark, a shake."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array

Grey = NDArray[Any]  # uint8, as OpenCV returns it
Points = NDArray[Any]  # (n, 2) float32, as OpenCV returns it


@dataclass(frozen=True, slots=True)
class MemoryParams:
    """How long and how well."""

    every_s: float = 0.5  # between views that are remembered
    views: int = 3  # the latest may show what is about to cover the lens
    lasts_s: float = 3.0  # since the latest; the gyroscope alone says where to look
    least_shared: int = 15  # features in common with the latest; fewer, and the view is cut off
    least_found: int = 30  # for a view to be the same one
    least_share: float = 0.25  # of its features


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """A picture with its features: (n,) ids at (n, 2) px, and the turn since then, R_now_then."""

    t_ns: int
    picture: Grey
    ids: NDArray[np.int64]
    points: Points
    R_now_then: Array = field(default_factory=lambda: np.eye(3))


class Memory:
    """Views of one camera, the latest last."""

    def __init__(self, params: MemoryParams) -> None:
        self._params = params
        self._views: deque[View] = deque(maxlen=params.views)

    def turned(self, R_new_old: Array) -> None:
        """The camera has turned on."""
        for k, view in enumerate(self._views):
            self._views[k] = replace(view, R_now_then=R_new_old @ view.R_now_then)

    def is_cut_off(self, ids: NDArray[np.int64]) -> bool:
        """Whether features alive now have little to do with what was seen last."""
        latest = self._views[-1] if self._views else None
        return latest is not None and int(np.isin(latest.ids, ids).sum()) < self._params.least_shared

    def to_try(self, t_ns: int) -> list[View]:
        """The latest first; none once they are too old, and then forgotten."""
        if self._views and t_ns - self._views[-1].t_ns > self._params.lasts_s * 1e9:
            self._views.clear()
        return list(reversed(self._views))

    def is_same(self, found: NDArray[np.bool_]) -> bool:
        """Whether a view is seen again, given which of its features were found."""
        return int(found.sum()) >= max(self._params.least_found, self._params.least_share * len(found))

    def keep(self, view: View) -> None:
        """Remembers it, if it holds enough and the latest is old enough."""
        due = not self._views or view.t_ns - self._views[-1].t_ns >= self._params.every_s * 1e9
        if due and len(view.ids) >= 2 * self._params.least_found and not self.is_cut_off(view.ids):
            self._views.append(view)
