"""What a technician reads about a gripper's jaws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from handcap.calibrate.gripper.figures import Figures
from handcap.calibrate.gripper.measurement import GaugedJaws
from handcap.calibrate.page import Page, Table
from handcap.calibrate.part import Part
from handcap.causes import Language
from handcap.geometry import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TWO_SIDED = 1.96
_LEARNED = 0.75  # of the variance: what the take tells better than the drawing does, by half the sigma

_SAID: dict[str, dict[Language, str]] = {
    "title": {"en": "{side} gripper: jaws and tool frame", "zh": "{side}夹爪:开度与工具坐标系"},
    "left": {"en": "Left", "zh": "左"},
    "right": {"en": "Right", "zh": "右"},
    "nothing": {
        "en": "Nothing was calibrated; what to do stands above.",
        "zh": "未能完成标定;处理方法见上。",
    },
    "width": {
        "en": "Jaw opening, {by}: known to ± {best} to {worst} mm (95 %) from {low} to {high} mm.",
        "zh": "夹爪开度({by}):在 {low} 至 {high} 毫米范围内精度为 ± {best} 至 {worst} 毫米(95%)。",
    },
    "tags": {"en": "by finger tags", "zh": "指尖标签"},
    "encoder": {"en": "by the encoder", "zh": "编码器"},
    "observed": {
        "en": "Tool frame: measured here: {measured}. From the drawing, as gauges cannot tell: {drawn}.",
        "zh": "工具坐标系:由本次测得:{measured}。量块无法确定、取自图纸:{drawn}。",
    },
    "none": {"en": "nothing", "zh": "无"},
    "turn": {"en": "turn about {axis}", "zh": "绕 {axis} 转角"},
    "place": {"en": "place along {axis}", "zh": "沿 {axis} 位置"},
    "worse": {
        "en": "Corners fit {corners:.1f} times and readings {angles:.1f} times worse than they should; intervals are "
        "wider by as much.",
        "zh": "角点残差为应有值的 {corners:.1f} 倍,读数为 {angles:.1f} 倍;区间已相应放宽。",
    },
    "values": {"en": "Numbers and 95 % intervals", "zh": "数值与 95% 区间"},
    "name": {"en": "what", "zh": "项目"},
    "value": {"en": "value", "zh": "数值"},
    "interval": {"en": "± (95 %)", "zh": "±(95%)"},
    "quality": {"en": "Quality", "zh": "质量"},
    "line_m": {"en": "largest deviation from a straight line, raw, mm", "zh": "原始信号与直线的最大偏差,毫米"},
    "linearity_m": {"en": "largest deviation from a gauge, calibrated, mm", "zh": "标定后与量块的最大偏差,毫米"},
    "hysteresis_m": {"en": "hysteresis: going back less going up, mm", "zh": "滞后:返程减去程,毫米"},
    "left_out_m": {"en": "largest error on a gauge left out, mm", "zh": "留出量块的最大误差,毫米"},
    "backlash": {
        "en": "backlash: encoder less tags, opening less closing, mm",
        "zh": "回差(编码器减标签,张开减闭合),毫米",
    },
    "late": {"en": "camera stamps late against the encoder, ms", "zh": "相机时间戳相对编码器滞后,毫秒"},
    "size": {"en": "size of the tags, % of what is stated", "zh": "标签尺寸,占标称值的 %"},
    "holds": {"en": "Every hold, mm", "zh": "每次夹持,毫米"},
    "gauge": {"en": "gauge", "zh": "量块"},
    "way": {"en": "way", "zh": "方向"},
    "up": {"en": "up", "zh": "去"},
    "back": {"en": "back", "zh": "返"},
    "off": {"en": "{by}: less gauge", "zh": "{by}:减量块"},
    "residuals": {
        "en": "Measured width less gauge, mm, over the opening, mm. Filled: going up, open: going back; "
        "o tags, □ encoder; bands: 95 % of the calibration.",
        "zh": "测得宽度减量块宽度(毫米)对开度(毫米)。实心:去程,空心:返程;圆:标签,方:编码器;色带:标定的 95% 区间。",
    },
    "curve": {
        "en": "Encoder: deviation of the angle from a straight line, mm, over the opening, mm: a magnet off its axis. "
        "Line: as calibrated.",
        "zh": "编码器:角度与直线的偏差(毫米)对开度(毫米),由磁铁偏心引起。曲线:标定结果。",
    },
}


def page_of(part: Part, measured: tuple[GaugedJaws, Mapping[str, Figures]] | None, lang: Language) -> Page:
    """The page of a part; of a refused one without numbers, the causes alone."""
    side = _SAID["left" if part.subject == "left" else "right"][lang]
    title = _SAID["title"][lang].format(side=side)
    if part.uid is not None:
        title += f" ({part.uid})"
    if measured is None:
        return Page(title, part.verdict, part.causes, [_SAID["nothing"][lang]], lang=lang)
    jaws, figures = measured
    charts = [(_SAID["residuals"][lang], _residuals(jaws, figures))]
    if jaws.model.by_encoder:
        charts.append((_SAID["curve"][lang], _curve(jaws)))
    return Page(
        title,
        part.verdict,
        part.causes,
        _lines(part, jaws, figures, lang),
        [_numbers(part, lang), _quality(part, figures, lang), _holds(jaws, figures, lang)],
        charts,
        lang,
    )


def _lines(part: Part, jaws: GaugedJaws, figures: Mapping[str, Figures], lang: Language) -> list[str]:
    lines: list[str] = []
    for name, each in figures.items():
        half_mm = 1e3 * _TWO_SIDED * each.sigma_m
        lines.append(
            _SAID["width"][lang].format(
                by=_SAID[name][lang],
                best=f"{half_mm.min():.3f}",
                worst=f"{half_mm.max():.3f}",
                low=f"{1e3 * each.opening_m[0]:g}",
                high=f"{1e3 * each.opening_m[-1]:g}",
            )
        )
    learned: Mapping[str, Any] | None = part.details["T_cam_tcp_learned"]
    if learned is not None:
        shares = [(_SAID["turn"][lang].format(axis=axis), learned["rotation"][k]) for k, axis in enumerate("xyz")]
        shares += [(_SAID["place"][lang].format(axis=axis), learned["position"][k]) for k, axis in enumerate("xyz")]
        nothing = _SAID["none"][lang]
        lines.append(
            _SAID["observed"][lang].format(
                measured=", ".join(name for name, share in shares if share >= _LEARNED) or nothing,
                drawn=", ".join(name for name, share in shares if share < _LEARNED) or nothing,
            )
        )
    worse = jaws.fit.worse
    if max(worse.corners, worse.angles) > 1:
        lines.append(_SAID["worse"][lang].format(corners=worse.corners, angles=worse.angles))
    return lines


def _numbers(part: Part, lang: Language) -> Table:
    rows: list[list[str]] = []

    def row(name: str, value: float, sigma: float | None, scale: float = 1.0, unit: str = "") -> None:
        shown = "" if sigma is None or not np.isfinite(sigma) else f"{_TWO_SIDED * sigma * scale:.3g}"
        rows.append([f"{name} {unit}".strip(), f"{value * scale:.6g}", shown])

    encoder, encoder_sigma = part.values["encoder"], part.sigma["encoder"]
    if encoder is not None:
        row("metres_per_rad", encoder["metres_per_rad"], encoder_sigma["metres_per_rad"], 1e3, "(mm/rad)")
        for name in ("zero_rad", "eccentricity_rad", "eccentricity_phase_rad", "noise_rad"):
            row(name, encoder[name], encoder_sigma[name], np.rad2deg(1.0), "(°)")
    if part.values["T_cam_tcp"] is not None:
        sigma = part.sigma["T_cam_tcp"]
        for k, axis in enumerate("xyz"):
            # Told in the camera's axes, known in the tool's; they are parallel to a degree.
            row(f"T_cam_tcp {axis}", part.values["T_cam_tcp"][k, 3], sigma["position_m"][k], 1e3, "(mm)")
        for tag, tag_sigma in zip(part.values["tags"], part.sigma["tags"], strict=True):
            if tag_sigma is not None:
                x, known = tag["T_body_tag"][0, 3], tag_sigma["position_m"][0]
                row(f"tag {tag['id']} x", x, known, 1e3, "(mm)")
    return Table(_SAID["values"][lang], [_SAID[key][lang] for key in ("name", "value", "interval")], rows)


def _quality(part: Part, figures: Mapping[str, Figures], lang: Language) -> Table:
    rows: list[list[str]] = []

    def row(name: str, known: Mapping[str, float], scale: float) -> None:
        sigma = known["sigma"]
        shown = f"{_TWO_SIDED * sigma * scale:.2g}" if np.isfinite(sigma) else ""
        rows.append([name, f"{known['value'] * scale:.4g}", shown])

    for name, each in figures.items():
        for key, known in (
            ("line_m", each.line_m),
            ("linearity_m", each.linearity_m),
            ("hysteresis_m", each.hysteresis_m),
        ):
            if np.isfinite(known.value):
                row(f"{_SAID[name][lang]}: {_SAID[key][lang]}", {"value": known.value, "sigma": known.sigma}, 1e3)
        rows.append([f"{_SAID[name][lang]}: {_SAID['left_out_m'][lang]}", f"{1e3 * each.left_out_m:.4g}", ""])
    moving = part.details["moving"]
    if moving is not None:
        row(_SAID["backlash"][lang], moving["backlash_m"], 1e3)
        row(_SAID["late"][lang], moving["camera_late_s"], 1e3)
    if part.details["tag_size"] is not None:
        row(_SAID["size"][lang], part.details["tag_size"], 100)
    return Table(_SAID["quality"][lang], [_SAID[key][lang] for key in ("name", "value", "interval")], rows)


def _holds(jaws: GaugedJaws, figures: Mapping[str, Figures], lang: Language) -> Table:
    widths = {"tags": jaws.by_tags_m, "encoder": jaws.by_encoder_m}
    columns = [_SAID["gauge"][lang], _SAID["way"][lang]]
    columns += [_SAID["off"][lang].format(by=_SAID[name][lang]) for name in figures]
    rows: list[list[str]] = []
    for k, gauge_m in enumerate(jaws.held.gauge_m):
        way = _SAID["back" if jaws.going_back[k] else "up"][lang]
        off = [1e3 * (widths[name][k] - gauge_m) for name in figures]
        rows.append([f"{1e3 * gauge_m:g}", way, *(f"{each:+.3f}" if np.isfinite(each) else "" for each in off)])
    return Table(_SAID["holds"][lang], columns, rows)


def _residuals(jaws: GaugedJaws, figures: Mapping[str, Figures]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5))
    axes = figure.add_subplot()
    axes.axhline(0, color="#888", linewidth=0.8)
    for name, width_m, colour, mark in (
        ("tags", jaws.by_tags_m, "#1f6fb4", "o"),
        ("encoder", jaws.by_encoder_m, "#c1621b", "s"),
    ):
        if name not in figures:
            continue
        each = figures[name]
        band = 1e3 * _TWO_SIDED * each.sigma_m
        axes.fill_between(1e3 * each.opening_m, -band, band, color=colour, alpha=0.15, linewidth=0)
        off_mm = 1e3 * (width_m - jaws.held.gauge_m)
        for back in (False, True):
            here = jaws.going_back == back
            axes.plot(
                1e3 * jaws.held.gauge_m[here],
                off_mm[here],
                mark,
                color=colour,
                markerfacecolor="none" if back else colour,
            )
    axes.set_xlabel("mm")
    axes.set_ylabel("mm")
    return figure


def _curve(jaws: GaugedJaws) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3))
    axes = figure.add_subplot()
    gauge, angle = jaws.held.gauge_m, jaws.held.angle_rad
    known = np.isfinite(angle)
    line = np.polynomial.Polynomial.fit(gauge[known], angle[known], 1)
    metres_per_rad = abs(jaws.model.drawn.metres_per_rad)

    def bent_mm(opening_m: Array, read_rad: Array) -> Array:
        return 1e3 * metres_per_rad * (read_rad - line(opening_m))

    fine = np.linspace(gauge.min(), gauge.max(), 200)
    axes.axhline(0, color="#888", linewidth=0.8)
    axes.plot(1e3 * fine, bent_mm(fine, jaws.model.angles_rad(jaws.fit.unknowns, fine)), color="#c1621b")
    axes.plot(1e3 * gauge, bent_mm(gauge, angle), "s", color="#c1621b", markerfacecolor="none")
    axes.set_xlabel("mm")
    axes.set_ylabel("mm")
    return figure
