"""A robot hand's motion as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S
from handcap.geometry import Array, quat_wxyz_from_matrix
from handcap.retarget.hands.take import HandSolution
from handcap.retarget.hands.verdict import HandVerdictParams, reached_rows


def write_hands(path: Path, solution: HandSolution) -> None:
    """`<robot>.parquet`: `t_ns`, a column per joint, rad, `reachable`, `position_error_m` of fingertips in the mean.

    `t_robot_ns` is when the robot is there; `base_p_world_x` and so on, `base_q_world_w` and so on, where an arm must
    carry the hand's base to. Of two hands every column but the stamps has its side in front, and `reachable` and
    `position_error_m` are also there for both together. Null where the hand was unseen for long; `bridged` where motion
    only fills a gap.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    params = HandVerdictParams()
    stamps = np.unique(np.concatenate([motion.t_ns for motion in solution.motions.values()]))
    columns: dict[str, Any] = {"t_ns": pa.array(stamps), "t_robot_ns": pa.array(_robot_stamps(solution, stamps))}
    several = len(solution.motions) > 1
    errors: list[Array] = []
    reached_all: list[Array] = []
    for side, motion in solution.motions.items():
        before = f"{side}_" if several else ""
        rows = np.searchsorted(stamps, motion.t_ns)

        def spread(values: Array, rows: NDArray[np.intp] = rows) -> Array:
            out = np.full(len(stamps), np.nan)
            out[rows] = values
            return out

        for k, name in enumerate(motion.joints):
            columns[name if name.startswith(before) else before + name] = _column(spread(motion.q[:, k]))
        where = solution.T_world_base[side]
        known = np.isfinite(where).all(axis=(1, 2))
        place = np.full((len(where), 7), np.nan)
        place[known, :3], place[known, 3:] = where[known, :3, 3], quat_wxyz_from_matrix(where[known, :3, :3])
        for k, axis in enumerate(_PLACE):
            columns[f"{before}base_{axis}"] = _column(spread(place[:, k]))
        seen = motion.known & ~motion.bridged
        reached = spread(np.where(seen, reached_rows(motion, params), np.nan))
        error = spread(motion.tip_error_m.mean(axis=1))
        bridged = spread(motion.bridged.astype(float))
        columns[f"{before}bridged"] = _truth(bridged)
        if several:
            columns[f"{before}reachable"] = _truth(reached)
            columns[f"{before}position_error_m"] = _column(error)
        errors.append(error)
        reached_all.append(reached)
    columns["reachable"] = _truth(_least(np.stack(reached_all)))
    columns["position_error_m"] = _column(-_least(-np.stack(errors)))
    columns["rotation_error_rad"] = _column(np.full(len(stamps), np.nan))
    table = pa.table(columns).replace_schema_metadata({"handcap.robot": solution.robot.name})
    pq.write_table(table, path, compression="zstd")


_PLACE = ("p_world_x", "p_world_y", "p_world_z", "q_world_w", "q_world_x", "q_world_y", "q_world_z")


def _robot_stamps(solution: HandSolution, stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    out = np.zeros_like(stamps)
    for side, motion in solution.motions.items():
        out[np.searchsorted(stamps, motion.t_ns)] = np.round(solution.t_robot_s[side] * NS_PER_S)
    return stamps[0] + out


def _least(values: Array) -> Array:
    """(n,) smallest of (k, n), NaN where all are unknown."""
    known = np.isfinite(values).any(axis=0)
    return np.where(known, np.where(np.isfinite(values), values, np.inf).min(axis=0), np.nan)


def _column(values: Array) -> Any:
    import pyarrow as pa

    return pa.array(values, mask=np.isnan(values))


def _truth(values: Array) -> Any:
    import pyarrow as pa

    return pa.array(np.nan_to_num(values) > 0.5, mask=np.isnan(values))
