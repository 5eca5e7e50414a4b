"""Robot beside the person in Rerun: shapes in motion, where the tools were asked to be, joints against their limits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from handcap.causes import GRIPPERS, HANDS, LANGUAGES, ROBOT_VERDICTS
from handcap.errors import OutputError
from handcap.geometry import Array, quat_wxyz_from_matrix
from handcap.retarget.clearance import shape_points
from handcap.retarget.hands.replay import log_allowed, log_hands
from handcap.retarget.hands.take import HandSolution
from handcap.retarget.solve import RetargetParams, Solution
from handcap.retarget.verdict import RobotVerdict

_TIMELINE = "take"
_RECORDED = {"left": (90, 160, 255), "right": (255, 140, 90)}
_REACHED, _LOST, _FURNITURE = (200, 205, 212), (230, 60, 60), (150, 120, 95)


@dataclass(frozen=True, eq=False, slots=True)
class Shown:
    """One take on one robot.

    Attributes:
        root: entity, such as "take_0001/panda".
        solution: the motion.
        told: the verdict in words, Markdown.
        surfaces: (k, 3) level polygons, world, m; of arms their own shapes show these.
    """

    root: str
    solution: Solution | HandSolution
    told: str
    surfaces: tuple[Array, ...] = ()


def in_words(title: str, told: RobotVerdict) -> str:
    """A verdict for a reviewer, in both languages, as Markdown."""
    parts: list[str] = []
    for lang in LANGUAGES:
        parts.append(f"## {title}: {ROBOT_VERDICTS[told.verdict][lang]}, {100 * told.numbers['reachable']:.1f} %\n")
        for cause in told.causes:
            whose = (GRIPPERS | HANDS).get(cause.body or "", {}).get(lang, "")
            parts.append(f"- {whose}{cause.text(lang)} {cause.mend(lang)}")
        parts.append("")
    return "\n".join(parts)


def write_replay(shown: Sequence[Shown], out: Path) -> None:
    """Write takes on robots as one .rrd file, whole or not at all.

    Args:
        shown: what to put in it.

    Raises:
        OutputError: `out` exists or cannot be written.
    """
    import rerun as rr

    if out.exists():
        raise OutputError("exists already", where=out, mend="give a new file, or remove this one")
    temporary = out.with_name(f".{out.name}.writing-{os.getpid()}")
    # No properties and no `log` in time: both would add the clock of this computer to the data.
    rec: Any = rr.RecordingStream("handcap", recording_id="+".join(each.root for each in shown), send_properties=False)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        rec.save(temporary)
        for each in shown:
            root, solution = each.root, each.solution
            rec.log(f"{root}/world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
            rec.log(f"{root}/verdict", rr.TextDocument(each.told, media_type=rr.MediaType.MARKDOWN), static=True)
            if isinstance(solution, HandSolution):
                log_hands(rr, rec, root, solution, _TIMELINE)
                _surfaces(rr, rec, f"{root}/world/surfaces", each.surfaces)
                continue
            _robot(rr, rec, f"{root}/world/robot", solution)
            _person(rr, rec, f"{root}/world/person", solution)
            _plots(rr, rec, root, solution)
        rec.send_blueprint(_blueprint([each.root for each in shown]))
        rec.disconnect()
        temporary.replace(out)
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror or error})", where=out, mend="free some disk space"
        ) from error
    finally:
        rec.disconnect()
        temporary.unlink(missing_ok=True)


def _surfaces(rr: Any, rec: Any, path: str, surfaces: Sequence[Array]) -> None:
    for k, polygon in enumerate(surfaces):
        fan = [[0, i, i + 1] for i in range(1, len(polygon) - 1)]
        rec.log(
            f"{path}/{k}",
            rr.Mesh3D(vertex_positions=polygon, triangle_indices=fan, albedo_factor=_FURNITURE),
            static=True,
        )


def _times(rr: Any, solution: Solution) -> Any:
    return rr.TimeColumn(_TIMELINE, duration=solution.targets.t_s)


def _robot(rr: Any, rec: Any, path: str, solution: Solution) -> None:
    body, T = solution.body, solution.motion.posed.T_world_joint
    for k, shape in enumerate(body.geometry.geometryObjects):
        points = shape_points(shape.geometry)
        hull = ConvexHull(points)
        M = shape.placement.homogeneous
        vertices = points[hull.vertices] @ M[:3, :3].T + M[:3, 3]
        index = np.full(len(points), -1)
        index[hull.vertices] = np.arange(len(hull.vertices))
        faces = index[_outwards(points, hull)]
        flat = shape.name.startswith("surface_")
        at = f"{path}/joint_{shape.parentJoint}/shape_{k}"
        rec.log(
            at,
            rr.Mesh3D(
                vertex_positions=vertices, triangle_indices=faces, albedo_factor=_FURNITURE if flat else _REACHED
            ),
            static=True,
        )
    for joint in sorted({shape.parentJoint for shape in body.geometry.geometryObjects} - {0}):
        wxyz = quat_wxyz_from_matrix(T[:, joint, :3, :3])
        rec.send_columns(
            f"{path}/joint_{joint}",
            [_times(rr, solution)],
            rr.Transform3D.columns(translation=T[:, joint, :3, 3], quaternion=np.roll(wxyz, -1, axis=1)),
        )


def _outwards(points: Array, hull: ConvexHull) -> NDArray[np.intc]:
    """Triangles of a hull, counter-clockwise from outside."""
    faces = hull.simplices.copy()
    a, b, c = (points[faces[:, k]] for k in range(3))
    inwards = np.einsum("ij,ij->i", np.cross(b - a, c - a), hull.equations[:, :3]) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    return faces


def _person(rr: Any, rec: Any, path: str, solution: Solution) -> None:
    for k, tool in enumerate(solution.body.tools):
        goal = solution.targets.goals[tool.side]
        known = goal.tracked
        p = goal.T_world_tcp[known, :3, 3]
        colours = np.where(solution.reached[known, k, None], _RECORDED[tool.side], _LOST).astype(np.uint8)
        rec.log(f"{path}/{tool.side}_path", rr.Points3D(p, colors=colours, radii=0.003), static=True)
        rec.log(f"{path}/{tool.side}", rr.TransformAxes3D(0.08), static=True)
        wxyz = quat_wxyz_from_matrix(goal.T_world_tcp[known, :3, :3])
        rec.send_columns(
            f"{path}/{tool.side}",
            [rr.TimeColumn(_TIMELINE, duration=solution.targets.t_s[known])],
            rr.Transform3D.columns(translation=p, quaternion=np.roll(wxyz, -1, axis=1)),
        )
    head = solution.targets.T_world_head
    if head is not None:
        known = np.isfinite(head[:, 0, 3])
        rec.log(f"{path}/head", rr.Ellipsoids3D(half_sizes=[0.08, 0.08, 0.11], colors=(220, 200, 170)), static=True)
        rec.send_columns(
            f"{path}/head",
            [rr.TimeColumn(_TIMELINE, duration=solution.targets.t_s[known])],
            rr.Transform3D.columns(translation=head[known, :3, 3]),
        )


def _plots(rr: Any, rec: Any, root: str, solution: Solution) -> None:
    """Joints as shares of their range, 0 at the lower limit and 1 at the upper; errors of the tools."""
    body, q = solution.body, solution.motion.q
    arms = [k for k in range(body.dof) if k not in set(body.base.tolist())]
    share = (q[:, arms] - body.lower[arms]) / (body.upper[arms] - body.lower[arms])
    names = [body.joints[k] for k in arms]
    rec.log(f"{root}/joints", rr.SeriesLines(names=names), static=True)
    rec.send_columns(f"{root}/joints", [_times(rr, solution)], rr.Scalars.columns(scalars=share))
    limits = np.tile([0.0, 1.0], (len(q), 1))
    rec.log(f"{root}/limits", rr.SeriesLines(names=["lower", "upper"], colors=[_LOST, _LOST]), static=True)
    rec.send_columns(f"{root}/limits", [_times(rr, solution)], rr.Scalars.columns(scalars=limits))
    errors = 1e3 * solution.motion.position_error_m  # what is unknown leaves a gap
    labels = [f"{tool.side} mm" for tool in body.tools]
    rec.log(f"{root}/errors/tools", rr.SeriesLines(names=labels), static=True)
    rec.send_columns(f"{root}/errors/tools", [_times(rr, solution)], rr.Scalars.columns(scalars=errors))
    log_allowed(
        rr, rec, f"{root}/errors/allowed", _times(rr, solution), np.full(len(q), 1e3 * RetargetParams().reached_m)
    )


def _blueprint(roots: Sequence[str]) -> Any:
    import rerun.blueprint as rrb

    pages = [
        rrb.Horizontal(
            rrb.Spatial3DView(origin=f"{root}/world", name="robot and person"),
            rrb.Vertical(
                rrb.TextDocumentView(origin=f"{root}/verdict", name="verdict"),
                rrb.TimeSeriesView(
                    origin=root, contents=[f"{root}/joints/**", f"{root}/limits"], name="joints, share of their range"
                ),
                rrb.TimeSeriesView(origin=f"{root}/errors", name="error, mm"),
            ),
            column_shares=[2, 1],
            name=root,
        )
        for root in roots
    ]
    return rrb.Blueprint(rrb.Tabs(*pages), rrb.TimePanel(state="collapsed", timeline=_TIMELINE))
