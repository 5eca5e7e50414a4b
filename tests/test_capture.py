"""Recording live: what is handed over is written, what is wrong is said when the take ends."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from recording import jpeg, new_session, session_meta

from handcap import session as session_store
from handcap.capture import Capture, CaptureParams, judge, virtual_rig
from handcap.capture.recorder import Recorder, RecorderParams
from handcap.capture.watch import Watch
from handcap.clock import NS_PER_S
from handcap.devices import Message, open_board
from handcap.errors import FormatError, SessionError
from handcap.formats.episodes import select
from handcap.session import SessionClock, TakeWriter
from handcap.wire.handcap_pb2 import Encoder, Envelope, ImuBatch

RATES = {"head": 200.0}


def batch(seq: int, t_ns: int, gyro: int = 300, boot_id: int = 7) -> Message:
    """Twenty samples at 200 Hz whose first was taken at `t_ns`, board clock."""
    said = ImuBatch(first_sample_t_ns=t_ns, period_ns=5_000_000, gyro_counts=[gyro, 0, 0] * 20)
    said.accel_counts.extend([0, 0, 2048] * 20)
    said.gyro_scale, said.accel_scale = 1e-3, 4.8e-3
    envelope = Envelope(seq=seq, boot_id=boot_id, imu_batch=said)
    return Message(envelope.SerializeToString(), t_ns, 1)


class Filmed:
    """A take of a head with one camera, told to a watch as its boards would."""

    def __init__(self, seconds: float = 6.0) -> None:
        self.watch = Watch(["head"], ["head"])
        self.seconds = seconds
        self.pictures = [(k * NS_PER_S // 30, _room(k)) for k in range(round(30 * seconds))]
        self.batches = [batch(k, k * NS_PER_S // 10) for k in range(round(10 * seconds))]

    def judged(self) -> dict[str, str]:
        """Code to verdict."""
        self.watch.begin(0)
        self.watch.take.devices["head"].clock_sigma_s = 1e-5  # type: ignore[union-attr]
        for message in self.batches:
            self.watch.message("head", message)
        for k, (t_ns, data) in enumerate(self.pictures):
            self.watch.picture("head", t_ns, data, "jpeg", None)
            if k % 10 == 1:
                time.sleep(0.01)  # a picture takes two milliseconds to look at
        take = self.watch.end(round(self.seconds * NS_PER_S))
        self.watch.close()
        verdict = judge(take, RATES)
        return {"verdict": verdict.verdict} | {cause.code: cause.body or "" for cause in verdict.causes}


_PICTURES: dict[int, bytes] = {}


def _room(k: int) -> bytes:
    """A textured wall that shifts by a pixel a picture."""
    import cv2

    if k % 16 not in _PICTURES:
        wall = np.random.default_rng(1).integers(0, 255, (30, 44), dtype=np.uint8)
        big = cv2.resize(wall, None, fx=16, fy=16, interpolation=cv2.INTER_NEAREST)
        _PICTURES[k % 16] = cv2.imencode(".jpg", big[:480, k % 16 : k % 16 + 640])[1].tobytes()
    return _PICTURES[k % 16]


def _flat(level: int, k: int) -> bytes:
    """Nothing to be seen, and no two pictures alike."""
    import cv2

    blank = np.full((480, 640), level, np.uint8)
    blank[0, k % 640] += 40
    return cv2.imencode(".jpg", blank)[1].tobytes()


def test_a_good_take_is_good() -> None:
    assert Filmed().judged() == {"verdict": "ok"}


def _shortened(filmed: Filmed) -> None:
    filmed.seconds, filmed.pictures, filmed.batches = 1.0, filmed.pictures[:30], filmed.batches[:10]


def _gap(filmed: Filmed) -> None:
    filmed.pictures = [p for p in filmed.pictures if not 2e9 < p[0] < 3e9]


def _every_tenth_lost(filmed: Filmed) -> None:
    filmed.pictures = [p for k, p in enumerate(filmed.pictures) if k % 10]


def _frozen(filmed: Filmed) -> None:
    filmed.pictures = [(t, filmed.pictures[60][1] if 2e9 < t < 3.5e9 else data) for t, data in filmed.pictures]


def _dark(filmed: Filmed) -> None:
    filmed.pictures = [(t, _flat(3, k)) for k, (t, _) in enumerate(filmed.pictures)]


def _covered(filmed: Filmed) -> None:
    filmed.pictures = [(t, _flat(60, k)) for k, (t, _) in enumerate(filmed.pictures)]


def _imu_gap(filmed: Filmed) -> None:
    filmed.batches = [b for b in filmed.batches if not 2e9 < b.arrived_ns < 3e9]


def _imu_lost(filmed: Filmed) -> None:
    filmed.batches = [b for k, b in enumerate(filmed.batches) if k % 20 != 7]


def _silent(filmed: Filmed) -> None:
    filmed.batches = []


def _saturated(filmed: Filmed) -> None:
    filmed.batches[20:22] = [batch(k, k * NS_PER_S // 10, gyro=32767) for k in (20, 21)]


def _still(filmed: Filmed) -> None:
    filmed.batches = [batch(k, k * NS_PER_S // 10, gyro=2) for k in range(60)]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_shortened, "too_short"),
        (_gap, "frames_missing"),
        (_every_tenth_lost, "pictures_lost"),
        (_frozen, "camera_frozen"),
        (_dark, "too_dark"),
        (_covered, "camera_covered"),
        (_imu_gap, "imu_missing"),
        (_imu_lost, "imu_samples_lost"),
        (_silent, "imu_missing"),
        (_saturated, "imu_saturated"),
        (_still, "nobody_moved"),
    ],
)
def test_a_spoiled_take_is_flagged_for_its_own_reason(spoil, code) -> None:
    filmed = Filmed()
    spoil(filmed)
    told = filmed.judged()
    assert told.pop("verdict") != "ok"
    assert code in told
    assert set(told) <= {code, "camera_covered"} if spoil is _dark else set(told) == {code}


def test_a_gripper_that_never_closed_is_a_hint_and_no_fault() -> None:
    watch = Watch(["left"], [])
    watch.begin(0)
    watch.take.devices["left"].clock_sigma_s = 1e-5  # type: ignore[union-attr]
    for k in range(60):
        watch.message("left", batch(2 * k, k * NS_PER_S // 10))
        still = Envelope(seq=2 * k + 1, boot_id=7, encoder=Encoder(angle_counts=[4095, 0, 1], counts_per_turn=4096))
        watch.message("left", Message(still.SerializeToString(), k * NS_PER_S // 10, 1))
    verdict = judge(watch.end(6 * NS_PER_S), {"left": 200.0})
    watch.close()
    assert verdict.verdict == "ok"
    assert [cause.code for cause in verdict.causes] == ["jaw_not_moved"]


def test_pictures_are_dropped_before_motion_and_every_one_is_counted(tmp_path: Path, monkeypatch) -> None:
    picture = jpeg(0, 640, 480)
    params = RecorderParams(most_video_bytes=20 * len(picture))
    recorder = Recorder(new_session(tmp_path / "s", "capture"), params)
    held = TakeWriter.add_image
    slow = iter([True])

    def slow_once(*args: object) -> None:
        if next(slow, False):
            time.sleep(1.0)  # the disk stands still
        held(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(TakeWriter, "add_image", slow_once)
    take = recorder.start_take()
    for k in range(100):
        recorder.put_picture("head", (k + 1) * 10_000_000, picture, "jpeg")
        recorder.put_message("head", (k + 1) * 10_000_000, batch(k, k * 10_000_000).envelope)
    recorder.end_take()
    recorder.close()
    recorder.session.close()
    written = session_store.read(tmp_path / "s").take(take)
    kept = len(written.camera_stamps("head"))
    assert 0 < recorder.dropped.pictures["head"] < 100
    assert kept + recorder.dropped.pictures["head"] == 100
    assert sum(1 for _ in written.wire("head")) == 100
    assert not recorder.dropped.messages


def test_a_take_that_was_thrown_away_is_never_exported(tmp_path: Path) -> None:
    recorder = Recorder(new_session(tmp_path / "s", "capture"))
    take = recorder.start_take()
    recorder.put_picture("head", 1_000, jpeg(), "jpeg")
    recorder.end_take()
    recorder.discard_take(take, "the cat walked in")
    recorder.close()
    recorder.session.close()
    session = session_store.read(tmp_path / "s")
    assert session.journal()[take].state == "discarded"
    assert session.journal()[take].counts == {"/camera/head": 1}
    with pytest.raises(FormatError, match="the cat walked in"):
        select(session, "all")


def test_a_failing_disk_interrupts_the_take_and_the_next_one_starts(tmp_path: Path, monkeypatch) -> None:
    recorder = Recorder(new_session(tmp_path / "s", "capture"))
    recorder.start_take()
    broken = SessionError("the disk is full", where="disk", mend="free some space")

    def fail(*_: object) -> None:
        raise broken

    with monkeypatch.context() as patched:
        patched.setattr("handcap.session.writer.TakeWriter.add_image", fail)
        recorder.put_picture("head", 1_000, jpeg(), "jpeg")
        with pytest.raises(SessionError, match="the disk is full"):
            recorder.end_take()
    assert recorder.failure is broken
    again = recorder.start_take()
    recorder.put_picture("head", 2_000, jpeg(), "jpeg")
    assert recorder.end_take() == again
    recorder.close()
    recorder.session.close()
    assert {t: r.state for t, r in session_store.read(tmp_path / "s").journal().items()} == {
        "0001": "interrupted",
        again: "ended",
    }


@pytest.fixture(scope="module")
def captured(demo: tuple[Path, subprocess.CompletedProcess[str]], tmp_path_factory) -> Iterator[tuple[Capture, Path]]:
    """Five seconds of the demo's take, played live and recorded, and what the recorder knows of it."""
    rendered = next(p.parent for p in sorted(demo[0].rglob("session.json")))
    out = tmp_path_factory.mktemp("captured") / "session"
    with virtual_rig(1, 5.0, rendered=rendered) as live:
        boards = {name: open_board(port) for name, port in live.ports.items()}
        known = live.rig(boards)
        clock = SessionClock(kind="monotonic", utc_offset_ns=time.time_ns() - time.monotonic_ns())
        uids = {name: boards[name].uid for name in known.devices}
        meta = session_meta("capture").model_copy(update={"clock": clock, "device_uids": uids})
        running = Capture(out, meta, known, boards, CaptureParams(), field_pass=False)
        running.ready()
        time.sleep(1.5)
        running.start("tidy")
        time.sleep(5.0)
        running.end()
        running.close()
        yield running, rendered


def test_what_boards_and_a_node_send_live_is_in_the_session_sample_by_sample(captured) -> None:
    running, rendered = captured
    original, recorded = (session_store.read(path).take("0001") for path in (rendered, running.path))
    for device in ("head", "left", "right"):
        before, after = (take.imu(device, as_recorded=True) for take in (original, recorded))
        first_ns = min(int(original.camera_stamps(camera)[0]) for camera in original.cameras)
        before = before.between(first_ns, int(before.t_ns[-1]) + 1)  # played from the first picture on
        n = len(after)
        assert n > 0.9 * 5 * 200
        np.testing.assert_allclose(after.gyro_imu, before.gyro_imu[:n], atol=6e-4)  # half a count
        apart_s = (after.t_ns - before.t_ns[:n]) * 1e-9
        assert np.ptp(apart_s) < 2e-3, "one clock"
    for camera in original.cameras:
        pairs = zip(original.packets(camera), recorded.packets(camera), strict=False)
        assert all(before.data == after.data for before, after in pairs)


def test_a_live_take_is_judged_within_three_seconds_and_keeps_its_report(captured) -> None:
    running, _ = captured
    (ended,) = running.ended
    assert ended.took_s < 3.0
    report = session_store.read_report(running.path / "derived/0001/capture")
    assert report["verdict"] == ended.verdict.verdict
    assert set(report["devices"]) == {"head", "left", "right"}
    assert all(device["missing"] == 0 for device in report["devices"].values())


def test_clocks_are_journalled_with_the_boot_they_hold_for(captured) -> None:
    from handcap.session.journal import read_clock_fits

    running, _ = captured
    fits = read_clock_fits(running.path, "0001", "head")
    assert len(fits) >= 5
    assert len({fit.boot_id for fit in fits}) == 1
    assert fits[0].boot_id is not None
