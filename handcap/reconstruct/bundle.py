"""Visual-inertial bundle adjustment: keyframe states against tracks and the IMU, solved by GTSAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gtsam
import numpy as np
from gtsam.symbol_shorthand import B, V, X

from handcap.cameras import Camera, KannalaBrandt4
from handcap.geometry import Array
from handcap.reconstruct.inertial import Preintegrator, States
from handcap.reconstruct.landmarks import Observations
from handcap.reconstruct.optics import Optics


class Unsolvable(Exception):
    """The linear system has no solution: contradictory or missing measurements."""


@dataclass(frozen=True, slots=True)
class BundleParams:
    iterations: int = 25
    relative_tolerance: float = 1e-5
    gyro_bias_sigma: float = 0.1  # rad/s, prior at the first state; EuRoC's IMU had 0.08
    accel_bias_sigma: float = 0.3  # m/s²
    gauge_sigma: float = 1e-5  # m and rad: position and yaw of the first state are the world's by definition
    landmark_limit_m: float = 60.0


@dataclass(frozen=True, slots=True)
class Anchor:
    """Holds one state where it is while others are solved around it."""

    state: int
    rotation_rad: float = 0.002
    position_m: float = 0.002
    velocity_m_s: float = 0.02


@dataclass(frozen=True, eq=False, slots=True)
class Solution:
    """A bundle adjustment's outcome.

    Attributes:
        states: at the optimum.
        steps: preintegrated measurements between neighbouring states, about their final biases.
        graph: all factors, as GTSAM has them.
        values: the same states, as GTSAM has them.
        imu_chi2: mean squared whitened IMU residual per degree of freedom (pose and velocity rows).
        converged: whether the error stopped falling before the iterations ran out.
    """

    states: States
    steps: list[gtsam.PreintegratedCombinedMeasurements]
    graph: gtsam.NonlinearFactorGraph
    values: gtsam.Values
    imu_chi2: float
    converged: bool


def optimise(
    states: States,
    seen: Observations,
    camera: Camera | Optics,
    T_imu_cam: Array,
    imu: Preintegrator,
    pixel_sigma: Array | float,
    anchors: Sequence[Anchor] = (),
    gauge: int = 0,
    params: BundleParams | None = None,
    placed: Sequence[gtsam.NonlinearFactor] = (),
) -> Solution:
    """Minimise reprojection and inertial error over all states.

    Raises Unsolvable.

    Args:
        states: start.
        gauge: the state whose position and yaw stay put, unless `anchors` or `placed` hold others.
        placed: what is known of poses from elsewhere.
        seen: observations whose `keyframe` indexes `states`, sorted by track.
        camera: or several of one device; `T_imu_cam` is the first one's.
        pixel_sigma: px, of one coordinate of one observation; one for all, or (m,) by track, ascending ids.
    """
    params = params or BundleParams()
    values = values_of(states)
    visual = visual_factors(seen, camera, T_imu_cam, pixel_sigma, params)
    fixed = [f for a in anchors for f in _hold(states, a)] if anchors else _gauge(states, gauge, params)
    if placed:
        fixed = [*placed, start_biases(params)]
    graph, steps, converged = gtsam.NonlinearFactorGraph(), [], False
    for iterations in (params.iterations, params.iterations // 2):
        steps = imu.chain(states)  # the second round integrates anew about the biases the first one found
        graph = gtsam.NonlinearFactorGraph()
        for factor in [*fixed, *inertial_factors(steps), *visual]:
            graph.add(factor)
        lm = gtsam.LevenbergMarquardtParams()
        lm.setMaxIterations(iterations)
        lm.setRelativeErrorTol(params.relative_tolerance)
        try:
            optimiser = gtsam.LevenbergMarquardtOptimizer(graph, values, lm)
            values = optimiser.optimize()
        except RuntimeError as error:  # an indeterminate linear system, or a lens that its own pictures do not fit
            raise Unsolvable(str(error).splitlines()[0] if str(error) else "indeterminate") from error
        converged = optimiser.iterations() < iterations
        states = states_of(values, states)
    chi2 = [inertial_chi2(f, values) for f in inertial_factors(steps)]
    return Solution(states, steps, graph, values, float(np.mean(chi2)) if chi2 else np.nan, converged)


def inertial_factors(steps: Sequence[gtsam.PreintegratedCombinedMeasurements]) -> list[gtsam.CombinedImuFactor]:
    """One factor per pair of neighbouring states."""
    return [gtsam.CombinedImuFactor(X(i), V(i), X(i + 1), V(i + 1), B(i), B(i + 1), d) for i, d in enumerate(steps)]


def visual_factors(
    seen: Observations,
    camera: Camera | Optics,
    T_imu_cam: Array,
    pixel_sigma: Array | float,
    params: BundleParams | None = None,
) -> list[gtsam.NonlinearFactor]:
    """One smart factor per track: the point is eliminated inside it (Carlone et al. 2014)."""
    params = params or BundleParams()
    smart = gtsam.SmartProjectionParams()
    smart.setRankTolerance(1e-9)
    smart.setDegeneracyMode(gtsam.DegeneracyMode.ZERO_ON_DEGENERACY)
    smart.setLinearizationMode(gtsam.LinearizationMode.HESSIAN)
    smart.setLandmarkDistanceThreshold(params.landmark_limit_m)
    if not len(seen):
        return []
    make, cameras = _camera_set(Optics.of(camera), T_imu_cam)
    edges = np.flatnonzero(np.diff(seen.track, prepend=-1, append=-1))
    keys = [X(k) for k in range(int(seen.keyframe.max()) + 1)]
    factors = []
    sigmas = np.broadcast_to(pixel_sigma, (len(edges) - 1,))
    for a, b, sigma in zip(edges[:-1], edges[1:], sigmas, strict=True):
        factor = make(gtsam.noiseModel.Isotropic.Sigma(2, float(sigma)), cameras, smart)
        factor.add(list(seen.pixel[a:b]), [keys[k] for k in seen.keyframe[a:b]], seen.camera[a:b].tolist())
        factors.append(factor)
    return factors


def _camera_set(optics: Optics, T_imu_cam: Array) -> tuple[Any, Any]:
    """The kind of smart factor that suits the lenses, which must be of one model, and the cameras as it wants them."""
    fisheye = isinstance(optics.cameras[0], KannalaBrandt4)
    assert len({type(camera) for camera in optics.cameras}) == 1
    name = "Cal3Fisheye" if fisheye else "Cal3DS2"
    lens_model: Any = gtsam.Cal3Fisheye if fisheye else gtsam.Cal3DS2
    cameras = getattr(gtsam, f"CameraSetPinholePose{name}")()
    for camera, T_first_cam in zip(optics.cameras, optics.T_first_cam, strict=True):
        fx, fy, cx, cy, *lens = camera.params
        placed = gtsam.Pose3(T_imu_cam @ T_first_cam)
        cameras.push_back(getattr(gtsam, f"PinholePose{name}")(placed, lens_model(fx, fy, 0.0, cx, cy, *lens)))
    return getattr(gtsam, f"SmartProjectionRigFactorPinholePose{name}"), cameras


def _gauge(states: States, i: int, params: BundleParams) -> list[gtsam.NonlinearFactor]:
    """State i: position and yaw as they are, roll and pitch free; biases of the first state near zero."""
    up_imu = states.T_world_imu[i, 2, :3]
    free_rad = 1.0
    information = np.zeros((6, 6))
    information[:3, :3] = np.outer(up_imu, up_imu) / params.gauge_sigma**2
    information[:3, :3] += (np.eye(3) - np.outer(up_imu, up_imu)) / free_rad**2
    information[3:, 3:] = np.eye(3) / params.gauge_sigma**2
    pose = gtsam.noiseModel.Gaussian.Information(information)
    return [gtsam.PriorFactorPose3(X(i), gtsam.Pose3(states.T_world_imu[i]), pose), start_biases(params)]


def start_biases(params: BundleParams) -> gtsam.NonlinearFactor:
    """Biases of the first state near zero."""
    sigmas = np.r_[[params.accel_bias_sigma] * 3, [params.gyro_bias_sigma] * 3]
    return gtsam.PriorFactorConstantBias(B(0), gtsam.imuBias.ConstantBias(), gtsam.noiseModel.Diagonal.Sigmas(sigmas))


def _hold(states: States, anchor: Anchor) -> list[gtsam.NonlinearFactor]:
    i = anchor.state
    pose = gtsam.noiseModel.Diagonal.Sigmas(np.r_[[anchor.rotation_rad] * 3, [anchor.position_m] * 3])
    velocity = gtsam.noiseModel.Isotropic.Sigma(3, anchor.velocity_m_s)
    bias = gtsam.noiseModel.Diagonal.Sigmas(np.r_[[0.02] * 3, [0.001] * 3])
    return [
        gtsam.PriorFactorPose3(X(i), gtsam.Pose3(states.T_world_imu[i]), pose),
        gtsam.PriorFactorVector(V(i), states.velocity_world[i], velocity),
        gtsam.PriorFactorConstantBias(
            B(i), gtsam.imuBias.ConstantBias(states.accel_bias[i], states.gyro_bias[i]), bias
        ),
    ]


def values_of(states: States) -> gtsam.Values:
    """As GTSAM has them: X poses, V velocities, B biases."""
    values = gtsam.Values()
    for i in range(len(states)):
        values.insert(X(i), gtsam.Pose3(states.T_world_imu[i]))
        values.insert(V(i), states.velocity_world[i])
        values.insert(B(i), gtsam.imuBias.ConstantBias(states.accel_bias[i], states.gyro_bias[i]))
    return values


def states_of(values: gtsam.Values, like: States) -> States:
    """The way back; stamps from `like`."""
    n = range(len(like))
    biases = [values.atConstantBias(B(i)) for i in n]
    return States(
        like.t_ns,
        np.array([values.atPose3(X(i)).matrix() for i in n]),
        np.array([values.atVector(V(i)) for i in n]),
        np.array([b.gyroscope() for b in biases]),
        np.array([b.accelerometer() for b in biases]),
    )


def inertial_chi2(factor: gtsam.CombinedImuFactor, values: gtsam.Values) -> float:
    """Mean square of the whitened pose and velocity rows (9 of 15)."""
    return float(np.mean(factor.whitenedError(values)[:9] ** 2))
