"""Damaged and hostile recordings cost what is damaged and nothing else, neither data nor memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import jpeg, new_session, record

from handcap.session import read
from handcap.session.chunks import CHUNK_LIMIT_BYTES, ChunkSpan, chunk_spans, load
from handcap.session.records import BadChunk, Channels, messages

MAGIC = b"\x89MCAP0\r\n"
SEGMENT = "raw/0001/seg-0000.mcap"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of IMU and small pictures: 12 chunks."""
    path = tmp_path_factory.mktemp("damage") / "s"
    with new_session(path) as session, session.start_take() as take:
        record(take, 3.0, jpeg())
    return path


@pytest.fixture(scope="module")
def intact(folder: Path) -> bytes:
    return (folder / SEGMENT).read_bytes()


def spans_of(path: Path) -> list[ChunkSpan]:
    return list(chunk_spans(path, Channels(), lambda _at, _what: None, torn=False))


def test_a_flipped_bit_costs_one_chunk_and_is_reported(
    folder: Path, intact: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder / SEGMENT
    path.write_bytes(intact)
    spans = spans_of(path)
    assert len(spans) == 12
    for n in (0, 5, 11):  # the first holds the definitions of all channels
        data = bytearray(intact)
        data[spans[n].data_offset + spans[n].data_bytes // 2] ^= 0x10
        path.write_bytes(data)
        caplog.clear()
        take = read(folder).take("0001")
        lost = np.arange(5) * 50_000_000 + n * 250_000_000
        np.testing.assert_array_equal(take.camera_stamps("head"), np.setdiff1d(np.arange(60) * 50_000_000, lost))
        assert len(take.imu("head")) == 3000 - 250
        assert len(list(take.frames("head"))) == 55
        [damage] = take.damage
        assert (damage.file, damage.offset) == (SEGMENT, spans[n].offset) and "checksum" in damage.what
        assert SEGMENT in caplog.text
        assert take.missing("head") == (5 if n < 11 else 0)  # nothing follows the last to tell of it


@given(data=st.data())
def test_any_flipped_bit_anywhere_costs_at_most_one_chunk(data: st.DataObject, folder: Path, intact: bytes) -> None:
    path = folder / SEGMENT
    path.write_bytes(intact)
    spans = spans_of(path)
    # Records between the chunks are small; draw from them as often as from the pictures.
    between = [at for a, b in zip(spans, spans[1:], strict=False) for at in range(a.end, b.data_offset)]
    edges = [*range(spans[0].data_offset), *between, *range(spans[-1].end, len(intact))]
    at = data.draw(st.one_of(st.sampled_from(edges), st.integers(0, len(intact) - 1)))
    bit = data.draw(st.integers(0, 7))
    flipped = bytearray(intact)
    flipped[at] ^= 1 << bit
    path.write_bytes(flipped)
    take = read(folder).take("0001")
    stamps = take.camera_stamps("head")
    assert len(stamps) >= 55 and len(take.imu("head")) >= 2750
    assert np.all(np.isin(stamps, np.arange(60) * 50_000_000))
    assert [p.data for p in take.packets("head")] == [jpeg()] * len(stamps)
    if len(stamps) < 60:
        assert take.damage


def test_every_bit_of_what_lies_around_the_chunks_was_tried(folder: Path, intact: bytes) -> None:
    """Headers, channel names and indexes carry no CRC; a wrong length there must not jump over chunks."""
    path = folder / SEGMENT
    path.write_bytes(intact)
    spans = spans_of(path)
    head_bytes = spans[0].data_offset - spans[0].offset
    around = [*range(spans[0].data_offset), *range(spans[0].end, spans[1].data_offset)]
    with open(path, "r+b", buffering=0) as file:
        for at in around:
            for bit in range(8):
                file.seek(at)
                file.write(bytes([intact[at] ^ 1 << bit]))
                damage: list[int] = []
                found = list(chunk_spans(path, Channels(), lambda at, _, seen=damage: seen.append(at), torn=False))
                in_chunk_head = any(s.offset <= at < s.offset + head_bytes for s in spans)
                assert len(found) >= (11 if in_chunk_head else 12), (at, bit)
                assert len(found) == 12 or damage, (at, bit)
            file.seek(at)
            file.write(intact[at : at + 1])


@given(size=st.integers(0, 200_000))
def test_a_cut_file_reads_up_to_its_last_whole_chunk(size: int, folder: Path, intact: bytes) -> None:
    path = folder / SEGMENT
    path.write_bytes(intact)
    size = min(size, len(intact))
    whole = sum(span.end <= size for span in spans_of(path))
    os.truncate(path, size)
    take = read(folder).take("0001")
    assert bool(take.damage) == (size < len(intact))
    assert take.cameras == (("head",) if whole else ())
    if whole:
        assert len(take.camera_stamps("head")) == 5 * whole and len(take.imu("head")) == 250 * whole


def chunk(content: bytes, *, size: int | None = None, compression: bytes = b"", crc: int | None = None) -> bytes:
    """One chunk record; `content` is stored as given, the rest may lie."""
    body = struct.pack(
        "<QQQI", 0, 0, len(content) if size is None else size, zlib.crc32(content) if crc is None else crc
    )
    body += struct.pack("<I", len(compression)) + compression + struct.pack("<Q", len(content)) + content
    return b"\x06" + struct.pack("<Q", len(body)) + body


def only_chunk(tmp_path: Path, record: bytes) -> tuple[Path, ChunkSpan]:
    path = tmp_path / "seg-0000.mcap"
    path.write_bytes(MAGIC + record)
    [span] = spans_of(path)
    return path, span


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compressed_chunk_that_tells_the_truth_is_read(tmp_path: Path, compression: str) -> None:
    import lz4.frame
    import zstandard

    content = os.urandom(1000) + bytes(1000)
    packed: bytes = zstandard.compress(content) if compression == "zstd" else lz4.frame.compress(content)
    path, span = only_chunk(
        tmp_path, chunk(packed, size=2000, compression=compression.encode(), crc=zlib.crc32(content))
    )
    with open(path, "rb") as file:
        assert bytes(load(file, span)) == content


# Packs a gigabyte of zeros into little, under several claims, and prints by how many MB memory grew over refusing it.
BOMBS = """
import io, sys, zlib
from pathlib import Path
import lz4.frame, zstandard
from handcap.session.chunks import load
from handcap.session.records import BadChunk
from test_session_damage import chunk, only_chunk
# Not getrusage: a child's peak there starts at its parent's.
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
piece = bytes(1 << 20)
for name, packer in (("zstd", zstandard.ZstdCompressor().compressobj()), ("lz4", lz4.frame.LZ4FrameCompressor())):
    begin = packer.begin() if name == "lz4" else b""
    packed = begin + b"".join(packer.compress(piece) for _ in range(1024)) + packer.flush()
    for claimed in (1_000, 4 << 20, 100 << 20, 255 << 20, 1 << 30, (1 << 64) - 1):
        path, span = only_chunk(Path(sys.argv[1]), chunk(packed, size=claimed, compression=name.encode(), crc=0))
        before = peak()
        with open(path, "rb") as file:
            try:
                load(file, span)
            except BadChunk as error:
                print(name, claimed, len(packed), peak() - before)
"""


def test_a_chunk_that_would_inflate_to_a_gigabyte_is_refused_without_inflating_it(tmp_path: Path) -> None:
    done = run_measured(BOMBS, tmp_path)
    lines = [line.split() for line in done.splitlines()]
    assert len(lines) == 12  # every one was refused
    for name, claimed, packed_bytes, growth_mb in lines:
        assert int(packed_bytes) < 5_000_000, name
        # What a chunk may honestly claim may be inflated to see that it lies; never more.
        allowed_mb = 40 + (2.2 * int(claimed) / 2**20 if int(claimed) <= CHUNK_LIMIT_BYTES else 0)
        assert float(growth_mb) < allowed_mb, (name, claimed)


def run_measured(code: str, path: Path) -> str:
    """Run `code` in a process of its own, where peak memory is its own doing; returns what it prints."""
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_lengths_that_lie_allocate_nothing(tmp_path: Path) -> None:
    for lie in (1 << 20, 1 << 31, 1 << 40, (1 << 64) - 1):
        for opcode in (3, 4, 5, 0x7F):
            content = bytes([opcode]) + struct.pack("<Q", lie) + bytes(64)
            with pytest.raises(BadChunk):
                list(messages(memoryview(content), Channels()))
        path = tmp_path / "seg-0000.mcap"
        for opcode in range(1, 0x20):
            path.write_bytes(MAGIC + bytes([opcode]) + struct.pack("<Q", lie) + bytes(300))
            assert spans_of(path) == []


@given(st.binary(max_size=300))
def test_no_bytes_inside_a_chunk_can_crash_the_reader(content: bytes) -> None:
    try:
        for message in messages(memoryview(content), Channels()):
            assert len(message.data) <= len(content)
    except BadChunk:
        pass


@given(content=st.binary(max_size=400))
def test_no_file_can_crash_the_reader(folder: Path, content: bytes) -> None:
    for start in (b"", MAGIC, MAGIC + chunk(content)):
        (folder / SEGMENT).write_bytes(start + content)
        take = read(folder).take("0001")
        assert take.cameras == () and take.damage


# Writes and reads an hour of 500 Hz IMU in bounded memory; prints seconds read and the growth of memory in MB.
HOUR = """
import sys
from pathlib import Path
import numpy as np
from recording import imu_block, new_session
from handcap.session import read
# Not getrusage: a child's peak there starts at its parent's.
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
path = Path(sys.argv[1])
with new_session(path) as session, session.start_take() as take:
    for second in range(3600):
        take.add_imu_si("left", *imu_block(second * 10**9, 500, 2_000_000))
written = peak()
take = read(path).take("0001")
samples = sum(len(batch) for batch in take.imu_batches("left"))
assert take.damage == ()
print(samples, len(take.raw_sha256()), written, peak())
"""


def test_an_hour_is_written_and_read_in_bounded_memory(tmp_path: Path) -> None:
    done = run_measured(HOUR, tmp_path / "s")
    samples, segments, written_mb, read_mb = done.split()
    assert int(samples) == 3600 * 500 and int(segments) == 60
    assert float(written_mb) < 250 and float(read_mb) - float(written_mb) < 60, done
