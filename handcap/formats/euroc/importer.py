"""`handcap import euroc`: an ASL folder becomes a session, checked row by row, its pictures unchanged."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import handcap
from handcap.clock import NS_PER_S
from handcap.errors import FormatError
from handcap.formats.euroc.folder import AslFolder, open_folder, picture_names, picture_paths
from handcap.formats.euroc.sensor_yaml import SensorYaml, read_sensor_yaml
from handcap.formats.findings import Finding, ImportReport, lines_text
from handcap.formats.inertial import one_stream, require_plausible
from handcap.formats.pictures import decodes, picture_format, picture_size
from handcap.formats.rows import Rows, read_header, read_rows
from handcap.formats.stamps import gaps, in_time_order, measured_rate, require_nanoseconds, without_repeats
from handcap.geometry import inverse
from handcap.types import Device, ImuModel, MountedCamera, Rig

OnProgress = Callable[[str, float], None]

_MARGIN_NS = NS_PER_S  # the IMU is kept this long before the first and after the last picture
_LARGEST_PICTURE = 1 << 26  # bytes; a 100-megapixel JPEG is smaller
_IMPORT_JSON = "import.json"
# Where sensor.yaml states no noise: several times a phone's sensor, so that nothing is trusted too much.
_CAUTIOUS_NOISE = {
    "gyro_noise_density": 1e-3,
    "accel_noise_density": 1e-2,
    "gyro_random_walk": 1e-4,
    "accel_random_walk": 1e-3,
}
_FIRST_PLAUSIBLE_UTC_NS = 946_684_800 * NS_PER_S  # 2000-01-01; earlier stamps do not count from 1970


@dataclass(frozen=True, eq=False, slots=True)
class _Recording:
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


def import_euroc(
    source: Path, out: Path, *, camera: str = "cam0", on_progress: OnProgress | None = None
) -> ImportReport:
    """Turn one camera and the IMU of an ASL folder into a session with one take.

    The session's device and camera are called "head". Its imu frame is the sensor's own: where imu0's T_BS is not the
    identity, T_imu_cam is taken relative to the IMU, and R_imu_chip stays the identity.

    Args:
        source: the folder that holds mav0, or mav0 itself.
        out: the session to be written; must not exist, or be empty. Appears whole or not at all.
        camera: which camera folder.
        on_progress: told what is going on and how much of it is done.

    Raises:
        FormatError: with file, rows and cause, when the recording is missing something or cannot be trusted.
    """
    source, out = Path(source), Path(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FormatError("exists already", where=out, mend="give a new folder, or remove this one")
    tell = on_progress or (lambda what, fraction: None)
    tell("Reading", 0.0)
    recording = _read(source, camera)
    with _appearing_whole(out) as folder:
        return _write(recording, folder, out, tell)


def _read(source: Path, camera: str) -> _Recording:
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
    return _Recording(folder, rig, imu, pictures, paths, findings)


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
    for step in (in_time_order, without_repeats):
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
    for step in (in_time_order, without_repeats):
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


@contextmanager
def _appearing_whole(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name on success and vanishes on failure, with parents made for it."""
    made: list[Path] = []
    try:
        for parent in reversed([out, *out.parents][1:]):
            if not parent.exists():
                parent.mkdir()
                made.append(parent)
        folder = out.with_name(f".{out.name}.importing-{os.getpid()}")
        shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise FormatError(f"cannot be written ({error.strerror})", where=out, mend="give another folder") from error
    try:
        yield folder
        folder.replace(out)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in reversed(made):
            parent.rmdir()
        if isinstance(error, OSError):
            message = f"cannot be written ({error.strerror or error})"
            raise FormatError(message, where=out, mend="free some disk space, or give another folder") from error
        raise


def _write(recording: _Recording, folder: Path, out: Path, tell: OnProgress) -> ImportReport:
    from handcap import session

    findings = list(recording.findings)
    bad: list[int] = []
    good: list[int] = []
    imu, pictures = recording.imu, recording.pictures
    lens = recording.rig.cameras["head"].camera
    with session.create(folder, _meta(recording), recording.rig) as writer:
        take = writer.start_take()
        sent = 0
        for i, (t_ns, path) in enumerate(zip(pictures.stamp, recording.paths, strict=True)):
            sent = _send_imu(take, imu, sent, int(np.searchsorted(imu.stamp, t_ns, side="right")))
            data = _picture_bytes(path)
            kind = picture_format(data)
            size = None if kind is None else picture_size(data)
            if size is not None and size != (lens.width, lens.height):
                raise FormatError(
                    f"the picture is {size[0]} x {size[1]}, sensor.yaml says {lens.width} x {lens.height}",
                    where=f"{recording.folder.camera}/data/{path.name} (line {pictures.line[i]} of data.csv)",
                    mend="use the sensor.yaml of these pictures; resizing changes the calibration",
                )
            if kind is None or size is None or not decodes(data):
                bad.append(i)
                continue
            good.append(i)
            take.add_image("head", int(t_ns), data, kind)
            tell("Importing pictures", (i + 1) / len(recording.paths))
        _send_imu(take, imu, sent, len(imu))
        if bad:
            findings.append(_undecodable(recording, bad, good))
        for finding in findings:
            device = "head" if finding.where.startswith((recording.folder.camera, "imu0")) else None
            at_ns = finding.span_ns[0] if finding.span_ns else None
            writer.journal.fault(finding.code, finding.text(), take=take.id, t_ns=at_ns, device=device)
        take.end()
    stamps = pictures.stamp[good]
    duration_s = float(stamps[-1] - stamps[0]) / NS_PER_S
    report = ImportReport(
        out, take.id, len(good), len(imu), duration_s, _rate_hz(stamps), _rate_hz(imu.stamp), tuple(findings)
    )
    text = json.dumps({"format": "euroc", **report.as_dict()}, indent=2, ensure_ascii=False)
    (folder / _IMPORT_JSON).write_text(f"{text}\n", encoding="utf-8")
    return report


def _send_imu(take: Any, imu: Rows, start: int, end: int) -> int:
    if end > start:
        values = imu.values[start:end]
        take.add_imu_si("head", imu.stamp[start:end], values[:, :3], values[:, 3:])
    return max(start, end)


def _picture_bytes(path: Path) -> bytes:
    try:
        return b"" if path.stat().st_size > _LARGEST_PICTURE else path.read_bytes()
    except OSError:
        return b""


def _undecodable(recording: _Recording, bad: list[int], good: list[int]) -> Finding:
    where = f"{recording.folder.camera}/data.csv"
    lines = tuple(int(line) for line in recording.pictures.line[bad][:5])
    if not good:
        raise FormatError(
            f"none of its {len(bad)} pictures decodes: they are not JPEG or PNG, or cut off",
            where=f"{where}{lines_text(lines, len(bad))}",
            mend="copy the pictures again",
        )
    return Finding("undecodable_pictures", where, len(bad), lines, recording.paths[bad[0]].name)


def _rate_hz(stamps: NDArray[np.int64]) -> float:
    return NS_PER_S / float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0


def _meta(recording: _Recording) -> Any:
    from handcap.session import SessionMeta

    first_ns = int(recording.imu.stamp[0])
    stamped_utc = first_ns > _FIRST_PLAUSIBLE_UTC_NS
    created = datetime.fromtimestamp(first_ns // NS_PER_S, UTC) if stamped_utc else datetime.now(UTC)
    sha256 = recording.rig.provenance["sha256"]
    name = hashlib.sha256(json.dumps(sha256, sort_keys=True).encode()).hexdigest()[:12]
    return SessionMeta.model_validate(
        {
            "id": f"euroc-{name}",
            "created": created.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "origin": "import",
            "clock": {"kind": "import", "utc_offset_ns": 0 if stamped_utc else None},
            "versions": {"handcap": handcap.__version__},
        }
    )
