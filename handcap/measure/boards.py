"""Corners of a calibration board in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handcap.boards import AprilGrid, Board, CharucoBoard, ChessBoard, Ids
from handcap.errors import CalibrationError
from handcap.geometry import Array

_FAMILIES = {"4x4_50": cv2.aruco.DICT_4X4_50, "5x5_100": cv2.aruco.DICT_5X5_100}


@dataclass(frozen=True, eq=False, slots=True)
class SeenCorners:
    """Corners of one board in one picture.

    Attributes:
        ids: (n,) int64, ascending, as the board names them.
        px: (n, 2); pixel (0, 0) is the centre of the top-left pixel.
        window_px: (n,) half the window in which each was refined; 0 where nobody knows.
    """

    ids: Ids
    px: Array
    window_px: Array | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __post_init__(self) -> None:
        assert self.px.shape == (len(self.ids), 2), self.px.shape
        assert self.window_px is None or self.window_px.shape == self.ids.shape


@dataclass(frozen=True, slots=True)
class CornerParams:
    """How a corner's place is refined.

    Attributes:
        window_share: half the window as a share of the narrowest square around the corner. 0.3 keeps the next corners'
            edges out, tilted boards' too; smaller windows are noisier (docs/calibration.md has the figures).
        gap_share: the same on an AprilGrid, as a share of the gap between tags, beyond which the next corner lies.
        window_px: half the window of a chess board's corners in px, the same for all; None: by `window_share`. To
            repeat what others published with a window of their own.
        search_px: pictures larger than this are searched at this width or height, and refined as they are.
        astray_share: a corner that lies further from where its neighbours put it, as a share of the least distance
            between corners, is looked for again there: hardly a lens bends a board by that much between neighbours.
        misfit_share: a corner that lies further from where its neighbours put it, has a wrong name.
    """

    window_share: float = 0.3
    gap_share: float = 0.5
    window_px: int | None = None
    search_px: int = 1300
    astray_share: float = 0.08
    misfit_share: float = 0.25


DEFAULT = CornerParams()
_TAG_ASTRAY = 0.35  # of a tag's edge and a pitch away: what a fisheye bends, and far less than to the next tag
_STOP = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
_NEIGHBOURS = 12  # from which a corner's place is foretold
_ENOUGH_NEIGHBOURS = 6  # four points fix a homography; with fewer than two to spare nothing is foretold


def find_board(picture: NDArray[np.uint8], board: Board, params: CornerParams = DEFAULT) -> SeenCorners:
    """The corners of a board in a grey picture (h, w); empty where it is not seen."""
    match board:
        case ChessBoard():
            return _chessboard(picture, board, params)
        case CharucoBoard():
            return _charuco(picture, board, params)
        case AprilGrid():
            return _aprilgrid(picture, board, params)


def _nothing() -> SeenCorners:
    return SeenCorners(np.zeros(0, np.int64), np.zeros((0, 2)))


def _finest_m(board: Board) -> float:
    """How near two corners are."""
    return board.spacing * board.tag_m if isinstance(board, AprilGrid) else board.square_m


def _settled(
    picture: NDArray[np.uint8], board: Board, ids: Ids, px: Array, window: Array, params: CornerParams
) -> SeenCorners:
    """Corners found to a few pixels, refined, each within half a window (n,) px."""
    xy = board.corners_board[ids, :2] / _finest_m(board)
    px = _refined(picture, px, window)
    # The search is sometimes a few pixels off, too far for the window: such a corner is looked for again from its
    # neighbours, and taken if it then lies where they say. Beyond the outermost they can only guess.
    astray = ~_where_neighbours_put_them(xy, px, params.astray_share)
    if np.any(astray):
        foretold, unit_px = _from_neighbours(xy, px, ~astray)
        near = np.linalg.norm(foretold - px, axis=-1) < params.misfit_share * 2 * unit_px
        inside = np.all((foretold >= 0) & (foretold <= np.array(picture.shape[::-1]) - 1), axis=-1)
        again = np.flatnonzero(astray & near & inside)
        found = _refined(picture, foretold[again], window[again])
        right = np.linalg.norm(found - foretold[again], axis=-1) < params.astray_share * unit_px[again]
        px[again[right]] = found[right]
    return _consistent(board, ids, px, params, _half(window))


def _consistent(board: Board, ids: Ids, px: Array, params: CornerParams, window: Array | None = None) -> SeenCorners:
    keep = _where_neighbours_put_them(board.corners_board[ids, :2] / _finest_m(board), px, params.misfit_share)
    order = np.argsort(ids[keep], kind="stable")
    return SeenCorners(ids[keep][order], px[keep][order], None if window is None else window[keep][order])


def _chessboard(picture: NDArray[np.uint8], board: ChessBoard, params: CornerParams) -> SeenCorners:
    columns, rows = board.columns - 1, board.rows - 1
    rough = _rough_chessboard(picture, (columns, rows), params.search_px)
    if rough is None:
        return _nothing()
    grid = _first_square_first(picture, rough.reshape(rows, columns, 2), board)
    px = grid.reshape(-1, 2)
    if params.window_px is not None:
        window = _half(np.full(len(px), float(params.window_px)))
        return SeenCorners(board.ids, _refined(picture, px, window), window)
    return _settled(picture, board, board.ids, px, params.window_share * _narrowest_px(grid).ravel(), params)


def _rough_chessboard(picture: NDArray[np.uint8], inner: tuple[int, int], search_px: int) -> Array | None:
    """(n, 2) inner corners row by row, to a few pixels; None where the board is not seen whole."""
    factor = min(1.0, search_px / max(picture.shape))
    small = picture if factor == 1 else cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    found, corners = cv2.findChessboardCorners(
        small, inner, flags=cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
    )
    # Slower by ten times, but finds boards that are small, bent by the lens or badly lit.
    for flags in (cv2.CALIB_CB_NORMALIZE_IMAGE, cv2.CALIB_CB_EXHAUSTIVE):
        if not found:
            found, corners = cv2.findChessboardCornersSB(small, inner, flags=flags)
    if not found:
        return None
    return (np.asarray(corners, float).reshape(-1, 2) + 0.5) / factor - 0.5


def _first_square_first(picture: NDArray[np.uint8], grid: Array, board: ChessBoard) -> Array:
    """Corners (rows, columns, 2) turned so that the first lies at the black square that begins the board.

    A board that looks the same upside down is turned to lie as upright in the picture as it can.
    """
    right, down = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
    if right[0] * down[1] - right[1] * down[0] < 0:
        grid = grid[:, ::-1]  # seen from the front, rows run to the right of columns
    if (board.columns + board.rows) % 2 == 0:
        turned = [np.rot90(grid, k) for k in (range(4) if board.columns == board.rows else (0, 2))]
        return max(turned, key=lambda g: float(g[0, -1, 0] - g[0, 0, 0] + g[-1, 0, 1] - g[0, 0, 1]))
    # The squares between four corners: those of one colour have an even sum of row and column, as the first square.
    middles = (grid[:-1, :-1] + grid[1:, :-1] + grid[:-1, 1:] + grid[1:, 1:]) / 4
    at = np.clip(np.rint(middles).astype(int), 0, np.array(picture.shape[::-1]) - 1)
    grey = picture[at[..., 1], at[..., 0]].astype(float)
    like_the_first = np.indices(grey.shape).sum(axis=0) % 2 == 0
    return grid if grey[like_the_first].mean() < grey[~like_the_first].mean() else grid[::-1, ::-1]


def _narrowest_px(grid: Array) -> Array:
    """(..., rows, columns): the least width of the squares that meet in each corner of (..., rows, columns, 2)."""
    a, b, c, d = _four(grid, 1)
    first, second = c - a, d - b
    area = np.abs(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]) / 2
    longest = np.max([np.linalg.norm(e, axis=-1) for e in (b - a, c - b, d - c, a - d)], axis=0)
    edge = [(0, 0)] * (grid.ndim - 3) + [(1, 1), (1, 1)]
    width = np.pad(area / np.maximum(longest, 1e-9), edge, constant_values=np.inf)
    return np.min(_four(width), axis=0)


def _four(grid: Array, inner: int = 0) -> tuple[Array, Array, Array, Array]:
    """Upper left, upper right, lower right and lower left of what is (..., rows, columns, inner axes)."""
    rest = (slice(None),) * inner
    first, last = slice(None, -1), slice(1, None)
    places = ((first, first), (first, last), (last, last), (last, first))
    a, b, c, d = (grid[..., row, column, *rest] for row, column in places)
    return a, b, c, d


def _refined(picture: NDArray[np.uint8], px: Array, half_window_px: Array) -> Array:
    """Corners (n, 2) moved to where the grey levels around them are symmetric, each within its own window (n,)."""
    half = _half(half_window_px).astype(int)
    out = px.astype(np.float32)
    for size in np.unique(half):
        some = np.ascontiguousarray(out[half == size])
        out[half == size] = cv2.cornerSubPix(picture, some, (int(size), int(size)), (-1, -1), _STOP)
    return out.astype(float)


def _half(window: Array) -> Array:
    """As the refinement takes it: whole pixels, within what is of use."""
    return np.floor(np.clip(window, 2, 12))


def _from_neighbours(xy: Array, px: Array, known: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Where the homography of its neighbours puts each corner, and how much the picture enlarges there.

    Args:
        xy: (n, 2) places on the board.
        px: (n, 2).
        known: (n,) which may be neighbours.

    Returns:
        (n, 2) px, and (n,) px per unit of xy; NaN without enough neighbours.
    """
    away = _apart(xy)
    away[:, ~known] = np.inf
    k = min(_NEIGHBOURS, int(known.sum()) - 1)
    return _foretold(xy, px, np.arange(len(px)), _nearest(away, k))


def _apart(xy: Array) -> Array:
    """(n, n) distances between places (n, 2); none is its own neighbour."""
    away = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    np.fill_diagonal(away, np.inf)
    return away


def _nearest(away: Array, k: int) -> Ids:
    """(m, k) the nearest of each row of distances (m, n), nearest first."""
    return np.argsort(away, axis=1, kind="stable")[:, : max(k, 0)]


def _foretold(xy: Array, px: Array, rows: Ids, near: Ids) -> tuple[Array, Array]:
    """As `_from_neighbours`, of the corners (m,) `rows` by their neighbours (m, k)."""
    if near.shape[1] < _ENOUGH_NEIGHBOURS:
        return np.full((len(rows), 2), np.nan), np.full(len(rows), np.nan)
    from_xy = xy[near] - xy[rows, None]
    unit = np.linalg.norm(from_xy[:, :1], axis=-1)
    from_xy = from_xy / unit[..., None]
    mean = px[near].mean(axis=1)
    spread = np.maximum(np.std(px[near], axis=(1, 2)), 1e-9)
    to_px = (px[near] - mean[:, None]) / spread[:, None, None]
    # u (g x + h y + 1) = a x + b y + c, and likewise v: eight unknowns, two equations a neighbour.
    x, y, zero, one = from_xy[..., 0], from_xy[..., 1], np.zeros(near.shape), np.ones(near.shape)
    equations = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -to_px[..., 0] * x, -to_px[..., 0] * y], axis=-1),
            np.stack([zero, zero, zero, x, y, one, -to_px[..., 1] * x, -to_px[..., 1] * y], axis=-1),
        ],
        axis=1,
    )
    goal = np.concatenate([to_px[..., 0], to_px[..., 1]], axis=1)
    normal = equations.transpose(0, 2, 1) @ equations + 1e-9 * np.eye(8)
    h = np.linalg.solve(normal, equations.transpose(0, 2, 1) @ goal[..., None])[..., 0]
    # The derivative of the homography at the corner itself, which lies at x = y = 0.
    stretch = h[:, [0, 1, 3, 4]] - h[:, [2, 2, 5, 5]] * h[:, [6, 7, 6, 7]]
    area = np.abs(stretch[:, 0] * stretch[:, 3] - stretch[:, 1] * stretch[:, 2])
    enlarged = np.sqrt(area) * spread / unit[:, 0]
    return h[:, [2, 5]] * spread[:, None] + mean, enlarged


def _where_neighbours_put_them(xy: Array, px: Array, share: float) -> NDArray[np.bool_]:
    """(n,) whether each corner lies where its neighbours say, to a share of the unit of xy (n, 2).

    The worst is left out of all others' neighbours before the next is judged: one wrong corner spoils no other.
    """
    known = np.ones(len(px), bool)
    away = _apart(xy)
    near = _nearest(away, min(_NEIGHBOURS, len(px) - 1))
    off, rows = np.zeros(len(px)), np.arange(len(px))
    while known.any():
        foretold, unit_px = _foretold(xy, px, rows, near[rows])
        judged = np.linalg.norm(px[rows] - foretold, axis=-1) / np.maximum(unit_px, 1e-9)
        off[rows] = np.where(np.isfinite(judged), judged, 0.0)
        worst = int(np.argmax(off))
        if off[worst] <= share:
            break
        known[worst], off[worst], away[:, worst] = False, 0.0, np.inf
        k = min(_NEIGHBOURS, int(known.sum()) - 1)
        if k < near.shape[1]:
            rows, near = np.flatnonzero(known), _nearest(away, k)
        else:  # only those who knew it are judged anew
            rows = np.flatnonzero(known & np.any(near == worst, axis=1))
            near[rows] = _nearest(away[rows], k)
    return known


def _charuco(picture: NDArray[np.uint8], board: CharucoBoard, params: CornerParams) -> SeenCorners:
    detector, reader, places = _charuco_detector(board)
    quads, numbers, _ = reader.detectMarkers(picture)
    if numbers is None:
        return _nothing()
    tags = np.asarray(numbers, np.int64).ravel()
    quads = [quad for quad, tag in zip(quads, tags, strict=True) if tag in places]
    tags = np.array([tag for tag in tags if tag in places], np.int64)
    if not len(tags):
        return _nothing()
    # Markers of the same family elsewhere, on fingers for instance, may have the same numbers.
    xy = np.array([places[tag] for tag in tags])
    keep = _largest_agreeing(xy, np.array(quads, float).reshape(-1, 4, 2), board.square_m)
    quads = [quad for quad, kept in zip(quads, keep, strict=True) if kept]
    corners, ids, _, _ = detector.detectBoard(picture, markerCorners=quads, markerIds=tags[keep].astype(np.int32))
    if ids is None or corners is None:
        return _nothing()
    return _consistent(board, np.asarray(ids, np.int64).ravel(), np.asarray(corners, float).reshape(-1, 2), params)


@cache
def _charuco_detector(board: CharucoBoard) -> tuple[Any, Any, dict[int, Array]]:
    """What finds the board, what finds its markers, and where on the board these are: (4, 2) m by number."""
    markers = cv2.aruco.getPredefinedDictionary(_FAMILIES[board.family])
    size = (board.columns, board.rows)
    printed = cv2.aruco.CharucoBoard(size, board.square_m, board.marker_m, markers)
    places = zip(np.asarray(printed.getIds()).ravel().tolist(), printed.getObjPoints(), strict=True)
    reader = cv2.aruco.ArucoDetector(markers)
    return cv2.aruco.CharucoDetector(printed), reader, {tag: np.asarray(xyz, float)[:, :2] for tag, xyz in places}


def _aprilgrid(picture: NDArray[np.uint8], board: AprilGrid, params: CornerParams) -> SeenCorners:
    found = [tag for tag in _aprilgrid_detector().detect(picture) if tag.tag_id < board.columns * board.rows]
    if not found:
        return _nothing()
    tags = np.array([tag.tag_id for tag in found], np.int64)
    # The detector names them from the upper right, against the clock.
    corners = np.array([np.asarray(tag.corners, float).reshape(4, 2)[[1, 0, 3, 2]] for tag in found])
    xy = board.corners_board[4 * tags[:, None] + np.arange(4), :2]
    keep = _largest_agreeing(xy, corners, board.tag_m * (1 + board.spacing))
    tags, corners = tags[keep], corners[keep]
    # The small squares between tags touch their corners, and end where the next tag begins.
    gap_px = (
        board.spacing * _narrowest_px(corners[:, [0, 1, 3, 2]].reshape(-1, 2, 2, 2)).reshape(-1, 4)[:, [0, 1, 3, 2]]
    )
    ids, window = (4 * tags[:, None] + np.arange(4)).ravel(), params.gap_share * gap_px.ravel()
    return _settled(picture, board, ids, corners.reshape(-1, 2), window, params)


def tags_36h11(picture: NDArray[np.uint8]) -> list[int]:
    """Numbers of the AprilGrid tags (36h11, borders of two bits) in a picture, wherever they belong."""
    return sorted(int(tag.tag_id) for tag in _aprilgrid_detector().detect(picture))


def _largest_agreeing(xy: Array, corners: Array, pitch_m: float) -> NDArray[np.bool_]:
    """Which tags belong to the largest set that put each other where they are.

    A tag read wrongly, or of another board, stands where no neighbour expects it.

    Args:
        xy: (n, 4, 2) their corners on the board, m.
        corners: (n, 4, 2) px.
        pitch_m: between neighbours.

    Returns:
        (n,).
    """
    xy = xy / pitch_m
    middle = np.concatenate([xy.mean(axis=1), np.ones((len(xy), 1))], axis=1)
    pairs = zip(xy.astype(np.float32), corners.astype(np.float32), strict=True)
    to_px = np.array([cv2.getPerspectiveTransform(a, b) for a, b in pairs])
    foretold = np.einsum("ikl,jl->ijk", to_px, middle)
    in_front = foretold[..., 2] > 0
    foretold = foretold[..., :2] / np.where(in_front, foretold[..., 2], 1.0)[..., None]
    off_px = np.linalg.norm(foretold - corners.mean(axis=1), axis=-1)
    edge_px = np.sqrt([abs(cv2.contourArea(c.astype(np.float32))) for c in corners])
    away = np.abs(xy.mean(axis=1)[:, None] - xy.mean(axis=1)[None]).max(axis=-1)
    agree = in_front & (off_px < _TAG_ASTRAY * np.maximum(away, 1) * edge_px[:, None]) & (away < 2.5)
    group = np.arange(len(xy))
    for _ in xy:  # labels spread along agreement until nothing changes
        spread = np.where(agree & agree.T, group[None], len(xy)).min(axis=1)
        if np.array_equal(spread, group):
            break
        group = spread
    return group == np.bincount(group).argmax()


@cache
def _aprilgrid_detector() -> Any:
    try:
        import aprilgrid
    except ModuleNotFoundError as error:
        mend = "run `pip install --no-deps aprilgrid`, or use a ChArUco board"
        raise CalibrationError("AprilGrids are found by the package aprilgrid, which is missing", mend=mend) from error

    return aprilgrid.Detector("t36h11")
