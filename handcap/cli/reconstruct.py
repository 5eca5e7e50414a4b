"""`handcap reconstruct`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handcap.causes import GRIPPERS, HANDS, Cause, Language
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress
from handcap.errors import ReconstructionError, UsageError

if TYPE_CHECKING:
    from handcap.reconstruct import TakeResult

_VERDICTS: dict[str, dict[Language, str]] = {
    "ok": {"en": "ok", "zh": "合格"},
    "partial": {"en": "partly ok", "zh": "部分合格"},
    "refused": {"en": "refused", "zh": "不合格"},
}

# Keys of the report's numbers that a person wants to see.
_NUMBERS: dict[str, dict[Language, str]] = {
    "keyframes": {"en": "keyframes", "zh": "关键帧"},
    "reprojection_rms_px": {"en": "reprojection px", "zh": "重投影像素误差"},
}


def reconstruct(
    session: Annotated[Path, typer.Argument(help="Folder written by `handcap import`, `simulate` or `capture`.")],
    rig: Annotated[Path | None, typer.Option(help="Calibration to use instead of the session's rig.json.")] = None,
    take: Annotated[str | None, typer.Option(help="One take instead of all.")] = None,
    field: Annotated[bool, typer.Option("--field", help="Foretell the verdict quickly; no trajectories.")] = False,
    hands: Annotated[
        bool | None,
        typer.Option(
            help="Look for bare hands on sides without a gripper. Default: where the rig has two head cameras and the "
            "weights were fetched."
        ),
    ] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Recover the trajectories of a session; a verdict with its causes for each take."""
    from handcap import reconstruct as stage
    from handcap.reconstruct.helpers import nursery_ahead

    if field and hands:
        raise UsageError("a field pass looks for no bare hands", mend="give either --field or --hands")
    # Begun before anything large is imported here, session folders included.
    with nursery_ahead(twice=not field) as nursery, progress(as_json) as on_progress:
        results = stage.run_session(
            session, rig_path=rig, take=take, on_progress=on_progress, field=field, hands=hands, nursery=nursery
        )
    lines: list[str] = []
    for result in results:
        lines.append(f"{result.take}: {_VERDICTS[result.verdict][lang]}{_numbers(result.report, lang)}")
        lines += _grippers(result.report, lang)
        lines += _hands(result.report, lang)
        for cause in result.causes:
            whose = GRIPPERS.get(cause.body or "", {}).get(lang, "")
            lines += [f"  {whose}{cause.text(lang)}", f"    → {cause.mend(lang)}"]
        if result.error is not None and not result.causes:
            (told,) = result.report["causes"]
            lines += [f"  {told['text']}", f"    → {told['mend']}"]
    from handcap import session as session_store

    erased = session_store.read(session).erased if take is None else {}
    lines += [f"{id}: " + {"en": f"erased ({why})", "zh": f"已彻底删除({why})"}[lang] for id, why in erased.items()]
    outputs = [path for result in results for path in result.outputs]
    takes = {result.take: str(result.verdict) for result in results} | dict.fromkeys(erased, "erased")
    details = {
        "causes": {r.take: [cause.as_dict(lang) for cause in r.causes] for r in results},
        "errors": {r.take: r.error.as_dict() for r in results if r.error is not None},
    }
    error = None
    if not any(result.verdict in ("ok", "partial") for result in results):
        what = {"en": "no take could be reconstructed", "zh": "没有可重建的录制"}[lang]
        mend = {"en": "the causes of each take say what to do", "zh": "请按各录制的原因处理"}[lang]
        causes = [cause for result in results for cause in result.causes]
        if causes and as_json:  # a person has read them above
            what, mend = f"{what}: {causes[0].text(lang)}", causes[0].mend(lang)
        error = ReconstructionError(what, where=session, mend=mend)
    else:
        lines += _next_step(session, results, field, lang)
    finish(Outcome(outputs, takes, lines, details, error), as_json)


def _next_step(session: Path, results: Sequence[TakeResult], field: bool, lang: Language) -> list[str]:
    """Where the results are, and what is done with them."""
    folders = {path.parent for result in results for path in result.outputs}
    written = folders.pop() if len(folders) == 1 else session / "derived"
    command = f"handcap {'reconstruct' if field else 'review'} {shlex.quote(str(session))}"
    return [{"en": f"written to {written}; next: {command}", "zh": f"结果在 {written};下一步:{command}"}[lang]]


def _hands(report: Mapping[str, Any], lang: Language) -> list[str]:
    """A line for every bare hand that was looked for, and why it is not simply ok."""
    lines: list[str] = []
    for body, told in (report.get("bodies") or {}).items():
        if body not in HANDS:
            continue
        line = f"  {HANDS[body][lang]}{_VERDICTS[told['verdict']][lang]}"
        seen, both = 100 * told["numbers"]["seen"], 100 * told["numbers"]["two_views"]
        if seen > 0:
            line += {
                "en": f"; seen {seen:.0f} % of the time, {both:.0f} % by two cameras",
                "zh": f";{seen:.0f} % 的时间可见,{both:.0f} % 由两台相机看到",
            }[lang]
        lines.append(line)
        for cause in map(Cause.from_dict, told["causes"]):
            lines += [f"    {cause.text(lang)}", f"      → {cause.mend(lang)}"]
    return lines


def _grippers(report: Mapping[str, Any], lang: Language) -> list[str]:
    """A line for every gripper that was tied to the head."""
    lines: list[str] = []
    for body, told in (report.get("bodies") or {}).items():
        seen = told["numbers"].get("tag_sightings")
        if body in GRIPPERS and seen is not None:
            word = {"en": f"tags seen by the head {seen:.0f} times", "zh": f"头部相机看到标签 {seen:.0f} 次"}[lang]
            if told["numbers"].get("by_tags_alone"):
                word += {"en": ", placed by these alone", "zh": ",仅由标签定位"}[lang]
            shared = told["numbers"].get("shared_landmarks")
            if shared:
                word += {
                    "en": f", placed by {shared:.0f} points of the room that both cameras know",
                    "zh": f",由两台相机共同认识的 {shared:.0f} 个房间特征点定位",
                }[lang]
            lines.append(f"  {GRIPPERS[body][lang]}{_VERDICTS[told['verdict']][lang]}; {word}")
    return lines


def _numbers(report: Mapping[str, Any], lang: Language) -> str:
    """The few numbers of a report that a person wants to see, as far as they are known."""
    shown: list[str] = []
    for camera, offset_s in (report.get("time_offset_s") or {}).items():
        sigma_s = (report.get("time_offset_sigma_s") or {}).get(camera)
        if offset_s is not None:
            label = {"en": "clock offset", "zh": "时钟偏移"}[lang]
            shown.append(
                f"{label} {camera} {1e3 * offset_s:.2f}" + (f" ± {1e3 * sigma_s:.2f} ms" if sigma_s else " ms")
            )
    for key, label in _NUMBERS.items():
        value = (report.get("numbers") or {}).get(key)
        if value is not None:
            shown.append(f"{label[lang]} {value:.4g}")
    spans = report.get("spans_ok_s") or []
    if spans:
        label = {"en": "good", "zh": "完好"}[lang]
        shown.append(f"{label} " + ", ".join(f"{start:.1f}–{end:.1f} s" for start, end in spans))
    return f" ({'; '.join(shown)})" if shown else ""
