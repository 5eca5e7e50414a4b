"""Boards in words and in files: what they say comes back, and what is wrong with them is named."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handcap.boards import AprilGrid, Board, CharucoBoard, ChessBoard, board_text, parse_board
from handcap.calibrate.board_file import board_of, board_toml, read_board
from handcap.errors import CalibrationError, HandcapError

sizes = st.floats(1e-3, 0.2)
boards = st.one_of(
    st.builds(ChessBoard, st.integers(3, 20), st.integers(3, 20), sizes),
    st.builds(lambda c, r, s, m, f: CharucoBoard(c, r, s, s * m, f), st.integers(3, 10), st.integers(3, 10), sizes,
              st.floats(0.3, 0.9), st.sampled_from(["4x4_50", "5x5_100"])),
    st.builds(AprilGrid, st.integers(1, 20), st.integers(1, 20), sizes, st.floats(0.1, 1.0)),
)  # fmt: skip


@given(boards)
def test_a_board_in_words_reads_back_exactly(board: Board) -> None:
    assert parse_board(board_text(board)) == board


@given(boards)
def test_a_board_in_a_file_reads_back_exactly(tmp_path_factory: pytest.TempPathFactory, board: Board) -> None:
    path = tmp_path_factory.mktemp("board") / "board.toml"
    path.write_text(board_toml(board))
    assert read_board(path) == board and board_of(str(path)) == board


def test_the_boards_of_the_virtual_bench_are_written_as_the_documentation_writes_them() -> None:
    assert parse_board("charuco:8x6:0.05:0.0375") == CharucoBoard(8, 6, 0.05, 0.0375)
    assert parse_board("aprilgrid:6x6:0.055:0.3") == AprilGrid(6, 6, 0.055, 0.3)
    assert parse_board("chessboard:10x7:0.025") == ChessBoard(10, 7, 0.025)
    assert parse_board("charuco:12x9:0.03:0.022:5x5_100").ids.size == 88


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no kind"),
        ("circles:7x5:0.02", "no kind"),
        ("charuco:8x6:0.05", "1 sizes"),
        ("charuco:8x6:0.05:0.0375:6x6_250", "no markers"),
        ("charuco:8x6:0.05:0.06", "fits no square"),
        ("charuco:12x9:0.03:0.022", "take the family 5x5_100"),
        ("charuco:20x20:0.03:0.022", "give fewer squares"),
        ("chessboard:10:0.025", "cannot be read"),
        ("chessboard:10x7:25mm", "cannot be read"),
        ("chessboard:10x7:25", "give metres"),
        ("chessboard:10x7:nan", "no size in metres"),
        ("chessboard:10x7:-0.02", "no size in metres"),
        ("chessboard:2x7:0.02", "no number of columns"),
        ("chessboard:99999999999x7:0.02", "no number of columns"),
        ("aprilgrid:30x30:0.02:0.3", "more tags than"),
    ],
)
def test_what_is_no_board_is_refused_with_what_would_be(text: str, says: str) -> None:
    with pytest.raises(CalibrationError) as told:
        parse_board(text)
    assert says in str(told.value) and told.value.mend


@given(st.text(max_size=40))
def test_no_word_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(HandcapError):
        parse_board(text)


KALIBR_GRID = "target_type: 'aprilgrid'\ntagCols: 6\ntagRows: 5\ntagSize: 0.088  # m\ntagSpacing: 0.3\n"
KALIBR_CHESS = (
    "target_type: 'checkerboard'\ntargetCols: 6\ntargetRows: 7\nrowSpacingMeters: 0.06\ncolSpacingMeters: 0.06\n"
)


def test_kalibr_s_targets_are_read(tmp_path: Path) -> None:
    path = tmp_path / "target.yaml"
    path.write_text(KALIBR_GRID)
    assert read_board(path) == AprilGrid(6, 5, 0.088, 0.3)
    path.write_text(KALIBR_CHESS)
    assert read_board(path) == ChessBoard(7, 8, 0.06)  # Kalibr counts inner corners, handcap squares


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("b.yaml", KALIBR_GRID.replace("aprilgrid", "circlegrid"), "circlegrid"),
        ("b.yaml", KALIBR_GRID.replace("0.088", "88"), "give metres"),
        ("b.yaml", KALIBR_GRID.replace("tagCols: 6", "tagCols: six"), "tagCols"),
        ("b.yaml", KALIBR_GRID.replace("tagSize: 0.088", "tagSize: .nan"), "no size in metres"),
        ("b.yaml", KALIBR_CHESS.replace("rowSpacingMeters: 0.06", "rowSpacingMeters: 0.07"), "square squares"),
        ("b.yaml", "a: &a [1]\nb: [*a, *a]\n", "aliases"),
        ("b.yaml", "[" * 3000, "is not YAML"),
        ("b.yaml", "- 1\n", "holds no keys"),
        ("b.toml", "kind = ", "is not TOML"),
        ("b.toml", 'kind = "charuco"\ncolumns = 8\nrows = 6\nsquare_m = 0.05\n', "marker_m"),
        ("b.toml", 'kind = "charuco"\ncolumns = 8.0\nrows = 6\nsquare_m = 0.05\nmarker_m = 0.03\n', "columns"),
        ("b.toml", 'kind = "x"\n', "no board 'x'"),
    ],
)
def test_what_is_wrong_with_a_board_s_file_is_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(HandcapError) as told:
        read_board(path)
    assert says in str(told.value) and name in str(told.value) and told.value.mend


def test_a_board_that_is_missing_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no such board"):
        read_board(tmp_path / "none.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(CalibrationError, match="not a file"):
        board_of(str(tmp_path / "folder.toml"))
