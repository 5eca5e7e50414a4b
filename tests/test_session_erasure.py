"""An erased take is gone: its bytes, what was derived from it, what was said of it; a tombstone stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from recording import jpeg, new_session, record

from handcap import session as session_store
from handcap.errors import FormatError, ReconstructionError, SessionError
from handcap.formats.episodes import select
from handcap.reconstruct import run_session
from handcap.session.erasure import erase_held
from handcap.session.folder import writing
from handcap.session.journal import Journal, read_clock_fits

# Erases take 0001 and dies, as by a power cut, just before it asks the system for the n-th change of a file.
DYING = """
import os, signal, sys
from pathlib import Path
from handcap import session
left = [int(sys.argv[2])]
changes = {"os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}
def hook(event, arguments):
    if event in changes and not (event == "os.remove" and str(arguments[0]).endswith("-wal")):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
session.erase(Path(sys.argv[1]), "0001", "a neighbour came in", "ana")
"""

# Records until the disk is full to the last byte, then erases what it has recorded.
FILLING = """
import sys
from pathlib import Path
from recording import jpeg, new_session, record
from handcap import session
from handcap.errors import SessionError
disk = Path(sys.argv[1])
with new_session(disk / "s", "capture") as recorder:
    take = recorder.start_take()
    try:
        record(take, 1e4, jpeg(0, 640, 480))
    except SessionError as error:
        print(error.what)
rest = open(disk / "rest", "wb", 0)
try:
    while True:
        rest.write(bytes(100))
except OSError as error:
    print(error.strerror)
print(session.erase(disk / "s", "0001", "a neighbour came in", "ana").take)
print(sorted(p.name for p in (disk / "s/raw/0001").iterdir()), session.read(disk / "s").journal()["0001"].state)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two takes, both reconstructed and reviewed."""
    path = tmp_path / "home"
    with new_session(path, "capture") as session:
        for _ in range(2):
            with session.start_take("wipe") as take:
                record(take, 0.4, jpeg())
            session.journal.clock_fit("head", 1, 0.1, 0.0, 0.0, take=take.id)
    opened = session_store.read(path)
    for take in opened.takes:
        with session_store.write_stage(opened, take, "reconstruct") as folder:
            session_store.write_report(folder, {"verdict": "ok", "spans_ok_s": []})
            (folder / "picture.jpg").write_bytes(jpeg(3))
    (path / "review").mkdir()
    rows = [
        {"take": "0001", "verdict": "accepted", "note": "Mrs Li is seen", "previous": "a" * 64},
        {"take": "0002", "verdict": "rejected", "previous": "b" * 64},
    ]
    (path / "review/bo.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def remains(path: Path) -> list[str]:
    """Every file that still tells something of take 0001."""
    found = [p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file() and "0001" in p.parts]
    return [*sorted(found), *(p.name for p in (path / "review").glob("*") if b"Mrs Li" in p.read_bytes())]


def assert_gone(path: Path) -> None:
    assert remains(path) == ["raw/0001/erased.json"]
    opened = session_store.read(path)
    assert opened.takes == ("0002",)
    assert opened.erased == {"0001": "a neighbour came in"}
    assert opened.journal()["0001"].state == "erased"
    assert opened.journal()["0001"].counts is None
    assert read_clock_fits(path, "0001", "head") == []
    assert len(list(opened.take("0002").frames("head"))) == 8, "the other take is untouched"
    assert (path / "derived/0002/reconstruct/picture.jpg").exists()


def test_an_erased_take_is_gone_and_its_tombstone_says_who_when_why_and_what(home: Path) -> None:
    stone = session_store.erase(home, "0001", "a neighbour came in", "ana")
    assert_gone(home)
    kept = json.loads((home / "raw/0001/erased.json").read_text())
    assert kept["by"] == "ana" and kept["why"] == "a neighbour came in" and kept["erased"] == stone.erased
    assert set(kept["files"]) == {
        "raw/0001/seg-0000.mcap",
        "derived/0001/reconstruct/picture.jpg",
        "derived/0001/reconstruct/report.json",
    }
    with pytest.raises(SessionError, match=r"erased on 20.*a neighbour came in"):
        session_store.read(home).take("0001")


def test_erasing_twice_keeps_the_first_tombstone(home: Path) -> None:
    first = session_store.erase(home, "0001", "a neighbour came in", "ana")
    assert session_store.erase(home, "0001", "again", "bo") == first
    assert_gone(home)


def test_a_reviewers_line_of_an_erased_take_keeps_only_its_place_in_the_chain(home: Path) -> None:
    session_store.erase(home, "0001", "a neighbour came in", "ana")
    rows = [json.loads(line) for line in (home / "review/bo.jsonl").read_text().splitlines()]
    assert rows[0] == {"take": "0001", "erased": True, "previous": "a" * 64}
    assert rows[1] == {"take": "0002", "verdict": "rejected", "previous": "b" * 64}


@pytest.mark.parametrize("changes", range(8))
def test_an_erasure_that_was_killed_is_undone_or_finished_but_never_half(home: Path, changes: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    died = subprocess.run([sys.executable, "-c", DYING, str(home), str(changes)], env=environment, check=False)
    assert died.returncode == -signal.SIGKILL
    begun = (home / "raw/0001/erased.json").exists()
    assert begun == (changes > 0)
    if not begun:
        assert session_store.read(home).takes == ("0001", "0002")
        assert len(list(session_store.read(home).take("0001").frames("head"))) == 8
        return
    assert session_store.read(home).takes == ("0002",), "it counts as erased before its last byte is gone"
    report = session_store.recover(home)
    assert report.takes == ()
    assert_gone(home)
    assert session_store.recover(home).erased == ()


def test_a_session_that_somebody_records_to_is_not_erased_from(home: Path) -> None:
    with writing(home), pytest.raises(SessionError, match="still recording"):
        session_store.erase(home, "0001", "why", "ana")
    assert len(remains(home)) > 3


def test_nothing_outside_the_session_is_erased_through_a_link(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (home / "derived").rename(elsewhere)
    (home / "derived").symlink_to(elsewhere)
    with pytest.raises(SessionError, match="a link"):
        session_store.erase(home, "0001", "why", "ana")
    assert (elsewhere / "0001/reconstruct/picture.jpg").exists()
    (home / "derived").unlink()
    (tmp_path / "family.jpg").write_bytes(b"family")
    (home / "raw/0001/link.jpg").symlink_to(tmp_path / "family.jpg")
    session_store.erase(home, "0001", "a neighbour came in", "ana")
    assert (tmp_path / "family.jpg").read_bytes() == b"family"
    assert remains(home) == ["raw/0001/erased.json"]


@pytest.mark.parametrize("take", ["0003", "../home", "", "0001/.."])
def test_what_is_no_take_is_named_before_anything_is_touched(home: Path, take: str) -> None:
    before = sorted(home.rglob("*"))
    with pytest.raises(SessionError):
        session_store.erase(home, take, "why", "ana")
    assert [p for p in sorted(home.rglob("*")) if p.name != ".writer.lock"] == [
        p for p in before if p.name != ".writer.lock"
    ]


def test_exports_and_reconstruction_say_that_a_take_was_erased(home: Path) -> None:
    for take in ("0001", "0002"):
        session_store.erase(home, take, "a neighbour came in", "ana")
    with pytest.raises(FormatError, match=r"take 0001: erased \(a neighbour came in\)"):
        select(session_store.read(home), "all")
    with pytest.raises(ReconstructionError, match="every take was erased"):
        run_session(home)
    with pytest.raises(SessionError, match="take 0002 was erased on"):
        run_session(home, take="0002")


def test_a_stage_that_ends_after_its_take_was_erased_leaves_nothing(home: Path) -> None:
    opened = session_store.read(home)

    def work() -> None:
        with session_store.write_stage(opened, "0001", "check") as folder:
            session_store.erase(home, "0001", "a neighbour came in", "ana")
            folder.mkdir(parents=True, exist_ok=True)  # as a stage does that was writing just then
            (folder / "picture.jpg").write_bytes(jpeg(3))

    with pytest.raises(SessionError, match="was erased on"):
        work()
    assert not list(home.glob("derived/0001/**/*.jpg"))


def test_a_damaged_tombstone_still_says_that_the_take_is_gone(home: Path) -> None:
    session_store.erase(home, "0001", "a neighbour came in", "ana")
    (home / "raw/0001/erased.json").write_text("{")
    assert session_store.read(home).erased == {"0001": "unknown"}
    session_store.recover(home)
    assert session_store.read(home).takes == ("0002",)


def test_recovery_leaves_what_was_thrown_away_thrown_away(home: Path) -> None:
    journal = Journal(home)
    journal.take_discarded("0002", "the cat walked in")
    journal.close()
    assert session_store.recover(home).takes == ()
    assert session_store.read(home).journal()["0002"].state == "discarded"


def test_the_command_line_erases_and_says_what_it_cannot_reach(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from handcap.cli.app import main

    arguments = ["privacy", "erase", str(home), "--take", "0001", "--why", "a neighbour came in", "--json"]
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0
    told = json.loads(capfd.readouterr().out)
    assert told["summary"]["takes"] == {"0001": "erased"}
    assert told["summary"]["erased"]["by"] == "unnamed" and len(told["summary"]["erased"]["files"]) == 3
    assert_gone(home)
    with pytest.raises(SystemExit) as left:
        main(["privacy", "erase", str(home), "--take", "0007", "--why", "x"])
    assert left.value.code == 1
    assert "no take '0007' (takes: 0001, 0002)" in capfd.readouterr().err


def test_a_session_goes_on_after_an_erasure_that_was_cut_off_with_a_new_number(home: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", DYING, str(home), "2"], env=environment, check=False)
    assert len(remains(home)) > 1
    meta, rig = session_store.read(home).meta, session_store.read(home).rig
    with session_store.create_or_continue(home, meta, rig) as session:
        assert_gone(home)
        erase_held(home, session.journal, "0002", "as well", "ana")
        assert session.start_take("wipe").id == "0003"


def test_a_take_is_erased_from_a_disk_that_is_full_to_the_last_byte(tmp_path: Path) -> None:
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("nobody but root may mount a small disk for a test")
    script = 'mount -t tmpfs -o size=8M tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, FILLING]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    full, rest, take, there = done.stdout.splitlines()
    assert full == "the disk is full (No space left on device)" and rest == "No space left on device"
    assert take == "0001"
    assert there == "['erased.json'] erased"
