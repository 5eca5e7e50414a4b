"""Why a take is not simply good: codes with a sentence and a mend in every language, from causes.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

Language = Literal["en", "zh"]
Verdict = Literal["ok", "partial", "refused"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
# How a sentence about a gripper or a hand begins; one about the head needs no beginning.
ROBOT_VERDICTS: dict[str, dict[Language, str]] = {
    "ok": {"en": "ok", "zh": "可行"},
    "partial": {"en": "partly", "zh": "部分可行"},
    "refused": {"en": "cannot", "zh": "不可行"},
}
GRIPPERS: dict[str, dict[Language, str]] = {
    "left_tcp": {"en": "left gripper: ", "zh": "左夹爪:"},
    "right_tcp": {"en": "right gripper: ", "zh": "右夹爪:"},
}
HANDS: dict[str, dict[Language, str]] = {
    "left_hand": {"en": "left hand: ", "zh": "左手:"},
    "right_hand": {"en": "right hand: ", "zh": "右手:"},
}
# What grippers and boards with a motion sensor are called in a sentence.
PARTS: dict[str, dict[Language, str]] = {
    "left_tcp": {"en": "the left gripper", "zh": "左夹爪"},
    "right_tcp": {"en": "the right gripper", "zh": "右夹爪"},
    "imu_head": {"en": "the head", "zh": "头部"},
    "imu_left": {"en": "the left gripper", "zh": "左夹爪"},
    "imu_right": {"en": "the right gripper", "zh": "右夹爪"},
}
# What a camera is called in a sentence.
CAMERAS: dict[str, dict[Language, str]] = {
    "head": {"en": "the head camera", "zh": "头部相机"},
    "head_left": {"en": "the head's left camera", "zh": "头部左相机"},
    "head_right": {"en": "the head's right camera", "zh": "头部右相机"},
    "left": {"en": "the left gripper's camera", "zh": "左夹爪相机"},
    "right": {"en": "the right gripper's camera", "zh": "右夹爪相机"},
}

# What a sensor of a board is called in a sentence.
SENSORS: dict[str, dict[Language, str]] = {
    "gyro": {"en": "the gyroscope", "zh": "陀螺仪"},
    "accel": {"en": "the accelerometer", "zh": "加速度计"},
}
# How a device lies when one of its axes (x forward, y left, z up) points up or down.
ATTITUDES: dict[str, dict[Language, str]] = {
    "z_up": {"en": "upright, as it is worn (z axis up)", "zh": "正放,如佩戴时(z 轴朝上)"},
    "z_down": {"en": "upside down (z axis down)", "zh": "倒放(z 轴朝下)"},
    "y_up": {"en": "on its right side (y axis up)", "zh": "右侧朝下(y 轴朝上)"},
    "y_down": {"en": "on its left side (y axis down)", "zh": "左侧朝下(y 轴朝下)"},
    "x_up": {"en": "on its back, front up (x axis up)", "zh": "背面朝下,正面朝上(x 轴朝上)"},
    "x_down": {"en": "on its front, face down (x axis down)", "zh": "正面朝下(x 轴朝下)"},
}
_BODIES = CAMERAS | SENSORS | ATTITUDES | PARTS


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Code to its entry: `en`, `zh`, `mend_en`, `mend_zh`, `unit`."""
    return tomllib.loads((files("handcap") / "causes.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason, with the number behind it.

    Attributes:
        code: a key of the catalogue.
        body: the body or camera it concerns, None for the whole take.
        span_s: (start, end) from the take's first frame, None for the whole take.
        measured, limit: in the catalogue's unit; None where the cause has no number.
    """

    code: str
    body: str | None = None
    span_s: tuple[float, float] | None = None
    measured: float | None = None
    limit: float | None = None

    def __post_init__(self) -> None:
        assert self.code in catalogue(), f"{self.code!r} is not in causes.toml"

    @staticmethod
    def from_dict(told: Mapping[str, Any]) -> Cause:
        """What `as_dict` gave. Raises KeyError when the catalogue does not know the code, or there is none."""
        if told["code"] not in catalogue():
            raise KeyError(told["code"])
        span = told.get("span_s")
        span_s = None if span is None else (float(span[0]), float(span[1]))
        return Cause(told["code"], told.get("body"), span_s, told.get("measured"), told.get("limit"))

    @property
    def unit(self) -> str:
        return catalogue()[self.code].get("unit", "")

    def text(self, lang: Language = "en") -> str:
        """The sentence, with its numbers filled in."""
        return self._fill(catalogue()[self.code][lang], lang)

    def mend(self, lang: Language = "en") -> str:
        """What to do next time."""
        return self._fill(catalogue()[self.code][f"mend_{lang}"], lang)

    def _fill(self, sentence: str, lang: Language) -> str:
        start, end = self.span_s or (None, None)
        body = _BODIES.get(self.body or "", {}).get(lang, self.body)
        values = {"body": body, "measured": self.measured, "limit": self.limit, "start": start, "end": end}
        shown = {k: _number(v) if isinstance(v, float) else str(v) for k, v in values.items()}
        return sentence.format(**shown)

    def as_dict(self, lang: Language = "en") -> dict[str, Any]:
        """As report.json holds it."""
        return {
            "code": self.code,
            "body": self.body,
            "span_s": None if self.span_s is None else [round(s, 6) for s in self.span_s],
            "measured": self.measured,
            "limit": self.limit,
            "unit": self.unit,
            "text": self.text(lang),
            "mend": self.mend(lang),
        }


def _number(value: float) -> str:
    """Three digits; whole from a thousand on, where others would write an exponent."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
