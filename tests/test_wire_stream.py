"""Envelopes of one board: gaps counted, restarts told from losses, versions that must agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handcap.errors import WireError
from handcap.wire import NODE_FRAME_MAX, MessageStream, frame, require_version
from handcap.wire.handcap_pb2 import Envelope, Hello, Log, VideoFrame

SPAN = 2**32


def sent(seq: int, boot_id: int = 7, text: str = "x") -> bytes:
    return frame(Envelope(seq=seq % SPAN, boot_id=boot_id, log=Log(text=text)).SerializeToString())


@given(st.integers(0, SPAN - 1), st.lists(st.booleans(), min_size=1, max_size=60))
def test_every_message_that_is_missing_between_two_others_is_counted(first: int, kept: list[bool]) -> None:
    stream = MessageStream()
    came = stream.push(b"".join(sent(first + at) for at, keep in enumerate([True, *kept, True]) if keep))
    assert len(came) == kept.count(True) + 2
    assert stream.losses.messages_missing == kept.count(False)
    assert stream.losses.out_of_order == 0


def test_a_gap_is_one_gap_whatever_its_length() -> None:
    stream = MessageStream()
    stream.push(sent(SPAN - 2) + sent(5) + sent(6) + sent(8))
    assert (stream.losses.gaps, stream.losses.messages_missing) == (2, 7)


@given(st.integers(0, SPAN - 1), st.integers(0, SPAN - 1))
def test_a_restart_is_no_loss(before: int, after: int) -> None:
    stream = MessageStream()
    came = stream.push(sent(before) + sent(after, boot_id=8) + sent(after + 1, boot_id=8))
    assert [one.rebooted for one in came] == [False, True, False]
    assert stream.reboots == 1 and stream.losses.messages_missing == 0 and stream.losses.out_of_order == 0


def test_a_message_that_comes_twice_is_out_of_order_and_no_gap() -> None:
    stream = MessageStream()
    stream.push(sent(4) + sent(5) + sent(5) + sent(6))
    assert stream.losses.out_of_order == 1 and stream.losses.messages_missing == 0


def test_a_damaged_message_is_counted_as_damaged_and_as_missing() -> None:
    stream, bad = MessageStream(), bytearray(sent(5))
    bad[3] ^= 4
    assert len(stream.push(sent(4) + bytes(bad) + sent(6))) == 2
    assert stream.deframer.losses.bad_crc == 1 and stream.losses.messages_missing == 1


def test_a_message_of_a_later_kind_is_counted_apart_and_leaves_no_gap() -> None:
    later = Envelope(seq=5, boot_id=7).SerializeToString() + b"\xfa\x3f\x02\x08\x01"  # field 1023
    stream = MessageStream()
    assert len(stream.push(sent(4) + frame(later) + sent(6))) == 2
    assert stream.losses.unknown_body == 1 and stream.losses.messages_missing == 0


def test_a_frame_that_holds_no_message_is_counted() -> None:
    stream = MessageStream()
    assert not stream.push(frame(b"\x0f\x01"))
    assert stream.losses.not_a_message == 1


def test_the_bytes_of_a_message_are_kept_as_they_came() -> None:
    data = Envelope(seq=1, boot_id=7, log=Log(text="x")).SerializeToString() + b"\xfa\x3f\x00"
    (came,) = MessageStream().push(frame(data))
    assert came.data == data and came.frame_bytes == len(frame(data))


def test_a_message_is_large_because_of_a_picture_or_not_at_all() -> None:
    """Eight million empty sensors fit into a frame of a node; decoded they would take a gigabyte."""
    stream = MessageStream(NODE_FRAME_MAX)
    picture = Envelope(seq=1, video_frame=VideoFrame(camera="head", data=bytes(3 << 20), frames_dropped=1))
    assert len(stream.push(frame(picture.SerializeToString()))) == 1
    sensors = b"\x32\x00" * (1 << 19)
    bloated = b"\x08\x02\x62" + _length(len(sensors)) + sensors
    names = Envelope(seq=2, video_frame=VideoFrame(camera="x" * (1 << 20))).SerializeToString()
    many = Envelope(seq=2, log=Log(text="x")).SerializeToString() * (1 << 15)
    for message in (bloated, names, many, b"\x0f" * (1 << 17), b"\xff" * (1 << 17)):
        assert stream.push(frame(message)) == []
    assert stream.losses.not_a_message == 5


def _length(n: int) -> bytes:
    told = b""
    while n > 127:
        told, n = told + bytes([n & 127 | 128]), n >> 7
    return told + bytes([n])


@given(st.binary(max_size=2000))
def test_any_bytes_in_frames_are_taken_without_a_word(data: bytes) -> None:
    stream = MessageStream()
    stream.push(data)
    stream.push(frame(data) + b"\0" + sent(1))
    assert stream.deframer.kept_bytes == 0


@pytest.mark.parametrize(("theirs", "also"), [(0, "flash"), (2, "install")])
def test_another_protocol_version_is_refused_with_both_versions_and_the_mend(theirs: int, also: str) -> None:
    with pytest.raises(WireError) as told:
        require_version(Hello(protocol_version=theirs, firmware_version="0.9.0"), "/dev/ttyACM0")
    assert f"version {theirs}" in told.value.what and "version 1" in told.value.what and "0.9.0" in told.value.what
    assert "handcap flash /dev/ttyACM0" in (told.value.mend or "") and also in (told.value.mend or "")
    require_version(Hello(protocol_version=1), "/dev/ttyACM0")
