"""Whether a take shows what its task card asks for, from what was measured while it ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from handcap.capture.board_watch import BIN_S, DeviceWatch
from handcap.capture.camera_watch import CameraWatch
from handcap.capture.task_card import Must, Span, TaskCard
from handcap.capture.watch import TakeWatch
from handcap.causes import Cause, Language
from handcap.clock import NS_PER_S
from handcap.session import StepMark
from handcap.types import SIDES, Side


@dataclass(frozen=True, slots=True)
class TaskParams:
    """Limits, all engineering judgement.

    Attributes:
        jaw_counts: of the encoder, 4096 a turn; a jaw that moved less did not move.
        in_view: share of the pictures looked at that must show tags or hands.
    """

    jaw_counts: int = 40
    in_view: float = 0.3


@dataclass(frozen=True, slots=True)
class Shown:
    """What was measured in a stretch of a take; None where nobody measured it.

    Attributes:
        jaw_counts: how far each jaw moved, encoder counts.
        tags: share of each gripper camera's pictures that show its finger tags.
        hands: for one bare hand and for two, share of the head's pictures that show as many.
    """

    jaw_counts: dict[Side, int | None]
    tags: dict[Side, float | None]
    hands: tuple[float | None, float | None]

    def as_dict(self) -> dict[str, Any]:
        return {"jaw_counts": dict(self.jaw_counts), "tags": dict(self.tags), "hands": list(self.hands)}


@dataclass(frozen=True, slots=True)
class JudgedStep:
    """One step of the card.

    Attributes:
        step: its index on the card; None: the take as a whole.
        span_s: (start, end) from the take's start; None where the collector marked none.
        shown: within the span, or within the take.
        causes: what is missing.
    """

    step: int | None
    span_s: tuple[float, float] | None
    shown: Shown | None
    causes: Sequence[Cause] = field(default=())


def judge_work(
    card: TaskCard, take: TakeWatch, marks: Sequence[StepMark] = (), params: TaskParams | None = None
) -> list[JudgedStep]:
    """The take as a whole, then step after step.

    What a step must show is looked for while it was done where the collector marked that, else in the whole take;
    how long an unmarked step took nobody knows.
    """
    params = params or TaskParams()
    judged = [JudgedStep(None, None, None, _length(take.length_s, card.length_s, "too_short", "take_too_long"))]
    told: set[tuple[str, str | None]] = set()
    for k, step in enumerate(card.steps):
        span_s = _span_s(step.id, marks, take)
        shown = shown_in(take, span_s or (0.0, take.length_s))
        causes = _missing(step.must, shown, span_s, params)
        if span_s is None:  # two unmarked steps that miss the same are one thing to say
            causes = [cause for cause in causes if (cause.code, cause.body) not in told]
            told |= {(cause.code, cause.body) for cause in causes}
        judged.append(JudgedStep(k, span_s, shown, causes))
    return judged


def shown_in(take: TakeWatch, span_s: tuple[float, float]) -> Shown:
    """What was measured between two times from the take's start."""
    return Shown(
        {side: _jaw_counts(take.devices.get(side), span_s) for side in SIDES},
        {side: _tags(take.cameras.get(side), span_s) for side in SIDES},
        (take.hands_share(1, span_s), take.hands_share(2, span_s)),
    )


def _jaw_counts(device: DeviceWatch | None, span_s: tuple[float, float]) -> int | None:
    if device is None:
        return None
    angles = [half.angles for k, half in device.bins.items() if span_s[0] <= (k + 0.5) * BIN_S <= span_s[1]]
    told = [angle for both in angles if both is not None for angle in both]
    return max(told) - min(told) if told else None


def _tags(camera: CameraWatch | None, span_s: tuple[float, float]) -> float | None:
    looks = [] if camera is None else camera.looks
    told = [look.tags > 0 for look in looks if look.tags is not None and span_s[0] <= look.t_s <= span_s[1]]
    return sum(told) / len(told) if told else None


def sentence(card: TaskCard, judged: JudgedStep, lang: Language) -> str:
    """The first thing that a step, or the take, misses, with the step's name and what to do."""
    cause = judged.causes[0]
    said = f"{cause.text(lang)} {cause.mend(lang)}" if lang == "en" else f"{cause.text(lang)}{cause.mend(lang)}"
    if judged.step is None:
        return said
    name = card.steps[judged.step][lang].rstrip(".。")
    return {"en": f"Step {judged.step + 1}, {name}: {said}", "zh": f"第{judged.step + 1}步“{name}”:{said}"}[lang]


def _span_s(step: str, marks: Sequence[StepMark], take: TakeWatch) -> tuple[float, float] | None:
    """When a step was done; None where its beginning or its end is not known."""
    for k, mark in enumerate(marks):
        if mark.step == step:
            end_ns = marks[k + 1].t_ns if k + 1 < len(marks) else take.end_ns if mark.last else None
            if end_ns is None:
                return None
            return (mark.t_ns - take.start_ns) / NS_PER_S, (end_ns - take.start_ns) / NS_PER_S
    return None


def _missing(must: Must, shown: Shown, span_s: tuple[float, float] | None, params: TaskParams) -> list[Cause]:
    causes: list[Cause] = []
    for side in must.jaw_moved:
        moved = shown.jaw_counts[side]
        if moved is not None and moved < params.jaw_counts:
            causes.append(Cause("step_jaw_not_moved", f"{side}_tcp", span_s))
    for side in must.tags_in_view:
        share = shown.tags[side]
        if share is not None and share < params.in_view:
            percent = 100 * share
            causes.append(Cause("step_tags_unseen", f"{side}_tcp", span_s, percent, 100 * params.in_view))
    if must.hands_in_view:
        share = shown.hands[must.hands_in_view - 1]
        if share is not None and share < params.in_view:
            causes.append(Cause("step_hands_unseen", None, span_s, 100 * share, 100 * params.in_view))
    if must.length_s is not None and span_s is not None:
        causes += _length(span_s[1] - span_s[0], must.length_s, "step_too_short", "step_too_long", span_s)
    return causes


def _length(
    length_s: float, wanted_s: Span, short: str, long: str, span_s: tuple[float, float] | None = None
) -> list[Cause]:
    least, most = wanted_s
    if length_s < least:
        return [Cause(short, None, span_s, length_s, least)]
    if length_s > most:
        return [Cause(long, None, span_s, length_s, most)]
    return []
