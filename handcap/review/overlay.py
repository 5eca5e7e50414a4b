"""Hands and grippers drawn over the picture, where the reconstruction says they are: a reviewer sees at once whether
it is true.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from handcap.geometry import Array, interpolate_poses, inverse, transform
from handcap.review.colours import SIDES
from handcap.review.material import BareHand, Material, Tool
from handcap.review.space import FINGER_LONG_M, FINGERS
from handcap.types import MountedCamera, Stamps, Trajectory

Lines = list[Array]  # (k, 3) m each, world; (k, 2) px once projected


def log_overlay(rec: Any, root: str, material: Material) -> None:
    """Lines below `<root>/world/head/camera/lens/<side>_hand` and `<side>_gripper`, at every picture with a pose."""
    head = material.head
    if head is None:
        return
    lens = f"{root}/world/head/camera/lens"
    for side, hand in material.hands.items():
        _log_lines(rec, f"{lens}/{side}_hand", material, projected(fingers(hand), head, material.mount), side)
    for side, tool in material.tools.items():
        lines = projected(jaws(tool, head.t_ns), head, material.mount)
        _log_lines(rec, f"{lens}/{side}_gripper", material, lines, side)


def fingers(hand: BareHand) -> Iterator[Lines]:
    """Five lines from the wrist to the tips, per picture; none where the hand is unseen."""
    for joints in hand.joints_world:
        yield [joints[finger] for finger in FINGERS] if np.isfinite(joints[0, 0]) else []


def jaws(tool: Tool, t_ns: Stamps) -> Iterator[Lines]:
    """Both fingers' inner edges, per picture of the head; none where the gripper is lost next to it."""
    poses = tool.poses
    before = np.clip(np.searchsorted(poses.t_ns, t_ns, side="right") - 1, 0, max(len(poses) - 2, 0))
    inside = (poses.t_ns[0] <= t_ns) & (t_ns <= poses.t_ns[-1]) & (len(poses) > 1)
    known = inside & poses.tracked[before] & poses.tracked[np.minimum(before + 1, len(poses) - 1)]
    T = np.full((len(t_ns), 4, 4), np.nan)
    if known.any():
        T[known] = interpolate_poses(poses.t_ns, poses.T_world_body, t_ns[known])
    width = np.asarray(tool.width_m, float)[before]
    for pose, at, wide in zip(T, known, np.nan_to_num(width), strict=True):
        edges = np.array([[[s * wide / 2, 0, 0], [s * wide / 2, 0, -FINGER_LONG_M]] for s in (-1, 1)])
        yield list(transform(pose, edges)) if at else []


def projected(lines: Iterator[Lines], head: Trajectory, mount: MountedCamera) -> list[Lines]:
    """(k, 2) px of what is at least partly in each picture of the head, centres of pixels at whole numbers."""
    out: list[Lines] = []
    for T_world_imu, tracked, some in zip(head.T_world_body, head.tracked, lines, strict=True):
        seen: Lines = []
        for line in some if tracked else []:
            pixel, valid = mount.camera.project(transform(inverse(T_world_imu @ mount.T_imu_cam), line))
            if valid.all() and mount.camera.in_picture(pixel).any():
                seen.append(pixel)
        out.append(seen)
    return out


def _log_lines(rec: Any, path: str, material: Material, drawn: list[Lines], side: str) -> None:
    """A row per picture, so that nothing lingers."""
    import rerun as rr

    head = material.head
    strips = [np.asarray(line + 0.5, np.float32) for row in drawn for line in row]
    if head is None or not strips:
        return
    rec.log(path, rr.LineStrips2D.from_fields(colors=[SIDES[side]], radii=[1.2]), static=True)
    rec.send_columns(
        path,
        [rr.TimeColumn("take", duration=material.on_timeline(head.t_ns))],
        rr.LineStrips2D.columns(strips=strips).partition([len(row) for row in drawn]),
    )
