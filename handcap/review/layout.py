"""How a replay opens: path and picture large, verdict and curves beside them, one tab per take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from handcap.clock import NS_PER_S
from handcap.review.material import Material
from handcap.review.pictures import RESIDUAL_ZOOM
from handcap.review.plots import PLOTS
from handcap.review.space import extent_m

_DARK = (18, 20, 24)
_TITLES = {
    "speed": ("speed", "m/s"),
    "sigma": ("position σ", "mm"),
    "residual": ("reprojection rms", "px"),
    "jaw": ("jaws left, right", "mm"),
    "gyro": ("gyro x y z", "°/s"),
    "accel": ("accel x y z", "m/s²"),
}


@dataclass(frozen=True, eq=False, slots=True)
class Page:
    """One take: its root entity, what there is to show, and how far each plot reaches."""

    root: str
    material: Material
    ranges: Mapping[str, tuple[float, float]]


def blueprint(shown: Sequence[Page]) -> Any:
    """Blueprint of a recording, a tab per take."""
    import rerun.blueprint as rrb

    pages = [_page(page) for page in shown]
    body = pages[0] if len(pages) == 1 else rrb.Tabs(*pages)
    return rrb.Blueprint(
        body,
        rrb.TimePanel(state="collapsed", timeline="take"),
        rrb.SelectionPanel(state="hidden"),
        rrb.BlueprintPanel(state="hidden"),
        auto_views=False,
        auto_layout=False,
    )


def _page(page: Page) -> Any:
    import rerun as rr
    import rerun.blueprint as rrb

    root, material = page.root, page.material
    lens = f"{root}/world/head/camera/lens"
    space = rrb.Spatial3DView(
        name="path (green: certain, red: not), map, camera",
        origin=f"{root}/world",
        contents=["$origin/**", f"- {lens}/**", f"+ {lens}", f"+ {lens}/picture"],
        background=_DARK,
        eye_controls=_eye(material),
        line_grid=rrb.LineGrid3D(visible=True, spacing=_grid_m(material), color=(90, 95, 105, 90)),
    )
    title = "camera" if material.residuals is None else f"camera, reprojection errors × {RESIDUAL_ZOOM:.0f}"
    picture = rrb.Spatial2DView(name=title, origin=lens, contents=["$origin/**"])
    words = rrb.TextDocumentView(name="verdict", origin=f"{root}/verdict")
    length_s = (material.end_ns - material.origin_ns) / NS_PER_S
    whole = rrb.TimeAxis(
        view_range=rr.TimeRange(
            start=rr.TimeRangeBoundary.absolute(seconds=-0.01 * length_s),
            end=rr.TimeRangeBoundary.absolute(seconds=1.01 * length_s),
        )
    )
    plots = [
        rrb.TimeSeriesView(
            name=_title(name, page.ranges[name]),
            origin=f"{root}/plots/{name}",
            plot_legend=rrb.PlotLegend(visible=False),
            axis_y=rrb.ScalarAxis(range=_with_margin(page.ranges[name])),
            axis_x=whole,
        )
        for name in PLOTS
        if name in page.ranges
    ]
    left = picture if material.head is None else rrb.Vertical(space, picture, row_shares=[55, 45])
    right = rrb.Vertical(words, *plots, row_shares=[62, *([12] * len(plots))])
    return rrb.Horizontal(left, right, column_shares=[60, 40], name=root)


def _title(name: str, reach: tuple[float, float]) -> str:
    """With the largest magnitude: tick labels are sparse."""
    text, unit = _TITLES[name]
    return f"{text}, at most {max(map(abs, reach)):.3g} {unit}"


def _with_margin(reach: tuple[float, float]) -> tuple[float, float]:
    low, high = min(reach[0], 0.0), reach[1]  # from zero, so that height means something
    margin = 0.08 * max(high - low, 1e-3)
    return low - margin, high + margin


def _grid_m(material: Material) -> float:
    """Spacing of the floor grid: 0.1, 0.5 or 1 m, which the reader can tell from the size of the path."""
    if material.head is None or not material.head.tracked.any():
        return 1.0
    reach_m = extent_m(material.head)
    return 0.1 if reach_m < 1.0 else 0.5 if reach_m < 4.0 else 1.0


def _eye(material: Material) -> Any:
    """Looks down at the path from behind the first viewing direction, from far enough to see all of it."""
    import rerun.blueprint as rrb

    head = material.head
    if head is None or not head.tracked.any():
        return None
    p = head.T_world_body[head.tracked, :3, 3]
    middle = (p.max(axis=0) + p.min(axis=0)) / 2
    # The first camera looks along world x, so this looks over its shoulder.
    back = np.array([-0.75, -0.85, 0.75]) * 1.15 * extent_m(head)
    return rrb.EyeControls3D(position=middle + back, look_target=middle, eye_up=(0, 0, 1))
