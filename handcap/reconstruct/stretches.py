"""A long take in stretches: each is a take of its own, so that memory does not grow with the length.

A stretch begins with the picture after which the one before it is no longer believed; that one looks a little further,
so that it knows the place where the next begins from both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.clock import NS_PER_S, nanoseconds
from handcap.types import Stamps


@dataclass(frozen=True, slots=True)
class StretchParams:
    longest_s: float = 75.0  # a take of one device up to here is solved as one: 1.1 GB
    length_s: float = 35.0  # of a stretch, about: two at a time stay below 2 GB
    longest_rig_s: float = 40.0  # the same of several devices, whose tie grows with the cube of the length
    length_rig_s: float = 22.0
    beyond_s: float = 3.0  # what it looks past its end; features are followed for about as long


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a take, by its pictures as recorded: start_ns <= t < seen_ns; its poses are believed to end_ns."""

    start_ns: int
    end_ns: int
    seen_ns: int


def stretches(camera_t_ns: Stamps, params: StretchParams, devices: int = 1) -> tuple[Stretch, ...]:
    """Of a take whose followed camera has these pictures; one that is short enough is a single stretch."""
    rig = devices > 1
    longest_s, length_s = (params.longest_rig_s, params.length_rig_s) if rig else (params.longest_s, params.length_s)
    if not len(camera_t_ns):
        return (Stretch(0, 0, 0),)
    first, after = int(camera_t_ns[0]), int(camera_t_ns[-1]) + 1
    total_s = (after - first) / NS_PER_S
    count = 1 if total_s <= longest_s else max(round(total_s / length_s), 1)
    near = np.searchsorted(camera_t_ns, np.linspace(first, after, count + 1)[:-1].astype(np.int64))
    starts = [*np.unique(camera_t_ns[near]).tolist(), after]
    beyond_ns = int(nanoseconds(params.beyond_s))
    return tuple(Stretch(a, b, min(b + beyond_ns, after)) for a, b in zip(starts[:-1], starts[1:], strict=True))


def together(one: Stretch, following: Stretch) -> Stretch:
    """Two neighbours as one."""
    return Stretch(one.start_ns, following.end_ns, following.seen_ns)
