"""What an import noticed and mended, in words that name file, rows and number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handcap.causes import Language

_SHOWN_ROWS = 5

# Code to its English and its Chinese sentence. {n} is the count, {detail} what was measured.
_SENTENCES: dict[str, tuple[str, str]] = {
    "bad_rows": ("{n} rows cannot be read ({detail}) and were left out", "{n} 行无法读取({detail}),已忽略"),
    "out_of_order": ("{n} rows were out of time order and were sorted in", "{n} 行时间顺序错误,已重新排序"),
    "far_stamps": (
        "{n} rows have a stamp far from all others ({detail} off) and were dropped",
        "{n} 行的时间戳远离其余各行(相差 {detail}),已删除",
    ),
    "repeated_rows": ("{n} rows repeat another row and were dropped", "{n} 行为重复行,已删除"),
    "same_stamp": (
        "{n} rows have a stamp that another row has too, with other content; the first was kept",
        "{n} 行与其他行时间戳相同但内容不同,保留第一行",
    ),
    "gap": ("nothing for {detail}", "有 {detail} 没有数据"),
    "rate": ("the rate is {detail}; the measured one is used", "频率为 {detail};采用实测值"),
    "missing_pictures": ("{n} pictures are listed but do not exist", "列出的 {n} 张图片不存在"),
    "undecodable_pictures": ("{n} pictures do not decode and were skipped", "{n} 张图片无法解码,已跳过"),
    "unlisted_pictures": (
        "{n} pictures are not listed in data.csv and were left out",
        "{n} 张图片未列入 data.csv,已忽略",
    ),
    "listed_by_name": (
        "there is no data.csv: the stamps are taken from {n} file names",
        "没有 data.csv:从 {n} 个文件名读取时间戳",
    ),
    "outside_imu": (
        "{n} pictures lie outside the IMU's time span; they will have no pose",
        "{n} 张图片不在 IMU 时间范围内,将没有位姿",
    ),
    "empty_sensor": ("this sensor has no data and was ignored", "该传感器没有数据,已忽略"),
    "default_noise": (
        "no IMU noise is stated for {detail}; cautious defaults for a consumer sensor are used",
        "未给出 IMU 噪声({detail}),采用消费级传感器的保守默认值",
    ),
    "default_rate": ("no rate_hz is stated; {detail} was measured", "未给出 rate_hz;实测为 {detail}"),
    "columns_by_name": (
        "the header puts the accelerometer first: columns were taken by name",
        "表头中加速度计在前:已按列名读取",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was not as it should be and did not stop the import.

    Attributes:
        code: what kind.
        where: file or folder, relative to the source.
        n: how many times.
        rows: line numbers in the file, from 1; at most the first few.
        detail: what was measured.
        span_ns: stamps before and after a gap, None for the rest.
    """

    code: str
    where: str
    n: int = 1
    rows: tuple[int, ...] = ()
    detail: str = ""
    span_ns: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        assert self.code in _SENTENCES, self.code

    def text(self, lang: Language = "en") -> str:
        sentence = _SENTENCES[self.code][0 if lang == "en" else 1].format(n=self.n, detail=self.detail)
        return f"{self.where}{lines_text(self.rows, self.n, lang)}: {sentence}"

    def as_dict(self) -> dict[str, Any]:
        out: dict[str, Any] = {"code": self.code, "where": self.where, "n": self.n, "rows": list(self.rows)}
        return out | {"detail": self.detail, "text": self.text()}


def lines_text(rows: tuple[int, ...], n: int, lang: Language = "en") -> str:
    """ ", line 3, 7, …" for a message; empty without rows."""
    if not rows:
        return ""
    numbers = ", ".join(str(row) for row in rows[:_SHOWN_ROWS]) + (", …" if n > min(len(rows), _SHOWN_ROWS) else "")
    return f", line {numbers}" if lang == "en" else f",第 {numbers} 行"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What came in.

    Attributes:
        session: the folder written.
        take: the take's id.
        frames, imu_samples: how many of each are in the session.
        duration_s: first to last picture.
        findings: what was noticed, in the order of the files.
    """

    session: Path
    take: str
    frames: int
    imu_samples: int
    duration_s: float
    frame_rate_hz: float
    imu_rate_hz: float
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """As import.json holds it; without the folder's place on this machine."""
        return {
            "take": self.take,
            "frames": self.frames,
            "imu_samples": self.imu_samples,
            "duration_s": round(self.duration_s, 6),
            "frame_rate_hz": round(self.frame_rate_hz, 4),
            "imu_rate_hz": round(self.imu_rate_hz, 4),
            "findings": [finding.as_dict() for finding in self.findings],
        }
