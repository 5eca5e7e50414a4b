"""A calibration beside earlier ones of the same rig: what changed, by how many sigmas, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from handcap.calibrate.join import PARTS
from handcap.calibrate.page import Table
from handcap.calibrate.part import Part
from handcap.calibrate.put import put
from handcap.causes import Language
from handcap.clock import parse_utc
from handcap.geometry import Array, inverse, so3_log
from handcap.types import Rig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MONTH_DAYS = 30.0
_GRID = 12  # pixels along an edge at which two lenses are compared


@dataclass(frozen=True, slots=True)
class Change:
    """One number, now and before.

    Attributes:
        stem: of the part it belongs to: "camera-head".
        name: what it is.
        off: now less before; of a vector its length.
        sigmas: how often the standard deviation of the difference it is, the worst axis counting; None where nobody
            knows how sure either is.
        unit: of `off`.
    """

    stem: str
    name: str
    off: float
    sigmas: float | None
    unit: str


def changes(now: Rig, before: Rig) -> list[Change]:
    """What differs between two calibrations of one rig, of all that both have."""
    found: list[Change] = []
    for name in [camera for camera in now.cameras if camera in before.cameras]:
        found += _lens(now, before, name) + _mount(now, before, name)
    for side in [side for side in now.grippers if side in before.grippers]:
        found += _gripper(now, before, str(side))
    for name in [device for device in now.devices if device in before.devices]:
        found += _imu(now, before, name)
    return found


def changes_of_part(part: Part, before: Rig) -> list[Change]:
    """What a new part changes in a rig; nothing where the rig has no such thing yet.

    Raises:
        CalibrationError: the part's values are none.
    """
    parts = dict(_parts(before)) | {part.stem: {"sigma": part.sigma}}
    now = put(_with_parts(before, parts), part)
    return [change for change in changes(now, before) if change.stem == part.stem]


def worst(found: Sequence[Change]) -> Change | None:
    """The change of most sigmas; None where no sigma is known."""
    known = [change for change in found if change.sigmas is not None]
    return max(known, key=lambda change: change.sigmas or 0.0, default=None)


def history_table(now: Rig, earlier: Sequence[tuple[datetime | None, Rig]], lang: Language = "en") -> Table:
    """Now against the last calibration before, and how each number moves in a month where three or more have dates.

    Args:
        now: the new one.
        earlier: date and calibration, oldest first.
        lang: of the words.
    """
    titles: dict[Language, tuple[str, tuple[str, ...]]] = {
        "en": ("Against earlier calibrations", ("part", "what", "change", "sigmas", "in 30 days")),
        "zh": ("与以往标定的比较", ("项目", "参数", "变化", "几倍标准差", "30 天趋势")),
    }
    title, columns = titles[lang]
    rows: list[tuple[str, ...]] = []
    if earlier:
        slopes = trends(now, earlier)
        for change in changes(now, earlier[-1][1]):
            sigmas = "?" if change.sigmas is None else f"{change.sigmas:.1f}"
            slope = slopes.get((change.stem, change.name))
            moved = "" if slope is None else f"{slope:+.3g} {change.unit}"
            rows.append((change.stem, change.name, f"{change.off:+.3g} {change.unit}", sigmas, moved))
    return Table(title, columns, rows)


def trends(now: Rig, earlier: Sequence[tuple[datetime | None, Rig]]) -> dict[tuple[str, str], float]:
    """Change per 30 days by (stem, name): a line through all dated calibrations, against the oldest.

    Vectors count by their length, so that a wandering mount shows whichever way it goes.
    """
    date = _created(now)
    dated = [(at, rig) for at, rig in [*earlier, (date, now)] if at is not None]
    if len(dated) < 3 or (dated[-1][0] - dated[0][0]).total_seconds() <= 0:
        return {}
    start, first = dated[0]
    days = np.array([(at - start).total_seconds() / 86400 for at, _ in dated])
    series: dict[tuple[str, str], list[float]] = {}
    for _, rig in dated:
        for change in changes(rig, first):
            series.setdefault((change.stem, change.name), []).append(change.off)
    return {
        key: float(np.polyfit(days, values, 1)[0] * _MONTH_DAYS)
        for key, values in series.items()
        if len(values) == len(days)
    }


def history_chart(now: Rig, earlier: Sequence[tuple[datetime | None, Rig]]) -> Figure | None:
    """Sigmas from the calibration now, over the dates of all; None with fewer than two dated ones."""
    from matplotlib.figure import Figure

    date = _created(now)
    dated = [(at, rig) for at, rig in earlier if at is not None]
    if date is None or not dated:
        return None
    series: dict[str, list[tuple[float, float]]] = {}
    for at, rig in dated:
        for change in changes(now, rig):
            if change.sigmas is not None:
                days = (at - date).total_seconds() / 86400
                series.setdefault(f"{change.stem} {change.name}", []).append((days, change.sigmas))
    if not series:
        return None
    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    for label, points in sorted(series.items(), key=lambda item: -max(sigmas for _, sigmas in item[1]))[:12]:
        days, sigmas = zip(*sorted([*points, (0.0, 0.0)]), strict=True)
        axes.plot(days, sigmas, marker="o", label=label)
    axes.axhline(3.0, color="0.6", linestyle="--")
    axes.set(xlabel="days before this calibration", ylabel="sigmas from it")
    axes.legend(fontsize="small", loc="upper right")
    return figure


def _created(rig: Rig) -> datetime | None:
    text = rig.provenance.get("created")
    return parse_utc(text) if isinstance(text, str) else None


def _lens(now: Rig, before: Rig, name: str) -> list[Change]:
    stem, new, old = f"camera-{name}", now.cameras[name].camera, before.cameras[name].camera
    if new.model != old.model or (new.width, new.height) != (old.width, old.height):
        return []
    both = _both(now, before, stem, "params", 4)
    found: list[Change] = []
    for k, key in enumerate(new.parameter_names[:4]):
        off = new.params[k] - old.params[k]
        found.append(Change(stem, key, off, None if both is None else abs(off) / float(both[k]), "px"))
    x, y = np.meshgrid(np.linspace(0, new.width - 1, _GRID), np.linspace(0, new.height - 1, _GRID))
    pixels = np.stack([x, y], axis=-1).reshape(-1, 2)
    ray, held = old.unproject(pixels)
    moved, holds = new.project(np.where(held[:, None], ray, [0.0, 0.0, 1.0]))
    both_hold = held & holds
    if np.any(both_hold):
        most = float(np.linalg.norm(moved - pixels, axis=1)[both_hold].max())
        found.append(Change(stem, "most over the image", most, None, "px"))
    return found


def _mount(now: Rig, before: Rig, name: str) -> list[Change]:
    stem, new, old = f"camera-imu-{name}", now.cameras[name], before.cameras[name]
    found = _pose(stem, new.T_imu_cam, old.T_imu_cam, now, before)
    for label, key, off, factor, unit in (
        ("clock offset", "dt_imu_cam_s", new.dt_imu_cam_s - old.dt_imu_cam_s, 1e3, "ms"),
        ("line delay", "line_delay_s", new.line_delay_s - old.line_delay_s, 1e6, "µs"),
    ):
        sigma = _both(now, before, stem, key)
        sigmas = None if sigma is None else abs(off) / float(sigma[0])
        if off != 0 or sigmas is not None:
            found.append(Change(stem, label, factor * off, sigmas, unit))
    return found


def _pose(stem: str, new: Array, old: Array, now: Rig, before: Rig, under: str = "") -> list[Change]:
    apart = inverse(old) @ new
    turn, shift = so3_log(apart[:3, :3]), apart[:3, 3]
    found: list[Change] = []
    for label, key, off, factor, unit in (
        ("rotation", "rotation_rad", turn, float(np.rad2deg(1.0)), "°"),
        ("position", "position_m", shift, 1e3, "mm"),
    ):
        sigma = _both(now, before, stem, under + key, 3)
        sigmas = None if sigma is None else float(np.max(np.abs(off) / sigma))
        found.append(Change(stem, label, factor * float(np.linalg.norm(off)), sigmas, unit))
    return found


def _gripper(now: Rig, before: Rig, side: str) -> list[Change]:
    stem = f"gripper-{side}"
    new, old = (next(g for s, g in rig.grippers.items() if s == side) for rig in (now, before))
    found: list[Change] = []
    if new.T_cam_tcp is not None and old.T_cam_tcp is not None:
        found += _pose(stem, new.T_cam_tcp, old.T_cam_tcp, now, before, "T_cam_tcp.")
    if new.encoder is not None and old.encoder is not None:
        for label, key, factor, unit in (
            ("opening per turn", "metres_per_rad", 2e3 * np.pi, "mm"),
            ("encoder zero", "zero_rad", float(np.rad2deg(1.0)), "°"),
        ):
            off = float(getattr(new.encoder, key) - getattr(old.encoder, key))
            sigma = _both(now, before, stem, f"encoder.{key}")
            found.append(Change(stem, label, factor * off, None if sigma is None else abs(off) / float(sigma[0]), unit))
    return found


def _imu(now: Rig, before: Rig, name: str) -> list[Change]:
    stem, new, old = f"imu-{name}", now.devices[name].imu, before.devices[name].imu
    found: list[Change] = []
    for key in ("gyro_noise_density", "accel_noise_density", "gyro_random_walk", "accel_random_walk"):
        off = float(getattr(new, key) - getattr(old, key))
        sigma = _both(now, before, stem, key)
        if off != 0 or sigma is not None:
            sigmas = None if sigma is None else abs(off) / float(sigma[0])
            found.append(Change(stem, key.replace("_", " "), 100 * off / getattr(old, key), sigmas, "%"))
    return found


def _parts(rig: Rig) -> Mapping[str, Any]:
    parts = rig.provenance.get(PARTS)
    return parts if isinstance(parts, Mapping) else {}


def _with_parts(rig: Rig, parts: Mapping[str, Any]) -> Rig:
    return replace(rig, provenance={**rig.provenance, PARTS: parts})


def _both(now: Rig, before: Rig, stem: str, key: str, count: int = 1) -> Array | None:
    """(count,) standard deviation of the difference; None where either is unknown."""
    new, old = (_sigma(rig, stem, key, count) for rig in (now, before))
    return None if new is None or old is None else np.hypot(new, old)


def _sigma(rig: Rig, stem: str, key: str, count: int) -> Array | None:
    """What a rig's provenance says of a number's standard deviation, its first `count` values."""
    told: Any = _parts(rig).get(stem)
    for step in ("sigma", *key.split(".")):
        told = told.get(step) if isinstance(told, Mapping) else None
    try:
        values = np.atleast_1d(np.array(told, float)).ravel()[:count]
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and np.all(np.isfinite(values) & (values > 0)) else None
