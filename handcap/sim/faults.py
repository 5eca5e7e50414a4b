"""What goes wrong with sensors in the field, by name and time.

Every effect is a function of a stream's records that leaves them alone when the fault is of another kind, so that
callers may apply all faults of a stream one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap import geometry
from handcap.clock import nanoseconds
from handcap.errors import UsageError
from handcap.geometry import Array
from handcap.sim.exposure import Flicker
from handcap.types import Rig

Stamps = NDArray[np.int64]

_JITTER_S = 0.005  # mean delay of a busy USB bus: past the tenth of a period that GB/Z 218.1 allows at 30 Hz
_LAST_S = 4000.0
_LOSS, _BURST = 0.4, 3  # share of pictures lost, and how many in a row on average
_JUMP_S = (0.02, 0.2)  # least and most that a clock jumps, either way
_SLIP_RAD, _SLIP_M = np.deg2rad(3.0), 0.005  # a screw gives way
_GLOW = np.array([9.0, 4.0, 3.0], np.float32)  # light through a finger


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One way to fail.

    Attributes:
        on: whether it strikes one camera or a whole device.
        what: what happens.
    """

    on: Literal["camera", "device"]
    what: str


KINDS: dict[str, FaultKind] = {
    "usb_jitter": FaultKind("camera", "pictures arrive late by a few milliseconds each and are stamped on arrival"),
    "lost_frames": FaultKind("camera", "many pictures are missing, several in a row"),
    "frozen_camera": FaultKind("camera", "the last picture comes again and again with new stamps"),
    "covered_lens": FaultKind("camera", "a finger lies on the lens"),
    "flicker": FaultKind("camera", "a lamp with a deep 100 Hz ripple lights what this camera sees"),
    "mount_slip": FaultKind("camera", "the camera turns and shifts in its mount and stays there"),
    "unplug": FaultKind("device", "everything of the device is missing"),
    "clock_jump": FaultKind("device", "stamps of the device are off by a jump, and jump back at the end"),
    "imu_dropout": FaultKind("device", "inertial samples are missing, pictures are not"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: a key of `KINDS`.
        start_s, end_s: session clock.
        name: the camera or device it strikes.
    """

    kind: str
    start_s: float
    end_s: float
    name: str

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind
        assert 0 <= self.start_s < self.end_s

    def active(self, t_ns: Stamps) -> NDArray[np.bool_]:
        """(n,) which of these session times lie within the fault."""
        start_ns, end_ns = nanoseconds([self.start_s, self.end_s])
        return (t_ns >= start_ns) & (t_ns < end_ns)

    def strikes_camera(self, camera: str, device: str) -> bool:
        """Whether it touches the pictures of this camera on this device."""
        if self.kind == "imu_dropout":
            return False
        return self.name == (camera if KINDS[self.kind].on == "camera" else device)

    def strikes_board(self, device: str) -> bool:
        """Whether it touches the inertial samples and readings of this device."""
        return KINDS[self.kind].on == "device" and self.name == device

    def as_truth(self, take: str) -> dict[str, Any]:
        """As `truth.json` lists it."""
        start_ns, end_ns = (int(t) for t in nanoseconds([self.start_s, self.end_s]))
        return {"t_start_ns": start_ns, "t_end_ns": end_ns, "take": take, "kind": self.kind, "device": self.name}


_TEXT = re.compile(r"(?P<kind>\w+)@(?P<start>\d+(\.\d+)?)-(?P<end>\d+(\.\d+)?):(?P<name>\w+)", re.ASCII)


def parse_fault(text: str) -> Fault:
    """`lost_frames@5-8:left`: the camera `left` loses pictures from second 5 to second 8 of the session.

    Args:
        text: kind, span and the camera or device it strikes.

    Raises:
        UsageError: no such kind or span; `check` looks for the camera or device.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"no fault {text!r}", mend=f"write kind@start-end:name, as in lost_frames@5-8:left; {_kinds()}"
        )
    kind, name = match["kind"], match["name"]
    if kind not in KINDS:
        raise UsageError(f"no kind of fault {kind!r}", mend=_kinds())
    start_s, end_s = float(match["start"]), float(match["end"])
    if not start_s < end_s:
        raise UsageError(f"fault {text!r} ends before it starts", mend="write the earlier second first")
    if end_s > _LAST_S:
        raise UsageError(f"fault {text!r} ends later than any recording", mend=f"end it by {_LAST_S:g} s")
    return Fault(kind, start_s, end_s, name)


def check(faults: Sequence[Fault], rig: Rig) -> None:
    """Raises UsageError for a fault that strikes what the rig has not."""
    for fault in faults:
        on = KINDS[fault.kind].on
        known = rig.cameras if on == "camera" else rig.devices
        if fault.name not in known:
            raise UsageError(f"no {on} {fault.name!r} for {fault.kind}", mend=f"choose one of: {', '.join(known)}")


def _kinds() -> str:
    return f"kinds: {', '.join(KINDS)}"


def stamps_after(fault: Fault, t_ns: Stamps, rng: np.random.Generator) -> Stamps:
    """Stamps (n,) as they come out: delayed (usb_jitter) or off by a jump (clock_jump).

    Jitter keeps the order. A jump does not: stamps run back where it begins or ends.
    """
    active = fault.active(t_ns)
    if fault.kind == "usb_jitter":
        late_ns = nanoseconds(np.where(active, rng.exponential(_JITTER_S, len(t_ns)), 0.0))
        return _in_order(t_ns + late_ns)
    if fault.kind == "clock_jump":
        jump_s = rng.uniform(*_JUMP_S) * rng.choice([-1, 1])
        return t_ns + np.where(active, nanoseconds(jump_s), 0)
    return t_ns


def _in_order(t_ns: Stamps) -> Stamps:
    """The same stamps, none before or at the one that it follows: a bus delivers one after the other."""
    step = np.arange(len(t_ns))
    return np.maximum.accumulate(t_ns - step) + step


def keeps(fault: Fault, t_ns: Stamps, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(n,) which records of a stream that it strikes are left: lost_frames, unplug, imu_dropout."""
    active = fault.active(t_ns)
    if fault.kind in ("unplug", "imu_dropout"):
        return ~active
    if fault.kind == "lost_frames":
        # A chain of two states, whose bursts have the mean length and whose losses the share wanted.
        draws, lost, gone = rng.random(len(t_ns)), np.zeros(len(t_ns), bool), True
        for k in np.flatnonzero(active):
            gone = draws[k] < (1 - 1 / _BURST if gone else _LOSS / (1 - _LOSS) / _BURST)
            lost[k] = gone
        return ~lost
    return np.ones(len(t_ns), bool)


def shown_instead(fault: Fault, t_ns: Stamps) -> NDArray[np.int64]:
    """(n,) number of the picture that each picture shows: its own, or of a frozen camera the last one before."""
    number = np.arange(len(t_ns))
    if fault.kind != "frozen_camera":
        return number
    active = fault.active(t_ns)
    return np.where(active, max(int(np.argmax(active)) - 1, 0), number) if active.any() else number


def light_after(fault: Fault, light: NDArray[np.float32], t_ns: int) -> NDArray[np.float32]:
    """Light (h, w, 3) that reaches the sensor at this time: a dim glow and a trace of the view if covered."""
    if fault.kind != "covered_lens" or not fault.active(np.array([t_ns]))[0]:
        return light
    # Brighter to one side, where the finger ends.
    glow = np.linspace(0.5, 1.5, light.shape[1], dtype=np.float32)[:, None] * _GLOW
    return (0.002 * light + glow).astype(np.float32)


def flicker_in(fault: Fault, t_ns: int) -> Flicker | None:
    """The lamp that the fault switches on at this time."""
    if fault.kind != "flicker" or not fault.active(np.array([t_ns]))[0]:
        return None
    return Flicker(frequency_hz=100.0, depth=0.4)


def slip(fault: Fault, t_s: ArrayLike, rng: np.random.Generator) -> Array:
    """`T_cam_slipped` (n, 4, 4) at (n,) s: where the camera truly is, in the frame where it was mounted.

    It slides from start to end with least jerk (Flash and Hogan 1985) and does not come back. The same `rng` state
    gives the same slip.
    """
    t_s = np.asarray(t_s, float)
    turn, shift = rng.standard_normal((2, 3))
    turn, shift = turn * (_SLIP_RAD / np.linalg.norm(turn)), shift * (_SLIP_M / np.linalg.norm(shift))
    if fault.kind != "mount_slip":
        return np.broadcast_to(np.eye(4), (*t_s.shape, 4, 4))
    s = np.clip((t_s - fault.start_s) / (fault.end_s - fault.start_s), 0.0, 1.0)[..., None]
    share = s**3 * (10 + s * (-15 + 6 * s))
    return geometry.se3(geometry.so3_exp(share * turn), share * shift)
