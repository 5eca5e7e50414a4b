"""A board's clock while it runs: exchanges come in one by one, a fit is at hand at any time.

A new boot begins a new fit. So does a jump of either clock (the host's monotonic clock stands still while a laptop
sleeps): it shows as exchanges which, one after the other, contradict the line in the same direction by more than any
delay can, since a delay only widens what an exchange allows. The wall clock is never asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S
from handcap.devices.clock_fit import ClockEstimate, Exchange, FitParams, fit_line
from handcap.session.inertial import to_session_clock
from handcap.session.journal import ClockFit
from handcap.types import Stamps


@dataclass(frozen=True, slots=True)
class TrackerParams:
    """Which exchanges count, and for how long.

    Attributes:
        window_s: exchanges older than that are forgotten. A crystal that warms by 15 ppm in five minutes bends by
            15 us away from a line over a minute, and by four times that over two.
        shortest_round_trip_s: what is quicker is no exchange: USB takes a millisecond, a serial line 0.4 ms; an
            emulator that catches up with the time it lost answers at once. None for links that may be that quick.
        longest_round_trip_s: what is slower says nothing.
        first_fit: exchanges before there is a fit at all.
        refit_every: exchanges between two fits; a fit of a whole window takes 3 ms.
        jump_s: a contradiction must be larger than this and than six sigmas,
        jump_exchanges: and so many must agree, before it is a jump.
        most_exchanges: kept at most, whatever their rate.
    """

    window_s: float = 60.0
    shortest_round_trip_s: float | None = 1e-4
    longest_round_trip_s: float = 0.25
    first_fit: int = 10
    refit_every: int = 20
    jump_s: float = 1e-3
    jump_exchanges: int = 5
    most_exchanges: int = 2400
    fit: FitParams = field(default_factory=FitParams)


_LATEST_NS = 10**9 * NS_PER_S  # thirty years after any boot


@dataclass(slots=True)
class Rejected:
    """Exchanges that did not count.

    Attributes:
        too_quick: round trip negative, or shorter than the link can be.
        too_slow: so late that they say nothing.
        backwards: their stamps run back within themselves, or are beyond any clock.
        contradicting: single ones that no delay explains.
    """

    too_quick: int = 0
    too_slow: int = 0
    backwards: int = 0
    contradicting: int = 0


class ClockTracker:
    """Fits one board's clock.

    Attributes:
        estimate: the newest fit, None while there are too few exchanges since a boot or a jump.
        rejected: exchanges that did not count.
        jumps: times either clock jumped within a boot.
        segment: counts boots and jumps: estimates of different segments must not be mixed.
    """

    def __init__(self, params: TrackerParams | None = None) -> None:
        self.params = params or TrackerParams()
        self.estimate: ClockEstimate | None = None
        self.rejected = Rejected()
        self.jumps = 0
        self.segment = 0
        self._boot_id: int | None = None
        self._kept: deque[Exchange] = deque(maxlen=self.params.most_exchanges)
        self._suspects: list[Exchange] = []
        self._direction = 0
        self._since_fit = 0

    @property
    def kept(self) -> tuple[Exchange, ...]:
        """What the next fit follows."""
        return tuple(self._kept)

    def begin(self, boot_id: int) -> None:
        """From now on stamps are those of this boot; the fit of another one is forgotten."""
        if self._boot_id not in (None, boot_id):
            self._begin_again([])
        self._boot_id = boot_id

    def add(self, exchange: Exchange, boot_id: int = 0) -> bool:
        """Take one exchange in; False when it does not count (yet)."""
        self.begin(boot_id)
        if not self._plausible(exchange):
            return False
        direction = self._contradiction(exchange)
        if direction:
            return self._suspect(exchange, direction)
        self.rejected.contradicting += len(self._suspects)
        self._suspects = []
        self._keep(exchange)
        return True

    def _plausible(self, exchange: Exchange) -> bool:
        took_s = exchange.round_trip_ns / NS_PER_S
        shortest_s = self.params.shortest_round_trip_s
        absurd = max(exchange) > _LATEST_NS or min(exchange) < 0 or exchange.board_sent_ns < exchange.board_received_ns
        if absurd or (self._suspects and _runs_back(exchange, self._suspects[-1])):
            self.rejected.backwards += 1
        elif took_s < 0 or (shortest_s is not None and took_s <= shortest_s):
            self.rejected.too_quick += 1
        elif took_s > self.params.longest_round_trip_s:
            self.rejected.too_slow += 1
        else:
            return True
        return False

    def _contradiction(self, exchange: Exchange) -> int:
        """How the exchange cannot be: 1 dt grew, -1 it shrank, 2 a clock ran back; 0 when it agrees."""
        if self._kept and _runs_back(exchange, self._kept[-1]):
            return 2
        fit = self.estimate
        if fit is None:
            return 0
        margin_ns = NS_PER_S * max(self.params.jump_s, 6 * float(fit.sigma_at(exchange.board_sent_ns)))
        if exchange.host_sent_ns - int(fit.session_ns(exchange.board_received_ns)) > margin_ns:
            return 1
        if int(fit.session_ns(exchange.board_sent_ns)) - exchange.host_received_ns > margin_ns:
            return -1
        return 0

    def _suspect(self, exchange: Exchange, direction: int) -> bool:
        if direction != self._direction:
            self.rejected.contradicting += len(self._suspects)
            self._suspects = []
        self._direction = direction
        self._suspects.append(exchange)
        if len(self._suspects) < self.params.jump_exchanges:
            return False
        self.jumps += 1
        self._begin_again(self._suspects)
        return True

    def _begin_again(self, exchanges: list[Exchange]) -> None:
        self.segment += 1
        self.estimate = None
        self._kept.clear()
        self._suspects = []
        self._since_fit = 0
        for exchange in exchanges:
            self._keep(exchange)

    def _keep(self, exchange: Exchange) -> None:
        self._kept.append(exchange)
        self._since_fit += 1
        oldest_ns = exchange.host_sent_ns - int(self.params.window_s * NS_PER_S)
        while self._kept[0].host_sent_ns < oldest_ns:
            self._kept.popleft()
        every = self.params.refit_every if len(self._kept) > self.params.refit_every else 5
        if len(self._kept) >= self.params.first_fit and (self.estimate is None or self._since_fit >= every):
            self._since_fit = 0
            self.estimate = fit_line(np.array(self._kept, np.int64), self.params.fit)


def _runs_back(exchange: Exchange, before: Exchange) -> bool:
    return exchange.board_received_ns < before.board_received_ns or exchange.host_sent_ns < before.host_sent_ns


@dataclass(frozen=True, eq=False, slots=True)
class ClockSegment:
    """A stretch of one boot in which neither clock jumped, fitted piece by piece.

    Attributes:
        boot_id: of the board.
        knots_board_ns: (k,) board clock; dt runs straight from one to the next.
        estimates: the line at each knot.
    """

    boot_id: int
    knots_board_ns: Stamps
    estimates: tuple[ClockEstimate, ...]

    def __post_init__(self) -> None:
        assert len(self.knots_board_ns) == len(self.estimates) >= 1
        assert np.all(np.diff(self.knots_board_ns) > 0)

    def for_journal(self) -> list[ClockFit]:
        """As the session's journal keeps it, one entry a knot."""
        knots = zip(self.knots_board_ns, self.estimates, strict=True)
        return [estimate.for_journal(int(at)) for at, estimate in knots]

    def session_ns(self, t_board_ns: Stamps) -> Stamps:
        """Stamps of this stretch of the board's clock on the session's, as readers of the session map them."""
        return to_session_clock(t_board_ns, self.for_journal())


def fit_recording(
    exchanges: Iterable[tuple[Exchange, int]], params: TrackerParams | None = None, piece_s: float = 10.0
) -> list[ClockSegment]:
    """All exchanges of a recording, each with its boot id, looked at from both sides.

    Args:
        exchanges: in the order they came.
        params: as for the tracker, which decides what counts and where a clock jumped.
        piece_s: distance of the knots; the line at each follows the exchanges up to half a window away on both sides.
    """
    params = params or TrackerParams()
    tracker = ClockTracker(params)
    segments: dict[int, tuple[int, list[Exchange]]] = {}
    for exchange, boot_id in exchanges:
        counts = tracker.add(exchange, boot_id)
        if tracker.segment not in segments:  # a jump takes along those that spoke for it
            segments[tracker.segment] = (boot_id, list(tracker.kept))
        elif counts:
            segments[tracker.segment][1].append(exchange)
    fitted = [_pieces(boot_id, kept, params, piece_s) for boot_id, kept in segments.values()]
    return [one for one in fitted if one is not None]


def _pieces(boot_id: int, kept: Sequence[Exchange], params: TrackerParams, piece_s: float) -> ClockSegment | None:
    rows: NDArray[np.int64] = np.array(kept, np.int64).reshape(-1, 4)
    if len(rows) < params.first_fit:
        return None
    board_ns = rows[:, 1]
    pieces = max(round((board_ns[-1] - board_ns[0]) / (piece_s * NS_PER_S)), 1)
    half_ns = int(params.window_s * NS_PER_S / 2)
    knots: list[int] = []
    estimates: list[ClockEstimate] = []
    for knot in np.linspace(board_ns[0], board_ns[-1], pieces + 1).astype(np.int64):
        start, stop = np.searchsorted(board_ns, [knot - half_ns, knot + half_ns], side="right")
        if stop - start >= params.first_fit:
            knots.append(int(knot))
            estimates.append(fit_line(rows[start:stop], params.fit))
    return ClockSegment(boot_id, np.array(knots, np.int64), tuple(estimates)) if knots else None
