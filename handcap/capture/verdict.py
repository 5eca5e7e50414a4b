"""The verdict on the spot: from what was measured while a take ran, in plain words, seconds after its end.

It says what is wrong with the recording. Whether trajectories come out of it, the field pass says a little later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from handcap.capture.board_verdict import board_causes
from handcap.capture.camera_verdict import camera_causes, dark_s
from handcap.capture.limits import SpotParams
from handcap.capture.watch import TakeWatch
from handcap.causes import Cause, Verdict
from handcap.measure.mount import slip

__all__ = ["SpotParams", "SpotVerdict", "judge"]


@dataclass(frozen=True, slots=True)
class SpotVerdict:
    """What to tell the collector.

    Attributes:
        verdict: "ok", "partial" (worth keeping, not whole) or "refused".
        causes: the worst first; an "ok" take may have hints.
    """

    verdict: Verdict
    causes: Sequence[Cause]


_LEAST_LOOKS = 6
# Worth a word; a task may leave one gripper idle, or have a wait in it.
HINTS = {"jaw_not_moved", "idle", "hardly_looked_at"}
_FATAL = {"too_short", "no_pictures", "imu_missing", "imu_slow", "camera_covered", "too_dark", "too_bright"}


def judge(
    take: TakeWatch,
    rates_hz: Mapping[str, float],
    params: SpotParams | None = None,
    device_of: Mapping[str, str] | None = None,
    *,
    bare_handed: bool = False,
) -> SpotVerdict:
    """Judge a take that has ended.

    Args:
        take: as measured.
        rates_hz: of each device's inertial sensor, by the rig.
        params: limits.
        device_of: which device each camera sits on; by default the one of its name.
        bare_handed: the rig has nothing but bare hands to show.
    """
    params = params or SpotParams()
    causes: list[Cause] = []
    if take.length_s < params.least_s:
        causes.append(Cause("too_short", measured=take.length_s, limit=params.least_s))
    if take.slept_s:
        causes.append(Cause("laptop_slept", measured=take.slept_s))
    for name, device in take.devices.items():
        causes += board_causes(f"imu_{name}", device, take.length_s, rates_hz.get(name), params)
    light = {name: dark_s(camera, params) for name, camera in take.cameras.items()}
    for name, camera in take.cameras.items():
        if take.dropped.get(name):
            causes.append(Cause("disk_slow", name, measured=float(take.dropped[name])))
        others = [spans for other, spans in light.items() if other != name]
        board = take.devices.get((device_of or {}).get(name, name))
        causes += camera_causes(name, camera, _begun_s(take), take.length_s, board, others, params)
    causes += [*_slipped(take, params), *_looked_at(take, params)]
    causes += _motion(take, params)
    if bare_handed:
        causes += _hands(take, params)
    causes.sort(key=lambda cause: (cause.code not in _FATAL, cause.code in HINTS))
    fatal = any(cause.code in _FATAL and _whole(cause, take.length_s) for cause in causes)
    spoiled = any(cause.code not in HINTS for cause in causes)
    return SpotVerdict("refused" if fatal else "partial" if spoiled else "ok", causes)


def _whole(cause: Cause, length_s: float) -> bool:
    """Whether a cause spoils more than half of a take."""
    return cause.span_s is None or cause.span_s[1] - cause.span_s[0] > length_s / 2


def _begun_s(take: TakeWatch) -> float:
    """When the first sample or picture of all came, since the take's start."""
    first_ns = [device.first_arrived_ns for device in take.devices.values() if device.samples]
    first_ns += [int(camera.t_ns[0]) for camera in take.cameras.values() if camera.pictures]
    return max((min(first_ns) - take.start_ns) * 1e-9, 0.0) if first_ns else 0.0


def _looked_at(take: TakeWatch, params: SpotParams) -> list[Cause]:
    """What was not looked at cannot be judged."""
    looks = [look for camera in take.cameras.values() for look in camera.looks]
    share = sum(not look.quick for look in looks) / max(len(looks) + take.not_looked_at, 1)
    if share >= params.least_looked_at or len(looks) + take.not_looked_at < _LEAST_LOOKS:
        return []
    return [Cause("hardly_looked_at", None, None, 100 * share, 100 * params.least_looked_at)]


def _slipped(take: TakeWatch, params: SpotParams) -> list[Cause]:
    """Cameras that turned in their mounts while the take ran."""
    causes: list[Cause] = []
    for name, told in sorted(take.eyes.turns.items()):
        found = slip([t_s for t_s, _ in told], [turn for _, turn in told])
        if found is not None and found.turned_rad > params.slip_rad:
            turned_deg, limit_deg = (float(np.rad2deg(angle)) for angle in (found.turned_rad, params.slip_rad))
            causes.append(Cause("mount_slipped", name, found.span_s, turned_deg, limit_deg))
    return causes


def _hands(take: TakeWatch, params: SpotParams) -> list[Cause]:
    """Hands that were hardly ever before the head's cameras."""
    share = take.hands_share(1)
    if share is None or share >= params.least_hands:
        return []
    return [Cause("hands_unseen", None, None, 100 * share, 100 * params.least_hands)]


def _motion(take: TakeWatch, params: SpotParams) -> list[Cause]:
    """What nobody did."""
    causes: list[Cause] = []
    head = take.devices.get("head")
    if head is not None and head.samples and take.length_s > 1:
        rate = head.turned_rad / take.length_s
        if rate < params.still_rad_s:
            causes.append(Cause("nobody_moved", "imu_head", measured=float(np.rad2deg(rate))))
        else:
            causes += _idle(take, params)
    for side in ("left", "right"):
        watched = take.devices.get(side)
        if watched is not None and watched.angles is not None:
            moved = watched.angles[1] - watched.angles[0]
            if moved < params.jaw_counts:
                causes.append(Cause("jaw_not_moved", f"{side}_tcp"))
    return causes


def _idle(take: TakeWatch, params: SpotParams) -> list[Cause]:
    """The longest stretch in which all devices lay or stood still, if it is worth a word."""
    still = [d.still_s(params.idle_rad_s, params.jaw_counts) for d in take.devices.values() if d.samples]
    spans = still[0]
    for more in still[1:]:
        both = [(max(a, c), min(b, d)) for a, b in spans for c, d in more]
        spans = [(start, end) for start, end in both if end > start]
    longest = max(spans, key=lambda span: span[1] - span[0], default=(0.0, 0.0))
    if longest[1] - longest[0] < params.idle_s:
        return []
    return [Cause("idle", None, longest, measured=longest[1] - longest[0])]
