"""The schema, what is generated from it, and what a message costs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from handcap.wire import handcap_pb2
from handcap.wire.handcap_pb2 import Envelope, ImuBatch, ImuSI


def test_the_committed_messages_are_those_of_the_schema(repository: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate_proto", repository / "tools/generate_proto.py")
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.generate(tmp_path)
    for name in ("handcap_pb2.py", "handcap_pb2.pyi"):
        assert (tmp_path / name).read_text() == (repository / "handcap/wire" / name).read_text(), (
            f"{name} is not what firmware/protocol/handcap.proto says: run `python tools/generate_proto.py`"
        )


def test_every_message_of_the_schema_is_explained(repository: Path) -> None:
    lines = (repository / "firmware/protocol/handcap.proto").read_text().splitlines()
    for at, line in enumerate(lines):
        if line.startswith("message ") and not line.endswith("{}"):
            explained = lines[at - 1].startswith("//") or "//" in lines[at + 1]
            assert explained, f"{line} says nothing of what it is"


def test_field_numbers_never_change() -> None:
    """Recordings and boards in the field rely on them: add fields, never renumber."""
    numbers = {
        name: {field.name: field.number for field in message.fields}
        for name, message in handcap_pb2.DESCRIPTOR.message_types_by_name.items()
    }
    fixed = {
        "Envelope": {"seq": 1, "t_us": 2, "boot_id": 3, "imu_batch": 10, "encoder": 11},
        "ImuBatch": {
            "first_sample_t_ns": 1,
            "period_ns": 2,
            "gyro_counts": 3,
            "accel_counts": 4,
            "gyro_scale": 5,
            "accel_scale": 6,
            "fifo_overflows": 7,
            "temperature_c": 8,
        },
        "Encoder": {
            "first_sample_t_ns": 1,
            "period_ns": 2,
            "angle_counts": 3,
            "counts_per_turn": 4,
            "magnet_found": 5,
            "magnet_too_weak": 6,
            "magnet_too_strong": 7,
            "read_errors": 8,
        },
        "ImuSI": {"t_ns": 1, "gyro_rad_s": 2, "accel_m_s2": 3},
    }
    for message, fields in fixed.items():
        assert fields.items() <= numbers[message].items(), message


counts = st.lists(st.integers(-(2**15), 2**15 - 1), max_size=60)


@given(seq=st.integers(0, 2**32 - 1), t_us=st.integers(0, 2**64 - 1), gyro=counts, accel=counts)
def test_an_envelope_survives_the_wire(seq: int, t_us: int, gyro: list[int], accel: list[int]) -> None:
    batch = ImuBatch(first_sample_t_ns=t_us, period_ns=1_000_000, gyro_counts=gyro, accel_counts=accel)
    sent = Envelope(seq=seq, t_us=t_us, boot_id=1, imu_batch=batch)
    got = Envelope.FromString(sent.SerializeToString())
    assert got == sent and list(got.imu_batch.gyro_counts) == gyro


@given(st.lists(st.floats(allow_nan=False), max_size=9), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3))
def test_numbers_in_si_keep_every_bit(values: list[float], stamps: list[int]) -> None:
    got = ImuSI.FromString(ImuSI(t_ns=stamps, gyro_rad_s=values).SerializeToString())
    assert list(got.t_ns) == stamps and list(got.gyro_rad_s) == values


def test_twenty_samples_fit_into_one_small_message() -> None:
    batch = ImuBatch(
        first_sample_t_ns=10**15,
        period_ns=1_000_000,
        gyro_counts=[(37 * i) % 60 - 30 for i in range(60)],
        accel_counts=[(91 * i) % 4096 - 2048 for i in range(60)],
        gyro_scale=0.001,
        accel_scale=0.005,
    )
    assert len(Envelope(seq=10**6, t_us=10**12, boot_id=2**31, imu_batch=batch).SerializeToString()) < 256
