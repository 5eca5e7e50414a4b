"""Keyframes of a take that cannot start by itself, placed in the room of an earlier one.

The gyroscope says how the camera turned and the accelerometer, averaged, which way is up: so descriptors are as upright
as the map's, and a pose that PnP finds has only a turn about the vertical and a place to say that is not known already.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import gtsam
import numpy as np
from gtsam.symbol_shorthand import X
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.geometry import Array, gravity_alignment, inverse, se3, so3_log
from handcap.reconstruct.find_room import best_points
from handcap.reconstruct.landmarks import Landmarks, Observations
from handcap.reconstruct.merge import MergeParams, describe
from handcap.reconstruct.room import Room
from handcap.reconstruct.sfm import SfmPoses


@dataclass(frozen=True, slots=True)
class RelocaliseParams:
    hamming: int = 64
    ratio: float = 0.88
    widest_rad: float = 1.2  # off axis: PnP works on a plane, which wider rays meet far out
    reach_px: float = 3.0  # of the camera's pixels at its middle; both the points and the pictures err
    vaguest_m: float = 0.15
    least_inliers: int = 12
    least_share: float = 0.25
    draws: int = 500
    most_tilt_rad: float = 0.06  # between PnP's up and the accelerometer's, averaged over a moving take
    held_m: float = 0.02  # of a keyframe, in the solver; neighbours see the same points, and err alike
    held_rad: float = 0.01
    most_turn_rad: float = 0.05  # of a keyframe's yaw off the others', the gyroscope's turning taken off


def up_in_start(accel_imu: Array, R_start_imu: Array) -> Array:
    """(3,) direction of up in the frame of the gyroscope's start.

    What a moving sensor feels, turned back and averaged, is gravity's reaction but for the change of its velocity over
    the take.

    Args:
        accel_imu, R_start_imu: (n, 3) m/s² and (n, 3, 3), of the same samples.
    """
    mean = np.einsum("nij,nj->ni", R_start_imu, accel_imu).mean(axis=0)
    return mean / np.linalg.norm(mean)


def relocalise(
    pictures: Iterable[tuple[int, NDArray[np.uint8]]],
    seen: Observations,
    R_start_cam: Array,
    up_start: Array,
    camera: Camera,
    room: Room,
    merge: MergeParams | None = None,
    params: RelocaliseParams | None = None,
) -> SfmPoses:
    """Camera poses in the room's world, metric and z up; possibly none.

    Args:
        pictures: (keyframe, full-size grey picture) of the keyframes to try, any order.
        seen: what the keyframes saw, sorted by track.
        R_start_cam: (n, 3, 3) by keyframe, from the gyroscope.
        up_start: (3,) unit.
    """
    params = params or RelocaliseParams()
    sharp = np.sqrt(np.trace(room.cov_world, axis1=1, axis2=2) / 3) < params.vaguest_m
    room = room.where(sharp[room.point])
    none = np.zeros(0, np.int64)
    if not len(room.point):
        return SfmPoses(none, np.zeros((0, 3, 3)), np.zeros((0, 3)))
    # Any world that is upright serves to describe: yaw and place do not matter there.
    R_up_cam = gravity_alignment(up_start) @ R_start_cam
    found: dict[int, Array] = {}
    for k, picture in pictures:
        here = seen.where(seen.keyframe == k)
        if len(here) < params.least_inliers:
            continue
        nowhere = np.zeros((len(here), 3))
        marks = Landmarks(here.track, nowhere, np.zeros(len(here)))
        looks = describe([(k, picture)], here, marks, se3(R_up_cam, np.zeros(3)), camera, merge)
        pose = _pose(here, looks, camera, room, params)
        if pose is not None:
            found[k] = pose
    keyframes = np.array(sorted(found), np.int64)
    T_world_cam = np.array([found[k] for k in keyframes.tolist()]).reshape(-1, 4, 4)
    keep = _agreeing(T_world_cam[:, :3, :3], R_up_cam[keyframes], params)
    return SfmPoses(keyframes[keep], T_world_cam[keep, :3, :3], T_world_cam[keep, :3, 3])


def placed_by(
    poses: SfmPoses, T_imu_cam: Array, params: RelocaliseParams | None = None, in_order: bool = False
) -> list[gtsam.NonlinearFactor]:
    """What these poses say of the IMU's, for the solver; numbered as their keyframes are, or in their own order."""
    params = params or RelocaliseParams()
    model = gtsam.noiseModel.Diagonal.Sigmas(np.r_[[params.held_rad] * 3, [params.held_m] * 3])
    robust = gtsam.noiseModel.Robust.Create(gtsam.noiseModel.mEstimator.Huber.Create(1.345), model)
    T_world_imu = se3(poses.R_anchor_cam, poses.p_anchor) @ inverse(T_imu_cam)
    number = np.arange(len(T_world_imu)) if in_order else poses.keyframe
    return [gtsam.PriorFactorPose3(X(int(k)), gtsam.Pose3(T), robust) for k, T in zip(number, T_world_imu, strict=True)]


def _pose(
    here: Observations, looks: dict[int, NDArray[np.uint8]], camera: Camera, room: Room, params: RelocaliseParams
) -> Array | None:
    """(4, 4) T_world_cam of one picture, by PnP within RANSAC on rays."""
    described = np.array([int(t) in looks for t in here.track.tolist()], bool)
    ahead = described & (here.ray[:, 2] > np.cos(params.widest_rad))
    row = np.flatnonzero(ahead)
    if len(row) < params.least_inliers:
        return None
    look = np.array([looks[int(t)] for t in here.track[row].tolist()], np.uint8)
    pairs = best_points(look, np.arange(len(row)), room.descriptor, room.point, params.hamming, params.ratio)
    if len(pairs) < params.least_inliers:
        return None
    mine = np.array(sorted(pairs), np.int64)
    p_world = room.p_world[[pairs[k] for k in mine.tolist()]]
    ray = here.ray[row[mine]]
    plane = np.ascontiguousarray(ray[:, :2] / ray[:, 2:])
    cv2.setRNGSeed(0)
    ok, rotvec, p_cam_world, inliers = cv2.solvePnPRansac(
        p_world,
        plane,
        np.eye(3),
        np.zeros(4),
        iterationsCount=params.draws,
        reprojectionError=float(params.reach_px / np.mean(camera.focal_px)),
        confidence=0.999,
        flags=cv2.SOLVEPNP_AP3P,
    )
    count = 0 if inliers is None else len(inliers)
    if not ok or count < params.least_inliers or count < params.least_share * len(mine):
        return None
    inside = np.asarray(inliers, np.int64).ravel()
    rotvec, p_cam_world = cv2.solvePnPRefineLM(
        p_world[inside], plane[inside], np.eye(3), np.zeros(4), rotvec, p_cam_world
    )
    R_world_cam = np.asarray(cv2.Rodrigues(rotvec)[0], float).T
    return se3(R_world_cam, -R_world_cam @ np.asarray(p_cam_world, float).ravel())


def _agreeing(R_world_cam: Array, R_up_cam: Array, params: RelocaliseParams) -> NDArray[np.bool_]:
    """Which poses stand upright, and turn as the gyroscope says the most of them do."""
    if not len(R_world_cam):
        return np.zeros(0, bool)
    R_world_up = R_world_cam @ np.swapaxes(R_up_cam, 1, 2)
    upright = np.arccos(np.clip(R_world_up[:, 2, 2], -1, 1)) < params.most_tilt_rad
    apart = np.linalg.norm(so3_log(np.swapaxes(R_world_up, 1, 2)[:, None] @ R_world_up[None]), axis=-1)
    close = (apart < params.most_turn_rad + params.most_tilt_rad) & upright[None]
    best = int(np.argmax(close.sum(axis=1)))
    return close[best] & upright
