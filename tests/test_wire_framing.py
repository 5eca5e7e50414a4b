"""Frames: what comes out is what went in, and every loss has a name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from handcap.wire.framing import SERIAL_FRAME_MAX, Deframer, frame
from handcap.wire.handcap_pb2 import Envelope

VECTORS = Path(__file__).resolve().parents[1] / "firmware" / "protocol" / "vectors"
GOOD = frame(b"good")
messages = st.lists(st.binary(min_size=1, max_size=300), max_size=8)


def rows(name: str) -> list[list[str]]:
    return [line.split(" ") for line in (VECTORS / name).read_text().splitlines()]


def values_of_messages() -> dict[str, Envelope]:
    told: dict[str, Envelope] = {}
    for block in (VECTORS / "messages.textproto").read_text().split("# ")[1:]:
        name, _, text = block.partition("\n")
        told[name] = text_format.Parse(text, Envelope())
    return told


def test_the_committed_vectors_are_those_the_tool_writes(repository: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate_vectors", repository / "tools/generate_vectors.py")
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.write(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_text() == (VECTORS / path.name).read_text(), "run `python tools/generate_vectors.py`"


def test_every_body_and_every_command_of_the_schema_has_a_vector() -> None:
    told = values_of_messages().values()
    assert {one.WhichOneof("body") for one in told} == {
        field.name for field in Envelope.DESCRIPTOR.oneofs_by_name["body"].fields
    }
    commands = {one.command.WhichOneof("what") for one in told if one.HasField("command")}
    what = Envelope.DESCRIPTOR.fields_by_name["command"].message_type.oneofs_by_name["what"].fields
    assert commands - {None} == {field.name for field in what}


@pytest.mark.parametrize("row", rows("messages.txt"), ids=lambda row: row[0])
def test_golden_frames_hold_their_values_and_values_give_their_frames(row: list[str]) -> None:
    name, framed = row[0], bytes.fromhex(row[1])
    (message,) = Deframer().push(framed)
    values = values_of_messages()[name]
    assert text_format.MessageToString(Envelope.FromString(message)) == text_format.MessageToString(values)
    assert frame(values.SerializeToString(deterministic=True)) == framed


@pytest.mark.parametrize("row", rows("framing.txt"), ids=lambda row: row[0])
def test_golden_bytes_are_framed_and_taken_out_alike(row: list[str]) -> None:
    _, message, framed = row[0], bytes.fromhex(row[1]), bytes.fromhex(row[2])
    assert frame(message) == framed
    assert Deframer().push(framed) == [message]


@pytest.mark.parametrize("row", rows("refused.txt"), ids=lambda row: row[0])
def test_damaged_frames_are_counted_under_their_reason_and_the_next_one_comes_through(row: list[str]) -> None:
    _, why, framed = row
    deframer = Deframer()
    assert deframer.push(GOOD) == [b"good"]
    came = deframer.push(bytes.fromhex(framed))
    counted = {name: count for name, count in deframer.losses.as_dict().items() if count}
    if why == "not_a_message":
        assert len(came) == 1 and not counted
        with pytest.raises(DecodeError):
            Envelope.FromString(came[0])
    else:
        assert not came and counted == {why: 1}
    assert deframer.push(GOOD) == [b"good"]


@given(messages, st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_messages_survive_whatever_pieces_they_come_in(sent: list[bytes], cuts: list[int]) -> None:
    stream, deframer, got = b"".join(map(frame, sent)), Deframer(), []
    while stream:
        for cut in cuts:
            got += deframer.push(stream[:cut])
            stream = stream[cut:]
    assert got == sent and not any(deframer.losses.as_dict().values()) and deframer.kept_bytes == 0


@given(st.lists(st.binary(max_size=3000), max_size=10))
def test_noise_never_raises_never_grows_and_the_next_frame_comes_through(noise: list[bytes]) -> None:
    deframer = Deframer()
    for piece in noise:
        deframer.push(piece)
        assert deframer.kept_bytes <= SERIAL_FRAME_MAX
    assert deframer.push(b"\0" + GOOD)[-1:] == [b"good"]


@given(st.binary(min_size=1, max_size=300), st.data())
def test_one_flipped_bit_never_gives_another_message(message: bytes, data: st.DataObject) -> None:
    framed = bytearray(frame(message))
    bit = data.draw(st.integers(0, 8 * len(framed) - 1))
    framed[bit // 8] ^= 1 << bit % 8
    deframer = Deframer()
    deframer.push(GOOD)
    assert deframer.push(bytes(framed)) == []
    # A zero that is gone joins two frames: both are lost, and the third one comes through.
    assert deframer.push(GOOD + GOOD)[-1:] == [b"good"]


def test_bytes_without_end_are_one_loss_and_take_no_memory() -> None:
    deframer = Deframer()
    for _ in range(1000):
        assert deframer.push(b"\x55" * 4096) == []
        assert deframer.kept_bytes <= SERIAL_FRAME_MAX
    assert deframer.push(b"\0" + GOOD) == [b"good"]
    assert deframer.losses.too_long == 1


def test_a_connection_that_opens_in_the_middle_of_a_frame_lost_nothing() -> None:
    deframer = Deframer()
    assert deframer.push(GOOD[3:] + GOOD) == [b"good"]
    assert deframer.losses.as_dict() == {"bad_cobs": 0, "too_short": 0, "bad_crc": 0, "too_long": 0, "cut_at_start": 1}


def test_the_longest_frame_passes_and_one_byte_more_does_not() -> None:
    for longest, passes in ((len(GOOD) - 1, True), (len(GOOD) - 2, False)):
        deframer = Deframer(longest)
        assert bool(deframer.push(GOOD)) == passes and deframer.losses.too_long == (not passes)
        in_pieces = Deframer(longest)
        assert any(in_pieces.push(bytes([byte])) for byte in GOOD) == passes


@pytest.mark.parametrize("half", [GOOD[:3], b"\x55" * 2 * SERIAL_FRAME_MAX])
def test_a_connection_that_broke_leaves_nothing_behind(half: bytes) -> None:
    deframer = Deframer()
    deframer.push(half)
    deframer.begin_again()
    assert deframer.push(GOOD) == [b"good"] and not any(deframer.losses.as_dict().values())
