"""The tasks there are, by name: what a person does with a room until the time is up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from handcap.geometry import Array
from handcap.sim.play import Play
from handcap.sim.scene import Prop
from handcap.types import SIDES

Task = Callable[[Play, float], None]


def _prop(play: Play, name: str) -> Prop | None:
    return next((prop for prop in play.room.props if prop.body == name), None)


def _free_spot(play: Play, moving: Prop) -> Array:
    """Somewhere on the work surface (2,) with room for a thing."""
    half = play.room.work_size / 2 - 0.05
    others = [play.where(prop)[:2, 3] for prop in play.room.props if prop.body != moving.body]
    best, best_gap = np.zeros(2), -1.0
    for _ in range(40):
        xy = play.rng.uniform(-half, half)
        spot = (play.room.T_room_work[:2, :2] @ xy) + play.room.T_room_work[:2, 3]
        gap = min((float(np.linalg.norm(spot - other)) for other in others), default=1.0)
        if gap > best_gap:
            best, best_gap = xy, gap
        if gap > 0.13:
            break
    return best


def rearrange(play: Play) -> None:
    """Pick a thing up and put it somewhere else."""
    prop = play.room.props[int(play.rng.integers(len(play.room.props)))]
    side = play.side_for(prop)
    play.pick(side, prop)
    play.place(side, prop, _free_spot(play, prop))


def _pour(play: Play) -> None:
    bottle, cup = _prop(play, "bottle"), _prop(play, "cup")
    if bottle is None or cup is None:
        rearrange(play)
        return
    side = play.side_for(bottle)
    play.pick(side, bottle)
    play.pour(side, bottle, cup)
    play.place(side, bottle, _free_spot(play, bottle))


def _wipe(play: Play) -> None:
    sponge = _prop(play, "sponge")
    if sponge is None:
        rearrange(play)
        return
    side = play.side_for(sponge)
    play.pick(side, sponge)
    play.wipe(side, int(play.rng.integers(4, 8)))
    play.place(side, sponge, _free_spot(play, sponge))


def _drawer(play: Play) -> None:
    if play.room.slide is None:
        rearrange(play)
    else:
        play.open_drawer(SIDES[int(play.rng.integers(2))])


def _hand_over(play: Play) -> None:
    prop = play.room.props[int(play.rng.integers(len(play.room.props)))]
    side = play.side_for(prop)
    play.pick(side, prop)
    play.hand_over(side, prop)
    other = "left" if side == "right" else "right"
    play.place(other, prop, _free_spot(play, prop))


def tidy(play: Play, until_s: float) -> None:
    """Housework: things are moved, poured, wiped, handed over; the drawer is opened; now and then a look around."""
    play.begin_aside()
    steps = [rearrange, _pour, _wipe, _drawer, _hand_over]
    order: list[int] = []
    while play.t_s < until_s:
        if not order:
            order = [int(k) for k in play.rng.permutation(len(steps))]
        steps[order.pop()](play)
        if play.rng.random() < 0.5:
            play.look_about()


def walk(play: Play, until_s: float) -> None:
    """To and fro through the room, with a thing moved in between."""
    play.begin_aside()
    while play.t_s < until_s:
        play.walk(until_s)
        if play.t_s < until_s:
            rearrange(play)


def shake(play: Play, until_s: float) -> None:
    """Housework with bursts of fast shaking of head and hands."""
    play.begin_aside()
    while play.t_s < until_s:
        rearrange(play)
        play.shake(("head", "left", "right")[int(play.rng.integers(3))], float(play.rng.uniform(0.8, 1.6)))


def pause(play: Play, until_s: float) -> None:
    """A thing moved, then long stillness, again and again."""
    play.begin_aside()
    while play.t_s < until_s:
        rearrange(play)
        play.wait(float(play.rng.uniform(4.0, 8.0)))


TASKS: Mapping[str, Task] = {"tidy": tidy, "walk": walk, "shake": shake, "pause": pause}
