"""The page of one camera's mount: numbers with intervals, the drawing, the motion, what is left over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from handcap.calibrate.camera_imu.estimate import CameraImu, MountFound
from handcap.calibrate.camera_imu.excitation import Excitation
from handcap.calibrate.camera_imu.fit import Fit
from handcap.calibrate.page import Page, Table
from handcap.calibrate.part import Part
from handcap.causes import CAMERAS, Language
from handcap.geometry import Array, so3_log
from handcap.types import MountedCamera

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_95 = 1.96
_BINS = 300  # of time, in a chart

_WORDS: dict[str, dict[Language, str]] = {
    "title": {"en": "Camera and motion sensor: {camera}", "zh": "相机与运动传感器:{camera}"},
    "lead": {
        "en": "t_imu = t_cam + offset. Rotation (as a rotation vector) and position are of the camera in the sensor's "
        "frame; the intervals of the rotation are about the camera's own axes (x right, y down, z ahead).",
        "zh": "t_imu = t_cam + 偏移。旋转(旋转向量)与位置为相机在传感器坐标系中的位姿;"
        "旋转的区间为绕相机自身坐标轴(x 向右,y 向下,z 向前)。",
    },
    "nothing": {"en": "Nothing could be estimated.", "zh": "无法得出任何估计。"},
    "numbers": {"en": "What was found", "zh": "结果"},
    "number": {"en": "quantity", "zh": "量"},
    "value": {"en": "value", "zh": "值"},
    "interval": {"en": "95 % interval", "zh": "95 % 区间"},
    "rig": {"en": "rig.json", "zh": "rig.json"},
    "off": {"en": "differs by", "zh": "相差"},
    "sigmas": {"en": "in sigmas", "zh": "以 σ 计"},
    "against": {"en": "Against rig.json", "zh": "与 rig.json 比较"},
    "motion": {"en": "How the rig was moved before the board", "zh": "在标定板前的运动"},
    "axis": {"en": "motion", "zh": "运动"},
    "done": {"en": "measured (rms)", "zh": "测得(均方根)"},
    "beside": {"en": "Beside it", "zh": "其他"},
    "corners": {"en": "What corners leave, px (rms over short stretches)", "zh": "角点残差,像素(短时均方根)"},
    "gyro": {"en": "What the gyroscope leaves, rad/s", "zh": "陀螺仪残差,rad/s"},
    "accel": {"en": "What the accelerometer leaves, m/s²", "zh": "加速度计残差,m/s²"},
    "time": {"en": "seconds of the fit", "zh": "时间(秒)"},
}
_MOTIONS: tuple[dict[Language, str], ...] = (
    {"en": "nodding (about x)", "zh": "俯仰(绕 x)"},
    {"en": "turning left and right (about y)", "zh": "左右转动(绕 y)"},
    {"en": "about the optical axis (z)", "zh": "绕光轴(z)"},
    {"en": "sideways (along x)", "zh": "左右移动(沿 x)"},
    {"en": "up and down (along y)", "zh": "上下移动(沿 y)"},
    {"en": "to the board and away (along z)", "zh": "靠近与远离(沿 z)"},
)


def compared(mount: MountFound, rig: MountedCamera) -> dict[str, Any]:
    """How far rig.json's mount is off, in units and in sigmas of both; axes of the camera."""
    R = mount.T_imu_cam[:3, :3]
    turn = so3_log(R.T @ rig.T_imu_cam[:3, :3])
    shift = R.T @ (rig.T_imu_cam[:3, 3] - mount.T_imu_cam[:3, 3])
    off = np.r_[turn, shift, rig.dt_imu_cam_s - mount.dt_imu_cam_s, rig.line_delay_s - mount.line_delay_s]
    own = np.zeros(8)
    if rig.sigma is not None:
        own[:6] = np.repeat([rig.sigma.rotation_rad, rig.sigma.position_m], 3)
    own[6] = rig.dt_sigma_s or 0.0
    spread = np.hypot(mount.sigma, own)
    known = spread > 1e-14
    sigmas = np.where(known, off / np.where(known, spread, 1.0), np.nan)
    return {
        "rotation_rad": off[:3],
        "position_m": off[3:6],
        "dt_imu_cam_s": off[6],
        "line_delay_s": off[7],
        "sigmas": {
            "rotation_rad": sigmas[:3],
            "position_m": sigmas[3:6],
            "dt_imu_cam_s": sigmas[6],
            "line_delay_s": sigmas[7],
        },
    }


def page(part: Part, found: CameraImu, camera: str, lang: Language) -> Page:
    """What a technician reads."""

    def say(key: str) -> str:
        return _WORDS[key][lang]

    title = say("title").format(camera=CAMERAS.get(camera, {}).get(lang, camera))
    mount = found.mounts.get(camera)
    tables: list[Table] = []
    charts: list[tuple[str, Figure]] = []
    if mount is not None and found.fit is not None:
        tables.append(Table(say("numbers"), [say("number"), say("value"), say("interval")], _numbers(mount)))
        against = _against(part.details["against_rig"])
        tables.append(Table(say("against"), [say("number"), say("off"), say("sigmas")], against))
        tables.append(Table(say("beside"), [say("number"), say("value")], _beside(found.fit, lang)))
        charts = _charts(found.fit, camera, lang)
    if camera in found.moved:
        tables.append(Table(say("motion"), [say("axis"), say("done")], _motion(found.moved[camera], lang)))
    lines = [say("lead")] if mount is not None else [say("nothing")]
    return Page(title, part.verdict, part.causes, lines, tables, charts, lang)


def _numbers(mount: MountFound) -> list[list[str]]:
    s = _95 * mount.sigma
    R = mount.T_imu_cam[:3, :3]
    s[3:6] = _95 * np.sqrt(np.diag(R @ mount.cov[3:6, 3:6] @ R.T))  # in the sensor's axes, as the position
    turn = np.rad2deg(so3_log(mount.T_imu_cam[:3, :3]))
    p = 1e3 * mount.T_imu_cam[:3, 3]
    rows = [[f"rotation {axis}, deg", f"{turn[k]:.4f}", f"± {np.rad2deg(s[k]):.4f}"] for k, axis in enumerate("xyz")]
    rows += [[f"position {axis}, mm", f"{p[k]:.3f}", f"± {1e3 * s[3 + k]:.3f}"] for k, axis in enumerate("xyz")]
    rows.append(["dt_imu_cam, ms", f"{1e3 * mount.dt_imu_cam_s:.4f}", f"± {1e3 * s[6]:.4f}"])
    held = mount.line_delay_s == 0
    rows.append(["line delay, µs", f"{1e6 * mount.line_delay_s:.3f}", "" if held else f"± {1e6 * s[7]:.3f}"])
    return rows


def _against(told: dict[str, Any]) -> list[list[str]]:
    rows: list[list[str]] = []
    for key, unit, factor in (("rotation_rad", "deg", 180 / np.pi), ("position_m", "mm", 1e3)):
        for k, axis in enumerate("xyz"):
            off, sigmas = told[key][k] * factor, told["sigmas"][key][k]
            rows.append([f"{key.split('_')[0]} {axis}, {unit}", f"{off:.4f}", f"{sigmas:.1f}"])
    for key, word, factor in (("dt_imu_cam_s", "dt_imu_cam, ms", 1e3), ("line_delay_s", "line delay, µs", 1e6)):
        sigmas = told["sigmas"][key]
        rows.append([word, f"{told[key] * factor:.4f}", f"{sigmas:.1f}" if np.isfinite(sigmas) else "–"])
    return rows


def _beside(fit: Fit, lang: Language) -> list[list[str]]:
    sigmas, scale = fit.problem.sigmas, fit.problem.layout(fit.state).scale
    words: dict[Language, list[str]] = {
        "en": [
            "gravity, m/s²",
            "size of the board, % of the stated",
            "noise of a corner, px",
            "noise of the gyroscope, rad/s",
            "noise of the accelerometer, m/s²",
            "variance of lasting errors over independent",
        ],
        "zh": [
            "重力,m/s²",
            "标定板实际尺寸,占所给的 %",
            "角点噪声,像素",
            "陀螺仪噪声,rad/s",
            "加速度计噪声,m/s²",
            "相关误差方差倍数",
        ],
    }
    size = 100 * float(np.sqrt(fit.covariance[scale, scale])) * _95
    values = [
        f"{np.linalg.norm(fit.state.gravity_board):.4f}",
        f"{100 * fit.state.scale:.3f} ± {size:.3f}",
        f"{sigmas.corner:.4f}",
        f"{sigmas.gyro:.5f}",
        f"{sigmas.accel:.5f}",
        f"{fit.inflation:.2f}",
    ]
    return [list(row) for row in zip(words[lang], values, strict=True)]


def _motion(moved: Excitation, lang: Language) -> list[list[str]]:
    rates = [f"{np.rad2deg(rate):.1f} deg/s" for rate in moved.turn_rad_s]
    bends = [f"{bend:.2f} m/s²" for bend in moved.shift_m_s2]
    return [[words[lang], told] for words, told in zip(_MOTIONS, rates + bends, strict=True)]


def _charts(fit: Fit, camera: str, lang: Language) -> list[tuple[str, Figure]]:
    names = [each.name for each in fit.problem.cameras]
    k = names.index(camera)
    seen = fit.problem.cameras[k]
    imu = fit.problem.imu
    told = (
        ("corners", seen.t_s + fit.state.mounts[k].dt_s, fit.residuals.corner[k]),
        ("gyro", imu.t_s, fit.residuals.gyro),
        ("accel", imu.t_s, fit.residuals.accel),
    )
    charts: list[tuple[str, Figure]] = []
    for key, t_s, error in told:
        charts.append((_WORDS[key][lang], _chart(t_s, error, ("xy" if key == "corners" else "xyz"), lang)))
    return charts


def _chart(t_s: Array, error: Array, axes: str, lang: Language) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.2))
    plot = figure.subplots()
    edges = np.linspace(t_s.min(), t_s.max() + 1e-9, _BINS + 1)
    where = np.searchsorted(edges, t_s, side="right") - 1
    middle = (edges[:-1] + edges[1:]) / 2
    for axis, column in zip(axes, error.T, strict=True):
        known = np.isfinite(column)
        count = np.bincount(where[known], minlength=_BINS)
        square = np.bincount(where[known], column[known] ** 2, minlength=_BINS)
        filled = count > 0
        plot.plot(middle[filled], np.sqrt(square[filled] / count[filled]), lw=0.8, label=axis)
    plot.set_xlabel("s" if lang == "zh" else _WORDS["time"][lang])
    plot.set_ylim(bottom=0)
    plot.legend(loc="upper right", fontsize="small")
    return figure
