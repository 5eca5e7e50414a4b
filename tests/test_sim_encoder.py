"""Jaw openings become counts and come back; what a board sends is stored and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from handcap import session
from handcap.encoder import COUNTS_PER_TURN, JawEncoder
from handcap.sim.encoder import drawn, encoder_envelopes
from handcap.types import Device, ImuModel, Rig
from handcap.wire.handcap_pb2 import Envelope

OPENINGS_M = np.linspace(0, 0.06, 501)


@given(
    st.floats(0.01, 0.05),
    st.sampled_from([-1, 1]),
    st.floats(0, 2 * np.pi),
    st.floats(0, 0.03),
    st.floats(0, 2 * np.pi),
)
def test_an_opening_comes_back_to_half_a_count(
    metres_per_rad: float, sign: int, zero_rad: float, eccentricity_rad: float, phase_rad: float
) -> None:
    encoder = JawEncoder(sign * metres_per_rad, zero_rad, eccentricity_rad, phase_rad)
    openings_m = OPENINGS_M * metres_per_rad / 0.02  # within half a turn
    counts = encoder.counts(openings_m, np.random.default_rng(0))
    assert counts.min() >= 0 and counts.max() < COUNTS_PER_TURN
    half_count_m = metres_per_rad * np.pi / COUNTS_PER_TURN / (1 - eccentricity_rad)
    assert np.abs(encoder.opening_m(counts) - openings_m).max() <= half_count_m * (1 + 1e-6)


def test_a_magnet_off_its_axis_errs_once_per_turn() -> None:
    encoder = JawEncoder(eccentricity_rad=0.01, eccentricity_phase_rad=1.0)
    turn_m = 2 * np.pi * encoder.metres_per_rad
    openings_m = np.arange(COUNTS_PER_TURN) / COUNTS_PER_TURN * turn_m
    read_rad = encoder.counts(openings_m, np.random.default_rng(0)) * 2 * np.pi / COUNTS_PER_TURN
    true_rad = encoder.zero_rad + openings_m / encoder.metres_per_rad
    error = np.exp(1j * (read_rad - true_rad))
    harmonics = np.abs(np.fft.rfft(np.angle(error / error.mean()))) * 2 / COUNTS_PER_TURN
    assert abs(harmonics[1] - 0.01) < 1e-4
    assert harmonics[2:8].max() < 1e-4


def test_readings_scatter_as_much_as_the_part_does() -> None:
    encoder = JawEncoder(noise_rad=np.deg2rad(0.5))
    counts = encoder.counts(np.full(20_000, 0.03), np.random.default_rng(1))
    scatter_rad = np.std(counts) * 2 * np.pi / COUNTS_PER_TURN
    assert abs(scatter_rad / np.deg2rad(0.5) - 1) < 0.03


def test_specimens_differ_and_one_serial_number_does_not() -> None:
    specimens = [drawn(np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert specimens[0] == specimens[1] != specimens[2]
    error_m = JawEncoder().opening_m(specimens[0].counts(OPENINGS_M, np.random.default_rng(0))) - OPENINGS_M
    assert np.ptp(error_m) > 1e-4  # the nominal part does not explain this one


def test_readings_travel_in_envelopes_through_a_session(tmp_path: Path) -> None:
    t_ns = 3_000_000_007 + np.arange(25, dtype=np.int64) * 10_000_000
    counts = JawEncoder().counts(np.linspace(0, 0.05, 25), np.random.default_rng(0))
    meta = session.SessionMeta(
        id="encoder",
        created="2026-01-01T00:00:00Z",
        origin="simulation",
        clock=session.SessionClock(kind="simulation", utc_offset_ns=0),
    )
    rig = Rig("encoder", {"left": Device(ImuModel(200.0, 1e-4, 1e-3, 1e-5, 1e-4))}, {})
    with session.create(tmp_path / "s", meta, rig) as writer, writer.start_take() as take:
        for last, envelope in encoder_envelopes(t_ns, counts, boot_id=7, first_seq=2**32 - 1):
            take.add_wire("left", int(t_ns[last]) + 400_000, envelope)
    stored = session.read(tmp_path / "s").take("0001")
    assert stored.devices == ("left",)
    assert len(stored.imu("left")) == 0

    envelopes = [Envelope.FromString(bytes(m.data)) for _, _, m in stored._index.messages("/left/wire")]
    assert [e.seq for e in envelopes] == [2**32 - 1, 0, 1]
    bodies = [e.encoder for e in envelopes]
    assert [c for body in bodies for c in body.angle_counts] == counts.tolist()
    read_ns = [b.first_sample_t_ns + i * b.period_ns for b in bodies for i in range(len(b.angle_counts))]
    assert read_ns == t_ns.tolist()
    assert all(body.counts_per_turn == COUNTS_PER_TURN and body.magnet_found for body in bodies)
