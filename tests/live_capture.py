"""The virtual rig without a rendered room, plugged in: for tests of what happens to recordings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from handcap import session as session_store
from handcap.capture import Capture, CaptureParams, Ended, VirtualRig, capture_meta, virtual_rig
from handcap.devices import Board, open_board
from handcap.session import Take
from handcap.session.journal import read_faults
from handcap.sim.unrendered import unrendered
from handcap.types import Rig

DEVICES = ("head", "left", "right")
CAMERAS = DEVICES
FPS, RATE_HZ = 30, 1000


def make_source(folder: Path) -> Path:
    """What the virtual rig plays: four seconds, again and again."""
    unrendered(folder / "source", 4.0, size=(320, 240), fps=FPS, rate_hz=RATE_HZ)
    return folder / "source"


@dataclass(frozen=True, eq=False)
class PluggedIn:
    """A rig that plays, and its boards, open while it is recorded."""

    live: VirtualRig
    boards: dict[str, Board]

    @property
    def rig(self) -> Rig:
        return self.live.rig(self.boards)

    def capture(self, path: Path, consent: str = "bench", params: CaptureParams | None = None) -> Capture:
        """A recording as `handcap capture` makes it, but for the field pass."""
        self.close()
        self.boards.update({name: open_board(port) for name, port in self.live.ports.items()})
        meta = capture_meta(path, None, consent, self.rig, self.boards)
        return Capture(path, meta, self.rig, self.boards, params, field_pass=False)

    def close(self) -> None:
        """Let go of the boards; whoever recorded has done so already, unless the recording could not begin."""
        for board in self.boards.values():
            board.close()


@contextmanager
def plugged_in(source: Path, seed: int = 0) -> Iterator[PluggedIn]:
    with virtual_rig(1, 4.0, seed=seed, rendered=source, loop=True) as live:
        rig = PluggedIn(live, {})
        try:
            yield rig
        finally:
            rig.close()


def record(running: Capture, seconds: float, in_the_middle: Callable[[], object] = lambda: None) -> Ended:
    """One take; half way something happens."""
    running.start()
    time.sleep(seconds / 2)
    in_the_middle()
    time.sleep(seconds / 2)
    return running.end()


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that must happen; how long it takes is not tested."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


# What a busy machine, on which clocks are hard to tell, may add of its own.
_OF_THE_MACHINE = {"clock_unsure", "stamps_unsteady"}


def causes(ended: Ended) -> set[tuple[str, str | None]]:
    """Codes, and what they are about."""
    return {(cause.code, cause.body) for cause in ended.verdict.causes if cause.code not in _OF_THE_MACHINE}


def taken(running: Capture, take: str) -> Take:
    return session_store.read(running.path).take(take)


def faults(running: Capture, take: str) -> set[tuple[str, str | None]]:
    """As journalled: code and device."""
    return {(fault.code, fault.device) for fault in read_faults(running.path, take)}


def seqs(take: Take, device: str) -> list[int]:
    """Numbers of a board's messages in the file."""
    return [envelope.seq for _, envelope in take.wire(device)]


def whole_but_for(take: Take, *spoiled: str) -> bool:
    """Whether every other board's messages are all there, and every other camera's pictures come at their rate."""
    for device in DEVICES:
        if device not in spoiled:
            numbers = sorted(seqs(take, device))
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), device
    for camera in CAMERAS:
        if camera not in spoiled and "cameras" not in spoiled:
            stamps = take.camera_stamps(camera)
            gaps_s = [(b - a) / 1e9 for a, b in zip(stamps[:-1], stamps[1:], strict=True)]
            assert max(gaps_s) < 1.5 / FPS, (camera, max(gaps_s))
    return take.damage == ()
