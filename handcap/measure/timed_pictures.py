"""When the pictures of a take were taken: by the trigger pulse each belongs to, else as they were stamped."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S
from handcap.measure.frame_match import NONE, match_frames
from handcap.session import Take
from handcap.session.pulses import read_picture_numbers, read_pulses
from handcap.types import Frame, Stamps


@dataclass(frozen=True, eq=False, slots=True)
class PulseMatch:
    """What became of a triggered camera's pictures.

    Attributes:
        pictures, pulses: how many there are.
        matched: pictures whose pulse is certain.
        ambiguous: pictures that may be of more than one pulse; they are left out.
        outside: pictures exposed before the first pulse that was recorded, or after the last; left out too.
        lost: pulses without a picture, between the first and the last picture.
        by: what told them: the camera's own numbers, or only the time.
        delay_s: from the middle of an exposure to the picture's stamp; None where nothing could be told.
        delay_sigma_s: how far that scatters, robustly; None as above.
    """

    pictures: int
    pulses: int
    matched: int
    ambiguous: int
    outside: int
    lost: int
    by: str
    delay_s: float | None
    delay_sigma_s: float | None

    def as_dict(self) -> dict[str, Any]:
        """As report.json holds it."""
        return {name: getattr(self, name) for name in self.__slots__}


class TimedPictures:
    """Pictures of one camera of a take, each with the best stamp that is known of it.

    Args:
        take: as recorded.
        camera: its name.

    Attributes:
        match: of a camera on a trigger whose pulses were recorded; None of any other.
        stamps: (n,) int64 strictly increasing: middles of exposures on the session clock where `exposed`, and then only
            of pictures whose pulse is certain; else stamps as recorded.
        exposed: whether stamps are those of the exposures.
    """

    def __init__(self, take: Take, camera: str) -> None:
        self._take, self.camera = take, camera
        self.match: PulseMatch | None = None
        self.exposed = False
        recorded_ns = take.camera_stamps(camera)
        self.stamps = recorded_ns
        self._recorded = recorded_ns
        mount = take.session.rig.cameras.get(camera)
        trigger = None if mount is None or mount.plug is None else mount.plug.trigger
        if trigger is not None:
            self._tie(*trigger)

    def frames(self, grey: bool = True, every: int = 1, only: Collection[int] | None = None) -> Iterator[Frame]:
        """As `Take.frames`, with these stamps; `only` names them too."""
        if not self.exposed:
            yield from self._take.frames(self.camera, grey, every, only)
            return
        exposed_of = dict(zip(self._recorded[::every].tolist(), self.stamps[::every].tolist(), strict=True))
        if only is not None:
            wanted = set(only)
            exposed_of = {recorded: exposed for recorded, exposed in exposed_of.items() if exposed in wanted}
        for frame in self._take.frames(self.camera, grey, only=exposed_of.keys()):
            yield replace(frame, t_ns=exposed_of[frame.t_ns])

    def as_recorded(self, t_ns: Stamps) -> Stamps:
        """Some of `stamps`, as the pictures are stamped on the disk."""
        if not self.exposed:
            return t_ns
        at = np.clip(np.searchsorted(self.stamps, t_ns), 0, len(self.stamps) - 1)
        assert np.array_equal(self.stamps[at], t_ns), "stamps of other pictures"
        return self._recorded[at]

    def _tie(self, device: str, line: int) -> None:
        pulses = read_pulses(self._take, device, line)
        if not len(pulses):
            return
        numbers = read_picture_numbers(self._take, self.camera)
        found = match_frames(pulses.t_ns, self._recorded, numbers, pulse_ids=pulses.number)
        known = found.pulse != NONE
        exposed_ns = pulses.t_ns[found.pulse[known]]
        matched = int(np.count_nonzero(known))
        late_s = (self._recorded[known] - exposed_ns) / NS_PER_S
        outside = _outside(self._recorded, pulses.t_ns, found.delay_s) & ~known
        self.match = PulseMatch(
            pictures=len(known),
            pulses=len(pulses),
            matched=matched,
            ambiguous=found.ambiguous - int(np.count_nonzero(outside)),
            outside=int(np.count_nonzero(outside)),
            lost=found.lost,
            by="numbers" if found.by_ids else "time",
            delay_s=found.delay_s,
            delay_sigma_s=_spread_s(late_s) if matched > 1 else None,
        )
        if matched > 1:
            self.exposed, self.stamps, self._recorded = True, exposed_ns, self._recorded[known]


def _outside(stamps: Stamps, pulse_ns: Stamps, delay_s: float | None) -> NDArray[np.bool_]:
    """(n,) pictures that none of the pulses can have caused; none where the delay is unknown."""
    if delay_s is None or len(pulse_ns) < 2:
        return np.zeros(len(stamps), bool)
    exposed, slack = stamps - round(delay_s * NS_PER_S), np.median(np.diff(pulse_ns)) / 2
    return (exposed < pulse_ns[0] - slack) | (exposed > pulse_ns[-1] + slack)


def _spread_s(values_s: NDArray[np.float64]) -> float:
    """Standard deviation, by the median: pictures that were held up do not count."""
    return float(1.4826 * np.median(np.abs(values_s - np.median(values_s))))
