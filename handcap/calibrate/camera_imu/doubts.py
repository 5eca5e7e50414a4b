"""What is still wrong at the optimum, each with its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from handcap.calibrate.camera_imu.changes import (
    Change,
    axes_changes,
    board_step,
    clock_drift,
    clock_step,
    mount_step,
)
from handcap.calibrate.camera_imu.excitation import SHIFTS, TURNS, Excitation
from handcap.calibrate.camera_imu.fit import Fit
from handcap.causes import Cause
from handcap.geometry import GRAVITY_M_S2
from handcap.types import ImuModel


@dataclass(frozen=True, slots=True)
class DoubtParams:
    """Limits; each is engineering judgement unless a reason is given.

    Attributes:
        about_s: how well the time of a change is told.
        chance: that noise alone passes for a change.
        change_s, change_m, change_rad: smaller changes of a clock, of a board or a mounting spoil nothing.
        axes: share of one axis on another beyond which an inertial sensor needs its own calibration first.
        noise: times the stated noise.
        corner_px: noise of a corner; sharp pictures show 0.05 to 0.2.
        sigmas: a number farther from what was known beforehand is believed to be different.
        scale: share by which a board may differ from its stated size: paper does.
        gravity: share by which an accelerometer's scale may be off: uncalibrated parts are by half a percent.
        lens_px: a lens that differs by less does not matter.
        rotation_rad, position_m, offset_s: largest sigma of a mount worth having.
        scale_sigma: likewise of the board's size.
        gyro_bias_rad_s, accel_bias_m_s2: beyond any consumer part.
    """

    about_s: float = 0.25
    chance: float = 1e-6
    change_s: float = 3e-4
    change_m: float = 1.5e-3
    change_rad: float = 2e-3
    axes: float = 0.004
    noise: float = 8.0
    corner_px: float = 0.7
    sigmas: float = 4.0
    scale: float = 0.005
    gravity: float = 0.008
    lens_px: float = 0.3
    rotation_rad: float = 4e-4
    position_m: float = 1e-3
    offset_s: float = 5e-5
    scale_sigma: float = 0.0025
    gyro_bias_rad_s: float = 0.35
    accel_bias_m_s2: float = 1.5


def doubts(
    fit: Fit, moved: Mapping[str, Excitation], model: ImuModel, first_s: float, params: DoubtParams
) -> list[Cause]:
    """Causes to refuse the optimum; none when all is well. `first_s`: the first picture on the fit's clock."""
    if not fit.settled or not np.all(np.isfinite(fit.factor.covariance)):
        return [Cause("unsolvable")]
    changed = _changed(fit, first_s, params)
    if changed:
        return changed
    causes = _lenses(fit, params) or _sizes(fit, moved, params)
    causes += _noise(fit, model, params)
    return causes or _untold(fit, moved, params)


def _changed(fit: Fit, first_s: float, params: DoubtParams) -> list[Cause]:
    """The one thing that was no constant and explains most, if any."""
    found: list[tuple[float, Cause]] = []

    path = fit.state.path

    def note(change: Change, cause: Cause) -> None:
        if change.gain > chi2.isf(params.chance, change.value.size):
            found.append((change.gain, cause))

    def span(change: Change) -> tuple[float, float]:
        assert change.t_s is not None
        return change.t_s - first_s - params.about_s, change.t_s - first_s + params.about_s

    for k, camera in enumerate(fit.problem.cameras):
        step, drift = clock_step(fit, k), clock_drift(fit, k)
        jump_s, grown_s = float(step.value[0]), float(drift.value[0]) * (path.end_s - path.start_s)
        if abs(jump_s) > params.change_s:
            note(step, Cause("clock_jump", camera.name, span(step), 1e3 * jump_s, 1e3 * params.change_s))
        if abs(grown_s) > params.change_s:
            note(drift, Cause("clock_drift", camera.name, None, 1e3 * abs(grown_s), 1e3 * params.change_s))
        step = mount_step(fit, k)
        turn, shift = _sizes_of(step)
        if turn > params.change_rad or shift > params.change_m:
            limit = float(np.rad2deg(params.change_rad))
            note(step, Cause("mount_slipped", camera.name, span(step), float(np.rad2deg(turn)), limit))
    step = board_step(fit)
    turn, shift = _sizes_of(step)
    if turn > params.change_rad or shift > params.change_m:
        corners = np.concatenate([camera.board for camera in fit.problem.cameras])
        arm = float(np.linalg.norm(np.ptp(corners, axis=0))) / 2
        note(step, Cause("board_moved", None, span(step), 1e3 * (shift + arm * turn), 1e3 * params.change_m))
    axes = axes_changes(fit)
    worst = float(np.max(np.abs(axes.value)))
    if worst > params.axes:
        note(axes, Cause("imu_uncalibrated", None, None, 100 * worst, 100 * params.axes))
    return [max(found, key=lambda each: each[0])[1]] if found else []


def _sizes_of(step: Change) -> tuple[float, float]:
    """Turn, rad, and shift, m."""
    return float(np.linalg.norm(step.value[:3])), float(np.linalg.norm(step.value[3:]))


def _lenses(fit: Fit, params: DoubtParams) -> list[Cause]:
    causes: list[Cause] = []
    for k, camera in enumerate(fit.problem.cameras):
        z = fit.state.mounts[k].lens_z
        off_px = fit.problem.lens_shift_px(fit.state, k)
        error = fit.residuals.corner[k][np.isfinite(fit.residuals.corner[k][:, 0])]
        rough_px = float(np.sqrt(np.median(np.sum(error**2, axis=1)) / (2 * np.log(2))))
        if rough_px > params.corner_px:
            causes.append(Cause("wrong_lens", camera.name, None, rough_px, params.corner_px))
        elif np.max(np.abs(z), initial=0.0) > params.sigmas and off_px > params.lens_px:
            causes.append(Cause("wrong_lens", camera.name, None, off_px, params.lens_px))
    return causes


def _sizes(fit: Fit, moved: Mapping[str, Excitation], params: DoubtParams) -> list[Cause]:
    """Board and gravity: each has one true size."""
    layout = fit.problem.layout(fit.state)
    gravity = float(np.linalg.norm(fit.state.gravity_board)) / GRAVITY_M_S2
    sigma = float(np.sqrt(fit.covariance[layout.scale, layout.scale]))
    off = fit.state.scale - 1
    if sigma > params.scale_sigma:
        return [_weakest_shift(moved)]
    if abs(gravity - 1) > params.gravity:
        return [Cause("accel_scale", None, None, 100 * gravity, 100 * params.gravity)]
    if abs(off) > params.scale and abs(off) > params.sigmas * sigma:
        return [Cause("board_size", None, None, 100 * fit.state.scale, 100 * params.scale)]
    return []


def _weakest_shift(moved: Mapping[str, Excitation]) -> Cause:
    camera, axis = min(((name, k) for name in moved for k in range(3)), key=lambda at: moved[at[0]].shift_m_s2[at[1]])
    return Cause(f"weak_{SHIFTS[axis]}", camera, None, float(moved[camera].shift_m_s2[axis]), 1.0)


def _noise(fit: Fit, model: ImuModel, params: DoubtParams) -> list[Cause]:
    rate_hz = 1 / float(np.median(np.diff(fit.problem.imu.t_s)))
    stated = np.array([model.gyro_noise_density, model.accel_noise_density]) * np.sqrt(rate_hz)
    times = float(np.max(np.array([fit.problem.sigmas.gyro, fit.problem.sigmas.accel]) / stated))
    if times > params.noise:
        return [Cause("imu_mismatch", None, None, times, params.noise)]
    bias = max(
        float(np.max(np.abs(fit.state.gyro_bias))) / params.gyro_bias_rad_s,
        float(np.max(np.abs(fit.state.accel_bias))) / params.accel_bias_m_s2,
    )
    return [Cause("bias_implausible", None, None, bias, 1.0)] if bias > 1 else []


def _untold(fit: Fit, moved: Mapping[str, Excitation], params: DoubtParams) -> list[Cause]:
    """The motion that would have told what is not known well enough."""
    causes: list[Cause] = []
    layout = fit.problem.layout(fit.state)
    for k, camera in enumerate(fit.problem.cameras):
        rows = layout.mounts[k]
        sigma = np.sqrt(np.diag(fit.covariance[np.ix_(rows, rows)]))
        share = np.r_[
            sigma[:3] / params.rotation_rad, sigma[3:6] / params.position_m, np.full(3, sigma[6] / params.offset_s)
        ]
        if share.max() <= 1:
            continue
        # A lever arm along an axis shows in turns about the other two, and so does a turn about it.
        axis = int(np.argmax(share)) % 3
        turn = moved[camera.name].turn_rad_s
        others = [a for a in range(3) if a != axis] if share[6:].max() <= 1 else [0, 1, 2]
        weakest = min(others, key=lambda a: float(turn[a]))
        wanted = float(np.rad2deg(turn[weakest]) * share.max())
        causes.append(Cause(f"weak_{TURNS[weakest]}", camera.name, None, float(np.rad2deg(turn[weakest])), wanted))
    return causes
