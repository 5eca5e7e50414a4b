"""rig.json: the calibration in force."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from handcap.cameras import MODELS
from handcap.encoder import JawEncoder
from handcap.errors import RigError
from handcap.geometry import Array, project_to_so3
from handcap.session.folder import is_name, replace_file
from handcap.types import CameraSigma, Device, Gripper, ImuModel, MountedCamera, Rig, Tag, TagBody, TagFamily

VERSION = 1
_ROTATION_TOLERANCE = 1e-3  # a matrix typed with four digits passes, a transposed or scaled one does not


def _rotation(rows: list[list[float]]) -> list[list[float]]:
    R = np.array(rows, float)
    if R.shape != (3, 3) or not np.all(np.isfinite(R)):
        raise ValueError("must be 3 rows of 3 numbers")
    if np.abs(R @ R.T - np.eye(3)).max() > _ROTATION_TOLERANCE or np.linalg.det(R) < 0:
        raise ValueError("is not a rotation: its rows must be orthogonal, of length 1 and right-handed")
    return rows


def _pose(rows: list[list[float]]) -> list[list[float]]:
    T = [list(row) for row in rows]
    if len(T) != 4 or any(len(row) != 4 for row in T) or not np.all(np.isfinite(T)):
        raise ValueError("must be 4 rows of 4 numbers")
    if not np.allclose(T[3], [0, 0, 0, 1], atol=1e-9):
        raise ValueError("must end in the row [0, 0, 0, 1]")
    _rotation([row[:3] for row in T[:3]])
    return rows


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError("may hold only lower-case letters, digits and underscores")
    return text


Name = Annotated[str, AfterValidator(_name)]
Rotation = Annotated[list[list[float]], AfterValidator(_rotation)]
Pose = Annotated[list[list[float]], AfterValidator(_pose)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Imu(BaseModel):
    rate_hz: Positive
    gyro_noise_density: Positive
    accel_noise_density: Positive
    gyro_random_walk: Positive
    accel_random_walk: Positive


class _Device(BaseModel):
    uid: str | None = None
    R_imu_chip: Rotation
    imu: _Imu


class _CameraSigma(BaseModel):
    # The largest say nothing any more; beyond, it is another unit.
    rotation_rad: Annotated[Positive, Field(le=1)]
    position_m: Annotated[Positive, Field(le=1)]
    focal: Annotated[Positive, Field(le=1)]
    centre_px: Annotated[Positive, Field(le=1000)]


class _Camera(BaseModel):
    device: str
    model: Literal["pinhole-radtan", "kannala-brandt4"]
    width: Annotated[int, Field(gt=0, le=65536)]
    height: Annotated[int, Field(gt=0, le=65536)]
    params: list[Finite]
    T_imu_cam: Pose
    dt_imu_cam_s: Finite = 0.0
    dt_sigma_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    line_delay_s: Finite = 0.0
    sigma: _CameraSigma | None = None

    @model_validator(mode="after")
    def _check_params(self) -> _Camera:
        names = MODELS[self.model].parameter_names
        if len(self.params) != len(names):
            raise ValueError(f"params: {self.model} needs {len(names)} numbers ({', '.join(names)})")
        if self.params[0] <= 0 or self.params[1] <= 0:
            raise ValueError("params: the focal lengths fx and fy must be positive")
        return self


class _Tag(BaseModel):
    family: TagFamily
    id: Annotated[int, Field(ge=0, le=586)]
    size_m: Positive
    body: TagBody = "tcp"
    T_body_tag: Pose


class _Encoder(BaseModel):
    metres_per_rad: Finite
    zero_rad: Finite
    eccentricity_rad: Annotated[float, Field(ge=0, lt=0.2)] = 0.0
    eccentricity_phase_rad: Finite = 0.0
    noise_rad: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    @model_validator(mode="after")
    def _check_turns(self) -> _Encoder:
        if self.metres_per_rad == 0:
            raise ValueError("metres_per_rad: a jaw that opens by nothing per angle cannot be read")
        return self


class _Width(BaseModel):
    model_config = ConfigDict(extra="allow")

    encoder: _Encoder | None = None


class _Gripper(BaseModel):
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


class _RigFile(BaseModel):
    version: Literal[1]
    rig_id: Annotated[str, Field(min_length=1)]
    created: str | None = None
    devices: dict[Name, _Device]
    cameras: dict[Name, _Camera]
    grippers: dict[Literal["left", "right"], _Gripper] = {}
    provenance: dict[str, Any] = {}

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
        return self


def _mend(key: str) -> str:
    for part, verb in {
        "T_imu_cam": "camera-imu",
        "dt_": "camera-imu",
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
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RigError("no such calibration", where=path, mend="calibrate the rig, or give --rig") from error
    except (ValueError, OSError, RecursionError) as error:
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
        raise RigError(f"{key}: {what}" if key else what, where=path, mend=_mend(f"{key} {what}")) from error
    return _rig(file)


def _rig(file: _RigFile) -> Rig:
    devices = {
        name: Device(ImuModel(**d.imu.model_dump()), project_to_so3(d.R_imu_chip), d.uid)
        for name, d in file.devices.items()
    }
    cameras: dict[str, MountedCamera] = {}
    for name, c in file.cameras.items():
        lens = MODELS[c.model](c.width, c.height, tuple(c.params))
        sigma = None if c.sigma is None else CameraSigma(**c.sigma.model_dump())
        cameras[name] = MountedCamera(
            c.device, lens, _exact(c.T_imu_cam), c.dt_imu_cam_s, c.dt_sigma_s, c.line_delay_s, sigma
        )
    provenance = dict(file.provenance)
    if file.created is not None:
        provenance["created"] = file.created
    return Rig(file.rig_id, devices, cameras, {side: _gripper(g) for side, g in file.grippers.items()}, provenance)


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
    provenance = dict(rig.provenance)
    values = {
        "version": VERSION,
        "rig_id": rig.rig_id,
        "created": provenance.pop("created", None),
        "devices": {
            name: {
                "uid": d.uid,
                "R_imu_chip": d.R_imu_chip.tolist(),
                "imu": {key: getattr(d.imu, key) for key in _Imu.model_fields},
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
            }
            for name, c in rig.cameras.items()
        },
        "grippers": {side: _gripper_values(gripper) for side, gripper in rig.grippers.items()},
        "provenance": provenance,
    }
    replace_file(Path(path), f"{json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode())


def _gripper_values(gripper: Gripper) -> dict[str, Any]:
    values = dict(gripper.extra)
    if gripper.T_cam_tcp is not None:
        values["T_cam_tcp"] = gripper.T_cam_tcp.tolist()
    values["tags"] = [asdict(tag) | {"T_body_tag": tag.T_body_tag.tolist()} for tag in gripper.tags]
    encoder = {} if gripper.encoder is None else {"encoder": asdict(gripper.encoder)}
    values["width"] = {**gripper.extra.get("width", {}), **encoder}
    return values
