"""Pictures of triggered cameras tied to pulses, over many random takes: how many wrongly, how many left open.

python bench/frame_match.py [TAKES]

Each take: 4 to 40 s at 24 to 60 Hz, begun and ended anywhere; pictures lost (0 to 5 %), late (4 to 150 ms, scattering
by 0.1 to 1 ms), held up together, held up alone by up to three periods, stamps of pulses lost; with a count of the
camera's, a count that leaves out what was lost, or none.
"""

from __future__ import annotations

import sys

import numpy as np

from handcap.measure.frame_match import NONE, match_frames
from handcap.sim.trigger import Trigger
from handcap.types import Stamps


def pulses(rng: np.random.Generator) -> tuple[Stamps, float]:
    """(p,) exposures as a board gives them, and the rate."""
    rate_hz, seconds = float(rng.choice([24.0, 30.0, 60.0])), rng.uniform(4, 40)
    trigger = Trigger(rate_hz)
    start = int(rng.uniform(0.2, 1.5) * rate_hz)
    out: list[int] = []
    for k in range(int(seconds * rate_hz)):
        if k == start:
            trigger.mark()
        at = 10**10 + round(k * 1e9 / rate_hz)
        if trigger.pulse(at, 4_000_000) is not None:
            out.append(at)
    return np.array(out, np.int64), rate_hz


def held_up(arrival: Stamps, rng: np.random.Generator, period_ns: float) -> Stamps:
    arrival = arrival.copy()
    for begin in rng.uniform(arrival[0], arrival[-1], int(rng.integers(0, 8))):
        end = begin + rng.uniform(0.02, 0.12) * 1e9
        held = (arrival > begin) & (arrival < end)
        arrival[held] = round(end) + 200_000 * np.arange(np.count_nonzero(held))
    for k in rng.integers(0, len(arrival), int(rng.integers(0, 6))):
        arrival[k] += round(rng.uniform(0.2, 3.0) * period_ns)
    return np.maximum.accumulate(arrival)


def main() -> None:
    takes = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    wrong = untold = pictures = opened = 0
    for seed in range(takes):
        rng = np.random.default_rng(seed)
        true_ns, rate_hz = pulses(rng)
        kept = np.flatnonzero(rng.random(len(true_ns)) >= rng.uniform(0, 0.05))
        late_s = rng.uniform(0.004, 0.15) + rng.exponential(rng.uniform(1e-4, 1e-3), len(kept))
        arrival = held_up(true_ns[kept] + np.rint(1e9 * late_s).astype(np.int64), rng, 1e9 / rate_hz)
        begin, end = true_ns[0] + round(rng.uniform(0, 3e8)), true_ns[-1] - round(rng.uniform(0, 3e8))
        mine = (arrival >= begin) & (arrival <= end)
        kept, arrival = kept[mine], arrival[mine]
        told = np.flatnonzero((true_ns >= begin) & (true_ns <= end) & (rng.random(len(true_ns)) >= 0.01 * (seed % 2)))
        ids = [None, kept + 77, np.arange(len(kept))][seed % 3]
        found = match_frames(true_ns[told], arrival, ids, pulse_ids=told + 5)
        tied = found.pulse != NONE
        bad = int(np.count_nonzero(told[found.pulse[tied]] != kept[tied]))
        wrong += bad
        untold += not tied.any()
        pictures += len(kept)
        opened += int(np.count_nonzero(~tied))
        if bad:
            print(f"take {seed}: {bad} of {len(kept)} wrong")
    print(f"{takes} takes, {pictures} pictures: {wrong} wrong, {100 * opened / pictures:.2f} % left open, ", end="")
    print(f"{untold} takes not told at all")


if __name__ == "__main__":
    main()
