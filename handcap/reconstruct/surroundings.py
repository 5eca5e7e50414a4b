"""What a take knows of the room: level surfaces and the frame of the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from handcap.reconstruct.planes import Plane, find_planes
from handcap.reconstruct.result import ReconstructParams
from handcap.reconstruct.rig_take import Recording, Whole
from handcap.reconstruct.workspace import Workspace, find_workspace


@dataclass(frozen=True, eq=False, slots=True)
class Surroundings:
    """Planes, lowest first, and the workspace, in the take's world; empty and None where nothing shows them."""

    planes: tuple[Plane, ...] = ()
    workspace: Workspace | None = None

    def as_report(self) -> dict[str, Any]:
        """The keys `planes` and `workspace` of report.json: m, world."""
        planes = [
            {
                "kind": plane.kind,
                "height_m": plane.centre[2],
                "sigma_m": plane.sigma_m,
                "centre_world": plane.centre,
                "normal_world": plane.normal,
                "tilt_rad": plane.tilt_rad,
                "polygon_world": plane.polygon,
                "area_m2": plane.area_m2,
                "points": plane.points,
            }
            for plane in self.planes
        ]
        found = self.workspace
        workspace = found and {
            "T_world_workspace": found.T_world_workspace,
            "plane": found.plane,
            "by": found.by,
            "share": found.share,
            "sigma_m": found.sigma_m,
        }
        return {"planes": planes, "workspace": workspace}


def surroundings(recording: Recording, whole: Whole, params: ReconstructParams) -> Surroundings:
    """Of a take whose head was followed: heights below it say what is floor, its looks where the work is."""
    head, camera = whole.devices.get("head"), recording.cameras.get("head")
    if head is None or camera is None or head.map_points is None or "head" not in whole.bodies:
        return Surroundings()
    poses = whole.bodies["head"].poses.tracked_only()
    T_world_cam = poses.T_world_body @ recording.rig.cameras[camera].T_imu_cam
    scale_sigma = float(head.judgement.numbers.get("scale_sigma") or 0.0)
    planes = find_planes(head.map_points.p_world, T_world_cam[:, :3, 3], params.planes, scale_sigma)
    tools = [
        body.poses.tracked_only().T_world_body[:, :3, 3] for name, body in whole.bodies.items() if name.endswith("_tcp")
    ]
    tools_world = np.concatenate([np.empty((0, 3)), *tools])
    return Surroundings(planes, find_workspace(planes, T_world_cam, tools_world, params.workspace))
