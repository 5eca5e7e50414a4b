"""Boards on paper: what the PDF holds is what the board's description says, to a hundredth of a millimetre."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from handcap.boards import AprilGrid, Board, CharucoBoard, ChessBoard, board_text, parse_board
from handcap.calibrate import board_of, read_board
from handcap.calibrate.target import (
    PAPERS,
    Print,
    edge_m,
    gripper_tags,
    largest_on,
    lay_out,
    paper_mm,
    write_board,
    write_gripper_tags,
)
from handcap.cli.app import main
from handcap.errors import CalibrationError, UsageError
from handcap.geometry import Array
from handcap.measure.boards import find_board

PX_PER_MM = 6.0
LENS_PX = 0.7  # no detector is made for edges sharper than any lens makes them


def black_of_pdf(path: Path) -> tuple[Array, tuple[float, float]]:
    """(n, 4) rectangles x, y, width, height, mm from the upper left, and the paper's size, as the PDF has them."""
    text = path.read_text(encoding="latin-1")
    width, height = (float(v) * 25.4 / 72 for v in re.findall(r"MediaBox \[0 0 (\S+) (\S+)\]", text)[0])
    mm = 25.4 / 72 * float(re.findall(r"^(\S+) 0 0 \1 0 0 cm$", text, re.MULTILINE)[0])
    drawn = text[text.index("\n0 g\n") : text.index("endstream")]
    found = re.findall(r"^(\S+) (\S+) (\S+) (\S+) re$", drawn, re.MULTILINE)
    black = np.array(found, float) * mm
    black[:, 1] = height - black[:, 1] - black[:, 3]
    return black, (width, height)


def seen(path: Path, px_per_mm: float = PX_PER_MM) -> np.ndarray:
    """(h, w) picture of the page: every pixel as dark as the share of it that is black, then seen by a lens."""
    black, size = black_of_pdf(path)
    width, height = (round(mm * px_per_mm) for mm in size)
    dark = np.zeros((height, width))
    for x, y, w, h in black * px_per_mm:
        rows, columns = (np.arange(int(a), min(int(a + n) + 1, most)) for a, n, most in ((y, h, height), (x, w, width)))
        share_y = np.clip(np.minimum(rows + 1, y + h) - np.maximum(rows, y), 0, 1)
        share_x = np.clip(np.minimum(columns + 1, x + w) - np.maximum(columns, x), 0, 1)
        dark[np.ix_(rows, columns)] += np.outer(share_y, share_x)
    return np.rint(255 - 230 * cv2.GaussianBlur(np.clip(dark, 0, 1), (0, 0), LENS_PX)).astype(np.uint8)


def origin_mm(path: Path, board: Board) -> Array:
    """(2,) where the frame of a board lies on its page."""
    black, _ = black_of_pdf(path)
    first = black[0, :2]  # a chess board's upper left square; an AprilGrid's outermost small square
    return first + 1000 * board.tag_m * board.spacing if isinstance(board, AprilGrid) else first


BOARDS = sorted((Path(__file__).resolve().parents[1] / "calibration/boards").glob("*.toml"))


@pytest.mark.parametrize(
    ("text", "paper"),
    [
        ("charuco:9x6:0.028:0.021", "a4"),
        ("charuco:12x8:0.02:0.015:5x5_100", "letter"),
        ("aprilgrid:6x4:0.03:0.3", "a4"),
        ("chessboard:9x6:0.025", "a4"),
        ("chessboard:10x7:0.0173", "250x300"),
    ],
)
def test_every_corner_is_found_where_the_description_says(tmp_path: Path, text: str, paper: str) -> None:
    board = parse_board(text)
    pdf, toml = write_board(tmp_path / "board.pdf", board, paper)
    described = read_board(toml)
    corners = find_board(seen(pdf), described)
    assert corners.ids.tolist() == described.ids.tolist()
    found_mm = (corners.px + 0.5) / PX_PER_MM - origin_mm(pdf, board)  # pixel (0, 0) is the middle of the first one
    off_mm = np.abs(found_mm - 1000 * described.corners_board[:, :2])
    print(f"{text}: {off_mm.max():.4f} mm")
    assert off_mm.max() <= 0.01


def test_the_tags_of_the_gripper_are_found_with_their_sizes(tmp_path: Path) -> None:
    pdf, _ = write_gripper_tags(tmp_path / "tags.pdf", "a4")
    picture = seen(pdf)
    for family, dictionary in (("36h11", cv2.aruco.DICT_APRILTAG_36h11), ("4x4_50", cv2.aruco.DICT_4X4_50)):
        params = cv2.aruco.DetectorParameters()
        params.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_CONTOUR
        corners, ids, _ = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(dictionary), params).detectMarkers(
            picture
        )
        drawn = {tag.id: tag.size_m for tags in gripper_tags().values() for tag in tags if tag.family == family}
        assert sorted(ids.ravel().tolist()) == sorted(drawn)
        for identity, square in zip(ids.ravel().tolist(), corners, strict=True):
            edges_mm = np.linalg.norm(np.diff(square[0][[0, 1, 2, 3, 0]], axis=0), axis=1) / PX_PER_MM
            # OpenCV takes the middles of the outermost black pixels for a marker's edge.
            np.testing.assert_allclose(edges_mm, 1000 * drawn[identity] - 1 / PX_PER_MM, atol=0.1)


def test_the_rulers_are_a_hundred_millimetres_long(tmp_path: Path) -> None:
    pdf, _ = write_board(tmp_path / "board.pdf", parse_board("charuco:9x6:0.028:0.021"), "a4")
    black, _ = black_of_pdf(pdf)
    ticks = black[np.isclose(black[:, 2], 0.1) & np.isclose(black[:, 3], 4.0)]
    assert len(ticks) == 11 and np.isclose(np.ptp(ticks[:, 0]), 100.0, atol=1e-4)
    down = black[np.isclose(black[:, 3], 0.1) & np.isclose(black[:, 2], 4.0)]
    assert len(down) == 11 and np.isclose(np.ptp(down[:, 1]), 100.0, atol=1e-4)


def test_a_viewer_is_told_not_to_scale_and_the_paper_has_its_size(tmp_path: Path) -> None:
    pdf, _ = write_board(tmp_path / "board.pdf", parse_board("charuco:12x8:0.032:0.024:5x5_100"), "a3")
    assert b"/PrintScaling /None" in pdf.read_bytes()
    np.testing.assert_allclose(black_of_pdf(pdf)[1], (420, 297), atol=1e-3)


def test_a_pdf_s_table_of_contents_points_at_its_objects(tmp_path: Path) -> None:
    pdf, _ = write_gripper_tags(tmp_path / "tags.pdf", "a4")
    data = pdf.read_bytes()
    start = int(data[data.rindex(b"startxref") :].split()[1])
    assert data[start : start + 4] == b"xref"
    for number, place in enumerate(re.findall(rb"^(\d{10}) 00000 n $", data, re.MULTILINE), start=1):
        assert data[int(place) :].startswith(b"%d 0 obj" % number)
    length = int(re.findall(rb"/Length (\d+)", data)[0])
    stream = data.index(b"stream\n") + len(b"stream\n")
    assert data[stream + length :].startswith(b"\nendstream")


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_the_boards_that_come_along_fit_the_paper_they_name(path: Path) -> None:
    paper = re.findall(r'^paper = "(\w+)"', path.read_text(), re.MULTILINE)[0]
    lay_out(board_of(str(path)), paper)


printed = st.builds(
    lambda kind, c, r, mm, share: {
        0: ChessBoard(c, r, mm / 1000),
        1: CharucoBoard(c, r, mm / 1000, share * mm / 1000, "5x5_100"),
        2: AprilGrid(c, r, mm / 1000, share),
    }[kind],
    st.integers(0, 2), st.integers(3, 14), st.integers(3, 12), st.floats(5, 150), st.floats(0.2, 0.8),
)  # fmt: skip


def upside_down(board: Board) -> bool:
    return isinstance(board, ChessBoard) and (board.columns - board.rows) % 2 == 0


@settings(max_examples=60)
@given(printed, st.sampled_from(list(PAPERS)))
def test_everything_lies_on_the_paper_and_between_the_lines_to_cut_along(board: Board, paper: str) -> None:
    fits = largest_on(board, paper)
    assume(fits is not None and not upside_down(fits))
    assert fits is not None
    sheet = lay_out(fits, paper)
    assert sorted((sheet.width, sheet.height)) == sorted(paper_mm(paper))
    (left, top), (right, bottom) = sheet.grey[:, :2].min(axis=0), (sheet.grey[:, :2] + sheet.grey[:, 2:]).max(axis=0)
    assert min(left, top) >= 4.9 and right <= sheet.width - 4.9 and bottom <= sheet.height - 4.9
    assert np.all(sheet.black[:, :2] > [left, top])
    assert np.all(sheet.black[:, :2] + sheet.black[:, 2:] < [right, bottom])
    assert all(top < text.y < bottom and text.x > left for text in sheet.texts)


@settings(max_examples=40)
@given(printed, st.sampled_from(list(PAPERS)))
def test_what_does_not_fit_is_refused_with_what_would(board: Board, paper: str) -> None:
    fits = largest_on(board, paper)
    assume(not upside_down(board) and fits is not None and edge_m(board) >= edge_m(fits) + 0.001)
    assert fits is not None
    with pytest.raises(CalibrationError, match="too small") as told:
        lay_out(board, paper)
    assert board_text(fits) in str(told.value)


def test_what_the_ruler_measures_becomes_the_size_of_the_squares(tmp_path: Path) -> None:
    board = parse_board("charuco:9x6:0.028:0.021")
    pdf, toml = write_board(tmp_path / "b.pdf", board, "a4")
    drawn = pdf.read_bytes()
    write_board(tmp_path / "b.pdf", board, "a4", Print(99.3))
    read = read_board(toml)
    assert isinstance(read, CharucoBoard) and np.isclose(read.square_m, 0.028 * 0.993) and pdf.read_bytes() == drawn
    assert np.isclose(read.marker_m / read.square_m, 0.75)
    assert np.isclose(Print(99.2, 99.4).scale, 0.993) and np.isclose(Print.of_edge(board, 27.8).scale, 27.8 / 28)


@pytest.mark.parametrize(
    ("ruler_mm", "down_mm", "says"),
    [(9.93, None, "that far off"), (0.0993, None, "that far off"), (float("nan"), None, "that far off"),
     (-100.0, None, "that far off"), (99.0, 99.6, "not square")],
)  # fmt: skip
def test_a_measurement_that_cannot_be_is_refused(ruler_mm: float, down_mm: float | None, says: str) -> None:
    with pytest.raises(CalibrationError, match=says):
        Print(ruler_mm, down_mm)


@pytest.mark.parametrize("paper", ["b5", "", "0x0", "210", "1e9x2", "axb"])
def test_a_paper_that_is_none_is_refused_with_those_that_are(paper: str) -> None:
    with pytest.raises(UsageError) as told:
        paper_mm(paper)
    assert "600x800" in (told.value.mend or "")


def test_a_chess_board_that_looks_the_same_upside_down_is_not_printed() -> None:
    with pytest.raises(CalibrationError, match="upside down"):
        lay_out(parse_board("chessboard:9x7:0.02"), "a4")


def test_the_command_draws_describes_and_says_what_would_fit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: object) -> tuple[int, dict[str, Any]]:
        with pytest.raises(SystemExit) as left:
            main(["calibrate", "target", *map(str, arguments), "--json"])
        return int(left.value.code or 0), json.loads(capfd.readouterr().out)

    code, told = run("charuco:9x6:0.028:0.021", tmp_path / "b.pdf", "--measured-square", 27.9)
    assert code == 0 and told["outputs"] == [str(tmp_path / "b.pdf"), str(tmp_path / "b.toml")]
    assert np.isclose(told["summary"]["scale"], 27.9 / 28)
    code, told = run("aprilgrid:6x6:0.055:0.3", tmp_path / "g.pdf")
    assert code == 1 and "--paper a1" in told["error"]["mend"] and not (tmp_path / "g.pdf").exists()
