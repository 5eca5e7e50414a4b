"""Virtual full-rig takes for the benches of verdicts: about half of them with a fault, every kind in turn.

Rendered once and kept. Thresholds are developed on seeds 6000 to 6999 and measured from 7000 on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handcap import sim
from handcap.sim.faults import KINDS, Fault
from handcap.sim.scenes import SCENES

FIRST_SEED, FIRST_DEVELOPMENT_SEED = 7000, 6000
SECONDS = 8.0
_DEVICES = ("head", "left", "right")
_IMU_ALONE_S = 1.0  # a rendered take begins with a second of motion sensors alone


@dataclass(frozen=True, slots=True)
class Planned:
    """A take to be rendered.

    Attributes:
        faults: one, or none.
    """

    scene: str
    seed: int
    rate_hz: float
    faults: tuple[Fault, ...]

    @property
    def name(self) -> str:
        return f"{self.scene}-{self.seed}"

    @property
    def fault(self) -> Fault | None:
        return self.faults[0] if self.faults else None


def planned(k: int, first_seed: int = FIRST_SEED) -> Planned:
    """Take k: odd ones have a fault of 2 to 4 s somewhere in the middle, on any device.

    At 20 pictures a second lamps on the mains beat with no global shutter: the light of 100 Hz is the same in every
    picture, and the fault would be none. Takes with it run at 30 Hz, and so does every third of the good ones.
    """
    scenes = sorted(name for name in SCENES if name != "bench")
    rng = np.random.default_rng([first_seed, k])
    faults: tuple[Fault, ...] = ()
    if k % 2:
        kind = sorted(KINDS)[k // 2 % len(KINDS)]
        device = _DEVICES[int(rng.integers(len(_DEVICES)))]
        struck = device
        if device == "head" and KINDS[kind].on == "camera":
            struck = ("head_left", "head_right")[int(rng.integers(2))]
        start_s = round(_IMU_ALONE_S + float(rng.uniform(0.15, 0.4)) * SECONDS, 3)
        faults = (Fault(kind, start_s, round(start_s + float(rng.uniform(2.0, 4.0)), 3), struck),)
    fast = faults[0].kind == "flicker" if faults else k % 6 == 4
    return Planned(scenes[k // 2 % len(scenes)], first_seed + k, 30.0 if fast else 20.0, faults)


def rendered(folder: Path, takes: int, first_seed: int = FIRST_SEED) -> Iterator[tuple[Planned, Path]]:
    """Every take with its session folder, rendered if it is not there yet."""
    for k in range(takes):
        plan = planned(k, first_seed)
        yield plan, render(folder, plan)


@dataclass(frozen=True, slots=True)
class Existing:
    """A take that lies on the disk, with the fault that its truth tells.

    Attributes:
        kind, struck: of the fault; None where there is none.
    """

    path: Path
    kind: str | None
    struck: str | None

    @property
    def name(self) -> str:
        return self.path.name


def existing(folder: Path) -> list[Existing]:
    """All simulated takes of a folder, by seed."""
    found: list[Existing] = []
    for path in folder.iterdir():
        if path.name.startswith(".") or not (path / "truth/truth.json").exists():
            continue
        told = json.loads((path / "truth/truth.json").read_text(encoding="utf-8"))["faults"]
        kind, struck = (told[0]["kind"], told[0]["device"]) if told else (None, None)
        found.append(Existing(path, kind, struck))
    return sorted(found, key=lambda take: (take.name.rsplit("-", 1)[-1].zfill(8), take.name))


def render(folder: Path, plan: Planned) -> Path:
    """One take's session folder."""
    out = folder / plan.name
    if not out.exists():
        folder.mkdir(parents=True, exist_ok=True)
        params = sim.SimulationParams(task="tidy", faults=plan.faults, camera_rate_hz=plan.rate_hz)
        sim.simulate(
            out, scene=plan.scene, rig="full", seconds=SECONDS, seed=plan.seed, dt_imu_cam_s=0.008, params=params
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--takes", type=int, default=60)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--out", type=Path, default=Path("out/bench/capture_takes"))
    args = parser.parse_args()
    for plan, _ in rendered(args.out, args.takes, args.first_seed):
        print(f"{plan.name} {plan.rate_hz:g} Hz {plan.fault.kind if plan.fault else 'good'}", flush=True)


if __name__ == "__main__":
    main()
