"""Does the field pass foretell the full pass's verdict, and how long does it take?

Full rigs in all scenes with a fault each, every kind in turn, one take in five without; 10 s a take. Limits: the same
verdict in 97 % of 60 takes, never ok where the full pass refuses, 0.5 s per second of recording on 2 cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.capture_takes import existing
from handcap import sim
from handcap.reconstruct import run_session
from handcap.sim.faults import KINDS, Fault
from handcap.sim.scenes import SCENES

AGREE, SECONDS_PER_SECOND = 0.97, 0.5
DEVICES = ("head", "left", "right")


def fault(k: int, seconds: float) -> tuple[Fault, ...]:
    """Of take k: kind after kind, on any device, 2 to 4 s long somewhere in the middle."""
    if k % 5 == 4:
        return ()
    rng = np.random.default_rng(k)
    kind = sorted(KINDS)[k % len(KINDS)]
    device = DEVICES[int(rng.integers(len(DEVICES)))]
    struck = "head_left" if device == "head" and KINDS[kind].on == "camera" else device
    start_s = float(rng.uniform(0.2, 0.4)) * seconds
    return (Fault(kind, start_s, start_s + float(rng.uniform(2.0, 4.0)), struck),)


def _simulated(args: argparse.Namespace) -> Iterator[Path]:
    """The takes of this bench, simulated where they are not there yet."""
    scenes = sorted(name for name in SCENES if name != "bench")
    for k in range(args.takes):
        scene, seed, faults = scenes[k % len(scenes)], args.first_seed + k, fault(k, args.seconds)
        folder = args.out / f"{scene}-{seed}"
        if not folder.exists():
            args.out.mkdir(parents=True, exist_ok=True)
            params = sim.SimulationParams(task="tidy", faults=faults)
            sim.simulate(
                folder, scene=scene, rig="full", seconds=args.seconds, seed=seed, dt_imu_cam_s=0.008, params=params
            )
        yield folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--takes", type=int, default=60)
    parser.add_argument("--first-seed", type=int, default=900)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=Path("out/bench/field"))
    parser.add_argument("--takes-from", type=Path, help="all simulated takes of this folder, as they are, instead")
    args = parser.parse_args()
    folders = _simulated(args) if args.takes_from is None else [take.path for take in existing(args.takes_from)]
    same = fooled = takes = 0
    took: list[float] = []
    for folder in folders:
        takes += 1
        faults = json.loads((folder / "truth/truth.json").read_text(encoding="utf-8"))["faults"]
        (full,), (early,) = run_session(folder), run_session(folder, field=True)
        took.append(json.loads((folder / "derived/0001/field/timing.json").read_text())["seconds_per_second"])
        same += early.verdict == full.verdict
        fooled += early.verdict == "ok" and full.verdict == "refused"
        causes = {name: [f"{c.body}: {c.code}" for c in r.causes] for name, r in (("full", full), ("field", early))}
        struck = f"{faults[0]['kind']} {faults[0]['device']}" if faults else "none"
        print(
            f"{folder.name:16s} {struck:24s} full {full.verdict:8s} field {early.verdict:8s} {took[-1]:.2f} s/s  "
            f"{causes if early.verdict != full.verdict else ''}",
            flush=True,
        )
    print(
        f"virtual rig, {takes} takes: the same verdict in {100 * same / takes:.0f} % (aim {100 * AGREE:g}), "
        f"ok where the full pass refuses {fooled} (aim 0), {np.median(took):.2f} s per second "
        f"(aim {SECONDS_PER_SECOND:g})"
    )


if __name__ == "__main__":
    main()
