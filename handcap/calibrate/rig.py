"""`calibrate rig`: files in, rig.json and its page out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from handcap.calibrate.history import history_chart, history_table
from handcap.calibrate.join import PARTS, Joined, JoinParams, Wishes, given_parts, join
from handcap.calibrate.page import Page, Table, write_page
from handcap.causes import Language
from handcap.session.folder import replace_file
from handcap.session.rig_file import read_rig, rig_bytes
from handcap.types import Rig

Earlier = Sequence[tuple[datetime | None, Rig]]


@dataclass(frozen=True, eq=False, slots=True)
class RigResult:
    """What was joined, and the files written."""

    joined: Joined
    outputs: tuple[Path, Path]


def calibrate_rig(
    parts: Sequence[Path],
    out: Path,
    *,
    base: Path | None = None,
    earlier: Earlier = (),
    wishes: Wishes | None = None,
    params: JoinParams | None = None,
    lang: Language = "en",
) -> RigResult:
    """Join parts into rig.json, and write its page beside it.

    Args:
        parts: files, or folders of them.
        out: the rig.json to write.
        base: the rig's drawing or its earlier calibration.
        earlier: dated calibrations of this rig to compare with, oldest first.

    Raises:
        CalibrationError: the parts do not make a rig.
        RigError: the base is none, or what came out is none.
        SessionError: it cannot be written.
    """
    based = None if base is None else read_rig(base)
    joined = join(given_parts(parts), based, wishes, params)
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, rig_bytes(joined.rig))
    page = out.with_suffix(".html")
    write_page(page, rig_page(joined, earlier, lang))
    return RigResult(joined, (out, page))


def rig_page(joined: Joined, earlier: Earlier = (), lang: Language = "en") -> Page:
    """What a technician reads of a rig."""
    rig = joined.rig
    titles: dict[Language, str] = {"en": f"Rig {rig.rig_id}", "zh": f"设备 {rig.rig_id}"}
    until: dict[Language, str] = {
        "en": f"In force until {rig.valid_until or 'nobody knows when'}"
        + (f", for {rig.assigned_to}." if rig.assigned_to else "."),
        "zh": f"有效期至 {rig.valid_until or '未知'}" + (f",使用人:{rig.assigned_to}。" if rig.assigned_to else "。"),
    }
    tables = [_parts_table(rig, lang), _cameras_table(rig, lang)]
    history = history_table(rig, earlier, lang)
    tables += [history] if history.rows else []
    chart = history_chart(rig, earlier)
    caption: dict[Language, str] = {
        "en": "How far earlier calibrations lie from this one; what lies above the dashed line has changed.",
        "zh": "以往标定与本次的差异;高于虚线者说明已发生变化。",
    }
    charts = [] if chart is None else [(caption[lang], chart)]
    return Page(titles[lang], joined.verdict, joined.causes, [until[lang]], tables, charts, lang)


def _parts_table(rig: Rig, lang: Language) -> Table:
    titles: dict[Language, tuple[str, tuple[str, ...]]] = {
        "en": ("Parts", ("part", "measured", "device", "verdict", "recordings")),
        "zh": ("标定项目", ("项目", "测量时间", "设备", "结论", "录制文件数")),
    }
    title, columns = titles[lang]
    told: Mapping[str, Mapping[str, Any]] = rig.provenance.get(PARTS, {})
    rows = [
        (stem, part.get("created") or "?", part.get("uid") or "?", part.get("verdict") or "?", _count(part))
        for stem, part in told.items()
    ]
    return Table(title, columns, rows)


def _count(part: Mapping[str, Any]) -> str:
    inputs = part.get("inputs")
    return str(len(inputs)) if isinstance(inputs, Mapping) else "?"


def _cameras_table(rig: Rig, lang: Language) -> Table:
    titles: dict[Language, tuple[str, tuple[str, ...]]] = {
        "en": (
            "Cameras",
            ("camera", "focal px", "centre px", "rotation °", "position mm", "offset ms", "line delay µs"),
        ),
        "zh": ("相机", ("相机", "焦距 px", "主点 px", "旋转 °", "位置 mm", "时间偏移 ms", "行延时 µs")),
    }
    title, columns = titles[lang]
    rows: list[tuple[str, ...]] = []
    for name, camera in rig.cameras.items():
        fx, fy, cx, cy = camera.camera.params[:4]
        sigma = camera.sigma
        of_focal = "" if sigma is None else f" ± {sigma.focal * fx:.2f}"
        of_centre = "" if sigma is None else f" ± {sigma.centre_px:.2f}"
        x, y, z = 1000 * camera.T_imu_cam[:3, 3]
        offset = "" if camera.dt_sigma_s is None else f" ± {1e3 * camera.dt_sigma_s:.3f}"
        rows.append(
            (
                name,
                f"{fx:.2f}, {fy:.2f}{of_focal}",
                f"{cx:.2f}, {cy:.2f}{of_centre}",
                "?" if sigma is None else f"± {sigma.rotation_rad * 57.29578:.3f}",
                f"{x:.1f}, {y:.1f}, {z:.1f}" + ("" if sigma is None else f" ± {1000 * sigma.position_m:.1f}"),
                f"{1e3 * camera.dt_imu_cam_s:.3f}{offset}",
                f"{1e6 * camera.line_delay_s:.2f}",
            )
        )
    return Table(title, columns, rows)
