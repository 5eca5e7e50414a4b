"""A long take of the virtual rig: memory of all processes together, seconds per second, and how good it is.

Limits: 2 GB and 1.0 s per second for ten minutes of one camera and IMU. Memory is the sum of proportional set sizes,
so that what forked processes share counts once, sampled twice a second.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from handcap.reconstruct.score import score
from handcap.session import read_trajectory

MEMORY_GB, SECONDS_PER_SECOND = 2.0, 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--rig", default="head")
    parser.add_argument("--session", type=Path, help="one that exists, instead of simulating")
    parser.add_argument("--out", type=Path, default=Path("out/bench/long"))
    args = parser.parse_args()
    folder: Path = args.session or args.out / f"{args.rig}-{args.seconds:g}-{args.seed}"
    handcap = [sys.executable, "-m", "handcap.cli.app"]
    if not folder.exists():
        args.out.mkdir(parents=True, exist_ok=True)
        seconds = ["--seconds", f"{args.seconds:g}", "--seed", str(args.seed), "--rig", args.rig]
        subprocess.run([*handcap, "simulate", str(folder), *seconds], check=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = subprocess.Popen([*handcap, "reconstruct", str(folder), "--no-hands"])
    peak_gb = 0.0
    while running.poll() is None:
        peak_gb = max(peak_gb, sum(_pss_gb(pid) for pid in _family(running.pid)))
        time.sleep(0.5)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    derived = folder / "derived" / "0001" / "reconstruct"
    timing = json.loads((derived / "timing.json").read_text())
    report = json.loads((derived / "report.json").read_text())
    length_s = report["numbers"]["length_s"]
    found = score(read_trajectory(folder / "truth" / "head.parquet"), read_trajectory(derived / "head.parquet"))
    pieces = len(report["numbers"].get("stretches", [1]))
    inside = found.honesty.inside / max(len(found.honesty.nees), 1)
    print(
        f"virtual rig, {args.rig}, {length_s:.0f} s in {pieces} stretches: {report['verdict']}, {peak_gb:.2f} GB "
        f"(limit {MEMORY_GB:g}), {timing['seconds_per_second']:.2f} s per second (limit {SECONDS_PER_SECOND:g}; "
        f"{cpu_s / length_s:.2f} s of processors), {100 * found.coverage:.1f} % tracked, "
        f"{1e3 * found.ate_m.rmse:.2f} mm, scale {found.scale:.5f}, 95 % regions hold {100 * inside:.0f} %"
    )


def _family(pid: int) -> list[int]:
    """A process and all that it started, directly or not."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += (task / "children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in sorted(set(children)) for each in _family(int(child)))]


def _pss_gb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 2**20


if __name__ == "__main__":
    main()
