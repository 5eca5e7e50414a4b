"""How this computer does: battery, heat, speed and memory, as the kernel tells them (its Documentation/ABI)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Sensors of the processor itself: Intel, AMD, ARM boards.
_CPU_SENSORS = {"coretemp", "k10temp", "zenpower", "cpu_thermal"}
_CPU_ZONES = ("x86_pkg_temp", "cpu", "soc", "acpitz")
_MILLI, _MICRO = 1e-3, 1e-6


@dataclass(frozen=True, slots=True)
class Battery:
    """All batteries that feed the computer, together.

    Attributes:
        percent: of what they hold when full; None where they do not say.
        discharging: whether they are what it runs on now.
        minutes: left at the power it draws now; None while charging, or where they do not say.
    """

    percent: float | None
    discharging: bool
    minutes: float | None


@dataclass(frozen=True, slots=True)
class Computer:
    """How it does; None is unknown.

    Attributes:
        battery: None where there is none.
        temperature_c: of the hottest processor sensor.
        critical_c: at which that sensor's processor protects itself.
        throttled: times the processor slowed down because of heat, since it was switched on.
        speed: what its cores may run at now, as a share of what they can: below 1 something holds them back.
        governor: who chooses their speed ("powersave", "performance", "schedutil").
        memory_free_gb: that programs can have.
    """

    battery: Battery | None
    temperature_c: float | None
    critical_c: float | None
    throttled: int | None
    speed: float | None
    governor: str | None
    memory_free_gb: float | None


def read_computer(root: Path = Path("/")) -> Computer:
    """Read it all; a few milliseconds.

    Args:
        root: above `sys` and `proc`.
    """
    temperature_c, critical_c = _temperature(root)
    speed, governor = _speed(root)
    return Computer(
        battery=_battery(root),
        temperature_c=temperature_c,
        critical_c=critical_c,
        throttled=_throttled(root),
        speed=speed,
        governor=governor,
        memory_free_gb=_memory_free_gb(root),
    )


def battery_share(root: Path = Path("/")) -> float | None:
    """What is left of the battery, 0 to 1; None where there is none."""
    battery = _battery(root)
    return None if battery is None or battery.percent is None else battery.percent / 100


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # not there, or the driver has no answer now
        return None


def _number(path: Path) -> float | None:
    try:
        return float(_text(path) or "")
    except ValueError:
        return None


def _battery(root: Path) -> Battery | None:
    found = [
        folder
        for folder in sorted((root / "sys/class/power_supply").glob("*"))
        if _text(folder / "type") == "Battery"
        and _text(folder / "scope") != "Device"  # a mouse has one of its own
        and _text(folder / "present") != "0"
    ]
    if not found:
        return None
    left_wh = full_wh = power_w = 0.0
    percents: list[float] = []
    for folder in found:
        volt = (_number(folder / "voltage_now") or 0.0) * _MICRO
        now, full, flow = (_number(folder / name) for name in ("energy_now", "energy_full", "power_now"))
        unit = _MICRO
        if now is None:  # in charge instead of energy
            now, full, flow = (_number(folder / name) for name in ("charge_now", "charge_full", "current_now"))
            unit = _MICRO * volt
        left_wh += (now or 0.0) * unit
        full_wh += (full or 0.0) * unit
        power_w += abs(flow or 0.0) * unit
        capacity = _number(folder / "capacity")
        percents += [] if capacity is None else [capacity]
    discharging = any(_text(folder / "status") == "Discharging" for folder in found)
    percent = 100 * left_wh / full_wh if full_wh > 0 else sum(percents) / len(percents) if percents else None
    minutes = 60 * left_wh / power_w if discharging and power_w > 0 and left_wh > 0 else None
    return Battery(percent, discharging, minutes)


def _temperature(root: Path) -> tuple[float | None, float | None]:
    """Of the sensor that is nearest to its limit, and that limit."""
    seen = [*_hwmon(root)] or [*_zones(root)]
    if not seen:
        return None, None
    return max(seen, key=lambda one: one[0] - (one[1] or 100.0))


def _hwmon(root: Path) -> Iterator[tuple[float, float | None]]:
    for folder in sorted((root / "sys/class/hwmon").glob("*")):
        if _text(folder / "name") not in _CPU_SENSORS:
            continue
        for path in sorted(folder.glob("temp*_input")):
            now = _number(path)
            limits = [_number(path.with_name(path.name.replace("input", kind))) for kind in ("crit", "max")]
            limit = next((one for one in limits if one is not None and one > 0), None)
            if now is not None:
                yield now * _MILLI, None if limit is None else limit * _MILLI


def _zones(root: Path) -> Iterator[tuple[float, float | None]]:
    for folder in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        now = _number(folder / "temp")
        if now is None or not (_text(folder / "type") or "").lower().startswith(_CPU_ZONES):
            continue
        critical = [
            _number(kind.with_name(kind.name.replace("type", "temp")))
            for kind in sorted(folder.glob("trip_point_*_type"))
            if _text(kind) in ("critical", "hot")
        ]
        limits = [one * _MILLI for one in critical if one is not None and one > 0]
        yield now * _MILLI, min(limits) if limits else None


def _throttled(root: Path) -> int | None:
    counts = [
        _number(path) for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    ]
    known = [int(one) for one in counts if one is not None]
    return max(known) if known else None


def _speed(root: Path) -> tuple[float | None, str | None]:
    folders = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"))
    shares: list[float] = []
    for folder in folders:
        allowed, able = _number(folder / "scaling_max_freq"), _number(folder / "cpuinfo_max_freq")
        if allowed is not None and able:
            shares.append(allowed / able)
    governor = _text(folders[0] / "scaling_governor") if folders else None
    return (min(shares) if shares else None), governor


def _memory_free_gb(root: Path) -> float | None:
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / 1e9
    return None
