"""The page of one camera: what a technician reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from handcap.calibrate.camera.step import CameraResult, Known
from handcap.calibrate.camera.stereo import Joint, StereoResult
from handcap.calibrate.camera.uncertainty import grid_px
from handcap.calibrate.page import Page, Table
from handcap.causes import CAMERAS, Language
from handcap.geometry import Array, so3_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_Z95 = 1.96
_MOST_WISHES = 5
_MOST_POINTS = 2500  # in a chart: a page stays small
_WIDTH_IN = 6.5
_ARROW = 0.04  # of the picture's width, for a residual of three times the noise
_TITLE: dict[Language, str] = {"en": "Camera calibration: {}", "zh": "相机标定:{}"}
_PARAMS: dict[Language, tuple[str, ...]] = {
    "en": ("parameter", "value", "95 % interval"),
    "zh": ("参数", "数值", "95 % 区间"),
}
_UNITS = {"fx": "px", "fy": "px", "cx": "px", "cy": "px"}


def camera_page(result: CameraResult, lang: Language = "en") -> Page:
    """Of one camera's part."""
    part, known = result.part, result.known
    name = CAMERAS.get(part.subject, {}).get(lang, part.subject)
    title = _TITLE[lang].format(name)
    if known is None:
        seen = part.details["pictures_with_board"], part.details["pictures"]
        line = {"en": "The board was found in {} of {} pictures.", "zh": "在 {1} 张图片中的 {0} 张找到标定板。"}[lang]
        return Page(title, part.verdict, part.causes, [line.format(*seen)], lang=lang)
    return Page(
        title,
        part.verdict,
        part.causes,
        _lines(known, lang),
        [_parameters(known, lang), _numbers(result, known, lang)],
        [
            (_caption("coverage", lang), _coverage(known)),
            (_caption("expected", lang), _expected(known)),
            (_caption("residuals", lang), _residuals(known)),
        ],
        lang,
    )


def stereo_page(result: StereoResult, lang: Language = "en") -> Page:
    """Of the pair."""
    part, joint = result.pair, result.joint
    names = [CAMERAS.get(each.part.subject, {}).get(lang, each.part.subject) for each in result.cameras]
    title = {"en": "Two cameras: {} and {}", "zh": "双目标定:{} 与 {}"}[lang].format(*names)
    if joint is None:
        return Page(title, part.verdict, part.causes, lang=lang)
    T, details = joint.T_a_b, part.details
    turn = np.degrees(so3_log(T[:3, :3]))
    turn_sd = np.degrees(np.asarray(part.sigma["rotation_rad"]))
    place_sd = 1000 * np.asarray(part.sigma["position_m"])
    axes = ("x", "y", "z")
    where = {"en": "position {} of the second in the first", "zh": "第二台相机在第一台中的位置 {}"}[lang]
    turned = {"en": "rotation about {}", "zh": "绕 {} 轴的旋转"}[lang]
    rows = [(where.format(a), f"{1000 * T[k, 3]:.3f} ± {_Z95 * place_sd[k]:.3f} mm") for k, a in enumerate(axes)]
    rows += [(turned.format(a), f"{turn[k]:.4f} ± {_Z95 * turn_sd[k]:.4f}°") for k, a in enumerate(axes)]
    length = {"en": "distance between the cameras", "zh": "两台相机的距离"}[lang]
    sd = _Z95 * details["baseline_sigma_m"]
    rows.append((length, f"{1000 * details['baseline_m']:.3f} ± {1000 * sd:.3f} mm"))
    off = {"en": "distance from the epipolar plane, rms", "zh": "与极平面的距离(均方根)"}[lang]
    rows.append((off, f"{details['epipolar_rms_px']:.3f} px"))
    pairs = {"en": "pairs used, left out", "zh": "使用 / 剔除的图像对"}[lang]
    rows.append((pairs, f"{joint.pairs}, {len(joint.bad)}"))
    heads: dict[Language, tuple[str, str, str]] = {
        "en": ("Where they sit", "", "value and 95 % interval"),
        "zh": ("相对位置", "", "数值与 95 % 区间"),
    }
    words = {"en": "Distance from the epipolar plane, px, pair by pair.", "zh": "各图像对与极平面的距离(像素)。"}[lang]
    table = Table(heads[lang][0], heads[lang][1:], rows)
    return Page(title, part.verdict, part.causes, [], [table], [(words, _epipolar(joint))], lang)


def _epipolar(joint: Joint) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_IN, 2.5))
    axes: Any = figure.add_subplot()
    every = _every(len(joint.epipolar_px))
    axes.plot(joint.epipolar_pair[::every], joint.epipolar_px[::every], ".", color="black", markersize=2)
    axes.axhline(0, color="0.7", linewidth=0.5)
    return figure


def _lines(known: Known, lang: Language) -> list[str]:
    wishes = [wish.text(lang) for wish in known.covered.wishes()[:_MOST_WISHES]]
    if not wishes:
        return [
            {"en": "The board was shown everywhere and from every side.", "zh": "标定板已在各处、各方向展示。"}[lang]
        ]
    head = {"en": "To make it better, take more pictures:", "zh": "若要改进,请补拍图片:"}[lang]
    return [head, *(f"• {wish}" for wish in wishes)]


def _parameters(known: Known, lang: Language) -> Table:
    lens, sigma = known.estimate.lens, known.estimate.sigma
    rows: list[tuple[str, str, str]] = []
    for name, value, sd in zip(lens.parameter_names, lens.params, sigma, strict=True):
        unit = _UNITS.get(name, "")
        digits = 3 if unit else 6
        low, high = value - _Z95 * sd, value + _Z95 * sd
        rows.append((name, f"{value:.{digits}f} {unit}", f"{low:.{digits}f} … {high:.{digits}f}"))
    return Table(f"{lens.model}, {lens.width} × {lens.height}", _PARAMS[lang], rows)


def _numbers(result: CameraResult, known: Known, lang: Language) -> Table:
    estimate = known.estimate
    names: dict[Language, tuple[str, ...]] = {
        "en": (
            "views used, of pictures",
            "views left out, they fit no common lens",
            "corners, of these grossly wrong",
            "root mean square residual",
            "noise of a corner, per axis",
            "residual of views held out, and of the same views fitted",
            "expected error where the board was seen (90 % of it)",
            "picture covered",
            "views tilted left, right, top, bottom",
            "board bulges by",
            "errors that last over a view: variance times",
        ),
        "zh": (
            "使用的视图 / 图片",
            "因不符而剔除的视图",
            "角点,其中严重错误",
            "残差均方根",
            "角点噪声(每轴)",
            "留出视图的残差 / 参与拟合时",
            "标定板出现区域的预期误差(90 %)",
            "画面覆盖率",
            "向左、右、上、下倾斜的视图",
            "标定板弯曲",
            "视图内相关误差:方差倍数",
        ),
    }
    held = estimate.held_out
    values = (
        f"{len(estimate.used)} / {len(result.views.views)}",
        str(len(estimate.bad)),
        f"{len(estimate.seen)}, {int(estimate.fit.gross.sum())}",
        f"{estimate.fit.rms_px:.3f} px",
        f"{estimate.fit.noise_px:.3f} px",
        "–" if held is None else f"{held.rms_px:.3f} / {held.fitted_rms_px:.3f} px",
        f"{known.expected_p90_px:.3f} px",
        f"{100 * known.covered.share:.0f} %",
        ", ".join(str(known.covered.tilted[side]) for side in ("left", "right", "top", "bottom")),
        f"{1000 * known.shape.bend_m:.2f} ± {1000 * _Z95 * known.shape.bend_sigma_m:.2f} mm",
        f"{estimate.inflation:.2f}",
    )
    head: dict[Language, tuple[str, str, str]] = {"en": ("How it went", "", ""), "zh": ("过程数据", "", "")}
    return Table(head[lang][0], head[lang][1:], list(zip(names[lang], values, strict=True)))


def _caption(which: str, lang: Language) -> str:
    words: dict[str, dict[Language, str]] = {
        "coverage": {
            "en": "Where corners were seen; grey cells are dark in every picture, white ones still lack the board.",
            "zh": "角点出现的位置;灰色格在所有图片中均为暗区,白色格尚未出现标定板。",
        },
        "expected": {
            "en": "Expected error of the lens in px (standard deviation per axis), a turn of the whole camera left "
            "out. It does not cover a wrong lens model: beyond the corners it is a guess.",
            "zh": "镜头的预期误差(像素,每轴标准差),不计相机整体转动。不包括镜头模型本身的错误:角点之外只是推测。",
        },
        "residuals": {
            "en": "Residuals, enlarged; arrows that agree with their neighbours mean that lens model or board are not "
            "as stated.",
            "zh": "放大的残差;若相邻箭头方向一致,说明镜头模型或标定板与所述不符。",
        },
    }
    return words[which][lang]


def _axes(known: Known) -> tuple[Figure, Any]:
    """A picture's frame, pixel (0, 0) at the top left."""
    from matplotlib.figure import Figure

    lens = known.estimate.lens
    figure = Figure(figsize=(_WIDTH_IN, _WIDTH_IN * lens.height / lens.width))
    axes: Any = figure.add_subplot()
    axes.set_xlim(-0.5, lens.width - 0.5)
    axes.set_ylim(lens.height - 0.5, -0.5)
    axes.set_aspect("equal")
    return figure, axes


def _coverage(known: Known) -> Figure:
    figure, axes = _axes(known)
    covered, lens = known.covered, known.estimate.lens
    rows, columns = covered.corners.shape
    colours = np.where(covered.corners > 0, 1.0, np.where(covered.lit, np.nan, 0.0))
    edges = (-0.5, lens.width - 0.5, lens.height - 0.5, -0.5)
    axes.imshow(colours, extent=edges, cmap="Greens", vmin=-1, vmax=2.5, interpolation="nearest")
    for k in range(1, columns):
        axes.axvline(k * lens.width / columns - 0.5, color="0.8", linewidth=0.5)
    for k in range(1, rows):
        axes.axhline(k * lens.height / rows - 0.5, color="0.8", linewidth=0.5)
    px = _thinned(known.estimate.seen.px)
    axes.plot(px[:, 0], px[:, 1], ".", color="black", markersize=1.5)
    return figure


def _expected(known: Known) -> Figure:
    figure, axes = _axes(known)
    lens, expected = known.estimate.lens, known.expected_px
    at = grid_px(lens.width, lens.height, expected.shape[1], expected.shape[0])
    levels = [0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
    filled = axes.contourf(at[..., 0], at[..., 1], np.clip(expected, 0, 1.99), levels, cmap="RdYlGn_r")
    figure.colorbar(filled, ax=axes, label="px", shrink=0.8)
    return figure


def _residuals(known: Known) -> Figure:
    figure, axes = _axes(known)
    estimate = known.estimate
    every = _every(len(estimate.seen))
    px, residual = estimate.seen.px[::every], estimate.fit.residual_px[::every]
    longest = 3 * estimate.fit.noise_px
    shown = residual * (_ARROW * estimate.lens.width / longest)
    usual = np.linalg.norm(residual, axis=1) < 2 * longest  # a corner quite off would cross the whole picture
    kw = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.0015}
    axes.quiver(px[usual, 0], px[usual, 1], shown[usual, 0], shown[usual, 1], **kw)
    axes.plot(px[~usual, 0], px[~usual, 1], "rx", markersize=4)
    return figure


def _every(count: int) -> int:
    return max(-(-count // _MOST_POINTS), 1)


def _thinned(px: Array) -> Array:
    return px[:: _every(len(px))]
