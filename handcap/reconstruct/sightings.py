"""Tags of a gripper in the pictures of the head: single corners, and where they say the gripper's world lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.clock import nanoseconds
from handcap.geometry import Array, inverse, se3, transform, vertical_part
from handcap.reconstruct.bridge import bridge_poses
from handcap.reconstruct.chain import Chain
from handcap.reconstruct.corner_pose import corner_poses
from handcap.reconstruct.verdict import imu_gaps
from handcap.types import MountedCamera, Stamps, Tag

_ARM_M = 0.5  # from the head to a gripper


@dataclass(frozen=True, slots=True)
class TieParams:
    """Limits of the tie."""

    every: int = 1  # of how many pictures one is searched for tags
    cameras: int = 2  # of the head
    clock_sigma_s: float = 5e-4  # between two boards' clocks once fitted to the session's
    edge_sigma_px: float = 0.1  # by which a camera's tone curve moves the edges of every dark square out
    shift_sigma_px: float = (
        0.15  # by which a corner is seen beside its place as long as it is seen: glue, smear of light
    )
    aside_sigma_px: float = 0.03  # by which all corners are seen beside their places in one camera: light from one side
    slow_sigma_px: float = 0.07  # by which it is beside its place for about `slow_s`: a tag turns in the light
    slow_s: float = 1.0
    least_sightings: int = 4  # pictures with a tag of the gripper
    candidates: int = 80  # sightings that each propose where the worlds lie
    near_px: float = 3.0  # a sighting that agrees with a proposal
    gate_sigmas: float = 4.0
    rounds: int = 8  # stops once the residuals have settled
    reach_s: float = 1.0  # from where its own camera tracks, by the IMU alone, for a tag to say where a gripper is
    bridge_s: float = 0.5  # from tag to tag


@dataclass(frozen=True, eq=False, slots=True)
class Sightings:
    """Corners of one gripper's tags in the pictures of one camera of the head, in the order of their stamps.

    Attributes:
        mount: the camera.
        dt_imu_cam_s: its offset, as found.
        camera_t_ns: (k,) stamp of the picture of each tag seen.
        tags: (k,) the tags.
        corners_px: (k, 4, 2).
    """

    mount: MountedCamera
    dt_imu_cam_s: float
    camera_t_ns: Stamps
    tags: Sequence[Tag]
    corners_px: Array

    def __len__(self) -> int:
        return len(self.tags)


@dataclass(frozen=True, eq=False, slots=True)
class Corners:
    """Single corners: (k,) times on the session clock, (k, 3) points on the gripper's IMU, (k, 2) px."""

    camera: Camera
    T_imu_cam: Array
    t_ns: Stamps
    p_imu: Array
    px: Array
    sighting: NDArray[np.int64]
    number: NDArray[np.int64]  # of the corner among those of a gripper: the same one is seen again and again
    seer: int  # of the camera, among those that see the gripper
    mount_px: float = 0.0  # sigma of where the camera sees a tag at arm's length, its mount being known so well


def how_many(found: Sequence[Corners]) -> int:
    """How many different corners."""
    return 1 + max((int(c.number.max()) for c in found), default=-1)


def _mount_px(mount: MountedCamera) -> float:
    if mount.sigma is None:
        return 0.0
    turned = float(np.hypot(mount.sigma.rotation_rad, mount.sigma.position_m / _ARM_M))
    return float(mount.camera.focal_px.mean()) * turned


def corners_of(
    seen: Sightings, head: Chain, gripper: Chain, T_imu_tcp: Array, first: int, seer: int, reach_s: float = 0.0
) -> Corners:
    """Corners within both chains, each at the time its row was exposed; their numbers begin with `first`.

    Args:
        reach_s: beyond what the gripper's own camera tracks.
    """
    count = len(seen)
    camera = seen.mount.camera
    name = np.repeat(np.array([4 * tag.id for tag in seen.tags], np.int64), 4) + np.tile(np.arange(4), count)
    px = seen.corners_px.reshape(-1, 2)
    t_ns = np.repeat(seen.camera_t_ns, 4) + nanoseconds(seen.mount.late_s(px) + seen.dt_imu_cam_s)
    p_tcp = np.array([tag.corners_body for tag in seen.tags]).reshape(-1, 3)
    held = gripper.knows(t_ns)
    if reach_s:
        held |= gripper.reaches(t_ns, reach_s) & ~imu_gaps(t_ns, gripper.imu, reach_s)
    known = (head.knows(t_ns) & held).reshape(-1, 4).all(axis=1)
    _, valid = camera.unproject(px)
    keep = np.repeat(known & valid.reshape(-1, 4).all(axis=1), 4)
    return Corners(
        camera,
        seen.mount.T_imu_cam,
        t_ns[keep],
        transform(T_imu_tcp, p_tcp)[keep],
        px[keep],
        np.repeat(np.arange(count), 4)[keep],
        first + np.unique(name[keep], return_inverse=True)[1],
        seer,
        _mount_px(seen.mount),
    )


def poses_at(chain: Chain, t_ns: Stamps) -> Array:
    """(k, 4, 4) poses at times in any order; those beyond the chain are those at its ends."""
    times, back = np.unique(np.clip(t_ns, chain.states.t_ns[0], chain.states.t_ns[-1]), return_inverse=True)
    return bridge_poses(chain.states, chain.imu, times)[back]


def propose(head: Chain, gripper: Chain, found: Sequence[Corners], params: TieParams) -> Array | None:
    """T_head_gripper (4, 4) between the two worlds that most sightings agree with; None if too few do.

    Every sighting proposes one: the two poses of a square that its corners allow (Collins and Bartoli 2014), the one
    that keeps gravity.
    """
    total = sum(len(c.t_ns) // 4 for c in found)
    if total < params.least_sightings:
        return None
    seen = [(c, poses_at(head, c.t_ns) @ c.T_imu_cam, poses_at(gripper, c.t_ns)) for c in found]
    proposals: list[Array] = []
    stride = max(total // params.candidates, 1)
    for c, T_head_cam, T_gripper_imu in seen:
        for k in range(0, len(c.t_ns), 4 * stride):
            rows = slice(k, k + 4)
            T = _from_one(c, rows, T_head_cam[k], T_gripper_imu[k])
            if T is not None:
                proposals.append(T)
    best, most = None, 0
    for T in proposals:
        agree = 0
        for c, T_head_cam, T_gripper_imu in seen:
            px, valid = _project(c, T_head_cam, T @ T_gripper_imu)
            off = np.where(valid, np.linalg.norm(px - c.px, axis=1), np.inf)
            agree += int((off.reshape(-1, 4).max(axis=1) < params.near_px * 3).sum())
        if agree > most:
            best, most = T, agree
    return best if most >= max(params.least_sightings, total // 3) else None


def _from_one(c: Corners, rows: slice, T_head_cam: Array, T_gripper_imu: Array) -> Array | None:
    """T_head_gripper from one square; None where its corners cannot be seen so."""
    best, least = None, np.deg2rad(20.0)
    for T_cam_imu in corner_poses(c.camera, c.px[rows], c.p_imu[rows]):
        T_head_imu = T_head_cam @ T_cam_imu
        T = T_head_imu @ inverse(T_gripper_imu)
        tilt = float(np.arccos(np.clip(T[2, 2], -1.0, 1.0)))
        if tilt < least:
            R = vertical_part(T[:3, :3])
            best, least = se3(R, T_head_imu[:3, 3] - R @ T_gripper_imu[:3, 3]), tilt
    return best


def _project(c: Corners, T_world_cam: Array, T_world_imu: Array) -> tuple[Array, NDArray[np.bool_]]:
    p_world = np.einsum("kij,kj->ki", T_world_imu[:, :3, :3], c.p_imu) + T_world_imu[:, :3, 3]
    p_cam = np.einsum("kji,kj->ki", T_world_cam[:, :3, :3], p_world - T_world_cam[:, :3, 3])
    return c.camera.project(p_cam)
