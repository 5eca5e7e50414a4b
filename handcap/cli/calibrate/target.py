"""`handcap calibrate target`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.errors import UsageError


def target(
    board: Annotated[
        str,
        typer.Argument(
            help="charuco:8x6:0.05:0.0375 (squares, square m, marker m), aprilgrid:6x6:0.055:0.3 (tags, tag m, gap in "
            "tags), chessboard:10x7:0.025 (squares, square m), gripper-tags, or a board's file."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="OUT.pdf to print; OUT.toml beside it is what --board reads.")],
    paper: Annotated[str, typer.Option(help="a4, a3, a2, a1, a0, letter, tabloid, or WIDTHxHEIGHT in mm.")] = "a4",
    measured: Annotated[
        float | None, typer.Option(help="What the ruler of 100 mm below the pattern measures on paper, mm.")
    ] = None,
    measured_down: Annotated[
        float | None, typer.Option(help="Likewise the ruler that runs down the sheet, mm.")
    ] = None,
    measured_square: Annotated[
        float | None, typer.Option(help="Instead of a ruler: what a square (a tag) measures on paper, mm.")
    ] = None,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Draw a calibration board, or the gripper's tags, to true scale, and describe it as it was printed."""
    from handcap.calibrate import board_of
    from handcap.calibrate import target as stage

    tags = board == stage.GRIPPER_TAGS
    if measured_square is not None and (tags or measured is not None or measured_down is not None):
        raise UsageError("--measured-square goes with a board, and alone", mend="give what the rulers measure instead")
    printed = stage.Print(measured, measured_down)
    if tags:
        outputs = stage.write_gripper_tags(out, paper, printed)
    else:
        described = board_of(board)
        if measured_square is not None:
            printed = stage.Print.of_edge(described, measured_square)
        outputs = stage.write_board(out, described, paper, printed)
    pdf, toml = outputs
    if printed.ruler_mm is None and printed.ruler_down_mm is None:
        lines = {
            "en": [
                f"{pdf}: print it at 100 % (not 'fit to page'), then measure its rulers of 100 mm",
                f"next: the same command with --measured and what the ruler measures; {toml} then holds the true size",
            ],
            "zh": [
                f"{pdf}:请按 100% 原始比例打印(不要“适合页面”),然后测量图上 100 毫米的标尺",
                f"下一步:用同一命令加 --measured 和测得的毫米数;{toml} 将记录真实尺寸",
            ],
        }[lang]
    else:
        lines = {
            "en": [f"{toml}: printed at {100 * printed.scale:.2f} % of the drawing; give it as --board {toml}"],
            "zh": [f"{toml}:打印尺寸为图纸的 {100 * printed.scale:.2f} %;使用时请加 --board {toml}"],
        }[lang]
    finish(Outcome(outputs, lines=lines, details={"scale": printed.scale}), as_json)
