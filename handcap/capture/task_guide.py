"""The guide: says what to set up, what to do now, and how many good takes are still wanted."""

from __future__ import annotations

import time
from collections.abc import Callable

from handcap.capture.live import Ended
from handcap.capture.operator import Said
from handcap.capture.sentences import Sentence, number
from handcap.capture.task_card import Saying, TaskCard
from handcap.capture.task_run import TaskRun
from handcap.causes import LANGUAGES, Language

_NO_STEP: Sentence = {
    "en": "That was the last step: end the take when it is done.",
    "zh": "这已经是最后一步,做完后请结束录制。",
}
_NO_TAKE: Sentence = {"en": "Steps are marked while a take runs.", "zh": "录制中才能标记步骤。"}
_WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "needed": "needed: ",
        "comma": ", ",
        "start": "start: ",
        "step": "step {}: ",
        "mind": "mind: ",
        "length": "length: {:g} to {:g} s",
    },
    "zh": {
        "needed": "物品:",
        "comma": "、",
        "start": "起始:",
        "step": "第{}步:",
        "mind": "注意:",
        "length": "时长:{:g} 到 {:g} 秒",
    },
}


class TaskGuide:
    """A listener that counts good takes of a card; see `handcap.capture.operator.Guide`.

    Args:
        work: the card at work.
        tell: says something to everybody who listens.
    """

    def __init__(self, work: TaskRun, tell: Callable[[Said], None]) -> None:
        self.work, self._tell = work, tell
        self._said_done = self.done

    @property
    def wanted(self) -> int:
        """Good takes."""
        return self.work.card.good_takes

    @property
    def good(self) -> int:
        """Good takes so far."""
        return len(self.work.tally.good)

    @property
    def done(self) -> bool:
        return self.good >= self.wanted

    def hear(self, said: Said) -> None:
        good = self.work.tally.good
        if said.kind == "ready":
            more: dict[Language, list[str]] = {lang: card_lines(self.work.card, lang) for lang in LANGUAGES}
            self._tell(Said("guide", joined(self._title(), self.count(), self._next()), more=more))
        elif said.kind == "ended" and said.ended is not None:
            self._tell(Said("guide", self.after(said.ended), said.take))
        elif said.kind in ("discarded", "erased") and said.take in good:
            good.discard(said.take)
            self._tell(Said("guide", self.and_next(self.count())))
        elif said.kind == "field" and said.take in good and said.verdict in ("partial", "refused"):
            good.discard(said.take)
            self._said_done = self.done
            back: Sentence = {
                "en": f"Take {number(said.take)} does not count after all.",
                "zh": f"第{number(said.take)}条复核后不计入。",
            }
            self._tell(Said("guide", joined(back, self.count()), said.take))  # what is set up already stays planned

    def next_step(self) -> Said | None:
        if not self.work.running:
            return Said("guide", _NO_TAKE)
        if not self.work.next_step(time.monotonic_ns()):
            return Said("guide", _NO_STEP)
        return Said("guide", _of(self.work.card.steps[self.work.step]))

    def line(self, lang: Language) -> str:
        card = self.work.card
        if self.work.running:
            return f"{self.work.step + 1}/{len(card.steps)}: {card.steps[self.work.step][lang]}"
        return f"{card.title[lang]} {self.good}/{self.wanted}: {self._next()[lang]}"

    def after(self, ended: Ended) -> Sentence:
        """What to say when a take has ended; its verdict was said already."""
        if ended.verdict.verdict == "ok":
            self.work.tally.good.add(ended.take)
        if self.done and not self._said_done:
            self._said_done = True
            return self.finished()
        return self.and_next(joined(self.which_step(), self.count()))

    def finished(self) -> Sentence:
        return {
            "en": f"The card is done: {self.good} good takes. You may finish.",
            "zh": f"任务完成:合格 {self.good} 条,可以结束了。",
        }

    def count(self) -> Sentence:
        return {"en": f"{self.good} of {self.wanted} good.", "zh": f"合格 {self.good} 条,共需 {self.wanted} 条。"}

    def which_step(self) -> Sentence:
        """Where the step lies that something was missed in; nothing where it was none."""
        missed = next((part.step for part in self.work.judged if part.causes and part.step is not None), None)
        if missed is None:
            return {}
        step = self.work.card.steps[missed]
        return {
            "en": f"It is step {missed + 1}: {step.en}",
            "zh": f"问题在第{missed + 1}步:{step.zh}",
        }

    def and_next(self, first: Sentence) -> Sentence:
        """What is to be put back and how the next take is to be done, chosen now."""
        self.work.plan()
        reset = self.work.card.reset
        return joined(first, {} if reset is None else _of(reset), self._next())

    def _title(self) -> Sentence:
        title = self.work.card.title
        return {"en": f"{title.en.rstrip('.')}.", "zh": f"{title.zh.rstrip('。')}。"}

    def _next(self) -> Sentence:
        way = self.work.planned
        if way is not None:
            return {"en": f"Next: {way.en}", "zh": f"下一条:{way.zh}"}
        return _of(self.work.card.start or self.work.card.steps[0])


def card_lines(card: TaskCard, lang: Language) -> list[str]:
    """A card for a screen."""
    words = _WORDS[lang]
    lines: list[str] = []
    if card.props:
        lines.append(f"{words['needed']}{words['comma'].join(prop[lang] for prop in card.props)}")
    if card.start is not None:
        lines.append(f"{words['start']}{card.start[lang]}")
    lines += [f"{words['step'].format(k)}{step[lang]}" for k, step in enumerate(card.steps, start=1)]
    lines += [f"{words['mind']}{thing[lang]}" for thing in card.leave_alone]
    return [*lines, words["length"].format(*card.length_s)]


def joined(*parts: Sentence) -> Sentence:
    """Sentences after one another; empty ones are left out."""
    return {
        "en": " ".join(part["en"] for part in parts if part),
        "zh": "".join(part["zh"] for part in parts if part),
    }


def _of(saying: Saying) -> Sentence:
    return {lang: saying[lang] for lang in LANGUAGES}
