"""How well is a board's clock known, second by second, under the delays of a loaded USB stack?

Virtual time: exchanges at 20 Hz for a minute, delays there and back exponential with a mean of 2 ms (one way may be
slower), every few seconds a burst in which up to 50 ms more are added, skew within ±200 ppm. Limits: after 30 s skew
within 5 ppm, and 95 % of the stamps mapped so far and from then on within 100 us of the truth. The same exchanges go
through a filter as autopilots have it (PX4's time synchronisation: an exponential mean of offset and skew whose gains
fall from 0.05 to 0.003 over 500 samples, round trips over 10 ms left out).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S
from handcap.devices.clock_fit import Exchange
from handcap.devices.clock_tracker import ClockTracker, fit_recording
from handcap.geometry import Array

FIRST_S, SECONDS, RATE_HZ = 30.0, 60.0, 20.0
HOST_AT_S, BOARD_AT_S = 40_000.0, 17.0


@dataclass(frozen=True, slots=True)
class Link:
    """Delays of one cable.

    Attributes:
        name: in the table.
        up_s, down_s: means of the exponential parts, to the board and back.
        fixed_up_s, fixed_down_s: what no message is spared.
        burst_s: most that a burst adds; bursts last 0.3 s and come every five seconds on average.
        burst_both: whether a burst holds up both directions, or answers only.
    """

    name: str
    up_s: float = 2e-3
    down_s: float = 2e-3
    fixed_up_s: float = 2e-4
    fixed_down_s: float = 2e-4
    burst_s: float = 0.05
    burst_both: bool = True

    def exchanges(self, rng: np.random.Generator, skew: float) -> NDArray[np.int64]:
        """(n, 4) rows of `Exchange`."""
        sent = np.arange(0, SECONDS, 1 / RATE_HZ) + rng.uniform(0, 1e-3, int(SECONDS * RATE_HZ))
        up = self.fixed_up_s + rng.exponential(self.up_s, len(sent))
        down = self.fixed_down_s + rng.exponential(self.down_s, len(sent))
        for start in rng.uniform(0, SECONDS, int(SECONDS / 5) if self.burst_s else 0):
            held = (sent >= start) & (sent < start + 0.3)
            down[held] += rng.uniform(0, self.burst_s, int(held.sum()))
            if self.burst_both:
                up[held] += rng.uniform(0, self.burst_s, int(held.sum()))
        received = np.maximum.accumulate(sent + up)  # what is held up arrives together, in order
        answered = received + 6e-5
        back = np.maximum.accumulate(answered + down)
        columns = (HOST_AT_S + sent, board_s(received, skew), board_s(answered, skew), HOST_AT_S + back)
        return np.rint(np.column_stack(columns) * NS_PER_S).astype(np.int64)


LINKS = (
    Link("exponential 2 ms, bursts of 50 ms"),
    Link("the same, no fixed delay", fixed_up_s=0.0, fixed_down_s=0.0),
    Link("answers four times slower", up_s=1e-3, down_s=4e-3),
    Link("bursts hold up answers only", burst_both=False),
    Link("shortest way back 100 us longer", fixed_down_s=3e-4),
    Link("quiet: 0.2 ms", up_s=2e-4, down_s=2e-4, burst_s=0.0),
)


def board_s(t_s: Array, skew: float) -> Array:
    return BOARD_AT_S + t_s * (1 + skew)


class AutopilotFilter:
    """PX4's way, from its documentation and published gains; t_session - t_board in seconds."""

    def __init__(self) -> None:
        self.offset_s, self.drift_s, self.taken, self.late = 0.0, 0.0, 0, 0

    def add(self, exchange: Exchange) -> None:
        t1, t2, t3, t4 = (at / NS_PER_S for at in exchange)
        if (t4 - t1) - (t3 - t2) > 10e-3:
            self.late += 1
            return
        seen_s = ((t1 - t2) + (t4 - t3)) / 2
        if self.taken == 0:
            self.offset_s = seen_s
        progress = min(self.taken / 500, 1.0)
        share = 1.0 if progress >= 1 else 1 - math.exp(0.5 * (1 - 1 / (1 - progress)))
        gain = 0.05 * (1 - share) + 0.003 * share
        before_s = self.offset_s
        self.offset_s = gain * seen_s + (1 - gain) * (before_s + self.drift_s)
        self.drift_s = gain * (self.offset_s - before_s) + (1 - gain) * self.drift_s
        self.taken += 1


@dataclass(slots=True)
class Errors:
    """Over many seeds: of the skew after 30 s, ppm; of stamps as they are mapped live from then on, and afterwards."""

    skew_ppm: list[float]
    live_s: list[float]
    later_s: list[float]
    sigmas: list[float]

    def row(self, name: str) -> str:
        skew = np.abs(self.skew_ppm)
        live, later, sigmas = (np.abs(values) * 1e6 for values in (self.live_s, self.later_s, self.sigmas))
        text = f"{name:38} {np.median(skew):7.2f} {skew.max():8.2f} {np.quantile(live, 0.95):9.1f} {live.max():9.1f}"
        if len(later):
            text += f" {np.quantile(later, 0.95):9.1f} {100 * np.mean(sigmas / 1e6 < 2):8.1f} %"
        return text


def followed(rows: NDArray[np.int64], skew: float, errors: Errors) -> None:
    """The tracker live, then the batch fit; errors of stamps taken every 0.1 s."""
    tracker = ClockTracker()
    told = False
    for row in rows:
        tracker.add(Exchange(*map(int, row)))
        now_s = row[3] / NS_PER_S - HOST_AT_S
        if now_s < FIRST_S or tracker.estimate is None:
            continue
        if not told:
            told = True
            errors.skew_ppm.append(1e6 * (tracker.estimate.skew - (1 / (1 + skew) - 1)))
            errors.live_s.extend(_errors_s(tracker.estimate.session_ns, np.arange(0, FIRST_S, 0.1), skew))
        stamp = np.array([now_s])
        wrong_s = float(_errors_s(tracker.estimate.session_ns, stamp, skew)[0])
        sigma_s = float(tracker.estimate.sigma_at(_board_ns(stamp, skew))[0])
        errors.live_s.append(wrong_s)
        errors.sigmas.append(wrong_s / sigma_s)
    (segment,) = fit_recording((Exchange(*map(int, row)), 0) for row in rows)
    errors.later_s.extend(_errors_s(segment.session_ns, np.arange(0, SECONDS, 0.1), skew))


def filtered(rows: NDArray[np.int64], skew: float, errors: Errors) -> None:
    """The same through the autopilot's filter; its drift is told per sample."""
    one, told = AutopilotFilter(), False
    for row in rows:
        one.add(Exchange(*map(int, row)))
        now_s = row[3] / NS_PER_S - HOST_AT_S
        if now_s < FIRST_S:
            continue
        if not told:
            told = True
            errors.skew_ppm.append(1e6 * (one.drift_s * RATE_HZ - (1 / (1 + skew) - 1)))
        true_s = HOST_AT_S + now_s - float(board_s(np.array(now_s), skew))
        errors.live_s.append(one.offset_s - true_s)


def _board_ns(t_s: Array, skew: float) -> NDArray[np.int64]:
    return np.rint(board_s(t_s, skew) * NS_PER_S).astype(np.int64)


def _errors_s(session_ns: Callable[[NDArray[np.int64]], NDArray[np.int64]], t_s: Array, skew: float) -> Array:
    return session_ns(_board_ns(t_s, skew)) / NS_PER_S - (HOST_AT_S + t_s)


def measured(link: Link, seeds: int) -> Iterator[tuple[str, Errors]]:
    ours, peer = Errors([], [], [], []), Errors([], [], [], [])
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        skew = float(rng.uniform(-2e-4, 2e-4)) if seed > 1 else (-2e-4, 2e-4)[seed]
        rows = link.exchanges(rng, skew)
        followed(rows, skew, ours)
        filtered(rows, skew, peer)
    yield link.name, ours
    yield "  as an autopilot filters it", peer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    print(f"{seeds} seeds a link      skew off after 30 s, ppm   mapped live, us      afterwards   within 2 sigmas")
    print(f"{'':38} {'median':>7} {'worst':>8} {'95 %':>9} {'worst':>9} {'95 %':>9}")
    for link in LINKS:
        for name, errors in measured(link, seeds):
            print(errors.row(name), flush=True)


if __name__ == "__main__":
    main()
