"""Camera nodes: the same messages over TCP, pictures of megabytes, and nothing lost here when a reader stalls."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from handcap import devices
from handcap.errors import DeviceError
from handcap.wire import NODE_FRAME_MAX, Deframer, frame
from handcap.wire.handcap_pb2 import Ack, Envelope, Hello, Log, Stream, SyncResponse, VideoFrame


class Node:
    """Answers one connection after another, and sends what it is told to."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.name = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self._seq = 0
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connected, _ = self._listening.accept()
            except OSError:
                return
            if self._socket is not None:
                self._socket.close()
            self._socket = connected
            deframer = Deframer()
            while True:
                try:
                    data = self._socket.recv(4096)
                except OSError:
                    break
                if not data:
                    break
                with suppress(OSError):  # whoever asked has gone
                    for message in deframer.push(data):
                        self._answer(Envelope.FromString(message))

    def _answer(self, asked: Envelope) -> None:
        if asked.HasField("sync_request"):
            now_ns = time.monotonic_ns()
            t1 = asked.sync_request.host_sent_t_ns
            answer = SyncResponse(host_sent_t_ns=t1, board_received_t_ns=now_ns, board_sent_t_ns=now_ns)
            self.say(sync_response=answer)
        elif asked.command.HasField("identify"):
            self.say(hello=Hello(protocol_version=1, board="node", uid=77, firmware_version="0.1.0"))
        elif asked.HasField("command"):
            self.say(ack=Ack(id=asked.command.id, outcome="OUTCOME_DONE"))

    def say(self, **body: object) -> None:
        with self._lock:
            assert self._socket is not None
            self._socket.sendall(frame(Envelope(seq=self._seq, boot_id=9, **body).SerializeToString()))
            self._seq += 1

    def raw(self, data: bytes) -> None:
        with self._lock:
            assert self._socket is not None
            self._socket.sendall(data)

    def hang_up(self) -> None:
        assert self._socket is not None
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        if self._socket is not None:
            self._socket.close()


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.close()


def video(board: devices.Board, wanted: int) -> list[devices.Message]:
    came: list[devices.Message] = []
    end = time.monotonic() + 20
    while len(came) < wanted and time.monotonic() < end:
        came += [one for one in board.receive(0.5) if one.body == "video_frame"]
    return came


def test_a_node_speaks_as_a_board_does_and_its_pictures_arrive_whole(node: Node) -> None:
    with devices.open_board(node.name) as board:
        board.command(Stream(on=True))
        pictures = [bytes([at]) * size for at, size in enumerate((10, 1 << 20, 15 << 20), start=1)]
        for at, data in enumerate(pictures):
            node.say(video_frame=VideoFrame(camera="head", frame=at, data=data))
        came = video(board, 3)
        assert [one.envelope.video_frame.data for one in came] == pictures
        assert board.hello.board == "node" and not board.losses.any
        while board.clock is None:
            board.receive(0.1)
        assert abs(board.clock.dt_ns) < 50_000_000


def test_a_picture_beyond_the_limit_is_refused_and_the_next_one_comes_through(node: Node) -> None:
    with devices.open_board(node.name) as board:
        node.raw(b"\x55" * (NODE_FRAME_MAX + 1) + b"\0")
        node.say(video_frame=VideoFrame(frame=1, data=b"small"))
        assert [one.envelope.video_frame.frame for one in video(board, 1)] == [1]
        assert board.losses.too_long == 1


def test_a_reader_that_stalls_holds_the_node_back_and_loses_nothing_here(node: Node) -> None:
    params = devices.BoardParams(most_bytes_node=4 << 20)
    with devices.open_board(node.name, params=params) as board:
        sent = threading.Event()

        def send() -> None:
            for at in range(40):
                node.say(video_frame=VideoFrame(frame=at, data=bytes(1 << 20)))
            sent.set()

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        assert not sent.wait(1.5), "forty megabytes went into a queue of four"
        assert [one.envelope.video_frame.frame for one in video(board, 40)] == list(range(40))
        assert board.losses.queue_full == 0 and sent.wait(5)


def test_a_node_that_hangs_up_is_found_again(node: Node) -> None:
    with devices.open_board(node.name) as board:
        node.hang_up()
        while board.epoch == 1:
            board.receive(0.1)
        node.say(log=Log(text="back"))
        came: list[str] = []
        while "log" not in came:
            came += [one.body for one in board.receive(0.5)]
        assert board.losses.unplugged == 1


def test_no_node_is_told_with_what_to_check() -> None:
    with pytest.raises(DeviceError, match="no camera node answers") as told:
        devices.open_board("tcp://127.0.0.1:1")
    assert "switched on" in (told.value.mend or "")
