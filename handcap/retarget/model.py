"""A robot, or one for each hand, as one kinematic tree with tools and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.errors import RetargetError
from handcap.geometry import Array, inverse
from handcap.retarget.description import Description
from handcap.retarget.hulls import convex_shapes, hull
from handcap.retarget.robot import Arm, Base, Jaws, Robot, load_description, read_robot
from handcap.types import SIDES, Side

BASE_JOINTS = ("base_x", "base_y", "base_yaw")  # m, m, rad in the world; of a robot that goes along
_SAMPLES = 200  # postures that tell which shapes always overlap
_ALWAYS = 0.9  # overlap in so many postures: then it is the shapes
_OFTEN = 0.1  # likewise two joints apart, where hulls, which are fatter than links, are close by all the time
_STOPS_RAD = 3.5  # a joint that turns less than that is stopped before its neighbours' links meet
_MANY, _FAR_M = 300, 0.08
_SEED = 0


@dataclass(frozen=True, eq=False, slots=True)
class Tool:
    """What follows a recorded gripper.

    Attributes:
        side: whose.
        joint: index of the joint that carries it.
        T_joint_tcp: (4, 4).
        columns: (k,) indices of the joints of its arm in the vector of joints.
        jaws: of the gripper it carries; None when it carries none.
    """

    side: Side
    joint: int
    T_joint_tcp: Array
    columns: NDArray[np.int64]
    jaws: Jaws | None


@dataclass(frozen=True, eq=False, slots=True)
class Body:
    """What moves.

    Attributes:
        robot: which robot.
        model: pinocchio's, every joint one number.
        geometry: pinocchio's convex shapes with the pairs that must not touch.
        joints: (d,) names in the order of the vector of joints.
        tools: one for every side that is followed.
        lower, upper, velocity, acceleration, home: (d,) rad or m, per s, per s².
        base: columns of the base's three joints; empty when it stands still.
        head: (joint, T_joint_head) of the frame that looks where the wearer looks; None when there is none.
        without_shape: names of links whose meshes were not there.
        descriptions: of all parts.
        T_world_base: (4, 4) of every arm's base, per side, as it was built; of one that goes along, in its base.
    """

    robot: Robot
    model: Any
    geometry: Any
    joints: tuple[str, ...]
    tools: tuple[Tool, ...]
    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    home: Array
    base: NDArray[np.int64]
    head: tuple[int, Array] | None
    without_shape: tuple[str, ...]
    descriptions: tuple[Description, ...]
    T_world_base: Mapping[Side, Array]

    @property
    def dof(self) -> int:
        return len(self.joints)


@dataclass(frozen=True, eq=False, slots=True)
class _Limb:
    """One description with what is held still taken out, names prefixed."""

    model: Any
    geometry: Any
    prefix: str
    robot: Robot
    arms: tuple[tuple[Side, Arm], ...]
    T_root_base: Array
    descriptions: tuple[Description, ...]


def sides_of(robot: Robot, wanted: Sequence[Side]) -> list[Side]:
    """The sides that a robot can follow at once, of those wanted; one "any" arm is set up once for each."""
    has = {part.side for part in robot.parts} if robot.parts else {arm.side for arm in robot.arms}
    return [side for side in SIDES if side in wanted and (side in has or "any" in has)]


def build(
    robot: Robot,
    sides: Sequence[Side],
    T_world_base: Mapping[Side, Array] | None = None,
    surfaces: Sequence[Array] = (),
    shapes: bool = True,
) -> Body:
    """Put a robot together.

    Args:
        robot: which.
        sides: that it follows, of `sides_of`.
        T_world_base: (4, 4) where its base stands, per side; a robot with one base takes the first. Identity where
            missing. Of a robot that goes along it is where its base joints are zero.
        surfaces: (k, 3) convex polygons in the world, m, that nothing but tools may touch from above or below.
        shapes: whether to load shapes, too.

    Raises:
        RetargetError: names of the robot's file are not in its description, or a package is missing.
    """
    import pinocchio as pin

    stand = dict(T_world_base or {})
    root, shape = pin.Model(), pin.GeometryModel()
    root.name = robot.name
    goes = robot.base.kind != "fixed"
    mount = 0
    first = stand.get(sides[0], np.eye(4)) if sides else np.eye(4)
    if goes:
        _add_base(pin, root, robot.base, first)
        mount = int(root.getFrameId("base"))
    limbs = _limbs(pin, robot, sides, shapes)
    bases: dict[Side, Array] = {}
    for limb, T in limbs:
        here = T if goes or len(limbs) == 1 or robot.parts else np.eye(4)
        if not goes:
            own = stand.get(limb.arms[0][0], np.eye(4)) if not robot.parts else first
            here = own @ here
        for side, _ in limb.arms:
            bases[side] = here
        M = pin.SE3(here @ inverse(limb.T_root_base))
        root, shape = pin.appendModel(root, limb.model, shape, limb.geometry, mount, M)
    return _finish(pin, robot, root, shape, [limb for limb, _ in limbs], bases, surfaces, shapes)


def _limbs(pin: Any, robot: Robot, sides: Sequence[Side], shapes: bool) -> list[tuple[_Limb, Array]]:
    if robot.parts:
        out: list[tuple[_Limb, Array]] = []
        for part in robot.parts:
            if part.side in sides:
                whose = read_robot(part.robot)
                arm = _arm_for(whose, part.side)
                out.append((_limb(pin, whose, [(part.side, arm)], f"{part.side}_", shapes), part.T_base_part))
        return out
    if any(arm.side != "any" for arm in robot.arms):
        arms: list[tuple[Side, Arm]] = [(side, _arm_for(robot, side)) for side in sides]
        return [(_limb(pin, robot, arms, "", shapes), np.eye(4))]
    prefix = len(sides) > 1
    return [
        (_limb(pin, robot, [(side, _arm_for(robot, side))], f"{side}_" if prefix else "", shapes), np.eye(4))
        for side in sides
    ]


def _arm_for(robot: Robot, side: Side) -> Arm:
    for arm in robot.arms:
        if arm.side in (side, "any"):
            return arm
    raise RetargetError(f"{robot.title} has no {side} arm", where=robot.file, mend="choose another robot")


def _limb(
    pin: Any, robot: Robot, arms: Sequence[tuple[Side, Arm]], prefix: str, shapes: bool, rigid: bool = False
) -> _Limb:
    description = load_description(robot)
    model, geometry = _parse(description, shapes)
    wanted = {joint for _, arm in arms for joint in arm.joints} | (set() if rigid else set(robot.waist))
    for name in [*wanted, *(robot.jaws.joints if robot.jaws else ()), *dict(robot.locked)]:
        if not model.existJointName(name):
            raise RetargetError(
                f"{robot.file.name} names the joint {name!r}, which its description does not have",
                where=description.path,
                mend=f"its joints: {', '.join(list(model.names)[1:])}",
            )
    q = pin.neutral(model)
    jaws = robot.jaws
    still = dict(robot.locked)
    if jaws is not None:
        still |= dict(zip(jaws.joints, (jaws.open + jaws.closed) / 2, strict=True))
    for name, value in still.items():
        q[model.joints[model.getJointId(name)].idx_q] = value
    locked = [i for i in range(1, model.njoints) if model.names[i] not in wanted]
    model, [geometry] = pin.buildReducedModel(model, [geometry], locked, q)
    descriptions = [description]
    for _, arm in arms:
        for frame in (arm.base, arm.tool):
            _frame(model, frame, robot)
        if jaws is not None and jaws.robot:
            gripper = _limb(pin, read_robot(jaws.robot), [], f"{prefix}gripper_", shapes, rigid=True)
            model, geometry = pin.appendModel(
                model, gripper.model, geometry, gripper.geometry, _frame(model, arm.tool, robot),
                pin.SE3(jaws.T_tool_gripper),
            )  # fmt: skip
            descriptions += gripper.descriptions
    data = model.createData()
    pin.framesForwardKinematics(model, data, pin.neutral(model))
    T_root_base = data.oMf[_frame(model, arms[0][1].base, robot)].homogeneous if arms else np.eye(4)
    _rename(model, geometry, prefix)
    return _Limb(model, geometry, prefix, robot, tuple(arms), T_root_base, tuple(descriptions))


@lru_cache(maxsize=16)
def _parse(description: Description, shapes: bool) -> tuple[Any, Any]:
    """pinocchio's model and convex shapes; hulls of fine meshes take longer than all else, so they are kept."""
    import pinocchio as pin

    try:
        if description.format == "mjcf":
            model = pin.buildModelFromMJCF(str(description.path))
            return model, pin.buildGeomFromMJCF(model, str(description.path), pin.COLLISION)
        model = pin.buildModelFromXML(description.xml)
        geometry = convex_shapes(model, description) if shapes else pin.GeometryModel()
    except (ValueError, RuntimeError) as error:
        raise RetargetError(
            f"pinocchio cannot use it ({error})", where=description.path, mend="check it with its maker's tools"
        ) from error
    joints = {frame.name for frame in model.frames if frame.type in (pin.FrameType.JOINT, pin.FrameType.FIXED_JOINT)}
    for frame in model.frames:
        # pinocchio asks by name alone when it takes joints out, and stumbles over a link that is called like one.
        if frame.type == pin.FrameType.BODY and frame.name in joints:
            frame.name += _LINK
    return model, geometry


_LINK = " (link)"


def _frame(model: Any, name: str, robot: Robot) -> int:
    import pinocchio as pin

    if model.existFrame(name + _LINK, pin.FrameType.BODY):
        name += _LINK
    if not model.existFrame(name, pin.FrameType.BODY):
        known = ", ".join(frame.name for frame in model.frames if frame.type.name == "BODY")
        raise RetargetError(f"the description has no frame {name!r}", where=robot.file, mend=f"its links: {known}")
    return int(model.getFrameId(name, pin.FrameType.BODY))


def _rename(model: Any, geometry: Any, prefix: str) -> None:
    if not prefix:
        return
    for i in range(1, model.njoints):
        model.names[i] = prefix + model.names[i]
    for frame in model.frames:
        if frame.name != "universe":
            frame.name = prefix + frame.name
    for shape in geometry.geometryObjects:
        shape.name = prefix + shape.name


def _add_base(pin: Any, root: Any, base: Base, T_world: Array) -> None:
    """Three joints in the plane, between the world and the arms; what carries them has no shape."""
    parent, placement = 0, pin.SE3(T_world)
    kinds = (pin.JointModelPX(), pin.JointModelPY(), pin.JointModelRZ())
    for kind, name in zip(kinds, BASE_JOINTS, strict=True):
        parent = root.addJoint(parent, kind, placement, name)
        placement = pin.SE3.Identity()
    root.addFrame(pin.Frame("base", parent, 0, pin.SE3.Identity(), pin.FrameType.BODY))


def _finish(
    pin: Any,
    robot: Robot,
    model: Any,
    geometry: Any,
    limbs: Sequence[_Limb],
    bases: Mapping[Side, Array],
    surfaces: Sequence[Array],
    shapes: bool,
) -> Body:
    assert model.nq == model.nv, "a joint that is not one number"
    joints = tuple(list(model.names)[1:])
    d = len(joints)
    column = {name: k for k, name in enumerate(joints)}
    assert all(model.joints[model.getJointId(name)].idx_v == k for name, k in column.items())
    home = np.clip(np.zeros(d), model.lowerPositionLimit, model.upperPositionLimit)
    velocity = np.array(model.velocityLimit, float)
    acceleration = np.full(d, np.nan)
    lower, upper = np.array(model.lowerPositionLimit), np.array(model.upperPositionLimit)
    tools: list[Tool] = []
    for limb in limbs:
        for side, arm in limb.arms:
            columns = [column[limb.prefix + name] for name in arm.joints]
            home[columns] = arm.home
            acceleration[columns] = arm.acceleration
            if arm.velocity is not None:
                velocity[columns] = arm.velocity
            frame = model.frames[_frame(model, limb.prefix + arm.tool, limb.robot)]
            gripper = limb.robot.jaws
            T_tool_tcp = arm.T_tool_tcp
            if gripper is not None and gripper.robot:
                T_tool_tcp = gripper.T_tool_gripper @ T_tool_tcp
            T_joint_tcp = frame.placement.homogeneous @ T_tool_tcp
            if gripper is not None and gripper.robot:
                gripper = read_robot(gripper.robot).jaws
            tools.append(Tool(side, frame.parentJoint, T_joint_tcp, np.array(columns, np.int64), gripper))
        for name in limb.robot.waist:
            acceleration[column[limb.prefix + name]] = np.nanmin(acceleration)
    base = np.array([column[name] for name in BASE_JOINTS if name in column], np.int64)
    if len(base):
        b = robot.base
        lower[base], upper[base] = [-1e3, -1e3, -1e3], [1e3, 1e3, 1e3]
        home[base] = 0.0
        velocity[base] = [b.speed_m_s, b.speed_m_s, b.turn_rad_s]
        acceleration[base] = [b.acceleration_m_s2, b.acceleration_m_s2, b.turn_acceleration_rad_s2]
    for k in np.flatnonzero(~(velocity > 0) | ~np.isfinite(velocity)):
        raise RetargetError(
            f"nobody says how fast {joints[k]!r} may move", where=robot.file, mend="write `velocity` under [[arms]]"
        )
    outside = (home < lower - 1e-9) | (home > upper + 1e-9)
    if np.any(outside):
        raise RetargetError(
            f"home lies outside the limits of {joints[int(np.argmax(outside))]!r}", where=robot.file, mend="correct it"
        )
    head = None
    if robot.head:
        frame = model.frames[_frame(model, robot.head, robot)]
        head = (int(frame.parentJoint), np.array(frame.placement.homogeneous))
    model.lowerPositionLimit, model.upperPositionLimit, model.velocityLimit = lower, upper, velocity
    body = Body(
        robot=robot,
        model=model,
        geometry=geometry,
        joints=joints,
        tools=tuple(tools),
        lower=lower,
        upper=upper,
        velocity=velocity,
        acceleration=acceleration,
        home=home,
        base=base,
        head=head,
        without_shape=tuple(name for limb in limbs for each in limb.descriptions for name in each.missing),
        descriptions=tuple(each for limb in limbs for each in limb.descriptions),
        T_world_base=bases,
    )
    if shapes:
        owner = np.repeat(np.arange(len(limbs)), [limb.geometry.ngeoms for limb in limbs])
        _add_pairs(pin, body, owner)
        _add_surfaces(pin, body, surfaces)
    return body


def _add_pairs(pin: Any, body: Body, owner: NDArray[np.int64]) -> None:
    """Every pair of shapes on different joints, but for neighbours and, on the same limb, what overlaps at home or
    so often that it is the hulls' fault.
    """
    geometry, model = body.geometry, body.model
    of = [shape.parentJoint for shape in geometry.geometryObjects]
    neighbours = {(model.parents[i], i) for i in range(1, model.njoints)}
    apart = _never_near(pin, body)
    for i in range(len(of)):
        for j in range(i + 1, len(of)):
            pair = (min(of[i], of[j]), max(of[i], of[j]))
            if of[i] != of[j] and pair not in neighbours and (i, j) not in apart:
                geometry.addCollisionPair(pin.CollisionPair(i, j))
    rng = np.random.default_rng(_SEED)
    data, shapes = model.createData(), geometry.createData()
    postures = rng.uniform(body.lower, body.upper, (_SAMPLES, body.dof))
    postures[:, body.base] = 0.0
    touches = np.zeros(len(geometry.collisionPairs))
    for q in postures:
        pin.computeCollisions(model, data, geometry, shapes, q, False)
        touches += [result.isCollision() for result in shapes.collisionResults]
    pin.computeCollisions(model, data, geometry, shapes, body.home, False)
    always = [result.isCollision() for result in shapes.collisionResults]
    for k, pair in enumerate(list(geometry.collisionPairs)):
        between = set(model.supports[of[pair.first]]) ^ set(model.supports[of[pair.second]])
        if len(between) == 2:
            stops = min(float(upper - lower) for lower, upper in (_range(body, joint) for joint in between))
            usual = 0.0 if stops < _STOPS_RAD else _OFTEN
        else:
            usual = _ALWAYS
        if owner[pair.first] == owner[pair.second] and (always[k] or touches[k] >= usual * _SAMPLES):
            geometry.removeCollisionPair(pair)


def _range(body: Body, joint: int) -> tuple[float, float]:
    k = body.model.joints[joint].idx_v
    return float(body.lower[k]), float(body.upper[k])


def _never_near(pin: Any, body: Body) -> set[tuple[int, int]]:
    """Pairs of shapes that are far apart in every one of many postures: no need to ask again."""
    objects = list(body.geometry.geometryObjects)
    if not objects:
        return set()
    rng = np.random.default_rng(_SEED)
    data, shapes = body.model.createData(), body.geometry.createData()
    nearest = np.full((len(objects), len(objects)), np.inf)
    middles, sizes = np.empty((len(objects), 3)), np.empty(len(objects))
    for k, shape in enumerate(objects):
        shape.geometry.computeLocalAABB()
        middles[k], sizes[k] = np.array(shape.geometry.aabb_center), shape.geometry.aabb_radius
    reach = sizes[:, None] + sizes[None, :]
    for _ in range(_MANY):
        q = rng.uniform(body.lower, body.upper)
        q[body.base] = 0.0
        pin.updateGeometryPlacements(body.model, data, body.geometry, shapes, q)
        p = np.array([M.act(c) for M, c in zip(shapes.oMg, middles, strict=True)])
        gap = np.linalg.norm(p[:, None] - p[None], axis=-1) - reach
        nearest = np.minimum(nearest, gap)
    return {(int(i), int(j)) for i, j in np.argwhere(nearest > _FAR_M) if i < j}


def _add_surfaces(pin: Any, body: Body, surfaces: Sequence[Array]) -> None:
    """Level surfaces as slabs; tools may touch them, and the first links may stand on them, or beside
    them: how a robot holds its legs is not known.
    """
    geometry, model = body.geometry, body.model
    carried = {tool.joint for tool in body.tools}
    mount = int(model.getJointId(BASE_JOINTS[-1])) if len(body.base) else 0
    free = {i for i in range(1, model.njoints) if model.parents[i] == mount} | {0, *range(1, mount + 1)}
    moving = [k for k, s in enumerate(geometry.geometryObjects) if s.parentJoint not in carried | free]
    for number, polygon in enumerate(surfaces):
        points = np.concatenate([polygon - [0.0, 0.0, SURFACE_THICKNESS_M], polygon])
        slab = pin.GeometryObject(f"surface_{number}", 0, pin.SE3.Identity(), hull(points))
        index = geometry.addGeometryObject(slab)
        for k in moving:
            geometry.addCollisionPair(pin.CollisionPair(k, index))


SURFACE_THICKNESS_M = 0.02  # thin: cupboards have room below


def for_side(body: Body, side: Side) -> Body:
    """A body of one arm that can follow either side, as that side's."""
    (tool,), (T,) = body.tools, body.T_world_base.values()
    return replace(body, tools=(replace(tool, side=side),), T_world_base={side: T})


def without_shapes(body: Body) -> Body:
    """The same, but nothing to bump into."""
    import pinocchio as pin

    return replace(body, geometry=pin.GeometryModel())
