"""The laptop on somebody's back: disk, battery, heat and lost links are watched, and said in time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from handcap.capture.live import Capture
from handcap.capture.operator import Said, Wishes
from handcap.capture.sentences import Sentence
from handcap.causes import CAMERAS, LANGUAGES
from handcap.devices.backlog import Outage
from handcap.devices.computer import Battery, Computer, read_computer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WornParams:
    """When to speak, and when to put background work off. Engineering judgement all.

    Attributes:
        look_s: between two looks.
        battery_minutes: left, or percent where it does not say minutes: below it nothing is judged in the background.
        battery_warn_minutes, battery_warn_percent: spoken of.
        hot_c: so near to the processor's own limit nothing is judged in the background,
        cool_c: until it is so far from it again.
        critical_c: that limit, where the processor does not tell it.
        calm_looks: as many looks without slowing down as it takes to be called cool again.
    """

    look_s: float = 2.0
    battery_minutes: float = 30.0
    battery_percent: float = 25.0
    battery_warn_minutes: float = 15.0
    battery_warn_percent: float = 12.0
    hot_c: float = 8.0
    cool_c: float = 15.0
    critical_c: float = 100.0
    calm_looks: int = 30


@dataclass(frozen=True, slots=True)
class WornState:
    """For a screen.

    Attributes:
        disk_minutes: of recording that fit.
        gb_per_hour: that are written.
        battery_minutes, battery_percent: None where unknown, or where there is none.
        on_battery: whether it runs on it.
        temperature_c: of the processor, None where unknown.
        held: why nothing is judged in the background; None where it is.
    """

    disk_minutes: float
    gb_per_hour: float
    battery_minutes: float | None
    battery_percent: float | None
    on_battery: bool
    temperature_c: float | None
    held: Sentence | None


class Worn:
    """Looks every few seconds until it is closed. Use it in a `with`.

    Args:
        running: the recording; asks here whether a take may start.
        tell: everybody is told of what is found, as "warning".
        wishes: "end" is put where the disk is about to be full.
        params: when.
        root: above `sys` and `proc`.

    Attributes:
        state: as last seen.
    """

    def __init__(
        self,
        running: Capture,
        tell: Callable[[Said], None],
        wishes: Wishes,
        params: WornParams | None = None,
        root: Path = Path("/"),
    ) -> None:
        self.params = params or WornParams()
        self._running, self._tell, self._wishes, self._root = running, tell, wishes, root
        self._room = running.room
        self._disk_said: set[float] = set()
        self._battery_said = False
        self._ending: str | None = None
        self._held: Sentence | None = None
        self._calm = self.params.calm_looks
        self._outages: dict[str, int] = {}
        first = read_computer(root)
        self._throttled = first.throttled
        self.state = self._state(first)
        running.may_start = self._room.require
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="handcap worn", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def __enter__(self) -> Worn:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def look(self) -> None:
        """Once: measure, say what is new, hold or resume background work."""
        self._room.measure(self._running.recorder.take)
        now = read_computer(self._root)
        self._look_at_disk()
        self._look_at_battery(now)
        self._hold_or_resume(now)
        self._look_at_links()
        self.state = self._state(now)

    def _run(self) -> None:
        while not self._closing.wait(self.params.look_s):
            try:
                self.look()
            except OSError as error:  # a disk that is gone is the recorder's to tell
                log.warning("nothing was looked at: %s", error)

    def _say(self, sentence: Sentence) -> None:
        self._tell(Said("warning", sentence))

    def _state(self, now: Computer) -> WornState:
        battery = now.battery
        return WornState(
            disk_minutes=self._room.minutes(),
            gb_per_hour=self._room.bytes_per_s * 3600 / 1e9,
            battery_minutes=None if battery is None else battery.minutes,
            battery_percent=None if battery is None else battery.percent,
            on_battery=battery is not None and battery.discharging,
            temperature_c=now.temperature_c,
            held=self._held,
        )

    def _look_at_disk(self) -> None:
        minutes, take = self._room.minutes(), self._running.recorder.take
        if take is not None and take != self._ending and 60 * minutes < self._room.params.end_s:
            self._ending = take
            self._say(_DISK_FULL)
            self._wishes.put("end")
            return
        passed = {limit for limit in self._room.params.warn_minutes if minutes < limit}
        if passed - self._disk_said and self._ending is None:
            self._say(_disk_left(minutes))
        # Said again only after there was clearly more room meanwhile.
        self._disk_said = passed | {limit for limit in self._disk_said if minutes < 1.5 * limit}

    def _look_at_battery(self, now: Computer) -> None:
        battery, params = now.battery, self.params
        if battery is None or not battery.discharging:
            self._battery_said = False
        elif not self._battery_said and _low(battery, params.battery_warn_minutes, params.battery_warn_percent):
            self._battery_said = True
            self._say(_battery_low(battery.minutes, battery.percent))

    def _hold_or_resume(self, now: Computer) -> None:
        passes = self._running.field
        held = self._reason(now)
        if held == self._held:
            return
        before, self._held = self._held, held
        if passes is None:
            return
        if held is None:
            passes.resume()
        else:
            passes.hold(held["en"])
        if held is not None and (before is None or passes.unjudged):
            self._say(held)
        elif held is None and passes.unjudged:
            self._say(_GOES_ON)

    def _reason(self, now: Computer) -> Sentence | None:
        """Why nothing should be judged in the background now."""
        slowed = now.throttled is not None and self._throttled is not None and now.throttled > self._throttled
        self._throttled = now.throttled
        self._calm = 0 if slowed else self._calm + 1
        margin_c = None
        if now.temperature_c is not None:
            margin_c = (now.critical_c or self.params.critical_c) - now.temperature_c
        was_hot = self._held is _HOT
        near_c = self.params.cool_c if was_hot else self.params.hot_c
        if self._calm < self.params.calm_looks or (margin_c is not None and margin_c < near_c):
            return _HOT
        battery = now.battery
        if battery is None or not battery.discharging:
            return None
        low = _low(battery, self.params.battery_minutes, self.params.battery_percent)
        # Minutes jump about with what the computer does: once low is low until it is charged.
        return _ON_BATTERY if low or self._held is _ON_BATTERY else None

    def _look_at_links(self) -> None:
        for name, board in self._running.boards.items():
            outages = board.outages
            for outage in outages[self._outages.get(name, 0) :]:
                self._say(_link_back(outage))
            self._outages[name] = len(outages)


def _low(battery: Battery, minutes: float, percent: float) -> bool:
    if battery.minutes is not None and battery.minutes < minutes:
        return True
    return battery.percent is not None and battery.percent < percent


_DISK_FULL: Sentence = {
    "en": "The disk is almost full. The take is ended, and it is safe.",
    "zh": "磁盘即将写满。本条录制已结束并保存。",
}
_HOT: Sentence = {
    "en": "The computer is hot. Takes are judged later; recording goes on. Give it air.",
    "zh": "电脑过热。录制继续,稍后再判定。请让电脑通风。",
}
_ON_BATTERY: Sentence = {
    "en": "The battery is low. Takes are judged later; recording goes on.",
    "zh": "电池电量低。录制继续,稍后再判定。",
}
_GOES_ON: Sentence = {"en": "Takes are being judged again.", "zh": "已恢复判定。"}


def _disk_left(minutes: float) -> Sentence:
    return {
        "en": f"The disk has room for {minutes:.0f} more minutes.",
        "zh": f"磁盘还可录制 {minutes:.0f} 分钟。",
    }


def _battery_low(minutes: float | None, percent: float | None) -> Sentence:
    if minutes is not None:
        left = {"en": f"{minutes:.0f} minutes", "zh": f"{minutes:.0f} 分钟"}
    else:
        left = {"en": f"{percent or 0:.0f} percent", "zh": f"{percent or 0:.0f}%"}
    return {
        "en": f"The battery has {left['en']} left. Plug it in, or finish.",
        "zh": f"电池剩余 {left['zh']}。请接上电源,或结束录制。",
    }


def _link_back(outage: Outage) -> Sentence:
    names = {lang: [CAMERAS.get(name, {}).get(lang, name) for name in outage.cameras] for lang in LANGUAGES}
    what = {"en": " and ".join(names["en"]), "zh": "和".join(names["zh"])}
    told = {
        "en": f"{what['en'][:1].upper()}{what['en'][1:]} had no link for {outage.away_s:.0f} seconds. "
        f"{outage.kept} pictures were kept",
        "zh": f"{what['zh']}断线 {outage.away_s:.0f} 秒,保留了 {outage.kept} 张图像",
    }
    if outage.lost:
        return {"en": f"{told['en']}, {outage.lost} are lost.", "zh": f"{told['zh']},丢失 {outage.lost} 张。"}
    return {"en": f"{told['en']}, none is lost.", "zh": f"{told['zh']},没有丢失。"}
