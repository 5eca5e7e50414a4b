"""rig.json: the calibration in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from handcap.cameras import MODELS
from handcap.clock import parse_utc
from handcap.encoder import JawEncoder
from handcap.errors import RigError
from handcap.geometry import Array, project_to_so3
from handcap.session.folder import is_name, replace_file
from handcap.types import (
    CameraPlug,
    CameraSigma,
    Device,
    Gripper,
    ImuCalibration,
    ImuModel,
    ImuSigma,
    MountedCamera,
    Rig,
    Tag,
    TagBody,
    TagFamily,
)

VERSION = 1
_ROTATION_TOLERANCE = 1e-3  # a matrix typed with four digits passes, a transposed or scaled one does not
_FARTHEST_M = 5.0  # of one part of a rig from another, along an axis


def _rotation(rows: list[list[float]]) -> list[list[float]]:
    R = _matrix(rows, 3)
    if np.abs(R @ R.T - np.eye(3)).max() > _ROTATION_TOLERANCE or np.linalg.det(R) < 0:
        raise ValueError("is not a rotation: its rows must be orthogonal, of length 1 and right-handed")
    return rows


def _pose(rows: list[list[float]]) -> list[list[float]]:
    T = _matrix(rows, 4)
    if not np.allclose(T[3], [0, 0, 0, 1], atol=1e-9):
        raise ValueError("must end in the row [0, 0, 0, 1]")
    _rotation([row[:3] for row in rows[:3]])
    if np.abs(T[:3, 3]).max() > _FARTHEST_M:
        told = ", ".join(f"{value:g}" for value in T[:3, 3])
        raise ValueError(f"its last column is ({told}) m, must lie between {-_FARTHEST_M:g} and {_FARTHEST_M:g} m")
    return rows


def _matrix(rows: list[list[float]], n: int) -> Array:
    if len(rows) != n or any(len(row) != n for row in rows):
        raise ValueError(f"must be {n} rows of {n} numbers")
    _require_finite(rows)
    return np.array(rows, float)


def _require_finite(rows: list[Any]) -> None:
    for where, value in np.ndenumerate(np.array(rows, float)):
        if not np.isfinite(value):
            place = " ".join(f"{word} {k + 1}" for word, k in zip(("row", "column")[-len(where) :], where, strict=True))
            raise ValueError(f"{place} is {value}, must be a finite number")


def _within(low: float, high: float, unit: str = "", or_zero: bool = False) -> Any:
    """A check for a number that no real part leaves these bounds with; beyond, it is another unit, or broken."""

    def check(value: float) -> float:
        if not (low <= value <= high or (or_zero and value == 0)):
            zero = "0, or " if or_zero else ""
            raise ValueError(f"is {value:g}, must be {zero}between {low:g} and {high:g} {unit}".rstrip())
        return value

    return AfterValidator(check)


def _numbers(*shape: int, within: float, of: float = 0.0) -> Any:
    """A check for rows of finite numbers that lie within so much of `of` times the identity."""

    def check(rows: Any) -> Any:
        middle = of * np.eye(3) if len(shape) == 2 else np.zeros(3)
        if len(rows) != 3 or (len(shape) == 2 and any(len(row) != 3 for row in rows)):
            raise ValueError(f"must be {' rows of '.join(map(str, shape))} numbers")
        _require_finite(rows)
        values = np.array(rows, float)
        if np.abs(values - middle).max() > within:
            raise ValueError(f"is more than {within:g} away from what a sensor in SI units has")
        return rows

    return AfterValidator(check)


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError("may hold only lower-case letters, digits and underscores")
    return text


def _date(text: str) -> str:
    if parse_utc(text) is None:
        raise ValueError("must be a date and time in UTC, as 2026-03-01T12:00:00Z")
    return text


Name = Annotated[str, AfterValidator(_name)]
Rotation = Annotated[list[list[float]], AfterValidator(_rotation)]
Pose = Annotated[list[list[float]], AfterValidator(_pose)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


Three = list[Finite]
ThreeByThree = list[Three]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)  # "640" is no number


class _ImuSigma(_Part):
    gyro_matrix: Annotated[ThreeByThree, _numbers(3, 3, within=1)]
    gyro_bias: Annotated[Three, _numbers(3, within=1)]
    accel_matrix: Annotated[ThreeByThree, _numbers(3, 3, within=1)]
    accel_bias: Annotated[Three, _numbers(3, within=5)]
    gyro_g_sensitivity: Annotated[ThreeByThree, _numbers(3, 3, within=0.1)]


class _ImuCalibration(_Part):
    # A part that is further off than this is in other units, or broken.
    gyro_matrix: Annotated[ThreeByThree, _numbers(3, 3, within=0.3, of=1)]
    gyro_bias: Annotated[Three, _numbers(3, within=1)]
    accel_matrix: Annotated[ThreeByThree, _numbers(3, 3, within=0.3, of=1)]
    accel_bias: Annotated[Three, _numbers(3, within=5)]
    gyro_g_sensitivity: Annotated[ThreeByThree, _numbers(3, 3, within=0.1)] = np.zeros((3, 3)).tolist()
    sigma: _ImuSigma | None = None


class _Imu(_Part):
    rate_hz: Annotated[float, _within(1, 1e5, "Hz")]
    gyro_noise_density: Annotated[float, _within(1e-12, 10, "rad/s/√Hz")]
    accel_noise_density: Annotated[float, _within(1e-12, 10, "m/s²/√Hz")]
    gyro_random_walk: Annotated[float, _within(1e-12, 10, "rad/s²/√Hz")]
    accel_random_walk: Annotated[float, _within(1e-12, 10, "m/s³/√Hz")]
    calibration: _ImuCalibration | None = None


class _Device(_Part):
    uid: str | None = None
    R_imu_chip: Rotation
    imu: _Imu


class _CameraSigma(_Part):
    # The largest say nothing any more, the smallest nobody measures.
    rotation_rad: Annotated[float, _within(1e-9, 1, "rad")]
    position_m: Annotated[float, _within(1e-9, 1, "m")]
    focal: Annotated[float, _within(1e-9, 1)]
    centre_px: Annotated[float, _within(1e-9, 1000, "px")]


class _Trigger(_Part):
    device: str
    line: Annotated[int, Field(ge=0, le=255)] = 0


class _Plug(_Part):
    uid: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    format: Literal["mjpeg", "h264"] | None = None
    rate_hz: Annotated[Positive, Field(le=1000)] | None = None
    trigger: _Trigger | None = None


class _Camera(_Part):
    device: str
    model: Literal["pinhole-radtan", "kannala-brandt4"]
    width: Annotated[int, Field(gt=0, le=65536)]
    height: Annotated[int, Field(gt=0, le=65536)]
    params: list[Finite]
    T_imu_cam: Pose
    dt_imu_cam_s: Annotated[float, _within(-2, 2, "s")] = 0.0
    dt_sigma_s: Annotated[float, _within(1e-9, 2, "s", or_zero=True)] | None = None  # 0 is unknown, as null
    line_delay_s: Annotated[float, _within(-1e-3, 1e-3, "s")] = 0.0
    sigma: _CameraSigma | None = None
    plug: _Plug | None = None

    @model_validator(mode="after")
    def _check_params(self) -> _Camera:
        names = MODELS[self.model].parameter_names
        if len(self.params) != len(names):
            raise ValueError(f"params: {self.model} needs {len(names)} numbers ({', '.join(names)})")
        for name, value in zip(names, self.params, strict=True):
            low, high, unit = (10.0, 1e5, " px") if name in ("fx", "fy") else (-1e5, 1e5, "")
            if not low <= value <= high:
                raise ValueError(f"params: {name} is {value:g}, must be between {low:g} and {high:g}{unit}")
        return self


class _Tag(_Part):
    family: TagFamily
    id: Annotated[int, Field(ge=0, le=586)]
    size_m: Annotated[float, _within(1e-3, 1, "m")]
    body: TagBody = "tcp"
    T_body_tag: Pose


class _Encoder(_Part):
    metres_per_rad: Annotated[float, _within(-0.5, 0.5, "m/rad")]
    zero_rad: Annotated[float, _within(-100, 100, "rad")]
    eccentricity_rad: Annotated[float, Field(ge=0, lt=0.2)] = 0.0
    eccentricity_phase_rad: Finite = 0.0
    noise_rad: Annotated[float, _within(0, 1, "rad")] = 0.0
    opening_sigma_m: Annotated[float, _within(0, 0.1, "m")] | None = None

    @model_validator(mode="after")
    def _check_turns(self) -> _Encoder:
        if self.metres_per_rad == 0:
            raise ValueError("metres_per_rad: a jaw that opens by nothing per angle cannot be read")
        return self


class _Width(_Part):
    model_config = ConfigDict(extra="allow")

    encoder: _Encoder | None = None


class _Gripper(_Part):
    model_config = ConfigDict(extra="allow")

    T_cam_tcp: Pose | None = None
    tags: list[_Tag] = []
    width: _Width = _Width()

    @model_validator(mode="after")
    def _check_tags(self) -> _Gripper:
        if _named_twice(self.tags):
            raise ValueError("tags: the same tag is listed twice")
        return self


def _named_twice(tags: list[_Tag]) -> bool:
    return len({(tag.family, tag.id) for tag in tags}) < len(tags)


class _RigFile(_Part):
    version: Literal[1]
    rig_id: Annotated[str, Field(min_length=1)]
    created: str | None = None
    devices: dict[Name, _Device]
    cameras: dict[Name, _Camera]
    grippers: dict[Literal["left", "right"], _Gripper] = {}
    provenance: dict[str, Any] = {}
    valid_until: Annotated[str, AfterValidator(_date)] | None = None
    assigned_to: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    serials: dict[str, str] = {}

    @model_validator(mode="after")
    def _check_tags(self) -> _RigFile:
        if _named_twice([tag for gripper in self.grippers.values() for tag in gripper.tags]):
            raise ValueError("grippers: the same tag is on both, so nobody could tell them apart")
        return self

    @model_validator(mode="after")
    def _check_devices(self) -> _RigFile:
        for name, camera in self.cameras.items():
            if camera.device not in self.devices:
                known = ", ".join(self.devices) or "none"
                raise ValueError(f"cameras.{name}.device: no device {camera.device!r} (known: {known})")
            trigger = None if camera.plug is None else camera.plug.trigger
            if trigger is not None and trigger.device not in self.devices:
                known = ", ".join(self.devices) or "none"
                raise ValueError(f"cameras.{name}.plug.trigger: no device {trigger.device!r} (known: {known})")
        return self


def _mend(key: str) -> str:
    for part, verb in {
        "T_imu_cam": "camera-imu",
        "dt_": "camera-imu",
        "line_delay": "camera-imu",
        "params": "camera",
        "model": "camera",
        "imu": "imu",
        "grippers": "gripper",
    }.items():
        if part in key:
            return f"calibrate it again with `handcap calibrate {verb}`, or correct the key by hand"
    return "calibrate it again with `handcap calibrate rig`, or correct the key by hand"


def read_rig(path: Path) -> Rig:
    """rig.json, checked; rotations are turned into exact ones."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise RigError("no such calibration", where=path, mend="calibrate the rig, or give --rig") from error
    except OSError as error:
        raise RigError(f"cannot be read ({error})", where=path, mend="calibrate again, or copy it again") from error
    return parse_rig(data, path)


def parse_rig(data: bytes, path: Path) -> Rig:
    """The bytes of a rig.json, checked; `path` is how messages call it."""
    try:
        values: Any = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RigError(f"cannot be read ({error})", where=path, mend="calibrate again, or copy it again") from error
    version = values.get("version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise RigError(
            f"written by a newer handcap (version {version}, this one knows {VERSION})",
            where=path,
            mend="update handcap, then try again",
        )
    try:
        file = _RigFile.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        if isinstance(first["input"], str | float | int) and first["type"] != "value_error":
            what += f", not {first['input']!r:.60}"
        raise RigError(f"{key}: {what}" if key else what, where=path, mend=_mend(f"{key} {what}")) from error
    return _rig(file)


def require_devices(rig: Rig, uids: Mapping[str, str], where: Path) -> None:
    """Refuse a calibration of other devices than those at hand; a uid that nobody knows says nothing.

    Args:
        rig: the calibration.
        uids: serial number by device.
        where: its file.

    Raises:
        RigError: names the uids of both.
    """
    foreign = [
        f"{name} is {uids[name]}, the calibration is of {uid}"
        for name, uid in rig.uids.items()
        if uids.get(name) not in (None, uid)
    ]
    if foreign:
        raise RigError(
            f"a calibration of other devices: {'; '.join(foreign)}",
            where=where,
            mend="use the rig.json of these devices (`handcap rigs list` names it by their uids)",
        )


def _rig(file: _RigFile) -> Rig:
    devices = {
        name: Device(
            ImuModel(**d.imu.model_dump(exclude={"calibration"})),
            project_to_so3(d.R_imu_chip),
            d.uid,
            None if d.imu.calibration is None else _calibration(d.imu.calibration),
        )
        for name, d in file.devices.items()
    }
    cameras: dict[str, MountedCamera] = {}
    for name, c in file.cameras.items():
        lens = MODELS[c.model](c.width, c.height, tuple(c.params))
        sigma = None if c.sigma is None else CameraSigma(**c.sigma.model_dump())
        cameras[name] = MountedCamera(
            c.device, lens, _exact(c.T_imu_cam), c.dt_imu_cam_s, c.dt_sigma_s, c.line_delay_s, sigma, _plug(c.plug)
        )
    provenance = dict(file.provenance)
    if file.created is not None:
        provenance["created"] = file.created
    grippers = {side: _gripper(g) for side, g in file.grippers.items()}
    return Rig(
        file.rig_id, devices, cameras, grippers, provenance, file.valid_until, file.assigned_to, dict(file.serials)
    )


def _plug(file: _Plug | None) -> CameraPlug | None:
    if file is None:
        return None
    trigger = None if file.trigger is None else (file.trigger.device, file.trigger.line)
    return CameraPlug(file.uid, file.format, file.rate_hz, trigger)


def _calibration(file: _ImuCalibration) -> ImuCalibration:
    told = file.model_dump(exclude={"sigma"})
    sigma = None
    if file.sigma is not None:
        sigma = ImuSigma(**{key: np.array(values) for key, values in file.sigma.model_dump().items()})
    return ImuCalibration(sigma=sigma, **{key: np.array(values) for key, values in told.items()})


def _gripper(g: _Gripper) -> Gripper:
    tags = tuple(Tag(t.family, t.id, t.size_m, t.body, _exact(t.T_body_tag)) for t in g.tags)
    encoder = None if g.width.encoder is None else JawEncoder(**g.width.encoder.model_dump())
    extra = dict(g.model_extra or {})
    if g.width.model_extra:
        extra["width"] = dict(g.width.model_extra)
    return Gripper(None if g.T_cam_tcp is None else _exact(g.T_cam_tcp), tags, encoder, extra)


def _exact(rows: list[list[float]]) -> Array:
    """A pose (4, 4) whose rotation is exactly one."""
    T = np.array(rows, float)
    T[:3, :3] = project_to_so3(T[:3, :3])
    return T


def write_rig(path: Path, rig: Rig) -> None:
    """Write rig.json; reading it back gives the same rig. `provenance["created"]` becomes the key `created`."""
    replace_file(Path(path), rig_bytes(rig))


def rig_bytes(rig: Rig) -> bytes:
    """As `write_rig` writes it."""
    provenance = dict(rig.provenance)
    values = {
        "version": VERSION,
        "rig_id": rig.rig_id,
        "created": provenance.pop("created", None),
        "devices": {
            name: {
                "uid": d.uid,
                "R_imu_chip": d.R_imu_chip.tolist(),
                "imu": asdict(d.imu) | ({} if d.calibration is None else {"calibration": _plain(d.calibration)}),
            }
            for name, d in rig.devices.items()
        },
        "cameras": {
            name: {
                "device": c.device,
                "model": c.camera.model,
                "width": c.camera.width,
                "height": c.camera.height,
                "params": list(c.camera.params),
                "T_imu_cam": c.T_imu_cam.tolist(),
                "dt_imu_cam_s": c.dt_imu_cam_s,
                "dt_sigma_s": c.dt_sigma_s,
                "sigma": None if c.sigma is None else asdict(c.sigma),
                "line_delay_s": c.line_delay_s,
                **({} if c.plug is None else {"plug": _plug_values(c.plug)}),
            }
            for name, c in rig.cameras.items()
        },
        "grippers": {side: _gripper_values(gripper) for side, gripper in rig.grippers.items()},
        "provenance": provenance,
    }
    # A drawing has no such keys, and its bytes stay as they were.
    values |= {} if rig.valid_until is None else {"valid_until": rig.valid_until}
    values |= {} if rig.assigned_to is None else {"assigned_to": rig.assigned_to}
    values |= {"serials": dict(rig.serials)} if rig.serials else {}
    return f"{json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()


def _plug_values(plug: CameraPlug) -> dict[str, Any]:
    trigger = None if plug.trigger is None else {"device": plug.trigger[0], "line": plug.trigger[1]}
    return {"uid": plug.uid, "format": plug.format, "rate_hz": plug.rate_hz, "trigger": trigger}


def _plain(calibration: ImuCalibration | ImuSigma) -> dict[str, Any]:
    values = {key.name: getattr(calibration, key.name) for key in fields(calibration)}
    return {
        key: value.tolist() if isinstance(value, np.ndarray) else None if value is None else _plain(value)
        for key, value in values.items()
    }


def _gripper_values(gripper: Gripper) -> dict[str, Any]:
    values = dict(gripper.extra)
    if gripper.T_cam_tcp is not None:
        values["T_cam_tcp"] = gripper.T_cam_tcp.tolist()
    values["tags"] = [asdict(tag) | {"T_body_tag": tag.T_body_tag.tolist()} for tag in gripper.tags]
    encoder = {} if gripper.encoder is None else {"encoder": asdict(gripper.encoder)}
    values["width"] = {**gripper.extra.get("width", {}), **encoder}
    return values
