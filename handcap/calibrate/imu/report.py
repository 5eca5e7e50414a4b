"""The page of `calibrate imu`: what a technician reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from handcap.calibrate.imu.noise import Estimate, NoiseFit
from handcap.calibrate.imu.poses import PosesResult
from handcap.calibrate.imu.step import ImuResult, readings_per_unit, rms
from handcap.calibrate.imu.still import SensorNoise
from handcap.calibrate.page import Page, Table
from handcap.causes import SENSORS, Language
from handcap.geometry import GRAVITY_M_S2, Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#b3261e", "#2a7d46", "#1f5fa8")
_UNITS = {"gyro": "rad/s", "accel": "m/s²"}
_WORDS: dict[str, dict[Language, str]] = {
    "title": {"en": "Motion sensor of {subject}", "zh": "{subject} 的运动传感器"},
    "noise": {"en": "Noise at rest, with 95 % intervals", "zh": "静止噪声(95% 区间)"},
    "sensor": {"en": "sensor", "zh": "传感器"},
    "axis": {"en": "axis", "zh": "轴"},
    "mean": {"en": "mean", "zh": "平均"},
    "density": {"en": "density", "zh": "噪声密度"},
    "walk": {"en": "random walk", "zh": "随机游走"},
    "instability": {"en": "bias instability", "zh": "零偏不稳定性"},
    "below": {"en": "unknown, below {high}", "zh": "未知,低于 {high}"},
    "not_seen": {"en": "not seen", "zh": "未见"},
    "used": {
        "en": "Noise was measured on {seconds:.0f} s of stillness; averaging times from {short:.3g} s to "
        "{long:.3g} s were used.",
        "zh": "噪声由 {seconds:.0f} 秒静止数据得到,所用平均时间为 {short:.3g} 秒至 {long:.3g} 秒。",
    },
    "noise_use": {
        "en": "Numbers of the row “mean” go into rig.json. Motion and warmth in use add to them.",
        "zh": "“平均”一行的数值写入 rig.json。实际使用中的运动和温度会使其增大。",
    },
    "warm": {
        "en": "Temperature went from {low:.1f} °C to {high:.1f} °C.",
        "zh": "温度从 {low:.1f} °C 变到 {high:.1f} °C。",
    },
    "per_kelvin": {"en": "Bias per kelvin", "zh": "每开尔文零偏变化"},
    "cold": {"en": "The log does not say how warm the sensor was.", "zh": "记录中没有传感器温度。"},
    "allan": {
        "en": "{sensor}: Allan deviation of each axis with its 95 % interval, and the fitted noise (dashed).",
        "zh": "{sensor}:各轴 Allan 偏差及其 95% 区间,虚线为拟合噪声。",
    },
    "poses": {
        "en": "It lay still {rests} times in {positions} different positions.",
        "zh": "共静止 {rests} 次,{positions} 个不同姿态。",
    },
    "gravity_line": {
        "en": "Gravity came out the same in all of them to {after:.1f} mm/s² ({before} before; {held:.1f} in "
        "rests that the fit did not see).",
        "zh": "标定后各姿态的重力一致到 {after:.1f} mm/s²(标定前 {before};未参与拟合的静止段为 {held:.1f})。",
    },
    "turn_line": {
        "en": "Turns from one to the next agreed with gravity to {after:.2f}° ({before} before; {held:.2f}° "
        "in turns that the fit did not see).",
        "zh": "各次转动与重力一致到 {after:.2f}°(标定前 {before};未参与拟合的转动为 {held:.2f}°)。",
    },
    "gravity_note": {
        "en": "All scales are relative to gravity of {g:.5f} m/s². Where it truly is another (it differs by "
        "up to 0.3 % over the Earth), give --gravity.",
        "zh": "所有比例以重力 {g:.5f} m/s² 为准。若当地重力不同(全球相差可达 0.3%),请用 --gravity 给出。",
    },
    "unknown": {"en": "unknown", "zh": "未知"},
    "matrices": {"en": "Scale, misalignment and bias, ± one sigma", "zh": "比例、非正交与零偏(± 一倍标准差)"},
    "bias": {"en": "bias", "zh": "零偏"},
    "rests": {
        "en": "Gravity in each rest less what it should be: before (grey), after (blue), and in fits that did "
        "not see the rest (red).",
        "zh": "各静止段的重力误差:标定前(灰)、标定后(蓝)、未参与拟合(红)。",
    },
    "turns": {
        "en": "Angle by which each turn misses gravity: before (grey), after (blue), and in fits that did not "
        "see the turn (red).",
        "zh": "各次转动与重力的角度误差:标定前(灰)、标定后(蓝)、未参与拟合(红)。",
    },
    "still_blind": {
        "en": "A log at rest cannot show swapped or mirrored axes, nor scale: add one in many attitudes for these.",
        "zh": "静止记录无法发现坐标轴互换、镜像或比例误差:请另加一份多姿态记录。",
    },
}


def page_of(result: ImuResult, subject: str, lang: Language = "en") -> Page:
    """Everything a technician needs to act on the result."""
    lines: list[str] = []
    tables: list[Table] = []
    charts: list[tuple[str, Figure]] = []
    per_unit = readings_per_unit(result)
    sensors = [
        (name, noise, scale)
        for name, noise, scale in (
            ("gyro", result.gyro_noise, per_unit[0]),
            ("accel", result.accel_noise, per_unit[1]),
        )
        if noise is not None and scale is not None
    ]
    if sensors:
        fit = sensors[0][1].mean
        short, long = fit.tau_s
        lines.append(_word("used", lang).format(seconds=2 * long, short=short, long=long))
        lines.append(_word("noise_use", lang))
        tables.append(_noise_table(sensors, lang))
        charts += [
            (_word("allan", lang).format(sensor=SENSORS[name][lang]), _allan_figure(name, noise, scale))
            for name, noise, scale in sensors
        ]
    lines += _warmth_lines(result, lang)
    kelvin = [(name, noise.per_kelvin, scale) for name, noise, scale in sensors if noise.per_kelvin is not None]
    if kelvin:
        rows = [
            [SENSORS[name][lang], axis, f"{value / scale:.3g} ± {sigma / scale:.1g} {_UNITS[name]}/K"]
            for name, per_kelvin, scale in kelvin
            for axis, (value, sigma) in zip("xyz", per_kelvin, strict=True)
        ]
        head = [_word("sensor", lang), _word("axis", lang), _word("per_kelvin", lang)]
        tables.append(Table(_word("per_kelvin", lang), head, rows))
    if result.poses is None:
        lines.append(_word("still_blind", lang))
    else:
        lines += _poses_lines(result.poses, result.params.poses.gravity_m_s2, lang)
        tables += _matrix_tables(result.poses, lang)
        charts += _poses_charts(result.poses, lang)
    title = _word("title", lang).format(subject=subject)
    return Page(title, result.verdict, result.causes, lines, tables, charts, lang)


def _word(key: str, lang: Language) -> str:
    return _WORDS[key][lang]


def _noise_table(sensors: Sequence[tuple[str, SensorNoise, float]], lang: Language) -> Table:
    head = [_word(key, lang) for key in ("sensor", "axis", "density", "walk", "instability")]
    rows: list[list[str]] = []
    for name, noise, scale in sensors:
        unit = _UNITS[name]

        def row(axis: str, fit: NoiseFit, name: str = name, scale: float = scale, unit: str = unit) -> list[str]:
            return [
                SENSORS[name][lang],
                axis,
                _shown(fit.density, scale, f"{unit}/√Hz", lang),
                _shown(fit.walk, scale, f"{unit}/s/√Hz", lang),
                _shown(fit.flicker, scale, unit, lang),
            ]

        rows += [row(axis, fit) for axis, fit in zip("xyz", noise.axes, strict=True)]
        rows.append(row(_word("mean", lang), noise.mean))
    return Table(_word("noise", lang), head, rows)


def _shown(estimate: Estimate, scale: float, unit: str, lang: Language) -> str:
    low, high = estimate.low / scale, estimate.high / scale
    if estimate.value is None:
        if not np.isfinite(high):
            return _word("not_seen", lang)
        return _word("below", lang).format(high=f"{high:.2g} {unit}")
    return f"{estimate.value / scale:.3g} ({low:.3g} … {high:.3g}) {unit}"


def _warmth_lines(result: ImuResult, lang: Language) -> list[str]:
    log = result.still_log or result.poses_log
    if log is None or log.temperature_c is None:
        return [_word("cold", lang)]
    low, high = float(log.temperature_c.min()), float(log.temperature_c.max())
    return [_word("warm", lang).format(low=low, high=high)]


def _allan_figure(name: str, noise: SensorNoise, scale: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5))
    axes = figure.add_subplot()
    for axis, colour, curve, fit in zip("xyz", _COLOURS, noise.curves, noise.axes, strict=True):
        tau_s = curve.allan.tau_s
        axes.fill_between(tau_s, curve.low / scale, curve.high / scale, color=colour, alpha=0.15, linewidth=0)
        axes.plot(tau_s, curve.allan.deviation / scale, color=colour, label=axis)
        inside = tau_s[(tau_s >= fit.tau_s[0]) & (tau_s <= fit.tau_s[1])]
        fitted = np.sqrt(fit.variances(inside).sum(axis=1)) / scale
        axes.plot(inside, fitted, color=colour, linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("τ, s")
    axes.set_ylabel(_UNITS[name])
    axes.grid(which="both", alpha=0.2)
    axes.legend()
    return figure


def _poses_lines(found: PosesResult, gravity_m_s2: float, lang: Language) -> list[str]:
    lines = [_word("poses", lang).format(rests=len(found.rests), positions=found.positions)]
    if found.gravity is not None:
        g = found.gravity
        known = bool(np.isfinite(g.before).any())
        lines.append(
            _word("gravity_line", lang).format(
                after=1e3 * rms(g.residual[g.used]),
                before=f"{1e3 * rms(g.before):.0f}" if known else _word("unknown", lang),
                held=1e3 * rms(g.held_out),
            )
        )
    if found.turns is not None:
        t = found.turns
        known = bool(np.isfinite(t.before_rad).any())
        lines.append(
            _word("turn_line", lang).format(
                after=np.rad2deg(rms(t.residual_rad[t.used])),
                before=f"{np.rad2deg(rms(t.before_rad)):.1f}°" if known else _word("unknown", lang),
                held=np.rad2deg(rms(t.held_out_rad)),
            )
        )
    if gravity_m_s2 == GRAVITY_M_S2:
        lines.append(_word("gravity_note", lang).format(g=gravity_m_s2))
    return lines


def _matrix_tables(found: PosesResult, lang: Language) -> list[Table]:
    g, t, b = found.gravity, found.turns, found.bias
    rows: list[list[str]] = []
    for name, fits in (
        ("accel", None if g is None else (g.matrix, g.matrix_sigma, g.bias, g.bias_sigma)),
        ("gyro", None if t is None or b is None else (t.matrix, t.matrix_sigma, b.bias, b.bias_sigma)),
    ):
        if fits is None:
            continue
        matrix, matrix_sigma, bias, bias_sigma = fits
        size = float(np.trace(matrix)) / 3
        digits = max(0, 5 - int(np.floor(np.log10(max(abs(size), 1e-9)))) - 1)
        for k, axis in enumerate("xyz"):
            cells = [f"{matrix[k, j]:.{digits}f} ± {matrix_sigma[k, j]:.1g}" for j in range(3)]
            rows.append([SENSORS[name][lang], axis, *cells, f"{bias[k]:.4g} ± {bias_sigma[k]:.1g}"])
    if not rows:
        return []
    head = [_word("sensor", lang), _word("axis", lang), "x", "y", "z", _word("bias", lang)]
    return [Table(_word("matrices", lang), head, rows)]


def _poses_charts(found: PosesResult, lang: Language) -> list[tuple[str, Figure]]:
    charts: list[tuple[str, Figure]] = []
    if found.gravity is not None:
        g = found.gravity
        figure = _bars(1e3 * g.before, 1e3 * g.residual, 1e3 * g.held_out, "mm/s²")
        charts.append((_word("rests", lang), figure))
    if found.turns is not None:
        t = found.turns
        before, after, held = (np.rad2deg(x) for x in (t.before_rad, t.residual_rad, t.held_out_rad))
        figure = _bars(before, after, held, "°")
        charts.append((_word("turns", lang), figure))
    return charts


def _bars(before: Array, after: Array, held_out: Array, unit: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5))
    axes = figure.add_subplot()
    k = np.arange(1, len(after) + 1)
    axes.plot(k, before, "o", color="#999", markersize=4)
    axes.plot(k, after, "o", color=_COLOURS[2], markersize=4)
    axes.plot(k, held_out, "x", color=_COLOURS[0], markersize=5)
    if np.isfinite(before).any():
        axes.set_yscale("symlog", linthresh=max(3 * rms(after), 1e-6))
    axes.axhline(0, color="#444", linewidth=0.8)
    axes.set_xlabel("#")
    axes.set_ylabel(unit)
    axes.grid(alpha=0.2)
    return figure
