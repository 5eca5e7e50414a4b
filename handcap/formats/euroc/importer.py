"""`handcap import euroc`: an ASL folder becomes a session, its pictures unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import handcap
from handcap.clock import NS_PER_S
from handcap.errors import FormatError
from handcap.formats.euroc.recording import Recording, read_recording
from handcap.formats.findings import Finding, ImportReport, lines_text
from handcap.formats.pictures import decodes, picture_format
from handcap.formats.rows import Rows
from handcap.session import SessionMeta, create, new_folder
from handcap.session.pictures import picture_size

OnProgress = Callable[[str, float], None]

_LARGEST_PICTURE = 1 << 26  # bytes; a 100-megapixel JPEG is smaller
_IMPORT_JSON = "import.json"
_FIRST_PLAUSIBLE_UTC_NS = 946_684_800 * NS_PER_S  # 2000-01-01; earlier stamps do not count from 1970


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
        OutputError: `out` holds something already, or cannot be written.
    """
    source, out = Path(source), Path(out)
    tell = on_progress or (lambda what, fraction: None)
    tell("Reading", 0.0)
    with new_folder(out) as folder:
        return _write(read_recording(source, camera), folder, out, tell)


def _write(recording: Recording, folder: Path, out: Path, tell: OnProgress) -> ImportReport:
    findings = list(recording.findings)
    bad: list[int] = []
    good: list[int] = []
    imu, pictures = recording.imu, recording.pictures
    lens = recording.rig.cameras["head"].camera
    with create(folder, _meta(recording), recording.rig) as writer:
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


def _undecodable(recording: Recording, bad: list[int], good: list[int]) -> Finding:
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


def _meta(recording: Recording) -> SessionMeta:
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
