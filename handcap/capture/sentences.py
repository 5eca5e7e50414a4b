"""What a collector hears: short, in every language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from handcap.capture.live import Ended
from handcap.causes import CAMERAS, LANGUAGES, Language
from handcap.errors import HandcapError
from handcap.session import RecoveredTake

Sentence = Mapping[Language, str]

VERDICTS: dict[str, dict[Language, str]] = {
    "ok": {"en": "good", "zh": "合格"},
    "partial": {"en": "partly good", "zh": "部分合格"},
    "refused": {"en": "not good", "zh": "不合格"},
    "unjudged": {"en": "not judged", "zh": "未判定"},
}
READY: Sentence = {"en": "Ready.", "zh": "准备就绪。"}
FINISHED: Sentence = {"en": "Finished.", "zh": "已结束。"}
NOTHING_TO_DISCARD: Sentence = {"en": "There is no take to throw away.", "zh": "没有可丢弃的录制。"}
NOTHING_TO_ERASE: Sentence = {"en": "There is no take to erase.", "zh": "没有可删除的录制。"}


def number(take: str) -> str:
    """ "0007" as it is spoken."""
    return take.lstrip("0") or "0"


def started(take: str) -> Sentence:
    return {"en": f"Take {number(take)}: recording.", "zh": f"第{number(take)}条,开始录制。"}


def ended(what: Ended) -> Sentence:
    """The verdict; of a take that is not simply good, the worst cause's sentence and what to do."""
    told: dict[Language, str] = {}
    for lang in LANGUAGES:
        verdict = VERDICTS[what.verdict.verdict][lang]
        told[lang] = {
            "en": f"Take {number(what.take)}: {verdict}.",
            "zh": f"第{number(what.take)}条,{verdict}。",
        }[lang]
        if what.verdict.verdict != "ok" and what.verdict.causes:
            told[lang] += f" {what.verdict.causes[0].text(lang)} {what.verdict.causes[0].mend(lang)}"
    return told


def causes(what: Ended, most: int = 2) -> dict[Language, Sequence[str]]:
    """Lines for a screen: the worst causes, each with what to do next time."""
    return {
        lang: [line for c in what.verdict.causes[:most] for line in (c.text(lang), f"  → {c.mend(lang)}")]
        for lang in LANGUAGES
    }


def hands_unwatched(why: HandcapError) -> Sentence:
    """Nobody counts bare hands while takes run."""
    return {
        "en": f"Whether your hands are in view is not watched: the weights are {why.what}; {why.mend}.",
        "zh": f"无法检查双手是否在画面中:手部模型不可用({why.what}),{why.mend}。",
    }


_CAMERA: Mapping[str, Sentence] = {
    "camera_silent": {"en": "{body} has gone silent.", "zh": "{body}没有画面。"},
    "camera_gone": {"en": "{body} is gone. Check its cable or its network.", "zh": "{body}已断开,请检查线缆或网络。"},
    "camera_back": {"en": "{body} is back.", "zh": "{body}已恢复。"},
    "camera_changed": {"en": "{body} gives other pictures than before.", "zh": "{body}的画面与之前不同。"},
    "camera_slow": {"en": "{body} is not at the rate asked for.", "zh": "{body}的帧率与要求不符。"},
}


def camera(name: str, kind: str) -> Sentence:
    """What happened to a camera."""
    bodies = CAMERAS.get(name, {})
    told: dict[Language, str] = {}
    for lang in LANGUAGES:
        body = bodies.get(lang, name)
        told[lang] = _CAMERA[kind][lang].format(body=body[0].upper() + body[1:])
    return told


def discarded(take: str) -> Sentence:
    return {"en": f"Take {number(take)} thrown away.", "zh": f"第{number(take)}条已丢弃。"}


def erase_really(take: str) -> Sentence:
    """A question: the same wish again is a yes, anything else or waiting is a no."""
    return {
        "en": f"Erase take {number(take)} for good? Do the same again to erase it.",
        "zh": f"要彻底删除第{number(take)}条吗?再做一次同样的操作即可删除。",
    }


def erased(take: str) -> Sentence:
    return {"en": f"Take {number(take)} is erased.", "zh": f"第{number(take)}条已彻底删除。"}


def field(take: str, verdict: str) -> Sentence:
    word = VERDICTS.get(verdict, VERDICTS["unjudged"])
    return {
        "en": f"Take {number(take)}, field pass: {word['en']}.",
        "zh": f"第{number(take)}条,现场重建:{word['zh']}。",
    }


def finish_unjudged(count: int, minutes: float | None) -> Sentence:
    """A question: a press or a key is a yes, waiting is a no."""
    en = f"{count} takes are not judged yet" if count > 1 else "One take is not judged yet"
    zh = f"还有{count}条未判定"
    if minutes is not None:
        en += f", about {max(minutes, 1):.0f} minutes" if minutes >= 1.5 else ", about one minute"
        zh += f",约{max(minutes, 1):.0f}分钟"
    return {"en": f"{en}. Press again to finish without, or wait.", "zh": f"{zh}。再按一次直接结束,否则请等待。"}


_FAILURES_ZH = {
    "the pass cannot be written down": "练习通过的记录无法写入。请清理磁盘空间,并确认有写入权限。",
    "the disk is full": "磁盘已满,请腾出空间或换一个磁盘。",
    "may not be written": "没有写入权限,请换一个文件夹。",
    "could not be written": "写入失败,请检查磁盘和连接线。",
    "it is unplugged": "设备已断开,请重新插好后再开始。",
    "the board is unplugged": "设备已断开,请重新插好后再开始。",
    "the board did not answer": "设备没有应答,请拔下后重新插上。",
}


def failed(error: HandcapError) -> Sentence:
    """What went wrong and how to mend it; where it did only when that is short enough to be spoken."""
    where = "" if error.where is None or "/" in error.where else f"{error.where}: "
    what = f"{where}{error.what}"
    en = f"{what[:1].upper()}{what[1:]}." + (f" {error.mend[:1].upper()}{error.mend[1:]}." if error.mend else "")
    known = (zh for start, zh in _FAILURES_ZH.items() if error.what.startswith(start))
    return {"en": en, "zh": next(known, f"出现问题:{en}")}


def found_before(recovered: Sequence[RecoveredTake], continued: bool) -> dict[Language, Sequence[str]]:
    """What a session that is continued begins with: takes that were cut off, and how much of them was saved."""
    if not continued:
        return {"en": [], "zh": []}
    if not recovered:
        return {"en": ["Continuing this session."], "zh": ["继续此会话。"]}
    en = ", ".join(f"take {number(take.id)} ({_saved(take, 'en')})" for take in recovered)
    zh = "、".join(f"第{number(take.id)}条({_saved(take, 'zh')})" for take in recovered)
    return {
        "en": [f"The last recording was cut off. Saved: {en}. Continuing this session."],
        "zh": [f"上次录制被中断。已保存:{zh}。继续此会话。"],
    }


def virtual_takes_end(most_s: float) -> Sentence:
    """What was rendered has an end."""
    return {
        "en": f"The virtual person works for {most_s:.0f} s in each take: end it by then.",
        "zh": f"虚拟人物每条动作最长 {most_s:.0f} 秒:请在此之前结束录制。",
    }


def _saved(take: RecoveredTake, lang: Language) -> str:
    nothing: Sentence = {"en": "nothing, it had just begun", "zh": "无内容,刚刚开始"}
    much: Sentence = {"en": f"{take.seconds:.1f} s", "zh": f"{take.seconds:.1f} 秒"}
    return much[lang] if take.seconds else nothing[lang]
