"""What the replay says in words: the verdict, its causes and the numbers behind it, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from handcap.causes import GRIPPERS, HANDS, Cause, Language
from handcap.review.material import Material
from handcap.session import Session, read_report
from handcap.types import Trajectory

_VERDICTS: Mapping[Language, Mapping[str, str]] = {
    "en": {"ok": "good", "partial": "partly good", "refused": "refused", "": "not reconstructed yet"},
    "zh": {"ok": "合格", "partial": "部分合格", "refused": "不合格", "": "尚未重建"},
}
_LABELS: Mapping[str, Mapping[Language, str]] = {
    "take": {"en": "Take", "zh": "录制"},
    "task": {"en": "Task", "zh": "任务"},
    "proposed": {"en": "Proposed by the program; a person decides.", "zh": "由程序建议,由人决定。"},
    "good": {"en": "good pieces", "zh": "完好片段"},
    "posed": {"en": "pictures with a pose", "zh": "有位姿的图片"},
    "placed": {"en": "placed", "zh": "有位姿"},
    "length": {"en": "length, path", "zh": "时长、路径"},
    "reprojection": {"en": "reprojection error", "zh": "重投影误差"},
    "sigma": {"en": "largest position σ", "zh": "最大位置 σ"},
    "offset": {"en": "clock offset t_imu − t_cam", "zh": "时钟偏移 t_imu − t_cam"},
    "run": {"en": "Run `handcap reconstruct` first.", "zh": "请先运行 `handcap reconstruct`。"},
    "simulated": {"en": "Simulated: a virtual rig.", "zh": "仿真数据:虚拟设备。"},
    "fisheye": {
        "en": "The lens is a fisheye; its frustum is drawn as a pinhole of the same focal length.",
        "zh": "镜头为鱼眼;视锥按相同焦距的针孔相机绘制。",
    },
}

# Rerun 0.41 ends with a panic on a letter that its one built-in font lacks, Chinese among them.
_DRAWABLE = frozenset(
    "\n" + "".join(map(chr, [*range(0x20, 0x7F), *range(0xA1, 0x180), *range(0x3B1, 0x3CA), *range(0x410, 0x450)]))
) | frozenset("–—−×·°±²³→≤≥…")


def drawable(text: str) -> str:
    """`text` with a question mark for each letter that the viewer cannot draw."""
    return "".join(c if c in _DRAWABLE else "?" for c in text)


def verdict(session: Session, take: str) -> str:
    """ok, partial or refused; "new" where nobody reconstructed the take."""
    folder = session.derived(take, "reconstruct")
    return str(read_report(folder).get("verdict")) if (folder / "report.json").exists() else "new"


def spoken_verdict(session: Session, take: str, lang: Language) -> list[str]:
    """Verdict and causes as lines for a terminal."""
    folder = session.derived(take, "reconstruct")
    report = read_report(folder) if (folder / "report.json").exists() else {}
    word = str(report.get("verdict") or "")
    lines = [f"{take}: {_VERDICTS[lang].get(word, word)}"]
    for cause in _causes(report):
        text, mend = _cause(cause, lang)
        lines += [f"  {_whose(cause, lang)}{text}{_when(cause)}", f"    → {mend}"]
    return lines


def verdict_text(material: Material, lang: Language) -> str:
    """Verdict first, then causes with what to do, then the numbers."""
    report = material.report
    verdict = str(report.get("verdict") or "")
    word = {name: texts[lang] for name, texts in _LABELS.items()}
    lines = [f"# {word['take']} {material.take.id}: {_VERDICTS[lang].get(verdict, verdict)}", ""]
    if not report:
        lines += [word["run"], ""]
    for cause in _causes(report):
        text, mend = _cause(cause, lang)
        lines += [f"- **{_whose(cause, lang)}{text}**{_when(cause)}", f"  → {mend}"]
    lines += ["", *_numbers(material, word, lang)]
    task = material.take.session.meta.task
    lines += [""] if task is None else ["", f"{word['task']}: {task}"]
    if material.take.session.meta.origin == "simulation":
        lines += ["", f"*{word['simulated']}*"]
    if material.mount.camera.model == "kannala-brandt4":
        lines += ["", f"*{word['fisheye']}*"]
    return "\n".join([*lines, "", f"*{word['proposed']}*", ""])


def _causes(report: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Those of the take, then those of each hand."""
    yield from report.get("causes") or []
    for body in (report.get("bodies") or {}).values():
        yield from body.get("causes") or []


def _cause(cause: Mapping[str, Any], lang: Language) -> tuple[str, str]:
    """Sentence and mend in the language asked for; as the report has them when the catalogue lost the code."""
    try:
        known = Cause.from_dict(cause)
    except (KeyError, TypeError, IndexError):
        return str(cause.get("text") or cause.get("code") or "?"), str(cause.get("mend") or "")
    return known.text(lang), known.mend(lang)


def _whose(cause: Mapping[str, Any], lang: Language) -> str:
    return (GRIPPERS | HANDS).get(str(cause.get("body")), {"en": "", "zh": ""})[lang]


def _when(cause: Mapping[str, Any]) -> str:
    span = cause.get("span_s")
    return "" if span is None else f" ({span[0]:.1f}–{span[1]:.1f} s)"


def _placed(poses: Trajectory, word: Mapping[str, str]) -> str:
    """In how many pictures a gripper or hand has a pose, and the typical sigma of its position."""
    text = f"{int(poses.tracked.sum())} / {len(poses)} {word['placed']}"
    sigma_m = np.sqrt(np.trace(poses.cov[poses.tracked][:, 3:, 3:], axis1=1, axis2=2))
    return f"{text}, σ {1e3 * np.median(sigma_m):.1f} mm" if len(sigma_m) and np.isfinite(sigma_m).all() else text


def _numbers(material: Material, word: Mapping[str, str], lang: Language) -> list[str]:
    """Table of what a reviewer judges by, as far as it is known."""
    report, head = material.report, material.head
    numbers: Mapping[str, Any] = report.get("numbers") or {}
    rows: list[tuple[str, str]] = []
    spans = report.get("spans_ok_s") or []
    if spans:
        rows.append((word["good"], ", ".join(f"{a:.1f}–{b:.1f} s" for a, b in spans)))
    if head is not None:
        rows.append((word["posed"], f"{int(head.tracked.sum())} / {len(head)}"))
    if numbers.get("length_s") is not None:
        path = "" if numbers.get("path_m") is None else f", {numbers['path_m']:.2f} m"
        rows.append((word["length"], f"{numbers['length_s']:.1f} s{path}"))
    if numbers.get("reprojection_rms_px") is not None:
        rows.append((word["reprojection"], f"{numbers['reprojection_rms_px']:.2f} px rms"))
    if head is not None and np.isfinite(head.cov[head.tracked]).all() and head.tracked.any():
        worst = np.sqrt(np.trace(head.cov[head.tracked][:, 3:, 3:], axis1=1, axis2=2).max())
        rows.append((word["sigma"], f"{1e3 * worst:.1f} mm"))
    rows += [
        (names[f"{side}_{part}"][lang].rstrip(": "), _placed(body.poses, word))
        for part, names, bodies in (("tcp", GRIPPERS, material.tools), ("hand", HANDS, material.hands))
        for side, body in bodies.items()
    ]
    offset_s = (report.get("time_offset_s") or {}).get(material.camera)
    if offset_s is not None:
        sigma_s = (report.get("time_offset_sigma_s") or {}).get(material.camera)
        spread = "" if sigma_s is None else f" ± {1e3 * sigma_s:.2f}"
        rows.append((word["offset"], f"{1e3 * offset_s:.2f}{spread} ms"))
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)] if rows else []
