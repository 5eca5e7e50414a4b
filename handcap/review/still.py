"""One picture that sums up a take: a frame with its residuals, the path from above, the error over time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S
from handcap.errors import ReviewError
from handcap.geometry import Array, interpolate_poses
from handcap.review.canvas import Canvas
from handcap.review.colours import AXES, GOOD, PLANES, SIDES, traffic
from handcap.review.material import Material, gather
from handcap.review.pictures import RESIDUAL_ZOOM
from handcap.review.space import AXIS_M, position_sigma_m
from handcap.session import Session
from handcap.types import Trajectory

_WIDTH, _HEIGHT = 1600, 760
_TRUTH = (250, 250, 250)
_SIGMA = (60, 110, 180)
_RESIDUAL_RED_PX = 2.0


@dataclass(frozen=True, eq=False, slots=True)
class AgainstTruth:
    """An estimate beside its truth, aligned as for the absolute trajectory error.

    Attributes:
        p_truth: (n, 3) of the rows scored, in the estimate's world.
        p_estimate: (n, 3); t_ns: (n,) their stamps.
    """

    t_ns: NDArray[np.int64]
    p_truth: Array
    p_estimate: Array


def against_truth(truth: Trajectory, estimate: Trajectory) -> AgainstTruth:
    """The tracked rows of an estimate within the truth's span."""
    from handcap.reconstruct.score import align

    rows = estimate.tracked_only()
    within = (rows.t_ns >= truth.t_ns[0]) & (rows.t_ns <= truth.t_ns[-1])
    t_ns, p_estimate = rows.t_ns[within], rows.T_world_body[within, :3, 3]
    p_truth = interpolate_poses(truth.t_ns, truth.T_world_body, t_ns)[:, :3, 3]
    return AgainstTruth(t_ns, align(p_estimate, p_truth).apply(p_truth), p_estimate)


def draw_still(session: Session, take: str, out: Path, truth: Trajectory | None = None, title: str = "") -> None:
    """Write a PNG of a reconstructed take.

    Args:
        truth: dense trajectory of the same body on the same clock, in a world of its own.
        title: first line; letters beyond ASCII are left out, the drawing font has none.

    Raises:
        ReviewError: the take has no trajectory, or the file cannot be written.
    """
    material = gather(session, take)
    if material.head is None or material.head.tracked.sum() < 3:
        mend = f"run `handcap reconstruct {session.path}`"
        raise ReviewError(f"take {take} has no trajectory to draw", where=session.path, mend=mend)
    compared = None if truth is None else against_truth(truth, material.head)
    canvas = Canvas(_WIDTH, _HEIGHT)
    canvas.text(title.encode("ascii", "ignore").decode(), (30, 44), 26)
    _frame(canvas, material, (30, 70, 850, 720))
    _plan(canvas, material, compared, (890, 70, 1570, 500))
    _curves(canvas, material, compared, (890, 540, 1570, 720))
    canvas.write(out)


def _frame(canvas: Canvas, material: Material, box: tuple[int, int, int, int]) -> None:
    """A picture from the middle of the take with the landmarks seen in it."""
    image, shown = _middle_picture(material)
    place = canvas.image(image, box)
    seen = 0
    if shown is not None and material.residuals is not None:
        left = material.residuals
        rows = left.camera_t_ns == shown
        seen = int(rows.sum())
        size = np.linalg.norm(left.residual_px[rows], axis=1)
        colours = traffic(size / _RESIDUAL_RED_PX)
        for pixel, off, colour in zip(left.pixel[rows], left.residual_px[rows], colours.tolist(), strict=True):
            canvas.line([place(pixel), place(pixel + RESIDUAL_ZOOM * off)], colour, 2)
            canvas.dot(place(pixel), 3.5, colour)
    note = f"{seen} landmarks, reprojection errors x {RESIDUAL_ZOOM:.0f}" if seen else "a picture of the take"
    canvas.text(note, (box[0], box[3] + 26), 17, (170, 175, 185))


def _middle_picture(material: Material) -> tuple[Any, int | None]:
    """Image and stamp of the keyframe nearest the middle; of the first picture without keyframes."""
    middle = (material.origin_ns + material.end_ns) // 2 - material.dt_session_cam_ns
    wanted = None
    if material.residuals is not None and len(material.residuals.camera_t_ns):
        stamps = np.unique(material.residuals.camera_t_ns)
        wanted = int(stamps[np.argmin(np.abs(stamps - middle))])
    for frame in material.take.frames(material.camera, grey=False):
        if wanted is None or frame.t_ns >= wanted:
            return frame.image, wanted
    raise ReviewError("no picture decodes", where=material.take.session.path, mend="record the take again")


def _plan(canvas: Canvas, material: Material, compared: AgainstTruth | None, box: tuple[int, int, int, int]) -> None:
    """Surface of the work and its frame, paths, the head's coloured by position sigma, the truth, a scale bar."""
    canvas.panel(box)
    head, tools = material.head, material.tools
    assert head is not None
    p = head.T_world_body[head.tracked, :2, 3]
    others = {side: tool.poses.T_world_body[tool.poses.tracked, :2, 3] for side, tool in tools.items()}
    surface, T_world_workspace = _workspace(material)
    everything = np.concatenate([p, *others.values(), surface])
    spread = np.ptp(everything, axis=0)
    # The field is wider than high: a path that is not gets turned by a quarter.
    turn = np.eye(2) if spread[0] > spread[1] else np.array([[0.0, 1.0], [-1.0, 0.0]])
    p = p @ turn.T
    low, high = (everything @ turn.T).min(axis=0), (everything @ turn.T).max(axis=0)
    place = canvas.plane(box, low, high, margin=46)
    if T_world_workspace is not None:
        canvas.line([place(q) for q in [*(surface @ turn.T), turn @ surface[0]]], PLANES["surface"], 1)
        origin = T_world_workspace[:2, 3]
        for axis, colour in zip(T_world_workspace[:2, :2].T, AXES, strict=False):
            canvas.line([place(turn @ origin), place(turn @ (origin + AXIS_M * axis))], colour, 2)
    if compared is not None:
        canvas.line([place(q) for q in compared.p_truth[:, :2] @ turn.T], _TRUTH, 7)
    sigma_m = position_sigma_m(head)[head.tracked]
    worst_m = float(np.nanmax(sigma_m)) if np.isfinite(sigma_m).any() else np.nan
    colours = traffic(sigma_m / 0.02).tolist()
    for a, b, colour in zip(p[:-1], p[1:], colours[1:], strict=True):
        canvas.line([place(a), place(b)], colour, 3)
    for k, (side, q) in enumerate(others.items()):
        canvas.line([place(point) for point in q @ turn.T], SIDES[side], 2)
        y = box[1] + 48 + 22 * k
        canvas.line([(box[2] - 150, y), (box[2] - 110, y)], SIDES[side], 3)
        canvas.text(side, (box[2] - 100, y + 6), 17, (170, 175, 185))
    x, y = place(p[0])
    canvas.dot((x, y), 8, GOOD)
    canvas.text("start", (x + 12, y - 8), 15, (200, 205, 215))
    _scale_bar(canvas, place, box, float((high - low).max()))
    words = "path from above" + ("" if np.isnan(worst_m) else f", position sigma at most {1e3 * worst_m:.1f} mm")
    canvas.text(words, (box[0] + 14, box[1] + 26), 17, (170, 175, 185))
    if compared is not None:
        canvas.line([(box[2] - 150, box[1] + 20), (box[2] - 110, box[1] + 20)], _TRUTH, 7)
        canvas.text("truth", (box[2] - 100, box[1] + 26), 17, (170, 175, 185))


def _workspace(material: Material) -> tuple[Array, Array | None]:
    """Outline (k, 2) of the surface that is worked on, from above, and (4, 4) its frame; empty and None without one."""
    found = material.report.get("workspace")
    if not found:
        return np.empty((0, 2)), None
    outline = np.array(material.report["planes"][found["plane"]]["polygon_world"])
    return outline[:, :2], np.array(found["T_world_workspace"])


def _scale_bar(canvas: Canvas, place: Any, box: tuple[int, int, int, int], reach_m: float) -> None:
    """The longest of 1, 2, 5 × 10ⁿ m that is at most a third of the path's size."""
    steps = [m * 10.0**e for e in range(-3, 3) for m in (1, 2, 5)]
    length_m = max([s for s in steps if s <= max(reach_m, 3e-3) / 3], default=1e-3)
    length_px = place(np.array([length_m, 0.0]))[0] - place(np.zeros(2))[0]
    x, y = box[0] + 20, box[3] - 20
    canvas.line([(x, y - 6), (x, y), (x + length_px, y), (x + length_px, y - 6)], (220, 225, 235), 2)
    label = f"{length_m:g} m" if length_m >= 1 else f"{100 * length_m:g} cm"
    canvas.text(label, (x + length_px + 10, y + 2), 17, (220, 225, 235))


def _curves(canvas: Canvas, material: Material, compared: AgainstTruth | None, box: tuple[int, int, int, int]) -> None:
    """Position error over time against three of its own sigma; the sigma alone where there is no truth."""
    canvas.panel(box)
    head = material.head
    assert head is not None
    rows = head.tracked_only()
    t_s = (rows.t_ns - material.origin_ns) / NS_PER_S
    limit_mm = 3e3 * position_sigma_m(rows)
    known = np.isfinite(limit_mm)
    error_mm = None
    if compared is not None:
        error_mm = 1e3 * np.linalg.norm(compared.p_estimate - compared.p_truth, axis=1)
    reach = [limit_mm[known].max()] if known.any() else []
    reach += [] if error_mm is None else [error_mm.max()]
    top = 1.15 * max(reach, default=1.0)
    end_s = max(float(t_s[-1]), 1e-3)
    place = canvas.plane(box, np.zeros(2), np.array([end_s, top]), margin=34, keep_aspect=False)
    for share in (0.0, 0.5, 1.0):
        y = place(np.array([0.0, share * top]))[1]
        canvas.line([(box[0] + 34, y), (box[2] - 34, y)], (52, 57, 66), 1)
    if known.any():
        canvas.line([place(np.array(q)) for q in zip(t_s[known], limit_mm[known], strict=True)], _SIGMA, 2)
    if error_mm is not None and compared is not None:
        at_s = (compared.t_ns - material.origin_ns) / NS_PER_S
        canvas.line([place(np.array(q)) for q in zip(at_s, error_mm, strict=True)], GOOD, 2)
    words = "3 sigma as stated" if error_mm is None else "position error (green), 3 sigma as stated (blue)"
    canvas.text(f"{words}; top {top:.1f} mm, {end_s:.0f} s", (box[0] + 14, box[1] + 22), 16, (170, 175, 185))
