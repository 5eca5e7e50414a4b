"""A gripper whose own camera says nothing of its motion: placed by its tags in the head's pictures, carried by its IMU.

One that lies still, or looks at a bare wall, has no chain of its own. Where the head sees its tags it has a pose all
the same, and a quarter of a second to either side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gtsam
import numpy as np
from gtsam.symbol_shorthand import X
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.clock import apart_ns, nanoseconds, to_imu_clock
from handcap.geometry import Array, adjoint, inverse, se3_exp, se3_log, transform
from handcap.reconstruct.bridge import bridge_covariance, bridge_poses
from handcap.reconstruct.bundle import (
    BundleParams,
    Solution,
    Unsolvable,
    inertial_chi2,
    inertial_factors,
    start_biases,
    states_of,
    values_of,
)
from handcap.reconstruct.chain import Chain
from handcap.reconstruct.corner_pose import corner_poses
from handcap.reconstruct.inertial import Preintegrator, States
from handcap.reconstruct.sightings import Sightings
from handcap.reconstruct.uncertainty import PoseUncertainty, linearised
from handcap.reconstruct.verdict import imu_gaps
from handcap.types import Device, ImuSamples, Stamps


@dataclass(frozen=True, slots=True)
class CarriedParams:
    """How tags alone place a gripper."""

    keyframe_s: float = 0.2
    bridge_s: float = 0.5  # between sightings; the IMU alone stays within about a centimetre
    least_sightings: int = 8  # pictures
    corner_px: float = 0.15  # as measured where a gripper's own camera helped
    variance_factor: float = 10.0  # of errors that last, measured likewise: 6 to 19
    most_px: float = 1.5  # rms of one picture's corners
    most_tilt_rad: float = 0.35  # between gravity felt and gravity seen; hands hardly accelerate by a third of g
    iterations: int = 25
    most_chi2: float = 9.0  # of IMU or tags: beyond it they contradict each other; 1 is what the stated noise says


@dataclass(frozen=True, eq=False, slots=True)
class _Placed:
    """Poses of the gripper's IMU in the head's world, one per picture: (k,) stamps, (k, 4, 4), (k, 6, 6)."""

    t_ns: Stamps
    T_world_imu: Array
    cov: Array


def carried(
    head: Chain,
    sightings: Sequence[Sightings],
    imu: ImuSamples,
    device: Device,
    T_imu_tcp: Array,
    camera_t_ns: Stamps,
    dt_imu_cam_s: float,
    params: CarriedParams | None = None,
) -> Chain | None:
    """The gripper's chain, in the head's world; None where its tags are seen too seldom, or its IMU contradicts them.

    Args:
        head: tied or not, in its own world.
        sightings: of the gripper's tags by the head's cameras.
        imu: of the gripper.
        device: its noise.
        T_imu_tcp: (4, 4) tool frame on the IMU.
        camera_t_ns: (f,) the pictures of the gripper's camera to give a pose for.
        dt_imu_cam_s: of that camera, as calibrated.
    """
    params = params or CarriedParams()
    placed = _placed(head, sightings, imu, T_imu_tcp, params)
    if len(placed.t_ns) < params.least_sightings:
        return None
    solution = _solve(placed, imu, device, params)
    if solution is None:
        return None
    states, joint = solution
    # The head errs too. Its error is added keyframe by keyframe as if it were not the same for neighbours: right for a
    # pose, too much for a motion between two.
    at_ns = np.clip(states.t_ns, head.states.t_ns[0], head.states.t_ns[-1])
    T_world_head = bridge_poses(head.states, head.imu, at_ns)
    A = adjoint(inverse(states.T_world_imu) @ T_world_head)
    cov_head = bridge_covariance(head.states, head.joint, T_world_head, at_ns, head.model, head.imu)
    of_head = A @ cov_head @ np.swapaxes(A, 1, 2)
    cov = joint.cov.copy()
    for i in range(len(states)):
        cov[i, :, i, :] += of_head[i]
    joint = PoseUncertainty(cov, 0.0, joint.dt_sigma_s)
    t_ns = to_imu_clock(camera_t_ns, dt_imu_cam_s)
    tracked = _near(t_ns, placed.t_ns, states.t_ns, params) & ~imu_gaps(t_ns, imu, params.bridge_s)
    return Chain(states, joint, imu, device.imu, camera_t_ns, dt_imu_cam_s, tracked)


def _near(t_ns: Stamps, seen_ns: Stamps, keyframe_ns: Stamps, params: CarriedParams) -> NDArray[np.bool_]:
    """(f,) whether the tags were seen within half of `bridge_s`."""
    return (apart_ns(t_ns, seen_ns) <= params.bridge_s * 1e9 / 2) & (t_ns >= keyframe_ns[0]) & (t_ns <= keyframe_ns[-1])


def _placed(
    head: Chain, sightings: Sequence[Sightings], imu: ImuSamples, T_imu_tcp: Array, params: CarriedParams
) -> _Placed:
    """All pictures whose corners place the gripper."""
    rows: list[tuple[int, Array, Array]] = []
    for seen in sightings:
        for stamp in np.unique(seen.camera_t_ns):
            which = np.flatnonzero(seen.camera_t_ns == stamp)
            px = seen.corners_px[which].reshape(-1, 2)
            # Of a rolling shutter, when the rows of the tags were exposed; a tag is not tall.
            t_ns = to_imu_clock(stamp, seen.dt_imu_cam_s + float(seen.mount.late_s(px).mean()))
            if not head.knows(t_ns[None])[0] or imu_gaps(t_ns[None], imu, params.bridge_s)[0]:
                continue
            p_imu = np.concatenate([transform(T_imu_tcp, seen.tags[int(k)].corners_body) for k in which])
            up_imu = np.array([np.interp(t_ns, imu.t_ns, column) for column in imu.accel_imu.T])
            T_world_cam = bridge_poses(head.states, head.imu, t_ns[None])[0] @ seen.mount.T_imu_cam
            found = _place(seen.mount.camera, px, p_imu, T_world_cam, up_imu, params)
            if found is not None:
                rows.append((int(t_ns), *found))
    rows.sort(key=lambda row: row[0])
    once = [row for k, row in enumerate(rows) if k == 0 or row[0] > rows[k - 1][0]]
    return _Placed(
        np.array([t for t, _, _ in once], np.int64),
        np.array([T for _, T, _ in once]).reshape(-1, 4, 4),
        np.array([cov for _, _, cov in once]).reshape(-1, 6, 6),
    )


def _place(
    camera: Camera, px: Array, p_imu: Array, T_world_cam: Array, up_imu: Array, params: CarriedParams
) -> tuple[Array, Array] | None:
    """T_world_imu (4, 4) and its covariance (6, 6) from the corners in one picture; None where none fits."""
    if not camera.unproject(px)[1].all():
        return None
    best: tuple[Array, Array] | None = None
    least = params.most_tilt_rad
    for T_cam_imu in corner_poses(camera, px, p_imu):
        refined = _refined(camera, px, p_imu, T_cam_imu, params)
        if refined is None:
            continue
        T_world_imu = T_world_cam @ refined[0]
        up_world = T_world_imu[:3, :3] @ up_imu
        tilt = float(np.arccos(np.clip(up_world[2] / np.linalg.norm(up_world), -1, 1)))
        if tilt < least:
            best, least = (T_world_imu, refined[1]), tilt
    return best


def _refined(
    camera: Camera, px: Array, p_imu: Array, T_cam_imu: Array, params: CarriedParams
) -> tuple[Array, Array] | None:
    """Gauss–Newton on pixels; the pose and its covariance, IMU axes."""

    def residual(T: Array) -> Array:
        return (px - camera.project(transform(T, p_imu))[0]).ravel()

    J = np.empty((2 * len(px), 6))
    r = residual(T_cam_imu)
    for _ in range(4):
        for k in range(6):
            J[:, k] = (r - residual(T_cam_imu @ se3_exp(1e-6 * np.eye(6)[k]))) / 1e-6
        try:
            T_cam_imu = T_cam_imu @ se3_exp(np.linalg.solve(J.T @ J, J.T @ r))
        except np.linalg.LinAlgError:
            return None
        r = residual(T_cam_imu)
    if not np.all(np.isfinite(r)) or np.sqrt(np.mean(r**2)) > params.most_px:
        return None
    cov: Array = np.asarray(np.linalg.inv(J.T @ J), float) * params.corner_px**2 * params.variance_factor
    return T_cam_imu, cov


def _solve(
    placed: _Placed, imu: ImuSamples, device: Device, params: CarriedParams
) -> tuple[States, PoseUncertainty] | None:
    """Keyframes among the sightings, joined by the IMU."""
    chosen = [0]
    for k, t_ns in enumerate(placed.t_ns):
        if t_ns - placed.t_ns[chosen[-1]] >= nanoseconds(0.95 * params.keyframe_s):
            chosen.append(k)
    if len(chosen) < 3:
        return None
    index = np.array(chosen)
    t_ns, T = placed.t_ns[index], placed.T_world_imu[index]
    v = np.gradient(T[:, :3, 3], t_ns / 1e9, axis=0)
    states = States(t_ns, T, v, np.zeros((len(t_ns), 3)), np.zeros((len(t_ns), 3)))
    chain = Preintegrator(imu, device.imu)
    # The corner's slow errors last over a few keyframes, not for ever; pictures in between say the same again.
    poses = [
        gtsam.PriorFactorPose3(X(i), gtsam.Pose3(pose), gtsam.noiseModel.Robust.Create(
            gtsam.noiseModel.mEstimator.Huber.Create(1.345), gtsam.noiseModel.Gaussian.Covariance(placed.cov[k])
        ))
        for i, (k, pose) in enumerate(zip(index, T, strict=True))
    ]  # fmt: skip
    values, graph, steps = values_of(states), gtsam.NonlinearFactorGraph(), chain.chain(states)
    try:
        for _ in range(2):
            graph = gtsam.NonlinearFactorGraph()
            for factor in [*poses, start_biases(BundleParams()), *inertial_factors(steps)]:
                graph.add(factor)
            lm = gtsam.LevenbergMarquardtParams()
            lm.setMaxIterations(params.iterations)
            lm.setLinearSolverType("MULTIFRONTAL_QR")  # a good IMU beside a single tag: too far apart for Cholesky
            values = gtsam.LevenbergMarquardtOptimizer(graph, values, lm).optimize()
            states = states_of(values, states)
            steps = chain.chain(states)
        chi2 = float(np.mean([inertial_chi2(factor, values) for factor in inertial_factors(steps)]))
        off = se3_log(inverse(T) @ states.T_world_imu)
        off_chi2 = float(np.mean(np.einsum("ni,nij,nj->n", off, np.linalg.inv(placed.cov[index]), off))) / 6
        if max(chi2, off_chi2) > params.most_chi2:
            return None
        solution = Solution(states, steps, graph, values, chi2, True)
        return states, linearised(solution, chain, 1e-6).uncertainty(1.0)
    except (RuntimeError, Unsolvable):
        return None
