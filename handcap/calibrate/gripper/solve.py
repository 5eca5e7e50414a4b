"""The most likely gripper for what was seen and read on gauges, and how sure everything that follows from it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import chi2 as chi2_law

from handcap import geometry
from handcap.calibrate.gripper.model import AS_STATED, GripperModel, Unknowns, Worse, mean_opening_m
from handcap.encoder import JawEncoder
from handcap.geometry import Array
from handcap.types import Tag

_STEP = 1e-5  # of differences, in sigmas beforehand


@dataclass(frozen=True, eq=False, slots=True)
class Fit:
    """The gripper that would show what was seen.

    Attributes:
        T_cam_tcp, tags: as found; None and () where no tags were seen.
        encoder: None where nothing was read; its noise is not told here.
        unknowns: where the search ended.
        cov: (n, n) of them, in their units: 1 where nothing was learned.
        off: (r,) residuals there, of corners and angles, and jac (r, n) their derivative.
        corner_rms_px, angle_rms_rad: what remains, blocks taken for seated exactly.
        worse: than stated.
    """

    T_cam_tcp: Array | None
    tags: tuple[Tag, ...]
    encoder: JawEncoder | None
    unknowns: Unknowns
    cov: Array
    off: Array
    jac: Array
    corner_rms_px: float
    angle_rms_rad: float
    worse: Worse


def fit_gripper(model: GripperModel) -> Fit:
    """Search, with the lens as it is told; what the lens may be off goes into the covariance."""
    start = Unknowns.beforehand(len(model.tags), len(model.held.gauge_m))
    at = _searched(model, start, AS_STATED)
    worse = _worse(model, at)
    if worse != AS_STATED:
        at = _searched(model, at, worse)
    jac = _jacobian(model, at, worse)
    seated = at.x.copy()
    seated[-at.holds :] = 0.0
    corners, angles, _ = model.residuals(seated)
    rows = len(model.hold_of_row)
    return Fit(
        T_cam_tcp=model.T_cam_tcp(at) if model.by_tags else None,
        tags=model.stuck(at),
        encoder=model.encoder(at) if model.by_encoder else None,
        unknowns=at,
        cov=_covariance(jac, at),
        off=np.concatenate(model.residuals(at.x, worse))[:rows],
        jac=jac[:rows],
        corner_rms_px=_rms(corners) * model.params.corner_px,
        angle_rms_rad=_rms(angles * model.held.angle_sigma_rad[model.read]),
        worse=worse,
    )


def without(model: GripperModel, fit: Fit, left_out: NDArray[np.bool_]) -> Fit:
    """What would have been found without some holds (k,): one Gauss-Newton step away, as all of it is nearly linear.

    Its covariance and residuals are those of the whole.
    """
    at, free = fit.unknowns, _free(fit.unknowns)
    kept = ~left_out[model.hold_of_row]
    J, certainty = fit.jac[kept][:, free], at.certainty[free]
    information = J.T @ J + np.diag(certainty**2)
    x = at.x.copy()
    x[free] -= np.linalg.solve(information, J.T @ fit.off[kept] + certainty**2 * x[free])
    moved = replace(at, x=x)
    return replace(
        fit,
        T_cam_tcp=model.T_cam_tcp(moved) if model.by_tags else None,
        tags=model.stuck(moved),
        encoder=model.encoder(moved) if model.by_encoder else None,
        unknowns=moved,
    )


def sigma_of(fit: Fit, value: Callable[[Unknowns], Array]) -> Array:
    """Standard deviations of (m,) values that follow from the unknowns, to first order."""
    at = fit.unknowns
    here, J = value(at), np.empty((len(value(at)), len(at.x)))
    for k, step in enumerate(np.sqrt(np.diag(fit.cov)) * 1e-2):
        J[:, k] = (value(_stepped(at, k, step)) - here) / step
    return np.sqrt(np.einsum("vi,ij,vj->v", J, fit.cov, J))


def tcp_covariance(model: GripperModel, fit: Fit) -> tuple[Array, Array]:
    """(6, 6) of T_cam_tcp in the tool's axes, rad², rad·m, m²: as found, and as the drawing alone has it."""
    assert fit.T_cam_tcp is not None
    unit = np.repeat([model.params.mount_rad, model.params.mount_m], 3)
    turned = geometry.adjoint(geometry.inverse(fit.T_cam_tcp)) * unit
    return turned @ fit.cov[:6, :6] @ turned.T, turned @ turned.T


def width_by_tags_m(model: GripperModel, fit: Fit, at: Unknowns, opening_m: Array) -> Array:
    """(k,) what a reconstruction with the gripper found makes of tags that truly are where `at` has them."""
    assert fit.T_cam_tcp is not None and model.drawn.camera is not None
    return mean_opening_m(model.corners_px(at, opening_m), model.drawn.camera, fit.T_cam_tcp, fit.tags)


def width_by_encoder_m(model: GripperModel, fit: Fit, at: Unknowns, opening_m: Array) -> Array:
    """(k,) likewise for the encoder, to first order."""
    read, found = model.angles_rad(at, opening_m), model.angles_rad(fit.unknowns, opening_m)
    step_m = 1e-4
    slope = (model.angles_rad(fit.unknowns, opening_m + step_m) - found) / step_m
    return opening_m + (read - found) / slope


def _free(at: Unknowns) -> NDArray[np.bool_]:
    free = np.ones(len(at.x), bool)
    free[at.lens] = False
    return free


def _searched(model: GripperModel, start: Unknowns, worse: Worse) -> Unknowns:
    free, certainty = _free(start), start.certainty

    def whole(some: Array) -> Unknowns:
        x = np.zeros(len(free))
        x[free] = some
        return replace(start, x=x)

    def off(some: Array) -> Array:
        return np.concatenate([*model.residuals(whole(some).x, worse), (certainty * whole(some).x)[free]])

    def slope(some: Array) -> Array:
        return np.vstack([_jacobian(model, whole(some), worse)[:, free], np.diag(certainty[free])])

    solver: Any = least_squares  # its stubs know only the names of differences
    return whole(solver(off, start.x[free], jac=slope, x_scale="jac", ftol=1e-10, xtol=1e-10).x)


def _stepped(at: Unknowns, k: int, step: float) -> Unknowns:
    x = at.x.copy()
    x[k] += step
    return replace(at, x=x)


def _jacobian(model: GripperModel, at: Unknowns, worse: Worse) -> Array:
    """(r, n) of the residuals by the unknowns. A corner's own offset shows at its tag alone, a seat in its hold alone:
    those of all tags, and of all holds, are stepped at once."""
    here = np.concatenate(model.residuals(at.x, worse))
    J = np.zeros((len(here), len(at.x)))

    def slope(x: Array) -> Array:
        return (np.concatenate(model.residuals(x, worse)) - here) / _STEP

    for k in range(at.alone.stop):
        J[:, k] = slope(_stepped(at, k, _STEP).x)
    hold, tag = model.hold_of_row, model.tag_of_row
    first, rows = at.alone.stop, np.flatnonzero(tag >= 0)
    for corner in range(8 if at.tags else 0):
        x = at.x.copy()
        x[first + corner : first + 8 * at.tags : 8] += _STEP
        J[rows, first + 8 * tag[rows] + corner] = slope(x)[rows]
    x, rows = at.x.copy(), np.arange(len(hold))
    x[-at.holds :] += _STEP
    J[rows, first + 8 * at.tags + hold] = slope(x)[rows]
    return J


def _covariance(jac: Array, at: Unknowns) -> Array:
    """(n, n): the lens is not searched, only doubted; what it moves when it moves by a sigma adds to the rest."""
    free = _free(at)
    sure = np.linalg.inv(jac[:, free].T @ jac[:, free] + np.diag(at.certainty[free] ** 2))
    lens = np.flatnonzero(~free)
    moved = np.zeros((len(free), len(lens)))
    moved[lens] = np.eye(len(lens))
    moved[free] = -sure @ jac[:, free].T @ jac[:, lens]
    cov = moved @ moved.T
    cov[np.ix_(free, free)] += sure
    return cov


def _worse(model: GripperModel, at: Unknowns) -> Worse:
    """Whether residuals are larger than stated, beyond what chance explains."""
    corners, angles, _ = model.residuals(at.x)
    free = _free(at)
    J = _jacobian(model, at, AS_STATED)[:, free]
    sure = np.linalg.inv(J.T @ J + np.diag(at.certainty[free] ** 2))
    used = np.einsum("ri,ij,rj->r", J, sure, J)
    n, m = len(corners), len(corners) + len(angles)

    def factor(off: Array, share: Array) -> float:
        left, square = len(off) - float(share.sum()), float(off @ off)
        chance = 1 - model.params.misfit
        return float(np.sqrt(square / left)) if left >= 1 and square > chi2_law.ppf(chance, left) else 1.0

    return Worse(factor(corners, used[:n]), factor(angles, used[n:m]))


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else np.nan
