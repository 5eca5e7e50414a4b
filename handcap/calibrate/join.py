"""`calibrate rig`: the parts of one rig become its rig.json."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from handcap.calibrate.part import Part, Step, read_part
from handcap.calibrate.put import device_of, put, unknown_noise
from handcap.causes import Cause, Verdict
from handcap.clock import parse_utc, utc_text
from handcap.errors import CalibrationError
from handcap.geometry import Array, inverse, so3_log
from handcap.session.rig_file import parse_rig, rig_bytes
from handcap.types import Device, ImuModel, Rig

# A lens before its place, which was measured with it.
ORDER: tuple[Step, ...] = ("imu", "camera", "stereo", "camera-imu", "gripper")
PARTS = "parts"  # key of the provenance


@dataclass(frozen=True, slots=True)
class JoinParams:
    """What may go together.

    Attributes:
        valid_days: a rig is in force that long after its oldest part. Printed mounts creep and lenses loosen over a
            season; the daily check finds what happens sooner.
        most_apart_days: between the oldest part and the newest: beyond, nobody knows that they describe one state.
        disagree_sigmas: a stereo part and the places of both cameras may differ by so much; a chance of 1 in 10⁵ per
            axis, as intervals are honest to a third or so.
    """

    valid_days: float = 90.0
    most_apart_days: float = 60.0
    disagree_sigmas: float = 5.0


@dataclass(frozen=True, eq=False, slots=True)
class GivenPart:
    """A part and the file it came from.

    Attributes:
        part: as read.
        name: of the file, as messages call it.
        sha256: of the file.
    """

    part: Part
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Wishes:
    """What no part says.

    Attributes:
        rig_id: of the rig; the base's by default.
        assigned_to: alias of the only collector who should use it.
        serials: printed on lenses, cameras, grippers.
        nominal: stems of parts ("imu-head") for which the base's values will do.
    """

    rig_id: str | None = None
    assigned_to: str | None = None
    serials: Mapping[str, str] = field(default_factory=dict)
    nominal: Sequence[str] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Joined:
    """A rig, and what is to be said of it.

    Attributes:
        rig: with the parts' dates, uids, sigmas and hashes in its provenance.
        verdict: "partial" where a part is, or something had to be taken as given.
        causes: why; `body` names the part.
    """

    rig: Rig
    verdict: Verdict
    causes: tuple[Cause, ...]


@dataclass(frozen=True, slots=True)
class _Problem:
    what: str
    mend: str


def given_parts(paths: Sequence[Path]) -> list[GivenPart]:
    """Parts from files and from folders of them; the daily checks among them are passed over.

    Raises:
        CalibrationError: there is none, or one cannot be read.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files += sorted(path.glob("*.json")) if path.is_dir() else [path]
    found: list[GivenPart] = []
    for path in files:
        part = read_part(path)
        if part.step in ORDER:
            found.append(GivenPart(part, str(path), hashlib.sha256(path.read_bytes()).hexdigest()))
    if not found:
        where = ", ".join(str(path) for path in paths)
        raise CalibrationError("no parts of a calibration there", where=where, mend=command("camera"))
    return found


def command(step: Step) -> str:
    """What makes a part of that step."""
    verb = "camera" if step == "stereo" else step
    return f"run `handcap calibrate {verb}`"


def join(
    given: Sequence[GivenPart], base: Rig | None = None, wishes: Wishes | None = None, params: JoinParams | None = None
) -> Joined:
    """Everything known of one rig.

    Args:
        given: parts, in any order.
        base: the rig's drawing, or its earlier calibration: parts that are in its provenance and were not made again
            are taken over with their dates.
        wishes: what no part says.
        params: what may go together.

    Raises:
        CalibrationError: refused, contradictory, foreign, missing or too unlike parts; names all of a kind at once.
    """
    wishes, params = wishes or Wishes(), params or JoinParams()
    rig_id = wishes.rig_id or (base.rig_id if base is not None else None)
    if rig_id is None:
        raise CalibrationError("nobody says which rig this is", mend="give --rig-id, or --base with its drawing")
    chosen, causes = _one_of_each(given)
    kept = _kept(base, chosen)
    _refuse([*_foreign(chosen, base), *_stray(chosen, base)])
    _refuse(_missing(chosen, kept, base, wishes))
    dates = _dates(chosen, kept, params)
    causes += [Cause("part_undated", body=stem) for stem, date in dates.items() if date is None]
    rig = _skeleton(rig_id, base, chosen)
    provenance: dict[str, Any] = {key: value for key, value in rig.provenance.items() if key not in (PARTS, "created")}
    parts: dict[str, Any] = dict(kept)
    ordered = sorted(chosen.values(), key=lambda g: (ORDER.index(g.part.step), g.part.subject))
    for one in ordered:
        rig = put(rig, one.part)
        nominal = unknown_noise(one.part) if one.part.step == "imu" else ()
        causes += [Cause("part_nominal", body=one.part.stem)] if nominal else []
        parts[one.part.stem] = _provenance(one, nominal)
        causes += [replace(cause, body=cause.body or one.part.stem) for cause in one.part.causes]
        if one.part.step == "camera" and f"camera-imu-{one.part.subject}" in kept:
            causes.append(Cause("part_with_other_lens", body=f"camera-imu-{one.part.subject}"))
    _refuse(_disagreeing(chosen, rig, params))
    causes += [Cause("part_nominal", body=stem) for stem in sorted(set(wishes.nominal) - set(parts))]
    known = [date for date in dates.values() if date is not None]
    provenance |= {PARTS: dict(sorted(parts.items()))} | ({"created": utc_text(max(known))} if known else {})
    rig = replace(
        rig,
        provenance=provenance,
        valid_until=utc_text(min(known) + timedelta(days=params.valid_days)) if known else None,
        assigned_to=wishes.assigned_to if wishes.assigned_to is not None else rig.assigned_to,
        serials={**rig.serials, **wishes.serials},
    )
    parse_rig(rig_bytes(rig), Path("rig.json"))  # what could not be read back is not written
    return Joined(rig, "partial" if causes else "ok", tuple(causes))


def _refuse(problems: Sequence[_Problem]) -> None:
    if problems:
        mends = dict.fromkeys(problem.mend for problem in problems)
        raise CalibrationError("; ".join(problem.what for problem in problems), mend="; ".join(mends))


def _one_of_each(given: Sequence[GivenPart]) -> tuple[dict[str, GivenPart], list[Cause]]:
    """By stem; a refused part gives way to one that is not, and is told of."""
    by_stem: dict[str, list[GivenPart]] = {}
    for one in given:
        known = by_stem.setdefault(one.part.stem, [])
        known += [one] if all(one.sha256 != other.sha256 for other in known) else []
    chosen: dict[str, GivenPart] = {}
    problems: list[_Problem] = []
    causes: list[Cause] = []
    for stem, ones in by_stem.items():
        good = [one for one in ones if one.part.verdict != "refused"]
        if not good:
            why = next((cause.text() for cause in ones[0].part.causes), "no reason given")
            problems.append(_Problem(f"{ones[0].name} is refused: {why}", command(ones[0].part.step) + " again"))
        elif len(good) > 1:
            names = " and ".join(one.name for one in good)
            problems.append(_Problem(f"{len(good)} parts say {stem}: {names}", "give one of them"))
        else:
            chosen[stem] = good[0]
            causes += [Cause("part_left_out", body=stem)] if len(ones) > 1 else []
    _refuse(problems)
    return chosen, causes


def _kept(base: Rig | None, chosen: Mapping[str, GivenPart]) -> dict[str, Mapping[str, Any]]:
    """What an earlier calibration's provenance says of the parts that were not made again."""
    parts = {} if base is None else base.provenance.get(PARTS, {})
    if not isinstance(parts, Mapping):
        return {}
    return {stem: told for stem, told in parts.items() if stem not in chosen and isinstance(told, Mapping)}


def _foreign(chosen: Mapping[str, GivenPart], base: Rig | None) -> list[_Problem]:
    """Parts of other devices than the rest."""
    known: dict[str, tuple[str, str]] = {}  # device: uid, who says so
    for name, uid in ({} if base is None else base.uids).items():
        known[name] = uid, "the base"
    problems: list[_Problem] = []
    for stem, one in sorted(chosen.items()):
        device, uid = device_of(one.part, base), one.part.uid
        if uid is None:
            continue
        expected, who = known.setdefault(device, (uid, stem))
        if uid != expected:
            what = f"{one.name} is of {uid}, but {who} says that {device} is {expected}"
            problems.append(_Problem(what, "give parts of one rig only, or the base that belongs to them"))
    return problems


def _stray(chosen: Mapping[str, GivenPart], base: Rig | None) -> list[_Problem]:
    """Parts of what the rig does not have."""
    if base is None:
        return []
    problems: list[_Problem] = []
    for stem, one in sorted(chosen.items()):
        part = one.part
        has = base.devices if part.step == "imu" else base.grippers if part.step == "gripper" else base.cameras
        absent = [name for name in part.subject.split("+") if name not in has]
        if absent:
            what = f"{one.name}: the base has no {' and no '.join(absent)} ({', '.join(has) or 'none'})"
            problems.append(_Problem(what, f"leave {stem} out, or give the base that has it"))
    return problems


def _wanted(chosen: Mapping[str, GivenPart], base: Rig | None) -> dict[str, tuple[Step, str]]:
    """Every part that the rig needs, by stem: its step and subject."""
    if base is not None:
        devices, cameras, grippers = [*base.devices], [*base.cameras], [str(side) for side in base.grippers]
    else:
        of = {step: [g.part.subject for g in chosen.values() if g.part.step == step] for step in ORDER}
        cameras, grippers = sorted({*of["camera"], *of["camera-imu"]}), [*of["gripper"]]
        devices = sorted({device_of(g.part) for g in chosen.values()})
    of_device: list[tuple[Step, str]] = [("imu", device) for device in devices]
    of_camera: list[tuple[Step, str]] = [(step, c) for c in cameras for step in ("camera", "camera-imu")]
    of_gripper: list[tuple[Step, str]] = [("gripper", side) for side in grippers]
    return {f"{step}-{subject}": (step, subject) for step, subject in of_device + of_camera + of_gripper}


def _missing(
    chosen: Mapping[str, GivenPart], kept: Mapping[str, Any], base: Rig | None, wishes: Wishes
) -> list[_Problem]:
    wanted = _wanted(chosen, base)
    unknown = [stem for stem in wishes.nominal if stem not in wanted]
    if unknown:
        known = f"one of {', '.join(wanted)}"
        return [_Problem(f"no part {stem!r} that nominal values could stand for", known) for stem in unknown]
    if wishes.nominal and base is None:
        return [_Problem("nominal values, and no drawing that holds them", "give --base with the rig's drawing")]
    return [
        _Problem(f"no {step} part for {subject}", command(step))
        for stem, (step, subject) in wanted.items()
        if stem not in {*chosen, *kept, *wishes.nominal}
    ]


def _dates(
    chosen: Mapping[str, GivenPart], kept: Mapping[str, Mapping[str, Any]], params: JoinParams
) -> dict[str, datetime | None]:
    said = {stem: told.get("created") for stem, told in kept.items()}
    said |= {stem: one.part.created for stem, one in chosen.items()}
    dates = {stem: parse_utc(text) if isinstance(text, str) else None for stem, text in sorted(said.items())}
    known = {stem: date for stem, date in dates.items() if date is not None}
    if known:
        oldest, newest = min(known, key=lambda s: known[s]), max(known, key=lambda s: known[s])
        apart_days = (known[newest] - known[oldest]).total_seconds() / 86400
        if apart_days > params.most_apart_days:
            raise CalibrationError(
                f"{oldest} is of {known[oldest]:%Y-%m-%d}, {newest} of {known[newest]:%Y-%m-%d}: "
                f"{apart_days:.0f} days apart, at most {params.most_apart_days:g}",
                mend=f"{command(_step(oldest))} again for {oldest}",
            )
    return dates


def _step(stem: str) -> Step:
    steps: list[Step] = [step for step in ORDER if stem.startswith(f"{step}-")]
    return max(steps, key=len)


def _skeleton(rig_id: str, base: Rig | None, chosen: Mapping[str, GivenPart]) -> Rig:
    """What the parts are put into."""
    found: dict[str, str] = {}
    for one in chosen.values():
        if one.part.uid is not None:
            found[device_of(one.part, base)] = one.part.uid
    if base is None:
        # Chip axes are imu axes where no drawing says otherwise; every device gets its own noise in a moment.
        blank = ImuModel(1.0, 1.0, 1.0, 1.0, 1.0)
        names = sorted({device_of(one.part) for one in chosen.values()})
        return Rig(rig_id, {name: Device(blank, np.eye(3), found.get(name)) for name in names}, {})
    devices = {name: replace(device, uid=device.uid or found.get(name)) for name, device in base.devices.items()}
    return replace(base, rig_id=rig_id, devices=devices)


def _provenance(one: GivenPart, nominal: Sequence[str]) -> dict[str, Any]:
    part = one.part
    told: dict[str, Any] = {
        "created": part.created,
        "uid": part.uid,
        "verdict": part.verdict,
        "causes": [cause.code for cause in part.causes],
        "sigma": part.sigma,
        "covariance": part.details.get("covariance"),
        "conditions": part.conditions,
        "inputs": part.inputs,
        "sha256": one.sha256,
    }
    return told | ({"nominal": list(nominal)} if nominal else {})


def _disagreeing(chosen: Mapping[str, GivenPart], rig: Rig, params: JoinParams) -> list[_Problem]:
    """Stereo parts that contradict where the cameras sit."""
    problems: list[_Problem] = []
    for stem, one in chosen.items():
        if one.part.step != "stereo":
            continue
        a, b = one.part.subject.split("+")
        if rig.cameras[a].device != rig.cameras[b].device:
            continue
        T_a_b = np.array(one.part.values["T_a_b"], float)
        apart = inverse(T_a_b) @ inverse(rig.cameras[a].T_imu_cam) @ rig.cameras[b].T_imu_cam
        off = np.concatenate([so3_log(apart[:3, :3]), apart[:3, 3]])
        sigma = _stereo_sigma(one.part, rig, a, b)
        if sigma is None:
            continue
        worst = float(np.max(np.abs(off) / sigma))
        if worst > params.disagree_sigmas:
            degrees, mm = np.rad2deg(np.linalg.norm(off[:3])), 1000 * np.linalg.norm(off[3:])
            what = (
                f"{stem} and the camera-imu parts of {a} and {b} disagree by {degrees:.2f}° and {mm:.1f} mm "
                f"({worst:.0f} sigmas)"
            )
            problems.append(_Problem(what, "a camera moved in between, or a board's size was wrong: make them again"))
    return problems


def _stereo_sigma(part: Part, rig: Rig, a: str, b: str) -> Array | None:
    """(6,) of the difference, rad and m; None where somebody does not know."""
    mounts = [rig.cameras[a].sigma, rig.cameras[b].sigma]
    rotation, position = part.sigma.get("rotation_rad"), part.sigma.get("position_m")
    if rotation is None or position is None or any(mount is None for mount in mounts):
        return None
    own = np.concatenate([np.ravel(rotation), np.ravel(position)]).astype(float)
    if own.shape != (6,) or not np.all(np.isfinite(own)):
        return None
    turned = sum(mount.rotation_rad**2 for mount in mounts if mount is not None)
    shifted = sum(mount.position_m**2 for mount in mounts if mount is not None)
    return np.sqrt(own**2 + np.repeat([turned, shifted], 3))
