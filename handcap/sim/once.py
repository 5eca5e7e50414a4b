"""What several threads need is worked out by the first of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


def once(make: Callable[[_K], _V], remember: int = 16) -> Callable[[_K], _V]:
    """`make`, called once for each of the last few arguments, however many threads ask for it at the same time."""
    made: OrderedDict[_K, Future[_V]] = OrderedDict()
    lock = Lock()

    def get(key: _K) -> _V:
        with lock:
            first = key not in made
            mine = made.setdefault(key, Future())
            if len(made) > remember:
                made.popitem(last=False)
        if first:  # the others wait for this one only, not for whoever works on another key
            try:
                mine.set_result(make(key))
            except BaseException as error:
                mine.set_exception(error)
                raise
        return mine.result()

    return get
