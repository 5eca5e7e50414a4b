"""The few numbers that `handcap demo` shows."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handcap.causes import Language

if TYPE_CHECKING:
    from handcap.session import Session
    from handcap.types import Trajectory

_LABELS: dict[str, dict[Language, str]] = {
    "ate_mm": {"en": "position error (ATE, rms)", "zh": "位置误差(ATE,均方根)"},
    "tilt_deg": {"en": "gravity tilt error", "zh": "重力方向误差"},
    "scale_pct": {"en": "scale error", "zh": "尺度误差"},
    "offset_error_ms": {"en": "clock offset error", "zh": "时钟偏移误差"},
    "offset_ms": {"en": "clock offset t_imu − t_cam", "zh": "时钟偏移 t_imu − t_cam"},
    "left_mm": {"en": "left gripper, position error", "zh": "左夹爪位置误差"},
    "right_mm": {"en": "right gripper, position error", "zh": "右夹爪位置误差"},
    "left_jaw_mm": {"en": "left jaw opening error", "zh": "左夹爪开度误差"},
    "right_jaw_mm": {"en": "right jaw opening error", "zh": "右夹爪开度误差"},
    "posed": {"en": "pictures with a pose", "zh": "有位姿的图片"},
    "sigma_mm": {"en": "its own largest position σ", "zh": "自身给出的最大位置 σ"},
    "seconds_per_second": {"en": "reconstruction time per second of video", "zh": "每秒视频的重建时间"},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a key for programs, its number, and how people read it."""

    key: str
    value: float | None
    text: str


def error_rows(session: Session, take: str, truth: Trajectory) -> list[Row]:
    """How far the reconstruction is from the truth."""
    import numpy as np

    from handcap.reconstruct.score import score
    from handcap.session import read_report, read_trajectory

    folder = session.derived(take, "reconstruct")
    scored = score(truth, read_trajectory(folder / "head.parquet"))
    ate_mm, worst_mm = 1e3 * scored.ate_m.rmse, 1e3 * scored.ate_m.max
    tilt_deg, scale_pct = float(np.rad2deg(scored.tilt_rad)), 100 * (scored.scale - 1)
    rows = [
        Row("ate_mm", ate_mm, f"{ate_mm:.1f} mm (max {worst_mm:.1f})"),
        Row("tilt_deg", tilt_deg, f"{tilt_deg:.3f}°"),
        Row("scale_pct", scale_pct, f"{scale_pct:+.2f} %"),
    ]
    rows += _gripper_rows(session, folder, truth)
    exact = session.path / "truth" / "truth.json"
    if exact.exists():
        true_s: dict[str, float] = json.loads(exact.read_text(encoding="utf-8"))["dt_imu_cam_s"]
        estimated_s: dict[str, Any] = read_report(folder)["time_offset_s"]
        for camera, value in estimated_s.items():
            if value is not None and camera in true_s:
                off_ms = 1e3 * (value - true_s[camera])
                rows.append(Row("offset_error_ms", off_ms, f"{camera}: {off_ms:+.3f} ms of {1e3 * true_s[camera]:g}"))
    return rows


def _gripper_rows(session: Session, folder: Path, truth: Trajectory) -> list[Row]:
    """Errors of the grippers of a simulated session, the world aligned once, on the head."""
    import numpy as np
    import pyarrow.parquet as pq

    from handcap.reconstruct.score import carried_errors_m, in_world_of
    from handcap.session import read_trajectory

    world = in_world_of(truth, read_trajectory(folder / "head.parquet"))
    rows: list[Row] = []
    for side in ("left", "right"):
        found, exact = folder / f"{side}_tcp.parquet", session.path / "truth" / f"{side}_tcp.parquet"
        if not (found.exists() and exact.exists()):
            continue
        off_mm = 1e3 * carried_errors_m(world, read_trajectory(exact), read_trajectory(found))
        middle, most = float(np.median(off_mm)), float(np.max(off_mm))
        rows.append(Row(f"{side}_mm", middle, f"{middle:.1f} mm (max {most:.1f})"))
        true, told = (pq.read_table(path, columns=["camera_t_ns", "width_m"]) for path in (exact, found))
        row = np.searchsorted(true["camera_t_ns"].to_numpy(), told["camera_t_ns"].to_numpy())
        jaw_mm = 1e3 * np.abs(told["width_m"].to_numpy() - true["width_m"].to_numpy()[row])
        if np.isfinite(jaw_mm).any():
            middle, most = float(np.nanmedian(jaw_mm)), float(np.nanmax(jaw_mm))
            rows.append(Row(f"{side}_jaw_mm", middle, f"{middle:.2f} mm (max {most:.2f})"))
    return rows


def result_rows(session: Session, take: str) -> list[Row]:
    """What is known without a truth."""
    import numpy as np

    from handcap.session import read_report, read_trajectory

    folder = session.derived(take, "reconstruct")
    report, head = read_report(folder), read_trajectory(folder / "head.parquet")
    rows = [Row("posed", float(head.tracked.mean()), f"{int(head.tracked.sum())} / {len(head)}")]
    for camera, value in (report.get("time_offset_s") or {}).items():
        sigma = (report.get("time_offset_sigma_s") or {}).get(camera)
        if value is not None:
            spread = "" if sigma is None else f" ± {1e3 * sigma:.2f}"
            rows.append(Row("offset_ms", 1e3 * value, f"{camera}: {1e3 * value:.2f}{spread} ms"))
    variance = np.trace(head.cov[head.tracked][:, 3:, 3:], axis1=1, axis2=2)
    if len(variance) and np.isfinite(variance).all():
        sigma_mm = 1e3 * float(np.sqrt(variance.max()))
        rows.append(Row("sigma_mm", sigma_mm, f"{sigma_mm:.1f} mm"))
    timing = folder / "timing.json"
    if timing.exists():
        speed = json.loads(timing.read_text(encoding="utf-8")).get("seconds_per_second")
        if speed is not None:
            rows.append(Row("seconds_per_second", float(speed), f"{speed:.2f} s"))
    return rows


def print_table(title: str, rows: list[Row], lang: Language) -> None:
    """On stdout, as wide as it must be."""
    if not rows:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for row in rows:
        table.add_row(_LABELS[row.key][lang], row.text)
    Console(file=sys.stdout, highlight=False, markup=False).print(table)
