"""What a take holds of one gripper's jaws: looks at the finger tags, readings of the encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from handcap.clock import to_imu_clock
from handcap.encoder import COUNTS_PER_TURN
from handcap.geometry import Array
from handcap.measure.fingers import FingerSights, find_finger_tags, finger_tags
from handcap.measure.timed_pictures import TimedPictures
from handcap.session import Take
from handcap.types import Frame, JawReadings, Rig, Side, Stamps


@dataclass(frozen=True, slots=True)
class EncoderHealth:
    """What the board said of its encoder.

    Attributes:
        sent: readings.
        no_magnet: of these, how many without a magnet above the chip.
        other_scale: of these, how many in another number of counts per turn.
        weak, strong: of these, how many with a magnet too far away, or too near.
        read_errors: of its bus.
    """

    sent: int = 0
    no_magnet: int = 0
    other_scale: int = 0
    weak: int = 0
    strong: int = 0
    read_errors: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class JawRecord:
    """One gripper's jaws during one take.

    Attributes:
        picture_t_ns: (f,) of its camera's pictures, on the device's clock.
        sights: of finger tags in them.
        readings: usable ones of its encoder.
        health: of the encoder.
    """

    picture_t_ns: Stamps
    sights: FingerSights
    readings: JawReadings
    health: EncoderHealth

    @property
    def angle_rad(self) -> Array:
        """(n,) readings, unwrapped: a jaw turns its magnet by less than half a turn from one to the next."""
        return np.unwrap(np.asarray((self.readings.counts + 0.5) * (2 * np.pi / COUNTS_PER_TURN), float))


def read_jaws(
    take: Take, rig: Rig, side: Side, on_progress: Callable[[str, float], None] = lambda what, share: None
) -> JawRecord:
    """Everything a take holds of a gripper's jaws."""
    stamps, sights = np.zeros(0, np.int64), FingerSights.none()
    tags = finger_tags(rig.grippers[side].tags)
    if tags and side in take.cameras and side in rig.cameras:
        camera, timed = rig.cameras[side], TimedPictures(take, side)
        stamps = timed.stamps

        def counted() -> Iterator[Frame]:
            for k, frame in enumerate(timed.frames()):
                on_progress(f"Looking for finger tags ({side})", k / max(len(stamps), 1))
                yield frame

        sights = find_finger_tags(counted(), stamps, camera.camera, tags, rig.grippers[side].T_cam_tcp)
        stamps = to_imu_clock(stamps, camera.dt_imu_cam_s)
    return JawRecord(stamps, sights, take.jaw(side), _health(take, side))


def _health(take: Take, side: Side) -> EncoderHealth:
    said = [envelope.encoder for _, envelope in take.wire(side) if envelope.HasField("encoder")]

    def count(wanted: Callable[..., bool]) -> int:
        return sum(len(each.angle_counts) for each in said if wanted(each))

    return EncoderHealth(
        sent=count(lambda each: True),
        no_magnet=count(lambda each: not each.magnet_found),
        other_scale=count(lambda each: each.counts_per_turn != COUNTS_PER_TURN),
        weak=count(lambda each: each.magnet_too_weak),
        strong=count(lambda each: each.magnet_too_strong),
        read_errors=max((each.read_errors for each in said), default=0),
    )
