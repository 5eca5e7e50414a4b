"""Write firmware/protocol/vectors/: messages with their exact bytes, and what must be refused.

`python tools/generate_vectors.py [FOLDER]`. The tests of the host and of the board read what it writes.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from cobs import cobs
from google.protobuf import text_format

from handcap.wire.framing import SERIAL_FRAME_MAX, frame
from handcap.wire.handcap_pb2 import (
    Ack,
    Button,
    Command,
    Encoder,
    Envelope,
    FrameStamp,
    HandJoints,
    Hello,
    Identify,
    ImuBatch,
    Light,
    Log,
    MarkTakeStart,
    RebootToBootloader,
    Sensor,
    SetImuRate,
    SetTrigger,
    Status,
    Stream,
    SyncRequest,
    SyncResponse,
    VideoFrame,
)

ROOT = Path(__file__).resolve().parent.parent
BOOT_ID = 0xC0FFEE01
UID = 0xE6605481DB318D34
SAMPLES = 20
NAN = float("nan")
E32, E64 = 2**32 - 1, 2**64 - 1


def imu() -> Sensor:
    return Sensor(
        kind="SENSOR_KIND_IMU",
        model="ICM-42688-P",
        state="SENSOR_STATE_RUNNING",
        identity=0x47,
        rate_hz=1000.0,
        gyro_range_rad_s=34.90658503988659,
        accel_range_m_s2=156.9064,
    )


def batch(gyro: list[int], accel: list[int]) -> ImuBatch:
    return ImuBatch(
        first_sample_t_ns=12_345_678_901,
        period_ns=1_000_137,
        gyro_counts=gyro,
        accel_counts=accel,
        gyro_scale=0.0010652644360316953,
        accel_scale=0.0047885131835937,
        fifo_overflows=3,
        temperature_c=31.25,
    )


def bodies() -> Iterator[tuple[str, Envelope]]:
    """Every message, and what is awkward about each."""
    wave = [(37 * i) % 60_000 - 30_000 for i in range(3 * SAMPLES)]
    yield "imu_batch", Envelope(imu_batch=batch(wave, wave[::-1]))
    yield "imu_batch_one_sample", Envelope(imu_batch=batch([1, -1, 2], [-2, 3, 2048]))
    yield "imu_batch_all_zero", Envelope(imu_batch=batch([0] * 60, [0] * 60))
    yield "imu_batch_largest", Envelope(imu_batch=batch([32767] * 60, [32767] * 60))
    yield "imu_batch_smallest", Envelope(imu_batch=batch([-32768] * 60, [-32768] * 60))
    yield "imu_batch_alternating", Envelope(imu_batch=batch([32767, -32768] * 30, [-32768, 32767] * 30))
    cold = batch([0, 0, 0], [0, 0, 2048])
    cold.temperature_c = NAN
    yield "imu_batch_temperature_unknown", Envelope(imu_batch=cold)
    yield "encoder", Envelope(encoder=encoder(list(range(0, 4096, 205))))
    yield "encoder_all_zero", Envelope(encoder=encoder([0] * SAMPLES))
    yield (
        "encoder_no_magnet",
        Envelope(encoder=Encoder(first_sample_t_ns=1, period_ns=10_000_000, counts_per_turn=4096, read_errors=7)),
    )
    weak = encoder([4095])
    weak.magnet_too_weak = True
    yield "encoder_weak_magnet", Envelope(encoder=weak)
    strong = encoder([4095])
    strong.magnet_too_strong = True
    yield "encoder_strong_magnet", Envelope(encoder=strong)
    yield "hello", Envelope(hello=hello(1))
    yield "hello_other_protocol", Envelope(hello=hello(E32))
    yield "hello_empty", Envelope(hello=Hello())
    yield "frame_stamp_strobe", Envelope(frame_stamp=stamp(strobe_seen=True, exposure_ns=4_998_211))
    yield "frame_stamp_pulse", Envelope(frame_stamp=stamp(exposure_ns=0))
    yield "frame_stamp_after_gap", Envelope(frame_stamp=stamp(gap_before=True, gap_code=17))
    yield "button_pressed", Envelope(button=Button(edge="EDGE_PRESSED", edge_t_ns=4_000_000_000, presses=1))
    yield "button_released", Envelope(button=Button(edge="EDGE_RELEASED", edge_t_ns=4_150_000_000, presses=1))
    yield "hand_joints", Envelope(hand_joints=HandJoints(t_ns=5, angle_rad=[0.0, 1.5, -0.25]))
    yield "sync_request", Envelope(sync_request=SyncRequest(host_sent_t_ns=98_765_432_109_876))
    yield "sync_request_at_zero", Envelope(sync_request=SyncRequest())
    yield (
        "sync_response",
        Envelope(
            sync_response=SyncResponse(
                host_sent_t_ns=98_765_432_109_876,
                board_received_t_ns=12_345_678_901,
                board_sent_t_ns=12_345_801_234,
            )
        ),
    )
    yield "sync_response_largest", Envelope(sync_response=SyncResponse(**dict.fromkeys(SYNC, E64)))
    yield "status_quiet", Envelope(status=Status(stack_free_bytes=6144, supply_v=NAN))
    yield "status_every_count", Envelope(status=every_count())
    yield "log", Envelope(log=Log(level="LEVEL_WARNING", text="FIFO reset"))
    yield "log_not_ascii", Envelope(log=Log(level="LEVEL_ERROR", text="-40 °C"))
    for name, what in commands().items():
        yield f"command_{name}", Envelope(command=Command(id=7, **what))
    yield "command_largest_id", Envelope(command=Command(id=E32, identify=Identify()))
    yield "command_without_what", Envelope(command=Command(id=9))
    for outcome in ("DONE", "REFUSED", "FAILED", "NOT_KNOWN"):
        text = {"REFUSED": "100, 200, 500 or 1000 Hz", "FAILED": "rate did not read back"}.get(outcome, "")
        yield f"ack_{outcome.lower()}", Envelope(ack=Ack(id=7, outcome=f"OUTCOME_{outcome}", text=text))
    yield (
        "video_frame",
        Envelope(
            video_frame=VideoFrame(
                camera="head",
                frame=41,
                capture_t_ns=98_765_432_109_876,
                encoding="ENCODING_MJPEG",
                width=1280,
                height=720,
                data=b"\xff\xd8\xff\xe0" + bytes(40) + b"\xff\xd9",
                frames_dropped=2,
            )
        ),
    )


SYNC = ("host_sent_t_ns", "board_received_t_ns", "board_sent_t_ns")


def encoder(angles: list[int]) -> Encoder:
    return Encoder(
        first_sample_t_ns=12_345_678_901,
        period_ns=5_000_000,
        angle_counts=angles,
        counts_per_turn=4096,
        magnet_found=True,
    )


def hello(version: int) -> Hello:
    sensors = [
        imu(),
        Sensor(kind="SENSOR_KIND_ENCODER", model="AS5600", state="SENSOR_STATE_ABSENT", rate_hz=200.0),
        Sensor(kind="SENSOR_KIND_TRIGGER", state="SENSOR_STATE_STOPPED", rate_hz=30.0),
        Sensor(kind="SENSOR_KIND_BUTTON", state="SENSOR_STATE_RUNNING"),
        Sensor(kind="SENSOR_KIND_LIGHT", state="SENSOR_STATE_RUNNING"),
    ]
    return Hello(
        protocol_version=version,
        board="rp2040",
        uid=UID,
        firmware_version="0.1.0",
        git_hash="0123456789ab+",
        sensors=sensors,
        boot_count=12,
        reset_cause="RESET_CAUSE_POWER",
    )


def stamp(*, exposure_ns: int = 0, strobe_seen: bool = False, gap_before: bool = False, gap_code: int = 0):
    return FrameStamp(
        camera=0,
        frame=1801,
        exposure_start_t_ns=60_033_331_000,
        exposure_ns=exposure_ns,
        strobe_seen=strobe_seen,
        gap_before=gap_before,
        gap_code=gap_code,
    )


def every_count() -> Status:
    """Each count another number, the last ones as large as they get."""
    status = Status(supply_v=3.25)
    counts = [f for f in Status.DESCRIPTOR.fields if f.cpp_type == f.CPPTYPE_UINT32]
    for at, one in enumerate(counts):
        setattr(status, one.name, E32 - at if at >= len(counts) - 2 else 100 + 17 * at)
    stuck = imu()
    stuck.state = Sensor.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_name["SENSOR_STATE_STUCK"].number
    status.sensors.append(stuck)
    return status


def commands() -> dict[str, dict[str, object]]:
    return {
        "identify": {"identify": Identify()},
        "stream_on": {"stream": Stream(on=True)},
        "stream_off": {"stream": Stream(on=False)},
        "set_imu_rate": {"set_imu_rate": SetImuRate(rate_hz=500)},
        "set_trigger": {"set_trigger": SetTrigger(on=True, rate_mhz=30_000, exposure_us=5_000)},
        "set_trigger_off": {"set_trigger": SetTrigger()},
        "light": {"light": Light(red=255, green=128, blink_ms=250)},
        "reboot_to_bootloader": {"reboot_to_bootloader": RebootToBootloader()},
        "mark_take_start": {"mark_take_start": MarkTakeStart()},
    }


def messages() -> dict[str, Envelope]:
    """Name to envelope. The head counts up, with the largest numbers it can hold at the end."""
    told: dict[str, Envelope] = {}
    for seq, (name, envelope) in enumerate(bodies()):
        envelope.seq, envelope.t_us, envelope.boot_id = seq, 1_000_000 + 1_000 * seq, BOOT_ID
        told[name] = envelope
    told["head_of_zeros"] = Envelope(log=Log(level="LEVEL_INFO", text="first"))
    told["head_largest"] = Envelope(seq=E32, t_us=E64, boot_id=E32, log=Log(level="LEVEL_INFO", text="last"))
    return told


def framings() -> dict[str, bytes]:
    """Name to message, whatever it may mean: runs of zeros, and the lengths where COBS begins a new block."""
    told = {
        "one_zero": b"\0",
        "four_zeros": bytes(4),
        "zeros_254": bytes(254),
        "zeros_1000": bytes(1000),
        "zero_first": b"\0\1\2\3",
        "zero_last": b"\1\2\3\0",
        "zero_between": b"\1\0\2\0\3",
        "all_ones": b"\xff" * 300,
        "every_byte": bytes(range(256)),
        "every_byte_backwards": bytes(range(255, -1, -1)),
    }
    # With its CRC the whole must be free of zeros for so many bytes: the first byte is chosen so that it is.
    for run in (252, 253, 254, 255, 256, 507, 508, 509, 510):
        told[f"nonzero_{run}"] = without_zeros(run)
        told[f"nonzero_{run}_then_zero"] = b"\1" * run + b"\0\1"
    told["longest"] = without_zeros(SERIAL_FRAME_MAX - 1 - (SERIAL_FRAME_MAX - 1) // 254)
    return told


def without_zeros(length: int) -> bytes:
    """`length - 4` bytes which with their CRC hold no zero."""
    for first in range(1, 256):
        message = bytes([first]) + b"\1" * (length - 5)
        if 0 not in zlib.crc32(message).to_bytes(4, "little"):
            return message
    raise AssertionError("no such message")


def refused(good: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Name, why, and the bytes of a frame which must not become a message."""
    encoded = good[:-1]
    for bit in (0, 8 * 20 + 3, 8 * (len(encoded) - 1)):
        changed = bytearray(encoded)
        changed[bit // 8] ^= 1 << bit % 8
        reason = _reason(bytes(changed))
        yield f"bit_{bit}_flipped", reason, bytes(changed) + b"\0"
    yield "last_byte_missing", _reason(encoded[:-1]), encoded[:-1] + b"\0"
    yield "first_byte_missing", _reason(encoded[1:]), encoded[1:] + b"\0"
    yield "byte_doubled", _reason(encoded[:9] + encoded[8:]), encoded[:9] + encoded[8:] + b"\0"
    yield "length_beyond_the_end", "bad_cobs", b"\x05\x01\x02\0"
    yield "longest_length_beyond_the_end", "bad_cobs", b"\xff" + b"\x01" * 253 + b"\0"
    message = cobs.decode(encoded)[:-4]
    yield "crc_big_endian", "bad_crc", cobs.encode(message + zlib.crc32(message).to_bytes(4, "big")) + b"\0"
    yield "crc_missing", "bad_crc", cobs.encode(message) + b"\0"
    yield (
        "crc_not_inverted",
        "bad_crc",
        cobs.encode(message + (zlib.crc32(message) ^ E32).to_bytes(4, "little")) + b"\0",
    )
    yield "nothing_but_a_crc", "too_short", cobs.encode(bytes(4)) + b"\0"
    yield "three_bytes", "too_short", cobs.encode(b"\1\2\3") + b"\0"
    yield "one_length_byte", "too_short", b"\x01\0"
    yield "one_byte_too_long", "too_long", b"\x02" * (SERIAL_FRAME_MAX + 1) + b"\0"
    yield "four_times_too_long", "too_long", b"\x02" * 4 * SERIAL_FRAME_MAX + b"\0"
    yield "lying_length_inside", "not_a_message", frame(b"\x8a\x01\x7f\x08\x01")  # a sync_request of 127 bytes
    yield "no_such_wire_type", "not_a_message", frame(b"\x0f\x01")
    yield "endless_varint", "not_a_message", frame(b"\x08" + b"\xff" * 11)
    yield "field_number_zero", "not_a_message", frame(b"\x00\x01")
    yield "text_is_no_message", "not_a_message", frame(b"hello")


def _reason(encoded: bytes) -> str:
    """Why damaged bytes are no frame; of a flipped bit in a length byte only COBS itself knows."""
    try:
        decoded = cobs.decode(encoded)
    except cobs.DecodeError:
        return "bad_cobs"
    assert len(decoded) > 4 and zlib.crc32(decoded[:-4]) != int.from_bytes(decoded[-4:], "little")
    return "bad_crc"


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    told = messages()
    lines = [f"{name} {frame(envelope.SerializeToString(deterministic=True)).hex()}" for name, envelope in told.items()]
    _write(folder / "messages.txt", lines)
    values = [f"# {name}\n{text_format.MessageToString(envelope)}" for name, envelope in told.items()]
    _write(folder / "messages.textproto", values)
    _write(folder / "framing.txt", [f"{name} {data.hex()} {frame(data).hex()}" for name, data in framings().items()])
    good = frame(told["imu_batch_one_sample"].SerializeToString(deterministic=True))
    _write(folder / "refused.txt", [f"{name} {why} {data.hex()}" for name, why, data in refused(good)])


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "firmware" / "protocol" / "vectors")
