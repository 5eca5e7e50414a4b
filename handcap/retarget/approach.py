"""From where a robot is to where its motion begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handcap.errors import RetargetError
from handcap.geometry import Array
from handcap.retarget.follow import Follower
from handcap.retarget.model import Body

_RATE_HZ = 50.0
_SHARE = 0.5  # of the limits of velocity and acceleration: nobody is in a hurry yet
# Most of a path's first and second derivative over its length, of 10 x³ - 15 x⁴ + 6 x⁵.
_FASTEST, _HARDEST = 1.875, 10 / np.sqrt(3)


@dataclass(frozen=True, eq=False, slots=True)
class Approach:
    """A motion at rest at either end.

    Attributes:
        t_s: (m,) from 0.
        q: (m, d) rad or m.
        touching: (m,) whether shapes touch.
    """

    t_s: Array
    q: Array
    touching: NDArray[np.bool_]


def start_posture(body: Body, values: Sequence[float], base: Array) -> Array:
    """The posture (d,) that a user gives, rad or m, in the order of the body's joints without its base; of two equal
    arms the joints of one are enough.

    Args:
        base: where the base's joints are, empty for one that stands.

    Raises:
        RetargetError: too few or too many numbers, or one outside its joint's limits.
    """
    arms = np.setdiff1d(np.arange(body.dof), body.base)
    given = np.asarray(values, float)
    several = len(body.tools) > 1 and 2 * len(given) == len(arms)
    if several:
        given = np.tile(given, 2)
    names = [body.joints[k] for k in arms]
    if len(given) != len(arms):
        raise RetargetError(
            f"the start has {len(given)} numbers for {len(arms)} joints", mend=f"give rad or m of: {', '.join(names)}"
        )
    outside = ~((given >= body.lower[arms] - 1e-6) & (given <= body.upper[arms] + 1e-6))
    if np.any(outside):
        k = int(np.argmax(outside))
        low, high = body.lower[arms[k]], body.upper[arms[k]]
        raise RetargetError(
            f"the start of {names[k]} is {given[k]:g}, outside its limits", mend=f"from {low:.4g} to {high:.4g}"
        )
    q = np.empty(body.dof)
    q[arms], q[body.base] = given, base
    return q


def approach(follower: Follower, start: Array, first: Array) -> Approach:
    """The straight way in joints, or, where something would touch on it, by way of home if less touches there."""
    straight = _by_way_of(follower, [start, first])
    if not np.any(straight.touching):
        return straight
    home = follower.body.home.copy()
    home[follower.body.base] = first[follower.body.base]
    detour = _by_way_of(follower, [start, home, first])
    return detour if detour.touching.sum() < straight.touching.sum() else straight


def _by_way_of(follower: Follower, postures: Sequence[Array]) -> Approach:
    body = follower.body
    times, rows, begin_s = [np.zeros(1)], [postures[0][None]], 0.0
    for a, b in zip(postures[:-1], postures[1:], strict=True):
        way = np.abs(b - a)
        lasts_s = float(
            max(
                (_FASTEST * way / (_SHARE * body.velocity)).max(),
                np.sqrt((_HARDEST * way / (_SHARE * body.acceleration)).max()),
                1 / _RATE_HZ,
            )
        )
        x = np.linspace(0, 1, int(np.ceil(lasts_s * _RATE_HZ)) + 1)[1:]
        leg = a + (10 * x**3 - 15 * x**4 + 6 * x**5)[:, None] * (b - a)
        leg[-1] = b  # to the last bit
        rows.append(leg)
        times.append(begin_s + x * lasts_s)
        begin_s += lasts_s
    q = np.concatenate(rows)
    touching = np.zeros(len(q), bool)
    if follower.clearance is not None:
        touching[follower.clearance.near(q, follower.kinematics.poses(q), 0.0).row] = True
    return Approach(np.concatenate(times), q, touching)


def write_approach(path: Path, body: Body, way: Approach) -> None:
    """`<robot>.approach.parquet`: `t_s` before the motion begins (negative, rising to 0) and a column per joint."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"t_s": pa.array(way.t_s - way.t_s[-1])}
    columns |= {name: pa.array(way.q[:, k]) for k, name in enumerate(body.joints)}
    pq.write_table(
        pa.table(columns).replace_schema_metadata({"handcap.robot": body.robot.name}), path, compression="zstd"
    )
