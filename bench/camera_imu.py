"""Camera and motion sensor on many virtual rigs: how far off is the mount, and do the intervals hold the truth?

    python bench/camera_imu.py --rigs 200                      # at the level of corners, a few seconds each
    python bench/camera_imu.py --rigs 0 --rendered 20 --keep DIR   # pictures and all, a minute or two each

Every rig is a specimen of its own (mount, lens, offset, shutter, noise), moves otherwise before a ChArUco board or an
AprilGrid, and is calibrated as a technician would: mounts as drawn, the lens as a calibration would know it, off by a
draw from its stated spread. Floors: rotation 0.05°, lever arm 2 mm, offset 0.1 ms, line delay 2 %; 95 % intervals hold
the truth in 88 to 100 % per number and in 92 to 98 % of all.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from handcap import session, sim
from handcap.calibrate import camera_imu, write_part
from handcap.calibrate.camera_imu import CameraImu, Lens, MountFound, calibrate_mounts
from handcap.calibrate.page import Page
from handcap.calibrate.part import Part
from handcap.geometry import Array, so3_log
from handcap.sim import rigs
from handcap.sim.corners import BOARDS, corner_take
from handcap.types import MountedCamera, Rig

NUMBERS = ("rotation x", "rotation y", "rotation z", "position x", "position y", "position z", "offset", "line delay")
UNITS = ("deg", "deg", "deg", "mm", "mm", "mm", "ms", "%")
FLOORS = (0.05, 0.05, 0.05, 2.0, 2.0, 2.0, 0.1, 2.0)
RIGS = ("head", "head-wide", "head-stereo", "gripper", "head-fisheye200")
FOCAL, CENTRE_PX = 1e-4, 0.05  # what a calibration of a lens leaves, standard deviations
_95 = 1.96


@dataclass
class Pool:
    """What all rigs gave."""

    off: list[Array] = field(default_factory=list)  # (8,) truth less estimate, SI
    sigma: list[Array] = field(default_factory=list)
    line_delay_s: list[float] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    cpu_s: list[float] = field(default_factory=list)

    def add(self, found: MountFound, true: MountedCamera) -> None:
        R = found.T_imu_cam[:3, :3]
        turn = so3_log(R.T @ true.T_imu_cam[:3, :3])
        shift = R.T @ (true.T_imu_cam[:3, 3] - found.T_imu_cam[:3, 3])
        rest = [true.dt_imu_cam_s - found.dt_imu_cam_s, true.line_delay_s - found.line_delay_s]
        self.off.append(np.r_[turn, shift, rest])
        self.sigma.append(np.where(found.sigma > 1e-13, found.sigma, np.nan))
        self.line_delay_s.append(true.line_delay_s)

    def show(self) -> None:
        off, sigma, delay = np.array(self.off), np.array(self.sigma), np.array(self.line_delay_s)
        print(
            f"{len(off)} cameras; verdicts: {dict(self.verdicts)}; CPU s per take: median {np.median(self.cpu_s):.1f}"
        )
        shown = np.abs(off) * np.r_[[180 / np.pi] * 3, [1e3] * 4, 1.0]
        shown[:, 7] = np.where(delay > 0, 100 * shown[:, 7] / np.where(delay > 0, delay, 1.0), np.nan)
        print(f"{'':12s} {'median':>9s} {'p95':>9s} {'worst':>9s} {'floor':>7s}       95 % intervals hold")
        held = np.where(np.isfinite(sigma), np.abs(off) <= _95 * sigma, np.nan)
        for k, name in enumerate(NUMBERS):
            known = shown[np.isfinite(shown[:, k]), k]
            numbers = " ".join(f"{value:9.5f}" for value in [*np.percentile(known, [50, 95]), known.max()])
            count = int(np.isfinite(held[:, k]).sum())
            print(
                f"{name:12s} {numbers} {FLOORS[k]:7.2f} {UNITS[k]:4s} {100 * np.nanmean(held[:, k]):6.1f} % of {count}"
            )
        ratio = np.sqrt(np.nanmean((off / sigma) ** 2))
        print(f"all pooled: {100 * np.nanmean(held):.1f} %; rms of error over sigma {ratio:.3f}")


def wishes(seed: int) -> tuple[str, str, float, float, float]:
    """Rig, board, seconds, offset and line delay of one specimen."""
    rng = np.random.default_rng([seed, 77])
    shutter = float(rng.choice([0.0, rng.uniform(8e-6, 45e-6)], p=[0.25, 0.75]))
    return RIGS[seed % len(RIGS)], str(rng.choice(list(BOARDS))), 20.0, float(rng.uniform(-0.02, 0.02)), shutter


def known_lens(mount: MountedCamera, rng: np.random.Generator) -> tuple[MountedCamera, Array]:
    """The lens as a calibration knows it, and its spread (8, 3)."""
    spread = np.zeros((len(mount.camera.params), 3))
    spread[:2, 0], spread[2, 1], spread[3, 2] = mount.camera.focal_px * FOCAL, CENTRE_PX, CENTRE_PX
    params = np.array(mount.camera.params) + spread @ rng.standard_normal(3)
    return replace(mount, camera=replace(mount.camera, params=tuple(params.tolist()))), spread


def lenses_of(true: Rig, drawn: Rig, seed: int) -> dict[str, Lens]:
    rng = np.random.default_rng([seed, 78])
    out: dict[str, Lens] = {}
    for name, mount in true.cameras.items():
        known, spread = known_lens(mount, rng)
        out[name] = Lens(replace(drawn.cameras[name], camera=known.camera), spread)
    return out


def at_corners(seed: int) -> Iterator[tuple[CameraImu, Rig]]:
    rig, board, seconds, dt_s, line_delay_s = wishes(seed)
    # As many pictures as the step looks at.
    params = sim.SimulationParams(camera_rate_hz=10.0, line_delay_s=line_delay_s, scatter=rigs.PRINTED)
    take = corner_take(rig, task=board, seconds=seconds, seed=seed, dt_imu_cam_s=dt_s, params=params)
    for device in take.rig.devices:
        views = {name: take.views[name] for name, mount in take.rig.cameras.items() if mount.device == device}
        lenses = lenses_of(take.rig, take.drawn, seed)
        yield calibrate_mounts(take.board, views, lenses, take.imu[device], take.rig.devices[device].imu), take.rig


def rendered(seed: int, folder: Path, pool: Pool) -> None:
    rig, board, seconds, dt_s, line_delay_s = wishes(seed)
    if rig == "gripper":
        board = "aprilgrid"  # its finger tags are of the ChArUco board's family
    if not folder.exists():
        params = sim.SimulationParams(task=board, line_delay_s=line_delay_s, scatter=rigs.PRINTED)
        sim.simulate(folder, scene="bench", seconds=seconds, rig=rig, seed=seed, dt_imu_cam_s=dt_s, params=params)
    true = session.read_rig(folder / "truth" / "rig.json")
    lenses = lenses_of(true, session.read_rig(folder / "rig.json"), seed)
    parts: list[Path] = []
    for name, lens in lenses.items():
        camera = lens.mount.camera
        values = {"model": camera.model, "width": camera.width, "height": camera.height, "params": camera.params}
        part = Part("camera", name, "ok", values=values, details={"covariance": lens.spread @ lens.spread.T})
        parts.append(write_part(folder / "lens", part, Page("known", "ok"))[0])
    start = time.process_time()
    for result in camera_imu.run(folder, BOARDS[board], lens_paths=parts):
        part = result.part
        pool.verdicts[_word(part.verdict, [cause.code for cause in part.causes])] += 1
        if part.values["T_imu_cam"] is not None:
            values = part.values
            found = MountFound(
                np.array(values["T_imu_cam"]),
                values["dt_imu_cam_s"],
                values["line_delay_s"],
                np.array(part.details["covariance"]),
            )
            pool.add(found, true.cameras[part.subject])
    pool.cpu_s.append(time.process_time() - start)


def _word(verdict: str, codes: list[str]) -> str:
    return verdict if not codes else f"{verdict} ({', '.join(codes)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rigs", type=int, default=200, help="at the level of corners")
    parser.add_argument("--rendered", type=int, default=0, help="with pictures")
    parser.add_argument("--first", type=int, default=1000, help="seed of the first rig")
    parser.add_argument("--keep", type=Path, help="where rendered sessions are kept")
    wanted = parser.parse_args()
    both = Pool()
    if wanted.rigs:
        pool = Pool()
        for seed in range(wanted.first, wanted.first + wanted.rigs):
            start = time.process_time()
            for found, true in at_corners(seed):
                pool.verdicts[_word(found.verdict, [cause.code for cause in found.causes])] += 1
                if found.verdict != "ok":
                    print(f"seed {seed}: {[(c.code, c.body, c.measured, c.limit) for c in found.causes]}", flush=True)
                for name, mount in found.mounts.items():
                    pool.add(mount, true.cameras[name])
            pool.cpu_s.append(time.process_time() - start)
            if (seed - wanted.first) % 20 == 19:
                pool.show()
        print("virtual rigs at the level of corners:")
        pool.show()
        both.off, both.sigma, both.line_delay_s = [*pool.off], [*pool.sigma], [*pool.line_delay_s]
        both.verdicts, both.cpu_s = pool.verdicts.copy(), [*pool.cpu_s]
    if wanted.rendered:
        pool = Pool()
        keep = wanted.keep or Path(tempfile.mkdtemp())
        for k in range(wanted.rendered):
            seed = wanted.first + 500 + k
            rendered(seed, keep / f"{seed}", pool)
            print(f"rendered {k + 1}: {dict(pool.verdicts)}", flush=True)
        print("virtual rigs, rendered:")
        pool.show()
        both.off += pool.off
        both.sigma += pool.sigma
        both.line_delay_s += pool.line_delay_s
        both.verdicts += pool.verdicts
        both.cpu_s += pool.cpu_s
    if wanted.rigs and wanted.rendered:
        print("all:")
        both.show()


if __name__ == "__main__":
    main()
