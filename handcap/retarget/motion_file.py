"""`<robot>.parquet`: the joint motion that is handed out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from handcap.geometry import Array
from handcap.retarget.solve import Solution
from handcap.types import Side


def write_motion(path: Path, solution: Solution, widths_m: Mapping[Side, Array]) -> None:
    """`<robot>.parquet`: `t_ns` of the recording, `t_robot_ns` when the robot is there, joints, jaws, and how well.

    Of two tools `reachable` says whether both are reached, and the errors are the larger ones; each has columns of its
    own beside them, with its side in front. Unknown is null.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    body, motion = solution.body, solution.motion
    t_ns = solution.targets.t_ns
    columns: dict[str, Any] = {
        "t_ns": pa.array(t_ns),
        "t_robot_ns": pa.array(t_ns[0] + np.round(solution.t_robot_s * 1e9).astype(np.int64)),
    }
    for k, name in enumerate(body.joints):
        columns[name] = pa.array(motion.q[:, k])
    columns |= {name: _column(values) for name, values in jaw_columns(solution, widths_m).items()}
    known = np.stack([solution.targets.goals[tool.side].tracked for tool in body.tools], axis=1)
    unknown = ~np.any(known, axis=1)
    reached = np.all(solution.reached | ~known, axis=1)
    columns["reachable"] = pa.array(reached, mask=unknown)
    columns["position_error_m"] = _column(_largest(motion.position_error_m))
    columns["rotation_error_rad"] = _column(_largest(motion.rotation_error_rad))
    if len(body.tools) > 1:
        for k, tool in enumerate(body.tools):
            columns[f"{tool.side}_reachable"] = pa.array(solution.reached[:, k], mask=~known[:, k])
            columns[f"{tool.side}_position_error_m"] = _column(motion.position_error_m[:, k])
            columns[f"{tool.side}_rotation_error_rad"] = _column(motion.rotation_error_rad[:, k])
    table = pa.table(columns).replace_schema_metadata({"handcap.robot": body.robot.name})
    pq.write_table(table, path, compression="zstd")


def jaw_columns(solution: Solution, widths_m: Mapping[Side, Array]) -> dict[str, Array]:
    """Joint name to its values (n,), of the grippers that follow; NaN where the opening is unknown."""
    out: dict[str, Array] = {}
    several = len(solution.body.tools) > 1
    for tool in solution.body.tools:
        jaws, width = tool.jaws, widths_m.get(tool.side)
        if jaws is None or not jaws.joints or width is None:
            continue
        values = jaws.joint_values(width)
        for k, name in enumerate(jaws.joints):
            out[f"{tool.side}_{name}" if several else name] = values[:, k]
    return out


def _column(values: Array) -> Any:
    import pyarrow as pa

    return pa.array(values, mask=np.isnan(values))


def _largest(errors: Array) -> Array:
    """(n,) of (n, tools), NaN where no tool is known."""
    known = np.any(np.isfinite(errors), axis=1)
    return np.where(known, np.max(np.nan_to_num(errors, nan=-1.0), axis=1), np.nan)
