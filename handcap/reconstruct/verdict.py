"""Is this reconstruction good, where, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.causes import Cause, Verdict
from handcap.clock import apart_ns, nanoseconds, seconds
from handcap.geometry import GRAVITY_M_S2, Array, adjoint, inverse
from handcap.reconstruct.inertial import States
from handcap.reconstruct.inputs import blind_causes, runs
from handcap.reconstruct.limits import VerdictParams
from handcap.reconstruct.score import CHI2_3_95
from handcap.reconstruct.sync import VisualTurns
from handcap.reconstruct.uncertainty import PoseUncertainty
from handcap.types import ImuSamples, Stamps

_EDGE_S = 0.02  # pictures so near to the first sample or the last become no keyframes: the clocks' offset may move


@dataclass(frozen=True, eq=False, slots=True)
class Judgement:
    """The stage's proposal.

    Attributes:
        verdict: ok, partial or refused.
        causes: why it is not simply ok.
        spans_ok_s: (start, end) from the first picture.
        tracked: (f,) by picture.
        numbers: what it rests on.
    """

    verdict: Verdict
    causes: tuple[Cause, ...]
    spans_ok_s: tuple[tuple[float, float], ...]
    tracked: NDArray[np.bool_]
    numbers: dict[str, Any] = field(default_factory=dict)

    def about(self, body: str) -> Judgement:
        """With the body named in every cause."""
        return replace(self, causes=tuple(replace(cause, body=body) for cause in self.causes))

    def with_doubts(self, causes: Sequence[Cause]) -> Judgement:
        """With causes that spoil no stretch of the take, but leave it no longer simply ok."""
        verdict = "partial" if causes and self.verdict == "ok" else self.verdict
        return replace(self, verdict=verdict, causes=(*self.causes, *causes))

    def regained(self, placed: NDArray[np.bool_], t_s: Array, params: VerdictParams) -> Judgement:
        """With pictures (f,) at t_s (f,) placed after all, by what others saw; what else is wrong there stays wrong."""

        def within(span_s: tuple[float, float]) -> NDArray[np.bool_]:
            return (t_s > span_s[0] - 1e-6) & (t_s < span_s[1] + 1e-6)

        if self.verdict != "partial" or any(cause.code == "mount_slipped" for cause in self.causes):
            return self
        good = placed.copy()
        others = [cause for cause in self.causes if cause.code != "tracking_lost"]
        for cause in others:
            good &= ~within(cause.span_s) if cause.span_s is not None else True
        for span_s in self.spans_ok_s:
            good |= within(span_s)
        lost: list[Cause] = []
        for cause in self.causes:
            if cause.code == "tracking_lost" and cause.span_s is not None:
                for a, b in runs(~good & within(cause.span_s)):
                    span_s = float(t_s[a]), float(t_s[b])
                    lost.append(replace(cause, span_s=span_s, measured=span_s[1] - span_s[0]))
        spans = tuple(_spans(good, np.flatnonzero(np.diff(t_s) > params.longest_bridge_s), t_s, params.shortest_span_s))
        verdict = "ok" if good.all() and not others else "partial"
        return Judgement(verdict, (*others, *lost), spans, self.tracked | placed, self.numbers)

    def until(self, end_s: float, params: VerdictParams) -> Judgement:
        """With nothing good from then on; refused if nothing is left."""
        cut = ((a, min(b, end_s)) for a, b in self.spans_ok_s)
        spans = tuple((a, b) for a, b in cut if b - a >= params.shortest_span_s)
        if spans or self.verdict == "refused":
            return replace(self, spans_ok_s=spans)
        return Judgement("refused", self.causes, (), np.zeros_like(self.tracked), self.numbers)


def tracked_pictures(
    camera_t_ns: Stamps, keyframe_t_ns: Stamps, marks_per_keyframe: NDArray[np.int64], params: VerdictParams
) -> NDArray[np.bool_]:
    """Whether each picture lies within half of `longest_bridge_s` of a keyframe that sees, so that the IMU bridges it.

    One picture alone that lies a little farther is no loss that could be told in a sentence.

    Args:
        camera_t_ns: (f,) all pictures.
        keyframe_t_ns: (n,) same clock; no picture outside their span is tracked.
        marks_per_keyframe: (n,) landmarks seen.
    """
    seeing = keyframe_t_ns[marks_per_keyframe >= params.min_marks]
    if len(seeing) < 2:
        return np.zeros(len(camera_t_ns), bool)
    nearest = apart_ns(camera_t_ns, seeing)
    spanned = (camera_t_ns >= keyframe_t_ns[0]) & (camera_t_ns <= keyframe_t_ns[-1])
    tracked = spanned & (nearest <= params.longest_bridge_s * 1e9 / 2)
    for a, b in runs(spanned & ~tracked):
        tracked[a : b + 1] = a == b and nearest[a] <= params.longest_bridge_s * 1e9
    return tracked


def blind_pictures(turns: VisualTurns, params: VerdictParams) -> NDArray[np.bool_]:
    """(f,) pictures that show nothing, in runs too long to be a blink: the IMU may bridge the pose, not the picture."""
    t_ns = turns.camera_t_ns
    dark = turns.brightness < params.dark_level
    blind = turns.points < np.where(dark, params.min_points_dark, params.min_points)
    # Each lasts until the next one, so that half the pictures tell the same.
    until_ns = np.append(t_ns[1:], t_ns[-1] + int(np.median(np.diff(t_ns))))
    for a, b in runs(blind):
        if until_ns[b] - t_ns[a] < params.longest_blink_s * 1e9:
            blind[a : b + 1] = False
    return blind


def relative_sigma_1s(states: States, uncertainty: PoseUncertainty) -> tuple[float | None, float | None]:
    """Sigma per axis of motion over one second, m and rad; None for a take under a second.

    Some seconds are known better than others, and not alike along all axes: this is the sigma of the round normal
    distribution whose 95 % ball holds 95 % of all of them. It is their root mean square where they are all alike.
    """
    covs = []
    for i in range(len(states)):
        j = int(np.searchsorted(states.t_ns, states.t_ns[i] + 1_000_000_000))
        if j >= len(states):
            break
        covs.append(relative_covariance(states, uncertainty, i, j))
    if not covs:
        return None, None
    all_of = np.array(covs)
    return _round_sigma(all_of[:, 3:, 3:]), _round_sigma(all_of[:, :3, :3])


def _round_sigma(cov: Array) -> float:
    """Of the ball that holds 95 % of a mixture of normal distributions (n, 3, 3).

    The squared length of each is taken as a scaled χ² of the same mean and variance (Satterthwaite 1946).
    """
    from scipy.optimize import brentq
    from scipy.special import gammainc

    mean = np.trace(cov, axis1=1, axis2=2)
    scale = np.maximum(np.einsum("nij,nji->n", cov, cov) / np.maximum(mean, 1e-30), 1e-30)
    freedom = mean / scale

    def surplus(sigma: float) -> float:
        return float(np.mean(gammainc(freedom / 2, CHI2_3_95 * sigma**2 / (2 * scale)))) - 0.95

    rms = float(np.sqrt(mean.mean() / 3))
    if rms < 1e-12:
        return rms
    # A few seconds without sight may make the mean square far larger than nearly all of them: begin at nothing.
    found: Any = brentq(surplus, 0.0, 10 * rms + 3 * float(np.sqrt(mean.max())), xtol=1e-9 * rms)
    return float(found)


def relative_covariance(states: States, uncertainty: PoseUncertainty, i: int, j: int) -> Array:
    """(6, 6) covariance of T_i⁻¹ T_j, j's axes: δ = δ_j - Ad(T_j⁻¹ T_i) δ_i."""
    A = adjoint(inverse(states.T_world_imu[j]) @ states.T_world_imu[i])
    cross = A @ uncertainty.cov[i, :, j, :]
    return uncertainty.of_pose(j) + A @ uncertainty.of_pose(i) @ A.T - cross - cross.T


def scale_sigma(states: States, uncertainty: PoseUncertainty) -> float:
    """Standard deviation of the take's scale over its value, from the joint covariance."""
    out = states.T_world_imu[:, :3, 3] - states.T_world_imu[0, :3, 3]
    z = np.zeros((len(states), 6))
    z[:, 3:] = np.einsum("nji,nj->ni", states.T_world_imu[:, :3, :3], out)
    size = float((z**2).sum())
    if size < 1e-12:
        return float("inf")
    flat = z.ravel()
    cov = uncertainty.cov.reshape(flat.size, flat.size)
    return float(np.sqrt(max(flat @ cov @ flat, 0.0)) / size)


def judge(
    turns: VisualTurns,
    camera_t_ns: Stamps,
    keyframe_t_ns: Stamps,
    views: NDArray[np.int64],
    position_sigma_m: Array,
    dt_sigma_s: float,
    imu: ImuSamples,
    numbers: dict[str, Any],
    params: VerdictParams,
) -> Judgement:
    """Verdict on a finished solution.

    Args:
        camera_t_ns: (f,) pictures; `keyframe_t_ns` (n,) keyframes and `imu` on the same clock.
        views: (n,) landmarks seen from each keyframe.
        position_sigma_m: (n,) of each keyframe.
        numbers: as gathered by the stage.
    """
    fatal = _fatal_causes(dt_sigma_s, numbers, params)
    felt = ~imu_gaps(camera_t_ns, imu, params.longest_bridge_s)
    bridged = tracked_pictures(camera_t_ns, keyframe_t_ns, views, params)
    tracked = bridged & felt
    seen = bridged & ~blind_pictures(turns, params)[np.searchsorted(turns.camera_t_ns, camera_t_ns)]
    after = np.clip(np.searchsorted(keyframe_t_ns, camera_t_ns), 1, len(keyframe_t_ns) - 1)
    near = after - (camera_t_ns - keyframe_t_ns[after - 1] < keyframe_t_ns[after] - camera_t_ns)
    vague = position_sigma_m[near] > params.max_position_sigma_m
    gap = picture_gaps(camera_t_ns, params.longest_bridge_s)
    good = seen & felt & ~vague
    t_s = seconds(camera_t_ns, int(camera_t_ns[0]))
    ragged = _ragged_ends(camera_t_ns, imu, params.ragged_end_s)
    causes = [*fatal]
    for a, b in runs(~seen & ~ragged):
        span = (float(t_s[a]), float(t_s[b]))
        why = blind_causes(turns, np.isin(turns.camera_t_ns, camera_t_ns[a : b + 1]), params, imu)
        causes += [replace(cause, span_s=span) for cause in why]
        if felt[a : b + 1].any():  # else the missing samples are to blame
            causes.append(Cause("tracking_lost", None, span, span[1] - span[0], params.longest_bridge_s))
    causes += [
        Cause("frames_missing", None, (float(t_s[i]), float(t_s[i + 1])), float(t_s[i + 1] - t_s[i])) for i in gap
    ]
    for a, b in runs(~felt & ~ragged):
        causes.append(Cause("imu_missing", None, (float(t_s[a]), float(t_s[b])), float(t_s[b] - t_s[a])))
    for a, b in runs(vague & tracked):
        worst = float(position_sigma_m[near[a : b + 1]].max())
        causes.append(Cause("drifting", None, (float(t_s[a]), float(t_s[b])), worst, params.max_position_sigma_m))
    spans = _spans(good, gap, t_s, params.shortest_span_s)
    if fatal or not spans:
        return Judgement("refused", tuple(causes), (), np.zeros(len(camera_t_ns), bool), numbers)
    whole = bool((good | ragged).all()) and not len(gap)
    return Judgement("ok" if whole else "partial", tuple(causes), tuple(spans), tracked, numbers)


def _ragged_ends(camera_t_ns: Stamps, imu: ImuSamples, longest_s: float) -> NDArray[np.bool_]:
    """(f,) pictures before the first inertial sample or after the last, where they are few and more follow felt."""
    margin_ns = int(nanoseconds(_EDGE_S))
    before, after = camera_t_ns < imu.t_ns[0] + margin_ns, camera_t_ns > imu.t_ns[-1] - margin_ns
    for rows in (before, after):
        there = camera_t_ns[rows]
        if len(there) and there[-1] - there[0] >= longest_s * 1e9:
            rows[:] = False
    return before | after


def _fatal_causes(dt_sigma_s: float, numbers: dict[str, Any], params: VerdictParams) -> list[Cause]:
    gyro_bias = float(np.linalg.norm(numbers["gyro_bias_rad_s"])) / params.gyro_bias_rad_s
    accel_bias = float(np.linalg.norm(numbers["accel_bias_m_s2"])) / params.accel_bias_m_s2
    gravity_error = abs(numbers["aligned_gravity_m_s2"] - GRAVITY_M_S2)
    # Two halves of a few slow turns may seem to differ; clocks that truly drift leave a contradiction behind.
    drift_ms = numbers.get("clock_drift_ms", 0.0) if numbers["imu_noise_scale"] > params.drift_shows else 0.0
    measured = {
        "imu_mismatch": (numbers["imu_noise_scale"], params.max_imu_mismatch),
        "gravity_mismatch": (gravity_error, params.max_gravity_error),
        "clock_drift": (drift_ms, params.max_clock_drift_ms),
        "reprojection": (numbers["reprojection_rms_px"], params.max_reprojection_px),
        "clocks_disagree": (dt_sigma_s * 1e3, params.max_offset_sigma_ms),
        "bias_implausible": (max(gyro_bias, accel_bias), params.max_bias),
        "scale_unobservable": (100 * numbers["scale_sigma"], params.max_scale_sigma_pct),
    }
    unknown = {"scale_unobservable"}  # null where a room says it
    return [
        Cause(code, measured=float(value), limit=limit)
        for code, (value, limit) in measured.items()
        if value > limit or (np.isnan(value) and code not in unknown)
    ]


def picture_gaps(camera_t_ns: Stamps, longest_s: float) -> NDArray[np.int64]:
    """Indices of the pictures before a gap longer than `longest_s`."""
    return np.flatnonzero(np.diff(camera_t_ns) > longest_s * 1e9)


def imu_gaps(camera_t_ns: Stamps, imu: ImuSamples, longest_s: float) -> NDArray[np.bool_]:
    """(f,) whether a picture lies in a gap of the IMU longer than a fifth of `longest_s`, or outside its samples."""
    start = np.flatnonzero(np.diff(imu.t_ns) > 0.2 * longest_s * 1e9)
    bad = (camera_t_ns < imu.t_ns[0]) | (camera_t_ns > imu.t_ns[-1])
    for i in start:
        bad |= (camera_t_ns > imu.t_ns[i]) & (camera_t_ns < imu.t_ns[i + 1])
    return bad


def _spans(good: NDArray[np.bool_], gap: NDArray[np.int64], t_s: Array, shortest_s: float) -> list[tuple[float, float]]:
    """Good stretches, cut at gaps between pictures, at least `shortest_s` long."""
    out = []
    for a, b in runs(good):
        cuts = [g for g in gap.tolist() if a <= g < b]
        for start, end in zip([a, *(c + 1 for c in cuts)], [*cuts, b], strict=True):
            if t_s[end] - t_s[start] >= shortest_s:
                out.append((float(t_s[start]), float(t_s[end])))
    return out
