"""`calibrate gripper`: a take of jaws on gauge blocks becomes one part per side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from handcap import session as sessions
from handcap.calibrate.gripper.figures import (
    Figures,
    Known,
    Moving,
    compare_moving,
    figures_by_encoder,
    figures_by_tags,
)
from handcap.calibrate.gripper.judged import JudgeParams, judge_jaws, largest_repeat_m, tag_size
from handcap.calibrate.gripper.measurement import (
    By,
    GaugedJaws,
    GripperParams,
    measure_jaws,
    nominal_metres_per_rad,
)
from handcap.calibrate.gripper.model import Drawn, Unknowns
from handcap.calibrate.gripper.page import page_of
from handcap.calibrate.gripper.record import JawRecord, read_jaws
from handcap.calibrate.gripper.solve import sigma_of, tcp_covariance
from handcap.calibrate.part import Part, write_part
from handcap.causes import Cause, Language
from handcap.clock import seconds
from handcap.errors import CalibrationError
from handcap.geometry import Array
from handcap.measure.fingers import finger_tags
from handcap.session import Session, Take
from handcap.types import Gripper, Rig, Side, Tag

OnProgress = Callable[[str, float], None]
_DOUBTED = 2.0  # sigmas from nothing: a wave that small has no phase


@dataclass(frozen=True, slots=True)
class StageParams:
    """All of it."""

    gripper: GripperParams = field(default_factory=GripperParams)
    judge: JudgeParams = field(default_factory=JudgeParams)


@dataclass(frozen=True, eq=False, slots=True)
class GripperResult:
    """One side's part, and where it was written."""

    part: Part
    outputs: tuple[Path, Path]


def calibrate_gripper(
    path: Path,
    gauges_m: Sequence[float],
    *,
    side: Side | None = None,
    rig_path: Path | None = None,
    take_id: str | None = None,
    by: By = "both",
    out: Path | None = None,
    params: StageParams | None = None,
    lang: Language = "en",
    on_progress: OnProgress = lambda what, share: None,
) -> list[GripperResult]:
    """Calibrate the jaws of one gripper or of all, and write a part and a page for each.

    Args:
        path: session folder.
        gauges_m: widths of the gauge blocks in the order in which the jaws closed on them; then back.
        side: one gripper instead of all that the rig has.
        rig_path: drawing and calibrated lens, instead of the session's own rig.json.
        take_id: by default the last one.
        by: by finger tags, by the encoder, or by whichever of them the gripper has.
        out: folder for the parts; by default derived/<take>/calibrate.

    Raises:
        CalibrationError: there is no such gripper, or a width that is none.
    """
    params = params or StageParams()
    _check(gauges_m)
    session = sessions.read(path, rig_path)
    sides = _sides(session, side)
    take = session.take(take_id or (session.takes or ("0001",))[-1])
    folder = session.derived(take.id, "calibrate") if out is None else out
    inputs = {**take.raw_sha256(), "rig.json": _sha256(rig_path or session.path / "rig.json")}
    results: list[GripperResult] = []
    for each in sides:
        record = read_jaws(take, session.rig, each, on_progress)
        on_progress(f"Calibrating ({each})", 1.0)
        part, measured = _part(session, take, each, record, gauges_m, by, params, inputs)
        results.append(GripperResult(part, write_part(folder, part, page_of(part, measured, lang))))
    return results


def _check(gauges_m: Sequence[float]) -> None:
    if not gauges_m or not all(np.isfinite(width) and 0 <= width < 1 for width in gauges_m):
        raise CalibrationError(
            f"no list of widths: {', '.join(f'{1e3 * width:g}' for width in gauges_m) or 'nothing'} mm",
            mend="give the gauges in millimetres, in the order they were taken in: --gauges 10,20,30",
        )


def _sides(session: Session, side: Side | None) -> list[Side]:
    known: list[Side] = [name for name in ("left", "right") if name in session.rig.grippers]
    if side is not None and side not in known:
        raise CalibrationError(
            f"no {side} gripper in the rig (grippers: {', '.join(known) or 'none'})",
            where=session.path,
            mend="name one of these, or give the rig.json that belongs to this gripper with --rig",
        )
    if not known:
        raise CalibrationError("no gripper in the rig", where=session.path, mend="give its drawing with --rig")
    return [side] if side is not None else known


def drawn_of(rig: Rig, side: Side) -> tuple[Drawn, bool]:
    """What a rig knows of a gripper, and whether the sign of its encoder is known."""
    gripper, camera = rig.grippers[side], rig.cameras.get(side)
    metres_per_rad, sign_known = nominal_metres_per_rad(gripper.encoder)
    tags = finger_tags(gripper.tags)
    if camera is None or gripper.T_cam_tcp is None or not tags:
        # Without a lens, or without a drawing of where the tool is, tags tell nothing.
        return Drawn(None, None, None, (), metres_per_rad), sign_known
    return Drawn(camera.camera, camera.sigma, gripper.T_cam_tcp, tags, metres_per_rad), sign_known


def _part(
    session: Session,
    take: Take,
    side: Side,
    record: JawRecord,
    gauges_m: Sequence[float],
    by: By,
    params: StageParams,
    inputs: Mapping[str, str],
) -> tuple[Part, tuple[GaugedJaws, Mapping[str, Figures]] | None]:
    drawn, sign_known = drawn_of(session.rig, side)
    if not drawn.tags and record.health.sent == 0:
        raise CalibrationError(
            f"nothing to calibrate on the {side} gripper: the rig has no finger tags with T_cam_tcp, and the take no "
            "readings of an encoder",
            where=session.path,
            mend="give a rig.json with the gripper's drawing (tags, T_cam_tcp) with --rig, or plug in its encoder",
        )
    measured = measure_jaws(record, drawn, gauges_m, by, params.gripper, sign_known)
    body = f"{side}_tcp"
    part = Part(
        "gripper",
        side,
        "refused",
        details={
            "looks": len(record.sights),
            "pictures": len(record.picture_t_ns),
            "encoder": asdict(record.health),
        },
        uid=session.rig.devices[side].uid if side in session.rig.devices else None,
        created=session.meta.created,
        params={**asdict(params), "gauges_m": list(gauges_m), "by": by, "take": take.id},
        inputs=inputs,
    )
    if isinstance(measured, Cause):
        return replace(part, causes=[replace(measured, body=body)]), None
    figures = {
        name: found
        for name, found in (("tags", figures_by_tags(measured)), ("encoder", figures_by_encoder(measured)))
        if found is not None
    }
    verdict, causes = judge_jaws(measured, list(figures.values()), params.judge)
    values, sigma = _values(measured, session.rig.grippers[side], figures.get("encoder"))
    first_ns = int(record.picture_t_ns[0]) if len(record.picture_t_ns) else int(record.readings.t_ns[0])
    details = _details(measured, figures, compare_moving(record, measured), first_ns)
    part = replace(
        part,
        verdict=verdict,
        causes=[replace(cause, body=body) for cause in causes],
        values=values,
        sigma=sigma,
        details={**part.details, **details},
    )
    return part, (measured, figures)


def _values(jaws: GaugedJaws, gripper: Gripper, by_encoder: Figures | None) -> tuple[dict[str, Any], dict[str, Any]]:
    fit, model = jaws.fit, jaws.model
    found = {(tag.family, tag.id): tag for tag in fit.tags}
    values: dict[str, Any] = {
        "T_cam_tcp": fit.T_cam_tcp,
        "encoder": None
        if fit.encoder is None
        else asdict(fit.encoder) | {"noise_rad": jaws.noise_rad, "opening_sigma_m": _opening_sigma_m(by_encoder)},
        "tags": [_told(found.get((tag.family, tag.id), tag)) for tag in gripper.tags],
    }
    sd = np.sqrt(np.diag(fit.cov))
    glue = np.repeat([model.params.tag_rad, model.params.tag_m], 3)
    place = {(tag.family, tag.id): _pose_sigma(sd[6 + 6 * k : 12 + 6 * k] * glue) for k, tag in enumerate(fit.tags)}
    sigma: dict[str, Any] = {
        "T_cam_tcp": None if fit.T_cam_tcp is None else _pose_sigma(np.sqrt(np.diag(tcp_covariance(model, fit)[0]))),
        "encoder": _encoder_sigma(jaws) if fit.encoder is not None else None,
        "tags": [place.get((tag.family, tag.id)) for tag in gripper.tags],
    }
    return values, sigma


def _told(tag: Tag) -> dict[str, Any]:
    return {
        "family": tag.family,
        "id": tag.id,
        "size_m": tag.size_m,
        "body": tag.body,
        "T_body_tag": tag.T_body_tag,
    }


def _pose_sigma(sd: Array) -> dict[str, Array]:
    return {"rotation_rad": sd[:3], "position_m": sd[3:]}


def encoder_numbers(jaws: GaugedJaws, at: Unknowns) -> Array:
    """metres_per_rad, zero_rad (not wrapped), eccentricity_rad, eccentricity_phase_rad (around what was found)."""
    slope, zero, sine, cosine = at.encoder.tolist()
    model = jaws.model
    wave = model.params.eccentricity_rad * complex(sine, -cosine)
    assert jaws.fit.encoder is not None
    turned = wave * np.exp(-1j * jaws.fit.encoder.eccentricity_phase_rad)
    metres = model.drawn.metres_per_rad / (1 + model.params.slope * slope)
    return np.array([metres, zero, abs(wave), np.angle(turned)])


def _opening_sigma_m(figures: Figures | None) -> float | None:
    """Of an opening in use: what the parameters leave, and how far the gauges stay off the fitted curve."""
    if figures is None or not np.isfinite(figures.sigma_m).any():
        return None
    return float(np.hypot(np.nanmax(figures.sigma_m), np.nan_to_num(figures.linearity_m.value)))


def _encoder_sigma(jaws: GaugedJaws) -> dict[str, float | None]:
    metres, zero, wave, phase = sigma_of(jaws.fit, lambda at: encoder_numbers(jaws, at)).tolist()
    assert jaws.fit.encoder is not None
    known = jaws.fit.encoder.eccentricity_rad > _DOUBTED * wave
    return {
        "metres_per_rad": metres,
        "zero_rad": zero,
        "eccentricity_rad": wave,
        "eccentricity_phase_rad": phase if known else None,
        "noise_rad": jaws.noise_sigma_rad,
    }


def _details(jaws: GaugedJaws, figures: Mapping[str, Figures], moving: Moving | None, first_ns: int) -> dict[str, Any]:
    fit, model = jaws.fit, jaws.model
    size, size_sigma = tag_size(jaws)
    tagged = model.by_tags
    encoder = 12 + 6 * len(fit.tags)
    return {
        "holds": [
            {
                "start_s": float(seconds(jaws.holds.start_ns[k], first_ns)),
                "end_s": float(seconds(jaws.holds.end_ns[k], first_ns)),
                "gauge_m": jaws.held.gauge_m[k],
                "going_back": bool(jaws.going_back[k]),
                "by_tags_m": jaws.by_tags_m[k],
                "by_encoder_m": jaws.by_encoder_m[k],
                "angle_rad": jaws.held.angle_rad[k],
            }
            for k in range(len(jaws.holds))
        ],
        "by": {name: _instrument(each) for name, each in figures.items()},
        "repeat_m": {
            name: largest_repeat_m(jaws.held.gauge_m, width)
            for name, width in (("tags", jaws.by_tags_m), ("encoder", jaws.by_encoder_m))
            if name in figures
        },
        "moving": None
        if moving is None
        else {
            "backlash_m": _known(moving.backlash_m),
            "camera_late_s": _known(moving.late_s),
            "pictures": moving.pictures,
        },
        "tag_size": _known(Known(size, size_sigma)) if tagged else None,
        "fingers_uneven": _uneven(jaws) if tagged else None,
        "T_cam_tcp_learned": _learned(jaws) if tagged else None,
        "T_cam_tcp_covariance": tcp_covariance(model, fit)[0] if tagged else None,
        "encoder_covariance": fit.cov[encoder : encoder + 4, encoder : encoder + 4] if model.by_encoder else None,
        "corner_rms_px": fit.corner_rms_px,
        "angle_rms_rad": fit.angle_rms_rad,
        "worse_than_stated": asdict(fit.worse),
    }


def _uneven(jaws: GaugedJaws) -> dict[str, float]:
    sigma = sigma_of(jaws.fit, lambda at: np.array([jaws.model.uneven(at)]))
    return _known(Known(jaws.model.uneven(jaws.fit.unknowns), float(sigma[0])))


def _learned(jaws: GaugedJaws) -> dict[str, Array]:
    """Of the variance in each axis of the tool: 0 where the drawing alone tells it, 1 where this take alone does."""
    found, drawn = (np.diag(cov) for cov in tcp_covariance(jaws.model, jaws.fit))
    share = np.clip(1 - found / drawn, 0.0, 1.0)
    return {"rotation": share[:3], "position": share[3:]}


def _known(number: Known) -> dict[str, float]:
    return {"value": number.value, "sigma": number.sigma}


def _instrument(figures: Figures) -> dict[str, Any]:
    return {
        "opening_m": figures.opening_m,
        "sigma_m": figures.sigma_m,
        "raw_line_m": _known(figures.line_m),
        "linearity_m": _known(figures.linearity_m),
        "hysteresis_m": _known(figures.hysteresis_m),
        "left_out_m": figures.left_out_m,
    }


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
