"""The 3-D part of a replay: path, map, camera."""

from __future__ import annotations

from typing import Any

import numpy as np

from handcap.geometry import Array, quat_wxyz_from_matrix
from handcap.review.colours import AXES, MAP_POINT, PLANES, SIDES, traffic
from handcap.review.material import BareHand, Material, Tool
from handcap.types import Trajectory

_LONGEST_PATH = 4000  # segments; more cannot be told apart on a screen
_FINGER_M, FINGER_LONG_M = 0.012, 0.08  # about what grippers have; drawn, not measured
FINGERS = [[0, *range(first, first + 4)] for first in (1, 5, 9, 13, 17)]  # from the wrist out, MediaPipe's order
AXIS_M = 0.15  # of the workspace's axes, as drawn
_FAR_EXTENTS = 12.0  # map points farther than so many extents of the path are left out: they only shrink the view


def log_space(rec: Any, root: str, material: Material, sigma_limit_m: float) -> None:
    """Everything below `<root>/world` except the pictures.

    Args:
        rec: rerun.RecordingStream.
        sigma_limit_m: position sigma that is drawn red.
    """
    import rerun as rr

    rec.log(f"{root}/world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    head = material.head
    for side, tool in material.tools.items():
        if tool.poses.tracked.any():
            _log_tool(rec, f"{root}/world/{side}", material, tool, SIDES[side])
    for side, hand in material.hands.items():
        _log_hand(rec, f"{root}/world/{side}_hand", material, hand, SIDES[side])
    if head is None or not head.tracked.any():
        return
    reach_m = extent_m(head)
    _log_path(rec, root, head, reach_m, sigma_limit_m)
    _log_head(rec, root, material, head, reach_m)
    _log_surroundings(rec, root, material)
    if material.map_points is not None and len(material.map_points):
        points = material.map_points
        middle = np.median(head.T_world_body[head.tracked, :3, 3], axis=0)
        near = np.linalg.norm(points - middle, axis=1) < _FAR_EXTENTS * reach_m
        cloud = rr.Points3D(points[near], colors=MAP_POINT, radii=0.006 * reach_m)
        rec.log(f"{root}/world/map", cloud, static=True)


def _log_surroundings(rec: Any, root: str, material: Material) -> None:
    """Outlines of the level surfaces; axes of the workspace, x red, y green, z blue."""
    import rerun as rr

    planes = material.report.get("planes") or []
    if planes:
        outlines = [np.array([*plane["polygon_world"], plane["polygon_world"][0]], np.float32) for plane in planes]
        colours = [PLANES[plane["kind"]] for plane in planes]
        rec.log(f"{root}/world/planes", rr.LineStrips3D(outlines, colors=colours, radii=0.002), static=True)
    workspace = material.report.get("workspace")
    if workspace:
        T = np.array(workspace["T_world_workspace"])
        axes = rr.LineStrips3D(
            [T[:3, 3] + AXIS_M * np.outer([0, 1], axis) for axis in T[:3, :3].T], colors=AXES, radii=0.003
        )
        rec.log(f"{root}/world/workspace", axes, static=True)


def _log_tool(rec: Any, path: str, material: Material, tool: Tool, colour: tuple[int, int, int]) -> None:
    """A gripper: where its fingertips went, and two moving fingers as far apart as its jaws."""
    import rerun as rr

    poses = tool.poses
    step = max(1, len(poses) // _LONGEST_PATH)
    rows = np.flatnonzero(poses.tracked)[::step]
    p = poses.T_world_body[:, :3, 3]
    strips = np.stack([p[rows[:-1]], p[rows[1:]]], axis=1)[np.diff(rows) == step].astype(np.float32)
    rec.log(f"{path}/path", rr.LineStrips3D(strips, colors=colour, radii=0.0015), static=True)
    T = np.where(poses.tracked[:, None, None], poses.T_world_body, np.eye(4))
    times = rr.TimeColumn("take", duration=material.on_timeline(poses.t_ns))
    quat_xyzw = np.roll(quat_wxyz_from_matrix(T[:, :3, :3]), -1, axis=1)
    hidden = np.where(poses.tracked[:, None], 1.0, 1e-6) * np.ones((1, 3))
    rec.send_columns(
        f"{path}/tool",
        [times],
        rr.Transform3D.columns(translation=T[:, :3, 3], quaternion=quat_xyzw, scale=hidden),
    )
    half = np.nan_to_num(tool.width_m) / 2 + _FINGER_M / 2
    sizes = np.tile([_FINGER_M / 2, _FINGER_M / 2, FINGER_LONG_M / 2], (2 * len(half), 1))
    centres = np.zeros((len(half), 2, 3))
    centres[:, 0, 0], centres[:, 1, 0], centres[:, :, 2] = -half, half, -FINGER_LONG_M / 2
    rec.log(f"{path}/tool/fingers", rr.Boxes3D.from_fields(colors=[colour], fill_mode="solid"), static=True)
    rec.send_columns(
        f"{path}/tool/fingers",
        [times],
        rr.Boxes3D.columns(centers=centres.reshape(-1, 3), half_sizes=sizes).partition([2] * len(half)),
    )


def _log_hand(rec: Any, path: str, material: Material, hand: BareHand, colour: tuple[int, int, int]) -> None:
    """A skeleton at every picture that has one."""
    import rerun as rr

    seen = np.isfinite(hand.joints_world[:, 0, 0])
    strips = [row[finger].astype(np.float32) for row in hand.joints_world[seen] for finger in FINGERS]
    if not strips:
        return
    rec.log(f"{path}/skeleton", rr.LineStrips3D.from_fields(colors=[colour], radii=[0.003]), static=True)
    rec.send_columns(
        f"{path}/skeleton",
        [rr.TimeColumn("take", duration=material.on_timeline(hand.poses.t_ns))],
        rr.LineStrips3D.columns(strips=strips).partition(np.where(seen, len(FINGERS), 0)),
    )


def extent_m(head: Trajectory) -> float:
    """Size of the path, at least 30 cm, so that a head nearly at rest still gives a sensible view."""
    p = head.T_world_body[head.tracked, :3, 3]
    return max(0.3, float(np.linalg.norm(p.max(axis=0) - p.min(axis=0))))


def position_sigma_m(head: Trajectory) -> Array:
    """(n,) root of the position covariance's trace; NaN where unknown."""
    return np.sqrt(np.trace(head.cov[:, 3:, 3:], axis1=1, axis2=2))


def _log_path(rec: Any, root: str, head: Trajectory, reach_m: float, sigma_limit_m: float) -> None:
    """One short line per picture, coloured by position sigma; none across untracked pictures."""
    import rerun as rr

    step = max(1, len(head) // _LONGEST_PATH)
    rows = np.arange(0, len(head), step)
    # A thinned segment is drawn only if every picture along it has a pose.
    lost = np.concatenate([[0], np.cumsum(~head.tracked)])
    a, b = rows[:-1], rows[1:]
    whole = lost[b + 1] == lost[a]
    p = head.T_world_body[:, :3, 3]
    strips = np.stack([p[a[whole]], p[b[whole]]], axis=1).astype(np.float32)
    colours = traffic(position_sigma_m(head)[b[whole]] / sigma_limit_m)
    rec.log(f"{root}/world/path", rr.LineStrips3D(strips, colors=colours, radii=0.006 * reach_m), static=True)
    start = p[np.flatnonzero(head.tracked)[:1]]
    rec.log(f"{root}/world/start", rr.Points3D(start, radii=0.018 * reach_m, colors=(240, 240, 240)), static=True)


def _log_head(rec: Any, root: str, material: Material, head: Trajectory, reach_m: float) -> None:
    """The moving head with its camera; hidden while untracked, by a scale of nothing."""
    import rerun as rr

    T = np.where(head.tracked[:, None, None], head.T_world_body, np.eye(4))
    quat_wxyz = quat_wxyz_from_matrix(T[:, :3, :3])
    rec.send_columns(
        f"{root}/world/head",
        [rr.TimeColumn("take", duration=material.on_timeline(head.t_ns))],
        rr.Transform3D.columns(
            translation=T[:, :3, 3],
            quaternion=np.roll(quat_wxyz, -1, axis=1),  # Rerun wants w last
            scale=np.where(head.tracked[:, None], 1.0, 1e-6) * np.ones((1, 3)),
        ),
    )
    mount = material.mount
    T_imu_cam = mount.T_imu_cam
    at = rr.Transform3D(translation=T_imu_cam[:3, 3], mat3x3=T_imu_cam[:3, :3])
    rec.log(f"{root}/world/head/camera", at, static=True)
    camera = mount.camera
    fx, fy, cx, cy = camera.params[:4]
    rec.log(
        f"{root}/world/head/camera/lens",
        rr.Pinhole(
            focal_length=(fx, fy),
            principal_point=(cx + 0.5, cy + 0.5),  # Rerun counts from the corner of the first pixel
            resolution=(camera.width, camera.height),
            camera_xyz=rr.ViewCoordinates.RDF,
            image_plane_distance=0.22 * reach_m,
        ),
        static=True,
    )
