"""What a board has shown of a lens so far, and what it has still to show: where in the picture, tilted which way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handcap.boards import Board
from handcap.calibrate.camera.bundle import BundleParams, Setup, Sightings, fit, sightings
from handcap.calibrate.camera.start import board_poses, first_lens
from handcap.cameras import Camera, KannalaBrandt4
from handcap.causes import Language
from handcap.geometry import Array
from handcap.measure.boards import SeenCorners

Side = Literal["left", "right", "top", "bottom"]
_ZONES: tuple[tuple[dict[Language, str], ...], ...] = (
    (
        {"en": "the upper left", "zh": "左上角"},
        {"en": "the upper edge", "zh": "上边缘"},
        {"en": "the upper right", "zh": "右上角"},
    ),
    (
        {"en": "the left edge", "zh": "左边缘"},
        {"en": "the middle", "zh": "中央"},
        {"en": "the right edge", "zh": "右边缘"},
    ),
    (
        {"en": "the lower left", "zh": "左下角"},
        {"en": "the lower edge", "zh": "下边缘"},
        {"en": "the lower right", "zh": "右下角"},
    ),
)
_TILTS: dict[Side, dict[Language, str]] = {
    "left": {"en": "its left edge nearer to the camera", "zh": "左边更靠近相机"},
    "right": {"en": "its right edge nearer to the camera", "zh": "右边更靠近相机"},
    "top": {"en": "its upper edge nearer to the camera", "zh": "上边更靠近相机"},
    "bottom": {"en": "its lower edge nearer to the camera", "zh": "下边更靠近相机"},
}


@dataclass(frozen=True, slots=True)
class CoverageParams:
    """What a lens has to be shown.

    Attributes:
        columns, rows: of cells into which the picture is divided.
        zone_share: of the cells of a ninth of the picture that need a corner.
        tilt_rad: a board turned by this much out of the plane of the picture counts as tilted; less says little of the
            focal length, more makes corners hard to find.
        tilted_views: towards each of the four sides.
        fill: share of the picture's diagonal that the board spans in the nearest view.
        least_corners: a view with fewer counts for nothing.
    """

    columns: int = 10
    rows: int = 8
    zone_share: float = 0.5
    tilt_rad: float = 0.25
    tilted_views: int = 2
    fill: float = 0.4
    least_corners: int = 8


DEFAULT = CoverageParams()
_LEARN_FROM = 10  # views; fewer may not tell a focal length from a distance


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing that is still missing.

    Attributes:
        zone: (row, column) of the ninth of the picture where the board should be, 0 to 2; None for anywhere.
        nearer: side of the board, as the camera sees it, that should be nearer; None for any.
        closer: whether the whole board should be.
    """

    zone: tuple[int, int] | None = None
    nearer: Side | None = None
    closer: bool = False

    def text(self, lang: Language = "en") -> str:
        """What to do."""
        if self.closer:
            return {"en": "hold the board closer", "zh": "请将标定板拿近一些"}[lang]
        where = None if self.zone is None else _ZONES[self.zone[0]][self.zone[1]][lang]
        how = None if self.nearer is None else _TILTS[self.nearer][lang]
        if where is None:
            return {"en": f"tilt the board, {how}", "zh": f"请倾斜标定板,使其{how}"}[lang]
        if how is None:
            return {"en": f"hold the board at {where} of the picture", "zh": f"请将标定板放到画面{where}"}[lang]
        return {
            "en": f"hold the board at {where} of the picture, {how}",
            "zh": f"请将标定板放到画面{where},并使其{how}",
        }[lang]


@dataclass(frozen=True, eq=False, slots=True)
class Coverage:
    """What views of a board have shown.

    Attributes:
        corners: (rows, columns) corners seen in each cell of the picture.
        lit: (rows, columns) cells that light reaches.
        tilted: views by the side of the board that was nearer.
        tilt_rad: (views,) angle between the board and the plane of the picture.
        fill: share of the picture's diagonal that the board spanned in each view (views,).
        params: what was asked for.
    """

    corners: NDArray[np.int64]
    lit: NDArray[np.bool_]
    tilted: dict[Side, int]
    tilt_rad: Array
    fill: Array
    params: CoverageParams

    @property
    def share(self) -> float:
        """Of the cells that light reaches, those with a corner."""
        return float(np.mean(self.corners[self.lit] > 0)) if self.lit.any() else 0.0

    def wishes(self) -> list[Wish]:
        """What is still missing, the most important first; a place and a tilt are joined where both are."""
        zones: list[tuple[float, tuple[int, int]]] = []
        rows, columns = (
            np.array_split(np.arange(self.params.rows), 3),
            np.array_split(np.arange(self.params.columns), 3),
        )
        for row in range(3):
            for column in range(3):
                part = np.ix_(rows[row], columns[column])
                lit = self.lit[part]
                # A corner of the picture beyond a fisheye's circle asks for nothing.
                if lit.mean() < 1 / 3:
                    continue
                share = float(np.mean(self.corners[part][lit] > 0))
                if share < self.params.zone_share:
                    zones.append((share, (row, column)))
        places = [zone for _, zone in sorted(zones)]
        sides: list[Side] = [side for side in self.tilted if self.tilted[side] < self.params.tilted_views]
        sides.sort(key=lambda side: self.tilted[side])
        wishes = [Wish(zone, sides[k] if k < len(sides) else None) for k, zone in enumerate(places)]
        wishes += [Wish(None, side) for side in sides[len(places) :]]
        if len(self.fill) and self.fill.max() < self.params.fill:
            wishes.append(Wish(closer=True))
        return wishes


def coverage(
    seen: Sightings, lens: Camera, T_cam_board: Array, lit: NDArray[np.bool_], params: CoverageParams = DEFAULT
) -> Coverage:
    """What the views of one camera have shown.

    Args:
        seen: corners.
        lens: rough is enough.
        T_cam_board: (views, 4, 4).
        lit: (any rows, any columns) which parts of the picture light reaches.
        params: what is asked for.
    """
    shape = (params.rows, params.columns)
    cell = np.floor((seen.px + 0.5) / [lens.width, lens.height] * shape[::-1]).astype(int)
    cell = np.clip(cell, 0, np.array(shape[::-1]) - 1)
    corners = np.zeros(shape, np.int64)
    np.add.at(corners, (cell[:, 1], cell[:, 0]), 1)
    views = np.unique(seen.view)
    tilted: dict[Side, int] = {"left": 0, "right": 0, "top": 0, "bottom": 0}
    angles, fills = np.zeros(len(views)), np.zeros(len(views))
    for k, view in enumerate(views):
        rows = seen.view == view
        normal = T_cam_board[view, :3, 2]
        angles[k] = np.arccos(np.clip(normal[2], -1, 1))
        span = np.ptp(seen.px[rows], axis=0)
        fills[k] = np.hypot(*span) / np.hypot(lens.width, lens.height)
        if angles[k] < params.tilt_rad:
            continue
        # The board's normal points into the sheet: where it leans to the right, the right edge is nearer.
        if abs(normal[0]) >= abs(normal[1]):
            tilted["right" if normal[0] > 0 else "left"] += 1
        else:
            tilted["bottom" if normal[1] > 0 else "top"] += 1
    return Coverage(corners, _cells_lit(lit, shape) | (corners > 0), tilted, angles, fills, params)


def _cells_lit(lit: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Cells of which at least half is lit."""
    rows = np.array_split(np.arange(lit.shape[0]), shape[0])
    columns = np.array_split(np.arange(lit.shape[1]), shape[1])
    return np.array([[bool(lit[np.ix_(r, c)].mean() >= 0.5) for c in columns] for r in rows])


class CoverageGuide:
    """Says while the board is being shown what is still missing. Feed it every picture's corners.

    It keeps a view where the board was not yet seen alike, and learns the lens roughly from what it kept.
    """

    def __init__(
        self,
        board: Board,
        width: int,
        height: int,
        model: type[Camera] = KannalaBrandt4,
        params: CoverageParams = DEFAULT,
        most_views: int = 120,
    ) -> None:
        self._board, self._model, self._params, self._most = board, model, params, most_views
        focal = 0.5 * width  # between a wide lens and a fisheye, until enough was seen to tell
        terms = (0.0,) * (len(model.parameter_names) - 4)
        self._lens: Camera = model(width, height, (focal, focal, (width - 1) / 2, (height - 1) / 2, *terms))
        self._lit = np.ones((params.rows, params.columns), bool)
        self._kept: list[SeenCorners] = []
        self._learnt_at = 0

    def __len__(self) -> int:
        """Views kept."""
        return len(self._kept)

    def add(self, seen: SeenCorners) -> bool:
        """Whether these corners showed something new."""
        if len(seen) < self._params.least_corners or len(self._kept) >= self._most or not self._is_new(seen):
            return False
        self._kept.append(seen)
        if len(self._kept) >= max(_LEARN_FROM, 2 * self._learnt_at):
            self._learn()
        return True

    def darken(self, lit: NDArray[np.bool_]) -> None:
        """Tell which parts of the picture light reaches (any rows, any columns); all, before this is said."""
        self._lit = lit

    def coverage(self) -> Coverage:
        """Of what was kept."""
        table = self._table()
        poses = board_poses(self._lens, table) if len(table) else np.zeros((0, 4, 4))
        return coverage(table, self._lens, poses, self._lit, self._params)

    def missing(self) -> list[Wish]:
        """What to do next, the most important first; nothing when all has been shown."""
        return self.coverage().wishes()

    def _table(self) -> Sightings:
        return sightings([{0: seen} for seen in self._kept], self._board.corners_board)

    def _is_new(self, seen: SeenCorners) -> bool:
        """Whether no kept view shows the same corners within a twentieth of the picture."""
        near_px = self._lens.width / 20
        for kept in self._kept:
            common, mine, theirs = np.intersect1d(seen.ids, kept.ids, return_indices=True)
            if len(common) < self._params.least_corners:
                continue
            if np.linalg.norm(seen.px[mine] - kept.px[theirs], axis=1).mean() < near_px:
                return False
        return True

    def _learn(self) -> None:
        table = self._table()
        start = first_lens(self._model, self._lens.width, self._lens.height, table)
        self._learnt_at = len(self._kept)
        if start is not None:
            setup = Setup([start.lens], np.eye(4)[None], start.T_cam_board)
            self._lens = fit(setup, table, BundleParams(steps=20, converged=1e-5)).setup.lenses[0]
