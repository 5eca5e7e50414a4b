"""A first TOML file, and a picture, of a robot that nobody prepared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.causes import Language
from handcap.errors import OutputError, RetargetError
from handcap.geometry import Array
from handcap.retarget.clearance import shape_points
from handcap.retarget.description import Description, read_description
from handcap.retarget.model import Body, build
from handcap.retarget.robot import read_robot

_ACCELERATION = 8.0  # rad/s², declared: what small and middling arms do
_WIDTH, _HEIGHT = 640, 640
_FINGERS, _MOST_OF_A_FINGER = 2, 6  # other chains, and joints of each, from which on it looks like a hand


@dataclass(frozen=True, slots=True)
class Described:
    """The files written, the joints of the arm that was found, and what a person should look at."""

    outputs: tuple[Path, ...]
    joints: tuple[str, ...]
    notes: Mapping[Language, Sequence[str]]


def describe(path: Path, out: Path | None = None, package: Path | None = None, tool: str | None = None) -> Described:
    """Write `<robot>.toml` and `<robot>.png` for a URDF: its longest chain of joints is the arm.

    Args:
        path: the URDF.
        out: the TOML file; beside the URDF by default, which must lie in the TOML's folder or below.
        package: folder that the URDF may read from; its own by default.
        tool: frame of the tool; the end of the longest chain by default.

    Raises:
        RetargetError: see `read_description`; or it has no joint that moves.
        OutputError: the files exist or cannot be written.
    """
    path = Path(path)
    description = read_description(path, package)
    out = path.with_suffix(".toml") if out is None else out
    if out.exists():
        raise OutputError("exists already", where=out, mend="give another name with --out")
    root = out.parent.resolve()
    if not path.resolve().is_relative_to(root):
        raise RetargetError(
            "the TOML file must lie in a folder above the robot's", where=out, mend="leave --out out, or move it"
        )
    chain = _chain(description, tool)
    text = _toml(description, path.resolve().relative_to(root), out.stem, chain)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", where=out, mend="choose another folder") from error
    try:
        body = build(read_robot(out), ["right"])
        picture = out.with_suffix(".png")
        draw(body, body.home, picture)
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    return Described((out, picture), chain.joints, _notes(description, chain))


@dataclass(frozen=True, slots=True)
class _Chain:
    base: str
    tool: str
    joints: tuple[str, ...]
    home: tuple[float, ...]
    fast: tuple[bool, ...]  # whether the description says how fast
    R_tool_tcp: Array  # where the tool seems to point
    jaws: tuple[tuple[str, float, float], ...]  # joints that look like a gripper's, and their limits
    others: tuple[str, ...]  # where other chains as long as this one end: another arm's tool, or another finger's


def _chain(description: Description, tool: str | None) -> _Chain:
    import pinocchio as pin

    model = pin.buildModelFromXML(description.xml)
    frames = [f for f in model.frames if f.type == pin.FrameType.BODY]
    if tool is not None:
        frames = [f for f in frames if f.name == tool]
        if not frames:
            raise RetargetError(f"no link {tool!r}", where=description.path, mend="name one of its links with --tool")
    # The longest chain; among its links the one farthest from the joint, fingers apart.
    best = max(frames, key=lambda f: (len(_revolute(model, f.parentJoint)), -f.parentJoint), default=None)
    joints = [] if best is None else _revolute(model, best.parentJoint)
    if best is None or not joints:
        raise RetargetError("no joint of it moves", where=description.path, mend="give the robot's whole URDF")
    same = [f for f in frames if f.parentJoint == best.parentJoint]
    named = [f for f in same if any(word in f.name.lower() for word in ("tcp", "tool", "ee", "flange", "gripper"))]
    chosen = named[-1] if named else same[-1]
    base = next(f for f in model.frames if f.type == pin.FrameType.BODY)
    columns = [model.joints[j].idx_q for j in joints]
    home = np.clip(0.0, model.lowerPositionLimit[columns], model.upperPositionLimit[columns])
    wide = model.upperPositionLimit[columns] - model.lowerPositionLimit[columns]
    middle = (model.upperPositionLimit[columns] + model.lowerPositionLimit[columns]) / 2
    home = np.where((np.abs(home - middle) > 0.45 * wide), middle, home)
    fast = [bool(model.velocityLimit[model.joints[j].idx_v] > 0) for j in joints]
    jaws = [j for j in range(1, model.njoints) if joints[-1] in model.supports[j] and _is_jaw(model, j)]
    ends = [f for f in frames if len(_revolute(model, f.parentJoint)) == len(joints) and f.parentJoint != joints[-1]]
    lower, upper = model.lowerPositionLimit, model.upperPositionLimit
    return _Chain(
        base.name,
        chosen.name,
        tuple(model.names[j] for j in joints),
        tuple(home.round(4).tolist()),
        tuple(fast),
        _points(model, joints, chosen),
        tuple((model.names[j], float(lower[model.joints[j].idx_q]), float(upper[model.joints[j].idx_q])) for j in jaws),
        tuple({f.parentJoint: f.name for f in ends}.values()),
    )


def _points(model: Any, joints: list[int], frame: Any) -> Array:
    """(3, 3) our tool axes in a frame: most arms turn their last joint about the way the tool points.

    Where the axis of that joint is none of the frame's, the frame's own axes.
    """
    import pinocchio as pin

    data = model.createData()
    q = pin.neutral(model)
    pin.computeJointJacobians(model, data, q)
    M = data.oMi[frame.parentJoint] * frame.placement
    axis = M.rotation.T @ np.array(data.J[3:, model.joints[joints[-1]].idx_v])
    along = int(np.argmax(np.abs(axis)))
    if abs(axis[along]) < 0.99:
        return np.eye(3)
    away = M.rotation.T @ (M.translation - data.oMi[joints[max(len(joints) - 3, 0)]].translation)
    z = np.eye(3)[along] * (1.0 if away[along] > -_NOWHERE_M else -1.0)
    x = np.eye(3)[(along + 1) % 3]
    return np.column_stack([x, np.cross(z, x), z])


_NOWHERE_M = 0.005
_JAW_NAMES = ("grip", "finger", "jaw", "knuckle", "thumb", "index", "pinky", "hand_middle", "hand_ring")


def _is_jaw(model: Any, joint: int) -> bool:
    """Whether a joint is a gripper's, not an arm's: it slides at the end, or is called so."""
    named = any(word in model.names[joint].lower() for word in _JAW_NAMES)
    return model.joints[joint].nq == 1 and (named or "P" in model.joints[joint].shortname()[len("JointModel") :][:2])


def _revolute(model: Any, joint: int) -> list[int]:
    """Joints that turn, from the base to this one; none beyond a joint that is a gripper's by its name, and sliding
    ones are taken for fingers unless they come first.
    """
    if any(word in model.names[j].lower() for j in model.supports[joint] for word in _JAW_NAMES):
        return []
    out = [j for j in model.supports[joint] if j > 0 and model.joints[j].nq == 1]
    while out and "P" in model.joints[out[-1]].shortname().removeprefix("JointModel")[:2]:
        out.pop()
    return out if len(model.supports[joint]) - 1 == len(out) else []


def _toml(description: Description, relative: Path, name: str, chain: _Chain) -> str:
    quoted = ", ".join(f'"{joint}"' for joint in chain.joints)
    T_tool_tcp = [[*(int(v) for v in row), 0] for row in chain.R_tool_tcp] + [[0, 0, 0, 1]]
    numbers = ", ".join(f"{value:g}" for value in chain.home)
    velocity = "" if all(chain.fast) else f"velocity = [{', '.join(['1.0'] * len(chain.joints))}]  # rad/s: check\n"
    gripper = "".join(f"# its description has {j}: {low:.4g} to {high:.4g}\n" for j, low, high in chain.jaws)
    others = "".join(f"#    --tool {name}\n" for name in chain.others)
    if others:
        others = f"# 6. It has other chains as long as this one; for an arm that ends there, describe it with\n{others}"
    safe = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower())[:64]
    return f'''# Written by `handcap robots describe`, which cannot know all. Look at the picture beside it, then mend:
# 1. `tool` and `T_tool_tcp`: where the gripper's tips are when shut, and how they look. Wrong: all takes are off.
# 2. `home`: a posture it likes to work in, away from its limits; elbow as you want it.
# 3. `velocity` and `acceleration`: of its data sheet, and say so in `limits_source`.
# 4. `[gripper]`: which joints open the jaws, and how wide. Without it the file holds no jaws.
# 5. `license` of the description; two arms, a base that goes along, a head: see docs/retarget.md. A hand with fingers
#    needs [hand] and [[fingers]] instead of [[arms]]: docs/retarget_hands.md.
{others}
name = "{safe}"
title = "{name.replace('"', "'").replace(chr(92), "/")}"
kind = "arm"
license = ""

[description]
format = "{description.format}"
path = "{relative.as_posix()}"

[[arms]]
base = "{chain.base}"
tool = "{chain.tool}"
joints = [{quoted}]
# Our tool frame in that frame: z is where the gripper points, x the way its jaws open.
# Guessed: z along the axis of the last joint, its origin that of the frame.
T_tool_tcp = {T_tool_tcp}
home = [{numbers}]
{velocity}acceleration = [{", ".join([f"{_ACCELERATION:g}"] * len(chain.joints))}]
limits_source = "guessed by `handcap robots describe`: check"

# How joints make a jaw opening, in metres:
{gripper}# [gripper]
# joints = ["finger"]
# open_m = 0.08
# open = [0.04]
# closed = [0.0]
'''


def _notes(description: Description, chain: _Chain) -> Mapping[Language, Sequence[str]]:
    en = [f"arm: {', '.join(chain.joints)}; tool: {chain.tool}"]
    zh = [f"手臂:{', '.join(chain.joints)};工具:{chain.tool}"]
    if chain.jaws:
        names = ", ".join(name for name, *_ in chain.jaws)
        en.append(f"taken for its gripper, and held still until [gripper] says how they open: {names}")
        zh.append(f"视为夹爪关节,在 [gripper] 说明开合方式之前保持不动:{names}")
    if len(chain.others) >= _FINGERS and len(chain.joints) <= _MOST_OF_A_FINGER:
        en.append("this looks like a hand: write [hand] and [[fingers]] as docs/retarget_hands.md says")
        zh.append("这看起来是一只灵巧手:请按 docs/retarget_hands.md 编写 [hand] 和 [[fingers]]")
    elif chain.others:
        en.append(f"other chains as long end at: {', '.join(chain.others)}; choose one with --tool")
        zh.append(f"其他同样长的关节链末端:{', '.join(chain.others)};可用 --tool 选择")
    if description.missing:
        count = len(description.missing)
        en.append(f"{count} meshes are not there: what touches what is judged without them")
        zh.append(f"缺少 {count} 个网格文件:碰撞判断不包含它们")
    return {"en": en, "zh": zh}


def draw(body: Body, q: Array, out: Path) -> None:
    """A robot in one posture, as a PNG: shapes where there are some, else joints as a chain; z is up."""
    import cv2

    posed = _triangles(body, q)
    chain = _joints(body, q)
    points = np.concatenate([posed.reshape(-1, 3), chain])
    R = _view()
    seen = points @ R.T
    low, high = seen[:, :2].min(axis=0), seen[:, :2].max(axis=0)
    scale = 0.85 * min(_WIDTH, _HEIGHT) / max(float((high - low).max()), 1e-3)
    middle = (low + high) / 2

    def pixels(p: Array) -> NDArray[np.int32]:
        flat = (p @ R.T)[..., :2] - middle
        return (flat * [scale, -scale] + [_WIDTH / 2, _HEIGHT / 2]).round().astype(np.int32)

    sheet = np.full((_HEIGHT, _WIDTH, 3), 245, np.uint8)
    if len(posed):
        normals = np.cross(posed[:, 1] - posed[:, 0], posed[:, 2] - posed[:, 0])
        length = np.linalg.norm(normals, axis=1)
        shade = np.abs(normals @ (R.T @ [0.3, 0.4, 0.85])) / np.maximum(length, 1e-12)
        depth = (posed.mean(axis=1) @ R.T)[:, 2]
        for k in np.argsort(depth, kind="stable"):
            grey = int(90 + 140 * shade[k])
            cv2.fillConvexPoly(sheet, pixels(posed[k]), (grey, grey, grey), cv2.LINE_AA)
    cv2.polylines(sheet, [pixels(chain)], False, (60, 60, 220), 2, cv2.LINE_AA)
    for place in pixels(chain):
        cv2.circle(sheet, (int(place[0]), int(place[1])), 4, (60, 60, 220), -1, cv2.LINE_AA)
    ok, data = cv2.imencode(".png", sheet)
    assert ok
    try:
        out.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", where=out, mend="choose another folder") from error


def _view() -> Array:
    """From the front left and above: rows are right, up and towards the eye."""
    towards = np.array([0.75, 0.55, 0.36])
    towards /= np.linalg.norm(towards)
    right = np.cross([0.0, 0.0, 1.0], towards)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(towards, right), towards])


def _triangles(body: Body, q: Array) -> Array:
    """(m, 3, 3) of all shapes' hulls, world, m."""
    import pinocchio as pin
    from scipy.spatial import ConvexHull

    data, shapes = body.model.createData(), body.geometry.createData()
    pin.updateGeometryPlacements(body.model, data, body.geometry, shapes, q)
    out = [np.empty((0, 3, 3))]
    for k, shape in enumerate(body.geometry.geometryObjects):
        points = shape_points(shape.geometry)
        M = shapes.oMg[k]
        out.append((points @ M.rotation.T + M.translation)[ConvexHull(points).simplices])
    return np.concatenate(out)


def _joints(body: Body, q: Array) -> Array:
    import pinocchio as pin

    data = body.model.createData()
    pin.forwardKinematics(body.model, data, q)
    tool = body.tools[0]
    places = [np.zeros(3), *(np.array(data.oMi[j].translation) for j in body.model.supports[tool.joint] if j > 0)]
    return np.array([*places, (data.oMi[tool.joint].homogeneous @ tool.T_joint_tcp)[:3, 3]])
