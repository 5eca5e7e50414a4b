"""Boards on ptys: what they say arrives once, in order, with its losses named; nothing a peer does breaks the host."""

from __future__ import annotations

import os
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from simulated_board import UID, SimulatedBoard

from handcap import devices
from handcap.devices import Board
from handcap.devices.imu_samples import ImuUnpacker
from handcap.errors import DeviceError, WireError
from handcap.wire import frame
from handcap.wire.handcap_pb2 import Envelope, Hello, Log, MarkTakeStart, SetImuRate

OTHER_UID = 0x0123_4567_89AB_CDEF


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SimulatedBoard]:
    with SimulatedBoard(tmp_path / "board") as board:
        yield board


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that must happen; how long it takes is not tested."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def listened(board: Board, seconds: float) -> list[devices.Message]:
    end, came = time.monotonic() + seconds, []
    while (left := end - time.monotonic()) > 0:
        came += board.receive(left)
    return came


def test_a_board_says_who_it_is_and_answers_commands(simulated: SimulatedBoard) -> None:
    with devices.open_board(str(simulated.port)) as board:
        assert board.uid == f"{UID:016x}" and board.hello.firmware_version == "0.1.0" and board.epoch == 1
        board.command(SetImuRate(rate_hz=500))
        assert simulated.heard == ["set_imu_rate"]
    assert not board.connected


def test_every_sample_of_a_stream_arrives_once_and_in_order(simulated: SimulatedBoard) -> None:
    with devices.open_board(str(simulated.port)) as board:
        board.stream(True)
        came = listened(board, 2.0)
        seqs = [one.envelope.seq for one in came]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        samples = sum(len(one.envelope.imu_batch.gyro_counts) // 3 for one in came if one.body == "imu_batch")
        assert samples >= 1000
        assert not board.losses.any, board.losses
        arrived = [one.arrived_ns for one in came]
        assert arrived == sorted(arrived) and all(one.data == one.envelope.SerializeToString() for one in came)


def test_the_boards_clock_is_known_while_it_streams(tmp_path: Path) -> None:
    with (
        SimulatedBoard(tmp_path / "board", skew=150e-6, delay_s=1e-3) as simulated,
        devices.open_board(str(simulated.port)) as board,
    ):
        board.stream(True)
        until(lambda: board.clock is not None and board.clock.exchanges >= 60)
        clock = board.clock
        assert clock is not None
        t_ns = np.array([simulated.now_ns()])
        wrong_s = float(clock.session_ns(t_ns)[0] - simulated.true_session_ns(t_ns)[0]) / 1e9
        assert abs(wrong_s) < 0.02, "a busy machine delays both, but never by that"
        assert clock.residual_s > 0 and clock.sigma_s > 0


def test_a_setback_of_the_wall_clock_is_not_noticed(simulated: SimulatedBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> float:
        raise AssertionError("somebody asked the wall clock")

    with devices.open_board(str(simulated.port)) as board:
        monkeypatch.setattr(time, "time", asked)
        monkeypatch.setattr(time, "time_ns", asked)
        board.stream(True)
        listened(board, 0.5)
        assert board.connected and board.clock_jumps == 0


def test_a_command_whose_answer_is_lost_is_sent_again_and_done_once(tmp_path: Path) -> None:
    with (
        SimulatedBoard(tmp_path / "board", lose_every=2) as simulated,
        devices.open_board(str(simulated.port)) as board,
    ):
        for _ in range(6):
            board.command(MarkTakeStart(), timeout_s=10.0)
        assert simulated.heard == ["mark_take_start"] * 6
        assert len(simulated.asked) > 6 and board.losses.messages_missing > 0


def test_a_program_that_was_started_anew_is_not_taken_for_the_one_before(simulated: SimulatedBoard) -> None:
    """The board remembers the ids it has obeyed; the same ones again would be acknowledged and not done."""
    for _ in range(3):
        with devices.open_board(str(simulated.port)) as board:
            board.command(MarkTakeStart())
    assert simulated.heard == ["mark_take_start"] * 3


@pytest.mark.parametrize(
    ("outcome", "says"), [("REFUSED", "refused to set imu rate"), ("FAILED", "failed"), ("NOT_KNOWN", "handcap flash")]
)
def test_a_command_that_is_not_obeyed_is_told_with_the_boards_words(tmp_path: Path, outcome: str, says: str) -> None:
    refuses = {"set_imu_rate": (outcome, "100, 200, 500 or 1000 Hz")}
    with (
        SimulatedBoard(tmp_path / "board", refuses=refuses) as simulated,
        devices.open_board(str(simulated.port)) as board,
        pytest.raises(DeviceError) as told,
    ):
        board.command(SetImuRate(rate_hz=3))
    assert says in str(told.value) and "100, 200, 500" in told.value.what and told.value.where == str(simulated.port)


def test_a_board_that_does_not_answer_a_command_is_told_so(tmp_path: Path) -> None:
    with (
        SimulatedBoard(tmp_path / "board", answers=False) as simulated,
        devices.open_board(str(simulated.port)) as board,
        pytest.raises(DeviceError, match="did not answer") as told,
    ):
        board.command(SetImuRate(rate_hz=500), timeout_s=0.5)
    assert "plug it in again" in (told.value.mend or "")


def test_flipped_bits_cost_their_message_and_are_counted(tmp_path: Path) -> None:
    with (
        SimulatedBoard(tmp_path / "board", flip_every=10) as simulated,
        devices.open_board(str(simulated.port)) as board,
    ):
        board.stream(True)
        came = listened(board, 1.5)
        losses = board.losses
        damaged = losses.bad_crc + losses.bad_cobs + losses.not_a_message
        assert damaged >= 5 and losses.messages_missing >= damaged - 2
        assert len([one for one in came if one.body == "imu_batch"]) > 30


def test_a_reboot_begins_an_epoch_and_the_stream_goes_on(simulated: SimulatedBoard) -> None:
    with devices.open_board(str(simulated.port)) as board:
        board.stream(True)
        listened(board, 0.7)
        until(lambda: board.clock is not None)
        simulated.reboot()
        until(lambda: board.epoch == 2)
        assert board.clock is None, "the old boot's clock says nothing of the new one's stamps"
        until(lambda: any(one.body == "imu_batch" and one.epoch == 2 for one in board.receive(1.0)))
        assert board.losses.reboots == 1 and board.losses.messages_missing == 0
        assert [event.kind for event in board.events] == ["connected", "rebooted", "connected"]
        assert board.clock_of(1) is not None
        until(lambda: board.clock is not None)
        assert board.clock_of(2) is not None and board.clock_jumps == 0


def test_a_board_plugged_out_and_in_goes_on_in_a_new_epoch(simulated: SimulatedBoard) -> None:
    with devices.open_board(str(simulated.port)) as board:
        board.command(SetImuRate(rate_hz=500))
        board.stream(True)
        listened(board, 0.3)
        simulated.unplug()
        until(lambda: not board.connected)
        with pytest.raises(DeviceError, match="unplugged"):
            board.command(SetImuRate(rate_hz=1000), timeout_s=0.2)
        simulated.plug_in()
        until(lambda: board.epoch == 2)
        until(lambda: any(one.body == "imu_batch" and one.epoch == 2 for one in board.receive(1.0)))
        assert simulated.heard == ["set_imu_rate", "stream", "set_imu_rate", "stream"]
        assert board.losses.unplugged == 1 and board.losses.messages_missing == 0


def test_another_board_on_the_same_port_is_never_taken_for_ours(simulated: SimulatedBoard) -> None:
    with devices.open_board(str(simulated.port)) as board:
        board.stream(True)
        listened(board, 0.3)
        simulated.unplug()
        until(lambda: not board.connected)
        simulated.uid = OTHER_UID
        simulated.plug_in()
        until(lambda: board.losses.foreign > 0)
        assert not board.connected and board.epoch == 1
        assert all(one.epoch == 1 for one in board.receive(0.2))
        simulated.unplug()
        simulated.uid = UID
        simulated.plug_in()
        until(lambda: board.epoch == 2)


def test_a_board_that_answers_for_another_in_mid_stream_is_cut_off(simulated: SimulatedBoard) -> None:
    with devices.open_board(str(simulated.port)) as board:
        listened(board, 0.2)
        liar = Envelope(seq=0, boot_id=99, hello=Hello(protocol_version=1, uid=OTHER_UID))
        lie = Envelope(seq=1, boot_id=99, log=Log(text="believe me"))
        simulated.say(b"\0" + frame(liar.SerializeToString()) + frame(lie.SerializeToString()))
        until(lambda: board.losses.foreign == 1)
        came = listened(board, 0.5)
        assert not any(one.body == "log" for one in came)


def test_one_board_cannot_be_opened_twice_nor_two_that_claim_to_be_one(
    simulated: SimulatedBoard, tmp_path: Path
) -> None:
    with devices.open_board(str(simulated.port)) as board:
        with pytest.raises(DeviceError, match="another program"):
            devices.open_board(str(simulated.port))
        with (
            SimulatedBoard(tmp_path / "copy") as copy,
            pytest.raises(DeviceError, match=f"{UID:016x} is open already") as told,
        ):
            devices.open_board(str(copy.port))
        assert str(simulated.port) in told.value.what
        assert board.connected
    with devices.open_board(str(simulated.port)) as again:
        assert again.connected


def test_a_board_of_another_protocol_is_refused_with_the_mend_and_opened_to_be_flashed(tmp_path: Path) -> None:
    with SimulatedBoard(tmp_path / "board", protocol_version=2) as simulated:
        with pytest.raises(WireError, match="version 2") as told:
            devices.open_board(str(simulated.port))
        assert "handcap flash" in (told.value.mend or "")
        with devices.open_board(str(simulated.port), any_version=True) as board:
            assert board.hello.protocol_version == 2


def test_the_wanted_uid_decides_which_board_is_opened(simulated: SimulatedBoard) -> None:
    with pytest.raises(DeviceError, match=f"{UID:016x} answers here instead of {OTHER_UID:016x}"):
        devices.open_board(str(simulated.port), uid=f"{OTHER_UID:016x}")


def test_a_port_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(DeviceError, match="no such port") as told:
        devices.open_board("/dev/ttyACM_none")
    assert "ports:" in told.value.what


@contextmanager
def deaf_port(says: bytes) -> Iterator[str]:
    """A port on which somebody says the same again and again and never listens."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    stop = threading.Event()

    def talk() -> None:
        while says and not stop.wait(0.02):
            with suppress(BlockingIOError):
                os.write(master, says)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        stop.set()
        thread.join()
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (b"", "nothing answers"),
        (b"$GPGGA,1,2,3\r\n", "is not handcap's"),
        (b"\0\0\0\1\2\0", "is not handcap's"),
        (frame(Envelope(log=Log(text="x")).SerializeToString()), "does not say who it is"),
    ],
)
def test_a_port_that_is_not_a_boards_is_told_apart(says: bytes, told: str) -> None:
    with deaf_port(says) as port, pytest.raises(DeviceError, match=told) as error:
        devices.open_board(port, timeout_s=0.5)
    assert "handcap flash" in (error.value.mend or "")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def sealed(message: Envelope) -> bytes:
    return frame(message.SerializeToString())


# What a board says that has told its name truthfully before.
HOSTILE: dict[str, Callable[[np.random.Generator, int], bytes]] = {
    "endless bytes": lambda rng, boot: b"\x55" * 4096,
    "noise": lambda rng, boot: rng.bytes(4096),
    "zeros": lambda rng, boot: bytes(4096),
    "oversize frames": lambda rng, boot: b"\x02" * 4000 + b"\0",
    "lying lengths": lambda rng, boot: frame(b"\x8a\x01\xff\x7f" + rng.bytes(40)) * 20,
    "boot ids that never settle": lambda rng, boot: (
        sealed(Envelope(seq=int(rng.integers(2**32)), boot_id=int(rng.integers(2**32)), log=Log(text="x"))) * 20
    ),
    # 480 empty sensors: two bytes each on the wire, a hundred in memory
    "messages that swell": lambda rng, boot: (
        frame(Envelope(boot_id=boot).SerializeToString() + b"\x9a\x01\xc0\x07" + b"\x72\x00" * 480) * 3
    ),
    "answers that nobody asked for": lambda rng, boot: (
        sealed(Envelope(boot_id=boot, ack={"id": int(rng.integers(2**32)), "outcome": 1}))
        + sealed(Envelope(boot_id=boot, sync_response={"host_sent_t_ns": 2**64 - 1, "board_sent_t_ns": 2**64 - 1}))
    ),
    "stamps beyond time": lambda rng, boot: sealed(
        Envelope(
            boot_id=boot,
            t_us=2**64 - 1,
            imu_batch={"first_sample_t_ns": 2**64 - 1, "gyro_counts": [2**31 - 1] * 60, "period_ns": 2**32 - 1},
        )
    ),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_peer_costs_no_memory_and_touches_no_other_board(
    simulated: SimulatedBoard, tmp_path: Path, how: str
) -> None:
    rng, stop = np.random.default_rng(1), threading.Event()
    with (
        SimulatedBoard(tmp_path / "hostile", uid=OTHER_UID) as hostile,
        devices.open_board(str(hostile.port)) as bad,
        devices.open_board(str(simulated.port)) as good,
    ):

        def attack() -> None:
            while not stop.is_set():
                hostile.say(HOSTILE[how](rng, hostile.boot_id))
                time.sleep(0.0005)

        before = resident_bytes()
        thread = threading.Thread(target=attack, daemon=True)
        thread.start()
        good.stream(True)
        came = listened(good, 1.0)
        stop.set()
        thread.join()
        assert resident_bytes() - before < 24 << 20
        unpacker = ImuUnpacker()
        taken = bad.receive(0.1)
        assert len(taken) <= 8192
        for message in taken:
            unpacker.add(message)
        seqs = [one.envelope.seq for one in came]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) and not good.losses.any, good.losses
        assert {one.envelope.boot_id for one in came} == {simulated.boot_id}
        # It comes to its senses, and is a board again.
        hostile.say(b"\0")
        until(lambda: bad.connected)
        bad.command(MarkTakeStart(), timeout_s=10.0)


def test_a_peer_that_never_reads_does_not_block_the_host() -> None:
    hello = Envelope(boot_id=1, hello=Hello(protocol_version=1, uid=OTHER_UID))
    with deaf_port(frame(hello.SerializeToString())) as port, devices.open_board(port) as board:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            with pytest.raises(DeviceError, match="did not answer"):
                board.command(SetImuRate(rate_hz=500), timeout_s=0.2)
        assert any(one.body == "hello" for one in board.receive(0.5))


def test_messages_that_nobody_takes_push_out_the_oldest_and_are_counted(simulated: SimulatedBoard) -> None:
    with devices.open_board(str(simulated.port), params=devices.BoardParams(most_messages=20)) as board:
        board.stream(True)
        until(lambda: board.losses.queue_full > 10)
        assert len(board.receive(0)) <= 20
