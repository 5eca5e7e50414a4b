"""What one camera saw of a board."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handcap.ahead import ahead
from handcap.boards import AprilGrid, Board
from handcap.calibrate.camera.bundle import Sightings, sightings
from handcap.calibrate.camera.sources import Shot, Source
from handcap.errors import CalibrationError
from handcap.measure.blur import edge_width_px
from handcap.measure.boards import CornerParams, SeenCorners, find_board

OnProgress = Callable[[str, float], None]
_THREADS = 2
_LIT_GRID = (48, 64)  # rows, columns
_DARK = 20  # grey level of what no light reaches, with some noise


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """A board in one picture.

    Attributes:
        name: of the picture.
        place: of the picture in its source.
        t_ns: camera clock; None where nobody said.
        seen: its corners; none where the board was not found.
        edge_px: width of edges at the corners, see `edge_width_px`; NaN without corners.
    """

    name: str
    place: int
    t_ns: int | None
    seen: SeenCorners
    edge_px: float


@dataclass(frozen=True, eq=False, slots=True)
class Views:
    """All that was looked at.

    Attributes:
        camera: its name.
        board: as stated.
        width, height: of the pictures, px.
        views: of every picture that could be read and has this size.
        other_sizes: pictures of another size.
        unreadable: pictures that cannot be read.
        lit: (rows, columns) coarse picture: False where no picture was ever bright, as beyond a fisheye's circle.
    """

    camera: str
    board: Board
    width: int
    height: int
    views: Sequence[View]
    other_sizes: int
    unreadable: int
    lit: NDArray[np.bool_]

    def only(self, chosen: Sequence[int]) -> Views:
        """Some of the views, by their place in `views`."""
        some = [self.views[k] for k in chosen]
        return Views(
            self.camera, self.board, self.width, self.height, some, self.other_sizes, self.unreadable, self.lit
        )

    def sightings(self) -> Sightings:
        return sightings([{0: view.seen} for view in self.views], self.board.corners_board)


def reach_px(board: Board, seen: SeenCorners) -> float:
    """How far around a corner nothing but its own edges lies."""
    if len(seen) < 2:
        return 3.0
    xy = board.corners_board[seen.ids, :2]
    away_m = np.linalg.norm(xy - xy[len(xy) // 2], axis=1)
    away_px = np.linalg.norm(seen.px - seen.px[len(xy) // 2], axis=1)
    near = np.argsort(away_m, kind="stable")[1:5]
    free_m = board.spacing * board.tag_m if isinstance(board, AprilGrid) else board.square_m
    return float(np.clip(0.5 * free_m * np.min(away_px[near] / away_m[near]), 3, 12))


def look(
    source: Source,
    board: Board,
    wanted: Sequence[int],
    params: CornerParams,
    on_progress: OnProgress = lambda what, fraction: None,
) -> Views:
    """Find a board in pictures of a source.

    Args:
        source: of the pictures.
        board: that is looked for.
        wanted: places of the pictures, ascending.
        params: of the detector.
        on_progress: told what is done and how much of it.

    Raises:
        CalibrationError: not one picture can be read.
    """

    def work(shot: Shot) -> tuple[Shot, SeenCorners, float]:
        assert shot.picture is not None
        seen = find_board(shot.picture, board, params)
        edge_px = edge_width_px(shot.picture, seen.px, reach_px(board, seen)) if len(seen) else float("nan")
        return shot, seen, edge_px

    unreadable: list[str] = []
    shapes: dict[tuple[int, int], list[View]] = {}
    brightest: dict[tuple[int, int], NDArray[np.uint8]] = {}
    found = ahead(work, _readable(source, wanted, unreadable), _THREADS, 2 * _THREADS)
    for done, (shot, seen, edge_px) in enumerate(found):
        assert shot.picture is not None
        shape = (shot.picture.shape[0], shot.picture.shape[1])
        coarse = cv2.resize(shot.picture, _LIT_GRID[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
        brightest[shape] = np.maximum(brightest.get(shape, coarse), coarse)
        shapes.setdefault(shape, []).append(View(shot.name, shot.place, shot.t_ns, seen, edge_px))
        on_progress("Looking for the board", (done + 1) / len(wanted))
    if not shapes:
        raise CalibrationError("not one picture can be read", where=source.name, mend="copy the pictures again")
    shape = max(shapes, key=lambda each: len(shapes[each]))
    others = sum(len(views) for each, views in shapes.items() if each != shape)
    height, width = shape
    lit = brightest[shape] > _DARK
    return Views(source.camera, board, width, height, shapes[shape], others, len(unreadable), lit)


def _readable(source: Source, wanted: Sequence[int], unreadable: list[str]) -> Iterator[Shot]:
    for shot in source.shots(wanted):
        if shot.picture is None:
            unreadable.append(shot.name)
        else:
            yield shot
