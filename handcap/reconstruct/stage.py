"""Sessions in, `derived/<take>/reconstruct/` out."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import handcap
from handcap import models
from handcap import session as session_store
from handcap.causes import Cause, Verdict
from handcap.child import Nursery
from handcap.errors import HandcapError, ModelError, ReconstructionError, SessionError
from handcap.geometry import Array
from handcap.reconstruct.apart import Job, SolvedStretch, cores, solve_apart, solve_stretches
from handcap.reconstruct.contact import guess_contact
from handcap.reconstruct.hands.worn import worn_bones
from handcap.reconstruct.jaw import JawWidth
from handcap.reconstruct.long_take import reconstruct_long
from handcap.reconstruct.map_file import write_map_ply, write_planes_ply
from handcap.reconstruct.recorded import recorded, with_doubts
from handcap.reconstruct.result import Progress, Reconstruction, ReconstructParams, field_params
from handcap.reconstruct.rig_take import Recording, Whole, device_of
from handcap.reconstruct.session_map import ROOM_FILE, STAGE, write_room
from handcap.reconstruct.session_report import in_session_report
from handcap.reconstruct.stretches import Stretch, stretches
from handcap.reconstruct.surroundings import surroundings
from handcap.reconstruct.whole import reconstruct_whole
from handcap.session import Session, Take
from handcap.session.folder import misnamed
from handcap.session.stage_output import REPORT
from handcap.types import Trajectory

log = logging.getLogger(__name__)

FIELD_STAGE = "field"
_VERSIONED = ("gtsam", "pycolmap", "opencv-contrib-python", "numpy", "scipy", "open3d")


@dataclass(frozen=True, eq=False, slots=True)
class TakeResult:
    """What became of one take.

    Attributes:
        take: its id.
        verdict, causes: as in the report.
        report: report.json as written; of a take that could not be tried, the one cause may be in English alone.
        outputs: files written.
        error: why it could not even be tried, None where it was.
    """

    take: str
    verdict: Verdict
    causes: tuple[Cause, ...]
    report: Mapping[str, Any]
    outputs: tuple[Path, ...]
    error: HandcapError | None = None


def run_session(
    path: Path,
    rig_path: Path | None = None,
    take: str | None = None,
    on_progress: Progress = lambda what, share: None,
    params: ReconstructParams | None = None,
    field: bool = False,
    hands: bool | None = None,
    nursery: Nursery | None = None,
) -> list[TakeResult]:
    """Reconstruct one take, or all, and write the results beside the recording.

    Of several takes one that cannot be tried is refused and says why; the others are solved all the same. What an
    earlier run left of a take does not outlive a run that fails, unless that is interrupted.

    Args:
        path: session folder.
        rig_path: a rig.json to use instead of the session's own.
        take: id, or None for all.
        field: a quick pass instead, that foretells the verdict; it writes its report to a folder of its own, and no
            trajectories.
        hands: also look for bare hands, not in a field pass; by default where the rig is made for them, two head
            cameras and a side without a gripper, and the networks' weights are there.
        nursery: of the first take's processes, see `helpers.nursery_ahead`.

    Raises:
        ModelError: hands are wanted, and the weights of the network that finds them are not there.
        SessionError: the session or the take cannot be read.
        RigError: the calibration is missing or wrong; of a single take also that it does not fit the pictures.
        ReconstructionError: there is no take, or the only one lacks the camera or the IMU.
    """
    session = session_store.read(path, rig_path)
    takes = (take,) if take is not None else _takes(session)
    params = params or (field_params() if field else ReconstructParams())
    if hands:
        assert not field
        models.path(models.HAND_LANDMARKER)  # said before the take is solved, not after
    elif hands is None and not field and session.rig.bare_sides:
        try:
            models.path(models.HAND_LANDMARKER)
            hands = True
        except ModelError as error:
            log.warning("bare hands are not looked for: the weights are %s; %s", error.what, error.mend)
    if hands:
        params = replace(params, hands=replace(params.hands, on=True))
    results = []
    for k, id in enumerate(takes):
        prefix = f"take {id}: " if len(takes) > 1 else ""

        def report_progress(what: str, share: float, prefix: str = prefix, k: int = k) -> None:
            on_progress(prefix + what, (k + share) / len(takes))

        one, stage, ready = session.take(id), FIELD_STAGE if field else STAGE, nursery if k == 0 else None
        try:
            session_store.require_place(session, id, stage)
            results.append(_run_take(session, rig_path, one, params, stage, report_progress, ready))
        except Exception as error:
            _withdraw(session, id, stage)
            if not isinstance(error, HandcapError):
                raise
            results.append(_not_tried(session, id, stage, error))
            if len(takes) == 1:
                if error.where == str(path) and f"take {id}" not in error.what:
                    error.where = f"{path}, take {id}"
                raise
    on_progress("done", 1.0)
    return results


def _takes(session: Session) -> tuple[str, ...]:
    """All of the session; at least one. Raises ReconstructionError."""
    where = session.path
    if not session.takes and session.erased:
        raise ReconstructionError("every take was erased", where=where, mend="record again")
    skipped = ", ".join(repr(name) for name in misnamed(where))
    allowed = "a take's folder is named with lower-case letters, digits and underscores, at most 64 of them"
    if not session.takes and skipped:
        what = f"the session holds no take: raw/ has {skipped}, but {allowed}"
        raise ReconstructionError(what, where=where, mend="rename the folder, to 0001 say, then try again")
    if not session.takes:
        raise ReconstructionError("the session holds no take", where=where, mend="record or import one first")
    if skipped:
        log.warning("skipped under raw/: %s; %s", skipped, allowed)
    return session.takes


def _withdraw(session: Session, take_id: str, stage: str) -> None:
    try:
        session_store.remove_stage(session, take_id, stage)
    except SessionError as error:
        log.warning("what an earlier run found of take %s stays, and is old: %s", take_id, error)


def _not_tried(session: Session, take_id: str, stage: str, error: HandcapError) -> TakeResult:
    """What is left of a take that cannot be tried: a report that refuses it."""
    cause = error.cause if isinstance(error, ReconstructionError) else None
    within = error.where is not None and session.path in Path(error.where).parents
    text = f"{Path(str(error.where)).relative_to(session.path).as_posix()}: {error.what}" if within else error.what
    told = {"code": "not_tried", "text": text, "mend": error.mend} if cause is None else cause.as_dict()
    report = {
        "stage": stage,
        "take": take_id,
        "verdict": "refused",
        "causes": [told],
        "spans_ok_s": [],
        "rig": {"rig_id": session.rig.rig_id},
        "versions": {"handcap": handcap.__version__},
    }
    written: tuple[Path, ...] = ()
    try:
        with session_store.write_stage(session, take_id, stage) as folder:
            session_store.write_report(folder, report)
        written = (session.derived(take_id, stage) / REPORT,)
    except SessionError as unwritten:
        log.info("nothing could be written about take %s: %s", take_id, unwritten)
    return TakeResult(take_id, "refused", () if cause is None else (cause,), report, written, error)


def _run_take(
    session: Session,
    rig_path: Path | None,
    take: Take,
    params: ReconstructParams,
    stage: str,
    on_progress: Progress,
    nursery: Nursery | None,
) -> TakeResult:
    recording = recorded(session, take, params.every, params.share)
    if params.hands.on and recording.earlier is not None:
        recording = replace(recording, worn=worn_bones(recording.earlier.reports))
    start = time.perf_counter()
    followed = recording.stamps(next(iter(recording.cameras.values())))
    where = stretches(followed, params.stretches, len(recording.cameras))
    undecodable: dict[str, int] = {}
    if len(where) > 1:

        def solve(some: Sequence[Stretch], on_progress: Progress) -> list[SolvedStretch]:
            jobs = [Job(session.path, rig_path, take.id, each, params, recording.worn) for each in some]
            return solve_stretches(jobs, on_progress)

        whole, bad = reconstruct_long(recording, where, solve, params, on_progress)
        undecodable.update({camera: len(stamps) for camera, stamps in bad.items()})
    else:

        def apart(on_progress: Progress) -> dict[str, Reconstruction]:
            jobs = [Job(session.path, rig_path, take.id, device, params) for device in recording.cameras]
            solved = dict(zip(recording.cameras, solve_apart(jobs, on_progress, nursery), strict=True))
            undecodable.update({recording.cameras[device]: each.undecodable for device, each in solved.items()})
            return {device: each.result for device, each in solved.items()}

        several = len(recording.cameras) > 1 and cores() > 1
        whole = reconstruct_whole(recording, params, on_progress, apart if several else None)
    for camera in recording.cameras.values():
        undecodable[camera] = max(undecodable.get(camera, 0), len(take.undecodable(camera)))
    whole = with_doubts(whole, recording, take, undecodable)
    took_s = time.perf_counter() - start
    room = surroundings(recording, whole, params)
    report = _report(stage, session, take, recording, params, whole, sum(undecodable.values())) | room.as_report()
    report |= in_session_report(take.id, recording, whole, params)
    ties = {camera: timed.match.as_dict() for camera, timed in recording.timed.items() if timed.match is not None}
    report |= {"pulse_matches": ties} if ties else {}
    with session_store.write_stage(session, take.id, stage) as folder:
        session_store.write_report(folder, report)
        _write_timing(folder, whole, took_s)
        for name, body in whole.bodies.items() if stage == STAGE else ():
            extra = {} if body.jaw is None else _jaw_columns(body.jaw)
            session_store.write_trajectory(folder / f"{name}.parquet", _as_recorded(recording, body.poses), extra)
            session_store.write_trajectory(folder / f"{name}_imu.parquet", body.dense)
        for name, hand in whole.hands.items():
            extra = {
                "joints_world": hand.joints_world.reshape(-1, 63),
                "joint_sigma_m": hand.joint_sigma_m,
                "confidence": hand.confidence,
            }
            session_store.write_trajectory(folder / f"{name}.parquet", _as_recorded(recording, hand.poses), extra)
        first = next(iter(whole.devices.values()))
        if stage == STAGE and whole.bodies and first.map_points is not None:
            _write_map(folder, first, recording)
            if first.room is not None:
                write_room(folder / ROOM_FILE, first.room, first.body)
            write_map_ply(folder / "map.ply", first.map_points.p_world)
            if room.planes:
                write_planes_ply(folder / "planes.ply", room.planes)
        names = sorted(p.name for p in folder.iterdir())
    target = session.derived(take.id, stage)
    return TakeResult(take.id, whole.verdict, whole.causes, report, tuple(target / name for name in names))


def _report(
    stage: str,
    session: Session,
    take: Take,
    recording: Recording,
    params: ReconstructParams,
    whole: Whole,
    undecodable: int,
) -> dict[str, Any]:
    results = whole.devices
    first = next(iter(results.values()))
    cameras = recording.cameras
    unknown: tuple[float | None, float | None] = (None, None)
    known = {name: body.rel_sigma_1s for name, body in whole.bodies.items()}
    known = known or {result.body: unknown for result in results.values()}
    return {
        "stage": stage,
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
        | _hands_report(whole),
        "worn_bones": None if recording.worn is None else recording.worn.as_dict(),
        "undecodable_pictures": undecodable,
        "late_pictures": {
            camera: {"pictures": count, "most_s": most_s}
            for camera in recording.timed
            for count, most_s in [take.late_pictures(camera)]
            if count
        },
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


def _hands_report(whole: Whole) -> dict[str, Any]:
    return {
        name: {
            "verdict": hand.verdict,
            "causes": [cause.as_dict() for cause in hand.causes],
            "spans_ok_s": [list(span) for span in hand.spans_ok_s],
            "numbers": dict(hand.numbers),
        }
        for name, hand in whole.hand_judgements.items()
    }


def _jaw_columns(jaw: JawWidth) -> dict[str, Array]:
    contact = guess_contact(jaw.width_m, jaw.sigma_m)
    return {"width_m": jaw.width_m, "width_sigma_m": jaw.sigma_m, "contact_guess": contact}


def _write_timing(folder: Path, whole: Whole, total: float) -> None:
    length = next(iter(whole.devices.values())).judgement.numbers.get("length_s") or None
    timing = {
        "seconds": {name: round(s, 3) for name, s in whole.seconds.items()},
        "total_s": round(total, 3),
        "seconds_per_second": None if length is None else round(total / length, 3),
        "machine": platform.machine(),
    }
    (folder / "timing.json").write_text(json.dumps(timing, indent=2) + "\n", encoding="utf-8")


def _as_recorded(recording: Recording, poses: Trajectory) -> Trajectory:
    """Rows whose `camera_t_ns` finds the picture on the disk."""
    device = device_of(poses.body)
    if device not in recording.cameras:
        return poses
    return replace(poses, camera_t_ns=recording.as_recorded(device, poses.camera_t_ns))


def _write_map(folder: Path, result: Reconstruction, recording: Recording) -> None:
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
                "camera_t_ns": recording.as_recorded(device_of(result.body), left.camera_t_ns),
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
