"""What takes were done by: the instruction, the task card, and when its steps were done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handcap.session import CardUse, Session

UNLABELLED = "unlabelled"


@dataclass(frozen=True, slots=True)
class StepSpan:
    """One step of the work.

    Attributes:
        step: its id on the card.
        text: its sentence, in English.
        start_ns, end_ns: session clock; the end is None where nobody knows it.
    """

    step: str
    text: str
    start_ns: int
    end_ns: int | None


def instruction(session: Session, take: str) -> str:
    """What a take teaches, in words; "unlabelled" where nobody said."""
    record = session.journal().get(take)
    return (record.task if record else None) or session.meta.task or UNLABELLED


def step_spans(session: Session, take: str) -> list[StepSpan]:
    """Steps as the collector marked them, by time; a step ends when the next one begins, the last with the take."""
    use = session.cards().get(take)
    record = session.journal().get(take)
    last_ns = None if record is None else record.last_ns
    return [] if use is None else _spans(use, last_ns)


def _spans(use: CardUse, last_ns: int | None) -> list[StepSpan]:
    ends = [*(mark.t_ns for mark in use.marks[1:]), None]
    return [
        StepSpan(mark.step, mark.text, mark.t_ns, end if end is not None else last_ns if mark.last else None)
        for mark, end in zip(use.marks, ends, strict=False)
    ]


def task_label(session: Session, take: str) -> Mapping[str, Any]:
    """What an export says of a take's work; null where nobody knows."""
    use = session.cards().get(take)
    return {
        "instruction": instruction(session, take),
        "card": None if use is None else use.card,
        "card_sha256": None if use is None else use.sha256,
        "variation": None if use is None else use.variation,
        "steps": [
            {"step": span.step, "text": span.text, "start_t_ns": span.start_ns, "end_t_ns": span.end_ns}
            for span in step_spans(session, take)
        ],
    }
