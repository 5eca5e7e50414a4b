"""Where a robot's base goes while the wearer walks about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter1d

from handcap import geometry
from handcap.geometry import Array
from handcap.retarget.robot import Base
from handcap.retarget.targets import Targets


@dataclass(frozen=True, slots=True)
class PathParams:
    """A wheeled base follows smoothly; one that walks stands while it can, and steps when it must."""

    sway_s: float = 1.0  # what the wearer does faster than that, the base does not do
    far_m: float = 0.25  # a standing base that is farther from where it should be walks there
    far_rad: float = 0.5
    # Cost of a metre off; a "fixed" base is one that stands where it reaches all.
    hold: Mapping[str, float] = field(default_factory=lambda: {"wheeled": 0.5, "walking": 20.0, "fixed": 100.0})
    stands: float = 0.95  # share of rows; a base that reaches so many from one place stands there
    room_m: float = 0.2  # between furniture and the middle of a base that goes


def person(targets: Targets, params: PathParams | None = None) -> Array:
    """(n, 4, 4) level frames that go with the wearer: at the head, x towards where the hands work on the whole.

    Where no head is known, the middle of the tools takes its place.
    """
    params = params or PathParams()
    t_s = targets.t_s
    tools = [np.where(g.tracked[:, None], g.T_world_tcp[:, :3, 3], np.nan) for g in targets.goals.values()]
    ahead = [np.where(g.tracked[:, None], g.T_world_tcp[:, :3, 2], np.nan) for g in targets.goals.values()]
    hands = _filled(_mean(tools))
    head = targets.T_world_head
    if head is None or not np.any(np.isfinite(head[:, 0, 3])):
        p, forward = hands, _filled(_mean(ahead))
    else:
        p = _filled(head[:, :3, 3])
        forward = hands - p
    p, forward = _smooth(p, t_s, params.sway_s), _smooth(forward, t_s, params.sway_s)
    yaw = np.unwrap(np.arctan2(forward[:, 1], forward[:, 0]))
    return geometry.se3(geometry.so3_exp(np.stack([0 * yaw, 0 * yaw, yaw], axis=1)), p)


def stays(T_world_person: Array, params: PathParams | None = None) -> bool:
    """Whether a person (n, 4, 4) works in one place, so that nothing needs to go along."""
    params = params or PathParams()
    p = T_world_person[:, :2, 3]
    return bool(np.all(np.ptp(p, axis=0) < 2 * params.far_m))


def base_path(T_world_base: Array, t_s: Array, base: Base, params: PathParams | None = None) -> Array:
    """(n, 3) x, y (m) and yaw (rad, without jumps) for a base that ought to be at (n, 4, 4), within its speeds."""
    params = params or PathParams()
    yaw = np.unwrap(np.arctan2(T_world_base[:, 1, 0], T_world_base[:, 0, 0]))
    wanted = np.column_stack([T_world_base[:, 0, 3], T_world_base[:, 1, 3], yaw])
    limits = np.array([base.speed_m_s, base.speed_m_s, base.turn_rad_s])
    if base.kind == "walking":
        return _steps(wanted, t_s, limits, params)
    return wanted


def _steps(wanted: Array, t_s: Array, limits: Array, params: PathParams) -> Array:
    """Standing segments with walks between them, each as fast as the robot walks on the whole."""
    far = np.array([params.far_m, params.far_m, params.far_rad])
    out = np.empty_like(wanted)
    starts = [0]
    low, high = wanted[0].copy(), wanted[0].copy()
    for k in range(len(wanted)):
        low, high = np.minimum(low, wanted[k]), np.maximum(high, wanted[k])
        if np.any(high - low > 2 * far):
            starts.append(k)
            low, high = wanted[k].copy(), wanted[k].copy()
    for a, b in zip(starts, [*starts[1:], len(wanted)], strict=True):
        out[a:b] = (wanted[a:b].min(axis=0) + wanted[a:b].max(axis=0)) / 2
    # As fast as it walks after every change, and likewise before it: in the mean it is under way around the change.
    after, before = _limited(out, t_s, limits), _limited(out[::-1], -t_s[::-1], limits)[::-1]
    return (after + before) / 2


def _limited(wanted: Array, t_s: Array, limits: Array) -> Array:
    """A path that goes after another no faster than limits."""
    out = wanted.copy()
    for k in range(1, len(out)):
        most = 0.95 * limits * (t_s[k] - t_s[k - 1])
        out[k] = out[k - 1] + np.clip(wanted[k] - out[k - 1], -most, most)
    return out


def _mean(parts: list[Array]) -> Array:
    stack = np.stack(parts)
    count = np.isfinite(stack).sum(axis=0)
    return np.where(count > 0, np.nansum(stack, axis=0) / np.maximum(count, 1), np.nan)


def _filled(x: Array) -> Array:
    """Gaps bridged in proportion, ends held."""
    known = np.flatnonzero(np.isfinite(x[:, 0]))
    return np.column_stack([np.interp(np.arange(len(x)), known, x[known, k]) for k in range(x.shape[1])])


def _smooth(x: Array, t_s: Array, sigma_s: float) -> Array:
    if len(x) < 3:
        return x
    return gaussian_filter1d(x, sigma_s / float(np.median(np.diff(t_s))), axis=0, mode="nearest")
