"""What is counted of one board while a take runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from handcap.clock import NS_PER_S
from handcap.devices import ClockEstimate, Event, Message
from handcap.wire.handcap_pb2 import Encoder, ImuBatch

_FULL_SCALE = 32700
_BIN_NS = NS_PER_S // 2
BIN_S = _BIN_NS / NS_PER_S
_AHEAD_NS = 5_000_000  # a stamp that lies so far in the future was made by a clock that jumped
_LEAST_JUMP_NS = 2_000_000
_OVERTAKEN_MOST = 64  # messages that may overtake one


@dataclass(slots=True)
class Jump:
    """A board's stamps that went on elsewhere than they had stopped.

    Attributes:
        at_s: since the take's start.
        by_ns: forward or back.
        returned_s: when they jumped back; None where they did not.
    """

    at_s: float
    by_ns: int
    returned_s: float | None = None


@dataclass(slots=True)
class Bin:
    """Half a second of a board: how much it turned, and how far its jaws moved."""

    turned_rad: float = 0.0
    of_s: float = 0.0
    angles: tuple[int, int] | None = None


@dataclass(slots=True)
class DeviceWatch:
    """One board during a take.

    Attributes:
        samples, missing, saturated: inertial samples that came, that the stamps say were taken and did not come, and
            at full scale.
        gaps_s: (start, end) since the take's start, of stretches without samples.
        jumps: of its clock, as its samples' stamps show them.
        angles: least and largest encoder count, unwrapped around the first.
        bins: half seconds, by number since the take's start.
        clock: newest fit; None before the first.
        events: what happened to the connection.
    """

    samples: int = 0
    missing: int = 0
    saturated: int = 0
    period_ns: float = 0.0
    gaps_s: list[tuple[float, float]] = field(default_factory=list)
    jumps: list[Jump] = field(default_factory=list)
    angles: tuple[int, int] | None = None
    bins: dict[int, Bin] = field(default_factory=dict)
    clock: ClockEstimate | None = None
    clock_residual_s: float | None = None
    clock_sigma_s: float | None = None
    events: list[Event] = field(default_factory=list)
    turned_rad: float = 0.0
    first_arrived_ns: int = 0
    last_arrived_ns: int = 0
    _next_board_ns: int | None = None
    _seq: int = -1
    _skipped: set[int] = field(default_factory=set)
    _boot_id: int | None = None
    _angle: int | None = None

    def add(self, message: Message, start_ns: int) -> None:
        envelope = message.envelope
        if self._boot_id != envelope.boot_id:  # its clock began again
            self._boot_id, self._next_board_ns, self._seq = envelope.boot_id, None, -1
            self._skipped = set()
        if envelope.seq <= self._seq and envelope.seq not in self._skipped:  # it has come before
            return
        late, self._seq = self._in_order(envelope.seq)
        since_ns = message.arrived_ns - start_ns
        if message.body == "imu_batch":
            self._add_imu(envelope.imu_batch, message.arrived_ns, since_ns, late)
        elif message.body == "encoder" and envelope.encoder.angle_counts:
            self._add_angles(envelope.encoder, since_ns)

    def _in_order(self, seq: int) -> tuple[bool, int]:
        """Whether a later message overtook this one, and the latest number."""
        if seq < self._seq:
            self._skipped.discard(seq)
            return True, self._seq
        if self._seq >= 0:
            self._skipped |= set(range(max(self._seq + 1, seq - _OVERTAKEN_MOST), seq))
        self._skipped = {skipped for skipped in self._skipped if skipped >= seq - _OVERTAKEN_MOST}
        return False, seq

    def know(self, clock: ClockEstimate) -> None:
        """The clock's newest fit."""
        self.clock, self.clock_residual_s = clock, clock.residual_s
        self.clock_sigma_s = float(clock.sigma_at(clock.last_board_ns))

    def still_s(self, turning_rad_s: float, counts: int) -> list[tuple[float, float]]:
        """Stretches, since the take's start, in which it neither turned faster nor moved its jaws farther."""
        stretches: list[tuple[float, float]] = []
        for number in sorted(self.bins):
            one = self.bins[number]
            low, high = one.angles or (0, 0)
            if not one.of_s or one.turned_rad > turning_rad_s * one.of_s or high - low > counts:
                continue
            start, end = number * _BIN_NS / NS_PER_S, (number + 1) * _BIN_NS / NS_PER_S
            if stretches and stretches[-1][1] == start:
                start = stretches.pop()[0]
            stretches.append((start, end))
        return stretches

    def _bin(self, since_ns: int) -> Bin:
        return self.bins.setdefault(max(since_ns, 0) // _BIN_NS, Bin())

    def _add_imu(self, batch: ImuBatch, arrived_ns: int, since_ns: int, late: bool) -> None:
        gyro = np.array(batch.gyro_counts, np.int32).reshape(-1, 3)
        n = len(gyro)
        if not self.samples:
            self.first_arrived_ns = arrived_ns
        self.samples += n
        self.period_ns = batch.period_ns
        accel = np.array(batch.accel_counts, np.int32)
        self.saturated += int(np.count_nonzero(np.abs(gyro).max(axis=1, initial=0) >= _FULL_SCALE))
        self.saturated += int(np.count_nonzero(np.abs(accel) >= _FULL_SCALE))
        rate = np.linalg.norm(gyro, axis=1) * batch.gyro_scale
        turned_rad = float(rate.sum()) * batch.period_ns / NS_PER_S
        self.turned_rad += turned_rad
        half = self._bin(since_ns)
        half.turned_rad, half.of_s = half.turned_rad + turned_rad, half.of_s + n * batch.period_ns / NS_PER_S
        first, due = batch.first_sample_t_ns, self._next_board_ns
        if late and due is not None and first < due - batch.period_ns / 2:  # what seemed missing was only overtaken
            self.missing = max(self.missing - n, 0)
            return
        if not n:
            return
        if self._next_board_ns is not None:
            self._step(first - self._next_board_ns, first + (n - 1) * batch.period_ns, arrived_ns, since_ns)
        self._next_board_ns = first + n * batch.period_ns
        self.last_arrived_ns = arrived_ns

    def _step(self, step_ns: int, newest_ns: int, arrived_ns: int, since_ns: int) -> None:
        """Stamps go on `step_ns` later than they should: samples are missing, or the clock jumped.

        Nothing can be stamped later than it arrives, and stamps never run back; both are signs of a jump. A jump that
        is undone shows both ways, whichever came first.
        """
        period_ns = max(int(self.period_ns), 1)
        least_ns, at_s = max(2 * period_ns, _LEAST_JUMP_NS), since_ns / NS_PER_S
        undone = next((j for j in self.jumps if j.returned_s is None and abs(j.by_ns + step_ns) < least_ns), None)
        if abs(step_ns) > least_ns and undone is not None:
            undone.returned_s = at_s
        elif step_ns < -least_ns:
            hidden = next((g for g in self.gaps_s if abs((g[1] - g[0]) * NS_PER_S + step_ns) < least_ns), None)
            if hidden is None:
                self.jumps.append(Jump(at_s, step_ns))
            else:  # what looked like missing samples was the way forth
                self.gaps_s.remove(hidden)
                self.missing -= round(-step_ns / period_ns)
                self.jumps.append(Jump(hidden[0], -step_ns, at_s))
        elif step_ns > period_ns / 2:
            if step_ns > least_ns and self._ahead_ns(newest_ns, arrived_ns) > _AHEAD_NS:
                self.jumps.append(Jump(at_s, step_ns))
                return
            self.missing += round(step_ns / period_ns)
            began_s = max(at_s - (arrived_ns - self.last_arrived_ns) / NS_PER_S, 0.0)
            self.gaps_s.append((began_s, began_s + step_ns / NS_PER_S))

    def _ahead_ns(self, stamp_ns: int, arrived_ns: int) -> int:
        return 0 if self.clock is None else int(self.clock.session_ns(stamp_ns)) - arrived_ns

    def _add_angles(self, said: Encoder, since_ns: int) -> None:
        turn = max(said.counts_per_turn, 1)
        half = self._bin(since_ns)
        for count in said.angle_counts:
            if self._angle is None:
                self._angle = count
            self._angle += (count - self._angle + turn // 2) % turn - turn // 2
            self.angles = _widened(self.angles, self._angle)
            half.angles = _widened(half.angles, self._angle)


def _widened(span: tuple[int, int] | None, angle: int) -> tuple[int, int]:
    low, high = span or (angle, angle)
    return min(low, angle), max(high, angle)
