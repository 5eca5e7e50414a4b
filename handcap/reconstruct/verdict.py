"""Is this reconstruction good, where, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.causes import Cause, Verdict
from handcap.clock import seconds
from handcap.geometry import GRAVITY_M_S2, Array, adjoint, inverse
from handcap.reconstruct.frontend import Tracks
from handcap.reconstruct.inertial import States
from handcap.reconstruct.sync import CoarseSync, VisualTurns
from handcap.reconstruct.uncertainty import PoseUncertainty
from handcap.types import ImuSamples, Stamps


@dataclass(frozen=True, slots=True)
class VerdictParams:
    """Limits; each is engineering judgement unless a source is named."""

    min_pictures: int = 8
    min_length_s: float = 1.0
    min_view_motion_deg: float = 0.5  # one pixel is about 0.1°: still views shift by less
    min_parallax_deg: float = 0.6
    min_imu_rate_hz: float = 50.0
    dark_level: float = 12.0
    bright_level: float = 243.0
    min_points: int = 15
    most_blind: float = 0.8  # share of pictures without points beyond which nothing is tried
    fast_deg_s: float = 180.0
    accel_share: float = 0.25  # mean |a| off gravity by more than this is a unit error, not motion
    gyro_ratio: float = 8.0  # gyroscope's turning against the picture's; a unit error is 57
    min_correlation: float = 0.5
    max_offset_sigma_ms: float = 3.0
    max_clock_drift_ms: float = 10.0  # between the halves; each is known to 2 ms
    max_rotation_error_deg: float = 4.0
    max_reprojection_px: float = 2.5
    max_imu_mismatch: float = 8.0  # good recordings have shown 1 to 2 with data-sheet noise
    max_gravity_error: float = 0.6  # m/s²; short good recordings have shown 0.1
    max_saturated: float = 0.01  # share of samples
    imu_split_s: float = 2.0  # a gap beyond which nothing ties the two sides together
    max_bias: float = 1.0  # in units of the next two
    gyro_bias_rad_s: float = 0.35  # 20 °/s: beyond any consumer part's zero-rate level
    accel_bias_m_s2: float = 1.5
    max_scale_sigma_pct: float = 5.0
    max_position_sigma_m: float = 0.15
    min_marks: int = 8  # landmarks seen from a keyframe, for it to count as tracked
    longest_blink_s: float = 0.1  # of pictures without points that is no cover over the lens
    longest_bridge_s: float = 0.5  # without sight; the IMU alone stays within about a centimetre
    shortest_span_s: float = 1.0  # of a stretch worth keeping


class Refused(Exception):
    """Ends a reconstruction that cannot succeed; caught by the stage, which reports the causes."""

    def __init__(self, *causes: Cause) -> None:
        super().__init__(", ".join(c.code for c in causes))
        self.causes = causes


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


def check_inputs(turns: VisualTurns, imu: ImuSamples, params: VerdictParams) -> None:
    """Refuse what no solver can mend. Raises Refused."""
    f = len(turns.camera_t_ns)
    if f < params.min_pictures:
        raise Refused(Cause("no_pictures", measured=float(f), limit=float(params.min_pictures)))
    if len(imu) < 2:
        raise Refused(Cause("imu_slow", measured=0.0, limit=params.min_imu_rate_hz))
    apart_ns = max(imu.t_ns[0] - turns.camera_t_ns[-1], turns.camera_t_ns[0] - imu.t_ns[-1])
    if apart_ns > 0:
        raise Refused(Cause("no_overlap", measured=float(apart_ns / 1e9), limit=0.0))
    rate_hz = 1 / float(np.median(np.diff(seconds(imu.t_ns, int(imu.t_ns[0])))))
    if rate_hz < params.min_imu_rate_hz:
        raise Refused(Cause("imu_slow", measured=rate_hz, limit=params.min_imu_rate_hz))
    felt = float(np.median(np.linalg.norm(imu.accel_imu, axis=1)))
    if abs(felt - GRAVITY_M_S2) > params.accel_share * GRAVITY_M_S2:
        raise Refused(Cause("accel_unit", measured=felt, limit=GRAVITY_M_S2))
    ratio = turning_ratio(turns, imu)
    if ratio is not None and ratio < 1 / params.gyro_ratio:
        raise Refused(Cause("gyro_silent", measured=ratio, limit=1 / params.gyro_ratio))
    clipped_s = saturated_s(imu)
    if clipped_s > params.max_saturated * (imu.t_ns[-1] - imu.t_ns[0]) / 1e9:
        raise Refused(Cause("imu_saturated", measured=clipped_s))
    if ratio is not None and not 1 / params.gyro_ratio < ratio < params.gyro_ratio:
        raise Refused(Cause("gyro_unit", measured=ratio, limit=params.gyro_ratio))


def saturated_s(imu: ImuSamples) -> float:
    """Seconds that any axis sat at its very largest or smallest value for three samples or more."""
    stuck = np.zeros(len(imu), bool)
    for axes, least_spread in ((imu.gyro_imu, 0.2), (imu.accel_imu, 0.5)):
        for column in axes.T:
            if np.ptp(column) < least_spread:
                continue  # at rest a quantised axis repeats its extremes
            for extreme in (column.min(), column.max()):
                for a, b in runs(column == extreme):
                    stuck[a : b + 1] |= b - a >= 2
    return float(stuck.sum() * np.median(np.diff(imu.t_ns)) / 1e9)


def turning_ratio(turns: VisualTurns, imu: ImuSamples) -> float | None:
    """Gyroscope's typical turning over the picture's; None where the picture hardly turned (2 °/s)."""
    period_s = np.diff(seconds(turns.camera_t_ns, int(turns.camera_t_ns[0])))
    seen = turns.rotvec_cam[1:] / period_s[:, None]
    seen = seen[np.isfinite(seen).all(axis=1)]
    if len(seen) < 8:
        return None
    spread_seen = float(np.median(np.linalg.norm(seen - np.median(seen, axis=0), axis=1)))
    within = imu.between(int(turns.camera_t_ns[0]), int(turns.camera_t_ns[-1]))
    if spread_seen < np.deg2rad(2.0) or len(within) < 8:
        return None
    spread = within.gyro_imu - np.median(within.gyro_imu, axis=0)
    return float(np.median(np.linalg.norm(spread, axis=1))) / spread_seen


def check_sight(turns: VisualTurns, params: VerdictParams) -> None:
    """Refuse a take in which the camera saw nothing for most of the time. Raises Refused."""
    if np.mean(turns.points < params.min_points) > params.most_blind:
        blind = blind_causes(turns, np.ones(len(turns.camera_t_ns), bool), params, body=None)
        raise Refused(*(c for c in blind if c.code != "too_dark"))  # `darkness` says that already


def darkness(turns: VisualTurns, params: VerdictParams) -> tuple[Cause, ...]:
    """The cause `too_dark` for a take whose pictures are dark throughout: corners found in its noise mean little."""
    light = float(np.median(turns.brightness)) if len(turns.brightness) else params.dark_level
    return (Cause("too_dark", measured=light, limit=params.dark_level),) if light < params.dark_level else ()


def blind_causes(
    turns: VisualTurns, rows: NDArray[np.bool_], params: VerdictParams, body: str | None, imu: ImuSamples | None = None
) -> list[Cause]:
    """Why the pictures `rows` give little to track: dark, washed out, covered, too fast."""
    light = float(np.median(turns.brightness[rows]))
    points = float(np.median(turns.points[rows]))
    if light < params.dark_level and points < 4 * params.min_points:
        return [Cause("too_dark", body, measured=light, limit=params.dark_level)]
    if light > params.bright_level:
        return [Cause("too_bright", body, measured=light, limit=params.bright_level)]
    if points < params.min_points:
        return [Cause("camera_covered", body, measured=points, limit=float(params.min_points))]
    if imu is not None:
        stamps = turns.camera_t_ns[rows]
        rate = np.linalg.norm(imu.between(int(stamps[0]), int(stamps[-1]) + 1).gyro_imu, axis=1)
        peak = float(np.rad2deg(np.max(rate))) if len(rate) else 0.0
        if peak > params.fast_deg_s:
            return [Cause("too_fast", body, measured=peak, limit=params.fast_deg_s)]
    return []


def check_motion(
    tracks: Tracks, ray: Array, R_start_cam: Array, parallax_rad: Array, params: VerdictParams
) -> tuple[float, float]:
    """Refuse a camera at rest, one that only turned, and a take too short to tell. Raises Refused.

    Args:
        tracks: keyframes only.
        ray: (k, 3) of each observation.
        R_start_cam: (n, 3, 3) gyroscope's rotation at each keyframe.
        parallax_rad: of keyframe pairs some way apart, beyond rotation.

    Returns:
        Shift of the view and parallax, degrees.
    """
    order = np.lexsort((tracks.frame, tracks.track))
    track, start, count = np.unique(tracks.track[order], return_index=True, return_counts=True)
    first = np.repeat(start, count)
    rays = ray[order]
    shift = np.linalg.norm(np.cross(rays, rays[first]), axis=1)
    long = count >= min(4, int(count.max(initial=1)))
    excursion = np.maximum.reduceat(shift, start)[long] if len(track) else np.zeros(0)
    shift_deg = float(np.rad2deg(np.median(excursion))) if len(excursion) else 0.0
    length_s = float(tracks.camera_t_ns[-1] - tracks.camera_t_ns[0]) / 1e9
    short = Cause("too_short", measured=length_s, limit=params.min_length_s)
    if shift_deg < params.min_view_motion_deg:
        causes = [Cause("no_motion", measured=shift_deg, limit=params.min_view_motion_deg)]
        raise Refused(*causes, *([short] if length_s < params.min_length_s else []))
    if length_s < params.min_length_s:
        raise Refused(short)
    parallax_deg = float(np.rad2deg(np.max(parallax_rad, initial=0.0)))
    if parallax_deg < params.min_parallax_deg:
        raise Refused(Cause("rotation_only", measured=parallax_deg, limit=params.min_parallax_deg))
    return shift_deg, parallax_deg


def check_clock(sync: CoarseSync | None, params: VerdictParams) -> None:
    """Refuse pictures and gyroscope that do not turn together. Raises Refused."""
    if sync is None or not np.isfinite(sync.sigma_s):
        return  # too little turning to tell: the fine fit decides
    if sync.correlation < params.min_correlation and np.rad2deg(sync.axis_error_rad) > 30:
        raise Refused(
            Cause(
                "camera_imu_rotation",
                measured=float(np.rad2deg(sync.axis_error_rad)),
                limit=params.max_rotation_error_deg,
            )
        )


def tracked_pictures(
    camera_t_ns: Stamps, keyframe_t_ns: Stamps, marks_per_keyframe: NDArray[np.int64], params: VerdictParams
) -> NDArray[np.bool_]:
    """Whether each picture lies within half of `longest_bridge_s` of a keyframe that sees, so that the IMU bridges it.

    Args:
        camera_t_ns: (f,) all pictures.
        keyframe_t_ns: (n,) same clock; no picture outside their span is tracked.
        marks_per_keyframe: (n,) landmarks seen.
    """
    seeing = keyframe_t_ns[marks_per_keyframe >= params.min_marks]
    if len(seeing) < 2:
        return np.zeros(len(camera_t_ns), bool)
    after = seeing[np.minimum(np.searchsorted(seeing, camera_t_ns), len(seeing) - 1)]
    before = seeing[np.maximum(np.searchsorted(seeing, camera_t_ns, side="right") - 1, 0)]
    nearest = np.minimum(np.abs(after - camera_t_ns), np.abs(camera_t_ns - before))
    spanned = (camera_t_ns >= keyframe_t_ns[0]) & (camera_t_ns <= keyframe_t_ns[-1])
    return spanned & (nearest <= params.longest_bridge_s * 1e9 / 2)


def blind_pictures(turns: VisualTurns, params: VerdictParams) -> NDArray[np.bool_]:
    """(f,) pictures that show nothing, in runs too long to be a blink: the IMU may bridge the pose, not the picture."""
    blind = turns.points < params.min_points
    for a, b in runs(blind):
        if turns.camera_t_ns[b] - turns.camera_t_ns[a] < params.longest_blink_s * 1e9:
            blind[a : b + 1] = False
    return blind


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.r_[0, mask.astype(int), 0]))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def relative_sigma_1s(states: States, uncertainty: PoseUncertainty) -> tuple[float | None, float | None]:
    """Root-mean-square sigma per axis of motion over one second, m and rad; None for a take under a second."""
    covs = []
    for i in range(len(states)):
        j = int(np.searchsorted(states.t_ns, states.t_ns[i] + 1_000_000_000))
        if j >= len(states):
            break
        covs.append(relative_covariance(states, uncertainty, i, j))
    if not covs:
        return None, None
    mean = np.mean(covs, axis=0)
    return float(np.sqrt(np.trace(mean[3:, 3:]) / 3)), float(np.sqrt(np.trace(mean[:3, :3]) / 3))


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
        camera_t_ns: (f,) pictures; `keyframe_t_ns` (n,) keyframes, same clock.
        views: (n,) landmarks seen from each keyframe.
        position_sigma_m: (n,) of each keyframe.
        numbers: as gathered by the stage.
    """
    fatal = _fatal_causes(dt_sigma_s, numbers, params)
    felt = ~imu_gaps(camera_t_ns, imu, params.longest_bridge_s)
    bridged = tracked_pictures(camera_t_ns, keyframe_t_ns, views, params)
    tracked = bridged & felt
    seen = bridged & ~blind_pictures(turns, params)[np.searchsorted(turns.camera_t_ns, camera_t_ns)]
    near = np.clip(np.searchsorted(keyframe_t_ns, camera_t_ns), 0, len(keyframe_t_ns) - 1)
    vague = position_sigma_m[near] > params.max_position_sigma_m
    gap = picture_gaps(camera_t_ns, params.longest_bridge_s)
    good = seen & felt & ~vague
    t_s = seconds(camera_t_ns, int(camera_t_ns[0]))
    causes = [*fatal]
    for a, b in runs(~seen):
        span = (float(t_s[a]), float(t_s[b]))
        why = blind_causes(turns, np.isin(turns.camera_t_ns, camera_t_ns[a : b + 1]), params, "head", imu)
        causes += [Cause(c.code, "head", span, c.measured, c.limit) for c in why]
        causes.append(Cause("tracking_lost", "head", span, span[1] - span[0], params.longest_bridge_s))
    causes += [
        Cause("frames_missing", "head", (float(t_s[i]), float(t_s[i + 1])), float(t_s[i + 1] - t_s[i])) for i in gap
    ]
    for a, b in runs(~felt):
        causes.append(Cause("imu_missing", "head", (float(t_s[a]), float(t_s[b])), float(t_s[b] - t_s[a])))
    for a, b in runs(vague & tracked):
        worst = float(position_sigma_m[near[a : b + 1]].max())
        causes.append(Cause("drifting", "head", (float(t_s[a]), float(t_s[b])), worst, params.max_position_sigma_m))
    spans = _spans(good, gap, t_s, params.shortest_span_s)
    if fatal or not spans:
        return Judgement("refused", tuple(causes), (), np.zeros(len(camera_t_ns), bool), numbers)
    whole = bool(good.all()) and not len(gap)
    return Judgement("ok" if whole else "partial", tuple(causes), tuple(spans), tracked, numbers)


def _fatal_causes(dt_sigma_s: float, numbers: dict[str, Any], params: VerdictParams) -> list[Cause]:
    gyro_bias = float(np.linalg.norm(numbers["gyro_bias_rad_s"])) / params.gyro_bias_rad_s
    accel_bias = float(np.linalg.norm(numbers["accel_bias_m_s2"])) / params.accel_bias_m_s2
    gravity_error = abs(numbers["aligned_gravity_m_s2"] - GRAVITY_M_S2)
    measured = {
        "imu_mismatch": (numbers["imu_noise_scale"], params.max_imu_mismatch),
        "gravity_mismatch": (gravity_error, params.max_gravity_error),
        "clock_drift": (numbers.get("clock_drift_ms", 0.0), params.max_clock_drift_ms),
        "reprojection": (numbers["reprojection_rms_px"], params.max_reprojection_px),
        "clocks_disagree": (dt_sigma_s * 1e3, params.max_offset_sigma_ms),
        "bias_implausible": (max(gyro_bias, accel_bias), params.max_bias),
        "scale_unobservable": (100 * numbers["scale_sigma"], params.max_scale_sigma_pct),
    }
    return [
        Cause(code, measured=float(value), limit=limit) for code, (value, limit) in measured.items() if value > limit
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
