"""`handcap capture`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handcap.causes import Language
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import progress
from handcap.errors import UsageError

if TYPE_CHECKING:
    from handcap.capture import Capture, Ended
    from handcap.devices import Board

_VERDICTS: dict[str, dict[Language, str]] = {
    "ok": {"en": "good", "zh": "合格"},
    "partial": {"en": "partly good", "zh": "部分合格"},
    "refused": {"en": "not good", "zh": "不合格"},
    "unjudged": {"en": "not judged", "zh": "未判定"},
}
_KEYS: dict[Language, str] = {
    "en": "space: start or end a take   d: throw the last one away   q: finish",
    "zh": "空格:开始或结束录制   d:丢弃上一条   q:结束",
}


def capture(
    out: Annotated[Path | None, typer.Argument(help="New session folder. Default: one named by date and time.")] = None,
    task: Annotated[str, typer.Option(help="What is done in every take.")] = "",
    consent: Annotated[str | None, typer.Option(help="Id of the consent form of everybody who can be seen.")] = None,
    no_consent: Annotated[
        bool, typer.Option("--no-consent", help="For the virtual rig and one's own lab; marked in the session.")
    ] = False,
    rig: Annotated[
        Path | None, typer.Option(help="rig.json to use. Default: the rig store's, by the boards plugged in.")
    ] = None,
    node: Annotated[list[str] | None, typer.Option(help="A camera node, tcp://host:port; may be given again.")] = None,
    virtual: Annotated[
        bool, typer.Option("--virtual", help="No hardware: a virtual person in a virtual room, rendered ahead.")
    ] = False,
    takes: Annotated[
        int | None, typer.Option(help="Record that many takes by itself, without a key pressed.", min=1, max=999)
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of takes recorded by themselves.", min=0.5)] = 8.0,
    field: Annotated[
        bool, typer.Option("--field/--no-field", help="Judge takes by the field pass in the background.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the virtual rig.", min=0)] = 0,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Record takes from everything that is plugged in, each with a verdict at once."""
    from handcap import session as session_store
    from handcap.capture import Capture, capture_meta, default_folder, find_rig, virtual_rig
    from handcap.devices import boards as plugged_in
    from handcap.devices import open_board

    if consent is None and not (no_consent or virtual):
        raise UsageError(
            "nobody's consent is named", mend="give --consent ID, or --no-consent in your own lab (kept in the session)"
        )
    if takes is None and not sys.stdin.isatty():
        raise UsageError("there are no keys to press here", mend="give --takes N, or run it in a terminal")
    out = default_folder() if out is None else out
    say = _silent if as_json else _say
    with ExitStack() as held:
        if virtual:
            with progress(as_json) as on_progress:
                live = held.enter_context(virtual_rig(takes or 4, seconds, seed, on_progress))
            boards = {name: held.enter_context(open_board(port)) for name, port in live.ports.items()}
            known = live.rig(boards)
        else:
            found: list[Board] = [held.enter_context(open_board(port.name)) for port in plugged_in()]
            nodes = {f"node{k}": held.enter_context(open_board(name)) for k, name in enumerate(node or ())}
            known, boards = find_rig(found, None if rig is None else session_store.read_rig(rig))
            boards = {**boards, **nodes}
        meta = capture_meta(out, task or None, consent, known, boards)
        running = held.enter_context(Capture(out, meta, known, boards, field_pass=field, lang=lang))
        running.ready()
        if takes is None:
            _by_keys(running, task, lang, say)
        else:
            for _ in range(takes):
                running.start(task)
                time.sleep(seconds)
                _tell(running.end(), lang, say)
        if field and running.field is not None:
            waiting = running.field.unjudged
            if waiting:
                say({"en": f"judging {len(waiting)} takes", "zh": f"正在判定 {len(waiting)} 条录制"}[lang])
            running.field.wait()
        finish(_outcome(out, running, lang), as_json)


def _say(line: str) -> None:
    print(line, flush=True)


def _silent(_: str) -> None:
    pass


def _tell(ended: Ended, lang: Language, say: Callable[[str], None]) -> None:
    """One plain sentence, and what to do next time."""
    say(f"{ended.take}: {_VERDICTS[ended.verdict.verdict][lang]} ({ended.watched.length_s:.1f} s)")
    for cause in ended.verdict.causes[:2]:
        say(f"  {cause.text(lang)}\n    → {cause.mend(lang)}")


def _by_keys(running: Capture, task: str, lang: Language, say: Callable[[str], None]) -> None:
    """Keys until somebody wants to finish; Ctrl-C ends the take and finishes too."""
    with _raw_terminal():
        say(_KEYS[lang])  # what is pressed before is forgotten
        last: str | None = None
        while True:
            try:
                key = sys.stdin.read(1)
            except KeyboardInterrupt:
                key = "q"
            if running.recorder.failure is not None:
                say(str(running.recorder.failure))
                running.recorder.failure = None
            if key in (" ", "\n"):
                if running.recorder.recording:
                    ended = running.end()
                    last = ended.take
                    _tell(ended, lang, say)
                    _told_later(running, lang, say)
                else:
                    take = running.start(task)
                    say({"en": f"{take}: recording", "zh": f"{take}:录制中"}[lang])
            elif key == "d" and last is not None and not running.recorder.recording:
                running.discard(last)
                say({"en": f"{last}: thrown away", "zh": f"{last}:已丢弃"}[lang])
                last = None
            elif key in ("q", ""):
                if running.recorder.recording:
                    _tell(running.end(), lang, say)
                return


def _told_later(running: Capture, lang: Language, say: Callable[[str], None]) -> None:
    """How many takes the field pass has yet to judge, and how long that takes."""
    if running.field is None:
        return
    count, minutes = len(running.field.unjudged), running.field.minutes_left
    if minutes is None:
        say({"en": f"  {count} not judged yet", "zh": f"  还有 {count} 条未判定"}[lang])
    else:
        text = {
            "en": f"  {count} not judged yet, about {minutes:.0f} min",
            "zh": f"  还有 {count} 条未判定,约 {minutes:.0f} 分钟",
        }
        say(text[lang])


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """Keys without Enter, while it lasts."""
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _outcome(out: Path, running: Capture, lang: Language) -> Outcome:
    field = {} if running.field is None else running.field.verdicts
    lines: list[str] = []
    spot: dict[str, Any] = {}
    for ended in running.ended:
        later = field.get(ended.take)
        if later is not None:
            said = {"en": "field pass", "zh": "现场重建"}[lang]
            lines.append(f"{ended.take}: {said}: {_VERDICTS.get(later.verdict, _VERDICTS['unjudged'])[lang]}")
            lines += [f"  {line}" for line in later.lines[:1]]
        spot[ended.take] = {
            "verdict": ended.verdict.verdict,
            "causes": [cause.as_dict(lang) for cause in ended.verdict.causes],
            "took_s": round(ended.took_s, 3),
            "field": None if later is None else later.verdict,
        }
    lines.append(
        {
            "en": f"{out}: {len(spot)} takes; next: handcap reconstruct {out}",
            "zh": f"{out}:{len(spot)} 条录制;下一步:handcap reconstruct {out}",
        }[lang]
    )
    return Outcome(
        [out], {take: told["field"] or told["verdict"] for take, told in spot.items()}, lines, {"spot": spot}
    )
