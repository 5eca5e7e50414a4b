"""Board and host frame and deframe alike: the board's own C against Python, on any bytes."""

from __future__ import annotations

import ctypes
import random

import pytest
from firmware_make import FIRMWARE, run_make
from hypothesis import given
from hypothesis import strategies as st

from handcap.wire.framing import Deframer, frame

MESSAGES_MAX = 1000  # bytes; the longest that a frame of 1024 holds is a little longer


@pytest.fixture(scope="module")
def board() -> ctypes.CDLL:
    run_make("library")
    library = ctypes.CDLL(str(FIRMWARE / "build" / "libframing.so"))
    library.library_frame.restype = ctypes.c_size_t
    library.library_deframe.restype = ctypes.c_size_t
    return library


def framed_by(board: ctypes.CDLL, message: bytes) -> bytes:
    out = ctypes.create_string_buffer(2048)
    length = board.library_frame(message, ctypes.c_size_t(len(message)), out)
    return out.raw[:length]


def deframed_by(board: ctypes.CDLL, stream: bytes) -> tuple[list[bytes], tuple[int, int, int]]:
    """Messages, and losses by CRC, by frame, by length."""
    out = ctypes.create_string_buffer(3 * len(stream) + 1)
    losses = (ctypes.c_uint32 * 3)()
    length = board.library_deframe(stream, ctypes.c_size_t(len(stream)), out, losses)
    rest = out.raw[:length]
    messages: list[bytes] = []
    while rest:
        length = int.from_bytes(rest[:2], "little")
        messages.append(rest[2 : 2 + length])
        rest = rest[2 + length :]
    return messages, (losses[0], losses[1], losses[2])


def deframed_by_host(stream: bytes) -> tuple[list[bytes], tuple[int, int, int]]:
    deframer = Deframer()
    messages = deframer.push(stream)
    losses = deframer.losses
    return messages, (losses.bad_crc, losses.bad_cobs + losses.too_short, losses.too_long)


messages = st.lists(st.binary(min_size=1, max_size=MESSAGES_MAX), max_size=6)


@given(message=st.binary(min_size=1, max_size=MESSAGES_MAX))
def test_both_make_the_same_frame(board: ctypes.CDLL, message: bytes) -> None:
    assert framed_by(board, message) == frame(message)


@given(sent=messages)
def test_what_the_host_sends_reaches_the_board(board: ctypes.CDLL, sent: list[bytes]) -> None:
    assert deframed_by(board, b"".join(frame(message) for message in sent)) == (sent, (0, 0, 0))


@given(sent=messages, damage=st.randoms(use_true_random=False), count=st.integers(1, 20))
def test_both_agree_on_what_is_left_of_a_damaged_stream(
    board: ctypes.CDLL, sent: list[bytes], damage: random.Random, count: int
) -> None:
    stream = bytearray(b"\0" + b"".join(frame(message) for message in sent))  # zero: no frame cut at the start
    for _ in range(count):
        at = damage.randrange(len(stream))
        match damage.randrange(4):
            case 0:
                stream[at] ^= 1 << damage.randrange(8)
            case 1:
                stream[at : at + damage.randrange(1, 300)] = b"\1"  # bytes lost
            case 2:
                stream[at:at] = stream[at : at + damage.randrange(1, 300)]  # bytes twice
            case _:
                stream[at] = 0
    stream[0] = 0
    assert deframed_by(board, bytes(stream)) == deframed_by_host(bytes(stream))


@given(noise=st.binary(max_size=5000))
def test_both_agree_on_noise(board: ctypes.CDLL, noise: bytes) -> None:
    assert deframed_by(board, b"\0" + noise) == deframed_by_host(b"\0" + noise)
