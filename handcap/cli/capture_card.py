"""What `--card`, `--collector`, `--practice` and `--preview` of `handcap capture` ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from handcap.causes import Language
from handcap.cli.outcome import Outcome
from handcap.errors import TaskError, UsageError

if TYPE_CHECKING:
    from handcap.capture import Capture, Ended
    from handcap.capture.operator import Said
    from handcap.capture.task_card import TaskCard
    from handcap.capture.task_guide import TaskGuide
    from handcap.capture.task_run import TaskRun


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, checked.

    Attributes:
        card: in force; None: none.
        path: of its file.
        collector: alias of whoever records, None where nobody said.
        practice: whether nothing is kept.
        virtual: whether the rig is.
    """

    card: TaskCard | None
    path: Path | None
    collector: str | None
    practice: bool
    virtual: bool

    def task(self, task: str) -> str:
        return task if self.card is None else self.card.task

    def work(self, out: Path) -> TaskRun | None:
        """The card at work, with the takes that the session holds already."""
        from handcap.capture.task_run import TaskRun
        from handcap.capture.task_tally import read_tally

        return None if self.card is None else TaskRun(self.card, read_tally(out, self.card))

    def guide(self, running: Capture, tell: Callable[[Said], None]) -> TaskGuide | None:
        from handcap.capture.practice import PracticeGuide, write_pass
        from handcap.capture.task_guide import TaskGuide

        card, collector, virtual = self.card, self.collector, self.virtual
        if running.work is None or card is None:
            return None
        if self.practice:
            assert collector is not None
            return PracticeGuide(running.work, tell, lambda: write_pass(collector, card, virtual))
        return TaskGuide(running.work, tell)

    def practised(self, guide: TaskGuide, ended: Sequence[Ended], lang: Language) -> Outcome:
        """How a practice ended."""
        passed, tries = guide.done, len(ended)
        line: dict[Language, str] = {
            "en": f"practice: {tries} tries, {'passed' if passed else 'not passed yet'}; nothing was kept",
            "zh": f"练习:{tries} 次,{'已通过' if passed else '尚未通过'};没有保存任何数据",
        }
        error = None
        if not passed:
            what = f"not passed: {guide.wanted} good tries in a row are wanted"
            error = TaskError(what, where=self.path, mend="run the same command again")
        told = [
            {"verdict": one.verdict.verdict, "causes": [cause.as_dict(lang) for cause in one.verdict.causes]}
            for one in ended
        ]
        details = {"practice": {"passed": passed, "collector": self.collector, "tries": told}}
        return Outcome((), {}, [line[lang]], details, error)


def asked_for(
    card: Path | None, task: str, collector: str | None, *, practice: bool, out: Path | None, virtual: bool
) -> Asked:
    """Check the options and the card.

    Raises:
        UsageError: they contradict each other or say too little.
        TaskError: the card cannot be used, or must be practised first.
    """
    from handcap.capture.practice import require_alias, require_practice
    from handcap.capture.task_card import read_card

    if collector is not None:
        require_alias(collector)
    if card is None:
        if practice:
            raise UsageError("there is nothing to practise", mend="give --card task.toml")
        return Asked(None, None, collector, False, virtual)
    if task:
        raise UsageError("--task and --card both say what is done", mend="give one of them")
    read = read_card(card)
    if practice:
        if collector is None:
            raise UsageError("nobody said who practises", mend="give --collector ALIAS")
        if out is not None:
            raise UsageError("a practice keeps nothing", mend=f"leave the folder {out} away")
    else:
        require_practice(read, card, collector, virtual)
    return Asked(read, card, collector, practice, virtual)


def show_preview(held: ExitStack, asked: Asked, running: Capture, lang: Language) -> str:
    """Serve the head's live picture until `held` is left; its address. Raises TaskError, DeviceError."""
    from handcap.capture.preview import Preview, read_photo

    camera = next((name for name in ("head", "head_left", *running.rig.cameras) if name in running.rig.cameras), None)
    if camera is None:
        raise UsageError("this rig has no camera to show", mend="leave --preview away")
    card = asked.card
    photo = None if card is None or card.photo is None else read_photo(card.photo)
    text = "" if card is None or card.start is None else card.start[lang]
    preview = held.enter_context(Preview(camera, photo, text, lang))
    running.watch.viewer = preview.take_in
    return preview.address
