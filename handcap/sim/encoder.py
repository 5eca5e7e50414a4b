"""Specimens of the jaw's encoder, and what their board sends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from handcap.encoder import COUNTS_PER_TURN, Counts, JawEncoder
from handcap.wire.handcap_pb2 import Encoder, Envelope

_BATCH = 10  # samples in one message


def drawn(rng: np.random.Generator) -> JawEncoder:
    """One specimen, known exactly: printed linkage ±1 %, magnet glued on at any angle and a little off axis."""
    nominal = JawEncoder()
    return JawEncoder(
        metres_per_rad=nominal.metres_per_rad * (1 + 0.01 * float(rng.standard_normal())),
        zero_rad=float(rng.uniform(0, 2 * np.pi)),
        eccentricity_rad=abs(float(rng.normal(0, np.deg2rad(0.4)))),
        eccentricity_phase_rad=float(rng.uniform(0, 2 * np.pi)),
        noise_rad=float(np.deg2rad(0.043)),
        opening_sigma_m=0.0,
    )


def encoder_envelopes(
    t_device_ns: NDArray[np.int64], counts: Counts, *, boot_id: int, first_seq: int = 0
) -> Iterator[tuple[int, Envelope]]:
    """Readings as the board would send them, for `TakeWriter.add_wire`.

    Args:
        t_device_ns: (n,) when each was read, board clock, evenly spaced.
        counts: (n,).
        boot_id: of the board.
        first_seq: number of the first message.

    Yields:
        Index of the last reading in the message, and the message: it leaves the board right after that reading.
    """
    assert len(t_device_ns) == len(counts)
    for number, begin in enumerate(range(0, len(counts), _BATCH)):
        t_ns = t_device_ns[begin : begin + _BATCH]
        period_ns = round((int(t_ns[-1]) - int(t_ns[0])) / (len(t_ns) - 1)) if len(t_ns) > 1 else 0
        body = Encoder(
            first_sample_t_ns=int(t_ns[0]),
            period_ns=period_ns,
            angle_counts=counts[begin : begin + _BATCH].tolist(),
            counts_per_turn=COUNTS_PER_TURN,
            magnet_found=True,
        )
        last = begin + len(t_ns) - 1
        seq = (first_seq + number) % 2**32
        yield last, Envelope(seq=seq, t_us=int(t_ns[-1]) // 1000, boot_id=boot_id, encoder=body)
