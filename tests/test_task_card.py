"""Task cards: what they say is read, and what is wrong with one is named with its key and its line."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from handcap.capture.task_card import read_card
from handcap.errors import TaskError

CARD = """\
id = "wipe"
good_takes = 3
length_s = [2, 30]
practice_takes = 1

[title]
en = "Wipe the table"
zh = "擦桌子"

[start]
en = "The cloth lies in front."
zh = "抹布放在前面。"
photo = "start.png"

[[steps]]
id = "take"
en = "Take the cloth."
zh = "拿起抹布。"
must = { jaw_moved = ["left"] }

[[steps]]
id = "wipe"
en = "Wipe."
zh = "擦。"

[steps.must]
length_s = [1, 20]

[[variations]]
id = "dry"
en = "A dry cloth."
zh = "干抹布。"

[[variations]]
id = "wet"
en = "A wet cloth."
zh = "湿抹布。"
task = "wipe the table with a wet cloth"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "start.png"), np.zeros((4, 4), np.uint8))
    return tmp_path


def _read(folder: Path, text: str | bytes = CARD):
    path = folder / "task.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_card(path)


def test_a_card_says_what_is_to_be_done(folder: Path) -> None:
    card = _read(folder)
    assert card.sha256 == sha256(CARD.encode()).hexdigest()
    assert (card.id, card.good_takes, card.length_s, card.practice_takes) == ("wipe", 3, (2.0, 30.0), 1)
    assert card.title["zh"] == "擦桌子"
    assert card.photo == folder / "start.png"
    assert [(step.id, step.must.jaw_moved, step.must.length_s) for step in card.steps] == [
        ("take", ["left"], None),
        ("wipe", [], (1.0, 20.0)),
    ]


def test_a_variation_may_teach_something_else_than_the_card(folder: Path) -> None:
    card = _read(folder)
    told = [card.instruction(way) for way in (None, *card.variations)]
    assert told == ["Wipe the table", "Wipe the table", "wipe the table with a wet cloth"]


@pytest.mark.parametrize("name", ["tidy_table", "open_drawer", "fold_towel"])
def test_each_card_of_the_examples_can_be_used(name: str, repository: Path) -> None:
    card = read_card(repository / "examples" / "tasks" / f"{name}.toml")
    assert card.id == name
    assert len(card.variations) >= 2


@pytest.mark.parametrize(
    ("old", "new", "what", "line"),
    [
        ("good_takes = 3", "good_takes = 'many'", "good_takes: must be a whole number", 2),
        ("good_takes = 3", "good_takes = 0", "good_takes: Input should be greater than", 2),
        ("good_takes = 3\n", "", "good_takes: is missing", None),
        ("good_takes = 3", "good_takes = 3\ncolour = 1", "colour: is not a key of a task card", 3),
        ("length_s = [2, 30]", "length_s = [30, 2]", "length_s: the least .30. must be below the most .2.", 3),
        ("length_s = [2, 30]", "length_s = [2]", "length_s.*: must be a pair of numbers", 3),
        ("length_s = [2, 30]", "length_s = [2, nan]", "length_s.*finite", 3),
        ('zh = "擦桌子"\n', "", "title.zh: is missing", 6),
        ('zh = "擦桌子"', 'zh = " "', "title.zh: says nothing", 8),
        ('zh = "擦桌子"', 'zh = "\\u001b[2J"', "title.zh: holds a line break or a control character", 8),
        ('zh = "擦桌子"', f'zh = "{"擦" * 201}"', "title.zh: has 201 letters", 8),
        ('must = { jaw_moved = ["left"] }', 'must = { jaw_moved = ["up"] }', 'must be "left" or "right"', 19),
        ('must = { jaw_moved = ["left"] }', "must = { fingers = 1 }", "must.fingers: is not a key", 19),
        ("length_s = [1, 20]", "length_s = 1", r"steps\[2\].must.length_s: must be a pair", 27),
        ("length_s = [1, 20]", "length_s = [31, 40]", "the steps last at least 31 s together", None),
        ('id = "dry"', 'id = "wet"', "two variations are called 'wet'", None),
        ('id = "dry"', 'id = "../wet"', r"variations\[1\].id: must be lower-case letters", 30),
    ],
)
def test_what_is_wrong_is_named_with_its_key_and_its_line(folder: Path, old, new, what, line) -> None:
    assert old in CARD
    with pytest.raises(TaskError, match=what) as raised:
        _read(folder, CARD.replace(old, new, 1))
    path = folder / "task.toml"
    assert raised.value.where == (str(path) if line is None else f"{path}, line {line}")
    assert raised.value.mend


def test_a_card_needs_a_step(folder: Path) -> None:
    with pytest.raises(TaskError, match="steps: is missing"):
        _read(folder, CARD[: CARD.index("[[steps]]")])


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe\x00", b"[[[", b"a = " + b"[" * 10_000, b"x" * (300 << 10), b"n = " + b"9" * 5000]
)
def test_a_file_that_is_no_card_is_refused(folder: Path, text: bytes) -> None:
    with pytest.raises(TaskError):
        _read(folder, text)


@pytest.mark.parametrize("photo", ["../start.png", "/etc/passwd", "link.png", "there/../../start.png", "a\\u0000.png"])
def test_a_photo_outside_the_cards_folder_is_refused(tmp_path: Path, folder: Path, photo: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.png").symlink_to(tmp_path / "start.png")
    with pytest.raises(TaskError, match="outside the card's folder") as raised:
        _read(inside, CARD.replace("start.png", photo))
    assert str(raised.value.where).endswith("line 13")


@pytest.mark.parametrize("photo", ["circle.png", "circle.png/a.png", "a" * 5000])
def test_a_photo_that_cannot_be_looked_for_is_refused(folder: Path, photo: str) -> None:
    (folder / "circle.png").symlink_to("circle.png")
    with pytest.raises(TaskError, match=r"start\.photo") as raised:
        _read(folder, CARD.replace("start.png", photo))
    assert str(raised.value.where).endswith("line 13")


def test_a_photo_that_is_not_there_or_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(TaskError, match=r"there is no .other\.png"):
        _read(folder, CARD.replace("start.png", "other.png"))
    (folder / "start.png").write_text("<svg/>")
    with pytest.raises(TaskError, match="no JPEG or PNG"):
        _read(folder)


@pytest.mark.parametrize("make", ["folder", "nothing", "pipe"])
def test_a_path_that_is_no_file_is_refused_at_once(tmp_path: Path, make: str) -> None:
    import os

    path = tmp_path / "task.toml"
    if make == "folder":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path)
    with pytest.raises(TaskError, match=r"no such file|not a file"):
        read_card(path)


def test_a_card_can_be_moved_with_its_photo(folder: Path, tmp_path_factory) -> None:
    first = _read(folder)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("task.toml", "start.png"):
        shutil.copy(folder / name, elsewhere / name)
    again = read_card(elsewhere / "task.toml")
    assert again.sha256 == first.sha256
    assert again.photo == elsewhere / "start.png"
