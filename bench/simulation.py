"""How fast the virtual rig is rendered, against the limits of 15 pictures of 640×480 a second, and 5 with motion blur.

Each take is simulated in a process of its own, as a user would. The rate counts from the first finished picture on;
furnishing and light come before it and are given beside it. Memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from handcap import sim

LIMIT_HZ, BLUR_LIMIT_HZ = 15.0, 5.0
LINE_DELAY_S = 3e-5


@dataclass(frozen=True, slots=True)
class Case:
    """What is rendered."""

    scene: str
    rig: str
    line_delay_s: float = 0.0
    blur: bool = False

    @property
    def name(self) -> str:
        shutter = "rolling" if self.line_delay_s else "global"
        return f"{self.scene}, {self.rig}, {shutter}{', blurred' if self.blur else ''}"


CASES: Sequence[Case] = (
    *(Case(scene, "head") for scene in ("kitchen", "nursery", "shop_shelf", "corridor")),
    Case("kitchen", "head", LINE_DELAY_S),
    Case("kitchen", "head", 0.0, True),
    Case("kitchen", "head", LINE_DELAY_S, True),
    Case("kitchen", "full"),
    Case("kitchen", "hands"),
    Case("kitchen", "full", LINE_DELAY_S, True),
)


def measured(case: Case, seconds: float) -> tuple[float, float, float]:
    """Pictures a second, seconds before the first, peak memory in GB."""
    came: list[tuple[float, int]] = []
    params = sim.SimulationParams(line_delay_s=case.line_delay_s, blur=case.blur)
    folder = Path(tempfile.mkdtemp())
    began = time.perf_counter()
    try:
        sim.simulate(
            folder / "take",
            scene=case.scene,
            rig=case.rig,
            seconds=seconds,
            params=params,
            on_progress=lambda done, total: came.append((time.perf_counter(), done)),
        )
    finally:
        shutil.rmtree(folder)
    (first, before), (last, after) = came[0], came[-1]
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return (after - before) / (last - first), first - began, int(status["VmHWM"].split()[0]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    seconds = parser.parse_args().seconds
    spawn = get_context("spawn")
    with spawn.Pool(1) as pool:
        pool.apply(measured, (CASES[0], 1.0))  # compiles the kernels, where they are not yet
    for case in CASES:
        with spawn.Pool(1) as pool:
            rate_hz, start_s, memory_gb = pool.apply(measured, (case, seconds))
        limit_hz = BLUR_LIMIT_HZ if case.blur else LIMIT_HZ
        print(
            f"virtual rig: {case.name}: {rate_hz:.1f} pictures/s, {rate_hz / limit_hz:.2f} of the limit {limit_hz:g}; "
            f"{start_s:.1f} s before the first; {memory_gb:.2f} GB",
            flush=True,
        )


if __name__ == "__main__":
    main()
