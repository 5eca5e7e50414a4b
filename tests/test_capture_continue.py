"""A session goes on where it stopped; whose it is, who is at it, and what was left open is known before it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from recording import RIG, jpeg, new_session, record, session_meta

from handcap import session as session_store
from handcap.capture import sentences
from handcap.capture.recorder import Recorder
from handcap.capture.refit import refit_clocks
from handcap.devices import Exchange
from handcap.errors import SessionError
from handcap.session import create, create_or_continue, recover
from handcap.session.journal import Journal, read_clock_fits, read_faults
from handcap.wire.handcap_pb2 import Envelope, ImuBatch, SyncResponse

META = session_meta("capture").model_copy(update={"consent_id": "c-17"})


def begun(path: Path, takes: int = 1) -> None:
    """A session with takes that ended well."""
    with create(path, META, RIG) as session:
        for _ in range(takes):
            with session.start_take() as take:
                record(take, 0.2, jpeg())


def test_the_same_rig_and_consent_continue_and_takes_are_numbered_on(tmp_path: Path) -> None:
    begun(tmp_path / "s", 2)
    before = {path: path.read_bytes() for path in (tmp_path / "s/raw").rglob("*.mcap")}
    with create_or_continue(tmp_path / "s", META, RIG) as session:
        assert session.continued and session.recovered == ()
        with session.start_take() as take:
            assert take.id == "0003"
            record(take, 0.2, jpeg())
    assert all(path.read_bytes() == data for path, data in before.items())
    assert [r.state for r in session_store.read(tmp_path / "s").journal().values()] == ["ended"] * 3


def test_no_number_is_given_twice_though_folders_or_the_journal_are_gone(tmp_path: Path) -> None:
    begun(tmp_path / "s", 2)
    for file in (tmp_path / "s/raw/0002").iterdir():
        file.unlink()
    (tmp_path / "s/raw/0002").rmdir()  # erased: the journal knows of it
    with create_or_continue(tmp_path / "s", META, RIG) as session, session.start_take() as take:
        assert take.id == "0003"
    (tmp_path / "s/journal.sqlite").unlink()
    (tmp_path / "s/derived/0007/capture").mkdir(parents=True)
    with create_or_continue(tmp_path / "s", META, RIG) as session, session.start_take() as take:
        assert take.id == "0008"


@pytest.mark.parametrize(
    ("meta", "rig", "says"),
    [
        (META.model_copy(update={"consent_id": "c-18"}), RIG, "consent 'c-17', and this is 'c-18'"),
        (META.model_copy(update={"consent_id": "none"}), RIG, "consent 'c-17', and this is 'none'"),
        (META.model_copy(update={"collector": "kim"}), RIG, "collector 'unknown', and this is 'kim'"),
        (META, replace(RIG, rig_id="porch"), "rig 'bench', and this is 'porch'"),
        (META, replace(RIG, devices={**RIG.devices, "left": replace(RIG.devices["left"], uid="x")}), "calibrated anew"),
    ],
)
def test_another_rig_consent_or_collector_is_refused_in_plain_words(tmp_path: Path, meta, rig, says: str) -> None:
    begun(tmp_path / "s")
    with pytest.raises(SessionError, match=says) as refused:
        create_or_continue(tmp_path / "s", meta, rig)
    assert "a new session" in (refused.value.mend or "")
    with create_or_continue(tmp_path / "s", META, RIG):
        pass  # the refusal let go of the session


@pytest.mark.parametrize("origin", ["simulation", "import"])
def test_nothing_is_recorded_into_a_session_that_capture_did_not_make(tmp_path: Path, origin: str) -> None:
    new_session(tmp_path / "s", origin).close()
    with pytest.raises(SessionError, match="nothing is recorded into it"):
        create_or_continue(tmp_path / "s", META, RIG)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(SessionError, match="not empty"):
        create_or_continue(tmp_path, META, RIG)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


# Makes a session, and dies at the n-th time that something of it reaches the disk.
DIES_AT_BIRTH = """
import os, sys
from pathlib import Path
from recording import RIG, session_meta
from handcap.session import create_or_continue
left = int(sys.argv[2])
def dying(real):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return real(*arguments, **options)
    return call
for name in ("mkdir", "open", "fsync", "replace", "rename"):
    setattr(os, name, dying(getattr(os, name)))
meta = session_meta("capture").model_copy(update={"consent_id": "c-17"})
create_or_continue(Path(sys.argv[1]), meta, RIG).start_take()
print("lived")
"""


def test_a_recorder_killed_at_any_step_of_making_a_session_does_not_spoil_the_folder(tmp_path: Path) -> None:
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    died = 0
    for step in range(1, 40, 7):
        path = tmp_path / str(step)
        line = [sys.executable, "-c", DIES_AT_BIRTH, str(path), str(step)]
        done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
        died += done.returncode == -9
        with create_or_continue(path, META, RIG) as session, session.start_take() as take:
            record(take, 0.1, jpeg())
        assert session_store.read(path).journal()[take.id].state == "ended"
        if "lived" in done.stdout:
            break
    assert died >= 2


def test_what_a_dead_recorder_left_open_is_recovered_first_and_said_in_a_sentence(tmp_path: Path) -> None:
    begun(tmp_path / "s")
    session = create_or_continue(tmp_path / "s", META, RIG)
    take = session.start_take()
    record(take, 2.0, jpeg())
    take._segment.flush()  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
    session._held.close()  # pyright: ignore[reportPrivateUsage]  # as the kernel does when it dies
    with create_or_continue(tmp_path / "s", META, RIG) as again:
        assert [one.id for one in again.recovered] == ["0002"]
        told = sentences.found_before(again.recovered, again.continued)
        assert told["en"] == ["The last recording was cut off. Saved: take 2 (2.0 s). Continuing this session."]
        assert told["zh"] == ["上次录制被中断。已保存:第2条(2.0 秒)。继续此会话。"]
        with again.start_take() as third:
            assert third.id == "0003"


def test_a_take_that_was_thrown_away_stays_so_through_recovery(tmp_path: Path) -> None:
    recorder = Recorder(create(tmp_path / "s", META, RIG))
    take = recorder.start_take()
    recorder.put_picture("head", 1_000, jpeg(), "jpeg")
    recorder.end_take()
    recorder.discard_take(take, "the cat walked in")
    recorder.close()
    recorder.session.close()
    whole = tmp_path / f"s/raw/{take}/seg-0000.mcap"
    whole.rename(whole.with_name("seg-0000.mcap.part"))  # whatever became of its files
    recover(tmp_path / "s")
    kept = session_store.read(tmp_path / "s").journal()[take]
    assert (kept.state, kept.reason) == ("discarded", "the cat walked in")


def test_the_lock_tells_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    with create(tmp_path / "s", META, RIG):
        holder = json.loads((tmp_path / "s/.writer.lock").read_text())
        assert holder["pid"] == os.getpid()
        with pytest.raises(SessionError, match=f"still recording here: process {os.getpid()} on"):
            create_or_continue(tmp_path / "s", META, RIG)
        (tmp_path / "s/.writer.lock").write_text("{rubbish")
        with pytest.raises(SessionError, match="it did not write its name"):
            create_or_continue(tmp_path / "s", META, RIG)
    create_or_continue(tmp_path / "s", META, RIG).close()


def test_clocks_that_the_journal_lost_are_fitted_again_from_what_the_boards_said(tmp_path: Path) -> None:
    ahead_ns = 5_000_000_000  # of the session's clock
    with create(tmp_path / "s", META, RIG) as session, session.start_take() as take:
        for k in range(100):
            sent = ahead_ns + k * 50_000_000
            exchange = Exchange(sent, sent - ahead_ns + 400_000, sent - ahead_ns + 410_000, sent + 900_000)
            answer = SyncResponse(
                host_sent_t_ns=sent,
                board_received_t_ns=exchange.board_received_ns,
                board_sent_t_ns=exchange.board_sent_ns,
            )
            take.add_wire("left", exchange.host_received_ns, Envelope(boot_id=3, sync_response=answer))
            batch = ImuBatch(first_sample_t_ns=sent - ahead_ns, period_ns=1_000_000, gyro_counts=[1, 2, 3] * 50)
            batch.accel_counts.extend([4, 5, 6] * 50)
            batch.gyro_scale = batch.accel_scale = 1.0
            take.add_wire("left", sent + 50_000_000, Envelope(boot_id=3, imu_batch=batch))
    for side in ("", "-wal", "-shm"):
        (tmp_path / f"s/journal.sqlite{side}").unlink(missing_ok=True)
    assert len(session_store.read(tmp_path / "s").take("0001").imu("left")) == 0
    recover(tmp_path / "s", refit_clocks)
    imu = session_store.read(tmp_path / "s").take("0001").imu("left")
    assert len(imu) == 5000
    assert abs(int(imu.t_ns[0]) - ahead_ns) < 200_000
    fits = read_clock_fits(tmp_path / "s", "0001", "left")
    assert fits and all(fit.boot_id == 3 for fit in fits)


def test_a_journal_of_an_older_handcap_is_continued(tmp_path: Path) -> None:
    begun(tmp_path / "s")
    journal = Journal(tmp_path / "s")
    journal._db.execute("ALTER TABLE takes DROP COLUMN utc_offset_ns")  # pyright: ignore[reportPrivateUsage]
    journal.close()
    assert session_store.read(tmp_path / "s").journal()["0001"].utc_offset_ns is None
    with create_or_continue(tmp_path / "s", META, RIG) as session, session.start_take():
        pass
    assert session_store.read(tmp_path / "s").journal()["0002"].utc_offset_ns is not None


def test_a_journal_that_fails_does_not_keep_a_take_from_being_brought_home(tmp_path: Path, monkeypatch) -> None:
    recorder = Recorder(create(tmp_path / "s", META, RIG))
    take = recorder.start_take()
    recorder.put_picture("head", 1_000, jpeg(), "jpeg")
    recorder.put_clock_fit("head", 1, 0.0, 0.0, 0.0, 7)
    recorder.put_fault("unplugged", "", 1, "head")

    def full(*_: object, **__: object) -> None:
        raise SessionError("the journal cannot be written (database or disk is full)")

    with monkeypatch.context() as patched:
        patched.setattr(recorder.session.journal, "take_closed", full)
        with pytest.raises(SessionError, match="disk is full"):
            recorder.end_take()
    assert (tmp_path / f"s/raw/{take}/seg-0000.mcap").exists(), "the file is whole and has its name"
    again = recorder.start_take()
    recorder.end_take()
    recorder.close()
    recorder.session.close()
    assert [one.id for one in recover(tmp_path / "s").takes] == [take]
    assert read_faults(tmp_path / "s", take)[0].device == "head" and again == "0002"


def test_writing_that_breaks_by_a_bug_is_told_and_the_next_take_is_recorded(
    tmp_path: Path, monkeypatch, caplog
) -> None:
    told: list[SessionError] = []
    recorder = Recorder(create(tmp_path / "s", META, RIG), on_failure=told.append)
    recorder.start_take()
    with monkeypatch.context() as patched:
        patched.setattr("handcap.session.writer.TakeWriter.add_image", lambda *_: 1 / 0)
        recorder.put_picture("head", 1_000, jpeg(), "jpeg")
        with pytest.raises(SessionError, match="ZeroDivisionError"):
            recorder.end_take()
    assert len(told) == 1 and "report this as a bug" in str(told[0])
    recorder.start_take()
    recorder.put_picture("head", 2_000, jpeg(), "jpeg")
    assert recorder.end_take() == "0002"
    recorder.close()
    recorder.session.close()
