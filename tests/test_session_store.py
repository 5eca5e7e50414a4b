"""What is written into a session is what is read from it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from recording import FISHEYE, RIG, imu_block, jpeg, new_session, record, session_meta

from handcap.errors import SessionError
from handcap.session import create, read
from handcap.session.chunks import chunk_spans
from handcap.session.pictures import picture_size
from handcap.session.records import Channels
from handcap.wire.handcap_pb2 import Envelope, ImuBatch


@pytest.fixture(scope="module")
def picture() -> bytes:
    return jpeg()


def test_pictures_come_back_byte_for_byte_and_samples_bit_for_bit(tmp_path: Path, picture: bytes) -> None:
    with new_session(tmp_path / "s") as session, session.start_take("wipe the table") as take:
        record(take, 2.0, picture)
        take.add_imu_si("left", *imu_block(7, 10))
    session = read(tmp_path / "s")
    take = session.take("0001")
    assert session.takes == ("0001",) and take.cameras == ("head",) and take.devices == ("head", "left")
    assert [p.data for p in take.packets("head")] == [picture] * 40
    np.testing.assert_array_equal(take.camera_stamps("head"), np.arange(40) * 50_000_000)
    t_ns, gyro, accel = imu_block(7, 10)
    samples = take.imu("left")  # R_imu_chip of left is the identity
    np.testing.assert_array_equal(samples.t_ns, t_ns)
    np.testing.assert_array_equal(samples.gyro_imu, gyro)
    np.testing.assert_array_equal(samples.accel_imu, accel)
    assert len(take.imu("head")) == 2000 and take.damage == () and take.missing("head") == 0
    ended = session.journal()["0001"]
    assert ended.state == "ended" and ended.task == "wipe the table"
    assert ended.counts == {"/camera/head": 40, "/head/imu": 2000, "/left/imu": 10}


def test_samples_are_turned_into_imu_axes(tmp_path: Path) -> None:
    with new_session(tmp_path / "s") as session, session.start_take() as take:
        take.add_imu_si("head", [0, 1], [[1.0, 0, 0], [0, 1.0, 0]], [[0, 0, 9.8], [1.0, 0, 0]])
    samples = read(tmp_path / "s").take("0001").imu("head")  # a quarter turn about z takes x to y
    np.testing.assert_allclose(samples.gyro_imu, [[0, 1, 0], [-1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(samples.accel_imu, [[0, 0, 9.8], [0, 1, 0]], atol=1e-12)


def test_a_take_longer_than_a_minute_is_cut_into_segments_and_reads_as_one(tmp_path: Path) -> None:
    with new_session(tmp_path / "s") as session, session.start_take() as take:
        for second in range(130):
            take.add_imu_si("left", *imu_block(second * 10**9, 100, 10_000_000))
    take = read(tmp_path / "s").take("0001")
    assert sorted(take.raw_sha256()) == [f"raw/0001/seg-000{i}.mcap" for i in range(3)]
    samples = take.imu("left")
    np.testing.assert_array_equal(samples.t_ns, np.arange(13000) * 10_000_000)
    assert sum(len(batch) for batch in take.imu_batches("left")) == 13000


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, picture: bytes) -> None:
    for name in "ab":
        with new_session(tmp_path / name) as session:
            for start in (0.0, 70.0):
                with session.start_take() as take:
                    record(take, 3.0, picture, start)
    for path in ("raw/0001/seg-0000.mcap", "raw/0002/seg-0000.mcap", "rig.json", "session.json"):
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


def test_any_mcap_tool_can_decode_what_we_write(tmp_path: Path, picture: bytes) -> None:
    from mcap.reader import make_reader
    from mcap_protobuf.decoder import DecoderFactory

    with new_session(tmp_path / "s") as session, session.start_take() as take:
        record(take, 0.5, picture)
    with open(tmp_path / "s/raw/0001/seg-0000.mcap", "rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        decoded = {schema.name: message for schema, _, _, message in reader.iter_decoded_messages()}
    assert decoded["foxglove.CompressedImage"].data == picture
    assert decoded["foxglove.CompressedImage"].frame_id == "cam_head"
    assert list(decoded["handcap.ImuSI"].t_ns) == list(imu_block(450_000_000, 50)[0])


def test_frames_that_do_not_decode_are_skipped_and_counted(
    tmp_path: Path, picture: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    huge = bytearray(picture)
    at = huge.find(b"\xff\xc0")
    huge[at + 5 : at + 9] = b"\xff\xff\xff\xff"  # claims 65535 × 65535
    with new_session(tmp_path / "s") as session, session.start_take() as take:
        for i, data in enumerate([picture, b"not a picture", picture[:-200], picture, bytes(huge), b""]):
            take.add_image("head", i * 10, data, "jpeg")
    take = read(tmp_path / "s").take("0001")
    with caplog.at_level(logging.WARNING):
        frames = list(take.frames("head"))
    assert [f.t_ns for f in frames] == [0, 30] and frames[0].image.shape == (48, 64)
    assert take.undecodable("head") == (10, 20, 40, 50)
    assert "does not decode" in caplog.text
    assert next(take.frames("head", grey=False)).image.shape == (48, 64, 3)
    assert len(take.camera_stamps("head")) == 6
    assert picture_size(picture) == (64, 48)


def test_repeated_and_backward_stamps_are_dropped_and_counted(tmp_path: Path, picture: bytes) -> None:
    with new_session(tmp_path / "s") as session, session.start_take() as take:
        take.add_imu_si("left", *imu_block(0, 100))
        take.add_imu_si("left", *imu_block(50_000_000, 100))  # half of it again
        take.add_imu_si("left", *imu_block(150_000_000, 10))
        for t_ns in (0, 20, 10, 30, 30, 40):  # two swapped, one twice
            take.add_image("head", t_ns, picture, "jpeg")
    take = read(tmp_path / "s").take("0001")
    np.testing.assert_array_equal(take.imu("left").t_ns, np.arange(160) * 1_000_000)
    assert take.imu_dropped("left") == 50
    assert [p.t_ns for p in take.packets("head")] == [0, 10, 20, 30, 40]
    np.testing.assert_array_equal(take.camera_stamps("head"), [0, 10, 20, 30, 40])


@pytest.mark.parametrize(("gyro", "accel"), [(0.1, 1e4), (150.0, 9.8), (20.0, 9.8)])
def test_a_sample_misread_on_the_bus_is_left_out_and_a_wrong_unit_is_not(
    tmp_path: Path, gyro: float, accel: float
) -> None:
    def samples(spikes: list[int]) -> tuple[int, int]:
        rates, forces = np.full((400, 3), 0.1), np.full((400, 3), 5.0)
        rates[spikes, 1], forces[spikes, 2] = gyro, accel
        folder = tmp_path / f"{len(spikes)}"
        with new_session(folder) as session, session.start_take() as take:
            take.add_imu_si("left", np.arange(400) * 5_000_000, rates, forces)
        take_read = read(folder).take("0001")
        return len(take_read.imu("left")), take_read.imu_dropped("left")

    assert samples([200]) == (399, 1)
    assert samples(list(range(400))) == (400, 0)


def test_raw_counts_of_a_board_come_out_in_si_on_the_session_clock(tmp_path: Path) -> None:
    batch = ImuBatch(
        first_sample_t_ns=5_000_000_000,
        period_ns=1_000_000,
        gyro_counts=[1, -2, 3, 4, 5, -6],
        accel_counts=[100, 0, 0, 0, -100, 0],
        gyro_scale=0.001,
        accel_scale=0.01,
    )
    with new_session(tmp_path / "s") as session, session.start_take() as take:
        take.add_wire("left", 7_000_000_000, Envelope(seq=1, t_us=5_000_000, boot_id=9, imu_batch=batch))
        session.journal.clock_fit("left", 7_000_000_000, 2.0, 0.0, 1e-5, take="0001")
    samples = read(tmp_path / "s").take("0001").imu("left")
    np.testing.assert_array_equal(samples.t_ns, [7_000_000_000, 7_001_000_000])
    np.testing.assert_allclose(samples.gyro_imu, [[0.001, -0.002, 0.003], [0.004, 0.005, -0.006]])
    np.testing.assert_allclose(samples.accel_imu, [[1, 0, 0], [0, -1, 0]])


def test_board_samples_without_a_clock_fit_are_reported_not_guessed(tmp_path: Path) -> None:
    batch = ImuBatch(first_sample_t_ns=5, period_ns=1, gyro_counts=[1, 2, 3], accel_counts=[1, 2, 3])
    with new_session(tmp_path / "s") as session, session.start_take() as take:
        take.add_wire("left", 7, Envelope(imu_batch=batch))
    take = read(tmp_path / "s").take("0001")
    assert len(take.imu("left")) == 0
    assert "clock" in take.damage[0].what


def test_video_decodes_in_order_and_waits_for_a_key_frame_after_a_gap(tmp_path: Path) -> None:
    units = h264_units(30, key_every=10)
    with new_session(tmp_path / "s") as session, session.start_take() as take:
        for i, unit in enumerate(units):
            take.add_video("head", i * 33_000_000, unit)
    whole = read(tmp_path / "s").take("0001")
    frames = list(whole.frames("head"))
    assert [f.t_ns for f in frames] == [i * 33_000_000 for i in range(30)]
    assert frames[0].image.shape == (48, 64) and whole.undecodable("head") == ()
    # Flip a bit in the chunk that holds frame 12: it and what refers to it are lost, frame 20 is a key frame.
    path = tmp_path / "s/raw/0001/seg-0000.mcap"
    spans = list(chunk_spans(path, Channels(), lambda _at, _what: None, torn=False))
    data = bytearray(path.read_bytes())
    data[spans[1].data_offset + 100] ^= 1
    path.write_bytes(data)
    take = read(tmp_path / "s").take("0001")
    stamps = [f.t_ns // 33_000_000 for f in take.frames("head")]
    assert stamps == [*range(8), *range(20, 30)]
    assert take.missing("head") == 8 and len(take.undecodable("head")) == 4


def h264_units(n: int, key_every: int) -> list[bytes]:
    import av

    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 64, 48, "yuv420p", 30
    encoder.options = {
        "bf": "0",
        "g": str(key_every),
        "tune": "zerolatency",
        "x264-params": "repeat-headers=1:scenecut=0",
    }
    units: list[bytes] = []
    for i in range(n):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), i * 8, np.uint8), format="rgb24")
        frame.pts = i
        units += [bytes(packet) for packet in encoder.encode(frame)]
    return units + [bytes(packet) for packet in encoder.encode(None)]


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(SessionError, match="not empty"):
        create(tmp_path, session_meta(), RIG)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_session_from_a_newer_version_is_refused(tmp_path: Path) -> None:
    new_session(tmp_path / "s").close()
    path = tmp_path / "s/session.json"
    for version in (2, "2"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": version}))
        with pytest.raises(SessionError, match="newer handcap") as error:
            read(tmp_path / "s")
        assert "update" in (error.value.mend or "")


@pytest.mark.parametrize(
    "content", [None, "", "[]", '{"format_version": 1}', "{" * 10, '{"format_version": "x"}', "[" * 99_999]
)
def test_a_session_json_that_is_missing_or_torn_is_named(tmp_path: Path, content: str | None) -> None:
    new_session(tmp_path / "s").close()
    path = tmp_path / "s/session.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(SessionError) as error:
        read(tmp_path / "s")
    assert error.value.where and error.value.mend


def test_an_unknown_take_camera_or_device_is_answered_with_those_that_exist(tmp_path: Path, picture: bytes) -> None:
    with new_session(tmp_path / "s") as session, session.start_take() as take:
        record(take, 0.1, picture)
    session = read(tmp_path / "s")
    with pytest.raises(SessionError, match="0001"):
        session.take("0002")
    with pytest.raises(SessionError, match="cameras: head"):
        next(session.take("0001").packets("right"))
    with pytest.raises(SessionError, match="devices: head"):
        session.take("0001").imu("right")


@pytest.mark.parametrize("name", ["../head", "Head", "", "a/b", "a" * 65, "head\n"])
def test_names_that_could_leave_the_folder_are_refused(tmp_path: Path, name: str, picture: bytes) -> None:
    with (
        new_session(tmp_path / "s") as session,
        session.start_take() as take,
        pytest.raises(SessionError, match="name"),
    ):
        take.add_image(name, 0, picture, "jpeg")
    with pytest.raises(SessionError, match="name"):
        read(tmp_path / "s").derived("0001", name)


def test_links_are_not_followed(tmp_path: Path) -> None:
    new_session(tmp_path / "s").close()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s/raw/0001").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SessionError, match="link"):
        _ = read(tmp_path / "s").takes


def test_an_exception_inside_a_take_keeps_its_data_and_is_journalled(tmp_path: Path, picture: bytes) -> None:
    def recorder() -> None:
        with new_session(tmp_path / "s") as session, session.start_take() as take:
            record(take, 1.0, picture)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        recorder()
    session = read(tmp_path / "s")
    assert session.journal()["0001"].state == "interrupted" and session.journal()["0001"].counts is None
    assert len(session.take("0001").camera_stamps("head")) == 20


def test_writing_is_twenty_times_faster_than_recording(tmp_path: Path) -> None:
    import time

    frame = bytes(60_000)
    begin = time.process_time()
    with new_session(tmp_path / "s") as session, session.start_take() as take:
        for i in range(300):
            if i % 3 == 0:
                take.add_imu_si("head", *imu_block(i * 33_333_333, 100))
            take.add_image("head", i * 33_333_333, frame, "jpeg")
            take.add_image("left", i * 33_333_333, frame, "jpeg")
    assert time.process_time() - begin < 10 / 20


def test_a_stamp_below_zero_is_refused(tmp_path: Path, picture: bytes) -> None:
    with (
        new_session(tmp_path / "s") as session,
        session.start_take() as take,
        pytest.raises(SessionError, match="negative"),
    ):
        take.add_image("head", -1, picture, "jpeg")


def test_a_fisheye_rig_survives_the_session(tmp_path: Path) -> None:
    new_session(tmp_path / "s").close()
    assert read(tmp_path / "s").rig.cameras["left"].camera == FISHEYE
