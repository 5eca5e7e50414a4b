"""A robot's fingers beside the person's in Rerun: skeletons in the world, joints against their limits, tip errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S
from handcap.geometry import Array, transform
from handcap.retarget.hands.follow import HandMotion
from handcap.retarget.hands.robot_hand import RobotHand
from handcap.retarget.hands.take import HandSolution
from handcap.retarget.hands.verdict import HandVerdictParams
from handcap.types import Side

_FINGERS = [[0, *range(first, first + 4)] for first in (1, 5, 9, 13, 17)]  # from the wrist out, MediaPipe's order
_ASIDE_M = np.array([0.0, 0.0, 0.25])  # the robot hangs above the person's hand
_PERSON: dict[Side, tuple[int, int, int]] = {"left": (90, 160, 255), "right": (255, 140, 90)}
_ROBOT, _LIMIT = (200, 205, 212), (230, 60, 60)


def log_hands(rr: Any, rec: Any, root: str, solution: HandSolution, timeline: str) -> None:
    """A take's hands under an entity; of a hand that held a gripper the robot's, where the jaws were."""
    for side, motion in solution.motions.items():
        hand, bare = solution.hands[side], solution.bare.get(side)
        times = rr.TimeColumn(timeline, duration=(motion.t_ns - motion.t_ns[0]) / NS_PER_S)
        where = solution.T_world_base[side].copy()
        if bare is not None:
            where[:, :3, 3] += _ASIDE_M
            seen = np.asarray(np.isfinite(bare.joints_world).all(axis=(1, 2)))
            strips = [row[finger] for row in bare.joints_world[seen] for finger in _FINGERS]
            _log_strips(rr, rec, f"{root}/world/person/{side}", times, strips, seen, _PERSON[side])
        shown = motion.known & np.isfinite(where).all(axis=(1, 2))
        strips = _robot_strips(hand, motion.q[shown], where[shown])
        _log_strips(rr, rec, f"{root}/world/robot/{side}", times, strips, shown, _ROBOT)
        _log_plots(rr, rec, root, side, hand, motion, times)


def _robot_strips(hand: RobotHand, q: Array, T_world_base: Array) -> list[Array]:
    """From the wrist along every finger, at every one of (n, j) joints."""
    k = hand.kinematics
    points = transform(T_world_base[:, None], k.points(q[:, [k.joints.index(name) for name in k.free]]))
    # the last point is the wrist's frame
    return [np.concatenate([row[-1:], row[finger.points]]) for row in points for finger in hand.fingers]


def _log_strips(
    rr: Any,
    rec: Any,
    path: str,
    times: Any,
    strips: list[Array],
    shown: NDArray[np.bool_],
    colour: tuple[int, int, int],
) -> None:
    """The same number of strips at every picture that is shown, none at others."""
    if not strips:
        return
    rec.log(path, rr.LineStrips3D.from_fields(colors=[colour], radii=[0.003]), static=True)
    columns = rr.LineStrips3D.columns(strips=[strip.astype(np.float32) for strip in strips])
    rec.send_columns(path, [times], columns.partition(np.where(shown, len(strips) // int(shown.sum()), 0)))


def _log_plots(rr: Any, rec: Any, root: str, side: Side, hand: RobotHand, motion: HandMotion, times: Any) -> None:
    k = hand.kinematics
    share = (motion.q - k.joint_low) / (k.joint_high - k.joint_low)  # what is unknown leaves a gap
    rec.log(f"{root}/joints/{side}", rr.SeriesLines(names=[f"{side} {name}" for name in k.joints]), static=True)
    rec.send_columns(f"{root}/joints/{side}", [times], rr.Scalars.columns(scalars=share))
    rec.log(f"{root}/limits", rr.SeriesLines(names=["lower", "upper"], colors=[_LIMIT, _LIMIT]), static=True)
    limits = np.tile([0.0, 1.0], (len(share), 1))
    rec.send_columns(f"{root}/limits", [times], rr.Scalars.columns(scalars=limits))
    if np.isnan(motion.tip_error_m).all():
        return  # of jaws that a pinch stands for nobody asks where fingertips are
    errors = 1e3 * motion.tip_error_m
    names = [f"{side} {finger.name} mm" for finger in hand.fingers]
    rec.log(f"{root}/errors/{side}", rr.SeriesLines(names=names), static=True)
    rec.send_columns(f"{root}/errors/{side}", [times], rr.Scalars.columns(scalars=errors))
    allowed = HandVerdictParams().reached_m + np.nan_to_num(motion.tip_sigma_m).mean(axis=1)
    log_allowed(rr, rec, f"{root}/errors/allowed_{side}", times, 1e3 * allowed)


def log_allowed(rr: Any, rec: Any, path: str, times: Any, allowed_mm: Array) -> None:
    """The (n,) error up to which a row counts as reached, in red among the errors."""
    rec.log(path, rr.SeriesLines(names=["allowed"], colors=[_LIMIT]), static=True)
    rec.send_columns(path, [times], rr.Scalars.columns(scalars=allowed_mm[:, None]))
