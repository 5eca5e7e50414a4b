"""A sheet of paper with black rectangles and words on it, in millimetres, as a PDF of true scale.

Written here rather than by a plotting library: a rectangle of the PDF is exactly the rectangle of the board, viewers
are told not to scale (PrintScaling), nothing in the file depends on the day, and a test can read it back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.geometry import Array

_POINTS_PER_MM = 72 / 25.4
_LINE_MM = 0.1
_LETTER = 0.55  # width of a letter of Helvetica over its size, on the safe side


@dataclass(frozen=True, slots=True)
class Text:
    """A line of words (ASCII); x and y of its left end on the baseline, letters `size` high, all in mm."""

    x: float
    y: float
    size: float
    words: str


@dataclass(frozen=True, eq=False, slots=True)
class Sheet:
    """What is printed.

    Attributes:
        width, height: of the paper, mm.
        black: (n, 4) rectangles x, y, width, height, mm; the origin is the paper's upper left corner, y down.
        grey: (m, 4) rectangles likewise: lines to cut along.
        texts: words.
        title: of the document.
    """

    width: float
    height: float
    black: Array
    grey: Array
    texts: tuple[Text, ...]
    title: str


def ruler(x: float, y: float, length: float, down: bool = False) -> Array:
    """(n, 4) ticks of a ruler from (x, y) to the right, or down; a tick's middle is its place."""
    ticks: list[list[float]] = []
    for mm in range(round(length) + 1):
        high = 4.0 if mm % 10 == 0 else 2.6 if mm % 5 == 0 else 1.6
        at = mm - _LINE_MM / 2
        ticks.append([x, y + at, high, _LINE_MM] if down else [x + at, y - high, _LINE_MM, high])
    ticks.append([x, y, _LINE_MM, length] if down else [x, y - _LINE_MM, length, _LINE_MM])
    return np.array(ticks)


def outline(x: float, y: float, width: float, height: float) -> Array:
    """(4, 4) thin lines around a rectangle, to cut along their middle."""
    half = _LINE_MM / 2
    across = [[x - half, at - half, width + _LINE_MM, _LINE_MM] for at in (y, y + height)]
    down = [[at - half, y - half, _LINE_MM, height + _LINE_MM] for at in (x, x + width)]
    return np.array(across + down)


def wrapped(words: str, width: float, size: float) -> list[str]:
    """Lines of words that are no wider than `width` mm in letters of `size` mm."""
    most = max(int(width / (_LETTER * size)), 1)
    lines, line = [], ""
    for word in words.split():
        if line and len(line) + 1 + len(word) > most:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


def pdf_bytes(sheet: Sheet) -> bytes:
    """One page; the same sheet gives the same bytes."""
    drawing = [f"{_POINTS_PER_MM:.12f} 0 0 {_POINTS_PER_MM:.12f} 0 0 cm"]  # from here on in mm, y up
    for grey, rectangles in (("0.6", sheet.grey), ("0", sheet.black)):
        # One path for all: neighbours drawn one by one would show a hairline between them.
        drawing.append(f"{grey} g")
        drawing += [f"{x:.6f} {sheet.height - y - h:.6f} {w:.6f} {h:.6f} re" for x, y, w, h in rectangles.tolist()]
        drawing += ["f"] if len(rectangles) else []
    for text in sheet.texts:
        words = text.words.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        drawing.append(f"BT /F {text.size:.3f} Tf {text.x:.4f} {sheet.height - text.y:.4f} Td ({words}) Tj ET")
    content = "\n".join(drawing).encode("ascii")
    box = f"{sheet.width * _POINTS_PER_MM:.4f} {sheet.height * _POINTS_PER_MM:.4f}"
    title = sheet.title.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {box}] /Contents 4 0 R"
        " /Resources << /Font << /F 5 0 R >> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        f"<< /Title ({title}) /Producer (handcap) >>".encode("ascii"),
    ]
    out, places = bytearray(b"%PDF-1.6\n"), []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        len(objects),
        start,
    )
    return bytes(out)
