"""A task card at work: each take is noted under it, its steps are marked, and it is judged by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from handcap.capture.recorder import Recorder
from handcap.capture.task_card import TaskCard, Variation
from handcap.capture.task_judge import JudgedStep, TaskParams, judge_work
from handcap.capture.task_tally import Tally
from handcap.capture.verdict import SpotVerdict
from handcap.capture.watch import TakeWatch
from handcap.session import StepMark

_OWN_WORD = {"jaw_not_moved"}  # a card says which jaws are to move


class TaskRun:
    """What the running take, or the last one, is to be, and what was marked in it.

    Attributes:
        card: in force.
        tally: of its takes; whoever judges them keeps it.
        planned: variation of the next take, as the collector was told: it changes only when `plan` is called.
        variation: of the running take, or of the last one.
        marks: when its steps began.
        judged: the last take that ended.
    """

    def __init__(self, card: TaskCard, tally: Tally | None = None, params: TaskParams | None = None) -> None:
        self.card, self.tally, self.params = card, tally or Tally(), params or TaskParams()
        self.planned: Variation | None = self.tally.next_variation(card)
        self.variation: Variation | None = None
        self.marks: list[StepMark] = []
        self.judged: Sequence[JudgedStep] = ()
        self._recorder: Recorder | None = None
        self._start_ns = 0

    @property
    def instruction(self) -> str:
        """What the next take teaches."""
        return self.card.instruction(self.planned)

    def plan(self) -> None:
        """Choose the next variation by the good takes so far; whoever calls this tells the collector."""
        self.planned = self.tally.next_variation(self.card)

    @property
    def running(self) -> bool:
        """Whether a take runs."""
        return self._recorder is not None and self._recorder.recording

    @property
    def step(self) -> int:
        """Index of the step that is being done."""
        return max(len(self.marks) - 1, 0)

    def began(self, recorder: Recorder, take: str, start_ns: int) -> None:
        """A take runs, since a time of the session clock."""
        self._recorder, self._start_ns, self.marks, self.judged = recorder, start_ns, [], ()
        self.variation = self.planned
        way = None if self.variation is None else self.variation.id
        self.tally.variation[take] = way
        recorder.put_card(self.card.id, self.card.sha256, self.card.text, way)
        if len(self.card.steps) == 1:  # nobody has to say when it is done
            self._mark(0, start_ns)

    def next_step(self, now_ns: int) -> bool:
        """A step is done, and the next one begins; False where none is left, or no take runs."""
        if not self.running or self.step + 1 >= len(self.card.steps):
            return False
        if not self.marks:  # steps count only where their ends are marked
            self._mark(0, self._start_ns)
        self._mark(self.step + 1, now_ns)
        return True

    def judge(self, watched: TakeWatch, verdict: SpotVerdict) -> SpotVerdict:
        """The verdict, with what the card misses: a take that is not what was asked for is at most "partial"."""
        self.judged = judge_work(self.card, watched, self.marks, self.params)
        missing = [cause for part in self.judged for cause in part.causes]
        others = verdict.causes
        if any(step.must.jaw_moved for step in self.card.steps):
            others = [cause for cause in others if cause.code not in _OWN_WORD]
        if self.card.asks_for_hands:
            others = [cause for cause in others if cause.code != "hands_unseen"]
        if verdict.verdict == "ok":  # what it says are hints
            return SpotVerdict("partial" if missing else "ok", [*missing, *others])
        return SpotVerdict(verdict.verdict, [*others, *missing])

    def report(self) -> dict[str, Any]:
        """What report.json says of the work."""
        return {
            "card": self.card.id,
            "card_sha256": self.card.sha256,
            "variation": None if self.variation is None else self.variation.id,
            "instruction": self.card.instruction(self.variation),
            "steps": [
                {
                    "step": self.card.steps[part.step].id,
                    "span_s": part.span_s,
                    "shown": None if part.shown is None else part.shown.as_dict(),
                    "causes": [cause.code for cause in part.causes],
                }
                for part in self.judged
                if part.step is not None
            ],
        }

    def _mark(self, k: int, t_ns: int) -> None:
        assert self._recorder is not None
        step = self.card.steps[k]
        mark = StepMark(step.id, step.en, t_ns, k + 1 == len(self.card.steps))
        self.marks.append(mark)
        self._recorder.put_step(mark)
