"""What there is to show of a take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.clock import nanoseconds
from handcap.errors import ReviewError
from handcap.geometry import Array
from handcap.review.colours import SIDES
from handcap.session import Session, Take, read_report, read_trajectory
from handcap.types import MountedCamera, Stamps, Trajectory

_STAGE = "reconstruct"


@dataclass(frozen=True, eq=False, slots=True)
class Residuals:
    """Where each kept observation lies and by how much it is off.

    Attributes:
        camera_t_ns: (k,) the picture's stamp as recorded, sorted.
        pixel, residual_px: (k, 2).
    """

    camera_t_ns: Stamps
    pixel: Array
    residual_px: Array


@dataclass(frozen=True, eq=False, slots=True)
class Tool:
    """A gripper: its tool frame at its own pictures, and (n,) jaw opening in m, NaN where unknown."""

    poses: Trajectory
    width_m: Array


@dataclass(frozen=True, eq=False, slots=True)
class BareHand:
    """A hand at the pictures of the camera shown: (n, 21, 3) joints in m, world, NaN where unseen."""

    poses: Trajectory
    joints_world: Array


@dataclass(frozen=True, eq=False, slots=True)
class Material:
    """A take, what was made of it, and the zero of its time line.

    Attributes:
        take: raw data.
        camera: name of the camera shown; mount: its calibration.
        report: of the reconstruction; empty when nobody reconstructed it.
        head: trajectory at the pictures, None when refused or not reconstructed.
        tools: grippers in the same world, by side.
        hands: bare ones, likewise.
        map_points: (m, 3) m, world.
        residuals: see there.
        dt_session_cam_ns: what brings camera stamps to the session clock.
        origin_ns, end_ns: session clock at the first and the last picture.
    """

    take: Take
    camera: str
    mount: MountedCamera
    report: Mapping[str, Any]
    head: Trajectory | None
    tools: Mapping[str, Tool]
    hands: Mapping[str, BareHand]
    map_points: Array | None
    residuals: Residuals | None
    dt_session_cam_ns: int
    origin_ns: int
    end_ns: int

    def on_timeline(self, t_ns: Stamps) -> NDArray[np.timedelta64]:
        """Session clock to time since the first picture, exact."""
        return (np.asarray(t_ns, np.int64) - self.origin_ns).astype("timedelta64[ns]")

    def camera_on_timeline(self, camera_t_ns: Stamps) -> NDArray[np.timedelta64]:
        return self.on_timeline(np.asarray(camera_t_ns, np.int64) + self.dt_session_cam_ns)


def gather(session: Session, take_id: str) -> Material:
    """Open a take and read what the reconstruction left, if it ran.

    Raises:
        ReviewError: the take has no picture of a camera that the rig knows.
    """
    take = session.take(take_id)
    folder = session.derived(take_id, _STAGE)
    report = read_report(folder) if (folder / "report.json").exists() else {}
    shown = (report.get("rig") or {}).get("camera")
    usable = [c for c in take.cameras if c in session.rig.cameras]
    if not usable:
        raise ReviewError(
            f"take {take_id} has no picture of a camera in rig.json",
            where=session.path,
            mend="give a session with pictures; `handcap recover` saves what a killed recorder left",
        )
    camera = shown if shown in usable else ("head" if "head" in usable else usable[0])
    head = read_trajectory(folder / "head.parquet") if (folder / "head.parquet").exists() else None
    mount = session.rig.cameras[camera]
    if head is None:
        dt_ns = int(nanoseconds(mount.dt_imu_cam_s))
        stamps = take.camera_stamps(camera)
    else:
        dt_ns = int(head.t_ns[0] - head.camera_t_ns[0])
        stamps = head.camera_t_ns
    return Material(
        take,
        camera,
        mount,
        report,
        head,
        {side: tool for side in SIDES if (tool := _tool(folder / f"{side}_tcp.parquet")) is not None},
        {side: hand for side in SIDES if (hand := _hand(folder / f"{side}_hand.parquet", head)) is not None},
        _map_points(folder / "map.parquet"),
        _residuals(folder / "residuals.parquet"),
        dt_ns,
        int(stamps.min()) + dt_ns,
        int(stamps.max()) + dt_ns,
    )


def _columns(path: Path, names: list[str]) -> list[NDArray[Any]] | None:
    """Columns of a parquet file, None when there is no such file."""
    if not path.exists():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=names)
        return [table[name].to_numpy() for name in names]
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ReviewError(f"cannot be read ({error})", where=path, mend="run `handcap reconstruct` again") from error


def _tool(path: Path) -> Tool | None:
    columns = _columns(path, ["width_m"])
    return None if columns is None else Tool(read_trajectory(path), np.asarray(columns[0], float))


def _hand(path: Path, head: Trajectory | None) -> BareHand | None:
    columns = _columns(path, ["joints_world"])
    if columns is None or head is None:
        return None
    if len(columns[0]) != len(head):
        what = f"has {len(columns[0])} rows where head.parquet has {len(head)}: they are of different runs"
        raise ReviewError(what, where=path, mend="run `handcap reconstruct` again")
    rows = [np.full(63, np.nan) if row is None else row for row in columns[0]]
    return BareHand(read_trajectory(path), np.array(rows, float).reshape(-1, 21, 3))


def _map_points(path: Path) -> Array | None:
    columns = _columns(path, ["p_world_x", "p_world_y", "p_world_z"])
    return None if columns is None else np.stack(columns, axis=1)


def _residuals(path: Path) -> Residuals | None:
    columns = _columns(path, ["camera_t_ns", "pixel_x", "pixel_y", "residual_px_x", "residual_px_y"])
    if columns is None:
        return None
    order = np.argsort(columns[0], kind="stable")
    t_ns, x, y, dx, dy = (c[order] for c in columns)
    return Residuals(t_ns.astype(np.int64), np.stack([x, y], axis=1), np.stack([dx, dy], axis=1))
