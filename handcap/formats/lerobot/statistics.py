"""Statistics as LeRobot normalises with: exact over all rows and over a sample of pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_LEVELS = 256
_PICTURE_SAMPLE_PX = 160  # longer side of the pixels sampled from a picture


def column_stats(values: NDArray[Any]) -> dict[str, list[Any]]:
    """Of (n, k) rows, per column. Integers keep their exact minimum and maximum."""
    real = values.astype(np.float64)
    out: dict[str, list[Any]] = {
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
        "mean": real.mean(axis=0).tolist(),
        "std": real.std(axis=0).tolist(),
        "count": [len(values)],
    }
    return out | {name: np.quantile(real, q, axis=0).tolist() for name, q in QUANTILES.items()}


class PictureStats:
    """Levels of sampled pixels, counted per channel: exact in any order, small for any number of pictures."""

    def __init__(self) -> None:
        self.pictures = 0
        self._counts = np.zeros((3, _LEVELS), np.int64)

    def add(self, image: NDArray[np.uint8]) -> None:
        """Count (height, width, 3) RGB, thinned to some 160 pixels across."""
        step = max(1, max(image.shape[:2]) // _PICTURE_SAMPLE_PX)
        thin = image[::step, ::step]
        for channel in range(3):
            self._counts[channel] += np.bincount(thin[..., channel].ravel(), minlength=_LEVELS)
        self.pictures += 1

    def merge(self, other: PictureStats) -> None:
        self._counts += other._counts
        self.pictures += other.pictures

    def stats(self) -> dict[str, list[Any]]:
        """Per channel as (3, 1, 1), levels scaled to 0..1."""
        assert self.pictures > 0
        level = np.arange(_LEVELS) / (_LEVELS - 1)
        total = self._counts.sum(axis=1)
        mean = self._counts @ level / total
        spread = np.sqrt((self._counts * (level - mean[:, None]) ** 2).sum(axis=1) / total)
        present = self._counts > 0
        cumulative = np.cumsum(self._counts, axis=1)
        values = {
            "min": level[present.argmax(axis=1)],
            "max": level[_LEVELS - 1 - present[:, ::-1].argmax(axis=1)],
            "mean": mean,
            "std": spread,
        }
        for name, q in QUANTILES.items():
            values[name] = level[(cumulative >= q * total[:, None]).argmax(axis=1)]
        shaped: dict[str, list[Any]] = {name: v.reshape(3, 1, 1).tolist() for name, v in values.items()}
        return shaped | {"count": [self.pictures]}
