"""`handcap capture`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handcap.causes import Language
from handcap.cli.capture_card import asked_for, show_preview
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.errors import HandcapError, UsageError

if TYPE_CHECKING:
    from handcap.capture import Capture
    from handcap.capture.operator import Guide, Listener, Said, Wishes
    from handcap.capture.signals import Stop
    from handcap.devices import Board

KEYS_LINE: dict[Language, str] = {
    "en": "space: start, end  d: throw the last away  e twice: erase it  n: next step  q: finish",
    "zh": "空格:开始、结束  d:丢弃上一条  e 两次:彻底删除  n:下一步  q:结束",
}


def capture(
    out: Annotated[
        Path | None, typer.Argument(help="Session folder, new or to be continued. Default: one named by date and time.")
    ] = None,
    task: Annotated[str, typer.Option(help="What is done in every take.")] = "",
    card: Annotated[
        Path | None, typer.Option(help="Task card, task.toml: steps, variations, how many good takes are wanted.")
    ] = None,
    collector: Annotated[str | None, typer.Option(help="Alias of whoever records; no real name.")] = None,
    practice: Annotated[
        bool, typer.Option("--practice", help="Run the card without keeping anything; coaches after each try.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Live picture in a browser here, with the card's photo over it.")
    ] = False,
    consent: Annotated[str | None, typer.Option(help="Id of the consent form of everybody who can be seen.")] = None,
    no_consent: Annotated[
        bool, typer.Option("--no-consent", help="For the virtual rig and one's own lab; marked in the session.")
    ] = False,
    rig: Annotated[
        Path | None, typer.Option(help="rig.json to use. Default: the rig store's, by the boards plugged in.")
    ] = None,
    node: Annotated[list[str] | None, typer.Option(help="A camera node, tcp://host:port; may be given again.")] = None,
    camera: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=SOURCE: where a camera of the rig is: /dev/video0, http://…, rtsp://…; may be given again."
        ),
    ] = None,
    virtual: Annotated[
        bool, typer.Option("--virtual", help="No hardware: a virtual person in a virtual room, rendered ahead.")
    ] = False,
    play: Annotated[
        Path | None, typer.Option(help="A simulated session that the virtual rig plays again and again.")
    ] = None,
    takes: Annotated[
        int | None, typer.Option(help="Record that many takes by itself, without a key pressed.", min=1, max=999)
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of takes recorded by themselves.", min=0.5)] = 8.0,
    voice: Annotated[
        bool, typer.Option("--voice/--no-voice", help="Say what happens through the default sound device.")
    ] = True,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines instead of a screen, as when the output is not a terminal.")
    ] = False,
    field: Annotated[
        bool, typer.Option("--field/--no-field", help="Judge takes by the field pass in the background.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the virtual rig.", min=0)] = 0,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Record takes from everything that is plugged in, each with a verdict at once."""
    from handcap.capture import Capture, capture_meta, default_folder, sentences
    from handcap.capture.awake import Awake
    from handcap.capture.buttons import ButtonWishes
    from handcap.capture.consent import require_consent
    from handcap.capture.keys import Keys
    from handcap.capture.operator import Operator, Said, Timetable
    from handcap.capture.practice import practice_folder, remove_left_practice
    from handcap.capture.signals import stop_on_signals
    from handcap.capture.worn import Worn
    from handcap.cli.capture_rig import BY_KEYS_S, plugged_rig, virtual_rig

    asked = asked_for(card, task, collector, practice=practice, out=out, virtual=virtual)
    consent = require_consent(consent, no_consent=no_consent or practice, virtual=virtual)
    left_over = remove_left_practice()
    if virtual and (rig is not None or node or camera):
        raise UsageError(
            "--virtual has a rig, a node and cameras of its own", mend="leave --rig, --node, --camera away"
        )
    if play is not None and not virtual:
        raise UsageError("--play is played by the virtual rig", mend="give --virtual too")
    if takes is None and not sys.stdin.isatty():
        raise UsageError("there are no keys to press here", mend="give --takes N, or run it in a terminal")
    say = _silent if as_json else _say
    if left_over:
        say({"en": "What a broken-off practice had left is deleted.", "zh": "已删除上次中断的练习数据。"}[lang])
    with ExitStack() as held:
        if practice:
            out, field = held.enter_context(practice_folder()), False
        out = default_folder() if out is None else out
        if virtual:
            plugged = virtual_rig(held, takes, seconds, seed, play, as_json)
        else:
            plugged = plugged_rig(held, rig, node or (), camera or ())
        task = asked.task(task)
        meta = capture_meta(out, task or None, consent, plugged.rig, plugged.boards, collector)
        wishes: Wishes = SimpleQueue()
        stopped = held.enter_context(stop_on_signals(lambda: wishes.put("stop"), lang))
        running = held.enter_context(
            Capture(
                out,
                meta,
                plugged.rig,
                plugged.boards,
                cameras=plugged.cameras,
                field_pass=field,
                lang=lang,
                work=asked.work(out),
            )
        )
        for line in sentences.found_before(running.recovered, running.continued)[lang]:
            say(line)
        if running.hands_unwatched is not None:
            say(sentences.hands_unwatched(running.hands_unwatched)[lang])
        running.ready()
        if virtual and takes is None and play is None:
            say(sentences.virtual_takes_end(BY_KEYS_S)[lang])
        guide = asked.guide(running, lambda said: operator.tell(said))
        keys = KEYS_LINE[lang] if takes is None else ""
        shown, say = _shown(held, running, guide, lang, keys, say, plain=plain, silent=as_json)
        listeners = [*shown, *(_voice(lang, say, held) if voice else ()), _light(held, plugged.boards)]
        running.listen(lambda device: ButtonWishes(wishes, lambda: running.recorder.recording).hear)
        if takes is not None:
            listeners.append(Timetable(wishes, takes, seconds, running.judged))
        operator = Operator(running, wishes, task, listeners, guide, alone=takes is not None)
        held.enter_context(Worn(running, operator.tell, wishes))
        awake = held.enter_context(Awake())
        if awake.warning is not None:
            operator.tell(Said("warning", awake.warning))
        if preview:
            address = show_preview(held, asked, running, lang)
            say({"en": f"live picture: {address}", "zh": f"实时画面:{address}"}[lang])
        if takes is None:
            held.enter_context(Keys(wishes))
        operator.run()
    if asked.practice and guide is not None:
        finish(asked.practised(guide, running.ended, lang), as_json)
    else:
        finish(_outcome(out, running, lang, _cut_short(stopped, running, takes)), as_json)


def _shown(
    held: ExitStack,
    running: Capture,
    guide: Guide | None,
    lang: Language,
    keys: str,
    say: Callable[[str], None],
    *,
    plain: bool,
    silent: bool,
) -> tuple[list[Listener], Callable[[str], None]]:
    """Who shows what happens, and how a line is said beside it: a screen on a terminal, else lines."""
    if silent:
        return [], say
    if not plain and sys.stdout.isatty():
        from handcap.cli.capture_screen import Screen
        from handcap.devices.computer import battery_share

        screen = held.enter_context(Screen(running, lang, keys, guide, battery_share))
        return [screen], screen.note
    if keys:
        say(keys)
    return [Lines(lang, say)], say


def _light(held: ExitStack, boards: Mapping[str, Board]) -> Listener:
    from handcap.capture.light import RigLight

    light = RigLight(boards.values())
    held.callback(light.close)
    return light


def _cut_short(stopped: Stop, running: Capture, takes: int | None) -> HandcapError | None:
    """A signal kept the timetable from being done."""
    if takes is None or stopped.name is None or len(running.ended) >= takes:
        return None
    return HandcapError(
        f"ended by {stopped.name} after {len(running.ended)} of {takes} takes; these are kept",
        mend="run the command again with this folder, and it goes on",
    )


def _say(line: str) -> None:
    print(line, flush=True)


def _voice(lang: Language, say: Callable[[str], None], held: ExitStack) -> list[Listener]:
    """Who speaks; nobody, and that is said once, where nothing can."""
    from handcap.capture.voice import Voice, no_voice

    missing = no_voice()
    if missing is not None:
        say(missing[lang])
        return []
    return [held.enter_context(Voice(lang, lambda sentence: say(sentence[lang])))]


def _silent(_: str) -> None:
    pass


class Lines:
    """A listener that prints what it hears, line by line."""

    def __init__(self, lang: Language, say: Callable[[str], None]) -> None:
        self._lang: Language = lang
        self._say = say

    def hear(self, said: Said) -> None:
        from handcap.capture.sentences import VERDICTS

        if said.ended is None:
            self._say(said.sentence[self._lang])
        else:
            verdict = VERDICTS[said.ended.verdict.verdict][self._lang]
            self._say(f"{said.ended.take}: {verdict} ({said.ended.watched.length_s:.1f} s)")
        for line in (said.more or {}).get(self._lang, ()):
            self._say(f"  {line}")


def _outcome(out: Path, running: Capture, lang: Language, error: HandcapError | None = None) -> Outcome:
    from handcap import session as session_store
    from handcap.capture.sentences import VERDICTS

    field = {} if running.field is None else running.field.verdicts
    states = {take: record.state for take, record in session_store.read(out).journal().items()}
    gone = {take: state for take, state in states.items() if state in ("discarded", "erased")}
    kept = [ended for ended in running.ended if ended.take not in gone]
    lines: list[str] = []
    spot: dict[str, Any] = {}
    for ended in kept:
        later = field.get(ended.take)
        if later is not None:
            said = {"en": "field pass", "zh": "现场重建"}[lang]
            lines.append(f"{ended.take}: {said}: {VERDICTS.get(later.verdict, VERDICTS['unjudged'])[lang]}")
            lines += [f"  {line}" for line in later.lines[:1]]
        spot[ended.take] = {
            "verdict": ended.verdict.verdict,
            "causes": [cause.as_dict(lang) for cause in ended.verdict.causes],
            "took_s": round(ended.took_s, 3),
            "field": None if later is None else later.verdict,
        }
    takes = "1 take" if len(kept) == 1 else f"{len(kept)} takes"
    lines.append(
        {
            "en": f"{out}: {takes}; next: handcap reconstruct {out}",
            "zh": f"{out}:{len(kept)} 条录制;下一步:handcap reconstruct {out}",
        }[lang]
    )
    verdicts = {take: told["field"] or told["verdict"] for take, told in spot.items()}
    verdicts |= {ended.take: gone[ended.take] for ended in running.ended if ended.take in gone}
    recovered = [take.id for take in running.recovered]
    return Outcome([out], dict(sorted(verdicts.items())), lines, {"spot": spot, "recovered": recovered}, error)
