"""What a robot can do of a take, and why not the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.causes import Cause, Verdict
from handcap.geometry import Array
from handcap.retarget.solve import RetargetParams, Solution, ratios
from handcap.types import Side


@dataclass(frozen=True, slots=True)
class VerdictParams:
    whole_pct: float = 99.0  # of the rows must be reached for a take to be simply ok
    shortest_span_s: float = 1.0
    slow: float = 1.02  # times as long as the person took


@dataclass(frozen=True, eq=False, slots=True)
class RobotVerdict:
    """Of one take on one robot; see report.json for the numbers."""

    verdict: Verdict
    causes: tuple[Cause, ...]
    spans_ok_s: tuple[tuple[float, float], ...]
    numbers: Mapping[str, Any]


def verdict(
    solution: Solution,
    widths_m: Mapping[Side, Array],
    retarget: RetargetParams,
    params: VerdictParams | None = None,
) -> RobotVerdict:
    """Judge a solution.

    Args:
        widths_m: (n,) jaw openings of the recorded grippers, NaN where unknown.
        retarget: what the solution was made with.
    """
    params = params or VerdictParams()
    most_lost = 100 - params.whole_pct
    t_s = solution.targets.t_s
    causes: list[Cause] = [Cause("robot_arms", f"{side}_tcp") for side in solution.left_out]
    known = np.stack([solution.targets.goals[tool.side].tracked for tool in solution.body.tools], axis=1)
    sides: dict[str, Any] = {}
    for k, tool in enumerate(solution.body.tools):
        body, rows = f"{tool.side}_tcp", known[:, k]
        sides[tool.side] = _side_numbers(solution, k, rows)
        off = solution.off[:, k] & ~solution.crowded
        far = off & (solution.motion.position_error_m[:, k] > retarget.reached_m)
        lost = {"robot_far": far, "robot_wrist": off & ~far}
        for code, which in lost.items():
            share = 100 * float(which.sum()) / max(int(rows.sum()), 1)
            if share > most_lost:
                causes.append(Cause(code, body, _extent(which, t_s), share, most_lost))
        width, jaws = widths_m.get(tool.side), tool.jaws
        if width is not None and jaws is not None and jaws.joints and np.any(np.isfinite(width)):
            widest = float(np.nanmax(width))
            if widest > jaws.open_m + 1e-3:
                causes.append(Cause("robot_stroke", body, None, 1e3 * widest, 1e3 * jaws.open_m))
    lost = solution.touching | np.any(solution.off, axis=1)
    for code, which in (
        ("robot_arms_meet", lost & solution.crowded),
        ("robot_touches", solution.touching & ~solution.crowded),
    ):
        share = 100 * float(which.mean())
        if share > most_lost:
            causes.append(Cause(code, None, _extent(which, t_s), share, most_lost))
    scale = float(solution.t_robot_s[-1] / t_s[-1]) if t_s[-1] > 0 else 1.0
    if scale > params.slow:
        causes.append(Cause("robot_slow", None, None, scale, 1.0))
    good = np.all(solution.reached | ~known, axis=1) & np.any(known, axis=1)
    share = float(good.sum()) / max(int(np.any(known, axis=1).sum()), 1)
    spans = _spans(good, t_s, params.shortest_span_s)
    whole = 100 * share >= params.whole_pct and not solution.left_out
    decided: Verdict = "ok" if whole and spans else "partial" if spans else "refused"
    return RobotVerdict(decided, tuple(causes), spans, _numbers(solution, share, scale, sides))


def _side_numbers(solution: Solution, k: int, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Of one tool: share reached, errors where it was reached, and how much of these the recording itself may err."""
    reached = solution.reached[:, k]
    position = solution.motion.position_error_m[reached, k]
    rotation = solution.motion.rotation_error_rad[reached, k]
    goal = solution.targets.goals[solution.body.tools[k].side]
    sigma = goal.sigma[reached]
    known = np.isfinite(sigma[:, 0])
    # The robot's error and the recording's, which is of three axes, add up in squares.
    own = 3 * sigma[known, 1] ** 2
    total = own + position[known] ** 2
    return {
        "reachable": float(reached.sum()) / max(int(rows.sum()), 1),
        "rows": int(rows.sum()),
        "position_error_mm": _spread(1e3 * position),
        "rotation_error_deg": _spread(np.rad2deg(rotation)),
        "recording_sigma_mm": _median(1e3 * sigma[known, 1]),
        "recording_sigma_deg": _median(np.rad2deg(sigma[known, 0])),
        "recording_share": _median(own / np.maximum(total, 1e-18)),
    }


def _numbers(solution: Solution, share: float, scale: float, sides: dict[str, Any]) -> dict[str, Any]:
    body, q = solution.body, solution.motion.q
    arms = np.ones(body.dof, bool)
    arms[body.base] = False
    margin = np.minimum(q - body.lower, body.upper - q)[:, arms]
    worst = np.unravel_index(int(np.argmin(margin)), margin.shape)
    near = solution.motion.near
    clear = None if near is None else float(near.distance_m.min()) if len(near.distance_m) else CLEAR_M
    speed, acceleration = ratios(solution)
    names = [name for name, arm in zip(body.joints, arms, strict=True) if arm]
    return {
        "reachable": share,
        "sides": sides,
        "limit_margin_rad": float(margin[worst]),
        "limit_joint": names[int(worst[1])],
        "clearance_m": clear,
        "touching": float(solution.touching.mean()),
        "singular_margin": float(solution.singular.min()),
        "time_scale": scale,
        "turned": list(solution.turned),
        "speed_share": speed,
        "acceleration_share": acceleration,
        "largest_step_share": _largest_step(solution),
        "stand": {
            side: {
                "T_world_base": each.T_world_base,
                "room_m": None if each.room is None else list(each.room[:3]),
                "room_rad": None if each.room is None else each.room[3],
            }
            for side, each in solution.placements.items()
        },
        "shapes_missing": list(body.without_shape),
    }


CLEAR_M = 0.02  # distances are followed up to here


def _largest_step(solution: Solution) -> float:
    """The largest step of a joint from row to row over what its velocity limit allows in that time; a flip is far
    beyond 1.
    """
    step = np.abs(np.diff(solution.motion.q, axis=0))
    allowed = np.diff(solution.t_robot_s)[:, None] * solution.body.velocity
    return float((step / allowed).max(initial=0.0))


def _spread(values: Array) -> dict[str, float | None]:
    if not len(values):
        return {"median": None, "p95": None, "max": None}
    return {
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "max": float(values.max()),
    }


def _median(values: Array) -> float | None:
    return float(np.median(values)) if len(values) else None


def _extent(which: NDArray[np.bool_], t_s: Array) -> tuple[float, float]:
    rows = np.flatnonzero(which)
    return float(t_s[rows[0]]), float(t_s[rows[-1]])


def _spans(good: NDArray[np.bool_], t_s: Array, shortest_s: float) -> tuple[tuple[float, float], ...]:
    edges = np.flatnonzero(np.diff(np.r_[False, good, False].astype(int)))
    pairs = zip(edges[::2], edges[1::2] - 1, strict=True)
    return tuple((float(t_s[a]), float(t_s[b])) for a, b in pairs if t_s[b] - t_s[a] >= shortest_s)
