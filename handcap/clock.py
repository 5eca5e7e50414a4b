"""Stamps and durations. `t_a = t_b + dt_a_b`."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

NS_PER_S = 1_000_000_000
_UNITS_PER_S = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": NS_PER_S}


def seconds(t_ns: ArrayLike, since_ns: int = 0) -> NDArray[np.float64]:
    """Stamps as seconds after `since_ns`; subtracted as integers first, so that epoch stamps keep their digits."""
    return (np.asarray(t_ns, np.int64) - np.int64(since_ns)).astype(np.float64) / NS_PER_S


def nanoseconds(duration_s: ArrayLike) -> NDArray[np.int64]:
    """Durations in seconds, rounded to whole nanoseconds."""
    return np.rint(np.asarray(duration_s, np.float64) * NS_PER_S).astype(np.int64)


def to_imu_clock(camera_t_ns: ArrayLike, dt_imu_cam_s: float) -> NDArray[np.int64]:
    """Camera stamps on the IMU's clock: t_imu = t_cam + dt_imu_cam."""
    return np.asarray(camera_t_ns, np.int64) + nanoseconds(dt_imu_cam_s)


def likely_unit(stamps: ArrayLike, rate_hz: float) -> str:
    """The unit in which `stamps` would tick at about `rate_hz`: "s", "ms", "us" or "ns".

    Args:
        stamps: (n,) numbers, n >= 2.
        rate_hz: what the sensor should run at; a factor of 30 either way still decides rightly.
    """
    period = float(np.median(np.abs(np.diff(np.asarray(stamps, np.float64)))))
    return min(_UNITS_PER_S, key=lambda unit: abs(np.log(max(period, 1e-12) * rate_hz / _UNITS_PER_S[unit])))


def parse_utc(text: str) -> datetime | None:
    """A date, or a date and time, in ISO 8601; without a zone it is UTC. None where it is none."""
    try:
        found = datetime.fromisoformat(text.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # year 1 in a zone east of Greenwich
        return None


def utc_text(when: datetime) -> str:
    """ISO 8601 with Z, as session.json and rig.json hold it."""
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def apart_ns(t_ns: NDArray[np.int64], from_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m,) from each time to the nearest of some, ascending."""
    after = from_ns[np.minimum(np.searchsorted(from_ns, t_ns), len(from_ns) - 1)]
    before = from_ns[np.maximum(np.searchsorted(from_ns, t_ns, side="right") - 1, 0)]
    return np.minimum(np.abs(after - t_ns), np.abs(t_ns - before))
