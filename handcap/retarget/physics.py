"""The proof: a motion played in MuJoCo with position control, gravity and the robot's own torques."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from handcap.errors import OutputError, RetargetError
from handcap.geometry import Array, inverse, quat_wxyz_from_matrix
from handcap.retarget.clearance import shape_points
from handcap.retarget.kinematics import Kinematics, Posed
from handcap.retarget.model import Body
from handcap.types import SIDES, Rig, Side


@dataclass(frozen=True, slots=True)
class PhysicsParams:
    step_s: float = 0.001
    servo_rad_s: float = 120.0  # bandwidth of every joint's servo against the inertia that it feels at home
    damping: float = 1.0  # 1: as fast as it gets without swinging
    settle_s: float = 0.5  # in the first posture before the motion begins
    picture_hz: float = 10.0
    width: int = 480
    height: int = 360


@dataclass(frozen=True, eq=False, slots=True)
class Eye:
    """A camera that rides on a tool, without distortion.

    Attributes:
        T_tcp_cam: (4, 4), x right, y down, z forward.
        fovy_rad: from top to bottom of the picture.
        aspect: width over height.
        video: file to write what it sees to, .mp4.
    """

    T_tcp_cam: Array
    fovy_rad: float
    aspect: float
    video: Path


@dataclass(frozen=True, eq=False, slots=True)
class Played:
    """What happened.

    Attributes:
        t_s: (m,) of the motion, the robot's own pace; every row of the motion.
        q: (m, d) where the joints were.
        joint_error_rad: (m, d) against what was commanded.
        tool_error_m: (m, tools) between the tool's place and that of the commanded posture.
        contacts: (m,) pairs of shapes that touched.
        torque_share: (d,) most of a joint's torque limit that was used; NaN where the description has none.
    """

    t_s: Array
    q: Array
    joint_error_rad: Array
    tool_error_m: Array
    contacts: Array
    torque_share: Array

    def numbers(self) -> dict[str, Any]:
        """For a report."""
        known = self.torque_share[np.isfinite(self.torque_share)]
        return {
            "tool_error_mm": {
                "median": float(np.median(self.tool_error_m) * 1e3),
                "p95": float(np.percentile(self.tool_error_m, 95) * 1e3),
                "max": float(self.tool_error_m.max() * 1e3),
            },
            "joint_error_deg_max": float(np.rad2deg(np.abs(self.joint_error_rad).max())),
            "touching": float((self.contacts > 0).mean()),
            "torque_share": float(known.max()) if len(known) else None,
        }


def play(
    body: Body,
    q: Array,
    t_s: Array,
    params: PhysicsParams | None = None,
    video: Path | None = None,
    eyes: Mapping[Side, Eye] | None = None,
) -> Played:
    """Let position servos follow a motion.

    Args:
        q: (n, d) rad or m; between rows in proportion.
        t_s: (n,) from 0, increasing.
        video: file to write a picture series to, .mp4.
        eyes: cameras on tools, by the tool's side.

    Raises:
        RetargetError: a link that moves has no mass, so that no physics can be had of it.
    """
    mujoco = _mujoco()
    params = params or PhysicsParams()
    eyes = eyes or {}
    model = mujoco_model(body, params, eyes)
    data = mujoco.MjData(model)
    data.qpos[:] = q[0]
    data.ctrl[:] = q[0]
    for _ in range(round(params.settle_s / params.step_s)):
        mujoco.mj_step(model, data)
    n = len(t_s)
    there, contacts = np.empty_like(q), np.zeros(n)
    torque = np.zeros(body.dof)
    step = 0
    with ExitStack() as films:
        cameras = [] if video is None else [_Film(mujoco, model, video, _aside(mujoco, body, q), params)]
        cameras += [_Film(mujoco, model, e.video, f"eye_{side}", params, e.aspect) for side, e in eyes.items()]
        for camera in cameras:
            films.callback(camera.close)
        for row in range(n):
            while step * params.step_s < t_s[row] - params.step_s / 2:
                data.ctrl[:] = _command(model, data, q, t_s, (step + 1) * params.step_s)
                mujoco.mj_step(model, data)
                torque = np.maximum(torque, np.abs(data.actuator_force))
                step += 1
                for camera in cameras:
                    camera.look(data, step * params.step_s)
            there[row] = data.qpos
            contacts[row] = sum(data.contact[k].dist < 0 for k in range(data.ncon))
    kinematics = Kinematics(body)
    was, asked = kinematics.poses(there), kinematics.poses(q)
    off = [np.linalg.norm(_place(was, t) - _place(asked, t), axis=1) for t in body.tools]
    effort = np.array(body.model.effortLimit, float)
    share = np.where((effort > 0) & np.isfinite(effort), torque / np.where(effort > 0, effort, 1.0), np.nan)
    return Played(t_s, there, there - q, np.stack(off, axis=1), contacts, share)


def mujoco_model(body: Body, params: PhysicsParams | None = None, eyes: Mapping[Side, Eye] | None = None) -> Any:
    """A body as MuJoCo knows it: the same joints, masses and shapes, and the same pairs that may touch; with cameras
    `eye_left` and `eye_right` where eyes are given.
    """
    import pinocchio as pin

    mujoco = _mujoco()
    params = params or PhysicsParams()
    model = body.model
    spec = mujoco.MjSpec()
    spec.option.timestep = params.step_s
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.visual.global_.offwidth, spec.visual.global_.offheight = params.width, params.height
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.9, 0.92, 0.95],
        rgb2=[0.6, 0.65, 0.7],
        width=64,
        height=64,
    )
    spec.worldbody.add_light(pos=[1, -1, 4], dir=[-0.2, 0.2, -1])
    inertia = _felt_inertia(body)
    data = model.createData()
    pin.computeJointJacobians(model, data, body.home)
    bodies = {0: spec.worldbody}
    for j in range(1, model.njoints):
        placement = model.jointPlacements[j]
        quat = quat_wxyz_from_matrix(np.array(placement.rotation))
        link = bodies[model.parents[j]].add_body(name=f"body_{j}", pos=placement.translation, quat=quat)
        bodies[j] = link
        kind, axis = _axis(data, j, model.joints[j].idx_v)
        k = model.joints[j].idx_v
        link.add_joint(name=body.joints[k], type=getattr(mujoco.mjtJoint, kind), axis=axis, armature=0.1 * inertia[k])
        _weigh(link, model.inertias[j], body, j)
    for tool in body.tools:
        if eyes and tool.side in eyes:
            T = tool.T_joint_tcp @ eyes[tool.side].T_tcp_cam
            # MuJoCo's cameras look against z, with y up.
            quat = quat_wxyz_from_matrix(T[:3, :3] @ np.diag([1.0, -1.0, -1.0]))
            fovy = float(np.rad2deg(eyes[tool.side].fovy_rad))
            bodies[tool.joint].add_camera(name=f"eye_{tool.side}", pos=T[:3, 3], quat=quat, fovy=fovy)
    _add_servos(mujoco, spec, body, inertia, params)
    names = _add_shapes(mujoco, spec, body, bodies)
    for pair in body.geometry.collisionPairs:
        spec.add_pair(geomname1=names[pair.first], geomname2=names[pair.second])
    return spec.compile()


def _mujoco() -> Any:
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # pictures without a screen
    try:
        import mujoco
    except ImportError as error:
        raise RetargetError("MuJoCo is not installed", mend="pip install 'handcap[retarget]'") from error
    return mujoco


def _axis(data: Any, joint: int, column: int) -> tuple[str, Array]:
    """Kind and axis of a joint in its own frame, from what it does to the world."""
    M = data.oMi[joint]
    J = np.array(data.J[:, column])
    turn = M.rotation.T @ J[3:]
    if np.linalg.norm(turn) > 0.5:
        return "mjJNT_HINGE", turn
    return "mjJNT_SLIDE", M.rotation.T @ J[:3]


def _weigh(link: Any, inertia: Any, body: Body, joint: int) -> None:
    mass = float(inertia.mass)
    if mass <= 0:
        k = body.model.joints[joint].idx_v
        if k not in body.base:
            raise RetargetError(
                f"what {body.joints[k]!r} moves has no mass", where=body.descriptions[0].path, mend="give it its mass"
            )
        # What carries the arms about is given by its path; its own weight does not matter.
        mass, tensor, lever = 20.0, np.eye(3), np.zeros(3)
    else:
        tensor, lever = np.array(inertia.inertia), np.array(inertia.lever)
    values, axes = np.linalg.eigh((tensor + tensor.T) / 2)
    # Descriptions round: what no body can have is mended by a little.
    values = np.maximum(values, 1e-6)
    values[2] = min(values[2], values[0] + values[1])
    if np.linalg.det(axes) < 0:
        axes[:, 0] *= -1
    link.mass, link.ipos = mass, lever
    link.inertia, link.iquat = values, quat_wxyz_from_matrix(axes)
    link.explicitinertial = True


def _felt_inertia(body: Body) -> Array:
    """(d,) what each joint feels at home, kg m² or kg."""
    import pinocchio as pin

    data = body.model.createData()
    M = np.array(pin.crba(body.model, data, body.home))
    felt = np.diag(M).copy()
    felt[body.base] += 20.0
    return np.maximum(felt, 1e-4)


def _add_servos(mujoco: Any, spec: Any, body: Body, inertia: Array, params: PhysicsParams) -> None:
    effort = np.array(body.model.effortLimit, float)
    for k, name in enumerate(body.joints):
        w = params.servo_rad_s
        # Light joints still carry what is behind them: none is softer than a hundredth of the stiffest.
        felt = max(1.1 * inertia[k], 0.01 * float(inertia.max()))
        servo = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.gainprm[0] = felt * w**2
        servo.biastype = mujoco.mjtBias.mjBIAS_AFFINE
        servo.biasprm[1], servo.biasprm[2] = -felt * w**2, -2 * params.damping * felt * w
        if k not in body.base and effort[k] > 0 and np.isfinite(effort[k]):
            servo.forcelimited, servo.forcerange = True, [-effort[k], effort[k]]


def _add_shapes(mujoco: Any, spec: Any, body: Body, bodies: Mapping[int, Any]) -> list[str]:
    names: list[str] = []
    for k, shape in enumerate(body.geometry.geometryObjects):
        points = shape_points(shape.geometry)
        name = f"shape_{k}"
        spec.add_mesh(name=name, uservert=np.ascontiguousarray(points, np.float32).reshape(-1))
        M = shape.placement
        colour = [0.75, 0.6, 0.45, 1.0] if shape.name.startswith("surface_") else [0.85, 0.85, 0.88, 1.0]
        bodies[shape.parentJoint].add_geom(
            name=name,
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=name,
            pos=M.translation,
            quat=quat_wxyz_from_matrix(np.array(M.rotation)),
            contype=0,
            conaffinity=0,
            mass=0.0,
            rgba=colour,
        )
        names.append(name)
    return names


def _command(model: Any, data: Any, q: Array, t_s: Array, when_s: float) -> Array:
    """Where the servos are sent: ahead of the posture asked for, as by an arm's own controller, which knows its weight
    and where the motion goes on.
    """
    here, soon = _between(q, t_s, when_s), _between(q, t_s, when_s + 1e-3)
    stiffness, damping = model.actuator_gainprm[:, 0], -model.actuator_biasprm[:, 2]
    return here + (data.qfrc_bias + damping * (soon - here) / 1e-3) / stiffness


def _between(q: Array, t_s: Array, when_s: float) -> Array:
    k = int(np.clip(np.searchsorted(t_s, when_s), 1, len(t_s) - 1))
    share = np.clip((when_s - t_s[k - 1]) / (t_s[k] - t_s[k - 1]), 0.0, 1.0)
    return (1 - share) * q[k - 1] + share * q[k]


def _place(posed: Posed, tool: Any) -> Array:
    return (posed.T_world_joint[:, tool.joint] @ tool.T_joint_tcp)[:, :3, 3]


def _aside(mujoco: Any, body: Body, q: Array) -> Any:
    """A view of where the tools work."""
    posed = Kinematics(body).poses(q[:: max(1, len(q) // 50)])
    p = np.concatenate([_place(posed, tool) for tool in body.tools])
    view = mujoco.MjvCamera()
    view.lookat[:] = (p.min(axis=0) + p.max(axis=0)) / 2 - [0.15, 0.0, 0.2]
    view.distance, view.azimuth, view.elevation = 2.2, 140.0, -18.0
    return view


class _Film:
    """A picture series of the robot at work, seen by a camera of the model or from a place in the room."""

    def __init__(
        self, mujoco: Any, model: Any, path: Path, view: Any, params: PhysicsParams, aspect: float | None = None
    ) -> None:
        import av

        aspect = params.width / params.height if aspect is None else aspect
        scale = min(params.width / aspect, params.height)
        width, height = (2 * round(side / 2) for side in (scale * aspect, scale))  # encoders want them even
        try:
            self._renderer = mujoco.Renderer(model, height, width)
        except Exception as error:  # what fails here depends on drivers and has no common type
            raise RetargetError(
                f"no picture can be drawn on this computer ({error})", mend="install EGL, or leave the video out"
            ) from error
        try:
            self._file: Any = av.open(str(path), "w")
        except OSError as error:
            raise OutputError(f"cannot be written ({error})", where=path, mend="choose another folder") from error
        self._stream: Any = self._file.add_stream("libx264", rate=Fraction(params.picture_hz).limit_denominator(1001))
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.thread_count = 1
        self._stream.options = {"crf": "26", "preset": "veryfast"}
        self._view = view
        self._period_s, self._next_s = 1 / params.picture_hz, 0.0

    def look(self, data: Any, t_s: float) -> None:
        import av

        if t_s < self._next_s:
            return
        self._next_s += self._period_s
        self._renderer.update_scene(data, self._view)
        frame = av.VideoFrame.from_ndarray(self._renderer.render(), format="rgb24")
        for packet in self._stream.encode(frame):
            self._file.mux(packet)

    def close(self) -> None:
        for packet in self._stream.encode(None):
            self._file.mux(packet)
        self._file.close()
        self._renderer.close()


_WIDEST_RAD = float(np.deg2rad(100.0))  # a picture without distortion is all edge beyond


def wrist_cameras(rig: Rig, folder: Path, robot: str) -> dict[Side, Eye]:
    """Cameras on the robot's tools where the recorded grippers have theirs: as much of their view as a picture without
    distortion holds.
    """
    eyes: dict[Side, Eye] = {}
    for side in SIDES:
        gripper, mounted = rig.grippers.get(side), rig.cameras.get(side)
        if gripper is None or gripper.T_cam_tcp is None or mounted is None:
            continue
        lens = mounted.camera
        fovy = 2 * float(np.arctan2(lens.height / 2, lens.focal_px[1]))
        video = folder / f"{robot}.{side}_camera.mp4"
        eyes[side] = Eye(inverse(gripper.T_cam_tcp), min(fovy, _WIDEST_RAD), lens.width / lens.height, video)
    return eyes
