"""Disks that are full, slow, read-only, gone: it is told at once, what was recorded is kept, and recording goes on."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_capture import PluggedIn, causes, make_source, plugged_in, record, taken, until, whole_but_for
from small_disk import die, fill, mortal_disk, read_only, tmpfs

from handcap import session as session_store
from handcap.capture import Capture
from handcap.errors import SessionError
from handcap.session import recover

SECONDS = 1.6


@pytest.fixture(scope="module")
def rig(tmp_path_factory) -> Iterator[PluggedIn]:
    with plugged_in(make_source(tmp_path_factory.mktemp("disks"))) as rig:
        yield rig


def failing(running: Capture) -> SessionError:
    """The failure that stops the running take; it comes while nobody asks."""
    until(lambda: running.recorder.failure is not None)
    assert not running.recorder.recording
    failure = running.recorder.failure
    assert failure is not None
    return failure


def test_a_disk_that_is_full_at_the_start_is_told_and_nothing_is_left_behind(rig: PluggedIn, tmp_path: Path) -> None:
    with tmpfs(tmp_path, "size=1M") as disk:
        fill(disk)
        with pytest.raises(SessionError, match=r"full|cannot be written") as refused:
            rig.capture(disk / "s")
        assert "free some" in str(refused.value)
        (disk / "filler").unlink()
        with rig.capture(disk / "s") as running:  # what the failed start left is no hindrance
            assert not running.continued


def test_a_disk_that_fills_up_stops_the_take_and_the_next_one_is_good(rig: PluggedIn, tmp_path: Path) -> None:
    with tmpfs(tmp_path, "size=24M") as disk:
        with rig.capture(disk / "s") as running:
            running.ready()
            first = record(running, SECONDS).take
            second = running.start()
            time.sleep(SECONDS)
            filler = fill(disk)
            failure = failing(running)
            assert "full" in failure.what or "cannot be written" in failure.what
            assert failure.mend is not None and "free some" in failure.mend
            with pytest.raises(SessionError):
                running.start()
            filler.unlink()
            third = record(running, SECONDS)
            assert causes(third) == set() and whole_but_for(taken(running, third.take))
        recover(disk / "s")
        session = session_store.read(disk / "s")
        states = {take: record.state for take, record in session.journal().items()}
        assert states == {first: "ended", second: "recovered", third.take: "ended"}
        kept = session.take(second)
        assert len(kept.imu("head")) > 500 * SECONDS and kept.damage == ()


def test_a_disk_without_inodes_refuses_the_take_in_words_of_its_own(rig: PluggedIn, tmp_path: Path) -> None:
    with tmpfs(tmp_path, "size=24M,nr_inodes=40") as disk, rig.capture(disk / "s") as running:
        running.ready()
        first = record(running, SECONDS).take
        fillers = [disk / f"f{k}" for k in range(os.statvfs(disk).f_favail)]
        for filler in fillers:
            filler.touch()
        with pytest.raises(SessionError, match="can hold no more files"):
            running.start()
        for filler in fillers:
            filler.unlink()
        again = record(running, SECONDS)
        assert causes(again) == set()
        assert set(session_store.read(disk / "s").takes) == {first, again.take}


def test_inodes_that_run_out_while_a_take_begins_stop_it_at_once(rig: PluggedIn, tmp_path: Path) -> None:
    with tmpfs(tmp_path, "size=24M,nr_inodes=40") as disk, rig.capture(disk / "s") as running:
        running.ready()
        free = os.statvfs(disk).f_favail
        for k in range(free - 1):  # the take's folder still fits, its file does not
            (disk / f"f{k}").touch()
        take = running.start()
        assert "can hold no more files" in failing(running).what
        assert session_store.read(disk / "s").journal()[take].state == "interrupted"


def test_a_session_folder_that_is_deleted_is_noticed_within_a_second_or_two(rig: PluggedIn, tmp_path: Path) -> None:
    with rig.capture(tmp_path / "s") as running:
        running.ready()
        running.start()
        time.sleep(0.5)
        shutil.rmtree(tmp_path / "s")
        failure = failing(running)
        assert "moved or deleted" in failure.what and "handcap capture" in (failure.mend or "")


def test_a_session_folder_that_is_moved_keeps_what_was_recorded(rig: PluggedIn, tmp_path: Path) -> None:
    with rig.capture(tmp_path / "s") as running:
        running.ready()
        first = record(running, SECONDS).take
        second = running.start()
        time.sleep(SECONDS)
        (tmp_path / "s").rename(tmp_path / "elsewhere")
        assert "moved or deleted" in failing(running).what
    recover(tmp_path / "elsewhere")
    session = session_store.read(tmp_path / "elsewhere")
    assert session.journal()[first].state == "ended"
    assert len(session.take(second).imu("left")) > 500 * SECONDS


def test_a_folder_that_may_not_be_written_is_told_at_the_start(rig: PluggedIn, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    with read_only(tmp_path / "locked"), pytest.raises(SessionError, match="may not be written") as refused:
        rig.capture(tmp_path / "locked" / "s")
    assert "choose a folder" in str(refused.value)


def test_a_folder_that_becomes_read_only_costs_no_take(rig: PluggedIn, tmp_path: Path) -> None:
    with rig.capture(tmp_path / "s") as running:
        running.ready()
        first = running.start()
        time.sleep(SECONDS)
        with read_only(tmp_path / "s/raw" / first), pytest.raises(SessionError, match="may not be written"):
            running.end()  # its file is whole, and cannot get its name
        with read_only(tmp_path / "s/raw"), pytest.raises(SessionError, match="may not be written"):
            running.start()
        second = record(running, SECONDS)
        assert causes(second) == set()
    recover(tmp_path / "s")
    session = session_store.read(tmp_path / "s")
    assert [record.state for record in session.journal().values()] == ["recovered", "ended"]
    assert whole_but_for(session.take(first)), "not one message of it is lost"


def test_a_disk_that_is_pulled_out_stops_the_take_and_all_that_was_synced_is_on_it(
    rig: PluggedIn, tmp_path: Path
) -> None:
    with mortal_disk(tmp_path) as (disk, fd):
        with rig.capture(disk / "s") as running:
            running.ready()
            first = record(running, SECONDS).take
            second = running.start()
            time.sleep(2.5)
            die(fd)
            failure = failing(running)
            assert os.strerror(errno.EIO) in failure.what
            assert "check the disk and its cable" in (failure.mend or "") or "journal" in failure.what
        os.close(fd)

        subprocess.run(["umount", str(disk)], check=True)
        subprocess.run(["mount", "-o", "loop", str(tmp_path / "disk.img"), str(disk)], check=True)
        recover(disk / "s")
        session = session_store.read(disk / "s")
        assert session.journal()[first].state == "ended" and whole_but_for(session.take(first))
        assert len(session.take(second).imu("left")) > 1000, "all but the last second or so"
