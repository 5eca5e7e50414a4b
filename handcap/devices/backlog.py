"""What a camera node kept while its link was away: taken in once, counted, and with it the time that it took."""

from __future__ import annotations

from dataclasses import dataclass

from handcap.clock import NS_PER_S
from handcap.devices.clock_fit import ClockEstimate
from handcap.wire.handcap_pb2 import Envelope


@dataclass(frozen=True, slots=True)
class Outage:
    """A link that was away and came back.

    Attributes:
        cameras: whose pictures it carries.
        t_ns: when it was back, host's monotonic clock.
        away_s: for how long nothing came.
        kept: pictures that were taken meanwhile and came late.
        lost: pictures that were taken meanwhile and never came, by their numbers.
        caught_up_s: from the link's return until pictures came as they were taken again.
    """

    cameras: tuple[str, ...]
    t_ns: int
    away_s: float
    kept: int
    lost: int
    caught_up_s: float


class Backlog:
    """Of one node. Pictures and samples whose arrival the node could not know of are sent again: they count once.

    Attributes:
        outages: that are over.
        newest_ns: when the newest picture was taken, host's monotonic clock; None where nobody knows.
    """

    def __init__(self) -> None:
        self.outages: list[Outage] = []
        self.newest_ns: int | None = None
        self._heard_ns = 0
        self._frames: dict[str, int] = {}
        self._first_sample_ns = -1
        self._known_frames: dict[str, int] = {}
        self._known_sample_ns = -1
        self._back_ns: int | None = None
        self._away_s = 0.0
        self._kept = self._lost = 0
        self._pending = False

    @property
    def pending(self) -> bool:
        """Whether pictures taken before now are still to come: the link is away, or what was kept is on its way."""
        return self._pending

    def broke(self) -> None:
        """The link is away."""
        self._pending = bool(self._frames)
        self._known_frames, self._known_sample_ns = dict(self._frames), self._first_sample_ns

    def returned(self, now_ns: int, same_boot: bool) -> None:
        """The link is back. A node that started anew kept nothing, and counts from the beginning."""
        if not same_boot:
            self._frames, self._first_sample_ns, self.newest_ns = {}, -1, None
            self._known_frames, self._known_sample_ns, self._back_ns, self._pending = {}, -1, None, False
        elif self._pending:
            if self._back_ns is None:
                self._away_s, self._kept, self._lost = 0.0, 0, 0
            self._back_ns = now_ns
            self._away_s += (now_ns - self._heard_ns) / NS_PER_S

    def is_new(self, envelope: Envelope, clock: ClockEstimate | None, arrived_ns: int) -> bool:
        """Whether a message is to be taken in; one that has been there before is not."""
        self._heard_ns = arrived_ns
        body = envelope.WhichOneof("body")
        if body == "imu_batch":
            first_ns = envelope.imu_batch.first_sample_t_ns
            if first_ns <= self._known_sample_ns:
                return False
            self._first_sample_ns = first_ns
        elif body == "video_frame":
            video = envelope.video_frame
            if video.frame <= self._known_frames.get(video.camera, -1):
                return False
            before = self._frames.get(video.camera)
            self._frames[video.camera] = video.frame
            if clock is not None:
                self.newest_ns = int(clock.session_ns(video.capture_t_ns))
                self._count(video.frame, before, self.newest_ns, arrived_ns)
        return True

    def _count(self, frame: int, before: int | None, taken_ns: int, arrived_ns: int) -> None:
        if self._back_ns is None:
            return
        if before is not None and frame > before:
            self._lost += frame - before - 1
        if taken_ns < self._back_ns:
            self._kept += 1
            return
        caught_up_s = (arrived_ns - self._back_ns) / NS_PER_S
        self.outages.append(
            Outage(tuple(sorted(self._frames)), self._back_ns, self._away_s, self._kept, self._lost, caught_up_s)
        )
        self._back_ns, self._pending = None, False
        self._known_frames, self._known_sample_ns = {}, -1
