"""`handcap convert`: calibrations between handcap's rig.json and other tools' files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from handcap.errors import FormatError, OutputError, UsageError
from handcap.formats import gopro_lens, kalibr, opencv_yaml
from handcap.formats.foreign_calibration import ForeignCalibration, ForeignCamera, read_text
from handcap.safe_yaml import parse_yaml
from handcap.session.folder import cannot_write, replace_file
from handcap.session.rig_file import parse_rig, read_rig, rig_bytes
from handcap.types import Device, ImuModel, MountedCamera, Rig

Kind = Literal["rig", "kalibr", "kalibr-imu", "opencv", "gopro"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_ONE_LENS: tuple[Kind, ...] = ("opencv", "gopro")


@dataclass(frozen=True, slots=True)
class ConvertParams:
    """What the file does not say, or more than one answer fits.

    Attributes:
        to: kind of the target; told by its name where None.
        base: rig.json to put what the source knows into.
        imu: Kalibr's imu.yaml that goes with a chain.
        device: which of a rig's devices, or which one the cameras sit on.
        camera: which of a rig's cameras, or what to call the only one.
        names: what to call a file's cameras in rig.json.
        rig_id: of a rig without a base.
        size: width and height of the pictures, for files that do not say.
        lose_px: how far off a lens may be for want of a term that rig.json does not have. As much as a calibration of
            five terms is known to where its board was seen; at the rim OpenCV's own example is 3 px off.
    """

    to: Kind | None = None
    base: Path | None = None
    imu: Path | None = None
    device: str | None = None
    camera: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    rig_id: str | None = None
    size: tuple[int, int] | None = None
    lose_px: float = 0.3


def convert(source: Path, target: Path, params: ConvertParams | None = None) -> tuple[Kind, Kind, tuple[str, ...]]:
    """Read one file, write another.

    Returns:
        What the source was, what the target is, and what to say of it.

    Raises:
        FormatError: the source is damaged or none of the known kinds, or does not hold what the target needs.
        RigError: a rig.json is wrong.
        OutputError: the target exists already.
        UsageError: two answers fit.
        SessionError: it cannot be written.
    """
    params = params or ConvertParams()
    kind, values = _told(source)
    to = params.to or _kind_of_name(target, kind)
    if target.exists():
        raise OutputError("exists already", where=target, mend="give a new file, or remove this one")
    if to == "rig":
        if kind == "rig":
            raise UsageError("both are rig.json", mend="name the target .yaml, .yml, .xml or give --to")
        found = foreign_of(kind, values, source, params)
        data = rig_bytes(into_rig(found, source, params))
        parse_rig(data, target)
    else:
        ours = kind == "rig"
        found = out_of_rig(read_rig(source), to, params) if ours else foreign_of(kind, values, source, params)
        data = _text(found, to, target, source, params).encode()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(target, error) from error
    replace_file(target, data)
    return kind, to, found.notes


def _told(path: Path) -> tuple[Kind, dict[str, Any]]:
    """What a file is, told by what it holds."""
    text = read_text(path)
    where = str(path)
    start = text.lstrip()[:1]
    if start == "<":
        return "opencv", opencv_yaml.parse_xml(text, where)
    if start == "{":
        try:
            values: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"is not JSON ({error})", where=where, mend="correct the file") from error
        if "devices" in values and "cameras" in values:
            return "rig", values
        if gopro_lens.is_gopro(values):
            return "gopro", values
    else:
        values = parse_yaml(text, where)
        if kalibr.is_camchain(values):
            return "kalibr", values
        if kalibr.is_imu(values):
            return "kalibr-imu", values
        if opencv_yaml.is_opencv(values):
            return "opencv", values
    raise FormatError(
        "no calibration that handcap knows",
        where=where,
        mend="give a rig.json, Kalibr's camchain.yaml or imu.yaml, OpenCV's yaml or xml, or UMI's GoPro json",
    )


def _kind_of_name(target: Path, source: Kind) -> Kind:
    match target.suffix.lower():
        case ".json":
            return "gopro" if source == "rig" else "rig"
        case ".yml" | ".xml":
            return "opencv"
        case ".yaml":
            return "kalibr-imu" if target.name.startswith("imu") else "kalibr"
        case _:
            mend = f"name it .json, .yaml, .yml or .xml, or give --to {'|'.join(KINDS)}"
            raise UsageError(f"{target.name}: nobody can tell what it should become", mend=mend)


def foreign_of(kind: Kind, values: Mapping[str, Any], path: Path, params: ConvertParams) -> ForeignCalibration:
    """The source, understood, with the IMU of a second file where one is given."""
    where = str(path)
    match kind:
        case "kalibr":
            found = kalibr.camchain_of(values, where)
        case "kalibr-imu":
            found = kalibr.imu_of(values, where)
        case "opencv":
            found = opencv_yaml.opencv_of(values, where, params.size, params.lose_px)
        case _:
            found = gopro_lens.gopro_of(values, where)
    if params.imu is not None:
        beside, told = _told(params.imu)
        if beside != "kalibr-imu":
            raise FormatError("is no imu.yaml of Kalibr", where=params.imu, mend="give the file with its noise")
        found = replace(found, imu=kalibr.imu_of(told, str(params.imu)).imu)
    return found


def out_of_rig(rig: Rig, to: Kind, params: ConvertParams) -> ForeignCalibration:
    """One device of a rig, or one of its cameras.

    Raises:
        UsageError: the rig has several, and nobody said which.
    """
    device = params.device
    if device is None and params.camera is not None and params.camera in rig.cameras:
        device = rig.cameras[params.camera].device
    device = _one([*rig.devices], device, "device")
    cameras = {
        name: ForeignCamera(c.camera, c.T_imu_cam, None, c.dt_imu_cam_s, c.line_delay_s)
        for name, c in rig.cameras.items()
        if c.device == device
    }
    if to in _ONE_LENS:
        name = _one([*cameras], params.camera, "camera")
        cameras = {name: cameras[name]}
    imu = rig.devices[device].imu
    noise = {key: float(getattr(imu, key)) for key in ImuModel.__dataclass_fields__}
    return ForeignCalibration(cameras, noise)


def _one(known: list[str], wanted: str | None, what: str) -> str:
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted in known:
        return str(wanted)
    said = f"no {what} {wanted!r}" if wanted is not None else f"several {what}s" if known else f"no {what}"
    raise UsageError(f"{said} in the rig ({', '.join(known) or 'none'})", mend=f"name one of them with --{what}")


def _text(found: ForeignCalibration, to: Kind, target: Path, source: Path, params: ConvertParams) -> str:
    if to == "kalibr-imu":
        if not found.imu:
            raise FormatError("says nothing of an IMU's noise", where=source, mend="give a rig.json or an imu.yaml")
        return kalibr.imu_text(found)
    if not found.cameras:
        raise FormatError("holds no camera", where=source, mend="give a rig.json, or a file with lenses")
    if to == "kalibr":
        return kalibr.camchain_text(found)
    name = _one([*found.cameras], params.camera, "camera")
    one = ForeignCalibration({name: found.cameras[name]})
    if to == "gopro":
        return gopro_lens.gopro_text(one)
    return opencv_yaml.opencv_xml(one) if target.suffix.lower() == ".xml" else opencv_yaml.opencv_text(one)


def into_rig(found: ForeignCalibration, source: Path, params: ConvertParams) -> Rig:
    """A rig of what a file knows: put into a base, or alone where the file knows enough.

    Raises:
        FormatError: without a base, it does not know where its cameras sit, or the IMU's noise.
        UsageError: the base has no such camera or device.
    """
    cameras = _named(found.cameras, params)
    created = {"source": source.name}
    if params.base is not None:
        return _into_base(read_rig(params.base), cameras, found.imu, params, created)
    lacking = [f"where {name} sits on its IMU" for name, camera in cameras.items() if camera.T_imu_cam is None]
    lacking += [] if found.imu else ["the IMU's noise"]
    lacking += [] if cameras else ["any camera"]
    if lacking:
        mend = "give --base rig.json to put it into, or --imu imu.yaml with a camchain-imucam.yaml"
        raise FormatError(f"does not say {' and '.join(lacking)}", where=source, mend=mend)
    device = params.device or "head"
    mounted: dict[str, MountedCamera] = {}
    for name, camera in cameras.items():
        assert camera.T_imu_cam is not None
        dt_s, delay_s = camera.dt_imu_cam_s or 0.0, camera.line_delay_s or 0.0
        mounted[name] = MountedCamera(device, camera.lens, camera.T_imu_cam, dt_s, None, delay_s)
    return Rig(params.rig_id or source.stem, {device: Device(ImuModel(**found.imu))}, mounted, {}, created)


def _named(cameras: Mapping[str, ForeignCamera], params: ConvertParams) -> dict[str, ForeignCamera]:
    """Cameras under the names that rig.json uses."""
    unknown = sorted(set(params.names) - set(cameras))
    if unknown:
        known = ", ".join(cameras) or "none"
        raise UsageError(f"no camera {unknown[0]!r} in the file ({known})", mend="name one of these")
    nameless = all(re.fullmatch("cam[0-9]+", name) for name in cameras)
    ours = {1: [params.camera or "head"], 2: ["head_left", "head_right"]}.get(len(cameras)) if nameless else None
    usual = dict(zip(cameras, ours or cameras, strict=True))
    chosen = {params.names.get(name, usual[name]): camera for name, camera in cameras.items()}
    if len(chosen) < len(cameras):
        raise UsageError("two cameras get the same name", mend="give every camera its own: --name cam1=head_right")
    return chosen


def _into_base(
    base: Rig,
    cameras: Mapping[str, ForeignCamera],
    imu: Mapping[str, float],
    params: ConvertParams,
    created: Mapping[str, str],
) -> Rig:
    unknown = [name for name in cameras if name not in base.cameras]
    if unknown:
        mend = f"name it as one of {', '.join(base.cameras) or 'none'}: --name {unknown[0]}=NAME, or --camera NAME"
        raise UsageError(f"the base has no camera {unknown[0]!r}", mend=mend)
    first = next(iter(cameras), None)
    mounted = dict(base.cameras)
    for name, camera in cameras.items():
        before, T_imu_cam = base.cameras[name], camera.T_imu_cam
        if T_imu_cam is None and camera.T_first_cam is not None and first is not None:
            T_imu_cam = base.cameras[first].T_imu_cam @ camera.T_first_cam
        mounted[name] = replace(
            before,
            camera=camera.lens,
            T_imu_cam=before.T_imu_cam if T_imu_cam is None else T_imu_cam,
            dt_imu_cam_s=before.dt_imu_cam_s if camera.dt_imu_cam_s is None else camera.dt_imu_cam_s,
            dt_sigma_s=before.dt_sigma_s if camera.dt_imu_cam_s is None else None,
            line_delay_s=before.line_delay_s if camera.line_delay_s is None else camera.line_delay_s,
            sigma=None,  # the file says nothing of how sure it is
        )
    devices = dict(base.devices)
    if imu:
        device = _one([*devices], params.device, "device")
        devices[device] = replace(devices[device], imu=ImuModel(**imu))
    provenance = {**base.provenance, "converted": dict(created)}
    return replace(base, cameras=mounted, devices=devices, provenance=provenance)
