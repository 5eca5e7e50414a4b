"""Practice keeps nothing but a pass, and a card that asks for it is refused to whoever has none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from carded import CARD, card, ended, write_card

from handcap.capture.operator import Said
from handcap.capture.practice import (
    PracticeGuide,
    book_path,
    has_passed,
    practice_folder,
    remove_left_practice,
    require_alias,
    require_practice,
    write_pass,
)
from handcap.capture.task_run import TaskRun
from handcap.causes import Cause
from handcap.errors import TaskError, UsageError

BAD = (Cause("too_dark", "head", measured=3.0, limit=12.0),)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


class Tried:
    """Tries at a card, and what the coach said."""

    def __init__(self, folder: Path, text: str = CARD) -> None:
        self.said: list[Said] = []
        self.passes = 0
        self.work = TaskRun(card(folder, text))
        self.guide = PracticeGuide(self.work, self.said.append, self._passed)

    def _passed(self) -> None:
        self.passes += 1

    def __call__(self, *tries: bool) -> list[str]:
        for k, good in enumerate(tries, start=len(self.said) + 1):
            self.work.tally.variation[f"{k:04d}"] = None
            self.guide.hear(ended(self.work, f"{k:04d}", () if good else BAD))
        return [said.sentence["en"] for said in self.said]


def test_enough_good_tries_in_a_row_are_a_pass_told_once(tmp_path: Path) -> None:
    tried = Tried(tmp_path)
    told = tried(True, False, True, True, True)
    assert [("Passed" in line) for line in told] == [False, False, False, True, False]
    assert tried.passes == 1
    assert "1 more good in a row." in told[0] and "2 more good in a row." in told[1]
    assert "You have passed" in told[4]
    tried(False)
    assert tried.guide.done


def test_each_good_try_is_praised_for_what_was_good_and_each_bad_one_names_its_step(tmp_path: Path) -> None:
    tried = Tried(tmp_path)
    assert tried(True)[0].startswith("Well done: 10 s, and all was seen.")
    tried.guide.hear(ended(tried.work, "0002", jaws_s={"left": (1.0, 2.0)}))
    assert tried.said[1].sentence["en"].startswith("It is step 2: Wipe. 2 more good in a row.")
    assert tried.said[1].sentence["zh"].startswith("问题在第2步:擦。还需连续合格 2 条。")


def test_a_pass_that_cannot_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    tried = Tried(tmp_path)
    wipe = tried.work.card
    book_path().mkdir(parents=True)  # nothing can be appended to a folder
    tried.guide = PracticeGuide(tried.work, tried.said.append, lambda: write_pass("anna", wipe, virtual=False))
    assert "the pass cannot be written down" in tried(True, True)[1].lower()
    book_path().rmdir()
    assert "Passed" in tried(True)[2]
    assert has_passed("anna", wipe, virtual=False)


def test_a_good_try_thrown_away_does_not_count(tmp_path: Path) -> None:
    tried = Tried(tmp_path)
    tried(True)
    tried.guide.hear(Said("discarded", {}, "0001"))
    tried(True)
    assert tried.passes == 0


def test_a_card_that_needs_no_practice_can_be_practised_all_the_same(tmp_path: Path) -> None:
    tried = Tried(tmp_path, CARD.replace("practice_takes = 2\n", ""))
    tried(True, True)
    assert tried.passes == 1


def test_a_pass_is_of_one_collector_and_one_version_of_the_card(tmp_path: Path) -> None:
    wipe = card(tmp_path)
    write_pass("anna", wipe, virtual=False)
    assert has_passed("anna", wipe, virtual=False)
    assert not has_passed("bo", wipe, virtual=False)
    assert not has_passed("anna", card(tmp_path, CARD + "\n# changed"), virtual=False)


def test_practice_with_the_virtual_rig_counts_only_there(tmp_path: Path) -> None:
    wipe = card(tmp_path)
    write_pass("anna", wipe, virtual=True)
    assert has_passed("anna", wipe, virtual=True)
    assert not has_passed("anna", wipe, virtual=False)
    write_pass("bo", wipe, virtual=False)
    assert has_passed("bo", wipe, virtual=True)


@pytest.mark.parametrize("junk", [b'{"collector": "anna", "card_sha', b"[1, 2]\n", b"\xff\xfe\n", b"[" * 5000])
def test_a_torn_line_in_the_book_proves_nothing_and_spoils_no_other(tmp_path: Path, junk: bytes) -> None:
    wipe = card(tmp_path)
    write_pass("anna", wipe, virtual=False)
    with book_path().open("ab") as book:
        book.write(junk)
    write_pass("bo", wipe, virtual=False)
    assert has_passed("anna", wipe, virtual=False) and has_passed("bo", wipe, virtual=False)
    assert json.loads(book_path().read_bytes().splitlines()[-1])["collector"] == "bo"


def test_without_practice_the_card_is_refused_with_the_command_that_does_it(tmp_path: Path) -> None:
    path = write_card(tmp_path)
    wipe = card(tmp_path)
    with pytest.raises(UsageError, match="who you are"):
        require_practice(wipe, path, None, virtual=False)
    with pytest.raises(TaskError, match="anna has not practised") as raised:
        require_practice(wipe, path, "anna", virtual=False)
    assert f"handcap capture --card {path} --collector anna --practice" in str(raised.value.mend)
    write_pass("anna", wipe, virtual=False)
    require_practice(wipe, path, "anna", virtual=False)


@pytest.mark.parametrize("alias", ["", "Anna Li", "李", "a@b", "../x", "1", "a" * 33, "-x", "a\n"])
def test_an_alias_holds_no_name_and_no_address(alias: str) -> None:
    with pytest.raises(UsageError):
        require_alias(alias)


def test_what_was_practised_is_gone_when_it_ends_also_with_an_error(tmp_path: Path) -> None:
    def practise() -> None:
        with practice_folder() as path:
            path.mkdir()
            (path / "private.jpg").write_bytes(b"x")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        practise()
    assert not list((tmp_path / "cache").rglob("*.jpg"))
    assert remove_left_practice() == 0


HELD = """
import sys, time
from handcap.capture.practice import practice_folder
with practice_folder() as path:
    path.mkdir()
    (path / "private.jpg").write_bytes(b"x")
    print(path, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_practice_left_goes_at_the_next_start_and_a_running_one_is_let_be() -> None:
    practices = [subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    killed = practices[0]
    try:
        paths = [Path(practice.stdout.readline().strip()) for practice in practices]  # type: ignore[union-attr]
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert all((path / "private.jpg").exists() for path in paths)
        assert remove_left_practice() == 1
        assert [path.exists() for path in paths] == [False, True]
    finally:
        for practice in practices:
            practice.kill()
            practice.wait()
            assert practice.stdout is not None
            practice.stdout.close()
    assert remove_left_practice() == 1
