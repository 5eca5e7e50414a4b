"""Samples of batches: evenly stamped although interrupts are late, with what is missing counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handcap.devices.imu_samples import ImuUnpacker, SampleClock
from handcap.devices.inbox import Message
from handcap.wire.handcap_pb2 import Envelope, ImuBatch

N = 20


def message(first_ns: int, period_ns: int = 1_000_000, epoch: int = 1, gyro=None, accel=None) -> Message:
    gyro = [1, 2, 3] * N if gyro is None else gyro
    accel = [0, 0, 2048] * N if accel is None else accel
    batch = ImuBatch(first_sample_t_ns=first_ns, period_ns=period_ns, gyro_counts=gyro, accel_counts=accel)
    batch.gyro_scale, batch.accel_scale = 0.001, 0.005
    return Message(Envelope(imu_batch=batch).SerializeToString(), 0, epoch)


@pytest.mark.parametrize("true_period_ns", [1_000_000.0, 1_009_000.3, 991_234.5])
def test_late_interrupts_are_smoothed_to_a_quarter_and_the_rate_is_found(true_period_ns: float) -> None:
    rng, clock = np.random.default_rng(1), SampleClock()
    off, raw = [], []
    for batch in range(500):
        late_ns = rng.exponential(20_000)
        first_ns = batch * N * true_period_ns + late_ns
        told = clock.stamps(int(first_ns), int(true_period_ns + rng.normal(0, 500)), N)
        if batch > 100:
            off.extend(told - (batch * N + np.arange(N)) * true_period_ns)
            raw.append(late_ns)
    # What all interrupts have in common cannot be told from the sensor's own delay.
    assert np.std(off) < 0.25 * np.std(raw)
    assert clock.period_ns == pytest.approx(true_period_ns, rel=1e-4) and clock.missing == 0


@given(st.lists(st.tuples(st.integers(-400_000, 400_000), st.integers(0, 3)), min_size=1, max_size=50))
def test_stamps_always_increase_and_missing_batches_are_counted(told: list[tuple[int, int]]) -> None:
    clock, at, stamps, lost = SampleClock(), 10**9, [], 0
    for at_batch, (late_ns, gone) in enumerate(told):
        lost += N * gone if at_batch else 0
        at += N * gone * 1_000_000 if at_batch else 0
        stamps.extend(clock.stamps(at + (late_ns if gone == 0 and at_batch % 3 == 0 else 0), 1_000_000, N))
        at += N * 1_000_000
    assert np.all(np.diff(stamps) > 0)
    assert abs(clock.missing - lost) <= clock.restarts


def test_counts_become_si_in_chip_axes() -> None:
    samples = ImuUnpacker().add(message(10**9))
    assert samples is not None and len(samples.t_board_ns) == N
    np.testing.assert_allclose(samples.gyro_chip[0], [0.001, 0.002, 0.003])
    np.testing.assert_allclose(samples.accel_chip[-1], [0, 0, 10.24])
    assert samples.t_board_ns[0] == 10**9 and samples.t_board_ns[-1] == 10**9 + 19_000_000


def test_a_new_epoch_begins_a_new_clock_and_is_no_loss() -> None:
    unpacker = ImuUnpacker()
    unpacker.add(message(90 * 10**9))
    samples = unpacker.add(message(10**9, epoch=2))
    assert samples is not None and samples.epoch == 2 and samples.t_board_ns[0] == 10**9
    unpacker.add(message(10**9 + 3 * N * 1_000_000, epoch=2))
    assert unpacker.missing == 2 * N


def test_samples_that_the_chip_marks_as_none_are_left_out_and_counted() -> None:
    unpacker = ImuUnpacker()
    gyro, accel = [-32768] * 3 + [1] * 57, [-32768] * 3 + [1] * 57
    samples = unpacker.add(message(10**9, gyro=gyro, accel=accel))
    assert samples is not None and len(samples.t_board_ns) == N - 1 and unpacker.no_data == 1
    assert samples.t_board_ns[0] == 10**9 + 1_000_000


@pytest.mark.parametrize(
    ("gyro", "accel", "first_ns"),
    [([1, 2], [1, 2], 0), ([1] * 60, [1] * 57, 0), ([], [], 0), ([1] * 3, [1] * 3, 2**63)],
)
def test_batches_whose_numbers_do_not_belong_together_are_counted(gyro, accel, first_ns) -> None:
    unpacker = ImuUnpacker()
    assert unpacker.add(message(first_ns, gyro=gyro, accel=accel)) is None and unpacker.malformed == 1


def test_other_messages_hold_no_samples() -> None:
    assert ImuUnpacker().add(Message(b"", 0, 1)) is None
