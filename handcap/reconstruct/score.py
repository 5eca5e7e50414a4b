"""How good is a trajectory: error against truth, and whether it knew its own error. Arrays in, numbers out.

Definitions follow Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems (IROS 2012) and Umeyama (1991).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.clock import NS_PER_S, nanoseconds
from handcap.geometry import Array, interpolate_poses, inverse, se3, se3_log, transform, vertical_part
from handcap.types import Stamps, Trajectory

CHI2_3_95 = 7.815  # 95 % quantile of chi-square with three degrees of freedom
_SETTLED_S = 1.0  # honesty is judged on rows later than this: before, the error is zero by construction
_DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of a set of errors, in their own unit; `sse` in its square."""

    rmse: float
    mean: float
    median: float
    std: float
    min: float
    max: float
    sse: float


def statistics(errors: ArrayLike) -> Statistics:
    """Of (n,) errors, n >= 1."""
    e = np.asarray(errors, float)
    sse = float(e @ e)
    middle, spread = float(np.median(e)), float(np.std(e))
    return Statistics(
        float(np.sqrt(sse / len(e))), float(e.mean()), middle, spread, float(e.min()), float(e.max()), sse
    )


def associate(t_a_ns: Stamps, t_b_ns: Stamps, max_dt_s: float = 0.01) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Nearest stamps of two trajectories, for each row of the shorter one.

    Returns:
        (m,) row in a and (m,) row in b of each pair not more than `max_dt_s` apart.
    """
    if len(t_a_ns) > len(t_b_ns):
        b, a = associate(t_b_ns, t_a_ns, max_dt_s)
        return a, b
    after = np.clip(np.searchsorted(t_b_ns, t_a_ns), 1, len(t_b_ns) - 1) if len(t_b_ns) > 1 else np.zeros(1, int)
    before = np.maximum(after - 1, 0)
    nearer_before = np.abs(t_b_ns[before] - t_a_ns) <= np.abs(t_b_ns[after] - t_a_ns)
    nearest = np.where(nearer_before, before, after)
    near = np.abs(t_b_ns[nearest] - t_a_ns) <= nanoseconds(max_dt_s)
    return np.flatnonzero(near), nearest[near]


@dataclass(frozen=True, eq=False, slots=True)
class Alignment:
    """`p_truth = scale * R_truth_estimate @ p_estimate + t_truth`."""

    R_truth_estimate: Array
    t_truth: Array
    scale: float

    def apply(self, p_estimate: ArrayLike) -> Array:
        """Points (n, 3) of the estimate's world in the truth's."""
        return transform(se3(self.scale * self.R_truth_estimate, self.t_truth), p_estimate)


def align(p_truth: ArrayLike, p_estimate: ArrayLike, *, with_scale: bool = False) -> Alignment:
    """Least-squares alignment of paired points, Umeyama 1991, eq. 40-42.

    Args:
        p_truth, p_estimate: (n, 3), n >= 3.
        with_scale: Sim(3) rather than SE(3).
    """
    x, y = np.asarray(p_estimate, float), np.asarray(p_truth, float)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    U, D, Vt = np.linalg.svd((y - mean_y).T @ (x - mean_x) / len(x))
    S = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt)) or 1.0])
    R = (U * S) @ Vt
    variance = float(np.mean(np.sum((x - mean_x) ** 2, axis=1)))
    scale = float(D @ S) / variance if with_scale and variance > 0 else 1.0
    return Alignment(R, mean_y - scale * R @ mean_x, scale)


def absolute_errors_m(p_truth: ArrayLike, p_estimate: ArrayLike, *, with_scale: bool = False) -> Array:
    """(n,) position errors after alignment: their rmse is the ATE."""
    aligned = align(p_truth, p_estimate, with_scale=with_scale).apply(p_estimate)
    return np.linalg.norm(np.asarray(p_truth, float) - aligned, axis=1)


def relative_errors(
    T_truth: Array, T_estimate: Array, first: NDArray[np.intp], second: NDArray[np.intp]
) -> tuple[Array, Array]:
    """Error of the motion between pairs of rows.

    Args:
        T_truth, T_estimate: (n, 4, 4) poses of the body, each in its own world.
        first, second: (m,) rows of each pair.

    Returns:
        (m,) metres and (m,) radians.
    """
    error = inverse(_motion(T_truth, first, second)) @ _motion(T_estimate, first, second)
    return np.linalg.norm(error[:, :3, 3], axis=1), np.linalg.norm(se3_log(error)[:, :3], axis=1)


def _motion(T: Array, first: NDArray[np.intp], second: NDArray[np.intp]) -> Array:
    return inverse(T[first]) @ T[second]


def pairs_apart(t_ns: Stamps, apart_s: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All pairs of rows `apart_s` apart, to within half a period."""
    if len(t_ns) < 2:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    half_period_s = float(np.median(np.diff(t_ns))) / NS_PER_S / 2
    goal = t_ns + nanoseconds(apart_s)
    after = np.clip(np.searchsorted(t_ns, goal), 1, len(t_ns) - 1)
    nearest = np.where(goal - t_ns[after - 1] <= t_ns[after] - goal, after - 1, after)
    near = np.abs(t_ns[nearest] - goal) <= nanoseconds(half_period_s)
    return np.flatnonzero(near), nearest[near]


def gravity_tilt_rad(R_truth: Array, R_estimate: Array) -> Array:
    """(n,) angles between truth's and estimate's gravity in the body frame; both worlds z up, their yaw irrelevant."""
    down_truth, down_estimate = -R_truth[:, 2, :], -R_estimate[:, 2, :]
    across = np.linalg.norm(np.cross(down_truth, down_estimate), axis=1)
    return np.arctan2(across, np.sum(down_truth * down_estimate, axis=1))


def yaw_alignment(T_truth: Array, T_estimate: Array) -> Array:
    """`T_estimate_truth` (4, 4): turn about the vertical and shift that take one true pose (4, 4) to its estimate.

    The turn is the vertical part of the rotation between the two, so that a tilt error stays an error.
    """
    R = vertical_part(T_estimate[:3, :3] @ T_truth[:3, :3].T)
    return se3(R, T_estimate[:3, 3] - R @ T_truth[:3, 3])


@dataclass(frozen=True, eq=False, slots=True)
class Honesty:
    """Whether the stated covariance holds the true error.

    Attributes:
        nees: (n,) squared position error over its stated covariance, for the rows judged.
        t_ns: (n,) their stamps.
    """

    nees: Array
    t_ns: Stamps

    @property
    def inside(self) -> int:
        """Rows whose 95 % ellipsoid holds the truth."""
        return int(np.sum(self.nees <= CHI2_3_95))

    @property
    def fraction(self) -> float:
        """The same as a share; NaN when no row could be judged."""
        return self.inside / len(self.nees) if len(self.nees) else float("nan")


def honesty(t_ns: Stamps, T_truth: Array, T_estimate: Array, cov: Array) -> Honesty:
    """Position errors against their covariance, with no alignment but yaw and position at the first row.

    Args:
        t_ns: (n,).
        T_truth: (n, 4, 4), world z up.
        T_estimate: (n, 4, 4), all tracked; row 0 is the first tracked keyframe.
        cov: (n, 6, 6) of `[theta; rho]` in T_true = T_estimate @ se3_exp; rows with NaN are not judged.
    """
    truth = yaw_alignment(T_truth[0], T_estimate[0]) @ T_truth
    judged = (t_ns - t_ns[0] > nanoseconds(_SETTLED_S)) & np.all(np.isfinite(cov), axis=(1, 2))
    delta = se3_log(inverse(T_estimate[judged]) @ truth[judged])[:, 3:]
    return Honesty(_squared_sigmas(delta, cov[judged, 3:, 3:]), t_ns[judged])


def _squared_sigmas(delta: Array, cov: Array) -> Array:
    """(n,) delta' cov^-1 delta; infinite where the covariance claims certainty in a direction that is wrong."""
    variance, axes = np.linalg.eigh(cov)
    along = np.einsum("nji,nj->ni", axes, delta) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        # 1e-24 m²: rounding is not an error
        ratio = np.where(along > 1e-24, along / np.maximum(variance, 0.0), 0.0)
    return np.asarray(ratio.sum(axis=1), float)


def relative_honesty(t_ns: Stamps, T_truth: Array, T_estimate: Array, sigma_1s_m: float) -> Honesty:
    """The same for the motion over one second, whose stated standard deviation per axis is `sigma_1s_m`."""
    first, second = pairs_apart(t_ns, 1.0)
    metres, _ = relative_errors(T_truth, T_estimate, first, second)
    return Honesty((metres / sigma_1s_m) ** 2, t_ns[first])


def pooled(takes: Sequence[Honesty], seed: int = 0) -> tuple[float, float, float]:
    """Share of rows inside over several takes, with its 95 % interval from a bootstrap over takes.

    Rows of one take err together, so whole takes are drawn, not rows.
    """
    inside = np.array([take.inside for take in takes], float)
    rows = np.array([len(take.nees) for take in takes], float)
    drawn = np.random.default_rng(seed).integers(0, len(takes), (_DRAWS, len(takes)))
    shares = inside[drawn].sum(axis=1) / np.maximum(rows[drawn].sum(axis=1), 1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(inside.sum() / max(rows.sum(), 1)), float(low), float(high)


@dataclass(frozen=True, eq=False, slots=True)
class Score:
    """One estimate against its truth.

    Attributes:
        rows, tracked, scored: rows of the estimate; with a pose; of these within the truth's span.
        ate_m: position errors after SE(3) alignment, scale not fitted.
        scale: factor by which the estimate would have to grow to fit the truth best.
        tilt_rad: rms angle between true and estimated gravity in the body frame.
        relative_m, relative_rad: rms error of the motion over one second; NaN for shorter takes.
        honesty: the covariance against the error.
    """

    rows: int
    tracked: int
    scored: int
    ate_m: Statistics
    scale: float
    tilt_rad: float
    relative_m: float
    relative_rad: float
    honesty: Honesty

    @property
    def coverage(self) -> float:
        return self.tracked / self.rows


def score(truth: Trajectory, estimate: Trajectory) -> Score:
    """Score an estimate; the truth is interpolated at the estimate's stamps.

    Args:
        truth: world z up, same body frame and clock as the estimate, dense enough to interpolate.
        estimate: at least three of its tracked rows lie within the truth's span.
    """
    T_truth, rows = _paired(truth, estimate)
    assert len(rows) >= 3, "truth and estimate do not overlap in time"
    t_ns, T_estimate = rows.t_ns, rows.T_world_body
    p_truth, p_estimate = T_truth[:, :3, 3], T_estimate[:, :3, 3]
    metres, radians = relative_errors(T_truth, T_estimate, *pairs_apart(t_ns, 1.0))
    return Score(
        len(estimate),
        int(estimate.tracked.sum()),
        len(t_ns),
        statistics(absolute_errors_m(p_truth, p_estimate)),
        align(p_truth, p_estimate, with_scale=True).scale,
        _rms(gravity_tilt_rad(T_truth[:, :3, :3], T_estimate[:, :3, :3])),
        _rms(metres),
        _rms(radians),
        honesty(t_ns, T_truth, T_estimate, rows.cov),
    )


def in_world_of(truth: Trajectory, estimate: Trajectory) -> Alignment:
    """Where an estimate's world lies in the truth's, from the positions of one body; for `carried_errors_m`."""
    T_truth, rows = _paired(truth, estimate)
    return align(T_truth[:, :3, 3], rows.T_world_body[:, :3, 3])


def carried_errors_m(alignment: Alignment, truth: Trajectory, estimate: Trajectory) -> Array:
    """(n,) position errors of another body of the same take, with no alignment of its own; tracked rows."""
    T_truth, rows = _paired(truth, estimate)
    return np.linalg.norm(alignment.apply(rows.T_world_body[:, :3, 3]) - T_truth[:, :3, 3], axis=1)


def _paired(truth: Trajectory, estimate: Trajectory) -> tuple[Array, Trajectory]:
    """True poses (n, 4, 4) at the estimate's tracked rows within the truth's span, and these rows."""
    known, tracked = truth.tracked_only(), estimate.tracked_only()
    rows = tracked.where((tracked.t_ns >= known.t_ns[0]) & (tracked.t_ns <= known.t_ns[-1]))
    return interpolate_poses(known.t_ns, known.T_world_body, rows.t_ns), rows


def _rms(x: Array) -> float:
    return float(np.sqrt(np.mean(x**2))) if len(x) else float("nan")
