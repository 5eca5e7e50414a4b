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
from handcap.reconstruct.limits import VerdictParams
from handcap.reconstruct.result import Reconstruction, ReconstructParams
from handcap.reconstruct.whole import Recording, Whole, reconstruct_whole
from handcap.session import Session, Take
from handcap.types import Frame, MountedCamera

log = logging.getLogger(__name__)

STAGE = "reconstruct"
_VERSIONED = ("gtsam", "pycolmap", "opencv-contrib-python", "numpy", "scipy")
_HEAD_CAMERAS = ("head", "head_left", "head_right")  # the one to follow, in this order
_SIDES = ("left", "right")


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
    recording = _recording(session, take)
    whole = reconstruct_whole(recording, params, on_progress)
    report = _report(session, take, recording, params, whole)
    with session_store.write_stage(session, take.id, STAGE) as folder:
        session_store.write_report(folder, report)
        _write_timing(folder, whole)
        for name, body in whole.bodies.items():
            extra = {} if body.jaw is None else {"width_m": body.jaw.width_m, "width_sigma_m": body.jaw.sigma_m}
            session_store.write_trajectory(folder / f"{name}.parquet", body.poses, extra)
            session_store.write_trajectory(folder / f"{name}_imu.parquet", body.dense)
        for name, hand in whole.hands.items():
            extra = {
                "joints_world": hand.joints_world.reshape(-1, 63),
                "joint_sigma_m": hand.joint_sigma_m,
                "confidence": hand.confidence,
            }
            session_store.write_trajectory(folder / f"{name}.parquet", hand.poses, extra)
        first = next(iter(whole.devices.values()))
        if whole.bodies and first.map_points is not None:
            _write_map(folder, first)
        names = sorted(p.name for p in folder.iterdir())
    target = session.derived(take.id, STAGE)
    return TakeResult(take.id, whole.verdict, whole.causes, report, tuple(target / name for name in names))


def _recording(session: Session, take: Take) -> Recording:
    """What the take holds of the rig. Raises ReconstructionError when that is nothing to begin with."""
    rig = session.rig
    cameras: dict[str, str] = {}
    missing: dict[str, Cause] = {}
    heads = [c for c in _HEAD_CAMERAS if c in rig.cameras]
    for device, wanted in (("head", heads), *((side, [side]) for side in _SIDES if side in rig.cameras)):
        recorded = [c for c in wanted if c in take.cameras]
        if recorded and rig.cameras[recorded[0]].device in take.devices:
            cameras[rig.cameras[recorded[0]].device] = recorded[0]
        elif recorded:
            missing[device] = Cause("imu_slow", measured=0.0, limit=VerdictParams().min_imu_rate_hz)
        elif device in take.devices and wanted:
            missing[device] = Cause("no_pictures", measured=0.0, limit=float(VerdictParams().min_pictures))
    if not cameras:
        raise _nothing_to_follow(session, take, missing)
    return Recording(
        rig,
        cameras,
        take.cameras,
        take.camera_stamps,
        lambda camera: _of_size(take.frames(camera), rig.cameras[camera], session.path),
        take.imu,
        take.jaw,
        missing,
        lambda camera: _of_size(take.frames(camera, grey=False), rig.cameras[camera], session.path),
    )


def _nothing_to_follow(session: Session, take: Take, missing: Mapping[str, Cause]) -> ReconstructionError:
    device = next((device for device, cause in missing.items() if cause.code == "imu_slow"), None)
    if device is not None:
        return ReconstructionError(
            f"take {take.id} holds no motion-sensor samples of device {device!r}",
            where=session.path,
            mend="record or import it again with the IMU connected",
        )
    return ReconstructionError(
        f"take {take.id} has no camera that the rig knows "
        f"(recorded: {', '.join(take.cameras) or 'none'}; in rig.json: {', '.join(session.rig.cameras) or 'none'})",
        where=session.path,
        mend="give the calibration of the recorded camera with --rig",
    )


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


def _report(
    session: Session, take: Take, recording: Recording, params: ReconstructParams, whole: Whole
) -> dict[str, Any]:
    results = whole.devices
    first = next(iter(results.values()))
    cameras = recording.cameras
    unknown: tuple[float | None, float | None] = (None, None)
    known = {name: body.rel_sigma_1s for name, body in whole.bodies.items()}
    known = known or {result.body: unknown for result in results.values()}
    return {
        "stage": STAGE,
        "take": take.id,
        "verdict": whole.verdict,
        "causes": [c.as_dict() for c in whole.causes],
        "spans_ok_s": [list(span) for span in whole.spans_ok_s],
        "time_offset_s": {cameras[device]: r.time_offset_s for device, r in results.items()},
        "time_offset_sigma_s": {cameras[device]: r.time_offset_sigma_s for device, r in results.items()},
        "rel_sigma_1s": {body: sigma[0] for body, sigma in known.items()},
        "rel_rotation_sigma_1s": {body: sigma[1] for body, sigma in known.items()},
        "numbers": first.judgement.numbers,
        "bodies": {
            result.body: {
                "verdict": of_body.verdict,
                "spans_ok_s": [list(span) for span in of_body.spans_ok_s],
                "numbers": {**result.judgement.numbers, **whole.numbers.get(result.body, {})},
            }
            for result in results.values()
            for of_body in (whole.bodies.get(result.body, result.judgement),)
        }
        | {name: {"numbers": dict(hand.numbers)} for name, hand in whole.hands.items()},
        "undecodable_pictures": sum(len(take.undecodable(camera)) for camera in cameras.values()),
        "damage": [asdict(d) for d in take.damage],
        "inputs_sha256": take.raw_sha256(),
        "rig": {
            "rig_id": session.rig.rig_id,
            "camera": next(iter(cameras.values())),
            "cameras": dict(cameras),
            "provenance": dict(session.rig.provenance),
        },
        "parameters": asdict(params),
        "versions": {"handcap": handcap.__version__, **{name: version(name) for name in _VERSIONED}},
    }


def _write_timing(folder: Path, whole: Whole) -> None:
    total = sum(whole.seconds.values())
    length = next(iter(whole.devices.values())).judgement.numbers.get("length_s") or None
    timing = {
        "seconds": {name: round(s, 3) for name, s in whole.seconds.items()},
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
