"""The corners of a board in every picture of a camera that is worth looking at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.ahead import ahead
from handcap.boards import Board, BoardViews
from handcap.cameras import Camera
from handcap.clock import seconds
from handcap.errors import CalibrationError
from handcap.measure.boards import SeenCorners, find_board
from handcap.measure.timed_pictures import TimedPictures
from handcap.session.take import Take
from handcap.types import Frame


@dataclass(frozen=True, slots=True)
class WatchParams:
    """Attributes:
    rate_hz: of pictures looked at, at most; the motion sensor tells what is between, and an AprilGrid takes 70 ms each.
    flipped: of how many pictures without a board one is flipped and looked at again.
    enough: corners that show that a board is there.
    threads: that look.
    """

    rate_hz: float = 10.0
    flipped: int = 20
    enough: int = 8
    threads: int = 2


@dataclass(frozen=True, eq=False, slots=True)
class Watched:
    """Attributes:
    views: of the board.
    flipped: pictures without a board that were flipped and looked at again.
    mirrored: how many of these then showed it.
    """

    views: BoardViews
    flipped: int
    mirrored: int


def watch(
    take: Take, camera: str, lens: Camera, board: Board, params: WatchParams, on_progress: Callable[[float], None]
) -> Watched:
    """Look for a board in one camera's pictures.

    Raises:
        CalibrationError: the pictures are of another size than the lens.
        SessionError: there are none.
    """
    timed = TimedPictures(take, camera)
    stamps = timed.stamps
    period_s = float(np.median(np.diff(seconds(stamps)))) if len(stamps) > 1 else 1.0
    every = max(int(1 / (params.rate_hz * period_s) + 0.01), 1)
    told: list[int] = []
    seen: list[SeenCorners] = []
    blank = flipped = mirrored = 0
    for frame, found in ahead(
        lambda frame: (frame, find_board(_sized(frame, lens), board)),
        timed.frames(every=every),
        params.threads,
        2 * params.threads,
    ):
        told.append(frame.t_ns)
        seen.append(found)
        on_progress(len(told) * every / max(len(stamps), 1))
        if len(found) < params.enough:
            if blank % params.flipped == 0:
                flipped += 1
                mirrored += len(find_board(np.ascontiguousarray(frame.image[:, ::-1]), board)) >= params.enough
            blank += 1
    counts = [len(each) for each in seen]
    views = BoardViews(
        np.array(told, np.int64),
        np.repeat(np.arange(len(told)), counts),
        np.concatenate([np.zeros(0, np.int64), *(each.ids for each in seen)]),
        np.concatenate([np.zeros((0, 2)), *(each.px for each in seen)]),
    )
    return Watched(views, flipped, mirrored)


def _sized(frame: Frame, lens: Camera) -> NDArray[np.uint8]:
    height, width = frame.image.shape[:2]
    if (width, height) != (lens.width, lens.height):
        raise CalibrationError(
            f"pictures of {width}×{height}, and the lens was calibrated for {lens.width}×{lens.height}",
            where=f"camera {frame.camera}",
            mend="record at the size of the calibration, or calibrate the lens at this size",
        )
    return frame.image
