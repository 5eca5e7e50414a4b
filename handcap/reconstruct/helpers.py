"""The processes that solve parts of a take: what they need, imported while their parent still imports it too."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from handcap.child import Nursery, cores

_NEEDED = ("handcap.reconstruct.recorded", "handcap.reconstruct.whole", "pycolmap")
_NEEDED_TWICE = ("handcap.reconstruct.patch_kernel",)


def needed(twice: bool) -> list[str]:
    """Modules to import, for a take that is solved once or twice."""
    return [*_NEEDED, *(_NEEDED_TWICE if twice else ())]


@contextmanager
def nursery_ahead(twice: bool) -> Generator[Nursery | None]:
    """A nursery for `run_session` that begins to import at once; None where one core does everything."""
    if cores() == 1:
        yield None
        return
    nursery = Nursery(needed(twice))
    try:
        yield nursery
    finally:
        nursery.kill()
        nursery.close()
