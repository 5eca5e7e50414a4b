"""A board's description in a file: our own TOML, or Kalibr's target.yaml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handcap.boards import KINDS, Board, CharucoBoard, make_board, parse_board
from handcap.errors import CalibrationError
from handcap.safe_yaml import parse_yaml

_LARGEST_FILE = 1 << 20
_SIZES = {"charuco": ("square_m", "marker_m"), "aprilgrid": ("tag_m", "spacing"), "chessboard": ("square_m",)}
_MEND = "make one with `handcap calibrate target`"


def board_of(text: str) -> Board:
    """A board as an option names it: a file (.toml, .yaml), or in words as `parse_board` reads them.

    Raises:
        CalibrationError, FormatError: it names none.
    """
    path = Path(text)
    if path.suffix in (".toml", ".yaml", ".yml") or path.is_file():
        return read_board(path)
    return parse_board(text)


def read_board(path: Path) -> Board:
    """The board a file describes, sizes as measured on the print where that was done.

    Raises:
        CalibrationError: the file is missing or describes no board.
        FormatError: it is not even YAML.
    """
    path = Path(path)
    text = _text(path)
    if path.suffix in (".yaml", ".yml"):
        return _kalibr(parse_yaml(text, str(path)), path)
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CalibrationError(f"is not TOML ({error})", where=path, mend=_MEND) from error
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise CalibrationError(f"kind: no board {kind!r} (known: {', '.join(KINDS)})", where=path, mend=_MEND)
    family = values.get("family", "4x4_50")
    if kind == "charuco" and family not in ("4x4_50", "5x5_100"):
        raise CalibrationError(f"family: no markers {family!r}", where=path, mend="4x4_50 or 5x5_100")
    numbers = [_number(values, key, path) for key in _SIZES[kind]]
    return make_board(kind, _count(values, "columns", path), _count(values, "rows", path), numbers, family, str(path))


def board_toml(board: Board) -> str:
    """The lines that `read_board` reads back."""
    lines = [f'kind = "{board.kind}"', f"columns = {board.columns}", f"rows = {board.rows}"]
    lines += [f"{key} = {getattr(board, key)!r}" for key in _SIZES[board.kind]]
    lines += [f'family = "{board.family}"'] if isinstance(board, CharucoBoard) else []
    return "\n".join(lines) + "\n"


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise CalibrationError("is not a file", where=path, mend=_MEND)
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise CalibrationError("no such board", where=path, mend=f"check the path, or {_MEND}") from error
    except OSError as error:
        raise CalibrationError(f"cannot be read ({error.strerror})", where=path, mend="copy the file again") from error
    if len(data) > _LARGEST_FILE:
        raise CalibrationError("too large to describe a board", where=path, mend=_MEND)
    return data.decode("utf-8-sig", errors="replace")


def _kalibr(values: Mapping[str, Any], path: Path) -> Board:
    """Kalibr's target: tags and their sizes, or inner corners and their spacings."""
    match values.get("target_type"):
        case "aprilgrid":
            columns, rows = _count(values, "tagCols", path), _count(values, "tagRows", path)
            numbers = [_number(values, "tagSize", path), _number(values, "tagSpacing", path)]
            return make_board("aprilgrid", columns, rows, numbers, where=str(path))
        case "checkerboard":
            columns, rows = _count(values, "targetCols", path), _count(values, "targetRows", path)
            down, across = _number(values, "rowSpacingMeters", path), _number(values, "colSpacingMeters", path)
            if down != across:
                what = f"rowSpacingMeters {down:g} is not colSpacingMeters {across:g}"
                raise CalibrationError(what, where=path, mend="print the board again with square squares")
            return make_board("chessboard", columns + 1, rows + 1, [down], where=str(path))
        case other:
            what = f"target_type {other!r} is none of aprilgrid, checkerboard"
            raise CalibrationError(what, where=path, mend=f"use one of these, or {_MEND}")


def _count(values: Mapping[str, Any], key: str, path: Path) -> int:
    found = values.get(key)
    if not isinstance(found, int) or isinstance(found, bool):
        raise CalibrationError(f"{key} must be a whole number, not {found!r}", where=path, mend=_MEND)
    return found


def _number(values: Mapping[str, Any], key: str, path: Path) -> float:
    found = values.get(key)
    try:
        if isinstance(found, bool):
            raise ValueError
        return float(found)  # pyright: ignore[reportArgumentType]: YAML reads 1e-3 as a word
    except (TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(f"{key} must be a number, not {found!r}", where=path, mend=_MEND) from error
