"""What boards say about pictures: trigger pulses, and the numbers that a camera node gave them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.session.inertial import of_boot, to_session_clock
from handcap.session.journal import ClockFit, read_clock_fits
from handcap.session.take import Take
from handcap.types import Stamps

_LATEST_NS = 10**18  # beyond any board's clock


@dataclass(frozen=True, eq=False, slots=True)
class Pulses:
    """Trigger pulses of one line.

    Attributes:
        t_ns: (p,) int64 middle of each exposure, session clock, strictly increasing; start of the pulse where the
            camera's strobe is not wired to the board.
        number: (p,) int64 strictly increasing: the board's count, which goes on through a gap that it left; what it
            leaves out are stamps that were lost. Where the board restarted it is led on by the time that passed.
    """

    t_ns: Stamps
    number: Stamps

    def __len__(self) -> int:
        return len(self.t_ns)


def read_pulses(take: Take, device: str, line: int) -> Pulses:
    """Pulses that a device's board gave on a line during a take; none where nothing ties its clock to the session's."""
    fits = read_clock_fits(take.session.path, take.id, device)
    t_ns: list[int] = []
    number: list[int] = []
    boots: list[int] = []
    for _, envelope in take.wire(device) if fits else ():
        stamp = envelope.frame_stamp
        if not envelope.HasField("frame_stamp") or stamp.camera != line or stamp.exposure_start_t_ns > _LATEST_NS:
            continue
        middle_ns = _on_session_clock(stamp.exposure_start_t_ns + stamp.exposure_ns // 2, fits, envelope.boot_id)
        if middle_ns is not None and (not t_ns or middle_ns > t_ns[-1]):
            t_ns.append(middle_ns)
            number.append(stamp.frame)
            boots.append(envelope.boot_id)
    stamps = np.array(t_ns, np.int64)
    return Pulses(stamps, _led_on(np.array(number, np.int64), np.array(boots, np.int64), stamps))


def _led_on(number: Stamps, boot_id: Stamps, t_ns: Stamps) -> Stamps:
    """One count through restarts of the board."""
    if len(number) < 2:
        return number
    step = np.diff(number)
    passed = np.maximum(np.rint(np.diff(t_ns) / np.median(np.diff(t_ns))).astype(np.int64), 1)
    step = np.where((np.diff(boot_id) != 0) | (step < 1), passed, step)
    return number[0] + np.concatenate([[0], np.cumsum(step)])


def read_picture_numbers(take: Take, camera: str) -> Stamps | None:
    """The numbers that a camera node gave a camera's pictures, one per recorded picture.

    Returns:
        (n,) int64 strictly increasing; None where the camera is on no node, or not every picture has its number.
    """
    at: list[int] = []
    number: list[int] = []
    for node in take.devices:
        fits = read_clock_fits(take.session.path, take.id, node)
        for _, envelope in take.wire(node) if fits else ():
            frame = envelope.video_frame
            if not envelope.HasField("video_frame") or frame.camera != camera or frame.capture_t_ns > _LATEST_NS:
                continue
            t_ns = _on_session_clock(frame.capture_t_ns, fits, envelope.boot_id)
            if t_ns is not None:
                at.append(t_ns)
                number.append(frame.frame)
    stamps, order = take.camera_stamps(camera), np.argsort(at, kind="stable")
    if len(at) < 2 or len(stamps) < 2:
        return None
    told_ns, numbers = np.array(at, np.int64)[order], np.array(number, np.int64)[order]
    after = np.clip(np.searchsorted(told_ns, stamps), 1, len(told_ns) - 1)
    nearest = np.where(stamps - told_ns[after - 1] < told_ns[after] - stamps, after - 1, after)
    # The picture was stamped with the fit of its moment, its number with all fits of the take.
    apart_ns = np.abs(stamps - told_ns[nearest])
    found = numbers[nearest]
    if np.any(apart_ns > np.median(np.diff(stamps)) / 4) or np.any(np.diff(found) <= 0):
        return None
    return found


def _on_session_clock(board_ns: int, fits: list[ClockFit], boot_id: int) -> int | None:
    mine = of_boot(fits, boot_id)
    return int(to_session_clock(np.array([board_ns], np.int64), mine)[0]) if mine else None
