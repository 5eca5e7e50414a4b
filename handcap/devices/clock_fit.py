"""A straight line from a board's clock to the session's, out of two-way exchanges.

With `t_session = t_board + dt`, a request that was sent at t1 and received at t2 says dt >= t1 - t2, since it cannot
arrive before it left; an answer sent at t3 that arrived at t4 says dt <= t4 - t3. However late a USB stack hands bytes
on, these bounds hold, and the few exchanges that were hardly delayed nearly touch dt. So the line is the one that runs
midway between an upper edge of all lower bounds and a lower edge of all upper bounds, both of one slope: for delays
with an exponential tail the most likely line, and its error shrinks with the number of exchanges, not with its root.

What no exchange can tell is how much of the shortest round trip was the way there and how much the way back. The line
takes them to be equal; where they are not, dt errs by half their difference, at most `asymmetry_limit_s`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap.clock import NS_PER_S
from handcap.geometry import Array
from handcap.session.journal import ClockFit
from handcap.types import Stamps


class Exchange(NamedTuple):
    """One question and its answer, nanoseconds: t1 and t4 on the session's clock, t2 and t3 on the board's."""

    host_sent_ns: int
    board_received_ns: int
    board_sent_ns: int
    host_received_ns: int

    @property
    def round_trip_ns(self) -> int:
        """Time on the way, both ways together."""
        return (self.host_received_ns - self.host_sent_ns) - (self.board_sent_ns - self.board_received_ns)


@dataclass(frozen=True, slots=True)
class FitParams:
    """How the line is laid.

    Attributes:
        ignored_share: this share of the bounds may lie beyond the edges. A few wrong stamps then move nothing; more
            costs accuracy under clean delays.
        steepest: search limit of the slope. No crystal is 1000 ppm off; a clock under NTP slews by up to 500.
        usual_skew: what a clock's rate may be off; a slope known worse than that is drawn towards zero, so that the
            first second of a connection does not extrapolate into the blue.
        widened: stated sigmas are so many times what the formulae give, so that over spans of 1 to 60 s no less than
            95 % of mapped stamps lie within 2 of them.
        wander_per_s: how fast a warming crystal's rate changes, 1/s: 15 ppm in five minutes. For the sigma beyond the
            exchanges' span only.
        blocks: the exchanges are cut into so many pieces, whose own offsets tell when the line is not straight.
    """

    ignored_share: float = 0.005
    steepest: float = 1e-3
    usual_skew: float = 1.2e-4
    widened: float = 1.2
    wander_per_s: float = 5e-8
    blocks: int = 6


@dataclass(frozen=True, eq=False, slots=True)
class ClockEstimate:
    """t_session = t_board + dt, with dt a straight line over the board's time.

    Attributes:
        at_board_ns: the middle of the exchanges, board clock, where dt is known best.
        dt_ns: dt there.
        skew: growth of dt, seconds per second of the board; a board that runs fast has a negative one.
        sigma_s: standard deviation of dt at the middle, shortest ways there and back taken to be equally long.
        skew_sigma: of `skew`.
        residual_s: half the round trips scatter around the line by no more than this.
        shortest_round_trip_s: between the two edges; below zero when the board's clock does not run straight.
        exchanges: how many the line follows.
        first_board_ns, last_board_ns: their span, board clock.
        wander_per_s: how fast the skew may change beyond that span.
    """

    at_board_ns: int
    dt_ns: int
    skew: float
    sigma_s: float
    skew_sigma: float
    residual_s: float
    shortest_round_trip_s: float
    exchanges: int
    first_board_ns: int
    last_board_ns: int
    wander_per_s: float

    @property
    def board_fast_ppm(self) -> float:
        """How much faster than the session's clock the board's runs."""
        return -self.skew * 1e6

    @property
    def asymmetry_limit_s(self) -> float:
        """Most that dt can be off because the shortest ways there and back differ."""
        return max(self.shortest_round_trip_s, 0.0) / 2

    def session_ns(self, t_board_ns: ArrayLike) -> Stamps:
        """Stamps of the board's clock on the session's."""
        t_board_ns = np.asarray(t_board_ns, np.int64)
        grown = self.skew * (t_board_ns - np.int64(self.at_board_ns)).astype(np.float64)
        return t_board_ns + np.int64(self.dt_ns) + np.rint(grown).astype(np.int64)

    def sigma_at(self, t_board_ns: ArrayLike) -> Array:
        """Standard deviation of `session_ns`, seconds, without what the ways' asymmetry may add."""
        t_board_ns = np.asarray(t_board_ns, np.int64)
        away_s = (t_board_ns - np.int64(self.at_board_ns)) / NS_PER_S
        beyond_s = np.maximum(t_board_ns - np.int64(self.last_board_ns), np.int64(self.first_board_ns) - t_board_ns)
        beyond_s = np.maximum(beyond_s, 0) / NS_PER_S
        wandered_s = self.wander_per_s * beyond_s**2 / 2
        return np.sqrt(self.sigma_s**2 + (self.skew_sigma * away_s) ** 2 + wandered_s**2)

    def for_journal(self, at_board_ns: int | None = None) -> ClockFit:
        """As the session's journal keeps it, told for one time of the board's clock."""
        at_board_ns = self.at_board_ns if at_board_ns is None else at_board_ns
        t_ns = int(self.session_ns(at_board_ns))
        return ClockFit(t_ns, (t_ns - at_board_ns) / NS_PER_S, self.skew)


def fit_line(exchanges: NDArray[np.int64], params: FitParams | None = None) -> ClockEstimate:
    """The line through some seconds of exchanges of one boot.

    Args:
        exchanges: (n, 4) rows of `Exchange`, n >= 2, in the order of the board's time, no round trip negative.
        params: how.
    """
    params = params or FitParams()
    n = len(exchanges)
    assert n >= 2
    origin = exchanges[n // 2]
    dt0_ns = int(origin[0] - origin[1])
    t1, t2, t3, t4 = exchanges.T
    # Differences as integers first: float64 holds a day to 10 ns only.
    lower = ((t1 - t2) - dt0_ns) / NS_PER_S
    upper = ((t4 - t3) - dt0_ns) / NS_PER_S
    x = ((t2 - origin[1]) + (t3 - origin[1])) / (2 * NS_PER_S)
    middle = float(np.mean(x))
    x = x - middle

    ignored = int(params.ignored_share * n)
    slope = _flattest(x, lower, upper, ignored, params.steepest)
    spread = max(float(np.sqrt(np.mean(x**2))), 1e-9)
    edges = _Edges.of(lower - slope * x, upper - slope * x, ignored)
    blocks = _blocks_sigma(x, lower - slope * x, upper - slope * x, params.blocks)
    sigma = params.widened * max(edges.sigma, blocks)
    slope_sigma = sigma / spread
    # A slope that is known to no better than a crystal is off says little: pull it towards none.
    kept = 1 / (1 + (slope_sigma / params.usual_skew) ** 2)
    slope_sigma = slope_sigma * np.sqrt(kept)
    slope *= kept
    edges = _Edges.of(lower - slope * x, upper - slope * x, ignored)

    halfway = (lower + upper) / 2 - slope * x - edges.offset
    at_board_ns = int(origin[1]) + round(middle * NS_PER_S)
    return ClockEstimate(
        at_board_ns=at_board_ns,
        dt_ns=dt0_ns + round(edges.offset * NS_PER_S),
        skew=float(slope),
        sigma_s=float(sigma),
        skew_sigma=float(slope_sigma),
        residual_s=float(np.median(np.abs(halfway))),
        shortest_round_trip_s=edges.gap,
        exchanges=n,
        first_board_ns=int(t2[0]),
        last_board_ns=int(t3[-1]),
        wander_per_s=params.wander_per_s,
    )


@dataclass(frozen=True, slots=True)
class _Edges:
    """Upper edge of the lower bounds and lower edge of the upper ones, slope taken out; seconds.

    Attributes:
        offset: midway between where the shortest delays would touch.
        gap: between them: the shortest round trip.
        sigma: of the offset.
    """

    offset: float
    gap: float
    sigma: float

    @staticmethod
    def of(lower: Array, upper: Array, ignored: int) -> _Edges:
        low, low_scale = _edge(-lower, ignored)
        high, high_scale = _edge(upper, ignored)
        # The k-th smallest of n exponential delays is k scale / n on average, give or take sqrt(k) scale / n; the
        # slope's freedom adds about one to the latter's k.
        n, k = len(lower), ignored + 1
        offset = (high - high_scale * k / n - low + low_scale * k / n) / 2
        sigma = np.hypot(low_scale, high_scale) * np.sqrt(k + 1) / n / 2
        return _Edges(float(offset), float(high + low), float(sigma))


def _edge(delays: Array, ignored: int) -> tuple[float, float]:
    """The smallest delay, apart from those ignored, and the scale at which longer ones grow rarer."""
    n = len(delays)
    third = min(max(ignored + 1, n // 3), n - 1)
    found = np.partition(delays, (ignored, third))
    share = (third - ignored) / n
    return float(found[ignored]), float(found[third] - found[ignored]) / max(-np.log1p(-share), 1 / n)


def _flattest(x: Array, lower: Array, upper: Array, ignored: int, steepest: float) -> float:
    """The slope for which the bounds lie closest to their edges. The cost is convex, so halving finds it."""

    def cost(slope: float) -> float:
        down, up = slope * x - lower, upper - slope * x
        total = 0.0
        for delays in (down, up):
            over = delays - np.partition(delays, ignored)[ignored]
            # Of each, what lies beyond the edge counts as much more as it may be rarer: a quantile's own cost.
            tilt = (ignored + 0.5) / len(delays)
            # Beyond ten times the usual delay all count alike: bursts say nothing of the slope.
            far = 10 * float(np.median(over)) + 1e-9
            total += float(np.sum(np.where(over >= 0, tilt * np.minimum(over, far), (tilt - 1) * over)))
        return total

    low, high = -steepest, steepest
    golden = (np.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    cost_left, cost_right = cost(left), cost(right)
    while high - low > 1e-9:
        if cost_left < cost_right:
            high, right, cost_right = right, left, cost_left
            left = high - golden * (high - low)
            cost_left = cost(left)
        else:
            low, left, cost_left = left, right, cost_right
            right = low + golden * (high - low)
            cost_right = cost(right)
    return float((low + high) / 2)


def _blocks_sigma(x: Array, lower: Array, upper: Array, blocks: int) -> float:
    """Sigma of the offset as the offsets of pieces of the span show it; also where the clock itself is unsteady."""
    n = len(x)
    if n < 8 * blocks:
        return 0.0
    offsets = np.array(
        [
            _Edges.of(lower[i:j], upper[i:j], 0).offset
            for i, j in zip(np.arange(blocks) * n // blocks, np.arange(1, blocks + 1) * n // blocks, strict=True)
        ]
    )
    # A piece knows its edges `blocks` times worse than the whole, in each of its own deviations; what goes beyond
    # that is the clock's doing, and averages out like any scatter.
    within = np.mean([_Edges.of(lower[i::blocks], upper[i::blocks], 0).sigma for i in range(blocks)])
    scatter = float(np.var(offsets, ddof=2)) - 4 * float(within) ** 2
    return float(np.sqrt(max(scatter, 0.0) / blocks))
