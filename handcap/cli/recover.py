"""`handcap recover`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish


def recover(
    session: Annotated[Path, typer.Argument(help="Session folder whose recording was cut off.")],
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Save what a killed or failed recorder left behind."""
    from handcap import session as session_store
    from handcap.capture.refit import refit_clocks

    report = session_store.recover(session, refit_clocks)
    lines: list[str] = []
    for take in report.takes:
        pictures, samples = sum(take.pictures.values()), sum(take.samples.values())
        lines.append(
            {
                "en": f"{take.id}: {take.seconds:.2f} s saved ({pictures} pictures, {samples} IMU samples), "
                f"{take.chunks_lost} chunks and {take.bytes_lost} bytes lost",
                "zh": f"{take.id}:已恢复 {take.seconds:.2f} 秒({pictures} 张图片,{samples} 个 IMU 样本),"
                f"丢失 {take.chunks_lost} 块、{take.bytes_lost} 字节",
            }[lang]
        )
    done = {"en": "its erasure is finished now", "zh": "彻底删除已完成"}[lang]
    lines += [f"{id}: {done}" for id in report.erased]
    nothing = {"en": "nothing to recover: every take is whole", "zh": "无需恢复:所有录制均完整"}
    details = {
        "recovered": {
            take.id: {
                "seconds": take.seconds,
                "pictures": take.pictures,
                "samples": take.samples,
                "chunks_lost": take.chunks_lost,
                "bytes_lost": take.bytes_lost,
            }
            for take in report.takes
        }
    }
    takes = {take.id: "recovered" for take in report.takes} | dict.fromkeys(report.erased, "erased")
    finish(Outcome([session], takes, lines or [nothing[lang]], details), as_json)
