"""Half an hour of recording with field passes in the background: does one disturb the other, and when is all judged?

A virtual full rig, rendered ahead, plays a few takes again and again over ptys and TCP; every half minute one is
recorded and judged on the spot, and the field pass judges it in the background. Floors: everything judged two minutes
after the last take, nothing lost. How late messages come, from their stamp to the recorder, is told apart by whether a
field pass ran just then.

    python -m bench.capture_session --minutes 30 --takes 60
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.load import shares
from handcap import session as session_store
from handcap import sim
from handcap.capture import Capture, capture_meta, virtual_rig
from handcap.capture.virtual import NODE
from handcap.devices import open_board
from handcap.session.journal import read_clock_fits
from handcap.sim.person import HeadParams

JUDGED_WITHIN_S = 120.0
_RENDERED = 3  # takes
_LOOK_S = 0.02


@dataclass
class Watched:
    """What somebody saw who looked at the recorder all the time.

    Attributes:
        passes_ns: (start, end) of stretches in which a field pass ran.
        most_waiting: bytes that were handed over and not yet written.
        late_s: longest that this thread itself had to wait for its turn.
    """

    passes_ns: list[tuple[int, int]] = field(default_factory=list)
    most_waiting: int = 0
    late_s: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)

    def watch(self, running: Capture) -> None:
        assert running.field is not None
        began: int | None = None
        while not self.done.is_set():
            due = time.monotonic() + _LOOK_S
            self.done.wait(_LOOK_S)
            self.late_s = max(self.late_s, time.monotonic() - due)
            self.most_waiting = max(self.most_waiting, running.recorder.waiting_bytes)
            busy = running.field.busy
            if busy and began is None:
                began = time.monotonic_ns()
            elif not busy and began is not None:
                self.passes_ns.append((began, time.monotonic_ns()))
                began = None


def render(path: Path, seconds: float) -> Path:
    if not path.exists():
        params = sim.SimulationParams(task="tidy", later=(HeadParams(),) * (_RENDERED - 1))
        sim.simulate(path, scene="kitchen", rig="full", seconds=seconds + 0.5, seed=7100, params=params)
    return path


def record(rendered: Path, out: Path, takes: int, minutes: float, seconds: float) -> bool:
    watched = Watched()
    with ExitStack() as held:
        live = held.enter_context(virtual_rig(1, seconds, rendered=rendered))
        boards = {name: held.enter_context(open_board(port)) for name, port in live.ports.items()}
        rig = live.rig(boards)
        running = held.enter_context(Capture(out, capture_meta(out, "tidy", None, rig, boards), rig, boards))
        assert running.field is not None
        running.ready()
        watcher = threading.Thread(target=watched.watch, args=(running,), daemon=True)
        watcher.start()
        began = time.monotonic()
        for k in range(takes):
            time.sleep(max(began + k * 60 * minutes / takes - time.monotonic(), 0.0))
            until_s = time.monotonic() + seconds
            running.start("tidy")
            time.sleep(max(until_s - time.monotonic(), 0.0))
            ended = running.end()
            print(
                f"{ended.take} {(time.monotonic() - began) / 60:5.1f} min: {ended.verdict.verdict:7s} "
                f"in {ended.took_s:.2f} s, {len(running.field.unjudged)} to be judged, "
                f"{', '.join(f'{c.body}: {c.code}' for c in ended.verdict.causes)}",
                flush=True,
            )
        last = time.monotonic()
        running.field.wait()
        until_judged_s = time.monotonic() - last
        watched.done.set()
        watcher.join()
        lost = {name: board.losses.as_dict() for name, board in boards.items() if board.losses.any}
        dropped, verdicts = running.recorder.dropped, running.field.verdicts
        spot_s = [each.took_s for each in running.ended]
        looks_left_out = sum(each.watched.not_looked_at for each in running.ended)
    words = [verdict.verdict for verdict in verdicts.values()]
    counted = ", ".join(f"{words.count(word)} {word}" for word in sorted(set(words)))
    print(
        f"virtual rig, {takes} takes of {seconds:g} s in {minutes:g} min: all judged {until_judged_s:.0f} s after the "
        f"last (at most {JUDGED_WITHIN_S:g}), field pass: {counted}"
        f"\nvirtual rig, verdict on the spot: median {np.median(spot_s):.2f} s, longest {max(spot_s):.2f} s, "
        f"{looks_left_out} looks left out"
        f"\nvirtual rig, lost on the way: {lost or 'nothing'}; for the disk: {dropped.pictures or 'nothing'} "
        f"{dropped.messages or ''}; most waiting for the disk {watched.most_waiting / 1e6:.2f} MB; "
        f"the longest a thread of the recorder waited for its turn {1e3 * watched.late_s:.0f} ms"
    )
    missing = in_the_file(out, watched)
    return until_judged_s <= JUDGED_WITHIN_S and len(words) == takes and not (lost or dropped.pictures or missing)


def in_the_file(out: Path, watched: Watched) -> int:
    """Counts what boards and cameras numbered, and prints how late it came."""
    session = session_store.read(out)
    late: dict[bool, list[float]] = {False: [], True: []}
    missing = 0
    for id in session.takes:
        take = session.take(id)
        frames: dict[str, list[int]] = {}
        for device in take.devices:
            fits = read_clock_fits(out, id, device)
            numbers: list[int] = []
            for arrived_ns, envelope in take.wire(device):
                numbers.append(envelope.seq)
                if envelope.HasField("video_frame"):
                    frames.setdefault(envelope.video_frame.camera, []).append(envelope.video_frame.frame)
                if envelope.HasField("imu_batch") and fits:
                    batch = envelope.imu_batch
                    newest_ns = batch.first_sample_t_ns + (len(batch.gyro_counts) // 3 - 1) * batch.period_ns
                    sampled_ns = newest_ns + round(1e9 * fits[-1].dt_session_device_s)
                    during = any(a <= arrived_ns <= b for a, b in watched.passes_ns)
                    late[during].append((arrived_ns - sampled_ns) * 1e-9)
            missing += 0 if device == NODE else numbers[-1] - numbers[0] + 1 - len(numbers)
        missing += sum(each[-1] - each[0] + 1 - len(each) for each in frames.values())
    for during, values in late.items():
        if values:
            p50, p99, most = (1e3 * np.percentile(values, q) for q in (50, 99, 100))
            print(
                f"virtual rig, from a sample to the recorder, field pass {'running' if during else 'at rest'}: "
                f"median {p50:.0f} ms, 99 % {p99:.0f} ms, longest {most:.0f} ms ({len(values)} messages)"
            )
    print(f"virtual rig, in the files: {missing} messages and pictures missing of {len(session.takes)} takes")
    return missing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--takes", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rendered", type=Path, help="a simulated session whose takes are played")
    parser.add_argument("--out", type=Path, default=Path("out/bench/capture_session"))
    args = parser.parse_args()
    rendered = args.rendered or render(args.out / "rendered", args.seconds)
    shutil.rmtree(args.out / "session", ignore_errors=True)
    args.out.mkdir(parents=True, exist_ok=True)
    with shares() as load:
        good = record(rendered, args.out / "session", args.takes, args.minutes, args.seconds)
    print(f"of the cores meanwhile: {load}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
