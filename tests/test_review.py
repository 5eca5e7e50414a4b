"""Replays."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import exported
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handcap import session as session_store
from handcap.errors import FormatError, ReviewError
from handcap.formats.rrd import export_rrd
from handcap.geometry import transform
from handcap.review import find_takes, open_viewer, replay, serve, write_replay
from handcap.review.colours import GOOD, POOR, UNKNOWN, traffic
from handcap.review.material import BareHand, Tool, gather
from handcap.review.overlay import fingers, jaws, projected
from handcap.review.plots import speed_m_s, thinned
from handcap.review.words import drawable, verdict_text
from handcap.types import ImuSamples
from tests.replays import entities as _entities
from tests.replays import rrd as _rrd


@pytest.fixture
def session(tmp_path: Path) -> Path:
    path = exported.write_session(tmp_path / "session")
    exported.write_result(path)
    return path


def test_grippers_are_shown_with_their_jaws(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = demo
    assert done.returncode == 0, done.stderr
    entities = _entities(folder / "replay.rrd")
    for side in ("left", "right"):
        over = f"world/head/camera/lens/{side}_gripper"
        for path in (
            f"world/{side}/path",
            f"world/{side}/tool",
            f"world/{side}/tool/fingers",
            f"plots/jaw/{side}",
            over,
        ):
            assert f"/take_0001/{path}" in entities


def test_bare_hands_are_shown_as_skeletons_where_they_were_seen(session: Path, tmp_path: Path) -> None:
    folder = session / "derived" / "0001" / "reconstruct"
    head = session_store.read_trajectory(folder / "head.parquet")
    joints = np.where(np.arange(len(head))[:, None] % 3 == 0, np.nan, np.tile(np.linspace(0, 1, 63), (len(head), 1)))
    session_store.write_trajectory(
        folder / "left_hand.parquet", replace(head, body="left_hand"), {"joints_world": joints}
    )
    write_replay(find_takes([session]), tmp_path / "a.rrd")
    assert "LineStrips3D:strips" in _entities(tmp_path / "a.rrd")["/take_0001/world/left_hand/skeleton"]


def test_a_hand_of_another_run_than_its_head_is_named(session: Path) -> None:
    folder = session / "derived" / "0001" / "reconstruct"
    head = session_store.read_trajectory(folder / "head.parquet")
    short = replace(head, body="left_hand").where(slice(0, len(head) - 3))
    session_store.write_trajectory(folder / "left_hand.parquet", short, {"joints_world": np.zeros((len(short), 63))})
    with pytest.raises(ReviewError, match=f"{len(head) - 3} rows where head.parquet has {len(head)}"):
        gather(session_store.read(session), "0001")


def test_hands_are_drawn_over_the_picture_where_the_lens_sees_them(session: Path) -> None:
    material = gather(session_store.read(session), "0001")
    head, mount = material.head, material.mount
    assert head is not None
    ahead = np.array([0.0, 0.0, 0.5]) + np.outer(np.linspace(-0.05, 0.05, 21), [1.0, 0.5, 0.0])
    joints = transform((head.T_world_body @ mount.T_imu_cam)[:, None], ahead)
    joints[::3] = np.nan
    drawn = projected(fingers(BareHand(head, joints)), head, mount)
    assert [len(row) for row in drawn] == [0 if k % 3 == 0 or not seen else 5 for k, seen in enumerate(head.tracked)]
    tips = [row[1][-1] for row in drawn if row]
    np.testing.assert_allclose(tips, np.tile(mount.camera.project(ahead[8])[0], (len(tips), 1)), atol=1e-6)
    behind = projected(fingers(BareHand(head, joints - 2 * (joints - head.T_world_body[:, None, :3, 3]))), head, mount)
    assert not any(behind)


def test_a_gripper_is_drawn_over_the_picture_between_two_of_its_poses_and_not_across_a_gap(session: Path) -> None:
    material = gather(session_store.read(session), "0001")
    head, mount = material.head, material.mount
    assert head is not None
    in_head = np.eye(4)
    in_head[:3, 3] = mount.T_imu_cam[:3] @ [0.0, 0.0, 0.4, 1.0]
    held = replace(head, T_world_body=head.T_world_body @ in_head, tracked=np.arange(len(head)) != len(head) // 2)
    held = replace(held, t_ns=head.t_ns - 3_000_000)
    drawn = projected(jaws(Tool(held, np.full(len(head), 0.02)), head.t_ns), head, mount)
    missing = [k for k, row in enumerate(drawn) if not row and head.tracked[k]]
    assert missing == [len(head) // 2 - 1, len(head) // 2, len(head) - 1]


def test_the_real_recording_is_shown_with_everything_a_reviewer_needs(mh01_session: Path, tmp_path: Path) -> None:
    write_replay(find_takes([mh01_session]), tmp_path / "a.rrd")
    entities = _entities(tmp_path / "a.rrd")
    lens = "/take_0001/world/head/camera/lens"
    for path in (lens, f"{lens}/picture", f"{lens}/residuals", "/take_0001/world/path", "/take_0001/world/map"):
        assert path in entities
    assert {f"/take_0001/plots/{name}" for name in ("speed", "sigma", "residual", "gyro", "accel")} <= set(entities)
    assert "/take_0001/verdict" in entities


def test_pictures_stay_compressed(mh01_session: Path, tmp_path: Path) -> None:
    write_replay(find_takes([mh01_session]), tmp_path / "a.rrd")
    components = {c for columns in _entities(tmp_path / "a.rrd").values() for c in columns}
    assert "EncodedImage:blob" in components
    assert not {c for c in components if c.startswith(("Image:", "DepthImage:", "Tensor:"))}
    raw = sum(p.stat().st_size for p in (mh01_session / "raw").rglob("*.mcap"))
    assert (tmp_path / "a.rrd").stat().st_size < 1.1 * raw


def test_video_is_replayed_as_the_stream_that_came(tmp_path: Path) -> None:
    units: list[bytes] = []
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt, codec.framerate = 64, 48, "yuv420p", 20
    codec.time_base = Fraction(1, 20)
    codec.options = {"bf": "0", "g": "5", "tune": "zerolatency"}
    for k in range(10):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * k, np.uint8), "rgb24")
        frame.pts = k
        units += [bytes(packet) for packet in codec.encode(frame)]
    meta = session_store.SessionMeta(
        id="video", created="2026-01-01T00:00:00Z", origin="capture", clock=session_store.SessionClock(kind="monotonic")
    )
    with session_store.create(tmp_path / "session", meta, exported.rig()) as writer, writer.start_take() as take:
        for k, unit in enumerate(units):
            take.add_video("head", k * exported.PERIOD_NS, unit)
    write_replay(find_takes([tmp_path / "session"]), tmp_path / "a.rrd")
    picture = _entities(tmp_path / "a.rrd")["/take_0001/world/head/camera/lens/picture"]
    assert {"VideoStream:sample", "VideoStream:codec"} <= picture


def test_twice_the_same_take_gives_equal_logged_data(session: Path, tmp_path: Path) -> None:
    for name in ("a.rrd", "b.rrd"):
        write_replay(find_takes([session]), tmp_path / name)
    compared = _rrd("compare", tmp_path / "a.rrd", tmp_path / "b.rrd")
    assert compared.returncode == 0, compared.stderr
    exported.set_verdict(session, "partial", [(0.0, 1.0)])
    write_replay(find_takes([session]), tmp_path / "c.rrd")
    assert _rrd("compare", tmp_path / "a.rrd", tmp_path / "c.rrd").returncode != 0


def test_a_take_nobody_reconstructed_can_still_be_looked_at(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session")
    write_replay(find_takes([path]), tmp_path / "a.rrd")
    assert "/take_0001/world/head/camera/lens/picture" in _entities(tmp_path / "a.rrd")
    assert "not reconstructed yet" in verdict_text(gather(session_store.read(path), "0001"), "en")


@pytest.mark.parametrize(("lang", "word"), [("en", "refused"), ("zh", "不合格")])
def test_the_verdict_names_its_causes_in_the_language_asked_for(tmp_path: Path, lang: str, word: str) -> None:
    path = exported.write_session(tmp_path / "session")
    cause = {"code": "no_motion", "measured": 0.1, "limit": 0.5, "span_s": None, "body": None}
    exported.write_result(path, verdict="refused", spans=[], causes=[cause])
    text = verdict_text(gather(session_store.read(path), "0001"), lang)  # type: ignore[arg-type]
    assert word in text
    assert "→" in text


def test_several_sessions_share_one_replay(session: Path, tmp_path: Path) -> None:
    other = exported.write_session(tmp_path / "other")
    text = (other / "session.json").read_text()
    (other / "session.json").write_text(text.replace("made-by-hand", "other"))
    write_replay(find_takes([session, other]), tmp_path / "a.rrd")
    entities = set(_entities(tmp_path / "a.rrd"))
    assert {"/made-by-hand/take_0001/verdict", "/other/take_0001/verdict"} <= {e.replace("\\", "") for e in entities}


@given(st.text())
def test_only_letters_that_the_viewer_has_reach_it(text: str) -> None:
    shown = drawable(text)
    assert len(shown) == len(text)
    assert not re.search(r"[^\n\x20-\x7e¡-ſα-ωА-я–—−→≤≥…]", shown)


def test_colours_run_from_good_to_poor_and_unknown_is_grey() -> None:
    shown = traffic(np.array([0.0, 1.0, 7.0, np.nan]))
    assert [tuple(row) for row in shown.tolist()] == [GOOD, POOR, POOR, UNKNOWN]


def test_speed_is_the_true_one_and_gaps_have_none(session: Path) -> None:
    head = session_store.read_trajectory(session / "derived/0001/reconstruct/head.parquet")
    t_ns, speed = speed_m_s(head)
    t_s = (t_ns - head.t_ns[0]) / 1e9
    np.testing.assert_allclose(speed, np.hypot(0.1, np.cos(t_s)), atol=1e-3)
    head.tracked[10:20] = False
    assert len(speed_m_s(head.tracked_only())[0]) == 59 - 11


@pytest.mark.parametrize(("rate_hz", "kept"), [(50, 200), (100, 200), (200, 100), (1000, 20)])
def test_inertial_curves_hold_at_most_a_hundred_samples_a_second(rate_hz: int, kept: int) -> None:
    t_ns = np.arange(200, dtype=np.int64) * (1_000_000_000 // rate_hz)
    imu = ImuSamples(t_ns, np.zeros((200, 3)), np.zeros((200, 3)))
    assert len(thinned(imu)) == kept


def test_a_stopped_viewer_is_reported(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handcap.review.viewer._executable", lambda: "false")
    with pytest.raises(ReviewError, match="viewer stopped"):
        serve(session / "missing.rrd", lambda address: None)


def test_an_existing_file_is_not_overwritten(session: Path, tmp_path: Path) -> None:
    (tmp_path / "a.rrd").write_text("mine")
    with pytest.raises(ReviewError, match="exists already"):
        write_replay(find_takes([session]), tmp_path / "a.rrd")
    assert (tmp_path / "a.rrd").read_text() == "mine"


def test_torn_results_are_named_and_nothing_is_left(session: Path, tmp_path: Path) -> None:
    (session / "derived/0001/reconstruct/map.parquet").write_bytes(b"PAR1")
    with pytest.raises(ReviewError, match=r"cannot be read") as raised:
        write_replay(find_takes([session]), tmp_path / "a.rrd")
    assert "map.parquet" in str(raised.value.where)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["session"]


def test_without_a_display_it_says_how_else(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(ReviewError, match="no display") as raised:
        open_viewer(session)
    assert "--save" in str(raised.value.mend)
    assert "--serve" in str(raised.value.mend)


def test_serving_offers_the_page_to_this_computer_only_and_ends_with_the_interrupt(session: Path) -> None:
    code = "from handcap.cli.app import main; main()"
    command = [sys.executable, "-c", code, "review", str(session), "--serve"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"})
    try:
        assert server.stdout is not None
        line = next(line for line in server.stdout if "http" in line)
        address = line.split()[0]
        assert address.startswith("http://127.0.0.1:")
        page = address.partition("?")[0]
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(page, timeout=5) as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        ports = [f"{int(port):04X}" for port in re.findall(r":(\d+)", urllib.parse.unquote(address))]
        listening = [row.split()[1] for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ours = [local for local in listening if local.partition(":")[2] in ports]
        assert ours
        assert all(local.startswith("0100007F:") for local in ours)
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)
    with pytest.raises(OSError, match=r"refused"):
        urllib.request.urlopen(page, timeout=5)


def test_export_rrd_writes_one_file_per_accepted_take(session: Path, tmp_path: Path) -> None:
    done = export_rrd(session_store.read(session), tmp_path / "out")
    assert [p.name for p in done.files] == ["0001.rrd"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0001.rrd", "handcap.json"]
    shutil.rmtree(session / "derived")
    with pytest.raises(FormatError, match="not reconstructed"):
        export_rrd(session_store.read(session), tmp_path / "other")


def test_a_replay_that_the_disk_did_not_take_is_not_called_written(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.rrd", tmp_path / "cut.rrd"
    whole.write_bytes(b"RRF2" + b"x" * 500 + b"RRF2FOOT\1\0\0\0")
    cut.write_bytes(whole.read_bytes()[:300])
    replay._require_whole(whole)
    with pytest.raises(OSError, match="space"):
        replay._require_whole(cut)
