"""A camera node whose link is cut while a take is recorded: what it kept arrives with its own stamps, and only once."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from camera_node import PATIENCE_S, running
from recording import RIG, session_meta

from handcap import session as session_store
from handcap.capture import Capture
from handcap.capture.operator import Said
from handcap.capture.worn import Worn, WornParams
from handcap.devices import Board, open_board
from handcap.devices.backlog import Backlog
from handcap.wire.handcap_pb2 import Envelope, ImuBatch, VideoFrame

HEAD_ONLY = replace(RIG, cameras={"head": RIG.cameras["head"]})
RATE_HZ = 30.0
NAMESPACE = ["unshare", "--user", "--map-root-user", "--net"]


def recorded_with_a_cut(node: Path, jpegs: Path, out: Path, cut_s: float) -> dict[str, Any]:
    """A network of its own, in which no packet travels for a while, as in the dead corner of a flat."""
    try:
        subprocess.run([*NAMESPACE, "ip", "link", "set", "lo", "up"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no network namespaces here (unshare, ip)")
    line = [sys.executable, str(Path(__file__).with_name("lost_link.py")), str(node), str(jpegs), str(out), str(cut_s)]
    done = subprocess.run([*NAMESPACE, *line], capture_output=True, text=True, timeout=cut_s + 60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_whole(out: Path, told: dict[str, Any], cut_s: float) -> None:
    (outage,) = told["outages"]
    assert outage["cameras"] == ["head"]
    assert outage["away_s"] == pytest.approx(cut_s, abs=2.0)
    assert outage["lost"] == told["lost"] == 0
    assert outage["kept"] > RATE_HZ * (cut_s - 1)
    assert told["losses"]["unplugged"] == 1 and told["events"].count("caught_up") == 1
    take = session_store.read(out).take("0001")
    stamps_s = take.camera_stamps("head") * 1e-9
    assert len(stamps_s) >= told["pictures"]  # a busy machine's last ones come while the take is judged
    # Each with the time it was taken at and not the time it came at: evenly, over the whole take, each once.
    np.testing.assert_allclose(np.diff(stamps_s), 1 / RATE_HZ, atol=0.4 / RATE_HZ)
    assert stamps_s[-1] - stamps_s[0] > told["length_s"] - 1.0


def test_a_take_is_whole_though_the_nodes_link_was_cut_meanwhile(plain_node, jpegs, tmp_path) -> None:
    told = recorded_with_a_cut(plain_node, jpegs, tmp_path / "session", 5.0)
    assert_whole(tmp_path / "session", told, 5.0)


@pytest.mark.slow
def test_a_take_is_whole_though_the_nodes_link_was_gone_for_half_a_minute(plain_node, jpegs, tmp_path) -> None:
    told = recorded_with_a_cut(plain_node, jpegs, tmp_path / "session", 30.0)
    assert_whole(tmp_path / "session", told, 30.0)


class Cable:
    """Between host and node, to be pulled and plugged in again."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.name = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self._plugged = threading.Event()
        self._plugged.set()
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def pull(self) -> None:
        self._plugged.clear()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def plug_in(self) -> None:
        self._plugged.set()

    def close(self) -> None:
        self.pull()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listening.close()
        for thread in self._threads[1:]:
            thread.join()
        for end in self._ends:
            end.close()

    def _serve(self) -> None:
        while True:
            try:
                host, _ = self._listening.accept()
            except OSError:
                return
            if not self._plugged.is_set():
                host.close()
                continue
            node = socket.create_connection(("127.0.0.1", self._to))
            self._ends += [host, node]
            for source, sink in ((host, node), (node, host)):
                self._threads.append(threading.Thread(target=self._carry, args=(source, sink), daemon=True))
                self._threads[-1].start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def cable(port: int) -> Iterator[Cable]:
    between = Cable(port)
    try:
        yield between
    finally:
        between.close()


@contextmanager
def capturing(node: Path, jpegs: Path, out: Path, *options: str) -> Iterator[tuple[Capture, Board, Cable]]:
    """A take that has run for a second."""
    options = ("--source", str(jpegs), "--rate", str(RATE_HZ), *options)
    with (
        running(node, *options) as served,
        cable(served.port) as between,
        open_board(between.name) as board,
        Capture(out, session_meta("capture"), HEAD_ONLY, {"node": board}, field_pass=False) as run,
    ):
        run.ready()
        run.start()
        time.sleep(1)
        yield run, board, between


def recorded_stamps_s(out: Path) -> np.ndarray:
    return session_store.read(out).take("0001").camera_stamps("head") * 1e-9


def test_pictures_that_the_node_had_no_room_for_are_counted_and_named(plain_node, jpegs, tmp_path) -> None:
    with capturing(plain_node, jpegs, tmp_path / "session", "--buffer-mib", "2") as (run, board, between):
        between.pull()
        time.sleep(2)
        between.plug_in()
        until = time.monotonic() + PATIENCE_S
        while not board.outages and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        ended = run.end()
        said: list[Said] = []
        with Worn(run, said.append, SimpleQueue(), WornParams(look_s=3600.0)) as worn:
            worn.look()
    (outage,) = board.outages
    (sentence,) = [one.sentence["en"] for one in said if "link" in one.sentence["en"]]
    assert sentence.startswith("The head camera had no link") and f"{outage.lost} are lost" in sentence
    camera = ended.watched.cameras["head"]
    assert camera.lost == outage.lost > 10 and outage.kept > 10
    assert "frames_missing" in [cause.code for cause in ended.verdict.causes]
    periods = np.rint(np.diff(recorded_stamps_s(tmp_path / "session")) * RATE_HZ)
    assert periods.min() == 1, "nothing came twice"
    assert int((periods - 1).sum()) == outage.lost, "what is missing in the file is what was counted"


def test_a_take_that_ends_while_the_link_is_away_waits_for_what_the_node_kept(plain_node, jpegs, tmp_path) -> None:
    with capturing(plain_node, jpegs, tmp_path / "session") as (run, _, between):
        between.pull()
        time.sleep(1)
        plugs_in = threading.Timer(1.0, between.plug_in)
        plugs_in.start()
        ended = run.end()
        plugs_in.join()
    assert ended.watched.end_ns is not None
    last_s = recorded_stamps_s(tmp_path / "session")[-1] - ended.watched.end_ns * 1e-9
    assert -0.1 < last_s < 0.2, "nothing is missing, and nothing is recorded that came after the wish to end"


def video(frame: int, camera: str = "head") -> Envelope:
    return Envelope(boot_id=1, video_frame=VideoFrame(camera=camera, frame=frame, capture_t_ns=frame * 10**7))


def test_what_is_sent_again_after_a_lost_link_counts_once_and_a_restarted_node_counts_anew() -> None:
    backlog = Backlog()
    samples = [Envelope(boot_id=1, imu_batch=ImuBatch(first_sample_t_ns=t)) for t in (100, 200, 300)]
    assert all(backlog.is_new(one, None, 0) for one in (video(1), video(2), video(7, "left"), *samples[:2]))
    backlog.broke()
    assert backlog.pending
    backlog.returned(10**9, same_boot=True)
    again = [video(2), video(3), video(7, "left"), video(8, "left"), *samples]
    assert [backlog.is_new(one, None, 10**9) for one in again] == [False, True, False, True, False, False, True]
    backlog.broke()
    backlog.returned(2 * 10**9, same_boot=False)
    assert not backlog.pending and backlog.is_new(video(0), None, 2 * 10**9)
