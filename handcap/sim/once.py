"""What several threads need is worked out by the first of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


def once(make: Callable[[_K], _V], remember: int = 16) -> Callable[[_K], _V]:
    """`make`, called once for each of the last few arguments, however many threads ask for it at the same time."""
    made: OrderedDict[_K, _V] = OrderedDict()
    lock = Lock()

    def get(key: _K) -> _V:
        with lock:
            if key not in made:
                made[key] = make(key)
                if len(made) > remember:
                    made.popitem(last=False)
            return made[key]

    return get
