"""What the collector wishes, done one wish after another, and everybody who listens told of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Literal, Protocol

from handcap.capture import sentences
from handcap.capture.live import Capture, Ended
from handcap.causes import LANGUAGES, Language
from handcap.errors import HandcapError

log = logging.getLogger(__name__)

Kind = Literal["ready", "started", "ended", "discarded", "erased", "field", "warning", "guide", "finished"]
Wish = Literal["start", "end", "toggle", "discard", "erase", "next", "finish", "stop", "yes", "no"]
Wishes = SimpleQueue[Wish]


@dataclass(frozen=True, eq=False, slots=True)
class Said:
    """Something that happened, for whoever speaks, shows, lights or guides.

    Attributes:
        kind: what.
        sentence: short, to be spoken, in every language.
        take: id of the take it is about.
        ended: of an "ended" take, all that was measured.
        more: longer lines for a screen, in every language.
        verdict: of a "field" word, that of the field pass.
    """

    kind: Kind
    sentence: Mapping[Language, str]
    take: str | None = None
    ended: Ended | None = None
    more: Mapping[Language, Sequence[str]] | None = None
    verdict: str | None = None


class Listener(Protocol):
    """Is told of everything, in order, by one thread at a time; is to return at once."""

    def hear(self, said: Said) -> None: ...


class Guide(Listener, Protocol):
    """A listener that knows what is to be done next."""

    def next_step(self) -> Said | None:
        """The collector is done with this step."""
        ...

    def line(self, lang: Language) -> str:
        """What to do now; empty where there is nothing to say."""
        ...


@dataclass(frozen=True, slots=True)
class OperatorParams:
    """How the operator waits.

    Attributes:
        answer_s: a question that nobody answers so long is answered "no".
        look_s: how often failures and verdicts in the background are looked for.
    """

    answer_s: float = 15.0
    look_s: float = 0.2


@dataclass(frozen=True, slots=True)
class _Question:
    about: Literal["erase", "finish"]
    take: str | None
    until_s: float


class Operator:
    """Turns wishes into takes. `run` is called by one thread; `tell` by any.

    Args:
        running: the recording.
        wishes: filled by keys, buttons or a timetable.
        task: of the takes.
        listeners: told of everything, in this order.
        guide: asked for the next step; a listener too, the last.
        alone: nobody is there to read a warning: errors are raised.
    """

    def __init__(
        self,
        running: Capture,
        wishes: Wishes,
        task: str = "",
        listeners: Sequence[Listener] = (),
        guide: Guide | None = None,
        params: OperatorParams | None = None,
        alone: bool = False,
    ) -> None:
        self.running, self.wishes, self.task, self.guide = running, wishes, task, guide
        self.alone = alone
        self.params = params or OperatorParams()
        self.listeners: list[Listener] = [*listeners, *([guide] if guide is not None else [])]
        self._telling = threading.RLock()
        self._question: _Question | None = None
        self._last: str | None = None
        self._there: list[str] = []  # takes that were begun and not erased
        self._judged: set[str] = set()

    def tell(self, said: Said) -> None:
        """Everybody hears it; a listener that fails is not the others' concern."""
        with self._telling:
            for listener in self.listeners:
                try:
                    listener.hear(said)
                except Exception:
                    log.exception("%s did not take %s", type(listener).__name__, said.kind)

    def run(self) -> None:
        """Until somebody wishes to finish; a running take is ended then. Raises HandcapError where nobody is there."""
        self.tell(Said("ready", sentences.READY))
        while True:
            try:
                wish = self.wishes.get(timeout=self.params.look_s)
            except Empty:
                wish = None
            self._look()
            if wish is None:
                continue
            try:
                if self._grant(wish):
                    break
            except HandcapError as error:
                if self.alone:
                    raise
                self.tell(Said("warning", sentences.failed(error)))
                if wish == "stop":
                    break
        self.tell(Said("finished", sentences.FINISHED))

    def _look(self) -> None:
        """What happened without anybody's wish."""
        recorder = self.running.recorder
        if recorder.failure is not None:
            failure, recorder.failure = recorder.failure, None
            if self.alone:
                raise failure
            self.tell(Said("warning", sentences.failed(failure)))
        if self._question is not None and time.monotonic() > self._question.until_s:
            self._question = None
        for camera, event in self.running.camera_events():
            self.tell(Said("warning", sentences.camera(camera, event.kind)))
        field = self.running.field
        for take, verdict in list(field.verdicts.items()) if field is not None else ():
            if take not in self._judged:
                self._judged.add(take)
                more: dict[Language, Sequence[str]] = dict.fromkeys(LANGUAGES, verdict.lines[:1])
                self.tell(
                    Said("field", sentences.field(take, verdict.verdict), take, more=more, verdict=verdict.verdict)
                )

    def _grant(self, wish: Wish) -> bool:
        """Do it; whether that was the end."""
        asked, self._question = self._question, None
        recording = self.running.recorder.recording
        if wish == "stop":  # a signal: nobody is there to be asked
            if recording:
                self._end()
            return True
        if asked is not None and asked.about == "finish" and wish in ("yes", "finish", "toggle", "start"):
            return True
        if asked is not None and asked.about == "erase" and wish in ("yes", "erase"):
            assert asked.take is not None
            self._erase(asked.take)
        elif wish == "finish":
            return self._finish()
        elif wish == "erase":
            self._ask_erase()
        elif wish in ("start", "toggle") and not recording:
            take = self.running.start(self.task)
            self._last = None  # until it has ended: a broken-off take leaves nothing to throw away
            self._there.append(take)
            self.tell(Said("started", sentences.started(take), take))
        elif wish in ("end", "toggle") and recording:
            self._end()
        elif wish == "discard":
            self._discard()
        elif wish == "next" and self.guide is not None:
            said = self.guide.next_step()
            if said is not None:
                self.tell(said)
        return False

    def _end(self) -> None:
        ended = self.running.end()
        self._last = ended.take
        self.tell(Said("ended", sentences.ended(ended), ended.take, ended, sentences.causes(ended)))

    def _discard(self) -> None:
        """The last take; one that runs is ended first."""
        if self.running.recorder.recording:
            self._end()
        if self._last is None:
            self.tell(Said("warning", sentences.NOTHING_TO_DISCARD))
            return
        take, self._last = self._last, None
        self.running.discard(take)
        self.tell(Said("discarded", sentences.discarded(take), take))

    def _ask_erase(self) -> None:
        """The last take that is still there, thrown away or cut off or not; one that runs is ended first."""
        if self.running.recorder.recording:
            try:
                self._end()
            except HandcapError as error:  # what is private is erased all the same
                self.tell(Said("warning", sentences.failed(error)))
        if not self._there:
            self.tell(Said("warning", sentences.NOTHING_TO_ERASE))
            return
        take = self._there[-1]
        self._question = _Question("erase", take, time.monotonic() + self.params.answer_s)
        self.tell(Said("warning", sentences.erase_really(take), take))

    def _erase(self, take: str) -> None:
        self.running.erase(take)
        self._there.remove(take)
        if self._last == take:
            self._last = None
        self.tell(Said("erased", sentences.erased(take), take))

    def _finish(self) -> bool:
        """Whether that is the end: takes still to be judged need a yes."""
        if self.running.recorder.recording:
            self._end()
        field = self.running.field
        waiting = [] if field is None else field.unjudged
        if not waiting:
            return True
        minutes = None if field is None else field.minutes_left
        self._question = _Question("finish", None, time.monotonic() + self.params.answer_s)
        self.tell(Said("warning", sentences.finish_unjudged(len(waiting), minutes)))
        return False


class Timetable:
    """A source of wishes that is a listener too: so many takes of so many seconds, by itself.

    Args:
        takes: how many.
        seconds: of each.
        judged: waits until all takes are judged.
    """

    def __init__(self, wishes: Wishes, takes: int, seconds: float, judged: Callable[[], object]) -> None:
        self._wishes, self._left, self._seconds, self._judged = wishes, takes, seconds, judged

    def hear(self, said: Said) -> None:
        if said.kind == "started":
            self._later(self._seconds, "end")
        elif said.kind == "ready" or said.kind == "ended":
            self._left -= said.kind == "ended"
            if self._left > 0:
                self._wishes.put("start")
            else:
                threading.Thread(target=self._finish, name="handcap timetable", daemon=True).start()

    def _later(self, seconds: float, wish: Wish) -> None:
        timer = threading.Timer(seconds, self._wishes.put, (wish,))
        timer.daemon = True
        timer.start()

    def _finish(self) -> None:
        self._judged()
        self._wishes.put("finish")
        self._wishes.put("yes")  # where judging is put off, nobody is there to say it
