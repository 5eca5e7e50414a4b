"""What no solver can mend is refused before one is tried."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handcap.causes import Cause
from handcap.clock import seconds
from handcap.geometry import GRAVITY_M_S2, Array
from handcap.reconstruct.frontend import Tracks
from handcap.reconstruct.limits import Refused, VerdictParams
from handcap.reconstruct.sync import CoarseSync, VisualTurns
from handcap.types import ImuSamples

_GAP_NS = 20_000_000  # of samples; less passes for one that was lost


def without_frozen(turns: VisualTurns, imu: ImuSamples, params: VerdictParams) -> VisualTurns:
    """The turns with nothing to be seen in pictures that came again and again while the device moved.

    A camera at rest or covered may repeat its pictures too, once they are compressed; these are not marked as repeated.
    """
    frozen = np.zeros(len(turns.repeated), bool)
    for a, b in runs(turns.repeated & (turns.points >= params.min_points)):
        start_ns, end_ns = int(turns.camera_t_ns[max(a - 1, 0)]), int(turns.camera_t_ns[b])
        rate = np.linalg.norm(imu.between(start_ns, end_ns + 1).gyro_imu, axis=1)
        long = end_ns - start_ns >= params.longest_blink_s * 1e9
        frozen[a : b + 1] = long and len(rate) > 0 and float(np.median(rate)) > params.moves_rad_s
    rotvec_cam = turns.rotvec_cam.copy()
    rotvec_cam[frozen | np.r_[False, frozen[:-1]]] = np.nan
    return replace(turns, repeated=frozen, rotvec_cam=rotvec_cam, points=np.where(frozen, 0, turns.points))


def has_gaps(imu: ImuSamples) -> bool:
    """Whether samples are missing for long enough to be felt."""
    step = np.diff(imu.t_ns)
    return bool((step > max(5 * float(np.median(step)), _GAP_NS)).any()) if len(step) else False


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
    if ratio is not None and max(ratio) < 1 / params.gyro_ratio:
        raise Refused(Cause("gyro_silent", measured=max(ratio), limit=1 / params.gyro_ratio))
    clipped_s = saturated_s(imu)
    if clipped_s > params.max_saturated * (imu.t_ns[-1] - imu.t_ns[0]) / 1e9:
        raise Refused(Cause("imu_saturated", measured=clipped_s))
    if ratio is not None and not ratio[1] < params.gyro_ratio:
        raise Refused(Cause("gyro_unit", measured=ratio[1], limit=params.gyro_ratio))


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


def turning_ratio(turns: VisualTurns, imu: ImuSamples) -> tuple[float, float] | None:
    """Gyroscope's turning over the picture's, typical and strong; None where the picture hardly turned (2 °/s).

    A device may rest for most of a take while lamps flicker or a thing moves before its camera: typical turning says
    little then.
    """
    period_s = np.diff(seconds(turns.camera_t_ns, int(turns.camera_t_ns[0])))
    seen = turns.rotvec_cam[1:] / period_s[:, None]
    seen = seen[np.isfinite(seen).all(axis=1)]
    if len(seen) < 8:
        return None
    typical_seen, strong_seen = _spread(seen)
    within = imu.between(int(turns.camera_t_ns[0]), int(turns.camera_t_ns[-1]))
    if typical_seen < np.deg2rad(2.0) or len(within) < 8:
        return None
    typical, strong = _spread(within.gyro_imu)
    return typical / typical_seen, strong / strong_seen


def _spread(rates: Array) -> tuple[float, float]:
    """Of (n, 3) rates about their middle: the median, and what one in twenty exceeds."""
    size = np.linalg.norm(rates - np.median(rates, axis=0), axis=1)
    return float(np.median(size)), float(np.quantile(size, 0.95))


def check_sight(turns: VisualTurns, params: VerdictParams) -> None:
    """Refuse a take in which the camera saw nothing for most of the time. Raises Refused."""
    if np.mean(turns.points < params.min_points) > params.most_blind:
        blind = blind_causes(turns, np.ones(len(turns.camera_t_ns), bool), params)
        raise Refused(*(c for c in blind if c.code != "too_dark"))  # `darkness` says that already


def darkness(turns: VisualTurns, params: VerdictParams) -> tuple[Cause, ...]:
    """The cause `too_dark` for a take whose pictures are dark throughout: corners found in its noise mean little."""
    light = float(np.median(turns.brightness)) if len(turns.brightness) else params.dark_level
    return (Cause("too_dark", measured=light, limit=params.dark_level),) if light < params.dark_level else ()


def blind_causes(
    turns: VisualTurns, rows: NDArray[np.bool_], params: VerdictParams, imu: ImuSamples | None = None
) -> list[Cause]:
    """Why the pictures `rows` give little to track: frozen, dark, washed out, covered, too fast."""
    if turns.repeated[rows].mean() > 0.5:
        stamps = turns.camera_t_ns[rows]
        return [Cause("camera_frozen", measured=float((stamps[-1] - stamps[0]) / 1e9), limit=params.longest_blink_s)]
    light = float(np.median(turns.brightness[rows]))
    points = float(np.median(turns.points[rows]))
    if light < params.dark_level and points < params.min_points_dark:
        return [Cause("too_dark", measured=light, limit=params.dark_level)]
    if light > params.bright_level:
        return [Cause("too_bright", measured=light, limit=params.bright_level)]
    if points < params.min_points:
        return [Cause("camera_covered", measured=points, limit=float(params.min_points))]
    if imu is not None:
        stamps = turns.camera_t_ns[rows]
        rate = np.linalg.norm(imu.between(int(stamps[0]), int(stamps[-1]) + 1).gyro_imu, axis=1)
        peak = float(np.rad2deg(np.max(rate))) if len(rate) else 0.0
        if peak > params.fast_deg_s:
            return [Cause("too_fast", measured=peak, limit=params.fast_deg_s)]
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
    long = count >= min(params.motion_views, int(count.max(initial=1)))
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


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.r_[0, mask.astype(int), 0]))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
