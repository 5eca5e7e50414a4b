"""Boards and tags on paper: laid out, drawn to true scale, and described as they came out of the printer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from handcap.boards import AprilGrid, Board, CharucoBoard, ChessBoard, board_text
from handcap.calibrate.board_file import board_toml
from handcap.calibrate.sheet import Sheet, Text, outline, pdf_bytes, ruler, wrapped
from handcap.errors import CalibrationError, UsageError
from handcap.pattern import black_of_board, black_of_marker, extent
from handcap.session.folder import replace_file
from handcap.types import SIDES, Side, Tag

GRIPPER_TAGS = "gripper-tags"
RULER_MM = 100.0
PAPERS: Mapping[str, tuple[float, float]] = {
    "a4": (210, 297),
    "a3": (297, 420),
    "a2": (420, 594),
    "a1": (594, 841),
    "a0": (841, 1189),
    "letter": (215.9, 279.4),
    "tabloid": (279.4, 431.8),
}
_UNPRINTABLE_MM = 5.0
_LETTERS_MM = 2.8
_LINE_MM = 3.8
_SIDE_MM = 9.0  # strip to the left, for the ruler that runs down
_LEAST_WIDTH_MM = 110.0  # for the ruler below
# Further off, the number read is not this ruler's.
_WORST_PRINT = 0.1
_UNEQUAL_MM = 0.3  # of the two rulers; a tenth of a millimetre is what an eye reads
_ADVICE = (
    "Print at 100 % (not 'fit to page'). Measure both rulers: they should be 100 mm. If not, run the same command "
    "again with --measured and what you read. Glue it flat on a stiff, dull plate."
)
_TAG_ADVICE = (
    "Print at 100 % (not 'fit to page') and measure the ruler. Cut along the grey lines. The words stand at a tag's "
    "lower edge: down on the sides of the cube, towards the wrist on its top, away from the camera on a finger."
)
_FACES = ("top", "back", "left", "right", "front")


@dataclass(frozen=True, slots=True)
class Print:
    """How a print came out.

    Attributes:
        ruler_mm: what the ruler of 100 mm measures on paper; None where nobody measured.
        ruler_down_mm: the other one, which runs down the sheet.
    """

    ruler_mm: float | None = None
    ruler_down_mm: float | None = None

    def __post_init__(self) -> None:
        for read_mm in (self.ruler_mm, self.ruler_down_mm):
            if read_mm is not None and not abs(read_mm / RULER_MM - 1) <= _WORST_PRINT:
                what = f"{read_mm:g} mm for a ruler of {RULER_MM:g} mm: no printer is that far off"
                raise CalibrationError(what, mend="give millimetres: the ruler's from its first to its last tick")
        if self.ruler_mm is not None and self.ruler_down_mm is not None:
            apart_mm = abs(self.ruler_mm - self.ruler_down_mm)
            if apart_mm > _UNEQUAL_MM:
                what = f"the two rulers differ by {apart_mm:.2g} mm: the squares are not square"
                raise CalibrationError(what, mend="print it on another printer, with the thickest paper it takes")

    @classmethod
    def of_edge(cls, board: Board, edge_mm: float) -> Print:
        """From a square, or the black border of a tag, that measures `edge_mm` on paper."""
        return cls(RULER_MM * edge_mm / (1000 * edge_m(board)))

    @property
    def scale(self) -> float:
        """True size over drawn size."""
        read = [mm for mm in (self.ruler_mm, self.ruler_down_mm) if mm is not None]
        return float(np.mean(read)) / RULER_MM if read else 1.0


def paper_mm(text: str) -> tuple[float, float]:
    """Width and height of a paper by name, or WIDTHxHEIGHT in mm. Raises UsageError."""
    if (size := PAPERS.get(text.lower())) is not None:
        return size
    try:
        width, height = (float(word) for word in text.lower().split("x"))
    except ValueError as error:
        mend = f"give {', '.join(PAPERS)}, or its width and height in mm: 600x800"
        raise UsageError(f"no paper {text!r}", mend=mend) from error
    if not (50 <= width <= 5000 and 50 <= height <= 5000):
        raise UsageError(f"no paper of {width:g} x {height:g} mm", mend="give millimetres: 600x800")
    return width, height


def edge_m(board: Board) -> float:
    """Of a square, or of a tag of an AprilGrid."""
    return board.tag_m if isinstance(board, AprilGrid) else board.square_m


def scaled(board: Board, factor: float) -> Board:
    """The same pattern, larger or smaller."""
    match board:
        case ChessBoard():
            return replace(board, square_m=board.square_m * factor)
        case CharucoBoard():
            return replace(board, square_m=board.square_m * factor, marker_m=board.marker_m * factor)
        case AprilGrid():
            return replace(board, tag_m=board.tag_m * factor)


def lay_out(board: Board, paper: str) -> Sheet:
    """A board on paper, turned so that it fits, with rulers, lines to cut along, its name and what to do.

    Raises:
        CalibrationError: it does not fit, or looks the same upside down; says what would do.
        UsageError: there is no such paper.
    """
    if isinstance(board, ChessBoard) and (board.columns - board.rows) % 2 == 0:
        what = f"{board.columns} x {board.rows} squares look the same upside down"
        raise CalibrationError(what, mend="make one of the two numbers even and the other odd")
    short, long = sorted(paper_mm(paper))
    needs = _needs_mm(board)
    places = [size for size in ((long, short), (short, long)) if _fits(needs, size)]
    if not places:
        raise _too_large(board, paper, needs)
    width, height = places[0]
    left, top = (width - needs[0]) / 2, (height - needs[1]) / 2
    x0, y0, w, h = (1000 * value for value in extent(board))
    quiet = _quiet_mm(board)
    # The pattern stands in the middle of what is right of the strip, and above the words.
    x = left + _SIDE_MM + (needs[0] - _SIDE_MM - w) / 2
    y = top + quiet
    pattern = 1000 * black_of_board(board) + [x - x0, y - y0, 0, 0]
    below = y + h + quiet
    ticks = [ruler(left + _SIDE_MM, below + 5.0, RULER_MM)]
    if h >= RULER_MM:
        ticks.append(ruler(left + 2.5, y + (h - RULER_MM) / 2, RULER_MM, down=True))
    size = _LETTERS_MM
    words = [Text(left + _SIDE_MM, below + 5.0 + _LINE_MM, size, f"{board_text(board)}   (ruler: 100 mm)")]
    for k, line in enumerate(_lines(needs[0])):
        words.append(Text(left + _SIDE_MM, below + 5.0 + (k + 2) * _LINE_MM, size, line))
    cut = outline(left, top, needs[0], needs[1])
    return Sheet(width, height, np.concatenate([pattern, *ticks]), cut, tuple(words), board_text(board))


def _quiet_mm(board: Board) -> float:
    """White around the pattern, which detectors of chess boards need most."""
    return max(1000 * board.square_m / 2, 6.0) if isinstance(board, ChessBoard) else 6.0


def _lines(width_mm: float) -> list[str]:
    return wrapped(_ADVICE, width_mm - _SIDE_MM - 4.0, _LETTERS_MM)


def _needs_mm(board: Board) -> tuple[float, float]:
    """Width and height between the lines to cut along."""
    _, _, w, h = (1000 * value for value in extent(board))
    quiet = _quiet_mm(board)
    width = max(w + 2 * quiet, _LEAST_WIDTH_MM) + _SIDE_MM
    return width, h + 2 * quiet + 5.0 + (1.7 + len(_lines(width))) * _LINE_MM


def _fits(needs: tuple[float, float], size: tuple[float, float]) -> bool:
    return all(need + 2 * _UNPRINTABLE_MM <= have + 1e-6 for need, have in zip(needs, size, strict=True))


def _too_large(board: Board, paper: str, needs: tuple[float, float]) -> CalibrationError:
    fitting = [name for name in ("a4", "a3", "a2", "a1", "a0") if _on(board, name)]
    smaller = largest_on(board, paper)
    ways = [f"take --paper {fitting[0]}"] if fitting else []
    ways += [f"a board no larger than {board_text(smaller)}"] if smaller is not None else []
    what = f"needs {needs[0]:.0f} x {needs[1]:.0f} mm with its margins, and {paper} is too small"
    return CalibrationError(what, where=f"board {board_text(board)}", mend=", or ".join(ways) or "take fewer squares")


def _on(board: Board, paper: str) -> bool:
    short, long = sorted(paper_mm(paper))
    return any(_fits(_needs_mm(board), size) for size in ((long, short), (short, long)))


def largest_on(board: Board, paper: str) -> Board | None:
    """The same pattern in the largest whole millimetres that fit; None where not even 5 mm do."""
    for edge_mm in range(int(1000 * edge_m(board)), 4, -1):
        match board:
            case ChessBoard():
                smaller = replace(board, square_m=edge_mm / 1000)
            case CharucoBoard():
                marker_mm = round(edge_mm * board.marker_m / board.square_m, 1)
                smaller = replace(board, square_m=edge_mm / 1000, marker_m=round(marker_mm / 1000, 6))
            case AprilGrid():
                smaller = replace(board, tag_m=edge_mm / 1000)
        if _on(smaller, paper):
            return smaller
    return None


def gripper_tags() -> dict[Side, tuple[Tag, ...]]:
    """The tags of the reference gripper, by side."""
    from handcap.sim.gripper import tags

    return {side: tags(side) for side in SIDES}


def lay_out_tags(tags: Mapping[Side, Sequence[Tag]], paper: str) -> Sheet:
    """Tags for cubes and fingers, each with lines to cut along and words that say where it goes.

    Raises:
        CalibrationError: they do not fit.
        UsageError: there is no such paper.
    """
    width, height = sorted(paper_mm(paper))
    left, gap = _UNPRINTABLE_MM + 3.0, 7.0
    x, y, deepest = left, left, 0.0
    black, grey, words = [ruler(left, height - 22.0, RULER_MM)], [], []
    for side, of_side in tags.items():
        for k, tag in enumerate(of_side):
            edge = 1000 * tag.size_m
            sheet = edge + (10.0 if tag.body == "tcp" else 6.0)
            if x + sheet > width - left:
                x, y, deepest = left, y + deepest + gap, 0.0
            margin = (sheet - edge) / 2
            black.append(black_of_marker(tag.family, tag.id, edge) + [x + margin, y + margin, 0, 0])
            grey.append(outline(x, y, sheet, sheet))
            words.append(Text(x, y + sheet + 2.5, 2.2, f"{side} {_place(tag, k)}"))
            words.append(Text(x, y + sheet + 5.0, 2.2, f"{tag.family} id {tag.id}"))
            deepest = max(deepest, sheet)
            x += sheet + 4.0
        x, y, deepest = left, y + deepest + gap, 0.0
    if y > height - 28.0:
        raise CalibrationError(f"the tags do not fit {paper}", mend="take --paper a4 or larger")
    for k, line in enumerate(wrapped(_TAG_ADVICE, width - 2 * left, _LETTERS_MM)):
        words.append(Text(left, height - 22.0 + (k + 1.2) * _LINE_MM, _LETTERS_MM, line))
    return Sheet(width, height, np.concatenate(black), np.concatenate(grey), tuple(words), "tags of the gripper")


def _place(tag: Tag, k: int) -> str:
    if tag.body == "tcp":
        return f"cube {_FACES[k]}"
    return "finger left" if tag.body == "finger_a" else "finger right"


def write_board(out: Path, board: Board, paper: str, printed: Print | None = None) -> tuple[Path, Path]:
    """OUT.pdf and OUT.toml: what is printed, and what `--board OUT.toml` reads.

    Raises:
        CalibrationError: it does not fit the paper.
        SessionError: it cannot be written.
    """
    printed = printed or Print()
    told = board_toml(scaled(board, printed.scale)) + _print_toml(board_text(board), paper, printed)
    return _write(out, lay_out(board, paper), told)


def write_gripper_tags(out: Path, paper: str, printed: Print | None = None) -> tuple[Path, Path]:
    """OUT.pdf and OUT.toml for the tags of the reference gripper. Raises as `write_board`."""
    printed = printed or Print()
    tags = gripper_tags()
    lines = [f'kind = "{GRIPPER_TAGS}"']
    for side, of_side in tags.items():
        for tag in of_side:
            size_m = tag.size_m * printed.scale
            lines += ["", "[[tags]]", f'side = "{side}"', f'body = "{tag.body}"', f'family = "{tag.family}"']
            lines += [f"id = {tag.id}", f"size_m = {size_m!r}"]
    told = "\n".join(lines) + "\n" + _print_toml(GRIPPER_TAGS, paper, printed)
    return _write(out, lay_out_tags(tags, paper), told)


def _print_toml(drawn: str, paper: str, printed: Print) -> str:
    lines = ["", "[print]", f'drawn = "{drawn}"', f'paper = "{paper}"']
    for name in ("ruler_mm", "ruler_down_mm"):
        read_mm: float | None = getattr(printed, name)
        lines += [f"{name} = {float(read_mm)!r}"] if read_mm is not None else []
    return "\n".join(lines) + "\n"


def _write(out: Path, sheet: Sheet, told: str) -> tuple[Path, Path]:
    pdf, toml = out.with_suffix(".pdf"), out.with_suffix(".toml")
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(pdf, pdf_bytes(sheet))
    replace_file(toml, told.encode())
    return pdf, toml
