"""Where results land: whole or not at all, wherever the folder is."""

from __future__ import annotations

from pathlib import Path

import pytest

from handcap.errors import OutputError
from handcap.session import new_folder


def test_the_folder_we_stand_in_may_be_named_by_a_dot(tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with new_folder(Path(".")) as folder:
        (folder / "a").write_text("a")
    assert [p.name for p in here.iterdir()] == ["a"]
    assert [p.name for p in tmp_path.iterdir()] == ["here"]


def test_a_failure_takes_the_parents_along_that_were_made(tmp_path):
    def interrupted():
        with new_folder(tmp_path / "a" / "b" / "c") as folder:
            (folder / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not any(tmp_path.iterdir())


def test_what_is_there_already_is_left_alone(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for name in ("link", "file", "full"):
        with pytest.raises(OutputError, match="exists already"), new_folder(tmp_path / name):
            pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "full", "link"]


def test_an_unwritable_place_is_told_as_an_error_with_a_mend(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot be written") as caught, new_folder(tmp_path / "file" / "out"):
        pass
    assert caught.value.mend
