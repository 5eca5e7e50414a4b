"""The frame of the work: on the table where it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handcap.geometry import Array, se3
from handcap.reconstruct.planes import Plane


@dataclass(frozen=True, slots=True)
class WorkspaceParams:
    beside_m: float = 0.15  # the map's points rarely reach a table's edge
    reach_m: tuple[float, float] = (-0.05, 0.5)  # heights over a surface at which tools work on it
    min_share: float = 0.2  # of the path, or of the looks


@dataclass(frozen=True, eq=False, slots=True)
class Workspace:
    """Where the work is done.

    Attributes:
        T_world_workspace: (4, 4), m: z the plane's normal, x the wearer's horizontal forward, origin in the middle of
            what was worked on, on the plane.
        plane: which of the planes given.
        by: what chose it: where the tools went, or where the head looked.
        share: of that path over the plane.
        sigma_m: of the origin along z.
    """

    T_world_workspace: Array
    plane: int
    by: str
    share: float
    sigma_m: float


def find_workspace(
    planes: Sequence[Plane], T_world_cam: Array, tools_world: Array, params: WorkspaceParams | None = None
) -> Workspace | None:
    """The surface under most of the work; None where there is no such surface.

    Args:
        T_world_cam: (n, 4, 4) head camera over the take.
        tools_world: (k, 3) tool centres over the take, m; empty without grippers.
    """
    params = params or WorkspaceParams()
    if not len(T_world_cam):
        return None
    where = [k for k, plane in enumerate(planes) if plane.kind == "surface"]
    if not where:
        return None
    touched = _under(planes, where, tools_world, params) if len(tools_world) else _looked_at(planes, where, T_world_cam)
    held = {k: p for k, p in touched.items() if len(p)}
    if not held:
        return None
    best = max(held, key=lambda k: (len(held[k]), -k))
    by, whole = ("tools", len(tools_world)) if len(tools_world) else ("gaze", len(T_world_cam))
    share = len(held[best]) / whole
    third = len(T_world_cam) // 3
    middle = T_world_cam[third : len(T_world_cam) - third, :3, :3].mean(axis=0)
    z = planes[best].normal
    x = middle[:, 2] - z * (middle[:, 2] @ z)
    if np.linalg.norm(x) < 0.3:  # looking nearly straight down: forward is square to the picture's rows
        x = np.cross(z, middle[:, 0])
    if share < params.min_share or np.linalg.norm(x) < 0.1:
        return None
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(z, x), z], axis=1)
    # The middle of the area, wherever the tools lingered; a last twentieth either way is coming and going.
    origin = R @ np.quantile(held[best] @ R, [0.05, 0.95], axis=0).mean(axis=0)
    origin -= z * planes[best].above_m(origin[None])[0]
    T = se3(R, origin)
    return Workspace(T, best, by, share, planes[best].sigma_m)


def _under(planes: Sequence[Plane], where: list[int], p: Array, params: WorkspaceParams) -> dict[int, Array]:
    """Tool positions over each surface, those over several given to the highest below them."""
    low, high = params.reach_m
    above = np.full((len(planes), len(p)), np.inf)
    for k in where:
        over = planes[k].covers(p, params.beside_m)
        height = planes[k].above_m(p)
        above[k] = np.where(over & (height >= low) & (height <= high), height, np.inf)
    nearest = np.where(np.isfinite(above).any(axis=0), above.argmin(axis=0), -1)
    return {k: p[nearest == k] for k in where}


def _looked_at(planes: Sequence[Plane], where: list[int], T_world_cam: Array) -> dict[int, Array]:
    """Where the viewing axis first meets a surface."""
    p, axis = T_world_cam[:, :3, 3], T_world_cam[:, :3, 2]
    hit = np.zeros((len(planes), len(p), 3))
    far = np.full((len(planes), len(p)), np.inf)
    for k in where:
        fall = axis @ planes[k].normal
        distance = -planes[k].above_m(p) / np.where(fall < -1e-3, fall, -np.inf)
        hit[k] = p + distance[:, None] * axis
        far[k] = np.where((distance > 0) & planes[k].covers(hit[k]), distance, np.inf)
    first = np.where(np.isfinite(far).any(axis=0), far.argmin(axis=0), -1)
    return {k: hit[k, first == k] for k in where}
