"""`calibrate camera-imu`: a session's take before a board becomes a part and a page for every camera."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from handcap import session as session_store
from handcap.boards import Board, BoardViews
from handcap.calibrate.camera_imu.estimate import CameraImu, CameraImuParams, Lens, calibrate_mounts
from handcap.calibrate.camera_imu.known import corrected, lens_of, lens_parts
from handcap.calibrate.camera_imu.report import compared, page
from handcap.calibrate.camera_imu.watch import Watched, WatchParams, watch
from handcap.calibrate.clash import require_own_markers
from handcap.calibrate.part import Part, read_part, write_part
from handcap.causes import Cause, Language
from handcap.errors import CalibrationError, UsageError
from handcap.geometry import GRAVITY_M_S2, inverse
from handcap.session import Session, Take
from handcap.types import ImuModel, ImuSamples, Rig

OnProgress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class StepParams:
    """Of the whole step."""

    watch: WatchParams = field(default_factory=WatchParams)
    estimate: CameraImuParams = field(default_factory=CameraImuParams)


@dataclass(frozen=True, eq=False, slots=True)
class StepResult:
    """A part and where it was written."""

    part: Part
    outputs: tuple[Path, Path]


def run(
    session_path: Path,
    board: Board,
    *,
    cameras: Sequence[str] = (),
    take_id: str | None = None,
    rig_path: Path | None = None,
    lens_paths: Sequence[Path] = (),
    imu_path: Path | None = None,
    out: Path | None = None,
    params: StepParams = StepParams(),
    lang: Language = "en",
    on_progress: OnProgress = lambda what, share: None,
) -> list[StepResult]:
    """Where cameras sit on their devices, from one take; those of one device are solved together.

    Args:
        session_path: folder of a session.
        board: that the take shows, its true size; it was at rest.
        cameras: names; all of the take by default.
        take_id: which take; may be left out where there is one.
        rig_path: instead of the session's rig.json: lenses, and mounts as drawn.
        lens_paths: parts of `calibrate camera` that replace lenses of the rig.
        imu_path: part of `calibrate imu` that corrects the samples; it belongs to the one device asked for.
        out: folder for parts and pages; by default derived/<take>/calibrate of the session.
        params: of all steps.
        lang: of the pages.
        on_progress: called with what is done and a share.

    Raises:
        CalibrationError, SessionError, RigError, UsageError: nothing can be tried.
    """
    session = session_store.read(session_path, rig_path)
    take = session.take(_only(session, take_id))
    names = _cameras(session.rig, take, cameras)
    require_own_markers(board, session.rig, names)
    parts = lens_parts(lens_paths)
    sensor = None if imu_path is None else read_part(imu_path)
    devices = list(dict.fromkeys(session.rig.cameras[name].device for name in names))
    if imu_path is not None and len(devices) > 1:
        raise UsageError("one --imu for several devices", mend="calibrate one device at a time: name its cameras")
    inputs = _inputs(
        session, take, rig_path, [*(path for path, _ in parts.values()), *([imu_path] if imu_path else [])]
    )
    folder = out or session.derived(take.id, "calibrate")
    results: list[StepResult] = []
    for device in devices:
        own = [name for name in names if session.rig.cameras[name].device == device]
        lenses = {name: lens_of(session.rig.cameras[name], *parts.get(name, (None, None))) for name in own}
        watched: dict[str, Watched] = {}
        for name in own:

            def seen(share: float, name: str = name) -> None:
                on_progress(f"Looking for the board ({name})", share)

            watched[name] = watch(take, name, lenses[name].mount.camera, board, params.watch, seen)
        on_progress(f"Solving ({device})", 0.0)
        known = session.rig.devices[device]
        if sensor is None:
            samples, model = take.imu(device), known.imu
        else:
            recorded = take.imu(device, as_recorded=True)
            samples, model = corrected(recorded, known.R_imu_chip, known.imu, sensor, str(imu_path))
        found = _estimated(board, watched, lenses, samples, model, params)
        on_progress(f"Solving ({device})", 1.0)
        for name in own:
            part = _part(session, device, name, found, lenses[name], board, watched[name].views, inputs, params)
            outputs = write_part(folder, part, page(part, found, name, lang))
            results.append(StepResult(part, outputs))
    return results


def _only(session: Session, take_id: str | None) -> str:
    if take_id is not None:
        return take_id
    if len(session.takes) != 1:
        known = ", ".join(session.takes) or "none"
        raise UsageError(f"which take? (takes: {known})", mend="name one with --take")
    return session.takes[0]


def _cameras(rig: Rig, take: Take, wanted: Sequence[str]) -> list[str]:
    known = [name for name in rig.cameras if name in take.cameras]
    for name in wanted:
        if name not in known:
            raise CalibrationError(
                f"no camera {name!r} with pictures in this take (cameras: {', '.join(known) or 'none'})",
                where=f"take {take.id}",
                mend="name one of these cameras",
            )
    if not known:
        raise CalibrationError("no pictures in this take", where=f"take {take.id}", mend="record before a board")
    return [name for name in known if not wanted or name in wanted]


def _inputs(session: Session, take: Take, rig_path: Path | None, others: Sequence[Path]) -> dict[str, str]:
    files = {"rig.json" if rig_path is None else rig_path.name: rig_path or session.path / "rig.json"}
    files |= {path.name: path for path in others}
    return take.raw_sha256() | {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def _estimated(
    board: Board,
    watched: dict[str, Watched],
    lenses: dict[str, Lens],
    samples: ImuSamples,
    model: ImuModel,
    params: StepParams,
) -> CameraImu:
    views = {name: each.views for name, each in watched.items()}
    found = calibrate_mounts(board, views, lenses, samples, model, params.estimate)
    mirrored = [
        Cause("pictures_mirrored", name, None, float(each.mirrored), float(each.flipped))
        for name, each in watched.items()
        if each.flipped and each.mirrored > each.flipped / 2
    ]
    # A board that is found in the flipped pictures alone is why it was seldom seen.
    return replace(found, verdict="refused", causes=mirrored) if mirrored else found


def _part(
    session: Session,
    device: str,
    camera: str,
    found: CameraImu,
    lens: Lens,
    board: Board,
    views: BoardViews,
    inputs: dict[str, str],
    params: StepParams,
) -> Part:
    mount = found.mounts.get(camera)
    values: dict[str, Any] = {"device": device, "T_imu_cam": None, "dt_imu_cam_s": None, "line_delay_s": None}
    sigma: dict[str, Any] = {"rotation_rad": None, "position_m": None, "dt_imu_cam_s": None, "line_delay_s": None}
    details: dict[str, Any] = {
        "board": asdict(board) | {"kind": board.kind},
        "pictures": len(views.t_ns),
        "corners": len(views.ids),
        "excitation": {name: asdict(moved) for name, moved in found.moved.items()},
    }
    if mount is not None:
        s = mount.sigma
        values |= {
            "T_imu_cam": mount.T_imu_cam,
            "dt_imu_cam_s": mount.dt_imu_cam_s,
            "line_delay_s": mount.line_delay_s,
        }
        sigma = {
            "rotation_rad": s[:3],
            "position_m": s[3:6],
            "dt_imu_cam_s": s[6],
            "line_delay_s": s[7] if mount.line_delay_s else None,
        }
        details["covariance"] = mount.cov
        details["against_rig"] = compared(mount, lens.mount)
    if found.fit is not None:
        details |= _of_the_fit(found, camera)
    return Part(
        "camera-imu",
        camera,
        found.verdict,
        found.causes,
        values,
        sigma,
        details,
        session.rig.devices[device].uid or session.meta.device_uids.get(device),
        session.meta.created,
        {},
        asdict(params),
        inputs,
    )


def _of_the_fit(found: CameraImu, camera: str) -> dict[str, Any]:
    fit = found.fit
    assert fit is not None
    state, sigmas = fit.state, fit.problem.sigmas
    scale = fit.problem.layout(state).scale
    others = {name: mount for name, mount in found.mounts.items() if name != camera}
    return {
        "gravity_m_s2": float(np.linalg.norm(state.gravity_board)),
        "gravity_share": float(np.linalg.norm(state.gravity_board)) / GRAVITY_M_S2,
        "board_scale": state.scale,
        "board_scale_sigma": float(np.sqrt(fit.covariance[scale, scale])),
        "gyro_bias_rad_s": state.gyro_bias,
        "accel_bias_m_s2": state.accel_bias,
        "noise": {"gyro_rad_s": sigmas.gyro, "accel_m_s2": sigmas.accel, "corner_px": sigmas.corner},
        "lens_z": {c.name: m.lens_z for c, m in zip(fit.problem.cameras, state.mounts, strict=True)},
        "inflation": fit.inflation,
        "rounds": fit.rounds,
        "T_cam_others": {
            name: inverse(found.mounts[camera].T_imu_cam) @ other.T_imu_cam for name, other in others.items()
        },
    }
