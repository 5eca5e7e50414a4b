"""Robots as short TOML files: which description, which frames, what a person's hand or gripper corresponds to."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from handcap.errors import RetargetError
from handcap.geometry import Array
from handcap.retarget.description import Description, Format, read_description
from handcap.types import Side

Kind = Literal["arm", "dual", "humanoid", "hand", "gripper"]
ArmSide = Literal["any", "left", "right"]
BaseKind = Literal["fixed", "wheeled", "walking"]
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
JOINTS_OF_A_HAND = 21

_SHIPPED = Path(__file__).parent / "robots"
# Where packages of descriptions keep them, from the folder that packages are installed in.
_PACKAGES = {
    "example-robot-data": "cmeel.prefix/share/example-robot-data",
    "airo-models": "airo_models",
}
# Collections that no package index has, and where to get them.
_COLLECTIONS = {"dex-urdf": "github.com/dexsuite/dex-urdf"}


@dataclass(frozen=True, eq=False, slots=True)
class Arm:
    """A chain of joints that carries a tool.

    Attributes:
        side: whose gripper or hand it follows; "any" for an arm that can follow either.
        base: frame it stands on.
        tool: frame of its description that the tool is fixed to.
        joints: (n) names, from the base outwards.
        T_tool_tcp: (4, 4) our tool frame there: z approach, x along the jaw opening.
        home: (n,) rad or m, a posture it likes.
        velocity: (n,) rad/s or m/s at most; None: as the description says.
        acceleration: (n,) rad/s² or m/s² at most.
        limits_source: who says so.
    """

    side: ArmSide
    base: str
    tool: str
    joints: tuple[str, ...]
    T_tool_tcp: Array
    home: Array
    velocity: Array | None
    acceleration: Array
    limits_source: str


@dataclass(frozen=True, eq=False, slots=True)
class Jaws:
    """How a gripper's joints make a jaw opening.

    Attributes:
        joints: (k) names.
        open_m, closed_m: opening between the fingertips at either end.
        open, closed: (k,) joint values there, rad or m; in between they go in proportion.
        symmetric: whether it grips the same when it is turned half round about its approach axis.
        robot: name of the gripper's own file when it is mounted on an arm that comes without; else "".
        T_tool_gripper: (4, 4) where its base is, in the arm's tool frame.
    """

    joints: tuple[str, ...]
    open_m: float
    closed_m: float
    open: Array
    closed: Array
    symmetric: bool
    robot: str
    T_tool_gripper: Array

    def joint_values(self, width_m: Array) -> Array:
        """(n,) openings, m, NaN where unknown, to (n, k) joint values; an opening beyond the stroke is cut to it."""
        share = (np.clip(width_m, self.closed_m, self.open_m) - self.closed_m) / (self.open_m - self.closed_m)
        return self.closed + share[:, None] * (self.open - self.closed)


@dataclass(frozen=True, eq=False, slots=True)
class Finger:
    """A robot finger and the person's joints that it follows.

    Attributes:
        name: of `FINGERS`.
        frames: of the description, from knuckle to tip; "{side}" in a name stands for left or right.
        human: the joint of MediaPipe's 21 that each of them follows.
        tip_offset_m: (3,) where the tip is in the last frame.
        side: of the hand that has it; "any": both.
    """

    name: str
    frames: tuple[str, ...]
    human: tuple[int, ...]
    tip_offset_m: Array
    side: ArmSide


@dataclass(frozen=True, slots=True)
class Coupled:
    """A joint that another one drives: `value = multiplier * other + offset`, rad."""

    joint: str
    of: str
    multiplier: float
    offset: float


@dataclass(frozen=True, eq=False, slots=True)
class Palm:
    """How a robot hand lies, and what is known of the whole of it.

    Attributes:
        wrist: frame of the description; "{side}" stands for left or right.
        T_wrist_ours: (4, 4) our wrist frame there, by side it comes for: x to the middle finger, z out of the back of
            the hand.
        touch_m: between the tips of thumb and finger when their pads touch.
        scale: size of the robot's hand over a person's, beside what its bones tell.
        rest: (joint, rad) of the posture it likes; the middle of its limits for others.
        coupled: joints driven by others, beside those the description tells of.
        velocity_rad_s: of all joints, at most; None: as the description says.
        limits_source: who says so.
    """

    wrist: str
    T_wrist_ours: Mapping[Side, Array]
    touch_m: float
    scale: float
    rest: tuple[tuple[str, float], ...]
    coupled: tuple[Coupled, ...]
    velocity_rad_s: float | None
    limits_source: str


@dataclass(frozen=True, slots=True)
class Base:
    """What a robot stands on.

    Attributes:
        kind: "fixed": bolted somewhere; "wheeled" and "walking": can go along while it works.
        speed_m_s, turn_rad_s, acceleration_m_s2, turn_acceleration_rad_s2: at most, of one that goes.
        height_m: (low, high) of the arms' bases above the floor; equal where it cannot be chosen, None where unknown.
        limits_source: who says so.
    """

    kind: BaseKind
    speed_m_s: float
    turn_rad_s: float
    acceleration_m_s2: float
    turn_acceleration_rad_s2: float
    height_m: tuple[float, float] | None
    limits_source: str


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """A robot that is part of another.

    Attributes:
        robot: its name.
        side: whose gripper its arm follows.
        T_base_part: (4, 4) where its base is on the whole.
    """

    robot: str
    side: Literal["left", "right"]
    T_base_part: Array


@dataclass(frozen=True, eq=False, slots=True)
class Robot:
    """A robot, as far as a recording of hands and grippers needs to know it.

    Attributes:
        name: of its file.
        title: what a person calls it.
        kind: what it is.
        license: of its description.
        description: where the description is; None for a robot that is put together from parts.
        arms, jaws, fingers, palm, base, parts: see there.
        waist: joints between base and arms that may help to reach.
        head: frame that looks where the wearer looks, or "".
        locked: joint name to value, rad or m, for joints held still elsewhere than at zero.
        sha256: of its file.
        file: that file.
    """

    name: str
    title: str
    kind: Kind
    license: str
    description: DescriptionFile | None
    arms: tuple[Arm, ...]
    jaws: Jaws | None
    fingers: tuple[Finger, ...]
    palm: Palm | None
    base: Base
    parts: tuple[Part, ...]
    waist: tuple[str, ...]
    head: str
    locked: tuple[tuple[str, float], ...]
    sha256: str
    file: Path


@dataclass(frozen=True, slots=True)
class DescriptionFile:
    """A description that is not read yet: its package ("": beside the robot's own file), path there and format."""

    format: Format
    package: str
    path: str


def robot_names() -> list[str]:
    """Names of the robots that handcap knows."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def arms() -> list[Robot]:
    """The robots that handcap knows that have arms."""
    robots = [read_robot(name) for name in robot_names()]
    return [robot for robot in robots if robot.arms or robot.parts]


def read_robot(name: str | Path) -> Robot:
    """A robot by its name, or by the path of its TOML file.

    Raises:
        RetargetError: there is none of that name, or the file does not say what a robot's file must.
    """
    if isinstance(name, str) and not name.endswith(".toml") and "/" not in name:
        path = _SHIPPED / f"{name}.toml"
        if name not in robot_names():
            known = ", ".join(robot_names())
            raise RetargetError(f"no robot {name!r} is known", mend=f"known: {known}; or give a .toml file")
    else:
        path = Path(name)
    try:
        data = path.read_bytes()
        told = _File.model_validate(tomllib.loads(data.decode()))
    except FileNotFoundError as error:
        raise RetargetError("no such file", where=path, mend="give a robot's .toml file, or its name") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise RetargetError(f"{key}: {first['msg']}", where=path, mend="see docs/retarget.md for the keys") from error
    except (ValueError, OSError) as error:
        raise RetargetError(f"cannot be read ({error})", where=path, mend="give a robot's .toml file") from error
    return told.robot(path, sha256(data).hexdigest())


def load_description(robot: Robot, side: Side | None = None) -> Description:
    """The description of a robot that is not put together from parts.

    Args:
        robot: which.
        side: of a hand that has a description for either: which one.

    Raises:
        RetargetError: its package is not installed, or see `read_description`.
    """
    assert robot.description is not None, robot.name
    file = robot.description
    root = package_folder(file.package) if file.package else robot.file.parent
    path = file.path if side is None else file.path.replace("{side}", side)
    where = root / path
    try:
        seen = where.stat().st_mtime_ns
    except OSError:
        seen = 0
    return _read(where, root, file.format, seen)


@lru_cache(maxsize=32)
def _read(path: Path, root: Path, format: Format, mtime_ns: int) -> Description:
    """A robot is put together several times for one take; its files are read and checked once."""
    return read_description(path, root, format)


def collections_folder() -> Path:
    """Where the user keeps collections of descriptions, each in a folder of its name."""
    import platformdirs

    return platformdirs.user_data_path("handcap") / "robots"


def package_folder(package: str) -> Path:
    """Where an installed package keeps its descriptions, or where a collection that none installs was copied to.

    Raises:
        RetargetError: it is unknown, not installed or not there.
    """
    if package in _COLLECTIONS:
        folder = collections_folder() / package
        if not folder.is_dir():
            mend = f"put a copy of {_COLLECTIONS[package]} there; mind its licences"
            raise RetargetError(f"no package index has {package}", where=folder, mend=mend)
        return folder.resolve()
    if package not in _PACKAGES:
        known = ", ".join([*_PACKAGES, *_COLLECTIONS])
        raise RetargetError(f"no package {package!r} of descriptions is known", mend=f"known: {known}")
    try:
        return Path(str(distribution(package).locate_file(_PACKAGES[package]))).resolve()
    except PackageNotFoundError as error:
        raise RetargetError(f"{package} is not installed", mend="pip install 'handcap[robots]'") from error


def _pose(rows: list[list[float]]) -> list[list[float]]:
    T = [list(row) for row in rows]
    if len(T) != 4 or any(len(row) != 4 for row in T) or not np.all(np.isfinite(T)):
        raise ValueError("must be 4 rows of 4 numbers")
    R = np.array(T)[:3, :3]
    if np.abs(R @ R.T - np.eye(3)).max() > 1e-3 or np.linalg.det(R) < 0 or T[3] != [0, 0, 0, 1]:
        raise ValueError("is not a pose: orthogonal right-handed axes of length 1, and a last row [0, 0, 0, 1]")
    return rows


Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Pose = Annotated[list[list[float]], AfterValidator(_pose)]
_EYE: list[list[float]] = np.eye(4).tolist()


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _DescriptionTable(_Model):
    format: Format = "urdf"
    package: str = ""
    path: str


class _ArmTable(_Model):
    side: ArmSide = "any"
    base: str
    tool: str
    joints: Annotated[list[str], Field(min_length=1)]
    T_tool_tcp: _Pose = _EYE
    home: list[Finite]
    velocity: list[Positive] | None = None
    acceleration: list[Positive]
    limits_source: str

    def arm(self) -> Arm:
        n = len(self.joints)
        for name, values in (
            ("home", self.home),
            ("acceleration", self.acceleration),
            ("velocity", self.velocity if self.velocity is not None else self.home),
        ):
            if len(values) != n:
                raise ValueError(f"arms: {name} has {len(values)} numbers for {n} joints")
        velocity = None if self.velocity is None else np.array(self.velocity)
        return Arm(
            self.side,
            self.base,
            self.tool,
            tuple(self.joints),
            np.array(self.T_tool_tcp, float),
            np.array(self.home),
            velocity,
            np.array(self.acceleration),
            self.limits_source,
        )


class _JawTable(_Model):
    joints: list[str] = []
    open_m: Positive = 0.0
    closed_m: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    open: list[Finite] = []
    closed: list[Finite] = []
    symmetric: bool = False
    robot: str = ""
    T_tool_gripper: _Pose = _EYE

    def jaws(self) -> Jaws:
        if len(self.open) != len(self.joints) or len(self.closed) != len(self.joints):
            raise ValueError("gripper: open and closed need a number for every joint")
        if not self.robot and self.open_m <= self.closed_m:
            raise ValueError("gripper: open_m must be more than closed_m")
        return Jaws(
            tuple(self.joints),
            self.open_m,
            self.closed_m,
            np.array(self.open),
            np.array(self.closed),
            self.symmetric,
            self.robot,
            np.array(self.T_tool_gripper, float),
        )


class _FingerTable(_Model):
    name: Literal["thumb", "index", "middle", "ring", "pinky"]
    frames: Annotated[list[str], Field(min_length=2)]
    human: list[Annotated[int, Field(ge=0, lt=JOINTS_OF_A_HAND)]]
    tip_offset_m: tuple[Finite, Finite, Finite] = (0.0, 0.0, 0.0)
    side: ArmSide = "any"

    def finger(self) -> Finger:
        if len(self.human) != len(self.frames):
            raise ValueError(f"fingers: {self.name} has {len(self.frames)} frames for {len(self.human)} human joints")
        return Finger(self.name, tuple(self.frames), tuple(self.human), np.array(self.tip_offset_m), self.side)


class _CoupledTable(_Model):
    joint: str
    of: str
    multiplier: Finite
    offset: Finite = 0.0


class _HandTable(_Model):
    wrist: str
    T_wrist_ours: _Pose = _EYE
    T_wrist_ours_left: _Pose | None = None  # where it is not the same for both
    sides: list[Side] = ["left", "right"]
    touch_m: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    scale: Positive = 1.0
    rest: dict[str, Finite] = {}
    coupled: list[_CoupledTable] = []
    velocity_rad_s: Positive | None = None
    limits_source: str = ""

    def palm(self) -> Palm:
        left = self.T_wrist_ours if self.T_wrist_ours_left is None else self.T_wrist_ours_left
        ours: dict[Side, list[list[float]]] = {"left": left, "right": self.T_wrist_ours}
        return Palm(
            self.wrist,
            {side: np.array(ours[side], float) for side in self.sides},
            self.touch_m,
            self.scale,
            tuple(sorted(self.rest.items())),
            tuple(Coupled(c.joint, c.of, c.multiplier, c.offset) for c in self.coupled),
            self.velocity_rad_s,
            self.limits_source,
        )


class _BaseTable(_Model):
    kind: BaseKind = "fixed"
    speed_m_s: Positive = 0.5
    turn_rad_s: Positive = 1.0
    acceleration_m_s2: Positive = 0.5
    turn_acceleration_rad_s2: Positive = 1.0
    height_m: tuple[Finite, Finite] | None = None
    limits_source: str = ""


class _PartTable(_Model):
    robot: str
    side: Literal["left", "right"]
    T_base_part: _Pose = _EYE


class _File(_Model):
    name: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
    title: str
    kind: Kind
    license: str = ""
    description: _DescriptionTable | None = None
    arms: list[_ArmTable] = []
    gripper: _JawTable | None = None
    fingers: list[_FingerTable] = []
    hand: _HandTable | None = None
    base: _BaseTable = _BaseTable()
    parts: list[_PartTable] = []
    waist: list[str] = []
    head: str = ""
    locked: dict[str, Finite] = {}

    def robot(self, path: Path, digest: str) -> Robot:
        if (self.description is None) == (not self.parts):
            raise RetargetError("needs either [description] or [[parts]]", where=path, mend="see docs/retarget.md")
        try:
            arms = tuple(table.arm() for table in self.arms)
            jaws = None if self.gripper is None else self.gripper.jaws()
            fingers = tuple(table.finger() for table in self.fingers)
        except ValueError as error:
            raise RetargetError(str(error), where=path, mend="correct the file") from error
        d, h = self.description, self.hand
        base: dict[str, Any] = self.base.model_dump()
        return Robot(
            name=self.name,
            title=self.title,
            kind=self.kind,
            license=self.license,
            description=None if d is None else DescriptionFile(d.format, d.package, d.path),
            arms=arms,
            jaws=jaws,
            fingers=fingers,
            palm=None if h is None else h.palm(),
            base=Base(**base),
            parts=tuple(Part(p.robot, p.side, np.array(p.T_base_part, float)) for p in self.parts),
            waist=tuple(self.waist),
            head=self.head,
            locked=tuple(sorted(self.locked.items())),
            sha256=digest,
            file=path,
        )
