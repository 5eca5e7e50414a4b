"""Whether a session can be recorded here and now: rig, calibration, firmware, cameras, disk, battery, permissions.

Boards themselves are the business of `findings`. What only deserves a word is a hint; all else stands in the way.
"""

from __future__ import annotations

import grp
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from handcap.causes import Cause
from handcap.devices.computer import Computer
from handcap.devices.examine import BoardReport, Failed
from handcap.devices.findings import label
from handcap.errors import SessionError
from handcap.session import RigRecord
from handcap.types import Rig
from handcap.wire.handcap_pb2 import SENSOR_KIND_CAMERA

HINTS = frozenset(
    {
        "board_without_rig",
        "calibration_drifting",
        "calibration_old",
        "calibration_undated",
        "firmware_old",
        "camera_slow",
        "battery_short",
        "computer_hot",
        "computer_slowed",
        "memory_low",
        "no_voice",
        "may_sleep",
    }
)


@dataclass(frozen=True, slots=True)
class ReadyParams:
    """What a session needs. Engineering judgement all.

    Attributes:
        minutes: of recording that must fit on the disk.
        old_days: a rig is calibrated anew every quarter: mounts creep, and lenses are knocked.
        rate: share of the asked rate at which a camera must come.
        write_margin: the disk must write so many times what the rig gives: it does other things too, and stalls.
        battery_minutes: of a session.
        memory_gb: that the field pass beside the recording takes.
        hot_c: from the processor's own limit.
        speed: share of what the processor can run at.
    """

    minutes: float = 30.0
    old_days: float = 90.0
    rate: float = 0.9
    write_margin: float = 3.0
    battery_minutes: float = 60.0
    memory_gb: float = 2.0
    hot_c: float = 8.0
    speed: float = 0.7


def nominal_bytes_per_s(rig: Rig, measured: Sequence[str] = ()) -> float:
    """What a rig gives where nobody has measured it: JPEG of 1.2 bits a pixel at 30 Hz, and boards at 1 kHz.

    Args:
        rig: its cameras and devices.
        measured: names of cameras and devices to leave out.
    """
    pixels = sum(one.camera.width * one.camera.height for name, one in rig.cameras.items() if name not in measured)
    return pixels * 1.2 / 8 * 30 + 25e3 * len([name for name in rig.devices if name not in measured])


def of_rig(
    reports: Sequence[BoardReport], records: Sequence[RigRecord], now: datetime, params: ReadyParams
) -> list[Cause]:
    """Whether every board of the rigs plugged in is there, and whether their calibrations may be used."""
    there = {report.uid.lower() for report in reports}
    told = [
        Cause("board_without_rig", label(report))
        for report in reports
        if report.owner is None and report.hello.board != "node"
    ]
    for record in records:
        in_force = record.in_force
        if in_force is None or not any(uid.lower() in there for uid in in_force.rig.uids.values()):
            continue
        missing = [(name, uid) for name, uid in in_force.rig.uids.items() if uid.lower() not in there]
        told += [Cause("rig_incomplete", f"{record.rig_id} {name} ({uid})") for name, uid in missing]
        told += _of_calibration(record, now, params)
    return told


def _of_calibration(record: RigRecord, now: datetime, params: ReadyParams) -> Iterator[Cause]:
    age_days = record.age_days(now)
    state = record.state(now)
    if state == "expired":
        yield Cause("calibration_expired", record.rig_id, measured=age_days)
    elif state == "drifting":
        yield Cause("calibration_drifting", record.rig_id)
    elif age_days is None:
        yield Cause("calibration_undated", record.rig_id)
    elif age_days > params.old_days:
        yield Cause("calibration_old", record.rig_id, measured=age_days, limit=params.old_days)


def firmware_here() -> str | None:
    """The version of the firmware that comes with this handcap; None where none does."""
    for folder in (Path(__file__).parent / "firmware", Path(__file__).parents[2] / "firmware"):
        if (folder / "VERSION").is_file():
            return (folder / "VERSION").read_text(encoding="ascii").strip()
    return None


def of_firmware(reports: Sequence[BoardReport], ours: str | None) -> list[Cause]:
    """Boards and nodes whose firmware is older than ours."""
    return [
        Cause("firmware_old", f"{label(report)}: {report.hello.firmware_version} < {ours}")
        for report in reports
        if ours is not None and _numbers(report.hello.firmware_version) < _numbers(ours)
    ]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version)[:3])


def of_cameras(reports: Sequence[BoardReport], params: ReadyParams) -> list[Cause]:
    """Cameras of nodes that give fewer pictures than they were asked for."""
    told: list[Cause] = []
    for report in reports:
        asked = [sensor.rate_hz for sensor in report.hello.sensors if sensor.kind == SENSOR_KIND_CAMERA]
        if not report.streamed or not asked or not asked[0] > 0:
            continue
        for name, stretch in report.heard.cameras.items():
            rate_hz = stretch.rate_hz
            if rate_hz is not None and rate_hz < params.rate * asked[0]:
                told.append(Cause("camera_slow", f"{label(report)}: {name}", measured=rate_hz, limit=asked[0]))
    return told


@dataclass(frozen=True, slots=True)
class Disk:
    """Where sessions go.

    Attributes:
        folder: as named, or the nearest one that exists.
        free_bytes: for programs.
        write_bytes_per_s: as tried; None where it was not.
    """

    folder: Path
    free_bytes: int
    write_bytes_per_s: float | None


def try_disk(folder: Path, seconds: float = 1.5) -> Disk:
    """Write for so long into a file that has no name and is gone afterwards, each piece flushed to the disk itself.

    Raises:
        SessionError: nothing can be written there.
    """
    there = next((one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir()), Path("/"))
    block = os.urandom(1 << 20) * 4  # no file system shrinks it
    disk = os.statvfs(there)
    free = disk.f_bavail * disk.f_frsize
    written, began = 0, time.monotonic()
    try:
        with tempfile.TemporaryFile(dir=there, buffering=0) as file:
            while time.monotonic() - began < seconds and written + len(block) < min(free / 4, 1 << 30):
                written += file.write(block)
                os.fsync(file.fileno())
            took_s = time.monotonic() - began
    except OSError as error:
        raise SessionError(
            f"nothing can be written here ({error.strerror or error})",
            where=there,
            mend="free some space, or name a folder of your own with --folder",
        ) from error
    return Disk(there, free, written / took_s if written else None)


def of_disk(disk: Disk, bytes_per_s: float, params: ReadyParams) -> list[Cause]:
    """Whether a session fits, and whether the disk is quick enough."""
    told: list[Cause] = []
    minutes = disk.free_bytes / bytes_per_s / 60
    if minutes < params.minutes:
        told.append(Cause("disk_short", str(disk.folder), measured=minutes, limit=params.minutes))
    needed = params.write_margin * bytes_per_s
    if disk.write_bytes_per_s is not None and disk.write_bytes_per_s < needed:
        told.append(
            Cause("disk_writes_slowly", str(disk.folder), measured=disk.write_bytes_per_s / 1e6, limit=needed / 1e6)
        )
    return told


def of_computer(computer: Computer, params: ReadyParams) -> Iterator[Cause]:
    """Battery, heat, speed and memory."""
    battery = computer.battery
    if battery is not None and battery.minutes is not None and battery.minutes < params.battery_minutes:
        yield Cause("battery_short", measured=battery.minutes, limit=params.battery_minutes)
    if computer.temperature_c is not None and computer.critical_c is not None:
        limit_c = computer.critical_c - params.hot_c
        if computer.temperature_c > limit_c:
            yield Cause("computer_hot", measured=computer.temperature_c, limit=limit_c)
    if computer.speed is not None and computer.speed < params.speed:
        yield Cause("computer_slowed", measured=100 * computer.speed)
    if computer.memory_free_gb is not None and computer.memory_free_gb < params.memory_gb:
        yield Cause("memory_low", measured=computer.memory_free_gb, limit=params.memory_gb)


def of_permissions(names: Sequence[str]) -> list[Cause]:
    """Devices that are there and that this user may not open, each with the group that may.

    Args:
        names: /dev/video0, /dev/ttyACM0, ...
    """
    told: list[Cause] = []
    for name in names:
        if not os.path.exists(name) or os.access(name, os.R_OK | os.W_OK):
            continue
        group = _group_of(name)
        # Whoever was put into the group after logging in is not in it yet.
        pending = group is not None and _user() in grp.getgrnam(group).gr_mem
        told.append(Cause("group_pending" if pending else "device_permission", f"{name}: {group or 'root'}"))
    return told


def _group_of(name: str) -> str | None:
    try:
        return grp.getgrgid(os.stat(name).st_gid).gr_name
    except (OSError, KeyError):
        return None


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def measured_bytes_per_s(reports: Sequence[BoardReport | Failed], rig: Rig | None) -> float:
    """What is written in a second: as boards and nodes gave it just now, and nominally of what was not heard."""
    heard = [one for one in reports if isinstance(one, BoardReport) and one.streamed and one.heard.watched_s > 0]
    rate = sum(one.heard.bytes / one.heard.watched_s for one in heard)
    if rig is None:
        return max(rate, 25e3)
    known = {camera for one in heard for camera in one.heard.cameras}
    known |= {one.owner[1] for one in heard if one.owner is not None}
    return max(rate + nominal_bytes_per_s(rig, tuple(known)), 25e3)


def by_weight(causes: Sequence[Cause]) -> tuple[list[Cause], list[Cause]]:
    """What stands in the way, and hints."""
    return [c for c in causes if c.code not in HINTS], [c for c in causes if c.code in HINTS]


def facts(
    disk: Disk | None,
    bytes_per_s: float,
    computer: Computer,
    records: Mapping[str, tuple[str, float | None]],
    ours: str | None,
) -> dict[str, object]:
    """As `--json` prints it; null is unknown.

    Args:
        disk: as tried.
        bytes_per_s: of the rig.
        computer: as read.
        records: state and age in days of each rig's calibration.
        ours: firmware version that comes with handcap.
    """
    battery = computer.battery
    return {
        "gb_per_hour": round(bytes_per_s * 3600 / 1e9, 3),
        "disk_minutes": None if disk is None else round(disk.free_bytes / bytes_per_s / 60, 1),
        "disk_free_gb": None if disk is None else round(disk.free_bytes / 1e9, 2),
        "write_mb_per_s": None
        if disk is None or disk.write_bytes_per_s is None
        else round(disk.write_bytes_per_s / 1e6, 1),
        "battery_percent": None if battery is None else battery.percent,
        "battery_minutes": None if battery is None else battery.minutes,
        "on_battery": battery is not None and battery.discharging,
        "temperature_c": computer.temperature_c,
        "governor": computer.governor,
        "speed": computer.speed,
        "memory_free_gb": computer.memory_free_gb,
        "firmware": ours,
        "calibrations": {rig: {"state": state, "age_days": age} for rig, (state, age) in records.items()},
    }
