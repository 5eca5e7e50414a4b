"""Trajectories as parquet: one row per picture or sample, null where unknown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.errors import SessionError
from handcap.geometry import from_upper_triangle, matrix_from_quat_wxyz, quat_wxyz_from_matrix, se3, upper_triangle
from handcap.session.folder import cannot_write
from handcap.types import Trajectory

_POSITION = tuple(f"p_world_{axis}" for axis in "xyz")
_QUATERNION = tuple(f"q_world_{axis}" for axis in "wxyz")
_FIXED = ("t_ns", "camera_t_ns", *_POSITION, *_QUATERNION, "cov", "tracked")


def write_trajectory(path: Path, trajectory: Trajectory, extra: Mapping[str, ArrayLike] | None = None) -> None:
    """Write `<body>.parquet`; the same values give the same bytes.

    Args:
        path: the file.
        trajectory: untracked rows become rows with a null pose.
        extra: further columns, name to (n,) or (n, k); NaN becomes null.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tracked = trajectory.tracked
    T = trajectory.T_world_body
    quat_wxyz = np.full((len(trajectory), 4), np.nan)
    quat_wxyz[tracked] = quat_wxyz_from_matrix(T[tracked, :3, :3])
    p_world = np.where(tracked[:, None], T[:, :3, 3], np.nan)
    cov = np.where(tracked[:, None], upper_triangle(trajectory.cov), np.nan)
    columns: dict[str, Any] = {"t_ns": trajectory.t_ns, "camera_t_ns": trajectory.camera_t_ns}
    columns |= {name: p_world[:, i] for i, name in enumerate(_POSITION)}
    columns |= {name: quat_wxyz[:, i] for i, name in enumerate(_QUATERNION)}
    columns |= {"cov": cov, "tracked": tracked}
    for name, values in (extra or {}).items():
        assert name not in columns and len(np.asarray(values)) == len(trajectory), name
        columns[name] = values
    table = pa.table({name: _column(np.asarray(values)) for name, values in columns.items()})
    table = table.replace_schema_metadata({"handcap.body": trajectory.body})
    try:
        pq.write_table(table, path, compression="zstd")
    except OSError as error:
        raise cannot_write(path, error) from error


def _column(values: NDArray[Any]) -> Any:
    """(n,) to a plain column, (n, k) to one of fixed-size lists, null where every number of the row is NaN."""
    import pyarrow as pa

    unknown = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if values.ndim == 1:
        return pa.array(values, mask=unknown)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), mask=unknown.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=pa.array(unknown.all(axis=1)))


def read_trajectory(path: Path) -> Trajectory:
    """A trajectory as written; NaN where the file has null. Further columns are left to pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        missing = [name for name in _FIXED if name not in names]
        if missing:
            raise SessionError(f"no column {missing[0]!r}", where=path, mend="give a trajectory written by handcap")
        table = file.read(columns=list(_FIXED))
    except FileNotFoundError as error:
        raise SessionError("no such trajectory", where=path, mend="run `handcap reconstruct` first") from error
    except (OSError, pa.ArrowException) as error:
        raise SessionError(f"cannot be read ({error})", where=path, mend="run `handcap reconstruct` again") from error
    body = (table.schema.metadata or {}).get(b"handcap.body", path.stem.encode()).decode()
    tracked = _numbers(table, "tracked").astype(bool)
    p_world = np.stack([_numbers(table, name) for name in _POSITION], axis=-1)
    quat_wxyz = np.stack([_numbers(table, name) for name in _QUATERNION], axis=-1)
    T = np.full((len(tracked), 4, 4), np.nan)
    T[tracked] = se3(matrix_from_quat_wxyz(quat_wxyz[tracked]), p_world[tracked])
    triangles = np.full((len(tracked), 21), np.nan)
    for row, values in enumerate(table["cov"].to_pylist()):
        if values is not None:
            triangles[row] = [np.nan if v is None else v for v in values]
    return Trajectory(
        body,
        _numbers(table, "t_ns").astype(np.int64),
        _numbers(table, "camera_t_ns").astype(np.int64),
        T,
        from_upper_triangle(triangles),
        tracked,
    )


def _numbers(table: Any, name: str) -> NDArray[Any]:
    return table[name].to_numpy(zero_copy_only=False)
