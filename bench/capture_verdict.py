"""Does the verdict on the spot name what went wrong, within three seconds of a take's end?

Virtual full rigs, played in real time over ptys and TCP through the real recorder, about half of the takes with a
fault, every kind of the simulator in turn. Floors: 95 % of faulty takes flagged with the right cause, by the verdict
on the spot or by the field pass; 3 % of good ones flagged at most; 3 s. Thresholds were set on seeds 6000 to 6999 and
older ones; this runs on 7000 and up.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.capture_takes import FIRST_SEED, SECONDS, Existing, existing, planned, render
from bench.load import shares
from handcap import session
from handcap.capture import Capture, Ended, capture_meta, virtual_rig
from handcap.capture.verdict import HINTS
from handcap.causes import Cause
from handcap.devices import open_board
from handcap.reconstruct import run_session
from handcap.sim.faults import KINDS

RIGHT_SHARE, FALSE_SHARE, VERDICT_S = 0.95, 0.03, 3.0
_EARLIER_S = 0.2  # the take ends before the virtual rig has nothing more to play
# The causes of the catalogue that name a fault of the simulator.
RIGHT: dict[str, set[str]] = {
    "usb_jitter": {"stamps_unsteady"},
    "lost_frames": {"pictures_lost", "frames_missing"},
    "frozen_camera": {"camera_frozen"},
    "covered_lens": {"camera_covered"},
    "flicker": {"lamp_flickers"},
    "mount_slip": {"mount_slipped", "mount_moved", "mount_shifted"},
    "unplug": {"imu_missing", "frames_missing", "board_unplugged"},
    "clock_jump": {"clock_jumped"},
    "imu_dropout": {"imu_missing"},
}


@dataclass(frozen=True, slots=True)
class Judged:
    """One take.

    Attributes:
        spot, field: causes that spoil it, hints left out.
    """

    take: Existing
    ended: Ended
    spot: Sequence[Cause]
    field: Sequence[Cause]

    def right(self, causes: Sequence[Cause]) -> bool:
        """Whether one of them names the fault, and the device it struck."""
        assert self.take.kind is not None and self.take.struck is not None
        device = self.take.struck.split("_")[0]
        return any(c.code in RIGHT[self.take.kind] and device in (c.body or "").split("_") for c in causes)


def recorded(rendered: Path, out: Path, seconds: float) -> Ended:
    """A rendered take played live and captured into a session of its own."""
    with ExitStack() as held:
        live = held.enter_context(virtual_rig(1, seconds, rendered=rendered))
        boards = {name: held.enter_context(open_board(port)) for name, port in live.ports.items()}
        known = live.rig(boards)
        meta = capture_meta(out, "tidy", None, known, boards)
        running = held.enter_context(Capture(out, meta, known, boards, field_pass=False))
        running.ready()
        until_s = time.monotonic() + seconds - _EARLIER_S
        running.start("tidy")
        time.sleep(max(until_s - time.monotonic(), 0.0))
        return running.end()


def spoiling(causes: Sequence[Cause]) -> list[Cause]:
    """Without the hints, which leave a take good."""
    return [cause for cause in causes if cause.code not in HINTS]


def judged(take: Existing, out: Path, field: bool) -> Judged:
    into = out / take.name
    shutil.rmtree(into, ignore_errors=True)
    first, last = (int(t) for t in session.read(take.path).take("0001").camera_stamps("left")[[0, -1]])
    ended = recorded(take.path, into, (last - first) * 1e-9)
    by_field: Sequence[Cause] = run_session(into, field=True)[0].causes if field else ()
    return Judged(take, ended, spoiling(ended.verdict.causes), by_field)


def told(causes: Sequence[Cause]) -> str:
    return ", ".join(f"{c.body}: {c.code}" + (f" {c.measured:.3g}" if c.measured else "") for c in causes) or "good"


def summary(takes: Sequence[Judged]) -> None:
    faulty = [each for each in takes if each.take.kind is not None]
    good = [each for each in takes if each.take.kind is None]
    by_kind: defaultdict[str, list[Judged]] = defaultdict(list)
    for each in faulty:
        by_kind[each.take.kind or ""].append(each)
    print(f"{'fault':14s} takes  right on the spot  right by the field pass  either")
    for kind, of_kind in sorted(by_kind.items()):
        spot, field = (sum(each.right(c) for each, c in pairs) for pairs in _both(of_kind))
        either = sum(each.right([*each.spot, *each.field]) for each in of_kind)
        print(f"{kind:14s} {len(of_kind):5d}  {spot:17d}  {field:23d}  {either:6d}")
    spot, field = (sum(each.right(c) for each, c in pairs) for pairs in _both(faulty))
    either = sum(each.right([*each.spot, *each.field]) for each in faulty)
    false_spot, false_field = sum(bool(each.spot) for each in good), sum(bool(each.field) for each in good)
    took = [each.ended.took_s for each in takes]
    print(
        f"virtual rig, {len(faulty)} faulty takes: right cause on the spot {_share(spot, faulty)}, by the field pass "
        f"{_share(field, faulty)}, by either {_share(either, faulty)} (floor {100 * RIGHT_SHARE:g} %)\n"
        f"virtual rig, {len(good)} good takes: flagged on the spot {_share(false_spot, good)} "
        f"(at most {100 * FALSE_SHARE:g} %), by the field pass {_share(false_field, good)}\n"
        f"virtual rig, from a take's end to its verdict: median {np.median(took):.2f} s, longest {max(took):.2f} s "
        f"(at most {VERDICT_S:g})"
    )


def _both(takes: Sequence[Judged]) -> tuple[list[tuple[Judged, Sequence[Cause]]], list[tuple[Judged, Sequence[Cause]]]]:
    return [(each, each.spot) for each in takes], [(each, each.field) for each in takes]


def _share(count: int, of: Sequence[Judged]) -> str:
    return f"{count} of {len(of)} ({100 * count / max(len(of), 1):.0f} %)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--takes", type=int, default=60)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--rendered", type=Path, default=Path("out/bench/capture_takes"), help="kept from run to run")
    parser.add_argument("--takes-from", type=Path, help="all simulated takes of this folder instead")
    parser.add_argument("--out", type=Path, default=Path("out/bench/capture_verdict"))
    parser.add_argument("--no-field", action="store_true", help="the verdict on the spot alone")
    args = parser.parse_args()
    if args.takes_from is not None:
        takes = existing(args.takes_from)
    else:
        plans = [planned(k, args.first_seed) for k in range(args.takes)]
        for plan in plans:
            render(args.rendered, plan)
        names = {plan.name for plan in plans}
        takes = [take for take in existing(args.rendered) if take.name in names]
    args.out.mkdir(parents=True, exist_ok=True)
    done: list[Judged] = []
    with shares() as load:
        for take in takes:
            each = judged(take, args.out, not args.no_field)
            done.append(each)
            mark = "" if take.kind is None else "right" if each.right([*each.spot, *each.field]) else "WRONG"
            if take.kind is None and each.spot:
                mark = "FALSE"
            what = f"{take.kind} {take.struck}" if take.kind else "good"
            print(
                f"{take.name:16s} {what:24s} {mark:5s} spot {each.ended.verdict.verdict}: {told(each.spot)}"
                f"{'' if args.no_field else f'; field: {told(each.field)}'}; {each.ended.took_s:.2f} s",
                flush=True,
            )
    assert set(RIGHT) == set(KINDS)
    summary(done)
    print(f"of the cores meanwhile: {load}; takes of {SECONDS:g} s")


if __name__ == "__main__":
    main()
