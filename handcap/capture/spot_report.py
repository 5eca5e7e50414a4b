"""derived/<take>/capture/report.json: what was measured while a take ran, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from handcap import __version__
from handcap.capture.board_watch import DeviceWatch
from handcap.capture.camera_watch import CameraWatch
from handcap.capture.recorder import Dropped
from handcap.capture.verdict import SpotVerdict
from handcap.capture.watch import TakeWatch


def spot_report(
    watched: TakeWatch,
    verdict: SpotVerdict,
    losses: Mapping[str, Mapping[str, int]],
    dropped: Dropped,
) -> dict[str, Any]:
    """The report as JSON holds it.

    Args:
        losses: of each device during the take, by the names of docs/wire.md.
        dropped: what the disk was too slow for.
    """
    return {
        "verdict": verdict.verdict,
        "causes": [cause.as_dict() for cause in verdict.causes],
        "spans_ok_s": [],
        "time_offset_s": {},
        "time_offset_sigma_s": {},
        "length_s": watched.length_s,
        "devices": {name: _device(device, losses.get(name, {})) for name, device in watched.devices.items()},
        "cameras": {name: _camera(camera) for name, camera in watched.cameras.items()},
        "dropped_for_the_disk": {"pictures": dict(dropped.pictures), "messages": dict(dropped.messages)},
        "not_looked_at": watched.not_looked_at,
        "versions": {"handcap": __version__},
    }


def _device(watched: DeviceWatch, losses: Mapping[str, int]) -> dict[str, Any]:
    return {
        "samples": watched.samples,
        "missing": watched.missing,
        "saturated": watched.saturated,
        "losses": dict(losses),
        "clock_residual_s": watched.clock_residual_s,
        "clock_sigma_s": watched.clock_sigma_s,
        "events": [{"kind": event.kind, "text": event.text} for event in watched.events],
    }


def _camera(watched: CameraWatch) -> dict[str, Any]:
    looks = watched.looks
    tags = [look.tags for look in looks if look.tags is not None]
    hands = [count for _, count in watched.hands]
    return {
        "pictures": watched.pictures,
        "lost": watched.lost,
        "brightness": _median([look.brightness for look in looks]),
        "corners": _median([look.corners for look in looks]),
        "followed": _median([look.followed for look in looks]),
        "edge_px": _median([look.edge_px for look in looks]),
        "looks_with_tags": None if not tags else sum(count > 0 for count in tags) / len(tags),
        "looks_with_hands": None if not hands else sum(count > 0 for count in hands) / len(hands),
    }


def _median(values: Sequence[float]) -> float | None:
    told = [value for value in values if np.isfinite(value)]
    return float(np.median(told)) if told else None
