"""Does reconstruction hold its floors in every virtual world, or say truthfully why not? Lists the seeds that fail.

Every scene with every hardship below, 10 s a take. A take passes when it is reconstructed within the floors, or refused
or cut with a cause. Each line ends with the `handcap simulate` arguments that make the take again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from handcap import session, sim
from handcap.reconstruct import run_session
from handcap.reconstruct.score import score
from handcap.sim.imu import RAW_PART, ImuErrors
from handcap.sim.rigs import CALIBRATED, PRINTED
from handcap.sim.scenes import SCENES

MOST_ATE_M, MOST_TILT_DEG, MOST_OFFSET_MS = 0.008, 0.1, 0.2  # the floors of a single camera with an IMU
DT_IMU_CAM_S = 0.008
LINE_DELAY_US = 30.0


@dataclass(frozen=True, slots=True)
class Hardship:
    """What makes a take hard: the rig worn, and flags of `handcap simulate`."""

    rig: str
    task: str
    flags: Mapping[str, str | None] = field(default_factory=dict)
    seeds: int = 1

    def params(self) -> sim.SimulationParams:
        return sim.SimulationParams(
            task=self.task,
            line_delay_s=float(self.flags.get("--line-delay-us") or 0.0) / 1e6,
            blur="--blur" in self.flags,
            imu=RAW_PART if "--raw-imu" in self.flags else ImuErrors(),
            scatter=PRINTED if "--drawing" in self.flags else CALIBRATED,
        )

    def command(self, scene: str, seed: int, seconds: float) -> str:
        flags = " ".join(f"{name} {value}" if value else name for name, value in self.flags.items())
        return (
            f"--scene {scene} --rig {self.rig} --task {self.task} --seed {seed} --seconds {seconds:g} "
            f"--dt-imu-cam-ms {1e3 * DT_IMU_CAM_S:g} {flags}"
        ).strip()


HARDSHIPS: Mapping[str, Hardship] = {
    "look": Hardship("head", "look", seeds=2),
    "grippers": Hardship("head+left+right", "tidy", seeds=2),
    "walk": Hardship("head", "walk"),
    "shake": Hardship("head", "shake"),
    "pause": Hardship("head", "pause"),
    "rolling": Hardship("head", "look", {"--line-delay-us": f"{LINE_DELAY_US:g}"}),
    "blur": Hardship("head", "look", {"--blur": None}),
    "raw_imu": Hardship("head", "look", {"--raw-imu": None}),
    "drawing": Hardship("head", "look", {"--drawing": None}),
    "wide": Hardship("head-wide", "look"),
    "fisheye200": Hardship("head-fisheye200", "look"),
    "hands": Hardship("hands", "tidy"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One take.

    Attributes:
        verdict, causes: of reconstruction.
        missed: floors that an accepted take missed, in words.
        line: figures for the reader.
    """

    verdict: str
    causes: tuple[str, ...]
    missed: tuple[str, ...]
    line: str

    @property
    def truthful(self) -> bool:
        """Within the floors, or not called whole and given a cause."""
        return not self.missed or (self.verdict != "ok" and bool(self.causes))


def tried(folder: Path, scene: str, hardship: Hardship, seed: int, seconds: float) -> Outcome:
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        sim.simulate(
            folder,
            scene=scene,
            rig=hardship.rig,
            seconds=seconds,
            seed=seed,
            dt_imu_cam_s=DT_IMU_CAM_S,
            params=hardship.params(),
        )
    (result,) = run_session(folder)
    causes = tuple(cause.code for cause in result.causes)
    if result.verdict == "refused":
        return Outcome("refused", causes, ("refused",), "")
    estimate = session.read_trajectory(folder / "derived/0001/reconstruct/head.parquet")
    found = score(session.read_trajectory(folder / "truth/head_imu.parquet"), estimate)
    camera, offset_s = next(iter(result.report["time_offset_s"].items()))
    truth = json.loads((folder / "truth/truth.json").read_text())
    offset_ms = 1e3 * (offset_s - truth["dt_imu_cam_s"][camera])
    ate_m, tilt_deg = found.ate_m.rmse, float(np.rad2deg(found.tilt_rad))
    limits = {
        "posed": (1 - found.coverage, 0.0),
        "ATE": (ate_m, MOST_ATE_M),
        "tilt": (tilt_deg, MOST_TILT_DEG),
        "offset": (abs(offset_ms), MOST_OFFSET_MS),
    }
    line = (
        f"posed {100 * found.coverage:5.1f} %, ATE {1e3 * ate_m:6.2f} mm, scale {found.scale:.4f}, "
        f"tilt {tilt_deg:.3f} deg, offset {offset_ms:+.3f} ms, truth held {100 * found.honesty.fraction:.0f} %"
    )
    return Outcome(result.verdict, causes, tuple(k for k, (x, most) in limits.items() if x > most), line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", nargs="*", default=[name for name in SCENES if name != "bench"])
    parser.add_argument("--hardships", nargs="*", choices=list(HARDSHIPS), default=list(HARDSHIPS))
    parser.add_argument("--first-seed", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=Path("out/bench/worlds"))
    args = parser.parse_args()

    failing: list[str] = []
    passed = truthful = total = 0
    print("virtual rig; world, verdict, figures, what was missed, causes")
    for name in args.hardships:
        hardship = HARDSHIPS[name]
        for scene in args.scenes:
            for seed in range(args.first_seed, args.first_seed + hardship.seeds):
                outcome = tried(args.out / f"{name}-{scene}-{seed}", scene, hardship, seed, args.seconds)
                total += 1
                passed += not outcome.missed
                truthful += outcome.truthful
                print(
                    f"{name:10s} {scene:10s} {seed} {outcome.verdict:8s}{outcome.line}"
                    + (f"; missed: {', '.join(outcome.missed)}" if outcome.missed else "")
                    + (f"; causes: {', '.join(outcome.causes)}" if outcome.causes else ""),
                    flush=True,
                )
                if outcome.missed:
                    mark = "" if outcome.truthful else "  (called ok)"
                    failing.append(f"    handcap simulate take {hardship.command(scene, seed, args.seconds)}{mark}")
    print(f"virtual rig: {passed} of {total} takes within the floors; {truthful} within them or truthful about it")
    print("\n".join(["failing takes:", *failing]))


if __name__ == "__main__":
    main()
