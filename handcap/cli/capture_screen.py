"""What a collector sees while recording: the state in large, then all that could go wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from handcap.capture.operator import Guide, Said
from handcap.capture.readings import CameraReading, ImuReading, Meter, Readings
from handcap.capture.sentences import VERDICTS
from handcap.causes import CAMERAS, PARTS, Language

if TYPE_CHECKING:
    from handcap.capture import Capture

_REFRESH_S = 0.5
_COLOURS = {"ok": "green", "partial": "yellow", "refused": "red", "unjudged": "dim"}
_DARK, _BRIGHT = 25, 230  # grey levels; limits of the verdict are wider: this is a hint in time
_FOLLOWED = 0.5
_BLURRED_PX = 2.5
_LEAST_MINUTES = 10
_WORDS: dict[str, dict[Language, str]] = {
    "recording": {"en": "RECORDING", "zh": "录制中"},
    "waiting": {"en": "waiting", "zh": "等待中"},
    "motion": {"en": "Motion", "zh": "运动传感器"},
    "camera": {"en": "Camera", "zh": "相机"},
    "rate": {"en": "rate", "zh": "频率"},
    "lost": {"en": "lost", "zh": "丢失"},
    "clock": {"en": "clock", "zh": "时钟残差"},
    "full_scale": {"en": "full scale", "zh": "满量程"},
    "light": {"en": "light", "zh": "亮度"},
    "blur": {"en": "blur", "zh": "模糊"},
    "followed": {"en": "followed", "zh": "可跟踪"},
    "tags": {"en": "tags", "zh": "标签"},
    "hands": {"en": "hands", "zh": "手"},
    "unplugged": {"en": "unplugged", "zh": "已断开"},
    "dark": {"en": "dark", "zh": "过暗"},
    "bright": {"en": "bright", "zh": "过亮"},
    "disk": {"en": "Disk", "zh": "磁盘"},
    "battery": {"en": "Battery", "zh": "电池"},
    "takes": {"en": "Takes", "zh": "录制"},
    "step": {"en": "Now", "zh": "当前步骤"},
}


@dataclass
class Tally:
    """What the screen has heard.

    Attributes:
        verdicts: take to its newest verdict, "discarded" or "erased".
        last: what was said last, and its colour.
        more: lines under it.
    """

    verdicts: dict[str, str] = field(default_factory=dict)
    last: Text = field(default_factory=Text)
    more: Sequence[str] = ()

    def hear(self, said: Said, lang: Language) -> None:
        colour = "yellow" if said.kind == "warning" else "default"
        if said.ended is not None and said.take is not None:
            verdict = said.ended.verdict.verdict
            self.verdicts[said.take] = verdict
            length = {"en": f"{said.ended.watched.length_s:.1f} s", "zh": f"{said.ended.watched.length_s:.1f} 秒"}
            self.last = Text(f"{said.take}: {VERDICTS[verdict][lang]} ({length[lang]})", f"bold {_COLOURS[verdict]}")
            self.more = () if said.more is None else said.more[lang]
            return
        if said.kind in ("discarded", "erased") and said.take is not None:
            self.verdicts[said.take] = said.kind
        if said.kind == "field" and said.verdict is not None and said.take in self.verdicts:
            self.verdicts[said.take] = said.verdict
            colour = _COLOURS.get(said.verdict, colour)
        if said.kind == "started":  # what was wrong before stays in view
            return
        if said.kind == "guide" and said.take is not None:  # goes on from what was said of that take
            self.more = (*self.more, said.sentence[lang])
            return
        self.last = Text(said.sentence[lang], f"bold {colour}")
        self.more = () if said.more is None else said.more[lang]

    def counts(self) -> Mapping[str, int]:
        found = list(self.verdicts.values())
        return {verdict: found.count(verdict) for verdict in ("ok", "partial", "refused", "discarded", "erased")}


class Screen:
    """A listener that keeps a screen up to date; use it in a `with`.

    Args:
        running: what is recorded.
        lang: of all words.
        keys: the line that says which key does what.
        guide: knows the step to do next.
        battery: share of it that is left, 0 to 1; None where nobody knows.
        console: where it is drawn.
    """

    def __init__(
        self,
        running: Capture,
        lang: Language,
        keys: str,
        guide: Guide | None = None,
        battery: Callable[[], float | None] = lambda: None,
        console: Console | None = None,
    ) -> None:
        self._meter, self._keys, self._guide, self._battery = Meter(running), keys, guide, battery
        self._lang: Language = lang
        self.title = str(running.path)
        self._tally = Tally()
        self._heard = threading.Event()
        self._closing = False
        self._live = Live(console=console or Console(), auto_refresh=False, transient=True)
        self._thread = threading.Thread(target=self._run, name="handcap screen", daemon=True)
        self.cpu_s = 0.0

    def hear(self, said: Said) -> None:
        self._tally.hear(said, self._lang)
        self._heard.set()

    def note(self, line: str) -> None:
        """Something that stays to be read above the screen."""
        self._live.console.print(line, markup=False, highlight=False)

    def picture(self) -> RenderableType:
        """As it is by now."""
        step = "" if self._guide is None else self._guide.line(self._lang)
        return drawn(self._meter.read(), self._tally, self._lang, self.title, step, self._battery(), self._keys)

    def __enter__(self) -> Screen:
        self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._heard.set()
        self._thread.join()
        self._live.stop()

    def _run(self) -> None:
        while not self._closing:
            self._live.update(self.picture(), refresh=True)
            self.cpu_s = time.thread_time()
            self._heard.wait(_REFRESH_S)
            self._heard.clear()


def drawn(
    now: Readings, tally: Tally, lang: Language, title: str, step: str, battery: float | None, keys: str
) -> RenderableType:
    """The whole screen."""
    parts: list[RenderableType] = [_state(now, lang, title)]
    if step:
        parts.append(Text.assemble((f" {_WORDS['step'][lang]}: ", "bold"), step))
    if tally.last:  # before the tables: a small terminal cuts off what stands below
        parts += [_under(tally.last, 1), *(_under(Text(line.strip()), 5 if "→" in line else 3) for line in tally.more)]
    parts += [_under(Text(keys, "dim"), 1), _takes(now, tally, lang), _left(now, battery, lang), Text()]
    parts += [_imus(now.imus, lang), _cameras(now.cameras, lang)]
    return Group(*parts)


def _under(text: Text, indent: int) -> Padding:
    return Padding(text, (0, 0, 0, indent))


def _state(now: Readings, lang: Language, title: str) -> Padding:
    """A bar that is seen across the room."""
    if now.take is None:
        state, style = f"○ {_WORDS['waiting'][lang]}", "bold white on blue"
    else:
        minutes, seconds = divmod(int(now.since_s), 60)
        state, style = f"● {_WORDS['recording'][lang]}  {now.take}  {minutes:02d}:{seconds:02d}", "bold white on red"
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    line.add_row(state, Text(title))
    return Padding(line, (1, 2), style=style)


def _table(lang: Language, *columns: str) -> Table:
    table = Table(box=None, pad_edge=True, expand=False)
    for k, column in enumerate(columns):
        table.add_column(_WORDS[column][lang], justify="left" if k == 0 else "right", min_width=23 if k == 0 else 7)
    return table


def _imus(imus: Sequence[ImuReading], lang: Language) -> Table:
    table = _table(lang, "motion", "rate", "lost", "clock", "full_scale")
    for imu in imus:
        name = PARTS.get(f"imu_{imu.name}", {}).get(lang, imu.name).removeprefix("the ")
        if not imu.connected:
            table.add_row(name, Text(_WORDS["unplugged"][lang], "bold red"))
            continue
        slow = imu.rate_hz is not None and imu.rate_hz < 0.9 * imu.expected_hz
        residual = None if imu.clock_residual_s is None else f"{1e6 * imu.clock_residual_s:.0f} µs"
        table.add_row(name, _rate(imu.rate_hz, slow), _count(imu.lost), residual or "–", _count(imu.saturated))
    return table


def _cameras(cameras: Sequence[CameraReading], lang: Language) -> Table:
    table = _table(lang, "camera", "rate", "lost", "light", "blur", "followed", "tags", "hands")
    for camera in cameras:
        table.add_row(
            CAMERAS.get(camera.name, {}).get(lang, camera.name).removeprefix("the "),
            _rate(camera.rate_hz, False),
            _count(camera.lost),
            _light(camera.brightness, lang),
            _blur(camera.edge_px),
            _followed(camera.followed),
            *("–" if n is None else str(n) for n in (camera.tags, camera.hands)),
        )
    return table


def _rate(rate_hz: float | None, bad: bool) -> Text:
    return Text("–" if rate_hz is None else f"{rate_hz:.0f} Hz", "bold red" if bad else "")


def _count(n: int | None) -> Text:
    return Text("–" if n is None else str(n), "bold red" if n else "")


def _light(level: float | None, lang: Language) -> Text:
    if level is None:
        return Text("–")
    word = "dark" if level < _DARK else "bright" if level > _BRIGHT else ""
    return Text(f"{level:.0f} {_WORDS[word][lang]}" if word else f"{level:.0f}", "bold red" if word else "")


def _blur(edge_px: float | None) -> Text:
    if edge_px is None:
        return Text("–")
    return Text(f"{edge_px:.1f} px", "bold red" if edge_px > _BLURRED_PX else "")


def _followed(share: float | None) -> Text:
    if share is None:
        return Text("–")
    return Text(f"{100 * share:.0f} %", "bold red" if share < _FOLLOWED else "")


def _takes(now: Readings, tally: Tally, lang: Language) -> Text:
    n = tally.counts()
    en = f"{n['ok']} good, {n['partial']} partly good, {n['refused']} not good"
    zh = f"{n['ok']} 条合格,{n['partial']} 条部分合格,{n['refused']} 条不合格"
    if n["discarded"] or n["erased"]:
        en += f", {n['discarded']} thrown away, {n['erased']} erased"
        zh += f",{n['discarded']} 条丢弃,{n['erased']} 条删除"
    if now.unjudged:
        en, zh = f"{en}; {now.unjudged} not judged yet", f"{zh};{now.unjudged} 条未判定"
        if now.unjudged_minutes is not None:
            en, zh = f"{en}, about {now.unjudged_minutes:.0f} min", f"{zh},约 {now.unjudged_minutes:.0f} 分钟"
    text: Any = {"en": en, "zh": zh}[lang]
    return Text.assemble((f" {_WORDS['takes'][lang]}: ", "bold"), text)


def _left(now: Readings, battery: float | None, lang: Language) -> Text:
    """Of the disk and the battery."""
    minutes, free = now.disk_minutes, now.disk_free
    if minutes is None or free is None:
        shown = "–"
    else:
        free_gb = free / 1e9
        time_en, time_zh = f"{minutes:.0f} min", f"{minutes:.0f} 分钟"
        if minutes > 300:
            time_en, time_zh = f"{minutes / 60:.0f} h", f"{minutes / 60:.0f} 小时"
        shown = {"en": f"{time_en} left ({free_gb:.0f} GB)", "zh": f"还可录 {time_zh}({free_gb:.0f} GB)"}[lang]
    low = minutes is not None and minutes < _LEAST_MINUTES
    text = Text.assemble((f" {_WORDS['disk'][lang]}: ", "bold"), (shown, "bold red" if low else ""))
    if battery is not None:
        text.append(f"   {_WORDS['battery'][lang]}: ", "bold")
        text.append(f"{100 * battery:.0f} %", "bold red" if battery < 0.2 else "")
    return text
