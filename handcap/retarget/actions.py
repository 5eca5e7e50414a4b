"""Actions for a policy: where each tool goes next, as seen from where it is now (Chi et al., UMI, RSS 2024).

Such actions know neither a world nor a base, so that what a person did and what a robot did can be compared, mixed and
replayed wherever the robot stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from handcap.geometry import Array, interpolate_poses, inverse, matrix_from_quat_wxyz, quat_wxyz_from_matrix, se3
from handcap.retarget.kinematics import Kinematics
from handcap.retarget.solve import Solution
from handcap.types import SIDES, Side, Stamps

Source = Literal["recorded", "planned", "played"]
POSE = 7  # x, y, z, qw, qx, qy, qz


@dataclass(frozen=True, slots=True)
class ActionParams:
    rate_hz: float = 10.0  # of UMI's policies
    horizon: int = 16  # actions that such a policy gives at once


@dataclass(frozen=True, eq=False, slots=True)
class Actions:
    """Tools at a policy's steps; actions follow from them.

    Attributes:
        t_robot_ns: (s,) int64, evenly spaced, the robot's own pace; session clock at its first step.
        t_ns: (s,) int64, session clock: when the person was there.
        T_world_tcp: (s, 4, 4) by source and side; NaN where unknown.
        width_m: (s,) jaw openings; NaN where unknown. What was played has none: jaws hold still in physics.
        params: rate and horizon.
    """

    t_robot_ns: Stamps
    t_ns: Stamps
    T_world_tcp: Mapping[Source, Mapping[Side, Array]]
    width_m: Mapping[Source, Mapping[Side, Array]]
    params: ActionParams


def make_actions(
    solution: Solution,
    widths_m: Mapping[Side, Array],
    played_q: Array | None = None,
    params: ActionParams | None = None,
) -> Actions:
    """Steps of a take on an arm.

    Args:
        solution: n rows.
        widths_m: (n,) recorded jaw openings, NaN where unknown.
        played_q: (n, d) where physics left the joints; None when it was not played.
    """
    params = params or ActionParams()
    body, targets = solution.body, solution.targets
    t_s = solution.t_robot_s - solution.t_robot_s[0]
    step_s = np.arange(int(np.floor(t_s[-1] * params.rate_hz + 1e-9)) + 1) / params.rate_hz
    poses: dict[Source, dict[Side, Array]] = {"recorded": {}, "planned": {}}
    widths: dict[Source, dict[Side, Array]] = {"recorded": {}, "planned": {}}
    joints: dict[Source, Array] = {"planned": solution.motion.q}
    if played_q is not None:
        joints["played"] = played_q
    kinematics = Kinematics(body)
    for tool in body.tools:
        poses["recorded"][tool.side] = _poses_at(t_s, targets.goals[tool.side].T_world_tcp, step_s)
        width = widths_m.get(tool.side)
        if width is not None:
            widths["recorded"][tool.side] = np.interp(step_s, t_s, width)
            if tool.jaws is not None and tool.jaws.joints:
                stroke = np.clip(width, tool.jaws.closed_m, tool.jaws.open_m)
                widths["planned"][tool.side] = np.interp(step_s, t_s, stroke)
    for source, q in joints.items():
        posed = kinematics.poses(q)
        poses[source] = {
            tool.side: _poses_at(t_s, posed.T_world_joint[:, tool.joint] @ tool.T_joint_tcp, step_s)
            for tool in body.tools
        }
    start_ns = targets.t_ns[0]
    t_ns = start_ns + np.round(np.interp(step_s, t_s, targets.t_s) * 1e9).astype(np.int64)
    return Actions(start_ns + np.round(step_s * 1e9).astype(np.int64), t_ns, poses, widths, params)


def _poses_at(t_s: Array, T: Array, at_s: Array) -> Array:
    """(s, 4, 4) between (n, 4, 4); NaN beside an unknown one."""
    known = np.asarray(np.isfinite(T).all(axis=(1, 2)))
    stamps, at = (np.round(each * 1e9).astype(np.int64) for each in (t_s, at_s))
    at = np.minimum(at, stamps[-1])
    out = interpolate_poses(stamps, np.where(known[:, None, None], T, np.eye(4)), at)
    after = np.clip(np.searchsorted(stamps, at), 1, len(stamps) - 1)
    on_row = stamps[after - 1] == at
    sure = np.where(
        on_row, known[after - 1], np.where(stamps[after] == at, known[after], known[after - 1] & known[after])
    )
    out[~sure] = np.nan
    return out


def relative(T: Array, horizon: int) -> Array:
    """(s, horizon, 4, 4) `inverse(T[i]) @ T[i + 1 + k]` of (s, 4, 4); NaN where either is unknown or beyond the end."""
    n = len(T)
    ahead = np.arange(n)[:, None] + np.arange(1, horizon + 1)
    there = T[np.minimum(ahead, n - 1)]
    out = inverse(T)[:, None] @ there
    out[ahead >= n] = np.nan
    return out


def applied(T_first: Array, steps: Array) -> Array:
    """(s + 1, 4, 4) path from a first pose (4, 4) and one action (s, 4, 4) after the other."""
    path = [T_first]
    for step in steps:
        path.append(path[-1] @ step)
    return np.stack(path)


def rows(T: Array) -> Array:
    """(..., 4, 4) as (..., 7): x, y, z in m, qw, qx, qy, qz; NaN where unknown."""
    out = np.full((*T.shape[:-2], POSE), np.nan)
    known = np.isfinite(T).all(axis=(-2, -1))
    out[known, :3] = T[known][:, :3, 3]
    out[known, 3:] = quat_wxyz_from_matrix(T[known][:, :3, :3])
    return out


def poses(values: Array) -> Array:
    """The way back: (..., 7) to (..., 4, 4)."""
    T = np.full((*values.shape[:-1], 4, 4), np.nan)
    known = np.isfinite(values).all(axis=-1)
    T[known] = se3(matrix_from_quat_wxyz(values[known][:, 3:]), values[known][:, :3])
    return T


def write_actions(path: Path, actions: Actions) -> None:
    """`<robot>.actions.parquet`: a row per step; docs/retarget.md has the columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    horizon = actions.params.horizon
    columns: dict[str, Any] = {"t_ns": pa.array(actions.t_ns), "t_robot_ns": pa.array(actions.t_robot_ns)}
    for source, of in actions.T_world_tcp.items():
        for side, T in of.items():
            columns[f"{side}_{source}_pose"] = _lists(rows(T))
            columns[f"{side}_{source}_action"] = _lists(rows(relative(T, horizon)).reshape(len(T), -1))
        for side, width in actions.width_m.get(source, {}).items():
            columns[f"{side}_{source}_width_m"] = _lists(width[:, None]).flatten()
            columns[f"{side}_{source}_action_width_m"] = _lists(_ahead(width, horizon))
        if len(of) > 1:
            columns[f"left_in_right_{source}"] = _lists(rows(left_in_right(of)))
    told = {"handcap.rate_hz": f"{actions.params.rate_hz:g}", "handcap.horizon": str(horizon)}
    pq.write_table(pa.table(columns).replace_schema_metadata(told), path, compression="zstd")


def left_in_right(of: Mapping[Side, Array]) -> Array:
    """(s, 4, 4) the left tool's pose as the right one sees it."""
    return inverse(of["right"]) @ of["left"]


def _ahead(values: Array, horizon: int) -> Array:
    """(s, horizon) the values of the steps to come, NaN beyond the end."""
    n = len(values)
    ahead = np.arange(n)[:, None] + np.arange(1, horizon + 1)
    return np.where(ahead < n, values[np.minimum(ahead, n - 1)], np.nan)


def _lists(values: Array) -> Any:
    """(s, w) as lists of a fixed length, unknown numbers null."""
    import pyarrow as pa

    flat = np.ascontiguousarray(values).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, mask=np.isnan(flat)), values.shape[1])


def numbers(actions: Actions) -> dict[str, Any]:
    """What report.json says: whether actions give the path back, and the robot's against the person's."""
    recorded = actions.T_world_tcp["recorded"]
    sides: list[Side] = [side for side in SIDES if side in recorded]
    told: dict[str, Any] = {
        "rate_hz": actions.params.rate_hz,
        "horizon": actions.params.horizon,
        "steps": len(actions.t_ns),
        "sides": {
            side: {
                source: _path_numbers(of[side])
                | ({} if source == "recorded" else _against(of[side], recorded[side], actions))
                for source, of in actions.T_world_tcp.items()
            }
            for side in sides
        },
    }
    if len(sides) > 1:
        was = left_in_right(recorded)
        told["left_in_right"] = {
            source: _off(left_in_right(of), was) for source, of in actions.T_world_tcp.items() if source != "recorded"
        }
    return told


def _path_numbers(T: Array) -> dict[str, Any]:
    """Of a path (s, 4, 4): share of it that is known, and how far the actions that are written lead off it, stretch by
    stretch.
    """
    known = np.isfinite(T).all(axis=(1, 2))
    edges = np.flatnonzero(np.diff(np.r_[False, known, False].astype(int)))
    off_m = off_rad = 0.0
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        steps = poses(rows(relative(T[first:end], 1)[:-1, 0]))
        back = applied(T[first], steps)
        off_m = max(off_m, float(np.abs(back[:, :3, 3] - T[first:end, :3, 3]).max()))
        off_rad = max(off_rad, float(np.abs(back[:, :3, :3] - T[first:end, :3, :3]).max()))
    return {"known": float(known.mean()), "round_trip_m": off_m, "round_trip_rad": off_rad}


def _against(T: Array, was: Array, actions: Actions) -> dict[str, Any]:
    """One action, and the last of the horizon, against the recorded ones."""
    horizon = actions.params.horizon
    now, then = relative(T, horizon), relative(was, horizon)
    return {"step": _off(now[:, 0], then[:, 0]), "ahead": _off(now[:, -1], then[:, -1])}


def _off(T: Array, was: Array) -> dict[str, Any]:
    """Poses (s, 4, 4) against others, where both are known."""
    known = np.isfinite(T).all(axis=(1, 2)) & np.isfinite(was).all(axis=(1, 2))
    away = inverse(was[known]) @ T[known]
    turn = 2 * np.arcsin(np.clip(np.linalg.norm(quat_wxyz_from_matrix(away[:, :3, :3])[:, 1:], axis=1), 0, 1))
    return {"mm": _spread(1e3 * np.linalg.norm(away[:, :3, 3], axis=1)), "deg": _spread(np.rad2deg(turn))}


def _spread(values: Array) -> dict[str, float | None]:
    if not len(values):
        return {"median": None, "p95": None, "max": None}
    return {"median": float(np.median(values)), "p95": float(np.percentile(values, 95)), "max": float(values.max())}
