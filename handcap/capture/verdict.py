"""The verdict on the spot: from what was measured while a take ran, in plain words, seconds after its end.

It says what is wrong with the recording. Whether trajectories come out of it, the field pass says a little later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handcap.capture.watch import CameraWatch, DeviceWatch, TakeWatch
from handcap.causes import Cause, Verdict


@dataclass(frozen=True, slots=True)
class SpotParams:
    """Limits. "standard": GB/Z 218.1-2026 as read at second hand; all else is engineering judgement.

    Attributes:
        least_s: of a take.
        most_lost: share of pictures and of inertial samples (standard: 1 %).
        most_saturated_s: at full scale.
        least_rate: share of the rig's inertial rate that must come.
        gap_s: without pictures or samples; the reconstruction bridges half a second.
        frozen_s: of the very same picture.
        dark, bright: mean grey levels beyond which a picture shows nothing.
        least_corners: points to hold on to, in most of the pictures looked at.
        blind_share: of the pictures looked at that may have fewer.
        least_followed: share of points found again in the next picture, in the middle of the take's pictures.
        jaw_counts: of the encoder; a jaw that moved less was not used.
        still_rad_s: mean turning of the head in a take in which nobody moved.
        clock_sigma_s: of a board's clock; sensors are to agree to a millisecond (standard).
    """

    least_s: float = 1.5
    most_lost: float = 0.01
    most_saturated_s: float = 0.02
    least_rate: float = 0.9
    gap_s: float = 0.3
    frozen_s: float = 0.5
    dark: float = 12.0
    bright: float = 243.0
    least_corners: int = 15
    blind_share: float = 0.34
    least_followed: float = 0.3
    jaw_counts: int = 8
    still_rad_s: float = 0.01
    clock_sigma_s: float = 5e-4


@dataclass(frozen=True, slots=True)
class SpotVerdict:
    """What to tell the collector.

    Attributes:
        verdict: "ok", "partial" (worth keeping, not whole) or "refused".
        causes: the worst first; an "ok" take may have hints.
    """

    verdict: Verdict
    causes: Sequence[Cause]


_HINTS = {"jaw_not_moved"}  # worth a word; a task may leave one gripper idle
_FATAL = {"too_short", "no_pictures", "imu_missing", "imu_slow", "camera_covered", "too_dark", "too_bright"}


def judge(take: TakeWatch, rates_hz: dict[str, float], params: SpotParams | None = None) -> SpotVerdict:
    """Judge a take that has ended.

    Args:
        take: as measured.
        rates_hz: of each device's inertial sensor, by the rig.
        params: limits.
    """
    params = params or SpotParams()
    causes: list[Cause] = []
    if take.length_s < params.least_s:
        causes.append(Cause("too_short", measured=take.length_s, limit=params.least_s))
    for name, device in take.devices.items():
        causes += _device(f"imu_{name}", device, take.length_s, rates_hz.get(name), params)
    for name, camera in take.cameras.items():
        causes += _camera(name, camera, take.length_s, params)
    causes += _motion(take, params)
    causes.sort(key=lambda cause: (cause.code not in _FATAL, cause.code in _HINTS))
    fatal = any(cause.code in _FATAL and _whole(cause, take.length_s) for cause in causes)
    spoiled = any(cause.code not in _HINTS for cause in causes)
    return SpotVerdict("refused" if fatal else "partial" if spoiled else "ok", causes)


def _whole(cause: Cause, length_s: float) -> bool:
    """Whether a cause spoils more than half of a take."""
    return cause.span_s is None or cause.span_s[1] - cause.span_s[0] > length_s / 2


def _device(body: str, watched: DeviceWatch, length_s: float, rate_hz: float | None, params: SpotParams) -> list[Cause]:
    causes: list[Cause] = []
    if not watched.samples:
        return [Cause("imu_missing", body, (0.0, length_s))]
    gaps = [gap for gap in watched.gaps_s if gap[1] - gap[0] > params.gap_s]
    causes += [Cause("imu_missing", body, gap) for gap in gaps[:3]]
    lost = watched.missing / (watched.samples + watched.missing)
    if not gaps and lost > params.most_lost:
        causes.append(Cause("imu_samples_lost", body, measured=100 * lost, limit=100 * params.most_lost))
    if not gaps and rate_hz and length_s > 1 and watched.samples < params.least_rate * rate_hz * (length_s - 0.1):
        causes.append(Cause("imu_missing", body, (watched.samples / rate_hz, length_s)))
    saturated_s = watched.saturated * watched.period_ns * 1e-9
    if saturated_s > params.most_saturated_s:
        causes.append(Cause("imu_saturated", body, measured=saturated_s))
    kinds = [event.kind for event in watched.events]
    if "rebooted" in kinds:
        causes.append(Cause("board_rebooted", body))
    elif "unplugged" in kinds and not gaps:
        causes.append(Cause("board_unplugged", body))
    if watched.clock_sigma_s is None or watched.clock_sigma_s > params.clock_sigma_s:
        measured = None if watched.clock_sigma_s is None else 1e3 * watched.clock_sigma_s
        causes.append(Cause("clock_unsure", body, measured=measured, limit=1e3 * params.clock_sigma_s))
    return causes


def _camera(name: str, watched: CameraWatch, length_s: float, params: SpotParams) -> list[Cause]:
    if watched.pictures < 8:
        return [Cause("no_pictures", name, measured=float(watched.pictures), limit=8.0)]
    causes: list[Cause] = []
    gaps = [gap for gap in watched.gaps_s if gap[1] - gap[0] > params.gap_s]
    causes += [Cause("frames_missing", name, gap) for gap in gaps[:3]]
    usual = float(np.median(watched.periods_ns))
    by_time = float(np.sum(np.maximum(np.rint(np.array(watched.periods_ns) / usual) - 1, 0)))
    lost = max(watched.lost, by_time) / (watched.pictures + max(watched.lost, by_time))
    if not gaps and lost > params.most_lost:
        causes.append(Cause("pictures_lost", name, measured=100 * lost, limit=100 * params.most_lost))
    if watched.repeated_s > params.frozen_s:
        causes.append(Cause("camera_frozen", name, measured=watched.repeated_s, limit=params.frozen_s))
    light = float(np.median(watched.brightness)) if watched.brightness else None
    blind = float(np.mean(np.array(watched.corners) < params.least_corners)) if watched.corners else 0.0
    if light is not None and light < params.dark:
        causes.append(Cause("too_dark", name, measured=light, limit=params.dark))
    elif light is not None and light > params.bright:
        causes.append(Cause("too_bright", name, measured=light, limit=params.bright))
    elif blind > params.blind_share:
        points = float(np.percentile(watched.corners, 100 * params.blind_share))
        causes.append(Cause("camera_covered", name, measured=points, limit=float(params.least_corners)))
    elif watched.followed and float(np.median(watched.followed)) < params.least_followed:
        share = 100 * float(np.median(watched.followed))
        causes.append(Cause("hard_to_follow", name, measured=share, limit=100 * params.least_followed))
    return causes


def _motion(take: TakeWatch, params: SpotParams) -> list[Cause]:
    """What nobody did."""
    causes: list[Cause] = []
    head = take.devices.get("head")
    if head is not None and head.samples and take.length_s > 1:
        rate = head.turned_rad / take.length_s
        if rate < params.still_rad_s:
            causes.append(Cause("nobody_moved", "imu_head", measured=float(np.rad2deg(rate))))
    for side in ("left", "right"):
        watched = take.devices.get(side)
        if watched is not None and watched.angles is not None:
            moved = watched.angles[1] - watched.angles[0]
            if moved < params.jaw_counts:
                causes.append(Cause("jaw_not_moved", f"{side}_tcp"))
    return causes
