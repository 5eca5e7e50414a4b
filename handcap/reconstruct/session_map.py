"""What the takes of a session know of each other: one room, one camera clock.

A take is solved by itself, in its own world. What it shares lies beside its trajectories: `room.parquet`. A later take
(a higher id, so that nothing depends on which was solved last) looks for itself there. Nothing here may cost a take: a
file that is missing, damaged or not ours is said in the log and done without.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap import session as session_store
from handcap.errors import HandcapError
from handcap.geometry import Array, se3, yaw_rotation
from handcap.reconstruct.find_room import FindParams, NotFound, find
from handcap.reconstruct.room import Room
from handcap.session import Session
from handcap.session.stage_output import REPORT
from handcap.types import MountedCamera, Trajectory

log = logging.getLogger(__name__)

STAGE = "reconstruct"
ROOM_FILE = "room.parquet"
_COLUMNS = ("track", "camera_t_ns", "p_world", "cov_world", "descriptor")
_MOST_BYTES = 256 << 20
_MOST_LOOKS = 1 << 18  # several times what `RoomParams` lets a take write
_FARTHEST_M = 1e4
_TRIANGLE = np.triu_indices(3)


@dataclass(frozen=True, slots=True)
class SessionMapParams:
    most_tried: int = 4  # earlier takes to look in: the session's first, then the newest
    clock_walk_s: float = 1e-4  # that a camera's offset may change by from one take to the next
    clock_vaguest_s: float = 0.002  # an offset known no better helps nobody
    clock_most_s: float = 1.0
    clock_jump_s: float = 1e-3  # a start found farther off than this, and than is likely: the camera was restarted
    find: FindParams = field(default_factory=FindParams)


@dataclass(frozen=True, eq=False, slots=True)
class InSession:
    """Where a take's world lies.

    Attributes:
        base: take whose world is the session's.
        T_session_world: (4, 4).
        cov: (4, 4) of yaw, x, y, z of it: rad², rad·m, m².
    """

    base: str
    T_session_world: Array
    cov: Array

    def then(self, T_world_next: Array, cov: Array) -> InSession:
        """Where the world of a take found in this one's lies; errors of the two steps taken as independent."""
        R = self.T_session_world[:3, :3]
        by_this, by_next = np.eye(4), np.eye(4)
        by_this[1:, 0] = np.cross([0.0, 0.0, 1.0], R @ T_world_next[:3, 3])
        by_next[1:, 1:] = R
        total = by_this @ self.cov @ by_this.T + by_next @ cov @ by_next.T
        return InSession(self.base, self.T_session_world @ T_world_next, total)


@dataclass(frozen=True, slots=True)
class ClockPrior:
    """What an earlier take knew of a camera's offset.

    Attributes:
        take: which.
        dt_imu_cam_s, sigma_s: its offset, and how far this take's may be off it.
        sha256: of its report.
    """

    take: str
    dt_imu_cam_s: float
    sigma_s: float
    sha256: str


@dataclass(frozen=True, eq=False, slots=True)
class EarlierTake:
    """What an earlier take left.

    Attributes:
        id: its own.
        room, poses: its points, and of the body they were seen from.
        at: where it lies in the session; None where nobody knows.
        sha256: of the files this was read from, by their names.
    """

    id: str
    room: Room
    poses: Trajectory
    at: InSession | None
    sha256: Mapping[str, str]


class Earlier:
    """The takes of a session before one, read when they are asked for."""

    def __init__(self, session: Session, take_id: str) -> None:
        self._folders = {id: session.derived(id, STAGE) for id in session.takes if id < take_id}
        self.left_out: dict[str, str] = {}  # takes whose files could not be read so far, and why

    @cached_property
    def reports(self) -> dict[str, dict[str, Any]]:
        """report.json of those that have one, by id."""
        out: dict[str, dict[str, Any]] = {}
        for id, folder in self._folders.items():
            if not (folder / REPORT).exists():
                continue
            try:
                out[id] = session_store.read_report(folder)
            except HandcapError as error:
                log.warning("what take %s told is done without: %s", id, error)
                self.left_out[id] = f"{REPORT}: {error.what}"
        return out

    @cached_property
    def takes(self) -> list[EarlierTake]:
        """Those with points to be found by, first the session's first, then the newest first."""
        read = {id: take for id in self.reports if (take := self._read(id)) is not None}
        if not read:
            return []
        first = min(read)
        return [read[id] for id in [first, *sorted(set(read) - {first}, reverse=True)]]

    def _read(self, id: str) -> EarlierTake | None:
        folder = self._folders[id]
        if not (folder / ROOM_FILE).exists():
            return None
        try:
            room, body = read_room(folder / ROOM_FILE)
            poses = session_store.read_trajectory(folder / f"{body}.parquet")
            if not np.isfinite(poses.cov[poses.tracked]).all():
                raise ValueError(f"{body}.parquet does not say how well its poses are known")
            at = in_session(self.reports[id])
            names = (ROOM_FILE, f"{body}.parquet", REPORT)
            return EarlierTake(id, room, poses, at, {name: _sha256(folder / name) for name in names})
        except (HandcapError, OSError, ValueError) as error:
            log.warning("take %s is left out of the session's map: %s", id, error)
            # A report names no path of this machine.
            self.left_out[id] = _without_path(error)
            return None

    def clock_prior(self, camera: str, mount: MountedCamera, params: SessionMapParams) -> ClockPrior | None:
        """What the newest earlier take that knew it says of a camera's offset, where rig.json says nothing.

        That take already weighed in what those before it knew: the running mean of a slow random walk.
        """
        if mount.dt_sigma_s is not None:
            return None
        for id in sorted(self.reports, reverse=True):
            report = self.reports[id]
            value = report.get("time_offset_s", {}).get(camera)
            sigma = report.get("time_offset_sigma_s", {}).get(camera)
            if report["verdict"] == "refused" or value is None or sigma is None:
                continue
            if abs(value) < params.clock_most_s and 0 < sigma < params.clock_vaguest_s:
                digest = _sha256(self._folders[id] / REPORT)
                return ClockPrior(id, float(value), float(np.hypot(sigma, params.clock_walk_s)), digest)
        return None


def in_session(report: Mapping[str, Any]) -> InSession | None:
    """Where a take lies, from its report. Raises ValueError where that makes no sense."""
    told = report.get("session_map")
    if told is None:
        return None
    try:
        base, T, cov = str(told["session"]), np.array(told["T_session_world"], float), np.array(told["cov"], float)
    except (KeyError, TypeError) as error:
        raise ValueError(f"session_map in its report is not readable ({error!r})") from error
    upright = T.shape == (4, 4) and np.allclose(T, se3(yaw_rotation(float(np.arctan2(T[1, 0], T[0, 0]))), T[:3, 3]))
    if not upright or cov.shape != (4, 4) or not np.isfinite(cov).all() or np.linalg.eigvalsh(cov)[0] < -1e-9:
        raise ValueError("session_map in its report is no turn about the vertical with a covariance")
    return InSession(base, T, cov)


def placed_in_session(
    take_id: str, room: Room, poses: Trajectory, earlier: Sequence[EarlierTake], params: SessionMapParams | None = None
) -> dict[str, Any]:
    """The keys `session_map` and `session_map_note` of the report of a take that has a trajectory.

    Args:
        earlier: as `Earlier.takes` orders them.
    """
    params = params or SessionMapParams()
    if not earlier:
        at = {"take": take_id, "session": take_id, "T_session_world": np.eye(4), "cov": np.zeros((4, 4))}
        return {"session_map": at, "session_map_note": None}
    known = [(take, take.at) for take in earlier if take.at is not None]
    base = min((at.base for _, at in known), default=None)
    why: list[str] = []
    for take, at in [(take, at) for take, at in known if at.base == base][: params.most_tried]:
        try:
            found, pairs = find(room, take.room, poses, take.poses, params.find)
        except NotFound as error:
            why.append(f"take {take.id}: {error}")
            continue
        there = at.then(found.T, found.cov)
        told = {
            "take": take.id,
            "session": at.base,
            "T_session_world": there.T_session_world,
            "cov": there.cov,
            "T_take_world": found.T,
            "inliers": int(found.inliers.sum()),
            "matches": pairs,
            "residual_m": found.residual_m,
            "sha256": dict(take.sha256),
        }
        return {"session_map": told, "session_map_note": None}
    note = "not found in the room of earlier takes; " + "; ".join(why or ["none of them lies in the session's world"])
    return {"session_map": None, "session_map_note": note}


def write_room(path: Path, room: Room, body: str) -> None:
    """A row per look. The same values give the same bytes.

    Args:
        body: whose trajectory beside it has the poses of the pictures.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    def lists(values: NDArray[Any]) -> Any:
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])

    triangle = room.cov_world[:, *_TRIANGLE].astype(np.float32)
    table = pa.table(
        {
            "track": pa.array(room.point),
            "camera_t_ns": pa.array(room.camera_t_ns),
            "p_world": lists(room.p_world[room.point]),
            "cov_world": lists(triangle[room.point]),
            "descriptor": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(32), len(room.point), [None, pa.py_buffer(np.ascontiguousarray(room.descriptor).tobytes())]
            ),
        }
    )
    pq.write_table(
        table.replace_schema_metadata({"handcap.body": body, "handcap.scale_sigma": repr(float(room.scale_sigma))}),
        path,
        compression="zstd",
    )


def read_room(path: Path) -> tuple[Room, str]:
    """A room and the body that saw it. Raises ValueError or OSError for a file that is damaged or not ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.is_symlink() or path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path.name} is a link, or larger than any room")
    try:
        file = pq.ParquetFile(path)
        wrong = [name for name in _COLUMNS if file.schema_arrow.names.count(name) != 1]
        if wrong or file.metadata.num_rows > _MOST_LOOKS:
            what = f"no column {wrong[0]}, or several" if wrong else "too long"
            raise ValueError(f"{path.name} is not a room: {what}")
        table = file.read(columns=list(_COLUMNS))
        told = table.schema.metadata or {}
        body, scale_sigma = told.get(b"handcap.body", b"").decode(), float(told.get(b"handcap.scale_sigma", b"nan"))
        number, t_ns = (table[name].to_numpy().astype(np.int64) for name in ("track", "camera_t_ns"))
        p, triangle = (_rows(table[name], n) for name, n in (("p_world", 3), ("cov_world", 6)))
        joined = b"".join(table["descriptor"].to_pylist())
        descriptor = np.frombuffer(joined, np.uint8).reshape(len(number), 32)
    except (pa.ArrowException, TypeError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{path.name} cannot be read ({error})") from error
    if not session_store.is_name(body):
        raise ValueError(f"{path.name} does not say which body saw it")
    if not 0 <= scale_sigma < 1:
        raise ValueError(f"{path.name} does not say how sure its scale is")
    if not ((np.abs(p) < _FARTHEST_M).all() and np.isfinite(triangle).all()):
        raise ValueError(f"{path.name} holds points that are nowhere")
    _, first, point = np.unique(number, return_index=True, return_inverse=True)
    cov = np.empty((len(first), 3, 3))
    cov[:, *_TRIANGLE] = triangle[first]
    cov[:, _TRIANGLE[1], _TRIANGLE[0]] = triangle[first]
    if len(cov) and np.linalg.eigvalsh(cov).min() <= 0:
        raise ValueError(f"{path.name} holds covariances that are none")
    return Room(p[first], cov, point, t_ns, descriptor, scale_sigma), body


def _rows(column: Any, width: int) -> Array:
    values = np.array(column.to_pylist(), float)
    if values.size == 0:
        return np.empty((0, width))
    if values.ndim != 2 or values.shape[1] != width:
        raise ValueError(f"a column of {width} numbers a row has others")
    return values


def _without_path(error: HandcapError | OSError | ValueError) -> str:
    match error:
        case HandcapError():
            return error.what
        case OSError():
            return error.strerror or "cannot be read"
        case _:
            return str(error)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
