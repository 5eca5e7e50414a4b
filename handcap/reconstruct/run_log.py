"""What the reconstruction of one device says of itself while it runs."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from handcap.reconstruct.result import Progress


@dataclass(frozen=True, eq=False, slots=True)
class RunLog:
    """Progress as it goes, and what is kept of it.

    Attributes:
        numbers: gathered on the way, for the report.
        seconds: by step.
    """

    on_progress: Progress
    numbers: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, share: float) -> Generator[None]:
        """Times what is done inside; `share` of the whole is done before it."""
        self.on_progress(name, share)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
