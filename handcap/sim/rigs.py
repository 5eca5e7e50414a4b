"""Virtual rigs: which sensors, where they sit, how good they are.

A rig is named by its parts, joined with plus signs: a head, grippers, bare hands. `HEADS` and `ALIASES` list the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from handcap import geometry
from handcap.cameras import Camera, KannalaBrandt4, PinholeRadtan
from handcap.errors import UsageError
from handcap.geometry import Array
from handcap.sim import encoder
from handcap.sim.gripper import T_CAM_TCP, tags
from handcap.sim.person import CAMERA_PITCH_RAD
from handcap.types import SIDES, Device, Gripper, ImuModel, MountedCamera, Rig, Side, Tag

_BASELINE_M = 0.11
# An ICM-42688-P class part, its datasheet noise (2.8 mdps/√Hz, 70 µg/√Hz) with the margin of a real mounting.
_IMU = ImuModel(
    rate_hz=200.0,
    gyro_noise_density=2e-4,
    accel_noise_density=1.5e-3,
    gyro_random_walk=2e-5,
    accel_random_walk=5e-4,
)
_FISHEYE_130 = KannalaBrandt4(640, 480, (265.3, 265.1, 323.4, 236.8, -0.012, 0.004, -0.0021, 0.0003))
_FISHEYE_200 = KannalaBrandt4(640, 480, (181.2, 181.0, 321.7, 238.9, -0.021, 0.0031, -0.0012, 0.0001))
_FISHEYE_170 = KannalaBrandt4(640, 480, (212.4, 212.1, 318.2, 241.3, -0.015, 0.0042, -0.0018, 0.0002))
_WIDE = PinholeRadtan(640, 480, (402.7, 402.1, 322.6, 237.4, -0.21, 0.036, 3e-4, -2e-4))
# The chip lies rotated on its board, as chips do; recorded data are in chip axes.
_R_IMU_CHIP: Mapping[str, Array] = {
    "head": np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    "left": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    "right": np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
}
HEADS: Mapping[str, Camera] = {
    "head": _FISHEYE_130,
    "head-stereo": _FISHEYE_130,
    "head-wide": _WIDE,
    "head-fisheye200": _FISHEYE_200,
}
ALIASES: Mapping[str, str] = {"gripper": "right", "full": "head-stereo+left+right", "hands": "head-stereo+bare"}
# The gripper's board sits in its back, askew; imu axes: x forward along the approach, y left, z up.
_T_TCP_IMU = geometry.se3(
    np.column_stack([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]) @ geometry.so3_exp([0.02, -0.03, 0.015]),
    [0.004, -0.012, -0.235],
)


@dataclass(frozen=True, slots=True)
class Worn:
    """What a person wears.

    Attributes:
        head: a word of HEADS, or None.
        grippers: sides that hold a gripper.
        bare: whether hands without a gripper are in the world.
    """

    head: str | None
    grippers: tuple[Side, ...]
    bare: bool


def parse(text: str) -> Worn:
    """Read a rig's name.

    Raises:
        UsageError: a word that is none, two heads, or no device at all.
    """
    words = [part for word in text.split("+") for part in ALIASES.get(word, word).split("+")]
    heads = [word for word in words if word in HEADS]
    unknown = [word for word in words if word not in HEADS and word not in (*SIDES, "bare")]
    known = ", ".join([*HEADS, *SIDES, "bare", *ALIASES])
    if unknown or len(heads) > 1 or len(set(words)) < len(words) or words == ["bare"]:
        raise UsageError(f"no rig {text!r}", mend=f"join some of these with +, one head at most: {known}")
    return Worn(heads[0] if heads else None, tuple(side for side in SIDES if side in words), "bare" in words)


def _head_T_imu_cam(sideways_m: float) -> Array:
    c, s = np.cos(CAMERA_PITCH_RAD), np.sin(CAMERA_PITCH_RAD)
    right, forward = np.array([0.0, -1.0, 0.0]), np.array([c, 0.0, -s])
    R_imu_cam = np.column_stack([right, np.cross(forward, right), forward])
    crooked = geometry.so3_exp(np.deg2rad([1.5, -2.0, 1.0]))  # no printed mount is straight
    return geometry.se3(R_imu_cam @ crooked, [0.05, 0.02 + sideways_m, -0.03])


def drawn(text: str, serial: int, line_delay_s: float = 0.0) -> Rig:
    """The rig as drawn: what every specimen of it should be.

    Args:
        text: its name, see `parse`.
        serial: of the specimen; only its uids depend on it.
        line_delay_s: of every camera.
    """
    worn = parse(text)
    devices: dict[str, Device] = {}
    cameras: dict[str, MountedCamera] = {}
    grippers: dict[str, Gripper] = {}
    if worn.head is not None:
        devices["head"] = _device("head", serial)
        lens = HEADS[worn.head]
        places = {"head": 0.0}
        if worn.head == "head-stereo":
            places = {"head_left": _BASELINE_M / 2 - 0.02, "head_right": -_BASELINE_M / 2 - 0.02}
        for name, sideways_m in places.items():
            cameras[name] = MountedCamera("head", lens, _head_T_imu_cam(sideways_m), line_delay_s=line_delay_s)
    for side in worn.grippers:
        devices[side] = _device(side, serial)
        T_imu_cam = geometry.inverse(_T_TCP_IMU) @ geometry.inverse(T_CAM_TCP)
        cameras[side] = MountedCamera(side, _FISHEYE_170, T_imu_cam, line_delay_s=line_delay_s)
        grippers[side] = Gripper(T_CAM_TCP, tags(side))
    return Rig(
        rig_id=f"virtual-{text}",
        devices=devices,
        cameras=cameras,
        grippers=grippers,
        provenance={"source": "handcap simulate", "created": "2026-01-01T00:00:00Z"},
    )


def _device(name: str, serial: int) -> Device:
    return Device(_IMU, _R_IMU_CHIP[name], uid=f"virtual-{name}-{serial:08d}")


@dataclass(frozen=True, slots=True)
class Scatter:
    """How much specimens of a rig differ from its drawing; standard deviations.

    Attributes:
        mounting_rad, mounting_m: of every camera, per axis.
        lens: of the focal length, relative; the centre moves by as much of the width.
        finger_tag_rad, finger_tag_m: of every tag on a finger, per axis.
    """

    mounting_rad: float = 0.0
    mounting_m: float = 0.0
    lens: float = 0.0
    finger_tag_rad: float = 0.0
    finger_tag_m: float = 0.0


CALIBRATED = Scatter()  # rig.json knows this very specimen
# A printed mount, a lens from the shelf, tags glued on by hand.
PRINTED = Scatter(mounting_rad=0.0175, mounting_m=0.001, lens=0.005, finger_tag_rad=0.01, finger_tag_m=3e-4)


def specimen(rig: Rig, scatter: Scatter, rng: np.random.Generator) -> Rig:
    """One rig as it truly left the bench: every camera sits a little off the drawing, every lens is a little different.

    Every jaw's encoder is one of its own, whatever the scatter: a drawing says nothing of where a magnet was glued. A
    gripper's fingers and board are one piece, off which its camera sits: T_cam_tcp changes as T_imu_cam does.

    Args:
        rig: as drawn.
        scatter: how far off.
        rng: of this specimen.
    """
    cameras: dict[str, MountedCamera] = {}
    for name, camera in rig.cameras.items():
        sd = np.repeat([scatter.mounting_rad, scatter.mounting_m], 3)
        slip = geometry.se3_exp(rng.standard_normal(6) * sd)
        fx, fy, cx, cy, *terms = camera.camera.params
        stretch, *shift = rng.standard_normal(3) * scatter.lens
        width = camera.camera.width
        params = (fx * (1 + stretch), fy * (1 + stretch), cx + width * shift[0], cy + width * shift[1], *terms)
        lens = replace(camera.camera, params=params)
        cameras[name] = replace(camera, camera=lens, T_imu_cam=camera.T_imu_cam @ slip)
    grippers = {side: replace(gripper, encoder=encoder.drawn(rng)) for side, gripper in rig.grippers.items()}
    if scatter != CALIBRATED:
        for side, gripper in grippers.items():
            T_cam_tcp = geometry.inverse(cameras[side].T_imu_cam) @ T_imu_tcp(rig.cameras[side], gripper)
            glued = tuple(_glued(tag, scatter, rng) for tag in gripper.tags)
            grippers[side] = replace(gripper, T_cam_tcp=T_cam_tcp, tags=glued)
    return replace(rig, cameras=cameras, grippers=grippers)


def _glued(tag: Tag, scatter: Scatter, rng: np.random.Generator) -> Tag:
    """A finger's tag as it was glued on; those of the cube are printed with it."""
    if tag.body == "tcp":
        return tag
    slip = geometry.se3_exp(rng.standard_normal(6) * np.repeat([scatter.finger_tag_rad, scatter.finger_tag_m], 3))
    return replace(tag, T_body_tag=tag.T_body_tag @ slip)


def with_offset(rig: Rig, dt_imu_cam_s: float) -> Rig:
    """The rig with all camera clocks off by the same `t_imu = t_cam + dt`."""
    return replace(rig, cameras={k: replace(c, dt_imu_cam_s=dt_imu_cam_s) for k, c in rig.cameras.items()})


def T_imu_tcp(camera: MountedCamera, gripper: Gripper) -> Array:
    """(4, 4) tool frame of the gripper that carries this camera."""
    assert gripper.T_cam_tcp is not None
    return camera.T_imu_cam @ gripper.T_cam_tcp
