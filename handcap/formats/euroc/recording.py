"""Reading an ASL folder: every row checked, everything odd named, before anything is written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handcap.clock import NS_PER_S
from handcap.errors import FormatError
from handcap.formats.euroc.folder import AslFolder, open_folder, picture_names, picture_paths
from handcap.formats.euroc.sensor_yaml import SensorYaml, read_sensor_yaml
from handcap.formats.findings import Finding
from handcap.formats.inertial import one_stream, require_plausible
from handcap.formats.rows import Rows, read_header, read_rows
from handcap.formats.stamps import (
    gaps,
    in_time_order,
    measured_rate,
    require_nanoseconds,
    without_far_strays,
    without_repeats,
)
from handcap.geometry import inverse
from handcap.types import Device, ImuModel, MountedCamera, Rig

_MARGIN_NS = NS_PER_S  # the IMU is kept this long before the first and after the last picture
# Where sensor.yaml states no noise: several times a phone's sensor, so that nothing is trusted too much.
_CAUTIOUS_NOISE = {
    "gyro_noise_density": 1e-3,
    "accel_noise_density": 1e-2,
    "gyro_random_walk": 1e-4,
    "accel_random_walk": 1e-3,
}


@dataclass(frozen=True, eq=False, slots=True)
class Recording:
    """An ASL folder, checked.

    Attributes:
        imu: values (n, 6): gyroscope, accelerometer.
        pictures: rows of the picture list whose file exists.
        paths: the file of each.
    """

    folder: AslFolder
    rig: Rig
    imu: Rows
    pictures: Rows
    paths: list[Path]
    findings: list[Finding]


def read_recording(source: Path, camera: str) -> Recording:
    """One camera and the IMU of an ASL folder; the pictures themselves are not opened yet."""
    folder = open_folder(source, camera)
    imu_yaml = read_sensor_yaml(folder.root / "imu0" / "sensor.yaml", "imu0/sensor.yaml")
    camera_yaml = read_sensor_yaml(folder.root / camera / "sensor.yaml", f"{camera}/sensor.yaml")
    findings = list(folder.findings)
    imu, imu_rate_hz = _read_imu(folder.root / "imu0" / "data.csv", imu_yaml, findings)
    pictures, paths = _read_picture_list(folder.root / camera, camera, camera_yaml, findings)
    rig = _rig(imu_yaml, camera_yaml, imu_rate_hz, folder, findings)
    _require_overlap(imu, pictures, camera, findings)
    kept = (imu.stamp >= pictures.stamp[0] - _MARGIN_NS) & (imu.stamp <= pictures.stamp[-1] + _MARGIN_NS)
    imu = imu.take(kept)
    findings += gaps(imu, "imu0/data.csv") + gaps(pictures, f"{camera}/data.csv")
    return Recording(folder, rig, imu, pictures, paths, findings)


def _read_imu(path: Path, sensor: SensorYaml, findings: list[Finding]) -> tuple[Rows, float]:
    where = "imu0/data.csv"
    rows, found = read_rows(path, where, columns=6)
    findings += found
    names = read_header(path)
    if len(names) == 7 and names[1].startswith("a") and names[4].startswith(("w", "g")):
        rows = Rows(rows.line, rows.stamp, rows.seconds_like, rows.fractional, np.roll(rows.values, 3, axis=1), [])
        findings.append(Finding("columns_by_name", where))
    stated_hz = sensor.positive("rate_hz")
    require_nanoseconds(rows, stated_hz or 200.0, where)
    for step in (without_far_strays, in_time_order, without_repeats):
        rows, found = step(rows, where)
        findings += found
    require_plausible(rows, where)
    rows, found = one_stream(rows, stated_hz, where)
    findings += found
    rate_hz, found = measured_rate(rows, stated_hz, where)
    findings += found
    return rows, rate_hz


def _read_picture_list(
    folder: Path, camera: str, sensor: SensorYaml, findings: list[Finding]
) -> tuple[Rows, list[Path]]:
    where = f"{camera}/data.csv"
    names = picture_names(folder)
    if (folder / "data.csv").is_file():
        rows, found = read_rows(folder / "data.csv", where, columns=0, named=True)
        findings += found
    else:
        rows = _list_by_name(names, where)
        findings.append(Finding("listed_by_name", where, len(rows)))
    stated_hz = sensor.positive("rate_hz")
    require_nanoseconds(rows, stated_hz or 20.0, where)
    for step in (without_far_strays, in_time_order, without_repeats):
        rows, found = step(rows, where)
        findings += found
    paths = picture_paths(folder, rows, where)
    there = np.array([path is not None for path in paths], bool)
    if not there.any():
        raise FormatError(
            f"none of its {len(rows)} pictures exists (first: {rows.names[0][:80]!r})",
            where=where,
            mend=f"put the pictures into {camera}/data under the names of the list",
        )
    if not there.all():
        lines = tuple(int(line) for line in rows.line[~there][:5])
        findings.append(Finding("missing_pictures", where, int((~there).sum()), lines))
    listed = {path.name for path in paths if path is not None}
    if unlisted := len([name for name in names if name not in listed]):
        findings.append(Finding("unlisted_pictures", f"{camera}/data", unlisted))
    rows = rows.take(there)
    findings += measured_rate(rows, stated_hz, where)[1]
    return rows, [path for path in paths if path is not None]


def _list_by_name(names: list[str], where: str) -> Rows:
    stamped = sorted((int(Path(n).stem), n) for n in names if Path(n).stem.isascii() and Path(n).stem.isdigit())
    stamped = [(stamp, name) for stamp, name in stamped if stamp < 2**63]
    if not stamped:
        raise FormatError(
            "missing, and the pictures' names are not stamps", where=where, mend="copy data.csv of this camera there"
        )
    stamps = np.array([stamp for stamp, _ in stamped], np.int64)
    n = len(stamps)
    return Rows(np.arange(1, n + 1), stamps, stamps.astype(float), False, np.zeros((n, 0)), [n for _, n in stamped])


def _require_overlap(imu: Rows, pictures: Rows, camera: str, findings: list[Finding]) -> None:
    outside = (pictures.stamp < imu.stamp[0]) | (pictures.stamp > imu.stamp[-1])
    if outside.all():
        apart_s = max(pictures.stamp[0] - imu.stamp[-1], imu.stamp[0] - pictures.stamp[-1]) / NS_PER_S
        raise FormatError(
            f"clocks disagree: no picture lies within the IMU's time span, they are {apart_s:.6g} s apart",
            where=f"{camera}/data.csv and imu0/data.csv",
            mend="stamp pictures and IMU by one clock, or copy the two files of one recording",
        )
    if outside.any():
        lines = tuple(int(line) for line in pictures.line[outside][:5])
        findings.append(Finding("outside_imu", f"{camera}/data.csv", int(outside.sum()), lines))


def _rig(imu: SensorYaml, camera: SensorYaml, rate_hz: float, folder: AslFolder, findings: list[Finding]) -> Rig:
    T_body_imu = imu.pose() if "T_BS" in imu.values else np.eye(4)
    stated = imu.noise()
    if missing := [name for name, value in stated.items() if value is None]:
        findings.append(Finding("default_noise", imu.where, detail=", ".join(missing)))
    noise = {name: _CAUTIOUS_NOISE[name] if value is None else value for name, value in stated.items()}
    files = ["imu0/sensor.yaml", "imu0/data.csv", f"{folder.camera}/sensor.yaml", f"{folder.camera}/data.csv"]
    sha256 = {name: _sha256(folder.root / name) for name in files if (folder.root / name).is_file()}
    mounted = MountedCamera("head", camera.lens(), inverse(T_body_imu) @ camera.pose())
    provenance: dict[str, Any] = {
        "format": "euroc",
        "camera": folder.camera,
        "sha256": sha256,
        "T_body_imu": T_body_imu.tolist(),
        "defaults": missing,
    }
    rig_id = f"euroc-{folder.camera}-{sha256[f'{folder.camera}/sensor.yaml'][:8]}"
    return Rig(rig_id, {"head": Device(ImuModel(rate_hz, **noise))}, {"head": mounted}, {}, provenance)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
