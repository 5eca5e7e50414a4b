"""Corners and inertial samples become mounts: start, checks, refinement, noise, and what is left to doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from handcap.boards import Board, BoardViews
from handcap.calibrate.camera_imu import checks
from handcap.calibrate.camera_imu.doubts import DoubtParams, doubts
from handcap.calibrate.camera_imu.excitation import Excitation, ExcitationParams, excitation, missing
from handcap.calibrate.camera_imu.fit import Fit, FitParams, refined
from handcap.calibrate.camera_imu.poses import ViewPoses, board_positions, view_poses
from handcap.calibrate.camera_imu.problem import Corners, Inertial, Mount, Priors, Problem, Sigmas, State
from handcap.calibrate.camera_imu.spline import PoseSpline
from handcap.calibrate.camera_imu.start import (
    Start,
    StartParams,
    board_rotation,
    rotation_start,
    straight_line,
    turns_of,
)
from handcap.causes import Cause, Verdict
from handcap.clock import nanoseconds, seconds
from handcap.geometry import Array, inverse, se3
from handcap.types import ImuModel, ImuSamples, MountedCamera

_CORNER_PX = 0.1  # a first guess; the take tells


@dataclass(frozen=True, slots=True)
class CameraImuParams:
    """Attributes:
    least_corners: of a picture that counts.
    margin_s: of the path before the first and after the last picture.
    mount_drawn: whether rig.json's mounting is a drawing to compare with; False where nobody drew one.
    """

    least_corners: int = 8  # a pose has six unknowns, and one corner may be astray
    margin_s: float = 0.05
    mount_drawn: bool = True
    start: StartParams = field(default_factory=StartParams)
    checks: checks.CheckParams = field(default_factory=checks.CheckParams)
    excitation: ExcitationParams = field(default_factory=ExcitationParams)
    fit: FitParams = field(default_factory=FitParams)
    doubts: DoubtParams = field(default_factory=DoubtParams)
    priors: Priors = field(default_factory=Priors)


@dataclass(frozen=True, eq=False, slots=True)
class Lens:
    """A known lens, and how well it is known.

    Attributes:
        mount: the camera as rig.json has it, its lens replaced by the calibrated one.
        spread: (8, k) how its parameters may differ: params + spread @ z, z of unit variance.
    """

    mount: MountedCamera
    spread: Array


@dataclass(frozen=True, eq=False, slots=True)
class MountFound:
    """One camera on its device.

    Attributes:
        T_imu_cam: (4, 4).
        dt_imu_cam_s: t_imu = t_cam + dt.
        line_delay_s: from row to row; 0 for a global shutter.
        cov: (8, 8) of rotation rad and position m in the camera's axes, offset s, line delay s.
    """

    T_imu_cam: Array
    dt_imu_cam_s: float
    line_delay_s: float
    cov: Array

    @property
    def sigma(self) -> Array:
        """(8,)."""
        return np.sqrt(np.diag(self.cov))


@dataclass(frozen=True, eq=False, slots=True)
class CameraImu:
    """What a take says.

    Attributes:
        verdict, causes: of all cameras together; a cause names its camera where it is one's own.
        mounts: by camera; empty where nothing could be estimated.
        moved: how each camera was moved.
        starts: the rotation-only start of each.
        fit: None where none was tried.
        t0_ns: what the fit's seconds count from, IMU clock.
    """

    verdict: Verdict
    causes: Sequence[Cause]
    mounts: Mapping[str, MountFound]
    moved: Mapping[str, Excitation]
    starts: Mapping[str, Start]
    fit: Fit | None
    t0_ns: int


def calibrate_mounts(
    board: Board,
    views: Mapping[str, BoardViews],
    lenses: Mapping[str, Lens],
    imu: ImuSamples,
    model: ImuModel,
    params: CameraImuParams = CameraImuParams(),
) -> CameraImu:
    """Where cameras of one device sit and how their clocks differ, from a take before a board at rest.

    Args:
        board: what they looked at, its true size.
        views: its corners, by camera; one camera at least.
        lenses: of the same cameras.
        imu: of the device.
        model: its noise; measured anew from the take, bias walks are believed.
    """
    moved: dict[str, Excitation] = {}
    starts: dict[str, Start] = {}
    try:
        poses = {
            name: view_poses(views[name], board, lenses[name].mount.camera, params.least_corners) for name in views
        }
        gravity = _checked(poses, lenses, imu, params, moved, starts)
    except checks.Refused as refused:
        return CameraImu("refused", refused.causes, {}, moved, starts, None, 0)
    problem, state, t0_ns = _posed(board, views, lenses, poses, starts, gravity, imu, model, params)
    try:
        fit = refined(problem, state, params.fit)
    except np.linalg.LinAlgError:
        return CameraImu("refused", [Cause("unsolvable")], {}, moved, starts, None, t0_ns)
    layout = fit.problem.layout(fit.state)
    mounts: dict[str, MountFound] = {}
    for k, name in enumerate(views):
        mount, rows = fit.state.mounts[k], layout.mounts[k]
        mounts[name] = MountFound(mount.T_imu_cam, mount.dt_s, mount.line_delay_s, fit.covariance[np.ix_(rows, rows)])
    first_s = float(seconds(min(int(each.t_ns[0]) for each in views.values()), t0_ns))
    causes = doubts(fit, moved, model, first_s, params.doubts)
    verdict: Verdict = "refused" if causes else "ok"
    return CameraImu(verdict, causes, mounts, moved, starts, fit, t0_ns)


def _checked(
    poses: Mapping[str, ViewPoses],
    lenses: Mapping[str, Lens],
    imu: ImuSamples,
    params: CameraImuParams,
    moved: dict[str, Excitation],
    starts: dict[str, Start],
) -> Array:
    """Fills `moved` and `starts`; gravity (3,) in board axes. Raises Refused."""
    limits = params.checks
    gravity = np.zeros(3)
    most = max(poses, key=lambda name: int(poses[name].known.sum()))
    for name in sorted(poses, key=lambda name: name != most):
        checks.check_lens(poses[name], name, limits)
        turns = turns_of(poses[name], params.start)
        moved[name] = excitation(poses[name], turns)
        weak = missing(moved[name], name, params.excitation)
        if weak:
            raise checks.Refused(*weak)
        t_ns = poses[name].t_ns[poses[name].known]
        checks.check_imu(imu, int(t_ns[0]), int(t_ns[-1]), limits)
        mount = lenses[name].mount
        coarse_s = checks.placed(turns, imu, mount.dt_imu_cam_s, params.start, limits)
        line, _, explained = straight_line(turns, imu, coarse_s)
        checks.check_line(line, explained, limits)
        starts[name] = start = rotation_start(turns, imu, coarse_s, params.start)
        checks.check_board(poses[name], imu, start, limits)
        if name == most:
            gravity = checks.gravity_start(poses[name], imu, start, limits)
        if params.mount_drawn:
            checks.check_mount(start.R_imu_cam, mount.T_imu_cam[:3, :3], name, limits)
    return gravity


def _posed(
    board: Board,
    views: Mapping[str, BoardViews],
    lenses: Mapping[str, Lens],
    poses: Mapping[str, ViewPoses],
    starts: Mapping[str, Start],
    gravity: Array,
    imu: ImuSamples,
    model: ImuModel,
    params: CameraImuParams,
) -> tuple[Problem, State, int]:
    """The full problem and where to begin."""
    known = {name: poses[name].known for name in views}
    ends = [poses[name].t_ns[known[name]][[0, -1]] + nanoseconds(starts[name].dt_s) for name in views]
    t0_ns = int(min(end[0] for end in ends))
    start_s = -params.margin_s
    end_s = float(seconds(max(end[1] for end in ends), t0_ns)) + params.margin_s
    samples = imu.between(t0_ns + int(nanoseconds(start_s)), t0_ns + int(nanoseconds(end_s)))
    inertial = Inertial(seconds(samples.t_ns, t0_ns), samples.gyro_imu, samples.accel_imu)
    period_s = float(np.median(np.diff(inertial.t_s)))
    step_s = max(params.fit.step_s, 2 * period_s)  # two samples a control and more: the IMU alone must tell the path
    biases = max(round((end_s - start_s) / params.fit.bias_step_s), 1) + 1
    most = max(starts, key=lambda name: int(known[name].sum()))
    path = _path_start(poses[most], starts[most], lenses[most].mount, imu, (t0_ns, start_s, end_s, step_s))
    corners: list[Corners] = []
    mounts: list[Mount] = []
    for name in views:
        camera, seen, start = lenses[name].mount.camera, views[name], starts[name]
        seen = seen.where(known[name][seen.view])
        # Stamps on the IMU's clock but for the offset; only what lies on the path.
        corners.append(
            Corners(
                name,
                seconds(seen.t_ns[seen.view], t0_ns),
                seen.px[:, 1] - (camera.height - 1) / 2,
                board_positions(board, seen.ids),
                seen.px,
                seen.view,
                seen.ids,
                float(np.median(np.diff(seconds(seen.t_ns, t0_ns)))),
                camera,
                lenses[name].spread,
            )
        )
        T_imu_cam = se3(start.R_imu_cam, lenses[name].mount.T_imu_cam[:3, 3])
        z = np.zeros(lenses[name].spread.shape[1])
        mounts.append(Mount(T_imu_cam, start.dt_s, lenses[name].mount.line_delay_s, z))
    state = State(
        path,
        gravity,
        1.0,
        np.tile(starts[most].gyro_bias, (biases, 1)),
        np.zeros((biases, 3)),
        np.linspace(start_s, end_s, biases),
        tuple(mounts),
    )
    rate_hz = 1 / period_s
    sigmas = Sigmas(
        model.gyro_noise_density * np.sqrt(rate_hz), model.accel_noise_density * np.sqrt(rate_hz), _CORNER_PX
    )
    priors = replace(params.priors, gyro_walk=model.gyro_random_walk, accel_walk=model.accel_random_walk)
    return Problem(inertial, corners, sigmas, priors), state, t0_ns


def _path_start(
    poses: ViewPoses,
    start: Start,
    mount: MountedCamera,
    imu: ImuSamples,
    clock: tuple[int, float, float, float],
) -> PoseSpline:
    """A path by the gyroscope's turning and the pictures' places."""
    t0_ns, start_s, end_s, step_s = clock
    R_board_start, t_ns, gyro = board_rotation(poses, imu, start)
    times = PoseSpline.control_times(start_s, step_s, end_s)
    R = (checks.middle(R_board_start) * gyro.at(t0_ns + nanoseconds(times))).as_matrix()
    T_imu_cam = se3(start.R_imu_cam, mount.T_imu_cam[:3, 3])
    p = (poses.T_board_cam[poses.known] @ inverse(T_imu_cam))[:, :3, 3]
    places = np.stack([np.interp(times, seconds(t_ns, t0_ns), column) for column in p.T], axis=-1)
    return PoseSpline.from_controls(start_s, step_s, R, places)
