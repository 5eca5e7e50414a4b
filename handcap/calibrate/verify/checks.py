"""Every parameter that ten seconds can tell, measured against what the rig says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from handcap.boards import Board, BoardViews
from handcap.calibrate.gripper.record import JawRecord
from handcap.calibrate.verify.board import BoardParams, SeenBoard, look_at_board, poses_through, with_lens
from handcap.calibrate.verify.jaws import ShutParams, shut_jaws
from handcap.calibrate.verify.rest import Rest, RestParams, longest_rest
from handcap.calibrate.verify.turning import Turning, TurningParams, compare_turning
from handcap.cameras import Camera
from handcap.clock import nanoseconds
from handcap.geometry import GRAVITY_M_S2, Array, inverse, so3_exp
from handcap.types import CameraSigma, ImuSamples, MountedCamera, Rig

State = Literal["in force", "drifting", "recalibrate", "not checked"]
Kind = Literal[
    "focal", "centre", "mount", "offset", "place", "gyro_bias", "gyro_noise", "accel_noise", "gravity",
    "jaw_tags", "jaw_encoder", "tag_size",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a parameter cannot be lived with, in its own unit; what lies between is drift."""

    focal: float = 0.005  # reconstructions come out half a percent too large
    centre_px: float = 3.0
    mount_rad: float = np.deg2rad(0.5)
    offset_s: float = 0.002
    place_m: float = 0.01
    gyro_bias_rad_s: float = 0.1  # six degrees a second: a broken part
    noise: float = 3.0  # times what is told
    gravity_m_s2: float = 0.5
    jaw_m: float = 5e-4
    tag_size: float = 0.08


@dataclass(frozen=True, slots=True)
class CheckParams:
    """How a check is judged."""

    drift_sigmas: float = 3.5  # a chance of 1 in 2000 per number, of which a whole rig has some thirty
    limits: Limits = Limits()
    # What is taken for the sigma of a calibration where rig.json does not say; as a reconstruction takes it.
    camera: CameraSigma = CameraSigma(2e-3, 5e-3, 2e-3, 1.0)  # noqa: RUF009  frozen
    offset_s: float = 3e-4
    jaw_m: float = 5e-5  # what gauge blocks leave
    gyro_bias_rad_s: float = 0.01  # ICM-42688-P: half a degree a second
    gravity_m_s2: float = 0.1  # 20 mg of bias and 0.03 m/s² from place to place, half of it usual
    noise: float = 0.15  # share: densities are told with a margin, and change with temperature
    rest: RestParams = field(default_factory=RestParams)
    board: BoardParams = field(default_factory=BoardParams)
    turning: TurningParams = field(default_factory=TurningParams)
    shut: ShutParams = field(default_factory=ShutParams)
    least_turn_rad: float = 0.05  # standard deviation of the attitude about the two liveliest axes
    together_s: float = 0.002  # two pictures this near show the same moment, or nearly

    def tells(self, own_sigma: float, limit: float) -> bool:
        """Whether a measurement this good would notice what cannot be lived with."""
        return self.drift_sigmas * own_sigma <= limit


@dataclass(frozen=True, slots=True)
class Check:
    """One parameter.

    Attributes:
        kind: what it is.
        subject: of which camera, device or side; two cameras are joined with "+".
        told: what the rig says; a mount and a place are told as nothing.
        measured: what ten seconds say, in the same unit: for vectors the component that is farthest off.
        sigma: of the difference, from the rig's sigma and this measurement's own.
        limit: beyond which the rig must be calibrated again.
        state: what follows.
    """

    kind: Kind
    subject: str
    told: float
    measured: float
    sigma: float
    limit: float
    state: State

    @property
    def sigmas(self) -> float:
        """By how many it is off."""
        return abs(self.measured - self.told) / self.sigma if self.sigma > 0 else np.nan


@dataclass(frozen=True, eq=False, slots=True)
class CheckRecord:
    """What a rig gave during a check.

    Attributes:
        views: of the board, by camera.
        imu: by device, imu axes, session clock.
        jaws: by side.
    """

    views: Mapping[str, BoardViews]
    imu: Mapping[str, ImuSamples]
    jaws: Mapping[str, JawRecord]


def check_rig(
    rig: Rig, record: CheckRecord, board: Board, jaw_m: float = 0.0, params: CheckParams | None = None
) -> list[Check]:
    """Every parameter that can be told, in a fixed order; those that cannot this time are "not checked".

    Args:
        rig: the calibration in force.
        board: that was looked at.
        jaw_m: what the jaws closed on: 0 for nothing.
    """
    params = params or CheckParams()
    out: list[Check] = []
    rests: dict[str, Rest | None] = {}
    for name in rig.devices:
        samples = record.imu.get(name)
        rests[name] = None if samples is None else longest_rest(samples, params.rest)
        out += _resting(rig, name, rests[name], params)
    cameras: dict[str, _Looked] = {}
    for name, mount in rig.cameras.items():
        looked = _look(mount, record, name, rests[mount.device], board, params)
        out += _camera(name, mount, looked, params)
        if looked is not None:
            cameras[name] = looked
    out += _places(rig, cameras, params)
    for side in rig.grippers:
        lens = cameras[side].lens_now if side in cameras else None
        out += _jaws(rig, side, record.jaws.get(side), lens, jaw_m, params)
    return out


def overall(checks: Sequence[Check]) -> State:
    """The worst state; "not checked" only if nothing worse was found."""
    states = [check.state for check in checks]
    for state in ("recalibrate", "drifting", "not checked"):
        if state in states:
            return state
    return "in force" if states else "not checked"


def body_of(kind: Kind, subject: str) -> str:
    """What a cause calls the thing: a camera by its name, a motion sensor and a gripper by other ones."""
    if kind in ("gyro_bias", "gyro_noise", "accel_noise", "gravity"):
        return f"imu_{subject}"
    return f"{subject}_tcp" if kind in ("jaw_tags", "jaw_encoder", "tag_size") else subject


def _check(
    kind: Kind, subject: str, told: float, measured: float, sigma: float, limit: float, params: CheckParams
) -> Check:
    if not np.isfinite(measured):
        return Check(kind, subject, told, np.nan, np.nan, limit, "not checked")
    off = abs(measured - told)
    state: State = "in force" if off <= params.drift_sigmas * sigma else "drifting" if off <= limit else "recalibrate"
    return Check(kind, subject, told, float(measured), float(sigma), limit, state)


def _worst(measured: Array, sigma: Array) -> tuple[float, float]:
    """The component that is off by most sigmas."""
    k = int(np.argmax(np.abs(measured) / sigma))
    return float(measured[k]), float(sigma[k])


def _resting(rig: Rig, device: str, rest: Rest | None, params: CheckParams) -> list[Check]:
    model, limits = rig.devices[device].imu, params.limits
    if rest is None:
        kinds: tuple[Kind, ...] = ("gyro_bias", "gyro_noise", "accel_noise", "gravity")
        return [_check(kind, device, 0.0, np.nan, np.nan, np.nan, params) for kind in kinds]
    bias, bias_sigma = _worst(rest.gyro_bias, np.full(3, params.gyro_bias_rad_s))
    own = 1 / np.sqrt(6 * rest.samples)  # three axes, two numbers behind every difference
    noise = float(np.hypot(params.noise, own))
    # Less noise than is told is no harm: densities are told with a margin.
    gyro, accel = (
        max(found / told, 1.0)
        for found, told in (
            (rest.gyro_density, model.gyro_noise_density),
            (rest.accel_density, model.accel_noise_density),
        )
    )
    return [
        _check("gyro_bias", device, 0.0, bias, bias_sigma, limits.gyro_bias_rad_s, params),
        _check("gyro_noise", device, 1.0, gyro, noise, limits.noise - 1, params),
        _check("accel_noise", device, 1.0, accel, noise, limits.noise - 1, params),
        _check("gravity", device, GRAVITY_M_S2, rest.gravity_m_s2, params.gravity_m_s2, limits.gravity_m_s2, params),
    ]


@dataclass(frozen=True, eq=False, slots=True)
class _Looked:
    """What a camera's looks at the board say.

    Attributes:
        alone: by these pictures alone.
        seen: with the lens that is believed.
        turning: against the gyroscope; None where it turned too little.
        turning_cov: (4, 4) with what the lens leaves open.
        lens_ok: whether the lens is what the rig says.
    """

    alone: SeenBoard
    seen: SeenBoard
    turning: Turning | None
    turning_cov: Array
    lens_ok: bool

    @property
    def lens_now(self) -> Camera | None:
        """The lens as it is now, if that is not what the rig says."""
        return None if self.lens_ok else self.seen.camera


def _look(
    mount: MountedCamera, record: CheckRecord, name: str, rest: Rest | None, board: Board, params: CheckParams
) -> _Looked | None:
    views, imu = record.views.get(name), record.imu.get(mount.device)
    if views is None:
        return None
    alone = look_at_board(views, board, mount.camera, params.board)
    if alone is None:
        return None
    sigma = mount.sigma or params.camera
    told = np.array([sigma.focal, sigma.centre_px, sigma.centre_px])
    off = np.abs(alone.lens) / np.sqrt(np.diag(alone.lens_cov) + told**2)
    lens_ok = bool(off.max() <= params.drift_sigmas)
    # A lens that changed is believed as it is now, so that nothing else takes the blame.
    seen = look_at_board(views, board, mount.camera, params.board, sigma) if lens_ok else alone
    assert seen is not None
    if imu is None or rest is None:
        return _Looked(alone, seen, None, np.eye(4), lens_ok)
    turning = compare_turning(seen, imu, mount, rest.gyro_bias, rest.gyro_density, params.turning)
    if turning is None or np.sort(turning.turned_rad)[1] < params.least_turn_rad:
        return _Looked(alone, seen, None, np.eye(4), lens_ok)
    cov = turning.cov.copy()
    sizes, axes = np.linalg.eigh(seen.lens_cov)
    for k in range(3):
        lens = seen.lens + np.sqrt(max(sizes[k], 0.0)) * axes[:, k]
        through = poses_through(seen, with_lens(mount.camera, lens))
        step = turning.moved_by(seen, through)
        cov += np.outer(step, step)
    return _Looked(alone, seen, turning, cov, lens_ok)


def _camera(name: str, mount: MountedCamera, looked: _Looked | None, params: CheckParams) -> list[Check]:
    limits, sigma = params.limits, mount.sigma or params.camera
    focal = centre = angle = late = np.nan
    focal_sigma = centre_sigma = angle_sigma = late_sigma = np.nan
    if looked is not None:
        own = np.sqrt(np.diag(looked.alone.lens_cov))
        if params.tells(own[0], limits.focal) and params.tells(own[1:].max(), limits.centre_px):
            focal, focal_sigma = float(looked.alone.lens[0]), float(np.hypot(own[0], sigma.focal))
            centre, centre_sigma = _worst(looked.alone.lens[1:], np.hypot(own[1:], sigma.centre_px))
        own = np.sqrt(np.diag(looked.turning_cov))
        if looked.turning is not None and params.tells(own[:3].max(), limits.mount_rad):
            angle, angle_sigma = _worst(looked.turning.mount_rad, np.hypot(own[:3], sigma.rotation_rad))
            late, told = looked.turning.late_s, params.offset_s if mount.dt_sigma_s is None else mount.dt_sigma_s
            late_sigma = float(np.hypot(own[3], told))
    dt_s = mount.dt_imu_cam_s
    return [
        _check("focal", name, 0.0, focal, focal_sigma, limits.focal, params),
        _check("centre", name, 0.0, centre, centre_sigma, limits.centre_px, params),
        _check("mount", name, 0.0, angle, angle_sigma, limits.mount_rad, params),
        _check("offset", name, dt_s, dt_s + late, late_sigma, limits.offset_s, params),
    ]


def _places(rig: Rig, cameras: Mapping[str, _Looked], params: CheckParams) -> list[Check]:
    """Cameras of one device against its first: where they sit, by a board that both see."""
    out: list[Check] = []
    for device in rig.devices:
        names = [name for name, mount in rig.cameras.items() if mount.device == device]
        for other in names[1:]:
            subject = f"{names[0]}+{other}"
            pair = [cameras.get(name) for name in (names[0], other)]
            found = None
            if pair[0] is not None and pair[1] is not None:
                found = _place(rig, (names[0], other), (pair[0], pair[1]), params)
            if found is None:
                out.append(_check("place", subject, 0.0, np.nan, np.nan, params.limits.place_m, params))
                continue
            off, own = found
            told = [(rig.cameras[name].sigma or params.camera).position_m for name in (names[0], other)]
            sigma = np.sqrt(own**2 + np.sum(np.square(told)))
            out.append(_check("place", subject, 0.0, *_worst(off, sigma), params.limits.place_m, params))
    return out


def _place(
    rig: Rig, names: tuple[str, str], looked: tuple[_Looked, _Looked], params: CheckParams
) -> tuple[Array, Array] | None:
    """(3,) by how much the second camera sits beside its place on the device, and its sigma."""
    mounts = [rig.cameras[name] for name in names]
    t_ns = [each.seen.t_ns + nanoseconds(m.dt_imu_cam_s) for each, m in zip(looked, mounts, strict=True)]
    nearest = np.clip(np.searchsorted(t_ns[1], t_ns[0]), 1, max(len(t_ns[1]) - 1, 1))
    nearest -= np.abs(t_ns[1][nearest - 1] - t_ns[0]) < np.abs(t_ns[1][np.minimum(nearest, len(t_ns[1]) - 1)] - t_ns[0])
    together = np.abs(t_ns[1][nearest] - t_ns[0]) <= nanoseconds(params.together_s)
    if together.sum() < params.board.fewest_pictures:
        return None
    T_a_b = inverse(looked[0].seen.T_board_cam[together]) @ looked[1].seen.T_board_cam[nearest[together]]
    # The first camera's mount as it is now, so that its turn is not taken for the other's shift.
    turned = looked[0].turning.mount_rad if looked[0].turning is not None else np.zeros(3)
    told = np.sqrt(np.diag(looked[0].turning_cov)[:3])
    if looked[0].turning is None or np.all(np.abs(turned) <= params.drift_sigmas * told):
        turned = np.zeros(3)
    R_imu_a = mounts[0].T_imu_cam[:3, :3] @ so3_exp(turned)
    p_imu = T_a_b[:, :3, 3] @ R_imu_a.T + mounts[0].T_imu_cam[:3, 3]
    off = np.median(p_imu, axis=0) - mounts[1].T_imu_cam[:3, 3]
    scatter = 1.4826 * np.median(np.abs(p_imu - np.median(p_imu, axis=0)), axis=0)
    arm_m = float(np.linalg.norm(np.median(T_a_b[:, :3, 3], axis=0)))
    own = params.board.repeats * scatter / np.sqrt(together.sum()) + arm_m * float(told.max())
    return off, own


def _jaws(
    rig: Rig, side: str, record: JawRecord | None, lens: Camera | None, jaw_m: float, params: CheckParams
) -> list[Check]:
    gripper, camera = rig.grippers[side], rig.cameras.get(side)
    shut = None
    if record is not None and camera is not None:
        shut = shut_jaws(record, gripper, lens or camera.camera, jaw_m, params.shut)
    limits, out = params.limits, list[Check]()
    has_tags = any(tag.body != "tcp" for tag in gripper.tags) and gripper.T_cam_tcp is not None
    nothing = (np.nan, np.nan)
    if has_tags:
        found = nothing if shut is None else (shut.by_tags_m, float(np.hypot(shut.tags_sigma_m, params.jaw_m)))
        out.append(_check("jaw_tags", side, jaw_m, *found, limits.jaw_m, params))
        found = nothing if shut is None else (shut.tag_size, shut.tag_size_sigma)
        out.append(_check("tag_size", side, 1.0, *found, limits.tag_size, params))
    if gripper.encoder is not None:
        found = nothing if shut is None else (shut.by_encoder_m, float(np.hypot(shut.encoder_sigma_m, params.jaw_m)))
        out.append(_check("jaw_encoder", side, jaw_m, *found, limits.jaw_m, params))
    return out
