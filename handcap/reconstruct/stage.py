"""Sessions in, `derived/<take>/reconstruct/` out."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import handcap
from handcap import session as session_store
from handcap.causes import Cause, Verdict
from handcap.errors import ReconstructionError, RigError
from handcap.reconstruct.pipeline import Reconstruction, ReconstructParams, reconstruct_take
from handcap.session import Session, Take
from handcap.types import Frame, MountedCamera

log = logging.getLogger(__name__)

STAGE = "reconstruct"
_VERSIONED = ("gtsam", "pycolmap", "opencv-contrib-python", "numpy", "scipy")
_CAMERAS = ("head", "head_left", "head_right")  # the one to use, in this order


@dataclass(frozen=True, eq=False, slots=True)
class TakeResult:
    """What became of one take.

    Attributes:
        take: its id.
        verdict, causes: as in the report.
        report: report.json as written.
        outputs: files written.
    """

    take: str
    verdict: Verdict
    causes: tuple[Cause, ...]
    report: Mapping[str, Any]
    outputs: tuple[Path, ...]


def run_session(
    path: Path,
    rig_path: Path | None = None,
    take: str | None = None,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
    params: ReconstructParams | None = None,
) -> list[TakeResult]:
    """Reconstruct one take, or all, and write the results beside the recording.

    Args:
        path: session folder.
        rig_path: a rig.json to use instead of the session's own.
        take: id, or None for all.

    Raises:
        SessionError: the session or the take cannot be read.
        RigError: the calibration is missing or wrong.
        ReconstructionError: the take lacks the camera or the IMU.
    """
    session = session_store.read(path, rig_path)
    takes = session.takes if take is None else (take,)
    if not takes:
        raise ReconstructionError("the session holds no take", where=path, mend="record or import one first")
    results = []
    for k, id in enumerate(takes):
        prefix = f"take {id}: " if len(takes) > 1 else ""

        def report_progress(what: str, share: float, prefix: str = prefix, k: int = k) -> None:
            on_progress(prefix + what, (k + share) / len(takes))

        try:
            results.append(_run_take(session, session.take(id), params or ReconstructParams(), report_progress))
        except ReconstructionError as error:
            if len(takes) == 1:
                raise
            # An empty take must not keep the good ones from being tried.
            log.warning("take %s: %s", id, error)
            results.append(TakeResult(id, "refused", (Cause("no_pictures", measured=0.0, limit=1.0),), {}, ()))
    on_progress("done", 1.0)
    return results


def _run_take(
    session: Session, take: Take, params: ReconstructParams, on_progress: Callable[[str, float], None]
) -> TakeResult:
    camera = _choose_camera(session, take)
    mount = session.rig.cameras[camera]
    if mount.device not in take.devices:
        raise ReconstructionError(
            f"take {take.id} holds no motion-sensor samples of device {mount.device!r}",
            where=session.path,
            mend="record or import it again with the IMU connected",
        )
    result = reconstruct_take(
        lambda: _of_size(take.frames(camera), mount, session.path),
        take.imu(mount.device),
        session.rig.devices[mount.device],
        mount,
        params,
        on_progress,
    )
    report = _report(session, take, camera, params, result)
    with session_store.write_stage(session, take.id, STAGE) as folder:
        session_store.write_report(folder, report)
        _write_timing(folder, result)
        if result.head is not None and result.head_imu is not None:
            session_store.write_trajectory(folder / "head.parquet", result.head)
            session_store.write_trajectory(folder / "head_imu.parquet", result.head_imu)
            _write_map(folder, result)
        names = sorted(p.name for p in folder.iterdir())
    target = session.derived(take.id, STAGE)
    judgement = result.judgement
    return TakeResult(take.id, judgement.verdict, judgement.causes, report, tuple(target / name for name in names))


def _of_size(frames: Iterator[Frame], mount: MountedCamera, where: Path) -> Iterator[Frame]:
    """The same pictures, each as large as the calibration says. Raises RigError."""
    wanted = (mount.camera.height, mount.camera.width)
    for frame in frames:
        if frame.image.shape[:2] != wanted:
            height, width = frame.image.shape[:2]
            raise RigError(
                f"the pictures are {width}×{height}, but rig.json calibrates {wanted[1]}×{wanted[0]}",
                where=where,
                mend="use the calibration of this camera at this resolution (--rig)",
            )
        yield frame


def _choose_camera(session: Session, take: Take) -> str:
    usable = [c for c in _CAMERAS if c in take.cameras and c in session.rig.cameras]
    if not usable:
        raise ReconstructionError(
            f"take {take.id} has no head camera that the rig knows "
            f"(recorded: {', '.join(take.cameras) or 'none'}; in rig.json: {', '.join(session.rig.cameras) or 'none'})",
            where=session.path,
            mend="give the calibration of the recorded camera with --rig",
        )
    return usable[0]


def _report(
    session: Session, take: Take, camera: str, params: ReconstructParams, result: Reconstruction
) -> dict[str, Any]:
    judgement = result.judgement
    skipped = take.undecodable(camera)
    return {
        "stage": STAGE,
        "take": take.id,
        "verdict": judgement.verdict,
        "causes": [c.as_dict() for c in judgement.causes],
        "spans_ok_s": [list(span) for span in judgement.spans_ok_s],
        "time_offset_s": {camera: result.time_offset_s},
        "time_offset_sigma_s": {camera: result.time_offset_sigma_s},
        "rel_sigma_1s": {"head": result.rel_sigma_1s[0]},
        "rel_rotation_sigma_1s": {"head": result.rel_sigma_1s[1]},
        "numbers": judgement.numbers,
        "undecodable_pictures": len(skipped),
        "damage": [asdict(d) for d in take.damage],
        "inputs_sha256": take.raw_sha256(),
        "rig": {"rig_id": session.rig.rig_id, "camera": camera, "provenance": dict(session.rig.provenance)},
        "parameters": asdict(params),
        "versions": {"handcap": handcap.__version__, **{name: version(name) for name in _VERSIONED}},
    }


def _write_timing(folder: Path, result: Reconstruction) -> None:
    total = sum(result.seconds.values())
    length = result.judgement.numbers.get("length_s") or None
    timing = {
        "seconds": {name: round(s, 3) for name, s in result.seconds.items()},
        "total_s": round(total, 3),
        "seconds_per_second": None if length is None else round(total / length, 3),
        "machine": platform.machine(),
    }
    (folder / "timing.json").write_text(json.dumps(timing, indent=2) + "\n", encoding="utf-8")


def _write_map(folder: Path, result: Reconstruction) -> None:
    """map.parquet: the sparse points; residuals.parquet: what each kept observation is off by."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    points, left = result.map_points, result.residuals
    assert points is not None and left is not None
    pq.write_table(
        _table(pa, {"track": points.track, "p_world": points.p_world, "views": points.views}), folder / "map.parquet"
    )
    pq.write_table(
        _table(
            pa,
            {
                "camera_t_ns": left.camera_t_ns,
                "track": left.track,
                "pixel": left.pixel,
                "residual_px": left.residual_px,
            },
        ),
        folder / "residuals.parquet",
    )


def _table(pa: Any, columns: Mapping[str, NDArray[Any]]) -> Any:
    """(n,) arrays as columns, (n, k) ones as k columns with _x, _y, _z appended."""
    out = {}
    for name, values in columns.items():
        if values.ndim == 1:
            out[name] = pa.array(values)
        else:
            out |= {
                f"{name}_{axis}": pa.array(np.ascontiguousarray(v)) for axis, v in zip("xyz", values.T, strict=False)
            }
    return pa.table(out)
