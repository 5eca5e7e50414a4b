"""What a robot needs to know of a reconstructed take."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from handcap import session as session_store
from handcap.errors import RetargetError
from handcap.geometry import Array, se3
from handcap.retarget.hands.take import BareHand, read_side
from handcap.retarget.robot import Base
from handcap.retarget.targets import Targets, TrustParams, targets
from handcap.session import Session
from handcap.types import SIDES, Rig, Side, Stamps, Trajectory

SOURCE = "reconstruct"
_HEAD_HEIGHT_M = 1.55  # of a standing person's head camera, where no floor was seen


@dataclass(frozen=True, eq=False, slots=True)
class Recorded:
    """A take: what is to be followed, and what stands about.

    Attributes:
        targets: of all grippers, and the head.
        widths_m: (n,) their jaw openings, NaN where unknown.
        surfaces: (k, 3) level polygons, world, m.
        furniture: those of them that are no floor: what goes along stands on the floor.
        floor_m: height of the floor; assumed from the head's where none was seen.
        floor_seen: whether it was.
        inputs_sha256: of the files read, relative to the session.
    """

    targets: Targets
    widths_m: Mapping[Side, Array]
    surfaces: tuple[Array, ...]
    furniture: tuple[Array, ...]
    floor_m: float | None
    floor_seen: bool
    inputs_sha256: Mapping[str, str]


def read_recorded(session: Session, take: str, params: TrustParams) -> Recorded:
    """What reconstruction found of a take; a bare hand stands for a gripper: thumb and finger are its jaws.

    Raises:
        RetargetError: there is neither a gripper nor a hand in it.
    """
    import pyarrow.parquet as pq

    folder = session.derived(take, SOURCE)
    report = session_store.read_report(folder)
    tools: dict[Side, Trajectory] = {}
    widths: dict[Side, Array] = {}
    read: list[Path] = [folder / "report.json"]
    for side in SIDES:
        file = folder / f"{side}_tcp.parquet"
        if not file.is_file():
            bare = read_side(folder, side)
            if isinstance(bare, BareHand):
                tools[side], widths[side] = bare.as_gripper(side)
                read.append(folder / f"{side}_hand.parquet")
            continue
        tools[side] = session_store.read_trajectory(file)
        read.append(file)
        names = pq.read_schema(file).names
        if "width_m" in names:
            table = pq.read_table(file, columns=["width_m"])
            widths[side] = table["width_m"].to_numpy(zero_copy_only=False).astype(float)
    if not tools or not any(np.any(each.tracked) for each in tools.values()):
        raise RetargetError(
            f"neither a gripper nor a hand was followed in take {take}",
            where=folder,
            mend="see what `handcap reconstruct` says of grippers and hands",
        )
    head = None
    if (folder / "head.parquet").is_file():
        head = looking(session_store.read_trajectory(folder / "head.parquet"), session.rig)
        read.append(folder / "head.parquet")
    common = targets(tools, head, params)
    aligned: dict[Side, Array] = {side: _at(tools[side].t_ns, width, common.t_ns) for side, width in widths.items()}
    planes = report.get("planes") or []
    floor_too = tuple(np.array(p["polygon_world"], float) for p in planes if p["kind"] in ("surface", "floor"))
    furniture = tuple(np.array(p["polygon_world"], float) for p in planes if p["kind"] == "surface")
    floors = [float(p["height_m"]) for p in planes if p["kind"] == "floor"]
    floor = min(floors) if floors else None
    if floor is None and head is not None and np.any(head.tracked):
        floor = float(np.median(head.T_world_body[head.tracked, 2, 3])) - _HEAD_HEIGHT_M
    hashes = {p.relative_to(session.path).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in read}
    return Recorded(common, aligned, floor_too, furniture, floor, bool(floors), hashes)


def looking(head: Trajectory, rig: Rig) -> Trajectory:
    """The head as robots have theirs: x where its camera looks, z up. Its own axes are those of a chip, however that
    was glued on.
    """
    camera = next((rig.cameras[name] for name in ("head", "head_left") if name in rig.cameras), None)
    if camera is None:
        return head
    R_cam_look = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    return replace(head, T_world_body=head.T_world_body @ camera.T_imu_cam @ se3(R_cam_look, np.zeros(3)))


def _at(t_ns: Stamps, values: Array, when_ns: Stamps) -> Array:
    """Values at other stamps, from the nearest two; NaN where these are unknown or too far apart."""
    out = np.interp(when_ns, t_ns, values)
    return np.where((when_ns >= t_ns[0]) & (when_ns <= t_ns[-1]), out, np.nan)


def heights(base: Base, recorded: Recorded) -> tuple[float, float] | None:
    """Where a base may be in the world's z."""
    if base.height_m is None or recorded.floor_m is None:
        return None
    return recorded.floor_m + base.height_m[0], recorded.floor_m + base.height_m[1]
