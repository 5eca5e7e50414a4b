"""What was wrong with a board in a take."""

from __future__ import annotations

from handcap.capture.board_watch import DeviceWatch
from handcap.capture.limits import SpotParams
from handcap.causes import Cause

_MOST_OF_A_KIND = 3


def board_causes(
    body: str, watched: DeviceWatch, length_s: float, rate_hz: float | None, params: SpotParams
) -> list[Cause]:
    """Causes that one board gives.

    Args:
        body: as causes name it.
        watched: during the take.
        rate_hz: of its inertial sensor, by the rig.
    """
    if not watched.samples:
        return [Cause("imu_missing", body, (0.0, length_s))]
    causes = _lost(body, watched, length_s, rate_hz, params)
    saturated_s = watched.saturated * watched.period_ns * 1e-9
    if saturated_s > params.most_saturated_s:
        causes.append(Cause("imu_saturated", body, measured=saturated_s))
    gone = any(cause.code == "imu_missing" for cause in causes)
    return causes + _connection(body, watched, gone) + _clock(body, watched, length_s, params)


def _lost(body: str, watched: DeviceWatch, length_s: float, rate_hz: float | None, params: SpotParams) -> list[Cause]:
    gaps = [gap for gap in watched.gaps_s if gap[1] - gap[0] > params.gap_s]
    if gaps:
        return [Cause("imu_missing", body, gap) for gap in gaps[:_MOST_OF_A_KIND]]
    causes: list[Cause] = []
    lost = watched.missing / max(watched.samples + watched.missing, 1)
    if lost > params.most_lost:
        causes.append(Cause("imu_samples_lost", body, measured=100 * lost, limit=100 * params.most_lost))
    if rate_hz and length_s > 1 and watched.samples < params.least_rate * rate_hz * (length_s - 0.1):
        causes.append(Cause("imu_missing", body, (watched.samples / rate_hz, length_s)))
    return causes


def _connection(body: str, watched: DeviceWatch, gone: bool) -> list[Cause]:
    kinds = [event.kind for event in watched.events]
    if "rebooted" in kinds:
        return [Cause("board_rebooted", body)]
    return [Cause("board_unplugged", body)] if "unplugged" in kinds and not gone else []


def _clock(body: str, watched: DeviceWatch, length_s: float, params: SpotParams) -> list[Cause]:
    jumps = [jump for jump in watched.jumps if abs(jump.by_ns) * 1e-9 > params.jump_s]
    causes: list[Cause] = []
    for jump in jumps[:_MOST_OF_A_KIND]:
        span_s = (jump.at_s, length_s if jump.returned_s is None else jump.returned_s)
        causes.append(Cause("clock_jumped", body, span_s, 1e-6 * abs(jump.by_ns), 1e3 * params.jump_s))
    if not jumps and any(event.kind == "clock_jumped" for event in watched.events):
        causes.append(Cause("device_clock_jumped", body, measured=1.0))
    if watched.clock_sigma_s is None or watched.clock_sigma_s > params.clock_sigma_s:
        measured = None if watched.clock_sigma_s is None else 1e3 * watched.clock_sigma_s
        causes.append(Cause("clock_unsure", body, measured=measured, limit=1e3 * params.clock_sigma_s))
    return causes
