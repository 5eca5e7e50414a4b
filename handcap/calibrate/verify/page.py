"""What a technician reads about a daily check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from handcap.calibrate.page import Page, Table
from handcap.calibrate.part import Part
from handcap.calibrate.verify.checks import Check, Kind, State, body_of
from handcap.causes import CAMERAS, PARTS, Language

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATES: dict[State, dict[Language, str]] = {
    "in force": {"en": "in force", "zh": "有效"},
    "drifting": {"en": "drifting", "zh": "漂移"},
    "recalibrate": {"en": "recalibrate", "zh": "需重新标定"},
    "not checked": {"en": "not checked", "zh": "未检查"},
}
KINDS: dict[Kind, tuple[dict[Language, str], float, str]] = {
    "focal": ({"en": "focal length, longer by", "zh": "焦距变化"}, 100.0, "%"),
    "centre": ({"en": "centre of the picture, off by", "zh": "画面中心偏移"}, 1.0, "px"),
    "mount": ({"en": "mount, turned by", "zh": "安装转角"}, float(np.rad2deg(1.0)), "°"),
    "offset": ({"en": "clock offset", "zh": "时钟偏移"}, 1e3, "ms"),
    "place": ({"en": "place beside the first camera, off by", "zh": "相对第一台相机的位置偏移"}, 1e3, "mm"),
    "gyro_bias": ({"en": "gyroscope's zero", "zh": "陀螺仪零偏"}, float(np.rad2deg(1.0)), "°/s"),
    "gyro_noise": ({"en": "gyroscope's noise", "zh": "陀螺仪噪声"}, 1.0, "×"),
    "accel_noise": ({"en": "accelerometer's noise", "zh": "加速度计噪声"}, 1.0, "×"),
    "gravity": ({"en": "gravity", "zh": "重力"}, 1.0, "m/s²"),
    "jaw_tags": ({"en": "jaws by finger tags", "zh": "指尖标签开度"}, 1e3, "mm"),
    "jaw_encoder": ({"en": "jaws by the encoder", "zh": "编码器开度"}, 1e3, "mm"),
    "tag_size": ({"en": "size of the finger tags", "zh": "指尖标签尺寸"}, 100.0, "%"),
}
_SAID: dict[str, dict[Language, str]] = {
    "title": {"en": "Daily check of {rig}: {state}", "zh": "{rig} 每日检查:{state}"},
    "checks": {"en": "Every parameter that ten seconds can tell", "zh": "十秒内可检查的全部参数"},
    "columns": {
        "en": "of what|parameter|calibrated|measured|sigma|off by sigmas|state",
        "zh": "对象|参数|标定值|测量值|标准差|偏差(σ)|状态",
    },
    "not_told": {
        "en": "Ten seconds do not tell: distortion of the lenses, lever arms, line delay, scale and axes of the motion "
        "sensors, the jaws away from where they were closed, where the fingertips are.",
        "zh": "十秒检查无法判断:镜头畸变、杆臂、行延时、运动传感器的比例与轴向、闭合位置以外的开度、指尖位置。",
    },
    "chart": {
        "en": "Deviation of each parameter in its sigmas; the line is where drift begins.",
        "zh": "各参数偏差(以 σ 计);直线为判定漂移的界限。",
    },
}


def page_of(part: Part, checks: Sequence[Check], state: State, lang: Language) -> Page:
    """The page of a check."""
    rows = [_row(check, lang) for check in checks]
    return Page(
        _SAID["title"][lang].format(rig=part.details["rig_id"], state=STATES[state][lang]),
        part.verdict,
        part.causes,
        [_SAID["not_told"][lang]],
        [Table(_SAID["checks"][lang], _SAID["columns"][lang].split("|"), rows)],
        [(_SAID["chart"][lang], _chart(checks, part.params["drift_sigmas"]))],
        lang,
    )


def subject_name(subject: str, lang: Language) -> str:
    """A camera by what it is, else the name of a device or side."""
    return {**CAMERAS, **PARTS}.get(subject, {}).get(lang, subject)


def _row(check: Check, lang: Language) -> list[str]:
    words, scale, unit = KINDS[check.kind]
    shown = [
        f"{scale * value:.4g}" if np.isfinite(value) else "" for value in (check.told, check.measured, check.sigma)
    ]
    sigmas = f"{check.sigmas:.1f}" if np.isfinite(check.sigmas) else ""
    return [
        subject_name(body_of(check.kind, check.subject), lang),
        f"{words[lang]}, {unit}",
        *shown,
        sigmas,
        STATES[check.state][lang],
    ]


def _chart(checks: Sequence[Check], limit: float) -> Figure:
    from matplotlib.figure import Figure

    known = [check for check in checks if np.isfinite(check.sigmas)]
    figure = Figure(figsize=(8, 0.28 * len(known) + 0.8))
    axes = figure.add_subplot()
    colours = {"in force": "#2a7d46", "drifting": "#a66a00", "recalibrate": "#b3261e"}
    # Far beyond the limit, how far does not matter.
    width = [min(check.sigmas, 3 * limit) for check in known]
    axes.barh(range(len(known)), width, color=[colours[check.state] for check in known])
    axes.set_yticks(range(len(known)), [f"{check.subject} {check.kind}" for check in known])
    axes.invert_yaxis()
    axes.axvline(limit, color="#888", linewidth=0.8)
    axes.set_xlabel("sigma")
    return figure
