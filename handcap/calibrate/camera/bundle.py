"""Lenses, mounts and board poses that explain where corners of one board were seen: robust least squares.

Unknowns are the intrinsics of every camera, the pose of every further camera in the first, and the pose of the board
in the first camera for every view. Residuals are taken to follow a round t distribution: a few corners that are off by
a pixel change nothing. Poses are eliminated (Schur complement), so that the cost grows with the number of views.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.geometry import Array, inverse, se3_exp, skew, transform
from handcap.measure.boards import SeenCorners

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Sightings:
    """Corners of one board as one or more cameras saw them in a number of views.

    Attributes:
        view: (n,) which view, ascending.
        camera: (n,) which camera.
        corner: (n,) the corner's name.
        p_board: (n, 3) where the corner is on the board, m.
        bow: (n, 3) by how far the corner stands out, m, per unit of each of three ways in which a sheet can bend.
        px: (n, 2) where it was seen.
        window_px: (n,) half the window in which it was refined; 0 where nobody knows.
    """

    view: Index
    camera: Index
    corner: Index
    p_board: Array
    bow: Array
    px: Array
    window_px: Array

    def __post_init__(self) -> None:
        n = len(self.view)
        assert self.camera.shape == (n,) and self.p_board.shape == self.bow.shape == (n, 3) and self.px.shape == (n, 2)
        assert np.all(np.diff(self.view) >= 0), "views must ascend"

    def __len__(self) -> int:
        return len(self.view)

    def where(self, rows: NDArray[np.bool_]) -> Sightings:
        return Sightings(
            self.view[rows],
            self.camera[rows],
            self.corner[rows],
            self.p_board[rows],
            self.bow[rows],
            self.px[rows],
            self.window_px[rows],
        )

    def of_views(self, views: Index) -> Sightings:
        """What was seen in some views (ascending), numbered anew."""
        some = self.where(np.isin(self.view, views))
        return replace(some, view=np.searchsorted(views, some.view))

    def of_camera(self, camera: int) -> Sightings:
        """What one camera saw, as the only one; views keep their numbers."""
        some = self.where(self.camera == camera)
        return replace(some, camera=np.zeros_like(some.camera))


@dataclass(frozen=True, eq=False, slots=True)
class Setup:
    """What explains sightings.

    Attributes:
        lenses: by camera.
        T_first_cam: (cameras, 4, 4) poses of the cameras in the first; [0] is the identity.
        T_first_board: (views, 4, 4) poses of the board in the first camera.
        bend: (3,) how the board is bent: its height over a plane is `half (a x² + 2 b x y + c y²)`, where x and y run
            from its middle and half its diagonal is their unit.
    """

    lenses: Sequence[Camera]
    T_first_cam: Array
    T_first_board: Array
    bend: Array = field(default_factory=lambda: np.zeros(3))

    def of_views(self, views: Index) -> Setup:
        """With some of the views."""
        return replace(self, T_first_board=self.T_first_board[views])

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many unknowns all views share: of lenses, of mounts, of the board."""
        return sum(len(lens.params) for lens in self.lenses), 6 * (len(self.lenses) - 1), 3


@dataclass(frozen=True, slots=True)
class BundleParams:
    """How sightings are fitted.

    Attributes:
        freedom: of the t distribution; real detectors' tails lie between 4 and 10. None: plain least squares.
        steps: at most.
        converged: relative fall of the cost that ends the search.
        free_lenses, free_mounts: whether these are fitted or taken as they are.
        free_bend: whether the board may be bent. Boards glued by hand are, by half a millimetre and more, and a lens
            that has to explain it errs by several times its sigma.
        bend_sigma: how bent boards are, as a share of half the diagonal: 0.002 to 0.008 were seen.
        same_focal: fx and fy kept in the ratio they begin with, as published calibrations sometimes do.
    """

    freedom: float | None = 6.0
    steps: int = 60
    converged: float = 1e-9
    free_lenses: bool = True
    free_mounts: bool = True
    free_bend: bool = True
    bend_sigma: float = 0.004
    same_focal: bool = False


DEFAULT = BundleParams()
_NOWHERE_PX = 1e3  # residual of a corner that the lens model cannot show
_GROSS = 10.0  # sigmas; no noise reaches that far
_PLAIN = 1e12  # freedom of a t distribution that nobody tells from a normal one


@dataclass(frozen=True, eq=False, slots=True)
class Fit:
    """A setup fitted to sightings.

    Attributes:
        setup: it.
        residual_px: (n, 2) seen minus explained.
        weight: (n,) of each corner, 1 for one right on its place.
        sigma_px: scale of the t distribution, per axis.
        shared_cov: covariance of what all views share, corners taken to err independently: the intrinsics of each
            camera, then (theta, rho) of `T_first_cam @ Exp` of each further one, then the board's bend; what is not
            free has zeros.
        pose_cov: (views, 6, 6) of (theta, rho) in `T_first_board @ Exp`.
        noise_px: per axis, as it counts for shared_cov.
        scores: (views, shared) each view's part of the gradient by what is shared, poses eliminated; they sum to zero.
        information: (views, shared, shared) what each view tells of it; their sum times noise² inverts shared_cov.
        converged: whether the search ended by itself.
    """

    setup: Setup
    residual_px: Array
    weight: Array
    sigma_px: float
    shared_cov: Array
    pose_cov: Array
    noise_px: float
    scores: Array = field(repr=False)
    information: Array = field(repr=False)
    converged: bool = True

    @property
    def gross(self) -> NDArray[np.bool_]:
        """(n,) corners so far off that they are another thing than the corner; they weigh next to nothing."""
        return np.sum(self.residual_px**2, axis=1) > (_GROSS * self.sigma_px) ** 2

    @property
    def rms_px(self) -> float:
        """Root mean square length of residuals, as OpenCV states it; gross errors are not counted."""
        return float(np.sqrt(np.mean(np.sum(self.residual_px[~self.gross] ** 2, axis=1))))


def per_view_rms_px(residual_px: Array, view: Index, views: int) -> Array:
    """(views,) root mean square length of the residuals of each view; NaN where it has none."""
    total = np.bincount(view, np.sum(residual_px**2, axis=1), views)
    count = np.bincount(view, minlength=views)
    return np.sqrt(np.where(count > 0, total, np.nan) / np.maximum(count, 1))


@dataclass(frozen=True, eq=False, slots=True)
class _Normal:
    """Normal equations with every view's pose apart."""

    shared: Array  # (v, s, s)
    cross: Array  # (v, s, 6)
    pose: Array  # (v, 6, 6)
    by_shared: Array  # (v, s) gradient, view by view
    by_pose: Array  # (v, 6)


def _bent(setup: Setup, seen: Sightings) -> Array:
    """(n, 3) corners of the board as it is bent."""
    return np.column_stack([seen.p_board[:, :2], seen.p_board[:, 2] + seen.bow @ setup.bend])


def explained_px(setup: Setup, seen: Sightings) -> tuple[Array, NDArray[np.bool_]]:
    """(n, 2) where the corners should be seen, and whether the lens model holds there."""
    p_first = transform(setup.T_first_board[seen.view], _bent(setup, seen))
    px, valid = np.zeros((len(seen), 2)), np.zeros(len(seen), bool)
    for k, lens in enumerate(setup.lenses):
        mine = seen.camera == k
        px[mine], valid[mine] = lens.project(transform(inverse(setup.T_first_cam[k]), p_first[mine]))
    return px, valid


def fit(setup: Setup, seen: Sightings, params: BundleParams = DEFAULT) -> Fit:
    """The setup that explains sightings best, from one that explains them roughly (Levenberg and Marquardt)."""
    freedom = params.freedom or _PLAIN
    basis = _free(setup, params)
    at_bend = basis[sum(setup.sizes[:2]) :].T  # (free, 3)
    residual = _residuals(setup, seen)
    sigma = _scale(residual, freedom)
    damping, converged = 1e-4, False
    for _ in range(params.steps):
        before = _cost(residual, sigma, freedom) + _bend_cost(setup, params)
        normal = _normal(setup, seen, residual, _weights(residual, sigma, freedom), basis)
        # In units of the weighted squares, whose cost is (freedom + 2) / (2 freedom sigma²) times them.
        stiff = sigma**2 * freedom / (freedom + 2) / params.bend_sigma**2
        prior = stiff * at_bend @ at_bend.T, -stiff * at_bend @ setup.bend
        improved, after = False, before
        while damping < 1e8:
            step = _step(normal, prior, damping)
            trial = _moved(setup, step, basis)
            trial_residual = residual if trial is None else _residuals(trial, seen)
            after = np.inf
            if trial is not None:
                after = _cost(trial_residual, sigma, freedom) + _bend_cost(trial, params)
            if trial is not None and after < before:
                setup, residual, improved = trial, trial_residual, True
                damping = max(damping / 10, 1e-9)
                break
            damping *= 10
        # The scale is a parameter too: its likelihood falls with it, so the cost is taken anew.
        sigma = _scale(residual, freedom, sigma)
        if not improved or before - after < params.converged * abs(before):
            converged = True
            break
    return _finished(setup, seen, residual, sigma, params, basis, converged)


def _free(setup: Setup, params: BundleParams) -> Array:
    """(shared, free) what may move: columns of directions in the space of what all views share."""
    columns: list[Array] = []
    total, at = sum(setup.sizes), 0
    for lens in setup.lenses:
        for k in range(len(lens.params)):
            if not params.free_lenses or (params.same_focal and k == 1):
                continue
            column = np.zeros(total)
            column[at + k] = 1.0
            if params.same_focal and k == 0:
                column[at + 1] = lens.params[1] / lens.params[0]
            columns.append(column)
        at += len(lens.params)
    if params.free_mounts:
        columns += list(np.eye(total)[at:-3])
    if params.free_bend:
        columns += list(np.eye(total)[-3:])
    return np.array(columns).T if columns else np.zeros((total, 0))


def _residuals(setup: Setup, seen: Sightings) -> Array:
    px, valid = explained_px(setup, seen)
    return np.where(valid[:, None], seen.px - px, _NOWHERE_PX)


def _weights(residual: Array, sigma: float, freedom: float) -> Array:
    """Of a round t distribution in the plane, 1 in its middle."""
    return 1 / (1 + np.sum(residual**2, axis=1) / (freedom * sigma**2))


def _scale(residual: Array, freedom: float, sigma: float | None = None) -> float:
    """Of a round t distribution, by expectation and maximisation from a first guess."""
    square = np.sum(residual**2, axis=1)
    if sigma is None:
        sigma = max(float(np.sqrt(np.median(square) / (2 * np.log(2)))), 1e-6)
    for _ in range(20):
        weight = (freedom + 2) / (freedom + square / sigma**2)
        sigma = max(float(np.sqrt(np.sum(weight * square) / (2 * len(square)))), 1e-6)
    return sigma


def _cost(residual: Array, sigma: float, freedom: float) -> float:
    """Negative logarithm of the likelihood at a given scale."""
    return float(np.sum((freedom + 2) / 2 * np.log1p(np.sum(residual**2, axis=1) / (freedom * sigma**2))))


def _bend_cost(setup: Setup, params: BundleParams) -> float:
    return float(np.sum((setup.bend / params.bend_sigma) ** 2)) / 2


def _normal(
    setup: Setup, seen: Sightings, residual: Array, weight: Array, basis: Array, more: Array | None = None
) -> _Normal:
    """`more` (n, 2, m): derivatives of the explained pixel by further unknowns that all views share."""
    by_shared, by_pose = _jacobian(setup, seen)
    if more is not None:
        by_shared = np.concatenate([by_shared, more], axis=2)
    root = np.sqrt(weight)[:, None, None]
    J, K, r = root * (by_shared @ basis), root * by_pose, root[..., 0] * residual
    views, free = len(setup.T_first_board), basis.shape[1]
    out = _Normal(
        np.zeros((views, free, free)),
        np.zeros((views, free, 6)),
        np.zeros((views, 6, 6)),
        np.zeros((views, free)),
        np.zeros((views, 6)),
    )
    first = np.searchsorted(seen.view, np.arange(views + 1))
    for v in range(views):
        rows = slice(first[v], first[v + 1])
        n = 2 * (first[v + 1] - first[v])
        Jv, Kv, rv = J[rows].reshape(n, free), K[rows].reshape(n, 6), r[rows].reshape(n)
        out.shared[v], out.cross[v], out.pose[v] = Jv.T @ Jv, Jv.T @ Kv, Kv.T @ Kv
        out.by_shared[v], out.by_pose[v] = Jv.T @ rv, Kv.T @ rv
    return out


def _jacobian(setup: Setup, seen: Sightings) -> tuple[Array, Array]:
    """(n, 2, shared) and (n, 2, 6) of the explained pixel, by what is shared and by the view's pose."""
    R_first_board, p_board = setup.T_first_board[seen.view, :3, :3], _bent(setup, seen)
    p_first = transform(setup.T_first_board[seen.view], p_board)
    lens_at = np.cumsum([0, *(len(lens.params) for lens in setup.lenses)])
    by_shared = np.zeros((len(seen), 2, sum(setup.sizes)))
    by_pose = np.zeros((len(seen), 2, 6))
    for k, lens in enumerate(setup.lenses):
        mine = seen.camera == k
        R_cam_first = setup.T_first_cam[k, :3, :3].T
        p_cam = transform(inverse(setup.T_first_cam[k]), p_first[mine])
        by_point = lens.derivative(p_cam)
        by_shared[mine, :, lens_at[k] : lens_at[k + 1]] = lens.derivative_by_params(p_cam)
        if k > 0:  # p_cam = Exp(xi)^-1 T_cam_first p_first
            at = int(lens_at[-1]) + 6 * (k - 1)
            by_shared[mine, :, at : at + 3] = by_point @ skew(p_cam)
            by_shared[mine, :, at + 3 : at + 6] = -by_point
        turned = by_point @ (R_cam_first @ R_first_board[mine])
        by_shared[mine, :, -3:] = turned[:, :, 2:] * seen.bow[mine, None]
        by_pose[mine, :, :3] = -turned @ skew(p_board[mine])
        by_pose[mine, :, 3:] = turned
    return by_shared, by_pose


def board_step(result: Fit, seen: Sightings, directions: Array) -> tuple[Array, Array]:
    """How far the board seems to differ from its description, and what that does to what all views share.

    One Gauss-Newton step with the board's corners free to move along given directions.

    Args:
        result: a fit.
        seen: what was fitted.
        directions: (m, n, 3) how the corner of each sighting moves per unit of each, m.

    Returns:
        (shared + m,) the step: what is shared first, then the amount along each direction; its covariance.
    """
    setup = result.setup
    R_first_board = setup.T_first_board[seen.view, :3, :3]
    p_first = transform(setup.T_first_board[seen.view], _bent(setup, seen))
    more = np.zeros((len(seen), 2, len(directions)))
    for k, lens in enumerate(setup.lenses):
        mine = seen.camera == k
        T_cam_first = inverse(setup.T_first_cam[k])
        turned = lens.derivative(transform(T_cam_first, p_first[mine])) @ (T_cam_first[:3, :3] @ R_first_board[mine])
        more[mine] = np.einsum("nij,mnj->nim", turned, directions[:, mine])
    total = result.shared_cov.shape[0] + len(directions)
    normal = _normal(setup, seen, result.residual_px, result.weight, np.eye(total), more)
    eliminated = normal.cross @ np.linalg.inv(_damped(normal.pose, 0.0))
    information = (normal.shared - eliminated @ np.swapaxes(normal.cross, 1, 2)).sum(axis=0)
    gradient = (normal.by_shared - np.einsum("vij,vj->vi", eliminated, normal.by_pose)).sum(axis=0)
    cov = _inverse(information)
    return cov @ gradient, cov * result.noise_px**2


def _damped(matrix: Array, damping: float) -> Array:
    """With its diagonal enlarged; never quite singular."""
    diagonal = np.einsum("...ii->...i", matrix)
    floor = 1e-12 * np.maximum(diagonal.max(axis=-1, keepdims=True), 1e-12) if matrix.shape[-1] else 0.0
    return matrix + np.eye(matrix.shape[-1]) * (damping * diagonal + floor)[..., None, :]


def _step(normal: _Normal, prior: tuple[Array, Array], damping: float) -> tuple[Array, Array]:
    """What is shared moves and the poses with it; `prior`: information and gradient of what is known beforehand."""
    pose = np.linalg.inv(_damped(normal.pose, damping))
    eliminated = normal.cross @ pose
    reduced = _damped(normal.shared.sum(axis=0) + prior[0], damping) - np.einsum(
        "vij,vkj->ik", eliminated, normal.cross
    )
    gradient = prior[1] + normal.by_shared.sum(axis=0) - np.einsum("vij,vj->i", eliminated, normal.by_pose)
    shared = np.linalg.lstsq(reduced, gradient, rcond=None)[0] if len(gradient) else gradient
    poses = np.einsum("vij,vj->vi", pose, normal.by_pose - np.einsum("vij,i->vj", normal.cross, shared))
    return shared, poses


def _moved(setup: Setup, step: tuple[Array, Array], basis: Array) -> Setup | None:
    """None where a lens would become impossible."""
    shared, poses = basis @ step[0], step[1]
    if not np.all(np.isfinite(shared)) or not np.all(np.isfinite(poses)) or np.abs(poses[:, :3]).max(initial=0.0) > 2:
        return None
    lenses: list[Camera] = []
    at = 0
    for lens in setup.lenses:
        values = np.array(lens.params) + shared[at : at + len(lens.params)]
        at += len(lens.params)
        if np.any(values[:2] <= 0) or np.any(values[:2] > 100 * max(lens.width, lens.height)):
            return None
        lenses.append(replace(lens, params=tuple(values.tolist())))
    T_first_cam = setup.T_first_cam.copy()
    T_first_cam[1:] = T_first_cam[1:] @ se3_exp(shared[at:-3].reshape(-1, 6))
    return Setup(lenses, T_first_cam, setup.T_first_board @ se3_exp(poses), setup.bend + shared[-3:])


def _finished(
    setup: Setup, seen: Sightings, residual: Array, sigma: float, params: BundleParams, basis: Array, converged: bool
) -> Fit:
    """With what it is worth.

    For a round error density with score psi(r) = w(|r|) r the covariance of a location estimate is
    E|psi|²/2 / (E div psi / 2)² times that of least squares at unit noise (Huber 1981, 6.3); a t distribution has
    div psi / 2 = w² at w = 1 / (1 + r² / (freedom sigma²)).
    """
    weight = _weights(residual, sigma, params.freedom or _PLAIN)
    normal = _normal(setup, seen, residual, np.ones(len(seen)), basis)
    pose_inverse = np.linalg.inv(_damped(normal.pose, 0.0))
    eliminated = normal.cross @ pose_inverse
    information = normal.shared - eliminated @ np.swapaxes(normal.cross, 1, 2)
    weighted = _normal(setup, seen, weight[:, None] * residual, np.ones(len(seen)), basis)
    scores = weighted.by_shared - np.einsum("vij,vj->vi", eliminated, weighted.by_pose)
    fitted = basis.shape[1] + 6 * len(np.unique(seen.view))
    spare = max(2 * len(seen) - fitted, 1)
    noise2 = np.sum((weight[:, None] * residual) ** 2) / spare / np.mean(weight**2) ** 2
    at_bend = basis[-3:].T
    shared_cov = noise2 * _inverse(information.sum(axis=0) + noise2 / params.bend_sigma**2 * at_bend @ at_bend.T)
    into_pose = np.swapaxes(eliminated, 1, 2)
    pose_cov = noise2 * pose_inverse + into_pose @ shared_cov @ np.swapaxes(into_pose, 1, 2)
    return Fit(
        setup,
        residual,
        weight,
        sigma,
        basis @ shared_cov @ basis.T,
        pose_cov,
        float(np.sqrt(noise2)),
        scores @ basis.T / np.mean(weight**2),
        basis @ information @ basis.T,
        converged,
    )


def _inverse(information: Array) -> Array:
    """Of a symmetric matrix whose unknowns have units of their own; infinite knowledge is never claimed."""
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    return np.linalg.pinv(information / np.outer(scale, scale), hermitian=True) / np.outer(scale, scale)


def sightings(views: Sequence[Mapping[int, SeenCorners]], corners_board: Array) -> Sightings:
    """Views, each with what every camera saw, as one table."""
    rows = [(view, camera, seen) for view, cameras in enumerate(views) for camera, seen in sorted(cameras.items())]
    count = [len(seen) for *_, seen in rows]
    corner = np.concatenate([np.zeros(0, np.int64), *(seen.ids for *_, seen in rows)])
    windows = [np.zeros(len(seen)) if seen.window_px is None else seen.window_px for *_, seen in rows]
    middle = (corners_board.max(axis=0) + corners_board.min(axis=0)) / 2
    half = float(np.linalg.norm(corners_board.max(axis=0) - middle))
    x, y, _ = ((corners_board - middle) / half).T
    bow = half * np.stack([x * x, 2 * x * y, y * y], axis=-1)
    return Sightings(
        np.repeat([view for view, *_ in rows], count).astype(np.int64),
        np.repeat([camera for _, camera, _ in rows], count).astype(np.int64),
        corner,
        corners_board[corner],
        bow[corner],
        np.concatenate([np.zeros((0, 2)), *(seen.px for *_, seen in rows)]),
        np.concatenate([np.zeros(0), *windows]),
    )
